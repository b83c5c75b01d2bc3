// Counted tokens: how many of a kind run at once, what goes first, and what runs alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/tokens.h"

enum { SECOND = 1000000, TESTS = 8, DB = 1, LICENSE = 2 };

static struct tokens *tokens;
static uint64_t need[TESTS], us[TESTS];

static void make(uint32_t databases) {
  struct tokens_list list = {.count = TESTS, .need = need, .copies = {databases, 1}};
  list.expected_us = list.order_us = us;
  tokens = tokens_new(&list);
  assert_non_null(tokens);
  for (uint32_t i = 0; i < TESTS; i++) {
    if (tokens_need(tokens, i)) tokens_put(tokens, i);
  }
  tokens_check(tokens);
}

static int set_up(void **state) {
  (void)state;
  memset(need, 0, sizeof need);
  for (int i = 0; i < TESTS; i++)
    us[i] = SECOND;
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  tokens_free(tokens);
  tokens = NULL;
  return 0;
}

static uint32_t start(uint64_t long_us, bool critical) {
  uint32_t test = tokens_pick(tokens, long_us, critical);
  if (test == TOKENS_NONE) return test;
  assert_true(tokens_free_for(tokens, test, 0));
  tokens_take(tokens, test);
  tokens_acquire(tokens, test);
  tokens_check(tokens);
  return test;
}

static void test_none(void **state) {
  (void)state;
  assert_false(tokens_need(NULL, 3));
  assert_int_equal(tokens_ready(NULL), 0);
  make(1);
  assert_int_equal(tokens_ready(tokens), 0);
  assert_int_equal(start(0, false), TOKENS_NONE);
  assert_true(tokens_free_for(tokens, 1, 5));
}

static void test_counted(void **state) {
  (void)state;
  for (int i = 2; i < 6; i++)
    need[i] = DB;
  make(2);
  assert_int_equal(tokens_ready(tokens), 4);
  assert_int_equal(start(SECOND, false), 2);  // collection order
  assert_int_equal(start(SECOND, false), 3);
  assert_int_equal(start(SECOND, false), TOKENS_NONE);
  assert_false(tokens_free_for(tokens, 4, 2));
  tokens_release(tokens, 2);
  assert_int_equal(start(SECOND, false), 4);
}

static void test_two_kinds(void **state) {
  (void)state;
  need[0] = DB | LICENSE;
  need[1] = DB;
  need[2] = LICENSE;
  make(2);
  assert_int_equal(start(SECOND, false), 0);
  assert_int_equal(start(SECOND, false), 1);  // the second database; the license is taken
  assert_int_equal(start(SECOND, false), TOKENS_NONE);
  tokens_release(tokens, 0);
  assert_int_equal(start(SECOND, false), 2);
}

static void test_critical(void **state) {
  (void)state;
  need[0] = LICENSE;
  for (int i = 1; i < 5; i++)
    need[i] = DB;
  make(2);  // two seconds a database, one of the license
  assert_int_equal(start(2 * SECOND, true), TOKENS_NONE);
  assert_int_equal(start(3 * SECOND / 2, true), 1);
  assert_int_equal(start(SECOND / 2, true), 2);  // a long test, and the longer chain
  assert_int_equal(start(SECOND / 2, true), 0);
}

static void test_long_first(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++)
    need[i] = DB;
  us[2] = 9 * SECOND;
  make(1);
  assert_int_equal(start(5 * SECOND, false), 2);
  tokens_release(tokens, 2);
  assert_int_equal(start(5 * SECOND, false), 0);
}

static void test_exclusive(void **state) {
  (void)state;
  need[3] = TOKENS_EXCLUSIVE;
  need[1] = DB;
  make(1);
  assert_int_equal(start(0, false), 1);  // never an exclusive one
  assert_int_equal(tokens_pick_exclusive(tokens), 3);
  assert_false(tokens_free_for(tokens, 3, 1));
  assert_true(tokens_free_for(tokens, 3, 0));
  tokens_release(tokens, 1);
  tokens_take(tokens, 3);
  tokens_acquire(tokens, 3);
  assert_true(tokens_exclusive_runs(tokens));
  assert_false(tokens_free_for(tokens, 0, 1));  // not even one that needs nothing
  tokens_release(tokens, 3);
  assert_false(tokens_exclusive_runs(tokens));
  assert_int_equal(tokens_pick_exclusive(tokens), TOKENS_NONE);
}

// Beyond the bound a test needs one of everything: it never meets one that it might not.
static void test_too_many_sets(void **state) {
  (void)state;
  enum { MANY = TOKENS_SETS_MAX + 10 };
  uint64_t many[MANY], some_us[MANY];
  for (uint32_t i = 0; i < MANY; i++) {
    many[i] = i + 1;
    some_us[i] = SECOND;
  }
  struct tokens_list list = {.count = MANY, .need = many, .expected_us = some_us, .order_us = some_us};
  tokens = tokens_new(&list);
  for (uint32_t i = 0; i < MANY; i++)
    tokens_put(tokens, i);
  tokens_check(tokens);
  tokens_take(tokens, MANY - 1);
  tokens_acquire(tokens, MANY - 1);
  for (uint32_t i = 0; i < MANY - 1; i++)
    assert_false(tokens_free_for(tokens, i, 1));
  assert_int_equal(tokens_pick(tokens, 0, false), TOKENS_NONE);
  tokens_release(tokens, MANY - 1);
  assert_int_not_equal(tokens_pick(tokens, 0, false), TOKENS_NONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_none),       TEST(test_counted),   TEST(test_two_kinds),     TEST(test_critical),
      TEST(test_long_first), TEST(test_exclusive), TEST(test_too_many_sets),
  };
  return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
