// How long would a suite take on N workers, and how many are worth it? Pure arithmetic over expected durations; called
// by plan.c for `shard plan`. All times in microseconds.
//
// The finish is a closed formula, so that the question costs one pass over the tests. Its source: measurements of the
// scheduler in virtual time over recorded histories of 14 suites (docs/architecture.md, "Forecast").
//
//   finish(N) = boot + max( (1 + 0.0025 N) (E + S + N s) / N, longest )
//   N_max     = (E + S) / longest, rounded up: more workers cannot be kept busy until the longest has ended
//
// E: the sum of what the tests are expected to take. S: the sum of the files' set-ups, s: their mean (a worker that
// comes to share a file pays its set-up once more). longest: the longest piece that one worker has to do alone, a test,
// or with whole_files a file, with the set-up of its file. boot: what a job costs besides.
#ifndef SERVER_FORECAST_H
#define SERVER_FORECAST_H

#include "config/base.h"

enum {
  FORECAST_WORKERS_MAX = 64,       // N for which the formula was measured
  FORECAST_BOOT_US = 20000000,     // start-up of a CI job of which nothing is known
  FORECAST_EFFICIENT_PPM = 800000  // the knee: the largest N whose efficiency is at least this
};

// Arrays are read during the call only.
struct forecast_suite {
  uint32_t count, file_count;
  const uint32_t *file_of;  // a number from file_count up: no file
  const uint64_t *expected_us;
  const uint64_t *file_setup_us;  // NULL: none
  bool whole_files;
};

// What one worker has to do alone.
struct forecast_piece {
  uint64_t us;      // its file's set-up included; 0: there is no such piece
  uint64_t own_us;  // without the set-up
  uint32_t index;   // position of the test, or with whole_files of the first test of the file
};

struct forecast {
  uint32_t count, file_count;
  uint64_t work_us, setup_us;           // E, S
  struct forecast_piece longest, next;  // next: the longest of the others
};

// Sums up a suite.
void forecast_init(struct forecast *forecast, const struct forecast_suite *suite);

// The formula; workers at least 1.
uint64_t forecast_finish_us(const struct forecast *forecast, uint32_t workers, uint64_t boot_us);

// N_max for the piece that is longest now, or will be when that one is split: at least 1.
uint32_t forecast_n_max(const struct forecast *forecast, const struct forecast_piece *piece);
// In how many parts the longest piece must be split to be no longer than the next: at least 2; 0: splitting it alone
// gains nothing, or there is no next.
uint32_t forecast_parts(const struct forecast *forecast);

// Predicted finishes by number of workers, from the formula or from a simulation. 0: not asked.
struct forecast_curve {
  uint64_t finish_us[FORECAST_WORKERS_MAX + 1];
};

// Machine time of N workers until the finish: N × finish(N).
uint64_t forecast_machine_us(const struct forecast_curve *curve, uint32_t workers);
// finish(1) ÷ machine time, in millionths, at most 1,000,000: the share of it that one worker would need too. 0 when
// either is not known.
uint32_t forecast_efficiency_ppm(const struct forecast_curve *curve, uint32_t workers);
// The largest number of workers with FORECAST_EFFICIENT_PPM; 1 when only that is known.
uint32_t forecast_knee(const struct forecast_curve *curve);
// The number to take: the smallest that ends within 1 % of what the knee does, and no more than n_max.
uint32_t forecast_advice(const struct forecast_curve *curve, uint32_t n_max);
// The smallest number that ends within target_us; 0: none does.
uint32_t forecast_within(const struct forecast_curve *curve, uint64_t target_us);

#endif
