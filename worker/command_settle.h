// What becomes of a batch of the command runner: which of its tests the rows of a process settle, which have to run
// again by themselves, and whether the way the process ended is explained by a failing test. runner_command.c starts
// the processes and asks here what comes next.
#ifndef WORKER_COMMAND_SETTLE_H
#define WORKER_COMMAND_SETTLE_H

#include "worker/command_impl.h"

// A batch begins: its tests are runner->tests[done, done + running), all of them in the first process.
void command_settle_begin(struct runner *runner);
void command_settle_release(struct runner *runner);

// The process is gone (runner->status, wall_us) and its report was read: `whole` says that the report is complete, else
// `problem` says what is wrong with it. Tells what is settled and chooses runner->inside for the next process; empty:
// the batch is over. False: the runner has ended, and may be freed.
bool command_settle_process(struct runner *runner, bool whole, const char *problem) MUST_CHECK;

#endif
