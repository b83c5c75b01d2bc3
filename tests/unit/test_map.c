// Unit tests of the map: numbers in order of arrival, bytes as they are, growth, trimming.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/map.h"

static uint32_t add(struct map *map, const char *name, bool is_new) {
  bool added = !is_new;
  uint32_t number = map_add(map, name, strlen(name), &added);
  assert_int_equal(added, is_new);
  return number;
}

static void test_numbers(void **state) {
  (void)state;
  struct map map;
  map_init(&map, 1);
  assert_int_equal(map_find(&map, "a", 1), MAP_NONE);
  assert_int_equal(add(&map, "a", true), 0);
  assert_int_equal(add(&map, "b", true), 1);
  assert_int_equal(add(&map, "a", false), 0);
  assert_int_equal(add(&map, "", true), 2);
  assert_int_equal(map_find(&map, "", 0), 2);
  assert_int_equal(map_find(&map, "b", 1), 1);
  assert_int_equal(map_find(&map, "bb", 2), MAP_NONE);
  assert_int_equal(map_length(&map, 2), 0);
  assert_string_equal(map_name(&map, 1), "b");
  map_release(&map);
}

// As it comes off the wire.
static void test_an_empty_name_without_a_place(void **state) {
  (void)state;
  struct map map;
  bool added;
  map_init(&map, 1);
  assert_int_equal(map_find(&map, NULL, 0), MAP_NONE);
  assert_int_equal(map_add(&map, NULL, 0, &added), 0);
  assert_true(added);
  assert_int_equal(map_add(&map, NULL, 0, &added), 0);
  assert_false(added);
  assert_string_equal(map_name(&map, 0), "");
  map_release(&map);
}

// Names that differ only in length, in their last byte, behind a NUL, or in bytes that are no text.
static void test_near_names(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t n;
  } name[] = {{"12345678", 8}, {"1234567", 7}, {"12345678\0", 9}, {"1234567\0", 8}, {"12345679", 8},
              {"\xff\xfe", 2}, {"\xff", 1},    {"\0", 1},         {"\0\0", 2},      {"123456781234567", 15}};
  struct map map;
  bool added;
  map_init(&map, 7);
  for (uint32_t i = 0; i < COUNT_OF(name); i++) {
    assert_int_equal(map_add(&map, name[i].bytes, name[i].n, &added), i);
    assert_true(added);
  }
  for (uint32_t i = 0; i < COUNT_OF(name); i++) {
    assert_int_equal(map_find(&map, name[i].bytes, name[i].n), i);
    assert_int_equal(map_length(&map, i), name[i].n);
    assert_memory_equal(map_name(&map, i), name[i].bytes, name[i].n);
  }
  map_release(&map);
}

static void test_many(void **state) {
  (void)state;
  enum { MANY = 50000 };
  for (uint64_t seed = 0; seed < 3; seed++) {
    struct map map;
    char name[40];
    map_init(&map, seed * UINT64_C(0x123456789abcdef));
    for (uint32_t i = 0; i < MANY; i++) {
      snprintf(name, sizeof name, "tests/test_%u.py::test_%u", i % 100, i);
      assert_int_equal(add(&map, name, true), i);
    }
    map_trim(&map);
    for (uint32_t i = 0; i < MANY; i += 7) {
      snprintf(name, sizeof name, "tests/test_%u.py::test_%u", i % 100, i);
      assert_int_equal(map_find(&map, name, strlen(name)), i);
      assert_string_equal(map_name(&map, i), name);
    }
    assert_int_equal(add(&map, "after the trim", true), MANY);
    assert_string_equal(map_name(&map, MANY), "after the trim");
    assert_string_equal(map_name(&map, 0), "tests/test_0.py::test_0");
    map_release(&map);
  }
}

static void test_trim_of_nothing(void **state) {
  (void)state;
  struct map map;
  map_init(&map, 3);
  map_trim(&map);
  assert_int_equal(add(&map, "x", true), 0);
  map_release(&map);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numbers),         cmocka_unit_test(test_an_empty_name_without_a_place),
      cmocka_unit_test(test_near_names),      cmocka_unit_test(test_many),
      cmocka_unit_test(test_trim_of_nothing),
  };
  return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
