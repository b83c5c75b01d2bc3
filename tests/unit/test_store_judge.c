// Unit tests of what closed builds say of their tests, through the real store: sick workers, events and their weight,
// flaky and broken with first-bad and last-good, trust, lost time, slower tests, worker speed. The model's own rules
// are in test_flaky.c.
#include "server/flaky.h"
#include "tests/unit/store_fixture.h"

enum { FLAKY = 3, BROKEN = 4 };

struct run {
  uint32_t test, worker, status;
};

static int64_t of_test(const char *column, uint32_t test) {
  char sql[160];
  (void)snprintf(sql, sizeof sql, "SELECT %s FROM flake_stat WHERE test=%u", column, test);
  return fx_number(sql);
}

static void name_of(uint64_t build, char *ext, size_t size) {
  (void)snprintf(ext, size, "b%ju", (uintmax_t)build);
}

// A build of `count` tests; each gets a first pass on worker (test % workers) unless its runs are given.
static void put_runs(struct store *store, uint64_t build, const char *commit, uint32_t count, uint32_t workers,
                     const struct run *runs, size_t run_count) {
  char ext[16], node[16];
  name_of(build, ext, sizeof ext);
  fx_build(store, build, ext, commit);
  for (uint32_t w = 0; w < workers; w++) {
    (void)snprintf(node, sizeof node, "%u", w);
    fx_worker(store, build, w, node);
  }
  store_listed_free(fx_list(store, build, count, count));
  for (uint32_t test = 1; test <= count; test++) {
    uint32_t attempt = 0, last = 0;
    for (size_t i = 0; i < run_count; i++)
      last = runs[i].test == test ? (uint32_t)i + 1 : last;
    for (size_t i = 0; i < run_count; i++) {
      if (runs[i].test != test) continue;
      struct store_result r = fx_result(build, test, runs[i].status);
      r.worker = runs[i].worker;
      r.attempt = ++attempt;
      r.flags = i + 1 == last ? STORE_SETTLES : 0;
      store_put_result(store, &r);
    }
    if (attempt > 0) continue;
    struct store_result r = fx_result(build, test, FX_PASSED);
    r.worker = test % workers;
    store_put_result(store, &r);
  }
}

static void build_of(struct store *store, uint64_t build, const char *commit, uint32_t count, uint32_t workers,
                     const struct run *runs, size_t run_count) {
  put_runs(store, build, commit, count, workers, runs, run_count);
  fx_end(store, build);
  fx_learned(store);
}

static void test_flaky_over_two_commits(void **state) {
  static const struct run flip[] = {{1, 0, FX_FAILED}, {1, 0, FX_FAILED}, {1, 1, FX_PASSED}};
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, "c1", 4, 2, flip, COUNT_OF(flip));
  assert_int_equal(of_test("state", 1), 2);
  assert_int_equal(fx_number("SELECT count(*) FROM flake_event WHERE test=1 AND build=1 AND worker=0"), 1);
  assert_int_equal(fx_number("SELECT flags FROM flake_event"), FLAKY_FAILED_SAME | FLAKY_PASSED_ELSEWHERE);
  assert_int_equal(fx_number("SELECT lost_us FROM flake_event"), 3000);  // three attempts of 1 ms
  build_of(store, 2, "c2", 4, 2, flip, COUNT_OF(flip));
  assert_int_equal(of_test("state", 1), FLAKY);
  assert_int_equal(of_test("kind", 1), FLAKY_KIND_UNKNOWN);
  build_of(store, 3, "c3", 4, 2, flip, COUNT_OF(flip));
  assert_int_equal(of_test("kind", 1), FLAKY_KIND_ORDER);  // three events that failed there again
  assert_int_equal(of_test("hits", 1), 0);                 // no build failed by it
  assert_int_equal(of_test("lost_us", 1), 9000);
  assert_int_equal(of_test("trials", 1), 3);
  assert_int_equal(of_test("state", 2), 0);
  assert_int_equal(fx_number("SELECT count(*) FROM state_log WHERE test=1 AND new='flaky' AND old='suspect'"), 1);
  assert_int_equal(fx_number("SELECT round(f*1000) FROM flake_stat WHERE test=1"), 3000);
  store_close(store);
}

// A skip that went to another worker is neither a failure nor a pass, and what came of the test there is its first
// attempt.
static void test_skips_are_no_evidence(void **state) {
  static const struct run runs[] = {{1, 0, FX_SKIPPED}, {1, 1, FX_FAILED},  {2, 0, FX_SKIPPED}, {2, 1, FX_PASSED},
                                    {3, 1, FX_PASSED},  {3, 0, FX_SKIPPED}, {4, 0, FX_SKIPPED}, {4, 1, FX_SKIPPED}};
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, "c1", 12, 2, runs, COUNT_OF(runs));
  assert_int_equal(fx_number("SELECT count(*) FROM flake_event"), 0);
  assert_int_equal(fx_number("SELECT first_n FROM build"), 11);  // all but the one that nobody ran
  assert_int_equal(fx_number("SELECT first_failed FROM build"), 1);
  assert_int_equal(fx_number("SELECT sum(runs) FROM flake_stat WHERE test<=4"), 3);
  assert_int_equal(fx_number("SELECT sum(flips) FROM flake_stat"), 0);
  store_close(store);
}

static void test_broken_and_released(void **state) {
  static const struct run bad[] = {{1, 0, FX_FAILED}, {1, 1, FX_FAILED}, {1, 0, FX_FAILED}};
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, "c1", 4, 2, NULL, 0);
  store_close(store);
  fx_change("INSERT INTO quarantine VALUES(1, 1, 'manual', 'why', 'me', '', 1, 9e15, 0)");
  store = fx_open();
  build_of(store, 2, "c2", 4, 2, bad, COUNT_OF(bad));
  assert_int_equal(of_test("state", 1), BROKEN);
  assert_int_equal(of_test("last_good", 1), 1);
  assert_int_equal(of_test("first_bad", 1), 2);
  assert_int_equal(of_test("streak_builds", 1), 1);
  assert_int_equal(fx_number("SELECT count(*) FROM quarantine"), 0);
  assert_int_equal(fx_number("SELECT count(*) FROM state_log WHERE test=1 AND old='muted' AND new='gating'"), 1);
  build_of(store, 3, "c3", 4, 2, bad, COUNT_OF(bad));
  assert_int_equal(of_test("streak_builds", 1), 2);
  assert_int_equal(of_test("first_bad", 1), 2);
  build_of(store, 4, "c4", 4, 2, NULL, 0);
  assert_int_equal(of_test("state", 1), 0);
  assert_int_equal(of_test("streak_builds", 1), 0);
  assert_int_equal(of_test("last_good", 1), 4);
  store_close(store);
}

// Worker 1 fails ten of its twelve first attempts, worker 0 none of its forty. What is retried passes.
static void test_sick_workers_are_no_evidence(void **state) {
  struct run runs[64];
  size_t n = 0;
  (void)state;
  for (uint32_t test = 1; test <= 12; test++) {
    runs[n++] = (struct run){test, 1, test <= 10 ? FX_FAILED : FX_PASSED};
    if (test <= 10) runs[n++] = (struct run){test, 0, FX_PASSED};
  }
  runs[n++] = (struct run){40, 0, FX_FAILED};
  for (uint32_t test = 13; test <= 52; test++)
    runs[n++] = (struct run){test, 0, FX_PASSED};
  struct store *store = fx_open();
  build_of(store, 1, "c1", 52, 2, runs, n);
  assert_int_equal(fx_number("SELECT sick FROM worker WHERE idx=0"), 0);
  assert_int_equal(fx_number("SELECT sick FROM worker WHERE idx=1"), 1);
  assert_int_equal(fx_number("SELECT sick FROM build"), 0);
  assert_int_equal(fx_number("SELECT count(*) FROM flake_event"), 1);
  assert_int_equal(fx_number("SELECT test FROM flake_event"), 40);
  assert_int_equal(of_test("trials", 1), 1);  // the pass elsewhere counts
  assert_int_equal(of_test("fails", 1), 0);
  assert_int_equal(fx_number("SELECT first_n FROM build"), 40);
  assert_int_equal(fx_number("SELECT first_failed FROM build"), 1);
  store_close(store);
}

static void test_sick_builds_are_no_evidence(void **state) {
  struct run runs[20];
  (void)state;
  for (uint32_t i = 0; i < COUNT_OF(runs); i++)
    runs[i] = (struct run){i + 1, i % 4, FX_FAILED};
  struct store *store = fx_open();
  build_of(store, 1, "c1", 40, 4, NULL, 0);
  build_of(store, 2, "c2", 40, 4, runs, COUNT_OF(runs));
  assert_int_equal(fx_number("SELECT sick FROM build WHERE id=2"), 1);
  assert_int_equal(of_test("trials", 1), 1);
  assert_int_equal(of_test("streak", 1), 0);
  assert_int_equal(of_test("trials", 40), 1);  // its passes are none either
  assert_int_equal(fx_number("SELECT n FROM dur_stat WHERE test=40"), 1);
  build_of(store, 3, "c3", 40, 4, runs, COUNT_OF(runs));  // twice is the code's fault
  assert_int_equal(fx_number("SELECT sick FROM build WHERE id=3"), 0);
  assert_int_equal(of_test("streak", 1), 1);
  store_close(store);
}

// Ten flips on one worker weigh a half each.
static void test_flips_in_a_cluster(void **state) {
  struct run runs[20];
  (void)state;
  for (uint32_t i = 0; i < 10; i++) {
    runs[2 * i] = (struct run){i + 1, 0, FX_FAILED};
    runs[2 * i + 1] = (struct run){i + 1, 1, FX_PASSED};
  }
  struct store *store = fx_open();
  build_of(store, 1, "c1", 100, 2, runs, COUNT_OF(runs));
  assert_int_equal(fx_number("SELECT count(*) FROM flake_event WHERE cluster=10 AND weight=0.5"), 10);
  assert_int_equal(fx_number("SELECT max(sick) FROM worker"), 0);  // ten of fifty-five: under a fifth
  store_close(store);
}

// Build 1 is red by tests 1 and 2, two workers and 100 ms; build 2 of the commit passes: half of 200 ms each.
static void test_a_red_build_in_vain(void **state) {
  static const struct run red[] = {{1, 0, FX_FAILED}, {2, 1, FX_FAILED}};
  (void)state;
  struct store *store = fx_open();
  put_runs(store, 1, "c1", 40, 2, red, COUNT_OF(red));
  fx_wait(store, store_put_state(store, 1, FX_COMPLETE, 1000001 + 100, NULL));
  fx_learned(store);
  assert_int_equal(of_test("streak", 1), 1);
  build_of(store, 2, "c1", 40, 2, NULL, 0);
  assert_int_equal(fx_number("SELECT count(*) FROM flake_event WHERE build=2"), 2);
  assert_int_equal(of_test("lost_us", 1), 100000);
  assert_int_equal(of_test("hits", 2), 1);
  assert_int_equal(of_test("streak", 1), 0);
  build_of(store, 3, "c1", 40, 2, NULL, 0);  // known by now
  assert_int_equal(fx_number("SELECT count(*) FROM flake_event"), 2);
  store_close(store);
}

static void test_untrusted_builds_teach_nothing(void **state) {
  static const struct run flip[] = {{1, 0, FX_FAILED}, {1, 1, FX_PASSED}};
  const struct store_build fork = {
      .build = 2, .project = "shop", .suite = "unit", .ext = "fork", .commit = "c1", .branch = "x", .untrusted = true};
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, "c1", 4, 2, NULL, 0);
  store_put_build(store, &fork);
  store_listed_free(fx_list(store, 2, 4, 4));
  for (uint32_t test = 1; test <= 4; test++)
    fx_put(store, 2, test, FX_FAILED, 1, true);
  fx_end(store, 2);
  fx_learned(store);
  assert_int_equal(fx_number("SELECT learned_round FROM build WHERE id=2"), 1);
  assert_int_equal(fx_number("SELECT max(fails) FROM flake_stat"), 0);
  assert_int_equal(fx_number("SELECT max(trials) FROM flake_stat"), 1);
  assert_int_equal(fx_number("SELECT max(n) FROM dur_stat"), 1);
  assert_int_equal(fx_number("SELECT count(*) FROM state_log"), 0);
  build_of(store, 3, "c1", 4, 2, NULL, 0);  // nor do their failures count against a pass
  assert_int_equal(fx_number("SELECT count(*) FROM flake_event"), 0);
  build_of(store, 4, "c1", 4, 2, flip, COUNT_OF(flip));
  assert_int_equal(fx_number("SELECT count(*) FROM flake_event"), 1);
  store_close(store);
}

// 1 s for eight builds, then 2 s: noticed at the third slow one, and forgotten when it is fast again.
static void test_slower(void **state) {
  static const uint32_t ms[] = {1000, 1000, 1000, 1000, 1000, 1000, 2000, 2000, 2000, 2000, 1000, 1000, 1000};
  (void)state;
  struct store *store = fx_open();
  for (uint64_t build = 1; build <= COUNT_OF(ms); build++) {
    char ext[16];
    name_of(build, ext, sizeof ext);
    fx_build(store, build, ext, ext);
    struct store_listed *listed = fx_list(store, build, 1, 1);
    struct store_result r = fx_result(build, listed->test[0], FX_PASSED);
    r.setup_us = r.teardown_us = 0;
    r.call_us = ms[build - 1] * 1000;
    store_put_result(store, &r);
    fx_end(store, build);
    fx_learned(store);
    store_listed_free(listed);
    bool slower = build >= 9 && build <= 11;
    assert_int_equal(fx_number("SELECT step_ms>0 FROM dur_stat"), slower);
    if (!slower) continue;
    assert_int_equal(fx_number("SELECT base_us FROM dur_stat"), 1000000);
    assert_int_equal(fx_number("SELECT step_us FROM dur_stat"), 2000000);
    assert_int_equal(fx_number("SELECT step_from FROM dur_stat"), 6);
    assert_int_equal(fx_number("SELECT step_to FROM dur_stat"), 7);
  }
  assert_int_equal(fx_number("SELECT round(runs7) FROM dur_stat"), COUNT_OF(ms));  // all within a second
  store_close(store);
}

// Worker 1 takes twice as long as worker 0 for tests of 10 s: both count as the build as a whole, which took 15 s each.
// Without the first of each worker, whose set-up is its file's: v is 185/95 for one, 95/95 for the other, 275/185 for
// all.
static void test_slow_workers_make_no_slow_tests(void **state) {
  (void)state;
  struct store *store = fx_open();
  for (uint64_t build = 1; build <= 2; build++) {
    char ext[16];
    name_of(build, ext, sizeof ext);
    fx_build(store, build, ext, "");
    fx_worker(store, build, 0, "0");
    fx_worker(store, build, 1, "1");
    struct store_listed *listed = fx_list(store, build, 20, 20);
    for (uint32_t i = 0; i < 20; i++) {
      struct store_result r = fx_result(build, listed->test[i], FX_PASSED);
      r.setup_us = r.teardown_us = 0;
      r.worker = i % 2;
      r.call_us = build == 2 && r.worker == 1 ? 20000000 : 10000000;
      store_put_result(store, &r);
    }
    fx_end(store, build);
    fx_learned(store);
    store_listed_free(listed);
  }
  assert_int_equal(fx_number("SELECT speed_ppm IS NULL FROM worker WHERE build=1 AND idx=0"), 1);
  assert_int_equal(fx_number("SELECT predicted_us IS NULL FROM build WHERE id=1"), 1);
  assert_int_equal(fx_number("SELECT predicted_us FROM build WHERE id=2"), 100000000);
  assert_int_equal(fx_number("SELECT speed_ppm FROM worker WHERE build=2 AND idx=0"), 1000000);
  assert_int_equal(fx_number("SELECT speed_ppm FROM worker WHERE build=2 AND idx=1"), 1947368);
  assert_int_equal(fx_number("SELECT min(last_us)/100000 FROM dur_stat"), 148);
  assert_int_equal(fx_number("SELECT max(last_us)/100000 FROM dur_stat"), 152);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_flaky_over_two_commits, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_skips_are_no_evidence, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_broken_and_released, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_sick_workers_are_no_evidence, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_sick_builds_are_no_evidence, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_flips_in_a_cluster, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_a_red_build_in_vain, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_untrusted_builds_teach_nothing, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_slower, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_slow_workers_make_no_slow_tests, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
