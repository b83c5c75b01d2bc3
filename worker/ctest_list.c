// ctest's JSON to a list with marks. Called by command_list.c. It must not know where the text comes from.
#include "worker/ctest_list.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "config/escape.h"

enum { FIXTURES_MAX = 4096, SHOWN_BYTES = 240 };

// Names of fixtures, each with the one it is joined to: itself, or an earlier one.
struct fixtures {
  const char *name[FIXTURES_MAX];
  size_t joined[FIXTURES_MAX], count;
};

static size_t fixtures_root(const struct fixtures *fixtures, size_t i) {
  while (fixtures->joined[i] != i)
    i = fixtures->joined[i];
  return i;
}

// SIZE_MAX: there are too many.
static size_t fixtures_find(struct fixtures *fixtures, const char *name) {
  for (size_t i = 0; i < fixtures->count; i++) {
    if (strcmp(fixtures->name[i], name) == 0) return i;
  }
  if (fixtures->count == FIXTURES_MAX) return SIZE_MAX;
  fixtures->name[fixtures->count] = name;
  fixtures->joined[fixtures->count] = fixtures->count;
  return fixtures->count++;
}

static void fixtures_join(struct fixtures *fixtures, size_t a, size_t b) {
  a = fixtures_root(fixtures, a);
  b = fixtures_root(fixtures, b);
  fixtures->joined[a > b ? a : b] = a > b ? b : a;
}

// The value of a test's property, or NULL.
static json_t *property_of(json_t *test, const char *name) {
  json_t *property;
  size_t i;
  json_array_foreach(json_object_get(test, "properties"), i, property) {
    const char *is = json_string_value(json_object_get(property, "name"));
    if (is && strcmp(is, name) == 0) return json_object_get(property, "value");
  }
  return NULL;
}

// All fixtures of a test become one; *any is one of them. -1: there are too many.
static int join_fixtures(struct fixtures *fixtures, json_t *test, size_t *any) {
  static const char *const kinds[] = {"FIXTURES_SETUP", "FIXTURES_REQUIRED", "FIXTURES_CLEANUP"};
  *any = SIZE_MAX;
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    json_t *values = property_of(test, kinds[k]), *value;
    size_t i;
    json_array_foreach(values, i, value) {
      size_t found = json_is_string(value) ? fixtures_find(fixtures, json_string_value(value)) : SIZE_MAX;
      if (found == SIZE_MAX) return -1;
      if (*any != SIZE_MAX) fixtures_join(fixtures, *any, found);
      *any = found;
    }
  }
  return 0;
}

static bool mark(struct testlist *list, const char *kind, const char *name) {
  char text[1024];
  int n = snprintf(text, sizeof text, "%s%s", kind, name);
  return n > 0 && (size_t)n < sizeof text && testlist_mark(list, testlist_count(list) - 1, text) == 0;
}

// False: a name is empty or too long.
static bool mark_test(struct testlist *list, json_t *test, const struct fixtures *fixtures, size_t fixture) {
  json_t *locks = property_of(test, "RESOURCE_LOCK"), *lock;
  size_t i;
  bool good = fixture == SIZE_MAX || mark(list, "gfixture ", fixtures->name[fixtures_root(fixtures, fixture)]);
  json_array_foreach(locks, i, lock) {
    good = good && json_is_string(lock) && mark(list, "t", json_string_value(lock));
  }
  return good && (!json_is_true(property_of(test, "RUN_SERIAL")) || mark(list, "t", "exclusive"));
}

static int add_test(struct testlist *list, json_t *test, size_t number, char *why, size_t why_size) {
  const char *name = json_string_value(json_object_get(test, "name"));
  if (name && testlist_add(list, name, strlen(name), NULL, (uint32_t)number) == 0) return 0;
  char shown[SHOWN_BYTES];
  (void)snprintf(why, why_size, "test %zu of ctest's list has no name, or one that is no id: %s", number + 1,
                 base_quote(shown, sizeof shown, name ? name : "", name ? strlen(name) : 0));
  return -1;
}

static int read_tests(struct testlist *list, json_t *tests, char *why, size_t why_size) {
  static struct fixtures fixtures;  // too large for the stack
  json_t *test;
  size_t i, fixture;
  fixtures.count = 0;
  json_array_foreach(tests, i, test) {
    if (join_fixtures(&fixtures, test, &fixture) == 0) continue;
    (void)snprintf(why, why_size, "ctest's list has more than %d fixtures, or one without a name", FIXTURES_MAX);
    return -1;
  }
  json_array_foreach(tests, i, test) {
    (void)join_fixtures(&fixtures, test, &fixture);  // all are known by now
    if (add_test(list, test, i, why, why_size) < 0) return -1;
    if (mark_test(list, test, &fixtures, fixture)) continue;
    (void)snprintf(why, why_size,
                   "test %zu of ctest's list has a lock or fixture without a name, or with too long a one", i + 1);
    return -1;
  }
  return 0;
}

int ctest_list_read(struct testlist *list, const char *text, size_t n, char *why, size_t why_size) {
  json_error_t error;
  json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
  const char *kind = json_string_value(json_object_get(root, "kind"));
  json_t *tests = json_object_get(root, "tests");
  int rc = -1;
  if (!root) {
    char safe[SHOWN_BYTES];  // it quotes the text
    safe[escape_bytes(safe, sizeof safe - 1, error.text, strlen(error.text), ESCAPE_LINE)] = '\0';
    (void)snprintf(why, why_size, "line %d, column %d: the list begins as ctest's JSON and is none: %s", error.line,
                   error.column, safe);
  } else if (!kind || strcmp(kind, "ctestInfo") != 0 || !json_is_array(tests)) {
    (void)snprintf(why, why_size, "the list is JSON, but not that of ctest --show-only=json-v1");
  } else {
    rc = read_tests(list, tests, why, why_size);
  }
  json_decref(root);
  return rc;
}
