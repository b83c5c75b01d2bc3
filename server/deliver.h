// Performs the core's effects: messages to workers, records to the store. Called after every call into a queue.
#ifndef SERVER_DELIVER_H
#define SERVER_DELIVER_H

#include "server/server.h"

// Performs server->effects of this build and clears them.
void deliver_effects(struct server *server, struct build *build);
// A new round of the build, of these tests (positions), to the store.
void deliver_round(struct server *server, const struct build *build, uint32_t round, const uint32_t *tests,
                   uint32_t count);

// What must be on disk before the worker hears of it: its results (seq: their number), that it joined, that there is no
// more for it (seq: the reason), that it left.
void deliver_when_durable(struct server *server, struct session *session, uint64_t ticket, enum server_waits what,
                          uint64_t seq);
// Releases what the store has on disk by now: acknowledgements, drains and goodbyes.
void deliver_durable(struct server *server);

void deliver_goodbye(struct session *session, uint64_t now_us);
// Lets the worker in; `revoked`: leases it named that are no longer its own, at most MSG_HELD_MAX.
void deliver_welcome(const struct server *server, struct session *session, const uint64_t *revoked,
                     size_t revoked_count);
// Everything up to `seq` is on disk.
void deliver_ack(struct session *session, uint64_t seq);

#endif
