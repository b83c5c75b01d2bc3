// What must be true, seen from outside: each event may change only what it is the cause of, and the queue must agree
// with the truth of the records (sim_disk.c). I1 to I14 are the promises 1 to 14 of docs/reliability.md, of which 4, 5,
// 8, 10, 11 and 13 are the daemon's and the worker's around the core; queue_check asserts the core's inside besides.
#include <string.h>

#include "tests/sim/sim.h"
#include "tests/unit/token_rule.h"

static uint64_t check_lease_of(const struct queue *queue, uint32_t test, uint32_t *holder) {
  if (queue->total == 0 || queue->test[test].place != PLACE_LEASED) return 0;
  uint32_t slot = queue->test[test].slot;
  *holder = queue->lease[slot]->worker;
  return queue->lease[slot]->id;
}

void sim_check_before(struct sim *sim, struct sim_cause cause) {
  sim->cause = cause;
  memset(sim->granted, 0, sizeof sim->granted);
  for (uint32_t i = 0; i < sim->total; i++) {
    sim->held[i] = check_lease_of(sim->server.queue, i, &sim->holder[i]);
    sim->settled[i] = sim->server.truth[i].verdict != VERDICT_NONE;
  }
}

static bool check_holds(const struct sim_lease *lease, uint32_t test) {
  uint32_t i = 0;
  while (i < lease->count && lease->test[i] != test)
    i++;
  return i < lease->count;
}

static bool check_names(const struct sim_message *hello, uint64_t lease, uint32_t test) {
  for (uint32_t i = 0; i < hello->held_count; i++) {
    if (hello->held[i].id == lease && check_holds(&hello->held[i], test)) return true;
  }
  return false;
}

// ---- ends of leases (I2, I7)

static bool check_silent(const struct sim *sim, uint32_t holder) {
  return sim->server.session[holder].heard_us + sim->policy.lease_ttl_us <= sim->now_us;
}

// Was the test, which was LEASED before, free to leave its lease?
static bool check_may_end(const struct sim *sim, uint32_t test) {
  const struct sim_message *message = sim->cause.message;
  bool own = sim->cause.number == sim->holder[test];
  if (sim->cause.kind == SIM_ON_TICK) return check_silent(sim, sim->holder[test]);
  if (!message) return false;
  if (message->kind == SIM_RESULTS) return check_holds(&message->lease, test);  // its own, or a late one
  if (message->kind == SIM_HELLO) return own && !check_names(message, sim->held[test], test);
  if (message->kind == SIM_RELEASED)
    return own && message->lease.id == sim->held[test] && check_holds(&message->lease, test);
  return own && message->kind == SIM_BYE;
}

static bool check_may_begin(const struct sim *sim, uint32_t test, uint64_t lease, uint32_t holder) {
  const struct sim_message *message = sim->cause.message;
  if (sim->granted[test] == lease) return true;
  return message && message->kind == SIM_HELLO && sim->cause.number == holder && check_names(message, lease, test);
}

// A worker that fell silent: each test that it held is charged, with each worker once (I9).
static void check_charge(struct sim *sim, uint32_t test) {
  uint32_t holder = sim->holder[test], *count = &sim->server.charged[test];
  for (uint32_t i = 0; i < *count; i++) {
    if (sim->server.charged_by[test][i] == holder) return;
  }
  if (*count == LIMIT_LOST) sim_broken("I9", "test %u was given to one more worker", test);
  sim->server.charged_by[test][(*count)++] = holder;
}

// What may have killed a worker, or ran over a limit that nobody asked for, runs with nothing beside it.
static void check_alone(struct sim *sim, const struct effect *effect, uint32_t test) {
  uint32_t holder, charged = sim->server.charged[test];
  bool overran = sim->server.truth[test].overran, suspect = charged || overran;
  for (uint32_t i = 0; i < sim->total; i++) {
    uint64_t lease = check_lease_of(sim->server.queue, i, &holder);
    if (!lease || lease == effect->lease || holder != effect->worker) continue;
    if (suspect || sim->server.alone[i] == lease)
      sim_broken("I9", "worker %u holds test %u beside a suspect", holder, i);
  }
  if (suspect) sim->server.alone[test] = effect->lease;
  bool in_parts = charged == 1 && !overran && sim_starts_processes(effect->worker);
  if (suspect && effect->count > 1 && !in_parts) sim_broken("I9", "test %u is suspected and not leased alone", test);
}

static void check_leases(struct sim *sim) {
  for (uint32_t i = 0; i < sim->total; i++) {
    uint32_t holder = SIM_NOBODY;
    uint64_t lease = check_lease_of(sim->server.queue, i, &holder);
    bool ended = sim->held[i] && sim->held[i] != lease;
    if (ended) sim->server.alone[i] = 0;
    if (ended && !check_may_end(sim, i))
      sim_broken("I2", "test %u leaves lease %llx without a cause", i, (unsigned long long)sim->held[i]);
    if (lease && lease != sim->held[i] && !check_may_begin(sim, i, lease, holder))
      sim_broken("I2", "test %u comes into lease %llx without a cause", i, (unsigned long long)lease);
    if (ended && sim->cause.kind == SIM_ON_TICK) {
      sim->counts->expired++;
      check_charge(sim, i);
    }
    if (lease && sim->cause.kind == SIM_ON_TICK && check_silent(sim, holder))
      sim_broken("I7", "worker %u is silent and keeps test %u", holder, i);
  }
}

// ---- skips

// It is there to run tests, as far as the server can know.
static bool check_is_here(const struct sim *sim, uint32_t number) {
  const struct sim_session *session = &sim->server.session[number];
  return !session->left && !session->drained && !session->brings &&
         session->heard_us + sim->policy.lease_ttl_us > sim->now_us;
}

static bool check_has_skipped(const struct sim *sim, uint32_t number, uint32_t test) {
  const struct sim_truth *truth = &sim->server.truth[test];
  uint32_t i = truth->attempts ? truth->last : (uint32_t)SIM_NOBODY;
  while (i != SIM_NOBODY && (sim->server.log[i].worker != number || sim->server.log[i].status != QUEUE_SKIPPED))
    i = sim->server.log[i].previous;
  return i != SIM_NOBODY;
}

// The worker reports the test in the message that is taken: it may have been granted by a row that stands before.
static bool check_reports_now(const struct sim *sim, uint32_t number, uint32_t test) {
  const struct sim_message *message = sim->cause.kind == SIM_ON_MESSAGE ? sim->cause.message : NULL;
  return message && sim->cause.number == number && message->kind == SIM_RESULTS && check_holds(&message->lease, test);
}

// Who has skipped a test gets it once more only when there is nobody else to ask.
static void check_not_asked_again(struct sim *sim, uint32_t number, uint32_t test) {
  if (!check_has_skipped(sim, number, test) || check_reports_now(sim, number, test)) return;
  sim->counts->repeated++;
  for (uint32_t i = 0; i < sim->server.sessions; i++) {
    if (i != number && check_is_here(sim, i) && !check_has_skipped(sim, i, test))
      sim_broken("skips", "test %u goes again to worker %u, which skipped it, and not to %u", test, number, i);
  }
}

// A job without a name is a node of its own.
static bool check_same_node(const struct sim *sim, uint32_t a, uint32_t b) {
  const struct sim_session *session = sim->server.session;
  return a == b || (session[a].node == session[b].node && session[a].node % 8 != 7);
}

static bool check_other_node_skipped(const struct sim *sim, const struct sim_record *record) {
  uint32_t i = sim->server.truth[record->test].last;
  while (i != SIM_NOBODY && (sim->server.log[i].status != QUEUE_SKIPPED ||
                             check_same_node(sim, sim->server.log[i].worker, record->worker)))
    i = sim->server.log[i].previous;
  return i != SIM_NOBODY;
}

// Beside workers that were not asked, two machines have skipped the test itself, if the trunk did not. (What is brought
// may be final.)
static void check_two_nodes_skipped(const struct sim *sim, const struct sim_record *record) {
  if (sim->server.session[record->worker].brings) return;
  if (sim_skips_on_trunk(sim, record->test) || check_other_node_skipped(sim, record)) return;
  for (uint32_t i = 0; i < sim->server.sessions; i++) {
    if (i != record->worker && check_is_here(sim, i) && !check_has_skipped(sim, i, record->test))
      sim_broken("skips", "test %u is skipped by worker %u's node alone, and worker %u was not asked", record->test,
                 record->worker, i);
  }
}

void sim_check_skip(struct sim *sim, const struct sim_record *record) {
  bool settled = record->kind == SIM_REC_RESULT && record->settles && record->status == QUEUE_SKIPPED;
  // What is brought may be final while others have only lost their line.
  bool asks = settled && !sim->server.session[record->worker].brings;
  uint32_t needs = asks ? sim_needs(sim, record->test) : 0;
  if (settled) check_two_nodes_skipped(sim, record);
  for (uint32_t i = 0; needs && i < sim->server.sessions; i++) {
    bool could = i != record->worker && check_is_here(sim, i) && sim_has(sim, sim->server.session[i].node, needs);
    sim->server.truth[record->test].could[i] = could && !check_has_skipped(sim, i, record->test);
  }
}

// A build is not complete with a skip of what a worker that was there then, and is still, would run.
static void check_skips(const struct sim *sim) {
  for (uint32_t test = 0; test < sim->total; test++) {
    for (uint32_t i = 0; i < sim->server.sessions && sim->server.truth[test].verdict == VERDICT_SKIPPED; i++) {
      if (sim->server.truth[test].could[i] && check_is_here(sim, i))
        sim_broken("skips", "test %u is skipped, and worker %u would run it", test, i);
    }
  }
}

// ---- grants (I6, I9, tokens)

void sim_check_grant(struct sim *sim, const struct effect *effect) {
  uint64_t now[SIM_TESTS] = {0};
  uint32_t holder;
  if (effect->lease <= sim->server.last_lease)
    sim_broken("I6", "lease %llx was granted before", (unsigned long long)effect->lease);
  sim->server.last_lease = effect->lease;
  sim->counts->grants++;
  // Several may be granted in one event: the others are looked at as if they came after.
  for (uint32_t i = 0; i < sim->total; i++) {
    uint64_t lease = check_lease_of(sim->server.queue, i, &holder);
    if (lease < effect->lease) now[i] = lease;
  }
  const struct sim_message *message = sim->cause.message;
  struct token_rule rule = {sim->total, SIM_TOKENS, sim->need, now, sim->copies};
  for (uint32_t i = 0; i < effect->count; i++) {
    uint32_t test = effect->tests[i];
    // The rows of a message fall one after another: an earlier one may grant what a later one settles.
    if (sim->settled[test] && sim->server.truth[test].verdict != VERDICT_NONE)
      sim_broken("I1", "test %u is leased after its verdict", test);
    // Unless its result came in between, and took it out of the first lease.
    bool reported = message && message->kind == SIM_RESULTS && check_holds(&message->lease, test);
    if (sim->granted[test] && !reported) sim_broken("I2", "test %u is leased twice at once", test);
    check_not_asked_again(sim, effect->worker, test);
    if (sim->server.charged[test] >= LIMIT_LOST) sim_broken("I9", "test %u goes to one more worker", test);
    check_alone(sim, effect, test);
    if (!token_rule_allows(&rule, test)) sim_broken("tokens", "test %u is leased without its tokens", test);
    if (sim->need[test] && effect->count > 1) sim_broken("tokens", "test %u is not leased alone", test);
    sim->counts->with_tokens += sim->need[test] != 0;
    sim->granted[test] = effect->lease;
  }
}

// ---- verdicts and states (I1, I3)

void sim_check_truth(const struct sim *sim) {
  const struct queue *queue = sim->server.queue;
  uint32_t done = 0;
  queue_check(queue);
  if (!queue_has_list(queue)) return;
  for (uint32_t i = 0; i < sim->total; i++) {
    const struct sim_truth *truth = &sim->server.truth[i];
    enum queue_verdict verdict = queue_verdict(queue, i);
    done += truth->verdict != VERDICT_NONE;
    if (verdict != truth->verdict)
      sim_broken("I1", "test %u: verdict %d, on disk %d", i, (int)verdict, (int)truth->verdict);
    if (verdict != VERDICT_NONE && queue_decided_by(queue, i) != truth->decided)
      sim_broken("I1", "test %u: decided by another worker", i);
  }
  enum queue_state state = queue_state(queue);
  if (state == QUEUE_COMPLETE && done < sim->total) sim_broken("I3", "complete with %u of %u", done, sim->total);
  if (state == QUEUE_RUNNING && done == sim->total && !queue->fencing && !queue->skips.found)
    sim_broken("I3", "not complete although all is done");
}

// Nobody was heard of for as long as it takes, but those who were sent away.
static void check_given_up(const struct sim *sim) {
  for (uint32_t i = 0; i < sim->server.sessions; i++) {
    const struct sim_session *session = &sim->server.session[i];
    if (!session->left && !session->drained && session->heard_us + sim->policy.idle_us > sim->now_us)
      sim_broken("I3", "incomplete although worker %u was just here", i);
  }
}

// By the records: different jobs that came, or one that went on without the server.
static bool check_enough_came(const struct sim *sim) {
  uint32_t came = 0;
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    bool fresh = record->kind == SIM_REC_WORKER;
    if (fresh && record->brings) return true;
    for (uint32_t before = 0; fresh && before < i; before++) {
      const struct sim_record *other = &sim->server.log[before];
      if (other->kind == SIM_REC_WORKER && other->node == record->node && record->node % 8 != 7) fresh = false;
    }
    came += fresh;
  }
  return came >= sim->policy.min_workers;
}

void sim_check_after(struct sim *sim) {
  bool given_up = queue_state(sim->server.queue) == QUEUE_INCOMPLETE;
  bool completes = !sim->complete && queue_state(sim->server.queue) == QUEUE_COMPLETE;
  sim->complete = queue_state(sim->server.queue) == QUEUE_COMPLETE;
  if (completes) check_skips(sim);
  check_leases(sim);
  sim_check_truth(sim);
  if (given_up && sim->cause.kind == SIM_ON_TICK && !queue_few(sim->server.queue)) check_given_up(sim);
  if (given_up && queue_few(sim->server.queue) && check_enough_came(sim))
    sim_broken("I3", "incomplete for want of workers, and %u were enough", sim->policy.min_workers);
}

// ---- leaving

// While a worker is here that may run the rest, it is no matter of this one's; without any, this one does not end
// green.
void sim_check_goodbye(const struct sim *sim, uint32_t number, uint32_t code, const char *why) {
  uint32_t here = 0, open = 0;
  if (queue_state(sim->server.queue) != QUEUE_RUNNING) return;
  for (uint32_t i = 0; i < sim->server.sessions; i++) {
    const struct sim_session *session = &sim->server.session[i];
    here += i != number && check_is_here(sim, i);
    open += i != number && !session->left && !session->brings;
  }
  if (code == EXIT_INFRA && here && strstr(why, "no verdict"))
    sim_broken("codes", "worker %u is told 16, and others have the rest of the build", number);
  if (code == EXIT_OK && !open)
    sim_broken("codes", "worker %u is told 0, and nobody has the rest of the build", number);
}

// ---- the end

// The workers' exit codes together are the build's: whoever settled a failing verdict does not end green.
static void check_codes(const struct sim *sim, uint32_t failing) {
  const struct queue *queue = sim->server.queue;
  const char *why;
  for (uint32_t i = 0; i < sim->total; i++) {
    enum queue_verdict verdict = sim->server.truth[i].verdict;
    if (verdict != VERDICT_FAILED && verdict != VERDICT_CRASHED) continue;
    uint32_t decided = sim->server.truth[i].decided;
    if (queue_exit_code(queue, decided, &why) != EXIT_TESTS_FAILED)
      sim_broken("I3", "worker %u failed test %u and ends green", decided, i);
    for (uint32_t slot = 0; slot < sim->slots; slot++) {
      const struct sim_worker *worker = &sim->worker[slot];
      if (worker->number == decided && worker->life == SIM_EXITED && worker->exit_code == EXIT_OK)
        sim_broken("I3", "process %u failed test %u and was told 0", slot, i);
    }
  }
  struct queue_counts counts;
  queue_counts(queue, &counts);
  if (counts.failing != failing) sim_broken("I3", "%u failing counted, %u are", counts.failing, failing);
  bool green = queue_build_code(queue, &why) == EXIT_OK;
  bool resolved = queue_state(queue) == QUEUE_COMPLETE && !failing && !counts.late_errors && !counts.broken;
  if (green && !resolved) sim_broken("I3", "the build is green");
  if (!green && resolved && !sim_vanished(sim)) sim_broken("I3", "the build is not green");
  if (green && !queue_closing(queue, sim->now_us)) sim_check_facts(sim);
}

void sim_check_end(const struct sim *sim) {
  enum queue_state state = queue_state(sim->server.queue);
  uint32_t failing = 0, open = 0;
  for (uint32_t i = 0; i < sim->total; i++) {
    enum queue_verdict verdict = sim->server.truth[i].verdict;
    failing += verdict == VERDICT_FAILED || verdict == VERDICT_CRASHED;
    open += verdict == VERDICT_NONE;
  }
  if (state != QUEUE_COMPLETE && !(state == QUEUE_ABORTED && sim->policy.max_failures))
    sim_broken("I14", "ends in state %d", (int)state);
  if (state == QUEUE_COMPLETE && open) sim_broken("I3", "%u tests have no verdict at the end", open);
  if (sim->server.durable != sim->server.logged) sim_broken("I4", "records are not durable at the end");
  check_codes(sim, failing);
}
