// Sick workers: a machine whose disk is full, whose clock is off or whose database does not answer fails tests that are
// good, and, since failing is quick, gets many of them. Called by queue_verdict.c for each result that counts, and by
// queue_tick; pure.
//
// A worker is suspected by the rule that judges workers when a build closes (flaky.h), once the others have done
// SICK_OTHERS, if it failed SICK_FAILED tests of three files, or SICK_FAILED_ANYWHERE: a change that breaks a module
// breaks less. That proves nothing: its files may just be broken. So the failures of a suspect do not settle verdicts,
// up to SICK_PROBES of them: those tests are tried on another worker, as a retry is. When SICK_VOTES of them pass
// there, and twice as many pass as fail, the worker is sick: it gets nothing more, and the verdicts that its failures
// settled before are given back, in a new round. When SICK_VOTES fail there as well, it is the tests that are broken,
// and the worker is not suspected again. These figures are our own.
#include <assert.h>
#include <stdlib.h>

#include "server/flaky.h"
#include "server/queue_impl.h"

enum { SICK_OTHERS = 20, SICK_PROBES = 10, SICK_VOTES = 3, SICK_FAILED = 10, SICK_FAILED_ANYWHERE = 20 };

static bool sick_suspected(const struct queue *queue, const struct queue_worker *worker) {
  struct flaky_first own = {worker->ran - worker->ran_skipped, worker->ran_failed};  // who skips, neither
  struct flaky_first all = {queue->ran - queue->ran_skipped, queue->ran_failed};     // fails nor passes
  bool widely = worker->failed_files == COUNT_OF(worker->failed_in) && worker->ran_failed >= SICK_FAILED;
  widely |= worker->ran_failed >= SICK_FAILED_ANYWHERE;
  bool stands_out = worker->fenced || (widely && all.n - own.n >= SICK_OTHERS && flaky_worker_sick(&own, &all));
  return stands_out && !worker->cleared && queue_others_run(queue, worker);
}

bool queue_suspects(const struct queue *queue, uint32_t number) {
  return sick_suspected(queue, &queue->worker[number]);
}

// ---- probes

bool queue_sick_probes(struct queue *queue, uint32_t number, uint32_t test) {
  struct queue_worker *worker = &queue->worker[number];
  if (!sick_suspected(queue, worker)) return false;
  if (worker->fenced) return true;
  if (queue->test[test].failures || worker->probes == SICK_PROBES) return false;
  worker->probes++;
  queue->probed++;
  if (queue->probe_count == queue->probe_room) {
    queue->probe_room = queue->probe_room ? queue->probe_room * 2 : (uint32_t)SICK_PROBES;
    queue->probe = base_realloc(queue->probe, queue->probe_room, sizeof *queue->probe);
  }
  queue->probe[queue->probe_count++] = (struct queue_probe){.test = test, .suspect = number};
  return true;
}

static void sick_judge(struct queue *queue, uint32_t number) {
  struct queue_worker *worker = &queue->worker[number];
  if (worker->cleared || worker->fenced) return;
  if (worker->refuted >= SICK_VOTES && worker->refuted >= 2 * worker->confirmed) {
    worker->fenced = worker->fencing = true;
    queue->fencing++;
    queue->wake = true;  // the round begins behind the results of this message
  } else if (worker->confirmed >= SICK_VOTES) {
    worker->cleared = true;
  }
}

void queue_sick_learn(struct queue *queue, uint32_t number, uint32_t test, bool failed) {
  for (uint32_t i = 0; i < queue->probe_count; i++) {
    struct queue_probe probe = queue->probe[i];
    if (probe.test != test || probe.suspect == number) continue;
    queue->probe[i] = queue->probe[--queue->probe_count];
    if (queue_suspects(queue, number)) return;  // one suspect says nothing of another
    *(failed ? &queue->worker[probe.suspect].confirmed : &queue->worker[probe.suspect].refuted) += 1;
    sick_judge(queue, probe.suspect);
    return;
  }
}

// ---- fencing

static bool sick_gives_back(const struct queue *queue, const struct queue_test *test) {
  return test->place == PLACE_DONE && test->worker < queue->worker_count && queue->worker[test->worker].fencing &&
         queue_failing((enum queue_verdict)test->verdict);
}

static void sick_give_back(struct queue *queue, struct effects *effects) {
  struct effect again = {.kind = EFFECT_ROUND, .tests = base_calloc(queue->total + 1, sizeof *again.tests)};
  for (uint32_t i = 0; i < queue->total; i++) {
    if (sick_gives_back(queue, &queue->test[i])) again.tests[again.count++] = i;
  }
  for (uint32_t i = 0; i < again.count; i++)
    queue_reopen_test(queue, again.tests[i]);
  if (again.count == 0) {
    free(again.tests);
    return;
  }
  again.round = ++queue->round;
  effects_add(effects, again);
}

// A build that ended meanwhile stays as it is.
void queue_sick_fence(struct queue *queue, uint64_t now_us, struct effects *effects) {
  bool running = queue->state == QUEUE_RUNNING;
  if (running) sick_give_back(queue, effects);
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    if (!queue->worker[i].fencing) continue;
    queue->worker[i].fencing = false;
    queue->fencing--;
    if (running && !queue->worker[i].left) queue_send_home(queue, now_us, i, effects);
  }
  assert(queue->fencing == 0);
}
