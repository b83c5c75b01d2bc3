// The dry run of a planning connection's list: the queue and the scheduler of real workers are served with virtual ones
// whose tests take exactly what is expected, plus a file's set-up whenever a worker changes to it. Called by
// query_apart.c: begun and ended on the loop thread, run on the asker's, to which the list is lent.
#include <assert.h>
#include <stdlib.h>

#include "server/limits.h"
#include "server/plan_impl.h"
#include "server/scope.h"

enum { PLAN_WORKERS_MAX = 1024, PLAN_BYTES_MAX = 900 * 1024 };

// What a worker has done of the file it is in.
struct plan_stretch {
  uint64_t start_us, end_us;
  uint32_t file, tests;
};

struct plan_dry {
  struct plan *plan;
  const struct store_list *list;
  uint32_t workers;
};

struct plan_run {
  const struct store_list *list;
  struct store *view;
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

// False: there was no time for it.
static bool plan_drive(struct plan_run *run) {
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
  bool over = false;
  while (!over && !simulation_step(simulation, LIMIT_SIMULATED_A_TURN))
    over = store_view_over(run->view);
  for (uint32_t i = 0; i < run->workers; i++)
    plan_end_stretch(run, i);
  plan_summary(run, simulation_finish_us(simulation));
  simulation_free(simulation);
  return !over;
}

struct plan_dry *plan_dry_begin(struct conn *conn, uint32_t workers, const char **why) {
  struct plan *plan = conn_user(conn, PLAN_USER);
  *why = "a plan wants 1 to 1024 workers";
  if (!plan || workers < 1 || workers > PLAN_WORKERS_MAX) return NULL;
  *why = "a simulation is in progress";
  if (plan->simulation) return NULL;
  assert(!plan->lent);
  plan_listed(plan);
  plan->lent = true;
  struct plan_dry *dry = base_calloc(1, sizeof *dry);
  *dry = (struct plan_dry){.plan = plan, .list = upload_list(plan->upload, 0), .workers = workers};
  return dry;
}

int plan_dry_run(const struct plan_dry *dry, struct store *view, struct rows *rows) {
  struct plan_run run = {.list = dry->list, .view = view, .rows = rows, .workers = dry->workers};
  struct store_listed *listed = store_lookup(view, dry->plan->project, dry->plan->suite, run.list);
  if (!listed) return -1;
  rows_init(rows, plan_columns, COUNT_OF(plan_columns));
  run.listed = listed;
  run.stretch = base_calloc(run.workers, sizeof *run.stretch);
  const char *ignored;
  scope_make(&run.scope, run.list, listed, SCOPE_AUTO, "", &ignored);
  bool whole = plan_drive(&run);
  scope_release(&run.scope);
  free(run.stretch);
  store_listed_free(listed);
  if (!whole) rows_release(rows);
  return whole ? 0 : -1;
}

void plan_dry_end(struct plan_dry *dry) {
  dry->plan->lent = false;
  if (!dry->plan->conn) plan_free(dry->plan);
  free(dry);
}
