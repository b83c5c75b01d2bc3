// `shard plan`: how long a suite would take on 1 to 64 workers, what bounds it, and how many are worth paying for.
// Called by main.c; returns its exit code and prints what went wrong itself.
#ifndef WORKER_PLAN_H
#define WORKER_PLAN_H

#include "worker/options.h"

int plan_main(struct options *options, char **words, size_t count, char **command);

#endif
