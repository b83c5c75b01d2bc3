// Virtual time around the real queue: workers that lease, run, report, hand back, join late and die, exactly as fast as
// the suite says. Called by makespan.c. It must not know other schedulers.
#include "tests/bench/virtual.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/queue.h"

// ---- the lower bound: fluid capacity with every set-up paid once, and the longest test on its best machine

double virtual_work_us(const struct suite *suite) {
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
    double end =
        machines[i].die_us != VIRTUAL_NEVER && (double)machines[i].die_us < until ? (double)machines[i].die_us : until;
    if (end > (double)machines[i].join_us) sum += (end - (double)machines[i].join_us) / machines[i].speed;
  }
  return sum;
}

double virtual_bound(const struct suite *suite, const struct machine *machines, uint32_t n) {
  double low = 0, high = 1e12, work = virtual_work_us(suite), longest = 0, best = 1e18;
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
  uint64_t next_us;  // when something happens to it; VIRTUAL_NEVER: parked or gone
  uint32_t number, file, at, count;
  uint64_t lease;
  uint32_t *tests;
  uint64_t recall_us;  // when a request for tests reaches it; VIRTUAL_NEVER: there is none
  uint32_t *asked, asked_count;
  bool joined, gone;
};

struct sim {
  const struct suite *suite;
  const struct machine *machines;
  uint32_t n;
  struct queue *queue;
  struct sim_worker worker[VIRTUAL_WORKERS_MAX];
  uint32_t by_number[VIRTUAL_WORKERS_MAX];
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

static void sim_ask_back(const struct sim *sim, struct sim_worker *worker, struct effect *effect) {
  free(worker->asked);
  worker->asked = effect->tests;
  worker->asked_count = effect->count;
  worker->recall_us = sim->now_us + ROUND_TRIP_US / 2;
  effect->tests = NULL;
}

static void sim_deliver(struct sim *sim) {
  for (size_t i = 0; i < sim->effects.count; i++) {
    struct effect *effect = &sim->effects.item[i];
    if (effect->kind == EFFECT_STATE && queue_state(sim->queue) == QUEUE_COMPLETE) sim->end_us = sim->now_us;
    if (effect->kind == EFFECT_STATE) continue;
    struct sim_worker *worker = &sim->worker[sim->by_number[effect->worker]];
    if (effect->kind == EFFECT_RECALL) sim_ask_back(sim, worker, effect);
    if (effect->kind != EFFECT_LEASE) continue;
    free(worker->tests);
    worker->tests = effect->tests;
    worker->count = effect->count;
    worker->at = 0;
    worker->lease = effect->lease;
    effect->tests = NULL;
    queue_started(sim->queue, sim->now_us + ROUND_TRIP_US, effect->worker, effect->lease, worker->tests[0]);
    worker->next_us = sim->now_us + ROUND_TRIP_US + sim->machines[sim->by_number[effect->worker]].start_us +
                      sim_cost(sim, sim->by_number[effect->worker], worker->tests[0]);
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
  if (sim->machines[at].start_us) queue_starts_processes(sim->queue, worker->number, sim->machines[at].start_us);
  worker->joined = true;
  worker->next_us = VIRTUAL_NEVER;
  queue_lease(sim->queue, sim->now_us, worker->number, &sim->effects);
}

static bool sim_is_asked(const struct sim_worker *worker, uint32_t test) {
  uint32_t i = 0;
  while (i < worker->asked_count && worker->asked[i] != test)
    i++;
  return i < worker->asked_count;
}

// It hands back what it was asked for and has not begun.
static void sim_release(struct sim *sim, struct sim_worker *worker) {
  uint32_t kept = worker->at + 1 < worker->count ? worker->at + 1 : worker->count, given = 0;
  for (uint32_t i = kept; i < worker->count; i++) {
    if (sim_is_asked(worker, worker->tests[i])) {
      worker->asked[given++] = worker->tests[i];
    } else {
      worker->tests[kept++] = worker->tests[i];
    }
  }
  worker->count = kept;
  worker->recall_us = VIRTUAL_NEVER;
  queue_released(sim->queue, sim->now_us, worker->number, worker->lease, worker->asked, given, &sim->effects);
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
  worker->next_us = VIRTUAL_NEVER;
  (void)queue_result(sim->queue, sim->now_us, &result, &attempt, &settles, &sim->effects);
  if (worker->at < worker->count) {
    queue_started(sim->queue, sim->now_us, worker->number, worker->lease, worker->tests[worker->at]);
    worker->next_us = sim->now_us + sim_cost(sim, at, worker->tests[worker->at]);
  } else {
    queue_lease(sim->queue, sim->now_us, worker->number, &sim->effects);
  }
}

static void sim_step_worker(struct sim *sim, uint32_t at) {
  struct sim_worker *worker = &sim->worker[at];
  if (sim->now_us >= sim->machines[at].die_us) {
    worker->gone = true;
    worker->next_us = VIRTUAL_NEVER;
    if (worker->joined) queue_detach(sim->queue, sim->now_us, worker->number);
  } else if (!worker->joined) {
    sim_join(sim, at);
  } else if (worker->recall_us <= sim->now_us) {
    sim_release(sim, worker);
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
  if (worker->gone) return VIRTUAL_NEVER;
  uint64_t due = worker->next_us < worker->recall_us ? worker->next_us : worker->recall_us;
  return due < sim->machines[at].die_us ? due : sim->machines[at].die_us;
}

static void sim_run(struct sim *sim) {
  while (!sim->end_us) {
    uint32_t first = 0;
    for (uint32_t i = 1; i < sim->n; i++) {
      if (sim_due(sim, i) < sim_due(sim, first)) first = i;
    }
    uint64_t due = sim_due(sim, first), tick = queue_deadline(sim->queue);
    if (due == VIRTUAL_NEVER && tick == VIRTUAL_NEVER) {
      fprintf(stderr, "bench-makespan: stuck\n");
      exit(1);
    }
    if (tick < sim->now_us) tick = sim->now_us;  // what is overdue is due now
    sim->now_us = due <= tick ? due : tick;
    if (due <= tick) {
      sim_step_worker(sim, first);
    } else {
      sim_tick(sim);
    }
  }
}

double virtual_makespan(const struct suite *suite, const struct machine *machines, uint32_t n) {
  struct sim *sim = base_calloc(1, sizeof *sim);
  struct queue_policy policy = {.lease_ttl_us = 15000000, .idle_us = VIRTUAL_NEVER / 4, .linger_us = VIRTUAL_NEVER / 4};
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
  queue_set_list(sim->queue, 1, &list, NULL, &sim->effects);
  for (uint32_t i = 0; i < n; i++) {
    sim->worker[i].next_us = machines[i].join_us + 1;
    sim->worker[i].file = UINT32_MAX;
    sim->worker[i].recall_us = VIRTUAL_NEVER;
  }
  sim_run(sim);
  double end = (double)sim->end_us;
  for (uint32_t i = 0; i < n; i++) {
    free(sim->worker[i].tests);
    free(sim->worker[i].asked);
  }
  effects_release(&sim->effects);
  queue_free(sim->queue);
  free(sim);
  free(out);
  free(expected);
  free(order);
  return end;
}
