// Questions with --branch and --since, asked of a large history. Called by planted.c. What fits nothing has nothing to
// stop at, and a branch that ran little stands nowhere in the order of all: those are the forms that cost.
#include "tests/bench/narrowed.h"

#include <poll.h>
#include <stdlib.h>

enum { REPEAT = 9, ASKED = 20, COMPLETE = 3, PASSED = 1 };

typedef int table_fn(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error);

static const struct table {
  const char *name;
  table_fn *ask;
} tables[] = {{"flaky", store_query_flaky},
              {"broken", store_query_broken},
              {"slower", store_query_slower},
              {"slow", store_query_slow}};

static const struct form {
  const char *name, *branch;
  uint64_t age_ms;  // 0: any
} forms[] = {{"--branch main", "main", 0},
             {"--branch few", "few", 0},
             {"--branch none", "none", 0},
             {"--since 7d", NULL, UINT64_C(7) * 86400000},
             {"--since 1ms", NULL, 1}};

static void add_few(const struct narrowed *narrowed);
static void wait_for(struct store *store, uint64_t ticket, uint32_t *row);
static uint64_t median_us(struct store *store, const struct table *table, const struct form *form);

int narrowed_look(const struct narrowed *narrowed) {
  int missed = 0;
  add_few(narrowed);
  printf("\n%-14s", "server time");
  for (size_t i = 0; i < COUNT_OF(tables); i++)
    printf(" %12s", tables[i].name);
  for (size_t f = 0; f < COUNT_OF(forms); f++) {
    printf("\n%-14s", forms[f].name);
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
      uint64_t us = median_us(narrowed->store, &tables[i], &forms[f]);
      missed += us > narrowed->target_us;
      printf(" %9.2f ms%s", (double)us / 1000, us > narrowed->target_us ? " MISSED" : "");
      if (narrowed->json == NULL) continue;
      fprintf(narrowed->json, ",\n  \"%s %s\": {\"us\": %ju}", tables[i].name, forms[f].name, (uintmax_t)us);
    }
  }
  printf("\nnarrowed: 20 rows at most, <= %ju ms\n", (uintmax_t)narrowed->target_us / 1000);
  return missed;
}

// A branch of its own, whose only build ran one file.
static void add_few(const struct narrowed *narrowed) {
  uint64_t at_ms = base_wall_us() / 1000;
  uint32_t file_of[NARROWED_TESTS] = {0}, unit_of[NARROWED_TESTS], row[NARROWED_TESTS];
  const struct store_build build = {.build = narrowed->build,
                                    .project = "bench",
                                    .suite = "default",
                                    .ext = "few",
                                    .commit = "few",
                                    .branch = "few",
                                    .started_ms = at_ms};
  const struct store_worker worker = {
      .build = narrowed->build, .node = "0", .attempt = "1", .host = "0", .joined_ms = at_ms};
  for (uint32_t i = 0; i < NARROWED_TESTS; i++)
    unit_of[i] = i;
  const struct store_list list = {.build = narrowed->build,
                                  .count = NARROWED_TESTS,
                                  .file_count = 1,
                                  .id = narrowed->id,
                                  .file = &narrowed->file,
                                  .file_of = file_of,
                                  .unit_of = unit_of};
  (void)store_put_build(narrowed->store, &build);
  (void)store_put_worker(narrowed->store, &worker);
  wait_for(narrowed->store, store_put_list(narrowed->store, &list), row);
  for (uint32_t i = 0; i < NARROWED_TESTS; i++) {
    const struct store_result result = {.build = narrowed->build,
                                        .test = row[i],
                                        .attempt = 1,
                                        .status = PASSED,
                                        .flags = STORE_SETTLES,
                                        .round = 1,
                                        .start_ms = at_ms,
                                        .call_us = 1000};
    (void)store_put_result(narrowed->store, &result);
  }
  wait_for(narrowed->store, store_put_state(narrowed->store, narrowed->build, COMPLETE, at_ms + 100, NULL), row);
}

static void wait_for(struct store *store, uint64_t ticket, uint32_t *row) {
  struct pollfd fd = {.fd = store_eventfd(store), .events = POLLIN};
  while (store_durable(store) < ticket) {
    (void)poll(&fd, 1, 1000);
    struct store_listed *listed = store_poll(store);
    for (uint32_t i = 0; listed != NULL && i < NARROWED_TESTS; i++)
      row[i] = listed->test[i];
    store_listed_free(listed);
  }
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static uint64_t median_us(struct store *store, const struct table *table, const struct form *form) {
  uint64_t took[REPEAT];
  for (int i = 0; i < REPEAT; i++) {
    struct store_query query = {.project = "bench", .suite = "", .test = "", .limit = ASKED, .branch = form->branch};
    struct store_error error;
    struct rows rows;
    uint64_t began = base_now_us();
    if (form->age_ms > 0) query.since_ms = base_wall_us() / 1000 - form->age_ms;
    if (table->ask(store, &query, &rows, &error) != 0) base_die(EXIT_INFRA, "%s", error.text);
    took[i] = base_now_us() - began;
    rows_release(&rows);
  }
  qsort(took, REPEAT, sizeof *took, compare);
  return took[REPEAT / 2];
}
