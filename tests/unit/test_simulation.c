// Unit tests of builds in virtual time: every test runs once, the clock is right by hand, set-ups are paid on entering
// a file, slices change nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/simulation.h"

enum { SECOND = 1000000, TESTS_MAX = 3000, WORKERS_MAX = 8, NO_FILE = UINT32_MAX };

static uint32_t file_of[TESTS_MAX], unit_of[TESTS_MAX], ran[TESTS_MAX], last_file[WORKERS_MAX];
static uint64_t us[TESTS_MAX], setup_us[TESTS_MAX], busy_us[WORKERS_MAX], free_us[WORKERS_MAX], last_end_us;
static uint32_t files_of[WORKERS_MAX];
static struct simulation_suite suite;

static void on_ran(void *arg, const struct simulation_ran *it) {
  (void)arg;
  bool enters = file_of[it->test] != last_file[it->worker];
  assert_true(it->worker < WORKERS_MAX && it->test < suite.count);
  assert_int_equal(it->file_setup_us, enters && file_of[it->test] != NO_FILE ? setup_us[file_of[it->test]] : 0);
  assert_int_equal(it->end_us - it->start_us, it->file_setup_us + us[it->test]);
  assert_true(it->start_us >= free_us[it->worker]);  // later where it waited for tests that another one held
  assert_true(it->end_us >= last_end_us);
  files_of[it->worker] += enters;
  last_end_us = free_us[it->worker] = it->end_us;
  busy_us[it->worker] += us[it->test];
  last_file[it->worker] = file_of[it->test];
  ran[it->test]++;
}

static int set_up(void **state) {
  (void)state;
  memset(ran, 0, sizeof ran);
  memset(busy_us, 0, sizeof busy_us);
  memset(free_us, 0, sizeof free_us);
  memset(files_of, 0, sizeof files_of);
  memset(setup_us, 0, sizeof setup_us);
  memset(last_file, 0xff, sizeof last_file);
  last_end_us = 0;
  suite = (struct simulation_suite){.file_of = file_of,
                                    .unit_of = unit_of,
                                    .actual_us = us,
                                    .expected_us = us,
                                    .order_us = us,
                                    .file_setup_us = setup_us,
                                    .on_ran = on_ran};
  return 0;
}

static void add(uint32_t file, uint64_t test_us) {
  assert_true(suite.count < TESTS_MAX);
  file_of[suite.count] = file;
  unit_of[suite.count] = suite.count;
  us[suite.count++] = test_us;
  if (file != NO_FILE && file >= suite.file_count) suite.file_count = file + 1;
}

static uint64_t finish(uint32_t workers, uint32_t slice) {
  struct simulation *simulation = simulation_new(&suite, workers);
  while (!simulation_step(simulation, slice)) {
  }
  uint64_t us_of = simulation_finish_us(simulation);
  assert_true(simulation_step(simulation, 1));  // and stays so
  simulation_free(simulation);
  return us_of;
}

static void all_ran_once(void) {
  for (uint32_t i = 0; i < suite.count; i++)
    assert_int_equal(ran[i], 1);
}

static void test_one_worker_takes_the_sum(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 20; i++)
    add(i / 5, (i + 1) * 1000);
  for (uint32_t i = 0; i < 4; i++)
    setup_us[i] = 7 * SECOND;
  assert_int_equal(finish(1, 3), 210 * 1000 + 28 * SECOND);
  assert_int_equal(files_of[0], 4);  // one after the other
  all_ran_once();
}

static void test_the_long_one_goes_first(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 10; i++)
    add(0, SECOND);
  add(1, 10 * SECOND);
  assert_int_equal(finish(2, 100), 10 * SECOND);  // in collection order it would be 15 s
  all_ran_once();
}

static void test_more_workers_than_tests(void **state) {
  (void)state;
  add(NO_FILE, 3 * SECOND);
  add(NO_FILE, 2 * SECOND);
  assert_int_equal(finish(WORKERS_MAX, 100), 3 * SECOND);
  all_ran_once();
}

static void test_whole_files(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 40; i++)
    add(0, SECOND);
  assert_true(finish(4, 100) <= 11 * SECOND);
  set_up(NULL);
  for (uint32_t i = 0; i < 40; i++)
    add(0, SECOND);
  suite.whole_files = true;
  assert_int_equal(finish(4, 100), 40 * SECOND);
  all_ran_once();
}

static void test_nothing_to_do(void **state) {
  (void)state;
  assert_int_equal(finish(3, 1), 0);
}

static void test_slices_change_nothing(void **state) {
  (void)state;
  uint64_t whole, random = 1;
  for (uint32_t i = 0; i < TESTS_MAX; i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    add(i / 30, 1000 + (random >> 40));
  }
  for (uint32_t i = 0; i < suite.file_count; i++)
    setup_us[i] = 100000 * (i % 3);
  whole = finish(7, TESTS_MAX);
  uint64_t sum = 0, paid = 0;
  for (uint32_t i = 0; i < TESTS_MAX; i++)
    sum += us[i];
  for (uint32_t i = 0; i < 7; i++)
    paid += busy_us[i];
  all_ran_once();
  assert_int_equal(paid, sum);
  assert_true(whole >= sum / 7);
  for (uint32_t slice = 1; slice < 10; slice += 4) {
    uint32_t count = suite.count, file_count = suite.file_count;
    memset(ran, 0, sizeof ran);
    memset(free_us, 0, sizeof free_us);
    memset(last_file, 0xff, sizeof last_file);
    last_end_us = 0;
    assert_int_equal(finish(7, slice), whole);
    assert_int_equal(count, suite.count);
    assert_int_equal(file_count, suite.file_count);
    all_ran_once();
  }
}

// The scheduler plans by what it thinks; the clock goes by what is.
static void test_durations_that_were_thought_otherwise(void **state) {
  (void)state;
  static uint64_t thought[TESTS_MAX];
  for (uint32_t i = 0; i < 30; i++) {
    add(NO_FILE, i == 29 ? 30 * SECOND : SECOND);
    thought[i] = SECOND;
  }
  suite.expected_us = suite.order_us = thought;
  uint64_t misled = finish(4, 100);
  all_ran_once();
  assert_true(misled > 30 * SECOND);  // the long one came last
  set_up(NULL);
  for (uint32_t i = 0; i < 30; i++)
    add(NO_FILE, i == 29 ? 30 * SECOND : SECOND);
  assert_int_equal(finish(4, 100), 30 * SECOND);
}

// A lease of a dozen begins with one that takes a minute instead of a tenth of a second: the others are asked back for
// the worker that has nothing to do.
static void test_tests_are_asked_back(void **state) {
  (void)state;
  static uint64_t thought[TESTS_MAX];
  for (uint32_t i = 0; i < 100; i++) {
    add(0, i == 0 ? 60 * SECOND : SECOND / 10);
    thought[i] = SECOND / 10;
  }
  suite.expected_us = suite.order_us = thought;
  assert_int_equal(finish(2, 100), 60 * SECOND);
  all_ran_once();
  assert_int_equal(busy_us[0] + busy_us[1], 60 * SECOND + 99 * SECOND / 10);
  assert_true(busy_us[0] == 60 * SECOND || busy_us[1] == 60 * SECOND);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_one_worker_takes_the_sum, set_up),
      cmocka_unit_test_setup(test_the_long_one_goes_first, set_up),
      cmocka_unit_test_setup(test_more_workers_than_tests, set_up),
      cmocka_unit_test_setup(test_whole_files, set_up),
      cmocka_unit_test_setup(test_nothing_to_do, set_up),
      cmocka_unit_test_setup(test_slices_change_nothing, set_up),
      cmocka_unit_test_setup(test_durations_that_were_thought_otherwise, set_up),
      cmocka_unit_test_setup(test_tests_are_asked_back, set_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
