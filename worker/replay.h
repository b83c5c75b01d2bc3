// `shard replay`: the order in which a worker ran its tests, printed or run again on this machine.
#ifndef WORKER_REPLAY_H
#define WORKER_REPLAY_H

#include "worker/options.h"

int replay_main(struct options *options, char **words, size_t count, char **command);

#endif
