// Unit tests of the flaky model, each rule with cases worked out by hand: sick workers and builds, trials, decay, rates
// and their interval, states and what leaves them, kinds.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/flaky.h"

enum { PASS = FLAKY_SAW_PASS, FAIL = FLAKY_SAW_FAILURE, BOTH = FLAKY_SAW_BOTH };

static const uint64_t start_ms = 1000 * FLAKY_DAY_MS;

// One test's life: its memory and its events.
struct life {
  struct flaky_memory memory;
  struct flaky_event event[FLAKY_EVENTS_MAX];
  size_t events;
  uint64_t now_ms, build;
};

static struct life *born(void) {
  static struct life life;
  life = (struct life){.now_ms = start_ms};
  return &life;
}

static struct flaky_keys workers(uint32_t n) {
  struct flaky_keys keys = {0};
  for (uint32_t i = 1; i <= n; i++)
    flaky_keys_add(&keys, i);
  return keys;
}

static struct flaky_trial trial_of(struct life *life, unsigned now) {
  life->build++;
  life->now_ms += FLAKY_DAY_MS / 20;
  return (struct flaky_trial){
      .at_ms = life->now_ms,
      .build = life->build,
      .commit = life->build,
      .now = now,
      .fails = now & FAIL ? 1 : 0,
      .fail_workers = workers(now & FAIL ? 1 : 0),
      .cluster = 1,
      .trunk = true,
  };
}

// Takes the trial in and judges; true when it was a flip.
static bool take(struct life *life, const struct flaky_trial *trial) {
  bool event = flaky_learn(&life->memory, trial, &life->event[life->events]);
  life->events += event;
  (void)flaky_judge(&life->memory, life->event, life->events, life->now_ms);
  return event;
}

static bool live(struct life *life, unsigned now) {
  struct flaky_trial trial = trial_of(life, now);
  return take(life, &trial);
}

static void live_long(struct life *life, unsigned now, int times) {
  for (int i = 0; i < times; i++)
    (void)live(life, now);
}

static void assert_near(double got, double want, double by) {
  if (!(fabs(got - want) <= by)) fail_msg("%.9f is not within %g of %.9f", got, by, want);
}

static void test_sick_workers(void **state) {
  static const struct {
    struct flaky_first worker, build;
    bool sick;
  } cases[] = {
      {{20, 12}, {200, 12}, true},  // 0.6 against 1/181
      {{9, 9}, {200, 9}, false},    // too few
      {{10, 4}, {200, 4}, false},   // too few failures
      {{10, 5}, {200, 5}, true},    // just enough
      {{26, 5}, {200, 5}, false},   // under a fifth
      {{25, 5}, {300, 5}, true},    // exactly a fifth
      {{20, 10}, {40, 20}, false},  // the others fail as well: 0.5 against 11/21
      {{20, 20}, {59, 29}, true},   // 1 ≥ 4·(9+1)/(39+1)
      {{20, 20}, {59, 30}, false},  // 1 < 4·(10+1)/(39+1)
      {{20, 20}, {20, 20}, false},  // alone: there is no rest to compare with, 1 < 4·1/1
      {{0, 0}, {0, 0}, false},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (flaky_worker_sick(&cases[i].worker, &cases[i].build) != cases[i].sick) fail_msg("case %zu", i);
}

static void test_sick_builds(void **state) {
  static const struct {
    struct flaky_first build, last;
    bool sick;
  } cases[] = {
      {{100, 20}, {100, 4}, true}, {{100, 19}, {100, 4}, false}, {{100, 20}, {100, 5}, false},
      {{19, 19}, {100, 0}, false}, {{20, 4}, {100, 0}, true},    {{100, 100}, {0, 0}, false},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (flaky_build_sick(&cases[i].build, &cases[i].last) != cases[i].sick) fail_msg("case %zu", i);
}

static void test_names(void **state) {
  (void)state;
  assert_true(flaky_name("") == 0);
  assert_true(flaky_name("a") == UINT64_C(0xaf63dc4c8601ec8c));  // published value of FNV-1a
  assert_true(flaky_commit("c0ffee", 1) == flaky_commit("c0ffee", 2));
  assert_true(flaky_commit("", 1) != flaky_commit("", 2));
  assert_true(flaky_commit("", 0) != 0);
  assert_true(flaky_worker("h", "0", 1) == flaky_worker("h", "0", 2));
  assert_true(flaky_worker("h", "0", 1) != flaky_worker("i", "0", 1));
  assert_true(flaky_worker("h", "0", 1) != flaky_worker("h", "1", 1));
  assert_true(flaky_worker("h", "", 1) != flaky_worker("h", "", 2));
  assert_true(flaky_worker("h", "", 1) == flaky_worker("h", "", 1));
  struct flaky_keys keys = workers(FLAKY_KEYS + 5);
  flaky_keys_add(&keys, 1);
  flaky_keys_add(&keys, 0);
  assert_int_equal(keys.n, FLAKY_KEYS);
}

// What counts for R and F: before, now and other say what the build's earlier rounds, all its rounds, and other builds
// of the commit saw.
static void test_trials(void **state) {
  static const struct {
    unsigned before, now, other;
    double f, r;
    bool event;
    uint32_t streak;
  } cases[] = {
      {0, PASS, 0, 0, 1, false, 0},       {0, FAIL, 0, 0, 0, false, 1},
      {0, BOTH, 0, 1, 1, true, 0},        {0, 0, 0, 0, 0, false, 0},
      {0, FAIL, PASS, 1, 1, true, 0},   // good code, proved elsewhere
      {0, FAIL, FAIL, 0, 0, false, 1},  // nobody passed
      {0, PASS, FAIL, 1, 2, true, 0},   // the other build's failure, and this build's pass
      {0, PASS, BOTH, 0, 1, false, 0},  // its flip is the other build's
      {0, FAIL, BOTH, 1, 1, true, 0},   // a failure of its own
      {FAIL, FAIL, 0, 0, 0, false, 1},  // a second round that fails again
      {FAIL, BOTH, 0, 1, 1, true, 0},   // a second round shows that the code is good
      {PASS, BOTH, 0, 1, 0, true, 0},   // the trial was counted as good before
      {PASS, PASS, 0, 0, 0, false, 0},    {BOTH, BOTH, 0, 0, 0, false, 0},
      {FAIL, FAIL, PASS, 0, 0, false, 0},  // a flip that was counted before
      {PASS, PASS, FAIL, 0, 0, false, 0},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct life *life = born();
    struct flaky_trial trial = trial_of(life, cases[i].now);
    trial.before = cases[i].before;
    trial.other = cases[i].other;
    bool event = take(life, &trial);
    if (event != cases[i].event || event != flaky_flips(&trial)) fail_msg("case %zu: event %d", i, event);
    if (life->memory.streak != cases[i].streak) fail_msg("case %zu: streak %u", i, life->memory.streak);
    assert_near(life->memory.f, cases[i].f, 0);
    assert_near(life->memory.r, cases[i].r, 0);
    assert_int_equal(life->memory.trials, cases[i].now != 0 && cases[i].before == 0);
  }
}

static void test_weights(void **state) {
  static const struct {
    uint32_t k;
    double weight;
  } cases[] = {{0, 1}, {1, 1}, {5, 1}, {6, 5 / 6.0}, {50, 0.1}};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct life *life = born();
    struct flaky_trial trial = trial_of(life, BOTH);
    trial.cluster = cases[i].k;
    assert_true(take(life, &trial));
    assert_near(life->event[0].weight, cases[i].weight, 1e-12);
  }
}

static void test_isolated(void **state) {
  (void)state;
  struct life *life = born();
  (void)live(life, FAIL);
  assert_false(live(life, PASS));  // nothing was good before it
  (void)live(life, FAIL);
  assert_true(live(life, PASS));
  assert_near(life->event[0].weight, 0.5, 0);
  assert_true(life->event[0].build == 3 && life->event[0].commit == 3);
  assert_true(life->event[0].flags == (FLAKY_ISOLATED | FLAKY_HIT));
  assert_int_equal(life->memory.state, FLAKY_SUSPECT);
  live_long(life, FAIL, 2);
  assert_false(live(life, PASS));  // two failures in a row are the code's
  struct flaky_trial twice = trial_of(life, FAIL);
  twice.fails = 2;
  assert_false(take(life, &twice));
  assert_false(live(life, PASS));  // so are two attempts
  (void)live(life, FAIL);
  struct flaky_trial branch = trial_of(life, PASS);
  branch.trunk = false;
  assert_false(take(life, &branch));  // a pass elsewhere proves nothing
  assert_true(live(life, PASS));
  (void)live(life, FAIL);
  struct flaky_trial same = trial_of(life, PASS);
  same.commit = life->build - 1;
  assert_false(take(life, &same));  // of one commit: that is for `other` to say
  assert_int_equal(life->events, 2);
}

static void test_decay(void **state) {
  (void)state;
  struct life *life = born();
  (void)live(life, BOTH);
  life->now_ms += FLAKY_WINDOW_MS - FLAKY_DAY_MS / 20;
  (void)live(life, PASS);
  assert_near(life->memory.f, 0.5, 1e-12);
  assert_near(life->memory.r, 1.5, 1e-12);
  life->now_ms -= 10 * FLAKY_DAY_MS;  // a build that closed late
  (void)live(life, PASS);
  assert_near(life->memory.r, 2.5, 1e-12);
  life->now_ms += 10 * FLAKY_DAY_MS;
  (void)live(life, 0);
  assert_near(life->memory.r, 2.5, 1e-12);  // no evidence, no step
}

// Points of the Beta distribution from its closed forms: Beta(1, b) has 1 − (1−p)^(1/b), Beta(a, 1) has p^(1/a).
static void test_rate(void **state) {
  (void)state;
  struct flaky_rate none = flaky_rate(0, 0), one = flaky_rate(0.98, 0.98), some = flaky_rate(9.98, 1010);
  assert_near(none.theta, 0.02 / 20.02, 1e-12);
  assert_near(none.lo, 0, 1e-9);
  assert_true(none.hi < 0.01);
  assert_near(one.theta, 1.0 / 21, 1e-12);
  assert_near(one.lo, 1 - pow(0.95, 1 / 20.0), 1e-9);
  assert_near(one.hi, 1 - pow(0.05, 1 / 20.0), 1e-9);
  assert_near(some.theta, 10 / 1030.02, 1e-12);
  assert_true(some.lo > 0.0052 && some.lo < 0.0054 && some.hi > 0.0151 && some.hi < 0.0154);
  struct flaky_rate all = flaky_rate(50, 49);  // rounds can leave F a little above R
  assert_true(all.lo < all.theta && all.theta < all.hi && all.hi < 1);
}

static void test_new_and_healthy(void **state) {
  (void)state;
  struct life *life = born();
  live_long(life, PASS, FLAKY_NEW_TRIALS - 1);
  assert_int_equal(life->memory.state, FLAKY_NEW);
  assert_true(life->memory.since_ms == start_ms + FLAKY_DAY_MS / 20);
  (void)live(life, PASS);
  assert_int_equal(life->memory.state, FLAKY_HEALTHY);
  assert_true(life->memory.since_ms == life->now_ms);
}

static void test_flaky(void **state) {
  (void)state;
  struct life *life = born();
  struct flaky_trial trial = trial_of(life, BOTH);
  trial.commit = 7;
  assert_true(take(life, &trial));
  assert_int_equal(life->memory.state, FLAKY_SUSPECT);
  trial = trial_of(life, BOTH);
  trial.commit = 7;
  assert_true(take(life, &trial));
  assert_int_equal(life->memory.state, FLAKY_SUSPECT);  // one commit
  assert_true(live(life, BOTH));
  assert_int_equal(life->memory.state, FLAKY_FLAKY);
  // An outage's events weigh little.
  life = born();
  for (int i = 0; i < 10; i++) {
    trial = trial_of(life, BOTH);
    trial.cluster = 30;
    (void)take(life, &trial);
  }
  assert_int_equal(life->memory.state, FLAKY_SUSPECT);  // 10 · 5/30
  life->now_ms += FLAKY_WINDOW_MS;
  (void)live(life, PASS);
  assert_int_equal(life->memory.state, FLAKY_NEW);  // too old to prove anything
}

// Eight flips in 8+n good trials: 5/θ̂ is 5(28+n)/8 and meets n at 47; a little later since F is halved in 280 trials.
// With twelve it would be 25, so the clamp of 50 holds.
static void test_leaves_flaky(void **state) {
  static const struct { int flips, clean; } cases[] = {{8, 60}, {12, 50}};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct life *life = born();
    live_long(life, BOTH, cases[i].flips);
    int builds = 0;
    for (; life->memory.state == FLAKY_FLAKY && builds < 1000; builds++)
      (void)live(life, PASS);
    if (abs(builds - cases[i].clean) > 4) fail_msg("%d flips: %d builds", cases[i].flips, builds);
    assert_int_equal(life->memory.state, FLAKY_HEALTHY);
    assert_true(life->memory.f < cases[i].flips / 4.0);
    (void)live(life, BOTH);
    assert_int_equal(life->memory.state, FLAKY_SUSPECT);  // what was forgiven no longer counts
    (void)live(life, BOTH);
    assert_int_equal(life->memory.state, FLAKY_FLAKY);
  }
}

// Two flips in 2,000 good trials: 5/θ̂ is beyond the upper clamp, but 100 clean ones and 14 quiet days are enough.
static void test_leaves_flaky_when_quiet(void **state) {
  (void)state;
  struct life *life = born();
  live_long(life, PASS, 200);
  live_long(life, BOTH, 2);
  live_long(life, PASS, 99);
  life->now_ms += FLAKY_WINDOW_MS;
  struct flaky_trial fail = trial_of(life, FAIL);
  fail.trunk = false;
  (void)take(life, &fail);
  assert_int_equal(life->memory.state, FLAKY_FLAKY);  // quiet, but only 99 clean
  (void)live(life, PASS);
  assert_int_equal(life->memory.state, FLAKY_HEALTHY);
}

static void test_broken(void **state) {
  static const struct {
    uint32_t fails, workers, builds;
    bool broken;
  } cases[] = {
      {3, 2, 1, true}, {3, 1, 1, false}, {2, 2, 1, false}, {1, 1, 1, false}, {1, 1, 2, true}, {2, 1, 2, true},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct life *life = born();
    live_long(life, PASS, 30);
    for (uint32_t build = 0; build < cases[i].builds; build++) {
      struct flaky_trial trial = trial_of(life, FAIL);
      trial.fails = cases[i].fails;
      trial.fail_workers = workers(cases[i].workers);
      (void)take(life, &trial);
    }
    if ((life->memory.state == FLAKY_BROKEN) != cases[i].broken) fail_msg("case %zu", i);
    assert_true(life->memory.last_good == 30 && life->memory.first_bad == 31);
    (void)live(life, PASS);
    assert_true(life->memory.state != FLAKY_BROKEN);
    assert_true(life->memory.last_good == life->build && life->memory.first_bad == 0);
  }
}

// With θ̂ = 0.3 five failing attempts are not yet a thousand to one, six are.
static void test_broken_takes_more_of_a_flaky_test(void **state) {
  (void)state;
  for (uint32_t fails = 5; fails <= 6; fails++) {
    struct life *life = born();
    life->memory.r = 2000;
    life->memory.f = 600;
    live_long(life, BOTH, 2);
    struct flaky_trial trial = trial_of(life, FAIL);
    trial.fails = fails;
    trial.fail_workers = workers(2);
    (void)take(life, &trial);
    assert_int_equal(life->memory.state, fails == 6 ? FLAKY_BROKEN : FLAKY_FLAKY);
    (void)live(life, PASS);
    assert_int_equal(life->memory.state, FLAKY_FLAKY);  // it was, and is again
  }
}

static void test_failures_off_the_trunk_break_nothing(void **state) {
  (void)state;
  struct life *life = born();
  live_long(life, PASS, 30);
  for (int i = 0; i < 5; i++) {
    struct flaky_trial trial = trial_of(life, FAIL);
    trial.trunk = false;
    trial.fails = 3;
    (void)take(life, &trial);
  }
  assert_int_equal(life->memory.state, FLAKY_HEALTHY);
  assert_int_equal(life->memory.streak, 0);
}

// Re-runs of one commit are one commit, whatever the number of builds, and one node is one worker.
static void test_streak_counts_commits(void **state) {
  (void)state;
  struct life *life = born();
  for (int i = 0; i < 4; i++) {
    struct flaky_trial trial = trial_of(life, FAIL);
    trial.commit = 9;
    (void)take(life, &trial);
  }
  assert_int_equal(life->memory.streak, 1);
  assert_int_equal(life->memory.streak_attempts, 4);
  assert_int_equal(life->memory.streak_workers.n, 1);
  assert_true(life->memory.state != FLAKY_BROKEN);
  (void)live(life, FAIL);
  assert_int_equal(life->memory.streak, 2);
  assert_int_equal(life->memory.state, FLAKY_BROKEN);
}

static bool live_on(struct life *life, uint64_t branch, unsigned now) {
  struct flaky_trial trial = trial_of(life, now);
  trial.branch = branch;
  return take(life, &trial);
}

// Of two branches of the trunk, one's passes neither end nor explain what fails on the other.
static void test_branches_apart(void **state) {
  enum { MAIN = 1, RELEASE };
  (void)state;
  struct life *life = born();
  (void)live_on(life, MAIN, PASS);
  for (int i = 0; i < 2; i++) {
    (void)live_on(life, MAIN, FAIL);
    assert_false(live_on(life, RELEASE, PASS));
  }
  assert_int_equal(life->memory.state, FLAKY_BROKEN);
  assert_true(life->memory.last_good == 1 && life->memory.first_bad == 2 && life->events == 0);
  (void)live_on(life, RELEASE, FAIL);
  (void)live_on(life, MAIN, PASS);
  assert_int_equal(life->memory.state, FLAKY_BROKEN);
  (void)live_on(life, RELEASE, PASS);
  assert_int_equal(life->memory.streak, 0);
  assert_int_equal(life->memory.state, FLAKY_NEW);
  (void)live_on(life, MAIN, FAIL);
  assert_true(live_on(life, MAIN, PASS));  // between passes of its own branch
  // A branch that is given up holds nothing for ever, and no failure outlives a pass of its commit.
  (void)live_on(life, RELEASE, FAIL);
  (void)live_on(life, MAIN, PASS);
  assert_int_equal(life->memory.streak, 1);
  life->now_ms += FLAKY_WINDOW_MS;
  assert_false(live_on(life, MAIN, PASS));
  assert_int_equal(life->memory.streak, 0);
  (void)live_on(life, RELEASE, FAIL);
  struct flaky_trial same = trial_of(life, PASS);
  same.branch = MAIN;
  same.commit = same.build - 1;
  same.other = FAIL;
  assert_true(take(life, &same));
  assert_int_equal(life->memory.streak, 0);
}

static void test_kinds(void **state) {
  enum { SAME = FLAKY_FAILED_SAME, PASSED = FLAKY_PASSED_SAME, AWAY = FLAKY_PASSED_ELSEWHERE };
  enum { OTHER = FLAKY_PASSED_OTHER_HOST };
  static const struct {
    unsigned flags[4];
    uint64_t host[4];
    uint32_t k;
    enum flaky_kind kind;
  } cases[] = {
      {{PASSED, PASSED, PASSED, PASSED}, {1, 2, 3, 4}, 1, FLAKY_KIND_RANDOM},
      {{SAME | AWAY, SAME | AWAY, SAME | AWAY, PASSED}, {1, 2, 3, 4}, 1, FLAKY_KIND_ORDER},    // 75 %
      {{SAME | AWAY, SAME | AWAY, PASSED, PASSED}, {1, 2, 3, 4}, 1, FLAKY_KIND_RANDOM},        // 50 %
      {{SAME | AWAY, SAME | AWAY, AWAY, AWAY}, {1, 2, 3, 4}, 1, FLAKY_KIND_UNKNOWN},           // tried again twice
      {{SAME | PASSED, SAME | PASSED, SAME | PASSED, 0}, {1, 2, 3, 4}, 1, FLAKY_KIND_RANDOM},  // it does pass there
      {{AWAY | OTHER, AWAY | OTHER, AWAY | OTHER, AWAY}, {5, 5, 5, 5}, 1, FLAKY_KIND_HOST},
      {{AWAY | OTHER, AWAY | OTHER, AWAY | OTHER, AWAY}, {5, 5, 5, 6}, 1, FLAKY_KIND_UNKNOWN},
      {{AWAY | OTHER, AWAY | OTHER, AWAY | OTHER, AWAY}, {0, 0, 0, 0}, 1, FLAKY_KIND_UNKNOWN},
      {{AWAY, AWAY, AWAY, AWAY}, {5, 5, 5, 5}, 1, FLAKY_KIND_UNKNOWN},  // there is only one host
      {{PASSED, PASSED, PASSED, PASSED}, {1, 2, 3, 4}, 6, FLAKY_KIND_CLUSTER},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct flaky_event events[4] = {{0}};
    for (size_t e = 0; e < COUNT_OF(events); e++) {
      events[e].at_ms = start_ms;
      events[e].flags = cases[i].flags[e];
      events[e].host = cases[i].host[e];
      events[e].cluster = cases[i].k;
    }
    if (flaky_kind_of(events, 4, start_ms) != cases[i].kind) fail_msg("case %zu", i);
    assert_int_equal(flaky_kind_of(events, 4, start_ms + FLAKY_WINDOW_MS), FLAKY_KIND_UNKNOWN);
    assert_int_equal(flaky_kind_of(events, 2, start_ms), FLAKY_KIND_UNKNOWN);
  }
}

static void test_words(void **state) {
  (void)state;
  assert_string_equal(flaky_state_name(FLAKY_NEW), "new");
  assert_string_equal(flaky_state_name(FLAKY_BROKEN), "broken");
  assert_string_equal(flaky_kind_name(FLAKY_KIND_UNKNOWN), "");
  assert_string_equal(flaky_kind_name(FLAKY_KIND_CLUSTER), "cluster");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sick_workers),
      cmocka_unit_test(test_sick_builds),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_trials),
      cmocka_unit_test(test_weights),
      cmocka_unit_test(test_isolated),
      cmocka_unit_test(test_decay),
      cmocka_unit_test(test_rate),
      cmocka_unit_test(test_new_and_healthy),
      cmocka_unit_test(test_flaky),
      cmocka_unit_test(test_leaves_flaky),
      cmocka_unit_test(test_leaves_flaky_when_quiet),
      cmocka_unit_test(test_broken),
      cmocka_unit_test(test_broken_takes_more_of_a_flaky_test),
      cmocka_unit_test(test_failures_off_the_trunk_break_nothing),
      cmocka_unit_test(test_streak_counts_commits),
      cmocka_unit_test(test_branches_apart),
      cmocka_unit_test(test_kinds),
      cmocka_unit_test(test_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
