// What the tests of one process took: the time that the process spent, shared out over its tests. Used by the command
// runner; pure. The times that a tool reports leave out what lies between them (loading a file, the hooks around a
// test), so their sum is scaled to the time of the process without its start-up. What the start-up takes is learned
// from processes with different numbers of tests: what grows with the number belongs to the tests, the rest is the
// start's. Until two numbers were seen the tests are charged with all of it.
#ifndef WORKER_COMMAND_SHARE_H
#define WORKER_COMMAND_SHARE_H

#include "config/base.h"

// Of the processes so far: their number, their tests, and what they took beyond the times of their rows.
struct command_share {
  double processes, tests, squares, beyond, products;
  uint64_t least_us;  // the least that a process took beyond its rows
};

// A process of `tests` tests took wall_us, of which its rows claim rows_us.
void command_share_learn(struct command_share *share, size_t tests, uint64_t wall_us, uint64_t rows_us);
// What a process costs before its first test; 0: not known, or nothing.
uint64_t command_share_start_us(const struct command_share *share);
// The same for the scheduler, which sizes leases by it: while it is not known, all that processes took beyond their
// rows. 0: no process was seen.
uint64_t command_share_cost_us(const struct command_share *share);
// Turns the rows' times into shares of wall_us less start_us, in proportion. A row without a time (UINT64_MAX) counts
// as the mean of the others.
void command_share_out(uint64_t *times_us, size_t count, uint64_t wall_us, uint64_t start_us);

#endif
