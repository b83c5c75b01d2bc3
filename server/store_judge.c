// Flaky or broken: what the rows of a closed build say of its tests. Called by store_learn.c on the store thread, in
// its order, after store_speed.c: what other builds of the commit saw, then test by test. Turns rows into trials for
// flaky.c and keeps what that remembers. Must not know the arithmetic of the model.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

enum { EVENT_KEEP_DAYS = 90, WHY_BYTES = 160 };

struct judging {  // one test
  struct store *store;
  struct store_db *db;
  const struct store_learn *learn;
  const struct store_learn_test *test;
  struct flaky_trial trial;
  struct flaky_memory memory;
  struct flaky_event *event;  // FLAKY_EVENTS_MAX of them; the newest that are known
  size_t events;
  enum flaky_kind kind;
  uint32_t runs, fails;    // of this round
  uint64_t lost_us, hits;  // hits: before this build
  bool flips;              // as a build counts it: once, in the round that completes the contradiction
};

static void gather(struct store_db *db, struct store_learn *learn, size_t end);
static void blame(struct store_learn *learn);
static uint64_t whole_us(const struct store_learn_row *row);
static struct flaky_trial trial_of(const struct store_learn *learn, const struct store_learn_test *test);
static void follow(const struct store_learn *learn, const struct store_learn_test *test, size_t first,
                   struct flaky_trial *trial);
static uint64_t lost_us(const struct store_learn *learn, const struct store_learn_test *test);
static void read_memory(struct judging *judging);
static void read_events(struct judging *judging);
static void count_runs(struct judging *judging);
static void learn_trial(struct judging *judging);
static void put_event(struct judging *judging, const struct flaky_event *event);
static void write_memory(struct judging *judging, bool hit);
static void log_state(struct judging *judging, enum flaky_state before);

unsigned store_judge_evidence(const struct store_learn *learn, const struct store_learn_row *row) {
  if (row->flags & STORE_LOST || learn->sick || learn->worker[row->worker].sick) return 0;
  if (store_status_fails(row->status)) return FLAKY_SAW_FAILURE;
  return row->status == STORE_PASSED ? FLAKY_SAW_PASS : 0;
}

struct store_arg store_judge_keys(const struct flaky_keys *keys) {
  return store_blob(keys->n > 0 ? keys->key : NULL, keys->n * sizeof keys->key[0]);
}

void store_judge_read_keys(sqlite3_stmt *stmt, int column, struct flaky_keys *keys) {
  const void *bytes = sqlite3_column_blob(stmt, column);
  size_t n = (size_t)sqlite3_column_bytes(stmt, column) / sizeof keys->key[0];
  keys->n = (uint32_t)(n < FLAKY_KEYS ? n : FLAKY_KEYS);
  if (keys->n > 0) memcpy(keys->key, bytes, keys->n * sizeof keys->key[0]);
}

// ---- other builds of the commit

// The first of the others is this build itself, in its earlier rounds: what it took until the last of their tests
// ended, times the workers that ran any.
void store_judge_others(struct store_db *db, struct store_learn *learn) {
  uint64_t begin_ms = UINT64_MAX, end_ms = 0, workers = 0;
  bool *seen = base_calloc((size_t)learn->worker_count + 1, sizeof *seen);
  for (size_t i = 0; i < learn->count; i++) {
    const struct store_learn_row *row = &learn->row[i];
    if (row->round >= learn->round || row->flags & STORE_LOST) continue;
    uint64_t ended_ms = row->start_ms + whole_us(row) / 1000;
    begin_ms = row->start_ms < begin_ms ? row->start_ms : begin_ms;
    end_ms = ended_ms > end_ms ? ended_ms : end_ms;
    workers += !seen[row->worker];
    seen[row->worker] = true;
  }
  free(seen);
  learn->other_count = 1;
  learn->other[0] = (struct store_learn_other){.cost_us = workers ? (end_ms - begin_ms) * 1000 * workers : 0};
  sqlite3_stmt *stmt = store_sql_start(db, SQL_LEARN_BUILDS,
                                       STORE_ARGS(store_int(learn->suite), store_text(learn->commit),
                                                  store_int(learn->build), store_int(STORE_LEARN_BUILDS)));
  while (store_sql_row(db, SQL_LEARN_BUILDS))
    learn->other[learn->other_count++] =
        (struct store_learn_other){.build = store_sql_int(stmt, 0), .cost_us = store_sql_sum_us(stmt, 1)};
}

bool store_judge_gather(struct store *store) {
  struct store_db *db = &store->writer;
  struct store_learn *learn = &store->learn;
  size_t end =
      learn->next + STORE_LEARN_SLICE < learn->test_count ? learn->next + STORE_LEARN_SLICE : learn->test_count;
  store_sql_begin(db, false);
  if (learn->next < end) gather(db, learn, end);
  if (!store_thread_commit(store)) return false;
  learn->next = end;
  if (end < learn->test_count) return true;
  blame(learn);
  learn->gathered = true;
  learn->next = 0;
  return true;
}

static struct store_learn_test *find_test(const struct store_learn *learn, size_t from, size_t end, uint32_t test) {
  while (from < end) {
    size_t middle = from + (end - from) / 2;
    uint32_t there = learn->row[learn->test[middle].from].test;
    if (there == test) return &learn->test[middle];
    if (test < there)
      end = middle;
    else
      from = middle + 1;
  }
  return NULL;
}

// One test of one other build: a failure without a pass makes it one of those that failed that build.
static void take_other(struct store_learn *learn, size_t other, struct store_learn_test *test, unsigned saw) {
  if (test == NULL || saw == 0) return;
  test->other |= (uint8_t)saw;
  if (saw != FLAKY_SAW_FAILURE) return;
  learn->other[other].failing++;
  learn->other[other].passed_now += (trial_of(learn, test).now & FLAKY_SAW_PASS) != 0;
  if (test->blame == 0) test->blame = (uint8_t)(other + 1);
}

static void gather(struct store_db *db, struct store_learn *learn, size_t end) {
  uint32_t first = learn->row[learn->test[learn->next].from].test, last = learn->row[learn->test[end - 1].from].test;
  for (size_t i = learn->next; i < end; i++)
    if (trial_of(learn, &learn->test[i]).before == FLAKY_SAW_FAILURE) {
      learn->other[0].failing++;
      learn->other[0].passed_now += (trial_of(learn, &learn->test[i]).now & FLAKY_SAW_PASS) != 0;
      learn->test[i].blame = 1;
    }
  for (size_t other = 1; other < learn->other_count; other++) {
    struct store_learn_test *test = NULL;
    unsigned saw = 0;
    sqlite3_stmt *stmt = store_sql_start(
        db, SQL_LEARN_OTHERS, STORE_ARGS(store_int(learn->other[other].build), store_int(first), store_int(last)));
    while (store_sql_row(db, SQL_LEARN_OTHERS)) {
      struct store_learn_test *found = find_test(learn, learn->next, end, store_sql_u32(stmt, 0));
      uint32_t status = store_sql_u32(stmt, 1);
      if (found != test) {
        take_other(learn, other, test, saw);
        test = found;
        saw = 0;
      }
      if (store_sql_int(stmt, 2) & STORE_LOST) continue;
      saw |= store_status_fails(status) ? FLAKY_SAW_FAILURE : status == STORE_PASSED ? FLAKY_SAW_PASS : 0;
    }
    take_other(learn, other, test, saw);
  }
}

// How many flips each worker has: many at once are one event rather.
static void blame(struct store_learn *learn) {
  for (size_t i = 0; i < learn->test_count; i++) {
    struct flaky_trial trial = trial_of(learn, &learn->test[i]);
    if (!flaky_flips(&trial)) continue;
    if (trial.now & FLAKY_SAW_FAILURE)
      learn->worker[trial.worker].flips++;
    else
      learn->other_flips++;
  }
}

// ---- trials

static uint64_t whole_us(const struct store_learn_row *row) {
  return (uint64_t)row->setup_us + row->call_us + row->teardown_us;
}

static struct flaky_trial trial_of(const struct store_learn *learn, const struct store_learn_test *test) {
  struct flaky_trial trial = {.at_ms = learn->at_ms,
                              .build = learn->build,
                              .other = test->other,
                              .branch = learn->branch,
                              .trunk = learn->trunk};
  size_t first = test->to;
  for (size_t i = test->from; i < test->to; i++) {
    const struct store_learn_row *row = &learn->row[i];
    unsigned saw = store_judge_evidence(learn, row);
    if (row->round > learn->round || saw == 0) continue;
    if (row->round < learn->round) trial.before |= saw;
    trial.now |= saw;
    if (saw != FLAKY_SAW_FAILURE) continue;
    if (first == test->to) first = i;
    if ((row->flags & STORE_SETTLES) && !(row->flags & STORE_MUTED)) trial.flags |= FLAKY_HIT;
    if (row->round < learn->round) continue;
    trial.fails++;
    flaky_keys_add(&trial.fail_workers, learn->worker[row->worker].key);
  }
  trial.commit = flaky_commit(learn->commit, learn->build);
  if (first < test->to) follow(learn, test, first, &trial);
  bool elsewhere = !(trial.now & FLAKY_SAW_FAILURE);
  if (elsewhere) trial.flags |= FLAKY_HIT;
  trial.cluster = elsewhere ? learn->other_flips : learn->worker[trial.worker].flips;
  return trial;
}

// What came after the first failure: did it fail or pass there again, did it pass elsewhere?
static void follow(const struct store_learn *learn, const struct store_learn_test *test, size_t first,
                   struct flaky_trial *trial) {
  uint32_t worker = learn->row[first].worker;
  uint64_t host = learn->worker[worker].host;
  trial->worker = worker;
  trial->host = host;
  for (size_t i = test->from; i < test->to; i++) {
    const struct store_learn_row *row = &learn->row[i];
    unsigned saw = store_judge_evidence(learn, row);
    if (i == first || row->round > learn->round || saw == 0) continue;
    uint64_t other = learn->worker[row->worker].host;
    if (row->worker == worker && i > first)
      trial->flags |= saw == FLAKY_SAW_PASS ? FLAKY_PASSED_SAME : FLAKY_FAILED_SAME;
    if (row->worker != worker && saw == FLAKY_SAW_PASS)
      trial->flags |= FLAKY_PASSED_ELSEWHERE | (host && other && other != host ? FLAKY_PASSED_OTHER_HOST : 0);
  }
}

// Failing attempts and those after them; and, when all that failed a build passed now, its share of that build.
static uint64_t lost_us(const struct store_learn *learn, const struct store_learn_test *test) {
  uint64_t lost = 0;
  bool failed = false;
  for (size_t i = test->from; i < test->to; i++) {
    const struct store_learn_row *row = &learn->row[i];
    unsigned saw = store_judge_evidence(learn, row);
    if (row->round > learn->round || saw == 0) continue;
    failed |= saw == FLAKY_SAW_FAILURE;
    lost += failed ? whole_us(row) : 0;
  }
  if (test->blame == 0) return lost;
  const struct store_learn_other *other = &learn->other[test->blame - 1];
  return lost + (other->passed_now == other->failing ? other->cost_us / other->failing : 0);
}

// ---- test by test

void store_judge_test(struct store *store, const struct store_learn_test *test) {
  const struct store_learn *learn = &store->learn;
  struct judging judging = {.store = store, .db = &store->writer, .learn = learn, .test = test, .event = learn->event};
  count_runs(&judging);
  if (judging.runs == 0) return;
  judging.trial = trial_of(learn, test);
  read_memory(&judging);
  learn_trial(&judging);
}

static bool contradicts(unsigned seen, unsigned other) {
  if (seen == FLAKY_SAW_BOTH) return true;
  return seen != 0 && other != 0 && other != FLAKY_SAW_BOTH && (seen | other) == FLAKY_SAW_BOTH;
}

static void count_runs(struct judging *judging) {
  const struct store_learn *learn = judging->learn;
  for (size_t i = judging->test->from; i < judging->test->to; i++) {
    unsigned saw = store_judge_evidence(learn, &learn->row[i]);
    if (learn->row[i].round != learn->round || saw == 0) continue;
    judging->runs++;
    judging->fails += saw == FLAKY_SAW_FAILURE;
  }
}

static uint32_t test_id(const struct judging *judging) {
  return judging->learn->row[judging->test->from].test;
}

static void read_memory(struct judging *judging) {
  struct flaky_memory *m = &judging->memory;
  sqlite3_stmt *stmt = store_sql_start(judging->db, SQL_FLAKE_READ, STORE_ARGS(store_int(test_id(judging))));
  if (!store_sql_row(judging->db, SQL_FLAKE_READ)) return;
  m->f = store_sql_real(stmt, 0);
  m->r = store_sql_real(stmt, 1);
  m->at_ms = store_sql_ms(stmt, 2);
  m->since_ms = store_sql_ms(stmt, 3);
  m->cleared_ms = store_sql_ms(stmt, 4);
  m->last_event_ms = store_sql_ms(stmt, 5);
  m->last_good = store_sql_int(stmt, 6);
  m->first_bad = store_sql_int(stmt, 7);
  m->bad_commit = store_sql_int(stmt, 8);
  m->bad_worker = store_sql_u32(stmt, 9);
  m->trials = store_sql_u32(stmt, 10);
  m->clean = store_sql_u32(stmt, 11);
  m->streak = store_sql_u32(stmt, 12);
  m->streak_attempts = store_sql_u32(stmt, 13);
  store_judge_read_keys(stmt, 14, &m->streak_workers);
  m->state = (enum flaky_state)store_sql_bound(stmt, 15, FLAKY_BROKEN);
  m->flagged = store_sql_int(stmt, 16) != 0;
  judging->kind = (enum flaky_kind)store_sql_bound(stmt, 17, FLAKY_KIND_CLUSTER);
  judging->hits = store_sql_int(stmt, 18);
  m->bad_ms = store_sql_ms(stmt, 19);
  store_judge_read_keys(stmt, 20, &m->streak_branches);
  sqlite3_reset(stmt);
}

static void read_events(struct judging *judging) {
  uint64_t now_ms = judging->learn->at_ms, from_ms = now_ms > FLAKY_WINDOW_MS ? now_ms - FLAKY_WINDOW_MS : 0;
  const struct store_arg args[] = {store_int(test_id(judging)), store_int(from_ms), store_int(FLAKY_EVENTS_MAX - 1)};
  sqlite3_stmt *stmt = store_sql_start(judging->db, SQL_EVENT_READ, args, COUNT_OF(args));
  while (store_sql_row(judging->db, SQL_EVENT_READ))
    judging->event[judging->events++] = (struct flaky_event){
        .at_ms = store_sql_ms(stmt, 0),
        .build = store_sql_int(stmt, 1),
        .commit = store_sql_int(stmt, 2),
        .host = store_sql_int(stmt, 3),
        .worker = store_sql_worker(stmt, 4),
        .flags = (unsigned)store_sql_int(stmt, 5),
        .cluster = store_sql_u32(stmt, 6),
        .weight = store_sql_real(stmt, 7),
    };
}

static void learn_trial(struct judging *judging) {
  struct flaky_memory *memory = &judging->memory;
  const struct flaky_trial *trial = &judging->trial;
  enum flaky_state before = memory->state;
  struct flaky_event event;
  if (judging->db->rc != SQLITE_OK) return;
  if (memory->last_event_ms + FLAKY_WINDOW_MS > trial->at_ms) read_events(judging);
  bool learned = flaky_learn(memory, trial, &event);
  if (learned) {
    judging->lost_us = event.flags & FLAKY_ISOLATED ? 0 : lost_us(judging->learn, judging->test);
    judging->event[judging->events++] = event;
    put_event(judging, &event);
    judging->kind = flaky_kind_of(judging->event, judging->events, trial->at_ms);
  }
  bool changed = flaky_judge(memory, judging->event, judging->events, trial->at_ms);
  judging->flips = contradicts(trial->now, trial->other) && !contradicts(trial->before, trial->other);
  write_memory(judging, learned && (event.flags & FLAKY_HIT));
  if (changed) log_state(judging, before);
  const struct store_judged judged = {
      .suite = judging->learn->suite,
      .test = test_id(judging),
      .at_ms = trial->at_ms,
      .before = before,
      .state = memory->state,
      .hits = judging->hits + (learned && (event.flags & FLAKY_HIT)),
      .f = memory->f,
      .r = memory->r,
  };
  store_mute_judged(judging->store, &judged);
}

static void put_event(struct judging *judging, const struct flaky_event *event) {
  uint64_t kept_ms = EVENT_KEEP_DAYS * FLAKY_DAY_MS, test = test_id(judging);
  store_sql_run(judging->db, SQL_EVENT_PUT,
                STORE_ARGS(store_int(test), store_int(event->at_ms), store_int(event->build), store_int(event->commit),
                           store_int(event->host), store_int(event->worker), store_int(event->flags),
                           store_int(event->cluster), store_real(event->weight), store_int(judging->lost_us)));
  if (event->at_ms > kept_ms)
    store_sql_run(judging->db, SQL_EVENT_DROP, STORE_ARGS(store_int(test), store_int(event->at_ms - kept_ms)));
}

static void write_memory(struct judging *judging, bool hit) {
  const struct flaky_memory *m = &judging->memory;
  const struct flaky_trial *t = &judging->trial;
  bool blocked = t->trunk && t->before == 0 && t->now == FLAKY_SAW_FAILURE && !(t->other & FLAKY_SAW_PASS);
  store_sql_run(
      judging->db, SQL_FLAKE_PUT,
      STORE_ARGS(store_int(test_id(judging)), store_int(judging->learn->suite), store_real(m->f), store_real(m->r),
                 store_int(m->at_ms), store_int(m->since_ms), store_int(m->cleared_ms), store_int(m->last_event_ms),
                 store_int(m->last_good), store_int(m->first_bad), store_int(m->bad_commit), store_int(m->bad_worker),
                 store_int(m->trials), store_int(m->clean), store_int(m->streak), store_int(m->streak_attempts),
                 store_int(m->streak_workers.n), store_int(m->state), store_int(m->flagged), store_int(judging->kind),
                 store_int(judging->flips), store_int(judging->runs), store_int(judging->fails),
                 store_int(t->before == 0), store_int(judging->flips ? t->at_ms : 0),
                 store_int(judging->fails ? t->at_ms : 0), store_int(blocked), store_int(hit),
                 store_int(judging->lost_us), store_int(m->bad_ms), store_judge_keys(&m->streak_workers),
                 store_judge_keys(&m->streak_branches)));
}

static void log_state(struct judging *judging, enum flaky_state before) {
  const struct flaky_memory *m = &judging->memory;
  char why[WHY_BYTES];
  if (m->state == FLAKY_BROKEN)
    (void)snprintf(why, sizeof why, "%u attempts failed at %u commits without a pass", m->streak_attempts, m->streak);
  else if (m->state == FLAKY_FLAKY || m->state == FLAKY_SUSPECT)
    (void)snprintf(why, sizeof why, "%zu failures of good code in 14 days", judging->events);
  else
    (void)snprintf(why, sizeof why, "%u clean runs in a row", m->clean);
  store_sql_run(judging->db, SQL_STATE_LOG,
                STORE_ARGS(store_int(judging->learn->suite), store_int(test_id(judging)),
                           store_int(judging->trial.at_ms), store_text(flaky_state_name(before)),
                           store_text(flaky_state_name(m->state)), store_text(""), store_text(why)));
}
