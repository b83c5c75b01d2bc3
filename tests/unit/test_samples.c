// Holds config/shardd.yml and config/shard.yml to the tables of options, in both directions: every key that a file may
// hold stands in the sample with its default, and the sample names nothing else. Run from the top of the checkout.
// A line "#name: value" is a setting commented out; "# text" is prose.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka wants the headers above.
#include <cmocka.h>

#include "config/conf_value.h"
#include "config/yaml.h"
#include "server/settings.h"
#include "worker/options.h"

// Big enough for either struct of settings.
union both {
  struct settings settings;
  struct options options;
};

static char plain[] = "/tmp/shardd-test-samples-XXXXXX";

// Writes the sample without its "#" to `plain`. Whatever is not prose, blank or a commented setting fails.
static void uncomment(const char *sample) {
  FILE *in = fopen(sample, "re"), *out = fopen(plain, "we");
  assert_non_null(in);
  assert_non_null(out);
  char line[512];
  int number = 0;
  while (fgets(line, sizeof line, in) != NULL) {
    number++;
    assert_true(strlen(line) <= 120 + 1);
    bool prose = line[0] == '\n' || strcmp(line, "#\n") == 0 || strncmp(line, "# ", 2) == 0;
    bool setting = line[0] == '#' && line[1] >= 'a' && line[1] <= 'z' && strstr(line, ": ") != NULL;
    if (!prose && !setting) fail_msg("%s:%d is neither prose nor a commented setting: %s", sample, number, line);
    assert_true(fputs(setting ? line + 1 : "\n", out) >= 0);
  }
  assert_int_equal(fclose(in) | fclose(out), 0);
}

static bool in_file(const struct conf_key *key) {
  return !(key->not_from & 1u << CONF_FROM_FILE);
}

// Walks both: the table's keys in the sample, with their defaults; the sample's keys in the table (conf_file refuses).
static void compare(const struct conf_table *table, const char *sample) {
  union both defaults, read;
  struct conf_error error;
  uncomment(sample);
  enum conf_source *sources = base_calloc(table->count, sizeof *sources);
  conf_init(table, &defaults, NULL);
  conf_init(table, &read, sources);
  if (conf_file(table, &read, sources, plain, &error) != 0) fail_msg("%s: %s", sample, error.text);
  size_t expected = 0;
  for (size_t i = 0; i < table->count; i++) {
    const struct conf_key *key = &table->keys[i];
    expected += in_file(key);
    if (in_file(key) && sources[i] != CONF_FROM_FILE) fail_msg("%s does not name %s", sample, key->name);
    if (!conf_value_equal(key, &defaults, &read)) fail_msg("%s: %s is not the default", sample, key->name);
  }
  struct yaml_error yaml_error;
  struct yaml_tree *tree = yaml_load(plain, &yaml_error);
  assert_non_null(tree);
  assert_int_equal(yaml_root(tree)->count, expected);
  yaml_tree_free(tree);
  conf_release(table, &defaults);
  conf_release(table, &read);
  free(sources);
}

// As it is shipped, everything commented, a sample changes nothing and is accepted.
static void load_as_shipped(const struct conf_table *table, const char *sample) {
  union both read;
  struct conf_error error;
  enum conf_source *sources = base_calloc(table->count, sizeof *sources);
  conf_init(table, &read, sources);
  assert_int_equal(conf_file(table, &read, sources, sample, &error), 0);
  for (size_t i = 0; i < table->count; i++)
    assert_int_equal(sources[i], CONF_FROM_DEFAULT);
  conf_release(table, &read);
  free(sources);
}

static void test_shardd_yml(void **state) {
  (void)state;
  compare(&settings_table, "config/shardd.yml");
  load_as_shipped(&settings_table, "config/shardd.yml");
}

static void test_shard_yml(void **state) {
  (void)state;
  compare(&options_table, "config/shard.yml");
  load_as_shipped(&options_table, "config/shard.yml");
}

// The defaults go together, as settings_load sees them.
static void test_defaults_are_accepted(void **state) {
  (void)state;
  uncomment("config/shardd.yml");
  char *argv[] = {(char[]){"shardd"}, (char[]){"-c"}, plain, NULL};
  struct settings settings;
  struct conf_error error;
  assert_int_equal(settings_load(3, argv, &settings, &error), 0);
  settings_release(&settings);
}

// What a table promises to --help, docs and messages.
static void check_table(const struct conf_table *table) {
  for (size_t i = 0; i < table->count; i++) {
    const struct conf_key *key = &table->keys[i];
    size_t length = strlen(key->name);
    assert_true(length > 1 && length < 32 && strspn(key->name, "abcdefghijklmnopqrstuvwxyz-") == length);
    assert_true(strncmp(key->name, "no-", 3) != 0);
    assert_true(key->help != NULL && key->help[0] != '\0' && key->help[strlen(key->help) - 1] != '.');
    assert_int_equal(key->arg == NULL, key->type == CONF_BOOL);
    assert_int_equal(key->choices != NULL, key->type == CONF_CHOICE);
    for (size_t j = 0; j < i; j++) {
      assert_string_not_equal(key->name, table->keys[j].name);
      assert_true(key->letter == 0 || key->letter != table->keys[j].letter);
      assert_true(key->offset != table->keys[j].offset);
    }
    assert_true(key->letter != 'h');
  }
}

static void test_tables(void **state) {
  (void)state;
  check_table(&settings_table);
  check_table(&options_table);
}

static int setup(void **state) {
  (void)state;
  int fd = mkstemp(plain);
  return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state) {
  (void)state;
  return unlink(plain);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shardd_yml),
      cmocka_unit_test(test_shard_yml),
      cmocka_unit_test(test_defaults_are_accepted),
      cmocka_unit_test(test_tables),
  };
  return cmocka_run_group_tests_name("samples", tests, setup, teardown);
}
