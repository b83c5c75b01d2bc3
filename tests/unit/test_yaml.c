// Tests of config/yaml.c: the tree and its lines, each refusal with its place, bounds, and hostile bytes: mutated,
// truncated and random documents, from a fixed seed, end in a sound tree or in a complete error.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
// cmocka wants the headers above.
#include <cmocka.h>

#include "config/yaml.h"

static struct yaml_tree *good_bytes(const char *text, size_t n) {
  struct yaml_error error = {"untouched"};
  struct yaml_tree *tree = yaml_parse("t.yml", text, n, &error);
  if (tree == NULL) fail_msg("refused: %s", error.text);
  assert_string_equal(error.text, "untouched");
  return tree;
}

static struct yaml_tree *good(const char *text) {
  return good_bytes(text, strlen(text));
}

static void refused_bytes(const char *text, size_t n, const char *expected) {
  struct yaml_error error = {""};
  struct yaml_tree *tree = yaml_parse("t.yml", text, n, &error);
  assert_null(tree);
  if (strncmp(error.text, expected, strlen(expected)) != 0)
    fail_msg("said:     %s\nexpected: %s", error.text, expected);
}

static void refused(const char *text, const char *expected) {
  refused_bytes(text, strlen(text), expected);
}

static void assert_scalar(const struct yaml_node *node, const char *text, unsigned line, unsigned column, bool quoted) {
  assert_non_null(node);
  assert_int_equal(node->kind, YAML_NODE_SCALAR);
  assert_string_equal(node->text, text);
  assert_int_equal(node->line, line);
  assert_int_equal(node->column, column);
  assert_int_equal(node->quoted, quoted);
}

static void test_tree_knows_its_lines(void **state) {
  (void)state;
  struct yaml_tree *tree = good(
      "# comment\n"
      "lease-ttl: 15s\n"
      "listen: [unix:/run/s.sock, 'tcp://localhost:4270']\n"
      "suites:\n"
      "  unit:\n"
      "    cmd:\n"
      "    - sh\n"
      "    - \"-c\"\n"
      "empty:\n"
      "text: |\n"
      "  two\n"
      "  lines\n");
  assert_string_equal(yaml_name(tree), "t.yml");
  const struct yaml_node *root = yaml_root(tree);
  assert_int_equal(root->kind, YAML_NODE_MAP);
  assert_int_equal(root->count, 5);
  assert_scalar(root->key[0], "lease-ttl", 2, 1, false);
  assert_scalar(yaml_get(root, "lease-ttl"), "15s", 2, 12, false);
  const struct yaml_node *listen = yaml_get(root, "listen");
  assert_int_equal(listen->kind, YAML_NODE_SEQ);
  assert_int_equal(listen->count, 2);
  assert_null(listen->key);
  assert_scalar(listen->item[0], "unix:/run/s.sock", 3, 10, false);
  assert_scalar(listen->item[1], "tcp://localhost:4270", 3, 28, true);
  const struct yaml_node *cmd = yaml_get(yaml_get(yaml_get(root, "suites"), "unit"), "cmd");
  assert_int_equal(cmd->count, 2);
  assert_scalar(cmd->item[0], "sh", 7, 7, false);
  assert_scalar(cmd->item[1], "-c", 8, 7, true);
  assert_string_equal(yaml_get(root, "empty")->text, "");
  assert_scalar(yaml_get(root, "text"), "two\nlines\n", 10, 7, true);
  assert_null(yaml_get(root, "lease_ttl"));
  assert_null(yaml_get(listen, "lease-ttl"));
  yaml_tree_free(tree);
  yaml_tree_free(NULL);
}

static void test_empty_documents_are_empty_maps(void **state) {
  (void)state;
  static const char *const empty[] = {"", "\n\n", "# only a comment\n", "---\n", "---\n...\n", "\xef\xbb\xbf", "{}"};
  for (size_t i = 0; i < COUNT_OF(empty); i++) {
    struct yaml_tree *tree = good(empty[i]);
    assert_int_equal(yaml_root(tree)->kind, YAML_NODE_MAP);
    assert_int_equal(yaml_root(tree)->count, 0);
    assert_int_equal(yaml_root(tree)->line, 1);
    assert_null(yaml_get(yaml_root(tree), "a"));
    yaml_tree_free(tree);
  }
  struct yaml_tree *tree = yaml_parse("nothing", NULL, 0, &(struct yaml_error){""});
  assert_non_null(tree);
  yaml_tree_free(tree);
}

static void test_other_roots(void **state) {
  (void)state;
  struct yaml_tree *tree = good("word\n");
  assert_scalar(yaml_root(tree), "word", 1, 1, false);
  yaml_tree_free(tree);
  tree = good("\"\"\n");  // quoted: a text, not nothing
  assert_scalar(yaml_root(tree), "", 1, 1, true);
  yaml_tree_free(tree);
  tree = good("- a\n- b\n");
  assert_int_equal(yaml_root(tree)->kind, YAML_NODE_SEQ);
  yaml_tree_free(tree);
}

static void test_default_tags_and_marks_pass(void **state) {
  (void)state;
  struct yaml_tree *tree = good("\xef\xbb\xbf%YAML 1.1\n---\na: !!str 12\nb: !!seq [x]\nc: !!map {d: e}\nf: größe\n");
  const struct yaml_node *root = yaml_root(tree);
  assert_scalar(yaml_get(root, "a"), "12", 3, 4, true);
  assert_int_equal(yaml_get(root, "b")->count, 1);
  assert_int_equal(yaml_get(root, "c")->count, 1);
  assert_string_equal(yaml_get(root, "f")->text, "größe");
  yaml_tree_free(tree);
}

static void test_refusals_name_the_place(void **state) {
  (void)state;
  refused("a: 1\nb: &x 2\n", "t.yml:2:4: an anchor (&); remove it");
  refused("a: &x [1]\n", "t.yml:1:4: an anchor (&)");
  refused("&x a: 1\n", "t.yml:1:1: an anchor (&)");
  refused("a: &x {b: *x}\n", "t.yml:1:4: an anchor (&)");
  refused("a: 1\nb: *x\n", "t.yml:2:4: an alias (*)");
  refused("a: !!python/object x\n", "t.yml:1:4: a tag (!)");
  refused("a: !x\n", "t.yml:1:4: a tag (!)");
  refused("a: !!int 5\n", "t.yml:1:4: a tag (!)");
  refused("a: !!str [b]\n", "t.yml:1:4: a tag (!)");
  refused("a: ! b\n", "t.yml:1:4: a tag (!)");
  refused("a: 1\n---\nb: 2\n", "t.yml:2:1: a second document");
  refused("a: 1\nb: 2\na: 3\n", "t.yml:3:1: the key \"a\" stands twice, first on line 1; remove one of them");
  refused("x:\n  'a': 1\n  a: 2\n", "t.yml:3:3: the key \"a\" stands twice");
  refused("? [a, b]\n: 1\n", "t.yml:1:3: a map or sequence used as a key");
  refused("{ {a: b}: 1 }\n", "t.yml:1:3: a map or sequence used as a key");
  refused("a: \"x\\0y\"\n", "t.yml:1:4: a NUL character");
  refused("a\x1b[0m\\: 1\nb: 2", "t.yml:1:2: not text in UTF-8");
}

static void test_broken_text_names_the_place(void **state) {
  (void)state;
  refused("a: 1\n\tb: 2\n", "t.yml:2:1: ");
  refused("a: b: c\n", "t.yml:1:5: mapping values are not allowed in this context; put text with a colon in quotes");
  refused("a: [1, 2\nb: 3\n", "t.yml:2:2: ");
  refused("a: 'open\nb: 3\n", "t.yml:3:1: ");
  refused("a: 1\n  b: 2\n c: 3\n", "t.yml:2:4: ");
  refused("a: @x\n",
          "t.yml:1:4: while scanning for the next token: found character that cannot start any token; indent");
  refused("a: 1\nword\n", "t.yml:3:1: while scanning a simple key: could not find expected ':'; write \"key: value\"");
  refused("a: \"\\q\"\n", "t.yml:1:5: ");
  refused("%YAML 2.0\n---\na: 1\n", "t.yml:1:1: ");
}

static void test_bytes_that_are_no_text(void **state) {
  (void)state;
  refused_bytes("a: 1\nb: \0\n", 10, "t.yml:2:4: a NUL byte; save the file as UTF-8 text");
  refused_bytes(
      "\xff\xfe"
      "a\0:\0",
      6, "t.yml:1:4: a NUL byte");
  refused("a: \xff\n", "t.yml:1:4: not text in UTF-8");
  refused("ä: 1\nö: ü\xc3(\n", "t.yml:2:6: not text in UTF-8");
  refused("a: \xed\xa0\x80\n", "t.yml:1:4: not text in UTF-8");
}

static char *repeated(const char *part, size_t times) {
  size_t length = strlen(part);
  char *text = base_malloc(length * times + 1);
  for (size_t i = 0; i < times; i++)
    memcpy(text + i * length, part, length);
  text[length * times] = '\0';
  return text;
}

static void test_depth_is_bounded(void **state) {
  (void)state;
  struct yaml_tree *tree = good("[[[[[[[[x]]]]]]]]");
  const struct yaml_node *node = yaml_root(tree);
  for (int depth = 1; depth < YAML_MAX_DEPTH; depth++)
    node = node->item[0];
  assert_scalar(node->item[0], "x", 1, 9, false);
  yaml_tree_free(tree);
  refused("[[[[[[[[[x]]]]]]]]]", "t.yml:1:9: nested deeper than 8 levels; make it flatter");
  static const char *const part[] = {"[", "{", "- ", "? ", "{a: ", "[\n"};
  for (size_t i = 0; i < COUNT_OF(part); i++) {
    char *text = repeated(part[i], YAML_MAX_BYTES / strlen(part[i]));
    struct yaml_error error = {""};
    uint64_t before = base_now_us();
    assert_null(yaml_parse("deep", text, strlen(text), &error));
    assert_true(base_now_us() - before < 5000000);  // libyaml alone needs far longer for some of these
    assert_int_equal(strncmp(error.text, "deep:", 5), 0);
    free(text);
  }
}

static void test_size_is_bounded(void **state) {
  (void)state;
  char *text = repeated("# 3456789012345\n", YAML_MAX_BYTES / 16 + 1);
  struct yaml_tree *tree = good_bytes(text, YAML_MAX_BYTES);
  yaml_tree_free(tree);
  refused_bytes(text, YAML_MAX_BYTES + 1, "t.yml:16385:1: the file passes 256 KiB here; shorten it");
  free(text);
}

static void test_nodes_are_bounded(void **state) {
  (void)state;
  char *text = repeated("- a\n", YAML_MAX_NODES);  // and the sequence itself
  refused(text, "t.yml:20000:3: more than 20000 keys and values; shorten the file");
  struct yaml_tree *tree = good_bytes(text, 4 * (YAML_MAX_NODES - 1));
  assert_int_equal(yaml_root(tree)->count, YAML_MAX_NODES - 1);
  yaml_tree_free(tree);
  free(text);
}

static void test_many_keys(void **state) {
  (void)state;
  enum { KEYS = 9000 };
  char *text = base_malloc(KEYS * 16);
  size_t at = 0;
  for (int i = 0; i < KEYS; i++)
    at += (size_t)snprintf(text + at, 16, "k%d: %d\n", i, i);
  struct yaml_tree *tree = good_bytes(text, at);
  assert_int_equal(yaml_root(tree)->count, KEYS);
  assert_scalar(yaml_get(yaml_root(tree), "k8999"), "8999", KEYS, 8, false);
  yaml_tree_free(tree);
  free(text);
}

static void test_messages_show_no_controls(void **state) {
  (void)state;
  struct yaml_error error = {""};
  assert_null(yaml_parse("a\x1b[2J\nb.yml", "\"\\e[31m\": 1\n\"\\e[31m\": 2\n", 24, &error));
  assert_string_equal(error.text,
                      "a\\x1b[2J\\x0ab.yml:2:1: the key \"\\x1b[31m\" stands twice, first on line 1; "
                      "remove one of them");
  char *name = repeated("dir/", 1000), *key = repeated("key", 5000);
  char *text = base_printf("? %s\n: 1\n? %s\n: 2\n", key, key);
  assert_null(yaml_parse(name, text, strlen(text), &error));
  assert_true(strlen(error.text) < sizeof error.text);
  assert_int_equal(strncmp(error.text, "…", strlen("…")), 0);
  assert_non_null(strstr(error.text, "dir/:3:3: the key \"keykey"));
  assert_non_null(strstr(error.text, "…\" stands twice, first on line 1; remove one of them"));
  free(name);
  free(key);
  free(text);
}

static void test_load_reads_files(void **state) {
  (void)state;
  char dir[] = "/tmp/shardd-test-yaml-XXXXXX";
  assert_non_null(mkdtemp(dir));
  char *path = base_printf("%s/a.yml", dir);
  struct yaml_error error = {""};
  assert_null(yaml_load(path, &error));
  char *expected =
      base_printf("%s: cannot be opened: No such file or directory; check the path and its permissions", path);
  assert_string_equal(error.text, expected);
  free(expected);
  assert_null(yaml_load(dir, &error));
  assert_non_null(strstr(error.text, "cannot be opened: it is a folder, not a regular file"));
  FILE *file = fopen(path, "we");
  assert_non_null(file);
  assert_true(fputs("a: b\nc: [\n", file) >= 0);
  assert_int_equal(fclose(file), 0);
  assert_null(yaml_load(path, &error));
  assert_int_equal(strncmp(error.text, path, strlen(path)), 0);
  assert_int_equal(strncmp(error.text + strlen(path), ":3:1: ", 6), 0);
  assert_int_equal(truncate(path, 5), 0);
  struct yaml_tree *tree = yaml_load(path, &error);
  assert_non_null(tree);
  assert_string_equal(yaml_name(tree), path);
  assert_scalar(yaml_get(yaml_root(tree), "a"), "b", 1, 4, false);
  yaml_tree_free(tree);
  assert_int_equal(truncate(path, YAML_MAX_BYTES + 4096), 0);
  assert_null(yaml_load(path, &error));
  assert_non_null(strstr(error.text, "the file passes 256 KiB here"));
  assert_int_equal(unlink(path), 0);
  assert_int_equal(rmdir(dir), 0);
  free(path);
}

// ---- hostile bytes

static uint64_t seed;

static uint64_t draw(uint64_t below) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed % below;
}

// Walks the tree with a stack of its own and counts; every promise of yaml.h is asserted.
static size_t check_tree(const struct yaml_tree *tree) {
  struct {
    const struct yaml_node *node;
    size_t next;
  } stack[YAML_MAX_DEPTH + 1];
  size_t depth = 0, nodes = 1;
  stack[0].node = yaml_root(tree);
  stack[0].next = 0;
  for (;;) {
    const struct yaml_node *node = stack[depth].node;
    size_t i = stack[depth].next++;
    assert_true(node->line >= 1 && node->column >= 1);
    if (node->kind == YAML_NODE_SCALAR) assert_non_null(node->text);
    if (node->kind == YAML_NODE_SCALAR || i == node->count) {
      if (depth == 0) return nodes;
      depth--;
      continue;
    }
    if (node->kind == YAML_NODE_MAP) {
      assert_int_equal(node->key[i]->kind, YAML_NODE_SCALAR);
      assert_ptr_equal(yaml_get(node, node->key[i]->text), node->item[i]);  // unique: it finds this one
      nodes++;
    }
    nodes++;
    depth++;
    assert_true(depth <= YAML_MAX_DEPTH);
    stack[depth].node = node->item[i];
    stack[depth].next = 0;
  }
}

static void check_error(const struct yaml_error *error) {
  size_t length = strlen(error->text);
  assert_true(length > 6 && length < sizeof error->text);
  assert_int_equal(strncmp(error->text, "f:", 2), 0);
  char *end;
  assert_true(strtoul(error->text + 2, &end, 10) >= 1);
  assert_int_equal(*end, ':');
  assert_true(strtoul(end + 1, &end, 10) >= 1);
  assert_int_equal(strncmp(end, ": ", 2), 0);
  for (size_t i = 0; i < length; i++)
    assert_true((unsigned char)error->text[i] >= 0x20 && error->text[i] != 0x7f);
}

// Returns whether a tree came of it. The copy is exact in size, so that a sanitizer sees a read behind its end.
static bool feed(const char *bytes, size_t n) {
  char *exact = base_malloc(n);
  if (n > 0) memcpy(exact, bytes, n);
  struct yaml_error error = {""};
  struct yaml_tree *tree = yaml_parse("f", exact, n, &error);
  if (tree != NULL)
    assert_true(check_tree(tree) <= YAML_MAX_NODES);
  else
    check_error(&error);
  yaml_tree_free(tree);
  free(exact);
  return tree != NULL;
}

static const char sample[] =
    "# shardd.yml\n"
    "listen: [unix:/run/shardd.sock, \"tcp://[::1]:4270\"]\n"
    "lease-ttl: 15s   # comment\n"
    "suites:\n"
    "  unit: {cmd: [go, test, '-run={regex}'], ok: [0, 1]}\n"
    "  näme: |\n"
    "    text\n"
    "     more\n"
    "  folded: >-\n"
    "    a\n"
    "\n"
    "    b\n"
    "? plain\n"
    ": - 1\n"
    "  - \"\\x41\\u00e9\\n\"\n"
    "empty:\n";

static void test_truncated_documents(void **state) {
  (void)state;
  size_t trees = 0;
  for (size_t n = 0; n < sizeof sample; n++)
    trees += feed(sample, n);
  assert_true(trees > 100 && trees < sizeof sample);
}

static void test_mutated_documents(void **state) {
  (void)state;
  static const char *const pieces[] = {"&a ", "*a", "!!x ", "---\n",        "...\n", "[", "]",  "{",   "}",
                                       ": ",  "? ", "- ",   "\n",           "\t",    "'", "\"", "|\n", ">\n",
                                       "#",   "%",  "\\",   "\xef\xbb\xbf", "<<: "};
  enum { ROUNDS = 20000, ROOM = sizeof sample + 64 };
  seed = 0x5eed;
  size_t trees = 0;
  for (int round = 0; round < ROUNDS; round++) {
    char text[ROOM];
    size_t n = sizeof sample - 1;
    memcpy(text, sample, n);
    for (uint64_t edits = 1 + draw(4); edits > 0; edits--) {
      size_t at = draw(n);
      const char *piece = pieces[draw(COUNT_OF(pieces))];
      size_t length = strlen(piece);
      switch (draw(4)) {
        case 0: text[at] = (char)draw(256); break;
        case 1: text[at] = (char)(text[at] ^ (1 << draw(8))); break;
        case 2:
          memmove(text + at, text + at + 1, n - at - 1);
          n--;
          break;
        case 3:
          memmove(text + at + length, text + at, n - at);
          memcpy(text + at, piece, length);
          n += length;
          break;
      }
    }
    trees += feed(text, n);
  }
  assert_true(trees > ROUNDS / 50 && trees < ROUNDS);  // both ends of the reader were reached
}

static void test_random_bytes(void **state) {
  (void)state;
  static const char alphabet[] = "ab \n\n::--[]{},?#'\"|>&*!%@`\\\t01.~\xc3\xa9";
  seed = 0xb17e5;
  size_t trees = 0, refusals = 0;
  for (int round = 0; round < 20000; round++) {
    char text[200];
    size_t n = draw(sizeof text);
    bool wild = draw(4) == 0;
    for (size_t i = 0; i < n; i++)
      text[i] = wild ? (char)draw(256) : alphabet[draw(sizeof alphabet - 1)];
    *(feed(text, n) ? &trees : &refusals) += 1;
  }
  assert_true(trees > 100 && refusals > 10000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tree_knows_its_lines),
      cmocka_unit_test(test_empty_documents_are_empty_maps),
      cmocka_unit_test(test_other_roots),
      cmocka_unit_test(test_default_tags_and_marks_pass),
      cmocka_unit_test(test_refusals_name_the_place),
      cmocka_unit_test(test_broken_text_names_the_place),
      cmocka_unit_test(test_bytes_that_are_no_text),
      cmocka_unit_test(test_depth_is_bounded),
      cmocka_unit_test(test_size_is_bounded),
      cmocka_unit_test(test_nodes_are_bounded),
      cmocka_unit_test(test_many_keys),
      cmocka_unit_test(test_messages_show_no_controls),
      cmocka_unit_test(test_load_reads_files),
      cmocka_unit_test(test_truncated_documents),
      cmocka_unit_test(test_mutated_documents),
      cmocka_unit_test(test_random_bytes),
  };
  return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
