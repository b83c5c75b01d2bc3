// Unit tests of migrations: a database of an older version, filled, comes to the present one with all its rows, and a
// SIGKILL in the middle leaves either the old or the new.
#include <sys/wait.h>
#include <time.h>

#include "server/schema.h"
#include "tests/unit/store_fixture.h"

static const char filling[] =
    "INSERT INTO project VALUES(1, 'shop'); INSERT INTO suite VALUES(1, 1, 'unit');"
    "INSERT INTO file_stat VALUES(1, 1, 't/test_0.py', 5000, 3);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<5000)"
    " INSERT INTO test SELECT i, 1, CAST('t/test_0.py::test_'||(i-1) AS BLOB), 1, 10, 20 FROM n;"
    "INSERT INTO build(id, suite, ext, commit_sha, branch, state, retries, max_failures, on_retry, by_file, linger_us,"
    " timeout_per_test_us, started_ms, ended_ms, round, learned_round, tests, failed)"
    " VALUES(7, 1, 'seven', 'c0ffee', 'main', 3, 1, 0, 0, 0, 60, 0, 1000, 2000, 1, 1, 5000, 2);"
    "INSERT INTO worker VALUES(7, 0, 'n', 'a', 'h', zeroblob(16), 1000, 2000, 9, NULL, 5000, 2, 77);"
    "INSERT INTO build(id, suite, ext, commit_sha, branch, state, retries, max_failures, on_retry, by_file, linger_us,"
    " timeout_per_test_us, started_ms, ended_ms) VALUES(6, 1, 'six', '', '', 3, 0, 0, 0, 0, 60, 0, 900, 950);"
    "INSERT INTO worker VALUES(6, 0, 'ran', '1', 'h', zeroblob(16), 900, 910, 0, 'rows left', 3, 0, 0),"
    " (6, 1, 'ran', '2', 'h', zeroblob(16), 920, 930, 0, NULL, 1, 0, 0),"
    " (6, 2, 'idle', '1', 'h', zeroblob(16), 900, 910, 0, 'rows left', 3, 0, 0),"
    " (6, 3, 'idle', '2', 'h', zeroblob(16), 920, 930, 0, NULL, 0, 0, 0),"
    " (6, 4, '', '1', 'h', zeroblob(16), 900, 910, 0, 'rows left', 3, 0, 0),"
    " (6, 5, '', '2', 'h', zeroblob(16), 920, 930, 0, NULL, 9, 0, 0);"
    "INSERT INTO result SELECT 7, id, 1, 0, 1, 1, 1, 1500, 1, 2, 3 FROM test;"
    "INSERT INTO output VALUES(7, 3, 1, CAST('boom' AS BLOB));"
    "INSERT INTO dur_stat SELECT id, 1, 9, zeroblob(32), 4, 5, 6 FROM test;"
    "INSERT INTO flake_stat SELECT id, 1, id%3, 40, 2, 30*(id%2)+5, 1234 FROM test";

static void exec(sqlite3 *db, const char *sql) {
  char *why = NULL;
  if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK) fail_msg("%s: %s", sql, why);
}

// As the shardd of that version left it.
static void make_old(int version) {
  sqlite3 *db;
  char sql[96];
  assert_int_equal(sqlite3_open(fx_path, &db), SQLITE_OK);
  exec(db, "PRAGMA journal_mode=WAL");
  for (int step = 1; step <= version; step++)
    exec(db, schema_step(step));
  exec(db, filling);
  (void)snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d", SCHEMA_APPLICATION_ID, version);
  exec(db, sql);
  sqlite3_close(db);
}

static void assert_kept(void) {
  assert_int_equal(fx_number("SELECT count(*) FROM test"), 5000);
  assert_int_equal(fx_number("SELECT count(*) FROM result WHERE build=7"), 5000);
  assert_int_equal(fx_number("SELECT length(text) FROM output"), 4);
  assert_int_equal(fx_number("SELECT sum(n) FROM dur_stat"), 45000);
  assert_int_equal(fx_number("SELECT sum(est_us) FROM dur_stat"), 30000);
  assert_int_equal(fx_number("SELECT sum(runs) FROM flake_stat"), 200000);
  assert_int_equal(fx_number("SELECT sum(busy_us) FROM worker"), 77);
  assert_int_equal(fx_number("SELECT failed FROM build WHERE ext='seven'"), 2);
  assert_int_equal(fx_number("SELECT setup_us FROM file_stat"), 5000);
}

static void test_migrates(void **state) {
  (void)state;
  make_old(1);
  struct store *store = fx_open();
  assert_int_equal(fx_number("PRAGMA user_version"), SCHEMA_VERSION);
  assert_kept();
  // An error outside of tests is cleared if a later run of its job ran tests, and open if it ran none.
  assert_int_equal(fx_number("SELECT count(*) FROM worker WHERE fact=1"), 3);
  assert_int_equal(fx_number("SELECT sum(fact*cleared) FROM worker"), 1);
  assert_int_equal(fx_number("SELECT cleared FROM worker WHERE node='ran' AND idx=0"), 1);
  // What was counted is where the memory begins: it neither flags nor forgets.
  assert_int_equal(fx_number("SELECT count(*) FROM flake_stat WHERE r<>builds OR f<>flips OR trials<>builds"), 0);
  assert_int_equal(fx_number("SELECT count(*) FROM flake_stat WHERE state<>(builds>=20)"), 0);
  assert_int_equal(fx_number("SELECT min(trusted) FROM build"), 1);
  assert_int_equal(fx_number("SELECT abs(max(at_ms)-unixepoch()*1000)<60000 FROM flake_stat"), 1);
  // And it goes on learning.
  fx_build(store, 8, "eight", "c1");
  struct store_listed *listed = fx_list(store, 8, 5000, 5000);
  assert_int_equal(listed->history[0].n, 9);
  fx_put(store, 8, listed->test[0], FX_PASSED, 1, true);
  fx_end(store, 8);
  fx_learned(store);
  assert_int_equal(fx_number("SELECT n FROM dur_stat WHERE test=1"), 10);
  assert_int_equal(fx_number("SELECT trials-builds FROM flake_stat WHERE test=1"), 0);
  store_listed_free(listed);
  store_close(store);
}

// Killed ever later, until a child got through.
static void test_a_kill_is_harmless(void **state) {
  long delay_us = 0;
  bool done = false;
  int old = 0;
  (void)state;
  make_old(1);
  for (int n = 0; n < 400 && !done; n++, delay_us += 100 + delay_us / 20) {
    pid_t child = fx_fork();
    if (child == 0) {
      struct store_error error;
      struct store *store = store_open(&fx_options, &error);
      _exit(store ? 0 : 1);
    }
    struct timespec delay = {.tv_sec = delay_us / 1000000, .tv_nsec = delay_us % 1000000 * 1000};
    (void)nanosleep(&delay, NULL);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    int64_t version = fx_number("PRAGMA user_version");
    assert_true(version >= 1 && version <= SCHEMA_VERSION);  // each step whole
    assert_int_equal(fx_number("SELECT count(*) FROM sqlite_schema WHERE name='flake_event'"), version > 1);
    assert_kept();
    old += version == 1;
    done = version == SCHEMA_VERSION;
  }
  assert_true(done);
  assert_true(old > 0);
  store_close(fx_open());
  assert_kept();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_migrates, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_a_kill_is_harmless, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
