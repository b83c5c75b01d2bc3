// Writes the merged JUnit report of a build: one <testcase> per test with its final status, earlier attempts as flaky
// or rerun elements, in one <testsuite> per configured suite whose name holds neither node nor time, so that CIs
// recognise a test from build to build. Used by `shard report`; knows nothing of the server: it is fed test by test.
#ifndef WORKER_JUNIT_WRITE_H
#define WORKER_JUNIT_WRITE_H

#include <stdio.h>

#include "worker/runner.h"

enum {
  JUNIT_WRITE_TEXT_MAX_BYTES = 64 * 1024,  // of all attempts of a test together
  JUNIT_WRITE_NOTES = 16,
};

struct junit_write_attempt {
  enum runner_status status;
  const char *node;      // who ran it; NULL or "": unknown
  uint64_t duration_us;  // set-up, call and teardown
  const char *text;      // failure output or reason; NULL: none
  size_t text_bytes;
};

struct junit_write_case {
  const char *id;
  const char *file;                            // NULL: none
  const struct junit_write_attempt *attempts;  // oldest first; the last decides
  size_t attempt_count;                        // 0: the test is missing, an error of the infrastructure
  bool muted;                                  // it failed and that does not count: written as skipped
  bool outside;                                // no test, but an error outside of any
};

struct junit_write;

// A report of `suite`, written to out by junit_write_finish (counts come first in the document; until then tests are in
// a temporary file). NULL and a message when there is no temporary file.
struct junit_write *junit_write_new(FILE *out, const char *suite, const char *hostname, uint64_t start_us, char *why,
                                    size_t why_size);
void junit_write_case(struct junit_write *writer, const struct junit_write_case *testcase);
// A line about the build as a whole: the property "shardd.note" of the suite. `line` lives until the document is
// written. Of more than JUNIT_WRITE_NOTES the rest is left out.
void junit_write_note(struct junit_write *writer, const char *line);
// Writes the document and frees the writer. 0; -1 and a message when writing failed (out is incomplete).
int junit_write_finish(struct junit_write *writer, char *why, size_t why_size) MUST_CHECK;
// Ends without a document.
void junit_write_abandon(struct junit_write *writer);

#endif
