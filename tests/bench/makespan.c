// make bench-makespan: the shipped queue and scheduler in virtual time, over real timing histories and generated
// suites, beside what the static splitters and pytest-xdist do. Prints makespan ÷ lower bound and checks the targets of
// the design. Deterministic: the same tree prints the same figures.
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/queue.h"
#include "tests/bench/suites.h"

enum { WORKERS_MAX = 64, SEEDS = 3, SUITES_MAX = 16 };
static const uint64_t never = UINT64_MAX;

struct scenario {
  const char *name;
  uint32_t workers;
  bool setups, slow_one, speeds_and_late, death;
  double noise, unknown;  // of the history; noise < 0: the real history where there is one
  double target;          // of ours, geometric mean over suites of at least ten minutes
};

static const struct scenario scenarios[] = {
    {"warm", 8, false, false, false, false, 0.3, 0.1, 1.02},
    {"file set-ups", 8, true, false, false, false, 0.3, 0.1, 1.02},
    {"one worker 2x slow", 8, true, true, false, false, 0.3, 0.1, 1.03},
    {"late, uneven", 8, true, false, true, false, 0.3, 0.1, 1.03},
    {"late, uneven, a death", 8, true, false, true, true, 0.3, 0.1, 1.03},
    {"32 workers", 32, true, false, false, false, 0.3, 0.1, 1.06},
    {"real history", 8, false, false, false, false, -1, 0, 1.02},
    {"first run ever", 8, true, false, false, false, 0, 1, 1.15},
};

struct machine {
  double speed;  // factor on every duration
  uint64_t join_us, die_us;
};

// ---- the lower bound: fluid capacity with every set-up paid once, and the longest test on its best machine

static double work_of(const struct suite *suite) {
  double sum = 0;
  for (uint32_t i = 0; i < suite->count; i++)
    sum += (double)suite->actual_us[i];
  for (uint32_t i = 0; i < suite->file_count; i++)
    sum += (double)suite->setup_us[i];
  return sum;
}

static double capacity(const struct machine *machines, uint32_t n, double until) {
  double sum = 0;
  for (uint32_t i = 0; i < n; i++) {
    double end = machines[i].die_us != never && (double)machines[i].die_us < until ? (double)machines[i].die_us : until;
    if (end > (double)machines[i].join_us) sum += (end - (double)machines[i].join_us) / machines[i].speed;
  }
  return sum;
}

static double lower_bound(const struct suite *suite, const struct machine *machines, uint32_t n) {
  double low = 0, high = 1e12, work = work_of(suite), longest = 0, best = 1e18;
  for (int i = 0; i < 100; i++) {
    double middle = (low + high) / 2;
    *(capacity(machines, n, middle) < work ? &low : &high) = middle;
  }
  for (uint32_t i = 0; i < suite->count; i++) {
    double cost = (double)(suite->actual_us[i] + suite->setup_us[suite->file_of[i]]);
    if (cost > longest) longest = cost;
  }
  for (uint32_t i = 0; i < n; i++) {
    double end = (double)machines[i].join_us + longest * machines[i].speed;
    if (end < best) best = end;
  }
  return high > best ? high : best;
}

// ---- ours

struct sim_worker {
  uint64_t next_us;  // when something happens to it; never: parked or gone
  uint32_t number, file, at, count;
  uint64_t lease;
  uint32_t *tests;
  bool joined, gone;
};

struct sim {
  const struct suite *suite;
  const struct machine *machines;
  uint32_t n;
  struct queue *queue;
  struct sim_worker worker[WORKERS_MAX];
  uint32_t by_number[WORKERS_MAX];
  struct effects effects;
  uint64_t now_us, end_us, expected_us;
  uint64_t leases;
};

enum { ROUND_TRIP_US = 5000 };

static uint64_t sim_cost(struct sim *sim, uint32_t worker, uint32_t test) {
  const struct suite *suite = sim->suite;
  double cost = (double)suite->actual_us[test];
  if (sim->worker[worker].file != suite->file_of[test]) cost += (double)suite->setup_us[suite->file_of[test]];
  sim->worker[worker].file = suite->file_of[test];
  return (uint64_t)(cost * sim->machines[worker].speed);
}

static void sim_deliver(struct sim *sim) {
  for (size_t i = 0; i < sim->effects.count; i++) {
    struct effect *effect = &sim->effects.item[i];
    if (effect->kind == EFFECT_STATE && queue_state(sim->queue) == QUEUE_COMPLETE) sim->end_us = sim->now_us;
    if (effect->kind != EFFECT_LEASE) continue;
    struct sim_worker *worker = &sim->worker[sim->by_number[effect->worker]];
    free(worker->tests);
    worker->tests = effect->tests;
    worker->count = effect->count;
    worker->at = 0;
    worker->lease = effect->lease;
    effect->tests = NULL;
    worker->next_us = sim->now_us + ROUND_TRIP_US + sim_cost(sim, sim->by_number[effect->worker], worker->tests[0]);
    sim->leases++;
  }
  effects_clear(&sim->effects);
}

static void sim_join(struct sim *sim, uint32_t at) {
  uint32_t *reopened, count;
  struct queue_join join = {.node = "", .attempt = "", .retried = QUEUE_RETRIED_NO, .node_total = sim->n};
  struct sim_worker *worker = &sim->worker[at];
  worker->number = queue_join(sim->queue, sim->now_us, &join, &reopened, &count, &sim->effects);
  free(reopened);
  sim->by_number[worker->number] = at;
  worker->joined = true;
  worker->next_us = never;
  queue_lease(sim->queue, sim->now_us, worker->number, &sim->effects);
}

static void sim_finish_test(struct sim *sim, uint32_t at) {
  struct sim_worker *worker = &sim->worker[at];
  uint32_t attempt, test = worker->tests[worker->at++];
  bool settles;
  struct queue_result result = {
      .worker = worker->number,
      .test = test,
      .lease = worker->lease,
      .status = QUEUE_PASSED,
      .duration_us = (uint64_t)((double)sim->suite->actual_us[test] * sim->machines[at].speed)};
  worker->next_us = never;
  (void)queue_result(sim->queue, sim->now_us, &result, &attempt, &settles, &sim->effects);
  if (worker->at < worker->count) {
    worker->next_us = sim->now_us + sim_cost(sim, at, worker->tests[worker->at]);
  } else {
    queue_lease(sim->queue, sim->now_us, worker->number, &sim->effects);
  }
}

static void sim_step_worker(struct sim *sim, uint32_t at) {
  struct sim_worker *worker = &sim->worker[at];
  if (sim->now_us >= sim->machines[at].die_us) {
    worker->gone = true;
    worker->next_us = never;
    if (worker->joined) queue_detach(sim->queue, sim->now_us, worker->number);
  } else if (!worker->joined) {
    sim_join(sim, at);
  } else {
    queue_heard(sim->queue, sim->now_us, worker->number);
    sim_finish_test(sim, at);
  }
  sim_deliver(sim);
}

// Heartbeats of the living, then whatever is due.
static void sim_tick(struct sim *sim) {
  for (uint32_t i = 0; i < sim->n; i++) {
    if (sim->worker[i].joined && !sim->worker[i].gone) queue_heard(sim->queue, sim->now_us, sim->worker[i].number);
  }
  queue_tick(sim->queue, sim->now_us, &sim->effects);
  sim_deliver(sim);
}

static uint64_t sim_due(const struct sim *sim, uint32_t at) {
  const struct sim_worker *worker = &sim->worker[at];
  if (worker->gone) return never;
  return worker->next_us < sim->machines[at].die_us ? worker->next_us : sim->machines[at].die_us;
}

static void sim_run(struct sim *sim) {
  while (!sim->end_us) {
    uint32_t first = 0;
    for (uint32_t i = 1; i < sim->n; i++) {
      if (sim_due(sim, i) < sim_due(sim, first)) first = i;
    }
    uint64_t due = sim_due(sim, first), tick = queue_deadline(sim->queue);
    if (due == never && tick == never) {
      fprintf(stderr, "bench-makespan: stuck\n");
      exit(1);
    }
    sim->now_us = due <= tick ? due : tick;
    if (due <= tick) {
      sim_step_worker(sim, first);
    } else {
      sim_tick(sim);
    }
  }
}

static double makespan_ours(const struct suite *suite, const struct machine *machines, uint32_t n) {
  struct sim *sim = base_calloc(1, sizeof *sim);
  struct queue_policy policy = {.lease_ttl_us = 15000000, .idle_us = never / 4, .linger_us = never / 4};
  struct estimate_out *out = base_calloc(suite->count, sizeof *out);
  uint64_t *expected = base_calloc(suite->count, sizeof *expected), *order = base_calloc(suite->count, sizeof *order);
  estimate_list(suite->history, suite->file_of, suite->count, suite->file_count, out);
  for (uint32_t i = 0; i < suite->count; i++) {
    expected[i] = out[i].expected_us;
    order[i] = out[i].order_us;
  }
  struct sched_list list = {.count = suite->count,
                            .file_count = suite->file_count,
                            .file_of = suite->file_of,
                            .unit_of = suite->unit_of,
                            .expected_us = expected,
                            .order_us = order,
                            .file_setup_us = suite->setup_us};
  *sim = (struct sim){.suite = suite, .machines = machines, .n = n, .now_us = 1, .queue = queue_new(&policy, 1, 1)};
  queue_set_list(sim->queue, 1, &list, &sim->effects);
  for (uint32_t i = 0; i < n; i++) {
    sim->worker[i].next_us = machines[i].join_us + 1;
    sim->worker[i].file = UINT32_MAX;
  }
  sim_run(sim);
  double end = (double)sim->end_us;
  for (uint32_t i = 0; i < n; i++)
    free(sim->worker[i].tests);
  effects_release(&sim->effects);
  queue_free(sim->queue);
  free(sim);
  free(out);
  free(expected);
  free(order);
  return end;
}

// ---- the static splits

static double finish_of(const struct suite *suite, const struct machine *machine, const uint32_t *owner, uint32_t who) {
  double sum = 0;
  uint32_t file = UINT32_MAX;
  for (uint32_t i = 0; i < suite->count; i++) {
    if (owner[i] != who) continue;
    sum += (double)suite->actual_us[i];
    if (file != suite->file_of[i]) sum += (double)suite->setup_us[suite->file_of[i]];
    file = suite->file_of[i];
  }
  return (double)machine->join_us + sum * machine->speed;
}

static double latest(const struct suite *suite, const struct machine *machines, uint32_t n, const uint32_t *owner) {
  double end = 0;
  for (uint32_t i = 0; i < n; i++) {
    double finish = finish_of(suite, &machines[i], owner, i);
    if (finish > end) end = finish;
  }
  return end;
}

static double makespan_count(const struct suite *suite, const struct machine *machines, uint32_t n) {
  uint32_t *owner = base_calloc(suite->count, sizeof *owner);
  for (uint32_t i = 0; i < suite->count; i++)
    owner[i] = (uint32_t)((uint64_t)i * n / suite->count);
  double end = latest(suite, machines, n, owner);
  free(owner);
  return end;
}

struct item {
  uint64_t weight;
  uint32_t index;
};

static int compare_items(const void *a, const void *b) {
  const struct item *x = a, *y = b;
  if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

// Longest processing time first over tests, or over whole files.
static double makespan_lpt(const struct suite *suite, const struct machine *machines, uint32_t n, bool by_file) {
  uint32_t count = by_file ? suite->file_count : suite->count;
  struct item *item = base_calloc(count, sizeof *item);
  struct estimate_out *out = base_calloc(suite->count, sizeof *out);
  uint32_t *owner = base_calloc(suite->count, sizeof *owner), *of = base_calloc(count, sizeof *of);
  uint64_t load[WORKERS_MAX] = {0};
  estimate_list(suite->history, suite->file_of, suite->count, suite->file_count, out);
  for (uint32_t i = 0; i < count; i++)
    item[i].index = i;
  for (uint32_t i = 0; i < suite->count; i++)
    item[by_file ? suite->file_of[i] : i].weight += out[i].expected_us;
  qsort(item, count, sizeof *item, compare_items);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t least = 0;
    for (uint32_t w = 1; w < n; w++)
      least = load[w] < load[least] ? w : least;
    load[least] += item[i].weight;
    of[item[i].index] = least;
  }
  for (uint32_t i = 0; i < suite->count; i++)
    owner[i] = of[by_file ? suite->file_of[i] : i];
  double end = latest(suite, machines, n, owner);
  free(item);
  free(out);
  free(owner);
  free(of);
  return end;
}

// ---- pytest-xdist's default (load): a first share in collection order, topped up while at least two tests wait

struct xdist {
  uint64_t next_us;
  uint32_t queue_begin, queue_end, file;
  uint32_t *queue;
};

static void xdist_give(struct xdist *node, uint32_t *next, uint32_t count, uint32_t many) {
  for (uint32_t i = 0; i < many && *next < count; i++)
    node->queue[node->queue_end++] = (*next)++;
}

static uint64_t xdist_cost(const struct suite *suite, const struct machine *machine, struct xdist *node) {
  uint32_t test = node->queue[node->queue_begin];
  double cost = (double)suite->actual_us[test];
  if (node->file != suite->file_of[test]) cost += (double)suite->setup_us[suite->file_of[test]];
  node->file = suite->file_of[test];
  return (uint64_t)(cost * machine->speed);
}

static double makespan_xdist(const struct suite *suite, const struct machine *machines, uint32_t n) {
  assert(n > 0);
  struct xdist *node = base_calloc(n, sizeof *node);
  uint32_t next = 0, share = suite->count / (4 * n) > 2 ? suite->count / (4 * n) : 2;
  uint64_t end = 0;
  for (uint32_t i = 0; i < n; i++) {
    node[i] = (struct xdist){.file = UINT32_MAX, .queue = base_calloc(suite->count, sizeof(uint32_t))};
    xdist_give(&node[i], &next, suite->count, share);
    node[i].next_us = node[i].queue_end ? machines[i].join_us + xdist_cost(suite, &machines[i], &node[i]) : never;
  }
  for (;;) {
    uint32_t first = 0;
    for (uint32_t i = 1; i < n; i++)
      first = node[i].next_us < node[first].next_us ? i : first;
    if (node[first].next_us == never) break;
    struct xdist *at = &node[first];
    uint64_t now = end = at->next_us;
    at->queue_begin++;
    uint32_t left = suite->count - next, least = left / n / 4 > 2 ? left / n / 4 : 2,
             most = left / n / 2 > 2 ? left / n / 2 : 2;
    uint32_t waiting = at->queue_end - at->queue_begin;
    if (waiting < least) xdist_give(at, &next, suite->count, most - waiting);
    at->next_us = at->queue_begin < at->queue_end ? now + xdist_cost(suite, &machines[first], at) : never;
  }
  for (uint32_t i = 0; i < n; i++)
    free(node[i].queue);
  free(node);
  return (double)end;
}

// ---- a scenario over all suites

enum policy { POLICY_OURS, POLICY_COUNT, POLICY_LPT_TEST, POLICY_LPT_FILE, POLICY_XDIST, POLICIES };
static const char *const policy_names[] = {"shardd", "count", "lpt-test", "lpt-file", "xdist"};

static void make_machines(struct machine *machines, const struct scenario *scenario, double work, uint64_t seed) {
  double share = work / scenario->workers;
  for (uint32_t i = 0; i < scenario->workers; i++) {
    machines[i] = (struct machine){.speed = 1, .die_us = never};
    if (scenario->slow_one && i == 0) machines[i].speed = 2;
    if (!scenario->speeds_and_late) continue;
    machines[i].speed = 1 + suite_uniform(&seed);
    machines[i].join_us = i ? (uint64_t)(suite_uniform(&seed) * (share / 5 < 120e6 ? share / 5 : 120e6)) : 0;
  }
  if (scenario->death) machines[scenario->workers - 1].die_us = (uint64_t)(share * 0.6);
}

static double run_policy(enum policy policy, const struct suite *suite, const struct machine *machines, uint32_t n) {
  switch (policy) {
    case POLICY_OURS: return makespan_ours(suite, machines, n);
    case POLICY_COUNT: return makespan_count(suite, machines, n);
    case POLICY_LPT_TEST: return makespan_lpt(suite, machines, n, false);
    case POLICY_LPT_FILE: return makespan_lpt(suite, machines, n, true);
    case POLICY_XDIST: return makespan_xdist(suite, machines, n);
    case POLICIES: break;
  }
  return 0;
}

struct scores {
  double log_sum[POLICIES], worst;
  uint32_t count;
};

static void run_suite(const struct scenario *scenario, struct suite *suite, struct scores *scores) {
  struct machine machines[WORKERS_MAX];
  for (uint64_t seed = 1; seed <= SEEDS; seed++) {
    suite_set_setups(suite, scenario->setups ? 0.5 : 0, 1.3, seed * 7919);
    if (scenario->noise >= 0) suite_set_noise(suite, scenario->noise, scenario->unknown, seed * 104729);
    double work = work_of(suite);
    make_machines(machines, scenario, work, seed * 31);
    double bound = lower_bound(suite, machines, scenario->workers);
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
    if (work_of(suites[i]) < 600e6 || (real && suites[i]->history[0].n == 0)) continue;
    run_suite(scenario, suites[i], &scores);
  }
  double ours = exp(scores.log_sum[POLICY_OURS] / scores.count);
  bool met = scores.count > 0 && ours <= scenario->target;
  printf("%-22s", scenario->name);
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
  printf("makespan / lower bound, geometric mean over suites of at least 10 minutes, %d seeds\n%-22s", SEEDS, "");
  for (enum policy policy = 0; policy < POLICIES; policy++)
    printf("  %7s", policy_names[policy]);
  printf("   target\n");
  for (size_t i = 0; i < COUNT_OF(scenarios); i++)
    met = run_scenario(&scenarios[i], suites, count, json) && met;
  for (uint32_t i = 0; i < count; i++)
    suite_free(suites[i]);
  return fclose(json) == 0 && met ? 0 : 1;
}
