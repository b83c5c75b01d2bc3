// Rows by their ids, many at a time: a list of tests names them in collection order, which is nearly the order in which
// their rows were made. So a stretch of the table is read instead of one row after another, which costs a tenth. Called
// by store_list.c and store_read.c. Must not know what a row holds.
#include <assert.h>
#include <stdlib.h>

#include "server/store_impl.h"

enum { IDS_GAP = 16 };  // a larger gap ends the stretch: reading over so many rows costs about one search

struct ids_place {
  uint32_t id, position;
};

static struct ids_place *sort_places(const uint32_t *ids, size_t count, size_t *places);
static size_t stretch_end(const struct ids_place *place, size_t places, size_t from);

void store_ids_visit(struct store_db *db, enum store_sql which, const uint32_t *ids, size_t count, store_on_id *on_id,
                     void *arg) {
  size_t places;
  struct ids_place *place = sort_places(ids, count, &places);
  for (size_t i = 0, end; i < places && db->rc == SQLITE_OK; i = end) {
    end = stretch_end(place, places, i);
    sqlite3_stmt *stmt = store_sql_start(db, which, STORE_ARGS(store_int(place[i].id), store_int(place[end - 1].id)));
    while (store_sql_row(db, which)) {
      uint64_t id = store_sql_int(stmt, 0);
      while (i < end && place[i].id < id)
        i++;  // has no row
      for (; i < end && place[i].id == id; i++)
        on_id(place[i].position, stmt, arg);
    }
  }
  free(place);
}

static int compare(const void *a, const void *b) {
  const struct ids_place *x = a, *y = b;
  return (x->id > y->id) - (x->id < y->id);
}

static struct ids_place *sort_places(const uint32_t *ids, size_t count, size_t *places) {
  struct ids_place *place = base_calloc(count, sizeof *place);
  bool sorted = true;
  size_t n = 0;
  assert(count <= UINT32_MAX);
  for (size_t i = 0; i < count; i++) {
    if (ids[i] == 0) continue;
    place[n] = (struct ids_place){.id = ids[i], .position = (uint32_t)i};
    sorted = sorted && (n == 0 || place[n - 1].id <= place[n].id);
    n++;
  }
  if (!sorted) qsort(place, n, sizeof *place, compare);
  *places = n;
  return place;
}

static size_t stretch_end(const struct ids_place *place, size_t places, size_t from) {
  size_t end = from + 1;
  while (end < places && place[end].id - place[end - 1].id <= IDS_GAP)
    end++;
  return end;
}
