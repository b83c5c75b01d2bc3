// The disk: a log of records, of which a crash leaves what was durable and a part of the rest. Beside it the truth,
// which is what the records say of each test, worked out by simpler means than the queue's; and recovery, in the order
// the store replays a build (store_read.c): workers, the list, then round by round its results by test and attempt.
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static bool sim_is_bad(enum queue_status status) {
  return status == QUEUE_FAILED || status == QUEUE_ERROR || status == QUEUE_CRASHED || status == QUEUE_TIMED_OUT;
}

static enum queue_verdict sim_verdict(const struct sim *sim, const struct sim_record *record) {
  if (sim_is_bad(record->status) && sim->muted[record->test]) return VERDICT_MUTED;
  if (record->status == QUEUE_CRASHED) return VERDICT_CRASHED;
  if (sim_is_bad(record->status)) return VERDICT_FAILED;
  if (record->status == QUEUE_SKIPPED) return VERDICT_SKIPPED;
  return sim->server.truth[record->test].bad ? VERDICT_FLAKY : VERDICT_PASSED;
}

// ---- the truth

// It reports the test, and did not die of it.
static void sim_discharge(struct sim *sim, uint32_t test, uint32_t worker) {
  uint32_t *by = sim->server.charged_by[test], n = 0;
  for (uint32_t i = 0; i < sim->server.charged[test]; i++) {
    if (by[i] != worker) by[n++] = by[i];
  }
  sim->server.charged[test] = n;
}

// A worker that brings what it ran without the server: its results may be the last that anybody has.
static bool sim_only_brings(const struct sim *sim, uint32_t worker) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind == SIM_REC_WORKER && record->worker == worker) return record->brings;
  }
  return false;
}

static void sim_believe_result(struct sim *sim, struct sim_record *record, uint32_t index) {
  struct sim_truth *truth = &sim->server.truth[record->test];
  record->previous = truth->attempts ? truth->last : (uint32_t)SIM_NOBODY;
  for (uint32_t i = record->previous; i != SIM_NOBODY; i = sim->server.log[i].previous) {
    const struct sim_record *old = &sim->server.log[i];
    if (!record->lost && !old->lost && old->lease == record->lease && old->worker == record->worker)
      sim_broken("I1", "test %u: lease %llx counts twice", record->test, (unsigned long long)record->lease);
  }
  if (record->attempt <= truth->attempts)
    sim_broken("I1", "test %u: attempt %u comes after %u", record->test, record->attempt, truth->attempts);
  truth->attempts = record->attempt;
  truth->last = index;
  bool settled = truth->verdict != VERDICT_NONE;
  if (record->extra != settled)
    sim_broken("I1", "test %u: a result %s its verdict", record->test, settled ? "changes" : "misses");
  if (record->extra) return;
  if (!record->lost) sim_discharge(sim, record->test, record->worker);
  if (!record->settles) {
    truth->bad += sim_is_bad(record->status);
    truth->overran |= record->status == QUEUE_TIMED_OUT && !sim->policy.limits_tests;
    if (!sim_is_bad(record->status) && record->status != QUEUE_SKIPPED)
      sim_broken("I1", "test %u: status %d decides nothing", record->test, (int)record->status);
    return;
  }
  bool guess = record->status == QUEUE_TIMED_OUT && !sim->policy.limits_tests;
  if (guess && !truth->overran && !sim_only_brings(sim, record->worker))
    sim_broken("I1", "test %u: a limit that nobody asked for settles it", record->test);
  truth->verdict = sim_verdict(sim, record);
  truth->decided = record->worker;
}

static void sim_believe_round(struct sim *sim, const struct sim_record *record) {
  if (record->round != ++sim->server.rounds)
    sim_broken("I1", "round %u is the %u. one", record->round, sim->server.rounds);
  for (uint32_t i = 0; i < record->count; i++) {
    struct sim_truth *truth = &sim->server.truth[record->tests[i]];
    bool failing = truth->verdict == VERDICT_FAILED || truth->verdict == VERDICT_CRASHED;
    failing |= sim_fact_evidence(sim, record->tests[i]);
    if (truth->verdict == VERDICT_NONE) sim_broken("I12", "test %u is run again before its verdict", record->tests[i]);
    bool skipped = truth->verdict == VERDICT_SKIPPED;
    if (!failing && !skipped && sim->policy.on_retry == QUEUE_UNRESOLVED)
      sim_broken("I12", "test %u is run again although it is resolved", record->tests[i]);
    if (!failing && !skipped && sim->policy.on_retry == QUEUE_AGAIN && !sim_was_complete(sim))
      sim_broken("I12", "test %u of a build that never was complete is run again", record->tests[i]);
    truth->verdict = VERDICT_NONE;
    memset(truth->could, 0, sizeof truth->could);
    truth->decided = SIM_NOBODY;
    truth->bad = 0;
    truth->overran = false;
    sim->server.charged[record->tests[i]] = 0;
  }
}

static void sim_believe(struct sim *sim, uint32_t index) {
  struct sim_record *record = &sim->server.log[index];
  switch (record->kind) {
    case SIM_REC_RESULT: sim_believe_result(sim, record, index); break;
    case SIM_REC_ROUND: sim_believe_round(sim, record); break;
    case SIM_REC_WORKER:
    case SIM_REC_LIST:
    case SIM_REC_LEFT:
    case SIM_REC_CLEARED:
    case SIM_REC_STATE: break;
  }
}

struct sim_record *sim_log(struct sim *sim, struct sim_record record) {
  struct sim_server *server = &sim->server;
  if (server->logged == SIM_RECORDS) sim_broken("bound", "the log is full");
  server->log[server->logged] = record;
  sim_believe(sim, server->logged);
  return &server->log[server->logged++];
}

// ---- the list

void sim_set_list(struct sim *sim) {
  struct sched_list list = {.count = sim->total,
                            .file_count = SIM_TESTS + 1,
                            .file_of = sim->file_of,
                            .unit_of = sim->unit_of,
                            .expected_us = sim->expected_us,
                            .order_us = sim->expected_us};
  struct tokens_list tokens = {.count = sim->total, .need = sim->need};
  memcpy(tokens.copies, sim->copies, sizeof sim->copies);
  for (uint32_t i = SIM_TOKENS; i < TOKENS_MAX; i++)
    tokens.copies[i] = 1;
  tokens.expected_us = tokens.order_us = sim->expected_us;
  struct queue *queue = sim->server.queue;
  queue_set_list(queue, sim->now_us, &list, tokens_new(&tokens), &sim->server.effects);
  for (uint32_t i = 0; i < sim->total; i++) {
    if (sim->muted[i]) queue_mute(queue, i);
    if (i % 4 == 1) queue_puzzle(queue, i);
    if (sim->lacking) queue_skip_history(queue, i, sim_skips_on_trunk(sim, i), i % 5 == 1);
  }
}

// ---- recovery

static const struct sim_record *sim_left(const struct sim *sim, uint32_t worker) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind == SIM_REC_LEFT && record->worker == worker) return record;
  }
  return NULL;
}

// What the worker's row holds.
static struct queue_past sim_past(const struct sim *sim, const struct sim_record *worker) {
  struct queue_past past = worker->past;
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->worker != worker->worker) continue;
    if (record->kind == SIM_REC_LEFT) past.fact = record->past.fact;
    if (record->kind == SIM_REC_LEFT) past.cleared = record->past.cleared;
    if (record->kind == SIM_REC_LEFT) past.unstored = record->past.unstored;
    if (record->kind != SIM_REC_CLEARED) continue;
    past.cleared = record->round;
    if (past.fact == FACT_NONE) past.fact = FACT_BROKEN;
  }
  return past;
}

static void sim_recover_workers(struct sim *sim) {
  struct sim_server *server = &sim->server;
  for (uint32_t i = 0; i < server->logged; i++) {
    const struct sim_record *record = &server->log[i];
    if (record->kind != SIM_REC_WORKER) continue;
    const struct sim_record *left = sim_left(sim, record->worker);
    char node[16], attempt[16];
    sim_node_name(record->node, node);
    (void)snprintf(attempt, sizeof attempt, "t%u", record->attempt_token);
    struct queue_join join = {.node = node, .attempt = attempt, .brings = record->brings};
    struct queue_past past = sim_past(sim, record);
    uint32_t number = queue_restore_worker(server->queue, &join, &past);
    if (number != server->sessions++) sim_broken("I12", "worker %u comes back as %u", record->worker, number);
    server->session[number] = (struct sim_session){.slot = SIM_NOBODY, .left = left != NULL, .heard_us = sim->now_us};
    server->session[number].node = record->node;
    server->session[number].brings = record->brings;
    if (left) queue_restore_left(server->queue, number);
  }
  for (uint32_t i = 0; i < server->logged; i++) {
    const struct sim_record *record = &server->log[i];
    struct sim_session *session = &server->session[record->worker];
    if (record->kind == SIM_REC_RESULT && record->seq > session->acked) session->acked = session->applied = record->seq;
  }
}

static void sim_recover_round(struct sim *sim, uint32_t round) {
  const struct sim_server *server = &sim->server;
  for (uint32_t i = 0; i < server->logged; i++) {
    const struct sim_record *record = &server->log[i];
    uint32_t tests[SIM_TESTS];
    if (record->kind != SIM_REC_ROUND || record->round != round) continue;
    for (uint32_t t = 0; t < record->count; t++)
      tests[t] = record->tests[t];
    queue_restore_round(server->queue, round, tests, record->count);
  }
  for (uint32_t test = 0; test < sim->total; test++) {
    for (uint32_t i = 0; i < server->logged; i++) {
      const struct sim_record *record = &server->log[i];
      if (record->kind != SIM_REC_RESULT || record->round != round || record->test != test) continue;
      struct queue_result result = {.worker = record->worker, .test = test, .status = record->status};
      if (record->status == QUEUE_SKIPPED) result.reason = record->reason;
      if (record->extra) {
        queue_restore_extra(server->queue, &result, record->attempt);
      } else {
        queue_restore_result(server->queue, &result, record->attempt, record->settles);
      }
    }
  }
}

void sim_recover(struct sim *sim, uint32_t kept) {
  struct sim_server *server = &sim->server;
  uint32_t state = 0, rounds = 1;
  queue_free(server->queue);
  server->queue = queue_new(&sim->policy, ++server->epoch, sim->now_us);
  server->sessions = 0;
  server->rounds = 1;
  server->list = SIM_LIST_NONE;
  memset(server->truth, 0, sizeof server->truth);
  memset(server->charged, 0, sizeof server->charged);
  memset(server->alone, 0, sizeof server->alone);
  server->durable = kept;
  server->logged = 0;
  for (; server->logged < kept; server->logged++) {
    const struct sim_record *record = &server->log[server->logged];
    sim_believe(sim, server->logged);
    if (record->kind == SIM_REC_LIST) server->list = SIM_LIST_READY;
    if (record->kind == SIM_REC_STATE) state = record->state;
    if (record->kind == SIM_REC_ROUND) rounds = record->round;
  }
  sim_recover_workers(sim);
  if (server->list == SIM_LIST_READY) sim_set_list(sim);
  effects_clear(&server->effects);
  for (uint32_t round = 1; round <= rounds; round++)
    sim_recover_round(sim, round);
  queue_restored(server->queue, sim->now_us, state >= QUEUE_COMPLETE ? state : 0, &server->effects);
  sim_server_effects(sim);
}
