// Two jobs of a build that go by one number. At work together they would be taken for one job and its re-run; without
// the server both run the same part of the list, and another part never runs. Called by session.c, recover.c, deliver.c
// and query.c. It must not know which tests a part holds.
#ifndef SERVER_TWIN_H
#define SERVER_TWIN_H

#include "proto/msg.h"
#include "server/build.h"

struct server;

// Whether a new worker may join. Not while another one with its number (Hello.numbered) is at work: its connection gets
// ERROR_DIFFERS, which names both, when the other is known to live; until that is known ERROR_BUSY, and it comes again.
// One that left, lost its connection, or was silent for a lease-ttl may have a successor.
bool twin_hello(struct server *server, struct build *build, struct conn *conn, const Shardd__Hello *hello);

// What a session that brings results ran without the server: this part, from 1, of so many; 0: no fixed part. Its token
// is set: results that are brought again are no second job's.
void twin_part(struct session *session, uint32_t part, uint32_t parts);

// Why the parts of the build are not the list, for people, as long as tests have no verdict: of this session's with an
// earlier one's; NULL for any two. NULL: nothing is known against them. The caller frees the text.
char *twin_tell(const struct build *build, const struct session *session);

void twin_free(struct twin *twin);

#endif
