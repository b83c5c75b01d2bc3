// The report: every attempt of a build, in collection order, page by page. Called on the asker's thread through its
// view. A page ends between two tests; the attempts of one test stay together, and where a single test is more than a
// page its texts are cut. Must not know what becomes of the rows (JUnit, a summary).
#include <stdio.h>
#include <string.h>

#include "server/store_impl.h"

static const struct rows_column columns[] = {
    {"position", ROWS_INT},     {"id", ROWS_TEXT},
    {"file", ROWS_TEXT},        {"attempt", ROWS_INT},
    {"status", ROWS_INT},       {"flags", ROWS_INT},
    {"round", ROWS_INT},        {"worker", ROWS_INT},
    {"node", ROWS_TEXT},        {"host", ROWS_TEXT},
    {"start", ROWS_TIME_MS},    {"setup", ROWS_DURATION_US},
    {"call", ROWS_DURATION_US}, {"teardown", ROWS_DURATION_US},
    {"text", ROWS_TEXT},
};

static void report(struct store *store, const struct store_query *query, struct rows *rows, struct store_error *error);
static bool find_list(struct store *store, uint64_t build);
static uint32_t find_start(const struct store_report *report, uint64_t after);
static bool fits(struct store_db *db, uint64_t build, uint32_t test, const struct rows *rows);
static void report_test(struct store_db *db, uint64_t build, const struct store_positions *p, uint32_t position,
                        struct rows *rows);
static void report_attempt(struct rows *rows, sqlite3_stmt *stmt);
static void head(struct rows *rows, sqlite3_stmt *names, uint32_t position);
static void column(struct rows *rows, sqlite3_stmt *stmt, int i, size_t room);

int store_query_report(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error) {
  struct store_db *db = &store->reader;
  error->text[0] = '\0';
  rows_init(rows, columns, COUNT_OF(columns));
  store_sql_begin(db, false);
  report(store, query, rows, error);
  if (store_sql_end(db) != SQLITE_OK)
    (void)snprintf(error->text, sizeof error->text, "the database cannot be read: %s", db->why);
  if (error->text[0] == '\0') return 0;
  rows_release(rows);
  return -1;
}

static void report(struct store *store, const struct store_query *query, struct rows *rows, struct store_error *error) {
  struct store_db *db = &store->reader;
  const struct store_positions *p = &store->report.positions;
  if (!find_list(store, query->build)) {
    bool known = store_sql_number(db, SQL_BUILD_SUITE, STORE_ARGS(store_int(query->build))) != 0;
    if (!known) (void)snprintf(error->text, sizeof error->text, "no such build is known");
    return;  // without a list there is nothing to report
  }
  uint32_t at = find_start(&store->report, query->after), told = 0;
  if (at > p->count)
    (void)snprintf(error->text, sizeof error->text, "the report cannot go on: test %ju is not in the build's list",
                   (uintmax_t)query->after);
  for (; at < p->count && told < query->limit && db->rc == SQLITE_OK; at++, told++) {
    if (told > 0 && !fits(db, query->build, p->test[at], rows)) break;
    report_test(db, query->build, p, at, rows);
  }
  store->report.next = at;
  if (at < p->count && told > 0)
    rows->next = p->test[at - 1];
  else
    store_report_release(&store->report);
}

void store_report_release(struct store_report *report) {
  store_read_release(&report->positions);
  *report = (struct store_report){0};
}

// A list is read once for all pages of a report: with one of them a page, the cost of a report would grow with the
// square of its length. False: the build has none, or it cannot be read.
static bool find_list(struct store *store, uint64_t build) {
  struct store_report *report = &store->report;
  uint64_t list = store_sql_number(&store->reader, SQL_REPORT_LIST, STORE_ARGS(store_int(build)));
  if (list == 0) return false;
  if (list == report->list) return true;
  store_report_release(report);
  if (!store_read_positions(&store->reader, build, &report->positions)) return false;
  report->list = list;
  return true;
}

// The position behind the test `after`, 0: at the beginning; more than the list holds when it is not in it.
static uint32_t find_start(const struct store_report *report, uint64_t after) {
  const struct store_positions *p = &report->positions;
  uint32_t at = report->next;
  if (after == 0) return 0;
  if (at > 0 && at <= p->count && p->test[at - 1] == after) return at;
  for (at = 0; at < p->count && p->test[at] != after;)
    at++;
  return at + 1;
}

static bool fits(struct store_db *db, uint64_t build, uint32_t test, const struct rows *rows) {
  if (rows->cell_count >= STORE_PAGE_CELLS - STORE_TEST_CELLS) return false;
  uint64_t text = store_sql_number(db, SQL_REPORT_BYTES, STORE_ARGS(store_int(build), store_int(test)));
  return rows->bytes + text + STORE_ROW_BYTES < STORE_PAGE_BYTES;
}

static void report_test(struct store_db *db, uint64_t build, const struct store_positions *p, uint32_t position,
                        struct rows *rows) {
  uint32_t file = p->file_of[position] < p->file_count ? p->files[p->file_of[position]] : 0;
  sqlite3_stmt *names = store_sql_start(db, SQL_REPORT_NODE, STORE_ARGS(store_int(p->test[position]), store_int(file)));
  if (!store_sql_row(db, SQL_REPORT_NODE)) {
    store_sql_damaged(db, "a list names a row that is not there");
    return;
  }
  size_t before = rows_count(rows);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_REPORT_TEST, STORE_ARGS(store_int(build), store_int(p->test[position])));
  while (store_sql_row(db, SQL_REPORT_TEST)) {
    bool room = rows->bytes < STORE_PAGE_BYTES;  // of a test over a page only the deciding attempts are kept
    if (!room && !(store_sql_int(stmt, 2) & STORE_SETTLES)) continue;
    head(rows, names, position);
    report_attempt(rows, stmt);
  }
  if (rows_count(rows) == before) {
    head(rows, names, position);
    rows_int(rows, 0);
    for (size_t i = 4; i < COUNT_OF(columns); i++)
      rows_none(rows);
  }
}

static void head(struct rows *rows, sqlite3_stmt *names, uint32_t position) {
  rows_int(rows, position);
  column(rows, names, 0, SIZE_MAX);
  column(rows, names, 1, SIZE_MAX);
}

static void report_attempt(struct rows *rows, sqlite3_stmt *stmt) {
  for (int i = 0; i < 11; i++)
    column(rows, stmt, i, SIZE_MAX);
  column(rows, stmt, 11, rows->bytes < STORE_PAGE_BYTES ? STORE_PAGE_BYTES - rows->bytes : 0);
}

static void column(struct rows *rows, sqlite3_stmt *stmt, int i, size_t room) {
  if (store_query_bounded(rows, stmt, i)) return;
  const void *bytes = sqlite3_column_text(stmt, i);
  size_t n = bytes ? (size_t)sqlite3_column_bytes(stmt, i) : 0;
  rows_text(rows, bytes ? bytes : "", n < room ? n : room);
}
