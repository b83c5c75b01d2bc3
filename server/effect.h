// What the core wants done. The queue never sends or writes: each call appends effects, and its caller (deliver.c)
// performs them: messages to workers, records to the store.
#ifndef SERVER_EFFECT_H
#define SERVER_EFFECT_H

#include "config/base.h"
#include "server/limits.h"

enum effect_kind {
  EFFECT_LEASE,    // grant: worker, lease, tests
  EFFECT_PARK,     // nothing for now: worker
  EFFECT_DRAIN,    // no more for this worker: worker, reason
  EFFECT_REVOKE,   // a lease is no longer the worker's: worker, lease
  EFFECT_RECALL,   // another worker would do these sooner: worker, lease, tests
  EFFECT_STATE,    // the build's state changed
  EFFECT_RESULT,   // a result that stands for vanished workers: test, worker, lost_by
  EFFECT_ROUND,    // verdicts of sick workers are given back: tests, round
  EFFECT_CLEARED,  // a fact that a worker left behind is cleared: worker, round
};

// The numbers of DrainReason in shardd.proto (asserted in deliver.c).
enum effect_drain {
  EFFECT_DRAIN_SETTLED = 1,
  EFFECT_DRAIN_LINGER,
  EFFECT_DRAIN_MAX_FAILURES,
  EFFECT_DRAIN_LATE,
  EFFECT_DRAIN_FENCED,
  EFFECT_DRAIN_FEW,
};

struct effect {
  enum effect_kind kind;
  uint32_t worker;
  uint32_t test;                     // RESULT
  uint32_t attempt;                  // RESULT
  uint32_t round;                    // RESULT, ROUND, CLEARED
  uint32_t lost_by[LIMIT_LOST - 1];  // RESULT: those that vanished before `worker`
  enum effect_drain reason;          // DRAIN
  uint64_t lease;                    // LEASE, REVOKE, RECALL
  uint32_t *tests;                   // LEASE, RECALL, ROUND: positions, owned by the effect
  uint32_t count;
};

struct effects {
  struct effect *item;
  size_t count, room;
};

// Appends; takes over effect.tests.
void effects_add(struct effects *effects, struct effect effect);
// Forgets all; effects_release also frees the array.
void effects_clear(struct effects *effects);
void effects_release(struct effects *effects);

#endif
