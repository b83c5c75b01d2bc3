// Unit tests of the store: opening, what is put comes back, lists, estimates for unknown lists. Real files.
#include <fcntl.h>
#include <sys/stat.h>

#include "server/schema.h"
#include "server/store_impl.h"
#include "tests/unit/store_fixture.h"

static void test_open_close(void **state) {
  (void)state;
  struct store *store = fx_open();
  assert_int_equal(store_epoch(store), 1);
  assert_int_equal(store_next_build(store), 1);
  assert_int_equal(store_durable(store), 0);
  assert_int_equal(store_pending(store), 0);
  assert_false(store_full(store));
  assert_null(store_poll(store));
  store_close(store);
  store = fx_open();
  assert_int_equal(store_epoch(store), 2);
  fx_wait(store, fx_build(store, store_next_build(store), "a", ""));
  store_close(store);
  store = fx_open();
  assert_int_equal(store_epoch(store), 3);
  assert_int_equal(store_next_build(store), 2);
  store_close(store);
  struct stat st;
  assert_int_equal(stat(fx_path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  store_close(NULL);
}

// A ballast that cannot be is no reason not to start.
static void test_no_ballast(void **state) {
  char path[sizeof fx_path + 16];
  (void)state;
  (void)snprintf(path, sizeof path, "%s.ballast", fx_path);
  fx_options.ballast_bytes = UINT64_MAX / 4;
  store_close(fx_open());
  assert_int_equal(access(path, F_OK), -1);
  fx_options.ballast_bytes = 4096;
  assert_int_equal(symlink("nowhere", path), 0);
  store_close(fx_open());
  assert_int_equal(access(path, F_OK), -1);
}

static void test_odd_files_refused(void **state) {
  char path[sizeof fx_path + 16];
  (void)state;
  assert_int_equal(mkdir(fx_path, 0700), 0);
  assert_non_null(strstr(fx_refused(), "cannot open: Is a directory"));
  assert_int_equal(rmdir(fx_path), 0);
  (void)snprintf(path, sizeof path, "%s.lock", fx_path);
  struct store *store = fx_open();
  assert_int_equal(truncate(path, 0), 0);
  assert_non_null(strstr(fx_refused(), "pid unknown"));
  store_close(store);
}

static void test_second_open_refused(void **state) {
  char pid[32];
  (void)state;
  struct store *store = fx_open();
  (void)snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
  const char *why = fx_refused();
  assert_non_null(strstr(why, pid));
  assert_non_null(strstr(why, "another shardd"));
  fx_wait(store, fx_build(store, 1, "still works", ""));
  store_close(store);
  store_close(fx_open());
}

static void test_refuses_what_is_not_ours(void **state) {
  (void)state;
  store_close(fx_open());
  fx_change("PRAGMA user_version=99");
  assert_non_null(strstr(fx_refused(), "schema version 99"));
  char version[32];
  (void)snprintf(version, sizeof version, "PRAGMA user_version=%d", SCHEMA_VERSION);
  fx_change(version);
  store_close(fx_open());
  assert_int_equal(unlink(fx_path), 0);
  fx_change("CREATE TABLE recipe(cake TEXT)");
  assert_non_null(strstr(fx_refused(), "another program"));
  assert_int_equal(fx_number("SELECT count(*) FROM sqlite_schema"), 1);  // and left it alone
  FILE *file = fopen(fx_path, "w");
  assert_non_null(file);
  for (int i = 0; i < 500; i++)
    assert_true(fputs("this is no database\n", file) >= 0);
  assert_int_equal(fclose(file), 0);
  assert_non_null(strstr(fx_refused(), "no SQLite database"));
  (void)snprintf(fx_path, sizeof fx_path, "%s/no/such/folder.db", fx_dir);
  assert_non_null(strstr(fx_refused(), "No such file"));
}

// After an unclean stop the file is checked; a damaged one is not served.
static void test_damage_is_found(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_wait(store, fx_build(store, 1, "a", ""));
  store_listed_free(fx_list(store, 1, 2000, 10));
  store_close(store);
  fx_change("UPDATE meta SET value=1 WHERE key='open'");
  store_close(fx_open());  // unclean, yet sound
  fx_change("UPDATE meta SET value=1 WHERE key='open'");
  char junk[4096], sql[] = "SELECT rootpage FROM sqlite_schema WHERE name='test'";
  memset(junk, 0x5a, sizeof junk);
  off_t page = (off_t)fx_number(sql);
  int fd = open(fx_path, O_WRONLY);
  assert_int_equal(pwrite(fd, junk, sizeof junk, (page - 1) * 4096), sizeof junk);
  close(fd);
  assert_non_null(strstr(fx_refused(), "damaged"));
}

// Each statement fits the schema, and finds the index that it names.
static void test_every_statement(void **state) {
  struct store_db db;
  (void)state;
  store_close(fx_open());
  assert_int_equal(store_sql_open(&db, fx_path, true), 0);
  for (enum store_sql which = 0; which < SQL_COUNT; which++) {
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db.sqlite, store_stmt_text(which), -1, &stmt, NULL) != SQLITE_OK)
      fail_msg("%s: %s", store_stmt_text(which), sqlite3_errmsg(db.sqlite));
    sqlite3_finalize(stmt);
  }
  store_sql_close(&db);
}

static void test_packed_numbers(void **state) {
  static const uint32_t values[] = {0, 1, 2, 3, UINT32_MAX, 0, 7, UINT32_MAX, UINT32_MAX - 1};
  uint32_t back[COUNT_OF(values) + 1];
  size_t bytes;
  (void)state;
  unsigned char *blob = store_pack(values, COUNT_OF(values), &bytes);
  assert_int_equal(store_unpack(blob, bytes, back, COUNT_OF(values)), 0);
  assert_memory_equal(values, back, sizeof values);
  assert_int_equal(store_unpack(blob, bytes - 1, back, COUNT_OF(values)), -1);  // cut
  assert_int_equal(store_unpack(blob, bytes, back, COUNT_OF(values) - 1), -1);  // more than announced
  assert_int_equal(store_unpack(blob, bytes, back, COUNT_OF(values) + 1), -1);  // less
  assert_int_equal(store_unpack("\xff\xff\xff\xff\xff\xff", 6, back, 1), -1);   // endless
  assert_int_equal(store_unpack("\x01", 1, back, 1), -1);                       // below zero
  assert_int_equal(store_unpack("\x80\x80\x80\x80\x20", 5, back, 1), -1);       // above u32
  assert_int_equal(store_unpack(NULL, 0, back, 0), 0);
  free(blob);
}

// ---- what was put comes back

static void on_build(void *arg, const struct store_build *b, uint32_t state, uint32_t round) {
  fprintf(arg, "build %ju %s/%s/%s %s %s %ju r%u f%u o%u l%ju t%ju %d state %u round %u\n", (uintmax_t)b->build,
          b->project, b->suite, b->ext, b->commit, b->branch, (uintmax_t)b->started_ms, b->retries, b->max_failures,
          b->on_retry, (uintmax_t)b->linger_us, (uintmax_t)b->timeout_per_test_us, b->by_file, state, round);
}

static void on_worker(void *arg, const struct store_worker *w, uint64_t acked, bool left, const char *late) {
  fprintf(arg, "worker %u %s %s %s %d %ju part %u/%u acked %ju left %d late %s\n", w->worker, w->node, w->attempt,
          w->host, w->session[STORE_SESSION_BYTES - 1], (uintmax_t)w->joined_ms, w->part, w->parts, (uintmax_t)acked,
          left, late ? late : "-");
}

static void on_list(void *arg, const struct store_list *list, const struct store_listed *listed) {
  fprintf(arg, "list %u tests %u files\n", list->count, list->file_count);
  for (uint32_t i = 0; i < list->count; i++)
    fprintf(arg, "test %u %s %s unit %u n %u\n", listed->test[i], list->id[i],
            list->file_of[i] == UINT32_MAX ? "-" : list->file[list->file_of[i]], list->unit_of[i],
            listed->history[i].n);
}

static void on_round(void *arg, uint32_t round, const uint32_t *tests, size_t count) {
  fprintf(arg, "round %u:", round);
  for (size_t i = 0; i < count; i++)
    fprintf(arg, " %u", tests[i]);
  fprintf(arg, "\n");
}

static void on_result(void *arg, const struct store_result *r) {
  fprintf(arg, "result %u.%u w%u s%u f%u r%u %ju %u %u %u %s\n", r->test, r->attempt, r->worker, r->status, r->flags,
          r->round, (uintmax_t)r->start_ms, r->setup_us, r->call_us, r->teardown_us, r->text ? r->text : "-");
}

static char *replayed(struct store *store, uint64_t build) {
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  const struct store_replay replay = {on_build, on_worker, on_list, on_round, on_result, out};
  assert_int_equal(store_replay_build(store, build, &replay), 0);
  fclose(out);
  return text;
}

static struct store_listed *put_odd_list(struct store *store, uint64_t build, uint32_t last_unit) {
  static const char *const id[] = {"b::z", "a::1[\xff\x01]", "none", "b::a"};
  static const char *const file[] = {"b", "unused", "a"};
  static const uint32_t file_of[] = {0, 2, UINT32_MAX, 0};
  const uint32_t unit_of[] = {4, 0, UINT32_MAX, last_unit};
  const struct store_list list = {
      .build = build, .count = 4, .file_count = 3, .id = id, .file = file, .file_of = file_of, .unit_of = unit_of};
  fx_wait(store, store_put_list(store, &list));
  struct store_listed *listed = store_poll(store);
  assert_non_null(listed);
  return listed;
}

static const char *const whole_build =
    "build 1 shop/unit/pipeline-7 c0ffee main 1000001 r1 f7 o2 l60000000 t5 1 state 4 round 2\n"
    "worker 0 node-a job-1 runner-3 1 2000000 part 0/0 acked 12 left 1 late session fixture broke\n"
    "worker 1 node-b job-1 runner-3 2 2000001 part 1/2 acked 0 left 0 late -\n"
    "list 4 tests 3 files\n"
    "test 1 b::z b unit 4 n 0\n"
    "test 2 a::1[\xff\x01] a unit 0 n 0\n"
    "test 3 none - unit 4294967295 n 0\n"
    "test 4 b::a b unit 9 n 0\n"
    "result 1.1 w0 s2 f0 r1 3000000 100 800 100 -\n"
    "result 2.1 w0 s1 f1 r1 3000000 100 800 100 -\n"
    "result 4.1 w1 s4 f1 r1 3000000 100 800 100 -\n"
    "round 2: 4 1\n"
    "result 1.2 w0 s2 f9 r2 3000000 100 800 100 -\n";

static uint64_t put_whole_build(struct store *store) {
  static const uint32_t again[] = {4, 1};
  fx_build(store, 1, "pipeline-7", "c0ffee");
  fx_worker(store, 1, 0, "old-name");
  fx_worker(store, 1, 0, "node-a");  // came back under another name
  fx_worker(store, 1, 1, "node-b");
  store_listed_free(put_odd_list(store, 1, 9));
  store_put_state(store, 1, 2, 1, NULL);
  struct store_result r = fx_result(1, 4, FX_SKIPPED);
  r.worker = 1;
  r.seq = 0;
  store_put_result(store, &r);
  r = fx_result(1, 1, FX_FAILED);
  r.flags = 0;
  r.text = "boom";
  r.text_bytes = 4;
  r.seq = 12;
  store_put_result(store, &r);
  r = fx_result(1, 2, FX_PASSED);
  r.seq = 11;
  store_put_result(store, &r);
  store_put_result(store, &r);  // the same attempt again changes nothing
  store_put_round(store, 1, 2, again, 2, 77);
  r = fx_result(1, 1, FX_FAILED);
  r.attempt = 2;
  r.round = 2;
  r.flags = STORE_SETTLES | STORE_FIRST;
  store_put_result(store, &r);
  store_put_left(store, 1, 0, 99, "session fixture broke", 1, 0);
  return store_put_state(store, 1, 4, 100, "workers vanished");
}

static void test_replay_equals_what_was_put(void **state) {
  (void)state;
  struct store *store = fx_open();
  uint64_t ticket = put_whole_build(store);
  fx_wait(store, ticket);
  assert_int_equal(store_pending(store), 0);
  char *before = replayed(store, 1);
  // Learning may or may not have happened yet: its traces are not part of this.
  for (char *n = before; (n = strstr(n, " n ")) != NULL; n++)
    n[3] = '0';
  assert_string_equal(before, whole_build);
  free(before);
  fx_learned(store);
  store_close(store);
  store = fx_open();
  char *after = replayed(store, 1);
  assert_non_null(strstr(after, "unit 0 n 1\n"));  // test 2 passed and taught; nothing else of it differs
  *(strstr(after, "unit 0 n 1\n") + 9) = '0';
  assert_string_equal(after, whole_build);
  free(after);
  const struct store_replay replay = {on_build, on_worker, on_list, on_round, on_result, stderr};
  assert_int_equal(store_replay_build(store, 2, &replay), -1);
  store_close(store);
}

static void test_close_writes_what_is_pending(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, 100, 10));
  uint64_t ticket = 0;
  for (uint32_t i = 1; i <= 100; i++) {
    uint64_t next = fx_put(store, 1, i, FX_PASSED, 1, true);
    assert_true(next > ticket);
    ticket = next;
  }
  store_close(store);
  assert_int_equal(fx_number("SELECT count(*) FROM result"), 100);
}

static void test_find_and_unfinished(void **state) {
  uint64_t *ids = NULL;
  size_t count = 99;
  (void)state;
  struct store *store = fx_open();
  assert_int_equal(store_find(store, "shop", "unit", ""), 0);
  assert_int_equal(store_unfinished(store, &ids, &count), 0);
  assert_int_equal(count, 0);
  free(ids);
  for (uint64_t i = 1; i <= 40; i++) {
    char ext[16];
    (void)snprintf(ext, sizeof ext, "e%ju", (uintmax_t)i);
    fx_build(store, i, ext, "");
    if (i % 2) store_put_state(store, i, FX_COMPLETE, 1, NULL);
  }
  store_put_round(store, 3, 2, NULL, 0, 5);  // an ended build runs again
  fx_end(store, 4);
  assert_int_equal(store_find(store, "shop", "unit", "e7"), 7);
  assert_int_equal(store_find(store, "shop", "unit", ""), 40);
  assert_int_equal(store_find(store, "shop", "unit", "e77"), 0);
  assert_int_equal(store_find(store, "shop", "other", "e7"), 0);
  assert_int_equal(store_find(store, "x' OR '1'='1", "unit", "e7"), 0);
  assert_int_equal(store_unfinished(store, &ids, &count), 0);
  assert_int_equal(count, 20);
  assert_int_equal(ids[0], 2);
  assert_int_equal(ids[1], 3);
  assert_int_equal(ids[2], 6);
  assert_int_equal(ids[19], 40);
  free(ids);
  store_close(store);
}

static void test_lists_are_shared(void **state) {
  (void)state;
  struct store *store = fx_open();
  for (uint64_t i = 1; i <= 3; i++)
    fx_build(store, i, i == 1 ? "a" : i == 2 ? "b" : "c", "");
  struct store_listed *one = put_odd_list(store, 1, 9), *two = put_odd_list(store, 2, 9),
                      *three = put_odd_list(store, 3, 8);
  assert_memory_equal(one->test, two->test, 4 * sizeof *one->test);
  assert_memory_equal(one->test, three->test, 4 * sizeof *one->test);
  assert_int_equal(fx_number("SELECT count(*) FROM test"), 4);
  assert_int_equal(fx_number("SELECT count(*) FROM list"), 2);
  assert_int_equal(fx_number("SELECT count(DISTINCT list) FROM build WHERE id<3"), 1);
  store_listed_free(one);
  store_listed_free(two);
  store_listed_free(three);
  fx_build(store, 4, "empty", "");
  store_listed_free(fx_list(store, 4, 0, 1));  // a build without tests has a list all the same
  char *text = replayed(store, 4);
  assert_non_null(strstr(text, "list 0 tests 0 files\n"));
  free(text);
  store_close(store);
}

static void test_lookup(void **state) {
  static const char *const id[] = {"t/test_0.py::test_1", "never seen", "t/test_1.py::test_3"};
  static const char *const file[] = {"t/test_1.py", "t/unknown.py"};
  static const uint32_t file_of[] = {UINT32_MAX, 1, 0}, unit_of[] = {0, 1, 2};
  const struct store_list list = {
      .count = 3, .file_count = 2, .id = id, .file = file, .file_of = file_of, .unit_of = unit_of};
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  store_listed_free(fx_list(store, 1, 4, 2));
  for (uint32_t i = 1; i <= 4; i++)
    fx_put(store, 1, i, FX_PASSED, 1, true);
  fx_end(store, 1);
  fx_learned(store);
  struct store_listed *listed = store_lookup(store, "shop", "unit", &list);
  assert_non_null(listed);
  assert_int_equal(listed->history[0].n, 1);
  assert_int_equal(estimate_expected(&listed->history[0]), 1000);
  assert_int_equal(listed->history[1].n, 0);
  assert_int_equal(listed->test[1], 0);
  assert_int_equal(listed->history[2].n, 1);
  assert_int_equal(listed->file_setup_us[0], 100);
  assert_int_equal(listed->file_setup_us[1], 0);
  store_listed_free(listed);
  listed = store_lookup(store, "shop", "nothing", &list);
  assert_non_null(listed);
  assert_int_equal(listed->history[0].n, 0);
  store_listed_free(listed);
  assert_int_equal(fx_number("SELECT count(*) FROM test"), 4);  // asking teaches nothing
  store_close(store);
}

static void test_thousands_of_results(void **state) {
  (void)state;
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  for (uint32_t i = 0; i < 4; i++)
    fx_worker(store, 1, i, "n");
  struct store_listed *listed = fx_list(store, 1, 5000, 25);
  uint64_t ticket = 0;
  for (uint32_t i = 0; i < 5000; i++) {
    struct store_result r = fx_result(1, listed->test[i], i % 100 ? FX_PASSED : FX_FAILED);
    r.worker = i / 20 % 4;
    r.seq = i / 20 + 1;
    if (i % 100 == 0) {
      r.text = "assert 1 == 2";
      r.text_bytes = 13;
    }
    ticket = store_put_result(store, &r);
  }
  assert_true(store_pending(store) <= 5000);
  fx_wait(store, ticket);
  assert_int_equal(store_durable(store), ticket);
  assert_int_equal(store_pending(store), 0);
  assert_int_equal(fx_number("SELECT count(*) FROM result"), 5000);
  assert_int_equal(fx_number("SELECT count(*) FROM output"), 50);
  assert_int_equal(fx_number("SELECT passed FROM build"), 4950);
  assert_int_equal(fx_number("SELECT failed FROM build"), 50);
  assert_int_equal(fx_number("SELECT sum(tests) FROM worker"), 5000);
  assert_int_equal(fx_number("SELECT acked FROM worker WHERE idx=1"), 250);
  store_listed_free(listed);
  store_close(store);
}

// However long it takes to put them: a part of a message on the disk would be counted again when the message comes
// again.
static void test_results_of_a_message_come_together(void **state) {
  (void)state;
  enum { ROWS = 100000 };
  struct store *store = fx_open();
  fx_build(store, 1, "a", "");
  struct store_listed *listed = fx_list(store, 1, 1, 1);
  struct store_result *rows = base_calloc(ROWS, sizeof *rows);
  for (uint32_t i = 0; i < ROWS; i++) {
    rows[i] = fx_result(1, listed->test[0], FX_FAILED);
    rows[i].attempt = i + 1;
    rows[i].flags = 0;
    rows[i].text = "assert 1 == 2";
    rows[i].text_bytes = 13;
  }
  uint64_t before = store_put_result(store, &rows[0]);
  fx_wait(store, before);
  uint64_t ticket = store_put_results(store, rows + 1, ROWS - 1), durable;
  assert_int_equal(ticket, before + ROWS - 1);
  while ((durable = store_durable(store)) != ticket)
    assert_int_equal(durable, before);
  assert_int_equal(fx_number("SELECT count(*) FROM result"), ROWS);
  free(rows);
  store_listed_free(listed);
  store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_open_close, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_no_ballast, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_odd_files_refused, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_second_open_refused, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_refuses_what_is_not_ours, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_damage_is_found, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_every_statement, fx_setup, fx_teardown),
      cmocka_unit_test(test_packed_numbers),
      cmocka_unit_test_setup_teardown(test_replay_equals_what_was_put, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_close_writes_what_is_pending, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_find_and_unfinished, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_lists_are_shared, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_lookup, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_thousands_of_results, fx_setup, fx_teardown),
      cmocka_unit_test_setup_teardown(test_results_of_a_message_come_together, fx_setup, fx_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
