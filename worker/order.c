// The order of a build's attempts from QUERY_REPORT. Called by replay.c and bisect.c.
#include "worker/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/cases.h"
#include "worker/show.h"

enum { FLAG_LOST = 16, ATTEMPTS_MAX = 4000000 };  // FLAG_LOST: it stands for workers that vanished

static int on_page(void *arg, const struct answer *answer);
static int add(struct order *order, const struct answer *answer, size_t row);
static int compare(const void *a, const void *b);
static void test_free(struct order_test *test);

int order_fetch(struct order *order, const struct options *options, const char *build) {
  *order = (struct order){0};
  const struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_REPORT,
                            .build = build,
                            .limit = ATTEMPTS_MAX,
                            .on_page = on_page,
                            .arg = order};
  int code = show_run(options, &show);
  if (order->count > 0) qsort(order->test, order->count, sizeof *order->test, compare);
  return code;
}

void order_release(struct order *order) {
  for (size_t i = 0; i < order->count; i++)
    test_free(&order->test[i]);
  free(order->test);
  *order = (struct order){0};
}

int order_keep_worker(struct order *order, uint64_t worker) {
  size_t kept = 0;
  for (size_t i = 0; i < order->count; i++) {
    if (order->test[i].worker == worker)
      order->test[kept++] = order->test[i];
    else
      test_free(&order->test[i]);
  }
  order->count = kept;
  return kept > 0 ? 0 : -1;
}

int order_keep_until(struct order *order, const char *id, bool failed) {
  size_t n = order->count;
  while (n > 0 && (strcmp(order->test[n - 1].id, id) != 0 || (failed && !order->test[n - 1].failed)))
    n--;
  if (n == 0) return -1;
  while (order->count > n)
    test_free(&order->test[--order->count]);
  return 0;
}

const struct order_test *order_last_failure(const struct order *order, const char *id) {
  const struct order_test *last = NULL;
  for (size_t i = 0; i < order->count; i++) {
    const struct order_test *test = &order->test[i];
    bool later = last == NULL || test->start_ms >= last->start_ms;
    if (test->failed && later && strcmp(test->id, id) == 0) last = test;
  }
  return last;
}

static int on_page(void *arg, const struct answer *answer) {
  for (size_t row = 0; row < answer->row_count; row++) {
    if (add(arg, answer, row) == 0) continue;
    fprintf(stderr, "shard: the report makes no sense; install shard and shardd of one version\n");
    return EXIT_INFRA;
  }
  return EXIT_OK;
}

static int add(struct order *order, const struct answer *answer, size_t row) {
  int64_t attempt = answer_get_number(answer, row, "attempt", -1), flags = answer_get_number(answer, row, "flags", 0);
  int64_t worker = answer_get_number(answer, row, "worker", -1), status = answer_get_number(answer, row, "status", 0);
  if (attempt < 0) return -1;
  if (attempt == 0 || flags & FLAG_LOST || worker < 0) return 0;
  char *id = answer_get_text(answer, row, "id"), *file = answer_get_text(answer, row, "file");
  if (file[0] == '\0') {
    free(file);
    file = NULL;
  }
  if (order->count == order->room) {
    order->room = order->room ? 2 * order->room : 1024;
    order->test = base_realloc(order->test, order->room, sizeof *order->test);
  }
  order->test[order->count++] = (struct order_test){.id = id,
                                                    .file = file,
                                                    .worker = (uint32_t)worker,
                                                    .attempt = (uint32_t)attempt,
                                                    .position = (uint32_t)answer_get_number(answer, row, "position", 0),
                                                    .start_ms = (uint64_t)answer_get_number(answer, row, "start", 0),
                                                    .failed = cases_bad((enum runner_status)status)};
  return 0;
}

static int compare(const void *a, const void *b) {
  const struct order_test *x = a, *y = b;
  if (x->worker != y->worker) return x->worker < y->worker ? -1 : 1;
  if (x->start_ms != y->start_ms) return x->start_ms < y->start_ms ? -1 : 1;
  if (x->position != y->position) return x->position < y->position ? -1 : 1;
  return (x->attempt > y->attempt) - (x->attempt < y->attempt);
}

static void test_free(struct order_test *test) {
  free(test->id);
  free(test->file);
}
