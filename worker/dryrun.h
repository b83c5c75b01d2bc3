// `shard local --dry-run`: collects, asks the server who would run what, prints it, runs nothing. Called by run.c when
// local.c has set SHARD_PLAN to the number of workers.
#ifndef WORKER_DRYRUN_H
#define WORKER_DRYRUN_H

#include "worker/options.h"

int dryrun_main(const struct options *options, char **command, const char *workers);

#endif
