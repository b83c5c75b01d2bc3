// `shard bisect BUILD ID -- COMMAND`. Called by main.c. Takes the order of the worker on which the test failed, and
// runs parts of it here, always with the test behind them.
//
// The search: P(k) is the first k tests of the order. P(0) passes and P(all) fails, so that halving finds a k for which
// P(k-1) passes and P(k) fails: its last test is needed for the failure, whatever the others do. It is kept at the end
// of all further runs. When what is kept fails by itself that is the answer, else there is one more test to find before
// it. Each takes log2(tests) runs.
#include "worker/bisect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/admin.h"
#include "worker/cases.h"
#include "worker/human.h"
#include "worker/order.h"
#include "worker/rerun.h"

enum { KEPT_MAX = 8 };

struct bisect {
  const struct options *options;
  char *const *command;
  struct order order;     // the last one is the test itself
  size_t kept[KEPT_MAX];  // places of what is needed, the last found first
  size_t kept_count;
  unsigned runs;
};

// What a run said: EXIT_OK and *failed; else an exit code.
static int look(struct bisect *bisect, size_t prefix, bool *failed);
static int load(struct bisect *bisect, const char *build, const char *id);
static int search(struct bisect *bisect);
static int next_needed(struct bisect *bisect, size_t all);
static int tell(const struct bisect *bisect);
static void print_id(FILE *out, const char *before, const char *id);

int bisect_main(struct options *options, char **words, size_t count, char **command) {
  struct bisect bisect = {.options = options, .command = command};
  (void)count;
  int code = load(&bisect, words[0], words[1]);
  if (code == EXIT_OK) code = search(&bisect);
  if (code == EXIT_OK) code = tell(&bisect);
  order_release(&bisect.order);
  return code;
}

static int load(struct bisect *bisect, const char *build, const char *id) {
  struct order *order = &bisect->order;
  bool told = options_source(bisect->options, "worker") != CONF_FROM_DEFAULT;
  int code = order_fetch(order, bisect->options, build);
  if (code != EXIT_OK) return code;
  const struct order_test *failure = order_last_failure(order, id);
  uint64_t worker = told ? bisect->options->worker : failure != NULL ? failure->worker : 0;
  if (!told && failure == NULL) {
    print_id(stderr, "shard bisect: it did not fail in this build: ", id);
    return EXIT_USAGE;
  }
  if (order_keep_worker(order, worker) == 0 &&
      (order_keep_until(order, id, true) == 0 || order_keep_until(order, id, false) == 0)) {
    fprintf(stderr, "shard bisect: worker %ju ran %zu tests before it\n", (uintmax_t)worker, order->count - 1);
    return EXIT_OK;
  }
  fprintf(stderr, "shard bisect: worker %ju did not run the test\n", (uintmax_t)worker);
  return EXIT_USAGE;
}

static int search(struct bisect *bisect) {
  size_t all = bisect->order.count - 1;
  bool failed = false;
  int code = look(bisect, 0, &failed);
  if (code != EXIT_OK) return code;
  if (failed) {
    fprintf(stderr, "shard bisect: it fails by itself here, whatever runs before it\n");
    return EXIT_TESTS_FAILED;
  }
  code = all > 0 ? look(bisect, all, &failed) : EXIT_OK;
  if (code != EXIT_OK) return code;
  if (!failed) {
    fprintf(stderr,
            "shard bisect: it passes here in the order in which it failed: the order is not why, or not alone\n");
    return EXIT_TESTS_FAILED;
  }
  while (failed && bisect->kept_count < KEPT_MAX) {
    code = next_needed(bisect, all);
    if (code == EXIT_OK) code = look(bisect, 0, &failed);
    if (code != EXIT_OK) return code;
    if (failed) return EXIT_OK;
    all = bisect->kept[bisect->kept_count - 1];
    failed = true;
  }
  fprintf(stderr, "shard bisect: more than %d tests together make it fail\n", KEPT_MAX);
  return EXIT_TESTS_FAILED;
}

// Nothing of the order before what is kept passes, `all` of it fails: finds where that turns.
static int next_needed(struct bisect *bisect, size_t all) {
  size_t passes = 0, fails = all;
  while (fails - passes > 1) {
    size_t middle = passes + (fails - passes) / 2;
    bool failed;
    int code = look(bisect, middle, &failed);
    if (code != EXIT_OK) return code;
    if (failed)
      fails = middle;
    else
      passes = middle;
  }
  bisect->kept[bisect->kept_count++] = fails - 1;
  return EXIT_OK;
}

static int look(struct bisect *bisect, size_t prefix, bool *failed) {
  const struct order *order = &bisect->order;
  size_t n = 0, target = order->count - 1;
  struct rerun_test *tests = base_calloc(prefix + KEPT_MAX + 1, sizeof *tests);
  for (size_t i = 0; i < prefix; i++)
    tests[n++] = (struct rerun_test){.id = order->test[i].id, .file = order->test[i].file};
  for (size_t i = bisect->kept_count; i > 0; i--) {
    const struct order_test *kept = &order->test[bisect->kept[i - 1]];
    tests[n++] = (struct rerun_test){.id = kept->id, .file = kept->file};
  }
  tests[n++] = (struct rerun_test){.id = order->test[target].id, .file = order->test[target].file};
  int code = rerun_tests(bisect->options, bisect->command, tests, n, !bisect->options->verbose);
  const struct rerun_test *last = &tests[n - 1];
  *failed = cases_bad(last->status);
  if (code == EXIT_OK && last->status == 0) {
    fprintf(stderr, "shard bisect: the test %s\n",
            last->gone ? "is not in this checkout; check out the build's commit"
                       : "was not run: the command ended before it");
    code = EXIT_USAGE;
  }
  free(tests);
  bisect->runs++;
  if (code == EXIT_OK)
    fprintf(stderr, "shard bisect: run %u: behind %zu tests it %s\n", bisect->runs, n - 1,
            *failed ? "fails" : "passes");
  return code;
}

static int tell(const struct bisect *bisect) {
  const struct order *order = &bisect->order;
  print_id(stdout, "", order->test[order->count - 1].id);
  (void)printf(bisect->kept_count == 1 ? "fails behind, and passes without:\n"
                                       : "fails behind all of these in this order, and passes without any one:\n");
  for (size_t i = bisect->kept_count; i > 0; i--)
    print_id(stdout, "  ", order->test[bisect->kept[i - 1]].id);
  return fflush(stdout) == 0 ? EXIT_OK : admin_fail_output();
}

static void print_id(FILE *out, const char *before, const char *id) {
  char *safe = human_safe(id, strlen(id), ESCAPE_LINE);
  (void)fprintf(out, "%s%s\n", before, safe);
  free(safe);
}
