// Unit tests of what closed builds teach, of its happening exactly once, and of retention.
#include <sys/wait.h>

#include "server/store_impl.h"
#include "tests/unit/store_fixture.h"

static struct estimate_history history_of(struct store *store, const char *id) {
  static const uint32_t none = UINT32_MAX, unit = 0;
  const struct store_list list = {.count = 1, .id = &id, .file_of = &none, .unit_of = &unit};
  struct store_listed *listed = store_lookup(store, "shop", "unit", &list);
  assert_non_null(listed);
  struct estimate_history history = listed->history[0];
  store_listed_free(listed);
  return history;
}

static void test_only_settled_passes_teach(void **state) {
  static const struct {
    uint32_t status, flags, n;
  } rows[] = {
      {FX_PASSED, STORE_SETTLES, 1},
      {FX_XFAILED, STORE_SETTLES, 1},
      {FX_FAILED, STORE_SETTLES, 0},
      {FX_ERROR, STORE_SETTLES, 0},
      {FX_SKIPPED, STORE_SETTLES, 0},
      {FX_PASSED, 0, 0},
      {FX_PASSED, STORE_SETTLES | STORE_LATE, 0},
      {FX_PASSED, STORE_EXTRA, 0},
      {FX_PASSED, STORE_SETTLES | STORE_LOST, 0},
  };
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  struct store_listed *listed = fx_list(store, 1, COUNT_OF(rows), 100);
  for (uint32_t i = 0; i < COUNT_OF(rows); i++) {
    struct store_result r = fx_result(1, listed->test[i], rows[i].status);
    r.flags = rows[i].flags;
    store_put_result(store, &r);
  }
  fx_end(store, 1);
  fx_learned(store);
  for (uint32_t i = 0; i < COUNT_OF(rows); i++) {
    char id[64];
    (void)snprintf(id, sizeof id, "t/test_0.py::test_%u", i);
    assert_int_equal(history_of(store, id).n, rows[i].n);
  }
  store_listed_free(listed);
  store_close(store);
}

// A running build has taught nothing yet; an aborted one teaches what it knows.
static void test_only_ended_builds_teach(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  struct store_listed *listed = fx_list(store, 1, 2, 2);
  fx_wait(store, fx_put(store, 1, listed->test[0], FX_PASSED, 1, true));
  assert_int_equal(fx_number("SELECT count(*) FROM dur_stat"), 0);
  fx_wait(store, store_put_state(store, 1, 5, 10, "by hand"));
  fx_learned(store);
  assert_int_equal(fx_number("SELECT count(*) FROM dur_stat"), 1);
  assert_int_equal(fx_number("SELECT learned_round FROM build"), 1);
  fx_wait(store, store_put_state(store, 1, FX_COMPLETE, 11, NULL));  // said twice, taught once
  fx_build(store, 2, "b", "");
  fx_wait(store, store_put_state(store, 2, FX_COMPLETE, 12, NULL));
  fx_learned(store);
  assert_int_equal(fx_number("SELECT sum(n) FROM dur_stat"), 1);
  store_listed_free(listed);
  store_close(store);
}

// Files A (tests 0, 1) and B (2, 3) on two workers. What is first in its file pays for the file, unless the process was
// new as well; coming back to a file pays again.
static void test_file_setup(void **state) {
  static const struct {
    uint32_t test, worker, at, setup_us, flags;
  } rows[] = {
      {0, 0, 10, 90000, STORE_FIRST},  // the process' own start: no file learns from it
      {1, 0, 20, 1000, 0},
      {2, 0, 30, 5000, 0},  // B's set-up: 5000, its test never seen before
      {3, 1, 10, 3000, 0},  // and on worker 1: 3000
  };
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  struct store_listed *listed = fx_list(store, 1, 4, 2);
  for (uint32_t i = COUNT_OF(rows); i-- > 0;) {
    struct store_result r = fx_result(1, listed->test[rows[i].test], FX_PASSED);
    r.worker = rows[i].worker;
    r.start_ms = rows[i].at;
    r.setup_us = rows[i].setup_us;
    r.flags |= rows[i].flags;
    store_put_result(store, &r);
  }
  fx_end(store, 1);
  fx_learned(store);
  assert_int_equal(fx_number("SELECT setup_us FROM file_stat WHERE path='t/test_0.py'"), 0);
  assert_int_equal(fx_number("SELECT setup_us FROM file_stat WHERE path='t/test_1.py'"), 4000);  // ½·5000 + ½·3000
  assert_int_equal(fx_number("SELECT n FROM file_stat WHERE path='t/test_1.py'"), 2);
  struct estimate_history first = history_of(store, "t/test_0.py::test_0"),
                          usual = history_of(store, "t/test_0.py::test_1");
  assert_int_equal(estimate_expected(&first), 900);  // 90 ms of process start are not its own
  assert_int_equal(estimate_expected(&usual), 1900);
  assert_int_equal((int)usual.setup_us, 1000);
  store_listed_free(listed);
  store_close(store);
}

// A skipped test pays for nothing: the next one of its file pays for the file, and for the process.
static void test_skips_pay_for_nothing(void **state) {
  static const struct {
    uint32_t test, worker, at, status, setup_us, flags;
  } rows[] = {
      {0, 0, 10, FX_SKIPPED, 0, STORE_SETTLES | STORE_FIRST},
      {1, 0, 20, FX_PASSED, 90000, STORE_SETTLES},
      {2, 0, 30, FX_SKIPPED, 0, 0},
      {3, 0, 40, FX_PASSED, 5000, STORE_SETTLES},
      {2, 1, 10, FX_PASSED, 3000, STORE_SETTLES},
  };
  uint32_t attempts[4] = {0};
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  fx_worker(store, 1, 0, "a");
  fx_worker(store, 1, 1, "b");
  struct store_listed *listed = fx_list(store, 1, 4, 2);
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    struct store_result r = fx_result(1, listed->test[rows[i].test], rows[i].status);
    r.attempt = ++attempts[rows[i].test];
    r.worker = rows[i].worker;
    r.start_ms = rows[i].at;
    r.setup_us = rows[i].setup_us;
    r.flags = rows[i].flags;
    store_put_result(store, &r);
  }
  fx_end(store, 1);
  fx_learned(store);
  assert_int_equal(fx_number("SELECT setup_us FROM file_stat WHERE path='t/test_0.py'"), 0);  // the process' start
  assert_int_equal(fx_number("SELECT setup_us FROM file_stat WHERE path='t/test_1.py'"), 4000);
  assert_int_equal(fx_number("SELECT setups FROM build"), 3);
  struct estimate_history second = history_of(store, "t/test_0.py::test_1"),
                          fourth = history_of(store, "t/test_1.py::test_3");
  assert_int_equal(estimate_expected(&second), 900);
  assert_int_equal(estimate_expected(&fourth), 900);
  assert_int_equal(second.n, 1);
  store_listed_free(listed);
  store_close(store);
}

static void test_lists_carry_history(void **state) {
  (void)state;
  struct store *store = fx_open();
  for (uint64_t build = 1; build <= 10; build++) {
    char ext[16];
    (void)snprintf(ext, sizeof ext, "%ju", (uintmax_t)build);
    fx_build(store, build, ext, "");
    struct store_listed *listed = fx_list(store, build, 3, 3);
    assert_int_equal(listed->history[1].n, build - 1);
    for (uint32_t i = 0; i < 3; i++) {
      struct store_result r = fx_result(build, listed->test[i], FX_PASSED);
      r.call_us = (uint32_t)build * 1000;
      r.setup_us = r.teardown_us = 0;
      r.start_ms = i;
      store_put_result(store, &r);
    }
    fx_end(store, build);
    fx_learned(store);
    store_listed_free(listed);
  }
  fx_build(store, 11, "11", "");
  struct store_listed *listed = fx_list(store, 11, 3, 3);
  assert_int_equal(listed->history[0].n, 10);
  assert_int_equal(estimate_expected(&listed->history[0]), 9000);  // ½ (10 ms + median of 6…10)
  assert_int_equal(estimate_high(&listed->history[0]), 10000);
  store_listed_free(listed);
  store_close(store);
}

static int64_t flips_of(uint32_t test) {
  char sql[96];
  (void)snprintf(sql, sizeof sql, "SELECT coalesce(max(flips), 0) FROM flake_stat WHERE test=%u", test);
  return fx_number(sql);
}

// One build: ids 1…8 of an 8-test list.
static void put_attempts(struct store *store, uint64_t build, const uint32_t (*rows)[3], size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct store_result r = fx_result(build, rows[i][0], rows[i][1]);
    r.attempt = (uint32_t)i + 1;
    r.flags = rows[i][2];
    store_put_result(store, &r);
  }
  fx_end(store, build);
  fx_learned(store);
}

static void test_flips_within_a_build(void **state) {
  static const uint32_t rows[][3] = {
      {1, FX_FAILED, 0},  {1, FX_PASSED, 1},           // flips
      {2, FX_PASSED, 1},  {2, FX_ERROR, STORE_EXTRA},  // a late failure is evidence
      {3, FX_FAILED, 0},  {3, FX_FAILED, 1},           // broken
      {4, FX_PASSED, 1},                               // sound
      {5, 7, STORE_LOST}, {5, FX_PASSED, 1},           // a vanished worker is nobody's failure
      {6, 8, 0},          {6, 7, 0},
      {6, FX_PASSED, 1},  // timed out, crashed, passed: one flip
      {7, FX_SKIPPED, 1}, {8, FX_FAILED, 0},
      {8, FX_XFAILED, 1},  // neither is a pass
  };
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, 8, 8));
  put_attempts(store, 1, rows, COUNT_OF(rows));
  for (uint32_t test = 1; test <= 8; test++)
    assert_int_equal(flips_of(test), test == 1 || test == 2 || test == 6);
  assert_int_equal(fx_number("SELECT runs FROM flake_stat WHERE test=6"), 3);
  assert_int_equal(fx_number("SELECT fails FROM flake_stat WHERE test=6"), 2);
  assert_int_equal(fx_number("SELECT runs FROM flake_stat WHERE test=5"), 1);
  assert_int_equal(fx_number("SELECT last_flip_ms FROM flake_stat WHERE test=1"), 5000001);
  assert_int_equal(fx_number("SELECT count(*) FROM flake_stat WHERE test=7"), 0);
  store_close(store);
}

static void test_flips_between_builds_of_a_commit(void **state) {
  static const uint32_t fails[][3] = {{1, FX_FAILED, 1}, {2, FX_PASSED, 1}},
                        passes[][3] = {{1, FX_PASSED, 1}, {2, FX_PASSED, 1}};
  static const struct {
    const char *ext, *commit;
    bool pass;
    int64_t flips;
  } builds[] = {
      {"a", "c1", false, 0}, {"b", "c2", true, 0},   // another commit may well differ
      {"c", "c1", true, 1},                          // the contradiction
      {"d", "c1", true, 1},  {"e", "c1", false, 1},  // known already
      {"f", "", false, 1},   {"g", "", true, 1},     // no commit, no comparison
      {"h", "c2", false, 2},
  };
  (void)state;
  struct store *store = fx_open();
  for (uint64_t i = 0; i < COUNT_OF(builds); i++) {
    fx_build(store, i + 1, builds[i].ext, builds[i].commit);
    store_listed_free(fx_list(store, i + 1, 8, 8));
    put_attempts(store, i + 1, builds[i].pass ? passes : fails, 2);
    assert_int_equal(flips_of(1), builds[i].flips);
  }
  assert_int_equal(flips_of(2), 0);
  assert_int_equal(fx_number("SELECT builds FROM flake_stat WHERE test=1"), COUNT_OF(builds));
  store_close(store);
}

// Each round teaches by itself; a flip counts once per build, in the round that completes it.
static void test_rounds(void **state) {
  static const uint32_t again[] = {1, 2};
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "c");
  store_listed_free(fx_list(store, 1, 3, 3));
  for (uint32_t test = 1; test <= 3; test++)
    fx_put(store, 1, test, test == 3 ? FX_PASSED : FX_FAILED, 1, true);
  fx_end(store, 1);
  fx_learned(store);
  assert_int_equal(fx_number("SELECT failed FROM build"), 2);
  for (uint32_t round = 2; round <= 3; round++) {
    store_put_round(store, 1, round, again, 2, 8);
    if (round == 2) {  // test 2 gets no verdict in this round: it has none to lose in the next
      fx_wait(store, store_put_state(store, 1, 2, 8, NULL));
      assert_int_equal(fx_number("SELECT failed FROM build"), 0);
      assert_int_equal(fx_number("SELECT state FROM build"), 2);
    }
    for (uint32_t test = 1; test <= 2; test++) {
      struct store_result r = fx_result(1, test, FX_PASSED);
      r.round = r.attempt = round;
      if (round == 3 || test == 1) store_put_result(store, &r);
    }
    fx_wait(store, store_put_state(store, 1, round == 2 ? 4 : FX_COMPLETE, 9, NULL));
    fx_learned(store);
    assert_int_equal(fx_number("SELECT passed FROM build"), round == 2 ? 2 : 3);
    assert_int_equal(fx_number("SELECT failed FROM build"), 0);
    assert_int_equal(fx_number("SELECT learned_round FROM build"), round);
    assert_int_equal(flips_of(1), 1);
    assert_int_equal(flips_of(2), round == 2 ? 0 : 1);
  }
  assert_int_equal(fx_number("SELECT n FROM dur_stat WHERE test=1"), 2);
  assert_int_equal(fx_number("SELECT n FROM dur_stat WHERE test=3"), 1);
  assert_int_equal(fx_number("SELECT builds FROM flake_stat WHERE test=1"), 1);
  assert_int_equal(fx_number("SELECT runs FROM flake_stat WHERE test=1"), 3);
  store_close(store);
}

// A new round that begins before the last has taught does not silence it.
static void test_round_over_before_it_taught(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, 3, 3));
  fx_put(store, 1, 1, FX_PASSED, 1, true);
  store_put_state(store, 1, FX_COMPLETE, 5, NULL);
  fx_wait(store, store_put_round(store, 1, 2, NULL, 0, 6));
  fx_learned(store);
  assert_int_equal(fx_number("SELECT learned_round FROM build"), 1);
  assert_int_equal(fx_number("SELECT n FROM dur_stat WHERE test=1"), 1);
  fx_end(store, 1);
  fx_learned(store);
  assert_int_equal(fx_number("SELECT learned_round FROM build"), 2);
  assert_int_equal(fx_number("SELECT n FROM dur_stat WHERE test=1"), 1);
  store_close(store);
}

enum { MANY = 9000 };

static void put_many(struct store *store, uint64_t build, const char *ext) {
  uint64_t ticket = fx_build(store, build, ext, "");
  struct store_listed *listed = fx_list(store, build, MANY, 30);
  for (uint32_t i = 0; i < MANY; i++)
    ticket = fx_put(store, build, listed->test[i], FX_PASSED, 1, true);
  store_listed_free(listed);
  fx_wait(store, ticket);
}

static void assert_taught(struct store *store, int64_t times) {
  fx_learned(store);
  assert_int_equal(fx_number("SELECT count(*) FROM dur_stat"), MANY);
  assert_int_equal(fx_number("SELECT min(n) FROM dur_stat"), times);
  assert_int_equal(fx_number("SELECT max(n) FROM dur_stat"), times);
  assert_int_equal(fx_number("SELECT min(runs) FROM flake_stat"), times);
  assert_int_equal(fx_number("SELECT max(runs) FROM flake_stat"), times);
  assert_int_equal(fx_number("SELECT min(trials) FROM flake_stat"), times);
  assert_int_equal(fx_number("SELECT max(trials) FROM flake_stat"), times);
}

// Closed as often as it takes, at whatever point it happens to be, until a build was caught in the middle.
static void test_goes_on_after_a_stop(void **state) {
  bool caught = false;
  (void)state;
  struct store *store = fx_open();
  for (uint64_t build = 1; build <= 20 && !caught; build++) {
    char ext[16];
    (void)snprintf(ext, sizeof ext, "%ju", (uintmax_t)build);
    put_many(store, build, ext);
    fx_end(store, build);
    while (fx_number("SELECT max(learned_round=0 AND learned>0) OR min(learned_round) FROM build") == 0)
      continue;
    store_close(store);
    caught = fx_number("SELECT max(learned) FROM build") > 0;
    store = fx_open();
    assert_taught(store, (int64_t)build);
  }
  assert_true(caught);
  store_close(store);
}

// The same with SIGKILL, from another process.
static void test_goes_on_after_a_kill(void **state) {
  bool caught = false;
  (void)state;
  for (uint64_t build = 1; build <= 20 && !caught; build++) {
    pid_t child = fx_fork();
    if (child == 0) {
      char ext[16];
      (void)snprintf(ext, sizeof ext, "%ju", (uintmax_t)build);
      struct store *store = fx_open();
      put_many(store, build, ext);
      fx_end(store, build);
      fx_learned(store);
      for (;;)
        pause();
    }
    while (access(fx_path, F_OK) != 0 || fx_number("SELECT count(*) FROM sqlite_schema WHERE name='build'") < 1)
      continue;
    char sql[160];
    (void)snprintf(sql, sizeof sql, "SELECT coalesce(max(learned>0 OR learned_round>0), 0) FROM build WHERE id=%ju",
                   (uintmax_t)build);
    while (fx_number(sql) < 1)
      continue;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    caught = fx_number("SELECT max(learned) FROM build") > 0;
    struct store *store = fx_open();
    assert_taught(store, (int64_t)build);
    store_close(store);
  }
  assert_true(caught);
}

static void test_retention(void **state) {
  (void)state;
  struct store *store = fx_open();
  uint64_t now_ms = base_wall_us() / 1000;
  for (uint64_t build = 1; build <= 3; build++) {
    fx_build(store, build, build == 1 ? "old" : build == 2 ? "new" : "running", "");
    fx_worker(store, build, 0, "n");
    store_listed_free(fx_list(store, build, build == 1 ? 12 : 10, 5));
    struct store_result r = fx_result(build, 1, FX_FAILED);
    r.text = "boom";
    r.text_bytes = 4;
    store_put_result(store, &r);
    store_put_round(store, build, 2, NULL, 0, 4);
  }
  store_put_state(store, 1, FX_COMPLETE, now_ms - 3600 * 1000, NULL);
  fx_wait(store, store_put_state(store, 2, FX_COMPLETE, now_ms, NULL));
  fx_learned(store);
  store_close(store);
  fx_options.keep_results_us = 60ull * 1000000;
  store = fx_open();
  // One idle look happens at the start; a checkpointed close ends it.
  while (fx_number("SELECT sum(purged) FROM build") == 0)
    continue;
  assert_int_equal(fx_number("SELECT min(build) FROM result"), 2);
  assert_int_equal(fx_number("SELECT min(build) FROM output"), 2);
  assert_int_equal(fx_number("SELECT min(build) FROM worker"), 2);
  assert_int_equal(fx_number("SELECT min(build) FROM round"), 2);
  assert_int_equal(fx_number("SELECT count(*) FROM list"), 1);  // the others share theirs
  assert_int_equal(fx_number("SELECT failed FROM build WHERE id=1"), 1);
  assert_int_equal(fx_number("SELECT purged FROM build WHERE id=1"), 1);
  assert_int_equal(fx_number("SELECT sum(runs) FROM flake_stat"), 3);
  store_close(store);
}

// Learning does not keep retention waiting: the old build goes while the other still has all of its slices to come.
static void test_retention_takes_turns(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "old", "");
  store_listed_free(fx_list(store, 1, 3, 3));
  fx_put(store, 1, 1, FX_PASSED, 1, true);
  fx_wait(store, store_put_state(store, 1, FX_COMPLETE, base_wall_us() / 1000 - 3600 * 1000, NULL));
  fx_learned(store);
  put_many(store, 2, "new");
  store_close(store);
  fx_change(
      "UPDATE build SET state=3, ended_ms=unixepoch() * 1000 WHERE id=2;"
      "CREATE TABLE seen(learned_round);"
      "CREATE TRIGGER see AFTER UPDATE OF purged ON build BEGIN"
      " INSERT INTO seen SELECT learned_round FROM build WHERE id=2; END");
  fx_options.keep_results_us = 60ull * 1000000;
  store = fx_open();
  fx_learned(store);
  while (fx_number("SELECT count(*) FROM seen") == 0)
    continue;
  assert_int_equal(fx_number("SELECT max(learned_round) FROM seen"), 0);
  assert_int_equal(fx_number("SELECT learned_round FROM build WHERE id=2"), 1);
  store_close(store);
}

// More results and more builds than go in one transaction: a build is cut in the middle, and the next slice has the
// rest.
static void test_retention_in_slices(void **state) {
  enum { BIG = 3, BUILDS = BIG + STORE_KEEP_BUILDS + 1 };
  (void)state;
  struct store *store = fx_open();
  for (uint64_t build = 1; build <= BUILDS; build++) {
    char ext[16];
    (void)snprintf(ext, sizeof ext, "%ju", (uintmax_t)build);
    if (build <= BIG)
      put_many(store, build, ext);
    else
      fx_build(store, build, ext, "");
    store_put_state(store, build, FX_COMPLETE, 1000 + build, NULL);
  }
  fx_build(store, BUILDS + 1, "new", "");
  store_listed_free(fx_list(store, BUILDS + 1, 2, 2));
  fx_put(store, BUILDS + 1, 1, FX_PASSED, 1, true);
  fx_wait(store, store_put_state(store, BUILDS + 1, FX_COMPLETE, base_wall_us() / 1000, NULL));
  fx_learned(store);
  assert_int_equal(fx_number("SELECT count(*) FROM result"), BIG * MANY + 1);
  assert_true(BIG * MANY > STORE_KEEP_SLICE && (BIG - 1) * MANY < STORE_KEEP_SLICE);
  store_close(store);
  fx_options.keep_results_us = 60ull * 1000000;
  store = fx_open();
  while (fx_number("SELECT sum(purged) FROM build") < BUILDS)
    continue;
  assert_int_equal(fx_number("SELECT count(*) FROM result"), 1);
  assert_int_equal(fx_number("SELECT purged FROM build WHERE ext='new'"), 0);
  assert_int_equal(fx_number("SELECT count(*) FROM list"), 1);
  assert_int_equal(fx_number("SELECT min(runs) + max(runs) FROM flake_stat WHERE test>2"), 2 * BIG);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_only_settled_passes_teach, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_only_ended_builds_teach, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_file_setup, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_skips_pay_for_nothing, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_lists_carry_history, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_flips_within_a_build, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_flips_between_builds_of_a_commit, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_rounds, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_round_over_before_it_taught, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_goes_on_after_a_stop, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_goes_on_after_a_kill, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_retention, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_retention_takes_turns, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_retention_in_slices, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
