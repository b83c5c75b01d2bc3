// The quarantine's subcommands. Called by main.c. What may be muted, and for how long, is the server's to say; its
// refusals are printed with the test they are about.
#include "worker/quarantine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/yaml.h"
#include "worker/admin.h"
#include "worker/human.h"
#include "worker/show.h"

enum { ENTRIES_MAX = 10000, DAY_S = 86400, NAME_BYTES = 1024 };

struct entry {
  const char *test, *reason, *who, *ticket;
  uint64_t life_ms;
  bool file, extend;
};

struct listing {  // of the entries that came from a file
  char **test;
  size_t count;
};

static int add(const struct options *options, const char *test);
static int take_out(const struct options *options, const char *test);
static int list(const struct options *options);
static int export_entries(const struct options *options);
static int import_entries(const struct options *options, const char *path);

static const struct action {
  const char *name;
  int (*bare)(const struct options *options);
  int (*with)(const struct options *options, const char *word);
  const char *otherwise;  // the word, when there is none; NULL: it must be given
} actions[] = {
    {"add", NULL, add, NULL},
    {"remove", NULL, take_out, NULL},
    {"list", list, NULL, NULL},
    {"export", export_entries, NULL, NULL},
    {"import", NULL, import_entries, "quarantine.yml"},
};

static int ask_mute(struct ask *ask, const struct options *options, Shardd__QueryKind kind, const struct entry *entry);
static int on_export(void *arg, const struct answer *answer);
static void print_quoted(const char *before, const char *key, const char *text);
static int on_known(void *arg, const struct answer *answer);
static int import_all(struct ask *ask, const struct options *options, const struct yaml_tree *tree);
static int read_entry(const struct yaml_tree *tree, const struct yaml_node *node, struct entry *entry,
                      struct yaml_error *error);
static int read_until(const struct yaml_tree *tree, const struct yaml_node *node, uint64_t *life_ms,
                      struct yaml_error *error);
static int drop_others(struct ask *ask, const struct options *options, const struct yaml_node *root);
static const char *told(const struct yaml_node *map, const char *key);

int quarantine_main(struct options *options, char **words, size_t count, char **command) {
  (void)command;
  for (size_t i = 0; i < COUNT_OF(actions); i++) {
    const struct action *action = &actions[i];
    if (strcmp(words[0], action->name) != 0) continue;
    const char *word = count > 1 ? words[1] : action->otherwise;
    if ((action->bare != NULL) != (count == 1) && action->otherwise == NULL) break;
    return action->bare != NULL ? action->bare(options) : action->with(options, word);
  }
  fprintf(stderr, "shard quarantine: say add ID, remove ID, list, export, or import [FILE]\n");
  return EXIT_USAGE;
}

static int add(const struct options *options, const char *test) {
  const char *user = getenv("USER");
  struct entry entry = {.test = test,
                        .reason = options->reason,
                        .who = options->who[0] ? options->who
                               : user != NULL  ? user
                                               : "",
                        .ticket = options->ticket,
                        .life_ms = options->for_us / 1000,
                        .extend = options->extend};
  struct ask *ask;
  if (options->reason[0] == '\0') {
    fprintf(stderr, "shard quarantine: say why with --reason\n");
    return EXIT_USAGE;
  }
  int code = admin_open(options, &ask);
  if (code != EXIT_OK) return code;
  code = ask_mute(ask, options, SHARDD__QUERY_KIND__QUERY_MUTE, &entry);
  ask_close(ask);
  return code;
}

static int take_out(const struct options *options, const char *test) {
  struct entry entry = {.test = test, .reason = options->reason[0] ? options->reason : "taken out", .ticket = ""};
  struct ask *ask;
  const char *user = getenv("USER");
  entry.who = options->who[0] ? options->who : user != NULL ? user : "";
  int code = admin_open(options, &ask);
  if (code != EXIT_OK) return code;
  code = ask_mute(ask, options, SHARDD__QUERY_KIND__QUERY_UNMUTE, &entry);
  ask_close(ask);
  return code;
}

static int list(const struct options *options) {
  const struct show show = {
      .kind = SHARDD__QUERY_KIND__QUERY_QUARANTINE, .empty = "no test is muted", .any_suite = true};
  return show_run(options, &show);
}

static int ask_mute(struct ask *ask, const struct options *options, Shardd__QueryKind kind, const struct entry *entry) {
  Shardd__Query query = SHARDD__QUERY__INIT;
  struct ask_error error;
  struct answer answer;
  if (!msg_id_valid(entry->test, strlen(entry->test)) || strlen(entry->reason) > NAME_BYTES ||
      strlen(entry->who) > NAME_BYTES || strlen(entry->ticket) > NAME_BYTES) {
    fprintf(stderr, "shard quarantine: a test's id or a text is empty or too long\n");
    return EXIT_USAGE;
  }
  query.kind = kind;
  query.project = msg_text(options->project);
  query.suite = msg_text(options->suite);
  query.test = msg_text(entry->test);
  query.reason = msg_text(entry->reason);
  query.who = msg_text(entry->who);
  query.ticket = msg_text(entry->ticket);
  query.life_ms = entry->life_ms;
  query.mute_flags = (entry->file ? 1u : 0u) | (entry->extend ? 2u : 0u);
  if (ask_wait(ask, &query, (unsigned)(options->connect_timeout_us / 1000), &answer, &error) == 0) return EXIT_OK;
  char *safe = human_safe(entry->test, strlen(entry->test), ESCAPE_LINE);
  fprintf(stderr, "shard quarantine: %s: %s\n", safe, error.text);
  free(safe);
  return error.exit_code;
}

// ---- quarantine.yml

static int export_entries(const struct options *options) {
  const struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_QUARANTINE, .limit = ENTRIES_MAX, .on_page = on_export};
  printf("# Muted tests; `shard quarantine import` takes this file over.\n");
  int code = show_run(options, &show);
  if (code == EXIT_OK && fflush(stdout) != 0) code = admin_fail_output();
  return code;
}

static int on_export(void *arg, const struct answer *answer) {
  (void)arg;
  for (size_t row = 0; row < answer->row_count; row++) {
    static const char *const keys[] = {"test", "reason", "who", "ticket"};
    char *status = answer_get_text(answer, row, "status"), day[32] = "";
    time_t until = (time_t)(answer_get_number(answer, row, "expires", 0) / 1000) - 1;
    struct tm tm;
    bool muted = strcmp(status, "muted") == 0;
    free(status);
    if (!muted) continue;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
      char *text = answer_get_text(answer, row, keys[i]);
      if (text[0] != '\0') print_quoted(i == 0 ? "- " : "  ", keys[i], text);
      free(text);
    }
    if (gmtime_r(&until, &tm) != NULL) (void)strftime(day, sizeof day, "%Y-%m-%d", &tm);
    printf("  until: %s\n", day);
  }
  return ferror(stdout) ? admin_fail_output() : EXIT_OK;
}

static void print_quoted(const char *before, const char *key, const char *text) {
  char *safe = human_safe(text, strlen(text), ESCAPE_YAML);
  printf("%s%s: \"%s\"\n", before, key, safe);
  free(safe);
}

static int import_entries(const struct options *options, const char *path) {
  struct yaml_error error;
  struct yaml_tree *tree = yaml_load(path, &error);
  struct ask *ask = NULL;
  if (tree == NULL) {
    fprintf(stderr, "shard quarantine: %s\n", error.text);
    return EXIT_USAGE;
  }
  const struct yaml_node *root = yaml_root(tree);
  int code = EXIT_OK;
  if (root->kind != YAML_NODE_SEQ && root->count > 0) {
    fprintf(stderr, "shard quarantine: %s: this is no list of tests\n", path);
    code = EXIT_USAGE;
  }
  if (code == EXIT_OK) code = admin_open(options, &ask);
  if (code == EXIT_OK) code = import_all(ask, options, tree);
  if (code == EXIT_OK) code = drop_others(ask, options, root);
  ask_close(ask);
  yaml_tree_free(tree);
  return code;
}

// The whole file is read before anything is changed.
static int import_all(struct ask *ask, const struct options *options, const struct yaml_tree *tree) {
  const struct yaml_node *root = yaml_root(tree);
  struct yaml_error error;
  struct entry entry;
  int worst = EXIT_OK;
  for (int change = 0; change < 2; change++)
    for (size_t i = 0; i < root->count; i++) {
      if (read_entry(tree, root->item[i], &entry, &error) != 0) {
        fprintf(stderr, "shard quarantine: %s\n", error.text);
        return EXIT_USAGE;
      }
      if (change == 0) continue;
      if (entry.life_ms == 0) {
        fprintf(stderr, "shard quarantine: %s: its time is over, it gates again\n", entry.test);
        continue;
      }
      int code = ask_mute(ask, options, SHARDD__QUERY_KIND__QUERY_MUTE, &entry);
      if (code != EXIT_OK) worst = code;
    }
  return worst;
}

static const char *told(const struct yaml_node *map, const char *key) {
  const struct yaml_node *node = yaml_get(map, key);
  return node != NULL && node->kind == YAML_NODE_SCALAR ? node->text : "";
}

static int read_entry(const struct yaml_tree *tree, const struct yaml_node *node, struct entry *entry,
                      struct yaml_error *error) {
  static const char *const known[] = {"test", "reason", "who", "ticket", "until", "extend"};
  if (node->kind != YAML_NODE_MAP || told(node, "test")[0] == '\0' || told(node, "reason")[0] == '\0' ||
      told(node, "until")[0] == '\0') {
    yaml_set_error(error, tree, node, "an entry has test, reason and until at least");
    return -1;
  }
  for (size_t i = 0; i < node->count; i++) {
    bool found = false;
    for (size_t k = 0; k < COUNT_OF(known); k++)
      found |= strcmp(node->key[i]->text, known[k]) == 0;
    if (found) continue;
    yaml_set_error(error, tree, node->key[i], "unknown key; known are test, reason, who, ticket, until, extend");
    return -1;
  }
  *entry =
      (struct entry){.test = told(node, "test"),
                     .reason = told(node, "reason"),
                     .who = told(node, "who"),
                     .ticket = told(node, "ticket"),
                     .file = true,
                     .extend = strcmp(told(node, "extend"), "yes") == 0 || strcmp(told(node, "extend"), "true") == 0};
  return read_until(tree, yaml_get(node, "until"), &entry->life_ms, error);
}

// The end of a day, UTC; 0 ms when it has passed.
static int read_until(const struct yaml_tree *tree, const struct yaml_node *node, uint64_t *life_ms,
                      struct yaml_error *error) {
  struct tm tm = {0};
  const char *end = strptime(node->text, "%Y-%m-%d", &tm);
  uint64_t now_ms = base_wall_us() / 1000;
  time_t day = end != NULL && *end == '\0' ? timegm(&tm) : (time_t)-1;
  if (day == (time_t)-1) {
    yaml_set_error(error, tree, node, "until is no day like 2026-12-31");
    return -1;
  }
  uint64_t end_ms = ((uint64_t)day + DAY_S) * 1000;
  *life_ms = end_ms > now_ms ? end_ms - now_ms : 0;
  return 0;
}

static int on_known(void *arg, const struct answer *answer) {
  struct listing *listing = arg;
  for (size_t row = 0; row < answer->row_count; row++) {
    char *origin = answer_get_text(answer, row, "origin");
    if (strcmp(origin, "file") == 0) {
      listing->test = base_realloc(listing->test, listing->count + 1, sizeof *listing->test);
      listing->test[listing->count++] = answer_get_text(answer, row, "test");
    }
    free(origin);
  }
  return EXIT_OK;
}

static int drop_others(struct ask *ask, const struct options *options, const struct yaml_node *root) {
  struct listing listing = {0};
  const struct show show = {
      .kind = SHARDD__QUERY_KIND__QUERY_QUARANTINE, .limit = ENTRIES_MAX, .on_page = on_known, .arg = &listing};
  int code = show_ask(ask, options, &show);
  for (size_t i = 0; i < listing.count; i++) {
    const struct entry entry = {
        .test = listing.test[i], .reason = "no longer in the file", .who = "", .ticket = "", .file = true};
    bool found = false;
    for (size_t k = 0; k < root->count; k++)
      found |= strcmp(told(root->item[k], "test"), entry.test) == 0;
    if (!found && code == EXIT_OK) code = ask_mute(ask, options, SHARDD__QUERY_KIND__QUERY_UNMUTE, &entry);
    free(listing.test[i]);
  }
  free(listing.test);
  return code;
}
