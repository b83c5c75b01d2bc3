// Steal-back: who is asked for what, what an answer changes, and what is never asked.
#include "tests/unit/queue_fixture.h"

// A build of tests of a second each, where worker 0 holds all but the first in one lease and worker 1 is parked.
struct held {
  uint32_t busy, thief;
  uint64_t lease;
};

static struct held hold(const struct queue_policy *policy, uint32_t tests, uint32_t per_file) {
  struct held held;
  uint32_t rest[TESTS_MAX];
  open_queue(policy, 1);
  set_list(tests, per_file);
  held.busy = join_new();
  struct grant first = lease(held.busy);
  held.lease = first.id;
  report_all(held.busy, &first, QUEUE_PASSED);
  for (uint32_t i = first.count; i < tests; i++)
    rest[i - first.count] = i;
  assert_true(adopt(held.busy, first.id, rest, tests - first.count));
  held.thief = join_new();
  return held;
}

static const struct effect *recall(void) {
  const struct effect *found = NULL;
  for (size_t i = 0; i < fx.count; i++) {
    if (fx.item[i].kind != EFFECT_RECALL) continue;
    assert_null(found);
    found = &fx.item[i];
  }
  return found;
}

static void answer(uint32_t worker, uint64_t lease_id, const uint32_t *tests, uint32_t count) {
  uint32_t copy[TESTS_MAX];  // what they point at goes with the effects
  if (count) memcpy(copy, tests, count * sizeof *tests);
  begin();
  queue_released(queue, now, worker, lease_id, copy, count, &fx);
  end();
}

static void test_parked_worker_gets_unbegun(void **state) {
  (void)state;
  struct held held = hold(&usual, 12, 0);
  uint32_t begun = 12 - counts().leased;
  queue_started(queue, now, held.busy, held.lease, begun);
  expect_parked(held.thief);
  const struct effect *asked = recall();
  assert_non_null(asked);
  assert_int_equal(asked->worker, held.busy);
  assert_int_equal(asked->lease, held.lease);
  assert_int_equal(asked->count, counts().leased - 1);
  for (uint32_t i = 0; i < asked->count; i++)
    assert_int_equal(asked->tests[i], begun + 1 + i);
  answer(held.busy, held.lease, asked->tests, asked->count);
  struct grant got = granted(held.thief);
  assert_true(got.count > 0 && got.test[0] > begun);
  assert_int_equal(report(held.busy, held.lease, begun, QUEUE_PASSED), ACCEPT_CURRENT);
  report_all(held.thief, &got, QUEUE_PASSED);
  for (int i = 0; i < 12 && queue_state(queue) == QUEUE_RUNNING; i++) {
    finish(held.thief);
    finish(held.busy);
  }
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(build_code(), EXIT_OK);
}

// It had begun more than the server knew of: what it keeps stays its own, and is asked for again a second later.
// What a worker is about to begin is not asked for: handed on before it begins, a test alone would go round for ever.
static void test_next_to_begin_stays(void **state) {
  (void)state;
  open_build(&usual, 2);
  uint32_t a = join_new(), b = join_new();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_PASSED);
  uint64_t last = lease(a).id;
  expect_parked(b);
  assert_int_equal(counts().leased, 1);
  assert_null(recall());
  pass(2 * SECOND);
  assert_null(recall());
  assert_int_equal(report(a, last, 1, QUEUE_PASSED), ACCEPT_CURRENT);

  close_queue(NULL);
  struct held held = hold(&usual, 12, 0);
  expect_parked(held.thief);
  const struct effect *asked = recall();
  assert_non_null(asked);
  assert_int_equal(asked->count, counts().leased - 1);
}

static void test_answer_may_be_less(void **state) {
  (void)state;
  struct held held = hold(&usual, 12, 0);
  uint32_t first = 12 - counts().leased;
  expect_parked(held.thief);
  const struct effect *asked = recall();
  assert_non_null(asked);
  uint32_t leased = counts().leased;
  heard(held.busy);
  pass(900000);
  assert_null(recall());  // one question at a time
  answer(held.busy, held.lease, NULL, 0);
  assert_int_equal(counts().leased, leased);
  queue_started(queue, now, held.busy, held.lease, first);
  pass(SECOND);
  assert_non_null(recall());
  assert_int_equal(recall()->tests[0], first + 1);
}

// A test that takes far longer than it should holds up what stands behind it.
static void test_hung_test(void **state) {
  (void)state;
  struct held held = hold(&usual, 4, 2);
  uint32_t last = 3;
  for (uint32_t i = 4 - counts().leased; i < last - 1; i++)
    (void)report(held.busy, held.lease, i, QUEUE_PASSED);
  queue_started(queue, now, held.busy, held.lease, last - 1);
  expect_parked(held.thief);
  const struct effect *asked = recall();
  assert_non_null(asked);  // a second of work for two workers, no set-up
  assert_int_equal(asked->count, 1);
  assert_int_equal(asked->tests[0], last);
}

static void set_up_costs(uint64_t setup_us) {
  uint32_t file_of[8] = {0}, unit_of[8];
  uint64_t us[8];
  for (uint32_t i = 0; i < 8; i++) {
    unit_of[i] = i;
    us[i] = SECOND;
  }
  struct sched_list list = {.count = 8, .file_count = 1, .file_of = file_of, .unit_of = unit_of};
  list.expected_us = list.order_us = us;
  list.file_setup_us = &setup_us;
  begin();
  queue_set_list(queue, now, &list, NULL, &fx);
  end();
}

static bool asks_back(const struct queue_policy *policy, uint64_t setup_us) {
  uint32_t rest[8];
  open_queue(policy, 1);
  set_up_costs(setup_us);
  uint32_t busy = join_new();
  struct grant first = lease(busy);
  report_all(busy, &first, QUEUE_PASSED);
  for (uint32_t i = first.count; i < 8; i++)
    rest[i - first.count] = i;
  assert_true(adopt(busy, first.id, rest, 8 - first.count));
  queue_started(queue, now, busy, first.id, first.count);
  expect_parked(join_new());
  return recall() != NULL;
}

static void test_set_up_must_pay(void **state) {
  assert_true(asks_back(&usual, SECOND / 2));
  close_queue(state);
  assert_false(asks_back(&usual, 5 * SECOND));
}

static void test_whole_files_stay(void **state) {
  struct queue_policy whole = usual, ordered = usual;
  whole.whole_files = true;
  ordered.in_order = true;
  assert_true(asks_back(&usual, 0));
  close_queue(state);
  assert_false(asks_back(&whole, 0));
  close_queue(state);
  assert_false(asks_back(&ordered, 0));
}

// Another file of the lease goes as a whole, and with it the seat in it.
static void test_whole_file_goes_whole(void **state) {
  (void)state;
  struct queue_policy whole = usual;
  whole.whole_files = true;
  struct held held = hold(&whole, 12, 6);
  queue_started(queue, now, held.busy, held.lease, 12 - counts().leased);
  expect_parked(held.thief);
  const struct effect *asked = recall();
  assert_non_null(asked);
  assert_int_equal(asked->count, 6);
  assert_int_equal(asked->tests[0], 6);
  answer(held.busy, held.lease, asked->tests, asked->count);
  struct grant got = granted(held.thief);
  assert_true(got.count > 0);
  assert_int_equal(got.test[0], 6);
}

// A worker that starts a process for each lease has given it all it holds.
static void test_process_leases_stay(void **state) {
  (void)state;
  struct held held = hold(&usual, 12, 0);
  queue_starts_processes(queue, held.busy, SECOND);
  expect_parked(held.thief);
  assert_null(recall());
}

// The answer was lost with the connection: what the worker does not name any more is free.
static void test_lost_answer(void **state) {
  (void)state;
  struct held held = hold(&usual, 6, 0);
  uint32_t first = 6 - counts().leased;
  expect_parked(held.thief);
  assert_non_null(recall());
  detach(held.busy);
  attach(held.busy);
  assert_true(adopt(held.busy, held.lease, &first, 1));
  assert_int_equal(counts().leased, 1);
  begin();
  queue_holds_only(queue, now, held.busy, &held.lease, 1, &fx);
  end();
  assert_true(granted(held.thief).count > 0);
  assert_int_equal(counts().leased, 1 + granted(held.thief).count);
}

// The worker it was asked of vanishes: its tests are free, and the next one may be asked.
static void test_victim_vanishes(void **state) {
  (void)state;
  struct held held = hold(&usual, 12, 0);
  expect_parked(held.thief);
  assert_non_null(recall());
  struct grant got = {0};
  for (int i = 0; i < 4 && got.count == 0; i++) {
    heard(held.thief);
    pass(5 * SECOND);
    got = granted(held.thief);
  }
  assert_int_equal(counts().connected, 1);
  report_all(held.thief, &got, QUEUE_PASSED);
  finish(held.thief);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

// Nonsense in an answer changes nothing.
static void test_strange_answers(void **state) {
  (void)state;
  struct held held = hold(&usual, 12, 0);
  uint32_t done = 0, leased = counts().leased;
  answer(held.busy, held.lease + 7, &done, 1);
  answer(held.thief, held.lease, &done, 1);
  answer(held.busy, held.lease, &done, 1);  // has its verdict
  assert_int_equal(counts().leased, leased);
  uint32_t twice[] = {11, 11};
  answer(held.busy, held.lease, twice, 2);
  assert_int_equal(counts().leased, leased - 1);
  assert_int_equal(report(held.busy, held.lease, 11, QUEUE_PASSED), ACCEPT_DUPLICATE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_parked_worker_gets_unbegun),
      TEST(test_next_to_begin_stays),
      TEST(test_answer_may_be_less),
      TEST(test_hung_test),
      TEST(test_set_up_must_pay),
      TEST(test_whole_files_stay),
      TEST(test_whole_file_goes_whole),
      TEST(test_process_leases_stay),
      TEST(test_lost_answer),
      TEST(test_victim_vanishes),
      TEST(test_strange_answers),
  };
  return cmocka_run_group_tests_name("queue_steal", tests, NULL, NULL);
}
