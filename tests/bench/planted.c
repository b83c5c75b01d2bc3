// make bench-history: a generated history of 10 million results, taught to a real database, and what the tables say of
// it. 50,000 tests in 200 builds of 28 days on eight workers, with two retries: most are sound, and planted among them
// are tests that fail by chance, that broke, that broke and were fixed, that became slower, that are long, and workers
// that fell ill. Prints precision and recall of `flaky`, `broken`, `slower`, `slow` and of the sick workers, and the
// time that each table took in the daemon's own query, whole and narrowed (narrowed.c). Records go in as the daemon
// writes them: store.h, without the wire. A test that fails by chance is due to be named once such failures of the last
// 14 days weigh two, as the model has it; the fewer builds, the fewer of those that fail seldom are.
//
//   history FOLDER [JSON [BUILDS [TESTS [SEED]]]]
#include <math.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store.h"
#include "tests/bench/narrowed.h"

enum {
  WORKERS = 8,
  PER_FILE = 50,
  PLANTED = 200,  // of each kind, but
  CHANCES = 50,   // of each chance: more than five flips of a worker in a build count less, as they do for the model
  LONG = 100,
  DAYS = 28,
  ATTEMPTS = 3,
  FULL_WEIGHT = 5,
  COMPLETE = 3,
  PASSED = 1,
  FAILED = 2,
  REPEAT = 9,
  TARGET_US = 20000,
  ASKED = 20,  // rows, as shard asks by default
  ALL = 10000,
};

enum nature { SOUND, FLAKY_3, FLAKY_10, FLAKY_30, BROKEN, FIXED, SLOWER, LONGEST, NATURES };
static const double chance[NATURES] = {[FLAKY_3] = 0.03, [FLAKY_10] = 0.1, [FLAKY_30] = 0.3};

struct test {
  enum nature nature;
  uint32_t from, to;  // builds in which it is broken; from which it is slower
  uint32_t us;
  int flipped;    // on this sound worker in the build in hand, from 1; 0: it did not
  double weight;  // of its flips of the newest 14 days
};

struct history {
  struct store *store;
  sqlite3 *sqlite;  // to look at what was learned
  struct test *test;
  char **id, **file;
  uint32_t *file_of, *unit_of, *row;  // row: ids in the database, by test
  uint32_t builds, tests, files;
  uint64_t random, begin_ms, results;
  int8_t *sick;  // per build: the sick worker, -1: none
  bool *outage;  // per build
  FILE *json;
  int failures;
};

// ---- chance

static uint64_t next(struct history *h) {
  uint64_t x = h->random += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static double uniform(struct history *h) {
  return (double)(next(h) >> 11) / 9007199254740992.0;
}

// ---- the tests

static uint32_t usual_us(struct history *h, enum nature nature) {
  double normal = sqrt(-2 * log(1 - uniform(h))) * cos(6.283185307179586 * uniform(h));
  double us = 30000 * exp(1.5 * normal);
  if (nature == SLOWER) us = 1e6 + 4e6 * uniform(h);
  if (nature == LONGEST) return (uint32_t)(60e6 + 60e6 * uniform(h));
  return us < 500 ? 500 : us > 20e6 ? 20000000 : (uint32_t)us;
}

static void plant(struct history *h, enum nature nature, uint32_t count) {
  while (count > 0) {
    struct test *test = &h->test[next(h) % h->tests];
    if (test->nature != SOUND) continue;
    test->nature = nature;
    test->from = h->builds * (nature == BROKEN ? 80 : 40) / 100 + (uint32_t)(next(h) % (h->builds / 10 + 1));
    test->to = nature == FIXED ? test->from + 1 + (uint32_t)(next(h) % 5) : UINT32_MAX;
    count--;
  }
}

static void make_tests(struct history *h) {
  h->files = (h->tests + PER_FILE - 1) / PER_FILE;
  h->test = base_calloc(h->tests, sizeof *h->test);
  h->id = base_calloc(h->tests, sizeof *h->id);
  h->file = base_calloc(h->files, sizeof *h->file);
  h->file_of = base_calloc(h->tests, sizeof *h->file_of);
  h->unit_of = base_calloc(h->tests, sizeof *h->unit_of);
  h->row = base_calloc(h->tests, sizeof *h->row);
  for (int nature = FLAKY_3; nature < LONGEST; nature++) {
    uint32_t most = nature <= FLAKY_30 ? CHANCES : PLANTED;
    plant(h, (enum nature)nature, h->tests / 250 < most ? h->tests / 250 : most);
  }
  plant(h, LONGEST, h->tests / 500 < LONG ? h->tests / 500 : LONG);
  for (uint32_t i = 0; i < h->files; i++)
    h->file[i] = base_printf("tests/area_%02u/test_%04u.py", i % 40, i);
  for (uint32_t i = 0; i < h->tests; i++) {
    h->file_of[i] = i / PER_FILE;
    h->unit_of[i] = i;
    h->id[i] = base_printf("%s::test_%05u", h->file[i / PER_FILE], i);
    h->test[i].us = usual_us(h, h->test[i].nature);
  }
  h->sick = base_calloc(h->builds, sizeof *h->sick);
  h->outage = base_calloc(h->builds, sizeof *h->outage);
  for (uint32_t i = 0; i < h->builds; i++) {
    h->outage[i] = uniform(h) < 0.01;
    h->sick[i] = !h->outage[i] && uniform(h) < 0.05 ? (int8_t)(next(h) % WORKERS) : -1;
  }
}

// ---- the builds

static void wait_for(struct history *h, uint64_t ticket) {
  struct pollfd fd = {.fd = store_eventfd(h->store), .events = POLLIN};
  while (store_durable(h->store) < ticket) {
    (void)poll(&fd, 1, 1000);
    struct store_listed *listed = store_poll(h->store);
    for (uint32_t i = 0; listed != NULL && i < h->tests; i++)
      h->row[i] = listed->test[i];
    store_listed_free(listed);
  }
}

static double number(struct history *h, const char *sql) {
  sqlite3_stmt *stmt;
  if (sqlite3_prepare_v2(h->sqlite, sql, -1, &stmt, NULL) != SQLITE_OK || sqlite3_step(stmt) != SQLITE_ROW)
    base_die(EXIT_INFRA, "%s: %s", sql, sqlite3_errmsg(h->sqlite));
  double value = sqlite3_column_double(stmt, 0);
  sqlite3_finalize(stmt);
  return value;
}

static void wait_learned(struct history *h) {
  struct pollfd fd = {.fd = store_eventfd(h->store), .events = POLLIN};
  while (number(h, "SELECT count(*) FROM build WHERE round > learned_round + (state < 3)") > 0) {
    (void)poll(&fd, 1, 100);
    (void)store_poll(h->store);
  }
}

static bool fails(struct history *h, uint32_t build, const struct test *test, uint32_t worker) {
  if (test->nature == BROKEN || test->nature == FIXED) {
    if (build >= test->from && build < test->to) return true;
  }
  if (h->outage[build] && uniform(h) < 0.6) return true;
  if (h->sick[build] == (int)worker && uniform(h) < 0.4) return true;
  return chance[test->nature] > 0 && uniform(h) < chance[test->nature];
}

static uint32_t duration_us(struct history *h, uint32_t build, const struct test *test) {
  double us = test->us * (0.9 + 0.2 * uniform(h));
  if (test->nature == SLOWER && build >= test->from) us = us * 2 + 6e5;
  return (uint32_t)us;
}

static void run_test(struct history *h, uint32_t build, uint32_t i, uint64_t *clock_us) {
  const struct test *test = &h->test[i];
  uint32_t worker = i / PER_FILE % WORKERS;
  int first = 0;
  h->test[i].flipped = 0;
  for (uint32_t attempt = 1; attempt <= ATTEMPTS; attempt++, worker = (worker + 1) % WORKERS) {
    bool failed = fails(h, build, test, worker);
    if (failed && first == 0 && !h->outage[build] && h->sick[build] != (int)worker) first = (int)worker + 1;
    if (!failed) h->test[i].flipped = first;
    struct store_result result = {.build = build + 1,
                                  .test = h->row[i],
                                  .attempt = attempt,
                                  .worker = worker,
                                  .status = failed ? FAILED : PASSED,
                                  .flags = !failed || attempt == ATTEMPTS ? STORE_SETTLES : 0,
                                  .round = 1,
                                  .start_ms = clock_us[worker] / 1000,
                                  .setup_us = 100,
                                  .call_us = duration_us(h, build, test),
                                  .teardown_us = 100};
    clock_us[worker] += result.call_us + 200;
    (void)store_put_result(h->store, &result);
    h->results++;
    if (!failed) break;
  }
}

static void begin_build(struct history *h, uint32_t build, uint64_t at_ms) {
  char ext[16], commit[16];
  (void)snprintf(ext, sizeof ext, "b%04u", build);
  (void)snprintf(commit, sizeof commit, "c%04u", build);
  const struct store_build row = {.build = build + 1,
                                  .project = "bench",
                                  .suite = "default",
                                  .ext = ext,
                                  .commit = commit,
                                  .branch = "main",
                                  .started_ms = at_ms,
                                  .retries = ATTEMPTS - 1,
                                  .trunk = true};
  (void)store_put_build(h->store, &row);
  for (uint32_t i = 0; i < WORKERS; i++) {
    char node[8];
    (void)snprintf(node, sizeof node, "%u", i);
    const struct store_worker worker = {
        .build = build + 1, .worker = i, .node = node, .attempt = "1", .host = node, .joined_ms = at_ms};
    (void)store_put_worker(h->store, &worker);
  }
  const struct store_list list = {.build = build + 1,
                                  .count = h->tests,
                                  .file_count = h->files,
                                  .id = (const char *const *)h->id,
                                  .file = (const char *const *)h->file,
                                  .file_of = h->file_of,
                                  .unit_of = h->unit_of};
  wait_for(h, store_put_list(h->store, &list));
}

// As the model does it: beyond five of one worker and build, flips share the weight of five.
static void weigh_flips(struct history *h, uint32_t build) {
  uint32_t flips[WORKERS + 1] = {0};
  for (uint32_t i = 0; i < h->tests; i++)
    flips[h->test[i].flipped]++;
  for (uint32_t i = 0; i < h->tests && build * 2 > h->builds; i++) {
    uint32_t k = flips[h->test[i].flipped];
    if (h->test[i].flipped > 0) h->test[i].weight += k > FULL_WEIGHT ? (double)FULL_WEIGHT / k : 1;
  }
}

static void run_build(struct history *h, uint32_t build) {
  uint64_t at_ms = h->begin_ms + (uint64_t)build * DAYS * 86400000 / h->builds, clock_us[WORKERS], end_us = 0;
  begin_build(h, build, at_ms);
  for (uint32_t i = 0; i < WORKERS; i++)
    clock_us[i] = at_ms * 1000;
  for (uint32_t i = 0; i < h->tests; i++)
    run_test(h, build, i, clock_us);
  weigh_flips(h, build);
  for (uint32_t i = 0; i < WORKERS; i++)
    end_us = clock_us[i] > end_us ? clock_us[i] : end_us;
  wait_for(h, store_put_state(h->store, build + 1, COMPLETE, end_us / 1000, NULL));
}

// ---- what the tables say

typedef int table_fn(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error);

static struct rows ask(struct history *h, table_fn *table, uint32_t limit, uint64_t after) {
  struct store_query query = {.project = "bench", .suite = "", .test = "", .limit = limit, .after = after};
  struct store_error error;
  struct rows rows;
  if (table(h->store, &query, &rows, &error) != 0) base_die(EXIT_INFRA, "%s", error.text);
  return rows;
}

static int compare_u64(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static uint64_t median_us(struct history *h, table_fn *table) {
  uint64_t took[REPEAT];
  for (int i = 0; i < REPEAT; i++) {
    uint64_t began = base_now_us();
    struct rows rows = ask(h, table, ASKED, 0);
    took[i] = base_now_us() - began;
    rows_release(&rows);
  }
  qsort(took, REPEAT, sizeof *took, compare_u64);
  return took[REPEAT / 2];
}

// The test of a row: its number stands at the end of its id.
static uint32_t number_of(const struct rows *rows, size_t row) {
  char *id = base_memdup0(rows->cells[row * rows->column_count].bytes, rows->cells[row * rows->column_count].n);
  uint64_t value = strtoull(strrchr(id, '_') + 1, NULL, 10);
  free(id);
  return (uint32_t)value;
}

static bool cell_is(const struct rows *rows, size_t row, const char *column, const char *text) {
  for (size_t i = 0; i < rows->column_count; i++) {
    if (strcmp(rows->columns[i].name, column) != 0) continue;
    return rows->cells[row * rows->column_count + i].n == strlen(text) &&
           memcmp(rows->cells[row * rows->column_count + i].bytes, text, strlen(text)) == 0;
  }
  return false;
}

struct verdict {
  const char *name;
  double precision, recall;
  uint32_t planted, due, named, right, found;  // found: of those that are due
  uint32_t due_of[NATURES], found_of[NATURES];
};

// At least so good, or the bench fails.
static void judge(struct history *h, struct verdict *v, double precision, double recall, uint64_t us) {
  v->precision = v->named > 0 ? (double)v->right / v->named : 1;
  v->recall = v->due > 0 ? (double)v->found / v->due : 1;
  bool good = v->precision >= precision && v->recall >= recall && us <= TARGET_US;
  h->failures += !good;
  printf("%-14s %7u %7u %7u %7u   %6.1f%% (>= %3.0f%%)  %6.1f%% (>= %3.0f%%)", v->name, v->planted, v->due, v->named,
         v->right, 100 * v->precision, 100 * precision, 100 * v->recall, 100 * recall);
  if (us > 0) printf("  %7.2f ms (<= %d ms)", (double)us / 1000, TARGET_US / 1000);
  printf("%s\n", good ? "" : "  MISSED");
  if (h->json != NULL)
    fprintf(h->json, "%s\n  \"%s\": {\"planted\": %u, \"precision\": %.4f, \"recall\": %.4f, \"us\": %ju}",
            strcmp(v->name, "flaky") == 0 ? "" : ",", v->name, v->planted, v->precision, v->recall, (uintmax_t)us);
}

static bool is(const struct test *test, enum nature least, enum nature most) {
  return test->nature >= least && test->nature <= most;
}

static bool is_due(const struct test *test) {
  return test->nature < FLAKY_3 || test->nature > FLAKY_30 || test->weight >= 2 - 1e-9;
}

// Against the tests of some natures; only rows whose column holds a text count, when one is given. A test that is named
// and was planted as something else that does fail is no mistake of the table.
static struct verdict look(struct history *h, const char *name, table_fn *table, enum nature least, enum nature most,
                           const char *column, const char *text, uint32_t limit, double precision, double recall) {
  struct verdict v = {.name = name};
  for (uint32_t i = 0; i < h->tests; i++) {
    v.planted += is(&h->test[i], least, most);
    v.due += is(&h->test[i], least, most) && is_due(&h->test[i]);
    v.due_of[h->test[i].nature] += is_due(&h->test[i]);
  }
  uint64_t us = median_us(h, table), after = 0;
  uint32_t left = limit ? limit : v.planted;
  do {
    struct rows rows = ask(h, table, left, after);
    for (size_t row = 0; row < rows_count(&rows); row++) {
      if (column != NULL && !cell_is(&rows, row, column, text)) continue;
      v.named++;
      const struct test *test = &h->test[number_of(&rows, row)];
      v.right += is(test, least, most);
      v.found += is(test, least, most) && is_due(test);
      v.found_of[test->nature] += is_due(test);
    }
    left -= (uint32_t)rows_count(&rows);
    after = rows.next;
    rows_release(&rows);
  } while (after != 0 && left > 0);
  judge(h, &v, precision, recall, us);
  return v;
}

static void look_flaky(struct history *h) {
  struct verdict v = look(h, "flaky", store_query_flaky, FLAKY_3, FLAKY_30, "state", "flaky", ALL, 0.99, 0.9);
  for (int nature = FLAKY_3; nature <= FLAKY_30; nature++) {
    bool good = nature == FLAKY_3 || v.found_of[nature] >= 0.99 * v.due_of[nature];
    h->failures += !good;
    printf("  fails %2.0f %%            %7u         %7u%s\n", 100 * chance[nature], v.due_of[nature],
           v.found_of[nature], good ? "" : "  MISSED");
  }
}

static void look_sick(struct history *h) {
  struct verdict v = {.name = "sick workers"};
  // In a build that is sick as a whole no worker's results count, and all are marked.
  v.named =
      (uint32_t)number(h, "SELECT count(*) FROM worker w JOIN build b ON b.id=w.build WHERE w.sick AND NOT b.sick");
  for (uint32_t i = 0; i < h->builds; i++) {
    char *sql = base_printf("SELECT count(*) FROM worker WHERE build=%u AND idx=%d AND sick", i + 1, h->sick[i]);
    v.planted += h->sick[i] >= 0;
    v.right += h->sick[i] >= 0 && number(h, sql) > 0;
    free(sql);
  }
  v.due = v.planted;
  v.found = v.right;
  judge(h, &v, 0.99, 0.95, 0);
  struct verdict builds = {.name = "sick builds",
                           .named = (uint32_t)number(h, "SELECT count(*) FROM build WHERE sick")};
  for (uint32_t i = 0; i < h->builds; i++) {
    char *sql = base_printf("SELECT sick FROM build WHERE id=%u", i + 1);
    builds.planted += h->outage[i];
    builds.right += h->outage[i] && number(h, sql) > 0;
    free(sql);
  }
  builds.due = builds.planted;
  builds.found = builds.right;
  judge(h, &builds, 0.99, 0.99, 0);
}

static void look_at_all(struct history *h) {
  printf("%-14s %7s %7s %7s %7s   %-17s  %-17s  %s\n", "", "planted", "due", "named", "right", "precision", "recall",
         "server time, 20 rows");
  look_flaky(h);
  (void)look(h, "broken", store_query_broken, BROKEN, BROKEN, NULL, NULL, ALL, 0.99, 0.99);
  (void)look(h, "slower", store_query_slower, SLOWER, SLOWER, NULL, NULL, ALL, 0.99, 0.99);
  (void)look(h, "slow", store_query_slow, LONGEST, LONGEST, NULL, NULL, 0, 0.99, 0.99);
  look_sick(h);
  const struct narrowed narrowed = {.store = h->store,
                                    .id = (const char *const *)h->id,
                                    .file = h->file[0],
                                    .build = h->builds + 1,
                                    .target_us = TARGET_US,
                                    .json = h->json};
  h->failures += narrowed_look(&narrowed);
}

static void load(struct history *h) {
  uint64_t began = base_now_us();
  for (uint32_t i = 0; i < h->builds; i++) {
    run_build(h, i);
    if ((i + 1) % 20 == 0)
      fprintf(stderr, "%u of %u builds, %ju results, %.0f s\n", i + 1, h->builds, (uintmax_t)h->results,
              (double)(base_now_us() - began) / 1e6);
  }
  uint64_t loaded = base_now_us();
  wait_learned(h);
  struct store_sizes sizes;
  store_sizes(h->store, &sizes);
  printf("%ju results of %u tests in %u builds: loaded in %.0f s, taught %.0f s later; the database takes %.0f MiB\n\n",
         (uintmax_t)h->results, h->tests, h->builds, (double)(loaded - began) / 1e6,
         (double)(base_now_us() - loaded) / 1e6, (double)sizes.database_bytes / 1048576);
}

static void release(struct history *h) {
  for (uint32_t i = 0; i < h->tests; i++)
    free(h->id[i]);
  for (uint32_t i = 0; i < h->files; i++)
    free(h->file[i]);
  free(h->id);
  free(h->file);
  free(h->file_of);
  free(h->unit_of);
  free(h->row);
  free(h->test);
  free(h->sick);
  free(h->outage);
}

static uint32_t argument(int argc, char **argv, int place, uint64_t least, uint64_t otherwise) {
  uint64_t value = otherwise;
  if (argc > place && base_parse_u64(argv[place], least, 500000, &value) != 0)
    base_die(EXIT_USAGE, "%s: a number from %ju on", argv[place], (uintmax_t)least);
  return (uint32_t)value;
}

int main(int argc, char **argv) {
  struct store_error error;
  if (argc < 2) base_die(EXIT_USAGE, "usage: history FOLDER [JSON [BUILDS [TESTS [SEED]]]]");
  base_log_init("history", LOG_LEVEL_WARN);
  struct history h = {.builds = argument(argc, argv, 3, 40, 200),
                      .tests = argument(argc, argv, 4, 1000, 50000),
                      .random = argument(argc, argv, 5, 0, 1),
                      .begin_ms = base_wall_us() / 1000 - UINT64_C(86400000) * DAYS};
  char *path = base_printf("%s/history.db", argv[1]);
  const struct store_options options = {.path = path};
  if (argc > 2) h.json = fopen(argv[2], "we");
  h.store = store_open(&options, &error);
  if (h.store == NULL) base_die(EXIT_INFRA, "%s", error.text);
  if (sqlite3_open_v2(path, &h.sqlite, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) base_die(EXIT_INFRA, "%s", path);
  make_tests(&h);
  load(&h);
  if (h.json != NULL) fprintf(h.json, "{");
  look_at_all(&h);
  if (h.json != NULL) fprintf(h.json, "\n}\n");
  bool kept = h.json == NULL || fclose(h.json) == 0;
  sqlite3_close(h.sqlite);
  store_close(h.store);
  release(&h);
  free(path);
  printf("\nbench-history: %s\n", h.failures ? "MISSED" : "within bounds");
  return !kept ? EXIT_INFRA : h.failures ? EXIT_TESTS_FAILED : EXIT_OK;
}
