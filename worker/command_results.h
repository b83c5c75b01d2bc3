// Finds, for each test of a batch, its row among what a test command reported as JUnit XML or TAP. Used by the command
// runner. A row belongs to a test when exactly one test of the batch can be meant; rows of other tests are ignored, a
// test may have several rows (a file with many cases): the worst counts, durations add up.
#ifndef WORKER_COMMAND_RESULTS_H
#define WORKER_COMMAND_RESULTS_H

#include "worker/junit.h"
#include "worker/runner.h"
#include "worker/tap.h"

struct command_results;

struct command_outcome {
  bool known;  // false: no row
  bool named;  // a row has the test's own name: it is whole. False: the rows are cases in it, and more may be missing
  enum runner_status status;
  bool has_time;
  uint64_t time_us;
  const char *text;  // lives as long as the results; "" where there is none
  size_t text_bytes;
};

// Keeps copies of the ids. Paths in rows are compared as the working folder sees them (here.h).
struct command_results *command_results_new(const char *const *ids, size_t count);
void command_results_free(struct command_results *results);

// Rows, as callbacks of the readers; arg is the struct command_results.
void command_results_on_junit(void *arg, const struct junit_case *testcase);
void command_results_on_tap(void *arg, const struct tap_case *testcase);
// The document writes decimal commas (junit_notes): its times are read so.
void command_results_decimal_comma(struct command_results *results);
// After the last row. TAP rows belong by description. Where no description is an id they belong to the test that was
// alone; with in_order, and as many rows as tests, to the tests in their order.
void command_results_settle(struct command_results *results, bool in_order);
// The first failing row of no test of this batch, or error of a suite: its name or message; NULL: none.
const char *command_results_stray(const struct command_results *results);

struct command_outcome command_results_get(const struct command_results *results, size_t test);
// What the rows were, for messages: "12 rows, 2 of them of no test of this batch (the first: 'x')"; returns out.
const char *command_results_describe(const struct command_results *results, char *out, size_t out_size);

#endif
