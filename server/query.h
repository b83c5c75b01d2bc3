// Admin queries: answered from memory (status, wait, server, plan and forecast) or by the store's tables (the rest).
#ifndef SERVER_QUERY_H
#define SERVER_QUERY_H

#include "server/server.h"

// Answers a question, or puts it off: most wait for query_next.
void query_answer(struct server *server, struct conn *conn, uint64_t seq, const Shardd__Query *query);
// Answers those who wait for builds that are over by now; called once a turn.
void query_waiters(struct server *server);
// Answers one of the questions that wait, connections taking turns; called once a turn. True: there is more to do now.
bool query_next(struct server *server);
// A bounded piece of the simulations in progress; called once a turn. True: there is more to do now.
bool query_simulations(struct server *server);
// The connection is gone.
void query_forget(struct server *server, struct conn *conn);
void query_release(struct server *server);

#endif
