// Included by test_queue_random.c: a build's queue beside a model that keeps, by simpler means, what must be true of
// it: in whose live lease each test is, its verdict, the numbers of its attempts, and the records a restart would read.
#ifndef TESTS_UNIT_QUEUE_MODEL_H
#define TESTS_UNIT_QUEUE_MODEL_H

#include "server/limits.h"
#include "server/queue.h"
#include "server/queue_impl.h"
#include "tests/unit/token_rule.h"

enum { MODEL_TESTS = 80, MODEL_WORKERS = 120, MODEL_LEASES = 12, MODEL_TOKENS = 3, SECOND = 1000000 };
enum model_presence { HERE, SILENT, AWAY, GONE };

struct model_lease {
  uint64_t id;
  uint32_t count, test[MODEL_TESTS];
  bool reported[MODEL_TESTS];  // or handed back
  bool begun[MODEL_TESTS], given_back[MODEL_TESTS];
  bool recalled;  // an answer is owed
};

struct model_worker {
  uint32_t number, node, token;
  enum model_presence presence;
  bool asked, drained, late_errors, broken;  // broken: it owed the end of a session, and was stopped before
  uint64_t said_us;                          // 0: not heard of since a restart
  uint32_t lease_count;
  struct model_lease lease[MODEL_LEASES + 1];
};

enum model_kind { RECORD_RESULT, RECORD_EXTRA, RECORD_LOST, RECORD_ROUND };
struct model_record {
  enum model_kind kind;
  uint32_t worker, test, attempt, round, *tests, count;
  enum queue_status status;
  uint32_t reason;
  bool settles;
};

struct model {
  struct queue *queue;
  struct queue_policy policy;
  struct effects fx;
  uint64_t seed, dice, now, digest, last_lease;
  uint32_t total, epoch, node_count, worker_count;
  bool has_list;
  uint32_t file_of[MODEL_TESTS], unit_of[MODEL_TESTS], attempts[MODEL_TESTS], holder[MODEL_TESTS];
  uint64_t expected_us[MODEL_TESTS], held[MODEL_TESTS];  // lease; 0: none
  enum queue_verdict verdict[MODEL_TESTS];
  uint32_t decided[MODEL_TESTS];  // by whom
  uint64_t need[MODEL_TESTS];     // tokens
  uint32_t copies[MODEL_TOKENS], with_tokens;
  struct model_worker worker[MODEL_WORKERS];
  uint64_t recalls, released, cleared;  // asked back, handed back; late errors
  struct model_record *record;
  size_t record_count, record_room;
};

static uint64_t model_failing_seed;

// ---- dice (splitmix64)

static inline uint64_t model_dice(struct model *m) {
  uint64_t z = m->dice += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static inline uint32_t model_roll(struct model *m, uint32_t sides) {
  return sides ? (uint32_t)(model_dice(m) % sides) : 0;
}

static inline bool model_chance(struct model *m, uint32_t percent) {
  return model_roll(m, 100) < percent;
}

static inline void model_mix(struct model *m, uint64_t value) {
  m->digest = (m->digest ^ value) * UINT64_C(0x100000001b3);
}

// ---- records and effects

static struct model_record *model_keep(struct model *m, enum model_kind kind) {
  if (m->record_count == m->record_room) {
    m->record_room = m->record_room ? 2 * m->record_room : 256;
    m->record = base_realloc(m->record, m->record_room, sizeof *m->record);
  }
  m->record[m->record_count] = (struct model_record){.kind = kind};
  return &m->record[m->record_count++];
}

// An attempt's number is higher than every one before: it is half of its key on disk.
static inline void model_attempt(struct model *m, uint32_t test, uint32_t attempt) {
  assert_true(attempt > m->attempts[test]);
  m->attempts[test] = attempt;
}

static inline void model_check_tokens(struct model *m, uint32_t test, uint32_t count) {
  struct token_rule rule = {m->total, MODEL_TOKENS, m->need, m->held, m->copies};
  assert_true(token_rule_allows(&rule, test));
  if (!m->need[test]) return;
  m->with_tokens++;
  assert_int_equal(count, 1);
}

static inline void model_granted(struct model *m, const struct effect *effect, bool arrives) {
  struct model_worker *w = &m->worker[effect->worker];
  assert_true(effect->lease > m->last_lease);  // never repeats
  m->last_lease = effect->lease;
  assert_true(w->asked && effect->count > 0);
  w->asked = false;
  struct model_lease *lease = &w->lease[w->lease_count];
  *lease = (struct model_lease){.id = effect->lease, .count = effect->count};
  for (uint32_t i = 0; i < effect->count; i++) {
    uint32_t test = lease->test[i] = effect->tests[i];
    assert_int_equal(m->verdict[test], VERDICT_NONE);
    assert_int_equal(m->held[test], 0);
    model_check_tokens(m, test, effect->count);
    m->held[test] = effect->lease;
    m->holder[test] = effect->worker;
  }
  w->lease_count += arrives;
}

static inline void model_lost(struct model *m, const struct effect *effect) {
  assert_int_equal(m->verdict[effect->test], VERDICT_NONE);
  model_attempt(m, effect->test, effect->attempt);
  m->verdict[effect->test] = VERDICT_CRASHED;
  m->decided[effect->test] = effect->worker;
  struct model_record *record = model_keep(m, RECORD_LOST);
  record->worker = effect->worker;
  record->test = effect->test;
  record->attempt = effect->attempt;
  record->status = QUEUE_CRASHED;
  record->settles = true;
}

static inline void model_round(struct model *m, const uint32_t *tests, uint32_t count, uint32_t round) {
  struct model_record *record = model_keep(m, RECORD_ROUND);
  record->round = round;
  record->tests = base_calloc(count + 1, sizeof *tests);
  record->count = count;
  for (uint32_t i = 0; i < count; i++)
    record->tests[i] = tests[i];
  for (uint32_t i = 0; i < count; i++) {
    assert_int_not_equal(m->verdict[tests[i]], VERDICT_NONE);
    m->verdict[tests[i]] = VERDICT_NONE;
  }
}

// It is asked for tests that it holds, and has not reported: once for each lease until it answers.
static inline void model_recalled(struct model *m, const struct effect *effect) {
  struct model_worker *w = &m->worker[effect->worker];
  assert_true(effect->count > 0);
  m->recalls++;
  for (uint32_t i = 0; i < effect->count; i++) {
    assert_int_equal(m->held[effect->tests[i]], effect->lease);
    assert_int_equal(m->holder[effect->tests[i]], effect->worker);
  }
  for (uint32_t i = 0; i < w->lease_count; i++) {
    if (w->lease[i].id != effect->lease) continue;
    assert_false(w->lease[i].recalled);
    w->lease[i].recalled = true;
  }
}

// Only with its tests: what the worker decided has no verdict any more. One that vanished owes a session's end only
// behind another fact that was cleared.
static inline void model_cleared(struct model *m, const struct effect *effect) {
  struct model_worker *w = &m->worker[effect->worker];
  assert_true(w->late_errors || w->broken || m->cleared);
  w->late_errors = w->broken = false;
  m->cleared++;
  for (uint32_t i = 0; i < m->total; i++)
    assert_false(m->verdict[i] != VERDICT_NONE && m->decided[i] == effect->worker);
}

static inline void model_take_effects(struct model *m, bool arrives) {
  for (size_t i = 0; i < m->fx.count; i++) {
    const struct effect *effect = &m->fx.item[i];
    model_mix(m, (uint64_t)effect->kind << 32 | effect->worker);
    model_mix(m, effect->lease + effect->test + effect->count);
    switch (effect->kind) {
      case EFFECT_LEASE: model_granted(m, effect, arrives); break;
      case EFFECT_PARK: assert_true(m->worker[effect->worker].asked); break;
      case EFFECT_DRAIN:
        assert_true(m->worker[effect->worker].asked || effect->reason == EFFECT_DRAIN_FENCED);
        m->worker[effect->worker].asked = false;
        m->worker[effect->worker].drained = true;
        break;
      case EFFECT_RECALL: model_recalled(m, effect); break;
      case EFFECT_REVOKE:
      case EFFECT_STATE: break;
      case EFFECT_RESULT: model_lost(m, effect); break;
      case EFFECT_ROUND: model_round(m, effect->tests, effect->count, effect->round); break;
      case EFFECT_CLEARED: model_cleared(m, effect); break;
    }
  }
  effects_clear(&m->fx);
}

// ---- what must be true after every step

static inline void model_check(struct model *m) {
  struct queue_counts counts;
  uint32_t held = 0, done = 0, late = 0, broken = 0;
  queue_check(m->queue);
  queue_counts(m->queue, &counts);
  for (uint32_t i = 0; m->has_list && i < m->total; i++) {
    held += m->held[i] != 0;
    done += m->verdict[i] != VERDICT_NONE;
    assert_int_equal(queue_verdict(m->queue, i), m->verdict[i]);
  }
  for (uint32_t i = 0; i < m->worker_count; i++) {
    late += m->worker[i].late_errors;
    broken += m->worker[i].broken;
  }
  assert_int_equal(counts.late_errors, late);
  assert_int_equal(counts.broken, broken);
  assert_int_equal(counts.leased, held);  // a lease ends neither early nor late
  assert_int_equal(counts.done, done);
  assert_int_equal(counts.ready, (m->has_list ? m->total : 0) - held - done);
  model_mix(m, counts.ready + ((uint64_t)queue_state(m->queue) << 32));
}

static inline void model_check_end(struct model *m) {
  struct queue_counts counts;
  const char *why;
  queue_counts(m->queue, &counts);
  enum queue_state state = queue_state(m->queue);
  assert_true(state == QUEUE_COMPLETE || (state == QUEUE_ABORTED && m->policy.max_failures));
  for (uint32_t i = 0; i < m->total && state == QUEUE_COMPLETE; i++) {
    assert_int_not_equal(m->verdict[i], VERDICT_NONE);
  }
  bool good = state == QUEUE_COMPLETE && counts.failing == 0 && counts.late_errors == 0;
  int code = queue_build_code(m->queue, &why);
  if (!good) assert_int_equal(code, EXIT_TESTS_FAILED);
  if (good && counts.broken) assert_int_equal(code, EXIT_INFRA);
  if (good && !m->cleared) assert_int_equal(code, EXIT_OK);
  uint32_t failed = 0, own = 0;
  for (uint32_t i = 0; i < m->worker_count; i++) {
    failed += queue_exit_code(m->queue, i, &why) == EXIT_TESTS_FAILED;
    own += queue_own_failing(m->queue, i);
  }
  assert_int_equal(own, counts.failing);  // somebody stands for each
  assert_true(good || failed > 0);
}

// ---- time

static inline void model_expire(struct model *m) {
  for (uint32_t i = 0; i < m->total; i++) {
    if (m->held[i] && m->worker[m->holder[i]].said_us + m->policy.lease_ttl_us <= m->now) m->held[i] = 0;
  }
}

// Time passes to `until`, in turns that begin exactly when something is due.
static inline void model_advance(struct model *m, uint64_t until) {
  for (;;) {
    uint64_t due = queue_deadline(m->queue);
    if (due > until) break;
    if (due > m->now) m->now = due;
    model_expire(m);
    queue_tick(m->queue, m->now, &m->fx);
    model_take_effects(m, true);
    assert_true(queue_deadline(m->queue) > m->now);  // a tick does what is due
    model_check(m);
  }
  if (until > m->now) m->now = until;
}

// ---- workers

static inline void model_hear(struct model *m, struct model_worker *w) {
  queue_heard(m->queue, m->now, w->number);
  w->said_us = m->now;
  w->presence = HERE;
}

static inline void model_speak(struct model *m, struct model_worker *w) {
  model_hear(m, w);
  model_advance(m, m->now);
}

// A job is run again only when its last try is not there any more.
static inline bool model_node_is_away(const struct model *m, uint32_t node) {
  for (uint32_t i = 0; i < m->worker_count; i++) {
    if (m->worker[i].node == node && queue_worker_connected(m->queue, i)) return false;
  }
  return true;
}

static inline void model_names(const struct model_worker *w, char node[16], char token[16]) {
  snprintf(node, 16, "n%u", w->node);
  snprintf(token, 16, "t%u", w->token);
}

static inline void model_join(struct model *m, uint32_t node, bool again) {
  char name[16], token[16];
  uint32_t *reopened, count, round = queue_round(m->queue);
  struct model_worker *w = &m->worker[m->worker_count];
  if (!model_node_is_away(m, node)) node = m->node_count;
  *w = (struct model_worker){.number = m->worker_count, .node = node, .token = m->worker_count, .said_us = m->now};
  model_names(w, name, token);
  struct queue_join join = {.node = name, .attempt = token, .node_total = model_roll(m, 6)};
  join.retried = again ? QUEUE_RETRIED_UNKNOWN : QUEUE_RETRIED_NO;
  m->worker_count++;
  if (node == m->node_count) m->node_count++;
  assert_int_equal(queue_join(m->queue, m->now, &join, &reopened, &count, &m->fx), w->number);
  if (queue_round(m->queue) != round) model_round(m, reopened, count, queue_round(m->queue));
  free(reopened);
  model_take_effects(m, true);
  model_advance(m, m->now);
}

// `lost`: the connection breaks before the answer arrives.
static inline void model_ask(struct model *m, struct model_worker *w, bool lost) {
  model_hear(m, w);
  w->asked = true;
  queue_lease(m->queue, m->now, w->number, &m->fx);
  assert_true(m->fx.count > 0);
  model_take_effects(m, !lost);
  if (!lost) return;
  queue_detach(m->queue, m->now, w->number);
  w->presence = AWAY;
  w->asked = w->drained = false;
}

static inline uint32_t model_unreported(const struct model_lease *lease) {
  uint32_t i = 0;
  while (i + 1 < lease->count && lease->reported[i])
    i++;
  return i;
}

static inline bool model_holds(const struct model_worker *w, uint64_t id) {
  for (uint32_t i = 0; i < w->lease_count; i++) {
    if (w->lease[i].id == id) return true;
  }
  return false;
}

static inline void model_start(struct model *m, struct model_worker *w, struct model_lease *lease, uint32_t at) {
  lease->begun[at] = true;
  model_hear(m, w);
  queue_started(m->queue, m->now, w->number, lease->id, lease->test[at]);
}

static inline void model_done_with(struct model_worker *w, struct model_lease *lease) {
  for (uint32_t i = 0; i < lease->count; i++) {
    if (!lease->reported[i]) return;
  }
  *lease = w->lease[--w->lease_count];
}

static inline void model_accepted(struct model *m, const struct queue_result *result, enum queue_accept accept,
                                  uint32_t attempt, bool settles) {
  struct model_record *record = model_keep(m, accept == ACCEPT_EXTRA ? RECORD_EXTRA : RECORD_RESULT);
  record->worker = result->worker;
  record->test = result->test;
  record->status = result->status;
  record->reason = result->reason;
  record->attempt = attempt;
  record->settles = settles;
  model_attempt(m, result->test, attempt);
  if (accept == ACCEPT_EXTRA) return;
  m->held[result->test] = 0;
  if (settles) m->verdict[result->test] = queue_verdict(m->queue, result->test);
  if (settles) m->decided[result->test] = result->worker;
  if (settles) assert_int_not_equal(m->verdict[result->test], VERDICT_NONE);
}

static inline enum queue_accept model_result(struct model *m, struct model_worker *w, uint64_t id, uint32_t test,
                                             enum queue_status status) {
  struct queue_result result = {.worker = w->number, .test = test, .lease = id, .status = status};
  uint32_t attempt = 0;
  bool settles = false;
  if (status == QUEUE_SKIPPED) result.reason = (w->number + test) % 3;
  result.duration_us = m->expected_us[test] / 2 + model_roll(m, (uint32_t)m->expected_us[test]);
  model_hear(m, w);
  enum queue_accept accept = queue_result(m->queue, m->now, &result, &attempt, &settles, &m->fx);
  model_mix(m, (uint64_t)accept << 8 | (uint64_t)settles);
  if (accept <= ACCEPT_EXTRA) model_accepted(m, &result, accept, attempt, settles);
  model_take_effects(m, true);
  return accept;
}

static inline void model_report(struct model *m, struct model_worker *w, struct model_lease *lease, uint32_t at,
                                enum queue_status status) {
  uint32_t test = lease->test[at];
  bool decided = m->verdict[test] != VERDICT_NONE, mine = m->held[test] == lease->id && m->holder[test] == w->number;
  bool sealed = queue_state(m->queue) == QUEUE_COMPLETE || queue_state(m->queue) == QUEUE_INCOMPLETE;
  enum queue_accept accept = model_result(m, w, lease->id, test, status);
  if (decided) assert_true(accept >= ACCEPT_EXTRA);  // the first verdict stands
  if (sealed) assert_true(accept >= ACCEPT_DUPLICATE);
  if (mine && !sealed) assert_int_equal(accept, ACCEPT_CURRENT);
  if (!mine) assert_int_not_equal(accept, ACCEPT_CURRENT);
  lease->reported[at] = true;
  model_done_with(w, lease);
  model_advance(m, m->now);
}

// It hands back some of a lease that it has not begun: what was asked for, or anything, or nothing.
static inline void model_release(struct model *m, struct model_worker *w, struct model_lease *lease) {
  uint32_t tests[MODEL_TESTS] = {0}, n = 0, share = model_roll(m, 101);
  model_hear(m, w);
  for (uint32_t i = 0; i < lease->count; i++) {
    if (lease->reported[i] || lease->begun[i] || !model_chance(m, share)) continue;
    lease->reported[i] = lease->given_back[i] = true;
    tests[n++] = lease->test[i];
    if (m->held[lease->test[i]] == lease->id && m->holder[lease->test[i]] == w->number) m->held[lease->test[i]] = 0;
  }
  lease->recalled = false;
  m->released += n;
  queue_released(m->queue, m->now, w->number, lease->id, tests, n, &m->fx);
  model_done_with(w, lease);
  model_take_effects(m, true);
  model_advance(m, m->now);
}

static inline void model_expect_unknown(struct model *m, struct model_worker *w, uint64_t id, uint32_t test) {
  if (!m->has_list || m->holder[test] == w->number) return;  // it may have lost a lease of that number
  assert_int_equal(model_result(m, w, id, test, QUEUE_FAILED), ACCEPT_UNKNOWN);
}

static inline void model_vanish(struct model *m, struct model_worker *w) {
  queue_detach(m->queue, m->now, w->number);
  w->presence = AWAY;
  w->asked = false;
}

// It names a lease: what of it nobody has becomes its again.
static inline void model_adopt(struct model *m, struct model_worker *w, struct model_lease *lease, bool all) {
  lease->recalled = false;
  uint32_t tests[MODEL_TESTS] = {0}, n = 0, live = 0;
  for (uint32_t i = 0; i < lease->count; i++) {
    if (!lease->reported[i] || (all && !lease->given_back[i])) tests[n++] = lease->test[i];
  }
  for (uint32_t i = 0; i < m->total; i++)
    live += m->held[i] == lease->id;
  // Of a live lease, what it does not name is not its any more.
  for (uint32_t i = 0; live && !all && i < lease->count; i++) {
    bool mine = m->held[lease->test[i]] == lease->id && m->holder[lease->test[i]] == w->number;
    if (lease->reported[i] && mine) m->held[lease->test[i]] = 0;
  }
  bool adopted = queue_adopt(m->queue, m->now, w->number, lease->id, tests, n);
  for (uint32_t i = 0; i < n && !live; i++) {
    if (m->held[tests[i]] || m->queue->test[tests[i]].place != PLACE_LEASED)
      continue;  // its own failure is not given back
    assert_int_equal(m->verdict[tests[i]], VERDICT_NONE);
    m->held[tests[i]] = lease->id;
    m->holder[tests[i]] = w->number;
  }
  for (uint32_t i = live = 0; i < m->total; i++)
    live += m->held[i] == lease->id;
  assert_int_equal(adopted, live > 0);
}

static inline void model_return(struct model *m, struct model_worker *w, bool all) {
  uint64_t ids[MODEL_LEASES];
  queue_attach(m->queue, m->now, w->number, &m->fx);
  model_take_effects(m, true);
  w->said_us = m->now;
  w->presence = HERE;
  w->drained = false;
  for (uint32_t i = 0; i < w->lease_count; i++) {
    ids[i] = w->lease[i].id;
    model_adopt(m, w, &w->lease[i], all);
  }
  for (uint32_t i = 0; i < m->total; i++) {
    if (m->held[i] && m->holder[i] == w->number && !model_holds(w, m->held[i])) m->held[i] = 0;
  }
  queue_holds_only(m->queue, m->now, w->number, ids, w->lease_count, &m->fx);
  model_take_effects(m, true);
  model_advance(m, m->now);
}

static inline uint32_t model_here(const struct model *m) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < m->worker_count; i++)
    n += m->worker[i].presence == HERE;
  return n;
}

static inline uint32_t model_staying(const struct model *m) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < m->worker_count; i++)
    n += m->worker[i].presence == HERE && !m->worker[i].drained;
  return n;
}
#include "tests/unit/queue_model_life.h"
#endif
