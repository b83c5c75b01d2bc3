// The pytest runner's inside, shared by runner_pytest.c (the process and its end) and pytest_lines.c (what the adapter
// says and is told). Nobody else includes it.
#ifndef WORKER_PYTEST_IMPL_H
#define WORKER_PYTEST_IMPL_H

#include "worker/adapter.h"
#include "worker/proc.h"
#include "worker/runner.h"

enum {
  PYTEST_RESTARTS_MAX = 100,
  PYTEST_IDS_A_LINE = 500,
  PYTEST_LINE_IDS_BYTES = 200 * 1024,
  PYTEST_GRACE_US = 5000000,
  PYTEST_LATE_MAX = 20,
  PYTEST_AHEAD_US = 50000,  // expected work that the interpreter is told of ahead of time: it cannot be taken back
};

struct pytest_test {
  struct runner_test test;
  bool started;
  uint64_t started_us;  // wall clock: for people
  uint64_t began_us;    // the same moment, monotonic
  uint64_t ahead_us;    // what it counted for when the interpreter was told
  uint64_t told_us;     // when, monotonic
};

struct runner {
  const struct runner_spec *spec;
  struct adapter *adapter;
  struct proc *proc;
  struct event *cap, *start_timer, *kill_timer;
  struct testlist *list;      // while it is collected
  struct pytest_test *given;  // not yet reported, in order
  size_t begin, end, room;
  size_t sent;                      // of given: what this interpreter was told, behind begin
  uint64_t ahead_us;                // of those: expected time of what has not begun
  double observed_us, expected_us;  // of the last tests, older ones fading: how far estimates can be trusted
  bool heard;                       // this interpreter spoke
  bool lazy;                        // it imports files when their first test comes
  bool collect;                     // it is to collect all the same
  char *opening;                    // the file that it imports now
  struct testlist *found;           // of that file
  bool listed, handed_over;         // this interpreter's list is complete; the first one was handed over
  bool asked;                       // on_need was called and not answered
  bool wants;                       // this interpreter has asked for tests, ever
  bool waits;                       // and has none to begin
  bool finishing, dropping, aborting, ended;
  bool bye, stopped, unexplained, any_ran, any_failed;
  bool last_word;  // came behind bye: nothing ended the process before its exit handlers had run
  int bye_code, restarts;
  uint32_t collected;
  int collection_errors;
  char *broken;  // what the adapter said wrong
  char *duplicates;
  const char *killed_why;  // a test was over its cap
  char killed_text[RUNNER_CAP_TEXT_BYTES];
  uint32_t killed_tag;  // that test
  char *late[PYTEST_LATE_MAX];
  size_t late_count;
};

// A line of the adapter came.
void pytest_line(struct runner *runner, json_t *line);
// Trouble that ends the runner: remembers it and stops the process.
void pytest_break(struct runner *runner, const char *fmt, ...) PRINTF(2, 3);
// An error that belongs to no running test.
void pytest_add_late(struct runner *runner, const char *text);
// Tells the interpreter what comes next of the tests given: as much as it needs to go on. The rest stays here, where it
// can be taken back.
void pytest_send(struct runner *runner);
// Forgets those of the tests that the interpreter was not told of; taken[i] says which.
void pytest_release(struct runner *runner, const uint32_t *tags, size_t count, bool *taken);
// A word of the protocol.
void pytest_send_word(struct runner *runner, const char *word);
// The result of a test that was given, at its place; it is forgotten then.
void pytest_report(struct runner *runner, size_t at, const struct runner_result *result);
// pytest_lazy.c: files imported when their first test comes.

// The test process must come to its list, or to the end of an import, in the time that the start may take.
void pytest_arm_start(struct runner *runner);
bool pytest_lazy_wanted(const struct runner *runner);  // by the interpreter that is started now
void pytest_lazy_reset(struct runner *runner);         // what was known of an earlier interpreter's import
void pytest_lazy_listed(struct runner *runner);        // it has looked for files and imported none
void pytest_lazy_open(struct runner *runner, json_t *line);
void pytest_lazy_opened(struct runner *runner, json_t *line);
// Adds the files of `n` given tests, from the place `at`, to a line that tells it to run them.
void pytest_lazy_add_files(struct runner *runner, json_t *line, size_t at, size_t n);
void pytest_lazy_collect(struct runner *runner);  // an operation of the runner

// The place of a test that was begun and not reported, or SIZE_MAX.
size_t pytest_begun(const struct runner *runner);

#endif
