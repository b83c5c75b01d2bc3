// A seeded storm over the queue in virtual time: workers come, lease, report, crash, fall silent, lose their
// connection, come back with their leases, send late and double results, leave, are run again as jobs; the server
// restarts from its records. A model beside it says which tests are in whose hands and what the verdicts are;
// queue_check runs after every call. SEED=n repeats a run, STEPS=n sets its length.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "tests/unit/queue_model.h"

// ---- what can happen; each takes one step

static void step_join(struct model *m) {
  if (m->worker_count == MODEL_WORKERS || model_here(m) > 8) return;
  bool again = m->worker_count && model_chance(m, 20);  // a job run again
  model_join(m, again ? model_roll(m, m->node_count) : m->node_count, again);
}

static void step_ask(struct model *m, struct model_worker *w) {
  if (!w->asked && !w->drained && w->lease_count < MODEL_LEASES) model_ask(m, w, model_chance(m, 3));
}

static enum queue_status random_status(struct model *m) {
  static const enum queue_status odd[] = {QUEUE_FAILED,  QUEUE_ERROR,   QUEUE_SKIPPED,  QUEUE_XFAILED,
                                          QUEUE_XPASSED, QUEUE_CRASHED, QUEUE_TIMED_OUT};
  return model_chance(m, 75) ? QUEUE_PASSED : odd[model_roll(m, COUNT_OF(odd))];
}

static void step_report(struct model *m, struct model_worker *w) {
  if (!w->lease_count) return;
  struct model_lease *lease = &w->lease[model_chance(m, 80) ? 0 : model_roll(m, w->lease_count)];
  uint32_t at = model_unreported(lease);
  if (model_chance(m, 50)) model_start(m, w, lease, at);
  if (model_chance(m, 5)) at = model_roll(m, lease->count);  // out of turn, or a second time
  model_report(m, w, lease, at, random_status(m));
}

static void step_release(struct model *m, struct model_worker *w) {
  if (!w->lease_count) return;
  struct model_lease *lease = &w->lease[model_roll(m, w->lease_count)];
  bool answers = lease->recalled ? !model_chance(m, 20) : model_chance(m, 10);
  if (answers) model_release(m, w, lease);
}

// What no worker would send.
static void step_nonsense(struct model *m, struct model_worker *w) {
  uint64_t id = model_chance(m, 50) ? model_roll(m, 1000) : m->last_lease + model_roll(m, 3);
  if (model_holds(w, id)) return;
  model_expect_unknown(m, w, id, model_roll(m, m->total));
}

static void step_time(struct model *m) {
  uint64_t due = queue_deadline(m->queue), wait;
  switch (model_roll(m, 6)) {
    case 0: wait = model_roll(m, 1000); break;
    case 1: wait = due > m->now && due != UINT64_MAX ? due - m->now : 0; break;
    case 2: wait = due > m->now && due != UINT64_MAX ? due - m->now - 1 : 0; break;
    case 3: wait = model_roll(m, 20 * SECOND); break;
    default: wait = model_roll(m, SECOND); break;
  }
  if (model_chance(m, 1) && model_chance(m, 20)) wait = 3 * m->policy.idle_us;
  model_advance(m, m->now + wait);
}

static void step_worker(struct model *m, struct model_worker *w) {
  uint32_t dice = model_roll(m, 100);
  if (w->presence == GONE) return;
  if (w->presence == AWAY) {
    if (dice < 20) model_return(m, w, model_chance(m, 50));
  } else if (w->presence == SILENT) {
    if (dice < 20) {
      model_speak(m, w);
    } else if (dice < 25) {
      model_vanish(m, w);
    }
  } else if (w->drained && dice < 30) {
    model_leave(m, w, dice == 0);
  } else if (dice < 30) {
    step_ask(m, w);
  } else if (dice < 72) {
    step_report(m, w);
  } else if (dice < 80) {
    step_release(m, w);
  } else if (dice < 83) {
    step_nonsense(m, w);
  } else if (dice < 86) {
    model_vanish(m, w);
  } else if (dice < 89) {
    w->presence = SILENT;
  } else if (dice < 90) {
    model_leave(m, w, model_chance(m, 10));
  } else {
    model_hear(m, w);
  }
}

static void storm(struct model *m, uint32_t steps) {
  for (uint32_t i = 0; i < steps; i++) {
    uint32_t dice = model_roll(m, 200);
    if (dice < 4) {
      step_join(m);
    } else if (dice < 30) {
      step_time(m);
    } else if (dice == 30 && model_chance(m, 10)) {
      model_restart(m);
    } else if (m->worker_count) {
      step_worker(m, &m->worker[model_roll(m, m->worker_count)]);
    }
    model_check(m);
  }
}

// ---- calm: whoever is here works, and the build must end

static void calm_worker(struct model *m, struct model_worker *w) {
  model_hear(m, w);
  if (w->lease_count) {
    model_report(m, w, &w->lease[0], model_unreported(&w->lease[0]), QUEUE_PASSED);
  } else if (w->drained) {
    model_leave(m, w, false);
  } else if (!w->asked) {
    model_ask(m, w, false);
  }
}

static void calm_begins(struct model *m) {
  for (uint32_t i = 0; i < m->worker_count; i++) {
    struct model_worker *w = &m->worker[i];
    if (w->presence == SILENT || w->presence == HERE) model_speak(m, w);
    if (w->presence == AWAY && model_chance(m, 50)) model_return(m, w, false);
  }
  if (model_staying(m) == 0 && m->worker_count < MODEL_WORKERS) model_join(m, m->node_count, false);
}

static void calm(struct model *m) {
  uint32_t most = 4 * m->total + 2000, turns = 0;
  calm_begins(m);
  for (; queue_state(m->queue) < QUEUE_COMPLETE && turns < most; turns++) {
    for (uint32_t i = 0; i < m->worker_count; i++) {
      if (m->worker[i].presence == HERE) calm_worker(m, &m->worker[i]);
    }
    model_advance(m, m->now + SECOND / 2);
    model_check(m);
  }
  if (turns == most) fail_msg("seed %llu: the build does not end", (unsigned long long)m->seed);
  model_advance(m, m->now);
  for (uint32_t i = 0; i < m->worker_count; i++) {
    if (m->worker[i].presence != HERE) continue;
    model_speak(m, &m->worker[i]);  // it may have been silent until now
    if (m->worker[i].asked) fail_msg("seed %llu: worker %u was not answered", (unsigned long long)m->seed, i);
  }
  model_check_end(m);
}

static uint64_t recalls, released, with_tokens;  // over all builds

// One build: storms, an end, re-runs, and the same from its records. Returns the digest of all that came out.
static uint64_t run_build(uint64_t seed, uint32_t steps) {
  struct model *m = model_new(seed);
  if (model_chance(m, 30)) storm(m, steps / 10);  // before the list is known
  model_set_list(m);
  storm(m, steps);
  calm(m);
  for (uint32_t round = 0; round < 3 && m->worker_count < MODEL_WORKERS; round++) {
    model_join(m, model_roll(m, m->node_count), true);
    storm(m, steps / 4);
    calm(m);
  }
  model_restart(m);
  model_check_end(m);
  uint64_t digest = m->digest;
  recalls += m->recalls;
  released += m->released;
  with_tokens += m->with_tokens;
  model_free(m);
  return digest;
}

static uint64_t from_env(const char *name, uint64_t otherwise) {
  uint64_t value = otherwise;
  const char *text = getenv(name);
  if (text && base_parse_u64(text, 0, UINT64_MAX, &value) != 0) fail_msg("%s=%s is no number", name, text);
  return value;
}

enum { BUILD_STEPS = 1000 };

static void test_storm(void **state) {
  (void)state;
  uint64_t seed = from_env("SEED", 20240229), steps = from_env("STEPS", 200000);
  printf("seed %llu; SEED=n repeats one\n", (unsigned long long)seed);
  for (uint64_t done = 0; done < steps; done += BUILD_STEPS) {
    model_failing_seed = seed + done / BUILD_STEPS;
    (void)run_build(model_failing_seed, BUILD_STEPS);
  }
  if (steps < 100 * BUILD_STEPS) return;
  printf("%llu recalls, %llu tests handed back\n", (unsigned long long)recalls, (unsigned long long)released);
  assert_true(recalls > 0 && released > 0 && with_tokens > 0);  // the storm reaches them
}

static void test_same_seed_same_effects(void **state) {
  (void)state;
  uint64_t seed = from_env("SEED", 77), previous = 0;
  for (uint64_t i = 0; i < 5; i++) {
    uint64_t digest = run_build(seed + i, BUILD_STEPS);
    assert_int_equal(digest, run_build(seed + i, BUILD_STEPS));
    assert_int_not_equal(digest, previous);
    previous = digest;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_storm),
      cmocka_unit_test(test_same_seed_same_effects),
  };
  return cmocka_run_group_tests_name("queue_random", tests, NULL, NULL);
}
