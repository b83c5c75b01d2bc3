// Unit tests of the loop's time: how long it plans to sleep, and what it tells the core when it wakes late, under a
// clock of the test's own (the linker sends base_now_us here).
#include "server/server.h"

#include "tests/unit/queue_fixture.h"

#define MINUTE (60 * (uint64_t)SECOND)
#define SLACK (usual.lease_ttl_us / 4)  // being later than this is a stall

static struct server server;
static uint64_t clock_us;
static struct grant held;

uint64_t __wrap_base_now_us(void);
uint64_t __wrap_base_now_us(void) {
  return clock_us;
}

// A build whose one test is leased, at the time that the server's core knows.
static int set_up(void **state) {
  (void)state;
  clock_us = 5000 * (uint64_t)SECOND;
  server = (struct server){.settings.lease_ttl_us = usual.lease_ttl_us};
  server_begin_turn(&server);
  open_build(&usual, 1);
  now = server.now_us;
  uint32_t worker = join_new();
  held = lease(worker);
  assert_int_equal(held.count, 1);
  return 0;
}

// The loop sleeps until `next_us` later is due, and begins its next turn `late_us` after the time it planned.
static uint64_t sleep_for(uint64_t next_us, uint64_t late_us) {
  uint64_t wait_us = server_plan_wait(&server, server.now_us + next_us);
  clock_us += wait_us + late_us;
  server_begin_turn(&server);
  return wait_us;
}

// A turn of the core: what is due happens.
static void turn(void) {
  now = server.now_us;
  pass(0);
}

static void test_time_is_what_the_clock_says(void **state) {
  (void)state;
  uint64_t began = server.now_us;
  assert_int_equal(sleep_for(SECOND, 0), SECOND);
  assert_int_equal(sleep_for(SECOND / 2, SLACK), SECOND / 2);  // a busy machine, not a stall
  assert_int_equal(server.now_us - began, SECOND + SECOND / 2 + SLACK);
  assert_int_equal(server.gaps_us, 0);
}

static void test_what_is_due_is_not_waited_for(void **state) {
  (void)state;
  assert_int_equal(server_plan_wait(&server, server.now_us), 0);
  assert_int_equal(server_plan_wait(&server, server.now_us - 1), 0);
  assert_int_equal(server_plan_wait(&server, server.now_us + 1), 1);
  assert_in_range(server_plan_wait(&server, UINT64_MAX), SECOND / 10, SLACK);
}

// A short lease is not slept through: what was planned counts as time.
static void test_never_sleeps_for_more_than_a_part_of_a_lease(void **state) {
  (void)state;
  server.settings.lease_ttl_us = SECOND;
  assert_int_equal(server_plan_wait(&server, UINT64_MAX), SECOND / 4);
}

static void test_woken_early(void **state) {
  (void)state;
  uint64_t began = server.now_us;
  assert_int_equal(server_plan_wait(&server, server.now_us + SECOND), SECOND);
  clock_us += SECOND / 10;
  server_begin_turn(&server);
  assert_int_equal(server.now_us - began, SECOND / 10);
  assert_int_equal(server.gaps_us, 0);
}

static void test_a_stall_is_no_time(void **state) {
  (void)state;
  uint64_t began = server.now_us;
  sleep_for(SECOND, SLACK + 1);
  assert_int_equal(server.gaps_us, SLACK + 1);
  assert_int_equal(server.now_us - began, SECOND);
}

// The loop was stopped before it could go to sleep.
static void test_a_stall_in_a_turn_is_no_time(void **state) {
  (void)state;
  uint64_t began = server.now_us;
  clock_us += MINUTE;
  sleep_for(SECOND, 0);
  assert_int_equal(server.gaps_us, MINUTE);
  assert_int_equal(server.now_us - began, SECOND);
}

static void test_stalls_add_up(void **state) {
  (void)state;
  uint64_t began = server.now_us;
  sleep_for(SECOND, MINUTE);
  sleep_for(SECOND, 0);
  sleep_for(SECOND, 2 * MINUTE);
  assert_int_equal(server.gaps_us, 3 * MINUTE);
  assert_int_equal(server.now_us - began, 3 * SECOND);
}

// Every callback begins the turn that is going on; only the first one looks at the clock.
static void test_once_a_turn(void **state) {
  (void)state;
  uint64_t told = server.now_us;
  clock_us += MINUTE;
  server_begin_turn(&server);
  assert_int_equal(server.now_us, told);
  assert_int_equal(server.gaps_us, 0);
}

// The lease has as long to live behind the stall as it had before it, to the microsecond.
static void test_a_lease_outlives_a_stall(void **state) {
  (void)state;
  sleep_for(SECOND, 3 * usual.lease_ttl_us);
  turn();
  assert_int_equal(counts().leased, 1);
  assert_int_equal(queue_deadline(queue) - server.now_us, usual.lease_ttl_us - SECOND);
  while (queue_deadline(queue) > server.now_us + 1) {
    sleep_for(queue_deadline(queue) - server.now_us - 1, 0);
    turn();
  }
  assert_int_equal(counts().leased, 1);
  sleep_for(1, 0);
  turn();
  assert_int_equal(counts().leased, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, close_queue)
int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_time_is_what_the_clock_says),
      CASE(test_what_is_due_is_not_waited_for),
      CASE(test_never_sleeps_for_more_than_a_part_of_a_lease),
      CASE(test_woken_early),
      CASE(test_a_stall_is_no_time),
      CASE(test_a_stall_in_a_turn_is_no_time),
      CASE(test_stalls_add_up),
      CASE(test_once_a_turn),
      CASE(test_a_lease_outlives_a_stall),
  };
  return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
