// The queue's failing facts outside of verdicts, and jobs that are run again: which tests such a job opens, and which
// facts it clears by that. Called by queue_worker.c when workers come and go, and by recovery, which comes to the same
// state; pure.
//
// A worker that leaves with an error outside of tests, or whose test process failed after it had run tests, leaves a
// fact behind: the build is not green while it is open. Only running again what produced it clears it: all tests that
// the worker had run (its evidence: those it decided, and those of which it keeps a note because the verdict is not, or
// no longer, its own). Those are opened together, and the build does not end before each has run again. Who runs one of
// them owes the end of its own session: until then nothing shows that the error is gone. A worker that had run nothing
// has no evidence: a later run of its job that comes to a good end clears its fact.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/queue_impl.h"

enum { CLEARED_BY_SESSION = 1 };  // no round of tests belongs to it: the first one that a re-run opens is 2

struct rerun {
  const struct queue_join *join;
  uint32_t number;
  bool known, ended;  // its node was here before; the build was over
  bool everyone;      // it opens what others left behind, too
  bool *picked;       // by test
  bool *covered;      // by worker: its fact's evidence is picked, or runs again already
  uint32_t failing, evidence, rest;
};

typedef bool rerun_picks(const struct queue *queue, const struct rerun *rerun, const struct queue_test *test);

static bool rerun_same_node(const struct queue_worker *worker, const struct queue_join *join) {
  return join->node[0] && strcmp(worker->node, join->node) == 0;
}

// Without tokens an ended build tells. While the earlier one is still at work, these are two jobs that share a name,
// not a re-run.
bool queue_node_returns(const struct queue *queue, const struct queue_join *join) {
  bool returns = false;
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    const struct queue_worker *worker = &queue->worker[i];
    if (!rerun_same_node(worker, join)) continue;
    if (worker->connected) return false;
    if (strcmp(worker->attempt, join->attempt) != 0) returns = true;
    if (!join->attempt[0] && queue_ended(queue)) returns = true;
  }
  return returns;
}

// ---- facts

bool queue_fact_open(const struct queue_worker *worker) {
  return worker->fact != FACT_NONE && !worker->fact_round;
}

void queue_fact_count(struct queue *queue, enum queue_fact fact, int by) {
  if (fact == FACT_LATE) queue->late_errors += (uint32_t)by;
  if (fact == FACT_BROKEN) queue->broken += (uint32_t)by;
}

static void fact_owes(struct queue *queue, struct queue_worker *worker, bool owes) {
  assert(worker->owes != owes && (!owes || !worker->left));
  worker->owes = owes;
  queue->owing += owes ? 1 : UINT32_MAX;
}

void queue_fact_owes(struct queue *queue, uint32_t number, uint32_t test) {
  if (!queue->test[test].evidence || number >= queue->worker_count) return;
  struct queue_worker *worker = &queue->worker[number];
  if (worker->owes || worker->left || queue->round < worker->fact_round)
    return;  // replayed, from before it was cleared
  fact_owes(queue, worker, true);
}

// Heard of within the lease_ttl, or awaited after a restart, it may yet end its session.
static bool fact_hangs(const struct queue *queue, const struct queue_worker *worker) {
  return worker->owes && !worker->link[LIST_HEARD].in && !(worker->awaited && queue->hold_until_us);
}

bool queue_fact_hangs(const struct queue *queue) {
  for (uint32_t i = 0; queue->owing && i < queue->worker_count; i++) {
    if (fact_hangs(queue, &queue->worker[i])) return true;
  }
  return false;
}

void queue_note_run(struct queue *queue, uint32_t number, uint32_t test) {
  if (number >= queue->worker_count) return;
  struct queue_worker *worker = &queue->worker[number];
  if (worker->left && worker->fact == FACT_NONE) return;  // it can leave none any more
  if (worker->noted == worker->noted_room) {
    worker->noted_room = worker->noted_room ? worker->noted_room * 2 : 8;
    worker->note = base_realloc(worker->note, worker->noted_room, sizeof *worker->note);
  }
  worker->note[worker->noted++] = test;
}

void queue_note_unstored(struct queue *queue, uint32_t number) {
  queue->worker[number].unstored = true;
}

static bool fact_has_evidence(const struct queue *queue, uint32_t number) {
  if (queue->worker[number].noted || queue->worker[number].unstored) return true;
  for (uint32_t i = 0; i < queue->total; i++) {
    if (queue->test[i].place == PLACE_DONE && queue->test[i].worker == number) return true;
  }
  return false;
}

static void fact_clear(struct queue *queue, uint32_t number, uint32_t cleared, struct effects *effects) {
  struct queue_worker *worker = &queue->worker[number];
  assert(queue_fact_open(worker));
  worker->fact_round = cleared;
  queue_fact_count(queue, worker->fact, -1);
  effects_add(effects, (struct effect){.kind = EFFECT_CLEARED, .worker = number, .round = cleared});
}

// A job that is run again went through its whole session: what its earlier runs left without having run a test.
static void fact_clear_by_session(struct queue *queue, uint32_t number, struct effects *effects) {
  const struct queue_worker *by = &queue->worker[number];
  if (by->again == AGAIN_NONE || (!by->node[0] && !by->ran)) return;
  for (uint32_t i = 0; i < number; i++) {
    const struct queue_worker *worker = &queue->worker[i];
    if (!queue_fact_open(worker) || strcmp(worker->node, by->node) != 0 || fact_has_evidence(queue, i)) continue;
    fact_clear(queue, i, CLEARED_BY_SESSION, effects);
  }
}

static void fact_leave(struct queue *queue, struct queue_worker *worker, enum queue_fact fact) {
  assert(!queue_fact_open(worker));  // it is cleared if a re-run took the worker for lost
  worker->fact = fact;
  worker->fact_round = 0;
  queue_fact_count(queue, fact, 1);
}

void queue_fact_learn(struct queue *queue, uint32_t number, enum queue_leaving how, struct effects *effects) {
  struct queue_worker *worker = &queue->worker[number];
  bool owed = worker->owes;
  if (owed) fact_owes(queue, worker, false);
  switch (how) {
    case LEAVING_WELL: fact_clear_by_session(queue, number, effects); break;
    case LEAVING_EARLY:
      if (owed) fact_leave(queue, worker, FACT_BROKEN);
      break;
    case LEAVING_LATE: fact_leave(queue, worker, FACT_LATE); break;
    case LEAVING_BROKEN:
      if (fact_has_evidence(queue, number)) fact_leave(queue, worker, FACT_BROKEN);
      break;
  }
}

// ---- opening tests

void queue_reopen_test(struct queue *queue, uint32_t test) {
  queue->test[test].failed_before |= queue_failing((enum queue_verdict)queue->test[test].verdict);
  queue_clear_verdict(queue, test);
  if (queue->test[test].failures) queue->retried--;
  queue->test[test].crashes = queue->test[test].overruns = queue->test[test].failures = 0;
  memset(queue->test[test].lost_by, 0xff, sizeof queue->test[test].lost_by);
  queue_move(queue, test, PLACE_READY);
  if (queue_skip_voted(queue, test)) queue_hold(queue, test);
}

// Evidence that had run has to run: a skip would verify nothing.
static void rerun_must_run(struct queue *queue, uint32_t test) {
  struct queue_test *of = &queue->test[test];
  of->evidence = true;
  if (of->place == PLACE_DONE && of->verdict != VERDICT_SKIPPED) of->failed_before = true;
}

// It was decided by a worker that went through to its session's end: it is evidence no longer.
static void rerun_verify(const struct queue *queue, struct queue_test *test) {
  if (test->worker >= queue->worker_count) return;
  const struct queue_worker *by = &queue->worker[test->worker];
  if (by->left && by->fact == FACT_NONE) test->evidence = false;
}

// Facts that are cleared by this round mark their evidence, also what waits to be run again already: a round may open
// no test.
static void rerun_open(struct queue *queue, uint32_t round, const uint32_t *tests, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    rerun_verify(queue, &queue->test[tests[i]]);
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    const struct queue_worker *worker = &queue->worker[i];
    if (worker->fact_round != round) continue;
    for (uint32_t n = 0; n < worker->noted; n++)
      rerun_must_run(queue, worker->note[n]);
    for (uint32_t n = 0; worker->unstored && n < queue->total; n++)
      rerun_must_run(queue, n);
  }
  for (uint32_t i = 0; i < count; i++) {
    uint32_t worker = queue->test[tests[i]].worker;
    if (worker < queue->worker_count && queue->worker[worker].fact_round == round) rerun_must_run(queue, tests[i]);
  }
  for (uint32_t i = 0; i < count; i++)
    queue_reopen_test(queue, tests[i]);
  queue->round = round;
}

void queue_restore_round(struct queue *queue, uint32_t round, const uint32_t *tests, uint32_t count) {
  uint32_t *done = base_calloc(count + 1, sizeof *done), n = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (tests[i] < queue->total && queue->test[tests[i]].place == PLACE_DONE) done[n++] = tests[i];
  }
  rerun_open(queue, round, done, n);
  free(done);
}

// ---- what a job that is run again opens

static bool rerun_is_own(const struct queue *queue, const struct rerun *rerun, uint32_t worker) {
  return worker < queue->worker_count && rerun_same_node(&queue->worker[worker], rerun->join);
}

static bool picks_failing(const struct queue *queue, const struct rerun *rerun, const struct queue_test *test) {
  return queue_failing((enum queue_verdict)test->verdict) &&
         (rerun->everyone || rerun_is_own(queue, rerun, test->worker));
}

static bool picks_evidence(const struct queue *queue, const struct rerun *rerun, const struct queue_test *test) {
  return test->worker < queue->worker_count && rerun->covered[test->worker];
}

static bool picks_own(const struct queue *queue, const struct rerun *rerun, const struct queue_test *test) {
  return rerun_is_own(queue, rerun, test->worker);
}

// The build was complete since the worker that decided the test came. (A later one of the node, which had nothing to
// do, says nothing of that.)
static bool picks_completed(const struct queue *queue, const struct rerun *rerun, const struct queue_test *test) {
  return picks_own(queue, rerun, test) && queue->completed > queue->worker[test->worker].completed;
}

static bool picks_all(const struct queue *queue, const struct rerun *rerun, const struct queue_test *test) {
  (void)queue;
  (void)rerun;
  (void)test;
  return true;
}

static uint32_t rerun_pick(const struct queue *queue, const struct rerun *rerun, rerun_picks *picks) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < queue->total; i++) {
    if (queue->test[i].place != PLACE_DONE || rerun->picked[i] || !picks(queue, rerun, &queue->test[i])) continue;
    rerun->picked[i] = true;
    n++;
  }
  return n;
}

static uint32_t rerun_pick_noted(const struct queue *queue, const struct rerun *rerun, uint32_t number) {
  const struct queue_worker *worker = &queue->worker[number];
  uint32_t n = 0;
  for (uint32_t i = 0; i < worker->noted; i++) {
    uint32_t test = worker->note[i];
    if (queue->test[test].place != PLACE_DONE || rerun->picked[test]) continue;
    rerun->picked[test] = true;
    n++;
  }
  return n;
}

// A job that is run again, and was lost before its session's end, left what it was to clear. It may still be heard of
// for a while; but not while it waits for the other workers' end.
static void rerun_take_for_lost(struct queue *queue, struct queue_worker *worker) {
  bool waits = worker->drained && worker->link[LIST_HEARD].in;
  if (!worker->owes || worker->connected || waits) return;
  fact_owes(queue, worker, false);
  fact_leave(queue, worker, FACT_BROKEN);
}

static uint32_t rerun_pick_evidence(struct queue *queue, const struct rerun *rerun) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < rerun->number; i++) {
    bool mine = rerun->everyone || rerun_is_own(queue, rerun, i);
    if (mine) rerun_take_for_lost(queue, &queue->worker[i]);
    rerun->covered[i] = mine && queue_fact_open(&queue->worker[i]) && fact_has_evidence(queue, i);
    if (rerun->covered[i]) n += rerun_pick_noted(queue, rerun, i);
    if (rerun->covered[i] && queue->worker[i].unstored) n += rerun_pick(queue, rerun, picks_all);
  }
  return n + rerun_pick(queue, rerun, picks_evidence);
}

// Jobs of one re-run share its token, where the CI has one.
static bool rerun_opened_before(const struct queue *queue, const struct rerun *rerun) {
  for (uint32_t i = 0; rerun->join->attempt[0] && i < rerun->number; i++) {
    const struct queue_worker *worker = &queue->worker[i];
    if (worker->opened && strcmp(worker->attempt, rerun->join->attempt) == 0) return true;
  }
  return false;
}

// This very run of the job opened tests already, and has come back as another worker: the server was away.
static bool rerun_came_back(const struct queue *queue, const struct rerun *rerun) {
  for (uint32_t i = 0; rerun->join->attempt[0] && i < rerun->number; i++) {
    const struct queue_worker *worker = &queue->worker[i];
    if (worker->opened && rerun_is_own(queue, rerun, i) && strcmp(worker->attempt, rerun->join->attempt) == 0)
      return true;
  }
  return false;
}

// With nothing unresolved: what its node decided, or everything where nobody knows who decided what.
static rerun_picks *rerun_picks_resolved(const struct queue *queue, const struct rerun *rerun) {
  if (rerun->known) return rerun_came_back(queue, rerun) ? NULL : picks_completed;
  bool anew = queue->state == QUEUE_COMPLETE && rerun->join->retried == QUEUE_RETRIED_YES && !rerun->join->node[0];
  return anew && !rerun_opened_before(queue, rerun) ? picks_all : NULL;
}

static void rerun_choose(struct queue *queue, struct rerun *rerun) {
  enum queue_on_retry mode = queue->policy.on_retry;
  bool all = mode == QUEUE_ALL && rerun->ended && !rerun_opened_before(queue, rerun);
  rerun_picks *rest = all ? picks_all : mode == QUEUE_MINE && rerun->known ? picks_own : NULL;
  rerun->everyone = !rerun->known || all;
  rerun->failing = rerun_pick(queue, rerun, picks_failing);
  rerun->evidence = rerun_pick_evidence(queue, rerun);
  bool again = mode == QUEUE_AGAIN || (mode == QUEUE_MINE && !rerun->known);
  if (again && rerun->failing + rerun->evidence == 0) rest = rerun_picks_resolved(queue, rerun);
  if (rest) rerun->rest = rerun_pick(queue, rerun, rest);
}

static enum queue_opening rerun_why(const struct queue *queue, const struct rerun *rerun, uint32_t count) {
  if (count == 0) return AGAIN_NOTHING;
  if (rerun->rest) return count == queue->total ? AGAIN_ALL : AGAIN_DECIDED;
  if (rerun->evidence == 0) return AGAIN_FAILED;
  return rerun->failing ? AGAIN_UNRESOLVED : AGAIN_LATE;
}

static void rerun_do(struct queue *queue, const struct rerun *rerun, uint32_t **tests, struct effects *effects) {
  struct queue_worker *by = &queue->worker[rerun->number];
  *tests = base_calloc(queue->total + 1, sizeof **tests);
  for (uint32_t i = 0; i < queue->total; i++) {
    if (rerun->picked[i]) (*tests)[by->opened++] = i;
  }
  by->again = rerun_why(queue, rerun, by->opened);
  bool covers = false;
  for (uint32_t i = 0; i < rerun->number; i++) {
    if (rerun->covered[i]) fact_clear(queue, i, queue->round + 1, effects);
    covers |= rerun->covered[i];
  }
  if (by->opened || covers) rerun_open(queue, queue->round + 1, *tests, by->opened);
}

uint32_t queue_rerun(struct queue *queue, uint32_t number, const struct queue_join *join, bool known, uint32_t **tests,
                     struct effects *effects) {
  struct rerun rerun = {.join = join, .number = number, .known = known, .ended = queue_ended(queue)};
  queue->worker[number].again = AGAIN_NOTHING;
  if (!queue->sched || (!known && !rerun.ended)) return 0;
  rerun.picked = base_calloc(queue->total + 1, sizeof *rerun.picked);
  rerun.covered = base_calloc(number + 1, sizeof *rerun.covered);
  rerun_choose(queue, &rerun);
  rerun_do(queue, &rerun, tests, effects);
  free(rerun.picked);
  free(rerun.covered);
  return queue->worker[number].opened;
}

enum queue_opening queue_again(const struct queue *queue, uint32_t number, uint32_t *opened, bool *ran) {
  assert(number < queue->worker_count);
  const struct queue_worker *worker = &queue->worker[number];
  *opened = worker->opened;
  *ran = worker->ran > 0;
  return worker->again;
}
