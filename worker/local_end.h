// The end of a `shard local`: the server's verdict and report, the summary, the exit code. Called by local.c when all
// workers are gone and the private server still runs.
#ifndef WORKER_LOCAL_END_H
#define WORKER_LOCAL_END_H

#include "worker/options.h"

struct local_end {
  const struct options *options;
  const char *address, *build;
  const int *codes;  // exit codes of the workers
  size_t count;
  int signal;  // that ended it; 0: none
};

// Prints the summary, writes --junit, and returns the exit code of the whole.
int local_end_finish(const struct local_end *end);

#endif
