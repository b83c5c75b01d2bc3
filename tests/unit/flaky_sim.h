// A team's CI in virtual time, seeded: what the flaky model makes of tests whose true nature is known. Days of builds
// on eight workers; sound tests and tests that fail at random with a known chance; now and then a sick worker, an
// outage, pull requests that break tests, and commits that break the trunk until they are fixed. All of
// them teach, and the daemon's own rule says which are of the trunk. Shared by
// tests/bench/montecarlo.c (the whole table) and tests/unit/test_flaky_sim.c (a short run).
#ifndef TESTS_UNIT_FLAKY_SIM_H
#define TESTS_UNIT_FLAKY_SIM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/flaky.h"
#include "server/settings.h"

#define SIM_UNUSED __attribute__((unused))

enum { SIM_WORKERS = 8, SIM_CLASSES = 6, SIM_EVENTS = 64, SIM_ATTEMPTS = 3, SIM_CLEAR_BUILDS = 400, SIM_BUSY = 16 };

static const double sim_theta[SIM_CLASSES] = {0, 0.003, 0.01, 0.03, 0.1, 0.3};

struct sim_options {
  uint64_t seed;
  uint32_t sound, flaky;  // tests without, and for each chance
  uint32_t days, per_day, retries;
};

struct sim_class {
  uint32_t tests, flagged, at_end, naive, cleared;
  double theta;        // mean estimate at the end
  uint32_t *flag_at;   // build that flagged, of those flagged
  uint32_t *clear_at;  // builds from the fix to the end of the state
};

struct sim_outcome {
  struct sim_class of[SIM_CLASSES];
  uint32_t sick, sick_found, sick_false;         // workers
  uint32_t broken, broken_found, *broken_after;  // builds of the trunk until the state said so
};

struct sim_test {
  struct flaky_memory memory;
  struct flaky_event event[SIM_EVENTS];
  size_t events;
  uint8_t class;
  bool ever, naive;
  uint32_t broken_since;  // builds of the trunk that it has been broken for; 0: it is not
  uint32_t broken_left;   // builds until somebody fixes it
  bool broken_told;
};

struct sim_row {  // one test in one build
  uint8_t worker[SIM_ATTEMPTS];
  bool failed[SIM_ATTEMPTS];
  uint8_t count;
};

struct sim {
  struct sim_options options;
  uint64_t random, now_ms, build;
  struct sim_test *test;
  struct sim_row *row;
  uint32_t tests;
  bool trunk, outage, pull_breaks[512];  // pull_breaks: by a hash of the test
  int sick;                              // worker, -1: none
  struct flaky_first last;
  struct sim_outcome *out;
};

static uint64_t sim_next(struct sim *sim) {
  uint64_t x = sim->random += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static double sim_real(struct sim *sim) {
  return (double)(sim_next(sim) >> 11) / 9007199254740992.0;
}

static uint32_t sim_below(struct sim *sim, uint32_t n) {
  return (uint32_t)(sim_next(sim) % n);
}

// What befalls this build: half are pull requests, a fifth of those break up to ten tests, and every other of these
// does so where all work at the moment, in one of sixteen; 2 % have a sick worker, 0.5 % an outage; three in ten of the
// trunk begin with a commit that breaks a sound test for one to six builds.
static void sim_weather(struct sim *sim) {
  static const struct settings defaults;  // as of protected-refs
  sim->trunk = settings_trunk(&defaults, sim_real(sim) < 0.5 ? "main" : "feature");
  sim->sick = sim_real(sim) < 0.02 ? (int)sim_below(sim, SIM_WORKERS) : -1;
  sim->outage = sim_real(sim) < 0.005;
  memset(sim->pull_breaks, 0, sizeof sim->pull_breaks);
  if (!sim->trunk && sim_real(sim) < 0.2) {
    uint32_t among = sim_real(sim) < 0.5 ? SIM_BUSY : COUNT_OF(sim->pull_breaks);
    for (uint32_t n = 1 + sim_below(sim, 10); n > 0; n--)
      sim->pull_breaks[sim_below(sim, among)] = true;
  }
  sim->out->sick += sim->sick >= 0;
  if (!sim->trunk || sim_real(sim) >= 0.3) return;
  struct sim_test *test = &sim->test[sim_below(sim, sim->options.sound)];
  if (test->broken_left > 0) return;
  test->broken_left = 1 + sim_below(sim, 6);
  test->broken_since = 0;
  test->broken_told = false;
  sim->out->broken++;
}

static bool sim_fails(struct sim *sim, uint32_t index, uint32_t worker) {
  const struct sim_test *test = &sim->test[index];
  if (test->broken_left > 0 && sim->trunk) return true;
  if (!sim->trunk && index % 7 == 0 && sim->pull_breaks[index / 7 % COUNT_OF(sim->pull_breaks)]) return true;
  if (sim->outage && index % 3 == 0 && sim_real(sim) < 0.9) return true;
  if (sim->sick == (int)worker && sim_real(sim) < 0.6) return true;
  return sim_real(sim) < sim_theta[test->class];
}

static void sim_run(struct sim *sim, uint32_t index) {
  struct sim_row *row = &sim->row[index];
  *row = (struct sim_row){0};
  do {
    uint32_t worker = sim_below(sim, SIM_WORKERS);
    if (row->count > 0 && worker == row->worker[row->count - 1]) worker = (worker + 1) % SIM_WORKERS;
    row->worker[row->count] = (uint8_t)worker;
    row->failed[row->count] = sim_fails(sim, index, worker);
    row->count++;
  } while (row->failed[row->count - 1] && row->count <= sim->options.retries);
}

// Who is sick, as a mask of workers; all of them when the build is.
static unsigned sim_sick(struct sim *sim) {
  struct flaky_first worker[SIM_WORKERS] = {{0}}, build = {0}, sound = {0};
  unsigned sick = 0;
  for (uint32_t i = 0; i < sim->tests; i++) {
    struct flaky_first *first = &worker[sim->row[i].worker[0]];
    first->n++, build.n++;
    first->failed += sim->row[i].failed[0];
    build.failed += sim->row[i].failed[0];
  }
  for (unsigned w = 0; w < SIM_WORKERS; w++) {
    bool found = flaky_worker_sick(&worker[w], &build);
    sick |= found ? 1u << w : 0;
    sim->out->sick_found += found && sim->sick == (int)w;
    sim->out->sick_false += found && sim->sick != (int)w;
    if (found) continue;
    sound.n += worker[w].n;
    sound.failed += worker[w].failed;
  }
  if (flaky_build_sick(&sound, &sim->last)) sick = (1u << SIM_WORKERS) - 1;
  sim->last = sound;
  return sick;
}

static struct flaky_trial sim_trial(const struct sim *sim, uint32_t index, unsigned sick) {
  const struct sim_row *row = &sim->row[index];
  struct flaky_trial trial = {.at_ms = sim->now_ms, .build = sim->build, .commit = sim->build};
  trial.trunk = sim->trunk;
  for (uint32_t a = row->count; a-- > 0;) {
    if (sick & (1u << row->worker[a])) continue;
    trial.now |= row->failed[a] ? FLAKY_SAW_FAILURE : FLAKY_SAW_PASS;
    if (!row->failed[a]) continue;
    trial.fails++;
    flaky_keys_add(&trial.fail_workers, 1u + row->worker[a]);
    trial.worker = row->worker[a];
  }
  return trial;
}

static void sim_judge(struct sim *sim, uint32_t index, struct flaky_trial *trial, const uint32_t *flips) {
  struct sim_test *test = &sim->test[index];
  trial->cluster = flips[trial->worker];
  if (test->events == SIM_EVENTS) {
    memmove(test->event, test->event + 1, sizeof test->event - sizeof test->event[0]);
    test->events--;
  }
  test->events += flaky_learn(&test->memory, trial, &test->event[test->events]);
  (void)flaky_judge(&test->memory, test->event, test->events, sim->now_ms);
}

static void sim_note(struct sim *sim, uint32_t index) {
  struct sim_test *test = &sim->test[index];
  const struct sim_row *row = &sim->row[index];
  struct sim_class *class = &sim->out->of[test->class];
  if (!test->naive && row->failed[0] && !row->failed[row->count - 1]) test->naive = ++class->naive > 0;
  if (!test->ever && test->memory.state == FLAKY_FLAKY) {
    test->ever = true;
    class->flag_at[class->flagged++] = (uint32_t)sim->build;
  }
  if (!sim->trunk || test->broken_left == 0) return;
  test->broken_since++;
  if (!test->broken_told && test->memory.state == FLAKY_BROKEN) {
    test->broken_told = true;
    sim->out->broken_after[sim->out->broken_found++] = test->broken_since;
  }
  test->broken_left--;
}

static void sim_build(struct sim *sim) {
  uint32_t flips[SIM_WORKERS] = {0};
  sim->build++;
  sim->now_ms += FLAKY_DAY_MS / sim->options.per_day;
  sim_weather(sim);
  for (uint32_t i = 0; i < sim->tests; i++)
    sim_run(sim, i);
  unsigned sick = sim_sick(sim);
  for (uint32_t i = 0; i < sim->tests; i++) {
    struct flaky_trial trial = sim_trial(sim, i, sick);
    flips[trial.worker] += flaky_flips(&trial);
  }
  for (uint32_t i = 0; i < sim->tests; i++) {
    struct flaky_trial trial = sim_trial(sim, i, sick);
    sim_judge(sim, i, &trial, flips);
    sim_note(sim, i);
  }
}

// Somebody fixes every flaky test: how many builds until the state follows?
static void sim_fix(struct sim *sim) {
  uint64_t fixed_at = sim->build;
  for (uint32_t i = 0; i < sim->tests; i++) {
    struct sim_test *test = &sim->test[i];
    struct sim_class *class = &sim->out->of[test->class];
    bool flaky = test->memory.state == FLAKY_FLAKY;
    class->tests++;
    class->at_end += flaky;
    class->theta += flaky_theta(test->memory.f, test->memory.r);
    for (uint64_t n = 0; flaky && n < SIM_CLEAR_BUILDS; n++) {
      uint64_t at_ms = sim->now_ms + (n + 1) * FLAKY_DAY_MS / sim->options.per_day;
      struct flaky_trial trial = {.at_ms = at_ms, .build = fixed_at + n, .now = FLAKY_SAW_PASS, .trunk = true};
      trial.commit = trial.build;
      struct flaky_event none;
      (void)flaky_learn(&test->memory, &trial, &none);
      (void)flaky_judge(&test->memory, test->event, test->events, at_ms);
      flaky = test->memory.state == FLAKY_FLAKY;
      if (!flaky) class->clear_at[class->cleared++] = (uint32_t)n + 1;
    }
  }
}

// The caller releases *out with sim_release.
SIM_UNUSED static void sim_all(const struct sim_options *options, struct sim_outcome *out) {
  struct sim sim = {.options = *options, .random = options->seed, .now_ms = 1000 * FLAKY_DAY_MS, .out = out};
  uint32_t most = options->sound > options->flaky ? options->sound : options->flaky;
  sim.tests = options->sound + (SIM_CLASSES - 1) * options->flaky;
  sim.test = base_calloc(sim.tests, sizeof *sim.test);
  sim.row = base_calloc(sim.tests, sizeof *sim.row);
  *out = (struct sim_outcome){0};
  out->broken_after = base_calloc(options->days * options->per_day, sizeof *out->broken_after);
  for (int c = 0; c < SIM_CLASSES; c++) {
    out->of[c].flag_at = base_calloc(most, sizeof *out->of[c].flag_at);
    out->of[c].clear_at = base_calloc(most, sizeof *out->of[c].clear_at);
  }
  for (uint32_t i = options->sound; i < sim.tests; i++)
    sim.test[i].class = (uint8_t)(1 + (i - options->sound) / options->flaky);
  for (uint32_t build = 0; build < options->days * options->per_day; build++)
    sim_build(&sim);
  sim_fix(&sim);
  for (int c = 0; c < SIM_CLASSES; c++)
    if (out->of[c].tests > 0) out->of[c].theta /= out->of[c].tests;
  free(sim.test);
  free(sim.row);
}

SIM_UNUSED static void sim_release(struct sim_outcome *out) {
  for (int c = 0; c < SIM_CLASSES; c++) {
    free(out->of[c].flag_at);
    free(out->of[c].clear_at);
  }
  free(out->broken_after);
}

static int sim_compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

SIM_UNUSED static uint32_t sim_median(uint32_t *values, uint32_t n) {
  if (n == 0) return 0;
  qsort(values, n, sizeof *values, sim_compare);
  return values[n / 2];
}

#endif
