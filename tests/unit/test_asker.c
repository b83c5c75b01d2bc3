// Unit tests of the asker and of views: what a job reads, what breaks it off, and how it comes back, on a real database
// that is written to meanwhile.
#include "server/asker.h"

#include "server/store_impl.h"
#include "tests/unit/store_fixture.h"

enum { TESTS = 4000 };

struct ask {
  struct asker_job job;
  struct store *seen;  // the view that it was given
  int opened, rc;
  bool over;
  size_t rows;
};

static const struct store_query query = {
    .project = "shop", .suite = "unit", .build = 1, .test = "", .branch = "", .limit = TESTS};

static struct store *open_filled(void) {
  struct store *store = fx_open();
  fx_build(store, 1, "one", "c0ffee");
  fx_worker(store, 1, 0, "1");
  struct store_listed *listed = fx_list(store, 1, TESTS, 100);
  struct store_result *results = calloc(TESTS, sizeof *results);
  assert_non_null(results);
  for (uint32_t i = 0; i < TESTS; i++)
    results[i] = fx_result(1, listed->test[i], FX_PASSED);
  fx_wait(store, store_put_results(store, results, TESTS));
  free(results);
  store_listed_free(listed);
  return store;
}

static int report(struct store *store, size_t *count) {
  struct rows rows;
  struct store_error error;
  int rc = store_query_report(store, &query, &rows, &error);
  if (rc != 0) return rc;
  *count = rows_count(&rows);
  rows_release(&rows);
  return 0;
}

static void work_once(struct asker_job *job, struct store *view) {
  struct ask *ask = (struct ask *)job;
  struct store_error error;
  ask->seen = view;
  ask->opened = store_view_open(view, &error);
  ask->rc = report(view, &ask->rows);
  ask->over = store_view_over(view);
}

// Reads until it is told to stop.
static void work_on(struct asker_job *job, struct store *view) {
  struct ask *ask = (struct ask *)job;
  do
    work_once(job, view);
  while (!ask->over);
}

static struct ask *take(struct asker *asker, struct store *store) {
  struct asker_job *job;
  while (!(job = asker_take(asker)))
    fx_wake(store);
  assert_false(asker_busy(asker));
  return (struct ask *)job;
}

static void test_a_job_reads_what_is_stored(void **state) {
  (void)state;
  size_t here = 0;
  struct store *store = open_filled();
  struct asker *asker = asker_new(store);
  struct ask one = {.job.work = work_once}, two = one;
  assert_int_equal(report(store, &here), 0);
  assert_null(asker_take(asker));
  asker_begin(asker, &one.job);
  assert_true(asker_busy(asker));
  assert_ptr_equal(take(asker, store), &one);
  assert_true(one.opened == 0 && one.rc == 0 && !one.over && one.rows == here && here > 0);
  asker_begin(asker, &two.job);
  assert_ptr_equal(take(asker, store), &two);
  assert_true(two.rows == here && two.seen == one.seen && two.seen != store);
  assert_null(asker_take(asker));
  assert_null(asker_free(asker));
  store_close(store);
}

static void test_a_job_is_broken_off(void **state) {
  (void)state;
  struct store *store = open_filled();
  struct asker *asker = asker_new(store);
  struct ask endless = {.job.work = work_on}, next = {.job.work = work_once};
  asker_stop(asker);  // nothing to stop
  asker_begin(asker, &endless.job);
  asker_stop(asker);
  assert_ptr_equal(take(asker, store), &endless);
  assert_true(endless.over);
  asker_begin(asker, &next.job);  // what comes after it is not stopped
  assert_ptr_equal(take(asker, store), &next);
  assert_true(next.rc == 0 && !next.over && next.rows > 0);
  assert_null(asker_free(asker));
  store_close(store);
}

// The end of the daemon waits for no question.
static void test_the_end_comes_in_the_middle_of_a_job(void **state) {
  (void)state;
  struct store *store = open_filled();
  struct asker *asker = asker_new(store);
  struct ask endless = {.job.work = work_on};
  asker_begin(asker, &endless.job);
  assert_ptr_equal(asker_free(asker), &endless.job);
  assert_true(endless.over);
  assert_null(asker_free(NULL));
  store_close(store);
}

// What is written meanwhile arrives, and what is read is whole.
static void test_a_job_beside_commits(void **state) {
  (void)state;
  struct store *store = open_filled();
  struct asker *asker = asker_new(store);
  struct ask endless = {.job.work = work_on};
  asker_begin(asker, &endless.job);
  for (uint32_t i = 0; i < 50; i++)
    fx_wait(store, fx_put(store, 1, 1 + i, FX_PASSED, 2, false));
  asker_stop(asker);
  (void)take(asker, store);
  assert_null(asker_free(asker));
  assert_int_equal(fx_number("SELECT count(*) FROM result"), TESTS + 50);
  store_close(store);
}

static void test_time_is_up(void **state) {
  (void)state;
  size_t rows = 0;
  struct store_error error;
  struct store *store = open_filled(), *view = store_view_new(store);
  store_view_allow(view, 0);
  assert_int_equal(store_view_open(view, &error), 0);
  assert_true(store_view_over(view));
  assert_int_equal(report(view, &rows), -1);
  store_view_allow(view, FX_TEST_S * (uint64_t)1000000);
  assert_int_equal(store_view_open(view, &error), 0);
  assert_false(store_view_over(view));
  assert_int_equal(report(view, &rows), 0);
  assert_true(rows > 0);
  store_view_stop(view);
  assert_true(store_view_over(view));
  assert_int_equal(report(view, &rows), -1);
  store_view_free(view);
  store_view_free(NULL);
  store_close(store);
}

static void test_the_database_cannot_be_opened(void **state) {
  (void)state;
  struct store_error error;
  struct store *store = open_filled(), *view = store_view_new(store);
  char aside[320];
  (void)snprintf(aside, sizeof aside, "%s.aside", fx_path);
  assert_int_equal(rename(fx_path, aside), 0);
  store_view_allow(view, FX_TEST_S * (uint64_t)1000000);
  assert_int_equal(store_view_open(view, &error), -1);
  assert_non_null(strstr(error.text, "cannot be opened"));
  assert_int_equal(rename(aside, fx_path), 0);
  assert_int_equal(store_view_open(view, &error), 0);
  store_view_free(view);
  store_close(store);
}

// More than STORE_LOG_PAGES are in the log while somebody reads on; behind that, a question is begun all the same, and
// the log begins again at its start.
static void test_a_long_log(void **state) {
  (void)state;
  sqlite3 *reader;
  struct store *store = open_filled();
  struct asker *asker = asker_new(store);
  struct ask one = {.job.work = work_once};
  static char text[60000];
  memset(text, 'x', sizeof text);
  assert_int_equal(sqlite3_open_v2(fx_path, &reader, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM result", NULL, NULL, NULL), SQLITE_OK);
  for (uint32_t i = 0; atomic_load(&store->log_pages) <= STORE_LOG_PAGES; i++) {
    struct store_result result = fx_result(1, 1 + i % TESTS, FX_FAILED);
    result.attempt = 2 + i / TESTS;
    result.flags = 0;
    result.text = text;
    result.text_bytes = sizeof text;
    uint64_t ticket = store_put_result(store, &result);
    if (i % 100 == 0) fx_wait(store, ticket);
  }
  sqlite3_close(reader);
  asker_begin(asker, &one.job);
  for (uint32_t i = 0; !(i > 2 && atomic_load(&store->log_pages) <= STORE_LOG_PAGES); i++)
    fx_wait(store, fx_put(store, 1, 1 + i % TESTS, FX_PASSED, 100 + i / TESTS, false));
  (void)take(asker, store);
  assert_int_equal(one.rc, 0);
  assert_null(asker_free(asker));
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_a_job_reads_what_is_stored, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_a_job_is_broken_off, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_the_end_comes_in_the_middle_of_a_job, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_a_job_beside_commits, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_time_is_up, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_the_database_cannot_be_opened, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_a_long_log, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
