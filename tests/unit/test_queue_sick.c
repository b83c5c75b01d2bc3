// Unit tests of sick workers: suspected, found out by what others make of their failures, fenced out; and of workers
// that are suspected wrongly. And of builds to which too few workers come.
#include "tests/unit/queue_fixture.h"

// A worker with its present lease.
struct hand {
  uint32_t worker, at;
  struct grant grant;
};

static uint32_t next_test(struct hand *hand) {
  if (hand->at == hand->grant.count) {
    hand->grant = lease(hand->worker);
    hand->at = 0;
  }
  return hand->grant.test[hand->at++];
}

// Reports its next test, and returns it.
static uint32_t does(struct hand *hand, enum queue_status status) {
  uint32_t test = next_test(hand);
  assert_int_equal(report(hand->worker, hand->grant.id, test, status), ACCEPT_CURRENT);
  return test;
}

static void does_many(struct hand *hand, uint32_t n, enum queue_status status) {
  for (uint32_t i = 0; i < n; i++)
    (void)does(hand, status);
}

// What is left of its lease passes, so that its next one is new.
static void ends_lease(struct hand *hand) {
  does_many(hand, hand->grant.count - hand->at, QUEUE_PASSED);
}

// As the loop does behind each message.
static void tick(void) {
  pass(0);
}

// How many verdicts are given back, in the round that has begun.
static uint32_t given_back(void) {
  for (size_t i = 0; i < fx.count; i++) {
    if (fx.item[i].kind != EFFECT_ROUND) continue;
    assert_int_equal(fx.item[i].round, queue_round(queue));
    return fx.item[i].count;
  }
  return 0;
}

static struct hand sick, well;

// A build in which one has failed `failures` and the other passed 20.
static void begin_with(uint32_t tests, uint32_t failures) {
  open_build(&usual, tests);
  sick = (struct hand){.worker = join_new()};
  well = (struct hand){.worker = join_new()};
  does_many(&well, 20, QUEUE_PASSED);
  does_many(&sick, failures, QUEUE_FAILED);
  assert_int_equal(counts().failing, failures);  // those settled
}

// A worker that skips fails nothing, and shows of no other one that it is sick.
static void test_skips_are_no_evidence(void **state) {
  (void)state;
  open_build(&usual, 60);
  sick = (struct hand){.worker = join_new()};
  well = (struct hand){.worker = join_new()};
  does_many(&well, 20, QUEUE_SKIPPED);
  does_many(&sick, 10, QUEUE_FAILED);
  (void)does(&sick, QUEUE_FAILED);
  assert_true(settles);  // of a suspect it would be tried elsewhere
}

static void test_fenced(void **state) {
  (void)state;
  begin_with(60, 10);
  uint32_t tried[3];
  for (int i = 0; i < 3; i++) {
    tried[i] = does(&sick, QUEUE_FAILED);
    assert_false(settles);
  }
  assert_int_equal(counts().failing, 10);
  ends_lease(&well);
  for (int found = 0; found < 3;) {  // on the other one they pass
    uint32_t test = does(&well, QUEUE_PASSED);
    for (int i = 0; i < 3; i++)
      found += test == tried[i];
    if (found == 3) assert_int_equal(queue_verdict(queue, test), VERDICT_FLAKY);
  }
  assert_int_equal(queue_deadline(queue), 0);
  tick();
  assert_int_equal(drained(sick.worker), EFFECT_DRAIN_FENCED);
  assert_int_equal(counts().failing, 0);
  assert_int_equal(queue_round(queue), 2);
  assert_int_equal(exit_code(sick.worker), EXIT_INFRA);
  // What it still has in hand proves nothing against a test.
  if (sick.at < sick.grant.count) {
    (void)does(&sick, QUEUE_FAILED);
    assert_false(settles);
  }
  ask(sick.worker);
  assert_int_equal(drained(sick.worker), EFFECT_DRAIN_FENCED);
  leave(sick.worker, false);
  finish(well.worker);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(build_code(), EXIT_OK);
  assert_int_equal(exit_code(well.worker), EXIT_OK);
  assert_int_equal(exit_code(sick.worker), EXIT_INFRA);
}

// A broken file looks the same, until others have it: then its worker is no suspect any more.
static void test_cleared(void **state) {
  (void)state;
  begin_with(60, 10);
  uint32_t tried[3], found = 0;
  for (int i = 0; i < 3; i++)
    tried[i] = does(&sick, QUEUE_FAILED);
  ends_lease(&well);
  while (found < 3) {
    uint32_t test = next_test(&well);
    bool bad = test == tried[0] || test == tried[1] || test == tried[2];
    assert_int_equal(report(well.worker, well.grant.id, test, bad ? QUEUE_FAILED : QUEUE_PASSED), ACCEPT_CURRENT);
    assert_true(settles);
    found += bad;
  }
  assert_int_equal(counts().failing, 13);
  (void)does(&sick, QUEUE_FAILED);
  assert_true(settles);
  tick();
  assert_int_equal(effects_of(EFFECT_ROUND, NOBODY), 0);
  assert_int_equal(exit_code(sick.worker), EXIT_TESTS_FAILED);
}

static void test_too_little_to_suspect(void **state) {
  (void)state;
  begin_with(60, 4);
  (void)does(&sick, QUEUE_FAILED);
  assert_true(settles);  // five failures, but of five
  does_many(&sick, 21, QUEUE_PASSED);
  (void)does(&sick, QUEUE_FAILED);
  assert_true(settles);  // less than a fifth
}

// A file that is broken is on one worker: that alone is no reason.
static void test_one_file(void **state) {
  (void)state;
  open_queue(&usual, 1);
  set_list(120, 60);
  sick = (struct hand){.worker = join_new()};
  well = (struct hand){.worker = join_new()};
  does_many(&well, 20, QUEUE_PASSED);
  for (int i = 0; i < 20; i++) {
    (void)does(&sick, QUEUE_FAILED);
    assert_true(settles);
  }
  (void)does(&sick, QUEUE_FAILED);
  assert_false(settles);  // so many of a file are one again
}

static void test_others_fail_too(void **state) {
  (void)state;
  begin_with(60, 10);
  does_many(&well, 7, QUEUE_FAILED);  // 7 of 27: the suite is none of the best
  (void)does(&sick, QUEUE_FAILED);
  assert_true(settles);
}

static void test_nobody_to_ask(void **state) {
  (void)state;
  begin_with(60, 10);
  leave(well.worker, false);
  (void)does(&sick, QUEUE_FAILED);
  assert_true(settles);
}

static void test_probes_are_bounded(void **state) {
  (void)state;
  begin_with(60, 10);
  for (int i = 0; i < 10; i++) {
    (void)does(&sick, QUEUE_FAILED);
    assert_false(settles);
  }
  (void)does(&sick, QUEUE_FAILED);
  assert_true(settles);
}

// The result that finds it out is the build's last: the build goes on for what is given back.
static void test_found_out_at_the_end(void **state) {
  (void)state;
  begin_with(33, 10);
  for (int i = 0; i < 3; i++)
    (void)does(&sick, QUEUE_FAILED);
  ends_lease(&well);
  does_many(&well, 3, QUEUE_PASSED);
  assert_int_equal(counts().done, 33);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  tick();
  assert_int_equal(given_back(), 10);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  finish(well.worker);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(build_code(), EXIT_OK);
}

// Two at once: all that they failed is given back in one round.
static void test_two_at_once(void **state) {
  (void)state;
  open_build(&usual, 100);
  struct hand other;
  sick = (struct hand){.worker = join_new()};
  other = (struct hand){.worker = join_new()};
  well = (struct hand){.worker = join_new()};
  does_many(&well, 60, QUEUE_PASSED);
  for (struct hand *hand = &sick; hand; hand = hand == &sick ? &other : NULL) {
    does_many(hand, 10, QUEUE_FAILED);
    for (int i = 0; i < 3; i++) {
      (void)does(hand, QUEUE_FAILED);
      assert_false(settles);
    }
    ends_lease(&well);
    does_many(&well, 3, QUEUE_PASSED);
  }
  tick();
  assert_int_equal(drained(sick.worker), EFFECT_DRAIN_FENCED);
  assert_int_equal(drained(other.worker), EFFECT_DRAIN_FENCED);
  assert_int_equal(given_back(), 20);
  assert_int_equal(queue_round(queue), 2);
}

// A build that ended meanwhile, by its bound on failures, stays as it is.
static void test_not_in_an_ended_build(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.max_failures = 11;
  open_build(&policy, 60);
  sick = (struct hand){.worker = join_new()};
  well = (struct hand){.worker = join_new()};
  does_many(&well, 20, QUEUE_PASSED);
  does_many(&sick, 10, QUEUE_FAILED);
  does_many(&sick, 3, QUEUE_FAILED);  // probes
  ends_lease(&well);
  does_many(&well, 2, QUEUE_PASSED);
  struct grant last = lease(well.worker);
  uint32_t bad = join_new();
  struct hand third = {.worker = bad};
  (void)does(&third, QUEUE_FAILED);
  assert_int_equal(queue_state(queue), QUEUE_ABORTED);
  assert_int_equal(report(well.worker, last.id, last.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
  tick();
  assert_int_equal(given_back(), 0);
  assert_int_equal(queue_round(queue), 1);
  assert_int_equal(queue_state(queue), QUEUE_ABORTED);
}

// With all others gone it is better than nobody, and what it says then counts.
static void test_fenced_and_alone(void **state) {
  (void)state;
  begin_with(60, 10);
  for (int i = 0; i < 3; i++)
    (void)does(&sick, QUEUE_FAILED);
  ends_lease(&well);
  while (queue_deadline(queue) != 0)
    (void)does(&well, QUEUE_PASSED);
  tick();
  assert_int_equal(drained(sick.worker), EFFECT_DRAIN_FENCED);
  leave(well.worker, false);
  sick.at = sick.grant.count = 0;
  (void)does(&sick, QUEUE_FAILED);
  assert_true(settles);
  assert_int_equal(exit_code(sick.worker), EXIT_TESTS_FAILED);
}

// A skip elsewhere says nothing good: it counts as a failure, and clears the suspect.
static void test_skips_do_not_refute(void **state) {
  (void)state;
  begin_with(60, 10);
  uint32_t tried[3];
  for (int i = 0; i < 3; i++)
    tried[i] = does(&sick, QUEUE_FAILED);
  ends_lease(&well);
  for (int i = 0; i < 3; i++) {
    uint32_t test = next_test(&well);
    assert_int_equal(test, tried[i]);
    enum queue_status counts_as = queue_counts_as(queue, test, QUEUE_SKIPPED);
    assert_int_equal(counts_as, QUEUE_FAILED);
    assert_int_equal(report(well.worker, well.grant.id, test, counts_as), ACCEPT_CURRENT);
    assert_int_equal(queue_verdict(queue, test), VERDICT_FAILED);
  }
  tick();
  assert_int_equal(given_back(), 0);
  assert_int_equal(queue_counts_as(queue, next_test(&well), QUEUE_SKIPPED), QUEUE_SKIPPED);
}

// Crashes have a rule of their own, and muted tests no failing verdict to give back.
static void test_crashes_are_tried_again_anyway(void **state) {
  (void)state;
  begin_with(60, 10);
  (void)does(&sick, QUEUE_CRASHED);
  assert_false(settles);
  assert_int_equal(counts().failing, 10);
}

// ---- too few workers

static const struct queue_policy quorum = {.linger_us = 60 * SECOND,
                                           .lease_ttl_us = 15 * SECOND,
                                           .idle_us = 600 * SECOND,
                                           .min_workers = 3,
                                           .min_workers_us = 10 * SECOND};

static void test_too_few_came(void **state) {
  (void)state;
  open_build(&quorum, 10);
  uint32_t a = join_new(), b = join_new();
  struct grant grant = lease(a);
  finish(b);
  ask(b);
  pass(10 * SECOND - 1);
  heard(a), heard(b);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  pass(1);
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
  assert_true(queue_few(queue));
  assert_int_equal(drained(b), EFFECT_DRAIN_FEW);
  heard(a);
  tick();
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);  // those who are here do not make it go on
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_SEALED);
  ask(a);
  assert_int_equal(drained(a), EFFECT_DRAIN_FEW);
  assert_int_equal(exit_code(a), EXIT_INFRA);
  assert_int_equal(build_code(), EXIT_INFRA);
  // The third one comes late, and is enough.
  uint32_t c = join_new();
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  assert_false(queue_few(queue));
  leave(a, false), leave(b, false);
  finish(c);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(exit_code(c), EXIT_OK);
}

static void test_enough_came(void **state) {
  (void)state;
  open_build(&quorum, 10);
  uint32_t a = join_new();
  for (int i = 0; i < 2; i++)
    leave(join_new(), false);  // it came, and that is all that is asked
  pass(9 * SECOND);
  heard(a);
  pass(9 * SECOND);
  heard(a);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  finish(a);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

static void test_done_before_they_came(void **state) {
  (void)state;
  open_build(&quorum, 3);
  uint32_t a = join_new();
  finish(a);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  pass(20 * SECOND);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

// Workers that went on without the server bring their results one after another.
static void test_bringers_are_no_quorum(void **state) {
  (void)state;
  open_build(&quorum, 3);
  struct queue_join join = {.node = "n", .attempt = "1", .brings = true};
  begin();
  uint32_t a = queue_join(queue, now, &join, &reopened, &reopened_count, &fx);
  end();
  leave(a, false);
  pass(60 * SECOND);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
}

static void test_too_few_after_a_restart(void **state) {
  (void)state;
  open_queue(&quorum, 1);
  struct queue_join join = {.node = "n", .attempt = "1"};
  (void)queue_restore_worker(queue, &join, &(struct queue_past){0});
  join.attempt = "2";
  (void)queue_restore_worker(queue, &join, &(struct queue_past){0});  // the same job once more
  set_list(3, 0);
  begin();
  queue_restored(queue, now, QUEUE_INCOMPLETE, &fx);
  end();
  assert_true(queue_few(queue));
  uint32_t b = join_new();
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
  assert_int_equal(exit_code(b), EXIT_INFRA);
  (void)join_new();
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_skips_are_no_evidence),
      TEST(test_fenced),
      TEST(test_cleared),
      TEST(test_too_little_to_suspect),
      TEST(test_one_file),
      TEST(test_others_fail_too),
      TEST(test_nobody_to_ask),
      TEST(test_probes_are_bounded),
      TEST(test_found_out_at_the_end),
      TEST(test_two_at_once),
      TEST(test_not_in_an_ended_build),
      TEST(test_fenced_and_alone),
      TEST(test_skips_do_not_refute),
      TEST(test_crashes_are_tried_again_anyway),
      TEST(test_too_few_came),
      TEST(test_enough_came),
      TEST(test_done_before_they_came),
      TEST(test_bringers_are_no_quorum),
      TEST(test_too_few_after_a_restart),
  };
  return cmocka_run_group_tests_name("queue_sick", tests, NULL, NULL);
}
