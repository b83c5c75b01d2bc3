// Other queues' protocols, as far as the comparison needs them: one operation is "hand out a unit of work and complete
// it". rival.c drives connections through the steps of rival_kinds.c.
#ifndef BENCH_RIVALS_H
#define BENCH_RIVALS_H

#include "tests/bench/bench.h"

enum { RIVAL_REQUEST_MAX = 512, RIVAL_STEPS_MAX = 2 };

struct rival {
  int fd;
  uint32_t number;
  unsigned step;
  char in[4096];
  size_t in_bytes;
  char unit[128];  // what was handed out: a job's number, or the value
  uint64_t asked_us;
  struct rival *next_idle;
};

struct rival_step {
  // Writes the request; returns its length.
  size_t (*request)(const struct rival *rival, char out[RIVAL_REQUEST_MAX]);
  // Looks at what came in. Its length when it is whole, 0 when more must come; ends the program when it is no good.
  size_t (*reply)(struct rival *rival);
};

struct rival_kind {
  const char *name;
  // Fills the queue with `units` of work before the clock starts: one request for each, and its reply; NULL: none.
  struct rival_step fill;
  struct rival_step step[RIVAL_STEPS_MAX];
  unsigned steps;
};

// NULL: no such kind.
const struct rival_kind *rival_kind(const char *name);

#endif
