// Included by the test programs of the queue: a build under a virtual clock. Every call is followed by queue_check, and
// the effects of the last call stand in `fx` until the next.
#ifndef TESTS_UNIT_QUEUE_FIXTURE_H
#define TESTS_UNIT_QUEUE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/limits.h"
#include "server/queue.h"

enum { NOBODY = -1, TESTS_MAX = 128, SECOND = 1000000 };

static struct queue *queue;
static struct effects fx;
static uint64_t now;
static uint32_t *reopened, reopened_count;
static uint32_t attempt;
static bool settles;

static const struct queue_policy usual = {
    .linger_us = 60 * SECOND, .lease_ttl_us = 15 * SECOND, .idle_us = 600 * SECOND};

// What the last call granted to one worker.
struct grant {
  uint64_t id;
  uint32_t count, test[TESTS_MAX];
};

static inline void begin(void) {
  effects_clear(&fx);
}

static inline void end(void) {
  queue_check(queue);
}

static inline void open_queue(const struct queue_policy *policy, uint32_t epoch) {
  now = 1000 * SECOND;
  queue = queue_new(policy, epoch, now);
  end();
}

static inline int close_queue(void **state) {
  (void)state;
  queue_free(queue);
  queue = NULL;
  effects_release(&fx);
  free(reopened);
  reopened = NULL;
  return 0;
}

// `count` tests of a second each, `per_file` to a file; 0: none belongs to a file.
static inline void set_list(uint32_t count, uint32_t per_file) {
  uint32_t file_of[TESTS_MAX], unit_of[TESTS_MAX];
  uint64_t us[TESTS_MAX];
  assert_true(count <= TESTS_MAX);
  for (uint32_t i = 0; i < count; i++) {
    file_of[i] = per_file ? i / per_file : SCHED_NO_FILE;
    unit_of[i] = i;
    us[i] = SECOND;
  }
  struct sched_list list = {.count = count, .file_count = per_file ? (count + per_file - 1) / per_file : 0};
  list.file_of = file_of;
  list.unit_of = unit_of;
  list.expected_us = list.order_us = us;
  begin();
  queue_set_list(queue, now, &list, NULL, &fx);
  end();
}

static inline void open_build(const struct queue_policy *policy, uint32_t tests) {
  open_queue(policy, 1);
  set_list(tests, 0);
}

// ---- what workers do

static inline uint32_t join_as(const char *node, const char *token, enum queue_retried retried) {
  struct queue_join join = {.node = node, .attempt = token, .retried = retried};
  free(reopened);
  begin();
  uint32_t worker = queue_join(queue, now, &join, &reopened, &reopened_count, &fx);
  end();
  return worker;
}

static inline uint32_t join_new(void) {
  static unsigned made;
  char node[32];
  snprintf(node, sizeof node, "n%u", made++);
  return join_as(node, "1", QUEUE_RETRIED_NO);
}

static inline void detach(uint32_t worker) {
  queue_detach(queue, now, worker);
  end();
}

static inline void attach(uint32_t worker) {
  begin();
  queue_attach(queue, now, worker, &fx);
  end();
}

static inline void heard(uint32_t worker) {
  queue_heard(queue, now, worker);
  end();
}

static inline bool adopt(uint32_t worker, uint64_t lease, const uint32_t *tests, uint32_t count) {
  bool adopted = queue_adopt(queue, now, worker, lease, tests, count);
  end();
  return adopted;
}

static inline void leave_as(uint32_t worker, enum queue_leaving how) {
  begin();
  queue_leave(queue, now, worker, how, &fx);
  end();
}

static inline void leave(uint32_t worker, bool late_errors) {
  leave_as(worker, late_errors ? LEAVING_LATE : LEAVING_WELL);
}

// A stored result, as recovery gives it back.
static inline void restore_result(uint32_t worker, uint32_t test, enum queue_status status, uint32_t number,
                                  bool settled) {
  struct queue_result result = {.worker = worker, .test = test, .status = status};
  queue_restore_result(queue, &result, number, settled);
}

// Time passes; what is due happens, as often as the queue asks for it.
static inline void pass(uint64_t us) {
  now += us;
  begin();
  for (int turns = 0; queue_deadline(queue) <= now; turns++) {
    assert_true(turns < 3);  // a tick does all that is due
    queue_tick(queue, now, &fx);
    end();
  }
}

// ---- what came of it

static inline size_t effects_of(enum effect_kind kind, int64_t worker) {
  size_t n = 0;
  for (size_t i = 0; i < fx.count; i++) {
    n += fx.item[i].kind == kind && (worker == NOBODY || fx.item[i].worker == (uint32_t)worker);
  }
  return n;
}

static inline struct grant granted(uint32_t worker) {
  struct grant grant = {0};
  for (size_t i = 0; i < fx.count; i++) {
    const struct effect *effect = &fx.item[i];
    if (effect->kind != EFFECT_LEASE || effect->worker != worker) continue;
    assert_int_equal(grant.count, 0);  // one lease for one request
    assert_true(effect->count > 0 && effect->count <= TESTS_MAX);
    grant.id = effect->lease;
    grant.count = effect->count;
    memcpy(grant.test, effect->tests, effect->count * sizeof *effect->tests);
  }
  return grant;
}

static inline enum effect_drain drained(uint32_t worker) {
  for (size_t i = 0; i < fx.count; i++) {
    if (fx.item[i].kind == EFFECT_DRAIN && fx.item[i].worker == worker) return fx.item[i].reason;
  }
  return (enum effect_drain)0;
}

static inline void ask(uint32_t worker) {
  begin();
  queue_lease(queue, now, worker, &fx);
  end();
}

static inline struct grant lease(uint32_t worker) {
  ask(worker);
  struct grant grant = granted(worker);
  if (grant.count == 0) fail_msg("worker %u got nothing", worker);
  return grant;
}

static inline void expect_parked(uint32_t worker) {
  ask(worker);
  assert_int_equal(effects_of(EFFECT_PARK, worker), 1);
  assert_int_equal(effects_of(EFFECT_LEASE, worker), 0);
}

static inline enum queue_accept report(uint32_t worker, uint64_t lease_id, uint32_t test, enum queue_status status) {
  struct queue_result result = {
      .worker = worker, .test = test, .lease = lease_id, .status = status, .duration_us = SECOND};
  begin();
  enum queue_accept accept = queue_result(queue, now, &result, &attempt, &settles, &fx);
  end();
  return accept;
}

static inline void report_all(uint32_t worker, const struct grant *grant, enum queue_status status) {
  for (uint32_t i = 0; i < grant->count; i++) {
    assert_int_equal(report(worker, grant->id, grant->test[i], status), ACCEPT_CURRENT);
  }
}

static inline struct queue_counts counts(void) {
  struct queue_counts all;
  queue_counts(queue, &all);
  return all;
}

// One worker passes all that is left for it.
static inline void finish(uint32_t worker) {
  for (ask(worker); effects_of(EFFECT_LEASE, worker); ask(worker)) {
    struct grant grant = granted(worker);
    report_all(worker, &grant, QUEUE_PASSED);
  }
}

static inline int exit_code(uint32_t worker) {
  const char *why = NULL;
  int code = queue_exit_code(queue, worker, &why);
  assert_non_null(why);
  return code;
}

static inline int build_code(void) {
  const char *why = NULL;
  int code = queue_build_code(queue, &why);
  assert_non_null(why);
  return code;
}

#define TEST(name) cmocka_unit_test_teardown(name, close_queue)

#endif
