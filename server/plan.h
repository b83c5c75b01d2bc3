// `shard local --dry-run`: a list comes up, and the shipped scheduler is driven through it in virtual time. Nothing is
// kept.
#ifndef SERVER_PLAN_H
#define SERVER_PLAN_H

#include "server/server.h"

enum { PLAN_USER = 2 };  // kind of conn_user

void plan_open(struct server *server, struct conn *conn, const Shardd__Hello *hello);
void plan_chunk(struct conn *conn, const Shardd__ListChunk *chunk);
void plan_close(struct conn *conn);
// Who would run what, with `workers` workers: rows to be released by the caller. 0; -1 and *why.
int plan_rows(struct conn *conn, uint32_t workers, struct rows *rows, const char **why) MUST_CHECK;

#endif
