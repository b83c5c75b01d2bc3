// Entry of `shard`: one table of subcommands; finds the one that is meant, loads its options and calls it. Knows of
// each subcommand its name, its options' bit and what words it takes, and nothing of what it does. To add a subcommand,
// add a row here and a bit in options.h.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/memory.h"
#include "config/nearest.h"
#include "worker/admin.h"
#include "worker/bisect.h"
#include "worker/export.h"
#include "worker/history.h"
#include "worker/import.h"
#include "worker/local.h"
#include "worker/options.h"
#include "worker/plan.h"
#include "worker/quarantine.h"
#include "worker/replay.h"
#include "worker/report.h"
#include "worker/run.h"
#include "worker/submit.h"
#include "worker/upkeep.h"

enum {
  SHOWN_BYTES = 80,
  HINT_BYTES = 96,
  WORD_MORE = OPTIONS_QUARANTINE | OPTIONS_EXPORT | OPTIONS_BUILD,  // may take one more word
  WORD_MANY = OPTIONS_IMPORT | OPTIONS_SUBMIT,                      // may take any number more
  MAY_RUN = OPTIONS_REPLAY,                                         // a command behind "--" is up to the user
};

struct subcommand {
  const char *name;
  enum options_command bit;
  const char *usage;  // behind the name
  const char *help;
  size_t words;        // it takes exactly so many
  bool takes_command;  // it needs a command behind "--"; the others take none
  int (*run)(struct options *options, char **words, size_t count, char **command);
};

static const struct subcommand subcommands[] = {
    {"run", OPTIONS_RUN, "[OPTION]... -- COMMAND...", "be a worker: lease tests, run them, report, until none are left",
     0, true, run_main},
    {"local", OPTIONS_LOCAL, "[OPTION]... -- COMMAND...", "a private server and several workers on this machine", 0,
     true, local_main},
    {"status", OPTIONS_STATUS, "[OPTION]...", "builds that are running, and how far they are", 0, false, admin_status},
    {"builds", OPTIONS_BUILDS, "[OPTION]...", "builds of the project, newest first", 0, false, history_builds},
    {"build", OPTIONS_BUILD, "[OPTION]... [KEY]", "one build: predicted, actual, idle, and each worker over its time",
     0, false, history_build},
    {"workers", OPTIONS_WORKERS, "[OPTION]...", "workers of a build", 0, false, history_workers},
    {"slow", OPTIONS_SLOW, "[OPTION]...", "slowest tests by their expected duration", 0, false, history_slow},
    {"slower", OPTIONS_SLOWER, "[OPTION]...", "tests that became slower, with the range of commits", 0, false,
     history_slower},
    {"flaky", OPTIONS_FLAKY, "[OPTION]...", "tests that fail although the code is good", 0, false, history_flaky},
    {"broken", OPTIONS_BROKEN, "[OPTION]...", "tests that fail whatever is tried, and since when", 0, false,
     history_broken},
    {"test", OPTIONS_TEST, "[OPTION]... ID", "the last runs of one test, its state and last failure", 1, false,
     history_test},
    {"log", OPTIONS_LOG, "[OPTION]...", "tests that became flaky, broken, muted or healthy, and why", 0, false,
     history_log},
    {"quarantine", OPTIONS_QUARANTINE, "[OPTION]... add ID | remove ID | list | export | import [FILE]",
     "tests that are muted: they run, and their failures do not count", 1, false, quarantine_main},
    {"owners", OPTIONS_OWNERS, "[OPTION]...", "flaky, broken and slow tests by their CODEOWNERS", 0, false,
     history_owners},
    {"import", OPTIONS_IMPORT, "[OPTION]... FILE...", "durations from .test_durations, JUnit XML or CSV", 1, false,
     import_main},
    {"export", OPTIONS_EXPORT, "[OPTION]... [FILE]", "durations to .test_durations, JUnit XML or CSV", 0, false,
     export_main},
    {"replay", OPTIONS_REPLAY, "[OPTION]... BUILD [-- COMMAND...]",
     "the order in which a worker ran, printed or run again", 1, false, replay_main},
    {"bisect", OPTIONS_BISECT, "[OPTION]... BUILD ID -- COMMAND...", "find the test that makes another one fail", 2,
     true, bisect_main},
    {"backup", OPTIONS_BACKUP, "[OPTION]... NAME", "a copy of the server's database, beside it", 1, false,
     upkeep_backup},
    {"check", OPTIONS_CHECK, "[OPTION]...", "is the server's database whole?", 0, false, upkeep_check},
    {"submit", OPTIONS_SUBMIT, "[OPTION]... [FILE]...", "hand over results that the server could not be given", 0,
     false, submit_main},
    {"wait", OPTIONS_WAIT, "[OPTION]...", "wait for a build's end; its verdict is the exit code", 0, false, admin_wait},
    {"report", OPTIONS_REPORT, "[OPTION]...", "summary of a build, or its merged JUnit XML", 0, false, report_main},
    {"plan", OPTIONS_PLAN, "[OPTION]...", "how long the suite would take on N workers, and how many are worth it", 0,
     false, plan_main},
};

static int run_subcommand(const struct subcommand *subcommand, int argc, char **argv);
static int check_words(const struct subcommand *subcommand, const struct options *options);
static const struct subcommand *find(const char *name);
static int fail_unknown(const char *word);
static void print_usage(FILE *out);
static int print_help(const struct subcommand *subcommand);
static int help(int argc, char **argv);

int main(int argc, char **argv) {
  memory_never_fails();
  json_set_alloc_funcs(base_malloc, free);
  base_log_init("shard", LOG_LEVEL_WARN);
  const char *word = argc > 1 ? argv[1] : NULL;
  if (word == NULL) {
    print_usage(stderr);
    return EXIT_USAGE;
  }
  if (strcmp(word, "--version") == 0) return printf("shard %s\n", SHARD_VERSION) > 0 ? EXIT_OK : EXIT_INFRA;
  bool asks = strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
  if (asks) return help(argc, argv);
  const struct subcommand *subcommand = find(word);
  return subcommand == NULL ? fail_unknown(word) : run_subcommand(subcommand, argc - 1, argv + 1);
}

static int run_subcommand(const struct subcommand *subcommand, int argc, char **argv) {
  struct options options;
  struct conf_error error;
  int rc = options_load(&options, subcommand->bit, argc, argv, &error);
  if (rc == 1) return print_help(subcommand);
  if (rc == 2) return printf("shard %s\n", SHARD_VERSION) > 0 ? EXIT_OK : EXIT_INFRA;
  if (rc != 0) {
    fprintf(stderr, "shard %s: %s\n", subcommand->name, error.text);
    return EXIT_USAGE;
  }
  if (options.verbose) base_log_init("shard", LOG_LEVEL_DEBUG);
  int code = check_words(subcommand, &options);
  if (code == EXIT_OK) code = subcommand->run(&options, options.words, options.word_count, options.command);
  options_release(&options);
  return code;
}

static int check_words(const struct subcommand *subcommand, const struct options *options) {
  char shown[SHOWN_BYTES];
  const char *name = subcommand->name;
  size_t most = subcommand->bit & WORD_MANY ? SIZE_MAX : subcommand->words + ((subcommand->bit & WORD_MORE) != 0);
  if (options->word_count > most) {
    const char *word = options->words[most];
    fprintf(stderr, "shard %s: %s is no option%s\n", name, base_quote(shown, sizeof shown, word, strlen(word)),
            subcommand->takes_command ? "; the command stands behind --: shard run -- pytest tests" : "");
    return EXIT_USAGE;
  }
  if (options->word_count < subcommand->words || (subcommand->takes_command && options->command == NULL)) {
    fprintf(stderr, "shard %s: %s is missing; usage: shard %s %s\n", name,
            subcommand->takes_command ? "the command behind --" : "a word", name, subcommand->usage);
    return EXIT_USAGE;
  }
  if (!subcommand->takes_command && !(subcommand->bit & MAY_RUN) && options->command != NULL) {
    fprintf(stderr, "shard %s: it runs nothing, so nothing belongs behind --\n", name);
    return EXIT_USAGE;
  }
  return EXIT_OK;
}

static const struct subcommand *find(const char *name) {
  for (size_t i = 0; i < COUNT_OF(subcommands); i++)
    if (strcmp(subcommands[i].name, name) == 0) return &subcommands[i];
  return NULL;
}

static int fail_unknown(const char *word) {
  struct nearest nearest;
  char shown[SHOWN_BYTES], hint[HINT_BYTES];
  nearest_init(&nearest, word);
  for (size_t i = 0; i < COUNT_OF(subcommands); i++)
    nearest_offer(&nearest, subcommands[i].name);
  nearest_offer(&nearest, "help");
  (void)nearest_hint(&nearest, "shard ", hint, sizeof hint);
  fprintf(stderr, "shard: unknown subcommand %s%s\n", base_quote(shown, sizeof shown, word, strlen(word)),
          hint[0] != '\0' ? hint : "; `shard help` lists them");
  return EXIT_USAGE;
}

static void print_usage(FILE *out) {
  fputs("usage: shard SUBCOMMAND [OPTION]... [-- COMMAND...]\n\n", out);
  for (size_t i = 0; i < COUNT_OF(subcommands); i++)
    fprintf(out, "  %-10s %s\n", subcommands[i].name, subcommands[i].help);
  fputs("  help       this, or the options of a subcommand: shard help run\n", out);
  fputs("\nEvery option is a flag, a variable SHARD_* and a key of shard.yml, in that order of precedence.\n", out);
}

static int print_help(const struct subcommand *subcommand) {
  printf("usage: shard %s %s\n%s\n\n", subcommand->name, subcommand->usage, subcommand->help);
  conf_help(&options_table, subcommand->bit, stdout);
  return fflush(stdout) == 0 ? EXIT_OK : EXIT_INFRA;
}

static int help(int argc, char **argv) {
  const struct subcommand *subcommand = argc > 2 ? find(argv[2]) : NULL;
  if (argc > 2) return subcommand == NULL ? fail_unknown(argv[2]) : print_help(subcommand);
  print_usage(stdout);
  return fflush(stdout) == 0 ? EXIT_OK : EXIT_INFRA;
}
