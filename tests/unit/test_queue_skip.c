// Unit tests of skips: which settle a verdict, who is asked besides, and what becomes of the skips of a worker that
// lacks something.
#include "tests/unit/queue_fixture.h"

enum { DOCKER = 1, WINDOWS = 2 };

// `nodes` are declared; 0: it is not known how many will come.
static void open_files(uint32_t tests, uint32_t per_file, uint32_t nodes) {
  open_queue(&usual, 1);
  queue_declare(queue, nodes);
  set_list(tests, per_file);
}

static enum queue_accept skip_for(uint32_t worker, uint64_t id, uint32_t test, uint32_t reason) {
  struct queue_result result = {
      .worker = worker, .test = test, .lease = id, .status = QUEUE_SKIPPED, .duration_us = 1000, .reason = reason};
  begin();
  enum queue_accept accept = queue_result(queue, now, &result, &attempt, &settles, &fx);
  end();
  return accept;
}

static void skip_all(uint32_t worker, const struct grant *grant, uint32_t reason) {
  for (uint32_t i = 0; i < grant->count; i++)
    assert_int_equal(skip_for(worker, grant->id, grant->test[i], reason), ACCEPT_CURRENT);
}

// It skips whatever it is given, until it is parked; how many tests that were.
static uint32_t skips_everything(uint32_t worker, uint32_t reason) {
  uint32_t n = 0;
  for (ask(worker); effects_of(EFFECT_LEASE, worker); ask(worker)) {
    struct grant grant = granted(worker);
    n += grant.count;
    skip_all(worker, &grant, reason);
    pass(0);
  }
  return n;
}

// Skipping takes no time, and says nothing of a machine's speed.
static void test_skips_teach_no_speed(void **state) {
  (void)state;
  open_files(40, 10, 2);
  uint32_t worker = join_new(), other = join_new();
  struct grant grant = lease(worker);
  double before = queue_slowness(queue, worker);
  skip_all(worker, &grant, DOCKER);
  assert_true(queue_slowness(queue, worker) == before);
  grant = lease(other);
  assert_int_equal(report(other, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
}

static uint32_t given_back(void) {
  for (size_t i = 0; i < fx.count; i++) {
    if (fx.item[i].kind == EFFECT_ROUND) return fx.item[i].count;
  }
  return 0;
}

// It beats, until so much time has passed or it is given something.
static struct grant beats(uint32_t worker, uint64_t us) {
  for (uint64_t left = us, step; left > 0; left -= step) {
    step = left < 5 * (uint64_t)SECOND ? left : 5 * (uint64_t)SECOND;
    pass(step);
    if (effects_of(EFFECT_LEASE, worker)) break;
    heard(worker);
  }
  return granted(worker);
}

static void expect_end(uint32_t passed, uint32_t skipped) {
  pass(0);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(counts().by_verdict[VERDICT_PASSED], passed);
  assert_int_equal(counts().by_verdict[VERDICT_SKIPPED], skipped);
  assert_int_equal(build_code(), EXIT_OK);
}

// ---- one that lacks something

static void test_two_nodes_one_lacks(void **state) {
  (void)state;
  struct queue_lacked lacked[2];
  open_files(40, 10, 2);
  uint32_t lacks = join_new(), has = join_new();
  struct grant first = lease(has);
  assert_true(skips_everything(lacks, DOCKER) > 20);  // skipping is quick
  assert_int_equal(counts().done, 0);                 // and settles nothing
  report_all(has, &first, QUEUE_PASSED);
  finish(has);
  expect_end(40, 0);
  queue_skip_lacked(queue, lacked);
  assert_int_equal(lacked[lacks].tests, 40 - first.count);
  assert_int_equal(lacked[lacks].reason, DOCKER);
  assert_int_equal(lacked[has].tests, 0);
  assert_int_equal(exit_code(lacks), EXIT_OK);
}

// Once it is known what it lacks, it gets no more of the files where it skips for that, but other files.
static void test_no_more_of_that_kind(void **state) {
  (void)state;
  open_files(80, 20, 2);
  uint32_t lacks = join_new(), has = join_new();
  struct grant grant = lease(lacks);
  uint32_t file = grant.test[0] / 20;
  skip_all(lacks, &grant, DOCKER);
  struct grant probe = lease(has);  // one of the kind first
  assert_int_equal(probe.count, 1);
  assert_int_equal(probe.test[0] / 20, file);
  report_all(has, &probe, QUEUE_PASSED);
  pass(0);
  for (int i = 0; i < 5; i++) {
    grant = lease(lacks);
    for (uint32_t t = 0; t < grant.count; t++)
      assert_int_not_equal(grant.test[t] / 20, file);
    report_all(lacks, &grant, QUEUE_PASSED);
  }
  finish(has);
  finish(lacks);
  expect_end(80, 0);
}

// A file in which it runs other tests is not kept from it.
static void test_a_mixed_file(void **state) {
  (void)state;
  open_files(20, 20, 2);
  uint32_t lacks = join_new(), has = join_new(), n = 0;
  struct grant grant = lease(lacks);
  assert_true(grant.count >= 2);
  report(lacks, grant.id, grant.test[0], QUEUE_PASSED);
  skip_for(lacks, grant.id, grant.test[1], DOCKER);
  for (uint32_t i = 2; i < grant.count; i++)
    report(lacks, grant.id, grant.test[i], QUEUE_PASSED);
  struct grant probe = lease(has);
  assert_int_equal(probe.test[0], grant.test[1]);
  report_all(has, &probe, QUEUE_PASSED);
  pass(0);
  for (ask(lacks); effects_of(EFFECT_LEASE, lacks); ask(lacks)) {
    grant = granted(lacks);
    n += grant.count;
    report_all(lacks, &grant, QUEUE_PASSED);
  }
  assert_true(n > 10);
  expect_end(20, 0);
}

// Two that lack it do not make a third one's tests skipped, however late that is asked.
static void test_three_nodes_two_lack(void **state) {
  (void)state;
  open_files(40, 10, 3);
  uint32_t a = join_new(), b = join_new(), has = join_new();
  struct grant first = lease(has);
  for (int i = 0; i < 3; i++) {
    skips_everything(a, DOCKER);
    skips_everything(b, DOCKER);
  }
  assert_int_equal(counts().done, 0);
  report_all(has, &first, QUEUE_PASSED);
  finish(has);
  expect_end(40, 0);
}

// ---- tests that skip themselves

static void test_confirmed_by_the_other(void **state) {
  (void)state;
  open_files(40, 20, 2);
  uint32_t a = join_new(), b = join_new();
  skips_everything(a, WINDOWS);
  assert_int_equal(counts().done, 0);
  struct grant probe = lease(b);
  assert_int_equal(probe.count, 2);  // one of each file
  skip_all(b, &probe, WINDOWS);
  assert_true(settles);
  struct grant rest = lease(b);
  assert_int_equal(rest.count, 38);
  skip_all(b, &rest, WINDOWS);
  expect_end(0, 40);
  const char *why;
  assert_int_equal(queue_exit_code(queue, a, &why), EXIT_OK);
}

static struct grant hand[16];

// What the last call gave to anybody.
static void take_all(void) {
  for (uint32_t i = 0; i < queue_worker_count(queue); i++) {
    if (effects_of(EFFECT_LEASE, i)) hand[i] = granted(i);
  }
}

static bool take(uint32_t worker) {
  ask(worker);
  take_all();
  return hand[worker].count > 0;
}

// Each node is asked for one test of the kind, and one more for each test.
static void test_costs_little(void **state) {
  (void)state;
  open_files(100, 100, 10);
  uint32_t worker[10], ran = 0;
  for (int i = 0; i < 10; i++)
    worker[i] = join_new();
  for (int i = 0; i < 10; i++)
    (void)take(worker[i]);
  for (int turn = 0; turn < 1000 && queue_state(queue) == QUEUE_RUNNING; turn++) {
    struct grant grant = hand[worker[turn % 10]];
    hand[worker[turn % 10]].count = 0;
    ran += grant.count;
    for (uint32_t i = 0; i < grant.count; i++) {
      skip_for(worker[turn % 10], grant.id, grant.test[i], WINDOWS);
      take_all();
    }
    if (grant.count) (void)take(worker[turn % 10]);
  }
  expect_end(0, 100);
  assert_true(ran <= 2 * 100 + 10 * 10);
}

static void test_alone(void **state) {
  (void)state;
  open_files(20, 10, 1);
  uint32_t only = join_new();
  assert_int_equal(skips_everything(only, WINDOWS), 20);  // each once
  expect_end(0, 20);
}

// Where it is not known whether others will come, one test of a kind waits for them until nothing else is left.
static void test_alone_for_all_it_knows(void **state) {
  (void)state;
  open_files(40, 20, 0);
  uint32_t lacks = join_new();
  struct grant grant = lease(lacks);
  skip_all(lacks, &grant, DOCKER);
  assert_int_equal(counts().done, grant.count - 1);
  uint32_t has = join_new();
  struct grant probe = lease(has);
  assert_int_equal(probe.count, 1);
  report_all(has, &probe, QUEUE_PASSED);
  assert_int_equal(queue_deadline(queue), 0);
  pass(0);
  assert_int_equal(given_back(), grant.count - 1);
  assert_int_equal(queue_round(queue), 2);
  finish(has);
  expect_end(40, 0);
}

// ---- nodes that are to come

static void test_waits_for_declared_nodes(void **state) {
  (void)state;
  open_files(20, 10, 2);
  uint32_t lacks = join_new();
  assert_int_equal(skips_everything(lacks, DOCKER), 20);
  assert_int_equal(beats(lacks, usual.linger_us - 1).count, 0);
  assert_int_equal(counts().done, 0);
  uint32_t has = join_new();
  finish(has);
  expect_end(20, 0);
}

static void test_gives_up_waiting(void **state) {
  (void)state;
  open_files(20, 10, 2);
  uint32_t lacks = join_new();
  assert_int_equal(skips_everything(lacks, DOCKER), 20);
  struct grant again = beats(lacks, usual.linger_us);  // once more, and now it stands
  assert_int_equal(again.count, 20);
  skip_all(lacks, &again, DOCKER);
  expect_end(0, 20);
}

// The one that has it is gone: the skips of the other one stand.
static void test_nobody_is_left(void **state) {
  (void)state;
  for (int vanishes = 0; vanishes < 2; vanishes++) {
    open_files(40, 10, 2);
    uint32_t lacks = join_new(), has = join_new();
    skips_everything(lacks, DOCKER);
    struct grant some = lease(has);
    report_all(has, &some, QUEUE_PASSED);
    pass(0);
    if (vanishes) {
      detach(has);
    } else {
      leave(has, false);
    }
    struct grant again = vanishes ? beats(lacks, usual.lease_ttl_us) : granted(lacks);
    assert_int_equal(again.count + some.count, 40);
    skip_all(lacks, &again, DOCKER);
    expect_end(some.count, 40 - some.count);
    if (!vanishes) close_queue(NULL);
  }
}

// ---- what the trunk says

static void with_history(bool skipped, bool ran) {
  for (uint32_t i = 0; i < counts().total; i++)
    queue_skip_history(queue, i, skipped, ran);
}

// What it skips settles at once, but for one test of the reason, which goes to everybody.
static void test_skipped_on_the_trunk(void **state) {
  (void)state;
  open_files(40, 10, 2);
  with_history(true, false);
  uint32_t a = join_new(), b = join_new();
  uint32_t ran = skips_everything(a, WINDOWS);
  assert_int_equal(ran, 40);
  assert_int_equal(counts().done, 39);
  struct grant probe = lease(b);
  assert_int_equal(probe.count, 1);
  skip_all(b, &probe, WINDOWS);
  expect_end(0, 40);
}

// The trunk had no machine with docker, and now there is one.
static void test_the_trunk_lacked_it(void **state) {
  (void)state;
  open_files(40, 10, 2);
  with_history(true, false);
  uint32_t lacks = join_new(), has = join_new();
  skips_everything(lacks, DOCKER);
  struct grant probe = lease(has);
  report_all(has, &probe, QUEUE_PASSED);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  pass(0);
  assert_int_equal(given_back(), 39);
  finish(has);
  expect_end(40, 0);
}

// From then on the trunk is no witness: who skips for that reason settles nothing beside a machine that runs it.
static void test_the_trunk_is_contradicted(void **state) {
  (void)state;
  open_files(40, 10, 3);
  with_history(true, false);
  uint32_t lacks = join_new(), has = join_new(), another = join_new();
  skips_everything(lacks, DOCKER);
  struct grant probe = lease(has);
  report_all(has, &probe, QUEUE_PASSED);
  pass(0);
  skips_everything(another, DOCKER);
  assert_int_equal(counts().by_verdict[VERDICT_SKIPPED], 0);
  finish(has);
  expect_end(40, 0);
}

static void test_ran_on_the_trunk(void **state) {
  (void)state;
  open_files(20, 10, 1);
  with_history(false, true);
  uint32_t only = join_new();
  skips_everything(only, DOCKER);
  expect_end(0, 20);
  assert_int_equal(queue_skip_lost(queue), 20);
}

// ---- odd ends

// A result that comes after the verdict is evidence all the same.
static void test_late_evidence(void **state) {
  (void)state;
  open_files(2, 1, 2);
  uint32_t has = join_new(), lacks = join_new();
  struct grant held = lease(has);
  detach(has);
  (void)beats(lacks, usual.lease_ttl_us);  // its lease ends
  struct grant all[8];
  uint32_t n = 0;
  for (ask(lacks); effects_of(EFFECT_LEASE, lacks) && n < 8; ask(lacks))
    all[n++] = granted(lacks);
  for (uint32_t i = 0; i < n; i++) {
    if (all[i].test[0] == held.test[0]) skip_all(lacks, &all[i], DOCKER);
  }
  assert_int_equal(queue_verdict(queue, held.test[0]), VERDICT_SKIPPED);
  attach(has);
  assert_int_equal(report(has, held.id, held.test[0], QUEUE_PASSED), ACCEPT_EXTRA);
  pass(0);
  assert_int_equal(given_back(), 1);
}

// Of a worker that holds what the other one would only skip, nothing is asked back.
static void test_nothing_is_stolen_to_be_skipped(void **state) {
  (void)state;
  open_files(40, 40, 2);
  uint32_t lacks = join_new(), has = join_new();
  skips_everything(lacks, DOCKER);
  struct grant probe = lease(has);
  report_all(has, &probe, QUEUE_PASSED);
  pass(0);
  for (ask(has); effects_of(EFFECT_LEASE, has); ask(has)) {
    struct grant grant = granted(has);
    pass(10 * (uint64_t)SECOND);
    assert_int_equal(effects_of(EFFECT_RECALL, NOBODY), 0);
    heard(lacks);
    report_all(has, &grant, QUEUE_PASSED);
  }
  expect_end(40, 0);
}

// Its failing attempt elsewhere is tried again, and not where it would be skipped.
static void test_retried_where_it_runs(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.retries = 1;
  open_queue(&policy, 1);
  queue_declare(queue, 2);
  set_list(1, 1);
  uint32_t lacks = join_new(), has = join_new();
  struct grant grant = lease(lacks);
  skip_all(lacks, &grant, DOCKER);
  grant = lease(has);
  report_all(has, &grant, QUEUE_FAILED);
  assert_false(settles);
  pass(0);
  expect_parked(lacks);
  grant = lease(has);
  report_all(has, &grant, QUEUE_PASSED);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_FLAKY);
}

// A build comes to the same state from its records: who skipped what, who lacks what.
static void test_restart(void **state) {
  (void)state;
  open_queue(&usual, 2);
  struct queue_join lacking = {.node = "a", .attempt = "1"}, having = {.node = "b", .attempt = "1"};
  uint32_t lacks = queue_restore_worker(queue, &lacking, &(struct queue_past){0}),
           has = queue_restore_worker(queue, &having, &(struct queue_past){0});
  set_list(30, 10);
  for (uint32_t i = 0; i < 10; i++) {
    struct queue_result skip = {.worker = lacks, .test = i, .status = QUEUE_SKIPPED, .reason = DOCKER};
    queue_restore_result(queue, &skip, 1, i >= 5);  // the latter had settled
    struct queue_result ran = {.worker = has, .test = i, .status = QUEUE_PASSED};
    if (i == 0) queue_restore_result(queue, &ran, 2, true);
  }
  begin();
  queue_restored(queue, now, 0, &fx);
  end();
  pass(0);
  assert_int_equal(given_back(), 5);
  attach(lacks);
  attach(has);
  for (ask(lacks); effects_of(EFFECT_LEASE, lacks); ask(lacks)) {
    struct grant grant = granted(lacks);
    for (uint32_t i = 0; i < grant.count; i++)
      assert_true(grant.test[i] >= 10);
    report_all(lacks, &grant, QUEUE_PASSED);
  }
  finish(has);
  expect_end(30, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_two_nodes_one_lacks),
      TEST(test_no_more_of_that_kind),
      TEST(test_a_mixed_file),
      TEST(test_three_nodes_two_lack),
      TEST(test_confirmed_by_the_other),
      TEST(test_costs_little),
      TEST(test_alone),
      TEST(test_alone_for_all_it_knows),
      TEST(test_waits_for_declared_nodes),
      TEST(test_gives_up_waiting),
      TEST(test_nobody_is_left),
      TEST(test_skipped_on_the_trunk),
      TEST(test_the_trunk_lacked_it),
      TEST(test_the_trunk_is_contradicted),
      TEST(test_ran_on_the_trunk),
      TEST(test_late_evidence),
      TEST(test_nothing_is_stolen_to_be_skipped),
      TEST(test_retried_where_it_runs),
      TEST(test_skips_teach_no_speed),
      TEST(test_restart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
