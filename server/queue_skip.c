// Skips: a test whose verdict is *skipped* is one that no worker of the build would run. Skipping takes no time, so
// that a machine without docker would otherwise be given, and skip, nearly all tests that need it. Called by
// queue_verdict.c for each result, by queue_lease.c for each lease, and by queue_tick; pure.
//
// A skip is remembered as a *vote*, of a *kind*: the test's file and the reason. It settles the verdict when no other
// worker is there that might run the test: each of them has skipped it too, or has skipped a test of the same kind
// while one of another node has skipped the very test. Until then the test is *held*, and goes to the others: one
// test of each kind first, and when all have skipped that, the rest of the kind to whoever is free, as one lease. Nodes
// that are declared and have not come are waited for, as long as a worker with nothing to do lingers.
//
// What the trunk's last builds all skipped settles at once, but for one test of each reason, which goes to everybody
// (its kind is the reason alone). The same where it is not known whether more workers will come.
//
// When a test runs that another worker skipped, that one *lacks* something, named by its reason. It gets no more of
// the files that it skipped for this reason (unless it runs others of the file), no skip for it confirms another one,
// and verdicts that rest on such skips alone are given back in a new round. When nobody else is there, it is asked
// itself once more, and its skip stands.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/queue_impl.h"

enum { SKIP_NONE = UINT32_MAX, SKIP_ANY_FILE = UINT32_MAX, SKIP_VARIOUS = UINT32_MAX };

void queue_skip_release(struct queue *queue) {
  free(queue->skips.vote_of);
  free(queue->skips.kind_of);
  free(queue->skips.vote);
  free(queue->skips.kind);
  free(queue->skips.voter);
}

static void *skip_room(void *array, uint32_t count, uint32_t *room, size_t bytes) {
  if (count < *room) return array;
  *room = *room ? *room * 2 : 64;
  return base_realloc(array, *room, bytes);
}

static uint32_t *skip_heads(uint32_t count) {
  uint32_t *heads = base_calloc((size_t)count + 1, sizeof *heads);
  memset(heads, 0xff, ((size_t)count + 1) * sizeof *heads);
  return heads;
}

// ---- kinds

static uint32_t skip_slot(const struct queue *queue, uint32_t file) {
  return file == SKIP_ANY_FILE ? queue->skips.files : file;
}

// The kind of a file and a reason, made if it is new; reasons beyond the bound are one kind.
static uint32_t skip_kind(struct queue *queue, uint32_t file, uint32_t reason) {
  struct queue_skips *skips = &queue->skips;
  uint32_t *head = &skips->kind_of[skip_slot(queue, file)], length = 0;
  for (uint32_t i = *head; i != SKIP_NONE; i = skips->kind[i].next, length++) {
    if (skips->kind[i].reason == reason) return i;
  }
  if (length >= LIMIT_SKIP_KINDS && reason != SKIP_VARIOUS) return skip_kind(queue, file, SKIP_VARIOUS);
  skips->kind = skip_room(skips->kind, skips->kind_count, &skips->kind_room, sizeof *skips->kind);
  skips->kind[skips->kind_count] =
      (struct queue_kind){.file = file, .reason = reason, .next = *head, .voters = SKIP_NONE, .probe = QUEUE_NO_TEST};
  return *head = skips->kind_count++;
}

static struct queue_voter *skip_voter(const struct queue *queue, uint32_t kind, uint32_t worker) {
  const struct queue_skips *skips = &queue->skips;
  uint32_t i = skips->kind[kind].voters;
  while (i != SKIP_NONE && skips->voter[i].worker != worker)
    i = skips->voter[i].next;
  return i == SKIP_NONE ? NULL : &skips->voter[i];
}

static void skip_add_voter(struct queue *queue, uint32_t kind, uint32_t worker) {
  struct queue_skips *skips = &queue->skips;
  if (skip_voter(queue, kind, worker)) return;
  skips->voter = skip_room(skips->voter, skips->voter_count, &skips->voter_room, sizeof *skips->voter);
  skips->voter[skips->voter_count] = (struct queue_voter){.next = skips->kind[kind].voters, .worker = (uint16_t)worker};
  skips->kind[kind].voters = skips->voter_count++;
}

// ---- votes

static uint32_t skip_first(const struct queue *queue, uint32_t test) {
  return queue->skips.vote_of ? queue->skips.vote_of[test] : (uint32_t)SKIP_NONE;
}

bool queue_skip_voted(const struct queue *queue, uint32_t test) {
  return skip_first(queue, test) != SKIP_NONE;
}

static struct queue_vote *skip_vote(const struct queue *queue, uint32_t worker, uint32_t test) {
  uint32_t i = skip_first(queue, test);
  while (i != SKIP_NONE && queue->skips.vote[i].worker != worker)
    i = queue->skips.vote[i].next;
  return i == SKIP_NONE ? NULL : &queue->skips.vote[i];
}

bool queue_skip_has_voted(const struct queue *queue, uint32_t worker, uint32_t test) {
  return skip_vote(queue, worker, test) != NULL;
}

static bool skip_lacks(const struct queue *queue, uint32_t worker, uint32_t reason) {
  const struct queue_worker *of = &queue->worker[worker];
  bool lacks = of->lacked == LIMIT_SKIP_LACKS;
  for (uint32_t i = 0; i < of->lacked && !lacks; i++)
    lacks = of->lacks[i] == reason;
  return lacks;
}

// One more vote of a worker that has skipped the test for the first time.
static void skip_add_vote(struct queue *queue, uint32_t worker, uint32_t test, uint32_t reason) {
  struct queue_skips *skips = &queue->skips;
  bool known = queue->test[test].skips_on_trunk && !skip_lacks(queue, worker, reason);
  uint32_t kind = skip_kind(queue, known ? (uint32_t)SKIP_ANY_FILE : sched_file(queue->sched, test), reason);
  skips->vote = skip_room(skips->vote, skips->vote_count, &skips->vote_room, sizeof *skips->vote);
  skips->vote[skips->vote_count] =
      (struct queue_vote){.next = skips->vote_of[test], .kind = kind, .worker = (uint16_t)worker};
  skips->vote_of[test] = skips->vote_count++;
  skip_add_voter(queue, kind, worker);
}

static void skip_contradict(struct queue *queue, const struct queue_vote *vote) {
  struct queue_kind *kind = &queue->skips.kind[vote->kind];
  struct queue_worker *worker = &queue->worker[vote->worker];
  if (kind->contradicted && skip_lacks(queue, vote->worker, kind->reason)) return;
  kind->contradicted = true;
  if (!skip_lacks(queue, vote->worker, kind->reason)) worker->lacks[worker->lacked++] = kind->reason;
  queue->skips.lacking = queue->skips.found = true;  // the round begins behind the results of this message
}

static bool skip_learn_skip(struct queue *queue, uint32_t worker, uint32_t test, uint32_t reason) {
  struct queue_skips *skips = &queue->skips;
  if (!skips->vote_of) {
    skips->files = sched_file_count(queue->sched);
    skips->vote_of = skip_heads(queue->total);
    skips->kind_of = skip_heads(skips->files);
  }
  if (skip_vote(queue, worker, test)) return true;
  if (skips->vote_count == LIMIT_SKIP_VOTES) return false;
  skip_add_vote(queue, worker, test, reason);
  const struct queue_test *of = &queue->test[test];
  bool ran = of->place == PLACE_DONE && of->verdict != VERDICT_SKIPPED && of->worker != worker;
  if (ran) skip_contradict(queue, &skips->vote[skips->vote_count - 1]);  // it comes late
  return false;
}

// The worker runs tests of this file, whatever it skips there.
static void skip_runs_file(struct queue *queue, uint32_t worker, uint32_t test) {
  const struct queue_skips *skips = &queue->skips;
  uint32_t kind = skips->kind_of[sched_file(queue->sched, test)];
  for (; kind != SKIP_NONE; kind = skips->kind[kind].next) {
    struct queue_voter *voter = skip_voter(queue, kind, worker);
    if (voter) voter->ran = true;
  }
}

bool queue_skip_learn(struct queue *queue, uint32_t worker, uint32_t test, enum queue_status status, uint32_t reason) {
  if (status == QUEUE_SKIPPED) return skip_learn_skip(queue, worker, test, reason);
  if (!queue->skips.vote_of) return false;
  skip_runs_file(queue, worker, test);
  for (uint32_t i = skip_first(queue, test); i != SKIP_NONE; i = queue->skips.vote[i].next) {
    if (queue->skips.vote[i].worker != worker) skip_contradict(queue, &queue->skips.vote[i]);
  }
  return false;
}

void queue_skip_history(struct queue *queue, uint32_t test, bool skipped, bool ran) {
  assert(test < queue->total && queue->test[test].verdict == VERDICT_NONE);
  queue->test[test].skips_on_trunk = skipped;
  queue->test[test].ran_on_trunk = ran && !skipped;
}

// ---- who may run it

static bool skip_lacks_file(const struct queue *queue, uint32_t worker, uint32_t file) {
  const struct queue_skips *skips = &queue->skips;
  if (queue->policy.in_order) return false;  // all tests are one file
  for (uint32_t i = skips->kind_of[file]; i != SKIP_NONE; i = skips->kind[i].next) {
    const struct queue_voter *voter = skip_voter(queue, i, worker);
    if (voter && !voter->ran && skip_lacks(queue, worker, skips->kind[i].reason)) return true;
  }
  return false;
}

// It lacks what others skipped the test for, or what the file needs.
static bool skip_would(const struct queue *queue, uint32_t worker, uint32_t test) {
  if (!queue->worker[worker].lacked) return false;
  for (uint32_t i = skip_first(queue, test); i != SKIP_NONE; i = queue->skips.vote[i].next) {
    if (skip_lacks(queue, worker, queue->skips.kind[queue->skips.vote[i].kind].reason)) return true;
  }
  return skip_lacks_file(queue, worker, sched_file(queue->sched, test));
}

bool queue_skip_bars(const struct queue *queue, uint32_t worker, uint32_t test) {
  return queue->skips.vote_of && (skip_vote(queue, worker, test) || skip_would(queue, worker, test));
}

// Who has skipped the test leaves it to everybody who has not; who only would, to those who would not.
bool queue_skip_elsewhere(const struct queue *queue, uint32_t worker, uint32_t test) {
  bool elsewhere = false, voted = queue->skips.vote_of && skip_vote(queue, worker, test);
  if (!queue_skip_bars(queue, worker, test)) return false;
  for (uint32_t i = 0; i < queue->worker_count && !elsewhere; i++) {
    if (i == worker || !queue_present(queue, i)) continue;
    elsewhere = voted ? !skip_vote(queue, i, test) : !queue_skip_bars(queue, i, test);
  }
  return elsewhere;
}

bool queue_skip_differs(const struct queue *queue) {
  return queue->held.count || queue->skips.lacking;
}

// A skip of this kind says nothing of other tests: each worker has to be asked for the very test.
static bool skip_is_strict(const struct queue *queue, uint32_t test, const struct queue_kind *kind) {
  return kind->contradicted || kind->reason == SKIP_VARIOUS || queue->test[test].ran_on_trunk;
}

// Another worker that is there may run what this one has skipped. `twice`: one of another node has skipped it, too.
static bool skip_is_open(const struct queue *queue, uint32_t worker, uint32_t test, uint32_t kind, bool twice) {
  const struct queue_kind *of = &queue->skips.kind[kind];
  bool open = false, strict = skip_is_strict(queue, test, of);
  twice |= of->file == SKIP_ANY_FILE;
  for (uint32_t i = 0; i < queue->worker_count && !open; i++) {
    if (i == worker || !queue_present(queue, i) || skip_vote(queue, i, test)) continue;
    open = strict || !twice || !skip_voter(queue, kind, i);
  }
  return open;
}

// A worker of another node has skipped the test, too. One of the same node is the same machine, come back or run again.
static bool skip_is_shared(const struct queue *queue, uint32_t worker, uint32_t test) {
  uint32_t node = queue->worker[worker].node_id, i = skip_first(queue, test);
  while (i != SKIP_NONE && queue->worker[queue->skips.vote[i].worker].node_id == node)
    i = queue->skips.vote[i].next;
  return i != SKIP_NONE;
}

// Nodes that are declared may still come.
static bool skip_awaits(const struct queue *queue) {
  return queue->declared > queue->nodes && !queue->skips.gave_up;
}

// Another test of the kind is held for all of them.
static bool skip_is_probed(struct queue *queue, struct queue_kind *kind, uint32_t test) {
  if (kind->probe != QUEUE_NO_TEST && kind->probe != test && queue->test[kind->probe].place != PLACE_DONE) return true;
  kind->probe = test;
  return false;
}

bool queue_skip_settles(struct queue *queue, uint32_t worker, uint32_t test, bool repeated) {
  const struct queue_vote *vote = skip_vote(queue, worker, test);
  if (!vote) return true;  // beyond the bound
  struct queue_kind *kind = &queue->skips.kind[vote->kind];
  bool known = kind->file == SKIP_ANY_FILE && !kind->contradicted && !skip_lacks(queue, worker, kind->reason);
  bool twice = skip_is_shared(queue, worker, test);
  if (skip_is_open(queue, worker, test, vote->kind, twice)) return known && skip_is_probed(queue, kind, test);
  if (queue->declared && queue->declared <= queue->nodes) return true;
  if (known || !queue->declared) return repeated || twice || skip_is_probed(queue, kind, test);
  return queue->skips.gave_up;
}

// ---- leases of held tests

struct skip_pick {
  struct queue *queue;
  uint32_t worker, *out, n, room;
  bool last;
  uint64_t us, most_us;
  uint32_t probed;  // the kind that a test was picked of for the first time
};

enum skip_fit { SKIP_UNFIT, SKIP_PROBE, SKIP_BULK, SKIP_WORK };

// What a held test is to the worker.
static enum skip_fit skip_fits(const struct skip_pick *pick, uint32_t test) {
  const struct queue *queue = pick->queue;
  uint32_t first = skip_first(queue, test);
  uint32_t kind = first == SKIP_NONE ? (uint32_t)SKIP_NONE : queue->skips.vote[first].kind;
  bool any = kind != SKIP_NONE && queue->skips.kind[kind].file == SKIP_ANY_FILE;
  bool strict = kind == SKIP_NONE || skip_is_strict(queue, test, &queue->skips.kind[kind]);
  bool voted = skip_vote(queue, pick->worker, test) != NULL;
  if (sched_is_taken(queue->sched, &queue->worker[pick->worker].sched, test)) return SKIP_UNFIT;
  if (voted || (strict && skip_would(queue, pick->worker, test))) {
    bool waits = !pick->last || (voted && !any && skip_awaits(queue));
    return waits || queue_skip_elsewhere(queue, pick->worker, test) ? SKIP_UNFIT : SKIP_BULK;
  }
  if (strict) return SKIP_WORK;
  if (!skip_voter(queue, kind, pick->worker)) return SKIP_PROBE;
  return skip_is_open(queue, pick->worker, test, kind, true) ? SKIP_UNFIT : SKIP_BULK;
}

static bool skip_has_room(const struct skip_pick *pick, enum skip_fit fit, uint32_t test) {
  const struct queue *queue = pick->queue;
  uint32_t last = pick->n ? pick->out[pick->n - 1] : (uint32_t)QUEUE_NO_TEST;
  if (pick->n == 0) return true;
  if (tokens_need(queue->tokens, test)) return false;
  if (!sched_may_part(queue->sched, last, test)) return true;
  if (fit == SKIP_PROBE) return queue->skips.vote[skip_first(queue, test)].kind != pick->probed;
  return fit == SKIP_BULK || pick->us < pick->most_us;
}

static void skip_take(struct skip_pick *pick, enum skip_fit fit, uint32_t test) {
  pick->out[pick->n++] = test;
  if (fit == SKIP_WORK) pick->us += sched_expected_us(pick->queue->sched, test);
  if (fit == SKIP_PROBE) pick->probed = pick->queue->skips.vote[skip_first(pick->queue, test)].kind;
}

uint32_t queue_skip_pick(struct queue *queue, uint32_t worker, uint32_t *out, uint32_t room, bool last) {
  struct skip_pick pick = {.queue = queue, .worker = worker, .out = out, .room = room, .last = last};
  uint32_t past = 0;
  pick.probed = SKIP_NONE;
  pick.most_us = queue->held.us / (2 * (uint64_t)queue_at_work(queue));
  if (pick.most_us < SCHED_STARTS_LEAST * queue->worker[worker].sched.start_us)
    pick.most_us = SCHED_STARTS_LEAST * queue->worker[worker].sched.start_us;
  for (uint32_t i = queue->held.first; i < queue->held.end && pick.n < room && past < LIMIT_SKIP_LOOK; i++) {
    uint32_t test = queue->held.item[i].test;
    if (test == QUEUE_NO_TEST) continue;
    enum skip_fit fit = skip_fits(&pick, test);
    bool fits = fit != SKIP_UNFIT && skip_has_room(&pick, fit, test);
    if (fits && tokens_free_for(queue->tokens, test, queue->place_count[PLACE_LEASED])) {
      skip_take(&pick, fit, test);
      if (tokens_need(queue->tokens, test)) break;
    } else {
      past++;
    }
  }
  return pick.n;
}

uint32_t queue_skip_filter(struct queue *queue, uint32_t worker, uint32_t *tests, uint32_t count) {
  uint32_t kept = 0;
  if (!queue->worker[worker].lacked) return count;
  for (uint32_t i = 0; i < count; i++) {
    if (queue_skip_elsewhere(queue, worker, tests[i])) {
      queue_hold(queue, tests[i]);
    } else {
      tests[kept++] = tests[i];
    }
  }
  return kept;
}

// ---- giving back

// Each skip of it is of a kind that was contradicted, or of a worker that lacks something; and somebody is there to be
// asked who was not.
static bool skip_is_void(const struct queue *queue, uint32_t test) {
  uint32_t first = skip_first(queue, test);
  bool sound = queue->test[test].verdict != VERDICT_SKIPPED || first == SKIP_NONE, asks = false;
  for (uint32_t i = first; i != SKIP_NONE && !sound; i = queue->skips.vote[i].next) {
    const struct queue_vote *vote = &queue->skips.vote[i];
    const struct queue_kind *kind = &queue->skips.kind[vote->kind];
    sound = !kind->contradicted && !skip_lacks(queue, vote->worker, kind->reason);
  }
  for (uint32_t i = 0; i < queue->worker_count && !sound && !asks; i++)
    asks = queue_present(queue, i) && !skip_vote(queue, i, test);
  return asks;
}

// Verdicts that rest on skips of workers that lack something; and what those have run of the same files.
static void skip_give_back(struct queue *queue, struct effects *effects) {
  struct effect again = {.kind = EFFECT_ROUND, .tests = base_calloc(queue->total + 1, sizeof *again.tests)};
  for (uint32_t i = 0; i < queue->total; i++) {
    const struct queue_test *test = &queue->test[i];
    if (test->place != PLACE_DONE) continue;
    if (skip_is_void(queue, i)) {
      again.tests[again.count++] = i;
    } else if (test->verdict != VERDICT_SKIPPED && test->worker < queue->worker_count) {
      skip_runs_file(queue, test->worker, i);
    }
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

uint64_t queue_skip_deadline(const struct queue *queue) {
  uint32_t head = queue->fifo[LIST_PARKED].head;
  if (queue->skips.found && queue->state == QUEUE_RUNNING) return 0;
  if (queue->state != QUEUE_RUNNING || !queue->held.count || !skip_awaits(queue) || head == QUEUE_NOBODY)
    return UINT64_MAX;
  return queue->worker[head].parked_us + queue->policy.linger_us;
}

// A build that ended meanwhile stays as it is, until it goes on.
void queue_skip_tick(struct queue *queue, uint64_t now_us, struct effects *effects) {
  if (queue->state != QUEUE_RUNNING) return;
  if (queue->skips.found) skip_give_back(queue, effects);
  queue->skips.found = false;
  if (queue_skip_deadline(queue) <= now_us) queue->skips.gave_up = true;
}

// ---- telling

// A vote whose test ran, or goes elsewhere: one more for the worker, if the reason is its own.
static void skip_count_lacked(const struct queue_worker *of, uint32_t why, uint32_t count[LIMIT_SKIP_LACKS],
                              struct queue_lacked *lacked) {
  uint32_t i = 0;
  while (i < of->lacked && of->lacks[i] != why)
    i++;
  if (i == of->lacked) return;
  lacked->tests++;
  if (++count[i] <= lacked->most) return;
  lacked->most = count[i];
  lacked->reason = why;
}

void queue_skip_lacked(const struct queue *queue, struct queue_lacked *lacked) {
  uint32_t(*count)[LIMIT_SKIP_LACKS] = base_calloc(queue->worker_count + 1, sizeof *count);
  memset(lacked, 0, queue->worker_count * sizeof *lacked);
  for (uint32_t test = 0; queue->skips.vote_of && test < queue->total; test++) {
    if (queue->test[test].verdict == VERDICT_SKIPPED) continue;
    for (uint32_t i = skip_first(queue, test); i != SKIP_NONE; i = queue->skips.vote[i].next) {
      const struct queue_vote *vote = &queue->skips.vote[i];
      skip_count_lacked(&queue->worker[vote->worker], queue->skips.kind[vote->kind].reason, count[vote->worker],
                        &lacked[vote->worker]);
    }
  }
  free(count);
}

uint32_t queue_skip_lost(const struct queue *queue) {
  uint32_t lost = 0;
  for (uint32_t i = 0; i < queue->total; i++)
    lost += queue->test[i].verdict == VERDICT_SKIPPED && queue->test[i].ran_on_trunk;
  return lost;
}

// ---- for tests

// No skip stands that nobody but workers which lack something would make, and of a test there is one vote a worker.
void queue_skip_check(const struct queue *queue) {
  if (!queue->skips.vote_of) return;
  uint32_t votes = 0;
  for (uint32_t test = 0; test < queue->total; test++) {
    for (uint32_t i = skip_first(queue, test); i != SKIP_NONE; i = queue->skips.vote[i].next, votes++) {
      const struct queue_vote *vote = &queue->skips.vote[i];
      uint32_t file = queue->skips.kind[vote->kind].file;
      assert(vote->worker < queue->worker_count && vote->next != i);
      assert(skip_vote(queue, vote->worker, test) == vote && skip_voter(queue, vote->kind, vote->worker));
      assert(file == SKIP_ANY_FILE || file == sched_file(queue->sched, test));
    }
  }
  assert(votes == queue->skips.vote_count && votes <= LIMIT_SKIP_VOTES);
}
