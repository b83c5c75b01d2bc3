// Unit tests of the names: numbers in order of arrival, names that begin alike and that do not, the bound on how far a
// base may stand back, growth, trimming, and that they are small.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/names.h"

static uint32_t add(struct names *names, const char *name, bool is_new) {
  bool added = !is_new;
  uint32_t number = names_add(names, name, strlen(name), &added);
  assert_int_equal(added, is_new);
  return number;
}

static void assert_name(struct names *names, uint32_t number, const void *bytes, size_t n) {
  char *out = malloc(n + 1);
  assert_int_equal(names_length(names, number), n);
  out[n] = 'x';
  assert_int_equal(names_copy(names, number, out), n);
  assert_memory_equal(out, bytes, n);
  assert_int_equal(out[n], 'x');
  assert_int_equal(names_find(names, bytes, n), number);
  free(out);
}

static void test_numbers(void **state) {
  (void)state;
  struct names names;
  names_init(&names, 1);
  assert_int_equal(names_find(&names, "a", 1), NAMES_NONE);
  assert_int_equal(add(&names, "a", true), 0);
  assert_int_equal(add(&names, "tests/test_a.py::test_one", true), 1);
  assert_int_equal(add(&names, "tests/test_a.py::test_two", true), 2);
  assert_int_equal(add(&names, "tests/test_a.py::test_", true), 3);
  assert_int_equal(add(&names, "tests/test_a.py::test_one", false), 1);
  assert_int_equal(add(&names, "", true), 4);
  assert_name(&names, 0, "a", 1);
  assert_name(&names, 2, "tests/test_a.py::test_two", 25);
  assert_name(&names, 3, "tests/test_a.py::test_", 22);
  assert_name(&names, 4, "", 0);
  assert_int_equal(names_find(&names, "tests/test_a.py::", 17), NAMES_NONE);
  assert_int_equal(names.name_bytes, 1 + 25 + 25 + 22);
  assert_int_equal(names.longest, 25);
  names_release(&names);
}

// Around what can be shared: 7 to 9 bytes, 126 to 129, and names that are each other's beginning.
static void test_lengths_of_what_is_shared(void **state) {
  (void)state;
  static char name[600];
  struct names names;
  bool added;
  names_init(&names, 7);
  memset(name, 'a', sizeof name);
  for (uint32_t i = 0; i < 300; i++) {
    assert_int_equal(names_add(&names, name, 2 * i, &added), i);
    assert_true(added);
  }
  for (uint32_t i = 0; i < 300; i++)
    assert_name(&names, i, name, 2 * i);
  for (uint32_t i = 0; i < 300; i++) {
    name[i] = 'b';
    assert_int_equal(names_add(&names, name, 400, &added), 300 + i);
    name[i] = 'a';
  }
  for (uint32_t i = 0; i < 300; i++) {
    name[i] = 'b';
    assert_name(&names, 300 + i, name, 400);
    name[i] = 'a';
  }
  names_release(&names);
}

// Bytes that are no text, a NUL among them, behind a common beginning.
static void test_any_bytes(void **state) {
  (void)state;
  struct names names;
  bool added;
  char name[16] = "tests/test_x::";
  names_init(&names, 3);
  for (uint32_t i = 0; i < 65536; i++) {
    name[14] = (char)(i & 0xff);
    name[15] = (char)(i >> 8);
    assert_int_equal(names_add(&names, name, sizeof name, &added), i);
  }
  for (uint32_t i = 0; i < 65536; i += 251) {
    name[14] = (char)(i & 0xff);
    name[15] = (char)(i >> 8);
    assert_name(&names, i, name, sizeof name);
  }
  names_release(&names);
}

// More than 65,535 names of one beginning: none refers to a base that stands further back than two bytes can tell.
static void test_many(void **state) {
  (void)state;
  enum { MANY = 150000 };
  struct names names;
  char name[64];
  names_init(&names, UINT64_C(0x123456789abcdef));
  for (uint32_t i = 0; i < MANY; i++) {
    snprintf(name, sizeof name, "tests/a/long/folder/test_module.py::test_%u", i);
    assert_int_equal(add(&names, name, true), i);
  }
  names_trim(&names);
  for (uint32_t i = 0; i < MANY; i += 7) {
    int n = snprintf(name, sizeof name, "tests/a/long/folder/test_module.py::test_%u", i);
    assert_name(&names, i, name, (size_t)n);
  }
  assert_int_equal(add(&names, "tests/a/long/folder/after the trim", true), MANY);
  assert_int_equal(add(&names, "tests/a/long/folder/after the trim, too", true), MANY + 1);
  assert_name(&names, MANY, "tests/a/long/folder/after the trim", 34);
  assert_name(&names, MANY + 1, "tests/a/long/folder/after the trim, too", 39);
  names_release(&names);
}

// A suite of files and classes: about a third of the bytes that were given.
static void test_small(void **state) {
  (void)state;
  struct names names;
  char name[128];
  names_init(&names, 5);
  for (uint32_t i = 0; i < 20000; i++) {
    uint32_t word = i * 2654435761u;
    snprintf(name, sizeof name, "tests/some/package/of/the/suite/test_module_%04u.py::TestOfUnit%02u::test_%08x_%07u",
             i / 200, i % 200 / 10, word, i);
    add(&names, name, true);
  }
  names_trim(&names);
  assert_int_equal(names.name_bytes, 20000 * 88);
  assert_true(names.arena_bytes < names.name_bytes / 2);
  names_release(&names);
}

// Room made before, at any time, changes nothing but the number of growths.
static void test_reserve(void **state) {
  (void)state;
  struct names names;
  char name[32];
  names_init(&names, 9);
  names_reserve(&names, 0);
  names_reserve(&names, 1000);
  uint32_t slots = names.slot_mask;
  for (uint32_t i = 0; i < 1000; i++) {
    int n = snprintf(name, sizeof name, "tests/test_a.py::test_%u", i);
    assert_int_equal(add(&names, name, true), i);
    if (i == 500) names_reserve(&names, 10);
    assert_name(&names, i, name, (size_t)n);
  }
  assert_int_equal(names.slot_mask, slots);
  names_reserve(&names, 5000);
  assert_name(&names, 7, "tests/test_a.py::test_7", 23);
  assert_int_equal(names_find(&names, "tests/test_a.py::test_1000", 26), NAMES_NONE);
  names_release(&names);
}

static void test_trim_of_nothing(void **state) {
  (void)state;
  struct names names;
  names_init(&names, 3);
  names_trim(&names);
  assert_int_equal(add(&names, "x", true), 0);
  names_release(&names);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numbers),   cmocka_unit_test(test_lengths_of_what_is_shared),
      cmocka_unit_test(test_any_bytes), cmocka_unit_test(test_many),
      cmocka_unit_test(test_small),     cmocka_unit_test(test_trim_of_nothing),
      cmocka_unit_test(test_reserve),
  };
  return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
