// `shard import`: durations that other tools measured, to the server, so that the first build is balanced.
#ifndef WORKER_IMPORT_H
#define WORKER_IMPORT_H

#include "worker/options.h"

int import_main(struct options *options, char **words, size_t count, char **command);

#endif
