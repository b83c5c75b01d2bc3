// Included by the test programs of the scheduler: a list built test by test, a scheduler over it, workers that ask.
// sched_check runs after every call.
#ifndef TESTS_UNIT_SCHED_FIXTURE_H
#define TESTS_UNIT_SCHED_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/sched.h"

enum { TESTS_MAX = 6000, WORKERS_MAX = 32, SECOND = 1000000 };

static struct sched *sched;
static struct sched_list how;  // whole, in order: what a test asks for beyond the list itself
static struct sched_worker worker[WORKERS_MAX];
static uint32_t count, files, file_of[TESTS_MAX], unit_of[TESTS_MAX], out[SCHED_LEASE_MAX];
static uint64_t us[TESTS_MAX], order_us[TESTS_MAX], setup_us[TESTS_MAX];

static inline int set_up(void **state) {
  (void)state;
  count = files = 0;
  how = (struct sched_list){0};
  memset(setup_us, 0, sizeof setup_us);
  for (size_t i = 0; i < WORKERS_MAX; i++)
    sched_worker_init(&worker[i]);
  return 0;
}

static inline int tear_down(void **state) {
  (void)state;
  sched_free(sched);
  sched = NULL;
  return 0;
}

static inline void add(uint32_t file, uint32_t unit, uint64_t test_us) {
  assert_true(count < TESTS_MAX);
  file_of[count] = file;
  unit_of[count] = unit;
  us[count] = order_us[count] = test_us;
  if (file != SCHED_NO_FILE && file >= files) files = file + 1;
  count++;
}

static inline void make(bool whole_files) {
  struct sched_list list = how;
  list.count = count;
  list.file_count = files;
  list.whole_files = whole_files;
  list.file_of = file_of;
  list.unit_of = unit_of;
  list.expected_us = us;
  list.order_us = order_us;
  list.file_setup_us = setup_us;
  sched = sched_new(&list);
  sched_check(sched);
  for (uint32_t i = 0; i < count; i++)
    sched_free_test(sched, i);
  sched_check(sched);
  assert_int_equal(sched_free_count(sched), count);
}

static inline uint32_t grant(uint32_t who, uint32_t workers) {
  uint32_t n = sched_grant(sched, &worker[who], workers, out, SCHED_LEASE_MAX);
  sched_check(sched);
  for (uint32_t i = 0; i < n; i++)
    assert_false(sched_is_free(sched, out[i]));
  return n;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
