// Unit tests of skips: workers of one node are one machine. What one of them skipped another one of them does not
// confirm, be it a job that is run again, one that comes back as another worker, or two jobs that share a name.
#include "tests/unit/queue_fixture.h"

enum { DOCKER = 1, TESTS = 8 };

static void open_file(uint32_t nodes) {
  open_queue(&usual, 1);
  queue_declare(queue, nodes);
  set_list(TESTS, TESTS);
}

static void skip_all(uint32_t worker, const struct grant *grant) {
  for (uint32_t i = 0; i < grant->count; i++) {
    struct queue_result result = {.worker = worker,
                                  .test = grant->test[i],
                                  .lease = grant->id,
                                  .status = QUEUE_SKIPPED,
                                  .duration_us = 1000,
                                  .reason = DOCKER};
    begin();
    assert_int_equal(queue_result(queue, now, &result, &attempt, &settles, &fx), ACCEPT_CURRENT);
    end();
  }
}

// It skips whatever it is given, until it is parked; how many tests that were.
static uint32_t skips_everything(uint32_t worker) {
  uint32_t n = 0;
  for (ask(worker); effects_of(EFFECT_LEASE, worker); ask(worker)) {
    struct grant grant = granted(worker);
    n += grant.count;
    skip_all(worker, &grant);
    pass(0);
  }
  return n;
}

// Two workers, of these nodes, one after the other: both skip all that they are given, behind a worker of another node
// that has skipped one test of the kind, and would run the others. Returns that one.
static uint32_t one_after_the_other(const char *first, const char *second, bool at_once) {
  open_file(2);
  uint32_t a = join_as(first, "1", QUEUE_RETRIED_NO), other = join_as("other", "1", QUEUE_RETRIED_NO);
  assert_int_equal(skips_everything(a), TESTS);
  if (!at_once) leave_as(a, LEAVING_EARLY);
  uint32_t b = join_as(second, "2", QUEUE_RETRIED_YES);
  struct grant probe = lease(other);
  assert_int_equal(probe.count, 1);  // of the kind
  skip_all(other, &probe);
  assert_int_equal(counts().done, 0);
  assert_int_equal(skips_everything(b), TESTS);
  return other;
}

static void expect_other_runs_them(uint32_t other) {
  assert_int_equal(counts().done, 1);  // which it has skipped itself
  finish(other);
  pass(0);
  finish(other);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(counts().by_verdict[VERDICT_PASSED], TESTS - 1);
}

static void test_a_job_that_is_run_again_confirms_nothing(void **state) {
  (void)state;
  expect_other_runs_them(one_after_the_other("n", "n", false));
}

static void test_two_jobs_of_one_name_confirm_nothing(void **state) {
  (void)state;
  expect_other_runs_them(one_after_the_other("n", "n", true));
}

static void test_two_nodes_confirm(void **state) {
  (void)state;
  (void)one_after_the_other("n", "m", false);
  assert_int_equal(counts().by_verdict[VERDICT_SKIPPED], TESTS);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

// Jobs without a name may be any.
static void test_unnamed_jobs_confirm(void **state) {
  (void)state;
  (void)one_after_the_other("", "", false);
  assert_int_equal(counts().by_verdict[VERDICT_SKIPPED], TESTS);
}

// With nobody else the test is asked for once more, and its skip stands, whichever of the node's workers that is.
static void test_alone_after_itself(void **state) {
  (void)state;
  for (uint32_t nodes = 0; nodes < 3; nodes++) {
    open_file(nodes);
    uint32_t a = join_as("n", "1", QUEUE_RETRIED_NO);
    (void)skips_everything(a);
    leave_as(a, LEAVING_EARLY);
    uint32_t b = join_as("n", "2", QUEUE_RETRIED_YES);
    for (uint64_t us = 0; us <= usual.linger_us; us += 5 * SECOND) {
      (void)skips_everything(b);
      pass(5 * SECOND);
      struct grant grant = granted(b);
      skip_all(b, &grant);
      heard(b);
    }
    assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
    assert_int_equal(counts().by_verdict[VERDICT_SKIPPED], TESTS);
    if (nodes < 2) close_queue(NULL);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_job_that_is_run_again_confirms_nothing),
      TEST(test_two_jobs_of_one_name_confirm_nothing),
      TEST(test_two_nodes_confirm),
      TEST(test_unnamed_jobs_confirm),
      TEST(test_alone_after_itself),
  };
  return cmocka_run_group_tests_name("queue_skip_node", tests, NULL, NULL);
}
