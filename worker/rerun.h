// Tests in a given order on this machine, by the runners of `shard run`, without a server. Used by replay.c and
// bisect.c.
#ifndef WORKER_RERUN_H
#define WORKER_RERUN_H

#include "worker/options.h"
#include "worker/runner.h"

struct rerun_test {
  const char *id, *file;      // file NULL: none; they live as long as the call
  enum runner_status status;  // 0: it was not run
  bool gone;                  // it is not in this checkout's list
};

// Runs the tests in their order, in one run of the command, and fills in their status. `silent` throws away what the
// command writes to standard output. EXIT_OK when the runner came to its end, whatever the tests said; else an exit
// code, and what went wrong was printed.
int rerun_tests(const struct options *options, char *const *command, struct rerun_test *tests, size_t count,
                bool silent) MUST_CHECK;

#endif
