// The administrator's conversation: Hello (ROLE_ADMIN, ROLE_PLAN) → Welcome, then Query → Rows. Called by admin.c,
// report.c, local.c and plan.c. Turns what the server refuses into words and exit codes by one table. It must not
// print, retry or know what a query means.
#include "worker/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/client.h"
#include "worker/human.h"

struct ask {
  struct client *client;
  uint64_t seq;  // of the query sent last
};

static const struct refusal {
  enum ask_failure failure;
  int exit_code;
  const char *hint;
} refusals[] = {
    [SHARDD__ERROR_CODE__ERROR_UNSET] = {ASK_REFUSED, EXIT_INFRA, ""},
    [SHARDD__ERROR_CODE__ERROR_VERSION] = {ASK_REFUSED, EXIT_USAGE, "; install shard and shardd of one version"},
    [SHARDD__ERROR_CODE__ERROR_TOKEN] = {ASK_REFUSED, EXIT_USAGE, "; set SHARD_TOKEN or --token-file"},
    [SHARDD__ERROR_CODE__ERROR_MALFORMED] = {ASK_REFUSED, EXIT_INFRA, ""},
    [SHARDD__ERROR_CODE__ERROR_TOO_LARGE] = {ASK_REFUSED, EXIT_INFRA, ""},
    [SHARDD__ERROR_CODE__ERROR_STATE] = {ASK_REFUSED, EXIT_INFRA, ""},
    [SHARDD__ERROR_CODE__ERROR_UNKNOWN] = {ASK_UNKNOWN, EXIT_USAGE, ""},
    [SHARDD__ERROR_CODE__ERROR_BUSY] = {ASK_TRY, EXIT_INFRA, "; try again"},
    [SHARDD__ERROR_CODE__ERROR_DISK] = {ASK_TRY, EXIT_INFRA, "; free space on the server's disk"},
    [SHARDD__ERROR_CODE__ERROR_TIMEOUT] = {ASK_LOST, EXIT_INFRA, "; try again"},
    [SHARDD__ERROR_CODE__ERROR_STOPPING] = {ASK_LOST, EXIT_INFRA, "; try again when it is back"},
};

_Static_assert(COUNT_OF(refusals) == SHARDD__ERROR_CODE__ERROR_STOPPING + 1, "a row for each error code");

static int come_in(struct ask **out, const char *address, Shardd__Hello *hello, unsigned timeout_ms,
                   struct ask_error *error);
static int greet(struct ask *ask, Shardd__Hello *hello, unsigned timeout_ms, struct ask_error *error);
static int refuse(const struct ask *ask, const Shardd__Error *refused, struct ask_error *error);
static int fail(struct ask_error *error, enum ask_failure failure, int exit_code, const char *fmt, ...) PRINTF(4, 5);
static int take(struct ask *ask, const Shardd__Frame *frame, struct answer *answer, struct ask_error *error);
static unsigned left_ms(uint64_t deadline_us);
static bool waited(const struct ask_error *error, uint64_t deadline_us);

int ask_open(struct ask **out, const char *address, const char *token, unsigned timeout_ms, struct ask_error *error) {
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  hello.role = SHARDD__ROLE__ROLE_ADMIN;
  hello.token = msg_text(token);
  return come_in(out, address, &hello, timeout_ms, error);
}

int ask_open_plan(struct ask **out, const struct ask_plan *plan, unsigned timeout_ms, struct ask_error *error) {
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  hello.role = SHARDD__ROLE__ROLE_PLAN;
  hello.token = msg_text(plan->token);
  hello.project = msg_text(plan->project);
  hello.suite = msg_text(plan->suite);
  hello.build = msg_text("plan");
  return come_in(out, plan->address, &hello, timeout_ms, error);
}

static int come_in(struct ask **out, const char *address, Shardd__Hello *hello, unsigned timeout_ms,
                   struct ask_error *error) {
  struct client_error why;
  uint64_t deadline_us = base_now_us() + (uint64_t)timeout_ms * 1000;
  if (address[0] == '\0')
    return fail(error, ASK_REFUSED, EXIT_USAGE,
                "no server: set SHARD_SERVER, --server or server: in shard.yml to unix:/path or tcp://host:port");
  struct client *client = client_new(address, &why);
  if (client == NULL) return fail(error, ASK_REFUSED, EXIT_USAGE, "%s", why.text);
  struct ask *ask = base_calloc(1, sizeof *ask);
  ask->client = client;
  int rc;
  do {
    client_close(client);
    rc = client_connect(client, left_ms(deadline_us), &why);
    rc = rc != 0 ? fail(error, ASK_LOST, EXIT_INFRA, "%s", why.text) : greet(ask, hello, left_ms(deadline_us), error);
  } while (rc != 0 && waited(error, deadline_us));
  if (rc != 0) {
    ask_close(ask);
    return -1;
  }
  *out = ask;
  return 0;
}

void ask_close(struct ask *ask) {
  if (ask == NULL) return;
  client_free(ask->client);
  free(ask);
}

int ask_send(struct ask *ask, const Shardd__Query *query, struct ask_error *error) {
  struct client_error why;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Query copy = *query;
  frame.seq = ++ask->seq;
  frame.body_case = SHARDD__FRAME__BODY_QUERY;
  frame.query = &copy;
  if (client_send(ask->client, &frame, &why) == 0) return 0;
  return fail(error, ASK_LOST, EXIT_INFRA, "%s", why.text);
}

int ask_push(struct ask *ask, const Shardd__Frame *frame, unsigned timeout_ms, struct ask_error *error) {
  struct client_error why;
  uint64_t deadline_us = base_now_us() + (uint64_t)timeout_ms * 1000;
  int rc = client_send(ask->client, frame, &why);
  while (rc == 0 && client_wants_write(ask->client)) {
    struct pollfd ready = {.fd = client_fd(ask->client), .events = POLLOUT};
    if (poll(&ready, 1, (int)left_ms(deadline_us)) == 0)
      return fail(error, ASK_TIMEOUT, EXIT_INFRA, "%s takes nothing more for %u ms: is it overloaded?",
                  client_address(ask->client), timeout_ms);
    rc = client_flush(ask->client, &why);
  }
  struct answer none;
  if (rc != 0 && ask_poll(ask, &none, error) < 0) return -1;  // the server may have said why
  return rc == 0 ? 0 : fail(error, ASK_LOST, EXIT_INFRA, "%s", why.text);
}

int ask_poll(struct ask *ask, struct answer *answer, struct ask_error *error) {
  struct client_error why, ignored;
  const Shardd__Frame *frame;
  if (client_wants_write(ask->client)) (void)client_flush(ask->client, &ignored);
  (void)client_receive(ask->client, &ignored);  // a loss is found by client_next, behind what came before it
  for (;;) {
    int found = client_next(ask->client, &frame, &why);
    if (found == 0) return 0;
    if (found < 0) return fail(error, ASK_LOST, EXIT_INFRA, "%s", why.text);
    int taken = take(ask, frame, answer, error);
    if (taken != 0) return taken;
  }
}

int ask_wait(struct ask *ask, const Shardd__Query *query, unsigned timeout_ms, struct answer *answer,
             struct ask_error *error) {
  uint64_t deadline_us = base_now_us() + (uint64_t)timeout_ms * 1000;
  if (query != NULL && ask_send(ask, query, error) != 0) return -1;
  for (;;) {
    int found = ask_poll(ask, answer, error);
    if (found < 0 && query != NULL && client_connected(ask->client) && waited(error, deadline_us)) {
      if (ask_send(ask, query, error) != 0) return -1;
      continue;
    }
    if (found != 0) return found > 0 ? 0 : -1;
    short events = (short)(client_wants_write(ask->client) ? POLLIN | POLLOUT : POLLIN);
    struct pollfd ready = {.fd = client_fd(ask->client), .events = events};
    int count = poll(&ready, 1, (int)left_ms(deadline_us));
    if (count < 0 && errno != EINTR) return fail(error, ASK_LOST, EXIT_INFRA, "poll: %s", strerror(errno));
    if (count == 0)
      return fail(error, ASK_TIMEOUT, EXIT_INFRA, "%s gave no answer within %u ms: is it overloaded?",
                  client_address(ask->client), timeout_ms);
  }
}

// True when the server was busy, asked to be tried again, and has been waited for.
static bool waited(const struct ask_error *error, uint64_t deadline_us) {
  unsigned left = left_ms(deadline_us);
  if (error->failure != ASK_TRY || error->retry_us == 0 || error->retry_us / 1000 >= left) return false;
  (void)poll(NULL, 0, (int)(error->retry_us / 1000 + 1));
  return true;
}

static int greet(struct ask *ask, Shardd__Hello *hello, unsigned timeout_ms, struct ask_error *error) {
  struct client_error why;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  const Shardd__Frame *reply;
  hello->version = MSG_VERSION;
  hello->client = msg_text("shard " SHARD_VERSION);
  frame.body_case = SHARDD__FRAME__BODY_HELLO;
  frame.hello = hello;
  if (client_call(ask->client, &frame, timeout_ms, &reply, &why) != 0)
    return fail(error, ASK_LOST, EXIT_INFRA, "%s", why.text);
  if (reply->body_case == SHARDD__FRAME__BODY_WELCOME) return 0;
  if (reply->body_case == SHARDD__FRAME__BODY_ERROR) return refuse(ask, reply->error, error);
  return fail(error, ASK_REFUSED, EXIT_INFRA, "%s answers a hello with %s: is it a shardd of this version?",
              client_address(ask->client), msg_name(reply));
}

// 1: the answer; 0: of no concern; -1.
static int take(struct ask *ask, const Shardd__Frame *frame, struct answer *answer, struct ask_error *error) {
  bool ours = frame->seq == ask->seq;
  if (frame->body_case == SHARDD__FRAME__BODY_ERROR && (ours || frame->seq == 0))
    return refuse(ask, frame->error, error);
  if (frame->body_case != SHARDD__FRAME__BODY_ROWS || !ours) return 0;
  if (answer_init(answer, frame->rows) == 0) return 1;
  return fail(error, ASK_REFUSED, EXIT_INFRA, "%s sends a table whose cells do not fit its columns",
              client_address(ask->client));
}

static int refuse(const struct ask *ask, const Shardd__Error *refused, struct ask_error *error) {
  unsigned code = (unsigned)refused->code;
  const struct refusal *row = &refusals[code < COUNT_OF(refusals) ? code : 0];
  char *text = human_safe(refused->text.data, refused->text.len, ESCAPE_LINE);
  (void)fail(error, row->failure, row->exit_code, "%.200s: %.300s%s", client_address(ask->client), text, row->hint);
  if (refused->code == SHARDD__ERROR_CODE__ERROR_BUSY) error->retry_us = refused->retry_us;
  free(text);
  return -1;
}

static int fail(struct ask_error *error, enum ask_failure failure, int exit_code, const char *fmt, ...) {
  va_list args;
  error->retry_us = 0;
  error->failure = failure;
  error->exit_code = exit_code;
  va_start(args, fmt);
  (void)vsnprintf(error->text, sizeof error->text, fmt, args);
  va_end(args);
  return -1;
}

static unsigned left_ms(uint64_t deadline_us) {
  uint64_t now_us = base_now_us();
  return now_us >= deadline_us ? 0 : (unsigned)((deadline_us - now_us) / 1000 + 1);
}
