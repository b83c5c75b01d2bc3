// Unit tests of the estimator: the ring, ½(last + median), set-up of a session's first test, and what stands in for
// tests that were never seen.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/estimate.h"

static void learn(struct estimate_history *history, uint64_t call_us) {
  assert_int_equal(estimate_learn(history, 0, call_us, 0, false), 0);
}

static void test_median(void **state) {
  (void)state;
  uint64_t odd[] = {9, 1, 5}, even[] = {4, 1, 3, 2}, one[] = {7};
  assert_int_equal(estimate_median(odd, 3), 5);
  assert_int_equal(estimate_median(even, 4), 3);
  assert_int_equal(estimate_median(one, 1), 7);
  assert_int_equal(estimate_median(one, 0), 0);
}

static void test_expected(void **state) {
  (void)state;
  struct estimate_history history = {0};
  assert_int_equal(estimate_expected(&history), 0);
  assert_int_equal(estimate_high(&history), 0);
  learn(&history, 1000);
  assert_int_equal(estimate_expected(&history), 1000);
  learn(&history, 2000);
  assert_int_equal(estimate_expected(&history), 2000);
  learn(&history, 9000);  // a spike counts half
  assert_int_equal(estimate_expected(&history), (9000 + 2000) / 2);
  assert_int_equal(estimate_high(&history), 9000);
  for (int i = 0; i < 5; i++)
    learn(&history, 100);
  assert_int_equal(estimate_expected(&history), 100);  // the window has moved on
  assert_int_equal(estimate_high(&history), 9000);     // the ring remembers
  for (int i = 0; i < ESTIMATE_RING; i++)
    learn(&history, 200);
  assert_int_equal(estimate_high(&history), 200);
}

static void test_nothing_is_still_something(void **state) {
  (void)state;
  struct estimate_history history = {0};
  learn(&history, 0);
  assert_int_equal(estimate_expected(&history), 1);  // 0 would mean: never seen
}

// Set-up of the first test of a file or process is the file's, but for what this test usually needs.
static void test_first_teaches_no_setup(void **state) {
  (void)state;
  struct estimate_history history = {0};
  assert_int_equal(estimate_learn(&history, 500000, 1000, 0, true), 500000);
  assert_int_equal(estimate_expected(&history), 1000);
  assert_int_equal(estimate_learn(&history, 400, 1000, 0, false), 0);
  assert_int_equal(estimate_learn(&history, 500000, 1000, 0, true), 499600);
  assert_int_equal((uint64_t)history.ring[2], 1400);
  assert_int_equal(estimate_learn(&history, 100, 1000, 50, true), 0);  // a first test that found everything there
  assert_int_equal((uint64_t)history.ring[3], 1150);
  assert_int_equal((uint64_t)history.setup_us, 400);
}

static void test_long_history_keeps_its_place(void **state) {
  (void)state;
  struct estimate_history history = {.n = 2 * ESTIMATE_RING * 1000000u - 3};
  for (uint64_t i = 1; i <= 20; i++)
    learn(&history, i * 1000);
  assert_true(history.n >= ESTIMATE_RING && history.n < 2 * ESTIMATE_RING * 1000000u);
  assert_int_equal(estimate_expected(&history), (20000 + 18000) / 2);
  assert_int_equal(estimate_high(&history), 20000);
}

static void test_file_setup(void **state) {
  (void)state;
  assert_int_equal(estimate_file_setup(0, 700), 700);
  assert_int_equal(estimate_file_setup(700, 300), 500);
}

static void test_list_without_history(void **state) {
  (void)state;
  struct estimate_history history[3] = {{0}};
  uint32_t file_of[] = {0, 0, UINT32_MAX};
  struct estimate_out out[3];
  estimate_list(history, file_of, 3, 1, out);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(out[i].expected_us, ESTIMATE_DEFAULT_US);
    assert_int_equal(out[i].order_us, ESTIMATE_DEFAULT_US);
  }
  estimate_list(history, file_of, 0, 0, out);  // an empty one
}

static void test_unseen_tests(void **state) {
  (void)state;
  enum { SEEN = 20 };
  struct estimate_history history[SEEN + 3] = {{0}};
  uint32_t file_of[SEEN + 3];
  struct estimate_out out[SEEN + 3];
  uint64_t sum = 0;
  for (uint32_t i = 0; i < SEEN; i++) {
    learn(&history[i], (i + 1) * 1000);
    file_of[i] = i < 5 ? 0 : 1;
    sum += (i + 1) * 1000;
  }
  file_of[SEEN] = 0;               // the file's median: 3 ms
  file_of[SEEN + 1] = 2;           // of a file without history: the suite's mean
  file_of[SEEN + 2] = UINT32_MAX;  // of no file
  estimate_list(history, file_of, SEEN + 3, 3, out);
  assert_int_equal(out[4].expected_us, 5000);
  assert_int_equal(out[4].order_us, 5000);
  assert_int_equal(out[SEEN].expected_us, 3000);
  assert_int_equal(out[SEEN + 1].expected_us, sum / SEEN);
  assert_int_equal(out[SEEN + 2].expected_us, sum / SEEN);
  for (int i = 0; i < 3; i++)
    assert_true(out[SEEN + i].order_us >= 19000);  // early: among the longest twentieth
}

static void test_slower(void **state) {
  static const struct {
    uint64_t ms[8];
    bool slower;
  } cases[] = {
      {{1000, 1000, 1000, 1000, 1000, 1600, 1600, 1600}, true},
      {{1000, 1000, 1000, 1000, 1000, 1500, 1500, 1500}, false},  // not more than 1.5 times
      {{1000, 1000, 1000, 1000, 1000, 1300, 1600, 1600}, false},  // one of them is usual enough
      {{1000, 1000, 1000, 1000, 1000, 1310, 1600, 1600}, true},
      {{100, 100, 100, 100, 100, 599, 599, 599}, false},  // under half a second
      {{100, 100, 100, 100, 100, 600, 600, 600}, true},
      {{1000, 9000, 1000, 9000, 1000, 1600, 1600, 1600}, true},  // spikes before do not hide it
      {{1600, 1600, 1600, 1600, 1600, 1000, 1000, 1000}, false},
  };
  uint64_t before, after;
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct estimate_history history = {0};
    for (size_t n = 0; n < 8; n++) {
      assert_false(estimate_slower(&history, &before, &after));
      learn(&history, cases[i].ms[n] * 1000);
    }
    if (estimate_slower(&history, &before, &after) != cases[i].slower) fail_msg("case %zu", i);
    assert_true(after == estimate_recent(&history));
  }
  struct estimate_history few = {0};
  learn(&few, 7);
  learn(&few, 7);
  assert_int_equal(estimate_recent(&few), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_median),
      cmocka_unit_test(test_expected),
      cmocka_unit_test(test_slower),
      cmocka_unit_test(test_nothing_is_still_something),
      cmocka_unit_test(test_first_teaches_no_setup),
      cmocka_unit_test(test_long_history_keeps_its_place),
      cmocka_unit_test(test_file_setup),
      cmocka_unit_test(test_list_without_history),
      cmocka_unit_test(test_unseen_tests),
  };
  return cmocka_run_group_tests_name("estimate", tests, NULL, NULL);
}
