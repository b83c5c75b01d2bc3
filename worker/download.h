// The build's list on its way to a worker that has not collected: it comes in chunks, one for each request. Used by
// run_lazy.c; knows messages, no connection.
#ifndef WORKER_DOWNLOAD_H
#define WORKER_DOWNLOAD_H

#include "proto/msg.h"
#include "worker/testlist.h"

struct download;

struct download *download_new(void);
void download_free(struct download *download);

// Says in the request what is here already.
void download_request(const struct download *download, Shardd__ListRequest *request);
// Takes a chunk. 0: more follow; 1: that was the last; -1: it makes no sense, nothing can be made of the list.
int download_chunk(struct download *download, const Shardd__ListChunk *chunk) MUST_CHECK;
// The list, sealed, after the last chunk; the caller's.
struct testlist *download_take(struct download *download);

#endif
