// The shipped queue and scheduler in virtual time over a suite, and the bound that no schedule beats. Owned by
// makespan.c and its like.
#ifndef BENCH_VIRTUAL_H
#define BENCH_VIRTUAL_H

#include "tests/bench/suites.h"

enum { VIRTUAL_WORKERS_MAX = 64 };
static const uint64_t VIRTUAL_NEVER = UINT64_MAX;

struct machine {
  double speed;  // factor on every duration
  uint64_t join_us, die_us;
  uint64_t start_us;  // of the process for each lease; 0: one process lives on
};

// Makespan in µs that no schedule is below: fluid capacity with every set-up paid once, and the longest test on its
// best machine.
double virtual_bound(const struct suite *suite, const struct machine *machines, uint32_t n);
double virtual_work_us(const struct suite *suite);  // of all tests and set-ups

// Makespan in µs of the real queue with n ≤ VIRTUAL_WORKERS_MAX workers; 5 ms a round trip. Ends the program when the
// queue is stuck.
double virtual_makespan(const struct suite *suite, const struct machine *machines, uint32_t n);

#endif
