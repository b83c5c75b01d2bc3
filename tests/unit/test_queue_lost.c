// Workers that vanish, and the tests that they had in their hands.
#include "tests/unit/queue_fixture.h"

// Workers that come one after another: who is given `poison` vanishes, and nobody hears that it began; others pass all.
static uint32_t deaths_of(uint32_t poison) {
  uint32_t deaths = 0;
  while (queue_verdict(queue, poison) == VERDICT_NONE) {
    uint32_t worker = join_new();
    struct grant grant = lease(worker);
    while (grant.test[0] != poison) {
      report_all(worker, &grant, QUEUE_PASSED);
      grant = lease(worker);
    }
    assert_int_equal(grant.count, 1);
    detach(worker);
    pass(usual.lease_ttl_us);
    deaths++;
  }
  return deaths;
}

// Three workers that vanish with one test: it is held to have killed them, and the record names them. What they held
// beside it is not: it was run alone meanwhile. It does not matter where the test stood, or that nobody saw it begin.
static void test_lost_three_times(void **state) {
  for (uint32_t place = 0, held = 1; place < held; place++) {
    open_build(&usual, 8);
    uint32_t first = join_new();
    struct grant running = lease(first), waiting = lease(first);
    held = running.count + waiting.count;
    queue_started(queue, now, first, running.id, running.test[0]);
    assert_int_equal(queue_running_test(queue, first), running.test[0]);
    uint32_t poison = place < running.count ? running.test[place] : waiting.test[place - running.count];
    detach(first);
    pass(usual.lease_ttl_us);
    assert_int_equal(deaths_of(poison), LIMIT_LOST - 1);
    assert_int_equal(queue_verdict(queue, poison), VERDICT_CRASHED);
    assert_int_equal(effects_of(EFFECT_RESULT, NOBODY), 1);
    const struct effect *lost = fx.item;
    while (lost->kind != EFFECT_RESULT)
      lost++;
    assert_true(lost->lost_by[0] == first && lost->lost_by[1] == first + 1 && lost->worker == first + 2);
    finish(join_new());
    assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
    assert_int_equal(counts().by_status[QUEUE_CRASHED], 1);
    assert_int_equal(counts().failing, 1);
    close_queue(state);
  }
}

// A suspect waits for a worker that holds nothing, and that worker is given nothing beside it.
static void test_suspects_run_alone(void **state) {
  (void)state;
  open_build(&usual, 32);
  uint32_t a = join_new(), b = join_new();
  struct grant lost = lease(a), busy = lease(b);
  assert_true(lost.count > 1);
  detach(a);
  pass(usual.lease_ttl_us - 1);
  heard(b);
  pass(1);
  expect_parked(b);  // it is busy
  report_all(b, &busy, QUEUE_PASSED);
  struct grant alone = granted(b);
  assert_true(alone.count == 1 && alone.test[0] == lost.test[0]);
  expect_parked(b);
  uint32_t c = join_new();
  struct grant other = lease(c);
  assert_true(other.count == 1 && other.test[0] == lost.test[1]);
}

// Where each lease costs the start of a process, they go in parts the first time.
static void test_suspects_in_parts(void **state) {
  (void)state;
  open_build(&usual, 8);
  uint32_t a = join_new(), number = 0;
  struct grant lost = lease(a);
  while (number++ < 2) {
    detach(a);
    pass(usual.lease_ttl_us);
    a = join_new();
    queue_starts_processes(queue, a, SECOND);
    struct grant again = lease(a);
    assert_int_equal(again.count, number == 1 ? lost.count : 1);
    assert_int_equal(again.test[0], lost.test[0]);
  }
}

// Two workers that fall silent in turn are two, however often they do; and both have come back.
static void test_two_workers_are_two_deaths(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t worker[2] = {join_new(), join_new()};
  for (int turn = 0; turn < 2 * LIMIT_LOST; turn++) {
    uint32_t w = worker[turn % 2];
    heard(w);
    (void)lease(w);
    pass(usual.lease_ttl_us);
    assert_int_equal(counts().ready, 1);
  }
  assert_int_equal(queue_verdict(queue, 0), VERDICT_NONE);
}

// A worker that falls silent again and again in a test has not been killed by it even once.
static void test_one_worker_is_one_death(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new();
  for (int silences = 0; silences < 2 * LIMIT_LOST; silences++) {
    struct grant grant = lease(a);
    queue_started(queue, now, a, grant.id, 0);
    pass(usual.lease_ttl_us);
    assert_int_equal(counts().ready, 1);
    heard(a);
  }
  assert_int_equal(queue_verdict(queue, 0), VERDICT_NONE);
}

// It fell silent, and its failure came after all: the test goes to be tried again and not back to it, though it was not
// told so and names the lease; nor is it charged with a death.
static void test_late_failure_is_not_held(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.retries = 1;
  open_build(&policy, 1);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  queue_started(queue, now, a, grant.id, 0);
  pass(policy.lease_ttl_us);
  assert_int_equal(report(a, grant.id, 0, QUEUE_FAILED), ACCEPT_LATE);
  detach(a);
  attach(a);
  assert_false(adopt(a, grant.id, grant.test, 1));
  assert_int_equal(counts().ready, 1);
  for (uint32_t vanished = 0; vanished < 2; vanished++) {
    uint32_t w = join_new();
    struct grant again = lease(w);
    queue_started(queue, now, w, again.id, 0);
    pass(policy.lease_ttl_us);
  }
  assert_int_equal(queue_verdict(queue, 0), VERDICT_NONE);  // two have vanished in it, not three
}

static void test_leaving_charges_nobody(void **state) {
  (void)state;
  open_build(&usual, 1);
  for (int i = 0; i < 3 * LIMIT_LOST; i++) {
    uint32_t worker = join_new();
    struct grant grant = lease(worker);
    queue_started(queue, now, worker, grant.id, grant.test[0]);
    leave(worker, false);
  }
  assert_int_equal(counts().ready, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_lost_three_times),           TEST(test_suspects_run_alone),      TEST(test_suspects_in_parts),
      TEST(test_two_workers_are_two_deaths), TEST(test_one_worker_is_one_death), TEST(test_late_failure_is_not_held),
      TEST(test_leaving_charges_nobody),
  };
  return cmocka_run_group_tests_name("queue_lost", tests, NULL, NULL);
}
