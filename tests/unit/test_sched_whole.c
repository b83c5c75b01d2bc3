// The scheduler's further modes: files and units that are not split, collection order, a process for each lease.
#include "tests/unit/sched_fixture.h"

// Files that are whole have one worker at a time, the others are shared as ever.
static void test_some_files_are_whole(void **state) {
  (void)state;
  static const bool whole_of[] = {true, false};
  for (uint32_t i = 0; i < 60; i++)
    add(i / 40, i, SECOND);
  how.whole_of = whole_of;
  make(false);
  assert_true(grant(0, 3) > 0);
  assert_int_equal(worker[0].file, 0);
  assert_true(grant(1, 3) > 0 && file_of[out[0]] == 1);
  assert_true(grant(2, 3) > 0 && file_of[out[0]] == 1);
  sched_worker_leave(sched, &worker[0]);  // it is gone: the rest is the next one's
  sched_worker_leave(sched, &worker[2]);
  assert_true(grant(2, 3) > 0 && file_of[out[0]] == 0);
  assert_false(sched_may_part(sched, 0, 1));
  assert_true(sched_may_part(sched, 39, 40) && sched_may_part(sched, 40, 41));
}

static void test_units_are_whole(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 600; i++)
    add(0, i / 300, SECOND / 10);  // longer than what is cut otherwise
  how.whole_units = true;
  make(false);
  assert_int_equal(grant(0, 8), 300);
  assert_int_equal(grant(1, 8), 300);
  assert_false(sched_may_part(sched, 298, 299));
  assert_true(sched_may_part(sched, 299, 300));
}

// Every worker's tests come in collection order, whatever they take and whoever asks.
static void test_collection_order(void **state) {
  (void)state;
  uint32_t last[3] = {0}, seen = 0, first = 1;
  for (uint32_t i = 0; i < 200; i++)
    add(0, i, i % 50 == 49 ? 20 * SECOND : SECOND / 10);
  how.in_order = true;
  make(false);
  for (uint32_t turn = 0; seen < 200; turn++) {
    uint32_t who = turn % 3, n = grant(who, 3);
    assert_true(n > 0);
    for (uint32_t i = 0; i < n; i++, seen++) {
      assert_true(first || out[i] == 0 || out[i] > last[who]);
      assert_int_equal(out[i], seen);
      last[who] = out[i];
    }
    first = 0;
  }
}

// A start of two seconds for each lease: none is below four starts while there is work, and they shrink from half a
// share.
static void test_process_leases(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 2000; i++)
    add(i / 20, i, SECOND / 10);
  make(false);
  worker[0].start_us = worker[1].start_us = 2 * SECOND;
  for (uint32_t turn = 0; sched_free_count(sched); turn++) {
    uint64_t before_us = sched_free_us(sched);
    uint32_t n = grant(turn % 2, 2);
    uint64_t sum = (uint64_t)n * SECOND / 10;
    assert_true(n > 0);
    assert_true(sum >= 8 * (uint64_t)SECOND || sched_free_us(sched) <= 2 * SECOND);  // what is left is the other one's
    assert_true(sum <= before_us / 4 + 10 * (uint64_t)SECOND);
  }
}

// It goes back to the file of the test it runs when the rest was taken from it.
static void test_worker_stays(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 4; i++)
    add(i / 2, i, SECOND / 1000);
  make(false);
  sched_take_test(sched, 0);
  sched_take_test(sched, 1);
  assert_true(grant(0, 1) > 0);
  assert_int_equal(worker[0].file, 1);
  sched_worker_stay(sched, &worker[0], 0);
  sched_check(sched);
  assert_int_equal(worker[0].file, 0);
  sched_worker_leave(sched, &worker[0]);
  sched_worker_stay(sched, &worker[0], 3);  // one that is in none stays in none
  assert_int_equal(worker[0].file, SCHED_NO_FILE);
}

// Into a whole file that has somebody nobody follows.
static void test_whole_file_is_not_stayed_in(void **state) {
  (void)state;
  static const bool whole_of[] = {true, false};
  for (uint32_t i = 0; i < 40; i++)
    add(i / 20, i, SECOND);
  how.whole_of = whole_of;
  make(false);
  assert_true(grant(0, 2) > 0 && worker[0].file == 0);
  assert_true(grant(1, 2) > 0 && worker[1].file == 1);
  sched_worker_stay(sched, &worker[1], 0);
  sched_check(sched);
  assert_int_equal(worker[1].file, SCHED_NO_FILE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_some_files_are_whole), TEST(test_units_are_whole), TEST(test_collection_order),
      TEST(test_process_leases),       TEST(test_worker_stays),    TEST(test_whole_file_is_not_stayed_in),
  };
  return cmocka_run_group_tests_name("sched_whole", tests, NULL, NULL);
}
