// `shard replay BUILD --worker N [--until ID] [-- COMMAND]`. Called by main.c. Without a command it prints ids, one a
// line, for other programs; with one it runs them here.
#include "worker/replay.h"

#include <stdio.h>
#include <stdlib.h>

#include "worker/admin.h"
#include "worker/cases.h"
#include "worker/human.h"
#include "worker/order.h"
#include "worker/rerun.h"

static int choose(struct order *order, const struct options *options);
static int print(const struct order *order);
static int run(const struct order *order, const struct options *options, char *const *command);

int replay_main(struct options *options, char **words, size_t count, char **command) {
  struct order order;
  (void)count;
  if (options_source(options, "worker") == CONF_FROM_DEFAULT) {
    fprintf(stderr, "shard replay: say whose order with --worker N; shard workers --build %s lists them\n", words[0]);
    return EXIT_USAGE;
  }
  int code = order_fetch(&order, options, words[0]);
  if (code == EXIT_OK) code = choose(&order, options);
  if (code == EXIT_OK) code = command != NULL ? run(&order, options, command) : print(&order);
  order_release(&order);
  return code;
}

static int choose(struct order *order, const struct options *options) {
  if (order_keep_worker(order, options->worker) != 0) {
    fprintf(stderr, "shard replay: worker %ju reported no test of this build, or its results were dropped by now\n",
            (uintmax_t)options->worker);
    return EXIT_USAGE;
  }
  if (options->until[0] == '\0' || order_keep_until(order, options->until, false) == 0) return EXIT_OK;
  fprintf(stderr, "shard replay: worker %ju did not run the test of --until\n", (uintmax_t)options->worker);
  return EXIT_USAGE;
}

static int print(const struct order *order) {
  for (size_t i = 0; i < order->count; i++)
    (void)puts(order->test[i].id);
  return fflush(stdout) == 0 ? EXIT_OK : admin_fail_output();
}

static int run(const struct order *order, const struct options *options, char *const *command) {
  struct rerun_test *tests = base_calloc(order->count, sizeof *tests);
  size_t failed = 0, gone = 0, unrun = 0;
  for (size_t i = 0; i < order->count; i++)
    tests[i] = (struct rerun_test){.id = order->test[i].id, .file = order->test[i].file};
  int code = rerun_tests(options, command, tests, order->count, false);
  for (size_t i = 0; i < order->count; i++) {
    failed += cases_bad(tests[i].status);
    gone += tests[i].gone;
    unrun += !tests[i].gone && tests[i].status == 0;
  }
  fprintf(stderr, "shard replay: %zu tests, %zu failed", order->count, failed);
  if (gone > 0) fprintf(stderr, ", %zu are not in this checkout", gone);
  if (unrun > 0) fprintf(stderr, ", %zu were not run", unrun);
  fputc('\n', stderr);
  free(tests);
  return code == EXIT_OK && failed > 0 ? EXIT_TESTS_FAILED : code;
}
