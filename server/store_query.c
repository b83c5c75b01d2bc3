// The tables that people ask for: builds, workers, the runs of one test; and what store_history.c shares with them.
// Called on the asker's thread through its view; each query walks an index from its interesting end and stops at its
// limit, or at what fits a frame: then rows->next is the number of rows to skip for the rest. Must not know the wire or
// who asks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"
#include "server/store_span.h"

static const struct rows_column build_columns[] = {
    {"build", ROWS_TEXT}, {"suite", ROWS_TEXT},      {"commit", ROWS_TEXT},      {"branch", ROWS_TEXT},
    {"state", ROWS_TEXT}, {"started", ROWS_TIME_MS}, {"wall", ROWS_DURATION_US}, {"duration", ROWS_DURATION_US},
    {"tests", ROWS_INT},  {"passed", ROWS_INT},      {"failed", ROWS_INT},       {"workers", ROWS_INT},
    {"text", ROWS_TEXT},
};
static const struct rows_column worker_columns[] = {
    {"worker", ROWS_INT},         {"node", ROWS_TEXT}, {"host", ROWS_TEXT},         {"joined", ROWS_TIME_MS},
    {"left", ROWS_TIME_MS},       {"tests", ROWS_INT}, {"failed", ROWS_INT},        {"busy", ROWS_DURATION_US},
    {"slowness", ROWS_RATIO_PPM}, {"sick", ROWS_TEXT}, {"ran_elsewhere", ROWS_INT}, {"skip_reason", ROWS_TEXT},
};
static const struct rows_column test_columns[] = {
    {"build", ROWS_TEXT},        {"commit", ROWS_TEXT},      {"branch", ROWS_TEXT},          {"when", ROWS_TIME_MS},
    {"worker", ROWS_INT},        {"node", ROWS_TEXT},        {"attempt", ROWS_INT},          {"status", ROWS_TEXT},
    {"setup", ROWS_DURATION_US}, {"call", ROWS_DURATION_US}, {"teardown", ROWS_DURATION_US}, {"text", ROWS_TEXT},
    {"suite", ROWS_TEXT},
};

static void ask_builds(struct store_asking *ask);
static void ask_workers(struct store_asking *ask);
static void ask_test(struct store_asking *ask);
static void ask_runs(struct store_asking *ask, uint64_t suite, uint64_t test);

static const char *status_name(uint64_t status);

int store_query_builds(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error) {
  return store_query_ask(store, query, rows, error, build_columns, COUNT_OF(build_columns), ask_builds);
}

int store_query_workers(struct store *store, const struct store_query *query, struct rows *rows,
                        struct store_error *error) {
  return store_query_ask(store, query, rows, error, worker_columns, COUNT_OF(worker_columns), ask_workers);
}

int store_query_test(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error) {
  return store_query_ask(store, query, rows, error, test_columns, COUNT_OF(test_columns), ask_test);
}

int store_query_ask(struct store *store, const struct store_query *query, struct rows *rows, struct store_error *error,
                    const struct rows_column *columns, size_t column_count, void (*run)(struct store_asking *ask)) {
  struct store_asking asking = {.db = &store->reader, .query = query, .rows = rows, .error = error};
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

static void ask_builds(struct store_asking *ask) {
  enum store_sql which = store_query_suites(ask, SQL_QUERY_BUILDS, SQL_QUERY_BUILDS_ALL, store_int(0));
  if (which == SQL_COUNT) return;
  sqlite3_stmt *stmt = ask->db->stmt[which];
  while (!store_query_full(ask) && store_sql_row(ask->db, which)) {
    store_query_cells(ask->rows, stmt, 0, 4);
    rows_string(ask->rows, store_query_state(store_sql_int(stmt, 4)));
    store_query_cells(ask->rows, stmt, 5, 1);
    int64_t wall_us = (int64_t)store_span_wall_us(stmt, 5);
    rows_int(ask->rows, wall_us);
    if (sqlite3_column_type(stmt, 6) == SQLITE_NULL)
      rows_none(ask->rows);
    else
      rows_int(ask->rows, wall_us);
    store_query_cells(ask->rows, stmt, 8, 5);
  }
}

static void ask_workers(struct store_asking *ask) {
  const struct store_query *query = ask->query;
  if (store_sql_number(ask->db, SQL_BUILD_SUITE, STORE_ARGS(store_int(query->build))) == 0) {
    (void)snprintf(ask->error->text, sizeof ask->error->text, "no such build is known");
    return;
  }
  if (!store_query_of_branch(ask)) return;
  struct store_skips skips;
  store_skips_read(ask->db, query->build, &skips);
  sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_WORKERS,
                                       STORE_ARGS(store_int(query->build), store_int(query->limit),
                                                  store_int(query->after), store_int(query->since_ms)));
  while (!store_query_full(ask) && store_sql_row(ask->db, SQL_QUERY_WORKERS)) {
    const char *reason = "";
    store_query_cells(ask->rows, stmt, 0, COUNT_OF(worker_columns) - 2);
    rows_int(ask->rows, (int64_t)store_skips_of(&skips, store_sql_u32(stmt, 0), &reason));
    rows_string(ask->rows, reason);
  }
  store_skips_release(&skips);
}

size_t store_query_places(struct store_asking *ask, struct store_place *place) {
  const struct store_query *query = ask->query;
  uint64_t suite[STORE_TEST_SUITES];
  size_t suites = 0, known = 0;
  uint64_t project = store_sql_number(ask->db, SQL_PROJECT_FIND, STORE_ARGS(store_text(query->project)));
  sqlite3_stmt *stmt =
      store_sql_start(ask->db, SQL_QUERY_SUITES, STORE_ARGS(store_int(project), store_text(query->suite)));
  while (suites < STORE_TEST_SUITES && store_sql_row(ask->db, SQL_QUERY_SUITES))
    suite[suites++] = store_sql_int(stmt, 0);
  for (size_t i = 0; i < suites; i++) {
    uint64_t test = store_sql_number(ask->db, SQL_TEST_FIND,
                                     STORE_ARGS(store_int(suite[i]), store_blob(query->test, strlen(query->test))));
    if (test != 0) place[known++] = (struct store_place){suite[i], test};
  }
  if (known == 0)
    (void)snprintf(ask->error->text, sizeof ask->error->text, "no such test is known in project \"%.100s\"%s%.100s",
                   query->project, query->suite[0] ? ", suite " : "", query->suite);
  return known;
}

// In each suite, the newest runs first.
static void ask_test(struct store_asking *ask) {
  struct store_place place[STORE_TEST_SUITES];
  size_t places = store_query_places(ask, place);
  for (size_t i = 0; i < places; i++)
    ask_runs(ask, place[i].suite, place[i].test);
}

static void ask_runs(struct store_asking *ask, uint64_t suite, uint64_t test) {
  const struct store_query *query = ask->query;
  sqlite3_stmt *stmt =
      store_sql_start(ask->db, SQL_QUERY_RUNS,
                      STORE_ARGS(store_int(suite), store_int(test), store_int(query->limit), store_int(query->after),
                                 store_int(STORE_TEST_BUILDS - 1), store_int(query->since_ms),
                                 store_text(query->branch ? query->branch : "")));
  while (rows_count(ask->rows) < query->limit && !store_query_full(ask) && store_sql_row(ask->db, SQL_QUERY_RUNS)) {
    store_query_cells(ask->rows, stmt, 0, 7);
    rows_string(ask->rows, status_name(store_sql_int(stmt, 7)));
    store_query_cells(ask->rows, stmt, 8, 5);
  }
}

// Starts the statement for one suite when the query means one, else that for all suites of the project. SQL_COUNT: the
// names are unknown, or the start failed.
enum store_sql store_query_suites(struct store_asking *ask, enum store_sql one, enum store_sql all,
                                  struct store_arg more) {
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
  const struct store_arg all_args[] = {
      store_int(suites == 1 ? suite : project),
      store_int(query->limit),
      store_int(query->after),
      store_int(query->since_ms),
      store_text(query->branch ? query->branch : ""),
      more,
  };
  stmt = store_sql_start(ask->db, which, NULL, 0);  // to see how many of them it has
  if (stmt == NULL) return SQL_COUNT;
  stmt = store_sql_start(ask->db, which, all_args, (size_t)sqlite3_bind_parameter_count(stmt));
  return stmt != NULL ? which : SQL_COUNT;
}

bool store_query_of_branch(struct store_asking *ask) {
  const struct store_query *query = ask->query;
  if (query->branch == NULL || query->branch[0] == '\0') return true;
  sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_BUILD, STORE_ARGS(store_int(query->build)));
  if (!store_sql_row(ask->db, SQL_QUERY_BUILD)) return true;
  const char *build = (const char *)sqlite3_column_text(stmt, 0), *own = (const char *)sqlite3_column_text(stmt, 3);
  bool same = strcmp(query->branch, own) == 0;
  if (!same)
    (void)snprintf(ask->error->text, sizeof ask->error->text,
                   "build \"%.100s\" is not of branch \"%.100s\", but of \"%.100s\"", build, query->branch, own);
  sqlite3_reset(stmt);
  return same;
}

bool store_query_full(struct store_asking *ask) {
  struct rows *rows = ask->rows;
  if (rows->bytes < STORE_PAGE_BYTES - STORE_ROW_BYTES && rows->cell_count < STORE_PAGE_CELLS) return false;
  rows->next = ask->query->after + rows_count(rows);
  return true;
}

// A number in a column of times or durations is one, whatever stands in the database.
bool store_query_bounded(struct rows *rows, sqlite3_stmt *stmt, int column) {
  unsigned type = rows->columns[rows->cell_count % rows->column_count].type;
  int stored = sqlite3_column_type(stmt, column);
  if (stored != SQLITE_INTEGER && stored != SQLITE_FLOAT) return false;
  if (type == ROWS_TIME_MS)
    rows_int(rows, (int64_t)store_sql_ms(stmt, column));
  else if (type == ROWS_DURATION_US || type == ROWS_RATIO_PPM || type == ROWS_MILLI)
    rows_int(rows, (int64_t)store_sql_sum_us(stmt, column));
  else
    return false;
  return true;
}

// Columns as they are: numbers in decimal, NULL as nothing.
void store_query_cells(struct rows *rows, sqlite3_stmt *stmt, int from, int count) {
  for (int i = from; i < from + count; i++) {
    if (store_query_bounded(rows, stmt, i)) continue;
    const void *bytes = sqlite3_column_text(stmt, i);
    if (bytes == NULL)
      rows_none(rows);
    else
      rows_text(rows, bytes, (size_t)sqlite3_column_bytes(stmt, i));
  }
}

const char *store_query_state(uint64_t state) {
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
