// What the store's unit tests share: a folder of their own with a real database in it, waiting for a ticket on the
// eventfd, made-up builds, lists and results, and a second look at the file by plain SQL.
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/store.h"

#define UNUSED __attribute__((unused))

enum {
  FX_WAIT_MS = 60000,
  FX_TEST_S = 240,
  FX_COMPLETE = 3,
  FX_PASSED = 1,
  FX_FAILED,
  FX_ERROR,
  FX_SKIPPED,
  FX_XFAILED
};

static char fx_dir[256];
static char fx_path[300];
static struct store_options fx_options;

UNUSED static int fx_setup(void **state) {
  (void)state;
  const char *tmp = getenv("TMPDIR");
  (void)snprintf(fx_dir, sizeof fx_dir, "%s/store-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
  if (mkdtemp(fx_dir) == NULL) return -1;
  (void)snprintf(fx_path, sizeof fx_path, "%s/history.db", fx_dir);
  fx_options = (struct store_options){.path = fx_path};
  alarm(FX_TEST_S);  // a test that waits for what never comes
  return 0;
}

static int fx_on_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
  (void)st, (void)flag, (void)ftw;
  return remove(path);
}

UNUSED static int fx_teardown(void **state) {
  (void)state;
  return nftw(fx_dir, fx_on_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

UNUSED static struct store *fx_open(void) {
  struct store_error error = {""};
  struct store *store = store_open(&fx_options, &error);
  if (store == NULL) fail_msg("store_open: %s", error.text);
  return store;
}

// Opens where it must be refused; the reason is left in a static buffer.
UNUSED static const char *fx_refused(void) {
  static struct store_error error;
  error.text[0] = '\0';
  assert_null(store_open(&fx_options, &error));
  assert_true(error.text[0] != '\0');
  return error.text;
}

// Until the eventfd says that something happened.
UNUSED static void fx_wake(struct store *store) {
  struct pollfd fd = {.fd = store_eventfd(store), .events = POLLIN};
  uint64_t count;
  int rc;
  do
    rc = poll(&fd, 1, FX_WAIT_MS);
  while (rc < 0 && errno == EINTR);
  assert_int_equal(rc, 1);
  if (read(fd.fd, &count, sizeof count) < 0) assert_int_equal(errno, EAGAIN);
}

UNUSED static void fx_wait(struct store *store, uint64_t ticket) {
  while (store_durable(store) < ticket)
    fx_wake(store);
}

// One number from the file, over a connection of our own.
UNUSED static int64_t fx_number(const char *sql) {
  sqlite3 *db;
  sqlite3_stmt *stmt = NULL;
  int64_t value = INT64_MIN;
  assert_int_equal(sqlite3_open_v2(fx_path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
  sqlite3_busy_timeout(db, 5000);
  if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
  if (sqlite3_step(stmt) == SQLITE_ROW) value = sqlite3_column_int64(stmt, 0);
  sqlite3_finalize(stmt);
  sqlite3_close(db);
  return value;
}

// Changes a closed file behind the store's back.
UNUSED static void fx_change(const char *sql) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open_v2(fx_path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
}

UNUSED static void fx_learned(struct store *store) {
  while (fx_number("SELECT count(*) FROM build WHERE round > learned_round + (state < 3)") > 0)
    fx_wake(store);
}

// Of the trunk, on one of its branches.
UNUSED static uint64_t fx_build_on(struct store *store, uint64_t id, const char *ext, const char *commit,
                                   const char *branch) {
  const struct store_build build = {
      .build = id,
      .project = "shop",
      .suite = "unit",
      .ext = ext,
      .commit = commit,
      .branch = branch,
      .started_ms = 1000000 + id,
      .retries = 1,
      .max_failures = 7,
      .on_retry = 2,
      .linger_us = 60000000,
      .timeout_per_test_us = 5,
      .by_file = true,
      .trunk = true,
  };
  return store_put_build(store, &build);
}

UNUSED static uint64_t fx_build(struct store *store, uint64_t id, const char *ext, const char *commit) {
  return fx_build_on(store, id, ext, commit, "main");
}

UNUSED static uint64_t fx_worker(struct store *store, uint64_t build, uint32_t number, const char *node) {
  struct store_worker worker = {
      .build = build,
      .worker = number,
      .node = node,
      .attempt = "job-1",
      .host = "runner-3",
      .joined_ms = 2000000 + number,
      .part = number,
      .parts = 2 * number,
  };
  memset(worker.session, (int)number + 1, sizeof worker.session);
  return store_put_worker(store, &worker);
}

// `count` tests test_0 … over files of `per_file` tests each, and what the store answers.
UNUSED static struct store_listed *fx_list(struct store *store, uint64_t build, uint32_t count, uint32_t per_file) {
  uint32_t files = (count + per_file - 1) / per_file;
  char **id = calloc(count + 1, sizeof *id), **file = calloc(files + 1, sizeof *file);
  uint32_t *file_of = calloc(count + 1, sizeof *file_of), *unit_of = calloc(count + 1, sizeof *unit_of);
  for (uint32_t i = 0; i < files; i++)
    assert_true(asprintf(&file[i], "t/test_%u.py", i) > 0);
  for (uint32_t i = 0; i < count; i++) {
    file_of[i] = i / per_file;
    unit_of[i] = i / 2;
    assert_true(asprintf(&id[i], "t/test_%u.py::test_%u", file_of[i], i) > 0);
  }
  const struct store_list list = {.build = build,
                                  .count = count,
                                  .file_count = files,
                                  .id = (const char *const *)id,
                                  .file = (const char *const *)file,
                                  .file_of = file_of,
                                  .unit_of = unit_of};
  fx_wait(store, store_put_list(store, &list));
  struct store_listed *listed = store_poll(store);
  assert_non_null(listed);
  assert_int_equal(listed->build, build);
  assert_int_equal(listed->count, count);
  assert_int_equal(listed->file_count, files);
  for (uint32_t i = 0; i < count; i++)
    free(id[i]);
  for (uint32_t i = 0; i < files; i++)
    free(file[i]);
  free(id);
  free(file);
  free(file_of);
  free(unit_of);
  return listed;
}

// A settled first attempt of 1 ms; change what matters before it is put.
UNUSED static struct store_result fx_result(uint64_t build, uint32_t test, uint32_t status) {
  return (struct store_result){
      .build = build,
      .test = test,
      .attempt = 1,
      .worker = 0,
      .status = status,
      .flags = STORE_SETTLES,
      .round = 1,
      .start_ms = 3000000,
      .setup_us = 100,
      .call_us = 800,
      .teardown_us = 100,
      .seq = 1,
  };
}

UNUSED static uint64_t fx_put(struct store *store, uint64_t build, uint32_t test, uint32_t status, uint32_t attempt,
                              bool settles) {
  struct store_result result = fx_result(build, test, status);
  result.attempt = attempt;
  result.flags = settles ? STORE_SETTLES : 0;
  return store_put_result(store, &result);
}

UNUSED static void fx_end(struct store *store, uint64_t build) {
  fx_wait(store, store_put_state(store, build, FX_COMPLETE, 5000000 + build, NULL));
}

// A child that a test will kill; it goes with its parent in any case.
UNUSED static pid_t fx_fork(void) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(FX_TEST_S);
  }
  return child;
}

// The cell of a named column.
UNUSED static const char *fx_cell(const struct rows *rows, size_t row, const char *column) {
  assert_true(row < rows_count(rows));
  for (size_t i = 0; i < rows->column_count; i++)
    if (strcmp(rows->columns[i].name, column) == 0) return rows->cells[row * rows->column_count + i].bytes;
  fail_msg("no column %s", column);
  return "";
}

#endif
