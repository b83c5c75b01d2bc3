// Reproducible chance for the tests of tests/chaos: a seed gives the same choices on every machine (splitmix64).
#ifndef TESTS_CHAOS_RNG_H
#define TESTS_CHAOS_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
  uint64_t state;  // the seed, at first
};

static inline uint64_t rng_next(struct rng *rng) {
  uint64_t z = (rng->state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

// A number below n, which is not 0.
static inline uint32_t rng_below(struct rng *rng, uint32_t n) {
  return (uint32_t)(rng_next(rng) % n);
}

static inline bool rng_one_in(struct rng *rng, uint32_t n) {
  return rng_below(rng, n) == 0;
}

#endif
