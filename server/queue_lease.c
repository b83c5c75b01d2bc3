// The queue's leases: granted to a worker, adopted by one that returns, ended by its death. A lease id never repeats:
// the daemon's epoch above a counter. Called by queue.c, queue_worker.c and queue_verdict.c; pure like them.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/queue_impl.h"

static uint32_t queue_lease_slot(struct queue *queue) {
  for (uint32_t i = queue->lease_count; i > 0 && i + 64 > queue->lease_count; i--) {
    if (!queue->lease[i - 1]) return i - 1;
  }
  if (queue->lease_count == queue->lease_room) {
    queue->lease_room = queue->lease_room ? queue->lease_room * 2 : 16;
    queue->lease = base_realloc(queue->lease, queue->lease_room, sizeof *queue->lease);
  }
  queue->lease[queue->lease_count] = NULL;
  return queue->lease_count++;
}

// A worker holds few leases; when it would hold too many, the oldest ended one is forgotten.
// False: all of them are live.
static bool queue_lease_make_room(struct queue *queue, struct queue_worker *worker) {
  for (uint32_t i = 0; worker->slot_count == LIMIT_LEASES_HELD && i < worker->slot_count; i++) {
    if (!queue->lease[worker->slot[i]]->live) queue_lease_drop(queue, worker->slot[i]);
  }
  return worker->slot_count < LIMIT_LEASES_HELD;
}

struct queue_lease *queue_lease_new(struct queue *queue, uint64_t id, uint32_t number, const uint32_t *tests,
                                    uint32_t count, uint32_t *slot) {
  struct queue_worker *worker = &queue->worker[number];
  assert(worker->slot_count < LIMIT_LEASES_HELD);
  struct queue_lease *lease = base_calloc(1, sizeof *lease);
  lease->id = id;
  lease->worker = number;
  lease->count = lease->open = count;
  lease->started = QUEUE_NO_TEST;
  lease->test = base_calloc(count + 1, sizeof *lease->test);
  memcpy(lease->test, tests, count * sizeof *tests);
  lease->reported = base_calloc(count + 1, sizeof *lease->reported);
  *slot = queue_lease_slot(queue);
  queue->lease[*slot] = lease;
  worker->slot[worker->slot_count++] = *slot;
  return lease;
}

void queue_lease_drop(struct queue *queue, uint32_t slot) {
  struct queue_lease *lease = queue->lease[slot];
  struct queue_worker *worker = &queue->worker[lease->worker];
  uint32_t i = 0;
  while (worker->slot[i] != slot)
    i++;
  for (worker->slot_count--; i < worker->slot_count; i++)
    worker->slot[i] = worker->slot[i + 1];
  queue_recall_over(queue, lease);
  queue->lease[slot] = NULL;
  while (queue->lease_count && !queue->lease[queue->lease_count - 1])
    queue->lease_count--;
  free(lease->test);
  free(lease->reported);
  free(lease);
}

struct queue_lease *queue_lease_find(struct queue *queue, uint32_t worker, uint64_t id, uint32_t *slot) {
  for (uint32_t i = 0; i < queue->worker[worker].slot_count; i++) {
    *slot = queue->worker[worker].slot[i];
    if (queue->lease[*slot]->id == id) return queue->lease[*slot];
  }
  return NULL;
}

uint32_t queue_lease_place(struct queue_lease *lease, uint32_t test) {
  for (uint32_t i = 0; i < lease->count; i++) {
    uint32_t at = (lease->hint + i) % lease->count;
    if (lease->test[at] != test) continue;
    lease->hint = at + 1 < lease->count ? at + 1 : 0;
    return at;
  }
  return QUEUE_NO_TEST;
}

// Charges a test with a vanished worker that held it: it may have died of any of those, since what it said last may not
// have arrived. Next time the test is run alone; when three different workers have vanished with it, the last two of
// them with nothing else in their hands, it is held to have killed them. A worker that vanishes twice was not killed.
static void queue_lease_charge(struct queue *queue, uint32_t number, uint32_t worker, struct effects *effects) {
  struct queue_test *test = &queue->test[number];
  for (size_t i = 0; i < COUNT_OF(test->lost_by); i++) {
    if (test->lost_by[i] != worker && test->lost_by[i] != QUEUE_TEST_NOBODY) continue;
    test->lost_by[i] = (uint16_t)worker;
    queue_put_again(queue, number, worker);
    return;
  }
  test->attempts++;
  (void)queue_skip_learn(queue, worker, number, QUEUE_CRASHED, 0);
  queue_set_verdict(queue, number, worker, QUEUE_CRASHED);
  struct effect effect = {
      .kind = EFFECT_RESULT, .worker = worker, .test = number, .attempt = test->attempts, .round = queue->round};
  for (size_t i = 0; i < COUNT_OF(effect.lost_by); i++)
    effect.lost_by[i] = test->lost_by[i];
  effects_add(effects, effect);
}

static void queue_lease_end(struct queue *queue, uint32_t slot, bool lost, struct effects *effects) {
  struct queue_lease *lease = queue->lease[slot];
  assert(lease->live);
  queue_recall_over(queue, lease);
  for (uint32_t i = 0; i < lease->count; i++) {
    uint32_t test = lease->test[i];
    if (queue->test[test].place != PLACE_LEASED || queue->test[test].slot != slot) continue;
    if (!lost) {
      queue_give_back(queue, test);
      continue;
    }
    queue_move(queue, test, PLACE_READY);
    queue_lease_charge(queue, test, lease->worker, effects);
  }
  assert(!lease->live && lease->held == 0);
}

void queue_lease_end_all(struct queue *queue, uint32_t number, bool lost, struct effects *effects) {
  const struct queue_worker *worker = &queue->worker[number];
  for (uint32_t i = 0; i < worker->slot_count; i++) {
    uint32_t slot = worker->slot[i];
    if (queue->lease[slot]->live) queue_lease_end(queue, slot, lost, effects);
  }
}

// ---- granting

uint32_t queue_at_work(const struct queue *queue) {
  uint32_t declared = queue->declared > queue->left ? queue->declared - queue->left : 0;
  uint32_t workers = declared > queue->connected ? declared : queue->connected;
  return workers ? workers : 1;
}

bool queue_runs_alone(const struct queue *queue, const struct queue_worker *worker) {
  bool alone = false;
  for (uint32_t i = 0; i < worker->slot_count && !alone; i++) {
    const struct queue_lease *lease = queue->lease[worker->slot[i]];
    alone = lease->live && lease->alone;
  }
  return alone;
}

static bool queue_holds(const struct queue *queue, const struct queue_worker *worker) {
  bool live = false;
  for (uint32_t i = 0; i < worker->slot_count && !live; i++)
    live = queue->lease[worker->slot[i]]->live;
  return live;
}

static bool queue_on_one_node(const struct queue *queue, uint32_t a, uint32_t b) {
  const char *node = queue->worker[a].node;
  return a == b || (node[0] && strcmp(node, queue->worker[b].node) == 0);
}

// Not for this worker: the test failed or vanished on its node and another node is there, or it is to be looked at on
// another worker, which is there and not held to be sick.
static bool queue_elsewhere(const struct queue *queue, const struct queue_again *again, uint32_t number) {
  if (queue_skip_elsewhere(queue, number, again->test)) return true;
  if (again->avoid >= queue->worker_count) return false;
  const struct queue_worker *before = &queue->worker[again->avoid];
  if (again->stays && before->connected && !before->brings && !queue_suspects(queue, again->avoid))
    return number != again->avoid;
  if (!queue_on_one_node(queue, again->avoid, number)) return false;
  bool other = false;
  for (uint32_t i = 0; i < queue->worker_count && !other; i++)
    other = queue->worker[i].connected && !queue_on_one_node(queue, again->avoid, i) &&
            !queue_skip_bars(queue, i, again->test);
  return other;
}

// Singly, but for a first suspicion where each lease costs the start of a process: then in parts.
static bool queue_goes_singly(const struct queue *queue, const struct queue_worker *worker, uint32_t number) {
  const struct queue_test *test = &queue->test[number];
  if (tokens_need(queue->tokens, number)) return true;
  return queue_is_suspect(test) && (test->crashes || test->overruns || queue_lost(test) > 1 || !worker->sched.start_us);
}

// Tests to run again that this worker may have: another node's failures, its own only when no other is there. *alone:
// they are suspects. For those it must hold nothing else: *waits, it gets nothing now.
static uint32_t queue_pick_again(struct queue *queue, uint32_t number, uint32_t *out, uint32_t room, bool *alone,
                                 bool *waits) {
  const struct queue_worker *worker = &queue->worker[number];
  uint32_t n = 0, share = 1 + queue->again.count / queue_at_work(queue);
  if (share < room) room = share;
  for (uint32_t i = queue->again.first; i < queue->again.end && n < room; i++) {
    const struct queue_again *again = &queue->again.item[i];
    if (again->test == QUEUE_NO_TEST || queue_elsewhere(queue, again, number)) continue;
    bool suspect = queue_is_suspect(&queue->test[again->test]);
    bool singly = queue_goes_singly(queue, worker, again->test);
    if (n > 0 && (singly || suspect != *alone)) continue;
    if (!tokens_free_for(queue->tokens, again->test, queue->place_count[PLACE_LEASED])) continue;
    *waits = suspect && queue_holds(queue, worker);
    if (*waits) break;
    *alone = suspect;
    out[n++] = again->test;
    if (singly) break;
  }
  return n;
}

// ---- tests with tokens

// Exclusive tests: by the first worker while it is alone, else when all that remains is theirs.
static bool queue_pick_exclusive(const struct queue *queue, uint32_t *out) {
  uint32_t test = tokens_pick_exclusive(queue->tokens);
  bool last = sched_free_count(queue->sched) == 0 && queue->again.count == 0;
  if (test == TOKENS_NONE || queue->place_count[PLACE_LEASED]) return false;
  if (queue->connected > 1 && (!last || tokens_pick(queue->tokens, 0, false) != TOKENS_NONE)) return false;
  *out = test;
  return true;
}

// The scheduler's threshold for long tests, over all that is READY.
static uint64_t queue_long_us(const struct queue *queue) {
  uint64_t ready_us = sched_free_us(queue->sched) + tokens_ready_us(queue->tokens);
  return ready_us / (3 * (uint64_t)queue_at_work(queue));
}

// What nobody has run yet: what waits for a critical token, what the scheduler picks, what waits for other tokens.
static uint32_t queue_pick_fresh(struct queue *queue, uint32_t number, uint32_t *out, uint32_t room) {
  struct queue_worker *worker = &queue->worker[number];
  uint32_t n, kept = 0;
  if (queue->tokens && (*out = tokens_pick(queue->tokens, queue_long_us(queue), true)) != TOKENS_NONE) return 1;
  do {
    n = sched_grant(queue->sched, &worker->sched, queue_at_work(queue), out, room);
    kept = queue_skip_filter(queue, number, out, n);
  } while (n && !kept);
  if (kept) return kept;
  return queue->tokens && (*out = tokens_pick(queue->tokens, queue_long_us(queue), false)) != TOKENS_NONE;
}

// What the worker gets next: exclusive tests, tests that have to run again, skips to be confirmed, what nobody has
// run yet, and what it skipped itself, when nobody else is there.
static uint32_t queue_pick(struct queue *queue, uint32_t number, uint32_t *out, uint32_t room, bool *alone) {
  struct queue_worker *worker = &queue->worker[number];
  bool waits = false;
  uint32_t n = 0;
  if (queue->tokens && queue_pick_exclusive(queue, out)) return 1;
  bool has_more = sched_worker_has_more(queue->sched, &worker->sched) && !queue->probe_count;  // probes do not wait
  if (!has_more) n = queue_pick_again(queue, number, out, room, alone, &waits);
  if (n || waits) return n;
  if (!has_more && (n = queue_skip_pick(queue, number, out, room, false))) return n;
  n = queue_pick_fresh(queue, number, out, room);
  return n ? n : queue_skip_pick(queue, number, out, room, true);
}

static void queue_tell_lease(const struct queue_lease *lease, struct effects *effects) {
  struct effect effect = {.kind = EFFECT_LEASE, .worker = lease->worker, .lease = lease->id, .count = lease->count};
  effect.tests = base_calloc(lease->count, sizeof *effect.tests);
  memcpy(effect.tests, lease->test, lease->count * sizeof *effect.tests);
  effects_add(effects, effect);
}

bool queue_try_grant(struct queue *queue, uint64_t now_us, uint32_t number, struct effects *effects) {
  struct queue_worker *worker = &queue->worker[number];
  if (queue->hold_until_us && queue->awaited && now_us < queue->hold_until_us) return false;
  if (queue->state != QUEUE_RUNNING || !queue_lease_make_room(queue, worker)) return false;
  if (tokens_exclusive_runs(queue->tokens) || queue_runs_alone(queue, worker)) return false;
  bool alone = false;
  uint32_t picked[LIMIT_LEASE], n, slot, room = worker->lease_max ? worker->lease_max : (uint32_t)LIMIT_LEASE;
  if (queue_suspects(queue, number)) room = 1;  // until it is known what its failures are worth
  n = queue_pick(queue, number, picked, room, &alone);
  if (n == 0) return false;
  struct queue_lease *lease = queue_lease_new(queue, queue->next_lease++, number, picked, n, &slot);
  lease->alone = alone;
  lease->granted_us = now_us;
  lease->timed = true;
  for (uint32_t i = 0; i < n; i++) {
    queue_hand_out(queue, picked[i], slot);
  }
  queue_tell_lease(lease, effects);
  return true;
}

static int queue_compare_test(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

// What a worker says it holds or has run is input: tests of the list, each once.
static bool queue_each_once(const struct queue *queue, const uint32_t *tests, uint32_t count) {
  if (!queue->sched || count == 0) return false;
  uint32_t *sorted = base_calloc(count, sizeof *sorted);
  memcpy(sorted, tests, count * sizeof *tests);
  qsort(sorted, count, sizeof *sorted, queue_compare_test);
  bool valid = sorted[count - 1] < queue->total;
  for (uint32_t i = 1; valid && i < count; i++) {
    valid = sorted[i] != sorted[i - 1];
  }
  free(sorted);
  return valid;
}

// The worker's own attempt failed and is on disk, though it has not heard so: the test is not in its hands any more.
static bool queue_avoids(const struct queue *queue, uint32_t number, uint32_t worker) {
  const struct queue_test *test = &queue->test[number];
  for (size_t i = 0; i < COUNT_OF(test->lost_by); i++) {
    if (test->lost_by[i] == worker) return false;  // it only fell silent, and still runs it
  }
  if (queue_skip_has_voted(queue, worker, number)) return true;
  return test->again && !test->held && queue->again.item[test->slot].avoid == worker;
}

bool queue_adopt(struct queue *queue, uint64_t now_us, uint32_t number, uint64_t id, const uint32_t *tests,
                 uint32_t count) {
  uint32_t slot;
  assert(number < queue->worker_count && count <= LIMIT_LEASE);
  (void)now_us;
  struct queue_worker *worker = &queue->worker[number];
  struct queue_lease *lease = queue_lease_find(queue, number, id, &slot);
  if (lease && lease->live) {
    return queue_lease_keep_only(queue, slot, tests, count);
  }
  if (id == 0 || id >= queue->next_lease || !queue_each_once(queue, tests, count)) return false;
  if (lease) queue_lease_drop(queue, slot);
  if (!queue_lease_make_room(queue, worker)) return false;
  lease = queue_lease_new(queue, id, number, tests, count, &slot);
  for (uint32_t i = 0; i < count; i++) {
    bool ready = queue->test[tests[i]].place == PLACE_READY && !queue_avoids(queue, tests[i], number);
    if (ready && !worker->left) queue_hand_out(queue, tests[i], slot);  // who has left only sends what it still has
  }
  return lease->live;
}

bool queue_claim(struct queue *queue, uint32_t number, const uint32_t *tests, uint32_t count, struct effects *effects) {
  uint32_t slot;
  assert(number < queue->worker_count && count <= LIMIT_LEASE);
  if (!queue_each_once(queue, tests, count) || !queue_lease_make_room(queue, &queue->worker[number])) return false;
  struct queue_lease *lease = queue_lease_new(queue, queue->next_lease++, number, tests, count, &slot);
  lease->claimed = true;
  queue_tell_lease(lease, effects);
  return true;
}

static bool queue_names(const uint64_t *leases, size_t count, uint64_t id) {
  for (size_t i = 0; i < count; i++) {
    if (leases[i] == id) return true;
  }
  return false;
}

void queue_holds_only(struct queue *queue, uint64_t now_us, uint32_t worker, const uint64_t *leases, size_t count,
                      struct effects *effects) {
  const struct queue_worker *of = &queue->worker[worker];
  for (uint32_t i = 0; i < of->slot_count; i++) {
    uint32_t slot = of->slot[i];
    const struct queue_lease *lease = queue->lease[slot];
    if (lease->live && !queue_names(leases, count, lease->id)) queue_lease_end(queue, slot, false, effects);
  }
  queue_settle(queue, now_us, effects);
}

void queue_limit_leases(struct queue *queue, uint32_t worker, uint32_t tests) {
  assert(worker < queue->worker_count && tests > 0 && tests <= LIMIT_LEASE);
  queue->worker[worker].lease_max = tests;
}

void queue_starts_processes(struct queue *queue, uint32_t worker, uint64_t start_us) {
  assert(worker < queue->worker_count && start_us > 0);
  queue->worker[worker].sched.start_us = start_us;
}

uint64_t queue_lease_age_us(const struct queue *queue, uint64_t now_us, uint32_t worker, uint64_t id) {
  for (uint32_t i = 0; i < queue->worker[worker].slot_count; i++) {
    const struct queue_lease *lease = queue->lease[queue->worker[worker].slot[i]];
    if (lease->id == id) return lease->timed ? now_us - lease->granted_us : UINT64_MAX;
  }
  return UINT64_MAX;
}

void queue_started(struct queue *queue, uint64_t now_us, uint32_t worker, uint64_t id, uint32_t test) {
  uint32_t slot;
  struct queue_lease *lease = queue_lease_find(queue, worker, id, &slot);
  if (!lease) return;
  uint32_t hint = lease->hint, place = queue_lease_place(lease, test);
  lease->hint = hint;
  if (place == QUEUE_NO_TEST || place == lease->started) return;
  lease->started = place;
  lease->started_us = now_us;
}

uint32_t queue_running_test(const struct queue *queue, uint32_t worker) {
  const struct queue_worker *of = &queue->worker[worker];
  for (uint32_t i = of->slot_count; i > 0; i--) {
    const struct queue_lease *lease = queue->lease[of->slot[i - 1]];
    if (lease->live && lease->started != QUEUE_NO_TEST && !lease->reported[lease->started]) {
      return lease->test[lease->started];
    }
  }
  return QUEUE_NO_TEST;
}
