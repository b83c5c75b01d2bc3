// Merges the daemon's settings from their sources and checks what belongs together. Called by main.c at the start and
// by the loop on SIGHUP. The order is flags, variables, file, since the first two name the file; conf.c keeps the
// precedence whatever the order. A reload reads everything anew and then takes back what only a restart may change, so
// that the running daemon never has a mixture that nobody wrote. Must not open, bind or log anything.
#include "server/settings.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/conf_value.h"

enum { LOADED = 0, HELP = 1, VERSION = 2, ANSWERED = 1, LEASE_HEARTBEATS = 3, MODE_BITS = 0777 };

static int load(int argc, char **argv, struct settings *settings, struct conf_error *error);
static int read_args(struct settings *settings, struct conf_error *error);
static int read_file(struct settings *settings, struct conf_error *error);
static void print_help(void);
static int check_listen(const struct settings *settings, struct conf_error *error);
static int check_beats(const struct settings *settings, struct conf_error *error);
static int parse_mode(const char *text, mode_t *out);
static void keep_fixed(const struct settings *old, struct settings *fresh);

int settings_load(int argc, char **argv, struct settings *settings, struct conf_error *error) {
  struct settings loaded;
  int rc = load(argc, argv, &loaded, error);
  if (rc == LOADED && !loaded.check_config) {
    *settings = loaded;
    return 0;
  }
  if (rc == HELP) print_help();
  if (rc == VERSION) printf("shardd %s\n", SHARD_VERSION);
  if (rc == LOADED) printf("ok: %s\n", loaded.file[0] ? loaded.file : "no file, defaults");
  settings_release(&loaded);
  return rc < 0 ? -1 : ANSWERED;
}

int settings_reload(const struct settings *old, struct settings *fresh, struct conf_error *error) {
  struct settings loaded;
  int rc = load(old->argc, old->argv, &loaded, error);
  if (rc == LOADED && old->file[0] != '\0' && loaded.file[0] == '\0') {
    (void)snprintf(error->text, sizeof error->text, "%s: is gone; put it back, or restart to run without it",
                   old->file);
    rc = -1;
  }
  if (rc != LOADED) {
    settings_release(&loaded);
    return -1;
  }
  keep_fixed(old, &loaded);
  *fresh = loaded;
  return 0;
}

bool settings_protects(const struct settings *settings, const char *branch) {
  const struct conf_list *list = &settings->protected_refs;
  for (size_t i = 0; i < list->count; i++)
    if (fnmatch(list->item[i], branch, 0) == 0 && branch[0] != '\0') return true;
  return list->count == 0;
}

bool settings_trunk(const struct settings *settings, const char *branch) {
  static const char *const usual[] = {"", "main", "master", "trunk"}, *const before[] = {"refs/heads/", "origin/"};
  if (settings->protected_refs.count > 0) return settings_protects(settings, branch);
  for (size_t i = 0; i < COUNT_OF(before); i++)
    if (strncmp(branch, before[i], strlen(before[i])) == 0) branch += strlen(before[i]);
  for (size_t i = 0; i < COUNT_OF(usual); i++)
    if (strcmp(usual[i], branch) == 0) return true;
  return false;
}

int settings_check(const struct settings *settings, struct conf_error *error) {
  mode_t mode;
  char shown[80];
  if (check_listen(settings, error) != 0 || check_beats(settings, error) != 0) return -1;
  if (parse_mode(settings->socket_mode, &mode) != 0) {
    (void)snprintf(error->text, sizeof error->text,
                   "socket-mode: %s is wrong; it takes an octal number from 0000 to 0777, such as 0660",
                   base_quote(shown, sizeof shown, settings->socket_mode, strlen(settings->socket_mode)));
    return -1;
  }
  if (settings->database[0] == '\0') {
    (void)snprintf(error->text, sizeof error->text, "database: it is empty; give the path of a file");
    return -1;
  }
  return 0;
}

mode_t settings_socket_mode(const struct settings *settings) {
  mode_t mode = 0;
  if (parse_mode(settings->socket_mode, &mode) != 0) base_die(EXIT_INFRA, "socket-mode was not checked");
  return mode;
}

enum log_level settings_log_level(const struct settings *settings) {
  static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};
  return levels[settings->log_level];
}

void settings_release(struct settings *settings) {
  conf_release(&settings_table, settings);
  free(settings->file);
  settings->file = NULL;
}

// 0, HELP, VERSION or -1; the caller releases the settings in any case.
static int load(int argc, char **argv, struct settings *settings, struct conf_error *error) {
  *settings = (struct settings){.argc = argc, .argv = argv, .file = base_strdup("")};
  conf_init(&settings_table, settings, settings->sources);
  int rc = read_args(settings, error);
  if (rc == 0) rc = conf_env(&settings_table, settings, settings->sources, error);
  if (rc == 0) rc = read_file(settings, error);
  if (rc == 0) rc = settings_check(settings, error);
  return rc;
}

static int read_args(struct settings *settings, struct conf_error *error) {
  char **words;
  int behind, rc = conf_args(&settings_table, settings, settings->sources, 0, settings->argc, settings->argv, false,
                             &words, &behind, error);
  if (rc != 0) return rc;
  const char *word = words[0] != NULL ? words[0] : behind < settings->argc ? settings->argv[behind] : NULL;
  if (word != NULL) {
    char shown[80];
    (void)snprintf(error->text, sizeof error->text, "%s is no flag, and shardd takes nothing else; see --help",
                   base_quote(shown, sizeof shown, word, strlen(word)));
    rc = -1;
  }
  free(words);
  return rc;
}

static int read_file(struct settings *settings, struct conf_error *error) {
  const char *path = settings->config;
  if (path[0] == '\0' && access(SETTINGS_FILE, F_OK) == 0) path = SETTINGS_FILE;
  if (path[0] == '\0') return 0;
  if (conf_file(&settings_table, settings, settings->sources, path, error) != 0) return -1;
  free(settings->file);
  settings->file = base_strdup(path);
  return 0;
}

static void print_help(void) {
  printf(
      "Usage: shardd [FLAGS]\n\n"
      "Holds the queues of parallel test jobs and the history of their tests. Every flag has a\n"
      "variable (in brackets) and a key of the same name in shardd.yml; flags win over variables,\n"
      "variables over the file.\n\n");
  conf_help(&settings_table, 0, stdout);
  printf(
      "\nDURATION: 250ms, 15s, 1.5m, 2h, 30d. SIZE: 512, 64k, 8M, 1G.\n"
      "Signals: SIGHUP reads the settings again, SIGTERM ends after what was received is on disk.\n"
      "Ends with 0 after SIGTERM, 2 for wrong settings, 16 when it cannot go on.\n");
}

static int check_listen(const struct settings *settings, struct conf_error *error) {
  const struct conf_list *listen = &settings->listen;
  if (listen->count == 0 || listen->count > SETTINGS_LISTEN_MAX) {
    (void)snprintf(error->text, sizeof error->text,
                   "listen: %zu addresses; give 1 to %d, such as unix:/run/shardd/shardd.sock", listen->count,
                   SETTINGS_LISTEN_MAX);
    return -1;
  }
  for (size_t i = 0; i < listen->count; i++) {
    struct settings_address address;
    if (settings_address(listen->item[i], &address, error) != 0) return -1;
    if (address.local || address.loopback || settings->token_file[0] != '\0') continue;
    (void)snprintf(error->text, sizeof error->text,
                   "listen: %s can be reached from other machines, and without tokens everybody could come in; set "
                   "token-file, or listen on tcp://127.0.0.1:%u or a Unix socket",
                   listen->item[i], address.port);
    return -1;
  }
  return 0;
}

static int check_beats(const struct settings *settings, struct conf_error *error) {
  uint64_t most_us = settings->lease_ttl_us / LEASE_HEARTBEATS;
  if (settings->heartbeat_us <= most_us) return 0;
  char beat[32], ttl[32], most[32];
  (void)snprintf(error->text, sizeof error->text,
                 "heartbeat: %s is more than a third of lease-ttl (%s), so that one late heartbeat could cost a lease; "
                 "make it at most %s, or raise lease-ttl",
                 conf_value_number_text(CONF_DURATION, settings->heartbeat_us, beat, sizeof beat),
                 conf_value_number_text(CONF_DURATION, settings->lease_ttl_us, ttl, sizeof ttl),
                 conf_value_number_text(CONF_DURATION, most_us, most, sizeof most));
  return -1;
}

static int parse_mode(const char *text, mode_t *out) {
  size_t length = strlen(text);
  if (length < 3 || length > 4 || strspn(text, "01234567") != length) return -1;
  unsigned long mode = strtoul(text, NULL, 8);
  if (mode > MODE_BITS) return -1;
  *out = (mode_t)mode;
  return 0;
}

// Takes back, and names, what changed although only a restart may change it.
static void keep_fixed(const struct settings *old, struct settings *fresh) {
  size_t at = 0;
  for (size_t i = 0; i < settings_table.count; i++) {
    const struct conf_key *key = &settings_table.keys[i];
    if (key->reload || conf_value_equal(key, old, fresh)) continue;
    conf_value_copy(key, fresh, old);
    fresh->sources[i] = old->sources[i];
    int n =
        snprintf(fresh->needs_restart + at, sizeof fresh->needs_restart - at, "%s%s", at > 0 ? ", " : "", key->name);
    if (n > 0 && at + (size_t)n < sizeof fresh->needs_restart) at += (size_t)n;
  }
}
