// Unit tests of verdicts: what each status means, retries and where they go, crashes, the bound on failures and
// the bound on attempts.
#include "tests/unit/queue_fixture.h"

static struct queue_policy with_retries(uint32_t retries) {
  struct queue_policy policy = usual;
  policy.retries = retries;
  return policy;
}

// A worker that stays and keeps quiet, so that others are not alone.
static uint32_t bystander(void) {
  return join_new();
}

static void test_statuses(void **state) {
  (void)state;
  static const enum queue_verdict verdict[] = {
      [QUEUE_PASSED] = VERDICT_PASSED,   [QUEUE_FAILED] = VERDICT_FAILED,   [QUEUE_ERROR] = VERDICT_FAILED,
      [QUEUE_SKIPPED] = VERDICT_SKIPPED, [QUEUE_XFAILED] = VERDICT_PASSED,  [QUEUE_XPASSED] = VERDICT_PASSED,
      [QUEUE_CRASHED] = VERDICT_CRASHED, [QUEUE_TIMED_OUT] = VERDICT_FAILED};
  for (enum queue_status status = QUEUE_PASSED; status <= QUEUE_TIMED_OUT; status++) {
    open_build(&usual, 1);
    queue_declare(queue, 1);  // nobody else will come, to be asked whether it skips the test, too
    uint32_t a = join_new();
    struct grant grant = lease(a);
    if (status == QUEUE_CRASHED || status == QUEUE_TIMED_OUT) {
      assert_int_equal(report(a, grant.id, 0, status), ACCEPT_CURRENT);
      grant = lease(a);
    }
    report_all(a, &grant, status);
    bool bad = verdict[status] == VERDICT_FAILED || verdict[status] == VERDICT_CRASHED;
    assert_int_equal(queue_verdict(queue, 0), verdict[status]);
    assert_int_equal(counts().by_status[status], 1);
    assert_int_equal(counts().failing, bad);
    assert_int_equal(queue_own_failing(queue, a), bad);
    assert_int_equal(exit_code(a), bad ? EXIT_TESTS_FAILED : EXIT_OK);
    assert_int_equal(build_code(), bad ? EXIT_TESTS_FAILED : EXIT_OK);
    close_queue(NULL);
  }
  open_build(&usual, 0);
}

// A muted test runs and is retried as any other; what would fail it fails neither its worker nor the build.
static void test_muted(void **state) {
  (void)state;
  for (enum queue_status status = QUEUE_PASSED; status <= QUEUE_TIMED_OUT; status++) {
    struct queue_policy policy = with_retries(1);
    policy.max_failures = 1;
    policy.limits_tests = true;
    open_build(&policy, 1);
    queue_mute(queue, 0);
    uint32_t a = join_new(), b = bystander();
    struct grant grant = lease(a);
    report_all(a, &grant, status);
    bool bad = status == QUEUE_FAILED || status == QUEUE_ERROR || status == QUEUE_CRASHED || status == QUEUE_TIMED_OUT;
    assert_int_equal(settles, !bad && status != QUEUE_SKIPPED);  // a skip is confirmed elsewhere
    if (!settles) {
      expect_parked(a);
      grant = lease(b);
      report_all(b, &grant, status);
      assert_int_equal(queue_verdict(queue, 0), bad ? VERDICT_MUTED : VERDICT_SKIPPED);
    }
    assert_int_equal(counts().by_verdict[VERDICT_MUTED], bad);
    assert_int_equal(counts().failing, 0);
    assert_int_equal(queue_own_failing(queue, b), 0);
    assert_int_equal(exit_code(b), EXIT_OK);
    assert_int_equal(build_code(), EXIT_OK);
    assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
    close_queue(NULL);
  }
  open_build(&usual, 0);
}

static void test_retry_goes_to_another(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(1);
  open_build(&policy, 1);
  uint32_t a = join_new(), b = bystander();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_FAILED);
  assert_false(settles);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_NONE);
  expect_parked(a);  // not its own failure while somebody else is there
  struct grant second = lease(b);
  report_all(b, &second, QUEUE_PASSED);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_FLAKY);
  assert_int_equal(queue_decided_by(queue, 0), b);
  assert_int_equal(attempt, 2);
  assert_int_equal(build_code(), EXIT_OK);
  assert_int_equal(drained(a), EFFECT_DRAIN_SETTLED);
}

// A job that is run again while its first try hangs on is no other machine; nor is anybody, when it is all there is.
static void test_retry_goes_to_another_node(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(1);
  open_build(&policy, 1);
  uint32_t a = join_as("node", "1", QUEUE_RETRIED_NO), b = bystander();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_FAILED);
  uint32_t same = join_as("node", "2", QUEUE_RETRIED_NO);
  expect_parked(same);
  leave(b, false);
  assert_int_equal(granted(same).count, 1);
}

// Flaky, and not known how: once more where it failed, and then elsewhere as often as the policy says.
static void test_puzzle_stays_once(void **state) {
  struct queue_policy policy = with_retries(1);
  for (int ends = 0; ends < 3; ends++) {
    open_build(&policy, 1);
    uint32_t a = join_new(), b = bystander();
    queue_puzzle(queue, 0);
    struct grant grant = lease(a);
    report_all(a, &grant, QUEUE_FAILED);
    expect_parked(b);
    if (ends == 2) {  // the one that it failed on has gone
      leave(a, false);
      assert_int_equal(granted(b).count, 1);
      close_queue(state);
      continue;
    }
    grant = lease(a);
    report_all(a, &grant, ends ? QUEUE_PASSED : QUEUE_FAILED);
    assert_int_equal(settles, ends == 1);
    if (ends == 0) {
      grant = granted(b);
      report_all(b, &grant, QUEUE_FAILED);
      assert_true(settles && attempt == 3);
    }
    assert_int_equal(queue_verdict(queue, 0), ends ? VERDICT_FLAKY : VERDICT_FAILED);
    close_queue(state);
  }
  policy = usual;  // without retries nothing is tried again
  open_build(&policy, 1);
  uint32_t a = join_new();
  queue_puzzle(queue, 0);
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_FAILED);
  assert_true(settles);
}

// The one who settles the failing verdict fails, not the one who failed first.
static void test_second_failure_settles(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(1);
  policy.limits_tests = true;
  open_build(&policy, 1);
  uint32_t a = join_new(), b = bystander();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_FAILED);
  grant = lease(b);
  report_all(b, &grant, QUEUE_TIMED_OUT);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_FAILED);
  assert_int_equal(exit_code(a), EXIT_OK);
  assert_int_equal(exit_code(b), EXIT_TESTS_FAILED);
}

static void test_alone_it_retries_itself(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(2);
  open_build(&policy, 1);
  uint32_t a = join_new();
  for (int i = 0; i < 3; i++) {
    struct grant grant = lease(a);
    report_all(a, &grant, QUEUE_FAILED);
    assert_int_equal(settles, i == 2);
  }
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

// Its own failure waits for another worker; when that one goes, it is served at once.
static void test_retry_when_the_other_leaves(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(1);
  open_build(&policy, 1);
  uint32_t a = join_new(), b = bystander();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_FAILED);
  expect_parked(a);
  leave(b, false);
  assert_int_equal(granted(a).count, 1);
}

static void test_retry_when_the_other_falls_silent(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(1);
  open_build(&policy, 1);
  uint32_t a = join_new(), b = bystander();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_FAILED);
  expect_parked(a);
  detach(b);
  pass(policy.lease_ttl_us - 1);
  heard(a);
  pass(1);
  assert_int_equal(granted(a).count, 1);
}

// A plainly broken build is not run twice: ten tests or a tenth of them are tried again.
static void test_retry_budget(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(3);
  open_build(&policy, 40);
  uint32_t a = join_new(), failures = 0;
  for (ask(a); effects_of(EFFECT_LEASE, a); ask(a)) {
    struct grant grant = granted(a);
    report_all(a, &grant, QUEUE_FAILED);
    failures += grant.count;
  }
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(counts().by_verdict[VERDICT_FAILED], 40);
  assert_true(failures > 40 && failures <= 40 + 3 * 10);
}

// ---- times

// A limit that nobody asked for settles nothing by itself: the test runs once more, with nothing beside it.
static void test_a_guessed_limit_settles_the_second_time(void **state) {
  (void)state;
  open_build(&usual, 3);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  uint32_t test = grant.test[0];
  assert_int_equal(report(a, grant.id, test, QUEUE_TIMED_OUT), ACCEPT_CURRENT);
  assert_false(settles);
  assert_int_equal(queue_verdict(queue, test), VERDICT_NONE);
  assert_int_equal(queue_overruns(queue, test), 1);
  for (uint32_t i = 1; i < grant.count; i++)
    report(a, grant.id, grant.test[i], QUEUE_PASSED);
  for (grant = lease(a); grant.test[0] != test; grant = lease(a))
    report_all(a, &grant, QUEUE_PASSED);
  assert_int_equal(grant.test[0], test);
  assert_int_equal(grant.count, 1);
  report_all(a, &grant, QUEUE_TIMED_OUT);
  assert_true(settles);
  assert_int_equal(queue_verdict(queue, test), VERDICT_FAILED);
}

static void test_a_guessed_limit_and_a_pass_are_flaky(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_TIMED_OUT);
  assert_false(settles);
  grant = lease(a);
  report_all(a, &grant, QUEUE_PASSED);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_FLAKY);
  assert_int_equal(build_code(), EXIT_OK);
}

// What the user set holds at once, but for retries.
static void test_a_limit_of_the_users_settles_at_once(void **state) {
  (void)state;
  for (uint32_t retries = 0; retries < 2; retries++) {
    struct queue_policy policy = with_retries(retries);
    policy.limits_tests = true;
    open_build(&policy, 1);
    uint32_t a = join_new();
    struct grant grant = lease(a);
    report_all(a, &grant, QUEUE_TIMED_OUT);
    assert_int_equal(settles, retries == 0);
    assert_int_equal(queue_overruns(queue, 0), 0);
    close_queue(NULL);
  }
  open_build(&usual, 0);
}

// Retries come behind the second run: a guess takes none of them.
static void test_retries_come_behind_a_guess(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(1);
  open_build(&policy, 1);
  uint32_t a = join_new();
  for (int i = 0; i < 3; i++) {
    struct grant grant = lease(a);
    report_all(a, &grant, QUEUE_TIMED_OUT);
    assert_int_equal(settles, i == 2);
  }
}

// A restart replays the first overrun: the second settles, as it would have.
static void test_a_guess_is_replayed(void **state) {
  (void)state;
  open_build(&usual, 1);
  queue_restore_worker(queue, &(struct queue_join){.node = "a", .attempt = "1"}, &(struct queue_past){0});
  restore_result(0, 0, QUEUE_TIMED_OUT, 1, false);
  queue_restored(queue, now, 0, &fx);
  assert_int_equal(queue_overruns(queue, 0), 1);
  uint32_t a = join_new();
  now += usual.lease_ttl_us;
  queue_tick(queue, now, &fx);
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_TIMED_OUT);
  assert_true(settles);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_FAILED);
}

// ---- crashes

static void test_two_crashes_settle(void **state) {
  (void)state;
  for (uint32_t retries = 0; retries < 4; retries++) {  // whatever the policy
    struct queue_policy policy = with_retries(retries);
    open_build(&policy, 6);
    uint32_t a = join_new();
    struct grant grant = lease(a);
    uint32_t poison = grant.test[0];
    assert_int_equal(report(a, grant.id, poison, QUEUE_CRASHED), ACCEPT_CURRENT);
    assert_false(settles);
    for (uint32_t i = 1; i < grant.count; i++)
      (void)report(a, grant.id, grant.test[i], QUEUE_PASSED);
    do {
      grant = lease(a);
      if (grant.test[0] != poison) report_all(a, &grant, QUEUE_PASSED);
    } while (grant.test[0] != poison);
    assert_int_equal(grant.count, 1);  // alone
    assert_int_equal(report(a, grant.id, poison, QUEUE_CRASHED), ACCEPT_CURRENT);
    assert_true(settles);
    assert_int_equal(queue_verdict(queue, poison), VERDICT_CRASHED);
    finish(a);
    assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
    close_queue(NULL);
  }
  open_build(&usual, 0);
}

static void test_crash_then_pass_is_flaky(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_CRASHED);
  grant = lease(a);
  report_all(a, &grant, QUEUE_PASSED);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_FLAKY);
}

// ---- bounds

static void test_max_failures(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.max_failures = 2;
  open_build(&policy, 30);
  uint32_t a = join_new(), b = join_new();
  struct grant mine = lease(a), others = lease(b);
  assert_true(mine.count >= 2);
  assert_int_equal(report(a, mine.id, mine.test[0], QUEUE_FAILED), ACCEPT_CURRENT);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  assert_int_equal(report(b, others.id, others.test[0], QUEUE_ERROR), ACCEPT_CURRENT);
  assert_int_equal(queue_state(queue), QUEUE_ABORTED);
  assert_int_equal(report(a, mine.id, mine.test[1], QUEUE_PASSED), ACCEPT_CURRENT);  // it ran: it counts
  ask(a);
  assert_int_equal(drained(a), EFFECT_DRAIN_MAX_FAILURES);
  assert_int_equal(exit_code(a), EXIT_TESTS_FAILED);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  uint32_t c = join_new();
  ask(c);
  assert_int_equal(drained(c), EFFECT_DRAIN_LATE);
  assert_int_equal(exit_code(c), EXIT_TESTS_FAILED);
}

// A failure that is sent elsewhere is none yet.
static void test_max_failures_counts_verdicts(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(1);
  policy.max_failures = 1;
  open_build(&policy, 2);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_FAILED);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  grant = lease(a);
  report_all(a, &grant, QUEUE_PASSED);
  assert_int_equal(queue_verdict(queue, grant.test[0]), VERDICT_FLAKY);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
}

static void test_last_failure_completes(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.max_failures = 1;
  open_build(&policy, 1);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_FAILED);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);  // nothing was cut short
}

static void test_bound_of_a_runner(void **state) {
  (void)state;
  open_build(&usual, 10);
  queue_set_max_failures(queue, 0);  // says nothing
  queue_set_max_failures(queue, 5);
  queue_set_max_failures(queue, 1);
  queue_set_max_failures(queue, 3);  // the strictest holds
  uint32_t a = join_new();
  struct grant grant = lease(a);
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_FAILED), ACCEPT_CURRENT);
  assert_int_equal(queue_state(queue), QUEUE_ABORTED);
}

// A verdict over vanished workers counts against the bound as every other does, though no result brought it.
static void test_lost_verdict_aborts(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.max_failures = 1;
  open_build(&policy, 2);
  for (int i = 0; i < LIMIT_LOST; i++) {
    uint32_t worker = join_new();
    (void)lease(worker);
    detach(worker);
    pass(policy.lease_ttl_us);
  }
  assert_int_equal(queue_state(queue), QUEUE_ABORTED);
}

// However generous the policy, a test's attempts end.
static void test_attempts_end(void **state) {
  (void)state;
  struct queue_policy policy = with_retries(1000000);
  open_build(&policy, 1);
  uint32_t a = join_new(), n = 0;
  for (ask(a); effects_of(EFFECT_LEASE, a); ask(a), n++) {
    struct grant grant = granted(a);
    report_all(a, &grant, QUEUE_FAILED);
    assert_int_equal(attempt, n + 1);
  }
  assert_int_equal(n, LIMIT_ATTEMPTS);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_FAILED);
  for (uint32_t i = 0; i < 100; i++) {  // and run again as a job, its numbers go on
    char token[16];
    snprintf(token, sizeof token, "t%u", i);
    uint32_t again = join_as("n", token, QUEUE_RETRIED_YES);
    struct grant grant = lease(again);
    report_all(again, &grant, QUEUE_FAILED);
    assert_int_equal(attempt, LIMIT_ATTEMPTS + 1 + i);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_statuses),
      TEST(test_muted),
      TEST(test_retry_goes_to_another),
      TEST(test_retry_goes_to_another_node),
      TEST(test_puzzle_stays_once),
      TEST(test_second_failure_settles),
      TEST(test_alone_it_retries_itself),
      TEST(test_retry_when_the_other_leaves),
      TEST(test_retry_when_the_other_falls_silent),
      TEST(test_retry_budget),
      TEST(test_a_guessed_limit_settles_the_second_time),
      TEST(test_a_guessed_limit_and_a_pass_are_flaky),
      TEST(test_a_limit_of_the_users_settles_at_once),
      TEST(test_retries_come_behind_a_guess),
      TEST(test_a_guess_is_replayed),
      TEST(test_two_crashes_settle),
      TEST(test_crash_then_pass_is_flaky),
      TEST(test_max_failures),
      TEST(test_max_failures_counts_verdicts),
      TEST(test_last_failure_completes),
      TEST(test_bound_of_a_runner),
      TEST(test_lost_verdict_aborts),
      TEST(test_attempts_end),
  };
  return cmocka_run_group_tests_name("queue_verdict", tests, NULL, NULL);
}
