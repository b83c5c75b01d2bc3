// Unit tests of the scheduler: whole suites handed out to workers in virtual time, and each rule of the policy by
// itself. sched_check runs after every call.
#include "tests/unit/sched_fixture.h"

// ---- order

static void test_empty(void **state) {
  (void)state;
  make(false);
  assert_int_equal(grant(0, 1), 0);
  assert_int_equal(sched_free_us(sched), 0);
}

static void test_stays_in_its_file(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 40; i++)
    add(i % 4, i, SECOND);  // files interleaved in the list
  make(false);
  uint32_t seen = 0, file = UINT32_MAX, changes = 0, last = 0;
  while (seen < 40) {
    uint32_t n = grant(0, 1);
    assert_true(n > 0);
    for (uint32_t i = 0; i < n; i++, seen++) {
      if (file_of[out[i]] == file) assert_true(out[i] > last);  // collection order inside a file
      changes += file_of[out[i]] != file;
      file = file_of[out[i]];
      last = out[i];
    }
  }
  assert_int_equal(changes, 4);
}

static void test_most_work_first(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 60; i++)
    add(i < 10 ? 0 : i < 40 ? 1 : 2, i, SECOND);
  make(false);
  for (uint32_t who = 0; who < 3; who++)
    (void)grant(who, 3);
  assert_int_equal(worker[0].file, 1);
  assert_int_equal(worker[1].file, 2);
  assert_int_equal(worker[2].file, 0);
}

static void test_setup_counts_as_work(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 20; i++)
    add(i / 10, i, SECOND);
  setup_us[1] = 30 * SECOND;
  make(false);
  (void)grant(0, 2);
  assert_int_equal(worker[0].file, 1);
}

static void test_long_first(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 50; i++)
    add(0, i, SECOND);
  for (uint32_t i = 0; i < 5; i++)
    add(1, 100 + i, i == 3 ? 30 * SECOND : SECOND);
  make(false);
  (void)grant(0, 2);
  assert_int_equal(out[0], 53);  // a small file, but it holds the long one
}

static void test_unknown_first(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 30; i++)
    add(i, i, SECOND);
  order_us[17] = 40 * SECOND;  // expected like the others, ordered as if it were long
  make(false);
  (void)grant(0, 4);
  assert_int_equal(out[0], 17);
}

static void test_units_stay_together(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 64; i++)
    add(0, i / 8, 100000);
  make(false);
  uint32_t first = grant(0, 1), second = grant(1, 1);
  assert_true(first > 0 && second > 0);
  assert_int_equal(unit_of[out[0]], 7);  // shared from the far end, and there from the unit's beginning
  assert_int_equal(out[0], 56);
  for (uint32_t i = 1; i < second; i++) {
    if (unit_of[out[i]] == unit_of[out[i - 1]]) assert_int_equal(out[i], out[i - 1] + 1);
  }
  assert_true(worker[1].far_end);
}

static void test_long_units_are_cut(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 3 * SCHED_UNIT_MAX; i++)
    add(0, 1, SECOND);
  make(false);
  (void)grant(0, 2);
  assert_int_equal(out[0], 0);
  (void)grant(1, 2);
  assert_int_equal(out[0], 2 * SCHED_UNIT_MAX);
}

// ---- sharing

static void test_shares_only_what_is_worth_it(void **state) {
  (void)state;
  for (int dear = 0; dear < 2; dear++) {
    set_up(NULL);
    for (uint32_t i = 0; i < 8; i++)
      add(0, i, SECOND);
    setup_us[0] = dear ? 7 * SECOND : 6 * SECOND;
    make(false);
    assert_int_equal(grant(0, 2), 1);
    assert_int_equal(grant(1, 2) > 0, !dear);  // seven seconds are left: over six, not over seven
    tear_down(NULL);
  }
  make(false);
}

static void test_whole_files_are_not_shared(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 40; i++)
    add(i / 20, i, i == 30 ? 60 * SECOND : SECOND);
  make(true);
  assert_true(grant(0, 3) > 0);
  assert_true(grant(1, 3) > 0);
  assert_int_not_equal(worker[0].file, worker[1].file);
  assert_int_equal(grant(2, 3), 0);
  sched_worker_leave(sched, &worker[0]);  // abandoned: now it may be taken
  sched_check(sched);
  assert_true(grant(2, 3) > 0);
}

static void test_abandoned_before_shared(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 40; i++)
    add(i < 30 ? 0 : 1, i, SECOND);
  make(false);
  (void)grant(0, 3);
  (void)grant(1, 3);
  assert_int_equal(worker[1].file, 1);
  sched_worker_leave(sched, &worker[1]);
  (void)grant(2, 3);
  assert_int_equal(worker[2].file, 1);
  assert_false(worker[2].far_end);
}

static void test_returned_tests_come_back(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 12; i++)
    add(0, i / 4, SECOND);
  make(false);
  uint32_t all = 0;
  for (uint32_t n; (n = grant(0, 1)) > 0; all += n) {
    if (all == 0) sched_free_test(sched, out[0]), all--;
  }
  assert_int_equal(all, 12);
  sched_free_test(sched, 5);
  sched_free_test(sched, 11);
  sched_check(sched);
  assert_true(sched_worker_has_more(sched, &worker[0]) || worker[0].file == SCHED_NO_FILE);
  sched_take_test(sched, 5);  // out of turn
  sched_check(sched);
  assert_int_equal(grant(0, 1), 1);
  assert_int_equal(out[0], 11);
}

// ---- the size of a lease

static void test_leases_shrink(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 2000; i++)
    add(i / 100, i, 20000);
  make(false);
  uint32_t before = UINT32_MAX, n, sum = 0;
  while ((n = grant(0, 4)) > 0) {
    assert_true(n <= before);  // tests of one length: ever fewer
    assert_true(n <= (sum < 2000 - 16 ? (2000 - sum) / 16 : 1) || n == 1);
    before = n;
    sum += n;
  }
  assert_int_equal(sum, 2000);
  assert_int_equal(before, 1);
}

static void test_lease_bounds(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 1000; i++)
    add(0, i, 5 * SECOND);
  make(false);
  assert_int_equal(grant(0, 1), 2);     // ten seconds at most
  worker[1].observed_us = 15 * SECOND;  // three times as slow as expected, with the ballast
  worker[1].expected_us = 0;
  worker[1].observed_us = 10 * SECOND;
  assert_int_equal(sched_worker_slowness(&worker[1]) * 10, 30);
  assert_int_equal(grant(1, 1), 1);                                // a third of it
  assert_int_equal(sched_grant(sched, &worker[2], 1, out, 1), 1);  // the caller's room
}

static void test_many_tiny_tests(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 4000; i++)
    add(0, i / 10, 1);
  make(false);
  assert_int_equal(grant(0, 1), 1000);  // a quarter of them, though they cost nothing
}

// ---- whole suites

static uint64_t dice = 1;

static uint64_t roll(uint64_t sides) {
  dice ^= dice << 13;
  dice ^= dice >> 7;
  dice ^= dice << 17;
  return dice % sides;
}

// `n` tests in files of 1 to 40; mostly short, a few long, none over a tenth of what a worker has to do.
static uint64_t generate(uint32_t n, uint64_t seed) {
  uint64_t sum = 0;
  dice = seed;
  set_up(NULL);
  for (uint32_t file = 0, unit = 0; count < n; file++) {
    for (uint64_t left = 1 + roll(40); left && count < n; left--) {
      unit += roll(3) == 0;
      add(file, unit, roll(100) < 3 ? 5 * SECOND + roll(10 * SECOND) : 20000 + roll(SECOND));
      sum += us[count - 1];
    }
  }
  return sum;
}

// Everybody works as expected; whoever is free first asks first. Returns when the last one is done.
static uint64_t run(uint32_t workers, uint32_t *times_given) {
  uint64_t free_us[WORKERS_MAX] = {0}, end = 0;
  for (;;) {
    uint32_t next = 0;
    for (uint32_t i = 1; i < workers; i++) {
      if (free_us[i] < free_us[next]) next = i;
    }
    if (free_us[next] == UINT64_MAX) return end;
    uint32_t n = sched_grant(sched, &worker[next], workers, out, SCHED_LEASE_MAX);
    for (uint32_t i = 0; i < n; i++) {
      free_us[next] += us[out[i]];
      sched_worker_learn(&worker[next], us[out[i]], us[out[i]]);
      times_given[out[i]]++;
    }
    if (free_us[next] > end) end = free_us[next];
    if (n == 0) free_us[next] = UINT64_MAX;
  }
}

static void test_each_test_once(void **state) {
  (void)state;
  static const uint32_t workers[] = {1, 2, 3, 8, 32};
  for (uint32_t whole = 0; whole < 2; whole++) {
    for (size_t i = 0; i < COUNT_OF(workers); i++) {
      uint32_t given[TESTS_MAX] = {0};
      (void)generate(700, 11 + i);
      for (uint32_t t = 0; t < count; t += 50)
        file_of[t] = SCHED_NO_FILE;
      make(whole);
      (void)run(workers[i], given);
      for (uint32_t t = 0; t < count; t++)
        assert_int_equal(given[t], 1);
      assert_int_equal(sched_free_count(sched), 0);
      tear_down(NULL);
    }
  }
  set_up(NULL);
  make(false);
}

// Over half an hour of tests by eight: at most a twentieth over what no schedule can beat.
static void test_makespan(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 20; seed++) {
    uint32_t given[TESTS_MAX] = {0};
    uint64_t sum = generate(2500, seed), bound = sum / 8;
    assert_true(bound > 150 * (uint64_t)SECOND);
    make(false);
    uint64_t makespan = run(8, given);
    if (makespan * 100 > bound * 105) {
      fail_msg("seed %llu: %llu us, the bound is %llu", (unsigned long long)seed, (unsigned long long)makespan,
               (unsigned long long)bound);
    }
    tear_down(NULL);
  }
  set_up(NULL);
  make(false);
}

// One worker twice as slow as the rest gets half as much, and holds nobody up.
static void test_same_history_same_schedule(void **state) {
  (void)state;
  static uint32_t first[TESTS_MAX], second[TESTS_MAX];
  uint32_t n[2] = {0};
  for (int pass = 0; pass < 2; pass++) {
    uint32_t *to = pass ? second : first;
    (void)generate(900, 5);
    make(false);
    for (uint32_t turn = 0, got = 1; got; turn++) {
      got = grant(turn % 5, 5);
      memcpy(to + n[pass], out, got * sizeof *out);
      n[pass] += got;
    }
    tear_down(NULL);
  }
  assert_int_equal(n[0], n[1]);
  assert_memory_equal(first, second, n[0] * sizeof *first);
  set_up(NULL);
  make(false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_empty),
      TEST(test_stays_in_its_file),
      TEST(test_most_work_first),
      TEST(test_setup_counts_as_work),
      TEST(test_long_first),
      TEST(test_unknown_first),
      TEST(test_units_stay_together),
      TEST(test_long_units_are_cut),
      TEST(test_shares_only_what_is_worth_it),
      TEST(test_whole_files_are_not_shared),
      TEST(test_abandoned_before_shared),
      TEST(test_returned_tests_come_back),
      TEST(test_leases_shrink),
      TEST(test_lease_bounds),
      TEST(test_many_tiny_tests),
      TEST(test_each_test_once),
      TEST(test_makespan),
      TEST(test_same_history_same_schedule),
  };
  return cmocka_run_group_tests_name("sched", tests, NULL, NULL);
}
