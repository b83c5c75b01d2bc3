// Unit tests of the queue: what a worker exits with that leaves while others have the rest of the build.
#include "tests/unit/queue_fixture.h"

// Node "0" has failed tests of a build that is over, and a worker has come too late for it; then "0" is run again.
static uint32_t late_while_again(uint32_t *again) {
  open_queue(&usual, 1);
  set_list(4, 0);
  uint32_t x = join_as("0", "1", QUEUE_RETRIED_NO);
  for (ask(x); effects_of(EFFECT_LEASE, x); ask(x)) {
    struct grant grant = granted(x);
    report_all(x, &grant, QUEUE_FAILED);
  }
  leave(x, false);
  uint32_t late = join_as("1", "1", QUEUE_RETRIED_NO);
  ask(late);
  assert_int_equal(drained(late), EFFECT_DRAIN_LATE);
  *again = join_as("0", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 4);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  leave(late, false);
  return late;
}

// What that one has yet to run is its own matter, and no ground on which the late one would be tried again.
static void test_late_while_a_job_is_run_again(void **state) {
  (void)state;
  uint32_t again, late = late_while_again(&again);
  struct grant grant = lease(again);
  assert_int_equal(exit_code(late), EXIT_OK);
  assert_int_equal(build_code(), EXIT_INFRA);
  assert_int_equal(report(again, grant.id, grant.test[0], QUEUE_FAILED), ACCEPT_CURRENT);
  assert_int_equal(exit_code(late), EXIT_TESTS_FAILED);  // this much is known
  finish(again);
  assert_int_equal(exit_code(late), EXIT_TESTS_FAILED);
}

static void test_late_beside_what_stays_failed(void **state) {
  (void)state;
  open_build(&usual, 2);
  uint32_t x = join_as("0", "1", QUEUE_RETRIED_NO), y = join_as("1", "1", QUEUE_RETRIED_NO);
  struct grant of_x = lease(x), of_y = lease(y);
  report_all(x, &of_x, QUEUE_FAILED);
  report_all(y, &of_y, QUEUE_FAILED);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  leave(x, false);
  leave(y, false);
  uint32_t late = join_as("2", "1", QUEUE_RETRIED_NO);
  uint32_t again = join_as("0", "2", QUEUE_RETRIED_YES);
  assert_int_equal(reopened_count, 1);
  leave(late, false);
  assert_int_equal(exit_code(late), EXIT_TESTS_FAILED);
  finish(again);
  leave(again, false);
  assert_int_equal(exit_code(again), EXIT_OK);
  assert_int_equal(exit_code(late), EXIT_TESTS_FAILED);
}

// A connection that broke is no death: for a lease's time its worker may come back, and has its tests until then.
static void test_late_while_the_other_is_away(void **state) {
  (void)state;
  uint32_t again, late = late_while_again(&again);
  (void)lease(again);
  detach(again);
  assert_int_equal(exit_code(late), EXIT_OK);
  pass(usual.lease_ttl_us);
  assert_int_equal(exit_code(late), EXIT_INFRA);
  attach(again);
  assert_int_equal(exit_code(late), EXIT_OK);
  leave(again, false);
  assert_int_equal(exit_code(late), EXIT_INFRA);
}

// Who only brings results runs none of what is left.
static void test_bringing_is_no_company(void **state) {
  (void)state;
  struct queue_join brings = {.node = "b", .attempt = "", .brings = true};
  open_build(&usual, 2);
  uint32_t x = join_new();
  begin();
  uint32_t none, *opened, b = queue_join(queue, now, &brings, &opened, &none, &fx);
  end();
  leave(x, false);
  assert_true(queue_worker_connected(queue, b));
  assert_int_equal(exit_code(x), EXIT_INFRA);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_late_while_a_job_is_run_again),
      TEST(test_late_beside_what_stays_failed),
      TEST(test_late_while_the_other_is_away),
      TEST(test_bringing_is_no_company),
  };
  return cmocka_run_group_tests_name("queue_leaving", tests, NULL, NULL);
}
