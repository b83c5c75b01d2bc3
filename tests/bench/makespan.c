// make bench-makespan-virtual: the shipped queue and scheduler in virtual time, over real timing histories and
// generated suites, beside what the static splitters, pytest-xdist and a shuffled queue do. Prints makespan ÷ lower
// bound and checks the targets of the design. Deterministic: the same tree prints the same figures.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/peers.h"

enum { SEEDS = 3, SUITES_MAX = 16 };

struct scenario {
  const char *name;
  uint32_t workers;
  bool setups, slow_one, speeds_and_late, death;
  double noise, unknown;  // of the history; noise < 0: the real history where there is one
  uint64_t start_us;      // of a process for each lease
  double target;          // of ours, geometric mean over suites of at least ten minutes
};

static const struct scenario scenarios[] = {
    {"warm", 8, false, false, false, false, 0.3, 0.1, 0, 1.02},
    {"file set-ups", 8, true, false, false, false, 0.3, 0.1, 0, 1.02},
    {"one worker 2x slow", 8, true, true, false, false, 0.3, 0.1, 0, 1.03},
    {"late, uneven", 8, true, false, true, false, 0.3, 0.1, 0, 1.03},
    {"late, uneven, a death", 8, true, false, true, true, 0.3, 0.1, 0, 1.03},
    {"noise 0.5, 20 % unknown", 8, true, false, false, false, 0.5, 0.2, 0, 1.05},
    {"32 workers", 32, true, false, false, false, 0.3, 0.1, 0, 1.06},
    {"process of 1 s a lease", 8, true, false, false, false, 0.3, 0.1, 1000000, 1.05},
    {"real history", 8, false, false, false, false, -1, 0, 0, 1.02},
    {"first run ever", 8, true, false, false, false, 0, 1, 0, 1.15},
};

// ---- a scenario over all suites

enum policy {
  POLICY_OURS,
  POLICY_COUNT,
  POLICY_LPT_TEST,
  POLICY_LPT_FILE,
  POLICY_LOAD,
  POLICY_STEAL,
  POLICY_RANDOM,
  POLICIES
};
static const char *const policy_names[] = {"shardd", "count", "lpt-test", "lpt-file", "load", "steal", "random"};

static void make_machines(struct machine *machines, const struct scenario *scenario, double work, uint64_t seed) {
  double share = work / scenario->workers;
  for (uint32_t i = 0; i < scenario->workers; i++) {
    machines[i] = (struct machine){.speed = 1, .die_us = VIRTUAL_NEVER, .start_us = scenario->start_us};
    if (scenario->slow_one && i == 0) machines[i].speed = 2;
    if (!scenario->speeds_and_late) continue;
    machines[i].speed = 1 + suite_uniform(&seed);
    machines[i].join_us = i ? (uint64_t)(suite_uniform(&seed) * (share / 5 < 120e6 ? share / 5 : 120e6)) : 0;
  }
  if (scenario->death) machines[scenario->workers - 1].die_us = (uint64_t)(share * 0.6);
}

static double run_policy(enum policy policy, const struct suite *suite, const struct machine *machines, uint32_t n) {
  switch (policy) {
    case POLICY_OURS: return virtual_makespan(suite, machines, n);
    case POLICY_COUNT: return peers_count(suite, machines, n);
    case POLICY_LPT_TEST: return peers_lpt(suite, machines, n, false);
    case POLICY_LPT_FILE: return peers_lpt(suite, machines, n, true);
    case POLICY_LOAD: return peers_xdist_load(suite, machines, n);
    case POLICY_STEAL: return peers_xdist_worksteal(suite, machines, n);
    case POLICY_RANDOM: return peers_random(suite, machines, n, 4711);
    case POLICIES: break;
  }
  return 0;
}

struct scores {
  double log_sum[POLICIES], worst;
  uint32_t count;
};

static void run_suite(const struct scenario *scenario, struct suite *suite, struct scores *scores) {
  struct machine machines[VIRTUAL_WORKERS_MAX];
  for (uint64_t seed = 1; seed <= SEEDS; seed++) {
    suite_set_setups(suite, scenario->setups ? 0.5 : 0, 1.3, seed * 7919);
    if (scenario->noise >= 0) suite_set_noise(suite, scenario->noise, scenario->unknown, seed * 104729);
    double work = virtual_work_us(suite);
    make_machines(machines, scenario, work, seed * 31);
    double bound = virtual_bound(suite, machines, scenario->workers);
    for (enum policy policy = 0; policy < POLICIES; policy++) {
      bool dies = scenario->death && policy != POLICY_OURS;  // the others lose the tests of a dead job
      double ratio = dies ? NAN : run_policy(policy, suite, machines, scenario->workers) / bound;
      scores->log_sum[policy] += log(ratio);
      if (policy == POLICY_OURS && ratio > scores->worst) scores->worst = ratio;
    }
    scores->count++;
  }
}

static bool run_scenario(const struct scenario *scenario, struct suite *const *suites, uint32_t count, FILE *json) {
  struct scores scores = {0};
  for (uint32_t i = 0; i < count; i++) {
    bool real = scenario->noise < 0;
    suite_set_setups(suites[i], 0, 0, 1);
    if (virtual_work_us(suites[i]) < 600e6 || (real && suites[i]->history[0].n == 0)) continue;
    run_suite(scenario, suites[i], &scores);
  }
  double ours = exp(scores.log_sum[POLICY_OURS] / scores.count);
  bool met = scores.count > 0 && ours <= scenario->target;
  printf("%-24s", scenario->name);
  for (enum policy policy = 0; policy < POLICIES; policy++) {
    double mean = exp(scores.log_sum[policy] / scores.count);
    printf(isnan(mean) ? "        -" : "  %7.3f", mean);
  }
  printf("   <= %.2f  worst %.3f  %s\n", scenario->target, scores.worst, met ? "met" : "MISSED");
  fprintf(json,
          "{\"bench\":\"makespan\",\"scenario\":\"%s\",\"ratio\":%.4f,\"worst\":%.4f,\"target\":%.2f,\"met\":%s}\n",
          scenario->name, ours, scores.worst, scenario->target, met ? "true" : "false");
  return met;
}

static uint32_t load_suites(const char *folder, struct suite **suites) {
  static const char *const files[] = {"onegov.csv", "localstack.csv", "pl_core.csv.gz"};
  uint32_t n = 0;
  for (size_t i = 0; i < COUNT_OF(files); i++) {
    char *path = base_printf("%s/%s", folder, files[i]);
    suites[n] = suite_load(path);
    if (suites[n]) {
      n++;
    } else {
      printf("SKIPPED: %s is not here: its suite is not in the figures\n", path);
    }
    free(path);
  }
  suites[n++] = suite_generate("lognormal-1", 6000, 12, 0.05, 1.4, 42);
  suites[n++] = suite_generate("lognormal-2", 3000, 30, 0.3, 1.0, 43);
  suites[n++] = suite_generate("lognormal-3", 20000, 60, 0.02, 1.6, 44);
  return n;
}

int main(int argc, char **argv) {
  struct suite *suites[SUITES_MAX];
  FILE *json = fopen(argc > 2 ? argv[2] : "/dev/null", "we");
  if (argc < 2 || !json) {
    fprintf(stderr, "usage: %s FOLDER [JSON]: folder of timing histories, file for the figures\n", argv[0]);
    return 2;
  }
  uint32_t count = load_suites(argv[1], suites);
  bool met = true;
  printf("makespan / lower bound, geometric mean over suites of at least 10 minutes, %d seeds\n%-24s", SEEDS, "");
  for (enum policy policy = 0; policy < POLICIES; policy++)
    printf("  %7s", policy_names[policy]);
  printf("   target\n");
  for (size_t i = 0; i < COUNT_OF(scenarios); i++)
    met = run_scenario(&scenarios[i], suites, count, json) && met;
  for (uint32_t i = 0; i < count; i++)
    suite_free(suites[i]);
  return fclose(json) == 0 && met ? 0 : 1;
}
