// What a runner is to the worker: something that lists tests and runs those it is given, in order, and tells of each.
// run.c drives it and knows no runner by name but through the table in runner.c; a runner knows nothing of the server.
// All callbacks come from the worker's libevent loop.
#ifndef WORKER_RUNNER_H
#define WORKER_RUNNER_H

#include <event2/event.h>

#include "config/base.h"
#include "worker/testlist.h"

// The numbers of Status in shardd.proto (asserted in run.c).
enum runner_status {
  RUNNER_PASSED = 1,
  RUNNER_FAILED,
  RUNNER_ERROR,
  RUNNER_SKIPPED,
  RUNNER_XFAILED,
  RUNNER_XPASSED,
  RUNNER_CRASHED,
  RUNNER_TIMED_OUT,
};

struct runner_result {
  uint32_t tag;  // as given in runner_test
  enum runner_status status;
  uint64_t start_us;  // wall clock since the epoch, when the test began
  uint64_t setup_us, call_us, teardown_us;
  bool first;        // the first test of its process: its set-up holds the process's own start
  const char *text;  // failure output, UTF-8 or not; NULL: none
  size_t text_bytes;
};

enum runner_end_kind {
  RUNNER_END_OK,       // finished as asked, or by its own option (-x) with every begun test reported
  RUNNER_END_STOPPED,  // stopped early by its own option (-x, --maxfail)
  RUNNER_END_EMPTY,    // collected no tests
  RUNNER_END_USAGE,    // the command line or configuration is wrong: exit 2
  RUNNER_END_FAILED,   // cannot go on: exit 16
};

struct runner_end {
  enum runner_end_kind kind;
  int exit_code;            // of the test process, or -1
  const char *why;          // for people; NULL when OK
  const char *const *late;  // errors that belong to no running test
  size_t late_count;
};

struct runner_events {
  // The list is complete and sealed; the worker takes it over. Never called when the list was not asked for.
  void (*on_listed)(void *arg, struct testlist *list);
  // The test is in the test process's hands: before any of its code runs. A runner that gives a process many tests at
  // once tells of all of them when it starts, and again when some of them need another process before their result.
  void (*on_started)(void *arg, uint32_t tag);
  void (*on_result)(void *arg, const struct runner_result *result);
  // Wants more tests: every given test but possibly the last's teardown is done. Answered by give, idle or finish.
  void (*on_need)(void *arg);
  // A file was imported for its first test and holds these tests (sealed, borrowed); `text` says what went wrong in it,
  // or is "". False: they are not those of the list, and the runner ends as failed. NULL: nobody looks.
  bool (*on_opened)(void *arg, const char *file, const struct testlist *found, const char *text);
  // What the test process is, before its list comes; NULL: nobody looks.
  void (*on_fact)(void *arg, const char *name, const char *value);
  // SHA-256, in hex, of the files that were looked through for tests; before on_listed or on_scanned. NULL: nobody
  // looks.
  void (*on_sources)(void *arg, const char *sha256_hex);
  // A runner that is lazy has looked for files, and imported none: it can take tests.
  void (*on_scanned)(void *arg);
  // Over; no callback follows. Tests given and not reported are not run.
  void (*on_end)(void *arg, const struct runner_end *end);
  void *arg;
};

// Where the longest time that a test may take comes from. The numbers of CapFrom in shardd.proto (asserted in held.c).
enum runner_cap { RUNNER_CAP_UNKNOWN, RUNNER_CAP_ASKED, RUNNER_CAP_HISTORY, RUNNER_CAP_UNSEEN, RUNNER_CAP_LONGER };

struct runner_test {
  const char *id;    // NUL-terminated, lives until its result or the runner's end
  const char *file;  // NULL: none
  uint32_t tag;      // the caller's; comes back in events
  uint64_t cap_us;   // longest it may take; 0: no cap
  enum runner_cap cap_from;
  uint64_t est_us;  // expected
};

// What it points at lives as long as the runner.
struct runner_spec {
  char *const *argv;         // the test command, NULL-terminated
  char *const *list_argv;    // command runner: command that prints the ids; NULL: none
  const char *list_file;     // command runner: file of ids; NULL: none
  const char *results;       // command runner: "exit", "junit:PATH", "tap", "tap:PATH"
  const char *node, *build;  // exported to the test process as SHARD_NODE, SHARD_BUILD
  bool want_list;            // false: the build's list is known or being made, do not collect for its sake
  bool lazy;                 // files are imported when their first test is given, as far as no list is wanted
  bool allow_empty;
  uint64_t start_timeout_us;  // longest from start to the list
  struct event_base *base;
  struct runner_events events;
};

struct runner;

struct runner_ops {
  const char *name;  // --runner NAME
  const char *help;
  bool lists_itself;  // collects in any case (persistent): the list is always checked
  // What the user got wrong, found before anything starts. 0; -1 and a message in why (bounded, terminated). NULL:
  // nothing can be wrong.
  int (*check)(const struct runner_spec *spec, char *why, size_t why_size);
  // Starts it, checked; callbacks follow from the loop. NULL and a message in why on failure.
  struct runner *(*start)(const struct runner_spec *spec, char *why, size_t why_size);
  void (*give)(struct runner *runner, const struct runner_test *tests, size_t count);  // copies what it keeps, not ids
  void (*idle)(struct runner *runner);     // nothing for now: what nobody needs may be torn down
  void (*finish)(struct runner *runner);   // no more tests: end in order
  void (*collect)(struct runner *runner);  // a list is wanted after all, on_listed follows; NULL: cannot be lazy
  // What the start of a process costs that each lease needs, µs; 0: tests cost no more alone than together. NULL: 0.
  uint64_t (*start_cost)(const struct runner *runner);
  // Takes back what of these (tags in ascending order) it has not handed to its process: sets taken[i] for those, which
  // it forgets.
  void (*release)(struct runner *runner, const uint32_t *tags, size_t count, bool *taken);
  void (*drop)(struct runner *runner);   // given tests that have not begun need not run; NULL: cannot be told
  void (*abort)(struct runner *runner);  // the given test is not wanted to end: stop now, on_end follows
  void (*free)(struct runner *runner);   // kills what is left
};

extern const struct runner_ops runner_pytest;
extern const struct runner_ops runner_command;

// The place of a tag among tags in ascending order, as `release` gets them; SIZE_MAX: not there.
size_t runner_named(const uint32_t *tags, size_t count, uint32_t tag);

// The runner called `name`, or for "auto" the one that fits argv (a word naming pytest: pytest; else command); NULL.
const struct runner_ops *runner_find(const char *name, char *const *argv);

enum { RUNNER_CAP_TEXT_BYTES = 400 };
// Why a test was ended for its time, for its failure's text: which limit it ran over, where that came from, and what
// follows.
void runner_cap_text(const struct runner_test *test, char text[RUNNER_CAP_TEXT_BYTES]);

#endif
