// The cases of a build: the attempts of QUERY_REPORT, row by row, folded into one case per test with its verdict. Fed
// by report.c and local.c page by page; read by summary.c and the JUnit report. Knows neither files nor connections.
#ifndef WORKER_CASES_H
#define WORKER_CASES_H

#include "worker/answer.h"
#include "worker/runner.h"

struct cases_attempt {
  enum runner_status status;
  uint32_t worker, round;
  char *node, *host;  // "": unknown
  uint64_t start_ms;  // wall clock, since the epoch
  uint64_t setup_us, call_us, teardown_us;
  char *text;  // failure output or reason; NULL: none
  size_t text_bytes;
};

enum cases_verdict { CASES_MISSING, CASES_PASSED, CASES_FLAKY, CASES_FAILED, CASES_SKIPPED, CASES_MUTED };

// Attempts that count, oldest first; when the verdict is not CASES_MISSING the last one settled it. What came after the
// verdict, and what was lost with its worker, is left out.
struct cases_case {
  char *id, *file;  // file: NULL: none
  enum cases_verdict verdict;
  bool settled, muted;  // muted: a failing end does not count
  bool outside;         // no test, but an error outside of any
  struct cases_attempt *attempt;
  size_t attempt_count;
};

struct cases {
  struct cases_case *item;  // collection order
  size_t count, room;
  char **note;  // lines about the build as a whole, as they came: whoever shows them makes them safe
  size_t note_count;
};

void cases_init(struct cases *cases);
void cases_release(struct cases *cases);

// Appends a page. The rows of a test stand together, its attempts in order. 0; -1 and *why (constant text) when columns
// are missing or a cell is no such thing.
int cases_add(struct cases *cases, const struct answer *page, const char **why) MUST_CHECK;

// Appends what went wrong outside of any test (QUERY_ERRORS) and still stands: for each worker a case that failed with
// an error, and is no test. 0; -1 and *why as above.
int cases_add_errors(struct cases *cases, const struct answer *answer, const char **why) MUST_CHECK;

// Appends a line, which it owns from then on.
void cases_note(struct cases *cases, char *line);

// How many attempts tried the test: a skip that was followed by another attempt is none of them.
size_t cases_tries(const struct cases_case *item);
// The attempt that settled the verdict; NULL: missing.
const struct cases_attempt *cases_final(const struct cases_case *item);
uint64_t cases_duration_us(const struct cases_attempt *attempt);  // set-up, call and teardown
bool cases_bad(enum runner_status status);                        // failed, error, crashed, timed out
const char *cases_status_name(enum runner_status status);         // "passed", "timed out"

#endif
