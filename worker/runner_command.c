// The runner `command`: a process per batch of tests, results from JUnit XML, TAP or the exit status. Called by run.c
// over runner.h. The life of a batch: given → process started → output passed on and kept → process gone → report read
// in slices, so that heartbeats go on → rows matched (command_results.c) → results told, or another process for what
// they leave open (command_settle.c) → more wanted. It must not know the server, and never takes silence for success.
// With results "exit" each test is a process of its own, so that the exit status is the test's.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "worker/command_settle.h"

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
static void start_process(struct runner *runner);
static struct command_limit limit_of(const struct runner *runner);
static bool spawn_batch(struct runner *runner, const char *const *ids, char *why, size_t why_size);
static void on_output(void *arg, int which, const char *bytes, size_t n);
static void on_exit_batch(void *arg, int status);
static void tell_exit(struct runner *runner, int status, uint64_t wall_us);
static void read_report(struct runner *runner);
static void batch_over(struct runner *runner);

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
  uint64_t cost_us = command_share_cost_us(&runner->share);
  return cost_us ? cost_us : START_GUESS_US;
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
  command_settle_release(runner);
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
  } else if (runner->reading) {
    read_report(runner);
  } else if (runner->inside_count > 0) {
    start_process(runner);
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

// The next batch: as many of the given tests as fit into a process.
static void start_batch(struct runner *runner) {
  size_t waiting = runner->given - runner->done;
  const char **ids = base_calloc(waiting, sizeof(*ids));
  for (size_t i = 0; i < waiting; i++)
    ids[i] = runner->tests[runner->done + i].id;
  runner->running = runner->batch.source == COMMAND_FROM_EXIT ? 1 : command_argv_fit(runner->spec.argv, ids, waiting);
  free(ids);
  command_settle_begin(runner);
  start_process(runner);
}

static void start_process(struct runner *runner) {
  char why[WHY_BYTES] = "";
  const char **ids = base_calloc(runner->inside_count, sizeof(*ids));
  for (size_t i = 0; i < runner->inside_count; i++)
    ids[i] = command_test(runner, i)->id;
  bool ok = command_batch_begin(&runner->batch, ids, runner->inside_count, why, sizeof(why)) == 0;
  for (size_t i = 0; ok && i < runner->inside_count; i++)
    runner->spec.events.on_started(runner->spec.events.arg, command_test(runner, i)->tag);
  ok = ok && spawn_batch(runner, ids, why, sizeof(why));
  free(ids);
  if (!ok) command_fail(runner, -1, "test command: %s", why);
}

// What a default limit has ended runs once more with a longer one.
static struct command_limit limit_of(const struct runner *runner) {
  struct command_limit limit = command_limit_of(runner->tests + runner->done, runner->inside, runner->inside_count);
  if (runner->open_guess && limit.us < UINT64_MAX / COMMAND_LIMIT_LONGER) limit.us *= COMMAND_LIMIT_LONGER;
  return limit;
}

static bool spawn_batch(struct runner *runner, const char *const *ids, char *why, size_t why_size) {
  struct command_words words = command_batch_words(&runner->batch);
  char **argv = command_argv_expand(runner->spec.argv, &words, ids, runner->inside_count);
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
  runner->limit = limit_of(runner);
  excerpt_clear(&runner->output);
  command_ran_clear(&runner->ran);
  runner->start_us = base_now_us();
  runner->start_wall_us = base_wall_us();
  runner->proc = proc_spawn(&spec, why, why_size);
  command_argv_free(argv);
  for (size_t i = 2; env[i]; i++)
    free(env[i]);
  if (runner->proc && runner->limit.us) command_arm(runner, runner->limit.us);
  if (runner->proc && runner->aborting) proc_stop(runner->proc, STOP_GRACE_US);
  return runner->proc != NULL;
}

static void on_output(void *arg, int which, const char *bytes, size_t n) {
  struct runner *runner = arg;
  command_pass_on(which, bytes, n);
  excerpt_add(&runner->output, bytes, n);
  if (runner->batch.source == COMMAND_FROM_EXIT) command_ran_feed(&runner->ran, which, bytes, n);
  if (which == 1) command_batch_feed(&runner->batch, bytes, n);
}

static void on_exit_batch(void *arg, int status) {
  struct runner *runner = arg;
  runner->wall_us = base_now_us() - runner->start_us;
  runner->status = status;
  proc_free(runner->proc);
  runner->proc = NULL;
  (void)evtimer_del(runner->timer);
  if (runner->aborting) {
    command_end(runner, RUNNER_END_OK, -1, NULL);
  } else if (runner->batch.source == COMMAND_FROM_EXIT) {
    tell_exit(runner, status, runner->wall_us);
  } else {
    runner->reading = true;
    read_report(runner);
  }
}

// What the exit status says, unless the output says that nothing ran.
static enum runner_status exit_status(struct runner *runner, int status, const char **nothing) {
  if (runner->timed_out) return RUNNER_TIMED_OUT;
  if (WIFSIGNALED(status)) return RUNNER_CRASHED;
  if (status != 0) return RUNNER_FAILED;
  *nothing = command_ran_nothing(&runner->ran);
  return !*nothing ? RUNNER_PASSED : runner->ran.skipped ? RUNNER_SKIPPED : RUNNER_ERROR;
}

// The test that was alone in its process.
static void tell_exit(struct runner *runner, int status, uint64_t wall_us) {
  const struct runner_test *test = command_test(runner, 0);
  const char *nothing = NULL;
  struct runner_result result = {
      .tag = test->tag, .start_us = runner->start_wall_us, .call_us = wall_us, .first = true};
  char how[COMMAND_RAN_LINE_BYTES + RUNNER_CAP_TEXT_BYTES], *text = NULL;
  result.status = exit_status(runner, status, &nothing);
  if (result.status != RUNNER_PASSED) {
    if (runner->timed_out)
      runner_cap_text(test, how);
    else if (nothing)
      (void)snprintf(how, sizeof(how), "nothing ran: the test command ended with 0 and said '%s'", nothing);
    else
      (void)proc_describe(status, how, sizeof(how));
    if (runner->output.total) excerpt_add_text(&runner->output, "\n");
    excerpt_add_text(&runner->output, how);
    result.text = text = excerpt_text(&runner->output, &result.text_bytes);
  }
  batch_over(runner);
  runner->spec.events.on_result(runner->spec.events.arg, &result);
  free(text);
}

// A slice of the report, and the next one in another turn of the loop.
static void read_report(struct runner *runner) {
  static const struct timeval next_turn = {0};
  char problem[WHY_BYTES] = "";
  enum command_read read = command_batch_read(&runner->batch, problem, sizeof(problem));
  if (read == COMMAND_READ_MORE) {
    (void)evtimer_add(runner->kick, &next_turn);
    return;
  }
  runner->reading = false;
  if (!command_settle_process(runner, read == COMMAND_READ_WHOLE, problem)) return;
  command_batch_end(&runner->batch);
  if (runner->inside_count > 0)
    event_active(runner->kick, EV_TIMEOUT, 0);
  else
    batch_over(runner);
}

static void batch_over(struct runner *runner) {
  command_settle_release(runner);
  runner->done += runner->running;
  runner->running = 0;
  command_batch_end(&runner->batch);
  event_active(runner->kick, EV_TIMEOUT, 0);
}
