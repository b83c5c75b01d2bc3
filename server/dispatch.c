// message → handler. Checks that the sender may: before the hello only a hello, after it only what its role sends. The
// next step of the lease's path is session.c. It must not know what a message does.
#include "server/dispatch.h"

#include <string.h>

#include "server/listing.h"
#include "server/plan.h"
#include "server/query.h"
#include "server/session.h"

enum dispatch_who { WHO_NOBODY, WHO_NEW = 1, WHO_WORKER = 2, WHO_ADMIN = 4, WHO_PLAN = 8 };

struct dispatch_call {
  struct server *server;
  struct conn *conn;
  struct session *session;  // of a worker
  const Shardd__Frame *frame;
};

// ---- hello

static bool dispatch_version(struct conn *conn, const Shardd__Hello *hello) {
  if (hello->version == MSG_VERSION) return true;
  conn_error(conn, SHARDD__ERROR_CODE__ERROR_VERSION, 0, true,
             "the client speaks version %u of the protocol, this server (shardd " SHARD_VERSION
             ") speaks %d: "
             "install the client of the server's release",
             hello->version, MSG_VERSION);
  return false;
}

static bool dispatch_token(struct server *server, struct conn *conn, const Shardd__Hello *hello) {
  if (auth_allows(server->auth, hello->token.data, hello->token.len, conn_uid(conn))) return true;
  conn_error(
      conn, SHARDD__ERROR_CODE__ERROR_TOKEN, 0, true, "%s",
      hello->token.len ? "the token is not one of the server's" : "this server asks for a token: set SHARD_TOKEN");
  return false;
}

static void dispatch_admin(struct server *server, struct conn *conn) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Welcome welcome = SHARDD__WELCOME__INIT;
  (void)server;
  conn_let_in(conn);
  welcome.version = MSG_VERSION;
  welcome.server = msg_text("shardd " SHARD_VERSION);
  frame.body_case = SHARDD__FRAME__BODY_WELCOME;
  frame.welcome = &welcome;
  conn_send(conn, &frame);
}

static void on_hello(const struct dispatch_call *call) {
  const Shardd__Hello *hello = call->frame->hello;
  if (!dispatch_version(call->conn, hello) || !dispatch_token(call->server, call->conn, hello)) return;
  if (call->server->stopping) {
    conn_error(call->conn, SHARDD__ERROR_CODE__ERROR_STOPPING, 0, true, "the server is stopping");
    return;
  }
  switch (hello->role) {
    case SHARDD__ROLE__ROLE_WORKER: session_hello(call->server, call->conn, hello); return;
    case SHARDD__ROLE__ROLE_ADMIN: dispatch_admin(call->server, call->conn); return;
    case SHARDD__ROLE__ROLE_PLAN:
      plan_open(call->server, call->conn, hello);
      dispatch_admin(call->server, call->conn);
      return;
    case SHARDD__ROLE__ROLE_UNSET:
    case _SHARDD__ROLE_IS_INT_SIZE: break;
  }
  conn_error(call->conn, SHARDD__ERROR_CODE__ERROR_MALFORMED, 0, true, "a hello without a role");
}

// ---- the rest

static void on_list_offer(const struct dispatch_call *call) {
  const Shardd__ListOffer *offer = call->frame->list_offer;
  if (session_same(call->server, call->session, offer->facts)) listing_offer(call->server, call->session, offer);
}

static void on_list_chunk(const struct dispatch_call *call) {
  if (call->session && call->frame->list_chunk->n_expected_us) {
    conn_error(call->conn, SHARDD__ERROR_CODE__ERROR_STATE, 0, true, "a worker's list brings no expected durations");
  } else if (call->session) {
    listing_chunk(call->server, call->session, call->frame->list_chunk);
  } else {
    plan_chunk(call->conn, call->frame->list_chunk);
  }
}

static void on_list_request(const struct dispatch_call *call) {
  const Shardd__ListRequest *request = call->frame->list_request;
  if (session_same(call->server, call->session, request->facts)) listing_request(call->session, request);
}

static void on_lease_request(const struct dispatch_call *call) {
  session_lease_request(call->server, call->session, call->frame->lease_request);
}

static void on_started(const struct dispatch_call *call) {
  session_started(call->server, call->session, call->frame->started);
}

static void on_released(const struct dispatch_call *call) {
  session_released(call->server, call->session, call->frame->released);
}

static void on_results(const struct dispatch_call *call) {
  session_results(call->server, call->session, call->frame->seq, call->frame->results);
}

static void on_heartbeat(const struct dispatch_call *call) {
  session_heartbeat(call->server, call->session, call->frame->heartbeat);
}

static void on_bye(const struct dispatch_call *call) {
  session_bye(call->server, call->session, call->frame->bye);
}

static void on_query(const struct dispatch_call *call) {
  query_answer(call->server, call->conn, call->frame->seq, call->frame->query);
}

static const struct dispatch_entry {
  void (*handle)(const struct dispatch_call *call);
  unsigned who;
} dispatch_table[] = {
    [SHARDD__FRAME__BODY_HELLO] = {on_hello, WHO_NEW},
    [SHARDD__FRAME__BODY_LIST_OFFER] = {on_list_offer, WHO_WORKER},
    [SHARDD__FRAME__BODY_LIST_CHUNK] = {on_list_chunk, WHO_WORKER | WHO_PLAN},
    [SHARDD__FRAME__BODY_LEASE_REQUEST] = {on_lease_request, WHO_WORKER},
    [SHARDD__FRAME__BODY_STARTED] = {on_started, WHO_WORKER},
    [SHARDD__FRAME__BODY_RESULTS] = {on_results, WHO_WORKER},
    [SHARDD__FRAME__BODY_HEARTBEAT] = {on_heartbeat, WHO_WORKER},
    [SHARDD__FRAME__BODY_BYE] = {on_bye, WHO_WORKER},
    [SHARDD__FRAME__BODY_QUERY] = {on_query, WHO_ADMIN | WHO_PLAN},
    [SHARDD__FRAME__BODY_ROWS] = {NULL, WHO_NOBODY},
    [SHARDD__FRAME__BODY_RELEASED] = {on_released, WHO_WORKER},
    [SHARDD__FRAME__BODY_LIST_REQUEST] = {on_list_request, WHO_WORKER},
};
_Static_assert(COUNT_OF(dispatch_table) == SHARDD__FRAME__BODY_LIST_REQUEST + 1, "a message has no entry");

static enum dispatch_who dispatch_who(const struct conn *conn, const struct session *session) {
  if (!conn_is_in(conn)) return WHO_NEW;
  if (session) return WHO_WORKER;
  return conn_user(conn, PLAN_USER) ? WHO_PLAN : WHO_ADMIN;
}

static void on_message(void *arg, struct conn *conn, const Shardd__Frame *frame) {
  struct dispatch_call call = {.server = arg, .conn = conn, .session = conn_user(conn, SESSION_USER), .frame = frame};
  const struct dispatch_entry *entry = &dispatch_table[frame->body_case];
  server_begin_turn(call.server);
  if (!entry->handle || !(entry->who & dispatch_who(conn, call.session))) {
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_STATE, frame->seq, true, "%s does not fit the conversation now",
               msg_name(frame));
    return;
  }
  if (call.session) call.session->heard_us = call.server->now_us;
  if (call.session && !call.session->left) {
    queue_heard(call.session->build->queue, call.server->now_us, call.session->worker);
  }
  entry->handle(&call);
}

static void on_closed(void *arg, struct conn *conn) {
  struct session *session = conn_user(conn, SESSION_USER);
  server_begin_turn(arg);
  if (session) session_closed(arg, session);
  plan_close(conn);
  query_forget(arg, conn);
}

const struct conn_handler dispatch_handler = {.on_message = on_message, .on_closed = on_closed};
