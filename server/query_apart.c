// Questions that the asker works on: those whose cost grows with what is stored, or with the tests of a list. Each has
// three steps: it is begun on the loop thread, which may already answer it; worked on by the asker's thread, which sees
// the question, its view of the store and what was lent to it, and nothing of the server; and answered by the loop.
// Called by query_later.c. Must not know SQL.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/asker.h"
#include "server/limits.h"
#include "server/plan.h"
#include "server/query_impl.h"
#include "server/recover.h"

struct query_apart {
  struct asker_job job;    // first
  struct query_call call;  // server and conn are the loop's; conn is NULL once it has gone
  Shardd__Query *message;
  struct plan_dry *dry;
  struct plan_past *past;
  struct server replay;  // for a build that is brought back to be looked at
  // The answer: rows unless there is a code.
  Shardd__ErrorCode code;
  struct store_error error;
  struct rows rows;
  bool here;  // the loop has to wait for the build
};

typedef int query_table(struct store *store, const struct store_query *query, struct rows *rows,
                        struct store_error *error);

static const struct query_of_store {
  query_table *table;
  bool of_build;
} query_tables[] = {
    [SHARDD__QUERY_KIND__QUERY_BUILDS] = {store_query_builds, false},
    [SHARDD__QUERY_KIND__QUERY_WORKERS] = {store_query_workers, true},
    [SHARDD__QUERY_KIND__QUERY_SLOW] = {store_query_slow, false},
    [SHARDD__QUERY_KIND__QUERY_FLAKY] = {store_query_flaky, false},
    [SHARDD__QUERY_KIND__QUERY_TEST] = {store_query_test, false},
    [SHARDD__QUERY_KIND__QUERY_REPORT] = {store_query_report, true},
    [SHARDD__QUERY_KIND__QUERY_BROKEN] = {store_query_broken, false},
    [SHARDD__QUERY_KIND__QUERY_SLOWER] = {store_query_slower, false},
    [SHARDD__QUERY_KIND__QUERY_BUILD] = {store_query_build, true},
    [SHARDD__QUERY_KIND__QUERY_TIMELINE] = {store_query_timeline, true},
    [SHARDD__QUERY_KIND__QUERY_SKIPS] = {store_query_skips, true},
    [SHARDD__QUERY_KIND__QUERY_ERRORS] = {store_query_errors, true},
    [SHARDD__QUERY_KIND__QUERY_QUARANTINE] = {store_query_quarantine, false},
    [SHARDD__QUERY_KIND__QUERY_LOG] = {store_query_log, false},
    [SHARDD__QUERY_KIND__QUERY_STATE] = {store_query_state_of, false},
    [SHARDD__QUERY_KIND__QUERY_DURATIONS] = {store_query_durations, false},
};

static const struct query_of_store *query_of_store(Shardd__QueryKind kind) {
  bool known = (size_t)kind < COUNT_OF(query_tables) && query_tables[kind].table;
  return known ? &query_tables[kind] : NULL;
}

bool query_is_apart(Shardd__QueryKind kind) {
  return query_of_store(kind) || kind == SHARDD__QUERY_KIND__QUERY_PLAN || kind == SHARDD__QUERY_KIND__QUERY_FORECAST ||
         kind == SHARDD__QUERY_KIND__QUERY_FORECAST_FACTS || kind == SHARDD__QUERY_KIND__QUERY_MUTE ||
         kind == SHARDD__QUERY_KIND__QUERY_UNMUTE;
}

// ---- on the asker's thread

// The build that is named, else the newest one, or the branch's newest.
static uint64_t query_build_id(const struct query_call *call, struct store *view) {
  if (call->build[0]) return store_find(view, call->project, call->suite, call->build);
  return store_find_newest(view, call->project, call->suite, call->branch);
}

static Shardd__ErrorCode query_work_store(struct query_apart *apart, const struct query_of_store *of,
                                          struct store *view) {
  const struct query_call *call = &apart->call;
  struct store_query query = {.project = call->project,
                              .suite = call->suite,
                              .test = call->test,
                              .limit = call->limit,
                              .since_ms = call->since_ms,
                              .branch = call->branch,
                              .after = call->after};
  if (of->of_build) query.build = query_build_id(call, view);
  if (of->of_build && !query.build) {
    (void)snprintf(apart->error.text, sizeof apart->error.text,
                   "no such build: project \"%.100s\", suite \"%.100s\", build \"%.200s\"%s%.200s", call->project,
                   call->suite, call->build, call->branch[0] ? ", branch " : "", call->branch);
    return SHARDD__ERROR_CODE__ERROR_UNKNOWN;
  }
  return of->table(view, &query, &apart->rows, &apart->error) < 0 ? SHARDD__ERROR_CODE__ERROR_UNKNOWN
                                                                  : SHARDD__ERROR_CODE__ERROR_UNSET;
}

static Shardd__ErrorCode query_work_plan(struct query_apart *apart, struct store *view) {
  if (plan_dry_run(apart->dry, view, &apart->rows) == 0) return SHARDD__ERROR_CODE__ERROR_UNSET;
  (void)snprintf(apart->error.text, sizeof apart->error.text, "the history cannot be read");
  return SHARDD__ERROR_CODE__ERROR_STATE;
}

// A build that has ended for good is brought back here, and given up again; any other is the loop's.
static Shardd__ErrorCode query_work_wait(struct query_apart *apart, struct store *view) {
  const struct query_call *call = &apart->call;
  apart->replay.store = view;
  uint64_t id = store_find(view, call->project, call->suite, call->build);
  const struct build *build = id ? recover_apart(&apart->replay, id) : NULL;
  apart->here = !build;
  if (!build) return SHARDD__ERROR_CODE__ERROR_UNSET;
  query_wait_rows(build, &apart->rows);
  build_free(&apart->replay, apart->replay.builds);
  return SHARDD__ERROR_CODE__ERROR_UNSET;
}

static Shardd__ErrorCode query_work_kind(struct query_apart *apart, struct store *view) {
  const struct query_of_store *of = query_of_store(apart->message->kind);
  if (of) return query_work_store(apart, of, view);
  if (apart->dry) return query_work_plan(apart, view);
  if (apart->past) return plan_past_read(apart->past, apart->message, view, &apart->error);
  if (apart->message->kind == SHARDD__QUERY_KIND__QUERY_WAIT) return query_work_wait(apart, view);
  return query_mute_check(&apart->call, view, &apart->error) < 0 ? SHARDD__ERROR_CODE__ERROR_UNKNOWN
                                                                 : SHARDD__ERROR_CODE__ERROR_UNSET;
}

static void query_work(struct asker_job *job, struct store *view) {
  struct query_apart *apart = (struct query_apart *)job;
  apart->code = SHARDD__ERROR_CODE__ERROR_UNKNOWN;
  if (store_view_open(view, &apart->error) < 0) return;
  apart->code = query_work_kind(apart, view);
  bool failed = apart->code != SHARDD__ERROR_CODE__ERROR_UNSET || apart->here;
  if (!failed || !store_view_over(view)) return;
  apart->here = false;
  apart->code = SHARDD__ERROR_CODE__ERROR_TOO_LARGE;
  (void)snprintf(apart->error.text, sizeof apart->error.text,
                 "the question took longer than %d s, which is the limit: ask for less, as with --limit or --since",
                 LIMIT_QUESTION_US / 1000000);
}

// ---- on the loop thread

static void query_apart_free(struct query_apart *apart) {
  if (!apart) return;
  rows_release(&apart->rows);
  if (apart->dry) plan_dry_end(apart->dry);
  plan_past_free(apart->past);
  query_call_release(&apart->call);
  shardd__query__free_unpacked(apart->message, NULL);
  free(apart);
}

static void query_facts(const struct query_call *call) {
  struct rows rows;
  struct store_error error;
  Shardd__ErrorCode code = plan_facts(call->conn, &rows, &error);
  if (code != SHARDD__ERROR_CODE__ERROR_UNSET) {
    conn_error(call->conn, code, call->seq, false, "%s", error.text);
    return;
  }
  query_send(call->conn, call->seq, &rows);
  rows_release(&rows);
}

static bool query_begin_plan(struct query_apart *apart) {
  const char *why;
  apart->dry = plan_dry_begin(apart->call.conn, apart->call.workers, &why);
  if (!apart->dry) conn_error(apart->call.conn, SHARDD__ERROR_CODE__ERROR_STATE, apart->call.seq, false, "%s", why);
  return apart->dry;
}

static bool query_begin_forecast(struct query_apart *apart) {
  struct store_error error;
  apart->past = plan_past_begin(apart->call.conn, &error);
  if (!apart->past)
    conn_error(apart->call.conn, SHARDD__ERROR_CODE__ERROR_STATE, apart->call.seq, false, "%s", error.text);
  return apart->past;
}

static bool query_begin_wait(struct query_apart *apart) {
  struct server *server = apart->call.server;
  apart->replay.settings.lease_ttl_us = server->settings.lease_ttl_us;
  apart->replay.settings.idle_timeout_us = server->settings.idle_timeout_us;
  apart->replay.hash_seed = server->hash_seed;
  apart->replay.now_us = server->now_us;
  bool here = build_find(server, apart->call.project, apart->call.suite, apart->call.build);
  if (here) query_wait_here(&apart->call);
  return !here;
}

// True: there is work to do; else it was answered.
static bool query_apart_wanted(struct query_apart *apart) {
  Shardd__QueryKind kind = apart->message->kind;
  if (kind == SHARDD__QUERY_KIND__QUERY_PLAN) return query_begin_plan(apart);
  if (kind == SHARDD__QUERY_KIND__QUERY_FORECAST) return query_begin_forecast(apart);
  if (kind == SHARDD__QUERY_KIND__QUERY_WAIT) return query_begin_wait(apart);
  if (kind == SHARDD__QUERY_KIND__QUERY_MUTE || kind == SHARDD__QUERY_KIND__QUERY_UNMUTE)
    return query_mute_may(&apart->call);
  if (kind != SHARDD__QUERY_KIND__QUERY_FORECAST_FACTS) return true;
  query_facts(&apart->call);
  return false;
}

void query_apart_begin(struct server *server, struct conn *conn, uint64_t seq, Shardd__Query *query) {
  assert(!server->apart);
  struct query_apart *apart = base_calloc(1, sizeof *apart);
  apart->job.work = query_work;
  apart->message = query;
  query_call_init(&apart->call, server, conn, seq, query);
  if (query_apart_wanted(apart)) {
    server->apart = apart;
    asker_begin(server->asker, &apart->job);
  } else {
    server->answered++;
    query_apart_free(apart);
  }
}

static void query_apart_answer(struct query_apart *apart) {
  const struct query_call *call = &apart->call;
  bool good = apart->code == SHARDD__ERROR_CODE__ERROR_UNSET;
  if (good && apart->past)
    apart->code = plan_forecast(call->conn, apart->past, apart->message, &apart->rows, &apart->error);
  if (apart->code != SHARDD__ERROR_CODE__ERROR_UNSET) {
    conn_error(call->conn, apart->code, call->seq, false, "%s", apart->error.text);
  } else if (apart->here) {
    query_wait_here(call);
  } else if (apart->rows.columns) {
    query_send(call->conn, call->seq, &apart->rows);
  } else {
    query_mute_put(call);
  }
}

void query_apart_take(struct server *server) {
  if (!asker_take(server->asker)) return;
  struct query_apart *apart = server->apart;
  server->apart = NULL;
  server->answered++;
  if (apart->call.conn && !conn_closing(apart->call.conn)) query_apart_answer(apart);
  query_apart_free(apart);
}

void query_apart_drop(struct server *server, const struct conn *conn) {
  if (!server->apart || server->apart->call.conn != conn) return;
  server->apart->call.conn = NULL;
  asker_stop(server->asker);
}

void query_apart_release(struct server *server) {
  (void)asker_free(server->asker);
  server->asker = NULL;
  query_apart_free(server->apart);
  server->apart = NULL;
}
