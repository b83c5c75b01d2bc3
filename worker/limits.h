// The bounds of every number that comes into the worker from a file or a test tool: JUnit's time=, TAP's duration_ms,
// .test_durations, CSV. What is beyond them is left out where it enters. Wire bounds: proto/msg.h; the daemon's:
// server/limits.h.
#ifndef WORKER_LIMITS_H
#define WORKER_LIMITS_H

#include "config/base.h"
#include "proto/msg.h"

#define LIMIT_TEST_US MSG_EXPECTED_MAX_US  // time of one test: from 0 to a week
#define LIMIT_TEST_TEXT "from 0 seconds to a week"

enum {
  LIMIT_NUMBER_BYTES = 64,  // a number as text
  LIMIT_WHY_BYTES = 600,    // why a row was left out
};

#endif
