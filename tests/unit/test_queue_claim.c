// Unit tests of results that were made without the server: claims of a worker that only brings them.
#include "tests/unit/queue_fixture.h"

static struct grant claim(uint32_t worker, const uint32_t *tests, uint32_t count) {
  begin();
  assert_true(queue_claim(queue, worker, tests, count, &fx));
  end();
  struct grant grant = granted(worker);
  assert_int_equal(grant.count, count);
  assert_memory_equal(grant.test, tests, count * sizeof *tests);
  return grant;
}

static uint32_t join_bringing(const char *node) {
  struct queue_join join = {.node = node, .attempt = "", .retried = QUEUE_RETRIED_UNKNOWN, .brings = true};
  free(reopened);
  begin();
  uint32_t worker = queue_join(queue, now, &join, &reopened, &reopened_count, &fx);
  end();
  assert_int_equal(reopened_count, 0);
  return worker;
}

static void test_claimed(void **state) {
  (void)state;
  open_build(&usual, 4);
  uint32_t a = join_bringing("n");
  struct grant grant = claim(a, (uint32_t[]){2, 0}, 2);
  assert_int_equal(counts().leased, 0);  // nothing is held for it
  assert_int_equal(report(a, grant.id, 2, QUEUE_PASSED), ACCEPT_CURRENT);
  assert_true(settles);
  assert_int_equal(report(a, grant.id, 2, QUEUE_FAILED), ACCEPT_DUPLICATE);
  assert_int_equal(report(a, grant.id, 1, QUEUE_FAILED), ACCEPT_UNKNOWN);  // not of the claim
  assert_int_equal(report(a, grant.id, 0, QUEUE_FAILED), ACCEPT_CURRENT);
  assert_int_equal(counts().done, 2);
  assert_int_equal(queue_own_failing(queue, a), 1);
  leave(a, false);
  uint32_t b = join_new();
  finish(b);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(exit_code(b), EXIT_OK);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
}

// Whoever has the test in hand meanwhile loses it; a test with a verdict keeps that.
static void test_claimed_meanwhile(void **state) {
  (void)state;
  open_build(&usual, 2);
  uint32_t a = join_new(), b = join_bringing("n");
  struct grant mine = lease(a);
  assert_int_equal(mine.count, 1);
  struct grant more = lease(a);
  assert_int_equal(report(a, mine.id, mine.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
  struct grant brought = claim(b, (uint32_t[]){0, 1}, 2);
  assert_int_equal(report(b, brought.id, mine.test[0], QUEUE_FAILED), ACCEPT_EXTRA);
  assert_int_equal(queue_verdict(queue, mine.test[0]), VERDICT_PASSED);
  assert_int_equal(report(b, brought.id, more.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
  assert_int_equal(effects_of(EFFECT_REVOKE, a), 1);
  assert_int_equal(report(a, more.id, more.test[0], QUEUE_PASSED), ACCEPT_SEALED);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

// There may be nobody left who could try it again: the job that failed it has ended as failed.
static void test_claims_are_final(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.retries = 2;
  open_build(&policy, 2);
  uint32_t a = join_bringing("n");
  struct grant grant = claim(a, (uint32_t[]){0, 1}, 2);
  assert_int_equal(report(a, grant.id, 0, QUEUE_FAILED), ACCEPT_CURRENT);
  assert_true(settles);
  assert_int_equal(report(a, grant.id, 1, QUEUE_CRASHED), ACCEPT_CURRENT);
  assert_true(settles);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
}

// It is no job run again, though its node was here and the build is over: no failure is reopened.
static void test_bringing_is_no_rerun(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_as("n", "", QUEUE_RETRIED_UNKNOWN);
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_FAILED);
  leave(a, false);
  uint32_t b = join_bringing("n");
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  struct grant brought = claim(b, (uint32_t[]){0}, 1);
  assert_int_equal(report(b, brought.id, 0, QUEUE_PASSED), ACCEPT_SEALED);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
}

// An incomplete build goes on, and is complete with what was brought.
static void test_brought_to_an_incomplete_build(void **state) {
  (void)state;
  open_build(&usual, 2);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_PASSED);
  leave(a, false);
  pass(usual.idle_us);
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
  uint32_t b = join_bringing("n");
  uint32_t rest = 1 - grant.test[0];
  struct grant brought = claim(b, &rest, 1);
  assert_int_equal(report(b, brought.id, rest, QUEUE_PASSED), ACCEPT_CURRENT);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(build_code(), EXIT_OK);
}

static void test_claims_are_checked(void **state) {
  (void)state;
  open_queue(&usual, 1);
  uint32_t a = join_bringing("n");
  begin();
  assert_false(queue_claim(queue, a, (uint32_t[]){0}, 1, &fx));  // there is no list
  set_list(3, 0);
  begin();
  assert_false(queue_claim(queue, a, (uint32_t[]){0, 0}, 2, &fx));
  assert_false(queue_claim(queue, a, (uint32_t[]){3}, 1, &fx));
  assert_false(queue_claim(queue, a, NULL, 0, &fx));
  assert_int_equal(fx.count, 0);
  for (int i = 0; i < 3 * LIMIT_LEASES_HELD; i++) {
    (void)claim(a, (uint32_t[]){0, 1, 2}, 3);  // the oldest are forgotten
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_claimed),
      TEST(test_claimed_meanwhile),
      TEST(test_claims_are_final),
      TEST(test_bringing_is_no_rerun),
      TEST(test_brought_to_an_incomplete_build),
      TEST(test_claims_are_checked),
  };
  return cmocka_run_group_tests_name("queue_claim", tests, NULL, NULL);
}
