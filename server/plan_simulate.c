// Simulations of planning connections: a list with the durations that came with it, in virtual time. One connection has
// one at a time, the server LIMIT_SIMULATIONS; in each turn of the loop one of them goes on by LIMIT_SIMULATED_A_TURN
// events, in rotation, so that no question keeps the others waiting. What is not sliced is handing a list to the queue,
// which costs as much as in a real build. Called by query.c.
#include <assert.h>
#include <stdlib.h>

#include "server/limits.h"
#include "server/plan_impl.h"

static const struct rows_column plan_simulated_columns[] = {{"workers", ROWS_INT}, {"finish", ROWS_DURATION_US}};

static struct plan **plan_end_of_simulations(struct server *server) {
  struct plan **end = &server->simulations;
  while (*end)
    end = &(*end)->next;
  return end;
}

static uint32_t plan_simulations(const struct server *server) {
  uint32_t n = 0;
  for (const struct plan *plan = server->simulations; plan; plan = plan->next)
    n++;
  return n;
}

void plan_forget_simulation(struct plan *plan) {
  if (!plan->simulation) return;
  struct plan **at = &plan->server->simulations;
  while (*at != plan)
    at = &(*at)->next;
  *at = plan->next;
  plan->next = NULL;
  simulation_free(plan->simulation);
  plan->simulation = NULL;
  const char *why;
  Shardd__ErrorCode code = plan_hold(plan, false, &why);
  assert(code == SHARDD__ERROR_CODE__ERROR_UNSET);  // it is less than before
}

// ERROR_UNSET when the question can be begun on.
static Shardd__ErrorCode plan_may_simulate(const struct plan *plan, const Shardd__Query *query, const char **why) {
  *why = "a simulation is for a client in role PLAN";
  if (!plan) return SHARDD__ERROR_CODE__ERROR_STATE;
  *why = "a simulation wants 1 to 64 workers";
  if (query->workers < 1 || query->workers > FORECAST_WORKERS_MAX) return SHARDD__ERROR_CODE__ERROR_STATE;
  *why = "a simulation wants a list of tests with their expected durations";
  if (!plan->durations) return SHARDD__ERROR_CODE__ERROR_STATE;
  *why = "a simulation is in progress on this connection";
  if (plan->simulation) return SHARDD__ERROR_CODE__ERROR_BUSY;
  *why = "a question about the list is in progress on this connection";
  if (plan->lent) return SHARDD__ERROR_CODE__ERROR_BUSY;
  *why = "too many simulations are in progress";
  if (plan_simulations(plan->server) >= LIMIT_SIMULATIONS) return SHARDD__ERROR_CODE__ERROR_BUSY;
  return SHARDD__ERROR_CODE__ERROR_UNSET;
}

Shardd__ErrorCode plan_simulate(struct conn *conn, uint64_t seq, const Shardd__Query *query, const char **why) {
  struct plan *plan = conn_user(conn, PLAN_USER);
  Shardd__ErrorCode code = plan_may_simulate(plan, query, why);
  if (code == SHARDD__ERROR_CODE__ERROR_UNSET) code = plan_hold(plan, true, why);
  if (code != SHARDD__ERROR_CODE__ERROR_UNSET) return code;
  plan_listed(plan);
  const struct store_list *list = upload_list(plan->upload, 0);
  struct simulation_suite suite = {.count = list->count,
                                   .file_count = list->file_count,
                                   .file_of = list->file_of,
                                   .unit_of = list->unit_of,
                                   .actual_us = plan->durations,
                                   .expected_us = plan->durations,
                                   .order_us = plan->durations,
                                   .whole_files = query->by_file};
  if (plan->whole_files != (bool)query->by_file) plan->curve = (struct forecast_curve){0};  // of another policy
  plan->whole_files = query->by_file;
  plan->sealed = true;
  plan->workers = query->workers;
  plan->seq = seq;
  plan->simulation = simulation_new(&suite, query->workers);
  *plan_end_of_simulations(plan->server) = plan;
  return SHARDD__ERROR_CODE__ERROR_UNSET;
}

static void plan_simulated(struct plan *plan, plan_answer *answer) {
  struct rows rows;
  uint64_t finish_us = simulation_finish_us(plan->simulation);
  plan->curve.finish_us[plan->workers] = finish_us;
  plan_forget_simulation(plan);
  rows_init(&rows, plan_simulated_columns, COUNT_OF(plan_simulated_columns));
  rows_int(&rows, plan->workers);
  rows_int(&rows, (int64_t)finish_us);
  answer(plan->conn, plan->seq, &rows);
  rows_release(&rows);
}

bool plan_slice(struct server *server, plan_answer *answer) {
  struct plan *plan = server->simulations;
  if (!plan) return false;
  assert(plan->simulation);
  if (simulation_step(plan->simulation, LIMIT_SIMULATED_A_TURN)) {
    plan_simulated(plan, answer);
  } else if (plan->next) {
    server->simulations = plan->next;
    plan->next = NULL;
    *plan_end_of_simulations(server) = plan;
  }
  return server->simulations != NULL;
}
