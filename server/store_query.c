// The tables that people ask for: builds, workers, slow, flaky, the runs of one test. Called on the loop thread through
// its read-only connection; each query walks an index from its interesting end and stops at its limit, or at what fits
// a frame: then rows->next is the number of rows to skip for the rest. Must not know the wire or who asks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

struct asking {
  struct store_db *db;
  const struct store_query *query;
  struct rows *rows;
  struct store_error *error;
};

static const struct rows_column build_columns[] = {
    {"build", ROWS_TEXT}, {"suite", ROWS_TEXT},      {"commit", ROWS_TEXT},          {"branch", ROWS_TEXT},
    {"state", ROWS_TEXT}, {"started", ROWS_TIME_MS}, {"duration", ROWS_DURATION_US}, {"tests", ROWS_INT},
    {"passed", ROWS_INT}, {"failed", ROWS_INT},      {"workers", ROWS_INT},          {"text", ROWS_TEXT},
};
static const struct rows_column worker_columns[] = {
    {"worker", ROWS_INT},   {"node", ROWS_TEXT}, {"host", ROWS_TEXT},  {"joined", ROWS_TIME_MS},
    {"left", ROWS_TIME_MS}, {"tests", ROWS_INT}, {"failed", ROWS_INT}, {"busy", ROWS_DURATION_US},
};
static const struct rows_column slow_columns[] = {
    {"test", ROWS_TEXT},        {"file", ROWS_TEXT},         {"expected", ROWS_DURATION_US},
    {"last", ROWS_DURATION_US}, {"setup", ROWS_DURATION_US}, {"runs", ROWS_INT},
};
static const struct rows_column flaky_columns[] = {
    {"test", ROWS_TEXT},      {"file", ROWS_TEXT},         {"flips", ROWS_INT},  {"runs", ROWS_INT},
    {"rate", ROWS_RATIO_PPM}, {"last_flip", ROWS_TIME_MS}, {"builds", ROWS_INT},
};
static const struct rows_column test_columns[] = {
    {"build", ROWS_TEXT},        {"commit", ROWS_TEXT},      {"branch", ROWS_TEXT},          {"when", ROWS_TIME_MS},
    {"worker", ROWS_INT},        {"node", ROWS_TEXT},        {"attempt", ROWS_INT},          {"status", ROWS_TEXT},
    {"setup", ROWS_DURATION_US}, {"call", ROWS_DURATION_US}, {"teardown", ROWS_DURATION_US}, {"text", ROWS_TEXT},
};

static int ask(struct store *store, const struct store_query *query, struct rows *rows, struct store_error *error,
               const struct rows_column *columns, size_t column_count, void (*run)(struct asking *ask));
static void ask_builds(struct asking *ask);
static void ask_workers(struct asking *ask);
static void ask_slow(struct asking *ask);
static void ask_flaky(struct asking *ask);
static void ask_test(struct asking *ask);
static void ask_runs(struct asking *ask, uint64_t suite, uint64_t test);
static enum store_sql start_suites(struct asking *ask, enum store_sql one, enum store_sql all);
static bool page_full(struct asking *ask);
static void cells(struct rows *rows, sqlite3_stmt *stmt, int from, int count);
static const char *state_name(uint64_t state);
static const char *status_name(uint64_t status);

int store_query_builds(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error) {
  return ask(store, query, rows, error, build_columns, COUNT_OF(build_columns), ask_builds);
}

int store_query_workers(struct store *store, const struct store_query *query, struct rows *rows,
                        struct store_error *error) {
  return ask(store, query, rows, error, worker_columns, COUNT_OF(worker_columns), ask_workers);
}

int store_query_slow(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error) {
  return ask(store, query, rows, error, slow_columns, COUNT_OF(slow_columns), ask_slow);
}

int store_query_flaky(struct store *store, const struct store_query *query, struct rows *rows,
                      struct store_error *error) {
  return ask(store, query, rows, error, flaky_columns, COUNT_OF(flaky_columns), ask_flaky);
}

int store_query_test(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error) {
  return ask(store, query, rows, error, test_columns, COUNT_OF(test_columns), ask_test);
}

static int ask(struct store *store, const struct store_query *query, struct rows *rows, struct store_error *error,
               const struct rows_column *columns, size_t column_count, void (*run)(struct asking *ask)) {
  struct asking asking = {.db = &store->reader, .query = query, .rows = rows, .error = error};
  error->text[0] = '\0';
  rows_init(rows, columns, column_count);
  store_sql_begin(asking.db, false);
  run(&asking);
  if (store_sql_end(asking.db) != SQLITE_OK)
    (void)snprintf(error->text, sizeof error->text, "the database cannot be read: %s", asking.db->why);
  if (error->text[0] == '\0') return 0;
  rows_release(rows);
  return -1;
}

static void ask_builds(struct asking *ask) {
  enum store_sql which = start_suites(ask, SQL_QUERY_BUILDS, SQL_QUERY_BUILDS_ALL);
  if (which == SQL_COUNT) return;
  sqlite3_stmt *stmt = ask->db->stmt[which];
  while (!page_full(ask) && store_sql_row(ask->db, which)) {
    cells(ask->rows, stmt, 0, 4);
    rows_string(ask->rows, state_name(store_sql_int(stmt, 4)));
    cells(ask->rows, stmt, 5, 1);
    if (sqlite3_column_type(stmt, 6) == SQLITE_NULL)
      rows_none(ask->rows);
    else
      rows_int(ask->rows, (sqlite3_column_int64(stmt, 6) - sqlite3_column_int64(stmt, 5)) * 1000);
    cells(ask->rows, stmt, 7, 5);
  }
}

static void ask_workers(struct asking *ask) {
  const struct store_query *query = ask->query;
  if (store_sql_number(ask->db, SQL_BUILD_SUITE, STORE_ARGS(store_int(query->build))) == 0) {
    (void)snprintf(ask->error->text, sizeof ask->error->text, "no such build is known");
    return;
  }
  sqlite3_stmt *stmt =
      store_sql_start(ask->db, SQL_QUERY_WORKERS,
                      STORE_ARGS(store_int(query->build), store_int(query->limit), store_int(query->after)));
  while (!page_full(ask) && store_sql_row(ask->db, SQL_QUERY_WORKERS))
    cells(ask->rows, stmt, 0, COUNT_OF(worker_columns));
}

static void ask_slow(struct asking *ask) {
  enum store_sql which = start_suites(ask, SQL_QUERY_SLOW, SQL_QUERY_SLOW_ALL);
  if (which == SQL_COUNT) return;
  while (!page_full(ask) && store_sql_row(ask->db, which))
    cells(ask->rows, ask->db->stmt[which], 0, COUNT_OF(slow_columns));
}

// The rate is the share of its builds in which a test flipped.
static void ask_flaky(struct asking *ask) {
  enum store_sql which = start_suites(ask, SQL_QUERY_FLAKY, SQL_QUERY_FLAKY_ALL);
  if (which == SQL_COUNT) return;
  sqlite3_stmt *stmt = ask->db->stmt[which];
  while (!page_full(ask) && store_sql_row(ask->db, which)) {
    int64_t flips = sqlite3_column_int64(stmt, 2), builds = sqlite3_column_int64(stmt, 4);
    cells(ask->rows, stmt, 0, 4);
    rows_int(ask->rows, flips < builds ? flips * 1000000 / builds : 1000000);
    cells(ask->rows, stmt, 5, 1);
    rows_int(ask->rows, builds);
  }
}

// The suites that know the test, one after the other; in each, the newest runs first.
static void ask_test(struct asking *ask) {
  enum { SUITES = 64 };
  const struct store_query *query = ask->query;
  uint64_t suite[SUITES];
  size_t suites = 0, known = 0;
  uint64_t project = store_sql_number(ask->db, SQL_PROJECT_FIND, STORE_ARGS(store_text(query->project)));
  sqlite3_stmt *stmt =
      store_sql_start(ask->db, SQL_QUERY_SUITES, STORE_ARGS(store_int(project), store_text(query->suite)));
  while (suites < SUITES && store_sql_row(ask->db, SQL_QUERY_SUITES))
    suite[suites++] = store_sql_int(stmt, 0);
  for (size_t i = 0; i < suites; i++) {
    uint64_t test = store_sql_number(ask->db, SQL_TEST_FIND,
                                     STORE_ARGS(store_int(suite[i]), store_blob(query->test, strlen(query->test))));
    if (test == 0) continue;
    known++;
    ask_runs(ask, suite[i], test);
  }
  if (known == 0)
    (void)snprintf(ask->error->text, sizeof ask->error->text, "no such test is known in project \"%.100s\"%s%.100s",
                   query->project, query->suite[0] ? ", suite " : "", query->suite);
}

static void ask_runs(struct asking *ask, uint64_t suite, uint64_t test) {
  const struct store_query *query = ask->query;
  sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_RUNS,
                                       STORE_ARGS(store_int(suite), store_int(test), store_int(query->limit),
                                                  store_int(query->after), store_int(STORE_TEST_BUILDS - 1)));
  while (rows_count(ask->rows) < query->limit && !page_full(ask) && store_sql_row(ask->db, SQL_QUERY_RUNS)) {
    cells(ask->rows, stmt, 0, 7);
    rows_string(ask->rows, status_name(store_sql_int(stmt, 7)));
    cells(ask->rows, stmt, 8, 4);
  }
}

// Starts the statement for one suite when the query means one, else that for all suites of the project. SQL_COUNT: the
// names are unknown, or the start failed.
static enum store_sql start_suites(struct asking *ask, enum store_sql one, enum store_sql all) {
  const struct store_query *query = ask->query;
  uint64_t project = store_sql_number(ask->db, SQL_PROJECT_FIND, STORE_ARGS(store_text(query->project)));
  const struct store_arg args[] = {store_int(project), store_text(query->suite)};
  sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_SUITES, args, COUNT_OF(args));
  uint64_t suite = 0;
  int suites = 0;
  while (store_sql_row(ask->db, SQL_QUERY_SUITES)) {
    suite = store_sql_int(stmt, 0);
    suites++;
  }
  if (suites == 0 && ask->db->rc == SQLITE_OK)
    (void)snprintf(ask->error->text, sizeof ask->error->text, "nothing is known of project \"%.100s\"%s%.100s",
                   query->project, query->suite[0] ? ", suite " : "", query->suite);
  if (suites == 0) return SQL_COUNT;
  enum store_sql which = suites == 1 ? one : all;
  stmt = store_sql_start(
      ask->db, which,
      STORE_ARGS(store_int(suites == 1 ? suite : project), store_int(query->limit), store_int(query->after)));
  return stmt != NULL ? which : SQL_COUNT;
}

static bool page_full(struct asking *ask) {
  struct rows *rows = ask->rows;
  if (rows->bytes < STORE_PAGE_BYTES - STORE_ROW_BYTES && rows->cell_count < STORE_PAGE_CELLS) return false;
  rows->next = ask->query->after + rows_count(rows);
  return true;
}

// Columns as they are: numbers in decimal, NULL as nothing.
static void cells(struct rows *rows, sqlite3_stmt *stmt, int from, int count) {
  for (int i = from; i < from + count; i++) {
    const void *bytes = sqlite3_column_text(stmt, i);
    if (bytes == NULL)
      rows_none(rows);
    else
      rows_text(rows, bytes, (size_t)sqlite3_column_bytes(stmt, i));
  }
}

static const char *state_name(uint64_t state) {
  static const char *const names[] = {
      [STORE_COLLECTING] = "collecting", [STORE_RUNNING] = "running", [STORE_COMPLETE] = "complete",
      [STORE_INCOMPLETE] = "incomplete", [STORE_ABORTED] = "aborted",
  };
  return state < COUNT_OF(names) && names[state] != NULL ? names[state] : "unknown";
}

static const char *status_name(uint64_t status) {
  static const char *const names[] = {
      [STORE_PASSED] = "passed",   [STORE_FAILED] = "failed",       [STORE_ERRORED] = "error",
      [STORE_SKIPPED] = "skipped", [STORE_XFAILED] = "xfailed",     [STORE_XPASSED] = "xpassed",
      [STORE_CRASHED] = "crashed", [STORE_TIMED_OUT] = "timed_out",
  };
  return status < COUNT_OF(names) && names[status] != NULL ? names[status] : "unknown";
}
