// A planning connection: its list, and the dry run, which serves the queue and the scheduler of real workers with
// virtual ones whose tests take exactly what is expected, plus a file's set-up whenever a worker changes to it. Called
// by dispatch.c and query.c.
#include "server/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/plan_impl.h"
#include "server/scope.h"

enum { PLAN_WORKERS_MAX = 1024, PLAN_BYTES_MAX = 900 * 1024 };

// What a worker has done of the file it is in.
struct plan_stretch {
  uint64_t start_us, end_us;
  uint32_t file, tests;
};

struct plan_run {
  const struct store_list *list;
  const struct store_listed *listed;
  struct scope scope;
  struct plan_stretch *stretch;  // by worker
  uint32_t workers;
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
  plan->conn = conn;
  plan->upload = upload_new(&server->budget, BUDGET_PLANS, server->hash_seed);
  plan->project = base_memdup0(hello->project.data, hello->project.len);
  plan->suite = base_memdup0(hello->suite.data, hello->suite.len);
  conn_set_user(conn, plan, PLAN_USER);
}

// All tests bring a duration, or none does.
static int plan_keep_durations(struct plan *plan, const Shardd__ListChunk *chunk, uint32_t before, const char **why) {
  uint32_t count = upload_count(plan->upload);
  *why = "some tests of the list come with an expected duration, others without";
  if (before > 0 && chunk->n_id > 0 && (plan->durations != NULL) != (chunk->n_expected_us > 0)) return -1;
  if (chunk->n_expected_us == 0) return 0;
  if (count > plan->durations_room) {
    plan->durations_room = count > 2 * plan->durations_room ? count : 2 * plan->durations_room;
    plan->durations = base_realloc(plan->durations, plan->durations_room, sizeof *plan->durations);
  }
  for (uint32_t i = before; i < count; i++)
    plan->durations[i] = chunk->expected_us[i - before] ? chunk->expected_us[i - before] : 1;
  return 0;
}

Shardd__ErrorCode plan_hold(struct plan *plan, bool simulates, const char **why) {
  uint64_t busy = simulates ? upload_count(plan->upload) * (uint64_t)LIMIT_SIMULATED_TEST_BYTES : 0;
  return upload_hold(plan->upload, plan->durations_room * sizeof *plan->durations + busy, why);
}

void plan_listed(struct plan *plan) {
  if (plan->listed || upload_count(plan->upload) == 0) return;
  plan->listed = true;
  conn_set_due(plan->conn, base_now_us() + LIMIT_PLAN_US, "a list to plan with is not kept for longer");
}

static Shardd__ErrorCode plan_take(struct plan *plan, const Shardd__ListChunk *chunk, const char **why) {
  uint32_t before = upload_count(plan->upload);
  Shardd__ErrorCode code = upload_add(plan->upload, chunk, why);
  if (code != SHARDD__ERROR_CODE__ERROR_UNSET) return code;
  if (plan_keep_durations(plan, chunk, before, why) < 0) return SHARDD__ERROR_CODE__ERROR_MALFORMED;
  return plan_hold(plan, false, why);
}

void plan_close(struct conn *conn) {
  struct plan *plan = conn_user(conn, PLAN_USER);
  if (!plan) return;
  conn_set_user(conn, NULL, 0);
  plan_forget_simulation(plan);
  plan_forget_outlook(plan);
  upload_free(plan->upload);
  free(plan->durations);
  free(plan->project);
  free(plan->suite);
  free(plan);
}

void plan_chunk(struct conn *conn, const Shardd__ListChunk *chunk) {
  const char *why = "the list is being simulated already";
  struct plan *plan = conn_user(conn, PLAN_USER);
  Shardd__ErrorCode code = plan->sealed ? SHARDD__ERROR_CODE__ERROR_STATE : plan_take(plan, chunk, &why);
  if (code != SHARDD__ERROR_CODE__ERROR_UNSET) {
    conn_error(conn, code, 0, true, "%s", why);
    plan_close(conn);
  } else if (!plan->listed) {
    conn_set_due(conn, upload_due_us(plan->upload, base_now_us(), server_silence_us(plan->server)),
                 "the list came too slowly, or not at all");
  }
}

// ---- the dry run

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
  struct plan_stretch *stretch = &run->stretch[number];
  if (stretch->tests == 0) return;
  const char *what = stretch->file == UINT32_MAX ? "" : run->list->file[stretch->file];
  plan_row(run, number, stretch->start_us, stretch->end_us - stretch->start_us, stretch->tests, what);
  stretch->tests = 0;
}

static void on_ran(void *arg, const struct simulation_ran *ran) {
  struct plan_run *run = arg;
  struct plan_stretch *stretch = &run->stretch[ran->worker];
  uint32_t file = run->list->file_of[ran->test];
  if (stretch->tests == 0 || stretch->file != file) {
    plan_end_stretch(run, ran->worker);
    stretch->start_us = ran->start_us;
    stretch->file = file;
  }
  stretch->end_us = ran->end_us;
  stretch->tests++;
}

static void plan_summary(struct plan_run *run, uint64_t finish_us) {
  uint64_t sum = 0, longest = 0;
  uint32_t unseen = 0;
  for (uint32_t i = 0; i < run->list->count; i++) {
    sum += run->scope.expected_us[i];
    if (run->scope.expected_us[i] > longest) longest = run->scope.expected_us[i];
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
  struct simulation_suite suite = {.count = run->list->count,
                                   .file_count = run->scope.list.file_count,
                                   .file_of = run->scope.file_of,
                                   .unit_of = run->list->unit_of,
                                   .actual_us = run->scope.expected_us,
                                   .expected_us = run->scope.expected_us,
                                   .order_us = run->scope.order_us,
                                   .file_setup_us = run->scope.setup_us,
                                   .whole_of = run->scope.whole,
                                   .tokens = run->scope.tokens,
                                   .on_ran = on_ran,
                                   .arg = run};
  struct simulation *simulation = simulation_new(&suite, run->workers);
  while (!simulation_step(simulation, LIMIT_SIMULATED_A_TURN)) {
  }
  for (uint32_t i = 0; i < run->workers; i++)
    plan_end_stretch(run, i);
  plan_summary(run, simulation_finish_us(simulation));
  simulation_free(simulation);
}

int plan_rows(struct conn *conn, uint32_t workers, struct rows *rows, const char **why) {
  struct plan *plan = conn_user(conn, PLAN_USER);
  *why = "a plan wants 1 to 1024 workers";
  if (!plan || workers < 1 || workers > PLAN_WORKERS_MAX) return -1;
  *why = "a simulation is in progress";
  if (plan->simulation) return -1;
  plan_listed(plan);
  struct plan_run run = {.list = upload_list(plan->upload, 0), .rows = rows, .workers = workers};
  struct store_listed *listed = store_lookup(plan->server->store, plan->project, plan->suite, run.list);
  *why = "the history cannot be read";
  if (!listed) return -1;
  rows_init(rows, plan_columns, COUNT_OF(plan_columns));
  run.listed = listed;
  run.stretch = base_calloc(workers, sizeof *run.stretch);
  const char *ignored;
  scope_make(&run.scope, run.list, listed, SCOPE_AUTO, "", &ignored);
  plan_drive(&run);
  scope_release(&run.scope);
  free(run.stretch);
  store_listed_free(listed);
  return 0;
}
