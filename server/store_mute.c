// The quarantine: which tests are muted, since when, why, by whom, and until when. Entries come by hand
// (store_put_mute) and, when the quarantine is auto, from judged tests; they leave when their test is sound again,
// broken, or taken out. Called by store_write.c, store_list.c and store_judge.c on the store thread, by the checks
// of questions on the asker's. Must not know verdicts: what a muted failure is worth is the queue's.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

enum { WHY_BYTES = 256, AUTO_LIFE_DAYS = STORE_MUTE_AUTO_DAYS };
static const double RATE_LOW_MIN = 0.005;

static const struct rows_column quarantine_columns[] = {
    {"test", ROWS_TEXT},   {"file", ROWS_TEXT},       {"status", ROWS_TEXT}, {"expires", ROWS_TIME_MS},
    {"origin", ROWS_TEXT}, {"who", ROWS_TEXT},        {"reason", ROWS_TEXT}, {"ticket", ROWS_TEXT},
    {"state", ROWS_TEXT},  {"created", ROWS_TIME_MS}, {"extend", ROWS_TEXT},
};

static void ask_quarantine(struct store_asking *ask);
static void ask_quarantine_and_candidates(struct store_asking *ask);
static void ask_candidates(struct store_asking *ask);
static void log_change(struct store_db *db, const struct store_judged *judged, bool muted, const char *why);
static void enter(struct store *store, const struct store_judged *judged);
static bool deserves(uint64_t hits, double f, double r);
static bool has_room(struct store_db *db, uint64_t suite, uint64_t test);

int store_query_quarantine(struct store *store, const struct store_query *query, struct rows *rows,
                           struct store_error *error) {
  bool all = store->quarantine != STORE_QUARANTINE_OFF && query->after == 0;
  return store_query_ask(store, query, rows, error, quarantine_columns, COUNT_OF(quarantine_columns),
                         all ? ask_quarantine_and_candidates : ask_quarantine);
}

static void ask_quarantine(struct store_asking *ask) {
  uint64_t now_ms = base_wall_us() / 1000;
  enum store_sql which = store_query_suites(ask, SQL_QUERY_MUTED, SQL_QUERY_MUTED_ALL, store_int(0));
  if (which == SQL_COUNT) return;
  sqlite3_stmt *stmt = ask->db->stmt[which];
  while (!store_query_full(ask) && store_sql_row(ask->db, which)) {
    store_query_cells(ask->rows, stmt, 0, 2);
    rows_string(ask->rows, store_sql_int(stmt, 7) > now_ms ? "muted" : "expired");
    store_query_cells(ask->rows, stmt, 7, 1);
    store_query_cells(ask->rows, stmt, 2, 1);
    store_query_cells(ask->rows, stmt, 4, 1);
    store_query_cells(ask->rows, stmt, 3, 1);
    store_query_cells(ask->rows, stmt, 5, 1);
    rows_string(ask->rows, flaky_state_name((enum flaky_state)store_sql_u32(stmt, 9)));
    store_query_cells(ask->rows, stmt, 6, 1);
    rows_string(ask->rows, store_sql_int(stmt, 8) ? "once" : "");
  }
}

// Of one state: a test that is muted meanwhile is not both.
static void ask_quarantine_and_candidates(struct store_asking *ask) {
  ask_quarantine(ask);
  if (ask->rows->next == 0 && ask->error->text[0] == '\0') ask_candidates(ask);
}

static void ask_candidates(struct store_asking *ask) {
  enum store_sql which = store_query_suites(ask, SQL_QUERY_CANDIDATES, SQL_QUERY_CANDIDATES_ALL, store_int(0));
  if (which == SQL_COUNT) return;
  sqlite3_stmt *stmt = ask->db->stmt[which];
  while (rows_count(ask->rows) < ask->query->limit && store_sql_row(ask->db, which)) {
    if (!deserves(store_sql_int(stmt, 2), store_sql_real(stmt, 3), store_sql_real(stmt, 4))) continue;
    store_query_cells(ask->rows, stmt, 0, 2);
    rows_string(ask->rows, "candidate");
    for (int i = 0; i < 5; i++)
      rows_none(ask->rows);
    rows_string(ask->rows, flaky_state_name(FLAKY_FLAKY));
    rows_none(ask->rows);
    rows_none(ask->rows);
  }
}

// ---- by hand

// What speaks against muting or letting go a test; NULL: nothing.
static const char *refuses(struct store_db *db, const struct store_mute *mute, uint64_t suite, uint64_t test) {
  uint64_t state = 0;
  sqlite3_stmt *stmt = store_sql_start(db, SQL_FLAKE_READ, STORE_ARGS(store_int(test)));
  if (store_sql_row(db, SQL_FLAKE_READ)) {
    state = store_sql_int(stmt, 15);
    sqlite3_reset(stmt);
  }
  uint64_t muted = store_sql_number(db, SQL_MUTE_READ, STORE_ARGS(store_int(test)));
  if (test == 0) return "is not known in this suite";
  if (mute->life_ms == 0) return muted ? NULL : "is not in quarantine";
  if (state == FLAKY_BROKEN) return "is broken, not flaky: nothing but a fix helps";
  return has_room(db, suite, test) ? NULL : "would be too many: at most 20 tests of a suite, or 1 % of them, are muted";
}

static uint64_t find_test(struct store_db *db, const struct store_mute *mute, uint64_t suite) {
  if (suite == 0) return 0;
  return store_sql_number(db, SQL_TEST_FIND, STORE_ARGS(store_int(suite), store_blob(mute->test, strlen(mute->test))));
}

int store_mute_check(struct store *store, const struct store_mute *mute, struct store_error *error) {
  struct store_db *db = &store->reader;
  store_sql_begin(db, false);
  uint64_t suite = store_read_suite(db, mute->project, mute->suite);
  const char *why = refuses(db, mute, suite, find_test(db, mute, suite));
  if (store_sql_end(db) != SQLITE_OK)
    (void)snprintf(error->text, sizeof error->text, "the database cannot be read: %s", db->why);
  else if (why != NULL)
    (void)snprintf(error->text, sizeof error->text, "the test %s", why);
  else
    return 0;
  return -1;
}

void store_mute_write(struct store_db *db, const struct store_mute *mute) {
  uint64_t suite = store_read_suite(db, mute->project, mute->suite), test = find_test(db, mute, suite);
  char why[WHY_BYTES];
  if (mute->life_ms > 0 && refuses(db, mute, suite, test)) return;  // others were muted since it was checked
  if (test == 0) return;
  if (mute->life_ms > 0)
    store_sql_run(db, SQL_MUTE_PUT,
                  STORE_ARGS(store_int(test), store_int(suite), store_text(mute->origin), store_text(mute->reason),
                             store_text(mute->who), store_text(mute->ticket), store_int(mute->at_ms),
                             store_int(mute->at_ms + mute->life_ms), store_int(mute->extend)));
  else
    store_sql_run(db, SQL_MUTE_DROP, STORE_ARGS(store_int(test)));
  (void)snprintf(why, sizeof why, "%s%s%s", mute->reason, mute->ticket[0] ? " " : "", mute->ticket);
  store_sql_run(db, SQL_STATE_LOG,
                STORE_ARGS(store_int(suite), store_int(test), store_int(mute->at_ms),
                           store_text(mute->life_ms ? "gating" : "muted"),
                           store_text(mute->life_ms ? "muted" : "gating"), store_text(mute->who), store_text(why)));
}

// ---- lists

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static uint32_t mark(struct store_listed *listed, const uint32_t *tests, size_t count) {
  uint32_t marked = 0;
  for (uint32_t i = 0; i < listed->count && count > 0; i++) {
    listed->muted[i] = bsearch(&listed->test[i], tests, count, sizeof *tests, compare) != NULL;
    marked += listed->muted[i];
  }
  return marked;
}

void store_mute_list(struct store_db *db, uint64_t suite, struct store_listed *listed, uint64_t now_ms) {
  size_t room = 64, count = 0, bytes;
  uint32_t *tests = base_calloc(room, sizeof *tests);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_MUTE_OF_LIST, STORE_ARGS(store_int(suite), store_int(now_ms)));
  while (store_sql_row(db, SQL_MUTE_OF_LIST)) {
    if (count == room) tests = base_realloc(tests, room *= 2, sizeof *tests);
    tests[count++] = store_sql_u32(stmt, 0);
  }
  if (mark(listed, tests, count) > 0) {
    unsigned char *blob = store_pack(tests, count, &bytes);
    store_sql_run(db, SQL_MUTE_SET_BUILD,
                  STORE_ARGS(store_int(listed->build), store_int(count), store_blob(blob, bytes)));
    free(blob);
  }
  free(tests);
}

void store_mute_recall(struct store_db *db, struct store_listed *listed) {
  sqlite3_stmt *stmt = store_sql_start(db, SQL_MUTE_OF_BUILD, STORE_ARGS(store_int(listed->build)));
  if (!store_sql_row(db, SQL_MUTE_OF_BUILD)) return;
  size_t count = store_sql_bound(stmt, 0, LIMIT_TESTS);
  uint32_t *tests = base_calloc(count + 1, sizeof *tests);
  if (store_unpack(sqlite3_column_blob(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1), tests, count) != 0)
    store_sql_damaged(db, "a build's muted tests cannot be read");
  else
    (void)mark(listed, tests, count);
  sqlite3_reset(stmt);
  free(tests);
}

// ---- by itself

void store_mute_judged(struct store *store, const struct store_judged *judged) {
  struct store_db *db = &store->writer;
  bool leaves = judged->state == FLAKY_BROKEN || (judged->before == FLAKY_FLAKY && judged->state != FLAKY_FLAKY);
  if (leaves && judged->state != judged->before) {
    enum store_sql drop = judged->state == FLAKY_BROKEN ? SQL_MUTE_DROP : SQL_MUTE_AUTO_DROP;
    store_sql_run(db, drop, STORE_ARGS(store_int(judged->test)));
    if (db->rc == SQLITE_OK && sqlite3_changes(db->sqlite) > 0)
      log_change(db, judged, false, judged->state == FLAKY_BROKEN ? "it is broken, not flaky" : "it is sound again");
  } else if (judged->state == FLAKY_FLAKY) {
    enter(store, judged);
  }
}

// An entry that has expired stays, so that its test does not come back by itself: it gates until somebody looks.
static void enter(struct store *store, const struct store_judged *judged) {
  struct store_db *db = &store->writer;
  char why[WHY_BYTES];
  uint64_t expires_ms = judged->at_ms + AUTO_LIFE_DAYS * (uint64_t)STORE_DAY_MS, there_ms = 0;
  bool extend = false;
  sqlite3_stmt *stmt = store_sql_start(db, SQL_MUTE_READ, STORE_ARGS(store_int(judged->test)));
  if (store_sql_row(db, SQL_MUTE_READ)) {
    there_ms = store_sql_ms(stmt, 0);
    extend = store_sql_int(stmt, 1) != 0;
    sqlite3_reset(stmt);
  }
  if (there_ms != 0 && extend && there_ms <= judged->at_ms) {
    store_sql_run(db, SQL_MUTE_EXTEND, STORE_ARGS(store_int(judged->test), store_int(expires_ms)));
    log_change(db, judged, true, "it had expired and is still flaky: once more");
  }
  if (there_ms != 0 || store->quarantine != STORE_QUARANTINE_AUTO) return;
  if (!deserves(judged->hits, judged->f, judged->r) || !has_room(db, judged->suite, judged->test)) return;
  (void)snprintf(why, sizeof why, "it failed %ju builds by itself, its rate is %.1f %%", (uintmax_t)judged->hits,
                 flaky_theta(judged->f, judged->r) * 100);
  store_sql_run(
      db, SQL_MUTE_PUT,
      STORE_ARGS(store_int(judged->test), store_int(judged->suite), store_text("auto"), store_text(why), store_text(""),
                 store_text(""), store_int(judged->at_ms), store_int(expires_ms), store_int(0)));
  log_change(db, judged, true, why);
}

static void log_change(struct store_db *db, const struct store_judged *judged, bool muted, const char *why) {
  store_sql_run(db, SQL_STATE_LOG,
                STORE_ARGS(store_int(judged->suite), store_int(judged->test), store_int(judged->at_ms),
                           store_text(muted ? "gating" : "muted"), store_text(muted ? "muted" : "gating"),
                           store_text(""), store_text(why)));
}

static bool deserves(uint64_t hits, double f, double r) {
  return hits >= 1 || flaky_rate(f, r).lo >= RATE_LOW_MIN;
}

static bool has_room(struct store_db *db, uint64_t suite, uint64_t test) {
  uint64_t there = store_sql_number(db, SQL_MUTE_COUNT, STORE_ARGS(store_int(suite), store_int(test)));
  if (there < STORE_MUTE_LEAST) return true;
  return there < store_sql_number(db, SQL_TESTS_COUNT, STORE_ARGS(store_int(suite))) / 100;
}
