// Unit tests of the history's tables: each column of broken, slower, the log of states, one build and its timeline;
// order, and what --since and --branch leave out.
#include "tests/unit/store_fixture.h"

typedef int query_fn(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error);

static struct store_query query_of(uint64_t build, uint32_t limit) {
  return (struct store_query){.project = "shop", .suite = "unit", .build = build, .test = "", .limit = limit};
}

static struct rows ask(struct store *store, query_fn *fn, const struct store_query *query) {
  struct rows rows;
  struct store_error error;
  if (fn(store, query, &rows, &error) != 0) fail_msg("query: %s", error.text);
  return rows;
}

static size_t count(struct store *store, query_fn *fn, const struct store_query *query) {
  struct rows rows = ask(store, fn, query);
  size_t n = rows_count(&rows);
  rows_release(&rows);
  return n;
}

static void assert_row(const struct rows *rows, size_t row, const char *want) {
  char text[1024];
  size_t at = 0;
  for (size_t i = 0; i < rows->column_count; i++)
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? "|" : "",
                           rows->cells[row * rows->column_count + i].bytes);
  assert_string_equal(text, want);
}

// Tests 1 and 2 of four on two workers; statuses of their only attempts.
static void build_on(struct store *store, uint64_t build, const char *commit, const char *branch, uint32_t one,
                     uint32_t two) {
  char ext[16];
  (void)snprintf(ext, sizeof ext, "b%ju", (uintmax_t)build);
  fx_build_on(store, build, ext, commit, branch);
  fx_worker(store, build, 0, "0");
  struct store_listed *listed = fx_list(store, build, 4, 2);
  fx_put(store, build, listed->test[0], one, 1, true);
  fx_put(store, build, listed->test[1], two, 1, true);
  store_listed_free(listed);
  fx_end(store, build);
  fx_learned(store);
}

static void build_of(struct store *store, uint64_t build, const char *commit, uint32_t one, uint32_t two) {
  build_on(store, build, commit, "main", one, two);
}

static void test_broken(void **state) {
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, "c1", FX_PASSED, FX_PASSED);
  build_of(store, 2, "c2", FX_FAILED, FX_PASSED);
  build_of(store, 3, "c3", FX_FAILED, FX_FAILED);
  build_of(store, 4, "c4", FX_FAILED, FX_FAILED);
  struct store_query query = query_of(0, 10);
  struct rows rows = ask(store, store_query_broken, &query);
  assert_int_equal(rows_count(&rows), 2);  // the longest first
  assert_row(&rows, 0, "t/test_0.py::test_0|t/test_0.py|5000003|c1|c2|b2|main|3|3|1|3|5000004");
  assert_row(&rows, 1, "t/test_0.py::test_1|t/test_0.py|5000004|c2|c3|b3|main|2|2|1|2|5000004");
  rows_release(&rows);
  query.branch = "main";
  query.since_ms = 5000004;
  assert_int_equal(count(store, store_query_broken, &query), 2);
  query.since_ms = 5000005;
  assert_int_equal(count(store, store_query_broken, &query), 0);
  query = query_of(0, 10);
  query.branch = "other";
  assert_int_equal(count(store, store_query_broken, &query), 0);
  assert_int_equal(count(store, store_query_flaky, &query), 0);
  query = query_of(0, 1);
  query.after = 1;
  rows = ask(store, store_query_broken, &query);
  assert_string_equal(fx_cell(&rows, 0, "test"), "t/test_0.py::test_1");
  rows_release(&rows);
  query = query_of(0, 10);
  query.test = "t/test_0.py::test_0";
  rows = ask(store, store_query_log, &query);
  assert_int_equal(rows_count(&rows), 1);
  assert_row(&rows, 0, "5000003|t/test_0.py::test_0|new|broken||2 attempts failed at 2 commits without a pass");
  rows_release(&rows);
  query.test = "";
  assert_int_equal(count(store, store_query_log, &query), 2);
  store_close(store);
}

static size_t on_branch(struct store *store, query_fn *fn, const char *branch) {
  struct store_query query = query_of(0, 10);
  query.branch = branch;
  return count(store, fn, &query);
}

// A test is broken on each branch on which it failed and did not pass since, wherever that began.
static void test_broken_by_branch(void **state) {
  (void)state;
  struct store *store = fx_open();
  build_on(store, 1, "c1", "main", FX_PASSED, FX_PASSED);
  build_on(store, 2, "c2", "release", FX_FAILED, FX_PASSED);
  build_on(store, 3, "c3", "main", FX_FAILED, FX_PASSED);
  assert_int_equal(on_branch(store, store_query_broken, "release"), 1);
  assert_int_equal(on_branch(store, store_query_broken, "main"), 1);
  assert_int_equal(on_branch(store, store_query_broken, "other"), 0);
  build_on(store, 4, "c4", "release", FX_PASSED, FX_PASSED);
  assert_int_equal(on_branch(store, store_query_broken, "release"), 0);
  assert_int_equal(on_branch(store, store_query_broken, "main"), 1);
  build_on(store, 5, "c5", "main", FX_PASSED, FX_PASSED);
  assert_int_equal(on_branch(store, store_query_broken, ""), 0);
  store_close(store);
}

// The same node, commit and test, three times without a retry: no other worker has tried it.
static void test_one_node_is_one_worker(void **state) {
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, "c1", FX_PASSED, FX_PASSED);
  for (uint64_t build = 2; build <= 4; build++)
    build_of(store, build, "c2", FX_FAILED, FX_PASSED);
  assert_int_equal(on_branch(store, store_query_broken, ""), 0);
  assert_int_equal(fx_number("SELECT streak_workers FROM flake_stat WHERE streak_attempts=3"), 1);
  store_close(store);
}

// What a test is taken for stands there whether or not that ever changed, or its runs are asked for.
static void test_state_of_a_test(void **state) {
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, "c1", FX_PASSED, FX_PASSED);
  build_of(store, 2, "c2", FX_FAILED, FX_PASSED);
  build_of(store, 3, "c3", FX_FAILED, FX_PASSED);
  struct store_query query = query_of(0, 10);
  query.branch = "none";
  query.since_ms = UINT64_C(9000000000000);
  query.test = "t/test_0.py::test_0";
  struct rows rows = ask(store, store_query_state_of, &query);
  assert_int_equal(rows_count(&rows), 1);
  assert_string_equal(fx_cell(&rows, 0, "state"), "broken");
  assert_string_equal(fx_cell(&rows, 0, "runs"), "3");
  assert_string_equal(fx_cell(&rows, 0, "last_failure"), "5000003");
  rows_release(&rows);
  query.test = "t/test_0.py::test_1";
  rows = ask(store, store_query_state_of, &query);
  assert_row(&rows, 0, "t/test_0.py::test_1|t/test_0.py|unit|new|5000001|868|0|2037|0|3|3||||0|");
  rows_release(&rows);
  query.test = "t/test_1.py::test_3";  // known, and never run
  rows = ask(store, store_query_state_of, &query);
  assert_string_equal(fx_cell(&rows, 0, "state"), "new");
  assert_string_equal(fx_cell(&rows, 0, "since"), "");
  rows_release(&rows);
  store_close(store);
}

static void test_flaky_by_branch(void **state) {
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, "c1", FX_FAILED, FX_PASSED);
  build_of(store, 2, "c1", FX_PASSED, FX_PASSED);
  struct store_query query = query_of(0, 10);
  query.branch = "main";
  assert_int_equal(count(store, store_query_flaky, &query), 1);
  query.branch = "other";
  assert_int_equal(count(store, store_query_flaky, &query), 0);
  query.branch = NULL;
  query.since_ms = 5000002;
  struct rows rows = ask(store, store_query_flaky, &query);
  assert_int_equal(rows_count(&rows), 1);
  assert_string_equal(fx_cell(&rows, 0, "hits_7d"), "0");  // it was in 1970
  rows_release(&rows);
  query.since_ms = 5000003;
  assert_int_equal(count(store, store_query_flaky, &query), 0);
  store_close(store);
}

static void test_builds_filtered(void **state) {
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, "c1", FX_PASSED, FX_PASSED);
  build_of(store, 2, "c2", FX_PASSED, FX_PASSED);
  struct store_query query = query_of(0, 10);
  query.since_ms = 1000002;
  assert_int_equal(count(store, store_query_builds, &query), 1);
  query = query_of(0, 10);
  query.branch = "main";
  assert_int_equal(count(store, store_query_builds, &query), 2);
  query.branch = "mai";
  assert_int_equal(count(store, store_query_builds, &query), 0);
  store_close(store);
}

// One test of 1 s that takes 3 s from build 6 on; the other becomes slower by less, in total. On the branch the first
// is slow as on main, the second is not.
static void test_slower(void **state) {
  (void)state;
  struct store *store = fx_open();
  for (uint64_t build = 1; build <= 9; build++) {
    char ext[16];
    (void)snprintf(ext, sizeof ext, "b%ju", (uintmax_t)build);
    fx_build_on(store, build, ext, ext, build == 7 ? "topic" : build == 9 ? "late" : "main");
    struct store_listed *listed = fx_list(store, build, 2, 2);
    for (uint32_t i = 0; i < 2; i++) {
      struct store_result r = fx_result(build, listed->test[i], FX_PASSED);
      r.setup_us = r.teardown_us = 0;
      r.worker = i;  // each alone, so that neither makes the other's worker slow
      r.call_us = build < 6 || (build == 9 && i == 1) ? 1000000 : i == 0 ? 3000000 : 2000000;
      store_put_result(store, &r);
    }
    store_listed_free(listed);
    fx_end(store, build);
    fx_learned(store);
  }
  struct store_query query = query_of(0, 10);
  struct rows rows = ask(store, store_query_slower, &query);
  assert_int_equal(rows_count(&rows), 2);
  assert_row(&rows, 0, "t/test_0.py::test_0|t/test_0.py|1000000|3000000|3000000|2571428|b5|b6|b6|main|5000008");
  assert_string_equal(fx_cell(&rows, 1, "after"), "2000000");
  rows_release(&rows);
  query.since_ms = 5000009;
  assert_int_equal(count(store, store_query_slower, &query), 0);
  assert_int_equal(on_branch(store, store_query_slower, "main"), 2);
  assert_int_equal(on_branch(store, store_query_slower, "topic"), 2);
  assert_int_equal(on_branch(store, store_query_slower, "late"), 1);
  assert_int_equal(on_branch(store, store_query_slower, "other"), 0);
  store_close(store);
}

// Two workers, 0 from the start, 1 from 4 s on; work of 6 s and 2 s; the build takes 8 s.
static void test_build_and_timeline(void **state) {
  static const struct {
    uint32_t worker, status;
    uint64_t start_ms, ms;
  } runs[] = {{0, FX_PASSED, 0, 4000}, {0, FX_PASSED, 4000, 2000}, {1, FX_FAILED, 4000, 2000}};
  const uint64_t from_ms = 1000001;  // fx_build of build 1
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "b1", "c1");
  for (uint32_t w = 0; w < 2; w++) {
    struct store_worker worker = {.build = 1, .worker = w, .node = w ? "1" : "0", .attempt = "", .host = "h"};
    worker.joined_ms = from_ms + w * 4000;
    store_put_worker(store, &worker);
  }
  struct store_listed *listed = fx_list(store, 1, 4, 2);
  for (size_t i = 0; i < COUNT_OF(runs); i++) {
    struct store_result r = fx_result(1, listed->test[i], runs[i].status);
    r.worker = runs[i].worker;
    r.start_ms = from_ms + runs[i].start_ms;
    r.setup_us = r.teardown_us = 0;
    r.call_us = (uint32_t)runs[i].ms * 1000;
    store_put_result(store, &r);
  }
  store_put_left(store, 1, 0, from_ms + 8000, NULL, 0, 0);
  store_put_left(store, 1, 1, from_ms + 8000, NULL, 0, 0);
  fx_wait(store, store_put_state(store, 1, FX_COMPLETE, from_ms + 8000, NULL));
  fx_learned(store);
  struct store_query query = query_of(1, 10);
  struct rows rows = ask(store, store_query_build, &query);
  assert_int_equal(rows_count(&rows), 1);
  assert_string_equal(fx_cell(&rows, 0, "wall"), "8000000");
  assert_string_equal(fx_cell(&rows, 0, "actual"), "8000000");    // its former name
  assert_string_equal(fx_cell(&rows, 0, "makespan"), "6000000");  // the last test's end
  assert_string_equal(fx_cell(&rows, 0, "test_time"), "8000000");
  assert_string_equal(fx_cell(&rows, 0, "predicted"), "");           // nothing was known
  assert_string_equal(fx_cell(&rows, 0, "lower_bound"), "6000000");  // 4 s alone, then 4 s by two
  assert_string_equal(fx_cell(&rows, 0, "idle"), "333333");          // 12 s there, 8 s busy
  assert_string_equal(fx_cell(&rows, 0, "longest"), "4000000");
  assert_string_equal(fx_cell(&rows, 0, "longest_test"), "t/test_0.py::test_0");
  assert_string_equal(fx_cell(&rows, 0, "setups"), "2");
  assert_string_equal(fx_cell(&rows, 0, "teaches"), "yes");
  rows_release(&rows);
  rows = ask(store, store_query_timeline, &query);
  assert_int_equal(rows_count(&rows), 2);
  const char *bar = fx_cell(&rows, 0, "bar");
  assert_int_equal(strlen(bar), STORE_BAR);
  assert_int_equal(strspn(bar, "8"), 45);  // six of eight seconds, 7.5 parts each
  assert_int_equal(strspn(bar + 45, "0"), 15);
  bar = fx_cell(&rows, 1, "bar");
  assert_int_equal(strspn(bar, "0"), 29);
  assert_int_equal(strcspn(bar, "x"), 44);
  rows_release(&rows);
  query.since_ms = from_ms + 1;  // the second alone
  query.limit = 1;
  rows = ask(store, store_query_timeline, &query);
  assert_int_equal(rows_count(&rows), 1);
  assert_string_equal(fx_cell(&rows, 0, "worker"), "1");
  assert_int_equal(strcspn(fx_cell(&rows, 0, "bar"), "x"), 44);
  rows_release(&rows);
  query.build = 9;
  rows = ask(store, store_query_build, &query);
  assert_int_equal(rows_count(&rows), 0);
  rows_release(&rows);
  store_listed_free(listed);
  store_close(store);
}

static void span_worker(struct store *store, uint32_t number, uint64_t joined_ms) {
  struct store_worker worker = {.build = 1, .worker = number, .node = "0", .attempt = "", .host = "h"};
  worker.joined_ms = joined_ms;
  store_put_worker(store, &worker);
}

static void span_result(struct store *store, uint32_t worker, uint32_t test, uint32_t attempt, uint64_t start_ms,
                        uint32_t ms) {
  struct store_result r = fx_result(1, test, attempt == 1 ? FX_FAILED : FX_PASSED);
  r.worker = worker;
  r.attempt = r.round = attempt;
  r.start_ms = start_ms;
  r.setup_us = r.teardown_us = 0;
  r.call_us = ms * 1000;
  store_put_result(store, &r);
}

static void assert_spans(struct store *store, const char *wall, const char *makespan, const char *test_time,
                         const char *bound, const char *idle) {
  struct store_query query = query_of(1, 10);
  struct rows rows = ask(store, store_query_build, &query);
  assert_int_equal(rows_count(&rows), 1);
  assert_string_equal(fx_cell(&rows, 0, "wall"), wall);
  assert_string_equal(fx_cell(&rows, 0, "makespan"), makespan);
  assert_string_equal(fx_cell(&rows, 0, "test_time"), test_time);
  assert_string_equal(fx_cell(&rows, 0, "lower_bound"), bound);
  assert_string_equal(fx_cell(&rows, 0, "idle"), idle);
  rows_release(&rows);
  rows = ask(store, store_query_builds, &query);
  assert_string_equal(fx_cell(&rows, 0, "wall"), wall);
  rows_release(&rows);
  uint64_t us;
  assert_int_equal(store_wall_us(store, 1, &us), 0);
  assert_int_equal(us, strtoull(wall, NULL, 10));
}

// A round of 4 s, three hours later one of 3 s: neither span has the hours in it, nor has a bar.
static void test_spans_of_a_later_round(void **state) {
  const uint64_t from_ms = 1000001, later_ms = from_ms + 3 * 3600 * 1000;
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "b1", "c1");
  span_worker(store, 0, from_ms);
  struct store_listed *listed = fx_list(store, 1, 2, 1);
  span_result(store, 0, listed->test[0], 1, from_ms + 1000, 2000);
  store_put_left(store, 1, 0, from_ms + 4000, NULL, 0, 0);
  store_put_state(store, 1, FX_COMPLETE, from_ms + 4000, NULL);
  span_worker(store, 1, later_ms);
  store_put_round(store, 1, 2, listed->test, 1, later_ms);
  span_result(store, 1, listed->test[0], 2, later_ms + 1000, 1000);
  store_put_left(store, 1, 1, later_ms + 3000, NULL, 0, 0);
  fx_wait(store, store_put_state(store, 1, FX_COMPLETE, later_ms + 3000, NULL));
  // From the test's start, 3 s to the end of the round and 2 s of the next; of 7 s there, 3 s busy.
  assert_spans(store, "7000000", "5000000", "3000000", "3000000", "571428");
  struct store_query query = query_of(1, 10);
  struct rows rows = ask(store, store_query_timeline, &query);
  assert_int_equal(strcspn(fx_cell(&rows, 0, "bar"), "x"), 25);  // 3 of 7 s
  assert_int_equal(strcspn(fx_cell(&rows, 1, "bar"), "12345678"), 42);
  rows_release(&rows);
  store_listed_free(listed);
  store_close(store);
}

// A worker ran without the server and brings its results an hour later, to a build of 2 s.
static void test_spans_of_brought_results(void **state) {
  const uint64_t from_ms = 10000001, ran_ms = from_ms - 3600 * 1000;
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "b1", "c1");
  struct store_worker worker = {
      .build = 1, .node = "0", .attempt = "", .host = "h", .joined_ms = from_ms, .brings = true};
  store_put_worker(store, &worker);
  struct store_listed *listed = fx_list(store, 1, 2, 1);
  span_result(store, 0, listed->test[0], 1, ran_ms, 3000);
  span_result(store, 0, listed->test[1], 1, ran_ms + 3000, 1000);
  store_put_left(store, 1, 0, from_ms + 2000, NULL, 0, 0);
  fx_wait(store, store_put_state(store, 1, FX_COMPLETE, from_ms + 2000, NULL));
  struct store_query query = query_of(1, 10);
  struct rows rows = ask(store, store_query_build, &query);
  assert_string_equal(fx_cell(&rows, 0, "makespan"), "4000000");
  assert_string_equal(fx_cell(&rows, 0, "lower_bound"), "4000000");
  assert_string_equal(fx_cell(&rows, 0, "test_time"), "4000000");
  rows_release(&rows);
  store_listed_free(listed);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_broken, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_broken_by_branch, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_one_node_is_one_worker, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_state_of_a_test, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_flaky_by_branch, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_builds_filtered, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_slower, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_build_and_timeline, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_spans_of_a_later_round, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_spans_of_brought_results, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
