// A connection: bytes in, frames out to a handler; messages in, bytes out. Plain libevent events over own flat buffers.
// A connection is never freed inside its own callback: it is marked and reaped at the end of the turn (conns_end_turn).
// It knows frames and bounds, not what a message means.
#ifndef SERVER_CONN_H
#define SERVER_CONN_H

#include <event2/event.h>
#include <sys/types.h>

#include "config/base.h"
#include "proto/msg.h"
#include "server/budget.h"

struct conn;
struct conns;

struct conn_handler {
  // A whole, valid message. The frame lives until the handler returns.
  void (*on_message)(void *arg, struct conn *conn, const Shardd__Frame *frame);
  // The connection is gone, for whatever reason; last call for it.
  void (*on_closed)(void *arg, struct conn *conn);
  void *arg;
};

// All connections of a server. hello_timeout_us: a connection that has not been let in by then is closed with an Error.
// budget: of which the buffers take BUDGET_BUFFERS; beyond LIMIT_BUFFER_LEAST a connection is closed with an Error when
// there is no more. It outlives the connections.
struct conns *conns_new(struct event_base *base, uint32_t max_connections, uint64_t hello_timeout_us,
                        struct budget *budget, const struct conn_handler *handler);
void conns_free(struct conns *conns);  // closes all, after one try to write what is queued
uint32_t conns_count(const struct conns *conns);
// End of a turn of the loop: writes what was queued, closes and frees what was marked.
void conns_end_turn(struct conns *conns);
// Closes those who have said nothing in time: hellos not said, workers silent for silence_us, frames begun and not
// ended in that time; who has read nothing of what is queued for so long; and those with a deadline of their own.
// Returns when to call again.
uint64_t conns_tick(struct conns *conns, uint64_t now_us, uint64_t silence_us);

// Takes over a connected descriptor. `peer` describes the other side in logs; uid is -1 when it is not known.
void conn_open(struct conns *conns, int fd, const char *peer, int64_t uid);
// Queues a message. A connection over its bound of unsent bytes is marked to close, one that all others leave no room
// for gets an Error.
void conn_send(struct conn *conn, const Shardd__Frame *frame);
// Sends an Error with this text; `closes`: nothing more is read, and the connection ends when it is written.
void conn_error(struct conn *conn, Shardd__ErrorCode code, uint64_t seq, bool closes, const char *fmt, ...)
    PRINTF(5, 6);
void conn_close(struct conn *conn);  // after what is queued was written
bool conn_closing(const struct conn *conn);
// The hello was accepted: larger frames may come, the hello timeout is over.
void conn_let_in(struct conn *conn);
bool conn_is_in(const struct conn *conn);
size_t conn_unsent(const struct conn *conn);
const char *conn_peer(const struct conn *conn);
int64_t conn_uid(const struct conn *conn);
// Closes it with an Error at this time (base_now_us) unless another is set before; 0: never. `why`: a constant text.
void conn_set_due(struct conn *conn, uint64_t due_us, const char *why);
// Whatever the caller keeps with it.
void conn_set_user(struct conn *conn, void *user, int kind);
void *conn_user(const struct conn *conn, int kind);  // NULL when the kind differs

#endif
