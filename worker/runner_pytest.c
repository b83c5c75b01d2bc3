// The persistent pytest runner: one pytest session for the worker's whole life, fed through the adapter
// (worker/adapters/shard_pytest.py). Called by run.c through runner_ops. What it must not know: server, leases, verdicts.
//
// A session ends well when "bye" came, the exit status agrees with it and every begun test was reported. When the
// interpreter dies under a test, that test has crashed; a new interpreter takes the rest. A test over its cap is killed
// with its interpreter the same way.
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "worker/adapter.h"
#include "worker/embed.h"
#include "worker/proc.h"
#include "worker/runner.h"

enum {
  PYTEST_RESTARTS_MAX = 100,
  PYTEST_IDS_A_LINE = 500,
  PYTEST_LINE_IDS_BYTES = 200 * 1024,
  PYTEST_GRACE_US = 5000000,
  PYTEST_LATE_MAX = 20,
};

struct pytest_test {
  struct runner_test test;
  bool started;
  uint64_t started_us;  // wall clock
};

struct runner {
  const struct runner_spec *spec;
  struct adapter *adapter;
  struct proc *proc;
  struct event *cap, *start_timer, *kill_timer;
  struct testlist *list;       // while it is collected
  struct pytest_test *given;   // not yet reported, in order
  size_t begin, end, room;
  size_t sent;                 // of given: what this interpreter was told, behind begin
  bool listed, handed_over;    // this interpreter's list is complete; the first one was handed over
  bool asked;                  // on_need was called and not answered
  bool wants;                  // this interpreter waits for tests
  bool finishing, aborting, ended;
  bool bye, stopped, any_failed;
  int bye_code, restarts;
  uint32_t collected;
  int collection_errors;
  char *broken;                // what the adapter said wrong
  char *duplicates;
  const char *killed_why;      // a test was over its cap
  char *late[PYTEST_LATE_MAX];
  size_t late_count;
};

static int pytest_spawn(struct runner *runner, char *why, size_t why_size);

// ---- the end

static void pytest_end(struct runner *runner, enum runner_end_kind kind, int code, const char *why)
{
  if (runner->ended) return;
  runner->ended = true;
  struct runner_end end = {.kind = kind, .exit_code = code, .why = why, .late_count = runner->late_count};
  const char *late[PYTEST_LATE_MAX];
  for (size_t i = 0; i < runner->late_count; i++) late[i] = runner->late[i];
  end.late = late;
  runner->spec->events.on_end(runner->spec->events.arg, &end);
}

static void pytest_add_late(struct runner *runner, const char *text)
{
  if (runner->late_count < PYTEST_LATE_MAX) runner->late[runner->late_count++] = base_strdup(text);
}

// ---- what was given

static size_t pytest_find(const struct runner *runner, const char *id)
{
  for (size_t i = runner->begin; i < runner->end; i++) {
    if (strcmp(runner->given[i].test.id, id) == 0) return i;
  }
  return SIZE_MAX;
}

static void pytest_forget(struct runner *runner, size_t at)
{
  if (at > runner->begin) {
    memmove(&runner->given[runner->begin + 1], &runner->given[runner->begin],
            (at - runner->begin) * sizeof *runner->given);
  }
  runner->begin++;
  if (runner->sent) runner->sent--;
  if (runner->begin == runner->end) runner->begin = runner->end = 0;
}

// Tells the interpreter what it has not been told.
static void pytest_send(struct runner *runner)
{
  while (runner->wants && runner->begin + runner->sent < runner->end) {
    json_t *ids = json_array(), *line = json_object();
    size_t bytes = 0, n = 0;
    for (; runner->begin + runner->sent < runner->end && n < PYTEST_IDS_A_LINE && bytes < PYTEST_LINE_IDS_BYTES; n++) {
      const char *id = runner->given[runner->begin + runner->sent].test.id;
      json_array_append_new(ids, json_string(id));
      bytes += strlen(id);
      runner->sent++;
    }
    json_object_set_new(line, "t", json_string("run"));
    json_object_set_new(line, "ids", ids);
    adapter_send(runner->adapter, line);
  }
}

static void pytest_send_word(struct runner *runner, const char *word)
{
  json_t *line = json_object();
  json_object_set_new(line, "t", json_string(word));
  adapter_send(runner->adapter, line);
}

// The interpreter wants tests: those it was not told of (after a crash), else the worker is asked.
static void pytest_need(struct runner *runner)
{
  runner->wants = true;
  if (runner->begin + runner->sent < runner->end) {
    pytest_send(runner);
  } else if (runner->finishing) {
    pytest_send_word(runner, "finish");
  } else if (!runner->asked) {
    runner->asked = true;
    runner->spec->events.on_need(runner->spec->events.arg);
  }
}

// ---- lines of the adapter

static const char *pytest_text(json_t *line, const char *key)
{
  const char *text = json_string_value(json_object_get(line, key));
  return text ? text : "";
}

static uint64_t pytest_number(json_t *line, const char *key)
{
  json_int_t n = json_integer_value(json_object_get(line, key));
  return n > 0 ? (uint64_t)n : 0;
}

PRINTF(2, 3) static void pytest_break(struct runner *runner, const char *fmt, ...)
{
  char text[1024];
  va_list args;
  if (runner->broken) return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  runner->broken = base_strdup(text);
  if (runner->proc) proc_stop(runner->proc, PYTEST_GRACE_US);
}

static void on_tests(struct runner *runner, json_t *line)
{
  json_t *ids = json_object_get(line, "ids"), *files = json_object_get(line, "files");
  json_t *units = json_object_get(line, "units");
  for (size_t i = 0; runner->list && i < json_array_size(ids); i++) {
    json_t *id = json_array_get(ids, i);
    const char *file = json_string_value(json_array_get(files, i));
    uint32_t unit = (uint32_t)json_integer_value(json_array_get(units, i));
    if (testlist_add(runner->list, json_string_value(id), json_string_length(id), file, unit) < 0) {
      pytest_break(runner, "a test id is empty, over 4096 bytes or holds a newline, or there are over 500000 tests: %.200s",
                   json_string_value(id));
    }
  }
}

static void pytest_name_duplicates(struct runner *runner, json_t *names)
{
  size_t n = json_array_size(names);
  if (n == 0 || runner->duplicates) return;
  runner->duplicates = base_strdup(json_string_value(json_array_get(names, 0)) ?: "");
  fprintf(stderr, "shard: %zu%s test id%s occur more than once, beginning with %s; the later ones are called #2, #3 …\n", n,
          n == 20 ? " or more" : "", n == 1 ? "" : "s", runner->duplicates);
}

static void on_listed(struct runner *runner, json_t *line)
{
  struct testlist *list = runner->list;
  runner->listed = true;
  event_del(runner->start_timer);
  runner->list = NULL;
  runner->collection_errors = (int)pytest_number(line, "errors");
  pytest_name_duplicates(runner, json_object_get(line, "duplicates"));
  if (!list || runner->handed_over || runner->broken) {
    testlist_free(list);
    return;
  }
  runner->handed_over = true;
  testlist_set_max_failures(list, (uint32_t)pytest_number(line, "maxfail"));
  testlist_seal(list);
  runner->collected = (uint32_t)testlist_count(list);
  if (runner->collected != pytest_number(line, "n")) {
    testlist_free(list);
    pytest_break(runner, "%s", "the list of tests is not complete");
    return;
  }
  if (runner->collected == 0) {
    testlist_free(list);  // its end will say that it is empty
    return;
  }
  runner->spec->events.on_listed(runner->spec->events.arg, list);
}

static void pytest_arm_cap(struct runner *runner, uint64_t cap_us)
{
  struct timeval after = {.tv_sec = (time_t)(cap_us / 1000000), .tv_usec = (suseconds_t)(cap_us % 1000000)};
  if (cap_us) {
    event_add(runner->cap, &after);
  } else {
    event_del(runner->cap);
  }
}

static void on_start(struct runner *runner, json_t *line)
{
  size_t at = pytest_find(runner, pytest_text(line, "id"));
  if (at == SIZE_MAX) {
    pytest_break(runner, "pytest began a test that was not given to it: %.600s", pytest_text(line, "id"));
    return;
  }
  struct pytest_test *given = &runner->given[at];
  given->started = true;
  given->started_us = base_wall_us();
  pytest_arm_cap(runner, given->test.cap_us);
  runner->spec->events.on_started(runner->spec->events.arg, given->test.tag);
}

static enum runner_status pytest_status(const char *name)
{
  static const char *const names[] = {[RUNNER_PASSED] = "passed",   [RUNNER_FAILED] = "failed",
                                      [RUNNER_ERROR] = "error",     [RUNNER_SKIPPED] = "skipped",
                                      [RUNNER_XFAILED] = "xfailed", [RUNNER_XPASSED] = "xpassed"};
  for (size_t i = RUNNER_PASSED; i < COUNT_OF(names); i++) {
    if (strcmp(names[i], name) == 0) return (enum runner_status)i;
  }
  return RUNNER_ERROR;
}

static void pytest_report(struct runner *runner, size_t at, const struct runner_result *result)
{
  enum runner_status status = result->status;
  if (status == RUNNER_FAILED || status == RUNNER_ERROR) runner->any_failed = true;
  pytest_forget(runner, at);
  runner->spec->events.on_result(runner->spec->events.arg, result);
}

static void on_result(struct runner *runner, json_t *line)
{
  size_t at = pytest_find(runner, pytest_text(line, "id"));
  json_t *text = json_object_get(line, "text");
  if (at == SIZE_MAX) {
    pytest_break(runner, "pytest reported a test that was not given to it: %.600s", pytest_text(line, "id"));
    return;
  }
  event_del(runner->cap);
  struct runner_result result = {.tag = runner->given[at].test.tag,
                                 .status = pytest_status(pytest_text(line, "status")),
                                 .start_us = pytest_number(line, "start"),
                                 .setup_us = pytest_number(line, "setup"),
                                 .call_us = pytest_number(line, "call"),
                                 .teardown_us = pytest_number(line, "teardown"),
                                 .first = json_is_true(json_object_get(line, "first")),
                                 .text = json_string_value(text),
                                 .text_bytes = json_string_length(text)};
  pytest_report(runner, at, &result);
}

static void on_need(struct runner *runner, json_t *line)
{
  (void)line;
  pytest_need(runner);
}

static void on_late(struct runner *runner, json_t *line)
{
  pytest_add_late(runner, pytest_text(line, "text"));
}

static void on_error(struct runner *runner, json_t *line)
{
  pytest_break(runner, "%.900s", pytest_text(line, "text"));
}

static void on_bye(struct runner *runner, json_t *line)
{
  runner->bye = true;
  runner->bye_code = (int)pytest_number(line, "rc");
  runner->stopped = json_is_true(json_object_get(line, "stopped"));
}

static const struct {
  const char *name;
  void (*handle)(struct runner *runner, json_t *line);
} pytest_lines[] = {{"result", on_result}, {"start", on_start}, {"need", on_need}, {"tests", on_tests},
                    {"listed", on_listed}, {"late", on_late},   {"bye", on_bye},   {"error", on_error}};

static void on_line(void *arg, json_t *line)
{
  struct runner *runner = arg;
  const char *name = pytest_text(line, "t");
  if (runner->ended || runner->broken) return;
  for (size_t i = 0; i < COUNT_OF(pytest_lines); i++) {
    if (strcmp(pytest_lines[i].name, name) == 0) {
      pytest_lines[i].handle(runner, line);
      return;
    }
  }
}

static void on_broken(void *arg, const char *why)
{
  pytest_break(arg, "the test process does not speak the adapter's protocol: %s", why);
}

// ---- the process ends

static size_t pytest_begun(const struct runner *runner)
{
  for (size_t i = runner->begin; i < runner->end; i++) {
    if (runner->given[i].started) return i;
  }
  return SIZE_MAX;
}

// The interpreter died under a test: that test has its result, another interpreter takes the rest.
static void pytest_crash(struct runner *runner, size_t at, int status)
{
  char how[200], text[600], why[400];
  const struct pytest_test *given = &runner->given[at];
  uint64_t now = base_wall_us();
  proc_describe(status, how, sizeof how);
  snprintf(text, sizeof text, "%s%s", runner->killed_why ? runner->killed_why : "the test process ended under this test: ",
           runner->killed_why ? "" : how);
  struct runner_result result = {.tag = given->test.tag,
                                 .status = runner->killed_why ? RUNNER_TIMED_OUT : RUNNER_CRASHED,
                                 .start_us = given->started_us,
                                 .call_us = now > given->started_us ? now - given->started_us : 0,
                                 .text = text,
                                 .text_bytes = strlen(text)};
  runner->killed_why = NULL;
  runner->any_failed = true;
  fprintf(stderr, "shard: %s: %s\n", given->test.id, text);
  pytest_report(runner, at, &result);
  if (runner->ended) return;
  if (++runner->restarts > PYTEST_RESTARTS_MAX) {
    pytest_end(runner, RUNNER_END_FAILED, -1, "the test process died too often");
  } else if (pytest_spawn(runner, why, sizeof why) < 0) {
    pytest_end(runner, RUNNER_END_FAILED, -1, why);
  }
}

static void pytest_unexpected(struct runner *runner, int status)
{
  char how[200], text[400];
  proc_describe(status, how, sizeof how);
  const char *when = runner->listed ? "between tests" : "before it had listed its tests";
  snprintf(text, sizeof text, "the test process ended %s: %s", when, how);
  pytest_end(runner, RUNNER_END_FAILED, -1, text);
}

// The last interpreter said bye: what its exit status means for the run.
static void pytest_ended_well(struct runner *runner, int code)
{
  char text[200];
  if (code == 5 && runner->collected == 0) {
    pytest_end(runner, RUNNER_END_EMPTY, code, "no tests were collected");
  } else if (code == 4 || (code == 2 && !runner->stopped)) {
    snprintf(text, sizeof text, runner->collection_errors ? "pytest could not collect the tests (%d errors, see above)"
                                                          : "pytest ended with a usage error (see above)",
             runner->collection_errors);
    pytest_end(runner, RUNNER_END_USAGE, code, text);
  } else if (code == 3) {
    pytest_end(runner, RUNNER_END_FAILED, code, "internal error in pytest (see above)");
  } else if (runner->begin < runner->end && !runner->stopped) {
    pytest_end(runner, RUNNER_END_FAILED, code, "pytest ended before it had run the tests given to it");
  } else {
    if (code != 0 && code != 5 && !runner->any_failed && runner->late_count == 0) {
      snprintf(text, sizeof text, "pytest ended with exit status %d, though no test it ran had failed", code);
      pytest_add_late(runner, text);
    }
    pytest_end(runner, runner->stopped ? RUNNER_END_STOPPED : RUNNER_END_OK, code, NULL);
  }
}

static void on_exit_status(void *arg, int status)
{
  struct runner *runner = arg;
  event_del(runner->cap);
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
  } else if (!runner->bye && !runner->listed && WIFEXITED(status) && WEXITSTATUS(status) == 4) {
    pytest_end(runner, RUNNER_END_USAGE, 4, "pytest ended with a usage error (see above)");
  } else {
    pytest_unexpected(runner, status);
  }
}

// ---- time

static void on_cap(evutil_socket_t fd, short what, void *arg)
{
  struct runner *runner = arg;
  (void)fd;
  (void)what;
  if (!runner->proc || runner->killed_why) return;
  runner->killed_why = "timed out: it ran longer than its cap (--timeout-per-test, by default ten times its longest known "
                       "time and at least a minute)";
  struct timeval grace = {.tv_sec = 2};
  proc_signal(runner->proc, SIGABRT);  // faulthandler, if it is on, prints where every thread is
  event_add(runner->kill_timer, &grace);
}

static void on_kill(evutil_socket_t fd, short what, void *arg)
{
  struct runner *runner = arg;
  (void)fd;
  (void)what;
  if (runner->proc) proc_signal(runner->proc, SIGKILL);
}

static void on_start_timeout(evutil_socket_t fd, short what, void *arg)
{
  (void)fd;
  (void)what;
  pytest_break(arg, "%s", "the test process had not listed its tests in time (--start-timeout); does the command run pytest, "
                          "with the same Python that PYTHONPATH reaches?");
}

// ---- start

static char *pytest_env(const char *name, const char *first, const char *separator)
{
  const char *old = getenv(name);
  return old && old[0] ? base_printf("%s=%s%s%s", name, first, separator, old) : base_printf("%s=%s", name, first);
}

static int pytest_spawn(struct runner *runner, char *why, size_t why_size)
{
  const struct runner_spec *spec = runner->spec;
  char *env[] = {base_printf("SHARD_RUNNER_SOCK=%s", adapter_socket(runner->adapter)),
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
  struct timeval limit = {.tv_sec = (time_t)(spec->start_timeout_us / 1000000),
                          .tv_usec = (suseconds_t)(spec->start_timeout_us % 1000000)};
  runner->listed = runner->bye = runner->stopped = false;
  runner->sent = 0;
  for (size_t i = runner->begin; i < runner->end; i++) runner->given[i].started = false;
  testlist_free(runner->list);
  runner->list = runner->handed_over ? NULL : testlist_new();
  runner->proc = proc_spawn(&proc, why, why_size);
  for (size_t i = 0; env[i]; i++) free(env[i]);
  if (spec->start_timeout_us) event_add(runner->start_timer, &limit);
  return runner->proc ? 0 : -1;
}

static void pytest_free(struct runner *runner);

static struct runner *pytest_start(const struct runner_spec *spec, char *why, size_t why_size)
{
  struct runner *runner = base_calloc(1, sizeof *runner);
  struct adapter_events events = {.on_line = on_line, .on_broken = on_broken, .arg = runner};
  size_t bytes = (size_t)(embed_shard_pytest_py_end - embed_shard_pytest_py);
  runner->spec = spec;
  runner->cap = event_new(spec->base, -1, 0, on_cap, runner);
  runner->kill_timer = event_new(spec->base, -1, 0, on_kill, runner);
  runner->start_timer = event_new(spec->base, -1, 0, on_start_timeout, runner);
  runner->adapter = adapter_new(spec->base, "shard_pytest.py", embed_shard_pytest_py, bytes, &events, why, why_size);
  if (runner->adapter && pytest_spawn(runner, why, why_size) == 0) return runner;
  pytest_free(runner);
  return NULL;
}

// ---- the other operations

static void pytest_give(struct runner *runner, const struct runner_test *tests, size_t count)
{
  runner->asked = false;
  if (runner->end + count > runner->room) {
    size_t used = runner->end - runner->begin;
    if (runner->begin) memmove(runner->given, runner->given + runner->begin, used * sizeof *runner->given);
    runner->begin = 0;
    runner->end = used;
    runner->room = (used + count) * 2;
    runner->given = base_realloc(runner->given, runner->room, sizeof *runner->given);
  }
  for (size_t i = 0; i < count; i++) runner->given[runner->end++] = (struct pytest_test){.test = tests[i]};
  pytest_send(runner);
}

static void pytest_idle(struct runner *runner)
{
  if (runner->wants) pytest_send_word(runner, "park");
}

static void pytest_finish(struct runner *runner)
{
  runner->asked = false;
  runner->finishing = true;
  if (runner->wants) pytest_send_word(runner, "finish");
}

static void pytest_abort(struct runner *runner)
{
  runner->aborting = true;
  if (!runner->proc) {
    pytest_end(runner, RUNNER_END_STOPPED, -1, "told to stop");
    return;
  }
  struct timeval grace = {.tv_sec = PYTEST_GRACE_US / 1000000};
  proc_signal(runner->proc, SIGINT);  // pytest prints what it has
  event_add(runner->kill_timer, &grace);
}

static void pytest_free(struct runner *runner)
{
  if (!runner) return;
  proc_free(runner->proc);
  adapter_free(runner->adapter);
  testlist_free(runner->list);
  if (runner->cap) event_free(runner->cap);
  if (runner->kill_timer) event_free(runner->kill_timer);
  if (runner->start_timer) event_free(runner->start_timer);
  for (size_t i = 0; i < runner->late_count; i++) free(runner->late[i]);
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
                                         .abort = pytest_abort,
                                         .free = pytest_free};
