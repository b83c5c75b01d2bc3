// What the history says: slow, slower, flaky, broken, the log of states. Called on the asker's thread through its view.
// Each query walks an index that holds only the tests it is about, and stops at its limit or at a full page. Must not
// know the wire or who asks. The columns and their formulas: docs/history.md.
#include <stdio.h>

#include "server/store_impl.h"

enum { PPM = 1000000, FEW_TESTS = 5000, WEEK_MS = 7 * STORE_DAY_MS };

static const struct rows_column slow_columns[] = {
    {"test", ROWS_TEXT},
    {"file", ROWS_TEXT},
    {"expected", ROWS_DURATION_US},
    {"last", ROWS_DURATION_US},
    {"p95", ROWS_DURATION_US},
    {"setup", ROWS_DURATION_US},
    {"runs", ROWS_INT},
    {"runs_per_day", ROWS_MILLI},
    {"cost_per_day", ROWS_DURATION_US},
    {"share", ROWS_RATIO_PPM},
    {"limits_at_workers", ROWS_INT},
};
static const struct rows_column flaky_columns[] = {
    {"test", ROWS_TEXT},      {"file", ROWS_TEXT},          {"state", ROWS_TEXT},
    {"rate", ROWS_RATIO_PPM}, {"rate_low", ROWS_RATIO_PPM}, {"rate_high", ROWS_RATIO_PPM},
    {"flips", ROWS_INT},      {"runs", ROWS_INT},           {"builds", ROWS_INT},
    {"commits", ROWS_INT},    {"kind", ROWS_TEXT},          {"last_flip", ROWS_TIME_MS},
    {"hits_7d", ROWS_INT},    {"lost", ROWS_DURATION_US},   {"muted_until", ROWS_TIME_MS},
};
static const struct rows_column broken_columns[] = {
    {"test", ROWS_TEXT},      {"file", ROWS_TEXT},   {"since", ROWS_TIME_MS}, {"last_good", ROWS_TEXT},
    {"first_bad", ROWS_TEXT}, {"build", ROWS_TEXT},  {"branch", ROWS_TEXT},   {"commits", ROWS_INT},
    {"attempts", ROWS_INT},   {"workers", ROWS_INT}, {"builds", ROWS_INT},    {"last_failure", ROWS_TIME_MS},
};
static const struct rows_column slower_columns[] = {
    {"test", ROWS_TEXT},         {"file", ROWS_TEXT},        {"before", ROWS_DURATION_US},
    {"after", ROWS_DURATION_US}, {"factor", ROWS_RATIO_PPM}, {"cost_per_day", ROWS_DURATION_US},
    {"last_fast", ROWS_TEXT},    {"first_slow", ROWS_TEXT},  {"build", ROWS_TEXT},
    {"branch", ROWS_TEXT},       {"since", ROWS_TIME_MS},
};
static const struct rows_column log_columns[] = {
    {"when", ROWS_TIME_MS}, {"test", ROWS_TEXT}, {"old", ROWS_TEXT},
    {"new", ROWS_TEXT},     {"who", ROWS_TEXT},  {"why", ROWS_TEXT},
};

static const struct rows_column state_columns[] = {
    {"test", ROWS_TEXT},          {"file", ROWS_TEXT},
    {"suite", ROWS_TEXT},         {"state", ROWS_TEXT},
    {"since", ROWS_TIME_MS},      {"rate", ROWS_RATIO_PPM},
    {"rate_low", ROWS_RATIO_PPM}, {"rate_high", ROWS_RATIO_PPM},
    {"flips", ROWS_INT},          {"runs", ROWS_INT},
    {"builds", ROWS_INT},         {"kind", ROWS_TEXT},
    {"last_flip", ROWS_TIME_MS},  {"last_failure", ROWS_TIME_MS},
    {"lost", ROWS_DURATION_US},   {"muted_until", ROWS_TIME_MS},
};

static void ask_slow(struct store_asking *ask);
static uint64_t number_of(struct store_asking *ask, enum store_sql one, enum store_sql all);
static void ask_flaky(struct store_asking *ask);
static void ask_broken(struct store_asking *ask);
static void ask_slower(struct store_asking *ask);
static void ask_log(struct store_asking *ask);
static void ask_log_of_test(struct store_asking *ask);
static void ask_state(struct store_asking *ask);

int store_query_slow(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error) {
  return store_query_ask(store, query, rows, error, slow_columns, COUNT_OF(slow_columns), ask_slow);
}

int store_query_flaky(struct store *store, const struct store_query *query, struct rows *rows,
                      struct store_error *error) {
  return store_query_ask(store, query, rows, error, flaky_columns, COUNT_OF(flaky_columns), ask_flaky);
}

int store_query_broken(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error) {
  return store_query_ask(store, query, rows, error, broken_columns, COUNT_OF(broken_columns), ask_broken);
}

int store_query_slower(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error) {
  return store_query_ask(store, query, rows, error, slower_columns, COUNT_OF(slower_columns), ask_slower);
}

int store_query_log(struct store *store, const struct store_query *query, struct rows *rows,
                    struct store_error *error) {
  return store_query_ask(store, query, rows, error, log_columns, COUNT_OF(log_columns),
                         query->test != NULL && query->test[0] != '\0' ? ask_log_of_test : ask_log);
}

int store_query_state_of(struct store *store, const struct store_query *query, struct rows *rows,
                         struct store_error *error) {
  return store_query_ask(store, query, rows, error, state_columns, COUNT_OF(state_columns), ask_state);
}

// Shares are of the sum of all expectations: that many workers could share it, if this test were not alone longer. The
// longest are found down the index; but the few that a branch's build ran may all stand at its end.
static void ask_slow(struct store_asking *ask) {
  bool narrowed = ask->query->branch != NULL && ask->query->branch[0] != '\0', few = false;
  if (narrowed) {
    uint64_t tests = number_of(ask, SQL_QUERY_SLOW_TESTS, SQL_QUERY_SLOW_TESTS_ALL);
    if (tests == 0) return;
    few = tests <= FEW_TESTS;
  }
  uint64_t total_us = number_of(ask, SQL_QUERY_TOTAL, SQL_QUERY_TOTAL_ALL);
  enum store_sql which = store_query_suites(ask, few ? SQL_QUERY_SLOW_FEW : SQL_QUERY_SLOW,
                                            few ? SQL_QUERY_SLOW_FEW_ALL : SQL_QUERY_SLOW_ALL, store_int(0));
  if (which == SQL_COUNT) return;
  sqlite3_stmt *stmt = ask->db->stmt[which];
  while (!store_query_full(ask) && store_sql_row(ask->db, which)) {
    uint64_t expected_us = store_sql_us(stmt, 2);
    store_query_cells(ask->rows, stmt, 0, 9);
    if (expected_us > total_us) expected_us = total_us;  // of numbers that were cut off
    rows_int(ask->rows, total_us ? (int64_t)((double)expected_us / (double)total_us * PPM) : 0);
    rows_int(ask->rows, expected_us ? (int64_t)(total_us / expected_us) : 0);
  }
}

// What a statement says in its only cell; 0 as well when that is NULL, or an error was noted.
static uint64_t number_of(struct store_asking *ask, enum store_sql one, enum store_sql all) {
  enum store_sql which = store_query_suites(ask, one, all, store_int(0));
  if (which == SQL_COUNT) return 0;
  uint64_t number = store_sql_row(ask->db, which) ? store_sql_sum_us(ask->db->stmt[which], 0) : 0;
  sqlite3_reset(ask->db->stmt[which]);
  return number;
}

static void ask_flaky(struct store_asking *ask) {
  uint64_t now_ms = base_wall_us() / 1000;
  enum store_sql which = store_query_suites(ask, SQL_QUERY_FLAKY, SQL_QUERY_FLAKY_ALL, store_int(now_ms - WEEK_MS));
  if (which == SQL_COUNT) return;
  sqlite3_stmt *stmt = ask->db->stmt[which];
  while (!store_query_full(ask) && store_sql_row(ask->db, which)) {
    struct flaky_rate rate = flaky_rate(store_sql_real(stmt, 3), store_sql_real(stmt, 4));
    store_query_cells(ask->rows, stmt, 0, 2);
    rows_string(ask->rows, flaky_state_name((enum flaky_state)store_sql_u32(stmt, 2)));
    rows_int(ask->rows, (int64_t)(rate.theta * PPM));
    rows_int(ask->rows, (int64_t)(rate.lo * PPM));
    rows_int(ask->rows, (int64_t)(rate.hi * PPM));
    store_query_cells(ask->rows, stmt, 5, 4);
    rows_string(ask->rows, flaky_kind_name((enum flaky_kind)store_sql_u32(stmt, 9)));
    store_query_cells(ask->rows, stmt, 10, 4);
  }
}

// As it stands in the sets of branches where a test fails or is slow.
static uint64_t branch_key(const struct store_asking *ask) {
  return flaky_name(ask->query->branch ? ask->query->branch : "");
}

static void ask_broken(struct store_asking *ask) {
  uint64_t branch = branch_key(ask);
  enum store_sql which =
      store_query_suites(ask, SQL_QUERY_BROKEN, SQL_QUERY_BROKEN_ALL, store_blob(&branch, sizeof branch));
  if (which == SQL_COUNT) return;
  while (!store_query_full(ask) && store_sql_row(ask->db, which))
    store_query_cells(ask->rows, ask->db->stmt[which], 0, COUNT_OF(broken_columns));
}

static void ask_slower(struct store_asking *ask) {
  uint64_t branch = branch_key(ask);
  enum store_sql which =
      store_query_suites(ask, SQL_QUERY_SLOWER, SQL_QUERY_SLOWER_ALL, store_blob(&branch, sizeof branch));
  if (which == SQL_COUNT) return;
  while (!store_query_full(ask) && store_sql_row(ask->db, which))
    store_query_cells(ask->rows, ask->db->stmt[which], 0, COUNT_OF(slower_columns));
}

static void ask_log(struct store_asking *ask) {
  enum store_sql which = store_query_suites(ask, SQL_QUERY_LOG, SQL_QUERY_LOG_ALL, store_int(0));
  if (which == SQL_COUNT) return;
  while (!store_query_full(ask) && store_sql_row(ask->db, which))
    store_query_cells(ask->rows, ask->db->stmt[which], 0, COUNT_OF(log_columns));
}

// A test of one name may stand in several suites: the newest changes of the first of them that has any.
static void ask_log_of_test(struct store_asking *ask) {
  const struct store_query *query = ask->query;
  struct store_place place[STORE_TEST_SUITES];
  size_t places = store_query_places(ask, place);
  for (size_t i = 0; i < places && rows_count(ask->rows) == 0; i++) {
    sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_LOG_TEST,
                                         STORE_ARGS(store_int(place[i].test), store_int(query->limit),
                                                    store_int(query->after), store_int(query->since_ms)));
    while (!store_query_full(ask) && store_sql_row(ask->db, SQL_QUERY_LOG_TEST))
      store_query_cells(ask->rows, stmt, 0, COUNT_OF(log_columns));
  }
}

static void ask_state(struct store_asking *ask) {
  struct store_place place[STORE_TEST_SUITES];
  size_t places = store_query_places(ask, place);
  for (size_t i = 0; i < places; i++) {
    sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_STATE, STORE_ARGS(store_int(place[i].test)));
    if (!store_sql_row(ask->db, SQL_QUERY_STATE)) continue;
    struct flaky_rate rate = flaky_rate(store_sql_real(stmt, 5), store_sql_real(stmt, 6));
    store_query_cells(ask->rows, stmt, 0, 3);
    rows_string(ask->rows, flaky_state_name((enum flaky_state)store_sql_u32(stmt, 3)));
    store_query_cells(ask->rows, stmt, 4, 1);
    rows_int(ask->rows, (int64_t)(rate.theta * PPM));
    rows_int(ask->rows, (int64_t)(rate.lo * PPM));
    rows_int(ask->rows, (int64_t)(rate.hi * PPM));
    store_query_cells(ask->rows, stmt, 7, 3);
    rows_string(ask->rows, flaky_kind_name((enum flaky_kind)store_sql_u32(stmt, 10)));
    store_query_cells(ask->rows, stmt, 11, 4);
    sqlite3_reset(stmt);
  }
}
