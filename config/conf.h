// Binds one table of options to command line, environment and YAML file: every option has all three, in that order of
// precedence (DESIGN 2). The table is the one place that names an option; --help, the man pages' test and the samples'
// test read it. Called by both mains; knows nothing of what the options mean.
#ifndef CONFIG_CONF_H
#define CONFIG_CONF_H

#include <stdio.h>

#include "config/base.h"

enum conf_type {
  CONF_BOOL,      // bool; the flag alone means yes, --no-NAME means no; env and file: yes/no/true/false/on/off/1/0
  CONF_UINT,      // uint64_t in [min, max]
  CONF_DURATION,  // uint64_t microseconds in [min, max]; text as in base_parse_duration
  CONF_SIZE,      // uint64_t bytes in [min, max]; text as in base_parse_size
  CONF_STRING,    // char *, owned by the settings; never NULL after conf_init: "" when unset
  CONF_LIST,      // struct conf_list; the flag may be repeated (the first use replaces what file and env gave);
                  // env: separated by spaces or commas; file: a sequence or one scalar
  CONF_CHOICE,    // int: place of the word in `choices`
};

struct conf_list {
  char **item;
  size_t count;
};

enum conf_source { CONF_FROM_DEFAULT, CONF_FROM_FILE, CONF_FROM_ENV, CONF_FROM_FLAG };

struct conf_key {
  const char *name;  // "lease-ttl": --lease-ttl, PREFIX_LEASE_TTL, and `lease-ttl:` in the file
  char letter;       // one-letter flag, or 0
  enum conf_type type;
  size_t offset;               // into the settings struct
  uint64_t min, max;           // UINT, DURATION (µs), SIZE; max 0: no upper bound
  const char *const *choices;  // CHOICE: the words, NULL-terminated
  const char *fallback;        // default, as text ("" for none: 0, no, ""; LIST: separated by spaces)
  const char *arg;             // what --help calls the value ("DURATION"), NULL for BOOL
  const char *help;            // one sentence, no full stop
  unsigned commands;           // mask of the subcommands that take it; 0: all
  bool reload;                 // shardd: a SIGHUP takes the new value
  bool secret;                 // never printed
  bool pairs;                  // LIST: the file may hold a map, `name: value` is the item "name=value"
  unsigned not_from;           // mask of 1u << CONF_FROM_FILE and 1u << CONF_FROM_ENV: it cannot be given there
};

// One table of options for one program.
struct conf_table {
  const char *env_prefix;  // "SHARD" or "SHARDD"
  const struct conf_key *keys;
  size_t count;
};

struct conf_error {
  char text[768];  // complete for printing, says what to do
};

// Sets every key to its default, over memory that owns nothing yet. `sources`, one per key, is the caller's and may be
// NULL; later calls keep it up to date and let higher sources win whatever the order of the calls.
void conf_init(const struct conf_table *table, void *settings, enum conf_source *sources);

// Reads a YAML file whose root is a map of keys. 0; -1 and *error ("file:line:column: …", unknown keys with the nearest
// known one). A missing file is an error: the caller checks first when it may be absent.
int conf_file(const struct conf_table *table, void *settings, enum conf_source *sources, const char *path,
              struct conf_error *error) MUST_CHECK;

// Reads the environment: PREFIX_NAME for each key (empty values count as unset). 0; -1 and *error naming the variable.
int conf_env(const struct conf_table *table, void *settings, enum conf_source *sources,
             struct conf_error *error) MUST_CHECK;

// Writes the name of a key's variable to out: "SHARDD_LEASE_TTL".
void conf_variable(const struct conf_table *table, const struct conf_key *key, char *out, size_t out_size);

// Reads flags of subcommand bit `command` from argv[1…]: "--name value", "--name=value", "-n value", "-nvalue". Stops
// at
// "--"; other words are collected in order. With `stop_at_word` it stops at the first word that is no flag instead, and
// everything from there on, flags and "--" too, is words. *rest (allocated and NULL-terminated; the caller frees the
// array, not its words) holds the words, *after_dashes is the place in argv behind "--", or argc.
// 0; -1 and *error. -h/--help and --version are the caller's: they are returned as 1 and 2, with *rest untouched.
int conf_args(const struct conf_table *table, void *settings, enum conf_source *sources, unsigned command, int argc,
              char **argv, bool stop_at_word, char ***rest, int *after_dashes, struct conf_error *error) MUST_CHECK;

// Lists the flags of a subcommand, aligned and wrapped at 100 columns, with defaults and variables.
void conf_help(const struct conf_table *table, unsigned command, FILE *out);

// Prints the settings as a YAML file that conf_file reads back; secrets as "***", numbers that are unset as comments.
void conf_print(const struct conf_table *table, const void *settings, FILE *out);

// Frees what the settings own.
void conf_release(const struct conf_table *table, void *settings);

#endif
