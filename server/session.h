// A worker's conversation after it was let in: joins or resumes its build, asks for leases, reports, leaves. Called by
// dispatch.c; each call ends with the effects delivered.
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include "server/server.h"

enum { SESSION_USER = 1 };  // kind of conn_user

void session_hello(struct server *server, struct conn *conn, const Shardd__Hello *hello);
void session_lease_request(struct server *server, struct session *session, const Shardd__LeaseRequest *request);
void session_started(struct server *server, struct session *session, const Shardd__Started *started);
void session_released(struct server *server, struct session *session, const Shardd__Released *released);
void session_results(struct server *server, struct session *session, uint64_t seq, const Shardd__Results *results);
void session_heartbeat(struct server *server, struct session *session, const Shardd__Heartbeat *heartbeat);
// Whether the worker's test process is what the build's are; else the worker was told so, and leaves.
bool session_same(struct server *server, struct session *session, const Shardd__Facts *facts);
void session_bye(struct server *server, struct session *session, const Shardd__Bye *bye);
// Its connection is gone.
void session_closed(struct server *server, struct session *session);

#endif
