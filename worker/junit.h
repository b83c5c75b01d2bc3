// Reads JUnit XML as its many producers write it: either root, suites nested in suites, no classname, a status by child
// element or by attribute. Elements are counted, never the "tests" attribute. Used by the command runner; knows nothing
// of the tests that were asked for. Bounds: 64 MiB, depth 64, no DOCTYPE. Characters and references that XML does not
// allow are replaced and counted (xmltext.h), and times beyond worker/limits.h are none.
#ifndef WORKER_JUNIT_H
#define WORKER_JUNIT_H

#include "config/base.h"

enum { JUNIT_MAX_BYTES = 64 * 1024 * 1024, JUNIT_MAX_DEPTH = 64, JUNIT_WHY_BYTES = 256 };
enum { JUNIT_XML_MAX_BYTES = 3 * JUNIT_MAX_BYTES };  // a byte that is not UTF-8 becomes three

enum junit_status { JUNIT_PASSED, JUNIT_SKIPPED, JUNIT_FAILED, JUNIT_ERROR };

struct junit_case {
  const char *suite;           // name of the innermost suite; "" where it has none
  const char *classname;       // "" where there is none
  const char *name;            // NULL: not a test but an error of the suite, or errors that it counts and does not show
  const char *file;            // of the test, else of the nearest suite that has one; "" where none has
  const char *id;              // the test's id, in reports of shard; "" in all others
  bool has_time, odd_time;     // odd: time="…" is not a time from 0 to a week
  uint64_t time_us, comma_us;  // as struct seconds has them (seconds.h)
  enum junit_status status;
  bool not_run;         // status="notrun", by a tool that has no attribute "result" (ctest)
  const char *message;  // of the failure, error or skip; "" where there is none
  const char *text;     // what it says, then the captured output; at most EXCERPT_TEXT_MAX_BYTES
  size_t text_bytes;
};

// What is known at the end of a document.
struct junit_notes {
  bool decimal_comma;          // comma_us of the cases counts, not time_us
  char lost[JUNIT_WHY_BYTES];  // what could not be read; "": nothing
};

struct junit;

// on_case comes for each test when its element ends; what it is given lives until it returns.
struct junit *junit_new(void (*on_case)(void *arg, const struct junit_case *testcase), void *arg);
void junit_free(struct junit *reader);
// Feeds the next bytes, `last` with the end of the document. 0; -1 when the document is broken or passes a bound: what
// and where is in junit_why. Cases that were complete before have been given.
int junit_feed(struct junit *reader, const char *bytes, size_t n, bool last) MUST_CHECK;
const char *junit_why(const struct junit *reader);
struct junit_notes junit_notes(const struct junit *reader);
// The whole of a file; -1 also when it cannot be read, with the path in why. *notes is set in any case.
int junit_read_file(const char *path, void (*on_case)(void *arg, const struct junit_case *testcase), void *arg,
                    struct junit_notes *notes, char *why, size_t why_size) MUST_CHECK;

// How pytest names a test in its own reports, used for any id with "::": "tests/a.py::K::t[x::y]" is name "t[x::y]" in
// class "tests.a.K". An id without "::" is a name without a class (""). The caller frees both.
void junit_split_id(const char *id, char **classname, char **name);

#endif
