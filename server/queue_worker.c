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

// ---- a job that is run again

static bool queue_same_node(const struct queue_worker *worker, const struct queue_join *join) {
  return join->node[0] && strcmp(worker->node, join->node) == 0;
}

// Was this node here before, as another try of the job? Without tokens an ended build tells. While the earlier one is
// still at work, these are two jobs that share a name, not a re-run.
static bool queue_node_returns(const struct queue *queue, const struct queue_join *join) {
  bool returns = false;
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    const struct queue_worker *worker = &queue->worker[i];
    if (!queue_same_node(worker, join)) continue;
    if (worker->connected) return false;
    if (strcmp(worker->attempt, join->attempt) != 0) returns = true;
    if (!join->attempt[0] && queue_ended(queue)) returns = true;
  }
  return returns;
}

struct queue_reopen {
  const struct queue_join *join;
  bool known;  // the node was here before
  bool ended;  // the build was over
};

static bool queue_reopens(const struct queue *queue, const struct queue_reopen *reopen, const struct queue_test *test) {
  if (test->place != PLACE_DONE) return false;
  bool own = test->worker < queue->worker_count && queue_same_node(&queue->worker[test->worker], reopen->join);
  bool failing = queue_failing((enum queue_verdict)test->verdict);
  switch (queue->policy.on_retry) {
    case QUEUE_ALL: return reopen->ended;
    case QUEUE_MINE: return reopen->known ? own : failing;
    case QUEUE_UNRESOLVED: break;
  }
  return failing && (own || !reopen->known);
}

void queue_reopen_test(struct queue *queue, uint32_t test) {
  queue->test[test].failed_before |= queue_failing((enum queue_verdict)queue->test[test].verdict);
  queue_clear_verdict(queue, test);
  if (queue->test[test].failures) queue->retried--;
  queue->test[test].crashes = queue->test[test].overruns = queue->test[test].failures = 0;
  memset(queue->test[test].lost_by, 0xff, sizeof queue->test[test].lost_by);
  queue_move(queue, test, PLACE_READY);
  if (queue_skip_voted(queue, test)) queue_hold(queue, test);
}

static uint32_t queue_reopen(struct queue *queue, const struct queue_reopen *reopen, uint32_t **out) {
  uint32_t n = 0;
  *out = base_calloc(queue->total + 1, sizeof **out);
  for (uint32_t i = 0; i < queue->total; i++) {
    if (queue_reopens(queue, reopen, &queue->test[i])) (*out)[n++] = i;
  }
  for (uint32_t i = 0; i < n; i++) {
    queue_reopen_test(queue, (*out)[i]);
  }
  if (n) queue->round++;
  return n;
}

// What the node's earlier tries left behind outside of tests is forgiven: it is run again now.
static void queue_forgive(struct queue *queue, const struct queue_join *join) {
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    struct queue_worker *worker = &queue->worker[i];
    if (!worker->late_errors || !queue_same_node(worker, join)) continue;
    worker->late_errors = false;
    queue->late_errors--;
  }
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
  struct queue_reopen reopen = {
      .join = join, .known = !join->brings && queue_node_returns(queue, join), .ended = queue_ended(queue)};
  bool rerun = !join->brings && (reopen.known || join->retried == QUEUE_RETRIED_YES ||
                                 (reopen.ended && join->retried == QUEUE_RETRIED_UNKNOWN));
  if (reopen.known) queue_forgive(queue, join);
  if (rerun && queue->sched && (reopen.known || reopen.ended)) {
    *reopened_count = queue_reopen(queue, &reopen, reopened);
  }
  uint32_t number = queue_worker_add(queue, join);
  queue->worker[number].rerun = rerun;
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

void queue_leave(struct queue *queue, uint64_t now_us, uint32_t number, bool late_errors, struct effects *effects) {
  assert(number < queue->worker_count);
  struct queue_worker *worker = &queue->worker[number];
  if (worker->left) return;
  queue_lease_end_all(queue, number, false, effects);
  queue_list_remove(queue, LIST_HEARD, number);
  queue_detach(queue, now_us, number);
  worker->left = true;
  queue->left++;
  if (late_errors) {
    worker->late_errors = true;
    queue->late_errors++;
  }
  queue_settle(queue, now_us, effects);
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

int queue_exit_code(const struct queue *queue, uint32_t number, const char **why) {
  const struct queue_worker *worker = &queue->worker[number];
  *why = "every test this worker decided passed";
  if (worker->own_failing) {
    *why = "tests failed on this worker";
    return EXIT_TESTS_FAILED;
  }
  if (worker->late_errors) {
    *why = "an error outside of any test on this worker";
    return EXIT_TESTS_FAILED;
  }
  if (worker->fenced) {
    *why = "tests that failed on this worker pass on others: something is wrong with this machine";
    return EXIT_INFRA;
  }
  switch (queue->state) {
    case QUEUE_INCOMPLETE:
      *why = queue->few ? "fewer workers came than --min-workers asks for" : "the build ended without all its tests";
      return EXIT_INFRA;
    case QUEUE_ABORTED: *why = "the build was ended by its bound on failures"; return EXIT_TESTS_FAILED;
    case QUEUE_COLLECTING: *why = "the build has no list of tests"; return EXIT_INFRA;
    case QUEUE_RUNNING:
      *why = "other workers have the rest of the build";
      if (queue->connected || (queue->awaited && queue->hold_until_us)) break;
      *why = "tests have no verdict and no worker is left";
      return EXIT_INFRA;
    case QUEUE_COMPLETE: break;
  }
  if (worker->late && !worker->rerun && queue_build_code(queue, why) != EXIT_OK) return EXIT_TESTS_FAILED;
  return EXIT_OK;
}

int queue_build_code(const struct queue *queue, const char **why) {
  *why = "every test has its verdict, none fails";
  uint32_t failing = queue_failing_count(queue);
  if (queue->state == QUEUE_INCOMPLETE || !queue_ended(queue)) {
    *why = queue->few ? "fewer workers came than --min-workers asks for" : "tests have no verdict";
    return EXIT_INFRA;
  }
  if (failing) *why = "tests failed";
  if (!failing && queue->state == QUEUE_ABORTED) *why = "the build was ended by its bound on failures";
  if (!failing && queue->late_errors) *why = "an error outside of any test";
  return failing || queue->state == QUEUE_ABORTED || queue->late_errors ? EXIT_TESTS_FAILED : EXIT_OK;
}

// ---- recovery

uint32_t queue_restore_worker(struct queue *queue, const struct queue_join *join, bool late_errors) {
  if (!join->brings && queue_node_returns(queue, join)) {
    queue_forgive(queue, join);
    queue->rerun = true;
  }
  uint32_t number = queue_worker_add(queue, join);
  queue->worker[number].late_errors = late_errors;
  queue->late_errors += late_errors;
  queue->worker[number].awaited = true;
  queue->awaited++;
  return number;
}

void queue_restore_round(struct queue *queue, uint32_t round, const uint32_t *tests, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (tests[i] < queue->total && queue->test[tests[i]].place == PLACE_DONE) queue_reopen_test(queue, tests[i]);
  }
  queue->round = round;
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
    queue_restore_late(queue);
  }
  queue_settle(queue, now_us, effects);
}
