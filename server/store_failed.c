// Which tests of a list failed the last time on the build's branch: for builds that want those first. Called with the
// list by store_list.c and store_read.c. It must not know what order comes of it.
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

void store_failed_recall(struct store_db *db, struct store_listed *listed) {
  uint64_t last = store_sql_number(db, SQL_LAST_OF_BRANCH, STORE_ARGS(store_int(listed->build)));
  if (last == 0 || listed->count == 0) return;
  struct failed_row *rows = sorted_rows(listed);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_FAILED_OF_BUILD, STORE_ARGS(store_int(last)));
  while (store_sql_row(db, SQL_FAILED_OF_BUILD)) {
    struct failed_row key = {.row = (uint32_t)store_sql_int(stmt, 0)};
    const struct failed_row *found = bsearch(&key, rows, listed->count, sizeof key, compare_rows);
    if (found) listed->failed_last[found->position] = true;
  }
  free(rows);
}
