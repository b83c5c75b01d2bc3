// Reads what a test tool prints and says whether it ran any test at all. Used by the command runner with results
// "exit", where a tool that finds no test and exits with 0 would pass for a test that passed. Knows the words of common
// tools, nothing of processes. A line that tells of tests that ran outweighs all lines that tell of none: one `cargo
// test` starts several programs, and some of them hold no tests.
#ifndef WORKER_COMMAND_RAN_H
#define WORKER_COMMAND_RAN_H

#include "config/base.h"

enum { COMMAND_RAN_LINE_BYTES = 256 };

struct command_ran {
  char line[2][COMMAND_RAN_LINE_BYTES];  // the open line of standard output and of standard error
  size_t line_bytes[2];
  bool some;
  char none[COMMAND_RAN_LINE_BYTES];  // the first line that says that nothing ran; "": no such line
  bool skipped;                       // a line says that tests were skipped
};

void command_ran_clear(struct command_ran *ran);
// The next bytes of a stream (1 stdout, 2 stderr).
void command_ran_feed(struct command_ran *ran, int which, const char *bytes, size_t n);
// The end of both streams: the line that says that nothing ran (it lives as long as ran), or NULL.
const char *command_ran_nothing(struct command_ran *ran);

#endif
