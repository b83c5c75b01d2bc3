// Reads TAP 12 to 14: test points with SKIP and TODO, the plan, "Bail out!", diagnostics and YAML blocks as the text of
// their test; a plan "1..0 # SKIP reason" is one skipped test without a name. UTF-16 and byte order marks are read
// (decode.h); indented subtests are folded into the test they belong to. Used by the command runner on what test tools
// print; knows nothing of the tests that were asked for. Bounds: lines of 64 KiB (the rest of a line is dropped), 64
// MiB.
#ifndef WORKER_TAP_H
#define WORKER_TAP_H

#include "config/base.h"

enum { TAP_MAX_BYTES = 64 * 1024 * 1024, TAP_LINE_MAX_BYTES = 64 * 1024, TAP_MAX_TESTS = 500000, TAP_WHY_BYTES = 256 };

struct tap_case {
  uint32_t place;           // 0-based, by order of appearance
  const char *description;  // without number, dash and directive; "" where there is none
  bool ok, skip, todo;
  const char *reason;  // of the directive; "" where there is none
  bool has_time;
  uint64_t time_us;  // from "duration_ms:" in the YAML block, from 0 to a week
  const char *text;  // diagnostics, at most EXCERPT_TEXT_MAX_BYTES
  size_t text_bytes;
};

struct tap;

// on_case comes when the next test point or the end closes a test; what it is given lives until it returns.
struct tap *tap_new(void (*on_case)(void *arg, const struct tap_case *testcase), void *arg);
void tap_free(struct tap *reader);
void tap_feed(struct tap *reader, const char *bytes, size_t n);
// The end of the stream. 0 when the plan was there and kept; -1 otherwise (no plan, more or fewer tests than planned, a
// number that is repeated, 0 or beyond the plan, bailed out, a bound passed): what is wrong is in tap_why. The tests
// that were seen have been given in any case.
int tap_finish(struct tap *reader) MUST_CHECK;
const char *tap_why(const struct tap *reader);
// The whole of a file; -1 also when it cannot be read, with the path in why.
int tap_read_file(const char *path, void (*on_case)(void *arg, const struct tap_case *testcase), void *arg, char *why,
                  size_t why_size) MUST_CHECK;

#endif
