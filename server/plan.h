// Planning without running, for clients in role PLAN, of whom nothing is kept. A list comes up, and the shipped
// scheduler is driven through it in virtual time: `shard local --dry-run` (who would run what, durations from history)
// and `shard plan --simulate` (when it would end, durations from the client). Without a list, `shard plan` is answered
// from the history of the suite by a formula.
#ifndef SERVER_PLAN_H
#define SERVER_PLAN_H

#include "server/server.h"

struct plan_dry;
struct plan_past;

enum { PLAN_USER = 2 };  // kind of conn_user

void plan_open(struct server *server, struct conn *conn, const Shardd__Hello *hello);
void plan_chunk(struct conn *conn, const Shardd__ListChunk *chunk);
void plan_close(struct conn *conn);

// Who would run what, with `workers` workers, in three steps: begun and ended on the loop thread, run on another one
// with its view of the store. Until it is ended the list stays as it is, whatever becomes of the connection. NULL and
// *why.
struct plan_dry *plan_dry_begin(struct conn *conn, uint32_t workers, const char **why) MUST_CHECK;
// Rows to be released by the caller. 0; -1: the history cannot be read, or the view is over.
int plan_dry_run(const struct plan_dry *dry, struct store *view, struct rows *rows) MUST_CHECK;
void plan_dry_end(struct plan_dry *dry);

// Begins to simulate the list with query->workers workers; the answer (workers, finish) comes from a later plan_slice.
// ERROR_UNSET; else the code of an Error and *why, a constant text.
Shardd__ErrorCode plan_simulate(struct conn *conn, uint64_t seq, const Shardd__Query *query,
                                const char **why) MUST_CHECK;
typedef void plan_answer(struct conn *conn, uint64_t seq, const struct rows *rows);
// Goes on with one simulation by at most LIMIT_SIMULATED_A_TURN events, and answers it when that was all. True: call
// again soon.
bool plan_slice(struct server *server, plan_answer *answer);

// Predicted finish, machine time and efficiency by number of workers, in three steps as above: of the list as far as it
// was simulated, else from the history by the formula of forecast.h. NULL and *error: the client is in another role.
struct plan_past *plan_past_begin(struct conn *conn, struct store_error *error) MUST_CHECK;
// Reads the history, where there is no list. ERROR_UNSET; else the code of an Error and *error.
Shardd__ErrorCode plan_past_read(struct plan_past *past, const Shardd__Query *query, struct store *view,
                                 struct store_error *error) MUST_CHECK;
// Keeps the forecast with the connection, which is still there. Rows to be released by the caller. ERROR_UNSET; else
// the code of an Error and *error.
Shardd__ErrorCode plan_forecast(struct conn *conn, struct plan_past *past, const Shardd__Query *query,
                                struct rows *rows, struct store_error *error) MUST_CHECK;
void plan_past_free(struct plan_past *past);
// One row: what that forecast rests on, what bounds it, and which number of workers to take.
Shardd__ErrorCode plan_facts(struct conn *conn, struct rows *rows, struct store_error *error) MUST_CHECK;

#endif
