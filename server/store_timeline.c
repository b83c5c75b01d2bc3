// One build looked at closely: what was predicted, what it took, the bound no schedule can beat, and each worker over
// its time. Called on the loop thread through its read-only connection. Must not know the wire or who asks.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

enum { PPM = 1000000, EIGHTHS = 8, WORKERS_MAX = 100000 };

static const struct rows_column build_columns[] = {
    {"build", ROWS_TEXT},
    {"suite", ROWS_TEXT},
    {"commit", ROWS_TEXT},
    {"branch", ROWS_TEXT},
    {"state", ROWS_TEXT},
    {"started", ROWS_TIME_MS},
    {"actual", ROWS_DURATION_US},
    {"predicted", ROWS_DURATION_US},
    {"lower_bound", ROWS_DURATION_US},
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

struct span {  // of a build, ms since the epoch
  uint64_t from_ms, to_ms;
};

struct load {  // of a build's workers
  uint64_t *joined_ms, *left_ms;
  size_t count;
  uint64_t busy_us, longest_us;
};

static void ask_build(struct store_asking *ask);
static void ask_timeline(struct store_asking *ask);
static void build_row(struct store_asking *ask, sqlite3_stmt *stmt, struct span span, const struct load *load);
static void read_load(struct store_db *db, uint64_t build, struct load *load);
static uint64_t lower_bound_us(const struct load *load, uint64_t from_ms);
static int64_t idle_ppm(const struct load *load, struct span span);
static struct span read_span(struct store_db *db, uint64_t build);
static uint64_t *busy_parts(struct store_db *db, uint64_t build, struct span span, uint32_t workers, bool **failed);
static void bar_cell(struct rows *rows, const uint64_t *busy, const bool *failed, struct span span);

int store_query_build(struct store *store, const struct store_query *query, struct rows *rows,
                      struct store_error *error) {
  return store_query_ask(store, query, rows, error, build_columns, COUNT_OF(build_columns), ask_build);
}

int store_query_timeline(struct store *store, const struct store_query *query, struct rows *rows,
                         struct store_error *error) {
  return store_query_ask(store, query, rows, error, timeline_columns, COUNT_OF(timeline_columns), ask_timeline);
}

static void ask_build(struct store_asking *ask) {
  struct load load;
  const struct store_query *query = ask->query;
  struct span span = read_span(ask->db, query->build);
  if (!store_query_of_branch(ask)) return;
  if (span.to_ms > 0 && span.to_ms < query->since_ms) {
    (void)snprintf(ask->error->text, sizeof ask->error->text,
                   "the build had ended before the time since which was asked for");
    return;
  }
  read_load(ask->db, query->build, &load);
  sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_BUILD, STORE_ARGS(store_int(query->build)));
  if (store_sql_row(ask->db, SQL_QUERY_BUILD)) {
    build_row(ask, stmt, span, &load);
    sqlite3_reset(stmt);
  }
  free(load.joined_ms);
  free(load.left_ms);
}

static void build_row(struct store_asking *ask, sqlite3_stmt *stmt, struct span span, const struct load *load) {
  struct rows *rows = ask->rows;
  bool measured = load->count > 0 && load->busy_us > 0;
  store_query_cells(rows, stmt, 0, 4);
  rows_string(rows, store_query_state(store_sql_int(stmt, 4)));
  store_query_cells(rows, stmt, 5, 1);
  rows_int(rows, (int64_t)(span.to_ms - span.from_ms) * 1000);
  store_query_cells(rows, stmt, 7, 1);
  if (measured) {
    rows_int(rows, (int64_t)lower_bound_us(load, span.from_ms));
    rows_int(rows, idle_ppm(load, span));
  } else {
    rows_none(rows);
    rows_none(rows);
  }
  store_query_cells(rows, stmt, 8, 8);
  if (measured)
    rows_int(rows, (int64_t)load->longest_us);
  else
    rows_none(rows);
  store_query_cells(rows, stmt, 16, 1);
  rows_string(rows, !store_sql_int(stmt, 17)  ? "no: untrusted"
                    : store_sql_int(stmt, 18) ? "no: too much failed at once"
                                              : "yes");
  store_query_cells(rows, stmt, 19, 3);
}

static void read_load(struct store_db *db, uint64_t build, struct load *load) {
  size_t room = 16;
  *load = (struct load){.joined_ms = base_calloc(room, sizeof *load->joined_ms),
                        .left_ms = base_calloc(room, sizeof *load->left_ms)};
  sqlite3_stmt *stmt = store_sql_start(
      db, SQL_QUERY_WORKERS, STORE_ARGS(store_int(build), store_int(WORKERS_MAX), store_int(0), store_int(0)));
  while (store_sql_row(db, SQL_QUERY_WORKERS)) {
    if (load->count == room) {
      room *= 2;
      load->joined_ms = base_realloc(load->joined_ms, room, sizeof *load->joined_ms);
      load->left_ms = base_realloc(load->left_ms, room, sizeof *load->left_ms);
    }
    load->joined_ms[load->count] = store_sql_ms(stmt, 3);
    load->left_ms[load->count++] = store_sql_ms(stmt, 4);
    load->busy_us += store_sql_sum_us(stmt, 7);
  }
  stmt = store_sql_start(db, SQL_QUERY_TIMES, STORE_ARGS(store_int(build)));
  while (store_sql_row(db, SQL_QUERY_TIMES)) {
    uint64_t us = store_sql_us(stmt, 2);
    if (!(store_sql_int(stmt, 4) & STORE_LOST) && us > load->longest_us) load->longest_us = us;
  }
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

// The work as a fluid poured into the workers from when each joined; or the longest test, begun by the first of them.
static uint64_t lower_bound_us(const struct load *load, uint64_t from_ms) {
  uint64_t *at_us = base_calloc(load->count, sizeof *at_us), level_us, left_us = load->busy_us;
  for (size_t i = 0; i < load->count; i++)
    at_us[i] = load->joined_ms[i] > from_ms ? (load->joined_ms[i] - from_ms) * 1000 : 0;
  qsort(at_us, load->count, sizeof *at_us, compare);
  uint64_t longest_us = at_us[0] + load->longest_us;
  level_us = at_us[0];
  for (size_t n = 1; n <= load->count; n++) {
    bool fits = n < load->count && at_us[n] - level_us <= UINT64_MAX / n;
    uint64_t room_us = fits ? (at_us[n] - level_us) * n : UINT64_MAX;
    uint64_t poured_us = left_us < room_us ? left_us : room_us;
    level_us += poured_us / n;
    left_us -= poured_us;
    if (left_us == 0) break;
  }
  free(at_us);
  return level_us > longest_us ? level_us : longest_us;
}

// Of the time that workers were there, the part in which they ran nothing.
static int64_t idle_ppm(const struct load *load, struct span span) {
  double there_us = 0, busy_us = (double)load->busy_us;
  for (size_t i = 0; i < load->count; i++) {
    uint64_t left_ms = load->left_ms[i] && load->left_ms[i] < span.to_ms ? load->left_ms[i] : span.to_ms;
    there_us += left_ms > load->joined_ms[i] ? (double)(left_ms - load->joined_ms[i]) * 1000 : 0;
  }
  return there_us > busy_us ? (int64_t)((there_us - busy_us) / there_us * PPM) : 0;
}

static struct span read_span(struct store_db *db, uint64_t build) {
  struct span span = {0};
  sqlite3_stmt *stmt = store_sql_start(db, SQL_QUERY_BUILD, STORE_ARGS(store_int(build)));
  if (!store_sql_row(db, SQL_QUERY_BUILD)) return span;
  bool ended = sqlite3_column_type(stmt, 6) != SQLITE_NULL;
  span.from_ms = store_sql_ms(stmt, 5);
  span.to_ms = ended ? store_sql_ms(stmt, 6) : base_wall_us() / 1000;
  if (span.to_ms < span.from_ms) span.to_ms = span.from_ms;
  sqlite3_reset(stmt);
  return span;
}

static void ask_timeline(struct store_asking *ask) {
  const struct store_query *query = ask->query;
  struct span span = read_span(ask->db, query->build);
  const struct store_arg args[] = {store_int(query->build), store_int(query->limit), store_int(query->after),
                                   store_int(query->since_ms)};
  bool *failed;
  uint32_t workers = query->limit + (uint32_t)query->after;
  if (workers > WORKERS_MAX || query->after > WORKERS_MAX || query->since_ms) workers = WORKERS_MAX;
  uint64_t *busy = busy_parts(ask->db, query->build, span, workers, &failed);
  sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_WORKERS, args, COUNT_OF(args));
  while (!store_query_full(ask) && store_sql_row(ask->db, SQL_QUERY_WORKERS)) {
    uint64_t worker = store_sql_int(stmt, 0);
    store_query_cells(ask->rows, stmt, 0, 10);
    if (worker < workers)
      bar_cell(ask->rows, busy + worker * STORE_BAR, failed + worker * STORE_BAR, span);
    else
      rows_none(ask->rows);
  }
  free(busy);
  free(failed);
}

// STORE_BAR for all that is behind the span.
static int part_of(double at_us, double part_us) {
  return at_us < STORE_BAR * part_us ? (int)(at_us / part_us) : STORE_BAR;
}

// Per worker and part of the span, the µs it was busy; *failed: an attempt that failed ended there.
static uint64_t *busy_parts(struct store_db *db, uint64_t build, struct span span, uint32_t workers, bool **failed) {
  uint64_t *busy = base_calloc((size_t)workers * STORE_BAR + 1, sizeof *busy);
  double part_us = (double)(span.to_ms - span.from_ms + 1) * 1000 / STORE_BAR;
  *failed = base_calloc((size_t)workers * STORE_BAR + 1, sizeof **failed);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_QUERY_TIMES, STORE_ARGS(store_int(build)));
  while (store_sql_row(db, SQL_QUERY_TIMES)) {
    uint64_t worker = store_sql_int(stmt, 0), start_ms = store_sql_ms(stmt, 1);
    if (worker >= workers || store_sql_int(stmt, 4) & STORE_LOST) continue;
    double from = ((double)start_ms - (double)span.from_ms) * 1000, to = from + (double)store_sql_us(stmt, 2);
    int first = from < 0 ? 0 : part_of(from, part_us), last = to < 0 ? -1 : part_of(to, part_us);
    if (last >= STORE_BAR) last = STORE_BAR - 1;
    for (int i = first; i <= last; i++) {
      double begin = i * part_us > from ? i * part_us : from, end = (i + 1) * part_us < to ? (i + 1) * part_us : to;
      busy[worker * STORE_BAR + (size_t)i] += end > begin ? (uint64_t)(end - begin) : 0;
    }
    if (last >= first && store_status_fails(store_sql_u32(stmt, 3)))
      (*failed)[worker * STORE_BAR + (size_t)last] = true;
  }
  return busy;
}

static void bar_cell(struct rows *rows, const uint64_t *busy, const bool *failed, struct span span) {
  char bar[STORE_BAR + 1];
  double part_us = (double)(span.to_ms - span.from_ms + 1) * 1000 / STORE_BAR;
  for (int i = 0; i < STORE_BAR; i++) {
    double share = (double)busy[i] < part_us ? (double)busy[i] / part_us : 1;
    int eighths = (int)(share * EIGHTHS + 0.5);
    bar[i] = failed[i] ? 'x' : (char)('0' + (eighths == 0 && busy[i] > 0 ? 1 : eighths));
  }
  bar[STORE_BAR] = '\0';
  rows_string(rows, bar);
}
