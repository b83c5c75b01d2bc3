// Planning without running, for clients in role PLAN, of whom nothing is kept. A list comes up, and the shipped
// scheduler is driven through it in virtual time: `shard local --dry-run` (who would run what, durations from history)
// and `shard plan --simulate` (when it would end, durations from the client). Without a list, `shard plan` is answered
// from the history of the suite by a formula.
#ifndef SERVER_PLAN_H
#define SERVER_PLAN_H

#include "server/server.h"

enum { PLAN_USER = 2 };  // kind of conn_user

void plan_open(struct server *server, struct conn *conn, const Shardd__Hello *hello);
void plan_chunk(struct conn *conn, const Shardd__ListChunk *chunk);
void plan_close(struct conn *conn);
// Who would run what, with `workers` workers: rows to be released by the caller. 0; -1 and *why.
int plan_rows(struct conn *conn, uint32_t workers, struct rows *rows, const char **why) MUST_CHECK;

// Begins to simulate the list with query->workers workers; the answer (workers, finish) comes from a later plan_slice.
// ERROR_UNSET; else the code of an Error and *why, a constant text.
Shardd__ErrorCode plan_simulate(struct conn *conn, uint64_t seq, const Shardd__Query *query,
                                const char **why) MUST_CHECK;
typedef void plan_answer(struct conn *conn, uint64_t seq, const struct rows *rows);
// Goes on with one simulation by at most LIMIT_SIMULATED_A_TURN events, and answers it when that was all. True: call
// again soon.
bool plan_slice(struct server *server, plan_answer *answer);

// Predicted finish, machine time and efficiency by number of workers: of the list as far as it was simulated, else from
// the history by the formula of forecast.h. Rows to be released by the caller. ERROR_UNSET; else the code of an Error
// and *error.
Shardd__ErrorCode plan_forecast(struct conn *conn, const Shardd__Query *query, struct rows *rows,
                                struct store_error *error) MUST_CHECK;
// One row: what that forecast rests on, what bounds it, and which number of workers to take.
Shardd__ErrorCode plan_facts(struct conn *conn, struct rows *rows, struct store_error *error) MUST_CHECK;

#endif
