// Unit tests of what a forecast reads: the newest list, the durations of its tests and no others, what was seen of
// those that teach nothing, the start-up of jobs.
#include "tests/unit/store_fixture.h"

static struct store_expected *expected_of(struct store *store, const char *suite) {
  struct store_error error = {""};
  struct store_expected *expected = store_expected(store, "shop", suite, &error);
  if (expected == NULL) fail_msg("%s", error.text);
  return expected;
}

static void refuses(struct store *store, const char *suite, const char *want) {
  struct store_error error = {""};
  assert_null(store_expected(store, "shop", suite, &error));
  assert_string_equal(error.text, want);
}

static void put_timed(struct store *store, uint64_t build, uint32_t test, uint32_t status, uint32_t call_us) {
  struct store_result result = fx_result(build, test, status);
  result.call_us = call_us;
  result.setup_us = 0;  // the first of a file would teach the file's
  result.teardown_us = 200;
  store_put_result(store, &result);
}

static void test_nothing_is_known(void **state) {
  (void)state;
  struct store *store = fx_open();
  refuses(store, "unit", "no list of tests is known of project \"shop\", suite \"unit\": run a build of it first");
  fx_wait(store, fx_build(store, 1, "a", ""));
  refuses(store, "unit", "no list of tests is known of project \"shop\", suite \"unit\": run a build of it first");
  refuses(store, "other", "no list of tests is known of project \"shop\", suite \"other\": run a build of it first");
  store_close(store);
}

static void test_durations_of_the_newest_list(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  struct store_listed *listed = fx_list(store, 1, 5, 2);
  for (uint32_t i = 0; i < 5; i++)
    put_timed(store, 1, listed->test[i], FX_PASSED, 1000 * (i + 1));
  fx_end(store, 1);
  store_listed_free(listed);
  fx_build(store, 2, "b", "");
  listed = fx_list(store, 2, 4, 2);  // test 4 is no more
  fx_learned(store);
  struct store_expected *expected = expected_of(store, "unit");
  assert_int_equal(expected->count, 4);
  assert_int_equal(expected->file_count, 2);
  for (uint32_t i = 0; i < 4; i++) {
    assert_int_equal(expected->test[i], listed->test[i]);
    assert_int_equal(expected->file_of[i], i / 2);
    assert_int_equal(expected->expected_us[i], 1000 * (i + 1) + 200);
  }
  char *test = store_test_name(store, expected->test[3]), *file = store_file_name(store, expected->file[1]);
  assert_string_equal(test, "t/test_1.py::test_3");
  assert_string_equal(file, "t/test_1.py");
  free(test);
  free(file);
  test = store_test_name(store, 999);
  assert_string_equal(test, "");
  free(test);
  store_listed_free(listed);
  store_expected_free(expected);
  store_expected_free(NULL);
  store_close(store);
}

// One skips, one fails, one was in the hands of a worker that vanished, one never ran.
static void test_tests_that_teach_nothing(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  struct store_listed *listed = fx_list(store, 1, 5, 5);
  put_timed(store, 1, listed->test[0], FX_PASSED, 1000);
  put_timed(store, 1, listed->test[1], FX_SKIPPED, 50);
  put_timed(store, 1, listed->test[2], FX_FAILED, 7000);
  struct store_result lost = fx_result(1, listed->test[3], FX_FAILED);
  lost.flags = STORE_SETTLES | STORE_LOST;
  store_put_result(store, &lost);
  fx_end(store, 1);
  fx_learned(store);
  struct store_expected *expected = expected_of(store, "unit");
  static const uint64_t want[] = {1200, 250, 7200, 0, 0};
  for (size_t i = 0; i < COUNT_OF(want); i++)
    assert_int_equal(expected->expected_us[i], want[i]);
  store_listed_free(listed);
  store_expected_free(expected);
  store_close(store);
}

static void test_file_set_ups(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  struct store_listed *listed = fx_list(store, 1, 4, 2);
  fx_end(store, 1);
  store_listed_free(listed);
  store_close(store);
  fx_change("UPDATE file_stat SET setup_us=300000 WHERE path='t/test_1.py'");
  store = fx_open();
  struct store_expected *expected = expected_of(store, "unit");
  assert_int_equal(expected->file_setup_us[0], 0);
  assert_int_equal(expected->file_setup_us[1], 300000);
  store_expected_free(expected);
  store_close(store);
}

// A worker of 10 s that ran tests for busy_ms, but for what `tests` says.
static void worked(struct store *store, uint64_t build, uint32_t number, uint32_t busy_ms, uint32_t tests) {
  fx_worker(store, build, number, "n");  // joins at 2,000,000 + number
  for (uint32_t i = 0; i < tests; i++) {
    struct store_result result = fx_result(build, 1, FX_PASSED);
    result.attempt = number * 10 + i + 1;
    result.worker = number;
    result.call_us = busy_ms * 1000 / tests - 200;
    store_put_result(store, &result);
  }
  store_put_left(store, build, number, 2010000 + number, NULL, 0, 0);
}

static void test_start_up_of_jobs(void **state) {
  (void)state;
  struct store *store = fx_open();
  for (uint64_t build = 1; build <= 7; build++) {
    char name[8];
    (void)snprintf(name, sizeof name, "b%d", (int)build);
    fx_build(store, build, name, "");
    store_listed_free(fx_list(store, build, 1, 1));
    worked(store, build, 0, 2000, 2);                           // it waited long
    worked(store, build, 1, 10000 - 500 * (uint32_t)build, 2);  // half a second of start-up a build
    worked(store, build, 2, 0, 0);                              // it came too late
    fx_end(store, build);
  }
  fx_wait(store, fx_build(store, 8, "running", ""));
  struct store_expected *expected = expected_of(store, "unit");
  assert_int_equal(expected->boot_builds, 5);
  assert_int_equal(expected->boot_us, 2500000);  // of the builds 3 to 7: 1.5 to 3.5 s
  store_expected_free(expected);
  store_close(store);
}

static void test_start_up_is_not_known(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, 1, 1));
  fx_worker(store, 1, 0, "n");
  fx_end(store, 1);  // it never left
  struct store_expected *expected = expected_of(store, "unit");
  assert_int_equal(expected->boot_builds, 0);
  assert_int_equal(expected->boot_us, 0);
  store_expected_free(expected);
  store_close(store);
}

// A clock that was set back between joining and leaving.
static void test_start_up_is_never_negative(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, 1, 1));
  worked(store, 1, 0, 60000, 1);
  fx_end(store, 1);
  struct store_expected *expected = expected_of(store, "unit");
  assert_int_equal(expected->boot_builds, 1);
  assert_int_equal(expected->boot_us, 0);
  store_expected_free(expected);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_nothing_is_known, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_durations_of_the_newest_list, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_tests_that_teach_nothing, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_file_set_ups, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_start_up_of_jobs, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_start_up_is_not_known, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_start_up_is_never_negative, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
