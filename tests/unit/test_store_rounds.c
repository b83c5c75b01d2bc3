// Unit tests of a stored number of rounds that makes no sense: neither learning nor a restart counts up to it.
#include "server/store_impl.h"
#include "tests/unit/store_fixture.h"

struct heard {
  uint32_t rounds, results, last;
};

static void on_build(void *arg, const struct store_build *build, uint32_t state, uint32_t round) {
  (void)arg, (void)build, (void)state;
  assert_in_range(round, 1, LIMIT_ROUNDS);
}

static void on_worker(void *arg, const struct store_worker *worker, uint64_t acked, bool left, const char *late) {
  (void)arg, (void)worker, (void)acked, (void)left, (void)late;
}

static void on_list(void *arg, const struct store_list *list, const struct store_listed *listed) {
  (void)arg, (void)listed;
  assert_int_equal(list->count, 3);
}

static void on_round(void *arg, uint32_t round, const uint32_t *tests, size_t count) {
  struct heard *heard = arg;
  assert_int_equal(count, 1);
  assert_int_equal(tests[0], 2);
  heard->last = round;
  heard->rounds++;
}

static void on_result(void *arg, const struct store_result *result) {
  struct heard *heard = arg;
  assert_int_equal(result->round, result->test == 2 && result->attempt == 2 ? 5 : 1);
  heard->results++;
}

// A build of three tests, one of which ran again in round 5; `sql` makes nonsense of it.
static struct store *open_spoilt(const char *sql) {
  static const uint32_t again[] = {2};
  struct store *store = fx_open();
  fx_build(store, 1, "a", "c");
  store_listed_free(fx_list(store, 1, 3, 3));
  for (uint32_t test = 1; test <= 3; test++)
    fx_put(store, 1, test, test == 2 ? FX_FAILED : FX_PASSED, 1, true);
  store_put_round(store, 1, 5, again, 1, 8);
  struct store_result result = fx_result(1, 2, FX_PASSED);
  result.attempt = 2;
  result.round = 5;
  store_put_result(store, &result);
  fx_end(store, 1);
  fx_learned(store);
  store_close(store);
  fx_change(sql);
  return fx_open();
}

static void test_a_number_of_rounds_that_makes_no_sense(void **state) {
  static const char *const spoils[] = {
      "UPDATE build SET learned_round=0, round=1<<31; DELETE FROM dur_stat",
      "UPDATE build SET learned_round=0, round=1<<62; DELETE FROM dur_stat",
      "UPDATE build SET learned_round=-1, round=9223372036854775807; DELETE FROM dur_stat",
      "UPDATE build SET learned_round=0, round=1<<62, state=2; DELETE FROM dur_stat",
  };
  for (size_t i = 0; i < COUNT_OF(spoils); i++) {
    struct heard heard = {0};
    const struct store_replay replay = {on_build, on_worker, on_list, on_round, on_result, &heard};
    struct store *store = open_spoilt(spoils[i]);
    fx_learned(store);
    assert_int_equal(fx_number("SELECT count(*) FROM dur_stat"), 3);
    assert_int_equal(fx_number("SELECT max(n) FROM dur_stat"), 1);
    assert_int_equal(store_replay_build(store, 1, &replay), 0);
    assert_int_equal(heard.rounds, 1);
    assert_int_equal(heard.last, 5);
    assert_int_equal(heard.results, 4);
    store_close(store);
    assert_int_equal(fx_teardown(state), 0);
    if (i + 1 < COUNT_OF(spoils)) assert_int_equal(fx_setup(state), 0);
  }
  assert_int_equal(fx_setup(state), 0);
}

// What was taught beyond what a round's number can be is not taught again and again.
static void test_rounds_that_were_learned_beyond(void **state) {
  (void)state;
  struct store *store = open_spoilt("UPDATE build SET learned_round=1<<33, round=1<<62; UPDATE result SET round=1<<62");
  fx_learned(store);
  assert_true(fx_number("SELECT learned_round FROM build") == INT64_C(1) << 62);
  store_close(store);
}

// A daemon starts with it.
static void test_no_round_at_all(void **state) {
  (void)state;
  struct heard heard = {0};
  const struct store_replay replay = {on_build, on_worker, on_list, on_round, on_result, &heard};
  struct store *store = open_spoilt("UPDATE build SET round=-5, state=2");
  assert_int_equal(store_replay_build(store, 1, &replay), 0);
  assert_int_equal(heard.results, 3);
  store_close(store);
}

static void on_empty_round(void *arg, uint32_t round, const uint32_t *tests, size_t count) {
  struct heard *heard = arg;
  (void)tests;
  assert_int_equal(round, 2);
  assert_int_equal(count, 0);
  heard->rounds++;
}

// A job that is run again clears a fact of which all tests wait already: its round opens none.
static void test_a_round_of_no_test(void **state) {
  (void)state;
  struct heard heard = {0};
  const struct store_replay replay = {on_build, on_worker, on_list, on_empty_round, on_result, &heard};
  struct store *store = fx_open();
  fx_build(store, 1, "a", "c");
  store_listed_free(fx_list(store, 1, 3, 3));
  fx_put(store, 1, 1, FX_PASSED, 1, true);
  store_put_left(store, 1, 0, 7, "broke", 1, 0);
  fx_wait(store, store_put_cleared(store, 1, 0, 2));
  fx_wait(store, store_put_round(store, 1, 2, NULL, 0, 8));
  store_close(store);
  store = fx_open();
  assert_int_equal(store_replay_build(store, 1, &replay), 0);
  assert_int_equal(heard.rounds, 1);
  assert_int_equal(heard.results, 1);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_a_number_of_rounds_that_makes_no_sense, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_rounds_that_were_learned_beyond, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_no_round_at_all, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_a_round_of_no_test, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests_name("store_rounds", tests, NULL, NULL);
}
