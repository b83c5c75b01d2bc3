// Unit tests of the queue: failing facts outside of verdicts, and what clears them; jobs that are run again.
#include "tests/unit/queue_fixture.h"

static struct queue_policy policy_of(enum queue_on_retry on_retry) {
  struct queue_policy policy = usual;
  policy.on_retry = on_retry;
  return policy;
}

// Runs one lease, with this status.
static struct grant run_lease(uint32_t worker, enum queue_status status) {
  struct grant grant = lease(worker);
  report_all(worker, &grant, status);
  return grant;
}

// Workers of nodes "0", "1", … in attempt 1 run `tests` tests, a lease each in turn, until all are done.
static void run_nodes(uint32_t nodes, uint32_t tests) {
  char node[12];
  set_list(tests, 0);
  for (uint32_t i = 0; i < nodes; i++) {
    (void)snprintf(node, sizeof node, "%u", i);
    assert_int_equal(join_as(node, "1", QUEUE_RETRIED_NO), i);
  }
  for (uint32_t turn = 0; queue_state(queue) == QUEUE_RUNNING; turn++) {
    ask(turn % nodes);
    struct grant grant = granted(turn % nodes);
    report_all(turn % nodes, &grant, QUEUE_PASSED);
  }
}

static uint32_t decided(uint32_t worker) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < counts().total; i++)
    n += queue_decided_by(queue, i) == worker;
  return n;
}

static enum queue_opening again_of(uint32_t worker) {
  uint32_t opened;
  bool ran;
  return queue_again(queue, worker, &opened, &ran);
}

// ---- errors outside of tests

// Nothing but the run of its tests clears it: not that the job comes again.
static void test_late_error_opens_its_tests(void **state) {
  (void)state;
  open_queue(&usual, 1);
  run_nodes(1, 3);
  leave(0, true);
  assert_int_equal(exit_code(0), EXIT_TESTS_FAILED);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  uint32_t x = join_as("0", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 3);
  assert_int_equal(again_of(x), AGAIN_LATE);
  assert_int_equal(effects_of(EFFECT_CLEARED, 0), 1);
  assert_int_equal(build_code(), EXIT_INFRA);  // not before they have run
  finish(x);
  leave(x, true);
  assert_int_equal(exit_code(x), EXIT_TESTS_FAILED);  // it has an error of its own
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  uint32_t y = join_as("0", "3", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 3);
  finish(y);
  leave(y, false);
  assert_int_equal(exit_code(y), EXIT_OK);
  assert_int_equal(build_code(), EXIT_OK);
}

static void test_late_error_with_every_mode(void **state) {
  (void)state;
  static const enum queue_on_retry modes[] = {QUEUE_AGAIN, QUEUE_MINE, QUEUE_ALL, QUEUE_UNRESOLVED};
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    struct queue_policy policy = policy_of(modes[i]);
    open_queue(&policy, 1);
    run_nodes(2, 8);
    uint32_t own = decided(0);
    assert_true(own > 0 && own < 8);
    leave(0, true);
    leave(1, false);
    uint32_t x = join_as("0", "2", QUEUE_RETRIED_YES);
    assert_int_equal(reopened_count, modes[i] == QUEUE_ALL ? 8 : own);
    finish(x);
    leave(x, false);
    assert_int_equal(build_code(), EXIT_OK);
    close_queue(NULL);
  }
}

static void test_another_node_clears_nothing(void **state) {
  (void)state;
  open_queue(&usual, 1);
  run_nodes(2, 8);
  leave(0, true);
  leave(1, false);
  uint32_t own = decided(1), y = join_as("1", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, own);
  assert_int_equal(effects_of(EFFECT_CLEARED, NOBODY), 0);
  finish(y);
  leave(y, false);
  assert_int_equal(exit_code(y), EXIT_OK);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
}

static void test_unknown_node_opens_what_all_left(void **state) {
  (void)state;
  open_queue(&usual, 1);
  run_nodes(3, 12);
  uint32_t own = decided(0) + decided(2);
  leave(0, true);
  leave(1, false);
  leave_as(2, LEAVING_BROKEN);
  assert_int_equal(counts().late_errors, 1);
  assert_int_equal(counts().broken, 1);
  uint32_t z = join_as("", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, own);
  finish(z);
  leave(z, false);
  assert_int_equal(build_code(), EXIT_OK);
}

// What it ran is not what it decided: its failure passed elsewhere.
static void test_late_error_of_who_decided_nothing(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.retries = 1;
  open_build(&policy, 1);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO), y = join_as("y", "1", QUEUE_RETRIED_NO);
  (void)run_lease(x, QUEUE_FAILED);
  leave(x, true);
  finish(y);
  leave(y, false);
  assert_int_equal(decided(x), 0);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  uint32_t back = join_as("x", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 1);
  finish(back);
  leave(back, false);
  assert_int_equal(build_code(), EXIT_OK);
}

// Its tests wait elsewhere anyway, and have to run there.
static void test_late_error_whose_tests_are_open(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.retries = 1;
  open_build(&policy, 1);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO), y = join_as("y", "1", QUEUE_RETRIED_NO);
  (void)run_lease(x, QUEUE_FAILED);
  leave(x, true);
  uint32_t back = join_as("x", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 0);
  assert_int_equal(counts().late_errors, 0);
  finish(y);
  leave(back, false);
  assert_int_equal(build_code(), EXIT_OK);
}

// It had run no test: there is nothing to open, and a whole session of its job tells.
static void test_late_error_without_tests(void **state) {
  (void)state;
  open_queue(&usual, 1);
  run_nodes(1, 3);
  uint32_t y = join_as("y", "1", QUEUE_RETRIED_NO);
  leave(y, true);
  leave(0, false);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  uint32_t other = join_as("z", "1", QUEUE_RETRIED_NO);
  leave(other, false);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  uint32_t cut = join_as("y", "2", QUEUE_RETRIED_YES);
  assert_int_equal(exit_code(cut), EXIT_TESTS_FAILED);  // it is its own job's
  leave_as(cut, LEAVING_EARLY);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  uint32_t back = join_as("y", "3", QUEUE_RETRIED_YES);
  leave(back, false);
  assert_int_equal(effects_of(EFFECT_CLEARED, y), 1);
  assert_int_equal(exit_code(back), EXIT_OK);
  assert_int_equal(build_code(), EXIT_OK);
}

// A job without a name may be any.
static void test_late_error_of_nobody(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t x = join_as("", "1", QUEUE_RETRIED_NO), y = join_as("", "1", QUEUE_RETRIED_NO);
  leave(x, true);
  finish(y);
  leave(y, false);
  uint32_t idle = join_as("", "2", QUEUE_RETRIED_UNKNOWN);
  leave(idle, false);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  assert_int_equal(exit_code(idle), EXIT_TESTS_FAILED);
  uint32_t back = join_as("", "3", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 1);  // nothing is unresolved: everything
  finish(back);
  leave(back, false);
  assert_int_equal(build_code(), EXIT_OK);
}

// What ran has to run: a skip where it cannot verifies nothing. What was skipped may be again.
static void test_skips_do_not_clear(void **state) {
  (void)state;
  open_build(&usual, 2);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO);
  for (uint32_t i = 0; i < 9 && queue_state(queue) == QUEUE_RUNNING; i++) {
    pass(usual.linger_us);
    struct grant grant = lease(x);
    for (uint32_t t = 0; t < grant.count; t++)
      (void)report(x, grant.id, grant.test[t], grant.test[t] ? QUEUE_SKIPPED : QUEUE_PASSED);
  }
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  leave(x, true);
  (void)join_as("x", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 2);
  assert_int_equal(queue_counts_as(queue, 0, QUEUE_SKIPPED), QUEUE_FAILED);
  assert_int_equal(queue_counts_as(queue, 1, QUEUE_SKIPPED), QUEUE_SKIPPED);
}

static void test_a_mute_hides_no_error(void **state) {
  (void)state;
  open_build(&usual, 1);
  queue_mute(queue, 0);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO);
  (void)run_lease(x, QUEUE_FAILED);
  assert_int_equal(build_code(), EXIT_OK);
  leave(x, true);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
  uint32_t back = join_as("x", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 1);
  (void)run_lease(back, QUEUE_SKIPPED);
  leave(back, false);
}

static void test_late_error_of_an_unfinished_build(void **state) {
  (void)state;
  open_build(&usual, 40);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO);
  struct grant grant = run_lease(x, QUEUE_PASSED);
  leave(x, true);
  pass(usual.idle_us);
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
  uint32_t y = join_as("y", "1", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, grant.count);  // the node is new: whatever is unresolved
  finish(y);
  leave(y, false);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(build_code(), EXIT_OK);
}

static void test_late_error_of_an_aborted_build(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.max_failures = 1;
  open_build(&policy, 40);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO);
  struct grant passed = run_lease(x, QUEUE_PASSED), failed = lease(x);
  (void)report(x, failed.id, failed.test[0], QUEUE_FAILED);
  assert_int_equal(queue_state(queue), QUEUE_ABORTED);
  leave(x, true);
  uint32_t back = join_as("x", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, passed.count + 1);
  assert_int_equal(again_of(back), AGAIN_UNRESOLVED);
  finish(back);
  leave(back, false);
  assert_int_equal(build_code(), EXIT_OK);
}

// ---- a test process that failed

static void test_broken_process_is_a_fact(void **state) {
  (void)state;
  open_queue(&usual, 1);
  run_nodes(2, 8);
  uint32_t own = decided(0), idle = join_as("z", "1", QUEUE_RETRIED_NO);
  leave(1, false);
  leave_as(0, LEAVING_BROKEN);
  leave_as(idle, LEAVING_BROKEN);  // it never ran a test: its job's own affair
  assert_int_equal(exit_code(0), EXIT_INFRA);
  assert_int_equal(build_code(), EXIT_INFRA);
  assert_int_equal(counts().broken, 1);
  uint32_t back = join_as("0", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, own);
  finish(back);
  leave(back, false);
  assert_int_equal(build_code(), EXIT_OK);
}

// ---- nothing is unresolved

static void test_green_job_runs_what_it_decided(void **state) {
  (void)state;
  open_queue(&usual, 1);
  run_nodes(3, 12);
  uint32_t own[] = {decided(0), decided(1), decided(2)};
  for (uint32_t i = 0; i < 3; i++)
    leave(i, false);
  uint32_t a = join_as("0", "2", QUEUE_RETRIED_UNKNOWN);
  assert_int_equal(reopened_count, own[0]);
  assert_int_equal(again_of(a), AGAIN_DECIDED);
  uint32_t b = join_as("1", "2", QUEUE_RETRIED_UNKNOWN);  // the build goes on already, and it has its own all the same
  assert_int_equal(reopened_count, own[1]);
  finish(a);
  finish(b);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  uint32_t c = join_as("2", "2", QUEUE_RETRIED_UNKNOWN);
  assert_int_equal(reopened_count, own[2]);  // all jobs together: everything, once
  finish(c);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(exit_code(c), EXIT_OK);
}

// A run of the same job that came late had nothing to do, and is not what the job is asked to run again.
static void a_late_run_hides_nothing(bool other_first) {
  open_queue(&usual, 1);
  run_nodes(2, 12);
  uint32_t own = decided(0);
  leave(0, false);
  leave(1, false);
  uint32_t late = join_as("0", "1", QUEUE_RETRIED_NO);
  finish(late);
  leave(late, false);
  uint32_t other = other_first ? join_as("1", "2", QUEUE_RETRIED_YES) : 0;  // the build goes on already
  uint32_t again = join_as("0", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, own);
  assert_int_equal(again_of(again), AGAIN_DECIDED);
  finish(again);
  if (other_first) finish(other);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(exit_code(again), EXIT_OK);
}

static void test_a_late_run_hides_nothing(void **state) {
  (void)state;
  a_late_run_hides_nothing(false);
}

static void test_a_late_run_hides_nothing_of_a_running_build(void **state) {
  (void)state;
  a_late_run_hides_nothing(true);
}

// A job that is run again in the middle does not repeat what passed.
static void test_green_tests_of_a_running_build_stay(void **state) {
  (void)state;
  open_build(&usual, 40);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO);
  (void)run_lease(x, QUEUE_PASSED);
  leave_as(x, LEAVING_EARLY);
  uint32_t back = join_as("x", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 0);
  finish(back);
  assert_int_equal(again_of(back), AGAIN_NOTHING);  // it has run what was left
  leave(back, false);
  uint32_t third = join_as("x", "3", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 40);
  (void)run_lease(third, QUEUE_PASSED);
  leave_as(third, LEAVING_EARLY);
  (void)join_as("x", "4", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 0);
}

static void green_build_of_unknown_nodes(enum queue_on_retry mode) {
  struct queue_policy policy = policy_of(mode);
  open_build(&policy, 12);
  uint32_t x = join_as("", "1", QUEUE_RETRIED_NO);
  finish(x);
  leave(x, false);
  (void)join_as("", "1", QUEUE_RETRIED_UNKNOWN);  // one that came late is no re-run
  assert_int_equal(reopened_count, 0);
  uint32_t y = join_as("", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 12);
  assert_int_equal(again_of(y), AGAIN_ALL);
  finish(y);
  uint32_t z = join_as("", "2", QUEUE_RETRIED_YES);  // of the same re-run
  assert_int_equal(reopened_count, 0);
  assert_int_equal(again_of(z), AGAIN_NOTHING);
  (void)join_as("", "3", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 12);
}

static void test_green_build_of_unknown_nodes(void **state) {
  (void)state;
  green_build_of_unknown_nodes(QUEUE_AGAIN);
  close_queue(NULL);
  green_build_of_unknown_nodes(QUEUE_MINE);  // nobody knows what is its own
}

static void test_new_node_runs_nothing_green(void **state) {
  (void)state;
  open_queue(&usual, 1);
  run_nodes(1, 3);
  leave(0, false);
  uint32_t z = join_as("7", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 0);
  assert_int_equal(again_of(z), AGAIN_NOTHING);
  assert_int_equal(exit_code(z), EXIT_OK);
}

// ---- who may still bring something

static void test_closing(void **state) {
  (void)state;
  open_queue(&usual, 1);
  run_nodes(2, 8);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_true(queue_closing(queue, now));
  leave(0, false);
  detach(1);
  assert_true(queue_closing(queue, now));  // its connection is lost, and may come back
  pass(usual.lease_ttl_us);
  assert_false(queue_closing(queue, now));
}

// ---- restart

static void test_restart_keeps_facts(void **state) {
  (void)state;
  struct queue_past past[3] = {{.fact = FACT_NONE}};
  for (int cleared = 0; cleared < 2; cleared++) {
    open_queue(&usual, 1);
    run_nodes(1, 2);
    leave(0, true);
    if (cleared) (void)join_as("0", "2", QUEUE_RETRIED_YES);
    for (uint32_t i = 0; i <= (uint32_t)cleared; i++)
      queue_past(queue, i, &past[i]);
    close_queue(NULL);
    open_queue(&usual, 2);
    static const struct queue_join joins[] = {{.node = "0", .attempt = "1"}, {.node = "0", .attempt = "2"}};
    for (uint32_t i = 0; i <= (uint32_t)cleared; i++)
      (void)queue_restore_worker(queue, &joins[i], &past[i]);
    queue_restore_left(queue, 0);
    set_list(2, 0);
    for (uint32_t i = 0; i < 2; i++)
      restore_result(0, i, QUEUE_PASSED, 1, true);
    uint32_t opened[] = {0, 1};
    if (cleared) queue_restore_round(queue, past[0].cleared, opened, 2);
    begin();
    queue_restored(queue, now, cleared ? 0 : QUEUE_COMPLETE, &fx);
    end();
    assert_int_equal(counts().late_errors, !cleared);
    if (!cleared) (void)join_as("0", "2", QUEUE_RETRIED_YES);
    assert_int_equal(counts().ready, 2);
    assert_int_equal(queue_counts_as(queue, 1, QUEUE_SKIPPED), QUEUE_FAILED);
    close_queue(NULL);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_late_error_opens_its_tests),
      TEST(test_late_error_with_every_mode),
      TEST(test_another_node_clears_nothing),
      TEST(test_unknown_node_opens_what_all_left),
      TEST(test_late_error_of_who_decided_nothing),
      TEST(test_late_error_whose_tests_are_open),
      TEST(test_late_error_without_tests),
      TEST(test_late_error_of_nobody),
      TEST(test_skips_do_not_clear),
      TEST(test_a_mute_hides_no_error),
      TEST(test_late_error_of_an_unfinished_build),
      TEST(test_late_error_of_an_aborted_build),
      TEST(test_broken_process_is_a_fact),
      TEST(test_green_job_runs_what_it_decided),
      TEST(test_a_late_run_hides_nothing),
      TEST(test_a_late_run_hides_nothing_of_a_running_build),
      TEST(test_green_tests_of_a_running_build_stay),
      TEST(test_green_build_of_unknown_nodes),
      TEST(test_new_node_runs_nothing_green),
      TEST(test_closing),
      TEST(test_restart_keeps_facts),
  };
  return cmocka_run_group_tests_name("queue_rerun", tests, NULL, NULL);
}
