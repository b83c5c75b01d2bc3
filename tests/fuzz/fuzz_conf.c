// YAML and the settings of both programs: a tree is within its bounds and knows its places; settings that were read are
// printed, and reading what was printed prints the same.
#include "config/conf.h"
#include "config/yaml.h"
#include "server/settings.h"
#include "tests/fuzz/fuzz_file.h"
#include "worker/options.h"

static size_t walk(const struct yaml_node *node, unsigned depth) {
  size_t nodes = 1;
  FUZZ_CHECK(depth <= YAML_MAX_DEPTH + 1 && node->line >= 1 && node->column >= 1);
  if (node->kind == YAML_NODE_SCALAR) FUZZ_CHECK(node->text != NULL && node->count == 0);
  for (size_t i = 0; i < node->count; i++) {
    nodes += walk(node->item[i], depth + 1);
    if (node->kind != YAML_NODE_MAP) continue;
    FUZZ_CHECK(node->key[i]->kind == YAML_NODE_SCALAR && yaml_get(node, node->key[i]->text) == node->item[i]);
  }
  return nodes;
}

static void parse(const uint8_t *bytes, size_t n) {
  struct yaml_error error = {""};
  struct yaml_tree *tree = yaml_parse("fuzz.yml", bytes, n, &error);
  if (tree == NULL) {
    FUZZ_CHECK(strncmp(error.text, "fuzz.yml", 8) == 0);
    return;
  }
  FUZZ_CHECK(walk(yaml_root(tree), 0) <= YAML_MAX_NODES);
  yaml_tree_free(tree);
}

static char *print(const struct conf_table *table, const void *settings, size_t *n) {
  char *text = NULL;
  FILE *out = open_memstream(&text, n);
  FUZZ_CHECK(out != NULL);
  conf_print(table, settings, out);
  FUZZ_CHECK(fclose(out) == 0);
  return text;
}

// The printed settings of a file; NULL when it is refused.
static char *read_and_print(const struct conf_table *table, void *settings, const void *bytes, size_t n, size_t *size) {
  struct conf_error error = {""};
  char path[FUZZ_PATH_BYTES], *text = NULL;
  int fd = fuzz_hold(bytes, n, path);
  conf_init(table, settings, NULL);
  if (conf_file(table, settings, NULL, path, &error) == 0)
    text = print(table, settings, size);
  else
    FUZZ_CHECK(error.text[0] != '\0');
  conf_release(table, settings);
  close(fd);
  return text;
}

static void bind(const struct conf_table *table, void *settings, const uint8_t *bytes, size_t n) {
  size_t first_bytes = 0, second_bytes = 0;
  char *first = read_and_print(table, settings, bytes, n, &first_bytes);
  if (first == NULL) return;
  char *second = read_and_print(table, settings, first, first_bytes, &second_bytes);
  FUZZ_CHECK(second != NULL && strcmp(first, second) == 0);
  free(first);
  free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct options options = {0};
  struct settings settings = {0};
  parse(bytes, n);
  bind(&options_table, &options, bytes, n);
  bind(&settings_table, &settings, bytes, n);
  return 0;
}
