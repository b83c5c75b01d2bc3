// Reads and writes quarantine.yml. Called by quarantine.c. Each refusal names file, line and column; one that can be
// found here is found before anything is changed. How long a test may be muted is the server's to say.
#include "worker/quarantine_file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/conf_value.h"
#include "proto/msg.h"
#include "worker/human.h"

enum { DAY_S = 86400, DAY_CHARS = 10, TEXT_BYTES = 1024, SHOWN_BYTES = 80 };

static const char *const keys[] = {"test", "reason", "until", "who", "ticket", "extend"};
enum { COMPULSORY = 3 };  // the first of them

struct reading {
  const struct yaml_tree *tree;
  struct yaml_error *error;
};

static int read_list(struct quarantine_file *file, struct yaml_error *error);
static int read_entry(const struct reading *reading, const struct yaml_node *node, struct quarantine_entry *entry);
static int check_keys(const struct reading *reading, const struct yaml_node *node);
static int check_text(const struct reading *reading, const struct yaml_node *map, const char *key);
static const char *told(const struct yaml_node *map, const char *key);
static int read_until(const struct reading *reading, const struct yaml_node *node, uint64_t *until_ms);
static bool read_day(const char *text, time_t *day);
static int read_extend(const struct reading *reading, const struct yaml_node *node, bool *extend);
static void print_quoted(FILE *out, const char *before, const char *key, const char *text);

int quarantine_file_read(struct quarantine_file *file, const char *path, struct yaml_error *error) {
  return quarantine_file_take(file, yaml_load(path, error), error);
}

int quarantine_file_take(struct quarantine_file *file, struct yaml_tree *tree, struct yaml_error *error) {
  struct quarantine_file fresh = {.tree = tree};
  if (fresh.tree == NULL) return -1;
  if (read_list(&fresh, error) != 0) {
    quarantine_file_release(&fresh);
    return -1;
  }
  *file = fresh;
  return 0;
}

void quarantine_file_release(struct quarantine_file *file) {
  yaml_tree_free(file->tree);
  free(file->entry);
  *file = (struct quarantine_file){0};
}

const struct quarantine_entry *quarantine_file_find(const struct quarantine_file *file, const char *test) {
  for (size_t i = 0; i < file->count; i++)
    if (strcmp(file->entry[i].test, test) == 0) return &file->entry[i];
  return NULL;
}

void quarantine_file_print(FILE *out, const struct quarantine_entry *entry) {
  time_t last = (time_t)(entry->until_ms / 1000) - 1;
  char day[32] = "";
  struct tm tm;
  print_quoted(out, "- ", "test", entry->test);
  print_quoted(out, "  ", "reason", entry->reason);
  if (entry->who[0] != '\0') print_quoted(out, "  ", "who", entry->who);
  if (entry->ticket[0] != '\0') print_quoted(out, "  ", "ticket", entry->ticket);
  if (gmtime_r(&last, &tm) != NULL) (void)strftime(day, sizeof day, "%Y-%m-%d", &tm);
  (void)fprintf(out, "  until: %s\n", day);
  if (entry->extend) (void)fprintf(out, "  extend: yes\n");
}

static void print_quoted(FILE *out, const char *before, const char *key, const char *text) {
  char *safe = human_safe(text, strlen(text), ESCAPE_YAML);
  (void)fprintf(out, "%s%s: \"%s\"\n", before, key, safe);
  free(safe);
}

// ---- reading

static int read_list(struct quarantine_file *file, struct yaml_error *error) {
  const struct yaml_node *root = yaml_root(file->tree);
  const struct reading reading = {.tree = file->tree, .error = error};
  if (root->kind != YAML_NODE_SEQ) {
    yaml_set_error(error, file->tree, root,
                   "this is no list of tests; begin each with \"- test:\", and write [] if there are none");
    return -1;
  }
  file->entry = base_calloc(root->count + 1, sizeof *file->entry);
  for (size_t i = 0; i < root->count; i++) {
    struct quarantine_entry entry;
    if (read_entry(&reading, root->item[i], &entry) != 0) return -1;
    const struct quarantine_entry *other = quarantine_file_find(file, entry.test);
    if (other != NULL) {
      yaml_set_error(error, file->tree, yaml_get(root->item[i], "test"),
                     "this test stands twice, first on line %u; remove one of them", other->line);
      return -1;
    }
    file->entry[file->count++] = entry;
  }
  return 0;
}

static int read_entry(const struct reading *reading, const struct yaml_node *node, struct quarantine_entry *entry) {
  if (node->kind != YAML_NODE_MAP) {
    yaml_set_error(reading->error, reading->tree, node,
                   "an entry has test, reason and until at least, as \"test: ID\" on a line of its own");
    return -1;
  }
  if (check_keys(reading, node) != 0) return -1;
  const struct yaml_node *test = yaml_get(node, "test");
  *entry = (struct quarantine_entry){.test = test->text,
                                     .reason = told(node, "reason"),
                                     .who = told(node, "who"),
                                     .ticket = told(node, "ticket"),
                                     .line = test->line,
                                     .column = test->column};
  if (!msg_id_valid(test->text, strlen(test->text))) {
    yaml_set_error(reading->error, reading->tree, test, "this is no id of a test: it has one line of at most %d bytes",
                   MSG_ID_MAX_BYTES);
    return -1;
  }
  if (read_until(reading, yaml_get(node, "until"), &entry->until_ms) != 0) return -1;
  return read_extend(reading, yaml_get(node, "extend"), &entry->extend);
}

static int check_keys(const struct reading *reading, const struct yaml_node *node) {
  for (size_t i = 0; i < node->count; i++) {
    bool found = false;
    for (size_t k = 0; k < COUNT_OF(keys); k++)
      found |= strcmp(node->key[i]->text, keys[k]) == 0;
    if (found) continue;
    yaml_set_error(reading->error, reading->tree, node->key[i],
                   "unknown key; known are test, reason, until, who, ticket, extend");
    return -1;
  }
  for (size_t k = 0; k < COUNT_OF(keys); k++)
    if (check_text(reading, node, keys[k]) != 0) return -1;
  for (size_t k = 0; k < COMPULSORY; k++) {
    if (told(node, keys[k])[0] != '\0') continue;
    yaml_set_error(reading->error, reading->tree, node,
                   "this entry has no %s; an entry has test, reason and until at least", keys[k]);
    return -1;
  }
  return 0;
}

static int check_text(const struct reading *reading, const struct yaml_node *map, const char *key) {
  const struct yaml_node *node = yaml_get(map, key);
  if (node == NULL) return 0;
  if (node->kind != YAML_NODE_SCALAR) {
    yaml_set_error(reading->error, reading->tree, node, "%s takes one text", key);
    return -1;
  }
  if (strcmp(key, "test") == 0 || strlen(node->text) <= TEXT_BYTES) return 0;
  yaml_set_error(reading->error, reading->tree, node, "%s is longer than %d bytes", key, TEXT_BYTES);
  return -1;
}

static const char *told(const struct yaml_node *map, const char *key) {
  const struct yaml_node *node = yaml_get(map, key);
  return node != NULL ? node->text : "";
}

static int read_until(const struct reading *reading, const struct yaml_node *node, uint64_t *until_ms) {
  char shown[SHOWN_BYTES];
  time_t day;
  if (!read_day(node->text, &day)) {
    yaml_set_error(reading->error, reading->tree, node, "until: %s is no day; it takes YEAR-MONTH-DAY",
                   base_quote(shown, sizeof shown, node->text, strlen(node->text)));
    return -1;
  }
  *until_ms = day > -DAY_S ? (uint64_t)(day + DAY_S) * 1000 : 0;
  return 0;
}

// The begin of a day of the calendar, UTC: strptime alone takes blanks for digits, and timegm the 31st of any month.
static bool read_day(const char *text, time_t *day) {
  struct tm tm = {0};
  if (strlen(text) != DAY_CHARS) return false;
  for (int i = 0; i < DAY_CHARS; i++)
    if (i == 4 || i == 7 ? text[i] != '-' : !isdigit((unsigned char)text[i])) return false;
  const char *end = strptime(text, "%Y-%m-%d", &tm);
  if (end == NULL || *end != '\0') return false;
  int month_day = tm.tm_mday;
  *day = timegm(&tm);
  return tm.tm_mday == month_day;
}

static int read_extend(const struct reading *reading, const struct yaml_node *node, bool *extend) {
  static const struct conf_key key = {.name = "extend", .type = CONF_BOOL};
  struct conf_value value = {0};
  struct conf_why why;
  if (node == NULL) return 0;
  if (conf_value_read(&key, node->text, CONF_SPLIT_NEVER, &value, &why) != 0) {
    yaml_set_error(reading->error, reading->tree, node, "extend: %s", why.text);
    return -1;
  }
  *extend = value.flag;
  return 0;
}
