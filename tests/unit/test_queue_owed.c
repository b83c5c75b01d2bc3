// Unit tests of the queue: who runs again what produced an error outside of tests owes the end of its session.
#include "tests/unit/queue_fixture.h"

// Node "0" ran two tests and left an error behind; its job is run again, and has run them.
static uint32_t run_again(void) {
  open_build(&usual, 2);
  assert_int_equal(join_as("0", "1", QUEUE_RETRIED_NO), 0);
  finish(0);
  leave(0, true);
  uint32_t again = join_as("0", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 2);
  finish(again);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  return again;
}

// Another try opens what the lost one had cleared, and clears it.
static void clear_at_last(const char *token) {
  uint32_t last = join_as("0", token, QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 2);
  assert_int_equal(build_code(), EXIT_INFRA);
  finish(last);
  leave(last, false);
  assert_int_equal(exit_code(last), EXIT_OK);
  assert_int_equal(build_code(), EXIT_OK);
}

static void test_told_to_stop(void **state) {
  (void)state;
  uint32_t again = run_again();
  leave_as(again, LEAVING_EARLY);
  assert_int_equal(counts().broken, 1);
  assert_int_equal(exit_code(again), EXIT_INFRA);
  assert_int_equal(build_code(), EXIT_INFRA);
  clear_at_last("3");
}

static void test_vanished(void **state) {
  (void)state;
  uint32_t again = run_again();
  detach(again);
  assert_true(queue_closing(queue, now));  // nothing is said before it is known
  pass(usual.lease_ttl_us);
  assert_false(queue_closing(queue, now));
  assert_int_equal(build_code(), EXIT_INFRA);
  clear_at_last("3");
}

static void test_returns_after_all(void **state) {
  (void)state;
  uint32_t again = run_again();
  detach(again);
  pass(usual.lease_ttl_us);
  attach(again);
  leave(again, false);
  assert_int_equal(exit_code(again), EXIT_OK);
  assert_int_equal(build_code(), EXIT_OK);
}

// Its job comes again before it is missed.
static void test_taken_for_lost(void **state) {
  (void)state;
  (void)run_again();
  detach(1);
  clear_at_last("3");
}

// It was only away, and tells of its own end, whatever was made of its silence.
static void test_taken_for_lost_and_returns(void **state) {
  (void)state;
  static const enum queue_leaving how[] = {LEAVING_WELL, LEAVING_EARLY, LEAVING_LATE, LEAVING_BROKEN};
  static const int code[] = {EXIT_OK, EXIT_OK, EXIT_TESTS_FAILED, EXIT_INFRA};
  for (size_t i = 0; i < COUNT_OF(how); i++) {
    uint32_t again = run_again();
    detach(again);
    clear_at_last("3");
    attach(again);
    leave_as(again, how[i]);
    assert_int_equal(build_code(), code[i]);
    close_queue(NULL);
  }
}

static void test_while_it_waits_for_others(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.on_retry = QUEUE_UNRESOLVED;
  open_build(&policy, 3);
  assert_int_equal(join_as("0", "1", QUEUE_RETRIED_NO), 0);
  struct grant first = lease(0);
  report_all(0, &first, QUEUE_PASSED);
  uint32_t other = join_new();
  struct grant held = lease(other);
  if (counts().done + held.count < 3) finish(0);
  leave(0, true);
  uint32_t again = join_as("0", "2", QUEUE_RETRIED_YES);
  while (counts().ready) {
    struct grant grant = lease(again);
    report_all(again, &grant, QUEUE_PASSED);
  }
  expect_parked(again);
  while (!drained(again)) {
    heard(other);
    heard(again);
    pass(SECOND);
  }
  assert_int_equal(drained(again), EFFECT_DRAIN_LINGER);
  report_all(other, &held, QUEUE_PASSED);
  (void)join_as("", "9", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 0);  // it is at its end, and not lost
  leave(again, false);
  leave(other, false);
  assert_int_equal(build_code(), EXIT_OK);
}

// Who ran nothing of it owes nothing.
static void test_others_owe_nothing(void **state) {
  (void)state;
  open_build(&usual, 4);
  uint32_t x = join_as("x", "1", QUEUE_RETRIED_NO), y = join_as("y", "1", QUEUE_RETRIED_NO);
  struct grant of_x = lease(x);
  report_all(x, &of_x, QUEUE_PASSED);
  struct grant of_y = lease(y);
  leave(x, true);
  uint32_t again = join_as("x", "2", QUEUE_RETRIED_YES);
  while (counts().ready) {
    struct grant grant = lease(again);
    report_all(again, &grant, QUEUE_PASSED);
  }
  report_all(y, &of_y, QUEUE_PASSED);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  leave(again, false);
  leave_as(y, LEAVING_EARLY);
  assert_int_equal(build_code(), EXIT_OK);
}

// What was shown to be well again is evidence no longer, and who runs it once more owes nothing.
static void test_what_was_verified_is_not_owed(void **state) {
  (void)state;
  leave(run_again(), false);
  assert_int_equal(build_code(), EXIT_OK);
  uint32_t more = join_as("0", "3", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 2);
  finish(more);
  leave_as(more, LEAVING_EARLY);
  assert_int_equal(build_code(), EXIT_OK);
}

// The evidence waits to be run again already: nothing is opened, and the one who runs it owes as much.
static void test_evidence_that_waits(void **state) {
  (void)state;
  open_build(&usual, 1);
  assert_int_equal(join_as("0", "1", QUEUE_RETRIED_NO), 0);
  struct grant grant = lease(0);
  report_all(0, &grant, QUEUE_CRASHED);
  leave(0, true);
  uint32_t again = join_as("0", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 0);
  assert_int_equal(queue_round(queue), 2);
  assert_int_equal(counts().late_errors, 0);
  finish(again);
  leave_as(again, LEAVING_EARLY);
  assert_int_equal(build_code(), EXIT_INFRA);
  uint32_t last = join_as("0", "3", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 1);
  finish(last);
  leave(last, false);
  assert_int_equal(build_code(), EXIT_OK);
}

// What came after the end is in no record, and evidence all the same.
static void test_evidence_that_came_too_late(void **state) {
  (void)state;
  static const enum queue_leaving how[] = {LEAVING_LATE, LEAVING_BROKEN};
  static const int code[] = {EXIT_TESTS_FAILED, EXIT_INFRA};
  for (size_t i = 0; i < COUNT_OF(how); i++) {
    open_build(&usual, 1);
    uint32_t silent = join_as("x", "1", QUEUE_RETRIED_NO), other = join_as("y", "1", QUEUE_RETRIED_NO);
    struct grant grant = lease(silent);
    pass(usual.lease_ttl_us - 1);
    heard(other);
    pass(1);
    finish(other);
    attach(silent);
    assert_int_equal(report(silent, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_SEALED);
    leave_as(silent, how[i]);
    leave(other, false);
    assert_int_equal(build_code(), code[i]);
    struct queue_past past;
    queue_past(queue, silent, &past);
    assert_true(past.unstored);
    uint32_t again = join_as("x", "2", QUEUE_RETRIED_YES);
    assert_int_equal(reopened_count, 1);
    finish(again);
    leave(again, false);
    assert_int_equal(build_code(), EXIT_OK);
    close_queue(NULL);
  }
}

static void restart(const struct queue_past *past, bool left) {
  close_queue(NULL);
  open_queue(&usual, 2);
  static const struct queue_join joins[] = {{.node = "0", .attempt = "1"}, {.node = "0", .attempt = "2"}};
  for (uint32_t i = 0; i < COUNT_OF(joins); i++)
    (void)queue_restore_worker(queue, &joins[i], &past[i]);
  queue_restore_left(queue, 0);
  if (left) queue_restore_left(queue, 1);
  set_list(2, 0);
  static const uint32_t opened[] = {0, 1};
  for (uint32_t i = 0; i < COUNT_OF(opened); i++)
    restore_result(0, i, QUEUE_PASSED, 1, true);
  queue_restore_round(queue, 2, opened, COUNT_OF(opened));
  for (uint32_t i = 0; i < COUNT_OF(opened); i++)
    restore_result(1, i, QUEUE_PASSED, 2, true);
  begin();
  queue_restored(queue, now, QUEUE_COMPLETE, &fx);
  end();
}

static void test_restart(void **state) {
  (void)state;
  struct queue_past past[2];
  for (int left = 0; left < 2; left++) {
    uint32_t again = run_again();
    if (left) leave_as(again, LEAVING_EARLY);
    queue_past(queue, 0, &past[0]);
    queue_past(queue, again, &past[1]);
    restart(past, left);
    pass(usual.lease_ttl_us);
    assert_false(queue_closing(queue, now));
    assert_int_equal(build_code(), EXIT_INFRA);
    clear_at_last("3");
    close_queue(NULL);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_told_to_stop),
      TEST(test_vanished),
      TEST(test_returns_after_all),
      TEST(test_taken_for_lost),
      TEST(test_taken_for_lost_and_returns),
      TEST(test_while_it_waits_for_others),
      TEST(test_others_owe_nothing),
      TEST(test_what_was_verified_is_not_owed),
      TEST(test_evidence_that_waits),
      TEST(test_evidence_that_came_too_late),
      TEST(test_restart),
  };
  return cmocka_run_group_tests_name("queue_owed", tests, NULL, NULL);
}
