// The settings of `shard`: one struct for all subcommands, filled from one table of keys (flag, SHARD_* variable and
// shard.yml key each). Loaded by main.c before a subcommand starts; run.c, local.c and the admin commands only read it.
// To add an option, add a member here, a row in options_table.c and the same key in config/shard.yml.
#ifndef WORKER_OPTIONS_H
#define WORKER_OPTIONS_H

#include "config/conf.h"

// A bit for each subcommand, in conf_key.commands.
enum options_command {
  OPTIONS_RUN = 1 << 0,
  OPTIONS_LOCAL = 1 << 1,
  OPTIONS_STATUS = 1 << 2,
  OPTIONS_BUILDS = 1 << 3,
  OPTIONS_WORKERS = 1 << 4,
  OPTIONS_SLOW = 1 << 5,
  OPTIONS_FLAKY = 1 << 6,
  OPTIONS_TEST = 1 << 7,
  OPTIONS_WAIT = 1 << 8,
  OPTIONS_REPORT = 1 << 9,
  OPTIONS_PLAN = 1 << 10,
  OPTIONS_BUILD = 1 << 16,
  OPTIONS_BROKEN = 1 << 17,
  OPTIONS_SLOWER = 1 << 18,
  OPTIONS_LOG = 1 << 19,
  OPTIONS_OWNERS = 1 << 20,
  OPTIONS_QUARANTINE = 1 << 21,
  OPTIONS_IMPORT = 1 << 22,
  OPTIONS_EXPORT = 1 << 23,
  OPTIONS_REPLAY = 1 << 24,
  OPTIONS_BISECT = 1 << 25,
  OPTIONS_BACKUP = 1 << 26,
  OPTIONS_CHECK = 1 << 27,
  OPTIONS_SUBMIT = 1 << 28,
  OPTIONS_NO_FLAG = 1 << 30,  // taken by no command line: variable and file only
};

enum { OPTIONS_KEY_COUNT = 67, OPTIONS_WORKERS_MAX = 256 };

// The numbers of OnRetry in shardd.proto (asserted in options_table.c).
enum options_on_retry {
  OPTIONS_ON_RETRY_AUTO,
  OPTIONS_ON_RETRY_MINE,
  OPTIONS_ON_RETRY_ALL,
  OPTIONS_ON_RETRY_UNRESOLVED
};
// The numbers of Retried in shardd.proto (asserted in options_table.c).
enum options_retried { OPTIONS_RETRIED_AUTO, OPTIONS_RETRIED_NO, OPTIONS_RETRIED_YES };
enum options_fallback { OPTIONS_FALLBACK_NONE, OPTIONS_FALLBACK_STATIC };
enum options_collect { OPTIONS_COLLECT_FULL, OPTIONS_COLLECT_LAZY };
enum options_order { OPTIONS_ORDER_AUTO, OPTIONS_ORDER_FAILED_FIRST, OPTIONS_ORDER_COLLECTION };
enum options_color { OPTIONS_COLOR_AUTO, OPTIONS_COLOR_ALWAYS, OPTIONS_COLOR_NEVER };

// Strings are never NULL; "" is unset. Times in microseconds.
struct options {
  char *server;              // "": not told
  char *token, *token_file;  // token: already read from token_file; "": none
  char *project;             // never "" after options_load
  char *suite, *build, *variant, *node;
  uint64_t total;  // declared workers; 0: unknown
  char *attempt, *commit, *branch;
  int retried;  // enum options_retried
  bool untrusted;

  int runner;   // for options_runner
  int collect;  // enum options_collect
  char *list, *list_file, *results;
  uint64_t retries;
  uint64_t max_failures;  // 1 with fail_fast; 0: no bound
  bool fail_fast;
  uint64_t linger_us;
  uint64_t timeout_per_test_us;  // 0: from history
  int on_retry;                  // enum options_on_retry
  bool by_file, by_class, allow_empty;
  int order;                // enum options_order
  struct conf_list tokens;  // NAME=COUNT
  struct conf_list env_key, allow_mixed;

  uint64_t connect_timeout_us;  // longest that one attempt to reach the server at start may take
  uint64_t server_timeout_us;   // how long to outlive a lost server
  uint64_t start_timeout_us;    // until the list is there
  int fallback;                 // enum options_fallback
  uint64_t min_workers, min_workers_timeout_us;
  char *spool;  // a folder; "": the one of the user's cache

  char *workers;          // "auto" or a number
  uint64_t worker_count;  // the same as a number; set by options_load
  bool dry_run;
  char *history;

  char *boot;          // "auto" or a duration
  bool boot_told;      // it is a duration:
  uint64_t boot_us;    // this; both are set by options_load
  uint64_t target_us;  // 0: not told
  char *simulate;      // a file of timings, "-": standard input; "": from history
  bool all;

  bool json, csv, markdown;
  uint64_t limit;
  uint64_t since_us;  // age; 0: no bound
  char *fail_if;      // gate.h reads it
  char *reason, *who, *ticket;
  uint64_t for_us;
  bool extend;
  int annotate;     // enum annotate_form
  uint64_t worker;  // number of a worker in its build
  char *until;
  int format;    // enum durations_format
  char *owners;  // a CODEOWNERS file; "": looked for
  char *junit;
  int color;  // enum options_color
  bool quiet, verbose;
  char *config;  // the file that was read; "": none

  enum conf_source sources[OPTIONS_KEY_COUNT];  // by place in options_table
  char **words;                                 // of the command line before "--", NULL-terminated, without the flags
  size_t word_count;
  char **command;  // words behind "--", NULL-terminated; NULL: there was no "--" or nothing behind it
};

extern const struct conf_table options_table;  // options_table.c

// Merges default, shard.yml, SHARD_* and flags for one subcommand. argv[0] is the subcommand's name; argv must live as
// long as the options. 0, and the caller releases them; 1 for --help and 2 for --version; -1 and *error when something
// is wrong. After 1, 2 and -1 there is nothing to release.
int options_load(struct options *options, enum options_command command, int argc, char **argv,
                 struct conf_error *error) MUST_CHECK;
void options_release(struct options *options);

// Where the value of a key came from; `name` must be in the table.
enum conf_source options_source(const struct options *options, const char *name);

// The name for runner_find: "auto", "pytest" or "command".
const char *options_runner(const struct options *options);

// The words that run --list: a line for the shell, since the user wrote one. NULL when unset. Fills argv, which must
// have room for 4; the words live as long as the options.
char *const *options_list_argv(const struct options *options, char *argv[4]);

// Whether to write colours to a descriptor: --color, else NO_COLOR, else whether it is a terminal.
bool options_color(const struct options *options, int fd);

// Flags that give another subcommand what was given here as flags, "--name=value" each, without those it does not take.
// NULL-terminated; the caller frees the array and its words with options_free_words.
char **options_flags_for(const struct options *options, enum options_command command);
void options_free_words(char **words);

#endif
