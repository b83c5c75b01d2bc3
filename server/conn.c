// Connections: the first two steps of the lease's path, bytes → connection → frame → message, and the last, message →
// bytes. Called by the loop (server.c) and by whoever sends. It must not know builds, workers or the store.
//
// Reading: up to LIMIT_FRAMES_A_TURN frames, the rest next turn. Writing: messages collect in a flat buffer, which is
// written at the end of the turn; EV_WRITE is on only while the socket refuses bytes. Idle connections hold no buffer.
#include "server/conn.h"

#include <assert.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/frame.h"
#include "server/limits.h"

struct conn_bytes {
  uint8_t *at;
  size_t begin, end, room;
};

struct conn {
  struct conns *conns;
  struct conn *next, *prev;  // all
  struct conn *next_dirty;
  struct event read, write;
  struct conn_bytes in, out;
  struct budget_share share;
  uint64_t heard_us;
  uint64_t begun_us;  // since when there is something in `in`
  uint64_t wrote_us;  // since when nothing of `out` went
  uint64_t due_us;    // ends then; 0: no
  const char *due_why;
  int fd;
  int user_kind;
  void *user;
  int64_t uid;
  bool dirty, let_in, closing, dead;
  bool lingers;  // closing, its error is sent, and read on, since unread bytes would take the error with them
  char peer[64];
};

struct conns {
  struct event_base *base;
  struct conn *first;
  struct conn *dirty;
  struct msg_arena *arena;
  struct conn_handler handler;
  struct budget *budget;
  uint32_t count, max;
  uint64_t hello_timeout_us;
  uint64_t next_tick_us;  // nobody is due before
  bool refusing;
};

enum { CONN_READ_BYTES = 16384 };

// ---- buffers

static size_t conn_bytes_used(const struct conn_bytes *bytes) {
  return bytes->end - bytes->begin;
}

// What conn_bytes_reserve makes of its room.
static size_t conn_bytes_room(const struct conn_bytes *bytes, size_t n) {
  size_t used = conn_bytes_used(bytes);
  if (used + n <= bytes->room) return bytes->room;
  return bytes->room * 2 > used + n ? bytes->room * 2 : used + n;
}

static uint8_t *conn_bytes_reserve(struct conn_bytes *bytes, size_t n) {
  size_t room = conn_bytes_room(bytes, n);
  if (bytes->begin && bytes->end + n > bytes->room) {
    memmove(bytes->at, bytes->at + bytes->begin, conn_bytes_used(bytes));
    bytes->end -= bytes->begin;
    bytes->begin = 0;
  }
  if (room > bytes->room) bytes->at = base_realloc(bytes->at, room, 1);
  bytes->room = room;
  return bytes->at + bytes->end;
}

static void conn_bytes_drop(struct conn_bytes *bytes, size_t n) {
  assert(n <= conn_bytes_used(bytes));
  bytes->begin += n;
  if (bytes->begin < bytes->end) return;
  free(bytes->at);
  *bytes = (struct conn_bytes){0};
}

// Room for n more bytes in one of the buffers; NULL: the buffers of all take too much.
static uint8_t *conn_reserve(struct conn *conn, struct conn_bytes *bytes, size_t n) {
  size_t all = conn->in.room + conn->out.room - bytes->room + conn_bytes_room(bytes, n);
  if (all <= LIMIT_BUFFER_LEAST) {
    budget_count(&conn->share, all);
  } else if (budget_hold(&conn->share, all) != BUDGET_GRANTED) {
    return NULL;
  }
  return conn_bytes_reserve(bytes, n);
}

static void conn_drop(struct conn *conn, struct conn_bytes *bytes, size_t n) {
  conn_bytes_drop(bytes, n);
  budget_count(&conn->share, conn->in.room + conn->out.room);
}

// ---- life

static void conn_mark(struct conn *conn) {
  if (conn->dirty) return;
  conn->dirty = true;
  conn->next_dirty = conn->conns->dirty;
  conn->conns->dirty = conn;
}

static void conn_die(struct conn *conn) {
  conn->dead = true;
  event_del(&conn->read);
  event_del(&conn->write);
  conn_mark(conn);
}

static void conn_free(struct conn *conn) {
  struct conns *conns = conn->conns;
  conns->handler.on_closed(conns->handler.arg, conn);
  event_del(&conn->read);
  event_del(&conn->write);
  close(conn->fd);
  if (conn->prev) {
    conn->prev->next = conn->next;
  } else {
    conns->first = conn->next;
  }
  if (conn->next) conn->next->prev = conn->prev;
  free(conn->in.at);
  free(conn->out.at);
  budget_release(&conn->share);
  free(conn);
  conns->count--;
}

void conn_set_due(struct conn *conn, uint64_t due_us, const char *why) {
  conn->due_us = due_us;
  conn->due_why = why;
  if (due_us && due_us < conn->conns->next_tick_us) conn->conns->next_tick_us = due_us;
}

// ---- reading

static void conn_message(struct conn *conn, const uint8_t *body, size_t n) {
  const char *why = NULL;
  const Shardd__Frame *frame = msg_unpack(conn->conns->arena, body, n, &why);
  if (!frame) {
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_MALFORMED, 0, true, "malformed message: %s", why);
    return;
  }
  conn->heard_us = base_now_us();
  conn->conns->handler.on_message(conn->conns->handler.arg, conn, frame);
}

// True when a frame was taken from the buffer.
static bool conn_frame(struct conn *conn) {
  size_t body = 0, max = conn->let_in ? FRAME_MAX_BYTES : FRAME_SMALL_MAX_BYTES;
  if (conn_bytes_used(&conn->in) == 0) return false;
  const uint8_t *bytes = conn->in.at + conn->in.begin;
  switch (frame_find(bytes, conn_bytes_used(&conn->in), max, &body)) {
    case FRAME_PARTIAL: return false;
    case FRAME_COMPLETE:
      conn_message(conn, bytes + FRAME_HEADER_BYTES, body);
      conn_drop(conn, &conn->in, FRAME_HEADER_BYTES + body);
      conn->begun_us = conn->heard_us;
      return true;
    case FRAME_TOO_LARGE:
      conn_error(conn, SHARDD__ERROR_CODE__ERROR_TOO_LARGE, 0, true, "a frame is larger than %zu bytes", max);
      return false;
    case FRAME_EMPTY: break;
  }
  conn_error(conn, SHARDD__ERROR_CODE__ERROR_MALFORMED, 0, true, "a frame is empty");
  return false;
}

static void conn_frames(struct conn *conn) {
  int n = 0;
  while (!conn->closing && !conn->dead && n < LIMIT_FRAMES_A_TURN && conn_frame(conn))
    n++;
  if (n == LIMIT_FRAMES_A_TURN && conn_bytes_used(&conn->in)) event_active(&conn->read, EV_TIMEOUT, 1);
}

static void conn_no_room(struct conn *conn, uint64_t seq) {
  conn_error(conn, SHARDD__ERROR_CODE__ERROR_BUSY, seq, true,
             "messages of other clients fill the server's buffers (%d MiB)", LIMIT_BUFFER_BYTES >> 20);
}

static void conn_take_in(struct conn *conn, const uint8_t *bytes, size_t n) {
  if (conn_bytes_used(&conn->in) == 0) conn->begun_us = base_now_us();
  uint8_t *at = conn_reserve(conn, &conn->in, n);
  if (at) {
    memcpy(at, bytes, n);
    conn->in.end += n;
  } else {
    conn_drop(conn, &conn->in, conn_bytes_used(&conn->in));
    conn_no_room(conn, 0);
  }
}

static void on_readable(evutil_socket_t fd, short events, void *arg) {
  struct conn *conn = arg;
  if (conn->dead) return;
  if (events & EV_READ && (conn->closing || conn_bytes_used(&conn->in) < LIMIT_IN_BYTES)) {
    uint8_t scratch[CONN_READ_BYTES];
    ssize_t n = recv(fd, scratch, sizeof scratch, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
      conn_die(conn);
      return;
    }
    if (n > 0 && !conn->closing) conn_take_in(conn, scratch, (size_t)n);
  }
  conn_frames(conn);
}

// ---- writing

static void conn_flush(struct conn *conn) {
  while (conn_bytes_used(&conn->out)) {
    ssize_t n = send(conn->fd, conn->out.at + conn->out.begin, conn_bytes_used(&conn->out), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      event_add(&conn->write, NULL);
      return;
    }
    if (n < 0) {
      conn_die(conn);
      return;
    }
    conn_drop(conn, &conn->out, (size_t)n);
    conn->wrote_us = base_now_us();
  }
  if (conn->closing && !conn->lingers) conn_die(conn);
  if (conn->lingers) (void)shutdown(conn->fd, SHUT_WR);
}

static void on_writable(evutil_socket_t fd, short events, void *arg) {
  (void)fd;
  (void)events;
  struct conn *conn = arg;
  if (!conn->dead) conn_flush(conn);
}

void conn_send(struct conn *conn, const Shardd__Frame *frame) {
  if (conn->closing || conn->dead) return;
  size_t n = msg_packed_bytes(frame);
  if (n == 0 || conn_bytes_used(&conn->out) + n > LIMIT_OUT_BYTES) {
    base_log(LOG_LEVEL_WARN, "conn_slow", "peer=%s message=%s unsent=%zu", conn->peer, msg_name(frame),
             conn_bytes_used(&conn->out));
    conn_die(conn);
    return;
  }
  if (conn_bytes_used(&conn->out) == 0) conn->wrote_us = base_now_us();
  uint8_t *at = conn_reserve(conn, &conn->out, n);
  if (at) {
    conn->out.end += msg_pack(frame, at);
    conn_mark(conn);
  } else if (frame->body_case == SHARDD__FRAME__BODY_ERROR) {
    conn_die(conn);
  } else {
    conn_no_room(conn, frame->seq);
  }
}

void conn_error(struct conn *conn, Shardd__ErrorCode code, uint64_t seq, bool closes, const char *fmt, ...) {
  char text[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Error error = SHARDD__ERROR__INIT;
  frame.seq = seq;
  frame.body_case = SHARDD__FRAME__BODY_ERROR;
  frame.error = &error;
  error.code = code;
  error.text = msg_text(text);
  if (code == SHARDD__ERROR_CODE__ERROR_BUSY) error.retry_us = LIMIT_BUSY_US;
  if (code != SHARDD__ERROR_CODE__ERROR_DISK) {  // the store logs that, once
    char quoted[1200];
    base_log(LOG_LEVEL_WARN, "conn_error", "peer=%s code=%d text=%s", conn->peer, (int)code,
             base_quote(quoted, sizeof quoted, text, strlen(text)));
  }
  conn_send(conn, &frame);
  if (closes && code == SHARDD__ERROR_CODE__ERROR_BUSY && !conn->lingers) {
    conn->lingers = true;
    conn_set_due(conn, base_now_us() + LIMIT_CLOSE_US, "");
  }
  if (closes) conn_close(conn);
}

// ---- the rest of its life

void conn_close(struct conn *conn) {
  conn->closing = true;
  conn_mark(conn);
}

bool conn_closing(const struct conn *conn) {
  return conn->closing || conn->dead;
}

void conn_let_in(struct conn *conn) {
  conn->let_in = true;
}

bool conn_is_in(const struct conn *conn) {
  return conn->let_in;
}

size_t conn_unsent(const struct conn *conn) {
  return conn_bytes_used(&conn->out);
}

const char *conn_peer(const struct conn *conn) {
  return conn->peer;
}

int64_t conn_uid(const struct conn *conn) {
  return conn->uid;
}

void conn_set_user(struct conn *conn, void *user, int kind) {
  conn->user = user;
  conn->user_kind = kind;
}

void *conn_user(const struct conn *conn, int kind) {
  return conn->user_kind == kind ? conn->user : NULL;
}

static void conn_refuse(struct conns *conns, int fd, const char *peer) {
  if (!conns->refusing) {
    base_log(LOG_LEVEL_WARN, "conn_refused", "peer=%s max_connections=%u", peer, conns->max);
  }
  conns->refusing = true;
  close(fd);
}

void conn_open(struct conns *conns, int fd, const char *peer, int64_t uid) {
  if (conns->count >= conns->max) {
    conn_refuse(conns, fd, peer);
    return;
  }
  conns->refusing = false;
  struct conn *conn = base_calloc(1, sizeof *conn);
  conn->conns = conns;
  conn->fd = fd;
  conn->uid = uid;
  conn->share = (struct budget_share){.budget = conns->budget, .kind = BUDGET_BUFFERS};
  conn->heard_us = base_now_us();
  snprintf(conn->peer, sizeof conn->peer, "%s", peer);
  event_assign(&conn->read, conns->base, fd, EV_READ | EV_PERSIST, on_readable, conn);
  event_assign(&conn->write, conns->base, fd, EV_WRITE, on_writable, conn);
  conn->next = conns->first;
  if (conn->next) conn->next->prev = conn;
  conns->first = conn;
  conns->count++;
  if (conn->heard_us + conns->hello_timeout_us < conns->next_tick_us) {
    conns->next_tick_us = conn->heard_us + conns->hello_timeout_us;
  }
  if (event_add(&conn->read, NULL) != 0) conn_die(conn);
}

// ---- all of them

struct conns *conns_new(struct event_base *base, uint32_t max_connections, uint64_t hello_timeout_us,
                        struct budget *budget, const struct conn_handler *handler) {
  struct conns *conns = base_calloc(1, sizeof *conns);
  conns->budget = budget;
  conns->base = base;
  conns->max = max_connections;
  conns->hello_timeout_us = hello_timeout_us;
  conns->handler = *handler;
  conns->arena = msg_arena_new(MSG_ARENA_MAX_BYTES);
  if (!conns->arena) base_die(EXIT_INFRA, "out of memory");
  return conns;
}

void conns_free(struct conns *conns) {
  if (!conns) return;
  conns_end_turn(conns);
  for (struct conn *conn = conns->first, *next; conn; conn = next) {
    next = conn->next;
    conn_free(conn);
  }
  msg_arena_free(conns->arena);
  free(conns);
}

uint32_t conns_count(const struct conns *conns) {
  return conns->count;
}

void conns_end_turn(struct conns *conns) {
  while (conns->dirty) {
    struct conn *conn = conns->dirty;
    conns->dirty = conn->next_dirty;
    conn->dirty = false;
    if (!conn->dead) conn_flush(conn);
    if (!conn->dead) continue;
    if (conn->dirty) continue;  // died while it was written: it stands in the list again
    conn_free(conn);
  }
}

// When it has been silent for too long, or idle in the middle of something; and what to tell it then.
static uint64_t conn_deadline(const struct conn *conn, uint64_t silence_us, const char **why) {
  bool reads = conn_bytes_used(&conn->in) > 0, writes = conn_bytes_used(&conn->out) > 0;
  bool may_wait = conn->let_in && !conn->user && !conn->closing;  // for an answer
  uint64_t due_us = !may_wait ? conn->heard_us + (conn->let_in ? silence_us : conn->conns->hello_timeout_us)
                    : reads   ? conn->begun_us + silence_us
                              : UINT64_MAX;
  *why = "nothing was said for too long";
  if (writes && conn->wrote_us + silence_us < due_us) {
    due_us = conn->wrote_us + silence_us;
    *why = "nothing was read for too long";
  }
  if (conn->due_us && conn->due_us < due_us) {
    due_us = conn->due_us;
    *why = conn->due_why;
  }
  return due_us;
}

uint64_t conns_tick(struct conns *conns, uint64_t now_us, uint64_t silence_us) {
  uint64_t next = now_us + silence_us;
  if (now_us < conns->next_tick_us) return conns->next_tick_us;
  for (struct conn *conn = conns->first; conn; conn = conn->next) {
    const char *why;
    uint64_t due = conn_deadline(conn, silence_us, &why);
    if (conn->dead) continue;
    if (due <= now_us && (conn->closing || conn_bytes_used(&conn->out) > 0)) {
      conn_die(conn);  // it does not even read why
    } else if (due <= now_us) {
      conn_error(conn, SHARDD__ERROR_CODE__ERROR_TIMEOUT, 0, true, "%s", why);
    } else if (due < next) {
      next = due;
    }
  }
  return conns->next_tick_us = next;
}
