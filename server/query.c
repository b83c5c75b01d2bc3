// Questions of people and commands: which way each goes, and those that are answered from memory. Called by dispatch.c.
// What stands in the database is read by the asker (query_apart.c). The answer is one Rows message, whatever the
// question.
#include "server/query.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "server/limits.h"
#include "server/plan.h"
#include "server/query_impl.h"
#include "server/recover.h"
#include "server/twin.h"
#include "server/unrun.h"

_Static_assert((int)SHARDD__COLUMN_TYPE__COLUMN_NUMBER == (int)ROWS_MILLI, "column types differ");

// ---- answers

void query_send(struct conn *conn, uint64_t seq, const struct rows *rows) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Rows message = SHARDD__ROWS__INIT;
  ProtobufCBinaryData *bytes = base_calloc(rows->column_count + rows->cell_count + 1, sizeof *bytes);
  uint32_t *type = base_calloc(rows->column_count + 1, sizeof *type);
  for (size_t i = 0; i < rows->column_count; i++) {
    bytes[i] = msg_text(rows->columns[i].name);
    type[i] = rows->columns[i].type;
  }
  for (size_t i = 0; i < rows->cell_count; i++) {
    bytes[rows->column_count + i] = msg_bytes(rows->cells[i].bytes, rows->cells[i].n);
  }
  message.column = bytes;
  message.n_column = message.n_type = rows->column_count;
  message.type = type;
  message.cell = bytes + rows->column_count;
  message.n_cell = rows->cell_count;
  message.next = rows->next;
  frame.seq = seq;
  frame.body_case = SHARDD__FRAME__BODY_ROWS;
  frame.rows = &message;
  if (msg_packed_bytes(&frame) == 0) {
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_TOO_LARGE, seq, false,
               "the answer is too large: ask with a smaller --limit");
  } else {
    conn_send(conn, &frame);
  }
  free(bytes);
  free(type);
}

static const char *query_state_name(enum queue_state state) {
  switch (state) {
    case QUEUE_COLLECTING: return "collecting";
    case QUEUE_RUNNING: return "running";
    case QUEUE_COMPLETE: return "complete";
    case QUEUE_INCOMPLETE: return "incomplete";
    case QUEUE_ABORTED: return "aborted";
  }
  return "";
}

// ---- status

static const struct rows_column query_status_columns[] = {
    {"build", ROWS_TEXT},   {"project", ROWS_TEXT},     {"suite", ROWS_TEXT},          {"state", ROWS_TEXT},
    {"total", ROWS_INT},    {"done", ROWS_INT},         {"failing", ROWS_INT},         {"leased", ROWS_INT},
    {"workers", ROWS_INT},  {"wall", ROWS_DURATION_US}, {"elapsed", ROWS_DURATION_US}, {"eta", ROWS_DURATION_US},
    {"running", ROWS_TEXT},
};

enum { QUERY_RUNNING_SHOWN = 8 };

static void query_running(struct rows *rows, const struct build *build) {
  size_t room = QUERY_RUNNING_SHOWN * (MSG_ID_MAX_BYTES + 1), n = 0, shown = 0;
  char *text = base_malloc(room);
  for (uint32_t i = build->session_count; i > 0 && shown < QUERY_RUNNING_SHOWN; i--) {
    uint32_t test = build->session[i - 1]->conn ? queue_running_test(build->queue, i - 1) : UINT32_MAX;
    if (test == UINT32_MAX) continue;
    if (shown++) text[n++] = '\n';
    n += names_copy(&build->ids, test, text + n);
  }
  rows_text(rows, text, n);
  free(text);
}

// The same number as everywhere; until the build is on disk, the time since it began.
static int64_t query_wall_us(const struct server *server, const struct build *build) {
  uint64_t us, now_ms = server_wall_ms();
  if (store_wall_us(server->store, build->id, &us) == 0) return (int64_t)us;
  return now_ms > build->started_ms ? (int64_t)(now_ms - build->started_ms) * 1000 : 0;
}

static void query_status_row(struct rows *rows, const struct server *server, const struct build *build) {
  struct queue_counts counts;
  queue_counts(build->queue, &counts);
  int64_t wall_us = query_wall_us(server, build);
  bool ended = build->ended_us != 0;
  rows_string(rows, build->ext);
  rows_string(rows, build->project);
  rows_string(rows, build->suite);
  rows_string(rows, query_state_name(queue_state(build->queue)));
  rows_int(rows, counts.total);
  rows_int(rows, counts.done);
  rows_int(rows, counts.failing);
  rows_int(rows, counts.leased);
  rows_int(rows, counts.connected);
  rows_int(rows, wall_us);
  rows_int(rows, wall_us);
  if (counts.connected || ended) {
    rows_int(rows, (int64_t)(counts.left_us / (counts.connected ? counts.connected : 1)));
  } else {
    rows_none(rows);  // nobody works on it: it has no end in sight
  }
  query_running(rows, build);
}

static bool query_matches(const char *asked, const char *name) {
  return !asked[0] || strcmp(asked, name) == 0;
}

static void query_status(const struct query_call *call) {
  struct rows rows;
  rows_init(&rows, query_status_columns, COUNT_OF(query_status_columns));
  for (const struct build *build = call->server->builds; build; build = build->next) {
    bool wanted = query_matches(call->project, build->project) && query_matches(call->suite, build->suite) &&
                  query_matches(call->build, build->ext);
    if (wanted && rows.bytes < FRAME_MAX_BYTES / 2) query_status_row(&rows, call->server, build);
  }
  query_send(call->conn, call->seq, &rows);
  rows_release(&rows);
}

// ---- wait

static const struct rows_column query_wait_columns[] = {
    {"state", ROWS_TEXT}, {"exit_code", ROWS_INT}, {"total", ROWS_INT}, {"settled", ROWS_INT}, {"failing", ROWS_INT},
    {"flaky", ROWS_INT},  {"missing", ROWS_INT},   {"text", ROWS_TEXT}, {"muted", ROWS_INT},
};

void query_wait_rows(const struct build *build, struct rows *rows) {
  struct queue_counts counts;
  const char *why;
  int code = queue_build_code(build->queue, &why);
  bool given_up = queue_state(build->queue) == QUEUE_INCOMPLETE;
  char *unrun = given_up ? twin_tell(build, NULL) : NULL;
  if (given_up && !unrun) unrun = unrun_tell(build);
  char *text = unrun ? base_printf("%s: %s", why, unrun) : NULL;
  queue_counts(build->queue, &counts);
  rows_init(rows, query_wait_columns, COUNT_OF(query_wait_columns));
  rows_string(rows, query_state_name(queue_state(build->queue)));
  rows_int(rows, code);
  rows_int(rows, counts.total);
  rows_int(rows, counts.done);
  rows_int(rows, counts.failing);
  rows_int(rows, counts.by_verdict[VERDICT_FLAKY]);
  rows_int(rows, counts.total - counts.done);
  rows_string(rows, text ? text : why);
  rows_int(rows, counts.by_verdict[VERDICT_MUTED]);
  free(text);
  free(unrun);
}

static void query_wait_answer(struct conn *conn, uint64_t seq, const struct build *build) {
  struct rows rows;
  query_wait_rows(build, &rows);
  query_send(conn, seq, &rows);
  rows_release(&rows);
}

// ---- who waits

uint32_t query_waits_of(const struct query_call *call) {
  uint32_t n = 0;
  for (const struct query_waiter *waiter = call->server->waiters; waiter; waiter = waiter->next) {
    n += waiter->conn == call->conn;
  }
  return n;
}

struct query_waiter *query_waits(const struct query_call *call) {
  struct query_waiter *waiter = base_calloc(1, sizeof *waiter);
  waiter->conn = call->conn;
  waiter->seq = call->seq;
  waiter->next = call->server->waiters;
  return call->server->waiters = waiter;
}

// Over for good: ended, on disk, and no worker there that could still bring a late error.
static bool query_over(const struct server *server, const struct build *build) {
  if (queue_state(build->queue) < QUEUE_COMPLETE || build->pending) return false;
  if (store_durable(server->store) < build->state_ticket) return false;
  return !queue_closing(build->queue, server->now_us);
}

static void query_waiter_free(struct query_waiter *waiter) {
  free(waiter->project);
  free(waiter->suite);
  free(waiter->build);
  free(waiter);
}

// Who asked for the newest build while there was none waits for the first that comes.
static const struct build *query_waited(struct server *server, struct query_waiter *waiter) {
  for (const struct build *build = server->builds; build && !waiter->build[0]; build = build->next) {
    if (strcmp(build->project, waiter->project) != 0 || strcmp(build->suite, waiter->suite) != 0) continue;
    free(waiter->build);
    waiter->build = base_strdup(build->ext);
  }
  return build_find(server, waiter->project, waiter->suite, waiter->build);
}

void query_waiters(struct server *server) {
  for (struct query_waiter **at = &server->waiters; *at;) {
    struct query_waiter *waiter = *at;
    bool changes = waiter->ticket != 0 || waiter->chore;
    const struct build *build = changes ? NULL : query_waited(server, waiter);
    if (changes ? !query_change_answer(server, waiter) : !build || !query_over(server, build)) {
      at = &waiter->next;
      continue;
    }
    if (build) query_wait_answer(waiter->conn, waiter->seq, build);
    *at = waiter->next;
    query_waiter_free(waiter);
  }
}

void query_forget(struct server *server, struct conn *conn) {
  query_drop(server, conn);
  for (struct query_waiter **at = &server->waiters; *at;) {
    struct query_waiter *waiter = *at;
    if (waiter->conn != conn) {
      at = &waiter->next;
      continue;
    }
    *at = waiter->next;
    query_waiter_free(waiter);
  }
}

void query_release(struct server *server) {
  assert(!server->questions && !server->reading);  // they went with their connections
  query_apart_release(server);
  while (server->waiters)
    query_forget(server, server->waiters->conn);
}

void query_wait_here(const struct query_call *call) {
  if (query_waits_of(call) >= LIMIT_WAITS) {
    conn_error(call->conn, SHARDD__ERROR_CODE__ERROR_BUSY, call->seq, false,
               "%d questions wait on this connection already", LIMIT_WAITS);
    return;
  }
  const struct build *build = build_find(call->server, call->project, call->suite, call->build);
  uint64_t id = build ? 0 : store_find(call->server->store, call->project, call->suite, call->build);
  if (id) build = recover_build(call->server, id);
  if (id && !build) {
    conn_error(call->conn, SHARDD__ERROR_CODE__ERROR_UNKNOWN, call->seq, false,
               "the build cannot be read from the database: see the server's log");
    return;
  }
  struct query_waiter *waiter = query_waits(call);
  waiter->project = base_strdup(call->project);
  waiter->suite = base_strdup(build ? build->suite : call->suite);
  waiter->build = base_strdup(build ? build->ext : call->build);  // "" asked for the newest
}

// A build that is on disk alone is looked at apart: most have ended.
static void query_wait(const struct query_call *call) {
  bool apart = !build_find(call->server, call->project, call->suite, call->build) &&
               store_find(call->server->store, call->project, call->suite, call->build);
  if (apart) {
    query_put_off(call->server, call->conn, call->seq, call->message, true);
  } else {
    query_wait_here(call);
  }
}

// ---- the daemon itself

static const struct rows_column query_server_columns[] = {{"key", ROWS_TEXT}, {"value", ROWS_TEXT}};

static void query_pair(struct rows *rows, const char *key, uint64_t value) {
  rows_string(rows, key);
  rows_int(rows, (int64_t)value);
}

// They are read once a turn, however many ask.
static void query_sizes(struct server *server, struct rows *rows) {
  if (server->sized_us != server->now_us) store_sizes(server->store, &server->sizes);
  server->sized_us = server->now_us;
  struct store_sizes sizes = server->sizes;
  query_pair(rows, "database_bytes", sizes.database_bytes);
  query_pair(rows, "log_bytes", sizes.log_bytes);
  query_pair(rows, "ballast_bytes", sizes.ballast_bytes);
  query_pair(rows, "free_bytes", sizes.free_bytes);
  query_pair(rows, "reusable_bytes", sizes.reusable_bytes);
  query_pair(rows, "keep_results_us", sizes.keep_results_us);
  query_pair(rows, "results_since_ms", sizes.results_since_ms);
  query_pair(rows, "builds_with_results", sizes.builds_with_results);
  query_pair(rows, "builds", sizes.builds);
}

static void query_server(const struct query_call *call) {
  struct rows rows;
  rows_init(&rows, query_server_columns, COUNT_OF(query_server_columns));
  rows_string(&rows, "version");
  rows_string(&rows, SHARD_VERSION);
  query_pair(&rows, "epoch", store_epoch(call->server->store));
  query_pair(&rows, "connections", conns_count(call->server->conns));
  query_pair(&rows, "builds in memory", call->server->build_count);
  query_pair(&rows, "records not yet on disk", store_pending(call->server->store));
  query_pair(&rows, "questions_answered", call->server->answered);
  query_pair(&rows, "held_bytes", budget_used(&call->server->budget));
  query_pair(&rows, "held_bytes_most", call->server->budget.most);
  query_sizes(call->server, &rows);
  rows_string(&rows, "disk");
  rows_string(&rows, store_full(call->server->store) ? "full: results are refused" : "ok");
  query_send(call->conn, call->seq, &rows);
  rows_release(&rows);
}

// ---- simulations

// Answered when the simulation has ended.
static void query_simulate(const struct query_call *call) {
  const char *why;
  Shardd__ErrorCode code = plan_simulate(call->conn, call->seq, call->message, &why);
  if (code != SHARDD__ERROR_CODE__ERROR_UNSET) conn_error(call->conn, code, call->seq, false, "%s", why);
}

bool query_simulations(struct server *server) {
  return plan_slice(server, query_send);
}

static void query_run(const struct query_call *call, Shardd__QueryKind kind) {
  switch (kind) {
    case SHARDD__QUERY_KIND__QUERY_STATUS: query_status(call); return;
    case SHARDD__QUERY_KIND__QUERY_WAIT: query_wait(call); return;
    case SHARDD__QUERY_KIND__QUERY_SERVER: query_server(call); return;
    case SHARDD__QUERY_KIND__QUERY_SIMULATE: query_simulate(call); return;
    case SHARDD__QUERY_KIND__QUERY_IMPORT: query_import(call); return;
    case SHARDD__QUERY_KIND__QUERY_BACKUP: query_backup(call); return;
    case SHARDD__QUERY_KIND__QUERY_CHECK: query_check(call); return;
    case SHARDD__QUERY_KIND__QUERY_BUILDS:
    case SHARDD__QUERY_KIND__QUERY_WORKERS:
    case SHARDD__QUERY_KIND__QUERY_SLOW:
    case SHARDD__QUERY_KIND__QUERY_FLAKY:
    case SHARDD__QUERY_KIND__QUERY_TEST:
    case SHARDD__QUERY_KIND__QUERY_REPORT:
    case SHARDD__QUERY_KIND__QUERY_PLAN:
    case SHARDD__QUERY_KIND__QUERY_FORECAST:
    case SHARDD__QUERY_KIND__QUERY_FORECAST_FACTS:
    case SHARDD__QUERY_KIND__QUERY_BROKEN:
    case SHARDD__QUERY_KIND__QUERY_SLOWER:
    case SHARDD__QUERY_KIND__QUERY_BUILD:
    case SHARDD__QUERY_KIND__QUERY_TIMELINE:
    case SHARDD__QUERY_KIND__QUERY_SKIPS:
    case SHARDD__QUERY_KIND__QUERY_ERRORS:
    case SHARDD__QUERY_KIND__QUERY_QUARANTINE:
    case SHARDD__QUERY_KIND__QUERY_MUTE:
    case SHARDD__QUERY_KIND__QUERY_UNMUTE:
    case SHARDD__QUERY_KIND__QUERY_LOG:
    case SHARDD__QUERY_KIND__QUERY_STATE:
    case SHARDD__QUERY_KIND__QUERY_DURATIONS:  // these go to the asker (query_apart.c)
    case SHARDD__QUERY_KIND__QUERY_UNSET:
    case _SHARDD__QUERY_KIND_IS_INT_SIZE: break;
  }
  conn_error(call->conn, SHARDD__ERROR_CODE__ERROR_UNKNOWN, call->seq, false, "no such query");
}

void query_call_init(struct query_call *call, struct server *server, struct conn *conn, uint64_t seq,
                     const Shardd__Query *query) {
  uint32_t limit = query->limit ? query->limit : LIMIT_ROWS;
  *call = (struct query_call){.server = server,
                              .conn = conn,
                              .seq = seq,
                              .project = base_memdup0(query->project.data, query->project.len),
                              .suite = base_memdup0(query->suite.data, query->suite.len),
                              .build = base_memdup0(query->build.data, query->build.len),
                              .test = base_memdup0(query->test.data, query->test.len),
                              .branch = base_memdup0(query->branch.data, query->branch.len),
                              .since_ms = query->since_ms < LIMIT_STORED_MS ? query->since_ms : LIMIT_STORED_MS,
                              .message = query,
                              .limit = limit < LIMIT_ROWS_MAX ? limit : LIMIT_ROWS_MAX,
                              .workers = query->workers,
                              .after = query->after < INT64_MAX ? query->after : INT64_MAX};
}

void query_call_release(struct query_call *call) {
  free(call->project);
  free(call->suite);
  free(call->build);
  free(call->test);
  free(call->branch);
}

void query_now(struct server *server, struct conn *conn, uint64_t seq, const Shardd__Query *query) {
  struct query_call call;
  query_call_init(&call, server, conn, seq, query);
  query_run(&call, query->kind);
  query_call_release(&call);
}

// Whether the question is taken at once: it costs next to nothing, its answer waits for the disk anyway, or it has a
// bound and turns of its own (plan_simulate.c).
static bool query_at_once(Shardd__QueryKind kind) {
  return kind == SHARDD__QUERY_KIND__QUERY_SERVER || kind == SHARDD__QUERY_KIND__QUERY_IMPORT ||
         kind == SHARDD__QUERY_KIND__QUERY_BACKUP || kind == SHARDD__QUERY_KIND__QUERY_CHECK ||
         kind == SHARDD__QUERY_KIND__QUERY_SIMULATE;
}

void query_answer(struct server *server, struct conn *conn, uint64_t seq, const Shardd__Query *query) {
  if (query_at_once(query->kind)) {
    query_now(server, conn, seq, query);
  } else {
    query_put_off(server, conn, seq, query, query_is_apart(query->kind));
  }
}
