// Shared by query.c, query_apart.c, query_change.c and query_later.c alone: a question in hand, and who waits for an
// answer that takes time.
#ifndef SERVER_QUERY_IMPL_H
#define SERVER_QUERY_IMPL_H

#include "server/query.h"

struct query_waiter {
  struct query_waiter *next;
  struct conn *conn;
  uint64_t seq;
  uint64_t ticket;  // waits for this record to be on disk; 0: for the build, or
  bool chore;       // for the store's chore
  char *project, *suite, *build;
};

struct query_call {
  struct server *server;
  struct conn *conn;
  uint64_t seq;
  char *project, *suite, *build, *test, *branch;
  uint32_t limit, workers;
  uint64_t after, since_ms;
  const Shardd__Query *message;  // for what one kind alone has
};

// ---- query.c
void query_now(struct server *server, struct conn *conn, uint64_t seq, const Shardd__Query *query);
// Names as texts, numbers within their bounds. The message outlives it.
void query_call_init(struct query_call *call, struct server *server, struct conn *conn, uint64_t seq,
                     const Shardd__Query *query);
void query_call_release(struct query_call *call);
void query_send(struct conn *conn, uint64_t seq, const struct rows *rows);
uint32_t query_waits_of(const struct query_call *call);           // questions of this connection that wait
struct query_waiter *query_waits(const struct query_call *call);  // one more
// Waits for the build, which is in memory, or is brought there.
void query_wait_here(const struct query_call *call);
void query_wait_rows(const struct build *build, struct rows *rows);  // the answer; released by the caller

// ---- query_later.c: questions that wait for their turn; apart: for the asker
void query_put_off(struct server *server, struct conn *conn, uint64_t seq, const Shardd__Query *query, bool apart);
void query_drop(struct server *server, const struct conn *conn);  // those of a connection

// ---- query_apart.c: questions that the asker works on
bool query_is_apart(Shardd__QueryKind kind);
// The asker is not busy; takes the message.
void query_apart_begin(struct server *server, struct conn *conn, uint64_t seq, Shardd__Query *query);
void query_apart_take(struct server *server);                           // answers what it is done with
void query_apart_drop(struct server *server, const struct conn *conn);  // the connection has gone
void query_apart_release(struct server *server);

// ---- query_change.c: what changes something, or takes long
// Muting or letting go, in three steps: the first and the last on the loop thread. False: it was refused, and answered.
bool query_mute_may(const struct query_call *call);
int query_mute_check(const struct query_call *call, struct store *view, struct store_error *error) MUST_CHECK;
void query_mute_put(const struct query_call *call);
void query_import(const struct query_call *call);
void query_backup(const struct query_call *call);
void query_check(const struct query_call *call);
// True when the answer to a waiter with a ticket or for a chore was sent.
bool query_change_answer(struct server *server, const struct query_waiter *waiter);

#endif
