// The care of the server's database: `shard backup`, `shard check`, and the sizes that `shard status` shows.
#ifndef WORKER_UPKEEP_H
#define WORKER_UPKEEP_H

#include "worker/options.h"

int upkeep_backup(struct options *options, char **words, size_t count, char **command);
int upkeep_check(struct options *options, char **words, size_t count, char **command);

// Prints what the database takes and what it keeps, a line each. An exit code.
int upkeep_sizes(const struct options *options) MUST_CHECK;

#endif
