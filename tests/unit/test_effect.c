// Unit tests of the list of effects: it keeps order, owns the tests of its leases, and can be used again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/effect.h"

static void test_kept_in_order_and_owned(void **state) {
  (void)state;
  struct effects effects = {0};
  for (int round = 0; round < 2; round++) {
    for (uint32_t i = 0; i < 100; i++) {
      struct effect effect = {.kind = EFFECT_LEASE, .worker = i, .count = 3, .tests = base_calloc(3, sizeof(uint32_t))};
      effect.tests[2] = i;
      effects_add(&effects, effect);
      effects_add(&effects, (struct effect){.kind = EFFECT_PARK, .worker = i});
    }
    assert_int_equal(effects.count, 200);
    for (uint32_t i = 0; i < 200; i++) {
      assert_int_equal(effects.item[i].worker, i / 2);
      assert_int_equal(effects.item[i].kind, i % 2 ? EFFECT_PARK : EFFECT_LEASE);
      if (i % 2 == 0) assert_int_equal(effects.item[i].tests[2], i / 2);
    }
    effects_clear(&effects);
    assert_int_equal(effects.count, 0);
    assert_true(effects.room >= 200);  // kept for the next turn
  }
  effects_release(&effects);
  assert_null(effects.item);
  effects_release(&effects);  // again: nothing happens
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept_in_order_and_owned)};
  return cmocka_run_group_tests_name("effect", tests, NULL, NULL);
}
