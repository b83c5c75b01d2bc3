// What a forecast is made of: the newest list of a suite, what its tests are expected to take, what a job's start-up
// has cost. Called on the asker's thread through its view, one short transaction: a list comes as four blobs, the
// durations from an index that holds them, in one pass. Must not know what is forecast from it.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

enum {
  BOOT_BUILDS = 5,       // that a job's start-up is taken from
  UNTAUGHT_MAX = 20000,  // tests that are looked for among the results
};
static_assert((STORE_SETTLES | STORE_LOST) == 17, "the statement names these flags");

// Where each test of the list stands: a hash of row ids, at most half full. 0 is a free slot, else the position + 1.
struct places {
  const uint32_t *test;
  uint32_t *slot, mask;
};

static void read_expected(struct store_db *db, uint64_t suite, struct store_expected *expected);
static struct places places_new(const struct store_expected *expected);
static uint32_t *place_of(const struct places *places, uint32_t test);
static void read_times(struct store_db *db, uint64_t suite, struct store_expected *expected);
static void read_untaught(struct store_db *db, uint64_t build, struct store_expected *expected);
static void read_boot(struct store_db *db, uint64_t suite, struct store_expected *expected);
static char *name_of(struct store *store, enum store_sql which, uint32_t id);

struct store_expected *store_expected(struct store *store, const char *project, const char *suite,
                                      struct store_error *error) {
  struct store_db *db = &store->reader;
  struct store_expected *expected = base_calloc(1, sizeof *expected);
  store_sql_begin(db, false);
  uint64_t id = store_read_suite(db, project, suite);
  if (id != 0) read_expected(db, id, expected);
  if (store_sql_end(db) != SQLITE_OK) {
    (void)snprintf(error->text, sizeof error->text, "the database cannot be read: %s", db->why);
  } else if (expected->count == 0) {
    (void)snprintf(error->text, sizeof error->text,
                   "no list of tests is known of project \"%.100s\", suite \"%.100s\": run a build of it first",
                   project, suite);
  } else {
    return expected;
  }
  store_expected_free(expected);
  return NULL;
}

void store_expected_free(struct store_expected *expected) {
  if (expected == NULL) return;
  free(expected->test);
  free(expected->file);
  free(expected->file_of);
  free(expected->expected_us);
  free(expected->file_setup_us);
  free(expected);
}

char *store_test_name(struct store *store, uint32_t test) {
  return name_of(store, SQL_TEST_NODE, test);
}

char *store_file_name(struct store *store, uint32_t file) {
  return name_of(store, SQL_FILE_PATH, file);
}

static void read_expected(struct store_db *db, uint64_t suite, struct store_expected *expected) {
  struct store_positions p;
  uint64_t build = store_sql_number(db, SQL_FORECAST_BUILD, STORE_ARGS(store_int(suite)));
  if (build == 0 || !store_read_positions(db, build, &p)) return;
  *expected = (struct store_expected){.count = p.count,
                                      .file_count = p.file_count,
                                      .test = p.test,
                                      .file = p.files,
                                      .file_of = p.file_of,
                                      .expected_us = base_calloc(p.count, sizeof *expected->expected_us),
                                      .file_setup_us = base_calloc(p.file_count, sizeof *expected->file_setup_us)};
  free(p.unit);
  free(p.marks);
  read_times(db, suite, expected);
  read_untaught(db, build, expected);
  for (uint32_t i = 0; i < p.file_count; i++)
    expected->file_setup_us[i] = store_sql_number(db, SQL_FILE_SETUP, STORE_ARGS(store_int(p.files[i])));
  read_boot(db, suite, expected);
}

static struct places places_new(const struct store_expected *expected) {
  struct places places = {.test = expected->test, .mask = 1};
  while (places.mask < 2 * expected->count)
    places.mask = 2 * places.mask + 1;
  places.slot = base_calloc((size_t)places.mask + 1, sizeof *places.slot);
  for (uint32_t i = 0; i < expected->count; i++)
    *place_of(&places, expected->test[i]) = i + 1;
  return places;
}

static uint32_t *place_of(const struct places *places, uint32_t test) {
  uint32_t at = test * UINT32_C(2654435769) & places->mask;
  while (places->slot[at] != 0 && places->test[places->slot[at] - 1] != test)
    at = (at + 1) & places->mask;
  return &places->slot[at];
}

// The index has the suite's tests of all times, by duration: those of the list are picked out.
static void read_times(struct store_db *db, uint64_t suite, struct store_expected *expected) {
  struct places places = places_new(expected);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_FORECAST_TIMES, STORE_ARGS(store_int(suite)));
  while (store_sql_row(db, SQL_FORECAST_TIMES)) {
    uint32_t position = *place_of(&places, store_sql_u32(stmt, 0));
    if (position != 0) expected->expected_us[position - 1] = store_sql_us(stmt, 1);
  }
  free(places.slot);
}

// Skips and failures teach no duration, but what they took in that build says more than a guess.
static void read_untaught(struct store_db *db, uint64_t build, struct store_expected *expected) {
  uint32_t asked = 0;
  for (uint32_t i = 0; i < expected->count && asked < UNTAUGHT_MAX && db->rc == SQLITE_OK; i++) {
    if (expected->expected_us[i] != 0) continue;
    asked++;
    sqlite3_stmt *stmt =
        store_sql_start(db, SQL_FORECAST_RESULT, STORE_ARGS(store_int(build), store_int(expected->test[i])));
    if (!store_sql_row(db, SQL_FORECAST_RESULT)) continue;
    uint64_t us = store_sql_us(stmt, 0);
    expected->expected_us[i] = us ? us : 1;
    sqlite3_reset(stmt);
  }
}

static void read_boot(struct store_db *db, uint64_t suite, struct store_expected *expected) {
  uint64_t seen_us[BOOT_BUILDS];
  uint32_t n = 0;
  sqlite3_stmt *stmt = store_sql_start(db, SQL_FORECAST_BOOT, STORE_ARGS(store_int(suite), store_int(BOOT_BUILDS)));
  while (store_sql_row(db, SQL_FORECAST_BOOT)) {
    assert(n < BOOT_BUILDS);
    seen_us[n++] = store_sql_bound(stmt, 0, LIMIT_STORED_US / 1000) * 1000;
  }
  expected->boot_us = estimate_median(seen_us, n);
  expected->boot_builds = n;
}

static char *name_of(struct store *store, enum store_sql which, uint32_t id) {
  struct store_db *db = &store->reader;
  store_sql_begin(db, false);
  sqlite3_stmt *stmt = store_sql_start(db, which, STORE_ARGS(store_int(id)));
  bool found = store_sql_row(db, which);
  char *name =
      base_memdup0(found ? sqlite3_column_blob(stmt, 0) : "", found ? (size_t)sqlite3_column_bytes(stmt, 0) : 0);
  if (found) sqlite3_reset(stmt);
  if (store_sql_end(db) != SQLITE_OK)
    base_log(LOG_LEVEL_ERROR, "store_read", "query=name path=%s why=\"%s\"", store->path, db->why);
  return name;
}
