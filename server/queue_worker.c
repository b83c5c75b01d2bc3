// The queue's workers: coming, returning, leaving, being run again, and what each exits with. Called by dispatch; pure.
// A "node" is a parallel job of the CI, the same over its retries; a "worker" is one run of it.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/queue_impl.h"

// The first worker of the node; the next one to come, when it is that.
static uint32_t queue_node_of(const struct queue *queue, const char *node) {
  uint32_t i = 0;
  while (i < queue->worker_count && (!node[0] || strcmp(queue->worker[i].node, node) != 0))
    i++;
  return i;
}

// None of its workers has come to run tests.
static bool queue_node_is_new(const struct queue *queue, uint32_t node_id) {
  for (uint32_t i = node_id; i < queue->worker_count; i++) {
    if (queue->worker[i].node_id == node_id && !queue->worker[i].brings) return false;
  }
  return true;
}

// A job that is run again is no further worker.
static bool queue_node_came(const struct queue *queue, const char *node) {
  for (uint32_t i = 0; node[0] && i < queue->worker_count; i++) {
    if (strcmp(queue->worker[i].node, node) == 0) return true;
  }
  return false;
}

static uint32_t queue_worker_add(struct queue *queue, const struct queue_join *join) {
  if (queue->worker_count == queue->worker_room) {
    queue->worker_room = queue->worker_room ? queue->worker_room * 2 : 8;
    queue->worker = base_realloc(queue->worker, queue->worker_room, sizeof *queue->worker);
  }
  struct queue_worker *worker = &queue->worker[queue->worker_count];
  *worker = (struct queue_worker){.node = base_strdup(join->node), .attempt = base_strdup(join->attempt)};
  sched_worker_init(&worker->sched);
  worker->brings = join->brings;
  worker->node_id = queue_node_of(queue, join->node);
  queue->nodes += !join->brings && queue_node_is_new(queue, worker->node_id);
  if (join->brings) queue->policy.min_workers = 0;  // workers went on without the server: they do not come together
  if (queue->policy.min_workers && !queue_node_came(queue, join->node)) queue->came++;
  if (join->node_total > queue->declared) queue->declared = join->node_total;
  return queue->worker_count++;
}

bool queue_others_run(const struct queue *queue, const struct queue_worker *worker) {
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    const struct queue_worker *other = &queue->worker[i];
    if (other != worker && (other->connected || other->awaited) && !other->brings) return true;
  }
  return false;
}

bool queue_present(const struct queue *queue, uint32_t number) {
  const struct queue_worker *worker = &queue->worker[number];
  if (worker->brings || worker->left || worker->drained || worker->fenced) return false;
  return worker->link[LIST_HEARD].in || (worker->awaited && queue->hold_until_us);
}

void queue_declare(struct queue *queue, uint32_t nodes) {
  if (nodes > queue->declared) queue->declared = nodes;
}

static void queue_worker_connect(struct queue *queue, uint64_t now_us, uint32_t number) {
  struct queue_worker *worker = &queue->worker[number];
  worker->heard_us = now_us;
  queue_list_add(queue, LIST_HEARD, number);
  if (worker->awaited) {
    worker->awaited = false;
    if (--queue->awaited == 0) queue->wake = true;  // the last one is back: those parked meanwhile need not wait
  }
  if (worker->asked) {
    worker->asked = false;
    worker->parked_us = now_us;
    queue_list_add(queue, LIST_PARKED, number);
    queue->wake = true;
  }
  if (worker->connected || worker->drained) return;
  worker->connected = true;
  queue->connected++;
  queue->idle_since_us = 0;
  if (queue->state == QUEUE_INCOMPLETE) queue->wake = true;  // given up too early
}

// An ended build goes on: because it never was complete, or because a job is run again and there is work for it. What
// failed before does not end it again.
void queue_go_on(struct queue *queue, bool rerun, struct effects *effects) {
  if (queue->few && queue->came < queue->policy.min_workers) return;
  for (uint32_t i = 0; queue->few && i < queue->worker_count; i++)
    queue->worker[i].late = false;  // it was not over, and they are not too late
  queue->few = false;
  bool work = queue->place_count[PLACE_DONE] < queue->total;
  if (queue->state == QUEUE_INCOMPLETE || (queue_ended(queue) && work && rerun)) {
    queue->forgiven = queue_failing_count(queue);
    queue_set_state(queue, queue->sched ? QUEUE_RUNNING : QUEUE_COLLECTING, effects);
  }
}

uint32_t queue_join(struct queue *queue, uint64_t now_us, const struct queue_join *join, uint32_t **reopened,
                    uint32_t *reopened_count, struct effects *effects) {
  *reopened = NULL;
  *reopened_count = 0;
  if (queue->worker_count >= LIMIT_WORKERS) return QUEUE_NOBODY;
  bool known = !join->brings && queue_node_returns(queue, join), ended = queue_ended(queue);
  bool rerun = !join->brings &&
               (known || join->retried == QUEUE_RETRIED_YES || (ended && join->retried == QUEUE_RETRIED_UNKNOWN));
  uint32_t number = queue_worker_add(queue, join);
  queue->worker[number].completed = queue->completed;
  if (rerun) *reopened_count = queue_rerun(queue, number, join, known, reopened, effects);
  queue_worker_connect(queue, now_us, number);
  queue_go_on(queue, rerun, effects);
  queue->worker[number].late = queue_ended(queue);
  queue_settle(queue, now_us, effects);
  return number;
}

// ---- presence

void queue_attach(struct queue *queue, uint64_t now_us, uint32_t number, struct effects *effects) {
  assert(number < queue->worker_count);
  struct queue_worker *worker = &queue->worker[number];
  if (worker->left) return;
  queue_list_remove(queue, LIST_PARKED, number);  // it asks again on its new connection
  worker->asked = worker->drained = false;
  queue_worker_connect(queue, now_us, number);
  if (queue->state != QUEUE_INCOMPLETE) return;  // nothing is granted before it has named what it holds
  queue_go_on(queue, false, effects);
  queue_settle(queue, now_us, effects);
}

void queue_detach(struct queue *queue, uint64_t now_us, uint32_t number) {
  assert(number < queue->worker_count);
  struct queue_worker *worker = &queue->worker[number];
  queue_list_remove(queue, LIST_PARKED, number);
  worker->asked = false;
  if (queue->sched) sched_worker_leave(queue->sched, &worker->sched);
  if (!worker->connected) return;
  worker->connected = false;
  if (--queue->connected == 0) queue->idle_since_us = now_us;
}

void queue_heard(struct queue *queue, uint64_t now_us, uint32_t number) {
  assert(number < queue->worker_count);
  if (!queue->worker[number].left) queue_worker_connect(queue, now_us, number);
}

void queue_leave(struct queue *queue, uint64_t now_us, uint32_t number, enum queue_leaving how,
                 struct effects *effects) {
  assert(number < queue->worker_count);
  struct queue_worker *worker = &queue->worker[number];
  if (worker->left) return;
  queue_lease_end_all(queue, number, false, effects);
  queue_list_remove(queue, LIST_HEARD, number);
  queue_detach(queue, now_us, number);
  worker->left = true;
  queue->left++;
  queue_fact_learn(queue, number, how, effects);
  queue_settle(queue, now_us, effects);
}

void queue_await_nobody(struct queue *queue) {
  queue->hold_until_us = 0;
}

bool queue_closing(const struct queue *queue, uint64_t now_us) {
  bool awaits = queue->state == QUEUE_COMPLETE && queue->hold_until_us > now_us;  // the others are not green anyway
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    const struct queue_worker *worker = &queue->worker[i];
    if (!worker->left && (worker->link[LIST_HEARD].in || (awaits && worker->awaited))) return true;
  }
  return false;
}

uint32_t queue_worker_count(const struct queue *queue) {
  return queue->worker_count;
}

bool queue_worker_connected(const struct queue *queue, uint32_t worker) {
  assert(worker < queue->worker_count);
  return queue->worker[worker].connected;
}

uint32_t queue_own_failing(const struct queue *queue, uint32_t worker) {
  assert(worker < queue->worker_count);
  return queue->worker[worker].own_failing;
}

// ---- exit codes

// Open facts of the worker itself, and of earlier runs of its job.
static bool queue_own_fact(const struct queue *queue, uint32_t number, enum queue_fact fact, const char **why) {
  const struct queue_worker *worker = &queue->worker[number];
  for (uint32_t i = 0; i <= number; i++) {
    const struct queue_worker *of = &queue->worker[i];
    bool earlier = worker->again && worker->node[0] && strcmp(of->node, worker->node) == 0;
    if (!queue_fact_open(of) || of->fact != fact || (i != number && !earlier)) continue;
    if (i != number) {
      *why = "an earlier run of this job ended with an error outside of tests, and not all that it ran has run again";
    } else if (fact == FACT_LATE) {
      *why = "an error outside of any test on this worker";
    } else {
      *why = "the test process of this worker failed, or was stopped, after it had run tests";
    }
    return true;
  }
  return false;
}

// Another worker runs tests, or may come back to: connected, silent for less than a lease's time, or awaited after a
// restart. One that only brings results, or was told to go, runs nothing more.
static bool queue_others_live(const struct queue *queue, uint32_t number) {
  bool lives = false;
  for (uint32_t i = 0; i < queue->worker_count && !lives; i++) {
    const struct queue_worker *other = &queue->worker[i];
    if (i == number || other->brings || other->left || other->drained) continue;
    lives = other->link[LIST_HEARD].in || (other->awaited && queue->hold_until_us);
  }
  return lives;
}

static int queue_state_code(const struct queue *queue, uint32_t number, const char **why) {
  switch (queue->state) {
    case QUEUE_INCOMPLETE:
      *why = queue->few ? "fewer workers came than --min-workers asks for" : "the build ended without all its tests";
      return EXIT_INFRA;
    case QUEUE_ABORTED: *why = "the build was ended by its bound on failures"; return EXIT_TESTS_FAILED;
    case QUEUE_COLLECTING: *why = "the build has no list of tests"; return EXIT_INFRA;
    case QUEUE_RUNNING:
      *why = "other workers have the rest of the build";
      if (queue_others_live(queue, number)) break;
      *why = "tests have no verdict and no worker is left";
      return EXIT_INFRA;
    case QUEUE_COMPLETE: break;
  }
  return EXIT_OK;
}

// What fails the build by what is known so far: verdicts, its bound on failures, errors outside of tests.
static int queue_found_code(const struct queue *queue, const char **why) {
  uint32_t failing = queue_failing_count(queue);
  bool aborted = queue->state == QUEUE_ABORTED;
  if (failing) *why = "tests failed";
  if (!failing && aborted) *why = "the build was ended by its bound on failures";
  if (!failing && queue->late_errors) *why = "an error outside of any test";
  if (failing || aborted || queue->late_errors) return EXIT_TESTS_FAILED;
  if (queue->broken) {
    *why = "a test process failed, or was stopped, after it had run tests; run its job again";
    return EXIT_INFRA;
  }
  if (queue_fact_hangs(queue)) {
    *why = "a job that was run again for an error outside of tests vanished before its end; run it again";
    return EXIT_INFRA;
  }
  return EXIT_OK;
}

int queue_exit_code(const struct queue *queue, uint32_t number, const char **why) {
  const struct queue_worker *worker = &queue->worker[number];
  *why = "every test this worker decided passed";
  if (worker->own_failing) {
    *why = "tests failed on this worker";
    return EXIT_TESTS_FAILED;
  }
  if (queue_own_fact(queue, number, FACT_LATE, why)) return EXIT_TESTS_FAILED;
  if (worker->fenced) {
    *why = "tests that failed on this worker pass on others: something is wrong with this machine";
    return EXIT_INFRA;
  }
  if (queue_own_fact(queue, number, FACT_BROKEN, why)) return EXIT_INFRA;
  int code = queue_state_code(queue, number, why);
  if (code != EXIT_OK) return code;
  // It cannot tell what is its own. Where a job that is run again has opened tests meanwhile, that one decides those.
  bool judged = worker->late && (!worker->again || !worker->node[0]);
  return judged ? queue_found_code(queue, why) : EXIT_OK;
}

int queue_build_code(const struct queue *queue, const char **why) {
  *why = "every test has its verdict, none fails";
  if (queue->state != QUEUE_INCOMPLETE && queue_ended(queue)) return queue_found_code(queue, why);
  *why = queue->few ? "fewer workers came than --min-workers asks for" : "tests have no verdict";
  return EXIT_INFRA;
}

// ---- recovery

uint32_t queue_restore_worker(struct queue *queue, const struct queue_join *join, const struct queue_past *past) {
  uint32_t number = queue_worker_add(queue, join);
  struct queue_worker *worker = &queue->worker[number];
  worker->fact = past->fact;
  worker->fact_round = past->cleared;
  worker->unstored = past->unstored;
  worker->completed = past->completed;
  worker->again = past->again;
  worker->opened = past->opened;
  if (queue_fact_open(worker)) queue_fact_count(queue, worker->fact, 1);
  if (past->completed > queue->completed) queue->completed = past->completed;
  queue->rerun |= past->again != AGAIN_NONE;
  worker->awaited = true;
  queue->awaited++;
  return number;
}

void queue_past(const struct queue *queue, uint32_t number, struct queue_past *past) {
  assert(number < queue->worker_count);
  const struct queue_worker *worker = &queue->worker[number];
  *past = (struct queue_past){.fact = worker->fact,
                              .cleared = worker->fact_round,
                              .unstored = worker->unstored,
                              .completed = worker->completed,
                              .again = worker->again,
                              .opened = worker->opened};
}

void queue_restore_left(struct queue *queue, uint32_t number) {
  struct queue_worker *worker = &queue->worker[number];
  worker->left = true;
  queue->left++;
  if (worker->awaited) queue->awaited--;
  worker->awaited = false;
}

// Who was here when the build had ended and has decided nothing came late, as far as records tell.
static void queue_restore_late(struct queue *queue) {
  bool *decided = base_calloc(queue->worker_count + 1, sizeof *decided);
  for (uint32_t i = 0; i < queue->total; i++) {
    const struct queue_test *test = &queue->test[i];
    if (test->place == PLACE_DONE && test->worker < queue->worker_count) decided[test->worker] = true;
  }
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    queue->worker[i].late = !queue->worker[i].left && !decided[i];
  }
  free(decided);
}

void queue_restored(struct queue *queue, uint64_t now_us, uint32_t ended, struct effects *effects) {
  queue->idle_since_us = now_us;
  queue->hold_until_us = now_us + queue->policy.lease_ttl_us;
  if (queue->rerun || queue->round > 1) queue->forgiven = queue_failing_count(queue);
  if (ended == QUEUE_COMPLETE && queue->place_count[PLACE_DONE] < queue->total)
    ended = 0;  // killed while it was reopened
  if (ended) {
    queue->state = (enum queue_state)ended;
    queue->few = ended == QUEUE_INCOMPLETE && queue->came < queue->policy.min_workers;
    queue->completed += ended == QUEUE_COMPLETE;
    queue_restore_late(queue);
    for (uint32_t i = 0; i < queue->worker_count; i++)  // who was at work may have run what came too late for a record
      queue->worker[i].unstored |= !queue->worker[i].left && !queue->worker[i].late;
  }
  queue_settle(queue, now_us, effects);
}
