// Questions to a daemon whose database holds nonsense (fuzz_stored.h): the way of a real one, from the bytes of a
// connection through dispatch.c and query.c to the bytes of the answer. Each question gets one answer, which keeps the
// rules of messages, reads back the same, and has only numbers, times and durations that can be.
//
// An input: a byte for who asks (a letter: a planning client of that project, else an admin), then messages, each a
// length of two bytes and a body. Queries and list chunks go through; the rest of what a client says is no question.
// When the process ends, the kinds that were answered with rows are printed.
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "proto/frame.h"
#include "server/asker.h"
#include "server/deliver.h"
#include "server/dispatch.h"
#include "server/limits.h"
#include "server/query.h"
#include "tests/fuzz/fuzz_stored.h"

enum { QUESTIONS_MAX = 200, KINDS_MAX = 64, PATIENCE_US = 60000000 };

static struct server server;
static struct msg_arena *arena;  // of the client
static bool rows_of[KINDS_MAX];

// The client's side.
static struct {
  int fd;
  bool gone;  // the server closed the connection
  uint8_t in[8 << 20];
  size_t n;
  uint64_t last;                // number of the last question
  uint32_t open;                // questions without an answer, but for those that may wait for ever
  int kind[QUESTIONS_MAX + 2];  // by number; 0: answered
} client;

// ---- the daemon, as server.c has it

static void on_store(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what, (void)arg;
  server_begin_turn(&server);
  FUZZ_CHECK(store_poll(server.store) == NULL);  // nobody brought a list
}

static void open_store(void) {
  stored_restore();
  server.store = stored_open();
  server.asker = asker_new(server.store);
  server.store_ready = event_new(server.base, store_eventfd(server.store), EV_READ | EV_PERSIST, on_store, NULL);
  FUZZ_CHECK(server.store_ready != NULL && event_add(server.store_ready, NULL) == 0);
  server.last_ticket = 0;
}

static void close_store(void) {
  event_free(server.store_ready);
  FUZZ_CHECK(asker_free(server.asker) == NULL);
  store_close(server.store);
}

static void at_end(void) {
  const ProtobufCEnumDescriptor *kinds = &shardd__query_kind__descriptor;
  (void)fputs("query: answered with rows:", stderr);
  for (unsigned i = 0; i < kinds->n_values; i++)
    if (rows_of[kinds->values[i].value]) (void)fprintf(stderr, " %s", kinds->values[i].name);
  (void)fputs("\n", stderr);
  close_store();
  stored_remove();
}

static void begin(void) {
  struct auth_error error;
  struct conn_handler handler = dispatch_handler;
  handler.arg = &server;
  base_log_init("fuzz_query", (enum log_level)0);  // nothing: nearly every answer would be a line
  arena = msg_arena_new(MSG_ARENA_MAX_BYTES);
  server.settings = (struct settings){.lease_ttl_us = 60000000, .idle_timeout_us = 60000000};
  server.base = event_base_new();
  server.auth = auth_load("", &error);
  server.budget = (struct budget){.list_bytes = 64 << 20, .buffer_bytes = LIMIT_BUFFER_BYTES};
  FUZZ_CHECK(arena != NULL && server.base != NULL && server.auth != NULL);
  server.conns = conns_new(server.base, 4, UINT64_C(1) << 40, &server.budget, &handler);
  stored_make();
  open_store();
  FUZZ_CHECK(atexit(at_end) == 0);
}

static void turn(void) {
  FUZZ_CHECK(event_base_loop(server.base, EVLOOP_NONBLOCK) >= 0);
  server_begin_turn(&server);
  deliver_durable(&server);
  query_waiters(&server);
  (void)query_next(&server);
  (void)query_simulations(&server);
  conns_end_turn(server.conns);
  FUZZ_CHECK(server_plan_wait(&server, server.now_us) == 0);
}

// ---- answers

static void check_cell(uint32_t type, const ProtobufCBinaryData *cell) {
  char text[32], *end;
  if (type == SHARDD__COLUMN_TYPE__COLUMN_TEXT || cell->len == 0) return;
  FUZZ_CHECK(cell->len < sizeof text);
  memcpy(text, cell->data, cell->len);
  text[cell->len] = '\0';
  errno = 0;
  long long value = strtoll(text, &end, 10);
  FUZZ_CHECK(errno == 0 && *end == '\0');
  if (type == SHARDD__COLUMN_TYPE__COLUMN_DURATION) FUZZ_CHECK(value >= 0 && value <= INT64_C(1) << 62);
  if (type == SHARDD__COLUMN_TYPE__COLUMN_TIME) FUZZ_CHECK(value >= 0 && value <= INT64_C(1) << 42);
  if (type == SHARDD__COLUMN_TYPE__COLUMN_RATIO) FUZZ_CHECK(llabs(value) < INT64_C(1) << 50);
}

static void check_rows(const Shardd__Rows *rows) {
  FUZZ_CHECK(rows->n_column > 0 && rows->n_type == rows->n_column);
  for (size_t i = 0; i < rows->n_cell; i++)
    check_cell(rows->type[i % rows->n_column], &rows->cell[i]);
}

static void take_answer(const uint8_t *bytes, size_t body) {
  static uint8_t again[FRAME_HEADER_BYTES + FRAME_MAX_BYTES];
  const char *why = NULL;
  const Shardd__Frame *frame = msg_unpack(arena, bytes + FRAME_HEADER_BYTES, body, &why);
  FUZZ_CHECK(frame != NULL && msg_packed_bytes(frame) == FRAME_HEADER_BYTES + body);
  FUZZ_CHECK(msg_pack(frame, again) == FRAME_HEADER_BYTES + body);
  FUZZ_CHECK(memcmp(again, bytes, FRAME_HEADER_BYTES + body) == 0);
  bool rows = frame->body_case == SHARDD__FRAME__BODY_ROWS;
  if (rows) check_rows(frame->rows);
  if (frame->body_case == SHARDD__FRAME__BODY_ERROR) FUZZ_CHECK(frame->error->code && frame->error->text.len > 0);
  if (frame->seq == 0) {
    FUZZ_CHECK(!rows);  // of the connection: Welcome, or an Error about a list
    return;
  }
  FUZZ_CHECK(frame->seq <= client.last && client.kind[frame->seq] != 0);
  int kind = client.kind[frame->seq];
  rows_of[kind] |= rows;
  client.open -= kind != SHARDD__QUERY_KIND__QUERY_WAIT;
  client.kind[frame->seq] = 0;
}

static void take_answers(void) {
  ssize_t got;
  size_t at = 0, body = 0;
  while (!client.gone && (got = recv(client.fd, client.in + client.n, sizeof client.in - client.n, 0)) >= 0) {
    client.gone = got == 0;
    client.n += (size_t)got;
  }
  while (client.n > at && frame_find(client.in + at, client.n - at, FRAME_MAX_BYTES, &body) == FRAME_COMPLETE) {
    take_answer(client.in + at, body);
    at += FRAME_HEADER_BYTES + body;
  }
  client.n -= at;
  memmove(client.in, client.in + at, client.n);
}

// ---- questions

static void step(void) {
  turn();
  take_answers();
}

static void say(const Shardd__Frame *frame) {
  static uint8_t bytes[FRAME_HEADER_BYTES + FRAME_MAX_BYTES];
  if (msg_packed_bytes(frame) == 0) return;
  size_t n = msg_pack(frame, bytes), at = 0;
  while (at < n && !client.gone) {
    ssize_t sent = send(client.fd, bytes + at, n - at, MSG_NOSIGNAL);
    if (sent > 0) at += (size_t)sent;
    if (sent < 0) step();
  }
}

static void ask(const Shardd__Frame *frame) {
  if (msg_packed_bytes(frame) == 0) return;
  Shardd__Frame numbered = *frame;
  numbered.seq = ++client.last;
  client.kind[client.last] = (int)frame->query->kind;
  client.open += frame->query->kind != SHARDD__QUERY_KIND__QUERY_WAIT;
  say(&numbered);
}

static void greet(uint8_t who) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  const bool plans = who >= 'A' && who < 'A' + STORED_PROJECTS;
  const char project[] = {(char)who, '\0'};
  hello.version = MSG_VERSION;
  hello.role = plans ? SHARDD__ROLE__ROLE_PLAN : SHARDD__ROLE__ROLE_ADMIN;
  hello.project = msg_text(plans ? project : "");
  hello.suite = msg_text(plans ? "s" : "");
  frame.body_case = SHARDD__FRAME__BODY_HELLO;
  frame.hello = &hello;
  say(&frame);
}

static void call(void) {
  int pair[2];
  FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  client.fd = pair[0];
  client.gone = false;
  client.n = client.last = client.open = 0;
  conn_open(server.conns, pair[1], "fuzz", -1);
}

// Answered at once: whatever was said before was read by then.
static void ask_last(void) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Query query = SHARDD__QUERY__INIT;
  query.kind = SHARDD__QUERY_KIND__QUERY_SERVER;
  frame.body_case = SHARDD__FRAME__BODY_QUERY;
  frame.query = &query;
  ask(&frame);
}

static void await_answers(void) {
  uint64_t until_us = base_now_us() + PATIENCE_US;
  while (!client.gone && (client.open > 0 || server.questions || server.reading || server.apart)) {
    FUZZ_CHECK(base_now_us() < until_us);
    struct pollfd fds[] = {{.fd = store_eventfd(server.store), .events = POLLIN}, {.fd = client.fd, .events = POLLIN}};
    step();
    bool idle = !server.questions && !server.simulations && (server.apart || !server.reading);
    bool waits = idle && (client.open > 0 || server.apart) && client.kind[client.last] == 0;
    if (waits) FUZZ_CHECK(poll(fds, 2, 100) >= 0 || errno == EINTR);  // for the disk, or the asker
  }
}

// The daemon is as it was before.
static void hang_up(bool backup) {
  FUZZ_CHECK(close(client.fd) == 0);
  while (conns_count(server.conns) > 0 || server.apart)
    turn();
  FUZZ_CHECK(!server.waiters && !server.questions && !server.reading && !server.simulations &&
             budget_used(&server.budget) == 0);
  server.pending_begin = server.pending_end = 0;
  while (server.builds)
    build_free(&server, server.builds);
  if (!backup && server.last_ticket == 0) return;
  close_store();
  open_store();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  bool backup = false;
  if (n == 0) return 0;
  if (arena == NULL) begin();
  call();
  greet(bytes[0]);
  for (size_t at = 1, body; at + 2 < n && client.last < QUESTIONS_MAX && !client.gone; at += 2 + body) {
    const char *why;
    body = (size_t)bytes[at] << 8 | bytes[at + 1];
    if (body > n - at - 2) body = n - at - 2;
    const Shardd__Frame *frame = msg_unpack(arena, bytes + at + 2, body, &why);
    if (!frame) continue;
    if (frame->body_case == SHARDD__FRAME__BODY_QUERY) {
      backup |= frame->query->kind == SHARDD__QUERY_KIND__QUERY_BACKUP;
      ask(frame);
    } else if (frame->body_case == SHARDD__FRAME__BODY_LIST_CHUNK) {
      say(frame);
    }
  }
  if (!client.gone) ask_last();
  await_answers();
  hang_up(backup);
  return 0;
}
