// Which tests of a list failed the last time on the build's branch, for builds that want those first; and which are
// flaky in a way that is not known. Called with the list by store_list.c and store_read.c. It must not know what comes
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

void store_failed_recall(struct store_db *db, struct store_listed *listed) {
  struct failed_row *rows = NULL;
  uint64_t last = store_sql_number(db, SQL_LAST_OF_BRANCH, STORE_ARGS(store_int(listed->build)));
  if (last) mark(db, SQL_FAILED_OF_BUILD, last, listed, &rows, listed->failed_last);
  mark(db, SQL_PUZZLES, listed->build, listed, &rows, listed->puzzles);
  free(rows);
}
