// The runner `command`: a process per batch of tests, results from JUnit XML, TAP or the exit status. Called by run.c
// over runner.h. The life of a batch: given → one or more processes started, one after the other → output passed on and
// kept → process gone → rows matched (command_results.c) → results told → more wanted. It must not know the server, and
// never takes silence for success: a test without a row ends the runner with its name. With results "exit" each test is
// a process of its own, so that the exit status is the test's.
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "worker/command_impl.h"

static int command_check(const struct runner_spec *spec, char *why, size_t why_size);
static struct runner *command_start(const struct runner_spec *spec, char *why, size_t why_size);
static void command_give(struct runner *runner, const struct runner_test *tests, size_t count);
static void command_idle(struct runner *runner);
static void command_finish(struct runner *runner);
static uint64_t command_start_cost(const struct runner *runner);
static void command_release(struct runner *runner, const uint32_t *tags, size_t count, bool *taken);
static void command_abort(struct runner *runner);
static void command_free(struct runner *runner);

static void on_kick(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

static void start_batch(struct runner *runner);
static void choose_batch(struct runner *runner, const char **ids);
static bool spawn_batch(struct runner *runner, const char *const *ids, char *why, size_t why_size);
static void on_output(void *arg, int which, const char *bytes, size_t n);
static void on_exit_batch(void *arg, int status);
static void tell_exit(struct runner *runner, int status, uint64_t wall_us);
static void tell_rows(struct runner *runner, int status, uint64_t wall_us);
static void tell_row(struct runner *runner, size_t i, const struct command_outcome *row, uint64_t *at_us,
                     uint64_t share_us);
static void fail_missing(struct runner *runner, const bool *missing, size_t count, int status, const char *problem);
static void note_exit(struct runner *runner, int status);

const struct runner_ops runner_command = {
    .name = "command",
    .help = "a process per batch of tests; results from JUnit XML, TAP or the exit status",
    .lists_itself = false,
    .check = command_check,
    .start = command_start,
    .give = command_give,
    .idle = command_idle,
    .finish = command_finish,
    .start_cost = command_start_cost,
    .release = command_release,
    .abort = command_abort,
    .free = command_free,
};

static int command_check(const struct runner_spec *spec, char *why, size_t why_size) {
  struct command_batch ignored;
  if (!spec->argv || !spec->argv[0]) {
    (void)snprintf(why, why_size, "no test command: give it behind --");
    return -1;
  }
  if (command_argv_check(spec->argv, why, why_size) < 0) return -1;
  if (command_batch_init(&ignored, spec->results, spec->node, why, why_size) < 0) return -1;
  if (spec->want_list && !spec->list_argv && !spec->list_file) {
    (void)snprintf(why, why_size,
                   "the command runner does not know the tests: give --list (a command that prints one id "
                   "per line) or --list-file");
    return -1;
  }
  return 0;
}

static struct runner *command_start(const struct runner_spec *spec, char *why, size_t why_size) {
  struct command_batch batch;
  if (command_check(spec, why, why_size) < 0) return NULL;
  if (command_batch_init(&batch, spec->results, spec->node, why, why_size) < 0) return NULL;
  struct runner *runner = base_calloc(1, sizeof(*runner));
  *runner = (struct runner){.spec = *spec, .batch = batch};
  runner->phase = spec->want_list ? PHASE_LIST : PHASE_RUN;
  excerpt_init(&runner->output, EXCERPT_TEXT_MAX_BYTES);
  runner->kick = evtimer_new(spec->base, on_kick, runner);
  runner->timer = evtimer_new(spec->base, on_timer, runner);
  if (!runner->kick || !runner->timer) base_die(EXIT_INFRA, "libevent cannot make a timer");
  event_active(runner->kick, EV_TIMEOUT, 0);
  return runner;
}

static void command_give(struct runner *runner, const struct runner_test *tests, size_t count) {
  assert(runner->phase == PHASE_RUN && !runner->finishing);
  if (runner->done == runner->given) runner->done = runner->given = 0;
  if (runner->given + count > runner->room) {
    runner->room = runner->room * 2 + count;
    runner->tests = base_realloc(runner->tests, runner->room, sizeof(*runner->tests));
  }
  memcpy(runner->tests + runner->given, tests, count * sizeof(*tests));
  runner->given += count;
  runner->asked = false;
  event_active(runner->kick, EV_TIMEOUT, 0);
}

// Nothing outlives a batch, so there is nothing to tear down.
static void command_idle(struct runner *runner) {
  (void)runner;
}

static void command_finish(struct runner *runner) {
  runner->finishing = true;
  event_active(runner->kick, EV_TIMEOUT, 0);
}

// A process for each test costs the same however they are leased.
static uint64_t command_start_cost(const struct runner *runner) {
  if (runner->batch.source == COMMAND_FROM_EXIT) return 0;
  return runner->cost_us ? runner->cost_us : START_GUESS_US;
}

// What is in the process stays there.
static void command_release(struct runner *runner, const uint32_t *tags, size_t count, bool *taken) {
  size_t kept = runner->done + runner->running;
  for (size_t i = kept; i < runner->given; i++) {
    size_t at = runner_named(tags, count, runner->tests[i].tag);
    if (at == SIZE_MAX) {
      runner->tests[kept++] = runner->tests[i];
    } else {
      taken[at] = true;
    }
  }
  runner->given = kept;
}

static void command_abort(struct runner *runner) {
  if (runner->proc) proc_stop(runner->proc, runner->aborting ? 0 : STOP_GRACE_US);
  runner->aborting = true;
  event_active(runner->kick, EV_TIMEOUT, 0);
}

static void command_free(struct runner *runner) {
  if (!runner) return;
  proc_free(runner->proc);
  command_batch_release(&runner->batch);
  command_list_free(runner->listing);
  excerpt_release(&runner->output);
  event_free(runner->kick);
  event_free(runner->timer);
  for (size_t i = 0; i < runner->late_count; i++)
    free(runner->late[i]);
  free(runner->tests);
  free(runner);
}

// Does the next thing. All callbacks start here or when a process is gone, never inside a call of run.c.
static void on_kick(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what;
  struct runner *runner = arg;
  if (runner->proc || runner->phase == PHASE_ENDED) return;
  if (runner->aborting) {
    command_end(runner, RUNNER_END_OK, -1, NULL);
  } else if (runner->phase == PHASE_LIST) {
    command_collect(runner);
  } else if (runner->done < runner->given) {
    start_batch(runner);
  } else if (runner->finishing) {
    command_end(runner, RUNNER_END_OK, 0, NULL);
  } else if (!runner->asked) {
    runner->asked = true;
    runner->spec.events.on_need(runner->spec.events.arg);
  }
}

// The listing or the batch took too long.
static void on_timer(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what;
  struct runner *runner = arg;
  if (!runner->proc) return;
  runner->timed_out = true;
  proc_stop(runner->proc, STOP_GRACE_US);
}

// The next process: as many of the given tests as fit.
static void start_batch(struct runner *runner) {
  char why[WHY_BYTES] = "";
  const char **ids = base_calloc(runner->given - runner->done, sizeof(*ids));
  choose_batch(runner, ids);
  bool ok = command_batch_begin(&runner->batch, ids, runner->running, why, sizeof(why)) == 0;
  for (size_t i = 0; ok && i < runner->running; i++)
    runner->spec.events.on_started(runner->spec.events.arg, runner->tests[runner->done + i].tag);
  ok = ok && spawn_batch(runner, ids, why, sizeof(why));
  free(ids);
  if (!ok) command_fail(runner, -1, "test command: %s", why);
}

static void choose_batch(struct runner *runner, const char **ids) {
  size_t waiting = runner->given - runner->done;
  for (size_t i = 0; i < waiting; i++)
    ids[i] = runner->tests[runner->done + i].id;
  runner->running = runner->batch.source == COMMAND_FROM_EXIT ? 1 : command_argv_fit(runner->spec.argv, ids, waiting);
}

static bool spawn_batch(struct runner *runner, const char *const *ids, char *why, size_t why_size) {
  struct command_words words = command_batch_words(&runner->batch);
  char **argv = command_argv_expand(runner->spec.argv, &words, ids, runner->running);
  char no_token[] = "SHARD_TOKEN", no_file[] = "SHARD_TOKEN_FILE";
  char *env[] = {no_token,
                 no_file,
                 base_printf("SHARD_BATCH=%s", words.batch),
                 base_printf("SHARD_NODE=%s", runner->spec.node ? runner->spec.node : ""),
                 base_printf("SHARD_BUILD=%s", runner->spec.build ? runner->spec.build : ""),
                 NULL};
  struct proc_spec spec = {.argv = argv,
                           .env = env,
                           .in = PROC_NULL,
                           .out = PROC_PIPE,
                           .err = PROC_PIPE,
                           .die_with_parent = true,
                           .base = runner->spec.base,
                           .on_output = on_output,
                           .on_exit = on_exit_batch,
                           .arg = runner};
  runner->timed_out = false;
  excerpt_clear(&runner->output);
  runner->start_us = base_now_us();
  runner->start_wall_us = base_wall_us();
  runner->proc = proc_spawn(&spec, why, why_size);
  command_argv_free(argv);
  for (size_t i = 2; env[i]; i++)
    free(env[i]);
  uint64_t cap_us = 0;
  bool capped = true;
  for (size_t i = 0; i < runner->running; i++) {
    capped = capped && runner->tests[runner->done + i].cap_us > 0;
    cap_us += runner->tests[runner->done + i].cap_us;
  }
  if (runner->proc && capped) command_arm(runner, cap_us);
  if (runner->proc && runner->aborting) proc_stop(runner->proc, STOP_GRACE_US);
  return runner->proc != NULL;
}

static void on_output(void *arg, int which, const char *bytes, size_t n) {
  struct runner *runner = arg;
  command_pass_on(which, bytes, n);
  excerpt_add(&runner->output, bytes, n);
  if (which == 1) command_batch_feed(&runner->batch, bytes, n);
}

static void on_exit_batch(void *arg, int status) {
  struct runner *runner = arg;
  uint64_t wall_us = base_now_us() - runner->start_us;
  proc_free(runner->proc);
  runner->proc = NULL;
  (void)evtimer_del(runner->timer);
  if (runner->aborting) {
    command_end(runner, RUNNER_END_OK, -1, NULL);
  } else if (runner->batch.source == COMMAND_FROM_EXIT) {
    tell_exit(runner, status, wall_us);
  } else {
    tell_rows(runner, status, wall_us);
  }
}

// The test that was alone in its process.
static void tell_exit(struct runner *runner, int status, uint64_t wall_us) {
  const struct runner_test *test = &runner->tests[runner->done];
  struct runner_result result = {
      .tag = test->tag, .start_us = runner->start_wall_us, .call_us = wall_us, .first = true};
  result.status = runner->timed_out     ? RUNNER_TIMED_OUT
                  : WIFSIGNALED(status) ? RUNNER_CRASHED
                  : status == 0         ? RUNNER_PASSED
                                        : RUNNER_FAILED;
  char how[64], *text = NULL;
  if (result.status != RUNNER_PASSED) {
    if (runner->timed_out)
      (void)snprintf(how, sizeof(how), "stopped: over its time of %" PRIu64 " ms", test->cap_us / 1000);
    else
      (void)proc_describe(status, how, sizeof(how));
    if (runner->output.total) excerpt_add_text(&runner->output, "\n");
    excerpt_add_text(&runner->output, how);
    result.text = text = excerpt_text(&runner->output, &result.text_bytes);
  }
  runner->done++;
  runner->running = 0;
  command_batch_end(&runner->batch);
  event_active(runner->kick, EV_TIMEOUT, 0);
  runner->spec.events.on_result(runner->spec.events.arg, &result);
  free(text);
}

// Half of the old, half of the new: what the process took beyond its tests.
static void learn_cost(struct runner *runner, uint64_t wall_us, uint64_t tests_us) {
  uint64_t seen = wall_us > tests_us ? wall_us - tests_us : 1;
  runner->cost_us = runner->cost_us ? (runner->cost_us + seen + 1) / 2 : seen;
}

// The tests of a process that wrote results. What has a row is told; what has none is missing, or over its time.
static void tell_rows(struct runner *runner, int status, uint64_t wall_us) {
  char problem[WHY_BYTES] = "";
  bool whole = command_batch_settle(&runner->batch, problem, sizeof(problem)) == 0;
  size_t missing_count = 0, failing = 0, count = runner->running;
  uint64_t at_us = runner->start_wall_us, share_us = wall_us / count, tests_us = 0;
  bool *missing = base_calloc(count, sizeof(*missing));
  for (size_t i = 0; i < count; i++) {
    struct command_outcome row = command_results_get(runner->batch.results, i);
    if (!row.known && runner->timed_out) row = (struct command_outcome){.known = true, .status = RUNNER_TIMED_OUT};
    missing[i] = !row.known;
    missing_count += missing[i];
    if (!row.known) continue;
    failing += row.status != RUNNER_PASSED && row.status != RUNNER_SKIPPED && row.status != RUNNER_XFAILED;
    tests_us += row.has_time ? row.time_us : share_us;
    tell_row(runner, i, &row, &at_us, share_us);
  }
  learn_cost(runner, wall_us, tests_us);
  if (missing_count) {
    fail_missing(runner, missing, missing_count, status, problem);
  } else if (!whole && !runner->timed_out) {
    command_fail(runner, WIFEXITED(status) ? WEXITSTATUS(status) : -1, "test command '%s': %s", runner->spec.argv[0],
                 problem);
  } else {
    if (status != 0 && !failing) note_exit(runner, status);
    runner->done += count;
    runner->running = 0;
    command_batch_end(&runner->batch);
    event_active(runner->kick, EV_TIMEOUT, 0);
  }
  free(missing);
}

static void tell_row(struct runner *runner, size_t i, const struct command_outcome *row, uint64_t *at_us,
                     uint64_t share_us) {
  struct runner_result result = {.tag = runner->tests[runner->done + i].tag,
                                 .status = row->status,
                                 .start_us = *at_us,
                                 .call_us = row->has_time ? row->time_us : share_us,
                                 .first = i == 0};
  *at_us += result.call_us;
  char *output = NULL;
  if (row->text_bytes) {
    result.text = row->text;
    result.text_bytes = row->text_bytes;
  } else if (row->status == RUNNER_FAILED || row->status == RUNNER_ERROR || row->status == RUNNER_TIMED_OUT) {
    result.text = output = excerpt_text(&runner->output, &result.text_bytes);
  }
  runner->spec.events.on_result(runner->spec.events.arg, &result);
  free(output);
}

// Tests that were given and have no row: nobody knows what became of them.
static void fail_missing(struct runner *runner, const bool *missing, size_t count, int status, const char *problem) {
  char names[WHY_BYTES] = "", how[64], rows[512];
  size_t named = 0;
  for (size_t i = 0; i < runner->running && named < NAMED_MAX; i++) {
    if (!missing[i]) continue;
    size_t used = strlen(names);
    (void)snprintf(names + used, sizeof(names) - used, "%s'%.150s'", named++ ? ", " : "",
                   runner->tests[runner->done + i].id);
  }
  command_fail(
      runner, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
      "%zu of %zu tests given to '%s' have no result: %s%s; %s; %s%s%s. Every test that is given must be reported "
      "under its id: check the test command and --results",
      count, runner->running, runner->spec.argv[0], names, count > named ? ", ..." : "",
      proc_describe(status, how, sizeof(how)), command_results_describe(runner->batch.results, rows, sizeof(rows)),
      problem[0] ? "; " : "", problem);
}

// The command failed and no test of the batch did: an error that belongs to no test.
static void note_exit(struct runner *runner, int status) {
  if (runner->late_count == LATE_MAX) return;
  char how[64], rows[512];
  size_t n;
  char *output = excerpt_text(&runner->output, &n);
  runner->late[runner->late_count++] =
      base_printf("test command '%s' ended with %s though no test of its batch failed; %s\n%s", runner->spec.argv[0],
                  proc_describe(status, how, sizeof(how)),
                  command_results_describe(runner->batch.results, rows, sizeof(rows)), output);
  free(output);
}
