// Effects → messages and records; and acknowledgements, which wait for the disk. The last steps of the lease's path
// before the bytes go out. It must not decide anything: the core has.
#include "server/deliver.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/scope.h"
#include "server/twin.h"
#include "server/unrun.h"

_Static_assert((int)SHARDD__STATUS__STATUS_TIMED_OUT == (int)QUEUE_TIMED_OUT, "statuses differ");
_Static_assert((int)SHARDD__CAP_FROM__CAP_FROM_LONGER == (int)BUILD_CAP_LONGER, "origins of a cap differ");
_Static_assert((int)SHARDD__BUILD_STATE__BUILD_ABORTED == (int)QUEUE_ABORTED, "states differ");
_Static_assert((int)SHARDD__ON_RETRY__ON_RETRY_UNRESOLVED == (int)QUEUE_UNRESOLVED, "retry modes differ");
_Static_assert((int)SHARDD__RETRIED__RETRIED_YES == (int)QUEUE_RETRIED_YES, "retry answers differ");
_Static_assert((int)SHARDD__DRAIN_REASON__DRAIN_FEW == (int)EFFECT_DRAIN_FEW, "drain reasons differ");

_Static_assert((int)SHARDD__ORDER__ORDER_COLLECTION == (int)SCOPE_COLLECTION, "orders differ");
_Static_assert((int)MSG_TOKENS_MAX == (int)TOKENS_MAX, "numbers of tokens differ");

static void deliver(struct build *build, uint32_t worker, const Shardd__Frame *frame) {
  struct session *session = build->session[worker];
  if (session->conn) conn_send(session->conn, frame);
}

// ---- leases

struct deliver_columns {
  uint32_t *test, *cap_ms, *est_ms;
  Shardd__CapFrom *cap_from;
  ProtobufCBinaryData *name, *file;
  char *text;  // of the names
};

static ProtobufCBinaryData deliver_file(const struct build *build, uint32_t position) {
  uint32_t file = build->file_of[position];
  return file == UINT32_MAX ? msg_text(NULL)
                            : msg_bytes(map_name(&build->files, file), map_length(&build->files, file));
}

static void deliver_fill(const struct server *server, const struct build *build, const struct effect *effect,
                         struct deliver_columns *columns) {
  (void)server;
  char *text = columns->text;
  for (uint32_t i = 0; i < effect->count; i++) {
    uint32_t position = effect->tests[i];
    uint64_t est_ms = queue_expected_us(build->queue, position) / 1000;
    enum build_cap_from from;
    columns->test[i] = build->number_of[position];
    columns->cap_ms[i] = build_cap(build, effect->worker, position, &from);
    columns->cap_from[i] = (Shardd__CapFrom)from;
    columns->est_ms[i] = est_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)est_ms;
    if (!columns->name) continue;
    columns->name[i] = msg_bytes(text, names_copy(&build->ids, position, text));
    text += columns->name[i].len;
    columns->file[i] = deliver_file(build, position);
  }
}

// The bytes of a lease's names.
static size_t deliver_text_bytes(const struct build *build, const struct effect *effect) {
  size_t bytes = 0;
  for (uint32_t i = 0; i < effect->count; i++)
    bytes += names_length(&build->ids, effect->tests[i]);
  return bytes;
}

static void deliver_lease(const struct server *server, struct build *build, const struct effect *effect) {
  struct session *session = build->session[effect->worker];
  size_t n = effect->count;
  struct deliver_columns columns = {.test = base_calloc(3 * n, sizeof *columns.test)};
  columns.cap_ms = columns.test + n;
  columns.est_ms = columns.test + 2 * n;
  columns.cap_from = base_calloc(n, sizeof *columns.cap_from);
  if (session->wants_names) {
    columns.name = base_calloc(2 * n, sizeof *columns.name);
    columns.file = columns.name + n;
    columns.text = base_malloc(deliver_text_bytes(build, effect) + 1);
  }
  deliver_fill(server, build, effect, &columns);
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Lease lease = SHARDD__LEASE__INIT;
  frame.body_case = SHARDD__FRAME__BODY_LEASE;
  frame.lease = &lease;
  lease.lease = effect->lease;
  lease.n_test = lease.n_cap_ms = lease.n_est_ms = lease.n_cap_from = n;
  lease.test = columns.test;
  lease.cap_ms = columns.cap_ms;
  lease.est_ms = columns.est_ms;
  lease.cap_from = columns.cap_from;
  lease.n_name = lease.n_file = session->wants_names ? n : 0;
  lease.name = columns.name;
  lease.file = columns.file;
  deliver(build, effect->worker, &frame);
  free(columns.test);
  free(columns.cap_from);
  free(columns.name);
  free(columns.text);
}

// ---- the other effects

static void deliver_parked(struct build *build, const struct effect *effect) {
  struct queue_counts counts;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Parked parked = SHARDD__PARKED__INIT;
  queue_counts(build->queue, &counts);
  parked.leased = counts.leased;
  frame.body_case = SHARDD__FRAME__BODY_PARKED;
  frame.parked = &parked;
  deliver(build, effect->worker, &frame);
}

static void deliver_log_fenced(const struct build *build, uint32_t worker) {
  const char *name = build->session[worker]->node;
  char node[200];
  base_log(LOG_LEVEL_WARN, "worker_fenced", "build=%llu worker=%u node=%s host=%s", (unsigned long long)build->id,
           worker, base_quote(node, sizeof node, name, strlen(name)), build->session[worker]->host);
}

// Whoever is told to go ends its test process, and cannot take up what a daemon that dies now would have forgotten.
static void deliver_drained(struct server *server, struct build *build, const struct effect *effect) {
  if (effect->reason == EFFECT_DRAIN_FENCED) deliver_log_fenced(build, effect->worker);
  deliver_when_durable(server, build->session[effect->worker], server->last_ticket, SERVER_DRAINED, effect->reason);
}

static void deliver_drained_now(struct session *session, uint64_t reason) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Drained drained = SHARDD__DRAINED__INIT;
  drained.reason = (Shardd__DrainReason)reason;
  frame.body_case = SHARDD__FRAME__BODY_DRAINED;
  frame.drained = &drained;
  if (session->conn) conn_send(session->conn, &frame);
}

static void deliver_revoke(struct build *build, const struct effect *effect) {
  uint64_t lease = effect->lease;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Revoke revoke = SHARDD__REVOKE__INIT;
  revoke.n_lease = 1;
  revoke.lease = &lease;
  frame.body_case = SHARDD__FRAME__BODY_REVOKE;
  frame.revoke = &revoke;
  deliver(build, effect->worker, &frame);
}

static void deliver_recall(struct build *build, const struct effect *effect) {
  uint32_t *numbers = base_calloc(effect->count, sizeof *numbers);
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Recall recall = SHARDD__RECALL__INIT;
  for (uint32_t i = 0; i < effect->count; i++)
    numbers[i] = build->number_of[effect->tests[i]];
  recall.lease = effect->lease;
  recall.n_test = effect->count;
  recall.test = numbers;
  frame.body_case = SHARDD__FRAME__BODY_RECALL;
  frame.recall = &recall;
  deliver(build, effect->worker, &frame);
  free(numbers);
}

static char *deliver_where(const struct build *build, uint32_t worker) {
  const struct session *session = build->session[worker];
  return base_printf("%s%s on %s", session->node[0] ? "node " : "a worker", session->node, session->host);
}

static void deliver_lost(struct server *server, struct build *build, const struct effect *effect) {
  char *where[LIMIT_LOST];
  for (size_t i = 0; i < COUNT_OF(where); i++)
    where[i] = deliver_where(build, i < COUNT_OF(effect->lost_by) ? effect->lost_by[i] : effect->worker);
  char *text = base_printf("%d workers vanished with it: %s, %s and %s", LIMIT_LOST, where[0], where[1], where[2]);
  struct store_result result = {
      .build = build->id,
      .test = build->row_of[effect->test],
      .attempt = effect->attempt,
      .worker = effect->worker,
      .status = QUEUE_CRASHED,
      .flags =
          STORE_SETTLES | STORE_LOST | (queue_verdict(build->queue, effect->test) == VERDICT_MUTED ? STORE_MUTED : 0u),
      .round = effect->round,
      .start_ms = server_wall_ms(),
      .text = text,
      .text_bytes = strlen(text)};
  server->last_ticket = store_put_result(server->store, &result);
  for (size_t i = 0; i < COUNT_OF(where); i++)
    free(where[i]);
  free(text);
}

void deliver_round(struct server *server, const struct build *build, uint32_t round, const uint32_t *tests,
                   uint32_t count) {
  uint32_t *rows = base_calloc(count + 1, sizeof *rows);
  for (uint32_t i = 0; i < count; i++)
    rows[i] = build->row_of[tests[i]];
  server->last_ticket = store_put_round(server->store, build->id, round, rows, count, server_wall_ms());
  free(rows);
}

// The caller frees it.
static char *deliver_given_up(const struct build *build, const struct queue_counts *counts) {
  char *unrun = unrun_tell(build), *why = NULL;
  const char *colon = unrun ? ": " : "", *who = unrun ? unrun : "";
  uint32_t open = counts->total - counts->done;
  if (queue_few(build->queue)) {
    why = base_printf("only %u workers came in time; %u of %u tests have no verdict%s%s", counts->workers, open,
                      counts->total, colon, who);
  } else {
    why = base_printf("no workers for too long; %u of %u tests have no verdict%s%s", open, counts->total, colon, who);
  }
  free(unrun);
  return why;
}

// The caller frees it.
static char *deliver_why(const struct build *build) {
  struct queue_counts counts;
  queue_counts(build->queue, &counts);
  switch (queue_state(build->queue)) {
    case QUEUE_INCOMPLETE: return deliver_given_up(build, &counts);
    case QUEUE_ABORTED: return base_printf("%u failing tests reached the bound", counts.failing);
    case QUEUE_COLLECTING:
    case QUEUE_RUNNING:
    case QUEUE_COMPLETE: break;
  }
  return NULL;
}

// Who holds tests of a build that ended early hears it, and begins no more of them.
static void deliver_end(struct server *server, struct build *build, enum effect_drain reason) {
  struct effect drain = {.kind = EFFECT_DRAIN, .reason = reason};
  for (drain.worker = 0; drain.worker < queue_worker_count(build->queue); drain.worker++) {
    if (queue_worker_connected(build->queue, drain.worker)) deliver_drained(server, build, &drain);
  }
}

static void deliver_state(struct server *server, struct build *build) {
  enum queue_state state = queue_state(build->queue);
  if (state == QUEUE_COLLECTING) return;
  char *why = deliver_why(build);
  build->state_ticket = store_put_state(server->store, build->id, state, server_wall_ms(), why);
  free(why);
  server->last_ticket = build->state_ticket;
  build->ended_us = state >= QUEUE_COMPLETE ? server->now_us : 0;
  static const char *const names[] = {[QUEUE_RUNNING] = "running",
                                      [QUEUE_COMPLETE] = "complete",
                                      [QUEUE_INCOMPLETE] = "incomplete",
                                      [QUEUE_ABORTED] = "aborted"};
  base_log(LOG_LEVEL_INFO, "build_state", "build=%llu state=%s", (unsigned long long)build->id, names[state]);
  if (state == QUEUE_ABORTED) deliver_end(server, build, EFFECT_DRAIN_MAX_FAILURES);
  if (state == QUEUE_INCOMPLETE && queue_few(build->queue)) deliver_end(server, build, EFFECT_DRAIN_FEW);
}

static void deliver_one(struct server *server, struct build *build, const struct effect *effect) {
  switch (effect->kind) {
    case EFFECT_LEASE: deliver_lease(server, build, effect); break;
    case EFFECT_PARK: deliver_parked(build, effect); break;
    case EFFECT_DRAIN: deliver_drained(server, build, effect); break;
    case EFFECT_REVOKE: deliver_revoke(build, effect); break;
    case EFFECT_RECALL: deliver_recall(build, effect); break;
    case EFFECT_STATE: deliver_state(server, build); break;
    case EFFECT_RESULT: deliver_lost(server, build, effect); break;
    case EFFECT_CLEARED:
      server->last_ticket = store_put_cleared(server->store, build->id, effect->worker, effect->round);
      break;
    case EFFECT_ROUND: deliver_round(server, build, effect->round, effect->tests, effect->count); break;
  }
}

void deliver_effects(struct server *server, struct build *build) {
  for (size_t i = 0; i < server->effects.count; i++) {
    deliver_one(server, build, &server->effects.item[i]);
  }
  effects_clear(&server->effects);
}

// ---- what waits for the disk

void deliver_when_durable(struct server *server, struct session *session, uint64_t ticket, enum server_waits what,
                          uint64_t seq) {
  if (what == SERVER_GOODBYE && session->goodbye_due) return;
  if (what == SERVER_GOODBYE) session->goodbye_due = true;
  if (server->pending_end == server->pending_room) {
    size_t used = server->pending_end - server->pending_begin;
    if (server->pending_begin > server->pending_room / 2) {
      memmove(server->pending, server->pending + server->pending_begin, used * sizeof *server->pending);
    } else {
      server->pending_room = server->pending_room ? server->pending_room * 2 : 256;
      server->pending = base_realloc(server->pending, server->pending_room, sizeof *server->pending);
      memmove(server->pending, server->pending + server->pending_begin, used * sizeof *server->pending);
    }
    server->pending_begin = 0;
    server->pending_end = used;
  }
  session->build->pending++;
  server->pending[server->pending_end++] = (struct server_pending){ticket, seq, session, what};
}

void deliver_ack(struct session *session, uint64_t seq) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Ack ack = SHARDD__ACK__INIT;
  if (seq > session->acked) session->acked = seq;
  ack.seq = session->acked;
  frame.body_case = SHARDD__FRAME__BODY_ACK;
  frame.ack = &ack;
  if (session->conn) conn_send(session->conn, &frame);
}

void deliver_welcome(const struct server *server, struct session *session, const uint64_t *revoked,
                     size_t revoked_count) {
  struct build *build = session->build;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Welcome welcome = SHARDD__WELCOME__INIT;
  uint64_t copy[MSG_HELD_MAX];
  if (revoked_count) memcpy(copy, revoked, revoked_count * sizeof *copy);
  welcome.version = MSG_VERSION;
  welcome.server = msg_text("shardd " SHARD_VERSION);
  welcome.session = msg_bytes(session->token, STORE_SESSION_BYTES);
  welcome.worker = session->worker;
  welcome.heartbeat_us = server->settings.heartbeat_us;
  welcome.lease_ttl_us = server->settings.lease_ttl_us;
  welcome.state = (Shardd__BuildState)queue_state(build->queue);
  welcome.list_known = build->listing == LISTING_READY;
  welcome.list_count = build->ids.count;
  welcome.collecting = build->listing != LISTING_READY && build_collects(build, session->worker);
  welcome.acked = session->acked;
  welcome.revoked = copy;
  welcome.n_revoked = revoked_count;
  frame.body_case = SHARDD__FRAME__BODY_WELCOME;
  frame.welcome = &welcome;
  if (session->conn) conn_send(session->conn, &frame);
}

void deliver_durable(struct server *server) {
  uint64_t durable = store_durable(server->store);
  while (server->pending_begin < server->pending_end && server->pending[server->pending_begin].ticket <= durable) {
    struct server_pending *pending = &server->pending[server->pending_begin++];
    pending->session->build->pending--;
    switch (pending->what) {
      case SERVER_ACK: deliver_ack(pending->session, pending->seq); break;
      case SERVER_DRAINED: deliver_drained_now(pending->session, pending->seq); break;
      case SERVER_WELCOME: deliver_welcome(server, pending->session, NULL, 0); break;
      case SERVER_GOODBYE:
        pending->session->goodbye_due = false;
        deliver_goodbye(pending->session, server->now_us);
        break;
    }
  }
  if (server->pending_begin == server->pending_end) server->pending_begin = server->pending_end = 0;
}

// Their texts are the caller's to free.
static size_t deliver_own_names(const struct session *session, ProtobufCBinaryData *out) {
  struct build *build = session->build;
  size_t n = 0;
  if (queue_own_failing(build->queue, session->worker) == 0) return 0;
  for (uint32_t i = 0; i < build->ids.count && n < LIMIT_OWN_NAMES; i++) {
    enum queue_verdict verdict = queue_verdict(build->queue, i);
    if (verdict != VERDICT_FAILED && verdict != VERDICT_CRASHED) continue;
    if (queue_decided_by(build->queue, i) != session->worker) continue;
    size_t bytes = names_length(&build->ids, i);
    char *name = base_malloc(bytes + 1);
    names_copy(&build->ids, i, name);
    out[n++] = msg_bytes(name, bytes);
  }
  return n;
}

// Who skipped what ran elsewhere, and what the trunk ran that was skipped; the caller frees it. "": nothing.
static char *deliver_skips_text(const struct build *build) {
  struct queue_lacked *lacked = base_calloc(queue_worker_count(build->queue) + 1, sizeof *lacked);
  queue_skip_lacked(build->queue, lacked);
  uint32_t lost = queue_skip_lost(build->queue), named = 0;
  char *text = lost ? base_printf("%u test%s skipped that ran on the trunk", lost, lost > 1 ? "s were" : " was")
                    : base_strdup("");
  for (uint32_t i = 0; i < build->session_count && named < LIMIT_OWN_NAMES; i++) {
    uint32_t count = lacked[i].tests;
    if (!count) continue;
    const char *node = build->session[i]->node, *why = build_reason_text(build, lacked[i].reason);
    char *more = base_printf("%s%s%s skipped %u test%s that ran elsewhere%s%s", text[0] ? text : "",
                             text[0] ? "; node " : "node ", node[0] ? node : build->session[i]->host, count,
                             count > 1 ? "s" : "", why[0] ? ": " : "", why);
    free(text);
    text = more;
    named++;
  }
  free(lacked);
  return text;
}

// That looks at every skip, and is the same for all who leave in one turn. Lives in the build.
static const char *deliver_skips(struct build *build, uint64_t now_us) {
  if (!build->skips || build->skips_us != now_us) {
    free(build->skips);
    build->skips = deliver_skips_text(build);
    build->skips_us = now_us;
  }
  return build->skips;
}

// The caller frees it; NULL: the worker is no job that is run again.
static char *deliver_again(const struct session *session) {
  static const char *const which[] = {
      [AGAIN_FAILED] = "that failed before",
      [AGAIN_LATE] = "that an earlier run of a job ran before an error outside of tests",
      [AGAIN_UNRESOLVED] = "that failed, or ran before an error outside of tests",
      [AGAIN_DECIDED] = "this job decided before",
      [AGAIN_ALL] = "of the build, all there are"};
  static const char others[] = "the others already settled everything";
  struct queue_counts counts;
  uint32_t opened;
  bool ran;
  enum queue_opening again = queue_again(session->build->queue, session->worker, &opened, &ran);
  if (again == AGAIN_NONE || (again == AGAIN_NOTHING && ran)) return NULL;
  queue_counts(session->build->queue, &counts);
  if (again == AGAIN_NOTHING && counts.failing)
    return base_printf("nothing: %s, and %u of their tests fail%s", others, counts.failing,
                       counts.failing == 1 ? "s" : "");
  if (again == AGAIN_NOTHING) return base_printf("nothing: %s", others);
  return base_printf("%u test%s %s%s%s", opened, opened == 1 ? "" : "s", which[again], ran ? "" : ": ",
                     ran ? "" : others);
}

void deliver_goodbye(struct session *session, uint64_t now_us) {
  char *again = deliver_again(session);
  struct queue_counts counts;
  const char *why;
  ProtobufCBinaryData own[LIMIT_OWN_NAMES];
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Goodbye goodbye = SHARDD__GOODBYE__INIT;
  queue_counts(session->build->queue, &counts);
  goodbye.state = (Shardd__BuildState)queue_state(session->build->queue);
  goodbye.exit_code = (uint32_t)queue_exit_code(session->build->queue, session->worker, &why);
  goodbye.total = counts.total;
  goodbye.settled = counts.done;
  goodbye.failing = counts.failing;
  goodbye.own_failing = queue_own_failing(session->build->queue, session->worker);
  goodbye.n_own = deliver_own_names(session, own);
  goodbye.own = own;
  char *twice = session->part ? twin_tell(session->build, session) : NULL;
  if (twice) goodbye.exit_code = EXIT_INFRA;
  goodbye.why = msg_text(twice ? "a part of the list was run twice, and another one not at all" : why);
  goodbye.skips = msg_text(deliver_skips(session->build, now_us));
  goodbye.again = msg_text(again);
  goodbye.twice = msg_text(twice ? twice : "");
  frame.body_case = SHARDD__FRAME__BODY_GOODBYE;
  frame.goodbye = &goodbye;
  if (session->conn) conn_send(session->conn, &frame);
  session->goodbye_said = session->conn != NULL;
  free(twice);
  for (size_t i = 0; i < goodbye.n_own; i++)
    free(own[i].data);
  free(again);
}
