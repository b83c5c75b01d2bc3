// Drives a runner with a list of tests that is known beforehand: start, list, all tests at once, end. Called by
// replay.c and bisect.c. Knows runners by runner.h only, and no server.
#include "worker/rerun.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WHY_BYTES = 512, SIGNALS = 3 };

struct rerun {
  const struct options *options;
  struct event_base *base;
  struct event *signal[SIGNALS];
  const struct runner_ops *ops;
  struct runner *runner;
  struct testlist *list;
  struct rerun_test *tests;
  size_t count;
  bool needs, given;
  int code;
};

static int start(struct rerun *rerun, char *const *command);
static void on_listed(void *arg, struct testlist *list);
static void on_started(void *arg, uint32_t tag);
static void on_result(void *arg, const struct runner_result *result);
static void on_need(void *arg);
static void on_end(void *arg, const struct runner_end *end);
static void on_signal(evutil_socket_t signo, short what, void *arg);
static void give(struct rerun *rerun);
static int silence(void);

int rerun_tests(const struct options *options, char *const *command, struct rerun_test *tests, size_t count,
                bool silent) {
  static const int signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
  struct rerun rerun = {
      .options = options, .base = event_base_new(), .tests = tests, .count = count, .code = EXIT_INFRA};
  (void)fflush(stdout);
  int before = silent ? silence() : -1;
  for (size_t i = 0; i < SIGNALS; i++) {
    rerun.signal[i] = evsignal_new(rerun.base, signals[i], on_signal, &rerun);
    event_add(rerun.signal[i], NULL);
  }
  if (start(&rerun, command) != 0) rerun.code = EXIT_USAGE;
  for (size_t i = 0; i < SIGNALS; i++)
    event_free(rerun.signal[i]);
  testlist_free(rerun.list);
  event_base_free(rerun.base);
  if (before >= 0 && dup2(before, STDOUT_FILENO) >= 0) close(before);
  return rerun.code;
}

static int start(struct rerun *rerun, char *const *command) {
  const struct options *options = rerun->options;
  char *list_argv[4], why[WHY_BYTES];
  struct runner_spec spec = {.argv = command,
                             .list_argv = options_list_argv(options, list_argv),
                             .list_file = options->list_file[0] ? options->list_file : NULL,
                             .results = options->results,
                             .node = "0",
                             .build = "replay",
                             .want_list = true,
                             .start_timeout_us = options->start_timeout_us,
                             .base = rerun->base,
                             .events = {.on_listed = on_listed,
                                        .on_started = on_started,
                                        .on_result = on_result,
                                        .on_need = on_need,
                                        .on_end = on_end,
                                        .arg = rerun}};
  rerun->ops = runner_find(options_runner(options), command);
  bool good = rerun->ops->check == NULL || rerun->ops->check(&spec, why, sizeof why) == 0;
  if (good) rerun->runner = rerun->ops->start(&spec, why, sizeof why);
  if (rerun->runner == NULL) {
    fprintf(stderr, "shard: %s\n", why);
    return -1;
  }
  event_base_dispatch(rerun->base);
  rerun->ops->free(rerun->runner);
  return 0;
}

static void on_listed(void *arg, struct testlist *list) {
  struct rerun *rerun = arg;
  (void)testlist_seal(list);
  rerun->list = list;
  give(rerun);
}

static void on_started(void *arg, uint32_t tag) {
  (void)arg, (void)tag;
}

static void on_result(void *arg, const struct runner_result *result) {
  struct rerun *rerun = arg;
  if (result->tag < rerun->count) rerun->tests[result->tag].status = result->status;
}

static void on_need(void *arg) {
  struct rerun *rerun = arg;
  rerun->needs = true;
  give(rerun);
}

static void give(struct rerun *rerun) {
  if (rerun->list == NULL || !rerun->needs) return;
  rerun->needs = false;
  struct runner_test *tests = base_calloc(rerun->count, sizeof *tests);
  size_t n = 0;
  for (size_t i = 0; i < rerun->count && !rerun->given; i++) {
    struct rerun_test *test = &rerun->tests[i];
    test->gone = testlist_find(rerun->list, test->id, strlen(test->id)) < 0;
    if (test->gone) continue;
    tests[n++] = (struct runner_test){.id = test->id,
                                      .file = test->file,
                                      .tag = (uint32_t)i,
                                      .cap_us = rerun->options->timeout_per_test_us,
                                      .cap_from = RUNNER_CAP_ASKED};
  }
  rerun->given = true;
  if (n > 0)
    rerun->ops->give(rerun->runner, tests, n);
  else
    rerun->ops->finish(rerun->runner);
  free(tests);
}

// A runner that stopped by its own option (-x) has done what it was asked for.
static void on_end(void *arg, const struct runner_end *end) {
  static const int codes[] = {[RUNNER_END_OK] = EXIT_OK,
                              [RUNNER_END_STOPPED] = EXIT_OK,
                              [RUNNER_END_EMPTY] = EXIT_EMPTY,
                              [RUNNER_END_USAGE] = EXIT_USAGE,
                              [RUNNER_END_FAILED] = EXIT_INFRA};
  struct rerun *rerun = arg;
  rerun->code = codes[end->kind];
  if (end->why != NULL) fprintf(stderr, "shard: %s\n", end->why);
  event_base_loopbreak(rerun->base);
}

static void on_signal(evutil_socket_t signo, short what, void *arg) {
  struct rerun *rerun = arg;
  (void)what;
  rerun->code = 128 + (int)signo;
  event_base_loopbreak(rerun->base);
}

// Standard output to nowhere; what it was before, or -1.
static int silence(void) {
  int before = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (before >= 0 && null >= 0) (void)dup2(null, STDOUT_FILENO);
  if (null >= 0) close(null);
  return before;
}
