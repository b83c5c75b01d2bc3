// Workers: hello (a new worker, or one that returns), lease requests, heartbeats, goodbye. Results: session_results.c.
// Called by dispatch.c. It translates between the wire's numbers and the queue's positions, and decides nothing else.
#include "server/session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proto/frame.h"
#include "server/deliver.h"
#include "server/limits.h"
#include "server/listing.h"
#include "server/recover.h"
#include "server/same.h"
#include "server/twin.h"

_Static_assert((int)STORE_SESSION_BYTES == (int)MSG_SESSION_BYTES, "names of sessions differ");

static char *session_text(const ProtobufCBinaryData *bytes) {
  return base_memdup0(bytes->data, bytes->len);
}

// ---- builds

static struct queue_policy session_policy(const struct server *server, const Shardd__Policy *asked) {
  static const Shardd__Policy none = SHARDD__POLICY__INIT;
  if (!asked) asked = &none;
  return (struct queue_policy){
      .retries = asked->retries < LIMIT_ATTEMPTS ? asked->retries : (uint32_t)LIMIT_ATTEMPTS,
      .max_failures = asked->max_failures,
      .linger_us = asked->linger_us < LIMIT_LINGER_US ? asked->linger_us : LIMIT_LINGER_US,
      .lease_ttl_us = server->settings.lease_ttl_us,
      .idle_us = server->settings.idle_timeout_us,
      .on_retry = (enum queue_on_retry)asked->on_retry,
      .whole_files = asked->by_file,
      .whole_units = asked->by_class,
      .in_order = asked->order == SHARDD__ORDER__ORDER_COLLECTION,
      .limits_tests = asked->timeout_per_test_us > 0,
      .min_workers = asked->min_workers < LIMIT_WORKERS ? asked->min_workers : (uint32_t)LIMIT_WORKERS,
      .min_workers_us = asked->min_workers_us < LIMIT_MIN_WORKERS_US ? asked->min_workers_us : LIMIT_MIN_WORKERS_US};
}

static uint64_t session_timeout_us(const Shardd__Policy *asked) {
  uint64_t us = asked ? asked->timeout_per_test_us : 0;
  return us < LIMIT_TIMEOUT_US ? us : LIMIT_TIMEOUT_US;
}

struct session_key {
  char *project, *suite, *ext, *commit, *branch, *node, *attempt, *host;
};

static void session_key_read(struct session_key *key, const Shardd__Hello *hello) {
  *key = (struct session_key){session_text(&hello->project), session_text(&hello->suite),  session_text(&hello->build),
                              session_text(&hello->commit),  session_text(&hello->branch), session_text(&hello->node),
                              session_text(&hello->attempt), session_text(&hello->host)};
}

static void session_key_release(struct session_key *key) {
  free(key->project);
  free(key->suite);
  free(key->ext);
  free(key->commit);
  free(key->branch);
  free(key->node);
  free(key->attempt);
  free(key->host);
}

// A line NAME=COUNT for each.
static char *session_tokens(const Shardd__Policy *asked) {
  char *lines = base_strdup("");
  for (size_t i = 0; asked && i < asked->n_token; i++) {
    char *more = base_printf("%s%.*s=%u\n", lines, (int)asked->token[i].len, (const char *)asked->token[i].data,
                             asked->token_count[i]);
    free(lines);
    lines = more;
  }
  return lines;
}

static struct build *session_new_build(struct server *server, const struct session_key *key,
                                       const Shardd__Hello *hello) {
  struct queue_policy policy = session_policy(server, hello->policy);
  char *tokens = session_tokens(hello->policy);
  struct store_build record = {.build = server->next_build++,
                               .project = key->project,
                               .suite = key->suite,
                               .ext = key->ext,
                               .commit = key->commit,
                               .branch = key->branch,
                               .started_ms = server_wall_ms(),
                               .retries = policy.retries,
                               .max_failures = policy.max_failures,
                               .on_retry = (uint32_t)policy.on_retry,
                               .linger_us = policy.linger_us,
                               .timeout_per_test_us = session_timeout_us(hello->policy),
                               .by_file = policy.whole_files,
                               .by_class = policy.whole_units,
                               .order = hello->policy ? (uint32_t)hello->policy->order : 0,
                               .tokens = tokens,
                               .min_workers = hello->brings ? 0 : policy.min_workers,
                               .min_workers_us = policy.min_workers_us,
                               .untrusted = hello->untrusted || !settings_protects(&server->settings, key->branch),
                               .trunk = settings_trunk(&server->settings, key->branch)};
  store_put_build(server->store, &record);
  char name[200];
  base_log(LOG_LEVEL_INFO, "build", "build=%llu ext=%s", (unsigned long long)record.build,
           base_quote(name, sizeof name, key->ext, strlen(key->ext)));
  struct build *build = build_new(server, &record, &policy);
  free(tokens);
  return build;
}

// Builds with a list are work and count against max-builds. One without is a promise: so that who only says hello with
// one key after the other keeps nobody out, the oldest that its workers have left gives way.
static bool session_has_room(struct server *server, struct conn *conn) {
  uint64_t most = server->settings.max_builds;
  if (build_running(server, true) >= most) {
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_BUSY, 0, true, "too many running builds (max-builds is %llu)",
               (unsigned long long)most);
    return false;
  }
  if (build_running(server, false) < LIMIT_COLLECTING_TIMES * most) return true;
  struct build *oldest = build_left_without_list(server);
  if (oldest) {
    queue_give_up(oldest->queue, &server->effects);
    deliver_effects(server, oldest);
    return true;
  }
  conn_error(conn, SHARDD__ERROR_CODE__ERROR_BUSY, 0, true,
             "too many builds are collecting their tests (%d times max-builds, which is %llu)", LIMIT_COLLECTING_TIMES,
             (unsigned long long)most);
  return false;
}

static struct build *session_find_build(struct server *server, struct conn *conn, const struct session_key *key,
                                        const Shardd__Hello *hello) {
  if (!key->ext[0]) {
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_MALFORMED, 0, true, "a worker's hello names no build");
    return NULL;
  }
  struct build *build = build_find(server, key->project, key->suite, key->ext);
  if (build) return build;
  uint64_t id = store_find(server->store, key->project, key->suite, key->ext);
  if (id) build = recover_build(server, id);
  if (id && !build) {
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_STATE, 0, true,
               "the build cannot be read from the database: see the server's log");
  }
  if (id) return build;
  return session_has_room(server, conn) ? session_new_build(server, key, hello) : NULL;
}

static void session_bind(struct server *server, struct session *session, struct conn *conn) {
  if (session->conn && session->conn != conn) {
    listing_gone(server, session);  // what it was sending there will not go on
    conn_set_user(session->conn, NULL, 0);
    conn_close(session->conn);
  }
  session->conn = conn;
  session->goodbye_said = false;
  session->heard_us = server->now_us;
  conn_set_user(conn, session, SESSION_USER);
  conn_let_in(conn);
}

// ---- a new worker

// Results that are brought have the numbers that their worker gave them, and may have come before: from itself, or from
// who brought them once already. All of these are kin: their names are alike but for the last byte. The new one begins
// where the furthest of them stands; what that is comes to the disk before its welcome.
static void session_join_kin(const struct build *build, struct session *session, const uint8_t *origin) {
  enum { LAST = STORE_SESSION_BYTES - 1 };
  bool used[UINT8_MAX + 1] = {false};
  unsigned last = 0;
  used[origin[LAST]] = true;
  for (uint32_t i = 0; i < build->session_count; i++) {
    const struct session *other = build->session[i];
    if (other == session || memcmp(other->token, origin, LAST) != 0) continue;
    used[other->token[LAST]] = true;
    if (other->applied > session->applied) session->applied = other->applied;
  }
  session->acked = session->applied;
  while (last <= UINT8_MAX && used[last])
    last++;
  if (last > UINT8_MAX) return;  // so many came already: it goes by a name of its own
  memcpy(session->token, origin, LAST);
  session->token[LAST] = (uint8_t)last;
}

static struct session *session_record(struct server *server, struct build *build, uint32_t worker,
                                      const struct session_key *key, const Shardd__Hello *hello) {
  struct session *session = build_add_session(build, worker, key->node, key->attempt, key->host);
  session->brings = hello->brings;
  if (getrandom(session->token, sizeof session->token, 0) != (ssize_t)sizeof session->token) {
    base_die(EXIT_INFRA, "getrandom failed");
  }
  if (hello->brings && hello->session.len == STORE_SESSION_BYTES) session_join_kin(build, session, hello->session.data);
  if (hello->brings && hello->retried != SHARDD__RETRIED__RETRIED_YES) twin_part(session, hello->part, hello->parts);
  struct queue_past past;
  queue_past(build->queue, worker, &past);
  struct store_worker record = {.build = build->id,
                                .worker = worker,
                                .node = key->node,
                                .attempt = key->attempt,
                                .host = key->host,
                                .joined_ms = server_wall_ms(),
                                .brings = hello->brings,
                                .part = session->part,
                                .parts = session->parts,
                                .completed = past.completed,
                                .again = (uint32_t)past.again,
                                .opened = past.opened};
  memcpy(record.session, session->token, sizeof record.session);
  server->last_ticket = store_put_worker(server->store, &record);
  return session;
}

static void session_join(struct server *server, struct build *build, struct conn *conn, const struct session_key *key,
                         const Shardd__Hello *hello) {
  uint32_t *reopened, count, round = queue_round(build->queue);
  struct queue_join join = {.node = key->node,
                            .attempt = key->attempt,
                            .retried = (enum queue_retried)hello->retried,
                            .node_total = hello->node_total < LIMIT_WORKERS ? hello->node_total : LIMIT_WORKERS,
                            .brings = hello->brings};
  uint32_t worker = queue_join(build->queue, server->now_us, &join, &reopened, &count, &server->effects);
  if (worker == UINT32_MAX) {
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_TOO_LARGE, 0, true, "the build has had %d workers, which is the bound",
               LIMIT_WORKERS);
    return;
  }
  struct session *session = session_record(server, build, worker, key, hello);
  if (queue_round(build->queue) != round) deliver_round(server, build, queue_round(build->queue), reopened, count);
  free(reopened);
  session_bind(server, session, conn);
  deliver_when_durable(server, session, server->last_ticket, SERVER_WELCOME, 0);
  char node[200];
  base_log(LOG_LEVEL_INFO, "worker", "build=%llu worker=%u node=%s reopened=%u peer=%s", (unsigned long long)build->id,
           worker, base_quote(node, sizeof node, key->node, strlen(key->node)), count, conn_peer(conn));
  deliver_effects(server, build);
}

// ---- one that returns

// Positions of the tests that numbers name; the caller frees them. NULL: they are not the list's.
static uint32_t *session_positions(const struct build *build, const uint32_t *numbers, size_t count) {
  if (build->listing != LISTING_READY || count > LIMIT_LEASE) return NULL;
  uint32_t *positions = base_calloc(count + 1, sizeof *positions);
  for (size_t i = 0; i < count; i++) {
    if (numbers[i] >= build->ids.count) {
      free(positions);
      return NULL;
    }
    positions[i] = build->position_of[numbers[i]];
  }
  return positions;
}

// Translates a held lease; false when its numbers are not the list's.
static bool session_adopt(struct server *server, struct session *session, uint64_t lease, const uint32_t *numbers,
                          size_t count) {
  struct build *build = session->build;
  uint32_t *positions = session_positions(build, numbers, count);
  bool adopted =
      positions && queue_adopt(build->queue, server->now_us, session->worker, lease, positions, (uint32_t)count);
  free(positions);
  return adopted;
}

static void session_resume(struct server *server, struct session *session, struct conn *conn,
                           const Shardd__Hello *hello) {
  uint64_t revoked[MSG_HELD_MAX];
  size_t revoked_count = 0, at = 0;
  queue_declare(session->build->queue, hello->node_total);
  queue_attach(session->build->queue, server->now_us, session->worker, &server->effects);
  session_bind(server, session, conn);
  for (size_t i = 0; i < hello->n_held_lease && i < MSG_HELD_MAX; i++) {
    const uint32_t *tests = hello->n_held_test ? hello->held_test + at : NULL;
    if (!session_adopt(server, session, hello->held_lease[i], tests, hello->held_count[i])) {
      revoked[revoked_count++] = hello->held_lease[i];
    }
    at += hello->held_count[i];
  }
  queue_holds_only(session->build->queue, server->now_us, session->worker, hello->held_lease, hello->n_held_lease,
                   &server->effects);
  session->applied = session->acked > session->applied ? session->acked : session->applied;
  session->refused = 0;  // all that is not acknowledged comes again
  deliver_welcome(server, session, revoked, revoked_count);
  base_log(LOG_LEVEL_INFO, "worker_back", "build=%llu worker=%u revoked=%zu", (unsigned long long)session->build->id,
           session->worker, revoked_count);
  deliver_effects(server, session->build);
}

void session_hello(struct server *server, struct conn *conn, const Shardd__Hello *hello) {
  struct session_key key;
  session_key_read(&key, hello);
  struct build *build = session_find_build(server, conn, &key, hello);
  struct session *session = NULL;
  if (build && !same_hello(server, build, conn, hello)) build = NULL;
  if (build && !hello->brings && hello->session.len == STORE_SESSION_BYTES) {
    session = build_find_session(build, hello->session.data);
  }
  if (session) {  // also one that has left: it may not have heard its goodbye
    session_resume(server, session, conn, hello);
  } else if (build && twin_hello(server, build, conn, hello)) {
    session_join(server, build, conn, &key, hello);
  }
  session_key_release(&key);
}

// ---- at work

// A lease that carries names must fit a frame, each test with its numbers.
static void session_fit_leases(struct session *session) {
  size_t fit = FRAME_MAX_BYTES / 10 * 9 / (session->build->longest_bytes + 32);
  queue_limit_leases(session->build->queue, session->worker, fit < LIMIT_LEASE ? (uint32_t)fit : (uint32_t)LIMIT_LEASE);
}

static void session_claim(struct server *server, struct session *session, const Shardd__LeaseRequest *request) {
  struct build *build = session->build;
  uint32_t *positions = session_positions(build, request->claim, request->n_claim);
  if (!positions ||
      !queue_claim(build->queue, session->worker, positions, (uint32_t)request->n_claim, &server->effects)) {
    conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_STATE, 0, true,
               "a worker claims tests that the list does not hold, or too many at once");
  }
  free(positions);
  deliver_effects(server, build);
}

void session_lease_request(struct server *server, struct session *session, const Shardd__LeaseRequest *request) {
  if (request->n_claim) {
    session_claim(server, session, request);
    return;
  }
  session->wants_names = request->names;
  if (request->names) session_fit_leases(session);
  if (request->start_us) {
    uint64_t start_us = request->start_us < LIMIT_START_US ? request->start_us : LIMIT_START_US;
    queue_starts_processes(session->build->queue, session->worker, start_us);
  }
  queue_lease(session->build->queue, server->now_us, session->worker, &server->effects);
  deliver_effects(server, session->build);
}

static bool session_knows(const struct session *session, uint32_t number) {
  return session->build->listing == LISTING_READY && number < session->build->ids.count;
}

void session_started(struct server *server, struct session *session, const Shardd__Started *started) {
  if (!session_knows(session, started->test)) return;
  queue_started(session->build->queue, server->now_us, session->worker, started->lease,
                session->build->position_of[started->test]);
}

void session_released(struct server *server, struct session *session, const Shardd__Released *released) {
  struct build *build = session->build;
  uint32_t *positions = base_calloc(released->n_test + 1, sizeof *positions), count = 0;
  for (size_t i = 0; i < released->n_test; i++) {
    if (session_knows(session, released->test[i])) positions[count++] = build->position_of[released->test[i]];
  }
  queue_released(build->queue, server->now_us, session->worker, released->lease, positions, count, &server->effects);
  free(positions);
  base_log(LOG_LEVEL_DEBUG, "released", "build=%llu worker=%u tests=%u", (unsigned long long)build->id, session->worker,
           count);
  deliver_effects(server, build);
}

void session_heartbeat(struct server *server, struct session *session, const Shardd__Heartbeat *heartbeat) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Ack ack = SHARDD__ACK__INIT;
  if (heartbeat->running_us && session_knows(session, heartbeat->test)) {
    queue_started(session->build->queue, server->now_us, session->worker, heartbeat->lease,
                  session->build->position_of[heartbeat->test]);
  }
  if (session->applied > session->acked && store_full(server->store)) {
    conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_DISK, 0, false, "the server's disk is full");
  }
  ack.seq = session->acked;
  frame.body_case = SHARDD__FRAME__BODY_ACK;
  frame.ack = &ack;
  conn_send(session->conn, &frame);
}

// ---- leaving

static char *session_late_text(const Shardd__Bye *bye) {
  size_t bytes = 0;
  char *text = base_calloc(1, LIMIT_LATE_BYTES + 1);
  for (size_t i = 0; i < bye->n_late && bytes < LIMIT_LATE_BYTES; i++) {
    size_t n = bye->late[i].len;
    if (n > LIMIT_LATE_BYTES - bytes) n = LIMIT_LATE_BYTES - bytes;
    if (n) memcpy(text + bytes, bye->late[i].data, n);
    bytes += n;
    if (bytes < LIMIT_LATE_BYTES) text[bytes++] = '\n';
  }
  return text;
}

static void session_leave(struct server *server, const struct session *session, enum queue_leaving how,
                          const Shardd__Bye *bye) {
  const struct build *build = session->build;
  struct queue_past past;
  queue_leave(build->queue, server->now_us, session->worker, how, &server->effects);
  queue_past(build->queue, session->worker, &past);
  char *late = NULL;
  if (bye) late = bye->n_late ? session_late_text(bye) : past.fact == FACT_BROKEN ? session_text(&bye->text) : NULL;
  server->last_ticket = store_put_left(server->store, build->id, session->worker, server_wall_ms(), late,
                                       (uint32_t)past.fact | (past.unstored ? STORE_FACT_UNSTORED : 0), past.cleared);
  free(late);
}

bool session_same(struct server *server, struct session *session, const Shardd__Facts *facts) {
  struct build *build = session->build;
  if (same_facts(server, build, session->conn, facts)) return true;
  listing_gone(server, session);
  session->left = true;
  listing_seek(build);
  session_leave(server, session, LEAVING_EARLY, NULL);
  deliver_effects(server, build);
  return false;
}

// Version 0.1.0 said BYE_FAILED also where the test process did not fail: in the file of a worker that was killed, and
// when a file could not be handed over. Later versions say BYE_SIGNAL there.
static bool session_only_stopped(const struct session *session, const Shardd__Bye *bye) {
  static const char *const texts[] = {"killed while the server was away", "its results could not be handed over"};
  bool found = false;
  for (size_t i = 0; i < COUNT_OF(texts) && session->brings; i++)
    found |= bye->text.len == strlen(texts[i]) && memcmp(bye->text.data, texts[i], bye->text.len) == 0;
  return found;
}

static enum queue_leaving session_leaving(const struct session *session, const Shardd__Bye *bye) {
  if (bye->n_late) return LEAVING_LATE;
  if (session_only_stopped(session, bye)) return LEAVING_EARLY;
  if (bye->reason == SHARDD__BYE_REASON__BYE_FAILED) return LEAVING_BROKEN;
  return bye->reason == SHARDD__BYE_REASON__BYE_DONE ? LEAVING_WELL : LEAVING_EARLY;
}

void session_bye(struct server *server, struct session *session, const Shardd__Bye *bye) {
  struct build *build = session->build;
  if (session->left) {  // it may not have heard its goodbye: on another connection
    if (!session->goodbye_said) deliver_when_durable(server, session, server->last_ticket, SERVER_GOODBYE, 0);
    return;
  }
  listing_gone(server, session);
  session->left = true;
  listing_seek(build);
  session_leave(server, session, session_leaving(session, bye), bye);
  char why[300];
  base_log(LOG_LEVEL_INFO, "worker_left", "build=%llu worker=%u reason=%d why=%s", (unsigned long long)build->id,
           session->worker, (int)bye->reason, base_quote(why, sizeof why, bye->text.data, bye->text.len));
  deliver_effects(server, build);
  deliver_when_durable(server, session, server->last_ticket, SERVER_GOODBYE, 0);
}

void session_closed(struct server *server, struct session *session) {
  listing_gone(server, session);
  session->conn = NULL;
  listing_seek(session->build);
  if (!session->left) queue_detach(session->build->queue, server->now_us, session->worker);
  deliver_effects(server, session->build);
}
