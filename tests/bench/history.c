// Makes a database with a past: builds of the generated suite with all their results, written and learned from by the
// store's own code, as a daemon would in months. Called by past.py and load.py; kept in the build folder, since it
// takes a while. One test in a hundred is flaky: it fails in every tenth build, and passes when tried again.
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/store.h"
#include "tests/bench/bench.h"

enum {
  HISTORY_WORKERS = 8,
  HISTORY_PENDING = 100000,  // records under way to the disk
  HISTORY_STATUS_PASSED = 1,
  HISTORY_STATUS_FAILED = 2,
  HISTORY_STATE_RUNNING = 2,
  HISTORY_STATE_COMPLETE = 3,
  HISTORY_BUILD_MS = 1800000,  // from one build to the next
};

struct history {
  struct store *store;
  const char *path;
  uint32_t tests, builds;
  uint32_t call_us;  // of every test; 0: they differ
  uint64_t begin_ms;
  uint32_t *row;  // of each test
  char (*name)[BENCH_NAME_ROOM];
  const char **id, **file;
  uint32_t *file_of, *unit_of, files;
};

static void rest(void) {
  usleep(1000);
}

static uint32_t mix(uint32_t a, uint32_t b) {
  uint64_t x = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u;
  x ^= x >> 29;
  x *= 0xbf58476d1ce4e5b9u;
  return (uint32_t)(x >> 32);
}

// ---- the suite

static void make_suite(struct history *history) {
  uint32_t n = history->tests, files = (n + BENCH_FILE_TESTS - 1) / BENCH_FILE_TESTS;
  history->files = files;
  history->name = base_calloc(n + files, sizeof *history->name);
  history->id = base_calloc(n + files, sizeof *history->id);
  history->file = history->id + n;
  history->file_of = base_calloc(2 * (size_t)n, sizeof *history->file_of);
  history->unit_of = history->file_of + n;
  for (uint32_t i = 0; i < n; i++) {
    bench_id(history->name[i], i);
    history->file_of[i] = i / BENCH_FILE_TESTS;
    history->unit_of[i] = i / BENCH_UNIT_TESTS;
  }
  for (uint32_t i = 0; i < files; i++)
    bench_file(history->name[n + i], i);
  for (uint32_t i = 0; i < n + files; i++)
    history->id[i] = history->name[i];
}

// From 1 ms to half a minute, most of them short; steady from build to build within a fifth.
static uint32_t call_us(const struct history *history, uint32_t test, uint32_t build) {
  if (history->call_us) return history->call_us;
  uint32_t base = 1000u << (mix(test, 1) % 8 + mix(test, 2) % 8);
  return base + base / 100 * (mix(test, build + 3) % 20);
}

// ---- builds

static void put_build(struct history *history, uint64_t build, uint32_t number, uint64_t at_ms) {
  char *ext = base_printf("past-%u", number), *commit = base_printf("%040x", number / 2);
  const struct store_build record = {.build = build,
                                     .project = "bench",
                                     .suite = "default",
                                     .ext = ext,
                                     .commit = commit,
                                     .branch = number % 4 ? "topic" : "main",
                                     .started_ms = at_ms,
                                     .trunk = number % 4 == 0};
  store_put_build(history->store, &record);
  for (uint32_t i = 0; i < HISTORY_WORKERS; i++) {
    char node[8];
    snprintf(node, sizeof node, "%u", i);
    const struct store_worker worker = {
        .build = build, .worker = i, .node = node, .attempt = "1", .host = "bench", .joined_ms = at_ms};
    store_put_worker(history->store, &worker);
  }
  free(ext);
  free(commit);
}

static void put_list(struct history *history, uint64_t build) {
  const struct store_list list = {.build = build,
                                  .count = history->tests,
                                  .file_count = history->files,
                                  .id = history->id,
                                  .file = history->file,
                                  .file_of = history->file_of,
                                  .unit_of = history->unit_of};
  struct store_listed *listed;
  store_put_list(history->store, &list);
  while (!(listed = store_poll(history->store)))
    rest();
  memcpy(history->row, listed->test, history->tests * sizeof *history->row);
  store_listed_free(listed);
}

static void put_results(struct history *history, uint64_t build, uint32_t number, uint64_t at_ms) {
  for (uint32_t i = 0; i < history->tests; i++) {
    struct store_result result = {.build = build,
                                  .test = history->row[i],
                                  .attempt = 1,
                                  .worker = i / BENCH_FILE_TESTS % HISTORY_WORKERS,
                                  .status = HISTORY_STATUS_PASSED,
                                  .flags = STORE_SETTLES,
                                  .round = 1,
                                  .start_ms = at_ms + i,
                                  .setup_us = history->call_us ? 0 : 20,
                                  .call_us = call_us(history, i, number),
                                  .teardown_us = history->call_us ? 0 : 10};
    if (!history->call_us && i % 100 == 7 && mix(i, number) % 10 == 0) {
      result.status = HISTORY_STATUS_FAILED;
      result.flags = 0;
      store_put_result(history->store, &result);
      result = (struct store_result){.build = build,
                                     .test = result.test,
                                     .attempt = 2,
                                     .worker = result.worker,
                                     .status = HISTORY_STATUS_PASSED,
                                     .flags = STORE_SETTLES,
                                     .round = 1,
                                     .start_ms = result.start_ms + 1,
                                     .call_us = result.call_us};
    }
    store_put_result(history->store, &result);
    while (store_pending(history->store) > HISTORY_PENDING)
      rest();
  }
}

static void make_build(struct history *history, uint32_t number) {
  uint64_t build = store_next_build(history->store) + number;
  uint64_t at_ms = history->begin_ms + (uint64_t)number * HISTORY_BUILD_MS;
  put_build(history, build, number, at_ms);
  put_list(history, build);
  store_put_state(history->store, build, HISTORY_STATE_RUNNING, at_ms, NULL);
  put_results(history, build, number, at_ms);
  store_put_state(history->store, build, HISTORY_STATE_COMPLETE, at_ms + HISTORY_BUILD_MS / 2, NULL);
}

// ---- waiting for the store

static int64_t count_unlearned(const char *path) {
  sqlite3 *db = NULL;
  sqlite3_stmt *stmt = NULL;
  int64_t n = -1;
  if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
      sqlite3_prepare_v2(db, "SELECT count(*) FROM build WHERE learned_round < round", -1, &stmt, NULL) == SQLITE_OK &&
      sqlite3_step(stmt) == SQLITE_ROW)
    n = sqlite3_column_int64(stmt, 0);
  sqlite3_finalize(stmt);
  sqlite3_close(db);
  return n;
}

static void wait_until_learned(struct history *history) {
  while (store_pending(history->store))
    rest();
  for (int64_t left; (left = count_unlearned(history->path)) != 0; usleep(100000)) {
    if (left < 0) bench_die(history->path, "cannot be read");
  }
}

int main(int argc, char **argv) {
  struct store_error error;
  bench_program("history");
  if (argc != 5) bench_die("usage", "history DATABASE TESTS BUILDS CALL_US: of every test, 0: they differ");
  struct history history = {.path = argv[1],
                            .tests = (uint32_t)bench_number("tests", argv[2], 1, 500000),
                            .builds = (uint32_t)bench_number("builds", argv[3], 1, 10000),
                            .call_us = (uint32_t)bench_number("call_us", argv[4], 0, UINT32_MAX)};
  const struct store_options options = {.path = history.path};
  base_log_init("history", LOG_LEVEL_ERROR);
  history.store = store_open(&options, &error);
  if (!history.store) bench_die("store", error.text);
  history.row = base_calloc(history.tests, sizeof *history.row);
  history.begin_ms = base_wall_us() / 1000 - (uint64_t)(history.builds + 1) * HISTORY_BUILD_MS;
  make_suite(&history);
  for (uint32_t i = 0; i < history.builds; i++)
    make_build(&history, i);
  wait_until_learned(&history);
  store_close(history.store);
  free(history.row);
  free(history.name);
  free(history.id);
  free(history.file_of);
  return EXIT_OK;
}
