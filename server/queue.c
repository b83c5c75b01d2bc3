// A build's queue: the states of tests and build, the lists of workers, time. The lease's path: dispatch → queue_lease
// → queue_try_grant → sched_grant → effects. Called by dispatch alone. It must not read a clock, send, write or log:
// time comes in, effects go out, and the same calls give the same effects.
#include "server/queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/queue_impl.h"

struct queue *queue_new(const struct queue_policy *policy, uint32_t epoch, uint64_t now_us) {
  struct queue *queue = base_calloc(1, sizeof *queue);
  queue->policy = *policy;
  queue->next_lease = ((uint64_t)epoch << 32) + 1;
  queue->state = QUEUE_COLLECTING;
  queue->round = 1;
  queue->idle_since_us = queue->started_us = now_us;
  for (int i = 0; i < LIST_COUNT; i++) {
    queue->fifo[i] = (struct queue_fifo){QUEUE_NOBODY, QUEUE_NOBODY};
  }
  return queue;
}

void queue_free(struct queue *queue) {
  if (!queue) return;
  for (uint32_t i = 0; i < queue->lease_count; i++) {
    if (queue->lease[i]) queue_lease_drop(queue, i);
  }
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    free(queue->worker[i].node);
    free(queue->worker[i].attempt);
    free(queue->worker[i].note);
  }
  sched_free(queue->sched);
  tokens_free(queue->tokens);
  free(queue->lease);
  free(queue->worker);
  free(queue->test);
  free(queue->again.item);
  free(queue->held.item);
  queue_skip_release(queue);
  free(queue->probe);
  free(queue);
}

void queue_set_times(struct queue *queue, uint64_t lease_ttl_us, uint64_t idle_us) {
  queue->policy.lease_ttl_us = lease_ttl_us;
  queue->policy.idle_us = idle_us;
}

void queue_set_max_failures(struct queue *queue, uint32_t max_failures) {
  if (max_failures && (!queue->policy.max_failures || max_failures < queue->policy.max_failures)) {
    queue->policy.max_failures = max_failures;
  }
}

// ---- lists of workers

void queue_list_remove(struct queue *queue, enum queue_list list, uint32_t worker) {
  struct queue_link *link = &queue->worker[worker].link[list];
  struct queue_fifo *fifo = &queue->fifo[list];
  if (!link->in) return;
  *(link->prev == QUEUE_NOBODY ? &fifo->head : &queue->worker[link->prev].link[list].next) = link->next;
  *(link->next == QUEUE_NOBODY ? &fifo->tail : &queue->worker[link->next].link[list].prev) = link->prev;
  link->in = false;
  if (list == LIST_PARKED) queue->parked--;
}

void queue_list_add(struct queue *queue, enum queue_list list, uint32_t worker) {
  queue_list_remove(queue, list, worker);
  struct queue_link *link = &queue->worker[worker].link[list];
  struct queue_fifo *fifo = &queue->fifo[list];
  *link = (struct queue_link){.next = QUEUE_NOBODY, .prev = fifo->tail, .in = true};
  *(fifo->tail == QUEUE_NOBODY ? &fifo->head : &queue->worker[fifo->tail].link[list].next) = worker;
  fifo->tail = worker;
  if (list == LIST_PARKED) queue->parked++;
}

// ---- tests

// A READY test waits among those with tokens, or in the scheduler.
void queue_ready(struct queue *queue, uint32_t number) {
  if (tokens_need(queue->tokens, number)) {
    tokens_put(queue->tokens, number);
  } else {
    sched_free_test(queue->sched, number);
  }
}

void queue_unready(struct queue *queue, uint32_t number) {
  if (tokens_need(queue->tokens, number)) {
    tokens_take(queue->tokens, number);
  } else if (sched_is_free(queue->sched, number)) {  // else the scheduler has taken it
    sched_take_test(queue->sched, number);
  }
}

// ---- tests to run again

uint32_t queue_lost(const struct queue_test *test) {
  uint32_t count = 0;
  for (size_t i = 0; i < COUNT_OF(test->lost_by); i++)
    count += test->lost_by[i] != QUEUE_TEST_NOBODY;
  return count;
}

bool queue_is_suspect(const struct queue_test *test) {
  return test->crashes || test->overruns || queue_lost(test);
}

void queue_give_back(struct queue *queue, uint32_t test) {
  queue_move(queue, test, PLACE_READY);
  if (queue_is_suspect(&queue->test[test])) {
    queue_put_again(queue, test, QUEUE_NOBODY);
  } else if (queue_skip_voted(queue, test)) {
    queue_hold(queue, test);
  }
}

// ---- places

// The one function that changes where a test is. READY means free in the scheduler unless queue_put_again says
// otherwise.
void queue_move(struct queue *queue, uint32_t number, enum queue_place to) {
  assert(number < queue->total);
  struct queue_test *test = &queue->test[number];
  enum queue_place from = (enum queue_place)test->place;
  assert(from != to && !(from == PLACE_DONE && to == PLACE_LEASED));
  if (from == PLACE_LEASED) {
    struct queue_lease *lease = queue->lease[test->slot];
    assert(lease && lease->held > 0);
    lease->live = --lease->held > 0;
    if (!lease->live) queue_recall_over(queue, lease);
    if (tokens_need(queue->tokens, number)) tokens_release(queue->tokens, number);
    queue->leased_us -= sched_expected_us(queue->sched, number);
    queue->worker[lease->worker].held_us -= sched_expected_us(queue->sched, number);
  }
  if (test->again) {
    queue_take_again(queue, number);
  } else if (from == PLACE_READY) {
    queue_unready(queue, number);
  }
  if (to == PLACE_READY) queue_ready(queue, number);
  if (to != PLACE_LEASED) test->slot = QUEUE_NO_SLOT;
  queue->place_count[from]--;
  queue->place_count[to]++;
  test->place = (uint8_t)to;
}

void queue_hand_out(struct queue *queue, uint32_t number, uint32_t slot) {
  queue_move(queue, number, PLACE_LEASED);
  uint64_t expected_us = sched_expected_us(queue->sched, number);
  struct queue_lease *lease = queue->lease[slot];
  queue->test[number].slot = slot;
  queue->test[number].worker = (uint16_t)lease->worker;
  lease->held++;
  lease->live = true;
  if (tokens_need(queue->tokens, number)) tokens_acquire(queue->tokens, number);
  queue->alone |= tokens_exclusive_runs(queue->tokens);
  queue->leased_us += expected_us;
  queue->worker[lease->worker].held_us += expected_us;
}

// ---- states of the build

bool queue_ended(const struct queue *queue) {
  return queue->state >= QUEUE_COMPLETE;
}

void queue_drain(struct queue *queue, uint32_t worker, struct effects *effects) {
  enum effect_drain reason = queue->state == QUEUE_ABORTED ? EFFECT_DRAIN_MAX_FAILURES : EFFECT_DRAIN_SETTLED;
  if (queue->state == QUEUE_INCOMPLETE && queue->few) reason = EFFECT_DRAIN_FEW;
  if (!queue_ended(queue)) reason = queue->worker[worker].fenced ? EFFECT_DRAIN_FENCED : EFFECT_DRAIN_LINGER;
  if (queue->worker[worker].late && reason != EFFECT_DRAIN_FEW) reason = EFFECT_DRAIN_LATE;
  effects_add(effects, (struct effect){.kind = EFFECT_DRAIN, .worker = worker, .reason = reason});
}

void queue_send_home(struct queue *queue, uint64_t now_us, uint32_t worker, struct effects *effects) {
  queue_list_remove(queue, LIST_PARKED, worker);
  queue_drain(queue, worker, effects);
  queue_detach(queue, now_us, worker);
  queue->worker[worker].drained = true;
}

static void queue_drain_parked(struct queue *queue, struct effects *effects) {
  while (queue->fifo[LIST_PARKED].head != QUEUE_NOBODY) {
    uint32_t worker = queue->fifo[LIST_PARKED].head;
    queue_list_remove(queue, LIST_PARKED, worker);
    queue_drain(queue, worker, effects);
  }
}

void queue_set_state(struct queue *queue, enum queue_state state, struct effects *effects) {
  if (queue->state == state) return;
  queue->state = state;
  queue->completed += state == QUEUE_COMPLETE;
  effects_add(effects, (struct effect){.kind = EFFECT_STATE});
  if (queue_ended(queue)) queue_drain_parked(queue, effects);
}

static bool queue_failed_enough(const struct queue *queue) {
  uint32_t failing = queue_failing_count(queue), bound = queue->policy.max_failures;
  assert(queue->forgiven <= failing);
  return bound && failing - queue->forgiven >= bound;
}

// After verdicts changed: is the build over?
void queue_settle(struct queue *queue, uint64_t now_us, struct effects *effects) {
  if (queue->alone) queue->alone_until_us = now_us;
  queue->alone = tokens_exclusive_runs(queue->tokens);
  if (queue->state != QUEUE_RUNNING || queue->fencing || queue->skips.found) return;
  assert(queue->sched);
  if (queue->place_count[PLACE_DONE] == queue->total) {
    queue_set_state(queue, QUEUE_COMPLETE, effects);
  } else if (queue_failed_enough(queue)) {
    queue_set_state(queue, QUEUE_ABORTED, effects);
  } else {
    queue_pump(queue, now_us, effects);
  }
}

void queue_set_list(struct queue *queue, uint64_t now_us, const struct sched_list *list, struct tokens *tokens,
                    struct effects *effects) {
  assert(!queue->sched && list->count <= LIMIT_TESTS);
  assert(queue->state == QUEUE_COLLECTING || queue->state == QUEUE_INCOMPLETE);
  struct sched_list own = *list;
  own.whole_files = queue->policy.whole_files;
  own.whole_units = queue->policy.whole_units;
  own.in_order = queue->policy.in_order;
  queue->sched = sched_new(&own);
  queue->tokens = tokens;
  queue->total = list->count;
  queue->test = base_calloc(list->count + 1, sizeof *queue->test);
  queue->place_count[PLACE_READY] = list->count;
  for (uint32_t i = 0; i < list->count; i++) {
    queue->test[i].slot = QUEUE_NO_SLOT;
    queue->test[i].worker = QUEUE_TEST_NOBODY;
    memset(queue->test[i].lost_by, 0xff, sizeof queue->test[i].lost_by);
    queue_ready(queue, i);
  }
  queue->by_verdict[VERDICT_NONE] = list->count;
  if (queue->state == QUEUE_INCOMPLETE) return;  // given up while the list was on its way: the next worker goes on
  queue_set_state(queue, QUEUE_RUNNING, effects);
  queue_settle(queue, now_us, effects);
}

bool queue_has_list(const struct queue *queue) {
  return queue->sched != NULL;
}

// ---- leasing

// Serves parked workers in the order they came, until one with room gets nothing that the next would get either.
void queue_pump(struct queue *queue, uint64_t now_us, struct effects *effects) {
  if (queue->state != QUEUE_RUNNING) return;
  uint32_t worker = queue->fifo[LIST_PARKED].head;
  while (worker != QUEUE_NOBODY && queue->place_count[PLACE_READY]) {
    uint32_t next = queue->worker[worker].link[LIST_PARKED].next;
    bool got = queue_try_grant(queue, now_us, worker, effects);
    if (got) queue_list_remove(queue, LIST_PARKED, worker);
    const struct queue_worker *of = &queue->worker[worker];
    bool same = queue->again.count == 0 && !queue_skip_differs(queue) && of->slot_count < LIMIT_LEASES_HELD &&
                !queue_runs_alone(queue, of);
    if (!got && same) break;
    worker = next;
  }
  queue_steal(queue, now_us, effects);
}

void queue_lease(struct queue *queue, uint64_t now_us, uint32_t number, struct effects *effects) {
  assert(number < queue->worker_count);
  struct queue_worker *worker = &queue->worker[number];
  worker->drained = false;
  queue_heard(queue, now_us, number);
  if (worker->link[LIST_PARKED].in || worker->left) return;
  if (queue_ended(queue)) {
    queue_drain(queue, number, effects);
    return;
  }
  if (worker->fenced && queue_suspects(queue, number)) {
    queue_send_home(queue, now_us, number, effects);
    return;
  }
  if (queue->sched && queue_try_grant(queue, now_us, number, effects)) return;
  if (queue->sched) sched_worker_leave(queue->sched, &worker->sched);
  worker->parked_us = now_us;
  queue_list_add(queue, LIST_PARKED, number);
  effects_add(effects, (struct effect){.kind = EFFECT_PARK, .worker = number});
  queue_pump(queue, now_us, effects);
}

// ---- time

// Its connection may outlive its silence: if it waited for tests, it is parked again when it speaks.
static void queue_expire(struct queue *queue, uint64_t now_us, uint32_t number, struct effects *effects) {
  struct queue_worker *worker = &queue->worker[number];
  bool asked = worker->link[LIST_PARKED].in || worker->asked;
  queue_lease_end_all(queue, number, true, effects);
  queue_list_remove(queue, LIST_HEARD, number);
  queue_detach(queue, now_us, number);
  worker->asked = asked;
}

static uint64_t queue_heard_deadline(const struct queue *queue) {
  uint32_t head = queue->fifo[LIST_HEARD].head;
  return head == QUEUE_NOBODY ? UINT64_MAX : queue->worker[head].heard_us + queue->policy.lease_ttl_us;
}

static uint64_t queue_linger_deadline(const struct queue *queue) {
  uint32_t head = queue->fifo[LIST_PARKED].head;
  if (head == QUEUE_NOBODY || queue->state != QUEUE_RUNNING || queue->connected < 2) return UINT64_MAX;
  if (tokens_exclusive_runs(queue->tokens)) return UINT64_MAX;  // there is work for them behind it
  uint64_t since_us = queue->worker[head].parked_us;
  return (since_us > queue->alone_until_us ? since_us : queue->alone_until_us) + queue->policy.linger_us;
}

static uint64_t queue_idle_deadline(const struct queue *queue) {
  if (queue_ended(queue) || queue->connected) return UINT64_MAX;
  return queue->idle_since_us + queue->policy.idle_us;
}

static uint64_t queue_hold_deadline(const struct queue *queue) {
  bool matters = queue->state == QUEUE_RUNNING || (queue->state == QUEUE_COMPLETE && queue->awaited);
  return queue->hold_until_us && matters ? queue->hold_until_us : UINT64_MAX;
}

static uint64_t queue_quorum_deadline(const struct queue *queue) {
  bool enough = queue->came >= queue->policy.min_workers;
  return enough || queue_ended(queue) ? UINT64_MAX : queue->started_us + queue->policy.min_workers_us;
}

uint64_t queue_deadline(const struct queue *queue) {
  uint64_t due[] = {queue_heard_deadline(queue), queue_linger_deadline(queue), queue_idle_deadline(queue),
                    queue_hold_deadline(queue),  queue_steal_deadline(queue),  queue_quorum_deadline(queue),
                    queue_skip_deadline(queue)};
  uint64_t first = queue->wake ? 0 : UINT64_MAX;
  for (size_t i = 0; i < COUNT_OF(due); i++) {
    if (due[i] < first) first = due[i];
  }
  return first;
}

void queue_tick(struct queue *queue, uint64_t now_us, struct effects *effects) {
  while (queue_heard_deadline(queue) <= now_us) {
    queue_expire(queue, now_us, queue->fifo[LIST_HEARD].head, effects);
  }
  queue->wake = false;
  if (queue->fencing) queue_sick_fence(queue, now_us, effects);
  queue_skip_tick(queue, now_us, effects);
  if (queue->connected && queue->state == QUEUE_INCOMPLETE) queue_go_on(queue, false, effects);
  if (queue_hold_deadline(queue) <= now_us) queue->hold_until_us = 0;
  queue_settle(queue, now_us, effects);
  while (queue_linger_deadline(queue) <= now_us) {
    queue_send_home(queue, now_us, queue->fifo[LIST_PARKED].head, effects);
  }
  if (queue->held.count) queue_pump(queue, now_us, effects);  // what waited for those who went
  if (queue_steal_deadline(queue) <= now_us) queue_steal(queue, now_us, effects);
  if (queue_ended(queue)) queue_drain_parked(queue, effects);
  if (queue_idle_deadline(queue) <= now_us) queue_set_state(queue, QUEUE_INCOMPLETE, effects);
  if (queue_quorum_deadline(queue) <= now_us) {
    queue->few = true;
    queue_set_state(queue, QUEUE_INCOMPLETE, effects);
  }
}

void queue_give_up(struct queue *queue, struct effects *effects) {
  assert(queue->connected == 0 && !queue_ended(queue));
  queue_set_state(queue, QUEUE_INCOMPLETE, effects);
}

// ---- reading

enum queue_state queue_state(const struct queue *queue) {
  return queue->state;
}

uint64_t queue_expected_us(const struct queue *queue, uint32_t test) {
  return sched_expected_us(queue->sched, test);
}

bool queue_few(const struct queue *queue) {
  return queue->few;
}

uint32_t queue_round(const struct queue *queue) {
  return queue->round;
}

enum queue_verdict queue_verdict(const struct queue *queue, uint32_t test) {
  assert(test < queue->total);
  return (enum queue_verdict)queue->test[test].verdict;
}

uint32_t queue_decided_by(const struct queue *queue, uint32_t test) {
  assert(test < queue->total);
  const struct queue_test *of = &queue->test[test];
  bool known = of->place == PLACE_DONE && of->worker != QUEUE_TEST_NOBODY;
  return known ? of->worker : (uint32_t)QUEUE_NOBODY;
}

uint32_t queue_last_held_by(const struct queue *queue, uint32_t test) {
  assert(test < queue->total);
  const struct queue_test *of = &queue->test[test];
  bool known = of->place != PLACE_DONE && of->worker != QUEUE_TEST_NOBODY;
  return known ? of->worker : (uint32_t)QUEUE_NOBODY;
}

void queue_counts(const struct queue *queue, struct queue_counts *counts) {
  *counts = (struct queue_counts){.total = queue->total,
                                  .ready = queue->place_count[PLACE_READY],
                                  .leased = queue->place_count[PLACE_LEASED],
                                  .done = queue->place_count[PLACE_DONE],
                                  .workers = queue->worker_count,
                                  .connected = queue->connected,
                                  .parked = queue->parked,
                                  .late_errors = queue->late_errors,
                                  .broken = queue->broken};
  for (size_t i = 0; i < COUNT_OF(counts->by_verdict); i++) {
    counts->by_verdict[i] = queue->by_verdict[i];
    if (queue_failing((enum queue_verdict)i)) counts->failing += queue->by_verdict[i];
  }
  for (size_t i = 0; i < COUNT_OF(counts->by_status); i++) {
    counts->by_status[i] = queue->by_status[i];
  }
  if (!queue->sched) return;
  counts->left_us = queue->leased_us + sched_free_us(queue->sched) + tokens_ready_us(queue->tokens) + queue->again.us +
                    queue->held.us;
}
