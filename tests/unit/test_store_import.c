// Unit tests of durations from elsewhere: what an import makes, what it leaves alone, and the pages they come out in.
#include "tests/unit/store_fixture.h"

static const struct store_query query_one = {.project = "shop", .suite = "unit", .test = "", .limit = 10};

static void import_of(struct store *store, const char *id, uint64_t us) {
  static const char *const files[] = {"t/test_0.py"};
  const char *const ids[] = {id, "other"};
  const uint32_t file_of[] = {0, UINT32_MAX};
  const uint64_t durations[] = {us, 77};
  const struct store_import import = {.project = "shop",
                                      .suite = "unit",
                                      .at_ms = 5,
                                      .count = 2,
                                      .file_count = 1,
                                      .id = ids,
                                      .file = files,
                                      .file_of = file_of,
                                      .us = durations};
  fx_wait(store, store_put_import(store, &import));
}

static uint64_t expected(struct store *store, size_t row) {
  struct rows rows;
  struct store_error error;
  if (store_query_durations(store, &query_one, &rows, &error) != 0) fail_msg("%s", error.text);
  assert_true(rows_count(&rows) > row);
  char *text = base_memdup0(rows.cells[row * 3 + 2].bytes, rows.cells[row * 3 + 2].n);
  uint64_t us = strtoull(text, NULL, 10);
  free(text);
  rows_release(&rows);
  return us;
}

static void test_an_import_is_what_a_list_expects(void **state) {
  (void)state;
  struct store *store = fx_open();
  import_of(store, "t/test_0.py::test_1", 4000000);
  fx_build(store, 1, "b1", "c1");
  struct store_listed *listed = fx_list(store, 1, 4, 4);
  assert_int_equal(listed->history[0].n, 0);
  assert_int_equal(listed->history[1].n, 1);
  assert_int_equal(estimate_expected(&listed->history[1]), 4000000);
  store_listed_free(listed);
  assert_int_equal(fx_number("SELECT count(*) FROM file_stat"), 1);
  assert_int_equal(fx_number("SELECT count(*) FROM test WHERE file IS NULL"), 1);
  store_close(store);
}

static void test_what_was_measured_stays(void **state) {
  (void)state;
  struct store *store = fx_open();
  import_of(store, "t/test_0.py::test_1", 4000000);
  import_of(store, "t/test_0.py::test_1", 6000000);
  assert_int_equal(expected(store, 0), 6000000);
  fx_build(store, 1, "b1", "c1");
  store_listed_free(fx_list(store, 1, 4, 4));
  struct store_result r = fx_result(1, 1, FX_PASSED);
  r.setup_us = r.teardown_us = 0;
  r.call_us = 1000000;
  r.flags = STORE_SETTLES;
  store_put_result(store, &r);
  fx_wait(store, store_put_state(store, 1, FX_COMPLETE, base_wall_us() / 1000, NULL));
  fx_learned(store);
  assert_int_equal(fx_number("SELECT n FROM dur_stat WHERE test=1"), 2);
  uint64_t learned = expected(store, 0);
  assert_true(learned < 6000000);
  import_of(store, "t/test_0.py::test_1", 9000000);
  assert_int_equal(expected(store, 0), learned);
  assert_int_equal(fx_number("SELECT n FROM dur_stat WHERE test=1"), 2);
  store_close(store);
}

static void test_pages(void **state) {
  (void)state;
  enum { TESTS = 95, PAGE = 10 };
  struct store *store = fx_open();
  struct store_query query = query_one;
  struct store_error error;
  size_t seen = 0;
  assert_int_equal(store_query_durations(store, &query, &(struct rows){0}, &error), -1);
  for (uint64_t i = 0; i < TESTS - 1; i++) {
    char id[24];
    (void)snprintf(id, sizeof id, "t%ju", (uintmax_t)i);
    import_of(store, id, i * 1000);
  }
  query.limit = PAGE;
  do {
    struct rows rows;
    assert_int_equal(store_query_durations(store, &query, &rows, &error), 0);
    assert_true(rows_count(&rows) <= PAGE);
    seen += rows_count(&rows);
    query.after = rows.next;
    rows_release(&rows);
  } while (query.after != 0);
  assert_int_equal(seen, TESTS);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_an_import_is_what_a_list_expects, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_what_was_measured_stays, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_pages, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
