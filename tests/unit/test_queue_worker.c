// Unit tests of the queue's workers: lingering, falling silent while parked, jobs run again in each mode, rounds, late
// comers, what each exits with.
#include "tests/unit/queue_fixture.h"

static const char *const again = "2";

// ---- lingering

static void test_linger(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new(), b = join_new(), c = join_new();
  struct grant grant = lease(a);
  expect_parked(b);
  pass(SECOND);
  expect_parked(c);
  uint64_t parked = now - SECOND;
  for (int i = 0; i < 5; i++) {
    pass(10 * SECOND);
    heard(a), heard(b), heard(c);
  }
  pass(parked + usual.linger_us - now - 1);
  heard(a), heard(b), heard(c);
  assert_int_equal(counts().parked, 2);
  pass(1);
  assert_int_equal(drained(b), EFFECT_DRAIN_LINGER);  // who waited longest
  assert_int_equal(effects_of(EFFECT_DRAIN, NOBODY), 1);
  assert_int_equal(exit_code(b), EXIT_OK);
  pass(SECOND);
  assert_int_equal(drained(c), EFFECT_DRAIN_LINGER);
  report_all(a, &grant, QUEUE_PASSED);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

// The last one stays, also while the one that was told to go takes its time and is heard.
static void test_drained_ones_do_not_count(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.linger_us = 2 * SECOND;
  open_build(&policy, 1);
  uint32_t a = join_new(), b = join_new(), c = join_new();
  (void)lease(a);
  expect_parked(b);
  expect_parked(c);
  detach(a);
  pass(2 * SECOND);
  assert_int_equal(effects_of(EFFECT_DRAIN, NOBODY), 1);  // two waited; one is to stay
  assert_int_equal(drained(b), EFFECT_DRAIN_LINGER);
  heard(b);  // its test process still tears down
  assert_int_equal(counts().connected, 1);
  pass(8 * SECOND);
  heard(b), heard(c);
  assert_int_equal(counts().parked, 1);
  pass(5 * SECOND);
  assert_int_equal(granted(c).count, 1);  // the vanished worker's test
  leave(b, false);
  assert_int_equal(exit_code(b), EXIT_OK);
}

static void test_asks_again_after_a_drain(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.linger_us = SECOND;
  open_build(&policy, 1);
  uint32_t a = join_new(), b = join_new();
  struct grant grant = lease(a);
  expect_parked(b);
  pass(SECOND);
  assert_int_equal(drained(b), EFFECT_DRAIN_LINGER);
  detach(b);
  attach(b);  // it did not hear that
  expect_parked(b);
  assert_int_equal(counts().connected, 2);
  report_all(a, &grant, QUEUE_PASSED);
  assert_int_equal(drained(b), EFFECT_DRAIN_SETTLED);
}

// ---- silence while parked

// A suspended machine: the connection lives on, and whoever waited is still owed an answer.
static void test_silent_while_parked(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new(), b = join_new();
  struct grant grant = lease(a);
  expect_parked(b);
  pass(usual.lease_ttl_us);
  assert_int_equal(counts().connected, 0);
  assert_int_equal(counts().parked, 0);
  heard(b);
  assert_true(queue_deadline(queue) <= now);
  pass(0);
  assert_int_equal(granted(b).count, 1);
  assert_int_equal(report(a, grant.id, 0, QUEUE_PASSED), ACCEPT_LATE);
}

static void test_silent_until_the_end(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new(), b = join_new();
  struct grant grant = lease(a);
  expect_parked(b);
  pass(usual.lease_ttl_us - 1);
  heard(a);
  pass(1);
  report_all(a, &grant, QUEUE_PASSED);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(effects_of(EFFECT_DRAIN, b), 0);
  heard(b);
  pass(0);
  assert_int_equal(drained(b), EFFECT_DRAIN_SETTLED);
}

// All were silent for so long that the build was given up; they were only suspended.
static void test_silent_until_given_up(void **state) {
  (void)state;
  open_build(&usual, 2);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  pass(usual.lease_ttl_us);
  pass(usual.idle_us);
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_SEALED);
  heard(a);
  pass(0);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_LATE);
  finish(a);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

static void test_lost_connection_owes_no_answer(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new(), b = join_new();
  (void)lease(a);
  expect_parked(b);
  pass(usual.lease_ttl_us);
  detach(b);  // the old connection goes at last
  attach(b);  // the new one has not asked
  pass(0);
  assert_int_equal(effects_of(EFFECT_LEASE, NOBODY), 0);
  assert_int_equal(lease(b).count, 1);
}

// ---- leaving

static void test_leave_returns_everything(void **state) {
  (void)state;
  open_build(&usual, 40);
  uint32_t a = join_new(), b = join_new();
  struct grant grant = lease(a);
  assert_true(grant.count > 2);
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
  uint32_t leased = 0;
  for (int i = 0; i < 3; i++)
    leased += lease(b).count;
  leave(a, false);
  leave(a, false);  // once is enough
  assert_int_equal(counts().ready, 40 - 1 - leased);
  assert_int_equal(report(a, grant.id, grant.test[1], QUEUE_PASSED), ACCEPT_LATE);
  heard(a);
  ask(a);
  assert_int_equal(fx.count, 0);
  assert_false(queue_worker_connected(queue, a));
}

static void test_late_errors_fail(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_as("x", "1", QUEUE_RETRIED_NO);
  finish(a);
  leave(a, true);
  assert_int_equal(exit_code(a), EXIT_TESTS_FAILED);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  assert_int_equal(counts().late_errors, 1);
}

static void test_nobody_left(void **state) {
  (void)state;
  open_build(&usual, 2);
  uint32_t a = join_new(), b = join_new();
  leave(a, false);
  assert_int_equal(exit_code(a), EXIT_OK);  // the other has the rest
  leave(b, false);
  assert_int_equal(exit_code(b), EXIT_INFRA);
  assert_int_equal(build_code(), EXIT_INFRA);
}

// ---- jobs that are run again

// Node x fails test 0, node y fails test 1, the rest passes.
static void two_failures(enum queue_on_retry on_retry, uint32_t tests) {
  struct queue_policy policy = usual;
  policy.on_retry = on_retry;
  open_build(&policy, tests);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO), y = join_as("y", "1", QUEUE_RETRIED_NO);
  for (uint32_t turn = 0; queue_state(queue) == QUEUE_RUNNING; turn++) {
    uint32_t worker = turn % 2 ? y : x;
    ask(worker);
    if (!effects_of(EFFECT_LEASE, worker)) continue;
    struct grant grant = granted(worker);
    for (uint32_t i = 0; i < grant.count; i++) {
      bool fails = counts().by_verdict[VERDICT_FAILED] == turn && turn < 2;
      (void)report(worker, grant.id, grant.test[i], fails ? QUEUE_FAILED : QUEUE_PASSED);
    }
  }
  assert_int_equal(queue_own_failing(queue, x), 1);
  assert_int_equal(queue_own_failing(queue, y), 1);
  leave(x, false);
  leave(y, false);
}

static void test_rerun_of_what_it_failed(void **state) {
  (void)state;
  two_failures(QUEUE_UNRESOLVED, 8);
  uint32_t x = join_as("x", again, QUEUE_RETRIED_UNKNOWN);
  assert_int_equal(reopened_count, 1);
  assert_int_equal(queue_decided_by(queue, reopened[0]), UINT32_MAX);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  assert_int_equal(queue_round(queue), 2);
  assert_int_equal(queue_own_failing(queue, 0), 0);
  struct grant grant = lease(x);
  assert_int_equal(grant.count, 1);
  assert_int_equal(grant.test[0], reopened[0]);
  report_all(x, &grant, QUEUE_PASSED);
  assert_int_equal(attempt, 2);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(queue_verdict(queue, grant.test[0]), VERDICT_PASSED);
  assert_int_equal(exit_code(x), EXIT_OK);  // y's failure is y's
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
}

static void test_rerun_by_an_unknown_node(void **state) {
  (void)state;
  two_failures(QUEUE_UNRESOLVED, 8);
  (void)join_as("", again, QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 2);
  (void)join_as("", again, QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 0);  // once
}

static void test_rerun_mine(void **state) {
  (void)state;
  two_failures(QUEUE_MINE, 8);
  (void)join_as("x", again, QUEUE_RETRIED_YES);
  assert_true(reopened_count > 1 && reopened_count < 8);
  uint32_t done = 0;
  for (uint32_t i = 0; i < 8; i++)
    done += queue_decided_by(queue, i) == 1;
  assert_int_equal(done, 8 - reopened_count);
}

static void test_rerun_all(void **state) {
  (void)state;
  two_failures(QUEUE_ALL, 8);
  uint32_t x = join_as("x", again, QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 8);
  (void)join_as("y", again, QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 0);  // the round is on already
  assert_int_equal(queue_round(queue), 2);
  finish(x);
  assert_int_equal(build_code(), EXIT_OK);
}

static void test_rerun_without_failures(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.on_retry = QUEUE_UNRESOLVED;
  open_build(&policy, 3);
  finish(join_as("x", "1", QUEUE_RETRIED_NO));
  leave(0, false);
  uint32_t x = join_as("x", again, QUEUE_RETRIED_YES), opened = 9;
  bool ran = true;
  assert_int_equal(reopened_count, 0);
  assert_int_equal(queue_again(queue, x, &opened, &ran), AGAIN_NOTHING);
  assert_false(ran);
  assert_int_equal(opened, 0);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  ask(x);
  assert_int_equal(drained(x), EFFECT_DRAIN_LATE);
  assert_int_equal(exit_code(x), EXIT_OK);
}

static void test_rerun_in_a_running_build(void **state) {
  (void)state;
  open_build(&usual, 20);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO);
  (void)join_as("y", "1", QUEUE_RETRIED_NO);
  struct grant grant = lease(x);
  report_all(x, &grant, QUEUE_FAILED);
  leave(x, false);
  uint32_t back = join_as("x", again, QUEUE_RETRIED_UNKNOWN);
  assert_int_equal(reopened_count, grant.count);
  finish(back);
  assert_int_equal(build_code(), EXIT_OK);
  assert_int_equal(queue_round(queue), 2);
}

// Retries of the first round are no charge on the next.
static void test_rerun_has_its_own_retries(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.retries = 1;
  open_build(&policy, 12);
  uint32_t x = join_as("x", "0", QUEUE_RETRIED_NO);
  for (uint32_t round = 0; round < 5; round++) {
    uint32_t runs = 0;
    for (ask(x); effects_of(EFFECT_LEASE, x); ask(x)) {
      struct grant grant = granted(x);
      report_all(x, &grant, QUEUE_FAILED);
      runs += grant.count;
    }
    assert_int_equal(runs, 12 + 10);  // the budget is ten
    char token[16];
    leave(x, false);
    snprintf(token, sizeof token, "%u", round + 1);
    x = join_as("x", token, QUEUE_RETRIED_YES);
    assert_int_equal(reopened_count, 12);
  }
}

// A build that its bound ended goes on when a job is run again: what failed before does not end it a second time.
static void test_rerun_after_an_abort(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.max_failures = 1;
  open_build(&policy, 30);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO), y = join_as("y", "1", QUEUE_RETRIED_NO);
  struct grant grant = lease(x);
  assert_int_equal(report(x, grant.id, grant.test[0], QUEUE_FAILED), ACCEPT_CURRENT);
  assert_int_equal(queue_state(queue), QUEUE_ABORTED);
  leave(x, false);
  leave(y, false);
  uint32_t y2 = join_as("y", again, QUEUE_RETRIED_YES);  // it failed nothing, but was cut short
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  for (int i = 0; i < 3; i++) {
    grant = lease(y2);
    report_all(y2, &grant, QUEUE_PASSED);
  }
  uint32_t x2 = join_as("x", again, QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 1);
  grant = lease(x2);
  assert_int_equal(report(x2, grant.id, grant.test[0], QUEUE_FAILED), ACCEPT_CURRENT);
  assert_int_equal(queue_state(queue), QUEUE_ABORTED);  // a new failure does
}

static void test_late_comer(void **state) {
  (void)state;
  two_failures(QUEUE_UNRESOLVED, 8);
  uint32_t z = join_as("z", "1", QUEUE_RETRIED_NO);  // the CI says it is no re-run
  assert_int_equal(reopened_count, 0);
  ask(z);
  assert_int_equal(drained(z), EFFECT_DRAIN_LATE);
  assert_int_equal(exit_code(z), EXIT_TESTS_FAILED);
}

// A late result of a job's first try, for a test that was opened again since, is as good as any.
static void test_result_across_rounds(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_as("x", "1", QUEUE_RETRIED_NO), b = join_as("y", "1", QUEUE_RETRIED_NO);
  struct grant first = lease(a);
  pass(usual.lease_ttl_us - 1);
  heard(b);
  pass(1);
  struct grant second = lease(b);
  report_all(b, &second, QUEUE_FAILED);
  uint32_t b2 = join_as("y", again, QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 1);
  assert_int_equal(report(a, first.id, 0, QUEUE_PASSED), ACCEPT_LATE);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(exit_code(b2), EXIT_OK);
}

static void test_bound_on_workers(void **state) {
  (void)state;
  open_build(&usual, 1);
  struct queue_join join = {.node = "", .attempt = "", .retried = QUEUE_RETRIED_NO};
  begin();
  for (uint32_t i = 0; i < LIMIT_WORKERS; i++) {
    free(reopened);
    assert_int_equal(queue_join(queue, now, &join, &reopened, &reopened_count, &fx), i);
  }
  end();
  free(reopened);
  assert_int_equal(queue_join(queue, now, &join, &reopened, &reopened_count, &fx), UINT32_MAX);
  assert_null(reopened);
  assert_int_equal(queue_worker_count(queue), LIMIT_WORKERS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_linger),
      TEST(test_drained_ones_do_not_count),
      TEST(test_asks_again_after_a_drain),
      TEST(test_silent_while_parked),
      TEST(test_silent_until_the_end),
      TEST(test_silent_until_given_up),
      TEST(test_lost_connection_owes_no_answer),
      TEST(test_leave_returns_everything),
      TEST(test_late_errors_fail),
      TEST(test_nobody_left),
      TEST(test_rerun_of_what_it_failed),
      TEST(test_rerun_by_an_unknown_node),
      TEST(test_rerun_mine),
      TEST(test_rerun_all),
      TEST(test_rerun_without_failures),
      TEST(test_rerun_in_a_running_build),
      TEST(test_rerun_has_its_own_retries),
      TEST(test_rerun_after_an_abort),
      TEST(test_late_comer),
      TEST(test_result_across_rounds),
      TEST(test_bound_on_workers),
  };
  return cmocka_run_group_tests_name("queue_worker", tests, NULL, NULL);
}
