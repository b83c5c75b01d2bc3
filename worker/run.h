// `shard run`: a worker. Lists, leases, runs, reports, until the queue is drained. Called by main.c.
#ifndef WORKER_RUN_H
#define WORKER_RUN_H

#include "worker/options.h"

// Runs the subcommand; returns the exit code of DESIGN 2.
int run_main(struct options *options, char **words, size_t count, char **command);

#endif
