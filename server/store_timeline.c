// One build looked at closely: its spans (store_span.c), what was predicted, and each worker over its time. Called on
// the asker's thread through its view. Must not know the wire or who asks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"
#include "server/store_span.h"

enum { EIGHTHS = 8, WORKERS_MAX = 100000 };

static const struct rows_column build_columns[] = {
    {"build", ROWS_TEXT},
    {"suite", ROWS_TEXT},
    {"commit", ROWS_TEXT},
    {"branch", ROWS_TEXT},
    {"state", ROWS_TEXT},
    {"started", ROWS_TIME_MS},
    {"wall", ROWS_DURATION_US},
    {"actual", ROWS_DURATION_US},
    {"makespan", ROWS_DURATION_US},
    {"predicted", ROWS_DURATION_US},
    {"lower_bound", ROWS_DURATION_US},
    {"test_time", ROWS_DURATION_US},
    {"idle", ROWS_RATIO_PPM},
    {"tests", ROWS_INT},
    {"passed", ROWS_INT},
    {"failed", ROWS_INT},
    {"skipped", ROWS_INT},
    {"workers", ROWS_INT},
    {"setups", ROWS_INT},
    {"setup", ROWS_DURATION_US},
    {"longest_test", ROWS_TEXT},
    {"longest", ROWS_DURATION_US},
    {"last_test", ROWS_TEXT},
    {"teaches", ROWS_TEXT},
    {"text", ROWS_TEXT},
    {"mixed", ROWS_TEXT},
    {"environment", ROWS_TEXT},
};
static const struct rows_column timeline_columns[] = {
    {"worker", ROWS_INT},         {"node", ROWS_TEXT}, {"host", ROWS_TEXT},  {"joined", ROWS_TIME_MS},
    {"left", ROWS_TIME_MS},       {"tests", ROWS_INT}, {"failed", ROWS_INT}, {"busy", ROWS_DURATION_US},
    {"slowness", ROWS_RATIO_PPM}, {"sick", ROWS_TEXT}, {"bar", ROWS_TEXT},
};

static void ask_build(struct store_asking *ask);
static void ask_timeline(struct store_asking *ask);
static void build_row(struct store_asking *ask, sqlite3_stmt *stmt, const struct store_span *span);
static void cell_us(struct rows *rows, bool known, uint64_t us);
static double part_us(const struct store_span *span);
static uint64_t *busy_parts(struct store_db *db, uint64_t build, const struct store_span *span, uint32_t workers,
                            bool **failed);
static void bar_cell(struct rows *rows, const uint64_t *busy, const bool *failed, double part);

int store_query_build(struct store *store, const struct store_query *query, struct rows *rows,
                      struct store_error *error) {
  return store_query_ask(store, query, rows, error, build_columns, COUNT_OF(build_columns), ask_build);
}

int store_query_timeline(struct store *store, const struct store_query *query, struct rows *rows,
                         struct store_error *error) {
  return store_query_ask(store, query, rows, error, timeline_columns, COUNT_OF(timeline_columns), ask_timeline);
}

static void ask_build(struct store_asking *ask) {
  struct store_span span;
  const struct store_query *query = ask->query;
  if (!store_query_of_branch(ask)) return;
  store_span_read(ask->db, query->build, &span);
  if (span.to_us > 0 && span.to_us / 1000 < query->since_ms) {
    (void)snprintf(ask->error->text, sizeof ask->error->text,
                   "the build had ended before the time since which was asked for");
  } else {
    sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_BUILD, STORE_ARGS(store_int(query->build)));
    if (store_sql_row(ask->db, SQL_QUERY_BUILD)) {
      build_row(ask, stmt, &span);
      sqlite3_reset(stmt);
    }
  }
  store_span_release(&span);
}

static void build_row(struct store_asking *ask, sqlite3_stmt *stmt, const struct store_span *span) {
  struct rows *rows = ask->rows;
  store_query_cells(rows, stmt, 0, 4);
  rows_string(rows, store_query_state(store_sql_int(stmt, 4)));
  store_query_cells(rows, stmt, 5, 1);
  cell_us(rows, true, span->wall_us);
  cell_us(rows, true, span->wall_us);
  cell_us(rows, span->measured, span->makespan_us);
  store_query_cells(rows, stmt, 8, 1);
  cell_us(rows, span->measured, span->bound_us);
  cell_us(rows, span->measured, span->test_us);
  cell_us(rows, span->measured, (uint64_t)span->idle_ppm);
  store_query_cells(rows, stmt, 9, 8);
  cell_us(rows, span->measured, span->longest_us);
  store_query_cells(rows, stmt, 17, 1);
  rows_string(rows, !store_sql_int(stmt, 18)  ? "no: untrusted"
                    : store_sql_int(stmt, 19) ? "no: too much failed at once"
                                              : "yes");
  store_query_cells(rows, stmt, 20, 3);
}

static void cell_us(struct rows *rows, bool known, uint64_t us) {
  if (known)
    rows_int(rows, (int64_t)us);
  else
    rows_none(rows);
}

static void ask_timeline(struct store_asking *ask) {
  const struct store_query *query = ask->query;
  struct store_span span;
  store_span_read(ask->db, query->build, &span);
  const struct store_arg args[] = {store_int(query->build), store_int(query->limit), store_int(query->after),
                                   store_int(query->since_ms)};
  bool *failed;
  uint32_t workers = query->limit + (uint32_t)query->after;
  if (workers > WORKERS_MAX || query->after > WORKERS_MAX || query->since_ms) workers = WORKERS_MAX;
  uint64_t *busy = busy_parts(ask->db, query->build, &span, workers, &failed);
  sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_WORKERS, args, COUNT_OF(args));
  while (!store_query_full(ask) && store_sql_row(ask->db, SQL_QUERY_WORKERS)) {
    uint64_t worker = store_sql_int(stmt, 0);
    store_query_cells(ask->rows, stmt, 0, 10);
    if (worker < workers)
      bar_cell(ask->rows, busy + worker * STORE_BAR, failed + worker * STORE_BAR, part_us(&span));
    else
      rows_none(ask->rows);
  }
  store_span_release(&span);
  free(busy);
  free(failed);
}

static double part_us(const struct store_span *span) {
  return (double)(span->active_us + 1000) / STORE_BAR;
}

// STORE_BAR for all that is behind the span.
static int part_of(double at_us, double part) {
  return at_us < STORE_BAR * part ? (int)(at_us / part) : STORE_BAR;
}

// Per worker and part of the span, the µs it was busy; *failed: an attempt that failed ended there.
static uint64_t *busy_parts(struct store_db *db, uint64_t build, const struct store_span *span, uint32_t workers,
                            bool **failed) {
  uint64_t *busy = base_calloc((size_t)workers * STORE_BAR + 1, sizeof *busy);
  double part = part_us(span);
  *failed = base_calloc((size_t)workers * STORE_BAR + 1, sizeof **failed);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_QUERY_TIMES, STORE_ARGS(store_int(build)));
  while (store_sql_row(db, SQL_QUERY_TIMES)) {
    uint64_t worker = store_sql_int(stmt, 0), start_ms = store_sql_ms(stmt, 1);
    if (worker >= workers || store_sql_int(stmt, 4) & STORE_LOST) continue;
    double from = (double)store_span_at(span, start_ms * 1000), to = from + (double)store_sql_us(stmt, 2);
    int first = part_of(from, part), last = part_of(to, part);
    if (last >= STORE_BAR) last = STORE_BAR - 1;
    for (int i = first; i <= last; i++) {
      double begin = i * part > from ? i * part : from, end = (i + 1) * part < to ? (i + 1) * part : to;
      busy[worker * STORE_BAR + (size_t)i] += end > begin ? (uint64_t)(end - begin) : 0;
    }
    if (last >= first && store_status_fails(store_sql_u32(stmt, 3)))
      (*failed)[worker * STORE_BAR + (size_t)last] = true;
  }
  return busy;
}

static void bar_cell(struct rows *rows, const uint64_t *busy, const bool *failed, double part) {
  char bar[STORE_BAR + 1];
  for (int i = 0; i < STORE_BAR; i++) {
    double share = (double)busy[i] < part ? (double)busy[i] / part : 1;
    int eighths = (int)(share * EIGHTHS + 0.5);
    bar[i] = failed[i] ? 'x' : (char)('0' + (eighths == 0 && busy[i] > 0 ? 1 : eighths));
  }
  bar[STORE_BAR] = '\0';
  rows_string(rows, bar);
}
