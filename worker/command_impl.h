// The command runner's inside, shared by runner_command.c (batches) and command_collect.c (the list). Nobody else
// includes it.
#ifndef WORKER_COMMAND_IMPL_H
#define WORKER_COMMAND_IMPL_H

#include "worker/command_batch.h"
#include "worker/command_limit.h"
#include "worker/command_list.h"
#include "worker/command_ran.h"
#include "worker/command_share.h"
#include "worker/excerpt.h"
#include "worker/proc.h"
#include "worker/runner.h"

enum {
  WHY_BYTES = 1024,
  LATE_MAX = 20,
  NAMED_MAX = 5,
  LIST_ERROR_BYTES = 4096,
  STOP_GRACE_US = 5000000,
  START_GUESS_US = 500000,
  ROWLESS_MAX = 3  // tests alone in their process without a row, after which the command is taken to be wrong
};

enum phase { PHASE_LIST, PHASE_RUN, PHASE_ENDED };

// What the process that runs is for: all tests of the batch; one that had no row in it; those that passed in it, once
// more without those that failed, since only these explain how it ended.
enum pass { PASS_BATCH, PASS_ALONE, PASS_CONFIRM };

enum slot_state { SLOT_OPEN, SLOT_MISSING, SLOT_HELD, SLOT_TOLD };

// A test of the batch.
struct slot {
  enum slot_state state;
  bool failed;
  struct runner_result result;  // HELD: not told yet
  char *text;                   // its text, owned
};

struct runner {
  struct runner_spec spec;
  enum phase phase;
  struct event *kick, *timer;
  struct proc *proc;
  struct command_list *listing;

  struct runner_test *tests;  // given; [done, done + running) are the batch
  size_t given, room, done, running;
  bool asked, finishing, aborting, timed_out;

  enum pass pass;
  struct slot *slot;  // per test of the batch
  size_t *inside;     // places in the batch of the tests that are in the process
  size_t inside_count;
  char *open_end;    // how the batch's first process ended, when that has to be explained by a failing test; or NULL
  bool open_signal;  // it died of a signal, or was ended by its limit
  bool open_stray;   // something outside of its tests failed in it, which no failing test explains
  bool open_guess;   // it was ended by a default limit, with nothing left to run: that has to happen twice
  struct command_limit limit;  // of the process that runs
  int status;                  // of the process that is gone, while its report is read
  uint64_t wall_us;
  bool reading;

  bool rows_seen;    // a process of this runner reported a test that it was given
  unsigned rowless;  // tests alone in their process without a row, in a row

  struct command_batch batch;
  uint64_t start_us, start_wall_us;  // of the process that runs
  struct command_share share;        // what processes take beyond their tests
  struct command_ran ran;            // results "exit": whether the process ran any test
  struct excerpt output;             // of the process; while listing: its stderr

  char *late[LATE_MAX];
  size_t late_count;
};

// Makes the list of tests, from a file or the output of a command, and hands it to run.c.
void command_collect(struct runner *runner);

// The process that runs now, listing or batch, is stopped after this time.
void command_arm(struct runner *runner, uint64_t us);
// Output of a process to the worker's own, as it came; which: 1 stdout, 2 stderr.
void command_pass_on(int which, const char *bytes, size_t n);
// The process that runs, or ran last, is at this test.
const struct runner_test *command_test(const struct runner *runner, size_t inside);
// An error that belongs to no test; takes the text over.
void command_late(struct runner *runner, char *text);
// The last thing a runner does; its owner may free it inside.
void command_end(struct runner *runner, enum runner_end_kind kind, int exit_code, const char *why);
void command_fail(struct runner *runner, int exit_code, const char *fmt, ...) PRINTF(3, 4);

#endif
