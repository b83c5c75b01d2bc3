// The command runner's inside, shared by runner_command.c (batches) and command_collect.c (the list). Nobody else
// includes it.
#ifndef WORKER_COMMAND_IMPL_H
#define WORKER_COMMAND_IMPL_H

#include "worker/command_batch.h"
#include "worker/command_list.h"
#include "worker/excerpt.h"
#include "worker/proc.h"
#include "worker/runner.h"

enum {
  WHY_BYTES = 1024,
  LATE_MAX = 20,
  NAMED_MAX = 5,
  LIST_ERROR_BYTES = 4096,
  STOP_GRACE_US = 5000000,
  START_GUESS_US = 500000
};

enum phase { PHASE_LIST, PHASE_RUN, PHASE_ENDED };

struct runner {
  struct runner_spec spec;
  enum phase phase;
  struct event *kick, *timer;
  struct proc *proc;
  struct command_list *listing;

  struct runner_test *tests;  // given; [done, done + running) are in the process
  size_t given, room, done, running;
  bool asked, finishing, aborting, timed_out;

  struct command_batch batch;
  uint64_t start_us, start_wall_us;  // of the process that runs
  uint64_t cost_us;                  // what a process costs beyond its tests, as far as seen; 0: never seen
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
// The last thing a runner does; its owner may free it inside.
void command_end(struct runner *runner, enum runner_end_kind kind, int exit_code, const char *why);
void command_fail(struct runner *runner, int exit_code, const char *fmt, ...) PRINTF(3, 4);

#endif
