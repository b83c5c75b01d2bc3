// Unit tests of the flaky model as a whole: a short run of the simulation that `make monte-carlo` runs at length. The
// bounds hold for any seed with room to spare; a model that forgets its filter, its weights or its decay leaves them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "tests/unit/flaky_sim.h"

static const struct sim_options short_run = {11, 1500, 20, 20, 20, 2};

static void test_sound_tests_stay_sound(void **state) {
  (void)state;
  struct sim_outcome out;
  sim_all(&short_run, &out);
  struct sim_class *sound = &out.of[0];
  assert_int_equal(sound->tests, short_run.sound);
  assert_true(sound->flagged * 100 <= sound->tests);
  assert_true(sound->naive * 10 >= sound->tests);  // what one flip alone would have marked
  assert_true(out.sick >= 3);
  assert_true(out.sick_found * 10 >= out.sick * 9);
  assert_int_equal(out.sick_false, 0);
  sim_release(&out);
}

static void test_flaky_tests_are_found(void **state) {
  (void)state;
  struct sim_outcome out;
  sim_all(&short_run, &out);
  for (int c = 3; c < SIM_CLASSES; c++) {
    assert_int_equal(out.of[c].flagged, short_run.flaky);
    assert_true(out.of[c].theta > sim_theta[c] * 0.7 && out.of[c].theta < sim_theta[c] * 1.3);
  }
  assert_true(sim_median(out.of[5].flag_at, out.of[5].flagged) <= 12);
  uint32_t cleared = sim_median(out.of[5].clear_at, out.of[5].cleared);
  assert_true(cleared >= 40 && cleared <= 60);
  sim_release(&out);
}

static void test_broken_tests_are_found_at_once(void **state) {
  (void)state;
  struct sim_outcome out;
  sim_all(&short_run, &out);
  assert_true(out.broken >= 20);
  assert_true(out.broken_found * 100 >= out.broken * 95);
  assert_int_equal(sim_median(out.broken_after, out.broken_found), 1);
  sim_release(&out);
}

static void test_a_seed_is_a_run(void **state) {
  (void)state;
  struct sim_options options = {5, 100, 5, 5, 10, 1};
  struct sim_outcome one, two;
  sim_all(&options, &one);
  sim_all(&options, &two);
  for (int c = 0; c < SIM_CLASSES; c++) {
    assert_true(one.of[c].theta == two.of[c].theta);
    assert_int_equal(one.of[c].flagged, two.of[c].flagged);
  }
  sim_release(&one);
  sim_release(&two);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sound_tests_stay_sound),
      cmocka_unit_test(test_flaky_tests_are_found),
      cmocka_unit_test(test_broken_tests_are_found_at_once),
      cmocka_unit_test(test_a_seed_is_a_run),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
