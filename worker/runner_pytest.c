// The persistent pytest runner: one pytest session for the worker's whole life, fed through the adapter
// (worker/adapters/shard_pytest.py). Called by run.c through runner_ops. What it must not know: server, leases,
// verdicts.
//
// A session ends well when "bye" came, the exit status agrees with it and every begun test was reported. When the
// interpreter dies under a test, that test has crashed; a new interpreter takes the rest. A test over its cap is killed
// with its interpreter the same way.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "worker/embed.h"
#include "worker/human.h"
#include "worker/pytest_impl.h"

static int pytest_spawn(struct runner *runner, char *why, size_t why_size);

// ---- the end

static void pytest_end(struct runner *runner, enum runner_end_kind kind, int code, const char *why) {
  if (runner->ended) return;
  runner->ended = true;
  struct runner_end end = {.kind = kind, .exit_code = code, .why = why, .late_count = runner->late_count};
  const char *late[PYTEST_LATE_MAX];
  for (size_t i = 0; i < runner->late_count; i++)
    late[i] = runner->late[i];
  end.late = late;
  runner->spec->events.on_end(runner->spec->events.arg, &end);
}

static void on_line(void *arg, json_t *line) {
  pytest_line(arg, line);
}

static void on_broken(void *arg, const char *why) {
  pytest_break(arg, "the test process does not speak the adapter's protocol: %s", why);
}

// ---- the process ends

// The interpreter died under a test: that test has its result, another interpreter takes the rest.
static void pytest_crash(struct runner *runner, size_t at, int status) {
  char how[200], text[RUNNER_CAP_TEXT_BYTES + 200], why[400];
  const struct pytest_test *given = &runner->given[at];
  bool timed_out = runner->killed_why && runner->killed_tag == given->test.tag;  // else its result had come meanwhile
  proc_describe(status, how, sizeof how);
  snprintf(text, sizeof text, "%s%s",
           timed_out ? runner->killed_why : "the test process ended under this test: ", timed_out ? "" : how);
  struct runner_result result = {.tag = given->test.tag,
                                 .status = timed_out ? RUNNER_TIMED_OUT : RUNNER_CRASHED,
                                 .start_us = given->started_us,
                                 .call_us = base_now_us() - given->began_us,
                                 .text = text,
                                 .text_bytes = strlen(text)};
  runner->killed_why = NULL;
  runner->any_failed = true;
  fprintf(stderr, "shard: %s: %s\n", given->test.id, text);
  pytest_report(runner, at, &result);
  if (runner->ended) return;
  if (runner->dropping) {
    pytest_end(runner, RUNNER_END_OK, -1, NULL);
  } else if (++runner->restarts > PYTEST_RESTARTS_MAX) {
    pytest_end(runner, RUNNER_END_FAILED, -1, "the test process died too often");
  } else if (pytest_spawn(runner, why, sizeof why) < 0) {
    pytest_end(runner, RUNNER_END_FAILED, -1, why);
  }
}

static void pytest_unexpected(struct runner *runner, int status) {
  char how[200], text[600];
  proc_describe(status, how, sizeof how);
  if (!runner->heard && adapter_refused(runner->adapter, text, sizeof text)) {
    char *safe = human_safe(text, strlen(text), ESCAPE_TEXT);
    pytest_end(runner, RUNNER_END_USAGE, -1, safe);
    free(safe);
    return;
  }
  if (runner->opening) {
    snprintf(text, sizeof text, "the test process ended while it imported %.300s: %s", runner->opening, how);
  } else if (runner->listed || runner->heard) {
    const char *when = runner->listed ? "between tests" : "before it had listed its tests";
    snprintf(text, sizeof text, "the test process ended %s: %s", when, how);
  } else {
    snprintf(
        text, sizeof text,
        "the test process ended (%s) and never spoke to shard: does it run pytest, and does everything in between pass "
        "SHARD_RUNNER_SOCK, PYTEST_PLUGINS and PYTHONPATH on (tox: pass_env, docker: -e and the socket's folder)?",
        how);
  }
  pytest_end(runner, RUNNER_END_FAILED, -1, text);
}

// The exit status is what failed tests of this process make it, whatever becomes of them: 1, or 2 where an option
// stopped the session behind one. What a plugin counted or set, and a process that did not come to its own end, are not
// explained by a failed test: that may be forgiven.
static bool pytest_failed_so(const struct runner *runner, int code) {
  bool plain = !runner->unexplained && runner->last_word;
  return runner->any_failed && plain && (code == 1 || (code == 2 && runner->stopped));
}

static void pytest_add_status(struct runner *runner, int code) {
  char text[300];
  if (runner->last_word || runner->unexplained) {
    snprintf(text, sizeof text, "pytest ended with exit status %d, which no failed test explains: see its output",
             code);
  } else {
    snprintf(text, sizeof text,
             "the test process was ended with exit status %d before its exit handlers had all run, which no failed "
             "test explains: does something call os._exit?",
             code);
  }
  pytest_add_late(runner, text);
}

// The last interpreter said bye: what its exit status means for the run.
static void pytest_ended_well(struct runner *runner, int code) {
  char text[200];
  if (code == 5 && runner->collected == 0 && runner->begin == runner->end) {
    pytest_end(runner, RUNNER_END_EMPTY, code, "no tests were collected");
  } else if (code == 4 || (code == 2 && !runner->stopped)) {
    snprintf(text, sizeof text,
             runner->collection_errors ? "pytest could not collect the tests (%d errors, see above)"
                                       : "pytest ended with a usage error (see above)",
             runner->collection_errors);
    pytest_end(runner, RUNNER_END_USAGE, code, text);
  } else if (code != 3 && !runner->listed && !runner->stopped) {
    pytest_end(runner, RUNNER_END_FAILED, code,
               "pytest ended well without having begun the loop that runs tests: another plugin or a conftest.py "
               "replaces pytest_runtestloop");
  } else if (code == 3) {
    pytest_end(runner, RUNNER_END_FAILED, code, "internal error in pytest (see above)");
  } else if (runner->begin < runner->end && !runner->stopped && !runner->dropping) {
    pytest_end(runner, RUNNER_END_FAILED, code, "pytest ended before it had run the tests given to it");
  } else {
    bool explained =
        code == 0 || (code == 5 && !runner->any_ran) || pytest_failed_so(runner, code) || runner->late_count;
    if (runner->collection_errors) {
      snprintf(text, sizeof text, "pytest could not collect all tests (%d errors, see its output)",
               runner->collection_errors);
      pytest_add_late(runner, text);
    } else if (!explained) {
      pytest_add_status(runner, code);
    }
    pytest_end(runner, runner->stopped ? RUNNER_END_STOPPED : RUNNER_END_OK, code, NULL);
  }
}

static void on_exit_status(void *arg, int status) {
  struct runner *runner = arg;
  char refused[600];
  event_del(runner->cap);
  event_del(runner->kill_timer);  // what was to be killed is dead; the next one is not meant
  event_del(runner->start_timer);
  adapter_finish(runner->adapter);  // reads what it said last
  proc_free(runner->proc);
  runner->proc = NULL;
  runner->wants = false;
  if (runner->ended) return;
  size_t begun = pytest_begun(runner);
  bool agrees = runner->bye && WIFEXITED(status) && WEXITSTATUS(status) == runner->bye_code;
  if (runner->broken) {
    pytest_end(runner, RUNNER_END_FAILED, -1, runner->broken);
  } else if (runner->aborting) {
    pytest_end(runner, RUNNER_END_STOPPED, -1, "told to stop");
  } else if (agrees && begun == SIZE_MAX) {
    pytest_ended_well(runner, runner->bye_code);
  } else if (begun != SIZE_MAX) {
    pytest_crash(runner, begun, status);
  } else if (!runner->bye && !runner->listed && WIFEXITED(status) && WEXITSTATUS(status) == 4 &&
             !adapter_refused(runner->adapter, refused, sizeof refused)) {
    pytest_end(runner, RUNNER_END_USAGE, 4, "pytest ended with a usage error (see above)");
  } else {
    pytest_unexpected(runner, status);
  }
}

// ---- time

static void on_cap(evutil_socket_t fd, short what, void *arg) {
  struct runner *runner = arg;
  (void)fd;
  (void)what;
  size_t begun = pytest_begun(runner);
  if (!runner->proc || runner->killed_why || begun == SIZE_MAX) return;
  runner->killed_tag = runner->given[begun].test.tag;
  runner_cap_text(&runner->given[begun].test, runner->killed_text);
  runner->killed_why = runner->killed_text;
  struct timeval grace = {.tv_sec = 2};
  proc_signal(runner->proc, SIGABRT);  // faulthandler, if it is on, prints where every thread is
  event_add(runner->kill_timer, &grace);
}

static void on_kill(evutil_socket_t fd, short what, void *arg) {
  struct runner *runner = arg;
  (void)fd;
  (void)what;
  if (runner->proc) proc_signal(runner->proc, SIGKILL);
}

static void on_start_timeout(evutil_socket_t fd, short what, void *arg) {
  const struct runner *runner = arg;
  (void)fd;
  (void)what;
  if (runner->opening) {
    pytest_break(arg, "the test process had not imported %.300s in time (--start-timeout)", runner->opening);
    return;
  }
  pytest_break(arg, "%s",
               "the test process had not listed its tests in time (--start-timeout); does the command run pytest, "
               "with the same Python that PYTHONPATH reaches?");
}

// ---- start

static char *pytest_env(const char *name, const char *first, const char *separator) {
  const char *old = getenv(name);
  return old && old[0] ? base_printf("%s=%s%s%s", name, first, separator, old) : base_printf("%s=%s", name, first);
}

static int pytest_spawn(struct runner *runner, char *why, size_t why_size) {
  const struct runner_spec *spec = runner->spec;
  runner->lazy = pytest_lazy_wanted(runner);
  pytest_lazy_reset(runner);
  char *env[] = {base_printf("SHARD_RUNNER_SOCK=%s", adapter_socket(runner->adapter)),
                 base_printf("SHARD_RUNNER_COLLECT=%s", runner->lazy ? "lazy" : "full"),
                 pytest_env("PYTHONPATH", adapter_folder(runner->adapter), ":"),
                 pytest_env("PYTEST_PLUGINS", "shard_pytest", ","),
                 base_printf("SHARD_NODE=%s", spec->node),
                 base_printf("SHARD_BUILD=%s", spec->build),
                 base_printf("SHARD_BATCH=%d", runner->restarts),
                 base_strdup("SHARD_TOKEN"),
                 base_strdup("SHARD_TOKEN_FILE"),
                 NULL};
  struct proc_spec proc = {.argv = spec->argv,
                           .env = env,
                           .in = PROC_NULL,
                           .out = PROC_INHERIT,
                           .err = PROC_INHERIT,
                           .die_with_parent = true,
                           .base = spec->base,
                           .on_exit = on_exit_status,
                           .arg = runner};
  runner->heard = runner->listed = runner->bye = runner->last_word = runner->stopped = runner->unexplained = false;
  runner->any_ran = runner->any_failed = false;  // its exit status tells of its own tests
  runner->sent = 0;
  runner->ahead_us = 0;
  runner->waits = false;
  for (size_t i = runner->begin; i < runner->end; i++)
    runner->given[i].started = false;
  testlist_free(runner->list);
  runner->list = runner->handed_over ? NULL : testlist_new();
  runner->proc = proc_spawn(&proc, why, why_size);
  for (size_t i = 0; env[i]; i++)
    free(env[i]);
  pytest_arm_start(runner);
  return runner->proc ? 0 : -1;
}

static void pytest_free(struct runner *runner);

static struct runner *pytest_start(const struct runner_spec *spec, char *why, size_t why_size) {
  struct runner *runner = base_calloc(1, sizeof *runner);
  struct adapter_events events = {.on_line = on_line, .on_broken = on_broken, .arg = runner};
  const struct adapter_file files[] = {
      {"shard_pytest.py", embed_shard_pytest_py, embed_shard_pytest_py_end},
      {"shard_pytest_end.py", embed_shard_pytest_end_py, embed_shard_pytest_end_py_end},
      {"shard_pytest_lib.py", embed_shard_pytest_lib_py, embed_shard_pytest_lib_py_end},
      {"shard_pytest_lazy.py", embed_shard_pytest_lazy_py, embed_shard_pytest_lazy_py_end},
      {"shard_pytest_options.py", embed_shard_pytest_options_py, embed_shard_pytest_options_py_end},
  };
  runner->spec = spec;
  runner->cap = event_new(spec->base, -1, 0, on_cap, runner);
  runner->kill_timer = event_new(spec->base, -1, 0, on_kill, runner);
  runner->start_timer = event_new(spec->base, -1, 0, on_start_timeout, runner);
  runner->adapter = adapter_new(spec->base, files, COUNT_OF(files), &events, why, why_size);
  if (runner->adapter && pytest_spawn(runner, why, why_size) == 0) return runner;
  pytest_free(runner);
  return NULL;
}

// ---- the other operations

static void pytest_give(struct runner *runner, const struct runner_test *tests, size_t count) {
  runner->asked = false;
  if (runner->end + count > runner->room) {
    size_t used = runner->end - runner->begin;
    if (runner->begin) memmove(runner->given, runner->given + runner->begin, used * sizeof *runner->given);
    runner->begin = 0;
    runner->end = used;
    runner->room = (used + count) * 2;
    runner->given = base_realloc(runner->given, runner->room, sizeof *runner->given);
  }
  for (size_t i = 0; i < count; i++)
    runner->given[runner->end++] = (struct pytest_test){.test = tests[i]};
  pytest_send(runner);
}

static void pytest_idle(struct runner *runner) {
  if (runner->wants) pytest_send_word(runner, "park");
}

static void pytest_finish(struct runner *runner) {
  runner->asked = false;
  runner->finishing = true;
  if (runner->wants) pytest_send_word(runner, "finish");
}

// What the interpreter was not told of is forgotten; of the rest it may have begun another by now.
static void pytest_drop(struct runner *runner) {
  runner->dropping = true;
  runner->end = runner->begin + runner->sent;
  if (runner->sent) pytest_send_word(runner, "drop");
}

static void pytest_abort(struct runner *runner) {
  runner->aborting = true;
  if (!runner->proc) {
    pytest_end(runner, RUNNER_END_STOPPED, -1, "told to stop");
    return;
  }
  struct timeval grace = {.tv_sec = PYTEST_GRACE_US / 1000000};
  proc_signal(runner->proc, SIGINT);  // pytest prints what it has
  event_add(runner->kill_timer, &grace);
}

static void pytest_free(struct runner *runner) {
  if (!runner) return;
  proc_free(runner->proc);
  adapter_free(runner->adapter);
  testlist_free(runner->list);
  pytest_lazy_reset(runner);
  if (runner->cap) event_free(runner->cap);
  if (runner->kill_timer) event_free(runner->kill_timer);
  if (runner->start_timer) event_free(runner->start_timer);
  for (size_t i = 0; i < runner->late_count; i++)
    free(runner->late[i]);
  free(runner->duplicates);
  free(runner->broken);
  free(runner->given);
  free(runner);
}

const struct runner_ops runner_pytest = {.name = "pytest",
                                         .help = "one pytest session for the worker's whole life, fed through a plugin",
                                         .lists_itself = true,
                                         .start = pytest_start,
                                         .give = pytest_give,
                                         .idle = pytest_idle,
                                         .finish = pytest_finish,
                                         .release = pytest_release,
                                         .collect = pytest_lazy_collect,
                                         .drop = pytest_drop,
                                         .abort = pytest_abort,
                                         .free = pytest_free};
