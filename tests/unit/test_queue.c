// Unit tests of the queue's leases and time: granting, parking, expiry to the microsecond, late and double results, the
// bound on leases, adoption, restart, idleness. Invariants are checked after every call (queue_fixture.h).
#include "tests/unit/queue_fixture.h"

static void test_all_pass(void **state) {
  (void)state;
  open_build(&usual, 20);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  uint32_t a = join_new();
  finish(a);
  assert_int_equal(drained(a), EFFECT_DRAIN_SETTLED);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(counts().by_verdict[VERDICT_PASSED], 20);
  assert_int_equal(counts().by_status[QUEUE_PASSED], 20);
  assert_int_equal(counts().left_us, 0);
  assert_int_equal(exit_code(a), EXIT_OK);
  assert_int_equal(build_code(), EXIT_OK);
  for (uint32_t i = 0; i < 20; i++)
    assert_int_equal(queue_decided_by(queue, i), a);
}

static void test_empty_list(void **state) {
  (void)state;
  open_build(&usual, 0);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  uint32_t a = join_new();
  ask(a);
  assert_int_equal(drained(a), EFFECT_DRAIN_LATE);
}

// Before the list there is nothing to give; everybody who waits is served when it comes.
static void test_parked_until_the_list(void **state) {
  (void)state;
  open_queue(&usual, 1);
  uint32_t a = join_new(), b = join_new();
  expect_parked(a);
  expect_parked(b);
  ask(a);  // a second time: it waits already
  assert_int_equal(fx.count, 0);
  assert_int_equal(counts().parked, 2);
  set_list(8, 0);
  assert_int_equal(effects_of(EFFECT_LEASE, a), 1);
  assert_int_equal(effects_of(EFFECT_LEASE, b), 1);
  assert_int_equal(counts().parked, 0);
}

static void test_lease_ids(void **state) {
  (void)state;
  open_queue(&usual, 7);
  set_list(3, 0);
  uint32_t a = join_new();
  uint64_t last = 0;
  for (int i = 0; i < 3; i++) {
    struct grant grant = lease(a);
    assert_int_equal(grant.count, 1);
    assert_int_equal(grant.id >> 32, 7);
    assert_true(grant.id > last);
    last = grant.id;
  }
}

// The deadline is the last word plus the time to live: not a microsecond earlier, not one later.
static void test_expiry_is_exact(void **state) {
  (void)state;
  open_build(&usual, 2);
  uint32_t a = join_new(), b = join_new();
  struct grant first = lease(a);
  (void)lease(b);
  pass(10 * SECOND);
  heard(a);
  heard(b);
  uint64_t said = now;
  assert_int_equal(queue_deadline(queue), said + usual.lease_ttl_us);
  now = said + usual.lease_ttl_us - 1;
  heard(b);
  begin();
  queue_tick(queue, now, &fx);
  end();
  assert_int_equal(counts().leased, 2);
  pass(1);
  assert_int_equal(counts().leased, 1);
  assert_int_equal(counts().connected, 1);
  assert_false(queue_worker_connected(queue, a));
  assert_int_equal(report(a, first.id, first.test[0], QUEUE_PASSED), ACCEPT_LATE);
  assert_true(settles);
  assert_int_equal(queue_verdict(queue, first.test[0]), VERDICT_PASSED);
}

// A lost connection ends nothing by itself, and its silence counts from the last word.
static void test_detached_until_the_deadline(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new(), b = join_new();
  struct grant grant = lease(a);
  expect_parked(b);
  pass(3 * SECOND);
  heard(b);
  detach(a);
  pass(usual.lease_ttl_us - 3 * SECOND - 1);
  assert_int_equal(counts().leased, 1);
  heard(b);
  pass(1);
  assert_int_equal(granted(b).count, 1);  // it waited for that
  assert_int_equal(granted(b).test[0], grant.test[0]);
}

static void test_attach_in_time_keeps_the_lease(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  detach(a);
  pass(usual.lease_ttl_us - 1);
  attach(a);
  assert_true(adopt(a, grant.id, grant.test, grant.count));
  pass(1);
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

// ---- odd results

static void test_unknown_and_double_results(void **state) {
  (void)state;
  open_build(&usual, 40);
  uint32_t a = join_new(), b = join_new();
  struct grant grant = lease(a);
  assert_true(grant.count > 1);
  uint32_t other = grant.test[0] == 39 ? 0 : 39;
  assert_int_equal(report(b, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_UNKNOWN);  // another's lease
  assert_int_equal(report(a, grant.id + 1, grant.test[0], QUEUE_PASSED), ACCEPT_UNKNOWN);
  assert_int_equal(report(a, grant.id, other, QUEUE_PASSED), ACCEPT_UNKNOWN);  // not in it
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
  assert_int_equal(attempt, 1);
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_FAILED), ACCEPT_DUPLICATE);
  assert_int_equal(queue_verdict(queue, grant.test[0]), VERDICT_PASSED);
  assert_int_equal(fx.count, 0);
}

// Whoever is first decides; what the slower one says is kept as evidence and changes nothing.
static void test_late_result_displaces(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new(), b = join_new();
  struct grant first = lease(a);
  pass(usual.lease_ttl_us - 1);
  heard(b);
  pass(1);
  struct grant second = lease(b);
  assert_int_equal(second.test[0], first.test[0]);
  assert_int_equal(report(a, first.id, 0, QUEUE_PASSED), ACCEPT_LATE);
  assert_int_equal(effects_of(EFFECT_REVOKE, b), 1);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(report(b, second.id, 0, QUEUE_FAILED), ACCEPT_SEALED);
  assert_int_equal(queue_verdict(queue, 0), VERDICT_PASSED);
}

// A lease of several is revoked when the last test it had is taken from it, whatever was reported before.
static void test_revoked_when_nothing_is_left(void **state) {
  (void)state;
  open_build(&usual, 16);
  uint32_t a = join_new();
  struct grant held[2] = {lease(a)};
  assert_true(held[0].count > 1);
  uint32_t b = join_new();
  pass(usual.lease_ttl_us - 1);
  heard(b);
  pass(1);
  uint32_t kept = held[0].test[1];
  struct grant again = {0};  // b runs whatever comes until it is given the second test of a's lease with others
  uint32_t still = 0;
  while (still == 0) {
    again = lease(b);
    for (uint32_t i = 0; i < again.count; i++)
      still += again.test[i] == kept;
    for (uint32_t i = 0; i < again.count; i++) {
      if (again.test[i] == kept) continue;
      assert_int_equal(report(b, again.id, again.test[i], QUEUE_PASSED), ACCEPT_CURRENT);
    }
  }
  assert_int_equal(report(a, held[0].id, kept, QUEUE_PASSED), ACCEPT_LATE);
  assert_int_equal(effects_of(EFFECT_REVOKE, b), 1);
  assert_int_equal(report(b, again.id, kept, QUEUE_FAILED),
                   queue_state(queue) == QUEUE_COMPLETE ? ACCEPT_SEALED : ACCEPT_EXTRA);
}

static void test_extra_after_the_verdict(void **state) {
  (void)state;
  open_build(&usual, 2);
  uint32_t a = join_new(), b = join_new();
  struct grant first = lease(a);
  pass(usual.lease_ttl_us - 1);
  heard(b);
  pass(1);
  struct grant other = lease(b);
  while (other.test[0] != first.test[0]) {
    report_all(b, &other, QUEUE_PASSED);
    other = lease(b);
    if (counts().done == 1 && other.test[0] == first.test[0]) break;
  }
  uint32_t rest = counts().ready;
  report_all(b, &other, QUEUE_PASSED);
  if (rest) {
    assert_int_equal(report(a, first.id, first.test[0], QUEUE_FAILED), ACCEPT_EXTRA);
    assert_false(settles);
    assert_int_equal(attempt, 2);
  }
  assert_int_equal(queue_verdict(queue, first.test[0]), VERDICT_PASSED);
}

// ---- the bound on leases

static void test_room_for_sixteen(void **state) {
  (void)state;
  open_build(&usual, 20);
  struct queue_join wide = {.node = "w", .attempt = "1", .node_total = 64};
  begin();
  uint32_t a = queue_join(queue, now, &wide, &reopened, &reopened_count, &fx);
  end();
  for (int i = 0; i < LIMIT_LEASES_HELD; i++)
    assert_int_equal(lease(a).count, 1);
  expect_parked(a);
  assert_int_equal(counts().leased, LIMIT_LEASES_HELD);
  assert_int_equal(counts().ready, 4);
  finish(join_new());
  assert_int_equal(counts().done, 4);
}

// One that has no room does not stand in the way of who waits behind it.
static void test_full_hands_block_nobody(void **state) {
  (void)state;
  struct queue_join wide = {.node = "w", .attempt = "1", .node_total = 64};
  open_build(&usual, 18);
  begin();
  uint32_t a = queue_join(queue, now, &wide, &reopened, &reopened_count, &fx);
  end();
  uint32_t b = join_new(), c = join_new();
  struct grant held = lease(a);
  for (int i = 1; i < LIMIT_LEASES_HELD; i++)
    (void)lease(a);
  (void)lease(c);
  (void)lease(c);
  expect_parked(a);
  expect_parked(b);
  leave(c, false);
  assert_int_equal(granted(a).count, 0);
  assert_int_equal(granted(b).count, 1);
  assert_int_equal(report(a, held.id, held.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
  assert_int_equal(granted(a).count, 1);  // it has room now
}

static void test_fenced_leases_make_room(void **state) {
  (void)state;
  open_build(&usual, 60);
  uint32_t a = join_new();
  uint64_t first = 0;
  for (int i = 0; i < 3 * LIMIT_LEASES_HELD; i++) {
    struct grant grant = lease(a);
    if (!first) first = grant.id;
    pass(usual.lease_ttl_us);
    assert_int_equal(counts().leased, 0);
    attach(a);
  }
  assert_int_equal(report(a, first, 0, QUEUE_PASSED), ACCEPT_UNKNOWN);  // forgotten long ago
  finish(a);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(counts().by_verdict[VERDICT_CRASHED], 0);  // who comes back was not killed
}

// ---- adoption

static void test_adopt_odd_input(void **state) {
  (void)state;
  open_build(&usual, 10);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  detach(a);
  pass(usual.lease_ttl_us);
  attach(a);
  uint32_t twice[] = {3, 4, 3}, beyond[] = {3, 10}, some[] = {3, 4};
  assert_false(adopt(a, grant.id, twice, 3));
  assert_false(adopt(a, grant.id, beyond, 2));
  assert_false(adopt(a, grant.id, some, 0));
  assert_false(adopt(a, 0, some, 2));
  assert_false(adopt(a, grant.id + 1, some, 2));  // was never granted
  assert_int_equal(counts().ready, 10);
  assert_true(adopt(a, grant.id, grant.test, grant.count));
  assert_true(adopt(a, grant.id, grant.test, grant.count));  // it has that lease; a second time changes nothing
  assert_int_equal(counts().leased, grant.count);
  assert_false(adopt(a, grant.id, some, 2));  // it names nothing of it: it has nothing of it
  assert_int_equal(counts().leased, 0);
}

static void test_adopt_takes_what_is_ready(void **state) {
  (void)state;
  open_build(&usual, 40);
  uint32_t a = join_new(), b = join_new();
  struct grant grant = lease(a);
  assert_true(grant.count >= 3);
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_CURRENT);
  queue_started(queue, now, a, grant.id, grant.test[1]);
  detach(a);
  pass(usual.lease_ttl_us - 1);
  heard(b);
  pass(1);
  struct grant other = lease(b);  // the suspect comes first, and alone
  assert_int_equal(other.count, 1);
  assert_int_equal(other.test[0], grant.test[1]);
  attach(a);
  assert_true(adopt(a, grant.id, grant.test, grant.count));
  assert_int_equal(counts().leased, grant.count - 1);
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_FAILED), ACCEPT_EXTRA);
  assert_int_equal(report(a, grant.id, grant.test[1], QUEUE_PASSED), ACCEPT_LATE);
  assert_int_equal(effects_of(EFFECT_REVOKE, b), 1);
  assert_int_equal(report(a, grant.id, grant.test[2], QUEUE_PASSED), ACCEPT_CURRENT);
}

// One that has left may not have heard its goodbye. What it names stays with the others; what it sends is taken.
static void test_who_left_adopts_nothing(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  leave(a, false);
  assert_int_equal(counts().ready, 1);
  attach(a);
  assert_false(adopt(a, grant.id, grant.test, grant.count));
  assert_int_equal(counts().ready, 1);
  uint32_t b = join_new();
  (void)lease(b);
  assert_int_equal(report(a, grant.id, grant.test[0], QUEUE_PASSED), ACCEPT_LATE);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

static void test_holds_only_what_it_names(void **state) {
  (void)state;
  open_build(&usual, 4);
  uint32_t a = join_new();
  struct grant first = lease(a), lost = lease(a);  // the second never reached it
  detach(a);
  attach(a);
  assert_true(adopt(a, first.id, first.test, first.count));
  begin();
  queue_holds_only(queue, now, a, &first.id, 1, &fx);
  end();
  assert_int_equal(counts().leased, first.count);
  assert_int_equal(report(a, lost.id, lost.test[0], QUEUE_PASSED), ACCEPT_LATE);
}

// ---- idleness

static void test_idle_build_is_incomplete(void **state) {
  (void)state;
  open_build(&usual, 4);
  uint32_t a = join_new();
  struct grant grant = lease(a);
  report_all(a, &grant, QUEUE_PASSED);
  assert_int_equal(queue_deadline(queue), now + usual.lease_ttl_us);
  detach(a);
  pass(usual.idle_us - 1);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  pass(1);
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
  assert_int_equal(build_code(), EXIT_INFRA);
  assert_int_equal(exit_code(a), EXIT_INFRA);
  assert_int_equal(queue_deadline(queue), UINT64_MAX);
  attach(a);  // it goes on where it was, and everybody is told
  assert_int_equal(effects_of(EFFECT_STATE, NOBODY), 1);
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  finish(a);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

static void test_new_worker_revives(void **state) {
  (void)state;
  open_build(&usual, 2);
  pass(usual.idle_us);
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
  uint32_t a = join_new();
  assert_int_equal(queue_state(queue), QUEUE_RUNNING);
  finish(a);
  assert_int_equal(exit_code(a), EXIT_OK);
}

static void test_idle_without_a_list(void **state) {
  (void)state;
  open_queue(&usual, 1);
  uint32_t a = join_new();
  assert_int_equal(exit_code(a), EXIT_INFRA);
  leave(a, false);
  pass(usual.idle_us);
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
  uint32_t b = join_new();
  assert_int_equal(queue_state(queue), QUEUE_COLLECTING);
  set_list(1, 0);
  finish(b);
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
}

// Three workers died of the last test while the build was given up: it has its verdict, and the next to come ends it.
static void test_incomplete_with_every_verdict(void **state) {
  (void)state;
  struct queue_policy policy = usual;
  policy.idle_us = 5 * SECOND;  // shorter than a lease lives
  open_build(&policy, 1);
  for (int i = 0; i < LIMIT_LOST; i++) {
    uint32_t worker = join_new();
    (void)lease(worker);
    detach(worker);
    pass(policy.idle_us);
    pass(policy.lease_ttl_us - policy.idle_us);
  }
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
  assert_int_equal(counts().by_verdict[VERDICT_CRASHED], 1);
  (void)join_new();
  assert_int_equal(queue_state(queue), QUEUE_COMPLETE);
  assert_int_equal(build_code(), EXIT_TESTS_FAILED);
}

static void test_times_after_a_reload(void **state) {
  (void)state;
  open_build(&usual, 1);
  uint32_t a = join_new();
  (void)lease(a);
  queue_set_times(queue, SECOND, 2 * SECOND);
  assert_int_equal(queue_deadline(queue), now + SECOND);
  pass(SECOND);
  assert_int_equal(counts().ready, 1);
  pass(2 * SECOND);
  assert_int_equal(queue_state(queue), QUEUE_INCOMPLETE);
}

// A worker without a list gets names with its leases, and names have less room in a message.
static void test_leases_no_larger_than_the_limit(void **state) {
  (void)state;
  open_build(&usual, 64);
  uint32_t a = join_new(), total = 0;
  assert_true(lease(a).count > 3);
  queue_limit_leases(queue, a, 3);
  while (counts().ready) {
    struct grant grant = lease(a);
    assert_in_range(grant.count, 1, 3);
    report_all(a, &grant, QUEUE_PASSED);
    total += grant.count;
  }
  assert_in_range(total, 33, 63);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_all_pass),
      TEST(test_empty_list),
      TEST(test_parked_until_the_list),
      TEST(test_lease_ids),
      TEST(test_expiry_is_exact),
      TEST(test_detached_until_the_deadline),
      TEST(test_attach_in_time_keeps_the_lease),
      TEST(test_unknown_and_double_results),
      TEST(test_late_result_displaces),
      TEST(test_revoked_when_nothing_is_left),
      TEST(test_extra_after_the_verdict),
      TEST(test_room_for_sixteen),
      TEST(test_full_hands_block_nobody),
      TEST(test_fenced_leases_make_room),
      TEST(test_adopt_odd_input),
      TEST(test_adopt_takes_what_is_ready),
      TEST(test_who_left_adopts_nothing),
      TEST(test_holds_only_what_it_names),
      TEST(test_idle_build_is_incomplete),
      TEST(test_new_worker_revives),
      TEST(test_idle_without_a_list),
      TEST(test_incomplete_with_every_verdict),
      TEST(test_times_after_a_reload),
      TEST(test_leases_no_larger_than_the_limit),
  };
  return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
