// A planning connection and its list. Called by dispatch.c and, in the name of questions, by plan_*.c.
#include "server/plan.h"

#include <stdlib.h>

#include "server/limits.h"
#include "server/plan_impl.h"

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

void plan_free(struct plan *plan) {
  plan_forget_outlook(&plan->outlook);
  upload_free(plan->upload);
  free(plan->durations);
  free(plan->project);
  free(plan->suite);
  free(plan);
}

void plan_close(struct conn *conn) {
  struct plan *plan = conn_user(conn, PLAN_USER);
  if (!plan) return;
  conn_set_user(conn, NULL, 0);
  plan_forget_simulation(plan);
  plan->conn = NULL;
  if (!plan->lent) plan_free(plan);
}

void plan_chunk(struct conn *conn, const Shardd__ListChunk *chunk) {
  const char *why = "the list is being simulated already";
  struct plan *plan = conn_user(conn, PLAN_USER);
  Shardd__ErrorCode code = plan->sealed || plan->lent ? SHARDD__ERROR_CODE__ERROR_STATE : plan_take(plan, chunk, &why);
  if (code != SHARDD__ERROR_CODE__ERROR_UNSET) {
    conn_error(conn, code, 0, true, "%s", why);
    plan_close(conn);
  } else if (!plan->listed) {
    conn_set_due(conn, upload_due_us(plan->upload, base_now_us(), server_silence_us(plan->server)),
                 "the list came too slowly, or not at all");
  }
}
