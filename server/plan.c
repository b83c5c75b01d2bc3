// The dry run: the queue and the scheduler that serve real workers, served with virtual ones whose tests take exactly
// what is expected, plus a file's set-up whenever a worker changes to it. Called by dispatch.c and query.c.
#include "server/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/listing.h"

enum { PLAN_WORKERS_MAX = 1024, PLAN_BYTES_MAX = 900 * 1024 };

struct plan {
  struct server *server;
  struct upload *upload;
  char *project, *suite;
};

// A worker of virtual time, and the stretch of one file it is in.
struct plan_worker {
  uint64_t free_us, start_us;
  uint32_t file, tests;
};

struct plan_run {
  const struct store_list *list;
  const struct store_listed *listed;
  uint64_t *expected, *order;
  struct queue *queue;
  struct plan_worker *worker;
  uint32_t workers;
  struct effects effects;
  struct rows *rows;
  bool cut;
};

static const struct rows_column plan_columns[] = {{"worker", ROWS_INT},
                                                  {"start", ROWS_DURATION_US},
                                                  {"duration", ROWS_DURATION_US},
                                                  {"tests", ROWS_INT},
                                                  {"what", ROWS_TEXT}};

void plan_open(struct server *server, struct conn *conn, const Shardd__Hello *hello) {
  struct plan *plan = base_calloc(1, sizeof *plan);
  plan->server = server;
  plan->upload = upload_new(server->hash_seed);
  plan->project = base_memdup0(hello->project.data, hello->project.len);
  plan->suite = base_memdup0(hello->suite.data, hello->suite.len);
  conn_set_user(conn, plan, PLAN_USER);
}

void plan_chunk(struct conn *conn, const Shardd__ListChunk *chunk) {
  const char *why;
  struct plan *plan = conn_user(conn, PLAN_USER);
  if (upload_add(plan->upload, chunk, &why) < 0)
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_MALFORMED, 0, true, "%s", why);
}

void plan_close(struct conn *conn) {
  struct plan *plan = conn_user(conn, PLAN_USER);
  if (!plan) return;
  conn_set_user(conn, NULL, 0);
  upload_free(plan->upload);
  free(plan->project);
  free(plan->suite);
  free(plan);
}

// ---- virtual time

static void plan_row(struct plan_run *run, int64_t worker, uint64_t start_us, uint64_t duration_us, uint32_t tests,
                     const char *what) {
  run->cut = run->cut || run->rows->bytes > PLAN_BYTES_MAX;
  if (run->cut && worker >= 0) return;
  if (worker >= 0) {
    rows_int(run->rows, worker);
  } else {
    rows_none(run->rows);
  }
  rows_int(run->rows, (int64_t)start_us);
  rows_int(run->rows, (int64_t)duration_us);
  rows_int(run->rows, tests);
  rows_string(run->rows, what);
}

static void plan_end_stretch(struct plan_run *run, uint32_t number) {
  struct plan_worker *worker = &run->worker[number];
  if (worker->tests == 0) return;
  const char *what = worker->file == UINT32_MAX ? "" : run->list->file[worker->file];
  plan_row(run, number, worker->start_us, worker->free_us - worker->start_us, worker->tests, what);
  worker->tests = 0;
}

static void plan_test(struct plan_run *run, uint32_t number, uint32_t position) {
  struct plan_worker *worker = &run->worker[number];
  uint32_t file = run->list->file_of[position];
  if (worker->file != file || worker->tests == 0) {
    plan_end_stretch(run, number);
    worker->start_us = worker->free_us;
    if (file != UINT32_MAX && worker->file != file) worker->free_us += run->listed->file_setup_us[file];
    worker->file = file;
  }
  worker->free_us += run->expected[position];
  worker->tests++;
}

static uint32_t plan_next(const struct plan_run *run) {
  uint32_t next = 0;
  for (uint32_t i = 1; i < run->workers; i++) {
    if (run->worker[i].free_us < run->worker[next].free_us) next = i;
  }
  return next;
}

static void plan_report(struct plan_run *run, uint32_t number, const struct effect *lease) {
  uint32_t attempt;
  bool settles;
  struct effects ignored = {0};
  for (uint32_t i = 0; i < lease->count; i++) {
    struct queue_result result = {.worker = number,
                                  .test = lease->tests[i],
                                  .lease = lease->lease,
                                  .status = QUEUE_PASSED,
                                  .duration_us = run->expected[lease->tests[i]]};
    (void)queue_result(run->queue, run->worker[number].free_us, &result, &attempt, &settles, &ignored);
  }
  effects_release(&ignored);
}

// One lease of the worker that is free first; false: nothing is left for it.
static bool plan_step(struct plan_run *run) {
  uint32_t number = plan_next(run);
  uint64_t now_us = run->worker[number].free_us;
  bool leased = false;
  if (now_us == UINT64_MAX) return false;
  queue_lease(run->queue, now_us, number, &run->effects);
  for (size_t i = 0; i < run->effects.count; i++) {
    const struct effect *effect = &run->effects.item[i];
    if (effect->kind != EFFECT_LEASE) continue;
    for (uint32_t t = 0; t < effect->count; t++)
      plan_test(run, number, effect->tests[t]);
    plan_report(run, number, effect);
    leased = true;
  }
  effects_clear(&run->effects);
  if (!leased) {
    plan_end_stretch(run, number);
    run->worker[number].free_us = UINT64_MAX;
  }
  return true;
}

static void plan_expect(struct plan_run *run) {
  struct estimate_out *out = base_calloc(run->list->count + 1, sizeof *out);
  estimate_list(run->listed->history, run->list->file_of, run->list->count, run->list->file_count, out);
  run->expected = base_calloc(run->list->count + 1, sizeof *run->expected);
  run->order = base_calloc(run->list->count + 1, sizeof *run->order);
  for (uint32_t i = 0; i < run->list->count; i++) {
    run->expected[i] = out[i].expected_us;
    run->order[i] = out[i].order_us;
  }
  free(out);
}

static void plan_summary(struct plan_run *run, uint64_t finish_us) {
  uint64_t sum = 0, longest = 0;
  uint32_t unseen = 0;
  for (uint32_t i = 0; i < run->list->count; i++) {
    sum += run->expected[i];
    if (run->expected[i] > longest) longest = run->expected[i];
    unseen += run->listed->history[i].n == 0;
  }
  assert(run->workers > 0);
  uint64_t bound = sum / run->workers > longest ? sum / run->workers : longest;
  plan_row(run, -1, 0, finish_us, run->list->count, "finish");
  plan_row(run, -1, 0, bound, run->list->count, "lower bound");
  plan_row(run, -1, 0, 0, unseen, "never timed");
  if (run->cut) plan_row(run, -1, 0, 0, 0, "cut: too long to show");
}

static void plan_drive(struct plan_run *run) {
  struct queue_policy policy = {.lease_ttl_us = UINT64_MAX / 2, .idle_us = UINT64_MAX / 2, .linger_us = UINT64_MAX / 2};
  struct sched_list list = {.count = run->list->count,
                            .file_count = run->list->file_count,
                            .file_of = run->list->file_of,
                            .unit_of = run->list->unit_of,
                            .expected_us = run->expected,
                            .order_us = run->order,
                            .file_setup_us = run->listed->file_setup_us};
  uint64_t finish = 0;
  run->queue = queue_new(&policy, 0, 1);
  queue_set_list(run->queue, 1, &list, NULL, &run->effects);
  for (uint32_t i = 0; i < run->workers; i++) {
    uint32_t *reopened, count;
    struct queue_join join = {.node = "", .attempt = "", .retried = QUEUE_RETRIED_NO, .node_total = run->workers};
    (void)queue_join(run->queue, 1, &join, &reopened, &count, &run->effects);
    run->worker[i].file = UINT32_MAX;
  }
  effects_clear(&run->effects);
  do {
    for (uint32_t i = 0; i < run->workers; i++) {
      if (run->worker[i].free_us != UINT64_MAX && run->worker[i].free_us > finish) finish = run->worker[i].free_us;
    }
  } while (plan_step(run));
  plan_summary(run, finish);
  queue_free(run->queue);
}

int plan_rows(struct conn *conn, uint32_t workers, struct rows *rows, const char **why) {
  struct plan *plan = conn_user(conn, PLAN_USER);
  *why = "a plan wants 1 to 1024 workers";
  if (!plan || workers < 1 || workers > PLAN_WORKERS_MAX) return -1;
  struct plan_run run = {.list = upload_list(plan->upload, 0), .rows = rows, .workers = workers};
  struct store_listed *listed = store_lookup(plan->server->store, plan->project, plan->suite, run.list);
  *why = "the history cannot be read";
  if (!listed) return -1;
  rows_init(rows, plan_columns, COUNT_OF(plan_columns));
  run.listed = listed;
  run.worker = base_calloc(workers, sizeof *run.worker);
  plan_expect(&run);
  plan_drive(&run);
  effects_release(&run.effects);
  free(run.worker);
  free(run.expected);
  free(run.order);
  store_listed_free(listed);
  return 0;
}
