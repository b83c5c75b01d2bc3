// Unit tests of what the store makes of skips: who skipped what ran elsewhere, and what the trunk ran.
#include "tests/unit/store_fixture.h"

typedef int query_fn(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error);

static struct store_query query_of(const char *suite, uint64_t build, uint32_t limit) {
  return (struct store_query){.project = "shop", .suite = suite, .build = build, .test = "", .limit = limit};
}

static struct rows ask(struct store *store, query_fn *fn, const struct store_query *query) {
  struct rows rows;
  struct store_error error;
  if (fn(store, query, &rows, &error) != 0) fail_msg("query: %s", error.text);
  return rows;
}

static void refuse(struct store *store, query_fn *fn, const struct store_query *query, const char *why) {
  struct rows rows;
  struct store_error error;
  assert_int_equal(fn(store, query, &rows, &error), -1);
  if (strstr(error.text, why) == NULL) fail_msg("\"%s\" is not in \"%s\"", why, error.text);
}

static void assert_row(const struct rows *rows, size_t row, const char *want) {
  char text[1024];
  size_t at = 0;
  for (size_t i = 0; i < rows->column_count; i++)
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? "|" : "",
                           rows->cells[row * rows->column_count + i].bytes);
  assert_string_equal(text, want);
}

struct skip_row {
  uint32_t test, attempt, worker, status, flags;
  const char *text;
};

static void put_skips(struct store *store, uint64_t build, const struct skip_row *rows, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct store_result r = fx_result(build, rows[i].test, rows[i].status);
    r.attempt = rows[i].attempt;
    r.worker = rows[i].worker;
    r.flags = rows[i].flags;
    r.text = rows[i].text;
    r.text_bytes = rows[i].text ? strlen(rows[i].text) : 0;
    store_put_result(store, &r);
  }
}

static void add_builds(struct store *store, const char *const *branches, size_t count) {
  for (size_t i = 0; i < count; i++) {
    char ext[8];
    (void)snprintf(ext, sizeof ext, "%zu", i + 1);
    fx_build_on(store, i + 1, ext, "c", branches[i]);
    fx_worker(store, i + 1, 0, "linux");
    fx_worker(store, i + 1, 1, "mac");
    store_listed_free(fx_list(store, i + 1, 6, 2));
  }
}

// The trunk's builds 1 and 2 ran tests 1 to 4, each some of them. In 3, worker 1 skips what ran on worker 0, for two
// reasons; a skip that stands, one that was asked twice, one that ran in a later round, and one whose test itself
// skipped, failed and ran are told apart.
static struct store *open_skips(void) {
  static const char *const branches[] = {"main", "release/1", "main"};
  static const struct skip_row one[] = {{1, 1, 0, FX_PASSED, 1, NULL}, {2, 1, 0, FX_SKIPPED, 1, NULL}};
  static const struct skip_row two[] = {{2, 1, 0, FX_FAILED, 1, NULL}, {5, 1, 0, FX_SKIPPED, 1, "never"}};
  static const struct skip_row three[] = {
      {1, 1, 1, FX_SKIPPED, 0, "needs docker  \r\nand more"},
      {1, 2, 1, FX_SKIPPED, 0, "needs docker"},
      {1, 3, 0, FX_PASSED, 1, NULL},
      {2, 1, 1, FX_SKIPPED, 1, "windows"},
      {3, 1, 1, FX_SKIPPED, 1, "needs docker"},
      {3, 2, 0, FX_FAILED, 1, NULL},
      {4, 1, 1, FX_SKIPPED, 0, NULL},
      {4, 2, 0, FX_XFAILED, 1, NULL},
      {5, 1, 1, FX_SKIPPED, 0, "never"},
      {5, 2, 0, FX_SKIPPED, 1, "never"},
      {6, 1, 0, FX_SKIPPED, 0, "by itself"},
      {6, 2, 0, FX_PASSED, 1, NULL},
  };
  struct store *store = fx_open();
  add_builds(store, branches, COUNT_OF(branches));
  put_skips(store, 1, one, COUNT_OF(one));
  put_skips(store, 2, two, COUNT_OF(two));
  put_skips(store, 3, three, COUNT_OF(three));
  for (uint64_t build = 1; build <= 3; build++)
    fx_wait(store, store_put_state(store, build, FX_COMPLETE, 1000101, ""));
  fx_learned(store);
  return store;
}

static void test_skips(void **state) {
  (void)state;
  struct store *store = open_skips();
  struct store_query query = query_of("unit", 3, 10);
  struct rows rows = ask(store, store_query_skips, &query);
  assert_int_equal(rows_count(&rows), 3);
  assert_row(&rows, 0, "|||1||release/1, main");  // test 2, which ran in build 2 and stays skipped in 3
  assert_row(&rows, 1, "1|mac|runner-3|2|needs docker|");
  assert_row(&rows, 2, "1|mac|runner-3|1||");
  assert_int_equal(rows.next, 0);
  rows_release(&rows);
  query.limit = 1;
  for (query.after = 0; query.after < 3;) {
    rows = ask(store, store_query_skips, &query);
    assert_int_equal(rows_count(&rows), 1);
    assert_string_equal(fx_cell(&rows, 0, "tests"), query.after == 1 ? "2" : "1");
    query.after++;
    assert_int_equal(rows.next, query.after < 3 ? query.after : 0);
    rows_release(&rows);
  }
  query = query_of("unit", 1, 10);
  rows = ask(store, store_query_skips, &query);
  assert_int_equal(rows_count(&rows), 0);  // nothing was before it
  rows_release(&rows);
  query.build = 3;
  rows = ask(store, store_query_workers, &query);
  assert_string_equal(fx_cell(&rows, 0, "ran_elsewhere"), "0");
  assert_string_equal(fx_cell(&rows, 1, "ran_elsewhere"), "3");
  assert_string_equal(fx_cell(&rows, 1, "skip_reason"), "needs docker");
  rows_release(&rows);
  query.branch = "other";
  refuse(store, store_query_skips, &query, "is not of branch \"other\"");
  store_close(store);
}

// Each test for a reason of its own: a worker has LIMIT_SKIP_LACKS of them, the others are told as one.
static void test_many_reasons(void **state) {
  enum { TESTS = 40, REASONS = 16 };
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "one", "c");
  fx_worker(store, 1, 0, "a");
  fx_worker(store, 1, 1, "b");
  store_listed_free(fx_list(store, 1, TESTS, 1));
  for (uint32_t test = 1; test <= TESTS; test++) {
    char reason[300];
    (void)snprintf(reason, sizeof reason, "%0250u", test < 3 ? 1 : test);  // longer than a reason
    reason[0] = (char)('0' + test);
    const struct skip_row rows[] = {{test, 1, 1, FX_SKIPPED, 0, reason}, {test, 2, 0, FX_PASSED, 1, NULL}};
    put_skips(store, 1, rows, COUNT_OF(rows));
  }
  fx_wait(store, store_put_state(store, 1, FX_COMPLETE, 1000101, ""));
  struct store_query query = query_of("unit", 1, 100);
  struct rows rows = ask(store, store_query_skips, &query);
  assert_int_equal(rows_count(&rows), REASONS + 1);
  assert_string_equal(fx_cell(&rows, 0, "reason"), "");
  assert_string_equal(fx_cell(&rows, 0, "tests"), "24");
  assert_int_equal(strlen(fx_cell(&rows, 1, "reason")), 200);
  rows_release(&rows);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_skips, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_many_reasons, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
