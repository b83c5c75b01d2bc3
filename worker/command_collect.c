// The command runner's list of tests: the lines of a file, or of a command's output. Called by runner_command.c before
// the first batch. It must not know batches.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "worker/command_impl.h"

static void start_list(struct runner *runner);
static void on_list_output(void *arg, int which, const char *bytes, size_t n);
static void on_list_exit(void *arg, int status);
static const char *list_command(const struct runner *runner);
static void list_refused(struct runner *runner, int status);
static void take_list(struct runner *runner, struct testlist *list, const char *why);

void command_collect(struct runner *runner) {
  if (runner->spec.list_argv) {
    start_list(runner);
    return;
  }
  char why[WHY_BYTES] = "";
  bool lacking;
  struct testlist *list = command_list_read(runner->spec.list_file, &lacking, why, sizeof(why));
  if (lacking)
    command_end(runner, RUNNER_END_FAILED, -1, why);
  else
    take_list(runner, list, why);
}

static void start_list(struct runner *runner) {
  static char no_token[] = "SHARD_TOKEN", no_file[] = "SHARD_TOKEN_FILE";
  char *env[] = {no_token, no_file, NULL};
  char why[WHY_BYTES] = "";
  struct proc_spec spec = {.argv = runner->spec.list_argv,
                           .env = env,
                           .in = PROC_NULL,
                           .out = PROC_PIPE,
                           .err = PROC_PIPE,
                           .die_with_parent = true,
                           .base = runner->spec.base,
                           .on_output = on_list_output,
                           .on_exit = on_list_exit,
                           .arg = runner};
  excerpt_release(&runner->output);
  excerpt_init(&runner->output, LIST_ERROR_BYTES);
  runner->listing = command_list_new();
  runner->proc = proc_spawn(&spec, why, sizeof(why));
  if (!runner->proc)
    command_fail(runner, -1, "list command: %s", why);
  else if (runner->spec.start_timeout_us)
    command_arm(runner, runner->spec.start_timeout_us);
}

static void on_list_output(void *arg, int which, const char *bytes, size_t n) {
  struct runner *runner = arg;
  if (which == 1) {
    command_list_feed(runner->listing, bytes, n);
    return;
  }
  command_pass_on(which, bytes, n);
  excerpt_add(&runner->output, bytes, n);
}

static void on_list_exit(void *arg, int status) {
  struct runner *runner = arg;
  char why[WHY_BYTES] = "";
  proc_free(runner->proc);
  runner->proc = NULL;
  (void)evtimer_del(runner->timer);
  if (runner->aborting) {
    command_end(runner, RUNNER_END_OK, -1, NULL);
  } else if (runner->timed_out) {
    command_fail(runner, -1, "list command `%.200s` took longer than %" PRIu64 " s", list_command(runner),
                 runner->spec.start_timeout_us / 1000000);
  } else if (status != 0) {
    list_refused(runner, status);
  } else {
    struct testlist *list = command_list_finish(runner->listing, why, sizeof(why));
    take_list(runner, list, why);
  }
}

// What the user wrote: the text that a shell was given, or the program.
static const char *list_command(const struct runner *runner) {
  char *const *argv = runner->spec.list_argv;
  bool shell = strcmp(argv[0], "sh") == 0 && argv[1] && strcmp(argv[1], "-c") == 0 && argv[2];
  return shell ? argv[2] : argv[0];
}

// A command that ends with an error will do so again: it is wrong. One that a signal ended may have been lacking memory
// or time.
static void list_refused(struct runner *runner, int status) {
  enum { FIRST_SIGNAL = 128 };
  bool exited = WIFEXITED(status) && WEXITSTATUS(status) <= FIRST_SIGNAL;
  char how[64];
  if (WIFEXITED(status))
    (void)snprintf(how, sizeof(how), "exited with %d", WEXITSTATUS(status));
  else
    (void)snprintf(how, sizeof(how), "was killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
  size_t n;
  char *said = excerpt_text(&runner->output, &n);
  while (n > 0 && said[n - 1] == '\n')
    said[--n] = '\0';
  char *why = base_printf("list command `%.200s` %s%s%s", list_command(runner), how, n ? ": " : "", said);
  command_end(runner, exited ? RUNNER_END_USAGE : RUNNER_END_FAILED, WIFEXITED(status) ? WEXITSTATUS(status) : -1, why);
  free(why);
  free(said);
}

// Hands the list to run.c; NULL: it is broken, and why.
static void take_list(struct runner *runner, struct testlist *list, const char *why) {
  command_list_free(runner->listing);
  runner->listing = NULL;
  if (!list) {
    command_end(runner, RUNNER_END_USAGE, -1, why);
    return;
  }
  if (testlist_count(list) == 0 && !runner->spec.allow_empty) {
    testlist_free(list);
    command_end(runner, RUNNER_END_EMPTY, 0, "the list of tests is empty (--allow-empty makes that a success)");
    return;
  }
  excerpt_release(&runner->output);
  excerpt_init(&runner->output, EXCERPT_TEXT_MAX_BYTES);
  runner->phase = PHASE_RUN;
  event_active(runner->kick, EV_TIMEOUT, 0);
  runner->spec.events.on_listed(runner->spec.events.arg, list);
}
