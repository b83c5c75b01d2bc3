// The model of cutmodel.h: counts like the store's documentation says it counts, and asks the database by SQL of its
// own. Called by powercut.c and cutwork.c. Must not use the store's code for what it checks.
#include "tests/chaos/cutmodel.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static uint64_t hash(uint64_t sum, uint64_t value);
static uint64_t hash_bytes(const void *bytes, size_t n);
static bool fails(uint32_t status);
static uint64_t result_hash(const struct store_result *r);
static bool same_rows(const struct model_rows *a, const struct model_rows *b);
static void expect(const struct model_build *build, struct model_rows *rows);
static uint64_t worker_hash(uint32_t number, const struct model_worker *w);

// Numbers of Status and BuildState in shardd.proto.
enum {
  PASSED = 1,
  FAILED,
  ERRORED,
  SKIPPED,
  XFAILED,
  CRASHED = 7,
  TIMED_OUT = 8,
  COLLECTING = 1,
  RUNNING = 2,
  ENDED = 3
};

static struct model_build *build_of(struct model *model, uint64_t id) {
  assert(id >= 1 && id <= model->count);
  return &model->build[id - 1];
}

void model_build(struct model *model, uint32_t tests) {
  assert(model->count < MODEL_BUILDS && tests <= MODEL_TESTS);
  model->build[model->count++] = (struct model_build){.test_count = tests, .state = COLLECTING, .round = 1};
}

void model_worker(struct model *model, uint64_t id) {
  struct model_build *build = build_of(model, id);
  assert(build->worker_count < MODEL_WORKERS);
  build->worker_count++;
}

void model_result(struct model *model, const struct store_result *r) {
  struct model_build *build = build_of(model, r->build);
  struct model_worker *worker = &build->worker[r->worker];
  struct model_taught *taught = &build->round_of[r->round - 1];
  bool lost = r->flags & STORE_LOST, settles = r->flags & STORE_SETTLES;
  build->results++;
  build->outputs += r->text != NULL && r->text_bytes > 0;
  build->result_sum += result_hash(r);
  if (r->seq > worker->seq) worker->seq = r->seq;
  if (!lost) {
    worker->tests++;
    worker->failed += fails(r->status);
    worker->busy_us += (uint64_t)r->setup_us + r->call_us + r->teardown_us;
    taught->runs += fails(r->status) || r->status == PASSED;
  }
  if (settles && !lost && !(r->flags & (STORE_LATE | STORE_EXTRA)))
    taught->durations += r->status == PASSED || r->status == XFAILED;
  for (uint32_t i = 0; i < build->test_count; i++) {
    struct model_test *test = &build->test[i];
    if (test->row != r->test) continue;
    test->attempts++;
    if (!settles) continue;
    assert(test->verdict == MODEL_NONE);
    test->verdict = fails(r->status) ? MODEL_FAIL : r->status == SKIPPED ? MODEL_SKIP : MODEL_PASS;
  }
}

void model_round(struct model *model, uint64_t id, const uint32_t *tests, size_t count) {
  struct model_build *build = build_of(model, id);
  assert(build->round < MODEL_ROUNDS);
  build->round++;
  build->state = RUNNING;
  for (size_t i = 0; i < count; i++)
    for (uint32_t t = 0; t < build->test_count; t++)
      if (build->test[t].row == tests[i]) build->test[t].verdict = MODEL_NONE;
}

void model_state(struct model *model, uint64_t id, uint32_t state, uint64_t at_ms) {
  build_of(model, id)->state = state;
  build_of(model, id)->ended_ms = at_ms;
}

void model_left(struct model *model, uint64_t id, uint32_t worker) {
  build_of(model, id)->worker[worker].left = true;
}

void model_purge(struct model *model, uint64_t wall_ms, uint64_t keep_us) {
  for (uint32_t i = 0; i < model->count; i++) {
    struct model_build *build = &model->build[i];
    if (build->state >= ENDED && build->ended_ms < (wall_ms * 1000 - keep_us) / 1000) build->purged = true;
  }
}

uint64_t model_results(const struct model *model) {
  uint64_t results = 0;
  for (uint32_t i = 0; i < model->count; i++)
    results += model->build[i].purged ? 0 : model->build[i].results;
  return results;
}

bool model_same(const struct model *model, const struct found *found, char why[MODEL_WHY_BYTES]) {
  uint64_t outputs = 0, runs = 0, durations = 0;
  if (model->count != found->count)
    return (void)snprintf(why, MODEL_WHY_BYTES, "%u builds instead of %u", found->count, model->count), false;
  for (uint32_t i = 0; i < model->count; i++) {
    const struct model_build *build = &model->build[i];
    struct model_rows rows = {0};
    expect(build, &rows);
    if (!same_rows(&rows, &found->build[i]))
      return (void)snprintf(why, MODEL_WHY_BYTES, "build %u differs: %u results instead of %u, state %u (%u)", i + 1,
                            found->build[i].results, rows.results, found->build[i].state, rows.state),
             false;
    outputs += build->purged ? 0 : build->outputs;
    for (uint32_t r = 0; r < build->round - (build->state < ENDED); r++) {
      runs += build->round_of[r].runs;
      durations += build->round_of[r].durations;
    }
  }
  if (outputs != found->outputs)
    return (void)snprintf(why, MODEL_WHY_BYTES, "%ju outputs instead of %ju", (uintmax_t)found->outputs,
                          (uintmax_t)outputs),
           false;
  if (runs != found->runs || durations != found->durations || found->unlearned != 0)
    return (void)snprintf(why, MODEL_WHY_BYTES, "taught %ju runs instead of %ju, %ju durations instead of %ju",
                          (uintmax_t)found->runs, (uintmax_t)runs, (uintmax_t)found->durations, (uintmax_t)durations),
           false;
  return true;
}

static bool same_rows(const struct model_rows *a, const struct model_rows *b) {
  return a->state == b->state && a->round == b->round && a->passed == b->passed && a->failed == b->failed &&
         a->skipped == b->skipped && a->tests == b->tests && a->workers == b->workers && a->results == b->results &&
         a->purged == b->purged && a->result_sum == b->result_sum && a->worker_sum == b->worker_sum;
}

static void expect(const struct model_build *build, struct model_rows *rows) {
  memset(rows, 0, sizeof *rows);
  rows->state = build->state;
  rows->round = build->round;
  rows->tests = build->listed ? build->test_count : 0;
  rows->workers = build->worker_count;
  rows->purged = build->purged;
  for (uint32_t i = 0; i < build->test_count; i++) {
    rows->passed += build->test[i].verdict == MODEL_PASS;
    rows->failed += build->test[i].verdict == MODEL_FAIL;
    rows->skipped += build->test[i].verdict == MODEL_SKIP;
  }
  if (build->purged) return;
  rows->results = build->results;
  rows->result_sum = build->result_sum;
  for (uint32_t i = 0; i < build->worker_count; i++)
    rows->worker_sum += worker_hash(i, &build->worker[i]);
}

static uint64_t worker_hash(uint32_t number, const struct model_worker *w) {
  return hash(hash(hash(hash(hash(hash(1, number), w->seq), w->tests), w->failed), w->busy_us), w->left);
}

static bool fails(uint32_t status) {
  return status == FAILED || status == ERRORED || status == CRASHED || status == TIMED_OUT;
}

static uint64_t hash(uint64_t sum, uint64_t value) {
  sum = (sum ^ value) * UINT64_C(0x9E3779B97F4A7C15);
  return sum ^ (sum >> 29);
}

static uint64_t hash_bytes(const void *bytes, size_t n) {
  const unsigned char *at = bytes;
  uint64_t sum = n, word = 0;
  for (; n >= sizeof word; n -= sizeof word, at += sizeof word) {
    memcpy(&word, at, sizeof word);
    sum = hash(sum, word);
  }
  for (size_t i = 0; i < n; i++)
    sum = hash(sum, at[i]);
  return sum;
}

static uint64_t result_hash(const struct store_result *r) {
  const uint64_t cells[] = {r->test,  r->attempt,  r->worker,   r->status,  r->flags,
                            r->round, r->start_ms, r->setup_us, r->call_us, r->teardown_us};
  uint64_t sum = r->text != NULL && r->text_bytes > 0 ? hash_bytes(r->text, r->text_bytes) : 0;
  for (size_t i = 0; i < COUNT_OF(cells); i++)
    sum = hash(sum, cells[i]);
  return sum;
}

// ---- the database

static sqlite3_stmt *start(sqlite3 *db, const char *sql, char *why) {
  sqlite3_stmt *stmt = NULL;
  if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK) return stmt;
  (void)snprintf(why, MODEL_WHY_BYTES, "%s: %s", sql, sqlite3_errmsg(db));
  return NULL;
}

static uint64_t cell(sqlite3_stmt *stmt, int column) {
  return (uint64_t)sqlite3_column_int64(stmt, column);
}

static bool finish(sqlite3 *db, sqlite3_stmt *stmt, char *why) {
  if (sqlite3_finalize(stmt) == SQLITE_OK) return true;
  (void)snprintf(why, MODEL_WHY_BYTES, "cannot be read: %s", sqlite3_errmsg(db));
  return false;
}

// The row of a build; NULL: of one that nobody made.
static struct model_rows *rows_of(struct found *found, uint64_t build, const char *what, char *why) {
  if (build >= 1 && build <= found->count) return &found->build[build - 1];
  (void)snprintf(why, MODEL_WHY_BYTES, "%s of build %ju, which is not there", what, (uintmax_t)build);
  return NULL;
}

static bool check(sqlite3 *db, char *why) {
  sqlite3_stmt *stmt = start(db, "PRAGMA integrity_check(1)", why);
  if (stmt == NULL) return false;
  bool row = sqlite3_step(stmt) == SQLITE_ROW;
  const char *text = row ? (const char *)sqlite3_column_text(stmt, 0) : "no answer";
  bool ok = text != NULL && strcmp(text, "ok") == 0;
  if (!ok) (void)snprintf(why, MODEL_WHY_BYTES, "damaged: %s", text ? text : "");
  return finish(db, stmt, why) && ok;
}

static bool read_builds(sqlite3 *db, struct found *found, char *why) {
  sqlite3_stmt *stmt =
      start(db, "SELECT id, state, round, passed, failed, skipped, tests, workers, purged FROM build ORDER BY id", why);
  if (stmt == NULL) return false;
  while (sqlite3_step(stmt) == SQLITE_ROW) {
    if (found->count == MODEL_BUILDS || cell(stmt, 0) != found->count + 1) {
      (void)snprintf(why, MODEL_WHY_BYTES, "build %ju follows build %u", (uintmax_t)cell(stmt, 0), found->count);
      sqlite3_finalize(stmt);
      return false;
    }
    struct model_rows *rows = &found->build[found->count++];
    uint32_t *const numbers[] = {&rows->state,   &rows->round, &rows->passed, &rows->failed,
                                 &rows->skipped, &rows->tests, &rows->workers};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
      *numbers[i] = (uint32_t)cell(stmt, (int)i + 1);
    rows->purged = cell(stmt, 8) != 0;
  }
  return finish(db, stmt, why);
}

static bool read_workers(sqlite3 *db, struct found *found, char *why) {
  sqlite3_stmt *stmt =
      start(db, "SELECT build, idx, acked, tests, failed, busy_us, left_ms IS NOT NULL FROM worker", why);
  struct model_rows *rows = NULL;
  bool known = stmt != NULL;
  while (known && sqlite3_step(stmt) == SQLITE_ROW) {
    const struct model_worker w = {.seq = cell(stmt, 2),
                                   .tests = (uint32_t)cell(stmt, 3),
                                   .failed = (uint32_t)cell(stmt, 4),
                                   .busy_us = cell(stmt, 5),
                                   .left = cell(stmt, 6) != 0};
    rows = rows_of(found, cell(stmt, 0), "a worker", why);
    known = rows != NULL;
    if (known) rows->worker_sum += worker_hash((uint32_t)cell(stmt, 1), &w);
  }
  return (stmt == NULL || finish(db, stmt, why)) && known;
}

static bool read_results(sqlite3 *db, struct found *found, char *why) {
  sqlite3_stmt *stmt = start(db,
                             "SELECT r.build, r.test, r.attempt, r.worker, r.status, r.flags, r.round, r.start_ms,"
                             " r.setup_us, r.call_us, r.teardown_us, o.text FROM result r"
                             " LEFT JOIN output o USING(build, test, attempt)",
                             why);
  bool known = stmt != NULL;
  while (known && sqlite3_step(stmt) == SQLITE_ROW) {
    struct store_result r = {.text = sqlite3_column_blob(stmt, 11),
                             .text_bytes = (size_t)sqlite3_column_bytes(stmt, 11),
                             .start_ms = cell(stmt, 7)};
    uint32_t *const numbers[] = {&r.test, &r.attempt, &r.worker, &r.status, &r.flags, &r.round};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
      *numbers[i] = (uint32_t)cell(stmt, (int)i + 1);
    r.setup_us = (uint32_t)cell(stmt, 8);
    r.call_us = (uint32_t)cell(stmt, 9);
    r.teardown_us = (uint32_t)cell(stmt, 10);
    struct model_rows *rows = rows_of(found, cell(stmt, 0), "a result", why);
    known = rows != NULL;
    if (!known) break;
    rows->results++;
    rows->result_sum += result_hash(&r);
    found->results++;
  }
  return (stmt == NULL || finish(db, stmt, why)) && known;
}

static bool read_sums(sqlite3 *db, struct found *found, char *why) {
  sqlite3_stmt *stmt = start(db,
                             "SELECT (SELECT count(*) FROM output), (SELECT coalesce(sum(runs), 0) FROM flake_stat),"
                             " (SELECT coalesce(sum(n), 0) FROM dur_stat),"
                             " (SELECT count(*) FROM build WHERE round > learned_round + (state < 3))",
                             why);
  if (stmt == NULL) return false;
  if (sqlite3_step(stmt) == SQLITE_ROW) {
    found->outputs = cell(stmt, 0);
    found->runs = cell(stmt, 1);
    found->durations = cell(stmt, 2);
    found->unlearned = cell(stmt, 3);
  }
  return finish(db, stmt, why);
}

bool model_read(sqlite3 *db, struct found *found, char why[MODEL_WHY_BYTES]) {
  memset(found, 0, sizeof *found);
  return check(db, why) && read_builds(db, found, why) && read_workers(db, found, why) &&
         read_results(db, found, why) && read_sums(db, found, why);
}
