// The spans of a build: the one place that works them out, so that a name means the same number in every output
// (docs/history.md, "Spans"). Called by store_query.c, store_timeline.c and, for `shard status`, query.c. Its clock
// goes while the build is open, and while a test of it runs: a round hours later, or results that a worker brings of
// tests that ran before it reached the server, do not count the hours between. Must not know the wire or who asks.
#include "server/store_span.h"

#include <stdlib.h>

enum { PPM = 1000000, WORKERS_MAX = 100000, ROOM = 16 };

static void read_clock(struct store_db *db, uint64_t build, struct store_span *span);
static void read_workers(struct store_db *db, uint64_t build, struct store_span *span);
static void read_attempts(struct store_db *db, uint64_t build, struct store_span *span);
static bool is_open(const struct store_span *span, struct store_stretch of, size_t count);
static void add_stretch(struct store_span *span, struct store_stretch of);
static void settle(struct store_span *span);
static struct store_presence *worker_of(const struct store_span *span, uint64_t worker);
static void measure(struct store_span *span);
static uint64_t bound_us(const struct store_span *span);
static int64_t idle_ppm(const struct store_span *span);

uint64_t store_span_wall_us(sqlite3_stmt *stmt, int column) {
  bool ended = sqlite3_column_type(stmt, column + 1) != SQLITE_NULL;
  uint64_t from_ms = store_sql_ms(stmt, column), paused_ms = store_sql_ms(stmt, column + 2);
  uint64_t to_ms = ended ? store_sql_ms(stmt, column + 1) : base_wall_us() / 1000;
  return to_ms > from_ms && to_ms - from_ms > paused_ms ? (to_ms - from_ms - paused_ms) * 1000 : 0;
}

void store_span_read(struct store_db *db, uint64_t build, struct store_span *span) {
  *span = (struct store_span){.first_us = UINT64_MAX};
  read_clock(db, build, span);
  read_workers(db, build, span);
  read_attempts(db, build, span);
  settle(span);
  measure(span);
}

void store_span_release(struct store_span *span) {
  free(span->stretch);
  free(span->worker);
  *span = (struct store_span){0};
}

uint64_t store_span_at(const struct store_span *span, uint64_t us) {
  size_t low = 0, high = span->count;  // behind `low` stretches that began before then
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (span->stretch[middle].from_us < us)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0) return 0;
  const struct store_stretch *last = &span->stretch[low - 1];
  return last->before_us + (us < last->to_us ? us : last->to_us) - last->from_us;
}

static void read_clock(struct store_db *db, uint64_t build, struct store_span *span) {
  sqlite3_stmt *stmt = store_sql_start(db, SQL_QUERY_WALL, STORE_ARGS(store_int(build)));
  if (!store_sql_row(db, SQL_QUERY_WALL)) return;
  bool ended = sqlite3_column_type(stmt, 1) != SQLITE_NULL;
  uint64_t from_us = store_sql_ms(stmt, 0) * 1000;
  span->wall_us = store_span_wall_us(stmt, 0);
  span->to_us = ended ? store_sql_ms(stmt, 1) * 1000 : base_wall_us();
  sqlite3_reset(stmt);
  if (span->to_us < from_us) span->to_us = from_us;
  stmt = store_sql_start(db, SQL_QUERY_PAUSES, STORE_ARGS(store_int(build)));
  while (store_sql_row(db, SQL_QUERY_PAUSES)) {
    add_stretch(span, (struct store_stretch){.from_us = from_us, .to_us = store_sql_ms(stmt, 0) * 1000});
    from_us = store_sql_ms(stmt, 1) * 1000;
  }
  add_stretch(span, (struct store_stretch){.from_us = from_us, .to_us = span->to_us});
}

static void read_workers(struct store_db *db, uint64_t build, struct store_span *span) {
  size_t room = ROOM;
  span->worker = base_calloc(room, sizeof *span->worker);
  sqlite3_stmt *stmt = store_sql_start(
      db, SQL_QUERY_WORKERS, STORE_ARGS(store_int(build), store_int(WORKERS_MAX), store_int(0), store_int(0)));
  while (store_sql_row(db, SQL_QUERY_WORKERS)) {
    if (span->workers == room) {
      room *= 2;
      span->worker = base_realloc(span->worker, room, sizeof *span->worker);
    }
    uint64_t left_ms = store_sql_ms(stmt, 4);
    span->worker[span->workers++] = (struct store_presence){.worker = store_sql_int(stmt, 0),
                                                            .from_us = store_sql_ms(stmt, 3) * 1000,
                                                            .to_us = left_ms ? left_ms * 1000 : span->to_us,
                                                            .busy_us = store_sql_sum_us(stmt, 7)};
  }
}

// An attempt that was lost with its worker is nobody's time: how long it ran is not known.
static void read_attempts(struct store_db *db, uint64_t build, struct store_span *span) {
  size_t open = span->count;
  sqlite3_stmt *stmt = store_sql_start(db, SQL_QUERY_TIMES, STORE_ARGS(store_int(build)));
  while (store_sql_row(db, SQL_QUERY_TIMES)) {
    uint64_t us = store_sql_us(stmt, 2), from_us = store_sql_ms(stmt, 1) * 1000;
    if (store_sql_int(stmt, 4) & STORE_LOST) continue;
    struct store_presence *worker = worker_of(span, store_sql_int(stmt, 0));
    struct store_stretch ran = {.from_us = from_us, .to_us = from_us + us};
    span->test_us += us;
    if (us > span->longest_us) span->longest_us = us;
    if (from_us == 0) continue;
    if (from_us < span->first_us) span->first_us = from_us;
    if (ran.to_us > span->last_us) span->last_us = ran.to_us;
    if (worker && from_us < worker->from_us) worker->from_us = from_us;
    if (!is_open(span, ran, open)) add_stretch(span, ran);
  }
}

static bool is_open(const struct store_span *span, struct store_stretch of, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (of.from_us >= span->stretch[i].from_us && of.to_us <= span->stretch[i].to_us) return true;
  return false;
}

static void add_stretch(struct store_span *span, struct store_stretch of) {
  if (of.to_us <= of.from_us) return;
  if (span->count == span->room) {
    span->room = span->room ? span->room * 2 : ROOM;
    span->stretch = base_realloc(span->stretch, span->room, sizeof *span->stretch);
  }
  span->stretch[span->count++] = of;
}

static int compare_stretches(const void *a, const void *b) {
  uint64_t x = ((const struct store_stretch *)a)->from_us, y = ((const struct store_stretch *)b)->from_us;
  return (x > y) - (x < y);
}

// In order, and none that overlap.
static void settle(struct store_span *span) {
  size_t kept = 0;
  if (span->count == 0) return;
  qsort(span->stretch, span->count, sizeof *span->stretch, compare_stretches);
  for (size_t i = 1; i < span->count; i++) {
    struct store_stretch *last = &span->stretch[kept], next = span->stretch[i];
    if (next.from_us > last->to_us)
      span->stretch[++kept] = next;
    else if (next.to_us > last->to_us)
      last->to_us = next.to_us;
  }
  span->count = kept + 1;
  for (size_t i = 1; i < span->count; i++) {
    const struct store_stretch *last = &span->stretch[i - 1];
    span->stretch[i].before_us = last->before_us + last->to_us - last->from_us;
  }
}

static int compare_presences(const void *key, const void *item) {
  uint64_t x = *(const uint64_t *)key, y = ((const struct store_presence *)item)->worker;
  return (x > y) - (x < y);
}

static struct store_presence *worker_of(const struct store_span *span, uint64_t worker) {
  return bsearch(&worker, span->worker, span->workers, sizeof *span->worker, compare_presences);
}

static void measure(struct store_span *span) {
  span->active_us = store_span_at(span, UINT64_MAX);
  span->measured = span->workers > 0 && span->test_us > 0 && span->last_us > 0;
  if (!span->measured) return;
  span->makespan_us = store_span_at(span, span->last_us) - store_span_at(span, span->first_us);
  span->bound_us = bound_us(span);
  span->idle_ppm = idle_ppm(span);
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

// The work as a fluid poured into the workers from when each joined; or the longest test, begun by the first of them.
// Starts are known to a millisecond, durations to a microsecond: what was reached is never below the bound.
static uint64_t bound_us(const struct store_span *span) {
  uint64_t *at_us = base_calloc(span->workers, sizeof *at_us), level_us, left_us = span->test_us;
  uint64_t begin_us = store_span_at(span, span->first_us);
  for (size_t i = 0; i < span->workers; i++) {
    uint64_t joined_us = store_span_at(span, span->worker[i].from_us);
    at_us[i] = joined_us > begin_us ? joined_us - begin_us : 0;
  }
  qsort(at_us, span->workers, sizeof *at_us, compare);
  uint64_t bound = at_us[0] + span->longest_us;
  level_us = at_us[0];
  for (size_t n = 1; n <= span->workers && left_us > 0; n++) {
    bool fits = n < span->workers && at_us[n] - level_us <= UINT64_MAX / n;
    uint64_t room_us = fits ? (at_us[n] - level_us) * n : UINT64_MAX;
    uint64_t poured_us = left_us < room_us ? left_us : room_us;
    level_us += poured_us / n;
    left_us -= poured_us;
  }
  free(at_us);
  if (level_us > bound) bound = level_us;
  return bound < span->makespan_us ? bound : span->makespan_us;
}

// Of the time that workers were there, the part in which they ran nothing. One that brings results ran its tests before
// it came.
static int64_t idle_ppm(const struct store_span *span) {
  double there_us = 0, busy_us = (double)span->test_us;
  for (size_t i = 0; i < span->workers; i++) {
    const struct store_presence *worker = &span->worker[i];
    uint64_t to_us = worker->to_us < span->to_us ? worker->to_us : span->to_us;
    uint64_t from_us = store_span_at(span, worker->from_us), until_us = store_span_at(span, to_us);
    uint64_t was_us = until_us > from_us ? until_us - from_us : 0;
    there_us += (double)(was_us > worker->busy_us ? was_us : worker->busy_us);
  }
  return there_us > busy_us ? (int64_t)((there_us - busy_us) / there_us * PPM) : 0;
}
