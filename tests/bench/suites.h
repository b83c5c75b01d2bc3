// Suites for the benchmarks: real timing histories from CSV files and generated ones. Owned by makespan.c and its like.
#ifndef BENCH_SUITES_H
#define BENCH_SUITES_H

#include "server/estimate.h"

struct suite {
  char name[64];
  uint32_t count, file_count;
  uint32_t *file_of, *unit_of;
  uint64_t *actual_us;               // what each test takes this time
  struct estimate_history *history;  // what it took before
  uint64_t *setup_us;                // per file, paid by each worker that enters it
};

// A small generator of repeatable numbers (xorshift64*); never 0.
uint64_t suite_random(uint64_t *state);
double suite_uniform(uint64_t *state);  // in (0, 1)
double suite_normal(uint64_t *state);   // mean 0, deviation 1

// Reads FILE[.gz] with columns file,test,seconds,history or file,test,setup,call,teardown. NULL when it cannot be read
// or a line makes no sense (said on stderr).
struct suite *suite_load(const char *path);
// Lognormal durations with this median and sigma, in files of about `per_file` tests.
struct suite *suite_generate(const char *name, uint32_t count, uint32_t per_file, double median_s, double sigma,
                             uint64_t seed);
void suite_free(struct suite *suite);

// Gives every file a set-up cost: lognormal, this median, this sigma; 0 takes them away.
void suite_set_setups(struct suite *suite, double median_s, double sigma, uint64_t seed);
// Replaces the histories: one past duration each, off by lognormal noise, 5 % of them by a factor of 4, `unknown` never
// seen.
void suite_set_noise(struct suite *suite, double sigma, double unknown, uint64_t seed);

#endif
