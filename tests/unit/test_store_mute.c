// Unit tests of the quarantine in the store: by hand with its refusals, lists and restarts, expiry and extension, auto
// with its cap, what is released, what is counted and logged.
#include "server/flaky.h"
#include "tests/unit/store_fixture.h"

static const uint64_t day_ms = 86400000;
static uint64_t later_ms;  // builds end so much after now

static struct store_mute mute_of(const char *test, uint64_t days) {
  return (struct store_mute){.project = "shop",
                             .suite = "unit",
                             .test = test,
                             .origin = "manual",
                             .reason = "it flakes",
                             .who = "me",
                             .ticket = "T-1",
                             .at_ms = base_wall_us() / 1000,
                             .life_ms = days * day_ms};
}

static void refuse(struct store *store, const struct store_mute *mute, const char *why) {
  struct store_error error = {""};
  assert_int_equal(store_mute_check(store, mute, &error), -1);
  if (strstr(error.text, why) == NULL) fail_msg("\"%s\" is not in \"%s\"", why, error.text);
}

static void put(struct store *store, const struct store_mute *mute) {
  struct store_error error;
  if (store_mute_check(store, mute, &error) != 0) fail_msg("%s", error.text);
  fx_wait(store, store_put_mute(store, mute));
}

// A build of four tests on two workers whose test 1 has these attempts.
static void build_of(struct store *store, uint64_t build, uint32_t first, uint32_t second, uint32_t third) {
  const uint32_t status[] = {first, second, third};
  char ext[16];
  (void)snprintf(ext, sizeof ext, "b%ju", (uintmax_t)build);
  fx_build(store, build, ext, ext);
  store_listed_free(fx_list(store, build, 4, 4));
  for (uint32_t i = 0; i < 3 && status[i] != 0; i++) {
    struct store_result r = fx_result(build, 1, status[i]);
    r.attempt = i + 1;
    r.worker = i % 2;
    r.flags = i == 2 || status[i + 1] == 0 ? STORE_SETTLES : 0;
    store_put_result(store, &r);
  }
  fx_wait(store, store_put_state(store, build, FX_COMPLETE, base_wall_us() / 1000 + later_ms, NULL));
  fx_learned(store);
}

static void test_by_hand(void **state) {
  struct store_query query = {.project = "shop", .suite = "unit", .test = "", .limit = 10};
  struct rows rows;
  struct store_error error;
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, FX_PASSED, 0, 0);
  struct store_mute mute = mute_of("t/test_0.py::test_1", 7), none = mute_of("t/none.py", 7);
  refuse(store, &none, "not known");
  none = mute_of("t/test_0.py::test_1", 0);
  refuse(store, &none, "not in quarantine");
  put(store, &mute);
  fx_build(store, 2, "b2", "c2");
  struct store_listed *listed = fx_list(store, 2, 4, 4);
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(listed->muted[i], i == 1);
  store_listed_free(listed);
  assert_int_equal(store_query_quarantine(store, &query, &rows, &error), 0);
  assert_int_equal(rows_count(&rows), 1);
  assert_string_equal(fx_cell(&rows, 0, "status"), "muted");
  assert_string_equal(fx_cell(&rows, 0, "reason"), "it flakes");
  assert_string_equal(fx_cell(&rows, 0, "who"), "me");
  rows_release(&rows);
  put(store, &none);
  assert_int_equal(fx_number("SELECT count(*) FROM quarantine"), 0);
  assert_int_equal(fx_number("SELECT count(*) FROM state_log WHERE who='me' AND new='muted' AND why='it flakes T-1'"),
                   1);
  assert_int_equal(fx_number("SELECT count(*) FROM state_log WHERE who='me' AND old='muted' AND new='gating'"), 1);
  store_close(store);
}

static bool muted_after_replay;
static void on_build(void *arg, const struct store_build *build, uint32_t state, uint32_t round) {
  (void)arg, (void)build, (void)state, (void)round;
}
static void on_worker(void *arg, const struct store_worker *worker, uint64_t acked, bool left, const char *late) {
  (void)arg, (void)worker, (void)acked, (void)left, (void)late;
}
static void on_list(void *arg, const struct store_list *list, const struct store_listed *listed) {
  (void)arg, (void)list;
  muted_after_replay = listed->muted[1] && !listed->muted[0];
}
static void on_round(void *arg, uint32_t round, const uint32_t *tests, size_t count) {
  (void)arg, (void)round, (void)tests, (void)count;
}
static void on_result(void *arg, const struct store_result *result) {
  (void)arg, (void)result;
}

// A build keeps what was muted when its list came, whatever happens to the quarantine.
static void test_a_restart_keeps_what_was_muted(void **state) {
  const struct store_replay replay = {on_build, on_worker, on_list, on_round, on_result, NULL};
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, FX_PASSED, 0, 0);
  struct store_mute mute = mute_of("t/test_0.py::test_1", 7);
  put(store, &mute);
  fx_build(store, 2, "b2", "c2");
  store_listed_free(fx_list(store, 2, 4, 4));
  mute.life_ms = 0;
  put(store, &mute);
  store_close(store);
  store = fx_open();
  assert_int_equal(store_replay_build(store, 2, &replay), 0);
  assert_true(muted_after_replay);
  assert_int_equal(store_replay_build(store, 1, &replay), 0);
  assert_false(muted_after_replay);
  store_close(store);
}

static void test_expiry(void **state) {
  (void)state;
  struct store *store = fx_open();
  build_of(store, 1, FX_PASSED, 0, 0);
  struct store_mute mute = mute_of("t/test_0.py::test_0", 1);
  mute.at_ms -= 2 * day_ms;
  put(store, &mute);
  fx_build(store, 2, "b2", "c2");
  struct store_listed *listed = fx_list(store, 2, 4, 4);
  assert_false(listed->muted[0]);
  store_listed_free(listed);
  struct store_query query = {.project = "shop", .suite = "unit", .test = "", .limit = 10};
  struct rows rows;
  struct store_error error;
  assert_int_equal(store_query_quarantine(store, &query, &rows, &error), 0);
  assert_string_equal(fx_cell(&rows, 0, "status"), "expired");
  rows_release(&rows);
  // Asked for, it is extended once, when it turns out still flaky.
  mute.extend = true;
  put(store, &mute);
  build_of(store, 3, FX_FAILED, FX_PASSED, 0);
  build_of(store, 4, FX_FAILED, FX_PASSED, 0);
  assert_int_equal(fx_number("SELECT state FROM flake_stat WHERE test=1"), FLAKY_FLAKY);
  assert_int_equal(fx_number("SELECT extend FROM quarantine"), 0);
  assert_int_equal(fx_number("SELECT expires_ms>unixepoch()*1000+86400000*13 FROM quarantine"), 1);
  assert_int_equal(fx_number("SELECT count(*) FROM state_log WHERE why LIKE '%once more'"), 1);
  store_close(store);
}

static void test_auto(void **state) {
  (void)state;
  fx_options.quarantine = STORE_QUARANTINE_AUTO;
  struct store *store = fx_open();
  for (uint64_t build = 1; build <= 3; build++)
    build_of(store, build, FX_FAILED, FX_PASSED, 0);
  assert_int_equal(fx_number("SELECT count(*) FROM quarantine WHERE test=1 AND origin='auto'"), 1);
  assert_int_equal(fx_number("SELECT count(*) FROM state_log WHERE new='muted'"), 1);
  build_of(store, 4, FX_FAILED, FX_FAILED, FX_FAILED);
  build_of(store, 5, FX_FAILED, FX_FAILED, FX_FAILED);
  build_of(store, 6, FX_FAILED, FX_FAILED, FX_FAILED);
  assert_int_equal(fx_number("SELECT state FROM flake_stat WHERE test=1"), FLAKY_BROKEN);
  assert_int_equal(fx_number("SELECT count(*) FROM quarantine"), 0);  // never a broken one
  struct store_mute mute = mute_of("t/test_0.py::test_0", 7);
  refuse(store, &mute, "broken");
  store_close(store);
}

// A flaky test that is sound again is let go: two weeks and a hundred builds without an event.
static void test_auto_lets_go(void **state) {
  uint64_t build = 1;
  (void)state;
  fx_options.quarantine = STORE_QUARANTINE_AUTO;
  struct store *store = fx_open();
  for (; build <= 3; build++)
    build_of(store, build, FX_FAILED, FX_PASSED, 0);
  assert_int_equal(fx_number("SELECT count(*) FROM quarantine WHERE test=1"), 1);
  later_ms = 15 * day_ms;
  for (; build <= 104; build++)
    build_of(store, build, FX_PASSED, 0, 0);
  later_ms = 0;
  assert_int_equal(fx_number("SELECT count(*) FROM quarantine"), 0);
  assert_int_equal(fx_number("SELECT count(*) FROM state_log WHERE why='it is sound again' AND new='gating'"), 1);
  store_close(store);
}

// Twice in a hundred builds, and none of them failed by it.
static void test_rare_flakes_are_not_muted(void **state) {
  struct store_query query = {.project = "shop", .suite = "unit", .test = "", .limit = 10};
  struct rows rows;
  struct store_error error;
  uint64_t build = 1;
  (void)state;
  fx_options.quarantine = STORE_QUARANTINE_AUTO;
  struct store *store = fx_open();
  for (; build <= 120; build++)
    build_of(store, build, FX_PASSED, 0, 0);
  for (; build <= 122; build++)
    build_of(store, build, FX_FAILED, FX_PASSED, 0);
  assert_int_equal(fx_number("SELECT state FROM flake_stat WHERE test=1"), FLAKY_FLAKY);
  assert_int_equal(fx_number("SELECT count(*) FROM quarantine"), 0);
  assert_int_equal(store_query_quarantine(store, &query, &rows, &error), 0);
  assert_int_equal(rows_count(&rows), 0);
  rows_release(&rows);
  store_close(store);
}

// More than one array holds at first; and a build whose muted tests were damaged says so.
static void test_many_muted(void **state) {
  enum { TESTS = 7000, MUTED = 70 };
  const struct store_replay replay = {on_build, on_worker, on_list, on_round, on_result, NULL};
  uint32_t muted = 0;
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "b1", "");
  store_listed_free(fx_list(store, 1, TESTS, TESTS));
  for (uint32_t test = 0; test < MUTED; test++) {
    char id[64];
    (void)snprintf(id, sizeof id, "t/test_0.py::test_%u", test);
    struct store_mute mute = mute_of(id, 7);
    put(store, &mute);
  }
  fx_build(store, 2, "b2", "");
  struct store_listed *listed = fx_list(store, 2, TESTS, TESTS);
  for (uint32_t i = 0; i < listed->count; i++)
    muted += listed->muted[i];
  store_listed_free(listed);
  assert_int_equal(muted, MUTED);
  struct store_mute other = mute_of("t/test_0.py::test_1", 7);
  other.suite = "none";
  refuse(store, &other, "not known");
  store_close(store);
  fx_change("UPDATE build SET muted_tests=x'ff' WHERE id=2");
  store = fx_open();
  assert_int_equal(store_replay_build(store, 2, &replay), -1);
  store_close(store);
}

static void test_report_only_says(void **state) {
  struct store_query query = {.project = "shop", .suite = "unit", .test = "", .limit = 10};
  (void)state;
  for (int mode = STORE_QUARANTINE_OFF; mode <= STORE_QUARANTINE_REPORT; mode++) {
    struct rows rows;
    struct store_error error;
    fx_options.quarantine = (enum store_quarantine)mode;
    struct store *store = fx_open();
    for (uint64_t build = store_next_build(store), end = build + 3; build < end; build++)
      build_of(store, build, FX_FAILED, FX_PASSED, 0);
    assert_int_equal(fx_number("SELECT count(*) FROM quarantine"), 0);
    assert_int_equal(store_query_quarantine(store, &query, &rows, &error), 0);
    assert_int_equal(rows_count(&rows), mode == STORE_QUARANTINE_REPORT);
    if (rows_count(&rows) > 0) assert_string_equal(fx_cell(&rows, 0, "status"), "candidate");
    rows_release(&rows);
    store_close(store);
  }
}

// Of a suite of 2,500 tests 25 may be muted, of a small one 20.
static void test_the_cap(void **state) {
  static const struct { uint32_t tests, most; } suites[] = {{100, 20}, {2500, 25}};
  (void)state;
  struct store *store = fx_open();
  for (uint64_t i = 0; i < COUNT_OF(suites); i++) {
    fx_build(store, i + 1, i ? "b1" : "b0", "");
    store_listed_free(fx_list(store, i + 1, suites[i].tests, 5000));
    for (uint32_t test = 0; test < suites[i].most; test++) {
      char id[64];
      (void)snprintf(id, sizeof id, "t/test_0.py::test_%u", test);
      struct store_mute mute = mute_of(id, 7);
      put(store, &mute);
    }
    struct store_mute mute = mute_of("t/test_0.py::test_50", 7);
    refuse(store, &mute, "too many");
    mute = mute_of("t/test_0.py::test_3", 7);  // one that is there can be changed
    put(store, &mute);
  }
  store_close(store);
}

static void test_counts(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "b1", "");
  store_listed_free(fx_list(store, 1, 4, 4));
  struct store_result r = fx_result(1, 1, FX_FAILED);
  r.flags |= STORE_MUTED;
  store_put_result(store, &r);
  fx_put(store, 1, 2, FX_FAILED, 1, true);
  fx_end(store, 1);
  assert_int_equal(fx_number("SELECT failed FROM build"), 1);
  assert_int_equal(fx_number("SELECT muted FROM build"), 1);
  static const uint32_t again[] = {1, 2};
  fx_wait(store, store_put_round(store, 1, 2, again, 2, 8));
  assert_int_equal(fx_number("SELECT failed+muted FROM build"), 0);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_by_hand, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_a_restart_keeps_what_was_muted, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_expiry, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_auto, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_auto_lets_go, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_rare_flakes_are_not_muted, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_many_muted, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_report_only_says, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_the_cap, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_counts, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
