// Restart: the store's records, replayed. READY is rebuilt from the list and the verdicts; leases are not on disk,
// workers name them when they reconnect (session.c). Nothing is granted before they had the time to (queue_restored).
#include "server/recover.h"

#include <stdlib.h>
#include <string.h>

#include "server/deliver.h"
#include "server/scope.h"
#include "server/twin.h"

struct recover_row {
  uint32_t row, position;
};

struct recover {
  struct server *server;
  struct build *build;
  struct recover_row *rows;  // sorted: row id → position
  uint32_t count, state, round;
  uint64_t ended_ms;
};

static int recover_compare(const void *a, const void *b) {
  uint32_t x = ((const struct recover_row *)a)->row, y = ((const struct recover_row *)b)->row;
  return (x > y) - (x < y);
}

static uint32_t recover_position(const struct recover *recover, uint32_t row) {
  struct recover_row key = {.row = row};
  if (!recover->count) return UINT32_MAX;
  const struct recover_row *found = bsearch(&key, recover->rows, recover->count, sizeof key, recover_compare);
  return found ? found->position : UINT32_MAX;
}

static void on_build(void *arg, const struct store_build *record, uint32_t state, uint32_t round) {
  struct recover *recover = arg;
  const struct settings *settings = &recover->server->settings;
  struct queue_policy policy = {.retries = record->retries,
                                .max_failures = record->max_failures,
                                .linger_us = record->linger_us,
                                .lease_ttl_us = settings->lease_ttl_us,
                                .idle_us = settings->idle_timeout_us,
                                .on_retry = (enum queue_on_retry)record->on_retry,
                                .whole_files = record->by_file,
                                .whole_units = record->by_class,
                                .in_order = record->order == SCOPE_COLLECTION,
                                .limits_tests = record->timeout_per_test_us > 0,
                                .min_workers = record->min_workers,
                                .min_workers_us = record->min_workers_us};
  recover->build = build_new(recover->server, record, &policy);
  recover->state = state;
  recover->round = round;
  recover->ended_ms = record->ended_ms;
}

static void on_worker(void *arg, const struct store_worker *record, uint64_t acked, bool left, const char *late) {
  struct build *build = ((struct recover *)arg)->build;
  struct queue_join join = {.node = record->node, .attempt = record->attempt, .brings = record->brings};
  uint32_t fact = record->fact & STORE_FACT_KIND;
  struct queue_past past = {.fact = fact <= FACT_BROKEN ? (enum queue_fact)fact : FACT_LATE,
                            .unstored = record->fact & STORE_FACT_UNSTORED,
                            .cleared = record->cleared,
                            .completed = record->completed,
                            .again = record->again <= AGAIN_ALL ? (enum queue_opening)record->again : AGAIN_NOTHING,
                            .opened = record->opened};
  (void)late;
  uint32_t worker = queue_restore_worker(build->queue, &join, &past);
  struct session *session = build_add_session(build, worker, record->node, record->attempt, record->host);
  memcpy(session->token, record->session, sizeof session->token);
  session->acked = session->applied = acked;
  session->left = left;
  session->brings = record->brings;
  twin_part(session, record->part, record->parts);
  if (left) queue_restore_left(build->queue, worker);
}

static void on_list(void *arg, const struct store_list *list, const struct store_listed *listed) {
  struct recover *recover = arg;
  build_set_list(recover->build, list);
  recover->build->listed_by = base_strdup("an earlier worker");
  build_list_ready(recover->server, recover->build, list, listed);
  effects_clear(&recover->server->effects);  // nobody is here to be told, and the store knows
  recover->count = list->count;
  recover->rows = base_calloc(list->count + 1, sizeof *recover->rows);
  bool sorted = true;  // as they are when the rows were made for this list
  for (uint32_t i = 0; i < list->count; i++) {
    recover->rows[i] = (struct recover_row){listed->test[i], i};
    sorted = sorted && (i == 0 || listed->test[i - 1] < listed->test[i]);
  }
  if (!sorted) qsort(recover->rows, recover->count, sizeof *recover->rows, recover_compare);
}

static void on_round(void *arg, uint32_t round, const uint32_t *tests, size_t count) {
  struct recover *recover = arg;
  uint32_t *positions = base_calloc(count + 1, sizeof *positions);
  for (size_t i = 0; i < count; i++)
    positions[i] = recover_position(recover, tests[i]);
  queue_restore_round(recover->build->queue, round, positions, (uint32_t)count);
  free(positions);
}

static void on_result(void *arg, const struct store_result *result) {
  struct recover *recover = arg;
  uint32_t position = recover_position(recover, result->test);
  bool known = result->worker < recover->build->session_count && result->status >= QUEUE_PASSED &&
               result->status <= QUEUE_TIMED_OUT;
  if (position == UINT32_MAX || !known) return;  // of nobody, or nothing: the test runs again
  struct queue_result of = {.worker = result->worker, .test = position, .status = (enum queue_status)result->status};
  if (of.status == QUEUE_SKIPPED) of.reason = build_reason(recover->build, result->text, result->text_bytes);
  if (result->flags & STORE_EXTRA) {
    queue_restore_extra(recover->build->queue, &of, result->attempt);
    return;
  }
  queue_restore_result(recover->build->queue, &of, result->attempt, result->flags & STORE_SETTLES);
}

// The build as it was, in server->builds; NULL when it cannot be read (logged).
static struct build *recover_replay(struct server *server, uint64_t id) {
  struct recover recover = {.server = server};
  struct store_replay replay = {.on_build = on_build,
                                .on_worker = on_worker,
                                .on_list = on_list,
                                .on_round = on_round,
                                .on_result = on_result,
                                .arg = &recover};
  int failed = store_replay_build(server->store, id, &replay);
  free(recover.rows);
  if (failed || !recover.build) {
    base_log(LOG_LEVEL_ERROR, "recover", "build=%llu result=failed", (unsigned long long)id);
    if (recover.build) build_free(server, recover.build);
    return NULL;
  }
  bool ended = recover.state >= QUEUE_COMPLETE;
  queue_restored(recover.build->queue, server->now_us, ended ? recover.state : 0, &server->effects);
  uint64_t ago_ms = server_wall_ms() > recover.ended_ms ? server_wall_ms() - recover.ended_ms : 0;
  if (ended && ago_ms * 1000 > server->settings.lease_ttl_us) queue_await_nobody(recover.build->queue);
  recover.build->ended_us = ended ? server->now_us : 0;
  return recover.build;
}

struct build *recover_build(struct server *server, uint64_t id) {
  struct build *build = build_by_id(server, id);
  if (build) return build;
  build = recover_replay(server, id);
  if (!build) return NULL;
  struct queue_counts counts;
  queue_counts(build->queue, &counts);
  base_log(LOG_LEVEL_INFO, "recovered", "build=%llu tests=%u done=%u workers=%u", (unsigned long long)id, counts.total,
           counts.done, counts.workers);
  deliver_effects(server, build);
  return build;
}

struct build *recover_apart(struct server *apart, uint64_t id) {
  struct build *build = recover_replay(apart, id);
  effects_release(&apart->effects);  // nobody is here to be told
  if (build && queue_state(build->queue) >= QUEUE_COMPLETE && !queue_closing(build->queue, apart->now_us)) return build;
  if (build) build_free(apart, build);
  return NULL;
}

int recover_all(struct server *server) {
  uint64_t *ids;
  size_t count, i = 0;
  if (store_unfinished(server->store, &ids, &count) < 0) return -1;
  while (i < count && recover_build(server, ids[i]))
    i++;
  free(ids);
  return i == count ? 0 : -1;
}
