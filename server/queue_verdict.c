// The queue's verdicts: what a result means, when a failing test is tried again, when the build has failed enough.
// Called by dispatch for live results and by recovery for stored ones: both end in queue_apply, so that a restart comes
// to the same state. Pure.
#include <assert.h>

#include "server/queue_impl.h"

bool queue_failing(enum queue_verdict verdict) {
  return verdict == VERDICT_FAILED || verdict == VERDICT_CRASHED;
}

uint32_t queue_failing_count(const struct queue *queue) {
  return queue->by_verdict[VERDICT_FAILED] + queue->by_verdict[VERDICT_CRASHED];
}

static bool queue_bad(enum queue_status status) {
  return status == QUEUE_FAILED || status == QUEUE_ERROR || status == QUEUE_CRASHED || status == QUEUE_TIMED_OUT;
}

static enum queue_verdict queue_verdict_of(const struct queue_test *test, enum queue_status status) {
  switch (status) {
    case QUEUE_SKIPPED: return VERDICT_SKIPPED;
    case QUEUE_CRASHED: return VERDICT_CRASHED;
    case QUEUE_FAILED:
    case QUEUE_ERROR:
    case QUEUE_TIMED_OUT: return VERDICT_FAILED;
    case QUEUE_PASSED:
    case QUEUE_XFAILED:
    case QUEUE_XPASSED: break;
  }
  return test->failures || test->crashes || test->overruns ? VERDICT_FLAKY : VERDICT_PASSED;
}

void queue_set_verdict(struct queue *queue, uint32_t number, uint32_t worker, enum queue_status status) {
  struct queue_test *test = &queue->test[number];
  assert(test->verdict == VERDICT_NONE);
  enum queue_verdict verdict = queue_verdict_of(test, status);
  if (queue_failing(verdict) && test->muted) verdict = VERDICT_MUTED;
  queue_move(queue, number, PLACE_DONE);
  queue->by_verdict[VERDICT_NONE]--;
  queue->by_verdict[verdict]++;
  queue->by_status[status]++;
  test->verdict = (uint8_t)verdict;
  test->status = (uint8_t)status;
  test->worker = worker < QUEUE_TEST_NOBODY ? (uint16_t)worker : (uint16_t)QUEUE_TEST_NOBODY;
  if (queue_failing(verdict) && worker < queue->worker_count) queue->worker[worker].own_failing++;
}

void queue_clear_verdict(struct queue *queue, uint32_t number) {
  struct queue_test *test = &queue->test[number];
  assert(test->verdict != VERDICT_NONE);
  queue_note_run(queue, test->worker, number);
  bool failing = queue_failing((enum queue_verdict)test->verdict);
  if (failing && test->worker < queue->worker_count) queue->worker[test->worker].own_failing--;
  queue->by_verdict[test->verdict]--;
  queue->by_verdict[VERDICT_NONE]++;
  queue->by_status[test->status]--;
  test->verdict = VERDICT_NONE;
  test->status = 0;
  if (queue->forgiven > queue_failing_count(queue)) queue->forgiven = queue_failing_count(queue);
}

void queue_mute(struct queue *queue, uint32_t number) {
  assert(number < queue->total && queue->test[number].verdict == VERDICT_NONE);
  queue->test[number].muted = true;
}

void queue_puzzle(struct queue *queue, uint32_t number) {
  assert(number < queue->total && queue->test[number].verdict == VERDICT_NONE);
  queue->test[number].puzzles = true;
}

// ---- deciding

// Retries stop when the build is plainly broken: at most 10 % of the tests, but always ten, are tried again.
static bool queue_may_retry(const struct queue *queue, const struct queue_test *test) {
  uint32_t budget = queue->total / 10 > 10 ? queue->total / 10 : 10, retries = queue->policy.retries;
  if (retries > 0 && test->puzzles) retries++;
  return test->failures < retries && queue->retried < budget + queue->probed;
}

// A cap that nobody asked for is a guess, and may have met a busy machine: the first time it settles nothing.
static bool queue_is_guess(const struct queue *queue, const struct queue_test *test, enum queue_status status) {
  return status == QUEUE_TIMED_OUT && !queue->policy.limits_tests && test->overruns + 1 < LIMIT_OVERRUNS;
}

// A crash is tried once more whatever the policy, and never oftener: a poison test costs few workers.
static bool queue_decides(const struct queue *queue, const struct queue_test *test, enum queue_status status) {
  if (!queue_bad(status) || test->attempts + 1 >= LIMIT_ATTEMPTS) return true;
  if (status == QUEUE_CRASHED) return test->crashes + 1 >= LIMIT_CRASHES;
  return !queue_is_guess(queue, test, status) && !queue_may_retry(queue, test);
}

// A failure that may be its worker's own: tried elsewhere before it settles anything.
static bool queue_doubts(struct queue *queue, const struct queue_result *result) {
  const struct queue_test *test = &queue->test[result->test];
  if (!queue_bad(result->status) || result->status == QUEUE_CRASHED || test->attempts + 1 >= LIMIT_ATTEMPTS)
    return false;
  return queue_sick_probes(queue, result->worker, result->test);
}

// Nobody is left who could try again what is brought from a time without the server.
static bool queue_is_final(const struct queue *queue, const struct queue_lease *lease) {
  return lease->claimed && !queue_others_run(queue, &queue->worker[lease->worker]);
}

// A worker that was charged with a test and reports it did not die of it, and has it no longer in its hands.
static void queue_discharge(struct queue_test *test, uint32_t worker) {
  for (size_t i = 0; i < COUNT_OF(test->lost_by); i++) {
    if (test->lost_by[i] == worker) test->lost_by[i] = QUEUE_TEST_NOBODY;
  }
}

static void queue_count(struct queue *queue, uint32_t number, uint32_t test, enum queue_status status) {
  bool failed = queue_bad(status);
  queue->ran++;
  queue->ran_failed += failed;
  queue->ran_skipped += status == QUEUE_SKIPPED;
  if (number >= queue->worker_count) return;
  struct queue_worker *worker = &queue->worker[number];
  worker->ran++;
  worker->ran_skipped += status == QUEUE_SKIPPED;
  if (!failed) return;
  worker->ran_failed++;
  for (uint32_t i = 0; i < worker->failed_files; i++) {
    if (sched_same_file(queue->sched, worker->failed_in[i], test)) return;
  }
  if (worker->failed_files < COUNT_OF(worker->failed_in)) worker->failed_in[worker->failed_files++] = test;
}

// It goes to another node; alone, if it is suspected of killing workers.
static void queue_unsettled_skip(struct queue *queue, uint32_t number, uint32_t worker) {
  struct queue_test *test = &queue->test[number];
  if (test->place != PLACE_READY) queue_move(queue, number, PLACE_READY);
  if (test->again) return;
  if (queue_is_suspect(test)) {
    queue_put_again(queue, number, worker);
  } else {
    queue_hold(queue, number);
  }
}

// One attempt, live or replayed: counts it, and settles the verdict or sends the test round again.
static void queue_apply(struct queue *queue, uint32_t worker, uint32_t number, enum queue_status status, bool settles) {
  struct queue_test *test = &queue->test[number];
  queue_count(queue, worker, number, status);
  queue_fact_owes(queue, worker, number);
  queue_discharge(test, worker);
  if (settles) {
    queue_set_verdict(queue, number, worker, status);
    return;
  }
  queue_note_run(queue, worker, number);
  if (status == QUEUE_SKIPPED) {
    queue_unsettled_skip(queue, number, worker);
    return;
  }
  if (status == QUEUE_CRASHED) {
    test->crashes++;
  } else if (queue_is_guess(queue, test, status)) {
    test->overruns++;
  } else {
    queue->retried += test->failures == 0;
    test->failures++;
  }
  if (test->place != PLACE_READY) queue_move(queue, number, PLACE_READY);
  queue_unhold(queue, number);
  if (!test->again) queue_put_again(queue, number, worker);
  bool first = test->failures == 1 && !queue_is_suspect(test);
  if (test->puzzles && first && queue->policy.retries > 0) queue->again.item[test->slot].stays = true;
}

static void queue_teach(struct queue *queue, const struct queue_result *result) {
  if (result->status == QUEUE_CRASHED || result->status == QUEUE_TIMED_OUT || result->status == QUEUE_SKIPPED) return;
  sched_worker_learn(&queue->worker[result->worker].sched, result->duration_us,
                     sched_expected_us(queue->sched, result->test));
}

// Takes the test out of a newer lease, whose worker is told when nothing of it is left.
static void queue_displace(struct queue *queue, uint32_t number, struct effects *effects) {
  struct queue_lease *newer = queue->lease[queue->test[number].slot];
  uint32_t place = queue_lease_place(newer, number);
  assert(place != QUEUE_NO_TEST && !newer->reported[place]);
  if (newer->held == 1) {
    effects_add(effects, (struct effect){.kind = EFFECT_REVOKE, .worker = newer->worker, .lease = newer->id});
  }
}

static enum queue_accept queue_classify(const struct queue *queue, const struct queue_lease *lease, uint32_t slot,
                                        uint32_t test) {
  const struct queue_test *of = &queue->test[test];
  if (queue->state == QUEUE_COMPLETE || queue->state == QUEUE_INCOMPLETE) return ACCEPT_SEALED;
  if (of->place == PLACE_DONE) return ACCEPT_EXTRA;
  return lease->claimed || (of->place == PLACE_LEASED && of->slot == slot) ? ACCEPT_CURRENT : ACCEPT_LATE;
}

static void queue_report(struct queue_lease *lease, uint32_t place) {
  assert(!lease->reported[place] && lease->open > 0);
  lease->reported[place] = true;
  lease->open--;
}

enum queue_status queue_counts_as(const struct queue *queue, uint32_t number, enum queue_status status) {
  assert(number < queue->total);
  const struct queue_test *test = &queue->test[number];
  bool failed = test->failures || test->crashes || test->overruns || test->failed_before;
  return status == QUEUE_SKIPPED && failed ? QUEUE_FAILED : status;
}

enum queue_accept queue_result(struct queue *queue, uint64_t now_us, const struct queue_result *result,
                               uint32_t *attempt, bool *settles, struct effects *effects) {
  uint32_t slot, number = result->test;
  assert(result->worker < queue->worker_count && number < queue->total);
  struct queue_lease *lease = queue_lease_find(queue, result->worker, result->lease, &slot);
  uint32_t place = lease ? queue_lease_place(lease, number) : (uint32_t)QUEUE_NO_TEST;
  if (place == QUEUE_NO_TEST) return ACCEPT_UNKNOWN;
  if (lease->reported[place]) return ACCEPT_DUPLICATE;
  enum queue_accept accept = queue_classify(queue, lease, slot, number);
  struct queue_test *test = &queue->test[number];
  if (accept == ACCEPT_SEALED) {
    queue_note_unstored(queue, result->worker);
    return accept;
  }
  if (test->place == PLACE_LEASED && test->slot != slot) queue_displace(queue, number, effects);
  bool repeated = queue_skip_learn(queue, result->worker, number, result->status, result->reason);
  bool counts = accept != ACCEPT_EXTRA, final = counts && queue_is_final(queue, lease);
  bool doubted = counts && !final && queue_doubts(queue, result);
  bool decides = final || (counts && !doubted && queue_decides(queue, test, result->status));
  if (decides && !final && result->status == QUEUE_SKIPPED && test->attempts + 1 < LIMIT_ATTEMPTS)
    decides = queue_skip_settles(queue, result->worker, number, repeated);
  bool stored = decides || test->attempts < LIMIT_ATTEMPTS;
  queue_report(lease, place);
  if (counts) {
    queue_apply(queue, result->worker, number, result->status, decides);
    queue_sick_learn(queue, result->worker, number, queue_bad(result->status));
  }
  if (lease->open == 0) queue_lease_drop(queue, slot);  // nothing more can come of it
  if (!stored) {
    queue_note_unstored(queue, result->worker);
    return ACCEPT_DUPLICATE;
  }
  *settles = decides;
  *attempt = ++test->attempts;
  if (!counts) queue_note_run(queue, result->worker, number);
  queue_teach(queue, result);
  if (counts) queue_settle(queue, now_us, effects);
  return accept;
}

static void queue_restore_number(struct queue *queue, const struct queue_result *result, uint32_t attempt) {
  assert(result->test < queue->total);
  struct queue_test *test = &queue->test[result->test];
  if (attempt > test->attempts) test->attempts = (uint16_t)(attempt < UINT16_MAX ? attempt : UINT16_MAX);
  if (result->worker < queue->worker_count)
    (void)queue_skip_learn(queue, result->worker, result->test, result->status, result->reason);
}

void queue_restore_result(struct queue *queue, const struct queue_result *result, uint32_t attempt, bool settles) {
  queue_restore_number(queue, result, attempt);
  if (queue->test[result->test].place != PLACE_DONE)
    queue_apply(queue, result->worker, result->test, result->status, settles);
}

void queue_restore_extra(struct queue *queue, const struct queue_result *result, uint32_t attempt) {
  queue_restore_number(queue, result, attempt);
  queue_note_run(queue, result->worker, result->test);
}

uint32_t queue_overruns(const struct queue *queue, uint32_t number) {
  assert(number < queue->total);
  return queue->test[number].overruns;
}

double queue_slowness(const struct queue *queue, uint32_t worker) {
  assert(worker < queue->worker_count);
  return sched_worker_slowness(&queue->worker[worker].sched);
}
