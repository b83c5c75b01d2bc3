// Unit tests of counted and exclusive tests in the queue: who gets them when, and that a retry waits for its token,
// too.
#include "tests/unit/queue_fixture.h"

// A build of tests of a second each, with these tokens.
static void open_with(const struct queue_policy *policy, const uint64_t *need, uint32_t count, uint32_t copies) {
  uint32_t file_of[TESTS_MAX], unit_of[TESTS_MAX];
  uint64_t us[TESTS_MAX];
  for (uint32_t i = 0; i < count; i++) {
    file_of[i] = SCHED_NO_FILE;
    unit_of[i] = i;
    us[i] = SECOND;
  }
  struct tokens_list tokens = {.count = count, .need = need, .expected_us = us, .order_us = us};
  for (uint32_t i = 0; i < TOKENS_MAX; i++)
    tokens.copies[i] = copies;
  struct sched_list list = {.count = count, .file_of = file_of, .unit_of = unit_of};
  list.expected_us = list.order_us = us;
  open_queue(policy, 1);
  begin();
  queue_set_list(queue, now, &list, tokens_new(&tokens), &fx);
  end();
}

// With company an exclusive test waits until nothing else is left; then it runs with nothing beside it.
static void test_exclusive_comes_last(void **state) {
  (void)state;
  const uint64_t need[] = {TOKENS_EXCLUSIVE, 0, 0, TOKENS_EXCLUSIVE};
  open_with(&usual, need, 4, 1);
  uint32_t a = join_new(), b = join_new();
  struct grant first = lease(a), second = lease(b);
  assert_true(first.count == 1 && second.count == 1);
  assert_true(first.test[0] + second.test[0] == 3 && first.test[0] != 0 && second.test[0] != 0);
  report_all(a, &first, QUEUE_PASSED);
  expect_parked(a);
  report_all(b, &second, QUEUE_PASSED);
  struct grant alone = granted(a);
  assert_true(alone.count == 1 && need[alone.test[0]] == TOKENS_EXCLUSIVE);
  expect_parked(b);
  report_all(a, &alone, QUEUE_PASSED);
  assert_true(granted(b).count == 1);
}

static void test_exclusive_comes_first_to_one_alone(void **state) {
  (void)state;
  const uint64_t need[] = {0, 0, TOKENS_EXCLUSIVE};
  open_with(&usual, need, 3, 1);
  struct grant grant = lease(join_new());
  assert_true(grant.count == 1 && grant.test[0] == 2);
}

static void test_retry_waits_for_its_token(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.retries = 1;
  const uint64_t need[] = {1, 1};
  open_with(&policy, need, 2, 1);
  uint32_t a = join_new(), b = join_new();
  struct grant first = lease(a);
  expect_parked(b);
  assert_int_equal(report(a, first.id, first.test[0], QUEUE_FAILED), ACCEPT_CURRENT);
  struct grant second = granted(b);
  assert_int_equal(second.count, 1);
  expect_parked(a);  // the token is with b
  assert_int_equal(report(b, second.id, second.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
  struct grant third = granted(a);  // unless it is what a itself has failed
  report_all(a, &third, QUEUE_PASSED);
  finish(b);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_exclusive_comes_last),
      TEST(test_exclusive_comes_first_to_one_alone),
      TEST(test_retry_waits_for_its_token),
  };
  return cmocka_run_group_tests_name("queue_tokens", tests, NULL, NULL);
}
