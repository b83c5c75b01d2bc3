// A tape of choices: all chance of a simulated build. A fresh tape draws from a seed and records what it drew; a
// replayed one says the same again, and zeros behind its end. Zero is always the plainest choice, so that a tape with
// bytes taken out or zeroed is a simpler run. Used by the simulator (sim.h) and by shrink.c.
#ifndef TESTS_SIM_TAPE_H
#define TESTS_SIM_TAPE_H

#include <stdio.h>

#include "config/base.h"
#include "tests/chaos/rng.h"

enum { TAPE_MAX = 1 << 16 };

struct tape {
  uint8_t byte[TAPE_MAX];
  uint32_t count, at;
  bool fresh;
  struct rng rng;
};

void tape_begin(struct tape *tape, uint64_t seed);
void tape_rewind(struct tape *tape);  // from now on it is replayed
// Below n, which is 1 to 65536; one byte of tape when n is at most 256, else two.
uint32_t tape_choose(struct tape *tape, uint32_t n);
// Nothing was recorded from here on.
bool tape_over(const struct tape *tape);
// In hexadecimal, 32 bytes a line; a line that begins with # is a note. -1: not readable, or no tape.
int tape_read(struct tape *tape, FILE *in) MUST_CHECK;
int tape_write(const struct tape *tape, const char *note, FILE *out) MUST_CHECK;

#endif
