// A build in virtual time, event by event: the worker whose test ends first is next, or the queue's own deadline.
// Called by plan.c. It is to the queue what deliver.c, the sockets and the workers are in a real build, without deaths,
// delays and doubts; it must not know who asks or what becomes of the figures.
#include "server/simulation.h"

#include <assert.h>
#include <stdlib.h>

#include "server/heap.h"
#include "server/queue.h"

enum { SIMULATION_START_US = 1, SIMULATION_NO_FILE = UINT32_MAX };

struct simulation_worker {
  struct heap_node ends;  // by when its test ends, earliest first
  uint64_t start_us, setup_us, lease;
  uint32_t file, at, count;  // at: the place of the running test among the lease's; count: it has nothing
  uint32_t *tests;
};

struct simulation {
  struct simulation_suite suite;
  struct queue *queue;
  struct simulation_worker *worker;
  struct heap running;
  struct effects effects;
  uint64_t now_us, finish_us;
  uint32_t workers;
};

static void simulation_join(struct simulation *simulation);
static void simulation_deliver(struct simulation *simulation);
static void simulation_take(struct simulation *simulation, const struct effect *lease);
static void simulation_hand_back(struct simulation *simulation, const struct effect *recall);
static void simulation_begin_test(struct simulation *simulation, uint32_t number);
static void simulation_end_test(struct simulation *simulation, uint32_t number);

struct simulation *simulation_new(const struct simulation_suite *suite, uint32_t workers) {
  assert(workers > 0);
  const uint64_t never = UINT64_MAX / 2;
  struct queue_policy policy = {
      .lease_ttl_us = never, .idle_us = never, .linger_us = never, .whole_files = suite->whole_files};
  struct sched_list list = {.count = suite->count,
                            .file_count = suite->file_count,
                            .file_of = suite->file_of,
                            .unit_of = suite->unit_of,
                            .expected_us = suite->expected_us,
                            .order_us = suite->order_us,
                            .file_setup_us = suite->file_setup_us,
                            .whole_of = suite->whole_of};
  struct simulation *simulation = base_calloc(1, sizeof *simulation);
  *simulation = (struct simulation){.suite = *suite, .workers = workers, .now_us = SIMULATION_START_US};
  simulation->worker = base_calloc(workers, sizeof *simulation->worker);
  heap_init(&simulation->running);
  simulation->queue = queue_new(&policy, 0, SIMULATION_START_US);
  queue_set_list(simulation->queue, SIMULATION_START_US, &list, suite->tokens, &simulation->effects);
  simulation_join(simulation);
  return simulation;
}

void simulation_free(struct simulation *simulation) {
  if (!simulation) return;
  for (uint32_t i = 0; i < simulation->workers; i++)
    free(simulation->worker[i].tests);
  free(simulation->worker);
  heap_release(&simulation->running);
  effects_release(&simulation->effects);
  queue_free(simulation->queue);
  free(simulation);
}

static uint32_t simulation_number(const struct simulation *simulation, const struct heap_node *ends) {
  const char *worker = (const char *)ends - offsetof(struct simulation_worker, ends);
  return (uint32_t)((const struct simulation_worker *)(const void *)worker - simulation->worker);
}

bool simulation_step(struct simulation *simulation, uint32_t events) {
  for (; events > 0 && queue_state(simulation->queue) != QUEUE_COMPLETE; events--) {
    const struct heap_node *first = heap_top(&simulation->running);
    uint64_t end_us = first ? UINT64_MAX - first->key : UINT64_MAX, tick_us = queue_deadline(simulation->queue);
    assert(end_us != UINT64_MAX || tick_us != UINT64_MAX);  // else nothing would ever happen again
    if (tick_us < end_us) {
      if (tick_us > simulation->now_us) simulation->now_us = tick_us;  // what is overdue is due now
      queue_tick(simulation->queue, simulation->now_us, &simulation->effects);
    } else {
      simulation->now_us = end_us;
      simulation_end_test(simulation, simulation_number(simulation, first));
    }
    simulation_deliver(simulation);
  }
  return queue_state(simulation->queue) == QUEUE_COMPLETE;
}

uint64_t simulation_finish_us(const struct simulation *simulation) {
  return simulation->finish_us;
}

// All are there before the first asks, so that the first leases are as small as they are to be.
static void simulation_join(struct simulation *simulation) {
  for (uint32_t i = 0; i < simulation->workers; i++) {
    uint32_t *reopened, count;
    struct queue_join join = {
        .node = "", .attempt = "", .retried = QUEUE_RETRIED_NO, .node_total = simulation->workers};
    uint32_t number =
        queue_join(simulation->queue, SIMULATION_START_US, &join, &reopened, &count, &simulation->effects);
    free(reopened);
    assert(number == i);
    simulation->worker[i].file = SIMULATION_NO_FILE;
  }
  for (uint32_t i = 0; i < simulation->workers; i++)
    queue_lease(simulation->queue, SIMULATION_START_US, i, &simulation->effects);
  simulation_deliver(simulation);
}

// What an effect brings about may append further ones.
static void simulation_deliver(struct simulation *simulation) {
  for (size_t i = 0; i < simulation->effects.count; i++) {
    struct effect effect = simulation->effects.item[i];
    if (effect.kind != EFFECT_LEASE && effect.kind != EFFECT_RECALL) continue;
    simulation->effects.item[i].tests = NULL;
    if (effect.kind == EFFECT_LEASE) {
      simulation_take(simulation, &effect);
    } else {
      simulation_hand_back(simulation, &effect);
    }
  }
  effects_clear(&simulation->effects);
}

static void simulation_take(struct simulation *simulation, const struct effect *lease) {
  struct simulation_worker *worker = &simulation->worker[lease->worker];
  assert(worker->at == worker->count && lease->count > 0);
  free(worker->tests);
  worker->tests = lease->tests;
  worker->count = lease->count;
  worker->at = 0;
  worker->lease = lease->lease;
  simulation_begin_test(simulation, lease->worker);
}

static bool simulation_is_asked(const struct effect *recall, uint32_t test) {
  uint32_t i = 0;
  while (i < recall->count && recall->tests[i] != test)
    i++;
  return i < recall->count;
}

// A worker hands back what it was asked for and has not begun.
static void simulation_hand_back(struct simulation *simulation, const struct effect *recall) {
  struct simulation_worker *worker = &simulation->worker[recall->worker];
  uint32_t given = 0, kept = worker->at + 1;
  uint32_t *back = base_calloc(worker->count + 1, sizeof *back);
  bool holds = worker->lease == recall->lease && worker->at < worker->count;
  for (uint32_t i = kept; holds && i < worker->count; i++) {
    if (simulation_is_asked(recall, worker->tests[i])) {
      back[given++] = worker->tests[i];
    } else {
      worker->tests[kept++] = worker->tests[i];
    }
  }
  if (holds) worker->count = kept;
  queue_released(simulation->queue, simulation->now_us, recall->worker, recall->lease, back, given,
                 &simulation->effects);
  free(back);
  free(recall->tests);
}

static uint64_t simulation_cost(const struct simulation *simulation, uint32_t number, uint64_t us) {
  return simulation->suite.slowness ? (uint64_t)(simulation->suite.slowness[number] * (double)us) : us;
}

static void simulation_begin_test(struct simulation *simulation, uint32_t number) {
  struct simulation_worker *worker = &simulation->worker[number];
  uint32_t test = worker->tests[worker->at], file = simulation->suite.file_of[test];
  bool enters = file != SIMULATION_NO_FILE && file != worker->file && simulation->suite.file_setup_us;
  worker->setup_us = enters ? simulation_cost(simulation, number, simulation->suite.file_setup_us[file]) : 0;
  worker->file = file;
  worker->start_us = simulation->now_us;
  queue_started(simulation->queue, simulation->now_us, number, worker->lease, test);
  uint64_t end_us =
      simulation->now_us + worker->setup_us + simulation_cost(simulation, number, simulation->suite.actual_us[test]);
  heap_set(&simulation->running, &worker->ends, UINT64_MAX - end_us);
}

static void simulation_end_test(struct simulation *simulation, uint32_t number) {
  struct simulation_worker *worker = &simulation->worker[number];
  uint32_t attempt, test = worker->tests[worker->at++];
  bool settles;
  struct queue_result result = {.worker = number,
                                .test = test,
                                .lease = worker->lease,
                                .status = QUEUE_PASSED,
                                .duration_us = simulation_cost(simulation, number, simulation->suite.actual_us[test])};
  heap_remove(&simulation->running, &worker->ends);
  simulation->finish_us = simulation->now_us - SIMULATION_START_US;
  if (simulation->suite.on_ran) {
    struct simulation_ran ran = {.worker = number,
                                 .test = test,
                                 .start_us = worker->start_us - SIMULATION_START_US,
                                 .end_us = simulation->finish_us,
                                 .file_setup_us = worker->setup_us};
    simulation->suite.on_ran(simulation->suite.arg, &ran);
  }
  enum queue_accept accept =
      queue_result(simulation->queue, simulation->now_us, &result, &attempt, &settles, &simulation->effects);
  assert(accept == ACCEPT_CURRENT && settles);
  (void)accept;
  if (worker->at < worker->count) {
    simulation_begin_test(simulation, number);
  } else {
    queue_lease(simulation->queue, simulation->now_us, number, &simulation->effects);
  }
}
