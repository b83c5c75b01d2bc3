// The command runner's list of tests: the lines of a file, or of a command's output. Called by runner_command.c before
// the first batch. It must not know batches.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "worker/command_impl.h"

static void start_list(struct runner *runner);
static void on_list_output(void *arg, int which, const char *bytes, size_t n);
static void on_list_exit(void *arg, int status);
static void take_list(struct runner *runner, struct testlist *list, const char *why);

void command_collect(struct runner *runner) {
  if (runner->spec.list_argv) {
    start_list(runner);
    return;
  }
  char why[WHY_BYTES] = "";
  struct testlist *list = command_list_read(runner->spec.list_file, why, sizeof(why));
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
  char how[64], why[WHY_BYTES] = "";
  proc_free(runner->proc);
  runner->proc = NULL;
  (void)evtimer_del(runner->timer);
  if (runner->aborting) {
    command_end(runner, RUNNER_END_OK, -1, NULL);
  } else if (runner->timed_out) {
    command_fail(runner, -1, "list command '%s' took longer than %" PRIu64 " s", runner->spec.list_argv[0],
                 runner->spec.start_timeout_us / 1000000);
  } else if (status != 0) {
    size_t n;
    char *said = excerpt_text(&runner->output, &n);
    command_fail(runner, WIFEXITED(status) ? WEXITSTATUS(status) : -1, "list command '%s' failed: %s%s%s",
                 runner->spec.list_argv[0], proc_describe(status, how, sizeof(how)), n ? ": " : "", said);
    free(said);
  } else {
    struct testlist *list = command_list_finish(runner->listing, why, sizeof(why));
    take_list(runner, list, why);
  }
}

// Hands the list to run.c; NULL: it is broken, and why.
static void take_list(struct runner *runner, struct testlist *list, const char *why) {
  command_list_free(runner->listing);
  runner->listing = NULL;
  if (!list) {
    command_fail(runner, -1, "%s", why);
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
