// Unit tests of the static split: each test in one part, parts of neighbours and of equal counts, groups and tokens
// kept together, whatever the list and the number of jobs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/alone.h"

static struct testlist *make(size_t count) {
  struct testlist *list = testlist_new();
  for (size_t i = 0; i < count; i++) {
    char id[32];
    int n = snprintf(id, sizeof id, "t%zu", i);  // not in the order of bytes
    assert_int_equal(testlist_add(list, id, (size_t)n, NULL, (uint32_t)i), 0);
  }
  return list;
}

// The part of each position, UINT32_MAX: none has it.
static uint32_t *owners(const struct testlist *list, uint32_t total, size_t *least, size_t *most) {
  uint32_t *owner = base_calloc(testlist_count(list) + 1, sizeof *owner);
  memset(owner, 0xff, testlist_count(list) * sizeof *owner);
  *least = SIZE_MAX;
  *most = 0;
  for (uint32_t job = 0; job < total; job++) {
    size_t count, last = 0;
    uint32_t *part = alone_part(list, job, total, &count);
    for (size_t i = 0; i < count; i++) {
      size_t position = testlist_position(list, part[i]);
      assert_int_equal(owner[position], UINT32_MAX);  // no test twice
      assert_true(i == 0 || position > last);         // in collection order
      owner[position] = job;
      last = position;
    }
    if (count < *least) *least = count;
    if (count > *most) *most = count;
    free(part);
  }
  for (size_t i = 0; i < testlist_count(list); i++)
    assert_int_not_equal(owner[i], UINT32_MAX);  // none left out
  return owner;
}

static void test_each_in_one_part(void **state) {
  (void)state;
  for (size_t count = 0; count < 40; count++) {
    struct testlist *list = make(count);
    testlist_seal(list);
    for (uint32_t total = 1; total < 45; total++) {
      size_t least, most;
      uint32_t *owner = owners(list, total, &least, &most);
      assert_true(most - least <= 1);
      for (uint32_t i = 1; i < count; i++)
        assert_true(owner[testlist_position(list, i)] >= owner[testlist_position(list, i - 1)]);  // neighbours
      free(owner);
    }
    testlist_free(list);
  }
}

// Machines that collect in another order have the same parts.
static void test_any_order(void **state) {
  (void)state;
  enum { COUNT = 50, TOTAL = 7 };
  struct testlist *list = make(COUNT), *other = testlist_new();
  for (size_t i = 0; i < COUNT; i++) {
    const char *id = testlist_id(list, (i * 37 + 11) % COUNT);
    assert_int_equal(testlist_add(other, id, strlen(id), NULL, 0), 0);
  }
  testlist_seal(list);
  testlist_seal(other);
  for (uint32_t job = 0; job < TOTAL; job++) {
    size_t n, m;
    uint32_t *part = alone_part(list, job, TOTAL, &n), *same = alone_part(other, job, TOTAL, &m);
    bool seen[COUNT] = {false};
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++)
      seen[part[i]] = true;
    for (size_t i = 0; i < m; i++)
      assert_true(seen[same[i]]);
    free(part);
    free(same);
  }
  testlist_free(list);
  testlist_free(other);
}

static void test_large(void **state) {
  (void)state;
  size_t least, most;
  struct testlist *list = make(500000);
  testlist_seal(list);
  free(owners(list, 3, &least, &most));
  assert_true(most - least <= 1);
  size_t count;
  free(alone_part(list, 999999, 1000000, &count));  // no overflow
  assert_true(count <= 1);
  testlist_free(list);
}

static void mark(struct testlist *list, size_t position, const char *name) {
  assert_int_equal(testlist_mark(list, position, name), 0);
}

static void test_groups_stay_together(void **state) {
  (void)state;
  size_t least, most;
  struct testlist *list = make(12);
  mark(list, 1, "gone");
  mark(list, 4, "tdb");
  mark(list, 6, "gone");
  mark(list, 6, "tdisk");
  mark(list, 10, "tdisk");
  mark(list, 11, "tdb");
  testlist_seal(list);
  for (uint32_t total = 1; total <= 12; total++) {
    uint32_t *owner = owners(list, total, &least, &most);
    assert_int_equal(owner[1], owner[6]);   // a group
    assert_int_equal(owner[6], owner[10]);  // by way of a token that one of the group needs
    assert_int_equal(owner[4], owner[11]);  // a token
    free(owner);
  }
  testlist_free(list);
}

// Joined late: what was two sets becomes one.
static void test_chains(void **state) {
  (void)state;
  size_t least, most;
  struct testlist *list = make(9);
  mark(list, 0, "ga");
  mark(list, 2, "gb");
  mark(list, 5, "gb");
  mark(list, 7, "gb");
  mark(list, 7, "tx");
  mark(list, 8, "ga");
  mark(list, 8, "tx");
  testlist_seal(list);
  uint32_t *owner = owners(list, 4, &least, &most);
  static const size_t together[] = {2, 5, 7, 8};
  for (size_t i = 0; i < COUNT_OF(together); i++)
    assert_int_equal(owner[together[i]], owner[0]);
  free(owner);
  testlist_free(list);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_in_one_part),     cmocka_unit_test(test_any_order), cmocka_unit_test(test_large),
      cmocka_unit_test(test_groups_stay_together), cmocka_unit_test(test_chains),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
