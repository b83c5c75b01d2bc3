// Unit tests of the budget: shares are granted up to the bounds of a share, a kind and the whole, and given back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/budget.h"

static struct budget_share share_of(struct budget *budget, enum budget_kind kind) {
  return (struct budget_share){.budget = budget, .kind = kind};
}

static void test_lists_share_what_there_is(void **state) {
  (void)state;
  struct budget budget = {.list_bytes = 100};
  struct budget_share a = share_of(&budget, BUDGET_LISTS), b = a, c = a;
  assert_int_equal(budget_hold(&a, 51), BUDGET_TOO_LARGE);
  assert_int_equal(a.bytes, 0);
  assert_int_equal(budget_hold(&a, 50), BUDGET_GRANTED);
  assert_int_equal(budget_hold(&b, 40), BUDGET_GRANTED);
  assert_int_equal(budget_hold(&c, 11), BUDGET_BUSY);
  assert_int_equal(budget_hold(&c, 10), BUDGET_GRANTED);
  assert_int_equal(budget_hold(&b, 41), BUDGET_BUSY);
  assert_int_equal(b.bytes, 40);
  assert_int_equal(budget_hold(&a, 20), BUDGET_GRANTED);
  assert_int_equal(budget_hold(&b, 50), BUDGET_GRANTED);
  assert_int_equal(budget_used(&budget), 80);
  budget_release(&a);
  budget_release(&b);
  budget_release(&c);
  budget_release(&c);
  assert_int_equal(budget_used(&budget), 0);
  assert_int_equal(budget.most, 100);
}

static void test_plans_keep_no_list_out(void **state) {
  (void)state;
  struct budget budget = {.list_bytes = 100};
  struct budget_share plan = share_of(&budget, BUDGET_PLANS), more = plan, list = share_of(&budget, BUDGET_LISTS);
  assert_int_equal(budget_hold(&plan, 30), BUDGET_GRANTED);
  assert_int_equal(budget_hold(&more, 21), BUDGET_BUSY);
  assert_int_equal(budget_hold(&more, 20), BUDGET_GRANTED);
  assert_int_equal(budget_hold(&list, 50), BUDGET_GRANTED);
  budget_release(&plan);
  budget_release(&more);
  budget_release(&list);
  assert_int_equal(budget_used(&budget), 0);
}

static void test_buffers_are_apart(void **state) {
  (void)state;
  struct budget budget = {.list_bytes = 10, .buffer_bytes = 100};
  struct budget_share a = share_of(&budget, BUDGET_BUFFERS), b = a, list = share_of(&budget, BUDGET_LISTS);
  assert_int_equal(budget_hold(&a, 100), BUDGET_GRANTED);
  assert_int_equal(budget_hold(&b, 1), BUDGET_BUSY);
  budget_count(&b, 7);  // what each may hold whatever the others do
  assert_int_equal(budget_hold(&b, 6), BUDGET_GRANTED);
  assert_int_equal(budget_hold(&list, 5), BUDGET_GRANTED);
  assert_int_equal(budget_used(&budget), 111);
  budget_release(&a);
  budget_release(&b);
  budget_release(&list);
  assert_int_equal(budget_used(&budget), 0);
}

static void test_without_a_budget(void **state) {
  (void)state;
  struct budget_share share = {0};
  assert_int_equal(budget_hold(&share, UINT64_C(1) << 40), BUDGET_GRANTED);
  assert_int_equal(share.bytes, UINT64_C(1) << 40);
  budget_release(&share);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_lists_share_what_there_is),
      cmocka_unit_test(test_plans_keep_no_list_out),
      cmocka_unit_test(test_buffers_are_apart),
      cmocka_unit_test(test_without_a_budget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
