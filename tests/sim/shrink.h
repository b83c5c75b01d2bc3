// Runs builds in child processes, so that whatever breaks leaves the tape behind, and makes a tape that breaks shorter.
// Used by sim.c. The tape and what was found stand in memory shared with the child.
#ifndef TESTS_SIM_SHRINK_H
#define TESTS_SIM_SHRINK_H

#include "tests/sim/sim.h"

enum { SHRINK_NAME_BYTES = 128, SHRINK_TEXT_BYTES = 256 };

struct shrink_found {
  char invariant[SHRINK_NAME_BYTES];  // "": nothing is broken
  char text[SHRINK_TEXT_BYTES];
};

// What a child and its parent share.
struct shrink_run {
  struct tape tape;
  struct sim_counts counts;
  struct shrink_found found;
  uint64_t seed;  // of the build that is or was run
};

struct shrink_run *shrink_new(uint32_t runs);  // shared memory for so many at once; ends the program when there is none
// In a child: builds from seed, seed + stride, …, until `steps` are done or something breaks. Returns its process.
int shrink_start(struct shrink_run *run, uint64_t seed, uint64_t stride, uint64_t steps);
// In a child, waited for: the tape as it is.
void shrink_replay(struct shrink_run *run);
void shrink_wait(struct shrink_run *run, int process);
// Takes from the tape whatever the same invariant breaks without: chunks, then bytes to zero. Returns the tries.
uint32_t shrink_tape(struct shrink_run *run);

#endif
