// What is known of a list's tests beside their durations: which failed the last time on the build's branch, for builds
// that want those first; which are flaky in a way that is not known; which the trunk's last builds skipped, all of
// them, and which passed there. Called with the list by store_list.c and store_read.c. It must not know what comes
// of it.
#include <stdlib.h>

#include "server/store_impl.h"

struct failed_row {
  uint32_t row, position;
};

static int compare_rows(const void *a, const void *b) {
  uint32_t x = ((const struct failed_row *)a)->row, y = ((const struct failed_row *)b)->row;
  return (x > y) - (x < y);
}

static struct failed_row *sorted_rows(const struct store_listed *listed) {
  struct failed_row *rows = base_calloc(listed->count + 1, sizeof *rows);
  for (uint32_t i = 0; i < listed->count; i++)
    rows[i] = (struct failed_row){listed->test[i], i};
  qsort(rows, listed->count, sizeof *rows, compare_rows);
  return rows;
}

// Marks the list's tests that the statement names. *rows: sorted_rows, made when it names any.
static void mark(struct store_db *db, enum store_sql which, uint64_t build, const struct store_listed *listed,
                 struct failed_row **rows, bool *marked) {
  sqlite3_stmt *stmt = store_sql_start(db, which, STORE_ARGS(store_int(build)));
  while (store_sql_row(db, which)) {
    if (*rows == NULL) *rows = sorted_rows(listed);
    struct failed_row key = {.row = (uint32_t)store_sql_int(stmt, 0)};
    const struct failed_row *found = bsearch(&key, *rows, listed->count, sizeof key, compare_rows);
    if (found) marked[found->position] = true;
  }
}

// How many of the trunk's last builds skipped each test.
static void count_skips(struct store_db *db, uint64_t build, const struct store_listed *listed,
                        struct failed_row **rows, uint8_t *skips) {
  bool *skipped = base_calloc(listed->count + 1, sizeof *skipped);
  mark(db, SQL_SKIPPED_OF_BUILD, build, listed, rows, skipped);
  for (uint32_t i = 0; i < listed->count; i++)
    skips[i] += skipped[i];
  free(skipped);
}

static void mark_skips(struct store_db *db, struct store_listed *listed, struct failed_row **rows) {
  uint64_t build[STORE_SKIP_BUILDS];
  uint32_t count = 0;
  bool any = true;
  sqlite3_stmt *stmt = store_sql_start(db, SQL_TRUNK_BUILDS,
                                       STORE_ARGS(store_int(listed->build), store_int((uint64_t)STORE_SKIP_BUILDS)));
  while (store_sql_row(db, SQL_TRUNK_BUILDS)) {
    any = any && store_sql_int(stmt, 1) > 0;
    build[count++] = store_sql_int(stmt, 0);
  }
  uint8_t *skips = base_calloc(listed->count + 1, sizeof *skips);
  for (uint32_t i = 0; any && i < count; i++)
    count_skips(db, build[i], listed, rows, skips);
  for (uint32_t i = 0; any && count && i < listed->count; i++)
    listed->skips[i] = skips[i] == count;
  free(skips);
}

static void on_ran(uint32_t position, sqlite3_stmt *stmt, void *arg) {
  (void)stmt;
  ((struct store_listed *)arg)->ran[position] = true;
}

void store_failed_recall(struct store_db *db, struct store_listed *listed) {
  struct failed_row *rows = NULL;
  uint64_t last = store_sql_number(db, SQL_LAST_OF_BRANCH, STORE_ARGS(store_int(listed->build)));
  if (last) mark(db, SQL_FAILED_OF_BUILD, last, listed, &rows, listed->failed_last);
  mark(db, SQL_PUZZLES, listed->build, listed, &rows, listed->puzzles);
  mark_skips(db, listed, &rows);
  store_ids_visit(db, SQL_RAN_ON_TRUNK, listed->test, listed->count, on_ran, listed);
  free(rows);
}
