// Steal-back: when a worker has nothing to do, tests that another one holds and has not begun are asked back. The
// victim is whoever gains most by it; it is asked for all of its last lease that has not begun (EFFECT_RECALL), and
// what it answers (queue_released) is READY again and leased as usual, in ever smaller leases, to those who are parked
// and to the victim itself. Called by queue_pump and queue_tick; pure.
//
// When it pays (scheduling notes, section 7, "none left: steal"): with F = what is left for the victim, and c = two
// round trips and the set-up of the tests' file, both in time, moving s of expected work makes the later of the two end
// at max(F - s·slow, c + s·slow'); that is least at s = (F - c) / (slow + slow'). It must beat F by more than c.
// Slowness is speed times how far the estimates are off, and without a history they are far off: a machine's part of it
// is held to be between STEAL_SPEED_LEAST and STEAL_SPEED_MOST, the rest is the tests' own and goes with them.
#include <assert.h>
#include <stdlib.h>

#include "server/queue_impl.h"

enum { STEAL_EVERY_US = 1000000, STEAL_TRIPS_US = 20000, STEAL_MOST = 8, STEAL_PACE_US = 2 };

static const double STEAL_SPEED_LEAST = 0.5, STEAL_SPEED_MOST = 2;

static double steal_speed(const struct queue_worker *worker) {
  double slowness = sched_worker_slowness(&worker->sched);
  if (slowness < STEAL_SPEED_LEAST) return STEAL_SPEED_LEAST;
  return slowness > STEAL_SPEED_MOST ? STEAL_SPEED_MOST : slowness;
}

// What is left of the running test. Over its time it is held to take as long again as it is over.
static double steal_running_left(double expected_us, uint64_t since_us, uint64_t now_us) {
  double elapsed = now_us > since_us ? (double)(now_us - since_us) : 0;
  return elapsed < expected_us ? expected_us - elapsed : elapsed - expected_us;
}

struct steal {
  struct queue *queue;
  uint64_t now_us;
  double thief_speed;
  uint32_t thief;
  // the best so far
  uint32_t slot, first;
  double gain_us;
};

// Of a lease, the tests that may still be unstarted: [first, count) by place, those not LEASED in it skipped.
struct steal_lease {
  const struct queue_lease *lease;
  uint32_t slot, first;
  double left_us;  // all that the worker has left, in its time
};

static bool steal_is_open(const struct queue *queue, const struct queue_lease *lease, uint32_t slot, uint32_t at) {
  const struct queue_test *test = &queue->test[lease->test[at]];
  return !lease->reported[at] && test->place == PLACE_LEASED && test->slot == slot;
}

// Not what the thief would only skip.
static bool steal_suits(const struct steal *steal, const struct queue_lease *lease, uint32_t slot, uint32_t at) {
  return steal_is_open(steal->queue, lease, slot, at) && !queue_skip_bars(steal->queue, steal->thief, lease->test[at]);
}

// Past the test that a worker which runs nothing is about to begin. Asked for, it would go round among those who wait,
// and nobody would ever begin it.
static uint32_t steal_past_next(const struct queue *queue, const struct steal_lease *from) {
  uint32_t at = from->first;
  while (at < from->lease->count && !steal_is_open(queue, from->lease, from->slot, at))
    at++;
  return at < from->lease->count ? at + 1 : at;
}

// The worker's last live lease, and what the worker has left altogether. False: nothing of it can be asked back.
static bool steal_look(const struct steal *steal, const struct queue_worker *worker, struct steal_lease *out) {
  const struct queue *queue = steal->queue;
  double slowness = sched_worker_slowness(&worker->sched);
  bool busy = false;  // with a test, or an earlier lease
  *out = (struct steal_lease){.left_us = slowness * (double)worker->held_us};
  for (uint32_t i = 0; i < worker->slot_count; i++) {
    const struct queue_lease *lease = queue->lease[worker->slot[i]];
    if (lease->recalled || steal->now_us < lease->recall_after_us) return false;
    if (!lease->live) continue;
    uint32_t begun = lease->started;
    bool runs = begun != QUEUE_NO_TEST && !lease->reported[begun];
    if (runs) {
      double expected = slowness * (double)sched_expected_us(queue->sched, lease->test[begun]);
      out->left_us += steal_running_left(expected, lease->started_us, steal->now_us) - expected;
    }
    busy |= runs || out->lease != NULL;
    out->lease = lease;
    out->slot = worker->slot[i];
    out->first = begun == QUEUE_NO_TEST ? 0 : begun + 1;
  }
  if (out->lease && !busy) out->first = steal_past_next(queue, out);
  return out->lease != NULL;
}

// The first that another worker may have without one more set-up: of a file that this one has not begun.
static uint32_t steal_next_file(const struct queue *queue, const struct steal_lease *from) {
  const struct queue_lease *lease = from->lease;
  uint32_t at = from->first;
  while (at > 0 && at < lease->count && sched_same_file(queue->sched, lease->test[at - 1], lease->test[at]))
    at++;
  return at;
}

// The first that another worker may have at all: past those that belong with what this one has begun.
static uint32_t steal_first(const struct queue *queue, const struct steal_lease *from) {
  const struct queue_lease *lease = from->lease;
  uint32_t at = from->first;
  if (at == 0 && sched_is_whole(queue->sched, lease->test[0])) at = 1;
  while (at > 0 && at < lease->count && !sched_may_part(queue->sched, lease->test[at - 1], lease->test[at]))
    at++;
  return at;
}

// Weighs asking back what stands from `first` on, when it costs the thief so much (in time) that it would not cost
// here.
static void steal_weigh_from(struct steal *steal, const struct queue_worker *worker, const struct steal_lease *from,
                             uint32_t first, double cost_us) {
  double slowness = sched_worker_slowness(&worker->sched), sum = 0;
  double its_slowness = slowness / steal_speed(worker) * steal->thief_speed;  // the thief's, with these tests
  for (uint32_t at = first; at < from->lease->count; at++) {
    if (steal_suits(steal, from->lease, from->slot, at))
      sum += (double)sched_expected_us(steal->queue->sched, from->lease->test[at]);
  }
  double part = (from->left_us - cost_us) / (slowness + its_slowness);
  if (part > sum) part = sum;
  double thief = cost_us + part * its_slowness, victim = from->left_us - part * slowness;
  double gain = from->left_us - (thief > victim ? thief : victim);
  if (sum <= 0 || gain <= cost_us || gain <= steal->gain_us) return;
  steal->gain_us = gain;
  steal->slot = from->slot;
  steal->first = first;
}

static void steal_weigh(struct steal *steal, const struct queue_worker *worker) {
  struct steal_lease from;
  if (worker->sched.start_us || !steal_look(steal, worker, &from)) return;
  uint32_t first = steal_first(steal->queue, &from), next = steal_next_file(steal->queue, &from);
  if (first >= from.lease->count) return;
  if (next < first) next = first;
  double setup_us = (double)sched_setup_us(steal->queue->sched, from.lease->test[first]) * steal->thief_speed;
  if (next < from.lease->count) steal_weigh_from(steal, worker, &from, next, STEAL_TRIPS_US);
  if (next != first) steal_weigh_from(steal, worker, &from, first, STEAL_TRIPS_US + setup_us);
}

static void steal_recall(const struct steal *steal, struct effects *effects) {
  struct queue *queue = steal->queue;
  struct queue_lease *lease = queue->lease[steal->slot];
  struct effect effect = {.kind = EFFECT_RECALL, .worker = lease->worker, .lease = lease->id};
  effect.tests = base_calloc(lease->count - steal->first, sizeof *effect.tests);
  for (uint32_t at = steal->first; at < lease->count; at++) {
    if (steal_suits(steal, lease, steal->slot, at)) effect.tests[effect.count++] = lease->test[at];
  }
  assert(effect.count > 0 && !lease->recalled);
  lease->recalled = true;
  queue->recalls++;
  effects_add(effects, effect);
}

// One recall on behalf of a parked worker; false: none is worth it.
static bool steal_one(struct queue *queue, uint64_t now_us, uint32_t thief, struct effects *effects) {
  struct steal steal = {.queue = queue, .now_us = now_us, .thief = thief, .slot = QUEUE_NO_SLOT};
  steal.thief_speed = steal_speed(&queue->worker[thief]);
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    const struct queue_worker *worker = &queue->worker[i];
    if (worker->connected && worker->held_us) steal_weigh(&steal, worker);
  }
  if (steal.slot == QUEUE_NO_SLOT) return false;
  steal_recall(&steal, effects);
  return true;
}

static bool steal_is_wanted(const struct queue *queue) {
  return queue->state == QUEUE_RUNNING && queue->parked > queue->recalls && !queue->policy.in_order &&
         sched_free_count(queue->sched) == 0;
}

void queue_steal(struct queue *queue, uint64_t now_us, struct effects *effects) {
  if (!steal_is_wanted(queue) || now_us < queue->steal_pause_us) return;
  uint32_t thief = queue->fifo[LIST_PARKED].head;
  for (int n = 0; n < STEAL_MOST && thief != QUEUE_NOBODY && queue->parked > queue->recalls; n++) {
    bool takes = !queue_runs_alone(queue, &queue->worker[thief]);
    if (takes && !steal_one(queue, now_us, thief, effects) && !queue_skip_differs(queue)) break;
    thief = queue->worker[thief].link[LIST_PARKED].next;
  }
  queue->steal_pause_us = now_us + (uint64_t)queue->worker_count * STEAL_PACE_US;
  queue->steal_us = now_us + STEAL_EVERY_US;
}

uint64_t queue_steal_deadline(const struct queue *queue) {
  if (!queue->sched || !steal_is_wanted(queue) || !queue->place_count[PLACE_LEASED]) return UINT64_MAX;
  return queue->steal_us > queue->steal_pause_us ? queue->steal_us : queue->steal_pause_us;
}

void queue_recall_over(struct queue *queue, struct queue_lease *lease) {
  if (!lease->recalled) return;
  assert(queue->recalls > 0);
  lease->recalled = false;
  queue->recalls--;
}

// A test that the lease will not report.
static void steal_give_back(struct queue *queue, struct queue_lease *lease, uint32_t slot, uint32_t at) {
  uint32_t test = lease->test[at];
  if (lease->reported[at]) return;
  bool held = queue->test[test].place == PLACE_LEASED && queue->test[test].slot == slot;
  lease->reported[at] = true;
  lease->open--;
  if (held) queue_give_back(queue, test);
}

void queue_released(struct queue *queue, uint64_t now_us, uint32_t worker, uint64_t id, const uint32_t *tests,
                    uint32_t count, struct effects *effects) {
  uint32_t slot;
  assert(worker < queue->worker_count);
  struct queue_lease *lease = queue_lease_find(queue, worker, id, &slot);
  if (!lease) return;
  queue_recall_over(queue, lease);
  if (count == 0) lease->recall_after_us = now_us + STEAL_EVERY_US;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t at = queue_lease_place(lease, tests[i]);
    if (at != QUEUE_NO_TEST) steal_give_back(queue, lease, slot, at);
  }
  // It stays in the file that it is in, whatever it held beyond: that goes on with others.
  struct sched_worker *seat = &queue->worker[worker].sched;
  if (count && lease->started == QUEUE_NO_TEST) {
    sched_worker_leave(queue->sched, seat);
  } else if (count) {
    sched_worker_stay(queue->sched, seat, lease->test[lease->started]);
  }
  if (lease->open == 0) queue_lease_drop(queue, slot);
  queue_settle(queue, now_us, effects);
}

bool queue_lease_keep_only(struct queue *queue, uint32_t slot, const uint32_t *tests, uint32_t count) {
  struct queue_lease *lease = queue->lease[slot];
  bool *named = base_calloc(lease->count, sizeof *named);
  queue_recall_over(queue, lease);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t at = queue_lease_place(lease, tests[i]);
    if (at != QUEUE_NO_TEST) named[at] = true;
  }
  for (uint32_t at = 0; at < lease->count; at++) {
    if (!named[at]) steal_give_back(queue, lease, slot, at);
  }
  free(named);
  bool live = lease->live;
  if (lease->open == 0) queue_lease_drop(queue, slot);
  return live;
}
