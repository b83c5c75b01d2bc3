// The database of fuzz_query.c: made by the store, then changed behind its back. Each project holds the same builds of
// one suite, and another kind of nonsense in every numeric column of every table: a new column or table is in it
// without anybody's doing. Projects have one letter:
//
//     A…K  one of stored_numbers in all columns
//     L…V  another of them in each column
//     W    hostile texts in all columns of text
//     X    damaged blobs, and lists that tell another length
//     Y    what the store wrote
#ifndef TESTS_FUZZ_FUZZ_STORED_H
#define TESTS_FUZZ_FUZZ_STORED_H

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "server/store.h"
#include "shardd.pb-c.h"
#include "tests/fuzz/fuzz.h"

static const struct stored_number {
  int type;
  int64_t whole;
} stored_numbers[] = {
    {SQLITE_INTEGER, 0},
    {SQLITE_INTEGER, 1},
    {SQLITE_INTEGER, INT64_C(1) << 31},
    {SQLITE_INTEGER, INT64_C(1) << 32},
    {SQLITE_INTEGER, INT64_C(1) << 42},
    {SQLITE_INTEGER, INT64_C(1) << 62},
    {SQLITE_INTEGER, INT64_MAX},
    {SQLITE_INTEGER, -1},
    {SQLITE_INTEGER, INT64_MIN},
    {SQLITE_NULL, 0},
    {SQLITE_FLOAT, 0},  // infinite
};

enum {
  STORED_TESTS = 4,
  STORED_BUILDS = 4,  // three complete ones, the first with two rounds, and one that runs
  STORED_NUMBERS = COUNT_OF(stored_numbers),
  STORED_HOSTILE = 2 * STORED_NUMBERS,
  STORED_DAMAGED,
  STORED_PLAIN,
  STORED_PROJECTS,
  STORED_PATIENCE_MS = 120000,
  STORED_PATH_BYTES = 400,
  STORED_TEXT_BYTES = 60000,
  STORED_ROOM_BYTES = 256 << 20,
};
_Static_assert(STORED_PROJECTS == 'Y' - 'A' + 1, "the letters above");

static const char *const stored_tests[STORED_TESTS] = {"t0", "t1", "t2", "t3"};
static const char *const stored_builds[STORED_BUILDS] = {"b0", "b1", "b2", "b3"};
static char stored_folder[STORED_PATH_BYTES / 2], stored_path[STORED_PATH_BYTES];
static uint8_t *stored_bytes;  // of the file, as it is to be found
static size_t stored_size;

// ---- files

static int on_stored_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
  (void)st, (void)flag;
  return ftw->level > 0 ? remove(path) : 0;
}

static void stored_empty_folder(void) {
  FUZZ_CHECK(nftw(stored_folder, on_stored_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0);
}

static struct store *stored_open(void) {
  struct store_error error = {""};
  const struct store_options options = {.path = stored_path, .quarantine = STORE_QUARANTINE_AUTO};
  struct store *store = store_open(&options, &error);
  if (store == NULL) (void)fprintf(stderr, "%s\n", error.text);
  FUZZ_CHECK(store != NULL);
  return store;
}

// Puts the file back; what was written beside it goes.
static void stored_restore(void) {
  stored_empty_folder();
  FILE *file = fopen(stored_path, "wbe");
  FUZZ_CHECK(file != NULL && fwrite(stored_bytes, 1, stored_size, file) == stored_size && fclose(file) == 0);
}

static void stored_keep(void) {
  FILE *file = fopen(stored_path, "rbe");
  FUZZ_CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0 && ftell(file) > 0);
  stored_size = (size_t)ftell(file);
  stored_bytes = malloc(stored_size);
  rewind(file);
  FUZZ_CHECK(stored_bytes != NULL && fread(stored_bytes, 1, stored_size, file) == stored_size && fclose(file) == 0);
}

// ---- what the store writes

static void stored_wake(struct store *store) {
  struct pollfd fd = {.fd = store_eventfd(store), .events = POLLIN};
  int rc;
  do  // libFuzzer's alarm interrupts it
    rc = poll(&fd, 1, STORED_PATIENCE_MS);
  while (rc < 0 && errno == EINTR);
  FUZZ_CHECK(rc == 1);
}

static void stored_wait(struct store *store, uint64_t ticket) {
  while (store_durable(store) < ticket) {
    stored_wake(store);
    FUZZ_CHECK(store_poll(store) == NULL);
  }
}

static uint64_t stored_build_id(uint32_t project, uint32_t build) {
  return 1 + (uint64_t)project * STORED_BUILDS + build;
}

static void stored_put_build(struct store *store, uint32_t project, uint32_t number, uint64_t now_ms) {
  const uint64_t id = stored_build_id(project, number);
  const char name[] = {(char)('A' + project), '\0'};
  const struct store_build build = {.build = id,
                                    .project = name,
                                    .suite = "s",
                                    .ext = stored_builds[number],
                                    .commit = number < 2 ? "c0" : stored_builds[number],
                                    .branch = "main",
                                    .started_ms = now_ms - 1000000 + 10000 * number,
                                    .retries = 1,
                                    .max_failures = 7,
                                    .on_retry = 2,
                                    .tokens = "db=2",
                                    .trunk = true};
  (void)store_put_build(store, &build);
  for (uint32_t i = 0; i < 2; i++) {
    struct store_worker worker = {.build = id,
                                  .worker = i,
                                  .node = i ? "1" : "0",
                                  .attempt = "1",
                                  .host = i ? "h1" : "h0",
                                  .joined_ms = build.started_ms + i};
    memset(worker.session, (int)(id * 2 + i), sizeof worker.session);
    memcpy(worker.session, &id, sizeof id);
    (void)store_put_worker(store, &worker);
  }
  static const char *const files[] = {"f0", "f1"};
  static const uint32_t file_of[STORED_TESTS] = {0, 0, 1, UINT32_MAX}, unit_of[STORED_TESTS] = {0, 0, 1, 2};
  const struct store_list list = {.build = id,
                                  .count = STORED_TESTS,
                                  .file_count = COUNT_OF(files),
                                  .id = stored_tests,
                                  .file = files,
                                  .file_of = file_of,
                                  .unit_of = unit_of};
  (void)store_put_list(store, &list);
}

// Fails one test more than the build before it; the last is skipped by one worker and run by the other.
static uint64_t stored_put_results(struct store *store, uint64_t build, const uint32_t *rows, uint64_t at_ms) {
  struct store_result results[STORED_TESTS + 1];
  for (uint32_t i = 0; i <= STORED_TESTS; i++) {
    uint32_t test = i < STORED_TESTS ? i : STORED_TESTS - 1;
    uint32_t status = test <= build % STORED_BUILDS ? SHARDD__STATUS__STATUS_FAILED : SHARDD__STATUS__STATUS_PASSED;
    if (i == STORED_TESTS - 1) status = SHARDD__STATUS__STATUS_SKIPPED;
    results[i] =
        (struct store_result){.build = build,
                              .test = rows[test],
                              .attempt = i < STORED_TESTS ? 1 : 2,
                              .worker = i % 2,
                              .status = status,
                              .flags = i == STORED_TESTS - 1 ? 0 : STORE_SETTLES,
                              .round = 1,
                              .start_ms = at_ms + i,
                              .setup_us = 100,
                              .call_us = 2000000,
                              .teardown_us = 100,
                              .text = status == SHARDD__STATUS__STATUS_PASSED ? NULL : "no docker here",
                              .text_bytes = status == SHARDD__STATUS__STATUS_PASSED ? 0 : strlen("no docker here"),
                              .seq = 1};
  }
  return store_put_results(store, results, COUNT_OF(results));
}

// A second round, of its first test, which passes now.
static void stored_put_round(struct store *store, uint64_t build, uint32_t test, uint64_t at_ms) {
  const struct store_result result = {.build = build,
                                      .test = test,
                                      .attempt = 2,
                                      .worker = 1,
                                      .status = SHARDD__STATUS__STATUS_PASSED,
                                      .flags = STORE_SETTLES,
                                      .round = 2,
                                      .start_ms = at_ms + 1,
                                      .call_us = 1000,
                                      .seq = 2};
  (void)store_put_round(store, build, 2, &test, 1, at_ms);
  (void)store_put_result(store, &result);
  (void)store_put_state(store, build, SHARDD__BUILD_STATE__BUILD_COMPLETE, at_ms + 5, NULL);
}

static void stored_fill(struct store *store) {
  const uint64_t now_ms = base_wall_us() / 1000;
  for (uint32_t i = 0; i < STORED_PROJECTS * STORED_BUILDS; i++)
    stored_put_build(store, i / STORED_BUILDS, i % STORED_BUILDS, now_ms);
  uint64_t ticket = 0;
  for (uint32_t i = 0; i < STORED_PROJECTS * STORED_BUILDS;) {
    struct store_listed *listed = store_poll(store);
    if (listed == NULL) {
      stored_wake(store);
      continue;
    }
    const uint64_t build = listed->build, at_ms = now_ms - 900000;
    ticket = stored_put_results(store, build, listed->test, at_ms);
    bool runs = (build - 1) % STORED_BUILDS == STORED_BUILDS - 1;
    (void)store_put_left(store, build, 0, at_ms + 2500, "late", 1, 0);
    if (!runs) ticket = store_put_state(store, build, SHARDD__BUILD_STATE__BUILD_COMPLETE, at_ms + 3000, "its text");
    if ((build - 1) % STORED_BUILDS == 0) stored_put_round(store, build, listed->test[0], at_ms + 50000);
    store_listed_free(listed);
    i++;
  }
  stored_wait(store, ticket);
}

// ---- what is changed behind its back

static sqlite3 *stored_db;

static sqlite3_stmt *stored_prepare(const char *sql) {
  sqlite3_stmt *stmt = NULL;
  if (sqlite3_prepare_v2(stored_db, sql, -1, &stmt, NULL) != SQLITE_OK)
    (void)fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(stored_db));
  FUZZ_CHECK(stmt != NULL);
  return stmt;
}

static int64_t stored_ask(const char *sql) {
  sqlite3_stmt *stmt = stored_prepare(sql);
  FUZZ_CHECK(sqlite3_step(stmt) == SQLITE_ROW);
  int64_t value = sqlite3_column_int64(stmt, 0);
  sqlite3_finalize(stmt);
  return value;
}

static void stored_connect(void) {
  FUZZ_CHECK(sqlite3_open_v2(stored_path, &stored_db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
  FUZZ_CHECK(sqlite3_busy_timeout(stored_db, STORED_PATIENCE_MS) == SQLITE_OK);
}

// Until no build has anything left to teach.
static void stored_learn(struct store *store) {
  const uint64_t until_us = base_now_us() + (uint64_t)STORED_PATIENCE_MS * 1000;
  struct pollfd fd = {.fd = store_eventfd(store), .events = POLLIN};
  stored_connect();
  while (stored_ask("SELECT count(*) FROM build WHERE round > learned_round + (state < 3)") > 0) {
    FUZZ_CHECK(base_now_us() < until_us && (poll(&fd, 1, 20) >= 0 || errno == EINTR) && store_poll(store) == NULL);
  }
  FUZZ_CHECK(sqlite3_close(stored_db) == SQLITE_OK);
}

// Tables that the builds above leave without a row.
static const char stored_rest[] =
    "INSERT OR IGNORE INTO quarantine(test, suite, origin, reason, who, ticket, created_ms, expires_ms, extend)"
    " SELECT id, suite, 'manual', 'its reason', 'who', '#1', 1, unixepoch() * 1000 + 86400000, 1 FROM test;"
    "INSERT INTO state_log(suite, test, at_ms, old, new, who, why) SELECT suite, id, 1, 'ok', 'flaky', '', '' FROM "
    "test;"
    "INSERT OR IGNORE INTO flake_event(test, at_ms, build, commit_key, host_key, worker, flags, cluster, weight,"
    " lost_us) SELECT id, last_seen_ms, 1, 1, 1, 0, 1, 1, 1.0, 1 FROM test;"
    "INSERT OR IGNORE INTO flake_stat(test, suite, flips, runs, fails, builds, last_flip_ms)"
    " SELECT id, suite, 1, 1, 1, 1, 1 FROM test;"
    "INSERT OR IGNORE INTO dur_stat(test, suite, n, ring, setup_us, last_us, est_us)"
    " SELECT id, suite, 1, zeroblob(32), 1, 1, 1 FROM test;"
    "INSERT OR IGNORE INTO pause(build, from_ms, to_ms) SELECT id, started_ms, started_ms + 1000 FROM build;";

// Names by which rows are found, and lengths that blobs must fit, are not numbers that stand for anything.
static bool stored_fixed(const char *column, uint32_t project) {
  static const char *const names[] = {"id",   "suite", "project", "build", "test",    "list",
                                      "name", "ext",   "node",    "path",  "session", "digest"};
  static const char *const lengths[] = {"count", "file_count"};
  for (size_t i = 0; i < COUNT_OF(names); i++)
    if (strcmp(column, names[i]) == 0) return true;
  for (size_t i = 0; i < COUNT_OF(lengths); i++)
    if (project != STORED_DAMAGED && strcmp(column, lengths[i]) == 0) return true;
  return false;
}

static bool stored_bind_number(sqlite3_stmt *stmt, uint32_t place) {
  const struct stored_number *number = &stored_numbers[place % STORED_NUMBERS];
  if (number->type == SQLITE_NULL) return sqlite3_bind_null(stmt, 1) == SQLITE_OK;
  if (number->type == SQLITE_FLOAT) return sqlite3_bind_double(stmt, 1, INFINITY) == SQLITE_OK;
  return sqlite3_bind_int64(stmt, 1, number->whole) == SQLITE_OK;
}

static bool stored_bind_text(sqlite3_stmt *stmt, uint32_t place) {
  static const char *const texts[] = {"", "\x01\x1b[31m\xff\xfe\"'<>&|\\`$(id)\n\t\x7f", "=1+1,\"a\"\r\n",
                                      "\xe2\x80\xae"};
  static char many[STORED_TEXT_BYTES];
  memset(many, '\n', sizeof many);
  if (place % (COUNT_OF(texts) + 1) == COUNT_OF(texts))
    return sqlite3_bind_text(stmt, 1, many, sizeof many, SQLITE_TRANSIENT) == SQLITE_OK;
  return sqlite3_bind_text(stmt, 1, texts[place % (COUNT_OF(texts) + 1)], -1, SQLITE_STATIC) == SQLITE_OK;
}

static bool stored_bind_blob(sqlite3_stmt *stmt, uint32_t place) {
  static uint8_t bytes[64];
  static const size_t sizes[] = {0, 1, 32, 33, 64};
  memset(bytes, place % 2 ? 0xff : 0x7f, sizeof bytes);  // NaN, and large
  return sqlite3_bind_blob(stmt, 1, bytes, (int)sizes[place % COUNT_OF(sizes)], SQLITE_TRANSIENT) == SQLITE_OK;
}

// What column `place` of a project is to hold. False: what it has.
static bool stored_bind(sqlite3_stmt *stmt, const char *type, uint32_t project, uint32_t place) {
  bool number = strcmp(type, "INTEGER") == 0 || strcmp(type, "REAL") == 0;
  if (project < STORED_NUMBERS) return number && stored_bind_number(stmt, project);
  if (project < STORED_HOSTILE) return number && stored_bind_number(stmt, project + place);
  if (project == STORED_HOSTILE) return strcmp(type, "TEXT") == 0 && stored_bind_text(stmt, place);
  if (project == STORED_DAMAGED && strcmp(type, "BLOB") == 0) return stored_bind_blob(stmt, place);
  return false;
}

// Rows that the schema lets have the value get it; of a column of a key, one row.
static void stored_spoil(const char *table, const char *column, const char *type, uint32_t place) {
  char sql[400];
  bool of_suite =
      sqlite3_table_column_metadata(stored_db, NULL, table, "suite", NULL, NULL, NULL, NULL, NULL) == SQLITE_OK;
  (void)snprintf(sql, sizeof sql, "UPDATE OR IGNORE %s SET %s=?1 WHERE %s IN (SELECT id FROM %s)", table, column,
                 of_suite ? "suite" : "build",
                 of_suite ? "suite WHERE project=?2" : "build WHERE suite IN (SELECT id FROM suite WHERE project=?2)");
  sqlite3_stmt *stmt = stored_prepare(sql);
  for (uint32_t project = 0; project < STORED_PROJECTS; project++) {
    if (stored_fixed(column, project) || !stored_bind(stmt, type, project, place)) continue;
    FUZZ_CHECK(sqlite3_bind_int64(stmt, 2, project + 1) == SQLITE_OK);
    int rc = sqlite3_step(stmt);
    FUZZ_CHECK(rc == SQLITE_DONE || rc == SQLITE_CONSTRAINT);
    (void)sqlite3_reset(stmt);
  }
  sqlite3_finalize(stmt);
}

static void stored_spoil_all(void) {
  stored_connect();
  FUZZ_CHECK(sqlite3_exec(stored_db, stored_rest, NULL, NULL, NULL) == SQLITE_OK);
  sqlite3_stmt *columns = stored_prepare(
      "SELECT t.name, c.name, c.type FROM pragma_table_list t CROSS JOIN pragma_table_info(t.name) c"
      " WHERE t.type='table' AND t.schema='main' AND t.name NOT LIKE 'sqlite%'"
      " AND t.name NOT IN ('meta', 'project', 'suite') ORDER BY t.name, c.cid");
  FUZZ_CHECK(sqlite3_exec(stored_db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK);
  uint32_t place = 0;
  for (; sqlite3_step(columns) == SQLITE_ROW; place++) {
    const char *table = (const char *)sqlite3_column_text(columns, 0);
    char sql[120];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    FUZZ_CHECK(stored_ask(sql) > 0);  // a new table: stored_rest
    stored_spoil(table, (const char *)sqlite3_column_text(columns, 1), (const char *)sqlite3_column_text(columns, 2),
                 place);
  }
  FUZZ_CHECK(place > 100 && sqlite3_finalize(columns) == SQLITE_OK);
  FUZZ_CHECK(sqlite3_exec(stored_db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
  FUZZ_CHECK(sqlite3_close(stored_db) == SQLITE_OK);
}

// In memory where there is room: nothing here is about the disk, and most inputs make the store write.
static const char *stored_parent(void) {
  struct statvfs room;
  const char *tmp = getenv("TMPDIR");
  if (statvfs("/dev/shm", &room) == 0 && room.f_bavail * room.f_frsize > STORED_ROOM_BYTES) return "/dev/shm";
  return tmp && tmp[0] ? tmp : "/tmp";
}

// Makes it, and lets the store learn from it; then it is closed, and stored_restore puts it where it is.
static void stored_make(void) {
  (void)snprintf(stored_folder, sizeof stored_folder, "%.100s/fuzz-query-XXXXXX", stored_parent());
  FUZZ_CHECK(mkdtemp(stored_folder) != NULL);
  (void)snprintf(stored_path, sizeof stored_path, "%s/history.db", stored_folder);
  struct store *store = stored_open();
  stored_fill(store);
  stored_learn(store);
  store_close(store);
  stored_spoil_all();
  store = stored_open();
  stored_learn(store);
  store_close(store);
  stored_keep();
}

static void stored_remove(void) {
  stored_empty_folder();
  (void)rmdir(stored_folder);
  free(stored_bytes);
}

#endif
