// Unit tests of answers that fit no frame: each table, over rows as long as they get, comes in pages that together hold
// all of its rows; and of rows as nobody should have written them: an answer all the same.
#include <sys/wait.h>

#include "tests/unit/store_fixture.h"

enum { ROWS_MANY = 700, PAGES_MIN = 2 };

// Tests with ids of 3,900 bytes, of which each is slow, slower, muted, logged, and flaky or broken; builds and workers
// with long names.
static const char many[] =
    "INSERT INTO project VALUES(1, 'shop'); INSERT INTO suite VALUES(1, 1, 'unit');"
    "INSERT INTO file_stat VALUES(1, 1, 't.py', 5000, 3);"
    "CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<700) SELECT i FROM n;"
    "INSERT INTO test SELECT i, 1, CAST(printf('%05d', i)||hex(zeroblob(1950)) AS BLOB), 1, 10, 20 FROM n;"
    "INSERT INTO build(id, suite, ext, commit_sha, branch, state, retries, max_failures, on_retry, by_file, linger_us,"
    " timeout_per_test_us, started_ms, ended_ms, round, learned_round, tests, failed, purged, text)"
    " SELECT i, 1, printf('%05d', i)||hex(zeroblob(500)), hex(zeroblob(120)), hex(zeroblob(500)), 3, 1, 0, 0, 0, 60, 0,"
    " 1000, 2000, 1, 1, 700, 2, 1, hex(zeroblob(500)) FROM n;"
    "INSERT INTO worker(build, idx, node, attempt, host, session, joined_ms, left_ms)"
    " SELECT 700, i-1, printf('%05d', i)||hex(zeroblob(500)), 'a', hex(zeroblob(500)), zeroblob(16), 1000, 2000 FROM n;"
    "INSERT INTO result SELECT 700, i, 1, i%700, 1, 1, 1, 1500, 1, 2, 3 FROM n;"
    "INSERT INTO result SELECT i, 1, 1, 0, 2, 1, 1, 1500, 1, 2, 3 FROM n WHERE i<700;"
    "INSERT INTO output SELECT i, 1, 1, zeroblob(2000) FROM n WHERE i<700;"
    "INSERT INTO dur_stat(test, suite, n, ring, setup_us, last_us, est_us, base_us, step_us, step_ms, step_from, "
    "step_to,"
    " runs7, cost7) SELECT i, 1, 9, zeroblob(32), 4, 5, 6, 7, 9000000, 1500, 1, 2, 3, 4 FROM n;"
    "INSERT INTO flake_stat(test, suite, flips, runs, fails, builds, last_flip_ms, state, f, r, last_event_ms,"
    " last_fail_ms, first_bad, last_good, since_ms, hits)"
    " SELECT i, 1, 3, 40, 3, 30, 1500, 3+i%2, 3, 20, 1500, 1500, 2, 1, 1500, 2 FROM n;"
    "INSERT INTO state_log SELECT i, 1, i, 1500, 'new', 'flaky', '', 'why' FROM n;"
    "INSERT INTO state_log SELECT 700+i, 1, 1, 1500, 'new', 'flaky', '', hex(zeroblob(900)) FROM n;"
    "INSERT INTO quarantine SELECT i, 1, 'manual', hex(zeroblob(400)), 'me', '', 1000, 9999999999999, 1 FROM n WHERE "
    "i%2";

typedef int query_fn(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error);

// How many rows all pages hold together; *pages of them.
static size_t read_all(struct store *store, query_fn *query_of, struct store_query query, size_t *pages) {
  size_t count = 0;
  *pages = 0;
  query.limit = 100000;
  do {
    struct rows rows;
    struct store_error error = {""};
    if (query_of(store, &query, &rows, &error) != 0) fail_msg("%s", error.text);
    count += rows_count(&rows);
    ++*pages;
    query.after = rows.next;
    rows_release(&rows);
    assert_true(*pages < 1000);
  } while (query.after != 0);
  return count;
}

static void test_pages(void **state) {
  (void)state;
  store_close(fx_open());
  fx_change(many);
  struct store *store = fx_open();
  const struct {
    query_fn *query;
    size_t rows;
    uint64_t build;
    const char *test;
  } tables[] = {
      {store_query_builds, ROWS_MANY, 0, ""},         {store_query_workers, ROWS_MANY, ROWS_MANY, ""},
      {store_query_slow, ROWS_MANY, 0, ""},           {store_query_slower, ROWS_MANY, 0, ""},
      {store_query_flaky, ROWS_MANY / 2, 0, ""},      {store_query_broken, ROWS_MANY / 2, 0, ""},
      {store_query_quarantine, ROWS_MANY / 2, 0, ""}, {store_query_log, 2 * ROWS_MANY, 0, ""},
      {store_query_durations, ROWS_MANY, 0, ""},      {store_query_timeline, ROWS_MANY, ROWS_MANY, ""},
  };
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
    const char *const suites[] = {"unit", ""};
    for (size_t s = 0; s < 2; s++) {
      size_t pages;
      struct store_query query = {
          .project = "shop", .suite = suites[s], .build = tables[i].build, .test = tables[i].test};
      if (tables[i].query == store_query_durations && s == 1) continue;  // of one suite only
      size_t rows = read_all(store, tables[i].query, query, &pages);
      if (rows != tables[i].rows) fail_msg("table %zu: %zu rows, not %zu", i, rows, tables[i].rows);
      if (pages < PAGES_MIN) fail_msg("table %zu comes in one page", i);
    }
  }
  store_close(store);
}

// The runs of one test, and what happened to it, with outputs.
static void test_pages_of_one_test(void **state) {
  (void)state;
  store_close(fx_open());
  fx_change(many);
  struct store *store = fx_open();
  char id[4000];
  size_t pages;
  (void)snprintf(id, sizeof id, "%05d", 1);
  memset(id + 5, '0', 3900);
  id[3905] = '\0';
  struct store_query query = {.project = "shop", .suite = "unit", .test = id};
  assert_true(read_all(store, store_query_test, query, &pages) > 0);
  assert_true(pages >= PAGES_MIN);
  assert_int_equal(read_all(store, store_query_log, query, &pages), ROWS_MANY + 1);
  assert_true(pages >= PAGES_MIN);
  store_close(store);
}

// ---- rows as nobody should have written them

static const char odd[] =
    "INSERT INTO project VALUES(1, 'shop'); INSERT INTO suite VALUES(1, 1, 'unit');"
    "INSERT INTO test VALUES(1, 1, CAST('t' AS BLOB), NULL, 10, 20);"
    "INSERT INTO build(id, suite, ext, commit_sha, branch, state, retries, max_failures, on_retry, by_file, linger_us,"
    " timeout_per_test_us, started_ms, ended_ms, round, learned_round, tests, trusted, sick)"
    " VALUES(1, 1, 'odd', '', '', 77, 0, 0, 0, 0, 0, 0, 5000, 1000, 1, 1, 1, 0, 0),"
    "(2, 1, 'sick', '', '', 3, 0, 0, 0, 0, 0, 0, 1000, 2000, 1, 1, 1, 1, 1),"
    "(3, 1, 'runs', '', '', 2, 0, 0, 0, 0, 0, 0, 1000, NULL, 1, 1, 1, 1, 0),"
    "(4, 1, 'bare', '', '', 3, 0, 0, 0, 0, 0, 0, 1000, 1000, 1, 1, 1, 1, 0);"
    "INSERT INTO worker(build, idx, node, attempt, host, session, joined_ms, left_ms)"
    " VALUES(1, 0, '', '', '', zeroblob(16), 9000, 1), (2, 0, '', '', '', zeroblob(16), 1000, 2000),"
    "(3, 0, '', '', '', zeroblob(16), 1000, NULL);"
    "INSERT INTO result VALUES(1, 1, 1, 7, 99, 1, 1, 1, 1, 2, 3), (1, 1, 2, 0, 2, 17, 1, 9000000, 1, 2, 3),"
    "(2, 1, 1, 0, 1, 1, 1, 500, 0, 4000000, 0), (2, 1, 2, 0, 2, 1, 1, 1900, 0, 900000000, 0),"
    "(3, 1, 1, 0, 0, 1, 1, 1500, 0, 0, 0)";

static void test_odd_rows(void **state) {
  (void)state;
  store_close(fx_open());
  fx_change(odd);
  struct store *store = fx_open();
  query_fn *const tables[] = {store_query_builds,  store_query_build, store_query_timeline,
                              store_query_workers, store_query_skips, store_query_errors,
                              store_query_test,    store_query_slow,  store_query_report};
  for (uint64_t build = 1; build <= 4; build++) {
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
      struct rows rows;
      struct store_error error = {""};
      struct store_query query = {.project = "shop", .suite = "unit", .build = build, .test = "t", .limit = 10};
      if (tables[i](store, &query, &rows, &error) == 0) {
        rows_release(&rows);
      } else {
        assert_true(error.text[0] != '\0');
      }
    }
  }
  struct rows rows;
  struct store_error error = {""};
  struct store_query query = {.project = "shop", .suite = "unit", .test = "t", .limit = 10};
  assert_int_equal(store_query_builds(store, &query, &rows, &error), 0);
  assert_string_equal(fx_cell(&rows, 3, "state"), "unknown");
  rows_release(&rows);
  assert_int_equal(store_query_test(store, &query, &rows, &error), 0);
  assert_string_equal(fx_cell(&rows, 0, "status"), "unknown");  // 0, of the running build
  rows_release(&rows);
  query.after = 5000;  // beyond all rows, and all workers
  query.build = 1;
  assert_int_equal(store_query_timeline(store, &query, &rows, &error), 0);
  assert_int_equal(rows_count(&rows), 0);
  rows_release(&rows);
  store_close(store);
}

// ---- a file that somebody changed

static void make_whole(void) {
  struct store *store = fx_open();
  fx_build(store, 1, "one", "c1");
  fx_worker(store, 1, 0, "n");
  struct store_listed *listed = fx_list(store, 1, 20, 5);
  for (uint32_t i = 0; i < 20; i++)
    fx_put(store, 1, listed->test[i], FX_PASSED, 1, true);
  fx_end(store, 1);
  fx_learned(store);
  store_listed_free(listed);
  store_close(store);
}

static void test_starts_refused(void **state) {
  (void)state;
  static const char *const changes[] = {"PRAGMA user_version=-1", "UPDATE meta SET value=4294967295 WHERE key='epoch'",
                                        "PRAGMA application_id=7"};
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    assert_int_equal(fx_setup(NULL), 0);
    make_whole();
    fx_change(changes[i]);
    assert_true(strlen(fx_refused()) > 10);
    assert_int_equal(fx_teardown(NULL), 0);
  }
}

// What contradicts itself is an error for whoever reads it.
static void test_damaged_history(void **state) {
  (void)state;
  make_whole();
  fx_change("UPDATE dur_stat SET ring=x'00' WHERE test=3");
  struct store *store = fx_open();
  const char *ids[] = {"t/test_0.py::test_2"}, *files[] = {"t/test_0.py"};
  const uint32_t zero[] = {0};
  const struct store_list list = {
      .build = 9, .count = 1, .file_count = 1, .id = ids, .file = files, .file_of = zero, .unit_of = zero};
  assert_null(store_lookup(store, "shop", "unit", &list));
  store_close(store);
}

// … and the end of a daemon that would write beside it.
static void test_damaged_list(void **state) {
  (void)state;
  static const char *const changes[] = {"UPDATE list SET count=19", "UPDATE list SET file_count=3",
                                        "UPDATE list SET tests=x'ff'", "UPDATE list SET files=x'ff'"};
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    int status;
    assert_int_equal(fx_setup(NULL), 0);
    make_whole();
    fx_change(changes[i]);
    pid_t child = fx_fork();
    if (child == 0) {
      struct store *store = fx_open();
      fx_build(store, 2, "two", "c2");
      store_listed_free(fx_list(store, 2, 20, 5));
      exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_INFRA) fail_msg("%s: %d", changes[i], status);
    assert_int_equal(fx_teardown(NULL), 0);
  }
}

// ---- chores that cannot be done

static void test_names_of_backups(void **state) {
  (void)state;
  struct store *store = fx_open();
  static const char *const bad[] = {
      "", ".hidden", "-dash", "a/b", "history.db", "x-wal", "x-shm", "x.lock", "x\ny.db", "history.db-journal", NULL};
  char longest[400];
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  for (size_t i = 0; bad[i] != NULL; i++) {
    struct store_error error = {""};
    if (store_chore_start(store, STORE_CHORE_BACKUP, bad[i], &error) == 0) {
      struct store_chored done;
      while (!store_chore_done(store, &done))
        (void)usleep(1000);
      if (done.good) fail_msg("a backup is called %s", bad[i]);
      continue;
    }
    assert_true(error.text[0] != '\0');
  }
  struct store_error error = {""};
  assert_int_equal(store_chore_start(store, STORE_CHORE_BACKUP, longest, &error), -1);
  struct store_chored done;
  for (int round = 0; round < 2; round++) {  // the second finds the first one's file
    assert_int_equal(store_chore_start(store, STORE_CHORE_BACKUP, "copy.db", &error), 0);
    int other =
        store_chore_start(store, STORE_CHORE_CHECK, NULL, &error);  // one at a time, if that one is not done yet
    while (!store_chore_done(store, &done))
      (void)usleep(1000);
    if (other == 0) continue;
    assert_true(error.text[0] != '\0');
    assert_int_equal(done.good, round == 0);
  }
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_pages, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_pages_of_one_test, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_odd_rows, fx_setup, fx_teardown),
      cmocka_unit_test(test_starts_refused),
      cmocka_unit_test_setup_teardown(test_damaged_history, fx_setup, fx_teardown),
      cmocka_unit_test(test_damaged_list),
      cmocka_unit_test_setup_teardown(test_names_of_backups, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
