// `shard local`. Start: folder and history (local_place.h) → private shardd on a Unix socket → N children `shard run`,
// each told its place by environment variables, as a CI would. While they run: their lines pass through local_output.h,
// progress is asked for by the tick. End: verdict and report from the server → summary → exit code (local_end.h). It
// must not know how tests are run: to its workers it is a CI.
#include "worker/local.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/ask.h"
#include "worker/local_end.h"
#include "worker/local_output.h"
#include "worker/local_place.h"
#include "worker/local_server.h"
#include "worker/proc.h"
#include "worker/progress.h"

enum {
  START_TICK_US = 5 * 1000,  // the server is up after a few
  TICK_US = 200 * 1000,
  ASK_MS = 1000,
  WHY_BYTES = 512,
  VARIABLES_MAX = 12,
  SIGNALS = 3,
  STOP_GRACE_US = 10 * 1000 * 1000,
  IMPATIENT_GRACE_US = 2 * 1000 * 1000,
};

struct worker {
  struct local *local;
  size_t index;
  struct proc *proc;
  struct local_output *out, *err;
  bool ended;
};

struct local {
  struct options *options;
  char **command;
  struct local_place place;
  struct event_base *base;
  struct event *tick, *on_signal[SIGNALS];
  struct proc *server;
  unsigned restarts;
  bool ready;     // the server answered once
  bool stopping;  // the server is told to stop
  uint64_t began_us;
  struct ask *ask;
  bool asked;
  struct progress *progress;
  struct worker *worker;
  int *codes;  // of workers, by index
  size_t count, running;
  int signal;  // the first that told us to stop; 0: none
  int failed;  // exit code of what went wrong outside of the workers; 0: nothing did
  char *build, *attempt;
};

static int prepare(struct local *local);
static void release(struct local *local);
static int start_server(struct local *local);
static void on_server_exit(void *arg, int status);
static void on_tick(evutil_socket_t fd, short what, void *arg);
static void await_server(struct local *local);
static void start_workers(struct local *local);
static int start_worker(struct local *local, size_t index, bool plan);
static char **worker_argv(const struct local *local);
static void on_worker_output(void *arg, int which, const char *bytes, size_t n);
static void on_worker_exit(void *arg, int status);
static void look(struct local *local);
static void on_signal(evutil_socket_t signo, short what, void *arg);
static void stop_workers(struct local *local, uint64_t grace_us);
static void stop_server(struct local *local);
static int finish(struct local *local);
static void arm(struct local *local, unsigned us);
static void say(struct local *local, const char *fmt, ...) PRINTF(2, 3);

int local_main(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count;
  struct local local = {.options = options, .command = command, .began_us = base_now_us()};
  char why[WHY_BYTES];
  if (local_place_open(&local.place, options, why, sizeof why) != 0) {
    fprintf(stderr, "shard local: %s\n", why);
    return EXIT_INFRA;
  }
  int code = prepare(&local);
  if (code == EXIT_OK) {
    (void)event_base_dispatch(local.base);
    code = finish(&local);
  }
  stop_server(&local);
  release(&local);
  return code;
}

// ---- before and after

static int prepare(struct local *local) {
  static const int signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
  const struct options *options = local->options;
  uint64_t now_ms = base_wall_us() / 1000;
  bool terminal = isatty(STDERR_FILENO) == 1;
  struct progress_look look = {.out = stderr, .terminal = terminal, .color = options_color(options, STDERR_FILENO)};
  (void)signal(SIGPIPE, SIG_IGN);  // a reader of our output that goes away does not end the tests
  local->count = options->dry_run ? 1 : options->worker_count;
  local->worker = base_calloc(local->count, sizeof *local->worker);
  local->codes = base_calloc(local->count, sizeof *local->codes);
  local->attempt = base_printf("%" PRIu64 "-%ld", now_ms, (long)getpid());
  local->build = options->build[0] != '\0' ? base_strdup(options->build) : base_printf("local-%s", local->attempt);
  if (local->count > 1 && !options->quiet) local->progress = progress_new(&look);
  local->base = event_base_new();
  if (local->base == NULL) base_die(EXIT_INFRA, "libevent cannot start");
  local->tick = evtimer_new(local->base, on_tick, local);
  for (size_t i = 0; i < SIGNALS; i++) {
    local->on_signal[i] = evsignal_new(local->base, signals[i], on_signal, local);
    if (local->on_signal[i] == NULL || event_add(local->on_signal[i], NULL) != 0)
      base_die(EXIT_INFRA, "libevent cannot watch signals");
  }
  if (local->place.note[0] != '\0') say(local, "%s", local->place.note);
  arm(local, START_TICK_US);
  return start_server(local);
}

static void release(struct local *local) {
  for (size_t i = 0; i < local->count; i++) {
    proc_free(local->worker[i].proc);
    local_output_finish(local->worker[i].out);
    local_output_finish(local->worker[i].err);
  }
  progress_free(local->progress);
  ask_close(local->ask);
  proc_free(local->server);
  for (size_t i = 0; i < SIGNALS; i++)
    event_free(local->on_signal[i]);
  event_free(local->tick);
  event_base_free(local->base);
  free(local->worker);
  free(local->codes);
  free(local->build);
  free(local->attempt);
  local_place_close(&local->place);
}

static int finish(struct local *local) {
  progress_free(local->progress);
  local->progress = NULL;
  for (size_t i = 0; i < local->count; i++) {
    local_output_finish(local->worker[i].out);
    local_output_finish(local->worker[i].err);
    local->worker[i].out = local->worker[i].err = NULL;
  }
  if (local->failed != 0 && local->signal == 0) return local->failed;
  if (local->options->dry_run) return local->signal != 0 ? 128 + local->signal : local->codes[0];
  struct local_end end = {.options = local->options,
                          .address = local->place.address,
                          .build = local->build,
                          .codes = local->codes,
                          .count = local->count,
                          .signal = local->signal};
  return local->ready ? local_end_finish(&end) : local->signal != 0 ? 128 + local->signal : EXIT_INFRA;
}

// ---- the server

static int start_server(struct local *local) {
  char why[WHY_BYTES];
  local->server = local_server_start(&local->place, local->base, on_server_exit, local, why, sizeof why);
  if (local->server != NULL) return EXIT_OK;
  say(local, "%s", why);
  return EXIT_INFRA;
}

// A server that ends while workers run is started again: they wait for it and go on.
static void on_server_exit(void *arg, int status) {
  struct local *local = arg;
  char how[64];
  if (local->stopping) {
    (void)event_base_loopbreak(local->base);
    return;
  }
  say(local, "the private shardd ended: %s", proc_describe(status, how, sizeof how));
  ask_close(local->ask);
  local->ask = NULL;
  proc_free(local->server);
  local->server = NULL;
  if (local->ready && local->restarts++ < LOCAL_SERVER_RESTARTS && start_server(local) == EXIT_OK) return;
  local->failed = EXIT_INFRA;
  if (local->running == 0) (void)event_base_loopbreak(local->base);
  stop_workers(local, STOP_GRACE_US);
}

static void stop_server(struct local *local) {
  local->stopping = true;
  ask_close(local->ask);
  local->ask = NULL;
  if (local->server == NULL || !proc_running(local->server)) return;
  (void)evtimer_del(local->tick);
  proc_stop(local->server, STOP_GRACE_US);
  (void)event_base_dispatch(local->base);
}

// ---- time

static void arm(struct local *local, unsigned us) {
  struct timeval after = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
  if (evtimer_add(local->tick, &after) != 0) base_die(EXIT_INFRA, "libevent cannot set a timer");
}

static void on_tick(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what;
  struct local *local = arg;
  if (!local->ready)
    await_server(local);
  else
    look(local);
  arm(local, local->ready ? TICK_US : START_TICK_US);
}

static void await_server(struct local *local) {
  struct ask_error error;
  if (local->server == NULL) return;
  if (ask_open(&local->ask, local->place.address, "", ASK_MS, &error) == 0) {
    local->ready = true;
    start_workers(local);
    return;
  }
  bool waits = error.failure == ASK_LOST || error.failure == ASK_TRY;
  if (waits && base_now_us() - local->began_us < local->options->connect_timeout_us) return;
  say(local, "the private shardd does not answer: %s", error.text);
  local->failed = EXIT_INFRA;
  (void)event_base_loopbreak(local->base);
}

// Asks how far the build is and takes the last answer; a lost connection is made anew at the next tick.
static void look(struct local *local) {
  struct ask_error error;
  struct answer answer;
  struct winsize size = {0};
  Shardd__Query query = SHARDD__QUERY__INIT;
  if (local->progress == NULL || local->server == NULL) return;
  if (local->ask == NULL && ask_open(&local->ask, local->place.address, "", ASK_MS, &error) != 0) return;
  int found = local->asked ? ask_poll(local->ask, &answer, &error) : 0;
  if (found > 0 && answer.row_count > 0) {
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0) size.ws_col = 0;
    progress_update(local->progress, &answer, 0, size.ws_col, base_now_us());
  }
  if (found > 0) local->asked = false;
  query.kind = SHARDD__QUERY_KIND__QUERY_STATUS;
  query.build = msg_text(local->build);
  if (found == 0 && local->asked) return;
  local->asked = found >= 0 && ask_send(local->ask, &query, &error) == 0;
  if (local->asked) return;
  ask_close(local->ask);
  local->ask = NULL;
}

// ---- workers

static void start_workers(struct local *local) {
  if (local->signal != 0) return;
  for (size_t i = 0; i < local->count; i++) {
    if (start_worker(local, i, local->options->dry_run) == 0) continue;
    local->failed = EXIT_INFRA;
    stop_workers(local, STOP_GRACE_US);
    break;
  }
  if (local->running == 0) (void)event_base_loopbreak(local->base);
}

// A worker alone has our streams as they are. Nobody reads the terminal: it belongs to none of several.
static int start_worker(struct local *local, size_t index, bool plan) {
  struct worker *worker = &local->worker[index];
  bool alone = local->count == 1;
  char why[WHY_BYTES], prefix[32], **argv = worker_argv(local), *env[VARIABLES_MAX] = {NULL};
  size_t n = 0;
  *worker = (struct worker){.local = local, .index = index};
  env[n++] = base_printf("SHARD_SERVER=%s", local->place.address);
  env[n++] = base_printf("SHARD_PROJECT=%s", local->options->project);
  env[n++] = base_printf("SHARD_BUILD=%s", local->build);
  env[n++] = base_printf("SHARD_ATTEMPT=%s", local->attempt);
  env[n++] = base_printf("SHARD_NODE=%zu", index);
  env[n++] = base_printf("SHARD_TOTAL=%zu", local->count);
  env[n++] = plan ? base_printf("SHARD_PLAN=%" PRIu64, local->options->worker_count) : base_strdup("SHARD_PLAN");
  struct proc_spec spec = {.argv = argv,
                           .env = env,
                           .in = PROC_NULL,
                           .out = alone ? PROC_INHERIT : PROC_PIPE,
                           .err = alone ? PROC_INHERIT : PROC_PIPE,
                           .die_with_parent = true,
                           .base = local->base,
                           .on_output = on_worker_output,
                           .on_exit = on_worker_exit,
                           .arg = worker};
  (void)snprintf(prefix, sizeof prefix, "[%zu] ", index);
  worker->out = local_output_new(stdout, prefix, local->progress);
  worker->err = local_output_new(stderr, prefix, local->progress);
  worker->proc = proc_spawn(&spec, why, sizeof why);
  for (size_t i = 0; i < n; i++)
    free(env[i]);
  options_free_words(argv);
  local->codes[index] = EXIT_INFRA;
  worker->ended = worker->proc == NULL;
  local->running += !worker->ended;
  if (worker->ended) say(local, "%s", why);
  return worker->ended ? -1 : 0;
}

// shard run, what was given here as flags, and the command.
static char **worker_argv(const struct local *local) {
  char **flags = options_flags_for(local->options, OPTIONS_RUN);
  size_t flag_count = 0, words = 0, n = 0;
  while (flags[flag_count] != NULL)
    flag_count++;
  while (local->command[words] != NULL)
    words++;
  char **argv = base_calloc(flag_count + words + 4, sizeof *argv);
  argv[n++] = base_strdup(local->place.self);
  argv[n++] = base_strdup("run");
  for (size_t i = 0; i < flag_count; i++)
    argv[n++] = flags[i];
  argv[n++] = base_strdup("--");
  for (size_t i = 0; i < words; i++)
    argv[n++] = base_strdup(local->command[i]);
  free(flags);
  return argv;
}

static void on_worker_output(void *arg, int which, const char *bytes, size_t n) {
  struct worker *worker = arg;
  local_output_feed(which == 1 ? worker->out : worker->err, bytes, n);
}

static void on_worker_exit(void *arg, int status) {
  struct worker *worker = arg;
  struct local *local = worker->local;
  char how[64];
  worker->ended = true;
  local_output_finish(worker->out);
  local_output_finish(worker->err);
  worker->out = worker->err = NULL;
  local->codes[worker->index] = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_INFRA;
  if (!WIFEXITED(status) && local->signal == 0)
    say(local, "worker %zu ended: %s", worker->index, proc_describe(status, how, sizeof how));
  if (--local->running == 0) (void)event_base_loopbreak(local->base);
}

// ---- stopping

// The first signal is handed on: workers give back what they have not begun. The second ends them, and what does not
// end.
static void on_signal(evutil_socket_t signo, short what, void *arg) {
  (void)what;
  struct local *local = arg;
  if (local->signal != 0) {
    stop_workers(local, IMPATIENT_GRACE_US);
    return;
  }
  local->signal = (int)signo;
  for (size_t i = 0; i < local->count; i++)
    if (local->worker[i].proc != NULL) proc_signal(local->worker[i].proc, (int)signo);
  if (local->running == 0) (void)event_base_loopbreak(local->base);
}

static void stop_workers(struct local *local, uint64_t grace_us) {
  for (size_t i = 0; i < local->count; i++)
    if (local->worker[i].proc != NULL && !local->worker[i].ended) proc_stop(local->worker[i].proc, grace_us);
}

static void say(struct local *local, const char *fmt, ...) {
  va_list args;
  progress_hide(local->progress);
  fputs("shard local: ", stderr);
  va_start(args, fmt);
  (void)vfprintf(stderr, fmt, args);
  va_end(args);
  fputc('\n', stderr);
  progress_show(local->progress);
}
