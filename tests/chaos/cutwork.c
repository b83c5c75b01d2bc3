// Random work for a store, see cutwork.h. Keeps to what the daemon does: results only of a running build with a list
// and a worker, a verdict that is settled once a round, attempts that count up. Called by powercut.c.
#include "tests/chaos/cutwork.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/clock.h"

enum { PASSED = 1, FAILED, ERRORED, SKIPPED, XFAILED, XPASSED, CRASHED, TIMED_OUT };
enum { RUNNING = 2, COMPLETE = 3, STATES = 3, BURST = 12, FILE_TESTS = 4, FLOOD_BYTES = 5 << 20 };

static uint64_t put_build(struct store *store, struct model *model, struct rng *rng);
static uint64_t put_worker(struct store *store, struct model *model, uint64_t build);
static uint64_t put_list(struct store *store, struct model *model, uint64_t build);
static uint64_t put_result(struct store *store, struct model *model, struct rng *rng, uint64_t build, size_t flood);
static void choose(struct rng *rng, const struct model_test *test, struct store_result *result);
static char *make_text(struct rng *rng, size_t *bytes);
static uint64_t put_round(struct store *store, struct model *model, struct rng *rng, uint64_t build);
static uint64_t put_end(struct store *store, struct model *model, struct rng *rng, uint64_t build);

uint64_t cutwork_burst(struct store *store, struct model *model, struct rng *rng, bool flood) {
  uint64_t ticket = 0;
  for (uint32_t left = 1 + rng_below(rng, BURST); left > 0 || ticket == 0; left -= left > 0) {
    uint64_t id = model->count > 0 && !rng_one_in(rng, 30) ? model->count - rng_below(rng, 2) % model->count : 0;
    if (id == 0 && model->count == MODEL_BUILDS) id = MODEL_BUILDS;
    const struct model_build *build = id > 0 ? &model->build[id - 1] : NULL;
    if (build == NULL) {
      (void)put_build(store, model, rng);
      ticket = put_worker(store, model, model->count);
    } else if (build->state >= COMPLETE) {
      if (build->round < MODEL_ROUNDS && rng_one_in(rng, 3))
        ticket = put_round(store, model, rng, id);
      else if (model->count < MODEL_BUILDS)
        ticket = put_build(store, model, rng);
      else
        ticket = put_end(store, model, rng, id);  // said twice, as a daemon may after a restart
    } else if (build->worker_count < MODEL_WORKERS && (build->worker_count == 0 || rng_one_in(rng, 20))) {
      ticket = put_worker(store, model, id);
    } else if (!build->listed) {
      return put_list(store, model, id);  // its row ids come with the commit
    } else if (rng_one_in(rng, 25)) {
      ticket = put_end(store, model, rng, id);
    } else {
      ticket = put_result(store, model, rng, id, flood ? FLOOD_BYTES : 0);
      flood = false;
    }
  }
  return ticket;
}

void cutwork_listed(struct model *model, const struct store_listed *listed) {
  struct model_build *build = &model->build[listed->build - 1];
  assert(listed->build <= model->count && listed->count == build->test_count);
  for (uint32_t i = 0; i < listed->count; i++)
    build->test[i].row = listed->test[i];
}

static uint64_t put_build(struct store *store, struct model *model, struct rng *rng) {
  char ext[24], commit[24];
  model_build(model, 1 + rng_below(rng, MODEL_TESTS));
  (void)snprintf(ext, sizeof ext, "b%u", model->count);
  (void)snprintf(commit, sizeof commit, "c%u", model->count / 2);
  const struct store_build build = {.build = model->count,
                                    .project = "shop",
                                    .suite = "unit",
                                    .ext = ext,
                                    .commit = commit,
                                    .branch = "main",
                                    .started_ms = clock_wall_ms(),
                                    .trunk = true};
  return store_put_build(store, &build);
}

static uint64_t put_worker(struct store *store, struct model *model, uint64_t build) {
  const struct store_worker worker = {.build = build,
                                      .worker = model->build[build - 1].worker_count,
                                      .node = "n",
                                      .attempt = "1",
                                      .host = "h",
                                      .joined_ms = clock_wall_ms()};
  model_worker(model, build);
  return store_put_worker(store, &worker);
}

static uint64_t put_list(struct store *store, struct model *model, uint64_t id) {
  struct model_build *build = &model->build[id - 1];
  char ids[MODEL_TESTS][32], files[MODEL_TESTS][32];
  const char *id_of[MODEL_TESTS], *file[MODEL_TESTS];
  uint32_t file_of[MODEL_TESTS], unit_of[MODEL_TESTS];
  for (uint32_t i = 0; i < build->test_count; i++) {
    file_of[i] = unit_of[i] = i / FILE_TESTS;
    (void)snprintf(files[i], sizeof files[i], "t/test_%u.py", i);
    (void)snprintf(ids[i], sizeof ids[i], "t/test_%u.py::test_%u", file_of[i], i);
    id_of[i] = ids[i];
    file[i] = files[i];
  }
  const struct store_list list = {.build = id,
                                  .count = build->test_count,
                                  .file_count = (build->test_count + FILE_TESTS - 1) / FILE_TESTS,
                                  .id = id_of,
                                  .file = file,
                                  .file_of = file_of,
                                  .unit_of = unit_of};
  build->listed = true;
  build->state = RUNNING;
  store_put_list(store, &list);
  return store_put_state(store, id, RUNNING, clock_wall_ms(), NULL);
}

static uint64_t put_result(struct store *store, struct model *model, struct rng *rng, uint64_t id, size_t flood) {
  struct model_build *build = &model->build[id - 1];
  const struct model_test *test = &build->test[rng_below(rng, build->test_count)];
  struct store_result result = {.build = id,
                                .test = test->row,
                                .attempt = test->attempts + 1,
                                .worker = rng_below(rng, build->worker_count),
                                .round = build->round,
                                .start_ms = clock_wall_ms(),
                                .setup_us = rng_below(rng, 10000),
                                .call_us = rng_below(rng, 1000000),
                                .teardown_us = rng_below(rng, 100)};
  char *text = NULL;
  choose(rng, test, &result);
  result.seq = build->worker[result.worker].seq + rng_below(rng, 2);
  if (flood > 0 || rng_one_in(rng, 3)) text = make_text(rng, &result.text_bytes);
  if (flood > 0) {
    text = base_realloc(text, 1, flood);
    memset(text, (int)rng_below(rng, 256), flood);
    result.text_bytes = flood;
  }
  result.text = text;
  model_result(model, &result);
  uint64_t ticket = store_put_result(store, &result);
  free(text);
  return ticket;
}

// Status and flags that a queue could give this attempt.
static void choose(struct rng *rng, const struct model_test *test, struct store_result *result) {
  static const uint32_t statuses[] = {PASSED,  PASSED,  PASSED,  PASSED,  FAILED,   ERRORED,
                                      SKIPPED, XFAILED, XPASSED, CRASHED, TIMED_OUT};
  result->status = statuses[rng_below(rng, COUNT_OF(statuses))];
  if (test->verdict != MODEL_NONE)
    result->flags = STORE_EXTRA;
  else if (rng_one_in(rng, 12))
    result->flags = STORE_LOST | (rng_one_in(rng, 3) ? STORE_SETTLES : 0);
  else if (result->status != FAILED || !rng_one_in(rng, 3))
    result->flags = STORE_SETTLES | (rng_one_in(rng, 10) ? STORE_LATE : 0);
  if (result->flags & STORE_LOST) result->status = CRASHED;
  if (rng_one_in(rng, 10)) result->flags |= STORE_FIRST;
}

static char *make_text(struct rng *rng, size_t *bytes) {
  static const uint32_t sizes[] = {20, 300, 300, 300, 3000, 20000};
  *bytes = 1 + rng_below(rng, sizes[rng_below(rng, COUNT_OF(sizes))]);
  char *text = base_malloc(*bytes);
  memset(text, (int)rng_below(rng, 256), *bytes);
  for (size_t i = 0; i < *bytes; i += 64)
    text[i] = (char)rng_next(rng);
  return text;
}

static uint64_t put_round(struct store *store, struct model *model, struct rng *rng, uint64_t id) {
  struct model_build *build = &model->build[id - 1];
  uint32_t rows[MODEL_TESTS];
  size_t n = 0;
  if (build->purged || !build->listed) return 0;
  for (uint32_t i = 0; i < build->test_count; i++)
    if (build->test[i].verdict == MODEL_FAIL || rng_one_in(rng, 4)) rows[n++] = build->test[i].row;
  model_round(model, id, rows, n);
  return store_put_round(store, id, build->round, rows, n, clock_wall_ms());
}

static uint64_t put_end(struct store *store, struct model *model, struct rng *rng, uint64_t id) {
  uint32_t state = COMPLETE + rng_below(rng, STATES), worker = rng_below(rng, model->build[id - 1].worker_count);
  model_left(model, id, worker);
  store_put_left(store, id, worker, clock_wall_ms(), NULL, 0, 0);
  model_state(model, id, state, clock_wall_ms());
  return store_put_state(store, id, state, clock_wall_ms(), NULL);
}
