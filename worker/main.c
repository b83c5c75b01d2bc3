// Entry of `shard`: finds the subcommand that is meant, loads its options and calls it. What subcommands there are
// stands in subcommand.c; this file knows the words before them, the help and the versions.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/memory.h"
#include "config/nearest.h"
#include "worker/subcommand.h"

enum { SHOWN_BYTES = 80, HINT_BYTES = 96 };

static int run_subcommand(const struct subcommand *subcommand, int argc, char **argv);
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
  const struct subcommand *subcommand = subcommand_find(word);
  return subcommand == NULL ? fail_unknown(word) : run_subcommand(subcommand, argc - 1, argv + 1);
}

static int run_subcommand(const struct subcommand *subcommand, int argc, char **argv) {
  struct options options;
  struct conf_error error;
  int rc = options_load(&options, subcommand->bit, argc, argv, &error);
  if (rc == 1) return print_help(subcommand);
  if (rc == 2) return printf("shard %s\n", SHARD_VERSION) > 0 ? EXIT_OK : EXIT_INFRA;
  int code = EXIT_USAGE;
  if (rc == 0 && subcommand_check(subcommand, &options, &error) == 0) {
    if (options.verbose) base_log_init("shard", LOG_LEVEL_DEBUG);
    code = subcommand->run(&options, options.words, options.word_count, options.command);
  } else {
    fprintf(stderr, "shard %s: %s\n", subcommand->name, error.text);
  }
  if (rc == 0) options_release(&options);
  return code;
}

static int fail_unknown(const char *word) {
  struct nearest nearest;
  char shown[SHOWN_BYTES], hint[HINT_BYTES];
  nearest_init(&nearest, word);
  for (size_t i = 0; subcommand_at(i) != NULL; i++)
    nearest_offer(&nearest, subcommand_at(i)->name);
  nearest_offer(&nearest, "help");
  (void)nearest_hint(&nearest, "shard ", hint, sizeof hint);
  fprintf(stderr, "shard: unknown subcommand %s%s\n", base_quote(shown, sizeof shown, word, strlen(word)),
          hint[0] != '\0' ? hint : "; `shard help` lists them");
  return EXIT_USAGE;
}

static void print_usage(FILE *out) {
  fputs("usage: shard SUBCOMMAND [OPTION]... [-- COMMAND...]\n\n", out);
  for (size_t i = 0; subcommand_at(i) != NULL; i++)
    fprintf(out, "  %-10s %s\n", subcommand_at(i)->name, subcommand_at(i)->help);
  fputs("  help       this, or the options of a subcommand: shard help run\n", out);
  fputs("\nEvery option is a flag, a variable SHARD_* and a key of shard.yml, in that order of precedence.\n", out);
}

static int print_help(const struct subcommand *subcommand) {
  printf("usage: shard %s %s\n%s\n\n", subcommand->name, subcommand->usage, subcommand->help);
  conf_help(&options_table, subcommand->bit, stdout);
  return fflush(stdout) == 0 ? EXIT_OK : EXIT_INFRA;
}

static int help(int argc, char **argv) {
  const struct subcommand *subcommand = argc > 2 ? subcommand_find(argv[2]) : NULL;
  if (argc > 2) return subcommand == NULL ? fail_unknown(argv[2]) : print_help(subcommand);
  print_usage(stdout);
  return fflush(stdout) == 0 ? EXIT_OK : EXIT_INFRA;
}
