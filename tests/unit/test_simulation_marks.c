// Groups, tokens, serial and exclusive tests, and steal-back, over whole builds in virtual time: what must not meet
// never meets, and the finish stays close to the shortest possible one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/simulation.h"
#include "server/tokens.h"

enum { SECOND = 1000000, TESTS = 800, WORKERS = 8, PER_FILE = 10, FILES = TESTS / PER_FILE };

struct span {
  uint64_t begin_us, end_us;
  uint32_t worker, runs;
};

static uint32_t file_of[TESTS], unit_of[TESTS];
static uint64_t us[TESTS], setup_us[FILES], need[TESTS];
static bool whole_of[FILES];
static double slowness[WORKERS];
static struct span span[TESTS];

static void on_ran(void *arg, const struct simulation_ran *it) {
  (void)arg;
  span[it->test].begin_us = it->start_us;
  span[it->test].end_us = it->end_us;
  span[it->test].worker = it->worker;
  span[it->test].runs++;
}

// Half a second each, more or less, in files of ten; a set-up of 0.2 s each.
static int set_up(void **state) {
  (void)state;
  uint64_t seed = 7;
  memset(need, 0, sizeof need);
  memset(whole_of, 0, sizeof whole_of);
  memset(span, 0, sizeof span);
  for (uint32_t i = 0; i < TESTS; i++) {
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    file_of[i] = i / PER_FILE;
    unit_of[i] = i;
    us[i] = SECOND / 4 + (seed >> 33) % (SECOND / 2);
    setup_us[i / PER_FILE] = SECOND / 5;
  }
  for (uint32_t i = 0; i < WORKERS; i++)
    slowness[i] = 1;
  return 0;
}

// Runs the suite; returns its finish, and the bound that no schedule beats in *bound_us: all work spread evenly by
// speed.
static uint64_t run(const uint32_t *copies, uint64_t *bound_us) {
  struct tokens_list tokens = {.count = TESTS, .need = need, .expected_us = us, .order_us = us};
  if (copies) memcpy(tokens.copies, copies, 2 * sizeof *copies);
  struct simulation_suite suite = {.count = TESTS,
                                   .file_count = FILES,
                                   .file_of = file_of,
                                   .unit_of = unit_of,
                                   .actual_us = us,
                                   .expected_us = us,
                                   .order_us = us,
                                   .file_setup_us = setup_us,
                                   .whole_of = whole_of,
                                   .tokens = tokens_new(&tokens),
                                   .slowness = slowness,
                                   .on_ran = on_ran};
  struct simulation *simulation = simulation_new(&suite, WORKERS);
  while (!simulation_step(simulation, 1000)) {
  }
  uint64_t finish_us = simulation_finish_us(simulation), sum = 0;
  double speed = 0;
  simulation_free(simulation);
  for (uint32_t i = 0; i < TESTS; i++) {
    assert_int_equal(span[i].runs, 1);
    sum += us[i];
  }
  for (uint32_t i = 0; i < FILES; i++)
    sum += setup_us[i];
  for (uint32_t i = 0; i < WORKERS; i++)
    speed += 1 / slowness[i];
  *bound_us = (uint64_t)((double)sum / speed);
  return finish_us;
}

static uint32_t at_once(uint64_t bits) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < TESTS; i++) {
    uint32_t n = 0;
    for (uint32_t k = 0; (need[i] & bits) && k < TESTS; k++)
      n += (need[k] & bits) && span[k].begin_us <= span[i].begin_us && span[i].begin_us < span[k].end_us;
    if (n > most) most = n;
  }
  return most;
}

static void expect_within(uint64_t finish_us, uint64_t bound_us, double factor) {
  double ratio = (double)finish_us / (double)bound_us;
  if (ratio > factor) fail_msg("the finish is %.3f times the bound, not %.3f", ratio, factor);
}

static void test_tokens(void **state) {
  (void)state;
  static const uint32_t copies[] = {2, 1};
  uint64_t bound_us, chain_us = 0;
  for (uint32_t i = 0; i < TESTS; i += 5) {  // a fifth of the work over two copies, of eight workers
    need[i] = 1;
    chain_us += us[i] / 2;
  }
  uint64_t finish_us = run(copies, &bound_us);
  assert_int_equal(at_once(1), 2);
  assert_true(chain_us < bound_us);
  expect_within(finish_us, bound_us, 1.25);  // tests with tokens lose the affinity of their files
}

// A chain that alone takes as long as the build: it must never wait.
static void test_serial_chain_bounds_the_finish(void **state) {
  (void)state;
  static const uint32_t copies[] = {1, 1};
  uint64_t bound_us, chain_us = 0;
  for (uint32_t i = 0; i < TESTS; i += 6) {
    need[i] = 2;
    chain_us += us[i] + setup_us[file_of[i]];
  }
  uint64_t finish_us = run(copies, &bound_us);
  assert_int_equal(at_once(2), 1);
  assert_true(chain_us > bound_us);
  expect_within(finish_us, chain_us, 1.02);
}

static void test_exclusive(void **state) {
  (void)state;
  uint64_t bound_us, alone_us = 0;
  for (uint32_t i = 0; i < 3; i++) {
    need[i * 200] = TOKENS_EXCLUSIVE;
    alone_us += us[i * 200] + setup_us[0];
  }
  uint64_t finish_us = run(NULL, &bound_us);
  for (uint32_t i = 0; i < 3; i++) {
    for (uint32_t k = 0; k < TESTS; k++) {
      bool meet = span[k].begin_us < span[i * 200].end_us && span[i * 200].begin_us < span[k].end_us;
      assert_true(k == i * 200 || !meet);
    }
  }
  expect_within(finish_us, bound_us + alone_us, 1.05);
}

static void test_groups(void **state) {
  (void)state;
  uint64_t bound_us;
  for (uint32_t i = 0; i < TESTS; i++) {  // tests 0 … 39 are one group, the rest of four files
    if (i < 40) file_of[i] = 0;
  }
  whole_of[0] = true;
  uint64_t finish_us = run(NULL, &bound_us);
  for (uint32_t i = 1; i < 40; i++)
    assert_int_equal(span[i].worker, span[0].worker);
  expect_within(finish_us, bound_us, 1.05);
}

static void test_slow_worker(void **state) {
  (void)state;
  uint64_t bound_us;
  slowness[3] = 2;
  uint64_t finish_us = run(NULL, &bound_us);
  expect_within(finish_us, bound_us, 1.05);
  set_up(state);
  slowness[3] = 20;  // it begins a test, and what it holds behind that is asked back
  finish_us = run(NULL, &bound_us);
  expect_within(finish_us, bound_us, 1.25);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_tokens), TEST(test_serial_chain_bounds_the_finish), TEST(test_exclusive),
                                     TEST(test_groups), TEST(test_slow_worker)};
  return cmocka_run_group_tests_name("simulation_marks", tests, NULL, NULL);
}
