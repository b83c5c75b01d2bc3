// Unit tests of the forecast's arithmetic: cases worked out by hand, how a curve may move, the knee, what bounds it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/forecast.h"

enum { SECOND = 1000000, TESTS_MAX = 200, NO_FILE = UINT32_MAX };

static uint32_t file_of[TESTS_MAX];
static uint64_t us[TESTS_MAX], setup_us[TESTS_MAX];
static struct forecast_suite suite;

static int set_up(void **state) {
  (void)state;
  suite = (struct forecast_suite){.file_of = file_of, .expected_us = us, .file_setup_us = setup_us};
  return 0;
}

static void add(uint32_t file, uint64_t seconds) {
  assert_true(suite.count < TESTS_MAX);
  file_of[suite.count] = file;
  us[suite.count++] = seconds * SECOND;
  if (file != NO_FILE && file >= suite.file_count) setup_us[suite.file_count++] = 0;
}

static struct forecast made(void) {
  struct forecast forecast;
  forecast_init(&forecast, &suite);
  return forecast;
}

static struct forecast_curve curve_of(const struct forecast *forecast, uint64_t boot_us) {
  struct forecast_curve curve = {{0}};
  for (uint32_t n = 1; n <= FORECAST_WORKERS_MAX; n++)
    curve.finish_us[n] = forecast_finish_us(forecast, n, boot_us);
  return curve;
}

// 100 tests of 4 s in two files with 20 s and 10 s of set-up: E = 400, S = 30, s = 15.
static struct forecast even_suite(void) {
  for (uint32_t i = 0; i < 100; i++)
    add(i / 50, 4);
  setup_us[0] = 20 * SECOND;
  setup_us[1] = 10 * SECOND;
  return made();
}

static void test_sums(void **state) {
  (void)state;
  struct forecast forecast = even_suite();
  assert_int_equal(forecast.count, 100);
  assert_int_equal(forecast.file_count, 2);
  assert_int_equal(forecast.work_us, 400 * SECOND);
  assert_int_equal(forecast.setup_us, 30 * SECOND);
  assert_int_equal(forecast.longest.us, 24 * SECOND);
  assert_int_equal(forecast.longest.own_us, 4 * SECOND);
  assert_int_equal(forecast.longest.index, 0);
  assert_int_equal(forecast.next.us, 24 * SECOND);
  assert_int_equal(forecast.next.index, 1);
}

static void test_formula_by_hand(void **state) {
  (void)state;
  struct forecast forecast = even_suite();
  assert_int_equal(forecast_finish_us(&forecast, 1, 0), 446112500);           // 1.0025 × (430 + 15)
  assert_int_equal(forecast_finish_us(&forecast, 10, 0), 59450000);           // 1.025 × (430 + 150) / 10
  assert_int_equal(forecast_finish_us(&forecast, 10, 7 * SECOND), 66450000);  // and what a job costs
  assert_int_equal(forecast_finish_us(&forecast, 64, 0), 25193750);           // 1.16 × (430 + 960) / 64
  setup_us[0] = setup_us[1] = 0;
  us[99] = 60 * SECOND;
  forecast = made();
  assert_int_equal(forecast_finish_us(&forecast, 5, 0), 92340000);               // 1.0125 × 456 / 5
  assert_int_equal(forecast_finish_us(&forecast, 10, 2 * SECOND), 62 * SECOND);  // 46.74 s, but one takes 60
}

static void test_what_bounds(void **state) {
  (void)state;
  add(0, 10);
  add(0, 20);
  add(1, 18);
  add(NO_FILE, 5);
  setup_us[1] = 4 * SECOND;
  struct forecast forecast = made();
  assert_int_equal(forecast.longest.index, 2);  // 18 + 4
  assert_int_equal(forecast.longest.us, 22 * SECOND);
  assert_int_equal(forecast.next.index, 1);
  suite.whole_files = true;
  forecast = made();
  assert_int_equal(forecast.longest.index, 0);  // the first test of file 0
  assert_int_equal(forecast.longest.us, 30 * SECOND);
  assert_int_equal(forecast.longest.own_us, 30 * SECOND);
  assert_int_equal(forecast.next.us, 22 * SECOND);
  assert_int_equal(forecast.next.index, 2);
}

static void test_a_loose_test_is_a_file_of_its_own(void **state) {
  (void)state;
  add(0, 1);
  add(NO_FILE, 7);
  suite.whole_files = true;
  struct forecast forecast = made();
  assert_int_equal(forecast.longest.index, 1);
  assert_int_equal(forecast.longest.us, 7 * SECOND);
  assert_int_equal(forecast.next.us, SECOND);
}

static void test_n_max(void **state) {
  (void)state;
  add(0, 50);
  add(0, 30);
  for (int i = 0; i < 12; i++)
    add(1, 10);
  struct forecast forecast = made();
  assert_int_equal(forecast_n_max(&forecast, &forecast.longest), 4);  // 200 / 50
  assert_int_equal(forecast_n_max(&forecast, &forecast.next), 7);     // 200 / 30, rounded up
  assert_int_equal(forecast_parts(&forecast), 2);
  us[0] = 101 * SECOND;
  forecast = made();
  assert_int_equal(forecast_n_max(&forecast, &forecast.longest), 3);  // 251 / 101: with two, neither is idle
  assert_int_equal(forecast_parts(&forecast), 4);                     // in three it is 33.7 s
}

static void test_n_max_is_what_no_schedule_can_beat(void **state) {
  (void)state;
  add(0, 50);
  add(0, 30);
  add(0, 20);
  struct forecast forecast = made();
  uint32_t n_max = forecast_n_max(&forecast, &forecast.longest);
  assert_int_equal(n_max, 2);
  for (uint32_t n = 1; n <= FORECAST_WORKERS_MAX; n++) {
    uint64_t fluid_us = (forecast.work_us + n - 1) / n;
    assert_true((n >= n_max) == (fluid_us <= forecast.longest.us));
  }
}

static void test_splitting_that_gains_nothing(void **state) {
  (void)state;
  add(0, 30);
  add(0, 30);
  add(0, 30);
  struct forecast forecast = made();
  assert_int_equal(forecast_n_max(&forecast, &forecast.longest), 3);
  assert_int_equal(forecast_parts(&forecast), 0);  // the others take as long
  set_up(NULL);
  add(0, 30);
  forecast = made();
  assert_int_equal(forecast_parts(&forecast), 0);  // there is no other
  assert_int_equal(forecast_n_max(&forecast, &forecast.next), 1);
  set_up(NULL);
  add(0, 40);
  add(1, 9);
  setup_us[0] = 10 * SECOND;
  forecast = made();
  assert_int_equal(forecast_parts(&forecast), 0);  // each part would pay 10 s of set-up, more than the next takes
}

static void test_parts_pay_their_set_up(void **state) {
  (void)state;
  add(0, 40);
  for (int i = 0; i < 10; i++)
    add(1, 15);
  setup_us[0] = 5 * SECOND;
  struct forecast forecast = made();
  assert_int_equal(forecast.longest.us, 45 * SECOND);
  assert_int_equal(forecast_parts(&forecast), 4);  // 40 / (15 - 5)
}

static void test_an_empty_suite(void **state) {
  (void)state;
  suite.file_setup_us = NULL;
  struct forecast forecast = made();
  assert_int_equal(forecast_finish_us(&forecast, 1, SECOND), SECOND);
  assert_int_equal(forecast_n_max(&forecast, &forecast.longest), 1);
  assert_int_equal(forecast_parts(&forecast), 0);
}

static void test_largest_sums_do_not_overflow(void **state) {
  (void)state;
  for (uint32_t i = 0; i < TESTS_MAX; i++) {
    add(NO_FILE, 0);
    us[i] = UINT64_C(1) << 55;
  }
  struct forecast forecast = made();
  double one = (double)forecast_finish_us(&forecast, 1, 0), want = 1.0025 * TESTS_MAX * (double)(UINT64_C(1) << 55);
  assert_true(one > want * 0.999 && one < want * 1.001);
  assert_int_equal(forecast_n_max(&forecast, &forecast.longest), TESTS_MAX);
}

// ---- curves

static void test_more_workers_are_never_slower_nor_cheaper(void **state) {
  (void)state;
  for (uint32_t i = 0; i < TESTS_MAX; i++)
    add(i / 10, 1 + i % 7 + (i == 50) * 40);
  struct forecast forecast = made();
  struct forecast_curve curve = curve_of(&forecast, 20 * SECOND);
  uint32_t n_max = forecast_n_max(&forecast, &forecast.longest);
  for (uint32_t n = 2; n <= FORECAST_WORKERS_MAX; n++) {
    assert_true(curve.finish_us[n] <= curve.finish_us[n - 1]);
    assert_true(forecast_machine_us(&curve, n) > forecast_machine_us(&curve, n - 1));
    assert_true(forecast_efficiency_ppm(&curve, n) <= forecast_efficiency_ppm(&curve, n - 1));
    if (n < n_max) assert_true(curve.finish_us[n] > 20 * SECOND + forecast.longest.us);
  }
  assert_int_equal(curve.finish_us[FORECAST_WORKERS_MAX], 20 * SECOND + forecast.longest.us);
  assert_int_equal(forecast_efficiency_ppm(&curve, 1), 1000000);
}

static void test_knee_and_advice_by_hand(void **state) {
  (void)state;
  struct forecast_curve curve = {{0}};
  curve.finish_us[1] = 100 * SECOND;
  curve.finish_us[2] = 52 * SECOND;    // 100 / 104
  curve.finish_us[3] = 36 * SECOND;    // 100 / 108
  curve.finish_us[4] = 31 * SECOND;    // 100 / 124: 0.806
  curve.finish_us[5] = 30.9 * SECOND;  // 0.647
  assert_int_equal(forecast_machine_us(&curve, 4), 124 * SECOND);
  assert_int_equal(forecast_efficiency_ppm(&curve, 4), 806451);
  assert_int_equal(forecast_efficiency_ppm(&curve, 6), 0);
  assert_int_equal(forecast_knee(&curve), 4);
  assert_int_equal(forecast_advice(&curve, UINT32_MAX), 4);
  curve.finish_us[4] = 35.7 * SECOND;  // hardly better than three: 0.700
  assert_int_equal(forecast_knee(&curve), 3);
  curve.finish_us[3] = 41 * SECOND;    // 0.813
  curve.finish_us[2] = 41.3 * SECOND;  // within one per cent of it
  assert_int_equal(forecast_knee(&curve), 3);
  assert_int_equal(forecast_advice(&curve, UINT32_MAX), 2);
}

static void test_advice_stops_where_a_test_bounds(void **state) {
  (void)state;
  add(0, 100);
  for (uint32_t i = 1; i < 151; i++)
    add(0, 10);
  struct forecast forecast = made();
  struct forecast_curve curve = curve_of(&forecast, 0);
  assert_int_equal(forecast_n_max(&forecast, &forecast.longest), 16);
  uint32_t knee = forecast_knee(&curve), advice = forecast_advice(&curve, UINT32_MAX);
  assert_int_equal(advice, 17);  // the formula bends a little later than the bound
  assert_int_equal(forecast_advice(&curve, 16), 16);
  assert_int_equal(knee, 20);  // 1604 / (20 × 100) is 0.802
  assert_true(curve.finish_us[advice] <= curve.finish_us[knee] * 101 / 100);
}

static void test_start_up_moves_the_knee(void **state) {
  (void)state;
  for (uint32_t i = 0; i < TESTS_MAX; i++)
    add(0, 3);
  struct forecast forecast = made();
  struct forecast_curve none = curve_of(&forecast, 0), some = curve_of(&forecast, 20 * SECOND),
                        much = curve_of(&forecast, 3000 * (uint64_t)SECOND);
  assert_int_equal(forecast_knee(&none), FORECAST_WORKERS_MAX);
  assert_in_range(forecast_knee(&some), 2, 12);
  assert_int_equal(forecast_knee(&much), 1);
  assert_int_equal(forecast_advice(&much, UINT32_MAX), 1);
}

static void test_within(void **state) {
  (void)state;
  struct forecast forecast = even_suite();
  struct forecast_curve curve = curve_of(&forecast, 0);
  assert_int_equal(forecast_within(&curve, 59450000), 10);
  assert_int_equal(forecast_within(&curve, 59449999), 11);
  assert_int_equal(forecast_within(&curve, 3600 * (uint64_t)SECOND), 1);
  assert_int_equal(forecast_within(&curve, 20 * SECOND), 0);
  curve = (struct forecast_curve){{0}};
  assert_int_equal(forecast_within(&curve, UINT64_MAX), 0);  // nothing was asked
  assert_int_equal(forecast_knee(&curve), 1);
  assert_int_equal(forecast_advice(&curve, UINT32_MAX), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_sums, set_up),
      cmocka_unit_test_setup(test_formula_by_hand, set_up),
      cmocka_unit_test_setup(test_what_bounds, set_up),
      cmocka_unit_test_setup(test_a_loose_test_is_a_file_of_its_own, set_up),
      cmocka_unit_test_setup(test_n_max, set_up),
      cmocka_unit_test_setup(test_n_max_is_what_no_schedule_can_beat, set_up),
      cmocka_unit_test_setup(test_splitting_that_gains_nothing, set_up),
      cmocka_unit_test_setup(test_parts_pay_their_set_up, set_up),
      cmocka_unit_test_setup(test_an_empty_suite, set_up),
      cmocka_unit_test_setup(test_largest_sums_do_not_overflow, set_up),
      cmocka_unit_test_setup(test_more_workers_are_never_slower_nor_cheaper, set_up),
      cmocka_unit_test_setup(test_knee_and_advice_by_hand, set_up),
      cmocka_unit_test_setup(test_advice_stops_where_a_test_bounds, set_up),
      cmocka_unit_test_setup(test_start_up_moves_the_knee, set_up),
      cmocka_unit_test_setup(test_within, set_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
