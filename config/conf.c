// Binds one table of options to the YAML file and the environment, and prints it; flags are read in conf_args.c, single
// values in conf_value.c. Called by both programs' settings files. A source never undoes a higher one, whatever the
// order of the calls, yet each source is checked in full: a wrong line in the file is an error even when a flag
// overrides it. Must not know any option by name, nor what its value does.
#include "config/conf.h"

#include <stdlib.h>
#include <string.h>

#include "config/conf_value.h"
#include "config/nearest.h"
#include "config/yaml.h"

enum { NAME_BYTES = 64, SHOWN_BYTES = 80 };

struct target {
  const struct conf_table *table;
  void *settings;
  enum conf_source *sources;
};

static int read_map(const struct target *to, const struct yaml_tree *tree, struct yaml_error *error);
static int read_entry(const struct target *to, const struct yaml_tree *tree, size_t key_index,
                      const struct yaml_node *node, struct yaml_error *error);
static int read_node(const struct conf_key *key, const struct yaml_node *node, struct conf_value *value,
                     struct conf_why *why);
static int read_items(const struct conf_key *key, const struct yaml_node *node, struct conf_value *value,
                      struct conf_why *why);
static int read_pairs(const struct conf_key *key, const struct yaml_node *node, struct conf_value *value,
                      struct conf_why *why);
static void fail_unknown(const struct conf_table *table, const struct yaml_tree *tree, const struct yaml_node *node,
                         struct yaml_error *error);
static size_t find_key(const struct conf_table *table, const char *text);
static void put(const struct target *to, size_t key_index, enum conf_source source, struct conf_value *value);

void conf_init(const struct conf_table *table, void *settings, enum conf_source *sources) {
  for (size_t i = 0; i < table->count; i++) {
    conf_value_init(&table->keys[i], settings);
    if (sources != NULL) sources[i] = CONF_FROM_DEFAULT;
  }
}

int conf_file(const struct conf_table *table, void *settings, enum conf_source *sources, const char *path,
              struct conf_error *error) {
  struct yaml_error yaml_error;
  struct target to = {.table = table, .settings = settings, .sources = sources};
  struct yaml_tree *tree = yaml_load(path, &yaml_error);
  int rc = tree == NULL ? -1 : read_map(&to, tree, &yaml_error);
  if (rc != 0) (void)snprintf(error->text, sizeof error->text, "%s", yaml_error.text);
  yaml_tree_free(tree);
  return rc;
}

int conf_env(const struct conf_table *table, void *settings, enum conf_source *sources, struct conf_error *error) {
  struct target to = {.table = table, .settings = settings, .sources = sources};
  for (size_t i = 0; i < table->count; i++) {
    const struct conf_key *key = &table->keys[i];
    char name[NAME_BYTES * 2];
    conf_variable(table, key, name, sizeof name);
    const char *text = (key->not_from & 1u << CONF_FROM_ENV) ? NULL : getenv(name);
    if (text == NULL || text[0] == '\0') continue;
    struct conf_value value;
    struct conf_why why;
    if (conf_value_read(key, text, CONF_SPLIT_ENV, &value, &why) != 0) {
      (void)snprintf(error->text, sizeof error->text, "variable %s: %s", name, why.text);
      return -1;
    }
    put(&to, i, CONF_FROM_ENV, &value);
  }
  return 0;
}

void conf_variable(const struct conf_table *table, const struct conf_key *key, char *out, size_t out_size) {
  int n = snprintf(out, out_size, "%s_%s", table->env_prefix, key->name);
  for (int i = 0; i < n && (size_t)i < out_size; i++) {
    if (out[i] == '-') out[i] = '_';
    if (out[i] >= 'a' && out[i] <= 'z') out[i] = (char)(out[i] - 'a' + 'A');
  }
}

void conf_print(const struct conf_table *table, const void *settings, FILE *out) {
  for (size_t i = 0; i < table->count; i++) {
    const struct conf_key *key = &table->keys[i];
    if (key->not_from & 1u << CONF_FROM_FILE) continue;
    const char *text = "";
    if (key->secret && key->type == CONF_STRING) memcpy(&text, (const char *)settings + key->offset, sizeof text);
    if (!conf_value_in_bounds(key, settings)) {
      fprintf(out, "# %s: unset\n", key->name);
    } else if (key->secret && (key->type != CONF_STRING || text[0] != '\0')) {
      fprintf(out, "%s: \"***\"\n", key->name);
    } else {
      fprintf(out, "%s: ", key->name);
      conf_value_print(key, settings, out);
      fputc('\n', out);
    }
  }
}

void conf_release(const struct conf_table *table, void *settings) {
  for (size_t i = 0; i < table->count; i++)
    conf_value_release(&table->keys[i], settings);
}

static int read_map(const struct target *to, const struct yaml_tree *tree, struct yaml_error *error) {
  const struct yaml_node *root = yaml_root(tree);
  if (root->kind != YAML_NODE_MAP) {
    yaml_set_error(error, tree, root, "no options here; write lines of \"name: value\"");
    return -1;
  }
  unsigned *line = base_calloc(to->table->count, sizeof *line);
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < root->count; i++) {
    size_t k = find_key(to->table, root->key[i]->text);
    if (k == to->table->count) {
      fail_unknown(to->table, tree, root->key[i], error);
      rc = -1;
    } else if (line[k] != 0) {
      yaml_set_error(error, tree, root->key[i], "%s stands twice, first on line %u; remove one of them",
                     to->table->keys[k].name, line[k]);
      rc = -1;
    } else {
      line[k] = root->key[i]->line;
      rc = read_entry(to, tree, k, root->item[i], error);
    }
  }
  free(line);
  return rc;
}

static int read_entry(const struct target *to, const struct yaml_tree *tree, size_t key_index,
                      const struct yaml_node *node, struct yaml_error *error) {
  const struct conf_key *key = &to->table->keys[key_index];
  struct conf_value value;
  struct conf_why why;
  if (key->not_from & 1u << CONF_FROM_FILE) {
    yaml_set_error(error, tree, node, "%s has no place in a file; give it as --%s", key->name, key->name);
    return -1;
  }
  if (read_node(key, node, &value, &why) != 0) {
    yaml_set_error(error, tree, node, "%s: %s", key->name, why.text);
    return -1;
  }
  put(to, key_index, CONF_FROM_FILE, &value);
  return 0;
}

static int read_node(const struct conf_key *key, const struct yaml_node *node, struct conf_value *value,
                     struct conf_why *why) {
  if (node->kind == YAML_NODE_SEQ && key->type == CONF_LIST) return read_items(key, node, value, why);
  if (node->kind == YAML_NODE_MAP && key->pairs) return read_pairs(key, node, value, why);
  if (node->kind != YAML_NODE_SCALAR) {
    conf_value_explain(key, node->kind == YAML_NODE_MAP ? "a map is wrong here" : "a sequence is wrong here", why);
    return -1;
  }
  bool null = !node->quoted && (strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
  return conf_value_read(key, null ? "" : node->text, CONF_SPLIT_NEVER, value, why);
}

static int read_items(const struct conf_key *key, const struct yaml_node *node, struct conf_value *value,
                      struct conf_why *why) {
  struct conf_list list = {.item = base_calloc(node->count, sizeof *list.item)};
  struct conf_value all = {.list = list};
  for (size_t i = 0; i < node->count; i++) {
    const struct yaml_node *item = node->item[i];
    if (item->kind != YAML_NODE_SCALAR || item->text[0] == '\0') {
      char what[64];
      (void)snprintf(what, sizeof what, "item %zu is no text", i + 1);
      conf_value_explain(key, what, why);
      conf_value_drop(key, &all);
      return -1;
    }
    all.list.item[all.list.count++] = base_strdup(item->text);
  }
  *value = all;
  return 0;
}

static int read_pairs(const struct conf_key *key, const struct yaml_node *node, struct conf_value *value,
                      struct conf_why *why) {
  struct conf_list list = {.item = base_calloc(node->count, sizeof *list.item)};
  struct conf_value all = {.list = list};
  for (size_t i = 0; i < node->count; i++) {
    if (node->item[i]->kind != YAML_NODE_SCALAR) {
      conf_value_explain(key, "a value of the map is no text", why);
      conf_value_drop(key, &all);
      return -1;
    }
    all.list.item[all.list.count++] = base_printf("%s=%s", node->key[i]->text, node->item[i]->text);
  }
  *value = all;
  return 0;
}

static void fail_unknown(const struct conf_table *table, const struct yaml_tree *tree, const struct yaml_node *node,
                         struct yaml_error *error) {
  char shown[SHOWN_BYTES], hint[NAME_BYTES * 2];
  struct nearest nearest;
  nearest_init(&nearest, node->text);
  for (size_t i = 0; i < table->count; i++)
    if (!(table->keys[i].not_from & 1u << CONF_FROM_FILE)) nearest_offer(&nearest, table->keys[i].name);
  (void)nearest_hint(&nearest, "", hint, sizeof hint);
  (void)base_quote(shown, sizeof shown, node->text, strlen(node->text));
  yaml_set_error(error, tree, node, "unknown key %s%s", shown, hint[0] ? hint : "; --help lists the known ones");
}

// Place of the key in the table, its count when there is none. Underscores are taken for dashes.
static size_t find_key(const struct conf_table *table, const char *text) {
  char name[NAME_BYTES];
  size_t length = strlen(text), i;
  if (length >= sizeof name) return table->count;
  for (i = 0; i <= length; i++)
    name[i] = text[i] == '_' ? '-' : text[i];
  for (i = 0; i < table->count; i++)
    if (strcmp(table->keys[i].name, name) == 0) break;
  return i;
}

// Stores the value unless a higher source spoke before.
static void put(const struct target *to, size_t key_index, enum conf_source source, struct conf_value *value) {
  const struct conf_key *key = &to->table->keys[key_index];
  if (to->sources != NULL && to->sources[key_index] > source) {
    conf_value_drop(key, value);
    return;
  }
  conf_value_store(key, to->settings, value);
  if (to->sources != NULL) to->sources[key_index] = source;
}
