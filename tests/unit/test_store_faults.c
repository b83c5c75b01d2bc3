// Unit tests of a database that fails: in a child, the n-th call of SQLite comes back with an error, for one n after
// the other. The child ends well, is refused at the start, or dies of it with 16; never otherwise. What it was told to
// be durable is there when the next one opens the file. SHARD_FAULTS is how many n are tried, evenly spread.
#include <openssl/evp.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "tests/unit/store_fixture.h"

enum { TESTS = 24, PER_FILE = 8, TRIES = 60, TRIES_FULL = 4, EDGE = 100, CHILD_REFUSED = 3, CHILD_WRONG = 9 };

// ---- SQLite with a fault (the linker sends its calls here)

static atomic_ulong calls;
static unsigned long fault_at;  // 0: none
static int fault_code, fault_errno;

static bool fault(void) {
  return fault_at && atomic_fetch_add(&calls, 1) + 1 == fault_at;
}

int __real_sqlite3_step(sqlite3_stmt *stmt);
int __wrap_sqlite3_step(sqlite3_stmt *stmt);
int __wrap_sqlite3_step(sqlite3_stmt *stmt) {
  return fault() ? fault_code : __real_sqlite3_step(stmt);
}

typedef int exec_callback(void *arg, int n, char **values, char **names);
int __real_sqlite3_exec(sqlite3 *db, const char *sql, exec_callback *callback, void *arg, char **why);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, exec_callback *callback, void *arg, char **why);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, exec_callback *callback, void *arg, char **why) {
  if (!fault()) return __real_sqlite3_exec(db, sql, callback, arg, why);
  if (why) *why = sqlite3_mprintf("made to fail");
  return fault_code;
}

int __real_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n, unsigned flags, sqlite3_stmt **stmt,
                              const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n, unsigned flags, sqlite3_stmt **stmt,
                              const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n, unsigned flags, sqlite3_stmt **stmt,
                              const char **tail) {
  return fault() ? fault_code : __real_sqlite3_prepare_v3(db, sql, n, flags, stmt, tail);
}

sqlite3_backup *__real_sqlite3_backup_init(sqlite3 *to, const char *to_name, sqlite3 *from, const char *from_name);
sqlite3_backup *__wrap_sqlite3_backup_init(sqlite3 *to, const char *to_name, sqlite3 *from, const char *from_name);
sqlite3_backup *__wrap_sqlite3_backup_init(sqlite3 *to, const char *to_name, sqlite3 *from, const char *from_name) {
  return fault() ? NULL : __real_sqlite3_backup_init(to, to_name, from, from_name);
}

int __real_sqlite3_backup_step(sqlite3_backup *backup, int pages);
int __wrap_sqlite3_backup_step(sqlite3_backup *backup, int pages);
int __wrap_sqlite3_backup_step(sqlite3_backup *backup, int pages) {
  return fault() ? fault_code : __real_sqlite3_backup_step(backup, pages);
}

int __real_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *log, int *done);
int __wrap_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *log, int *done);
int __wrap_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *log, int *done) {
  return fault() ? fault_code : __real_sqlite3_wal_checkpoint_v2(db, name, mode, log, done);
}

// What the system said to the call that failed.
int __real_sqlite3_system_errno(sqlite3 *db);
int __wrap_sqlite3_system_errno(sqlite3 *db);
int __wrap_sqlite3_system_errno(sqlite3 *db) {
  return fault_at && atomic_load(&calls) >= fault_at ? fault_errno : __real_sqlite3_system_errno(db);
}

int __real_EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, ENGINE *engine);
int __wrap_EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, ENGINE *engine);
int __wrap_EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, ENGINE *engine) {
  return fault() ? 0 : __real_EVP_DigestInit_ex(context, type, engine);
}

int __real_EVP_DigestUpdate(EVP_MD_CTX *context, const void *bytes, size_t n);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *context, const void *bytes, size_t n);
int __wrap_EVP_DigestUpdate(EVP_MD_CTX *context, const void *bytes, size_t n) {
  return fault() ? 0 : __real_EVP_DigestUpdate(context, bytes, n);
}

int __real_EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *out, unsigned *n);
int __wrap_EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *out, unsigned *n);
int __wrap_EVP_DigestFinal_ex(EVP_MD_CTX *context, unsigned char *out, unsigned *n) {
  return fault() ? 0 : __real_EVP_DigestFinal_ex(context, out, n);
}

// ---- the child: all that a daemon does with a store, in a few builds

struct life {
  struct store *store;
  int out;  // what is durable, to the parent
  uint32_t row[TESTS];
};

// What must not be, whatever fails.
static void must(bool holds, const char *what) {
  if (holds) return;
  (void)fprintf(stderr, "in the child: %s\n", what);
  exit(CHILD_WRONG);
}

static void life_wait(const struct life *life, uint64_t ticket) {
  struct pollfd fd = {.fd = store_eventfd(life->store), .events = POLLIN};
  while (store_durable(life->store) < ticket) {
    (void)poll(&fd, 1, 20);
  }
}

static void life_tell(const struct life *life, uint64_t build, uint32_t test, uint32_t attempt) {
  char line[64];
  int n = snprintf(line, sizeof line, "%llu %u %u\n", (unsigned long long)build, test, attempt);
  must(write(life->out, line, (size_t)n) == n, "the parent does not listen");
}

static void life_list(struct life *life, uint64_t build) {
  char id[TESTS][40], file[TESTS / PER_FILE][20];
  const char *ids[TESTS], *files[TESTS / PER_FILE];
  static const char marks[] = "any text: the store keeps it as it is";
  uint32_t file_of[TESTS], unit_of[TESTS];
  for (uint32_t i = 0; i < TESTS; i++) {
    (void)snprintf(file[i / PER_FILE], sizeof file[0], "t/test_%u.py", i / PER_FILE);
    (void)snprintf(id[i], sizeof id[i], "%s::test_%02u", file[i / PER_FILE], i);
    ids[i] = id[i];
    files[i / PER_FILE] = file[i / PER_FILE];
    file_of[i] = unit_of[i] = i / PER_FILE;
  }
  const struct store_list list = {.build = build,
                                  .count = TESTS,
                                  .file_count = TESTS / PER_FILE,
                                  .id = ids,
                                  .file = files,
                                  .file_of = file_of,
                                  .unit_of = unit_of,
                                  .marks = marks,
                                  .marks_bytes = sizeof marks - 1};
  life_wait(life, store_put_list(life->store, &list));
  struct store_listed *listed;
  while (!(listed = store_poll(life->store)))
    (void)usleep(1000);
  must(listed->build == build && listed->count == TESTS, "another list is answered");
  memcpy(life->row, listed->test, sizeof life->row);
  store_listed_free(listed);
  listed = store_lookup(life->store, "shop", "unit", &list);
  store_listed_free(listed);
}

static void life_results(const struct life *life, uint64_t build, uint32_t round, uint32_t bad) {
  struct store_result result[TESTS];
  for (uint32_t i = 0; i < TESTS; i++) {
    result[i] = fx_result(build, life->row[i], i == bad ? FX_FAILED : FX_PASSED);
    result[i].worker = i % 2;
    result[i].attempt = round;
    result[i].round = round;
    result[i].seq = i + 1 + TESTS * round;
    if (i == bad) result[i].text = "it failed", result[i].text_bytes = 9;
  }
  life_wait(life, store_put_results(life->store, result, TESTS));
  for (uint32_t i = 0; i < TESTS; i++)
    life_tell(life, build, result[i].test, round);
}

static void life_build(struct life *life, uint64_t build, const char *commit, uint32_t bad) {
  char ext[16];
  (void)snprintf(ext, sizeof ext, "b%llu", (unsigned long long)build);
  fx_build(life->store, build, ext, commit);
  fx_worker(life->store, build, 0, "n0");
  fx_worker(life->store, build, 1, "n1");
  life_list(life, build);
  life_results(life, build, 1, bad);
  life_wait(life, store_put_state(life->store, build, FX_COMPLETE, 5000000 + build, NULL));
  if (bad < TESTS) {  // it is run again, and passes
    store_put_round(life->store, build, 2, &life->row[bad], 1, 5000000 + build);
    life_results(life, build, 2, TESTS);
    store_put_left(life->store, build, 1, 5000000 + build, "late", 1, 0);
    life_wait(life, store_put_state(life->store, build, FX_COMPLETE, 6000000 + build, "over"));
  }
}

static void life_mute(const struct life *life) {
  struct store_error error = {""};
  struct store_mute mute = {.project = "shop",
                            .suite = "unit",
                            .test = "t/test_0.py::test_03",
                            .origin = "manual",
                            .reason = "why",
                            .who = "me",
                            .ticket = "",
                            .at_ms = 7000000,
                            .life_ms = 1000000};
  if (store_mute_check(life->store, &mute, &error) == 0) {
    life_wait(life, store_put_mute(life->store, &mute));
  } else {
    must(error.text[0] != '\0', "a refusal without a reason");
  }
  mute.life_ms = 0;
  if (store_mute_check(life->store, &mute, &error) == 0) life_wait(life, store_put_mute(life->store, &mute));
}

static void life_import(const struct life *life) {
  const char *id[] = {"t/test_0.py::test_00", "u/new.py::test"}, *file[] = {"t/test_0.py", "u/new.py"};
  const uint32_t file_of[] = {0, 1};
  const uint64_t us[] = {5000, 6000};
  const struct store_import import = {.project = "shop",
                                      .suite = "unit",
                                      .at_ms = 8000000,
                                      .count = 2,
                                      .file_count = 2,
                                      .id = id,
                                      .file = file,
                                      .file_of = file_of,
                                      .us = us};
  life_wait(life, store_put_import(life->store, &import));
}

// ---- reading: an answer, or an error that says why

typedef int query_fn(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error);
static query_fn *const queries[] = {
    store_query_builds, store_query_workers,  store_query_slow,   store_query_flaky,      store_query_test,
    store_query_broken, store_query_slower,   store_query_log,    store_query_quarantine, store_query_durations,
    store_query_build,  store_query_timeline, store_query_report, store_query_skips,      store_query_errors};

static void life_ask(const struct life *life, const char *suite, const char *test) {
  for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
    struct store_query query = {
        .project = "shop", .suite = suite, .build = 1, .test = test, .limit = 50, .branch = i % 2 ? "main" : ""};
    struct store_error error = {""};
    struct rows rows;
    if (queries[i](life->store, &query, &rows, &error) == 0) {
      rows_release(&rows);
    } else {
      must(error.text[0] != '\0', "an error without a reason");
    }
  }
}

static void on_build(void *arg, const struct store_build *build, uint32_t state, uint32_t round) {
  (void)arg, (void)build, (void)state, (void)round;
}
static void on_worker(void *arg, const struct store_worker *worker, uint64_t acked, bool left, const char *late) {
  (void)arg, (void)worker, (void)acked, (void)left, (void)late;
}
static void on_list(void *arg, const struct store_list *list, const struct store_listed *listed) {
  (void)arg;
  must(list->count == listed->count, "a list is read in part");
}
static void on_round(void *arg, uint32_t round, const uint32_t *tests, size_t count) {
  (void)arg, (void)round, (void)tests, (void)count;
}
static void on_result(void *arg, const struct store_result *result) {
  ++*(uint32_t *)arg;
  must(result->build == 1, "a result of another build is read");
}

static void life_read(const struct life *life) {
  uint32_t results = 0;
  const struct store_replay replay = {.on_build = on_build,
                                      .on_worker = on_worker,
                                      .on_list = on_list,
                                      .on_round = on_round,
                                      .on_result = on_result,
                                      .arg = &results};
  if (store_replay_build(life->store, 1, &replay) == 0) must(results == 2 * TESTS, "a build is read in part");
  struct store_error error = {""};
  struct store_sizes sizes;
  uint64_t *ids = NULL;
  size_t count;
  if (store_unfinished(life->store, &ids, &count) == 0) must(count == 0, "an ended build is unfinished");
  free(ids);
  uint64_t found = store_find(life->store, "shop", "unit", "b1"), newest = store_find(life->store, "shop", "unit", "");
  must(found <= 1 && newest <= 3, "another build is found");
  struct store_expected *expected = store_expected(life->store, "shop", "unit", &error);
  must(expected || error.text[0] != '\0', "no forecast, and no reason");
  if (expected) must(expected->count == TESTS, "a forecast of another list");
  store_expected_free(expected);
  free(store_test_name(life->store, life->row[0]));
  free(store_file_name(life->store, 1));
  store_sizes(life->store, &sizes);
  life_ask(life, "unit", "t/test_0.py::test_03");
  life_ask(life, "", "");
}

static void life_chores(const struct life *life) {
  for (int kind = 0; kind < 2; kind++) {
    struct store_error error = {""};
    struct store_chored done = {.good = false};
    bool backup = kind == 0;
    if (store_chore_start(life->store, backup ? STORE_CHORE_BACKUP : STORE_CHORE_CHECK, backup ? "copy.db" : NULL,
                          &error) != 0) {
      must(error.text[0] != '\0', "a chore is refused without a reason");
      continue;
    }
    while (!store_chore_done(life->store, &done))
      (void)usleep(1000);
    must(done.good || done.text[0] != '\0', "a chore fails without a reason");
  }
}

static void live(unsigned long at, int code, int out) {
  struct life life = {.out = out};
  struct store_error error = {""};
  fault_at = at;
  fault_code = code;
  fault_errno = code == SQLITE_IOERR_WRITE ? ENOSPC : EIO;
  life.store = store_open(&fx_options, &error);
  if (!life.store) {
    must(error.text[0] != '\0', "refused without a reason");
    exit(CHILD_REFUSED);
  }
  life_build(&life, 1, "c1", 3);
  life_build(&life, 2, "c1", TESTS);
  life_build(&life, 3, "c2", 3);
  life_mute(&life);
  life_import(&life);
  life_read(&life);
  life_chores(&life);
  store_close(life.store);
  if (at == UINT32_MAX) {  // it only counted
    unsigned long n = atomic_load(&calls);
    must(write(out, &n, sizeof n) == sizeof n, "the parent does not listen");
  }
  exit(0);
}

// ---- the parent

static int run_child(unsigned long at, int code, int *out) {
  int ends[2], status;
  assert_int_equal(pipe(ends), 0);
  pid_t child = fx_fork();
  if (child == 0) {
    (void)close(ends[0]);
    live(at, code, ends[1]);
  }
  (void)close(ends[1]);
  *out = ends[0];
  assert_int_equal(waitpid(child, &status, 0), child);  // what it tells fits the pipe
  if (!WIFEXITED(status)) fail_msg("fault %lu ends the child with signal %d", at, WTERMSIG(status));
  return WEXITSTATUS(status);
}

// All that was told as durable is there.
static void check_told(int in) {
  char line[64], sql[160];
  FILE *told = fdopen(in, "r");
  assert_non_null(told);
  struct store *store = fx_open();  // as the next daemon does, with its check of the file
  store_close(store);
  while (fgets(line, sizeof line, told) != NULL) {
    char *at = line;
    unsigned long long build = strtoull(at, &at, 10), test = strtoull(at, &at, 10), attempt = strtoull(at, &at, 10);
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM result WHERE build=%llu AND test=%llu AND attempt=%llu",
                   build, test, attempt);
    if (fx_number(sql) != 1) fail_msg("lost: build %llu, test %llu, attempt %llu", build, test, attempt);
  }
  (void)fclose(told);
}

static unsigned long count_calls(void) {
  char line[256];
  unsigned long n = 0;
  int in;
  assert_int_equal(fx_setup(NULL), 0);
  assert_int_equal(run_child(UINT32_MAX, SQLITE_IOERR, &in), 0);
  ssize_t got = 0, more;
  char last[sizeof n] = {0};
  while ((more = read(in, line, sizeof line)) > 0) {
    got = more;
    memcpy(last, line + got - (ssize_t)sizeof n, sizeof n);
  }
  memcpy(&n, last, sizeof n);
  (void)close(in);
  assert_int_equal(fx_teardown(NULL), 0);
  assert_true(n > 100 && n < 1000000);
  return n;
}

struct outcomes {
  unsigned well, refused, died;
};

static void try_all(int code, unsigned long edge, unsigned long tries, struct outcomes *outcomes) {
  unsigned long n = count_calls(), stride = n / tries + 1;
  // The first calls open the file, the last ones are of chores and of the end.
  for (unsigned long at = 1; at <= n; at += at < edge || at + edge > n ? 1 : stride) {
    int in;
    assert_int_equal(fx_setup(NULL), 0);
    int ended = run_child(at, code, &in);
    if (ended == CHILD_WRONG || (ended != 0 && ended != CHILD_REFUSED && ended != EXIT_INFRA)) {
      fail_msg("fault %lu of %lu ends the child with %d", at, n, ended);
    }
    outcomes->well += ended == 0;
    outcomes->refused += ended == CHILD_REFUSED;
    outcomes->died += ended == EXIT_INFRA;
    check_told(in);
    assert_int_equal(fx_teardown(NULL), 0);
  }
}

static void test_every_call_may_fail(void **state) {
  (void)state;
  struct outcomes outcomes = {0};
  const char *more = getenv("SHARD_FAULTS");
  unsigned long tries = more ? strtoul(more, NULL, 10) : 0;
  alarm(3600);
  try_all(SQLITE_IOERR_READ, tries ? EDGE : 0, tries ? tries : (unsigned long)TRIES, &outcomes);
  assert_true(outcomes.died > 0);  // a write that failed is not gone on from
  assert_true(outcomes.well > 0);  // a question that failed is
}

static void test_a_full_disk_is_waited_for(void **state) {
  (void)state;
  struct outcomes outcomes = {0};
  alarm(3600);
  try_all(SQLITE_FULL, 0, TRIES_FULL, &outcomes);
  try_all(SQLITE_IOERR_WRITE, 0, TRIES_FULL, &outcomes);  // with "no space left"
  assert_true(outcomes.well > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_call_may_fail),
      cmocka_unit_test(test_a_full_disk_is_waited_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
