// Unit tests of child processes, with real ones: exit status, signals, output, groups, failures to start, freeing
// inside callbacks. Nothing sleeps for an outcome: children block on what the test controls or end by themselves.
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "worker/proc.h"

enum { TEXT_BYTES = 512 * 1024 };

struct seen {
  struct event_base *base;
  struct proc *proc;
  char *out, *err;
  size_t out_bytes, err_bytes;
  int status, exits;
  bool free_on_output, free_on_exit, stop_on_output;
};

static void on_output(void *arg, int which, const char *bytes, size_t n) {
  struct seen *seen = arg;
  char *to = which == 1 ? seen->out : seen->err;
  size_t *used = which == 1 ? &seen->out_bytes : &seen->err_bytes;
  assert_true(*used + n < TEXT_BYTES);
  assert_int_equal(seen->exits, 0);
  memcpy(to + *used, bytes, n);
  *used += n;
  to[*used] = '\0';
  if (seen->stop_on_output) proc_stop(seen->proc, 50 * 1000);
  if (!seen->free_on_output) return;
  proc_free(seen->proc);
  seen->proc = NULL;
  (void)event_base_loopbreak(seen->base);
}

static void on_exit_status(void *arg, int status) {
  struct seen *seen = arg;
  seen->exits++;
  seen->status = status;
  assert_false(proc_running(seen->proc));
  if (seen->free_on_exit) {
    proc_free(seen->proc);
    seen->proc = NULL;
  }
  (void)event_base_loopbreak(seen->base);
}

static int setup(void **state) {
  struct seen *seen = base_calloc(1, sizeof(*seen));
  seen->base = event_base_new();
  seen->out = base_calloc(1, TEXT_BYTES);
  seen->err = base_calloc(1, TEXT_BYTES);
  *state = seen;
  return 0;
}

static int teardown(void **state) {
  struct seen *seen = *state;
  proc_free(seen->proc);
  event_base_free(seen->base);
  free(seen->out);
  free(seen->err);
  free(seen);
  return 0;
}

static struct proc_spec spec_of(struct seen *seen, char *const *argv) {
  return (struct proc_spec){.argv = argv,
                            .in = PROC_NULL,
                            .out = PROC_PIPE,
                            .err = PROC_PIPE,
                            .die_with_parent = true,
                            .base = seen->base,
                            .on_output = on_output,
                            .on_exit = on_exit_status,
                            .arg = seen};
}

static void run_script(struct seen *seen, const char *script) {
  char why[256] = "", *text = base_strdup(script), sh[] = "sh", c[] = "-c";
  char *argv[] = {sh, c, text, NULL};
  struct proc_spec spec = spec_of(seen, argv);
  seen->proc = proc_spawn(&spec, why, sizeof(why));
  assert_string_equal(why, "");
  assert_non_null(seen->proc);
  assert_int_equal(event_base_dispatch(seen->base), 0);
  free(text);
}

static void test_exit_and_output(void **state) {
  struct seen *seen = *state;
  char how[64];
  run_script(seen, "echo out; echo err >&2; exit 3");
  assert_int_equal(seen->exits, 1);
  assert_string_equal(seen->out, "out\n");
  assert_string_equal(seen->err, "err\n");
  assert_string_equal(proc_describe(seen->status, how, sizeof(how)), "exit status 3");
}

static void test_all_output_comes_before_the_exit(void **state) {
  struct seen *seen = *state;
  run_script(seen, "head -c 300000 /dev/zero | tr '\\0' x; printf end");
  assert_int_equal(seen->out_bytes, 300003);
  assert_string_equal(seen->out + 300000, "end");
  assert_int_equal(seen->status, 0);
}

static void test_signal_is_told(void **state) {
  struct seen *seen = *state;
  char how[64];
  run_script(seen, "kill -KILL $$");
  assert_true(WIFSIGNALED(seen->status));
  assert_string_equal(proc_describe(seen->status, how, sizeof(how)), "killed by SIGKILL");
}

// A child that leaves the group and keeps the pipe open must not hide the end of its parent.
static void test_daemon_does_not_hold_us(void **state) {
  struct seen *seen = *state;
  run_script(seen, "setsid sleep 1000 & echo $!; exit 0");
  assert_int_equal(seen->exits, 1);
  long daemon = strtol(seen->out, NULL, 10);
  assert_true(daemon > 1);
  assert_int_equal(kill((pid_t)daemon, SIGKILL), 0);
}

static void test_env_and_folder(void **state) {
  struct seen *seen = *state;
  char sh[] = "sh", c[] = "-c", script[] = "echo \"$PROC_A-${PROC_B-unset}\"; pwd", a[] = "PROC_A=1 2", b[] = "PROC_B";
  char *argv[] = {sh, c, script, NULL}, *env[] = {a, b, NULL}, why[256] = "";
  assert_int_equal(setenv("PROC_B", "secret", 1), 0);
  struct proc_spec spec = spec_of(seen, argv);
  spec.env = env;
  spec.dir = "/";
  seen->proc = proc_spawn(&spec, why, sizeof(why));
  assert_non_null(seen->proc);
  assert_int_equal(event_base_dispatch(seen->base), 0);
  assert_string_equal(seen->out, "1 2-unset\n/\n");
  assert_string_equal(getenv("PROC_B"), "secret");
}

static void test_leads_its_group_with_clean_signals(void **state) {
  struct seen *seen = *state;
  assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
  run_script(seen, "test $(ps -o pgid= -p $$) = $$ && kill -PIPE $$; echo not reached");
  assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
  assert_string_equal(seen->out, "");
  assert_true(WIFSIGNALED(seen->status) && WTERMSIG(seen->status) == SIGPIPE);
}

static void test_cannot_start(void **state) {
  struct seen *seen = *state;
  char name[] = "no-such-program-here", why[256] = "", sh[] = "sh";
  char *argv[] = {name, NULL}, *shell[] = {sh, NULL};
  struct proc_spec spec = spec_of(seen, argv);
  assert_null(proc_spawn(&spec, why, sizeof(why)));
  assert_string_equal(why, "cannot start 'no-such-program-here': No such file or directory");
  spec = spec_of(seen, shell);
  spec.dir = "/no/such/folder";
  assert_null(proc_spawn(&spec, why, sizeof(why)));
  assert_string_equal(why, "cannot change the folder for '/no/such/folder': No such file or directory");
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);  // nobody is left
  assert_int_equal(errno, ECHILD);
}

// The script ignores SIGTERM, as does its child: both are gone after the grace.
static void test_stop_kills_the_group(void **state) {
  struct seen *seen = *state;
  seen->stop_on_output = true;
  run_script(seen, "trap '' TERM; sleep 1000 & echo $!; wait; wait; sleep 1000");
  assert_true(WIFSIGNALED(seen->status) && WTERMSIG(seen->status) == SIGKILL);
}

static void test_stop_by_term(void **state) {
  struct seen *seen = *state;
  seen->stop_on_output = true;
  run_script(seen, "trap 'exit 7' TERM; echo ready; while :; do read x < /dev/null; done");
  assert_true(WIFEXITED(seen->status));
  assert_int_equal(WEXITSTATUS(seen->status), 7);
}

static void test_free_in_callbacks(void **state) {
  struct seen *seen = *state;
  seen->free_on_output = true;
  run_script(seen, "echo x; sleep 1000");
  assert_int_equal(seen->exits, 0);
  seen->free_on_output = false;
  seen->free_on_exit = true;
  run_script(seen, "exit 0");
  assert_int_equal(seen->exits, 1);
}

static void test_free_kills(void **state) {
  struct seen *seen = *state;
  char sleeper[] = "sleep", for_long[] = "1000", why[256];
  char *argv[] = {sleeper, for_long, NULL};
  struct proc_spec spec = spec_of(seen, argv);
  struct proc *proc = proc_spawn(&spec, why, sizeof(why));
  assert_non_null(proc);
  pid_t pid = proc_pid(proc);
  assert_true(proc_running(proc));
  proc_free(proc);
  assert_int_equal(kill(pid, 0), -1);
  assert_int_equal(seen->exits, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_exit_and_output, setup, teardown),
      cmocka_unit_test_setup_teardown(test_all_output_comes_before_the_exit, setup, teardown),
      cmocka_unit_test_setup_teardown(test_signal_is_told, setup, teardown),
      cmocka_unit_test_setup_teardown(test_daemon_does_not_hold_us, setup, teardown),
      cmocka_unit_test_setup_teardown(test_env_and_folder, setup, teardown),
      cmocka_unit_test_setup_teardown(test_leads_its_group_with_clean_signals, setup, teardown),
      cmocka_unit_test_setup_teardown(test_cannot_start, setup, teardown),
      cmocka_unit_test_setup_teardown(test_stop_kills_the_group, setup, teardown),
      cmocka_unit_test_setup_teardown(test_stop_by_term, setup, teardown),
      cmocka_unit_test_setup_teardown(test_free_in_callbacks, setup, teardown),
      cmocka_unit_test_setup_teardown(test_free_kills, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
