// Unit tests of the queue after a restart: a replay of the records comes to the same state, nothing is granted before
// the old workers have named what they hold, rounds and forgiven failures are as they were.
#include "tests/unit/queue_fixture.h"

static struct queue_policy with_retries(uint32_t retries) {
  struct queue_policy policy = usual;
  policy.retries = retries;
  return policy;
}

struct record {
  uint32_t worker, test, attempt;
  enum queue_status status;
  bool settles;
};

static void test_restore_equals_live(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(1);
  static const enum queue_status statuses[] = {QUEUE_PASSED, QUEUE_FAILED, QUEUE_SKIPPED, QUEUE_CRASHED, QUEUE_XFAILED};
  struct record kept[64];
  uint32_t n = 0;
  open_build(&policy, 12);
  uint32_t workers[] = {join_as("x", "1", QUEUE_RETRIED_NO), join_as("y", "1", QUEUE_RETRIED_NO)};
  for (uint32_t turn = 0; counts().done < 8; turn++) {
    struct grant grant = lease(workers[turn % 2]);
    for (uint32_t i = 0; i < grant.count; i++, n++) {
      enum queue_status status = statuses[(grant.test[i] + turn) % COUNT_OF(statuses)];
      assert_int_equal(report(workers[turn % 2], grant.id, grant.test[i], status), ACCEPT_CURRENT);
      kept[n] = (struct record){workers[turn % 2], grant.test[i], attempt, status, settles};
    }
  }
  struct queue_counts before = counts();
  enum queue_verdict verdicts[12];
  for (uint32_t i = 0; i < 12; i++)
    verdicts[i] = queue_verdict(queue, i);
  uint32_t failing = queue_own_failing(queue, workers[0]);
  close_queue(NULL);

  open_queue(&policy, 2);
  static const struct queue_join joins[] = {{.node = "x", .attempt = "1"}, {.node = "y", .attempt = "1"}};
  for (uint32_t i = 0; i < 2; i++)
    assert_int_equal(queue_restore_worker(queue, &joins[i], &(struct queue_past){0}), i);
  set_list(12, 0);
  for (uint32_t i = 0; i < n; i++) {
    restore_result(kept[i].worker, kept[i].test, kept[i].status, kept[i].attempt, kept[i].settles);
  }
  begin();
  queue_restored(queue, now, 0, &fx);
  end();
  struct queue_counts after = counts();
  assert_int_equal(after.done, before.done);
  assert_int_equal(after.ready, before.ready + before.leased);
  assert_memory_equal(after.by_verdict, before.by_verdict, sizeof after.by_verdict);
  assert_memory_equal(after.by_status, before.by_status, sizeof after.by_status);
  for (uint32_t i = 0; i < 12; i++)
    assert_int_equal(queue_verdict(queue, i), verdicts[i]);
  assert_int_equal(queue_own_failing(queue, 0), failing);
}

// The number of an attempt that is on disk is not given again, though it decided nothing.
static void test_restored_extra_keeps_its_number(void **state) {
  (void)state;
  open_queue(&usual, 2);
  set_list(2, 0);
  struct queue_join join = {.node = "x", .attempt = "1"};
  (void)queue_restore_worker(queue, &join, &(struct queue_past){0});
  restore_result(0, 0, QUEUE_FAILED, 1, true);
  queue_restore_extra(queue, &(struct queue_result){.status = QUEUE_PASSED}, 2);
  begin();
  queue_restored(queue, now, 0, &fx);
  end();
  uint32_t again = join_as("x", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 1);
  pass(usual.lease_ttl_us);
  struct grant grant = lease(again);
  while (grant.test[0] != 0)
    grant = lease(again);
  assert_int_equal(report(again, grant.id, 0, QUEUE_PASSED), ACCEPT_CURRENT);
  assert_int_equal(attempt, 3);
}

static void test_restored_end(void **state) {
  (void)state;
  static const enum queue_state ends[] = {QUEUE_INCOMPLETE, QUEUE_ABORTED};
  for (size_t i = 0; i < COUNT_OF(ends); i++) {
    open_queue(&usual, 2);
    set_list(3, 0);
    begin();
    queue_restored(queue, now, ends[i], &fx);
    end();
    assert_int_equal(queue_state(queue), ends[i]);
    assert_int_equal(fx.count, 0);
    close_queue(NULL);
  }
  open_queue(&usual, 2);
  struct queue_join join = {.node = "x", .attempt = "1"};
  (void)queue_restore_worker(queue, &join, &(struct queue_past){0});
  set_list(1, 0);
  restore_result(0, 0, QUEUE_CRASHED, 1, true);
  begin();
  queue_restored(queue, now, 0, &fx);
  end();
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
}

static void restart(uint32_t workers, uint32_t tests) {
  open_queue(&usual, 2);
  for (uint32_t i = 0; i < workers; i++) {
    char node[16];
    snprintf(node, sizeof node, "r%u", i);
    struct queue_join join = {.node = node, .attempt = "1"};
    assert_int_equal(queue_restore_worker(queue, &join, &(struct queue_past){0}), i);
  }
  set_list(tests, 0);
  begin();
  queue_restored(queue, now, 0, &fx);
  end();
}

// Nothing is granted before the old workers have named what they hold; then at once.
static void test_hold_until_all_are_back(void **state) {
  (void)state;
  restart(2, 4);
  uint64_t old = (UINT64_C(1) << 32) + 5;
  attach(0);
  expect_parked(0);
  pass(SECOND);
  assert_int_equal(effects_of(EFFECT_LEASE, NOBODY), 0);
  attach(1);
  uint32_t held[] = {2, 0};
  assert_true(adopt(1, old, held, 2));
  assert_int_equal(counts().leased, 2);
  pass(0);
  struct grant grant = granted(0);
  assert_true(grant.count == 1 && grant.test[0] != 0 && grant.test[0] != 2);
  assert_int_equal(grant.id >> 32, 2);
  assert_int_equal(report(1, old, 2, QUEUE_PASSED), ACCEPT_CURRENT);
}

static void test_hold_ends(void **state) {
  (void)state;
  restart(2, 4);
  attach(0);
  expect_parked(0);
  pass(usual.lease_ttl_us - 1);
  heard(0);
  assert_int_equal(counts().leased, 0);
  pass(1);
  assert_int_equal(granted(0).count, 1);  // the other does not come
}

static void test_no_hold_for_those_who_left(void **state) {
  (void)state;
  open_queue(&usual, 2);
  struct queue_join join = {.node = "x", .attempt = "1"};
  uint32_t x = queue_restore_worker(queue, &join, &(struct queue_past){0});
  queue_restore_left(queue, x);
  set_list(1, 0);
  begin();
  queue_restored(queue, now, 0, &fx);
  end();
  assert_int_equal(lease(join_new()).count, 1);
}

// A build may be reopened while its workers leave: who comes back first is not the last for that.
static void test_leaving_before_the_others_are_back(void **state) {
  (void)state;
  restart(2, 4);
  attach(0);
  leave(0, false);
  assert_int_equal(exit_code(0), EXIT_OK);
  pass(usual.lease_ttl_us);
  assert_int_equal(exit_code(0), EXIT_INFRA);  // the other does not come
  close_queue(NULL);
  restart(1, 4);
  attach(0);
  leave(0, false);
  assert_int_equal(exit_code(0), EXIT_INFRA);
}

static void test_restored_rounds(void **state) {
  (void)state;
  open_queue(&usual, 2);
  struct queue_join first = {.node = "x", .attempt = "1"}, second = {.node = "x", .attempt = "2"};
  uint32_t x = queue_restore_worker(queue, &first, &(struct queue_past){.fact = FACT_LATE});
  assert_int_equal(counts().late_errors, 1);
  uint32_t x2 = queue_restore_worker(queue, &second, &(struct queue_past){.again = AGAIN_FAILED, .opened = 1});
  assert_int_equal(counts().late_errors, 1);  // only a record clears it
  queue_restore_left(queue, x);
  set_list(3, 0);
  for (uint32_t i = 0; i < 3; i++)
    restore_result(x, i, i ? QUEUE_PASSED : QUEUE_FAILED, 1, true);
  uint32_t opened[] = {0, 1000};
  queue_restore_round(queue, 2, opened, 2);  // one of them is no test of the list
  assert_int_equal(queue_round(queue), 2);
  restore_result(x2, 0, QUEUE_SKIPPED, 2, true);
  begin();
  queue_restored(queue, now, 0, &fx);
  end();
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_SKIPPED);
  assert_int_equal(queue_decided_by(queue, 0), x2);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
}

static void test_restart_remembers_what_was_forgiven(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.max_failures = 1;
  for (int reruns = 0; reruns < 2; reruns++) {
    open_queue(&policy, 2);
    static const struct queue_join joins[] = {
        {.node = "x", .attempt = "1"}, {.node = "y", .attempt = "1"}, {.node = "y", .attempt = "2"}};
    for (int i = 0; i < 2 + reruns; i++)
      (void)queue_restore_worker(queue, &joins[i], &(struct queue_past){.again = i == 2 ? AGAIN_NOTHING : AGAIN_NONE});
    set_list(9, 0);
    restore_result(0, 0, QUEUE_FAILED, 1, true);
    begin();
    queue_restored(queue, now, 0, &fx);
    end();
    assert_int_equal(queue_state(queue), reruns ? QUEUE_RUNNING : QUEUE_ABORTED);
    close_queue(NULL);
  }
  open_build(&usual, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_restore_equals_live),
      TEST(test_restored_extra_keeps_its_number),
      TEST(test_restored_end),
      TEST(test_hold_until_all_are_back),
      TEST(test_hold_ends),
      TEST(test_no_hold_for_those_who_left),
      TEST(test_leaving_before_the_others_are_back),
      TEST(test_restored_rounds),
      TEST(test_restart_remembers_what_was_forgiven),
  };
  return cmocka_run_group_tests_name("queue_restart", tests, NULL, NULL);
}
