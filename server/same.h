// What makes workers of one build the same: its commit, and the facts of its environment. The first worker that tells
// one decides, the others are compared with it; a mixture has to be asked for. Called by session.c and recover.c.
// Comparing is pure; what is new of a build goes to the store.
#ifndef SERVER_SAME_H
#define SERVER_SAME_H

#include "proto/msg.h"
#include "server/build.h"

struct server;

// Whether two names of commits may be the same one's: equal, a short one of at least 7 hex digits that the other begins
// with, or one of them unknown ("").
bool same_commit(const char *a, const char *b);

// Whether two values of a fact are the same but for what may differ from node to node (MSG_FACT_OWN_BEGINS).
bool same_value(const char *a, const char *b);

// Whether a worker that says this hello may join or come back; what it tells first becomes the build's. False: its
// connection was told the difference (ERROR_DIFFERS) and closes.
bool same_hello(struct server *server, struct build *build, struct conn *conn, const Shardd__Hello *hello);

// The same for facts that come later; NULL: none.
bool same_facts(struct server *server, struct build *build, struct conn *conn, const Shardd__Facts *facts);

// The list of this worker is the build's by now: so are its files of tests, unless others are known.
void same_learn_sources(struct server *server, const struct session *session);
// Whether a worker that has not collected looked through the very files that the build's list is of.
bool same_sources(const struct session *session);
// What a worker says of its files of tests.
void same_take_sources(struct session *session, const ProtobufCBinaryData *sources);

// From the store's text, a line NAME=VALUE each.
void same_restore(struct build *build, const char *facts);
void same_release(struct build *build);

#endif
