// The forecast's formula beside the queue and the scheduler in virtual time, over the recorded histories of three real
// suites (../shared/durations, or SHARD_HISTORIES). The margin is the one that docs/architecture.md tells: away from
// the crossover, where the longest test begins to bound the finish, the formula is at most 6 % early, and late by no
// more than its own allowance of a quarter of a per cent a worker; near it, up to 10 % early. Without the histories the
// tests are skipped.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/forecast.h"
#include "server/simulation.h"
#include "tests/bench/suites.h"

// What the scheduler is told: the truth, or what it would think after the recorded history.
enum knows { KNOWS_ALL, KNOWS_HISTORY };

struct figures {
  uint32_t compared, beyond;
  double early, late;  // the worst of each, as shares of the simulated finish
};

static struct suite *load(const char *name) {
  const char *folder = getenv("SHARD_HISTORIES");
  char path[512];
  (void)snprintf(path, sizeof path, "%s/%s", folder && folder[0] ? folder : "../shared/durations", name);
  struct suite *suite = suite_load(path);
  if (suite) return suite;
  print_message("SKIPPED: %s cannot be read: the formula is not compared with it (set SHARD_HISTORIES)\n", path);
  skip();
  return NULL;
}

static double simulated(const struct suite *suite, const struct estimate_out *told, uint32_t workers) {
  uint64_t *expected = base_calloc(suite->count, sizeof *expected), *order = base_calloc(suite->count, sizeof *order);
  for (uint32_t i = 0; i < suite->count; i++) {
    expected[i] = told[i].expected_us;
    order[i] = told[i].order_us;
  }
  struct simulation_suite of = {.count = suite->count,
                                .file_count = suite->file_count,
                                .file_of = suite->file_of,
                                .unit_of = suite->unit_of,
                                .actual_us = suite->actual_us,
                                .expected_us = expected,
                                .order_us = order,
                                .file_setup_us = suite->setup_us};
  struct simulation *simulation = simulation_new(&of, workers);
  while (!simulation_step(simulation, suite->count)) {
  }
  double finish_us = (double)simulation_finish_us(simulation);
  simulation_free(simulation);
  free(expected);
  free(order);
  return finish_us;
}

static void compare(const struct suite *suite, const struct forecast *forecast, const struct estimate_out *told,
                    uint32_t workers, struct figures *figures) {
  double n_max = (double)(forecast->work_us + forecast->setup_us) / (double)forecast->longest.us;
  double ratio = (double)forecast_finish_us(forecast, workers, 0) / simulated(suite, told, workers);
  bool crossover = workers > 0.7 * n_max && workers < 1.3 * n_max;
  double most_early = crossover ? 0.90 : 0.94, most_late = 1.01 + 0.0025 * workers;
  if (ratio < most_early || ratio > most_late)
    fail_msg("%s with %u workers: the formula is at %.3f of the simulation, not in %.2f to %.2f", suite->name, workers,
             ratio, most_early, most_late);
  if (crossover) return;
  figures->compared++;
  figures->beyond += workers >= 1.3 * n_max;
  if (1 - ratio > figures->early) figures->early = 1 - ratio;
  if (ratio - 1 > figures->late) figures->late = ratio - 1;
}

static struct figures agree(const char *name, enum knows knows, double setup_s) {
  static const uint32_t asked[] = {1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 52, 56, 64};
  struct suite *suite = load(name);
  struct figures figures = {0};
  struct forecast forecast;
  suite_set_setups(suite, setup_s, 1.3, 7919);
  struct estimate_out *told = base_calloc(suite->count, sizeof *told);
  estimate_list(suite->history, suite->file_of, suite->count, suite->file_count, told);
  for (uint32_t i = 0; knows == KNOWS_ALL && i < suite->count; i++)
    told[i] = (struct estimate_out){suite->actual_us[i], suite->actual_us[i]};
  // The formula gets what the tests take now: that a history drifts is not its fault.
  struct forecast_suite of = {.count = suite->count,
                              .file_count = suite->file_count,
                              .file_of = suite->file_of,
                              .expected_us = suite->actual_us,
                              .file_setup_us = suite->setup_us};
  forecast_init(&forecast, &of);
  for (size_t i = 0; i < COUNT_OF(asked); i++)
    compare(suite, &forecast, told, asked[i], &figures);
  print_message("%s%s%s: %u compared, at most %.1f %% early, %.1f %% late\n", suite->name,
                knows == KNOWS_HISTORY ? ", from its history" : "", setup_s > 0 ? ", with set-ups" : "",
                figures.compared, 100 * figures.early, 100 * figures.late);
  free(told);
  suite_free(suite);
  return figures;
}

static void all_forms(const char *name, uint32_t beyond) {
  struct figures known = agree(name, KNOWS_ALL, 0), setups = agree(name, KNOWS_ALL, 0.5),
                 recorded = agree(name, KNOWS_HISTORY, 0);
  assert_in_range(known.compared, 10, 17);
  assert_in_range(setups.compared, 10, 17);
  assert_in_range(recorded.compared, 10, 17);
  assert_true(known.beyond >= beyond);
  assert_true(known.early < 0.01);  // where all is known nothing takes longer than the formula says
}

static void test_onegov(void **state) {
  (void)state;
  all_forms("onegov.csv", 0);
}

static void test_localstack(void **state) {
  (void)state;
  all_forms("localstack.csv", 0);
}

static void test_pl_core_beyond_its_crossover(void **state) {
  (void)state;
  all_forms("pl_core.csv.gz", 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_onegov), cmocka_unit_test(test_localstack),
                                     cmocka_unit_test(test_pl_core_beyond_its_crossover)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
