// How long a process of the command runner may run, from the limits of the tests in it, and the words for a process
// that ran longer. Pure: no clock, no process.
#ifndef WORKER_COMMAND_LIMIT_H
#define WORKER_COMMAND_LIMIT_H

#include "worker/runner.h"

enum {
  COMMAND_LIMIT_TIMES = 20,  // times what the tests are expected to take; a test's own default limit has as many
  COMMAND_LIMIT_LONGER = 3,  // times the default limit that ended a process, when its tests run together once more
  COMMAND_LIMIT_TEXT_BYTES = 200,
};

struct command_limit {
  uint64_t us;   // 0: none
  bool guessed;  // a default: the user set no limit, and what it ends must run again before that counts
  bool summed;   // the limits of the tests added up
};

// The limit of a process that runs these tests. With --timeout-per-test it is the sum of their limits. A sum of default
// limits, each at least some minutes, would let a hang last for hours: there it is the longest of them plus
// COMMAND_LIMIT_TIMES what all are expected to take, and never more than the sum. None when a test has no limit.
// `tests[at[i]]`, count of them.
struct command_limit command_limit_of(const struct runner_test *tests, const size_t *at, size_t count);

// Why a process was ended: the limit that it ran over, and where that comes from.
void command_limit_text(const struct command_limit *limit, char text[COMMAND_LIMIT_TEXT_BYTES]);

#endif
