// How long will it take? Pure arithmetic of the duration estimator (scheduling notes, docs/architecture.md
// "Estimates"). Called when a list arrives (expectations of its tests) and by the store when a build closes (learning).
// A ring keeps the last ESTIMATE_RING durations of deciding, passing attempts, in microseconds.
#ifndef SERVER_ESTIMATE_H
#define SERVER_ESTIMATE_H

#include "config/base.h"

enum { ESTIMATE_RING = 8, ESTIMATE_WINDOW = 5, ESTIMATE_RECENT = 3, ESTIMATE_STEP_US = 500000 };

// What is remembered of one test. Zeroed: never seen.
struct estimate_history {
  uint32_t n;                 // durations ever learned; the ring holds the last min(n, ESTIMATE_RING)
  float ring[ESTIMATE_RING];  // duration number i stands at i % ESTIMATE_RING; µs
  float setup_us;             // usual set-up, without what a file or a process costs at its start
};

// Adds one observation: `usual` durations of a test that was neither first in its file nor in its process pass setup_us
// as measured and first = false. With first = true the measured set-up belongs to the file or the process: the test's
// usual set-up stands in for it. Returns the excess set-up in µs, which is what the file's set-up cost (0 when not
// first).
uint64_t estimate_learn(struct estimate_history *history, uint64_t setup_us, uint64_t call_us, uint64_t teardown_us,
                        bool first);

// A file's set-up cost after another observation: exponentially weighted, ½ old + ½ new; old 0 counts as unknown.
uint64_t estimate_file_setup(uint64_t old_us, uint64_t seen_us);

// ½ (last + median of the last 5) in µs; 0 when never seen.
uint64_t estimate_expected(const struct estimate_history *history);
// The longest of the ring in µs (stands for the 95th percentile of 8 values); 0 when never seen.
uint64_t estimate_high(const struct estimate_history *history);

// Has it become slower? The last three durations against the five before: their median is more than 1.5 times the
// earlier one and at least half a second more, and even the shortest of them more than 1.3 times. Fills *before_us and
// *after_us, the medians, once the ring is full, which it must be.
bool estimate_slower(const struct estimate_history *history, uint64_t *before_us, uint64_t *after_us);
// The median of the last three durations: what a test that became slower takes now. 0 when fewer are known.
uint64_t estimate_recent(const struct estimate_history *history);

// Median of n values, which are reordered; 0 when n = 0. The upper of the two middle values for even n.
uint64_t estimate_median(uint64_t *values, size_t n);

// Fills the expectations of a whole list. For tests never seen: the median of the seen ones of the same file, else the
// suite's mean, else ESTIMATE_DEFAULT_US; their order key is at least the suite's 95th percentile, so that the unknown
// come early (a fast test early costs nothing, a slow one late costs the makespan).
enum { ESTIMATE_DEFAULT_US = 100000 };
struct estimate_out {
  uint64_t expected_us;  // e
  uint64_t order_us;     // o: the key by which long tests go first
};
void estimate_list(const struct estimate_history *history, const uint32_t *file_of, size_t count, size_t file_count,
                   struct estimate_out *out);

#endif
