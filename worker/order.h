// What ran in a build, and in which order on each of its workers: known from the start times of its attempts. Used by
// replay.c and bisect.c. Knows nothing of how tests are run.
#ifndef WORKER_ORDER_H
#define WORKER_ORDER_H

#include "worker/options.h"

struct order_test {
  char *id, *file;                     // file NULL: none
  uint32_t worker, attempt, position;  // position: in collection order
  uint64_t start_ms;
  bool failed;
};

struct order {
  struct order_test *test;
  size_t count, room;
};

// Every attempt of a build whose worker told of it, sorted by worker and start; tests that began in the same
// millisecond of one worker stand in collection order. An exit code; what went wrong was printed. The caller releases
// it in any case.
int order_fetch(struct order *order, const struct options *options, const char *build) MUST_CHECK;
void order_release(struct order *order);

// Keeps one worker's attempts. 0; -1: it ran nothing.
int order_keep_worker(struct order *order, uint64_t worker) MUST_CHECK;
// Drops what came behind the last attempt of a test; with `failed`, behind its last failing one. 0; -1: there is none.
int order_keep_until(struct order *order, const char *id, bool failed) MUST_CHECK;
// The last failing attempt of a test on any worker; NULL: none.
const struct order_test *order_last_failure(const struct order *order, const char *id);

#endif
