// Brings a build back from the store: the running ones at start, an ended one when a worker or a question asks for it.
// Replays its records through the same functions that live results go through.
#ifndef SERVER_RECOVER_H
#define SERVER_RECOVER_H

#include "server/server.h"

// All builds that had not ended. 0; -1 when the store cannot be read (logged).
int recover_all(struct server *server) MUST_CHECK;
// One build by its id, the one in memory if it is there; NULL when the store cannot be read (logged).
struct build *recover_build(struct server *server, uint64_t id);
// The same for another thread, which looks at it and gives it back (build_free): in a server of its own, of which store
// (a view), settings, hash_seed and now_us are set. NULL as well when the build has not ended for good: then it belongs
// to the loop.
struct build *recover_apart(struct server *apart, uint64_t id);

#endif
