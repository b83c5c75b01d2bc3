// The daemon's state and the turn of its loop. Each module below works on this struct: session.c (workers), listing.c
// (lists), deliver.c (effects), recover.c (restart), query.c (admin), dispatch.c (which message goes where). One turn:
// messages → core → effects; records to the store → COMMIT → acknowledgements released → dead connections reaped → one
// timer armed for the next deadline.
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <event2/event.h>

#include "config/base.h"
#include "server/auth.h"
#include "server/budget.h"
#include "server/build.h"
#include "server/conn.h"
#include "server/effect.h"
#include "server/net.h"
#include "server/settings.h"
#include "server/store.h"

enum { SERVER_LISTENERS_MAX = 8 };

struct asker;
struct plan;
struct query_apart;
struct query_later;
struct query_waiter;

// What a worker hears of when it is on disk: its results, that it joined, that there is no more for it, that it left.
enum server_waits { SERVER_ACK, SERVER_WELCOME, SERVER_DRAINED, SERVER_GOODBYE };
struct server_pending {
  uint64_t ticket, seq;  // seq: of the results; DRAINED: the reason
  struct session *session;
  enum server_waits what;
};

struct server {
  struct settings settings;
  int argc;  // of main, read again at a reload
  char **argv;
  struct event_base *base;
  struct store *store;
  struct conns *conns;
  struct auth *auth;
  struct build *builds;  // in memory, newest first
  uint32_t build_count;
  uint64_t next_build;
  struct effects effects;  // of the call in progress
  // In the order of the tickets.
  struct server_pending *pending;
  size_t pending_begin, pending_end, pending_room;
  uint64_t now_us;   // monotonic without the gaps of a stalled loop: what the core is told
  uint64_t gaps_us;  // the sum of those gaps
  uint64_t wake_us;  // when the next turn was to begin, monotonic
  uint64_t hash_seed;
  struct net_listener *listener[SERVER_LISTENERS_MAX];
  size_t listener_count;
  struct event *timer, *store_ready, *on_term, *on_int, *on_hup;
  uint64_t last_ticket;           // of the last record handed to the store
  struct query_waiter *waiters;   // who wait for a build to end
  struct query_later *questions;  // that wait for a turn of the loop, the next one first
  struct query_later *reading;    // that wait for the asker
  struct asker *asker;            // answers questions from the database, on a thread of its own
  struct query_apart *apart;      // the question that it works on
  struct store_sizes sizes;       // of the database, as they were
  uint64_t sized_us;              // in the turn of this time
  uint64_t answered;              // questions that waited, ever
  struct plan *simulations;       // in progress, oldest first
  struct budget budget;           // of what clients make it hold
  bool stopping, in_turn;
};

// Opens everything the settings name, recovers the running builds, and runs until told to stop. Returns the exit code.
int server_run(struct server *server);

// Sets now_us once a turn; every callback that calls into the core does it first.
void server_begin_turn(struct server *server);

// Ends a turn: how long the loop may sleep, in µs, when the next thing is due at next_us of the core's time. Sets
// wake_us.
uint64_t server_plan_wait(struct server *server, uint64_t next_us) MUST_CHECK;

// A connection that has said nothing for so long, or has not got on, is closed.
uint64_t server_silence_us(const struct server *server);

// Wall-clock milliseconds since the epoch: for display only.
uint64_t server_wall_ms(void);

#endif
