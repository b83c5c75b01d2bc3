// A client's connection: connects to an address, sends and receives frames without blocking, or calls and waits. Used
// by `shard` and by the tests. Knows framing and messages, nothing of what they mean; keeps no thread and no event
// loop.
#ifndef PROTO_CLIENT_H
#define PROTO_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/msg.h"

enum {
  CLIENT_DEFAULT_PORT = 4270,
  CLIENT_BACKOFF_MIN_MS = 100,
  CLIENT_BACKOFF_MAX_MS = 10000,
  CLIENT_BACKLOG_MAX_BYTES = 64 * 1024 * 1024,
};

struct client;

struct client_error {
  char text[512];
};

// `address` is unix:/path, tcp://host[:port] or tcp://[v6]:port. NULL and *error when it has no such form.
struct client *client_new(const char *address, struct client_error *error);
void client_free(struct client *client);  // closes; unsent bytes are dropped
const char *client_address(const struct client *client);

// Connects and waits for it at most timeout_ms. 0; -1 and *error (what was tried, what went wrong, what to do).
// An earlier connection is closed first and its unread and unsent bytes are forgotten.
int client_connect(struct client *client, unsigned timeout_ms, struct client_error *error);
bool client_connected(const struct client *client);
void client_close(struct client *client);

// The descriptor to poll (non-blocking, close-on-exec), -1 when not connected; whether there are bytes to write.
int client_fd(const struct client *client);
bool client_wants_write(const struct client *client);

// Queues a frame and writes what the socket takes at once; behind unsent bytes it waits for client_flush. 0; -1 and
// *error when the connection is lost (it is then closed; what had arrived before is still there for client_next), or
// when the message passes the frame's bound or the backlog's bound (it is then not queued, the connection stands).
int client_send(struct client *client, const Shardd__Frame *frame, struct client_error *error);
// The same for bytes that msg_pack wrote earlier: a message that is sent again.
int client_send_packed(struct client *client, const uint8_t *bytes, size_t n, struct client_error *error);
int client_flush(struct client *client,
                 struct client_error *error);  // on writable; 0, or -1 when the connection is lost

// Reads what is there: 0, also when that was the end of the stream; -1 and *error when not connected. Call client_next
// until it gives 0 after each: frames one by one: 1 and *frame (valid until the next call), 0 when there is no further
// whole frame, -1 and *error when the stream is broken or was closed (frames before that come first).
int client_receive(struct client *client, struct client_error *error);
int client_next(struct client *client, const Shardd__Frame **frame, struct client_error *error);

// Blocking form for commands: sends (frame may be NULL) and waits for the next frame. 0; -1 and *error (after a timeout
// the connection stands and the frame may still come).
int client_call(struct client *client, const Shardd__Frame *frame, unsigned timeout_ms, const Shardd__Frame **reply,
                struct client_error *error);

// How long to wait before connection attempt number `attempt` (from 0): doubling from CLIENT_BACKOFF_MIN_MS to
// CLIENT_BACKOFF_MAX_MS, times a random factor in [0.5, 1] ("equal jitter"), so that a thousand workers do not return
// at once.
unsigned client_backoff_ms(unsigned attempt);

#endif
