// Shared by the targets of the two result readers: what they find goes to the matcher of the command runner, which must
// hold for any rows.
#ifndef TESTS_FUZZ_FUZZ_RESULTS_H
#define TESTS_FUZZ_FUZZ_RESULTS_H

#include "tests/fuzz/fuzz.h"
#include "worker/command_results.h"
#include "worker/excerpt.h"

static const char *const fuzz_ids[] = {"a.py::test_a", "b", "tests/a.py::K::t[x::y]", "adds"};

static inline void fuzz_settle(struct command_results *results, bool in_order) {
  char text[200];
  command_results_settle(results, in_order);
  for (size_t i = 0; i < COUNT_OF(fuzz_ids); i++) {
    struct command_outcome outcome = command_results_get(results, i);
    FUZZ_CHECK(!outcome.known || (outcome.status >= RUNNER_PASSED && outcome.status <= RUNNER_TIMED_OUT));
    FUZZ_CHECK(outcome.text != NULL && outcome.text_bytes <= EXCERPT_TEXT_MAX_BYTES);
  }
  FUZZ_CHECK(strlen(command_results_describe(results, text, sizeof text)) < sizeof text);
  command_results_free(results);
}

#endif
