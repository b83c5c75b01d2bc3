// Results on their way: kept from the moment the runner told them until the server has them on disk. Rows are gathered
// into Results messages (one lease each), which keep their number when they are sent again after a lost connection.
// Used by run.c; knows no connection.
#ifndef WORKER_SPOOL_H
#define WORKER_SPOOL_H

#include "worker/runner.h"

enum {
  SPOOL_ROWS_MAX = 500,               // of a message
  SPOOL_TEXT_MAX_BYTES = 512 * 1024,  // of a message
};

struct spool;

struct spool *spool_new(void);
void spool_free(struct spool *spool);

// Adds a result of test `number` under `lease`. Returns the number of the message it will go out in.
uint64_t spool_add(struct spool *spool, uint64_t lease, uint32_t number, const struct runner_result *result);
// Ends the message being gathered, so that it can be sent.
void spool_close(struct spool *spool);
// The next message that was not sent on this connection, packed with its header, or NULL; marks it sent. Lives until it
// is acknowledged.
const uint8_t *spool_next(struct spool *spool, size_t *n);
// A new connection: everything not acknowledged is to be sent again.
void spool_rewind(struct spool *spool);
// The server has every message up to `seq` on disk.
void spool_ack(struct spool *spool, uint64_t seq);
// Nothing is unsent or unacknowledged.
bool spool_empty(const struct spool *spool);
size_t spool_rows(const struct spool *spool);    // not acknowledged
uint64_t spool_last(const struct spool *spool);  // number of the newest message; 0: there was none

#endif
