// The end of a build in words: counts as pytest words them, each failing test with its output, flaky and missing ones,
// how well the work was spread, the slowest tests. Printed by local.c and `shard report` from a build's cases.
#ifndef WORKER_SUMMARY_H
#define WORKER_SUMMARY_H

#include <stdio.h>

#include "worker/cases.h"
#include "worker/spans.h"

enum { SUMMARY_OUTPUTS_MAX = 50, SUMMARY_NAMES_MAX = 20, SUMMARY_SLOWEST = 5 };

struct summary {
  size_t total, missing, flaky, failing, muted;
  size_t by_status[RUNNER_TIMED_OUT + 1];  // of the attempts that settled, without muted ones
  uint64_t first_start_ms;                 // wall clock of the first attempt; 0: there was none
  struct spans spans;                      // as the server told them
  // Like with like: test time alone, without start-ups, of the same attempts. Both 0 where that cannot be compared: one
  // worker, or several rounds.
  uint64_t busiest_us;  // of the worker that had most of it
  uint64_t static_us;   // of the slowest of as many contiguous parts with equally many tests
};

// Counts. `spans` NULL: not known.
void summary_count(struct summary *summary, const struct cases *cases, const struct spans *spans);

// Called before and behind the output of a failing test.
typedef void summary_fold(FILE *out, const struct cases_case *item, bool begin);

struct summary_look {
  bool color;
  bool failures_only;  // no schedule, no slowest tests
  bool plain_heads;    // a line of a test that begins as Buildkite's headings do is set in by a space
  summary_fold *fold;  // NULL: nothing around outputs
};

// Prints all of it, the notes among it, the line of counts last. Names and outputs are made safe to show.
void summary_print(FILE *out, const struct cases *cases, const struct summary *summary,
                   const struct summary_look *look);

// " in 5m12s", the wall time, for behind that line; "" where it is not known. The caller frees it.
char *summary_took(const struct summary *summary);

// "5100 passed (2 flaky), 3 failed, 22 skipped, 1 xfailed", "no tests"; the caller frees it.
char *summary_line(const struct summary *summary);

#endif
