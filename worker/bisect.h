// `shard bisect`: which of the tests that ran before it makes a test fail.
#ifndef WORKER_BISECT_H
#define WORKER_BISECT_H

#include "worker/options.h"

int bisect_main(struct options *options, char **words, size_t count, char **command);

#endif
