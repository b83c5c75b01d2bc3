// Unit tests of reading rows by many ids: in the list's order whatever that is, over gaps, and where rows are missing.
#include "store_fixture.h"

#include "server/store_impl.h"

enum { TESTS = 3000 };

struct seen {
  const uint32_t *ids;
  uint8_t times[TESTS];
};

static void on_id(uint32_t position, sqlite3_stmt *stmt, void *arg) {
  struct seen *seen = arg;
  assert_in_range(position, 0, TESTS - 1);
  assert_int_equal(store_sql_int(stmt, 0), seen->ids[position]);
  assert_true(sqlite3_column_bytes(stmt, 1) > 0);
  seen->times[position]++;
}

// Visits the ids; each position must be seen as often as it says.
static void visit(struct store_db *db, const uint32_t *ids, size_t count, bool (*there)(uint32_t id)) {
  struct seen seen = {.ids = ids};
  store_sql_begin(db, false);
  store_ids_visit(db, SQL_READ_NODES, ids, count, on_id, &seen);
  assert_int_equal(store_sql_end(db), SQLITE_OK);
  for (size_t i = 0; i < count; i++)
    assert_int_equal(seen.times[i], there(ids[i]));
}

static bool is_known(uint32_t id) {
  return id >= 1 && id <= TESTS;
}

static bool is_kept(uint32_t id) {
  return is_known(id) && (id < 500 || id > 900) && id % 7 != 0;
}

static void open_filled(struct store_db *db) {
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, TESTS, 10));
  store_close(store);
  assert_int_equal(fx_number("SELECT max(id) FROM test"), TESTS);
  assert_int_equal(store_sql_open(db, fx_path, false), 0);
}

static void test_orders(void **state) {
  (void)state;
  struct store_db db;
  uint32_t ids[TESTS];
  open_filled(&db);
  visit(&db, ids, 0, is_known);
  for (uint32_t i = 0; i < TESTS; i++)
    ids[i] = i + 1;
  visit(&db, ids, TESTS, is_known);
  visit(&db, ids, 1, is_known);
  for (uint32_t i = 0; i < TESTS; i++)
    ids[i] = TESTS - i;
  visit(&db, ids, TESTS, is_known);
  for (uint32_t i = 0; i < TESTS; i++)
    ids[i] = (uint32_t)((uint64_t)i * 1999 % TESTS) + 1;  // each once, in no order
  visit(&db, ids, TESTS, is_known);
  store_sql_close(&db);
}

static void test_gaps(void **state) {
  (void)state;
  struct store_db db;
  uint32_t ids[TESTS], n = 0;
  open_filled(&db);
  for (uint32_t gap = 1, id = 1; id <= TESTS; id += gap, gap = gap % 40 + 1)
    ids[n++] = id;
  visit(&db, ids, n, is_known);
  for (uint32_t i = 0; i < n; i += 3)
    ids[i] = 0;  // never seen
  ids[1] = TESTS + 5;
  ids[n - 2] = UINT32_MAX;
  visit(&db, ids, n, is_known);
  store_sql_close(&db);
}

static void test_missing_rows(void **state) {
  (void)state;
  struct store_db db;
  uint32_t ids[TESTS];
  open_filled(&db);
  store_sql_close(&db);
  fx_change("DELETE FROM test WHERE id BETWEEN 500 AND 900 OR id % 7 = 0");
  assert_int_equal(store_sql_open(&db, fx_path, false), 0);
  for (uint32_t i = 0; i < TESTS; i++)
    ids[i] = TESTS - i;
  visit(&db, ids, TESTS, is_kept);
  store_sql_close(&db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_orders, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_gaps, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_missing_rows, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests_name("store_ids", tests, NULL, NULL);
}
