// What both halves of the command runner need: ending, time limits, output. Called by runner_command.c and
// command_collect.c.
#include "worker/command_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

void command_arm(struct runner *runner, uint64_t us) {
  struct timeval in = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
  (void)evtimer_add(runner->timer, &in);
}

const struct runner_test *command_test(const struct runner *runner, size_t inside) {
  assert(inside < runner->inside_count);
  return &runner->tests[runner->done + runner->inside[inside]];
}

void command_late(struct runner *runner, char *text) {
  if (runner->late_count < LATE_MAX)
    runner->late[runner->late_count++] = text;
  else
    free(text);
}

// The last thing a runner does; its owner may free it inside.
void command_end(struct runner *runner, enum runner_end_kind kind, int exit_code, const char *why) {
  runner->phase = PHASE_ENDED;
  struct runner_end over = {.kind = kind,
                            .exit_code = exit_code,
                            .why = why,
                            .late = (const char *const *)runner->late,
                            .late_count = runner->late_count};
  runner->spec.events.on_end(runner->spec.events.arg, &over);
}

void command_fail(struct runner *runner, int exit_code, const char *fmt, ...) {
  char why[WHY_BYTES + LIST_ERROR_BYTES];
  va_list arguments;
  va_start(arguments, fmt);
  (void)vsnprintf(why, sizeof(why), fmt, arguments);
  va_end(arguments);
  command_end(runner, RUNNER_END_FAILED, exit_code, why);
}

void command_pass_on(int which, const char *bytes, size_t n) {
  FILE *to = which == 1 ? stdout : stderr;
  (void)fwrite(bytes, 1, n, to);
  (void)fflush(to);
}
