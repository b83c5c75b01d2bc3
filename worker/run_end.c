// How a worker ends: the exit code and the reason for it, last words, and the leave it takes of the server. Called by
// run.c. A bye is said once every result is on the server's disk; the server's goodbye then brings the exit code that
// it worked out from the verdicts, unless this worker knows of something worse. It must not know how tests are run.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"
#include "worker/run_impl.h"

enum { RUN_FAREWELL_S = 10, RUN_LATE_BYTES = 512 * 1024 };

void run_quit(struct run *run, int code) {
  if (run->gone) return;
  run->gone = true;
  run->code = code;
  event_base_loopbreak(run->base);
}

void run_die(struct run *run, int code, const char *fmt, ...) {
  va_list args;
  if (run->gone) return;
  fputs("shard: ", stderr);
  va_start(args, fmt);
  vfprintf(stderr, fmt, args);
  va_end(args);
  fputc('\n', stderr);
  run_quit(run, code);
}

void run_give_up(struct run *run, int code, const char *what, const char *why) {
  run_die(run, code, "%s: %s; %zu results could not be handed over", what, why, spool_rows(run->spool));
  held_print_unacked(&run->held, run->list, stderr);
  run_keep(run);
}

void run_copy_late(struct run *run, const struct runner_end *end) {
  run->late = base_calloc(end->late_count + 1, sizeof *run->late);
  for (; run->late_count < end->late_count; run->late_count++) {
    run->late[run->late_count] = base_strdup(end->late[run->late_count]);
  }
}

static Shardd__ByeReason run_bye_reason(const struct run *run) {
  if (run->signo) return SHARDD__BYE_REASON__BYE_SIGNAL;
  switch (run->end_kind) {
    case RUNNER_END_STOPPED: return SHARDD__BYE_REASON__BYE_STOPPED;
    case RUNNER_END_USAGE:
    case RUNNER_END_FAILED: return SHARDD__BYE_REASON__BYE_FAILED;
    case RUNNER_END_OK:
    case RUNNER_END_EMPTY: break;
  }
  return SHARDD__BYE_REASON__BYE_DONE;
}

void run_fill_bye(const struct run *run, Shardd__Bye *bye) {
  ProtobufCBinaryData *late = base_calloc(run->late_count + 1, sizeof *late);
  size_t sum = 0;
  *bye = (Shardd__Bye)SHARDD__BYE__INIT;
  for (size_t i = 0; i < run->late_count && i < MSG_LATE_MAX && sum < RUN_LATE_BYTES; i++) {
    size_t bytes = strlen(run->late[i]);
    late[i] = msg_bytes(run->late[i], bytes < MSG_TEXT_MAX_BYTES / 2 ? bytes : MSG_TEXT_MAX_BYTES / 2);
    sum += late[i].len;
    bye->n_late++;
  }
  bye->reason = run_bye_reason(run);
  bye->text = msg_text(run->why);
  bye->late = late;
}

void run_told_to_stop(struct run *run, int signo) {
  struct timeval limit = {.tv_sec = RUN_FAREWELL_S};
  if (run->signo) {
    run_quit(run, 128 + signo);
    return;
  }
  run->signo = signo;
  fprintf(stderr, "shard: told to stop (SIG%s)%s\n", sigabbrev_np(signo),
          run->alone ? "" : ": handing back what has not run");
  if (!run->ended) run->ops->abort(run->runner);
  run_flush(run);
  if (!run->said_bye && link_up(run->link)) run_bye(run);
  event_add(run->farewell, &limit);
}

void run_bye(struct run *run) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Bye bye;
  run_fill_bye(run, &bye);
  frame.body_case = SHARDD__FRAME__BODY_BYE;
  frame.bye = &bye;
  run->said_bye = true;
  link_send(run->link, &frame);
  free(bye.late);
}

void run_settle(struct run *run) {
  if (run->alone && run->ended) run_quit(run, EXIT_OK);  // alone_end has the last word
  if (!run->ended || run->said_bye || !link_up(run->link)) return;
  if (run->end_kind == RUNNER_END_EMPTY && !run->list_agreed) return;
  if (spool_empty(run->spool)) run_bye(run);
}

static int run_own_code(const struct run *run) {
  switch (run->end_kind) {
    case RUNNER_END_USAGE: return EXIT_USAGE;
    case RUNNER_END_FAILED: return EXIT_INFRA;
    case RUNNER_END_EMPTY: return run->options->allow_empty ? EXIT_OK : EXIT_EMPTY;
    case RUNNER_END_OK:
    case RUNNER_END_STOPPED: break;
  }
  return EXIT_OK;
}

static void run_say_safe(const char *what, ProtobufCBinaryData text) {
  char *safe = human_safe(text.data, text.len, ESCAPE_TEXT);
  fprintf(stderr, "shard: %s%s\n", what, safe);
  free(safe);
}

static void run_say_end(const struct run *run, const Shardd__Goodbye *goodbye, int code) {
  if (run->options->quiet && code == EXIT_OK) return;
  fprintf(stderr, "shard: %s%s%sran %u tests in %u leases: %u passed, %u failed, %u skipped; build %u/%u, %u failing\n",
          run->identity.node[0] ? "node " : "", run->identity.node, run->identity.node[0] ? ": " : "",
          run->passed + run->failed + run->skipped, run->held.leases, run->passed, run->failed, run->skipped,
          goodbye->settled, goodbye->total, goodbye->failing);
  if (goodbye->again.len) run_say_safe("run again: ", goodbye->again);
  for (size_t i = 0; i < goodbye->n_own; i++)
    run_say_safe("  failed here: ", goodbye->own[i]);
  if (goodbye->skips.len) run_say_safe("", goodbye->skips);
  for (size_t i = 0; i < run->late_count; i++)
    run_say_safe("error outside of any test: ", msg_text(run->late[i]));
  if (code == EXIT_OK) return;
  if (run->why) {
    fprintf(stderr, "shard: exit %d: %s\n", code, run->why);
  } else {
    char *safe = human_safe(goodbye->why.data, goodbye->why.len, ESCAPE_LINE);
    fprintf(stderr, "shard: exit %d: %s\n", code, safe);
    free(safe);
  }
}

void run_goodbye(struct run *run, const Shardd__Goodbye *goodbye) {
  int code = run_own_code(run);
  if (code == EXIT_OK && run->end_kind != RUNNER_END_EMPTY) code = (int)goodbye->exit_code;
  // Failures that this worker decided are the tests', whatever became of its runner: 16 would try them again.
  bool own = goodbye->own_failing || run->late_count;
  if (code == EXIT_INFRA && own && goodbye->exit_code == EXIT_TESTS_FAILED) code = EXIT_TESTS_FAILED;
  bool empty = goodbye->total == 0 && goodbye->state == SHARDD__BUILD_STATE__BUILD_COMPLETE;
  if (code == EXIT_OK && empty && !run->options->allow_empty) code = EXIT_EMPTY;
  if (code == EXIT_OK && run->fenced) code = EXIT_INFRA;  // a server that was restarted meanwhile does not know
  if (run->signo) code = 128 + run->signo;
  run->heard_goodbye = true;
  run_say_end(run, goodbye, code);
  if (run->ended) run_quit(run, code);  // told to stop: the test process has a moment to end by itself
}
