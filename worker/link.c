// Keeping up with the server: client.c's socket inside the worker's loop. A connection that breaks is made again with a
// growing pause; the hello then names the session, so that the server knows who it is.
#include "worker/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/human.h"

enum {
  LINK_TRY_MS = 3000,
  LINK_SESSION_BYTES = 64,
  LINK_SILENT_BEATS = 6,
  LINK_RETRY_LEAST_US = 100000,  // whatever a busy server asks for
  LINK_RETRY_MOST_US = 60000000,
};

struct link {
  struct event_base *base;
  const struct options *options;
  const struct identity *identity;
  struct link_events events;
  struct client *client;
  struct event *read, *write, *beat, *again;
  uint8_t session[LINK_SESSION_BYTES];
  size_t session_bytes;
  uint64_t heartbeat_us, lost_us, heard_us;
  uint64_t busy_since_us;  // the server turns us away since then; 0: it does not
  uint64_t retry_us;       // and asked to be tried again after this
  unsigned tries;
  bool welcomed, failed;
};

static void link_lost(struct link *link, const char *why);

static struct timeval link_after(uint64_t us) {
  return (struct timeval){.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
}

// ---- events of the socket

static void link_unwatch(struct link *link) {
  if (link->read) event_free(link->read);
  if (link->write) event_free(link->write);
  link->read = link->write = NULL;
}

static void link_arm_write(struct link *link) {
  if (link->write && client_wants_write(link->client)) event_add(link->write, NULL);
}

static void link_fail(struct link *link, enum link_failure failure, const char *why) {
  if (link->failed) return;
  link->failed = true;
  link->events.on_failed(link->events.arg, failure, why);
}

// LINK_LOST leaves hope; the other errors are for the caller, or the connection's end will follow.
static enum link_failure link_failure_of(const Shardd__Error *error) {
  switch (error->code) {
    case SHARDD__ERROR_CODE__ERROR_VERSION:
    case SHARDD__ERROR_CODE__ERROR_TOKEN: return LINK_REFUSED;
    case SHARDD__ERROR_CODE__ERROR_DIFFERS: return LINK_DIFFERS;
    case SHARDD__ERROR_CODE__ERROR_MALFORMED:
    case SHARDD__ERROR_CODE__ERROR_TOO_LARGE:
    case SHARDD__ERROR_CODE__ERROR_STATE: return LINK_BROKEN;
    case SHARDD__ERROR_CODE__ERROR_UNSET:
    case SHARDD__ERROR_CODE__ERROR_UNKNOWN:
    case SHARDD__ERROR_CODE__ERROR_BUSY:
    case SHARDD__ERROR_CODE__ERROR_DISK:
    case SHARDD__ERROR_CODE__ERROR_TIMEOUT:
    case SHARDD__ERROR_CODE__ERROR_STOPPING:
    case _SHARDD__ERROR_CODE_IS_INT_SIZE: break;
  }
  return LINK_LOST;
}

// The server is there and has no room: it says when to try again. Once is enough to say so.
static void link_busy(struct link *link, const Shardd__Error *error) {
  uint64_t retry_us = error->retry_us < LINK_RETRY_LEAST_US ? LINK_RETRY_LEAST_US : error->retry_us;
  link->retry_us = retry_us < LINK_RETRY_MOST_US ? retry_us : LINK_RETRY_MOST_US;
  if (link->busy_since_us) return;
  link->busy_since_us = base_now_us();
  char *why = human_safe(error->text.data, error->text.len, ESCAPE_LINE), limit[HUMAN_BYTES];
  fprintf(stderr, "shard: %s is busy: %s; trying again for %s (--server-timeout)\n", client_address(link->client), why,
          human_duration(link->options->server_timeout_us, limit));
  free(why);
}

static bool link_busy_too_long(const struct link *link) {
  return link->busy_since_us && base_now_us() - link->busy_since_us > link->options->server_timeout_us;
}

// In the middle of the conversation: the connection closes behind it.
static void link_turned_away(struct link *link, const Shardd__Error *error) {
  char *why = human_safe(error->text.data, error->text.len, ESCAPE_LINE);
  link_busy(link, error);
  if (link_busy_too_long(link)) link_fail(link, LINK_LOST, why);
  link_lost(link, why);
  free(why);
}

// Whether the server has room for this worker again: an answer that asks for the list promises nothing.
static bool link_has_room(const Shardd__Frame *frame) {
  if (frame->body_case == SHARDD__FRAME__BODY_ACK) return false;
  return frame->body_case != SHARDD__FRAME__BODY_LIST_REPLY || frame->list_reply->want != SHARDD__LIST_WANT__LIST_SEND;
}

static void link_frame(struct link *link, const Shardd__Frame *frame) {
  link->heard_us = base_now_us();
  if (frame->body_case == SHARDD__FRAME__BODY_ERROR && frame->error->code == SHARDD__ERROR_CODE__ERROR_BUSY) {
    link_turned_away(link, frame->error);
    return;
  }
  if (link_has_room(frame)) link->busy_since_us = 0;
  if (frame->body_case == SHARDD__FRAME__BODY_ERROR && link_failure_of(frame->error) != LINK_LOST) {
    char *why = human_safe(frame->error->text.data, frame->error->text.len, ESCAPE_LINE);
    link_fail(link, link_failure_of(frame->error), why);
    free(why);
    return;
  }
  link->events.on_frame(link->events.arg, frame);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
  struct link *link = arg;
  struct client_error error;
  const Shardd__Frame *frame;
  (void)fd;
  (void)what;
  int received = client_receive(link->client, &error), got;
  while ((got = client_next(link->client, &frame, &error)) > 0) {
    link_frame(link, frame);
    if (link->failed || !link->welcomed) return;
  }
  if (received < 0 || got < 0) {
    link_lost(link, error.text);
  } else {
    link_arm_write(link);
  }
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
  struct link *link = arg;
  struct client_error error;
  (void)fd;
  (void)what;
  if (client_flush(link->client, &error) < 0) {
    link_lost(link, error.text);
  } else {
    link_arm_write(link);
  }
}

static void link_watch(struct link *link) {
  link_unwatch(link);
  link->read = event_new(link->base, client_fd(link->client), EV_READ | EV_PERSIST, on_readable, link);
  link->write = event_new(link->base, client_fd(link->client), EV_WRITE, on_writable, link);
  event_add(link->read, NULL);
  link_arm_write(link);
}

// ---- hello

// A server that gives another session has forgotten the build: another database, or a build older than it keeps.
static bool link_forgotten(const struct link *link, const Shardd__Welcome *welcome) {
  return link->session_bytes && (link->session_bytes != welcome->session.len ||
                                 memcmp(link->session, welcome->session.data, link->session_bytes) != 0);
}

static void link_remember(struct link *link, const Shardd__Welcome *welcome) {
  link->session_bytes = welcome->session.len < sizeof link->session ? welcome->session.len : 0;
  memcpy(link->session, welcome->session.data, link->session_bytes);
  link->heartbeat_us = welcome->heartbeat_us ? welcome->heartbeat_us : 5000000;
}

static int link_error(struct link *link, const Shardd__Error *from, enum link_failure *failure,
                      struct client_error *error) {
  *failure = link_failure_of(from);
  if (from->code == SHARDD__ERROR_CODE__ERROR_BUSY) link_busy(link, from);
  char *safe = human_safe(from->text.data, from->text.len, ESCAPE_LINE);
  snprintf(error->text, sizeof error->text, "the server refuses: %s", safe);
  free(safe);
  return -1;
}

// One attempt: connect, hello, welcome.
static int link_try(struct link *link, enum link_failure *failure, struct client_error *error) {
  const Shardd__Frame *reply;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  struct identity_policy policy;
  *failure = LINK_LOST;
  if (client_connect(link->client, LINK_TRY_MS, error) < 0) return -1;
  identity_hello(link->identity, link->options, &hello, &policy);
  hello.session = msg_bytes(link->session, link->session_bytes);
  link->events.on_hello(link->events.arg, &hello);
  frame.body_case = SHARDD__FRAME__BODY_HELLO;
  frame.hello = &hello;
  if (client_call(link->client, &frame, LINK_TRY_MS, &reply, error) < 0) return -1;
  if (reply->body_case == SHARDD__FRAME__BODY_ERROR) return link_error(link, reply->error, failure, error);
  if (reply->body_case != SHARDD__FRAME__BODY_WELCOME) {
    snprintf(error->text, sizeof error->text, "the server answers the hello with %s", msg_name(reply));
    *failure = LINK_BROKEN;
    return -1;
  }
  bool again = link->session_bytes > 0;
  if (link_forgotten(link, reply->welcome)) {
    snprintf(error->text, sizeof error->text, "the server at %s no longer knows this build: was its database replaced?",
             client_address(link->client));
    *failure = LINK_BROKEN;
    return -1;
  }
  link_remember(link, reply->welcome);
  link->welcomed = true;
  link->tries = 0;
  link->heard_us = base_now_us();
  link_watch(link);
  link->events.on_welcome(link->events.arg, reply->welcome, again);
  return 0;
}

// ---- losing and coming back

// What the server asked for, and up to a tenth more: who was turned away together does not come back together.
static uint64_t link_pause_us(struct link *link) {
  uint64_t pause_us = (uint64_t)client_backoff_ms(link->tries++) * 1000, asked_us = link->retry_us;
  link->retry_us = 0;
  return asked_us ? asked_us + pause_us % (asked_us / 10 + 1) : pause_us;
}

static void link_schedule(struct link *link) {
  struct timeval after = link_after(link_pause_us(link));
  event_add(link->again, &after);
}

static void link_lost(struct link *link, const char *why) {
  link_unwatch(link);
  client_close(link->client);
  if (link->failed) return;
  if (link->welcomed && !link->busy_since_us) {
    fprintf(stderr, "shard: lost the server (%s); trying again for %llu s\n", why,
            (unsigned long long)(link->options->server_timeout_us / 1000000));
  }
  if (link->welcomed) link->lost_us = base_now_us();
  bool lost = link->welcomed;
  link->welcomed = false;
  link_schedule(link);
  if (lost) link->events.on_lost(link->events.arg);
}

static void on_again(evutil_socket_t fd, short what, void *arg) {
  struct link *link = arg;
  struct client_error error;
  enum link_failure failure;
  (void)fd;
  (void)what;
  if (link->failed) return;
  link->events.on_trying(link->events.arg);
  if (link_try(link, &failure, &error) == 0) {
    if (!link->busy_since_us) fprintf(stderr, "shard: the server is back\n");
    return;
  }
  link_unwatch(link);
  client_close(link->client);
  bool late = base_now_us() - link->lost_us > link->options->server_timeout_us;
  if (failure != LINK_LOST || late || link_busy_too_long(link)) {
    link_fail(link, failure, error.text);
  } else {
    link_schedule(link);
  }
}

static void on_beat(evutil_socket_t fd, short what, void *arg) {
  struct link *link = arg;
  (void)fd;
  (void)what;
  struct timeval after = link_after(link->heartbeat_us);
  event_add(link->beat, &after);
  if (!link->welcomed) return;
  if (base_now_us() - link->heard_us > LINK_SILENT_BEATS * link->heartbeat_us) {
    link_lost(link, "it does not answer");
    return;
  }
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Heartbeat heartbeat = SHARDD__HEARTBEAT__INIT;
  frame.body_case = SHARDD__FRAME__BODY_HEARTBEAT;
  frame.heartbeat = &heartbeat;
  link->events.on_heartbeat(link->events.arg, &heartbeat);
  link_send(link, &frame);
}

// ---- sending

void link_send(struct link *link, const Shardd__Frame *frame) {
  struct client_error error;
  if (!link_up(link)) return;
  if (client_send(link->client, frame, &error) < 0) {
    link_lost(link, error.text);
  } else {
    link_arm_write(link);
  }
}

void link_send_packed(struct link *link, const uint8_t *bytes, size_t n) {
  struct client_error error;
  if (!link_up(link)) return;
  if (client_send_packed(link->client, bytes, n, &error) < 0) {
    link_lost(link, error.text);
  } else {
    link_arm_write(link);
  }
}

ProtobufCBinaryData link_session(const struct link *link) {
  return link ? msg_bytes(link->session, link->session_bytes) : msg_bytes(NULL, 0);
}

bool link_up(const struct link *link) {
  return link && link->welcomed;
}

// ---- life

// A server that is there and busy is waited for longer than one that is not there.
static int link_first(struct link *link, enum link_failure *failure, struct client_error *error) {
  uint64_t began = base_now_us();
  for (;;) {
    if (link_try(link, failure, error) == 0) return 0;
    client_close(link->client);
    uint64_t until = began + (link->retry_us ? link->options->server_timeout_us : link->options->connect_timeout_us);
    uint64_t pause = link_pause_us(link), now = base_now_us();
    if (*failure != LINK_LOST || now + pause >= until) return -1;
    usleep((useconds_t)pause);
  }
}

struct link *link_open(struct event_base *base, const struct options *options, const struct identity *identity,
                       const struct link_events *events, enum link_failure *failure, struct client_error *error) {
  struct link *link = base_calloc(1, sizeof *link);
  link->base = base;
  link->options = options;
  link->identity = identity;
  link->events = *events;
  link->beat = event_new(base, -1, 0, on_beat, link);
  link->again = event_new(base, -1, 0, on_again, link);
  *failure = LINK_REFUSED;
  link->client = client_new(options->server, error);
  if (link->client && link_first(link, failure, error) == 0) {
    struct timeval after = link_after(link->heartbeat_us);
    event_add(link->beat, &after);
    return link;
  }
  link_close(link);
  return NULL;
}

void link_close(struct link *link) {
  if (!link) return;
  link_unwatch(link);
  event_free(link->beat);
  event_free(link->again);
  client_free(link->client);
  free(link);
}
