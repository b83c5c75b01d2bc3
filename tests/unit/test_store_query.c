// Unit tests of the store's tables: each column of each query, order, limits, pages, unknown names.
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

// Build 1: four tests of two files on two workers; test 3 never ran. Build 2 runs.
static struct store *open_filled(void) {
  static const struct {
    uint32_t test, attempt, worker, status, flags, call_us;
    const char *text;
  } rows[] = {
      {1, 1, 0, FX_PASSED, STORE_SETTLES | STORE_FIRST, 3000, NULL},
      {2, 1, 0, FX_FAILED, 0, 1000, "first"},
      {2, 2, 1, FX_PASSED, STORE_SETTLES | STORE_FIRST, 2000, NULL},
      {4, 1, 1, FX_FAILED, STORE_SETTLES, 9000, "assert \xff 0"},
  };
  struct store *store = fx_open();
  fx_build(store, 1, "one", "c0ffee");
  fx_worker(store, 1, 0, "1/2");
  fx_worker(store, 1, 1, "2/2");
  store_listed_free(fx_list(store, 1, 4, 2));
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    struct store_result r = fx_result(1, rows[i].test, rows[i].status);
    r.attempt = rows[i].attempt;
    r.worker = rows[i].worker;
    r.flags = rows[i].flags;
    r.start_ms = 10 + i;
    r.call_us = rows[i].call_us;
    r.text = rows[i].text;
    r.text_bytes = rows[i].text ? strlen(rows[i].text) : 0;
    store_put_result(store, &r);
  }
  store_put_left(store, 1, 0, 2000500, NULL, 0, 0);
  store_put_state(store, 1, 4, 1000101, "no worker came back");
  fx_wait(store, fx_build(store, 2, "two", ""));
  fx_learned(store);
  return store;
}

// Build 2, whose wall time is that until now.
static void assert_running(const struct rows *rows, size_t row) {
  static const char *const cells[][2] = {{"build", "two"},   {"suite", "unit"},       {"commit", ""},
                                         {"branch", "main"}, {"state", "collecting"}, {"started", "1000002"},
                                         {"duration", ""},   {"tests", "0"},          {"passed", "0"},
                                         {"failed", "0"},    {"workers", "0"},        {"text", ""}};
  assert_int_equal(rows->column_count, sizeof cells / sizeof *cells + 1);
  for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
    assert_string_equal(fx_cell(rows, row, cells[i][0]), cells[i][1]);
  assert_true(strtoull(fx_cell(rows, row, "wall"), NULL, 10) > 0);
}

static void test_builds(void **state) {
  (void)state;
  struct store *store = open_filled();
  struct store_query query = query_of("unit", 0, 10);
  struct rows rows = ask(store, store_query_builds, &query);
  assert_int_equal(rows_count(&rows), 2);
  assert_int_equal(rows.next, 0);
  assert_running(&rows, 0);
  assert_row(&rows, 1, "one|unit|c0ffee|main|incomplete|1000001|100000|100000|4|2|1|2|no worker came back");
  rows_release(&rows);
  query.limit = 1;
  rows = ask(store, store_query_builds, &query);
  assert_int_equal(rows_count(&rows), 1);
  assert_string_equal(fx_cell(&rows, 0, "build"), "two");
  rows_release(&rows);
  query.suite = "none";
  refuse(store, store_query_builds, &query, "suite none");
  query.suite = "";
  query.project = "nobody";
  refuse(store, store_query_builds, &query, "nobody");
  store_close(store);
}

// What the branch's newest build ran, found from the build when it is small, else along all tests.
static void test_slow_of_a_branch(void **state) {
  (void)state;
  store_close(open_filled());
  fx_change(
      "DELETE FROM build WHERE id=2; INSERT INTO test VALUES(99, 1, CAST('other' AS BLOB), NULL, 1, 1);"
      "INSERT INTO dur_stat(test, suite, n, ring, setup_us, last_us, est_us) VALUES(99, 1, 1, x'', 0, 9, 9999)");
  for (int big = 0; big < 2; big++) {
    const char *const suites[] = {"unit", ""};
    if (big) fx_change("UPDATE build SET tests=5001");
    struct store *store = fx_open();
    for (size_t i = 0; i < COUNT_OF(suites); i++) {
      struct store_query query = query_of(suites[i], 0, 10);
      struct rows rows = ask(store, store_query_slow, &query);
      assert_int_equal(rows_count(&rows), 3);
      rows_release(&rows);
      query.branch = "main";
      rows = ask(store, store_query_slow, &query);
      assert_int_equal(rows_count(&rows), 2);
      assert_string_equal(fx_cell(&rows, 0, "test"), "t/test_0.py::test_0");
      rows_release(&rows);
      query.since_ms = UINT64_C(1) << 60;
      rows = ask(store, store_query_slow, &query);
      assert_int_equal(rows_count(&rows), 0);
      rows_release(&rows);
      query.since_ms = 0;
      query.branch = "none";
      rows = ask(store, store_query_slow, &query);
      assert_int_equal(rows_count(&rows), 0);
      rows_release(&rows);
    }
    store_close(store);
  }
}

static void test_all_suites_of_a_project(void **state) {
  const struct store_build other = {
      .build = 3, .project = "shop", .suite = "integration", .ext = "x", .commit = "", .branch = "", .started_ms = 1};
  const struct store_build foreign = {
      .build = 4, .project = "bank", .suite = "unit", .ext = "y", .commit = "", .branch = "", .started_ms = 1};
  (void)state;
  struct store *store = open_filled();
  store_put_build(store, &other);
  fx_wait(store, store_put_build(store, &foreign));
  struct store_query query = query_of("", 0, 10);
  struct rows rows = ask(store, store_query_builds, &query);
  assert_int_equal(rows_count(&rows), 3);
  assert_string_equal(fx_cell(&rows, 0, "suite"), "integration");
  rows_release(&rows);
  rows = ask(store, store_query_slow, &query);
  assert_int_equal(rows_count(&rows), 2);
  rows_release(&rows);
  rows = ask(store, store_query_flaky, &query);
  assert_int_equal(rows_count(&rows), 1);
  rows_release(&rows);
  query.test = "t/test_0.py::test_1";
  rows = ask(store, store_query_test, &query);
  assert_int_equal(rows_count(&rows), 2);
  rows_release(&rows);
  store_close(store);
}

static void test_workers(void **state) {
  (void)state;
  struct store *store = open_filled();
  struct store_query query = query_of("unit", 1, 10);
  struct rows rows = ask(store, store_query_workers, &query);
  assert_int_equal(rows_count(&rows), 2);
  assert_row(&rows, 0, "0|1/2|runner-3|2000000|2000500|2|1|4400|||0|");
  assert_row(&rows, 1, "1|2/2|runner-3|2000001||2|1|11400|||0|");
  rows_release(&rows);
  query.branch = "other";
  refuse(store, store_query_workers, &query, "is not of branch \"other\"");
  refuse(store, store_query_build, &query, "is not of branch \"other\"");
  query.branch = "";
  query.since_ms = UINT64_C(1) << 60;
  rows = ask(store, store_query_workers, &query);
  assert_int_equal(rows_count(&rows), 0);
  rows_release(&rows);
  query.build = 9;
  refuse(store, store_query_workers, &query, "no such build");
  store_close(store);
}

static void test_slow(void **state) {
  (void)state;
  struct store *store = open_filled();
  struct store_query query = query_of("unit", 0, 10);
  struct rows rows = ask(store, store_query_slow, &query);
  assert_int_equal(rows_count(&rows), 2);
  assert_row(&rows, 0,
             "t/test_0.py::test_0|t/test_0.py|3100|3100|3100|0|1|142|442|596153|1");  // what a process costs at its
                                                                                      // start is not its own
  assert_row(&rows, 1, "t/test_0.py::test_1|t/test_0.py|2100|2100|2100|0|1|142|300|403846|2");
  rows_release(&rows);
  query.limit = 1;
  query.after = 1;
  rows = ask(store, store_query_slow, &query);
  assert_int_equal(rows_count(&rows), 1);
  assert_string_equal(fx_cell(&rows, 0, "test"), "t/test_0.py::test_1");
  rows_release(&rows);
  store_close(store);
}

static void test_flaky(void **state) {
  (void)state;
  struct store *store = open_filled();
  fx_build(store, 5, "five", "");
  store_listed_free(fx_list(store, 5, 4, 2));
  fx_put(store, 5, 2, FX_PASSED, 1, true);
  fx_end(store, 5);
  fx_learned(store);
  struct store_query query = query_of("unit", 0, 10);
  struct rows rows = ask(store, store_query_flaky, &query);
  assert_int_equal(rows_count(&rows), 1);
  assert_row(&rows, 0, "t/test_0.py::test_1|t/test_0.py|suspect|46222|2591|134305|1|3|2|1||1000101|0|3400|");
  rows_release(&rows);
  store_close(store);
}

static void test_test(void **state) {
  (void)state;
  struct store *store = open_filled();
  fx_build(store, 7, "seven", "beef");
  fx_wait(store, fx_put(store, 7, 2, 8, 1, true));
  struct store_query query = query_of("unit", 0, 10);
  query.test = "t/test_0.py::test_1";
  struct rows rows = ask(store, store_query_test, &query);
  assert_int_equal(rows_count(&rows), 3);
  assert_row(&rows, 0, "seven|beef|main|3000000|0||1|timed_out|100|800|100||unit");  // a worker that nobody recorded
  assert_row(&rows, 1, "one|c0ffee|main|12|1|2/2|2|passed|100|2000|100||unit");
  assert_row(&rows, 2, "one|c0ffee|main|11|0|1/2|1|failed|100|1000|100|first|unit");
  rows_release(&rows);
  query.limit = 2;
  rows = ask(store, store_query_test, &query);
  assert_int_equal(rows_count(&rows), 2);
  rows_release(&rows);
  query.test = "t/test_9.py::test_1' OR ''='";
  refuse(store, store_query_test, &query, "no such test");
  store_close(store);
}

static void test_report(void **state) {
  (void)state;
  struct store *store = open_filled();
  struct store_query query = query_of("unit", 1, 100);
  struct rows rows = ask(store, store_query_report, &query);
  assert_int_equal(rows_count(&rows), 5);
  assert_int_equal(rows.next, 0);
  assert_row(&rows, 0, "0|t/test_0.py::test_0|t/test_0.py|1|1|9|1|0|1/2|runner-3|10|100|3000|100|");
  assert_row(&rows, 1, "1|t/test_0.py::test_1|t/test_0.py|1|2|0|1|0|1/2|runner-3|11|100|1000|100|first");
  assert_row(&rows, 2, "1|t/test_0.py::test_1|t/test_0.py|2|1|9|1|1|2/2|runner-3|12|100|2000|100|");
  assert_row(&rows, 3, "2|t/test_1.py::test_2|t/test_1.py|0|||||||||||");
  assert_row(&rows, 4, "3|t/test_1.py::test_3|t/test_1.py|1|2|1|1|1|2/2|runner-3|13|100|9000|100|assert \xff 0");
  rows_release(&rows);
  query.limit = 2;  // page by page, the attempts of a test together
  rows = ask(store, store_query_report, &query);
  assert_int_equal(rows_count(&rows), 3);
  assert_int_equal(rows.next, 2);
  query.after = rows.next;
  rows_release(&rows);
  rows = ask(store, store_query_report, &query);
  assert_int_equal(rows_count(&rows), 2);
  assert_int_equal(rows.next, 0);
  assert_string_equal(fx_cell(&rows, 0, "position"), "2");
  rows_release(&rows);
  query.after = 999;
  refuse(store, store_query_report, &query, "999");
  query.after = 0;
  query.build = 2;  // it has no list yet
  rows = ask(store, store_query_report, &query);
  assert_int_equal(rows_count(&rows), 0);
  rows_release(&rows);
  query.build = 77;
  refuse(store, store_query_report, &query, "no such build");
  store_close(store);
}

// Texts of 64 KiB: pages stay below a frame, and nothing is missing when they are put together.
static void test_report_of_big_texts(void **state) {
  enum { TESTS = 40, BIG = 64 * 1024, FRAME = 1 << 20 };
  static char text[BIG];
  (void)state;
  memset(text, 'x', sizeof text);
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  struct store_listed *listed = fx_list(store, 1, TESTS, 10);
  uint64_t ticket = 0;
  for (uint32_t i = 0; i < TESTS; i++)
    for (uint32_t attempt = 1; attempt <= (i == 20 ? 30 : 2); attempt++) {  // one test alone is more than a page
      struct store_result r = fx_result(1, listed->test[i], FX_FAILED);
      r.attempt = attempt;
      r.flags = attempt == 30 || (i != 20 && attempt == 2) ? STORE_SETTLES : 0;
      r.text = text;
      r.text_bytes = sizeof text;
      ticket = store_put_result(store, &r);
    }
  fx_wait(store, ticket);
  struct store_query query = query_of("unit", 1, 1000);
  size_t whole = 0, tests = 0, pages = 0;
  bool settled = false;
  do {
    struct rows rows = ask(store, store_query_report, &query);
    size_t bytes = 0;
    for (size_t i = 0; i < rows.cell_count; i++)
      bytes += rows.cells[i].n + 4;
    assert_true(bytes < FRAME);
    assert_true(rows_count(&rows) > 0);
    for (size_t i = 0; i < rows_count(&rows); i++) {
      bool monster = strcmp(fx_cell(&rows, i, "position"), "20") == 0;
      whole += !monster && strlen(fx_cell(&rows, i, "text")) == BIG;
      tests += strcmp(fx_cell(&rows, i, "attempt"), "1") == 0;
      settled |= monster && strcmp(fx_cell(&rows, i, "flags"), "1") == 0;
    }
    query.after = rows.next;
    pages++;
    rows_release(&rows);
  } while (query.after != 0);
  assert_int_equal(tests, TESTS);
  assert_int_equal(whole, 2 * (TESTS - 1));
  assert_true(settled);  // the verdict of the one that did not fit is there all the same
  assert_true(pages >= 6);
  store_listed_free(listed);
  store_close(store);
}

// More rows than a frame has cells: the answer ends early and says where to go on.
static void test_report_of_many_tests(void **state) {
  enum { TESTS = 10000 };
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  struct store_listed *listed = fx_list(store, 1, TESTS, 10);
  uint64_t ticket = 0;
  for (uint32_t i = 0; i < TESTS; i++)
    ticket = fx_put(store, 1, listed->test[i], FX_PASSED, 1, true);
  fx_wait(store, ticket);
  fx_end(store, 1);
  fx_learned(store);
  query_fn *const queries[] = {store_query_report, store_query_slow};
  for (size_t i = 0; i < COUNT_OF(queries); i++) {
    struct store_query query = query_of("unit", 1, 100000);
    size_t tests = 0, pages = 0;
    do {
      struct rows rows = ask(store, queries[i], &query);
      assert_true(rows.cell_count <= 50000);
      tests += rows_count(&rows);
      query.after = rows.next;
      pages++;
      rows_release(&rows);
    } while (query.after != 0);
    assert_int_equal(tests, TESTS);
    assert_true(pages > 1);
  }
  store_listed_free(listed);
  store_close(store);
}

// Two people read reports of two lists at the same time, a page each in turn: both get theirs whole.
static void test_reports_in_turn(void **state) {
  enum { PAGE = 7 };
  static const uint32_t count[] = {40, 25};
  (void)state;
  struct store *store = fx_open();
  uint64_t after[2] = {0}, tests[2] = {0};
  for (uint64_t i = 0; i < 2; i++) {
    fx_build(store, i + 1, i ? "b" : "a", "");
    store_listed_free(fx_list(store, i + 1, count[i], 10));
  }
  for (uint32_t turn = 0; turn == 0 || after[0] || after[1]; turn++) {
    for (uint64_t i = 0; i < 2; i++) {
      if (turn > 0 && after[i] == 0) continue;
      struct store_query query = query_of("unit", i + 1, PAGE);
      query.after = after[i];
      struct rows rows = ask(store, store_query_report, &query);
      for (size_t row = 0; row < rows_count(&rows); row++, tests[i]++)
        assert_int_equal(strtoull(fx_cell(&rows, row, "position"), NULL, 10), tests[i]);
      after[i] = rows.next;
      rows_release(&rows);
    }
  }
  assert_int_equal(tests[0], count[0]);
  assert_int_equal(tests[1], count[1]);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_builds, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_all_suites_of_a_project, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_workers, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_slow_of_a_branch, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_slow, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_flaky, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_test, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_report, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_report_of_big_texts, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_report_of_many_tests, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_reports_in_turn, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
