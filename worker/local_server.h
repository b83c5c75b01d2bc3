// The private shardd of `shard local` and of `shard plan --simulate`: started on the Unix socket of a local_place,
// ended with its parent. Knows how it is started, not what is asked of it.
#ifndef WORKER_LOCAL_SERVER_H
#define WORKER_LOCAL_SERVER_H

#include "worker/local_place.h"
#include "worker/proc.h"

// Starts it; on_exit is told when it has ended. It listens a few milliseconds later: connect until it answers. NULL and
// a message in why.
struct proc *local_server_start(const struct local_place *place, struct event_base *base,
                                void (*on_exit)(void *arg, int status), void *arg, char *why, size_t why_size);

#endif
