// Merges the sources of the client's options: defaults, shard.yml, variables, flags. Called by main.c before a
// subcommand starts. What the options are stands in options_table.c; this file knows only those that need more than a
// value's own rules: where the file is, where a token is read, how many workers auto are, what a project is called. It
// must not know what the subcommands do with them.
#include "worker/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/conf_value.h"
#include "config/files.h"
#include "proto/msg.h"
#include "worker/ci.h"
#include "worker/project.h"

enum { SHOWN_BYTES = 120 };

static const uint64_t boot_max_us = 24 * 3600 * UINT64_C(1000000);

#define AT(member) offsetof(struct options, member)

// Longest texts that go over the wire.
static const struct {
  const char *name;
  size_t offset, max_bytes;
} bounds[] = {
    {"token", AT(token), MSG_TOKEN_MAX_BYTES},        {"project", AT(project), MSG_NAME_MAX_BYTES},
    {"suite", AT(suite), MSG_NAME_MAX_BYTES},         {"build", AT(build), MSG_NAME_MAX_BYTES},
    {"variant", AT(variant), MSG_NAME_MAX_BYTES / 2}, {"node", AT(node), MSG_NAME_MAX_BYTES},
    {"attempt", AT(attempt), CI_TOKEN_BYTES - 1},     {"commit", AT(commit), CI_TOKEN_BYTES - 1},
    {"branch", AT(branch), MSG_NAME_MAX_BYTES},
};

static int load(struct options *options, enum options_command command, int argc, char **argv, struct conf_error *error);
static int refuse_token_flag(int argc, char **argv, struct conf_error *error);
static int take_words(struct options *options, int argc, char **argv, char **words, int behind,
                      struct conf_error *error);
static char *find_file(void);
static int finish(struct options *options, struct conf_error *error);
static int read_token(struct options *options, struct conf_error *error);
static int take_token(struct options *options, char *bytes, size_t n, struct conf_error *error);
static int count_workers(struct options *options, struct conf_error *error);
static int read_boot(struct options *options, struct conf_error *error);
static int check_bounds(const struct options *options, struct conf_error *error);
static size_t place_of(const char *name);
static void replace(char **text, char *by);
static char **add_flags(char **flags, size_t *count, const struct conf_key *key, const char *member);
static char *flag_of(const struct conf_key *key, const char *member);

int options_load(struct options *options, enum options_command command, int argc, char **argv,
                 struct conf_error *error) {
  memset(options, 0, sizeof *options);
  conf_init(&options_table, options, options->sources);
  int rc = load(options, command, argc, argv, error);
  if (rc != 0) options_release(options);
  return rc;
}

void options_release(struct options *options) {
  conf_release(&options_table, options);
  free(options->words);
  options->words = NULL;
}

enum conf_source options_source(const struct options *options, const char *name) {
  return options->sources[place_of(name)];
}

const char *options_runner(const struct options *options) {
  return options_table.keys[place_of("runner")].choices[options->runner];
}

char *const *options_list_argv(const struct options *options, char *argv[4]) {
  static char shell[] = "sh", flag[] = "-c";
  if (options->list[0] == '\0') return NULL;
  argv[0] = shell;
  argv[1] = flag;
  argv[2] = options->list;
  argv[3] = NULL;
  return argv;
}

bool options_color(const struct options *options, int fd) {
  if (options->color != OPTIONS_COLOR_AUTO) return options->color == OPTIONS_COLOR_ALWAYS;
  const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
  if (no_color != NULL && no_color[0] != '\0') return false;
  return isatty(fd) && (term == NULL || strcmp(term, "dumb") != 0);
}

char **options_flags_for(const struct options *options, enum options_command command) {
  char **flags = base_calloc(1, sizeof *flags);
  size_t count = 0;
  for (size_t i = 0; i < OPTIONS_KEY_COUNT; i++) {
    if (options->sources[i] != CONF_FROM_FLAG || (options_table.keys[i].commands & command) == 0) continue;
    const char *member = (const char *)options + options_table.keys[i].offset;
    flags = add_flags(flags, &count, &options_table.keys[i], member);
  }
  return flags;
}

void options_free_words(char **words) {
  for (size_t i = 0; words != NULL && words[i] != NULL; i++)
    free(words[i]);
  free(words);
}

// Flags first: they may name the file. A higher source wins whatever the order.
static int load(struct options *options, enum options_command command, int argc, char **argv,
                struct conf_error *error) {
  char **words;
  int behind;
  if (refuse_token_flag(argc, argv, error) != 0) return -1;
  int rc = conf_args(&options_table, options, options->sources, command, argc, argv, false, &words, &behind, error);
  if (rc != 0) return rc;
  options->words = words;
  rc = take_words(options, argc, argv, words, behind, error);
  if (rc == 0) rc = conf_env(&options_table, options, options->sources, error);
  if (rc != 0) return rc;
  if (options->config[0] == '\0') replace(&options->config, find_file());
  if (options->config[0] != '\0') rc = conf_file(&options_table, options, options->sources, options->config, error);
  return rc == 0 ? finish(options, error) : rc;
}

static int refuse_token_flag(int argc, char **argv, struct conf_error *error) {
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
    if (strncmp(argv[i], "--token", 7) != 0 || (argv[i][7] != '\0' && argv[i][7] != '=')) continue;
    (void)snprintf(error->text, sizeof error->text,
                   "a token in a command line is visible to everybody on the machine; set the variable SHARD_TOKEN or "
                   "give --token-file FILE");
    return -1;
  }
  return 0;
}

static int take_words(struct options *options, int argc, char **argv, char **words, int behind,
                      struct conf_error *error) {
  while (words[options->word_count] != NULL)
    options->word_count++;
  if (behind < argc) options->command = argv + behind;
  if (options->command == NULL || options->command[0][0] != '\0') return 0;
  (void)snprintf(error->text, sizeof error->text, "the command behind -- begins with an empty word");
  return -1;
}

// shard.yml here or above, but not above the checkout: outside of one, only here. "" when there is none.
static char *find_file(void) {
  char *here = getcwd(NULL, 0);
  char *top = here != NULL ? project_top(here) : NULL;
  char *found = base_strdup("");
  while (here != NULL) {
    char *path = base_printf("%s/shard.yml", strcmp(here, "/") == 0 ? "" : here);
    if (access(path, F_OK) == 0) {
      replace(&found, path);
      break;
    }
    free(path);
    char *slash = strrchr(here, '/');
    if (top == NULL || strcmp(here, top) == 0 || slash == NULL || slash[1] == '\0') break;
    slash[slash == here ? 1 : 0] = '\0';
  }
  free(here);
  free(top);
  return found;
}

static int finish(struct options *options, struct conf_error *error) {
  if (options->suite[0] == '\0') replace(&options->suite, base_strdup("default"));
  if (options->results[0] == '\0') replace(&options->results, base_strdup("exit"));
  if (options->fail_fast && options->max_failures == 0) options->max_failures = 1;
  if (options->list[0] != '\0' && options->list_file[0] != '\0') {
    (void)snprintf(error->text, sizeof error->text, "list and list-file both say what the tests are; give one of them");
    return -1;
  }
  if (read_token(options, error) != 0 || count_workers(options, error) != 0) return -1;
  if (read_boot(options, error) != 0) return -1;
  if (options->project[0] == '\0') {
    char *here = getcwd(NULL, 0);
    replace(&options->project, project_name(ci_getenv, NULL, here != NULL ? here : "/"));
    free(here);
  }
  return check_bounds(options, error);
}

// The file speaks unless the token itself came from a higher source.
static int read_token(struct options *options, struct conf_error *error) {
  if (options->token_file[0] == '\0') return 0;
  bool outranked = options_source(options, "token") > options_source(options, "token-file");
  if (options->token[0] != '\0' && outranked) return 0;
  char bytes[MSG_TOKEN_MAX_BYTES + 4];
  const char *why = "";
  int fd = files_open(options->token_file, FILES_STREAM, &why);
  ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes - 1);
  if (fd >= 0 && n < 0) why = strerror(errno);
  if (fd >= 0) (void)close(fd);
  if (n >= 0) return take_token(options, bytes, (size_t)n, error);
  (void)snprintf(error->text, sizeof error->text, "cannot read token-file %.400s: %s", options->token_file, why);
  return -1;
}

static int take_token(struct options *options, char *bytes, size_t n, struct conf_error *error) {
  bytes[n] = '\0';
  size_t length = strcspn(bytes, "\r\n");
  const char *wrong = length == 0                    ? "its first line is empty"
                      : length > MSG_TOKEN_MAX_BYTES ? "its first line is longer than a token may be (256 bytes)"
                      : strlen(bytes) < n && length == strlen(bytes) ? "it holds a NUL byte"
                                                                     : NULL;
  if (wrong != NULL) {
    (void)snprintf(error->text, sizeof error->text, "token-file %.400s: %s", options->token_file, wrong);
    return -1;
  }
  replace(&options->token, base_memdup0(bytes, length));
  return 0;
}

static int count_workers(struct options *options, struct conf_error *error) {
  if (options->workers[0] == '\0' || strcmp(options->workers, "auto") == 0) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    options->worker_count = cores < 1 ? 1 : cores > OPTIONS_WORKERS_MAX ? OPTIONS_WORKERS_MAX : (uint64_t)cores;
    return 0;
  }
  if (base_parse_u64(options->workers, 1, OPTIONS_WORKERS_MAX, &options->worker_count) == 0) return 0;
  char shown[SHOWN_BYTES];
  (void)snprintf(error->text, sizeof error->text, "workers: %s is no number from 1 to %d; give one, or auto",
                 base_quote(shown, sizeof shown, options->workers, strlen(options->workers)), OPTIONS_WORKERS_MAX);
  return -1;
}

static int read_boot(struct options *options, struct conf_error *error) {
  options->boot_told = options->boot[0] != '\0' && strcmp(options->boot, "auto") != 0;
  if (!options->boot_told || base_parse_duration(options->boot, 0, boot_max_us, &options->boot_us) == 0) return 0;
  char shown[SHOWN_BYTES];
  (void)snprintf(error->text, sizeof error->text, "boot: %s is no duration up to 24h; give one (20s, 1.5m), or auto",
                 base_quote(shown, sizeof shown, options->boot, strlen(options->boot)));
  return -1;
}

static int check_bounds(const struct options *options, struct conf_error *error) {
  for (size_t i = 0; i < COUNT_OF(bounds); i++) {
    char *text;
    memcpy(&text, (const char *)options + bounds[i].offset, sizeof text);
    if (strlen(text) <= bounds[i].max_bytes) continue;
    (void)snprintf(error->text, sizeof error->text, "%s is %zu bytes long; at most %zu are taken", bounds[i].name,
                   strlen(text), bounds[i].max_bytes);
    return -1;
  }
  return 0;
}

static size_t place_of(const char *name) {
  size_t i = 0;
  while (i < OPTIONS_KEY_COUNT && strcmp(options_table.keys[i].name, name) != 0)
    i++;
  if (i == OPTIONS_KEY_COUNT) base_die(EXIT_INFRA, "no option is called %s: this is a bug of shard", name);
  return i;
}

static void replace(char **text, char *by) {
  free(*text);
  *text = by;
}

// No key is a LIST today; it would need a flag for each item.
// A list is as many flags as it has items; an empty one, which takes away what file and variable say, is one.
static char **add_flags(char **flags, size_t *count, const struct conf_key *key, const char *member) {
  struct conf_list list = {0};
  if (key->type == CONF_LIST) memcpy(&list, member, sizeof list);
  flags = base_realloc(flags, *count + list.count + 2, sizeof *flags);
  for (size_t i = 0; i < list.count; i++)
    flags[(*count)++] = base_printf("--%s=%s", key->name, list.item[i]);
  if (list.count == 0) flags[(*count)++] = flag_of(key, member);
  flags[*count] = NULL;
  return flags;
}

static char *flag_of(const struct conf_key *key, const char *member) {
  char *text;
  bool yes;
  uint64_t number;
  int choice;
  char shown[32];
  switch (key->type) {
    case CONF_BOOL: memcpy(&yes, member, sizeof yes); return base_printf("--%s%s", yes ? "" : "no-", key->name);
    case CONF_STRING: memcpy(&text, member, sizeof text); return base_printf("--%s=%s", key->name, text);
    case CONF_CHOICE:
      memcpy(&choice, member, sizeof choice);
      return base_printf("--%s=%s", key->name, key->choices[choice]);
    case CONF_UINT:
    case CONF_DURATION:
    case CONF_SIZE: break;
    case CONF_LIST: return base_printf("--%s=", key->name);
  }
  memcpy(&number, member, sizeof number);
  return base_printf("--%s=%s", key->name, conf_value_number_text(key->type, number, shown, sizeof shown));
}
