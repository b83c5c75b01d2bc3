// The worker's link to the server: connects, says hello, comes back after a lost connection, keeps the heartbeat. Gives
// every other message to run.c. It knows the hello and the heartbeat, not leases or results.
#ifndef WORKER_LINK_H
#define WORKER_LINK_H

#include <event2/event.h>

#include "proto/client.h"
#include "worker/identity.h"

enum link_failure {
  LINK_REFUSED,  // the server will not have this client: wrong token, wrong version
  LINK_DIFFERS,  // this worker's commit or environment is not the build's
  LINK_BROKEN,   // the conversation went wrong: a bug on one side
  LINK_LOST,
};

struct link_events {
  // The hello is complete but for what only the caller knows: the leases in hand. Pointers must live until the next
  // call.
  void (*on_hello)(void *arg, Shardd__Hello *hello);
  // Let in, for the first time or again.
  void (*on_welcome)(void *arg, const Shardd__Welcome *welcome, bool again);
  void (*on_frame)(void *arg, const Shardd__Frame *frame);
  // What runs now, for the heartbeat.
  void (*on_heartbeat)(void *arg, Shardd__Heartbeat *heartbeat);
  // The connection broke; it is made again.
  void (*on_lost)(void *arg);
  // It is tried now, which may take seconds when nobody answers there.
  void (*on_trying)(void *arg);
  // No more hope: refused for good, or lost for longer than the server timeout.
  void (*on_failed)(void *arg, enum link_failure failure, const char *why);
  void *arg;
};

struct link;

// Connects and waits for the welcome, trying again until the connect timeout. NULL with *error and *failure. The
// callbacks on_hello and on_welcome come before it returns.
struct link *link_open(struct event_base *base, const struct options *options, const struct identity *identity,
                       const struct link_events *events, enum link_failure *failure, struct client_error *error);
void link_close(struct link *link);
// What the server calls this worker; empty, also with NULL, when it was never let in.
ProtobufCBinaryData link_session(const struct link *link);
bool link_up(const struct link *link);  // connected and welcomed; NULL: there never was one

// Queues a message; dropped when the link is down or NULL (what must arrive is sent again on welcome).
void link_send(struct link *link, const Shardd__Frame *frame);
void link_send_packed(struct link *link, const uint8_t *bytes, size_t n);

#endif
