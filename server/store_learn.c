// What a closed build teaches: durations of its settled passing attempts, set-ups of its files, and which tests flip.
// Called by the store thread between commits, one slice at a time: first all rows of the build are read, then its tests
// are taught in the order of their ids, and each transaction also moves the build's cursor. A daemon killed in between
// goes on behind the cursor, so that each round teaches exactly once. Must not know the arithmetic of estimates.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

enum evidence { SAW_FAILURE = 1, SAW_PASS = 2, SAW_BOTH = 3 };

struct others {  // what other builds of the commit saw of the tests of a slice
  uint32_t *test;
  uint8_t *seen;
  size_t count;
};

static bool pick(struct store *store);
static void load(struct store *store);
static void mark_first(struct store_learn *learn);
static bool teach(struct store *store);
static size_t slice_end(const struct store_learn *learn);
static void gather_others(struct store_db *db, const struct store_learn *learn, size_t end, struct others *others);
static void teach_test(struct store_db *db, const struct store_learn *learn, size_t from, size_t to, uint8_t other);
static void teach_durations(struct store_db *db, const struct store_learn *learn, size_t from, size_t to);
static void teach_file(struct store_db *db, const struct store_learn_row *row, uint64_t excess_us);
static void teach_flips(struct store_db *db, const struct store_learn *learn, size_t from, size_t to, uint8_t other);
static bool teaches(const struct store_learn_row *row, uint32_t round);
static bool flips(unsigned seen, unsigned other);
static unsigned evidence(uint32_t status, uint32_t flags);

bool store_learn_slice(struct store *store) {
  if (store->learn.build == 0 && !pick(store)) return false;
  if (!store->learn.loaded)
    load(store);
  else if (!teach(store))
    store->retry_at_us = base_now_us() + STORE_RETRY_US;
  return true;
}

void store_learn_release(struct store_learn *learn) {
  free(learn->commit);
  free(learn->row);
  *learn = (struct store_learn){0};
}

// The next build with a round that is over and has not taught; one that was interrupted comes first.
static bool pick(struct store *store) {
  struct store_db *db = &store->writer;
  struct store_learn *learn = &store->learn;
  store_sql_begin(db, false);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_LEARN_NEXT, NULL, 0);
  if (store_sql_row(db, SQL_LEARN_NEXT)) {
    *learn = (struct store_learn){
        .build = store_sql_int(stmt, 0),
        .suite = store_sql_int(stmt, 1),
        .round = (uint32_t)store_sql_int(stmt, 2),
        .cursor = (uint32_t)store_sql_int(stmt, 3),
        .commit = base_strdup(store_sql_text(stmt, 4)),
        .at_ms = store_sql_int(stmt, 5),
    };
  }
  if (!store_thread_commit(store)) store_learn_release(learn);
  return learn->build != 0;
}

// Reads on behind the last row; a step is short, so that no acknowledgement waits long for it.
static void load(struct store *store) {
  struct store_db *db = &store->writer;
  struct store_learn *learn = &store->learn;
  size_t before = learn->count;
  const struct store_learn_row *last = before > 0 ? &learn->row[before - 1] : NULL;
  if (learn->room - before < STORE_LEARN_ROWS) {
    learn->room = learn->room * 2 + STORE_LEARN_ROWS;
    learn->row = base_realloc(learn->row, learn->room, sizeof *learn->row);
    last = before > 0 ? &learn->row[before - 1] : NULL;
  }
  store_sql_begin(db, false);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_LEARN_ROWS,
                                       STORE_ARGS(store_int(learn->build), store_int(last ? last->test : 0),
                                                  store_int(last ? last->attempt : 0), store_int(STORE_LEARN_ROWS)));
  while (store_sql_row(db, SQL_LEARN_ROWS)) {
    assert(learn->count < learn->room);
    learn->row[learn->count++] = (struct store_learn_row){
        .test = (uint32_t)store_sql_int(stmt, 0),
        .attempt = (uint32_t)store_sql_int(stmt, 1),
        .worker = (uint32_t)store_sql_int(stmt, 2),
        .status = (uint8_t)store_sql_int(stmt, 3),
        .flags = (uint8_t)store_sql_int(stmt, 4),
        .round = (uint32_t)store_sql_int(stmt, 5),
        .start_ms = store_sql_int(stmt, 6),
        .setup_us = (uint32_t)store_sql_int(stmt, 7),
        .call_us = (uint32_t)store_sql_int(stmt, 8),
        .teardown_us = (uint32_t)store_sql_int(stmt, 9),
        .file = (uint32_t)store_sql_int(stmt, 10),
    };
  }
  if (!store_thread_commit(store)) {
    learn->count = before;
    store->retry_at_us = base_now_us() + STORE_RETRY_US;
  } else if (learn->count - before < STORE_LEARN_ROWS) {
    mark_first(learn);
    learn->loaded = true;
  }
}

static int compare_order(const void *a, const void *b) {
  const struct store_learn_row *x = *(struct store_learn_row *const *)a, *y = *(struct store_learn_row *const *)b;
  if (x->worker != y->worker) return x->worker < y->worker ? -1 : 1;
  if (x->start_ms != y->start_ms) return x->start_ms < y->start_ms ? -1 : 1;
  return (x->test > y->test) - (x->test < y->test);
}

// A test that follows one of another file on its worker pays for the set-up of its file.
static void mark_first(struct store_learn *learn) {
  struct store_learn_row **order = base_calloc(learn->count, sizeof(struct store_learn_row *));
  size_t n = 0;
  for (size_t i = 0; i < learn->count; i++)
    if (!(learn->row[i].flags & STORE_LOST)) order[n++] = &learn->row[i];
  qsort(order, n, sizeof(struct store_learn_row *), compare_order);
  for (size_t i = 0; i < n; i++)
    order[i]->first = order[i]->file != 0 &&
                      (i == 0 || order[i - 1]->worker != order[i]->worker || order[i - 1]->file != order[i]->file);
  free(order);
  while (learn->next < learn->count && learn->row[learn->next].test <= learn->cursor)
    learn->next++;  // taught before the last stop
}

// One transaction. False: the disk is full, nothing was taught.
static bool teach(struct store *store) {
  struct store_db *db = &store->writer;
  struct store_learn *learn = &store->learn;
  size_t end = slice_end(learn), at = 0;
  bool last = end == learn->count;
  struct others others;
  store_sql_begin(db, true);
  gather_others(db, learn, end, &others);
  for (size_t from = learn->next, to; from < end; from = to, at++) {
    for (to = from + 1; to < end && learn->row[to].test == learn->row[from].test;)
      to++;
    assert(at < others.count && others.test[at] == learn->row[from].test);
    teach_test(db, learn, from, to, others.seen[at]);
  }
  free(others.test);
  free(others.seen);
  if (last)
    store_sql_run(db, SQL_LEARN_DONE, STORE_ARGS(store_int(learn->build), store_int(learn->round)));
  else
    store_sql_run(db, SQL_LEARN_CURSOR, STORE_ARGS(store_int(learn->build), store_int(learn->row[end - 1].test)));
  if (!store_thread_commit(store)) return false;
  learn->next = end;
  if (!last) return true;
  store_learn_release(learn);
  store_thread_wake_loop(store);
  return true;
}

// Behind the last row of the slice's last test.
static size_t slice_end(const struct store_learn *learn) {
  size_t end = learn->next;
  for (size_t tests = 0; end < learn->count; end++) {
    if (end > learn->next && learn->row[end].test == learn->row[end - 1].test) continue;
    if (tests++ == STORE_LEARN_SLICE) break;
  }
  return end;
}

static int compare_test(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static void gather_others(struct store_db *db, const struct store_learn *learn, size_t end, struct others *others) {
  size_t rows = end - learn->next, builds = 0;
  uint64_t build[STORE_LEARN_BUILDS];
  *others = (struct others){.test = base_calloc(rows, sizeof *others->test), .seen = base_calloc(rows, 1)};
  for (size_t i = learn->next; i < end; i++)
    if (i == learn->next || learn->row[i].test != learn->row[i - 1].test)
      others->test[others->count++] = learn->row[i].test;
  if (others->count == 0) return;
  sqlite3_stmt *stmt = store_sql_start(db, SQL_LEARN_BUILDS,
                                       STORE_ARGS(store_int(learn->suite), store_text(learn->commit),
                                                  store_int(learn->build), store_int(STORE_LEARN_BUILDS)));
  while (store_sql_row(db, SQL_LEARN_BUILDS))
    build[builds++] = store_sql_int(stmt, 0);
  for (size_t i = 0; i < builds; i++) {
    stmt = store_sql_start(
        db, SQL_LEARN_OTHERS,
        STORE_ARGS(store_int(build[i]), store_int(others->test[0]), store_int(others->test[others->count - 1])));
    while (store_sql_row(db, SQL_LEARN_OTHERS)) {
      uint32_t test = (uint32_t)store_sql_int(stmt, 0);
      const uint32_t *found = bsearch(&test, others->test, others->count, sizeof test, compare_test);
      if (found != NULL)
        others->seen[found - others->test] |=
            (uint8_t)evidence((uint32_t)store_sql_int(stmt, 1), (uint32_t)store_sql_int(stmt, 2));
    }
  }
}

static void teach_test(struct store_db *db, const struct store_learn *learn, size_t from, size_t to, uint8_t other) {
  bool durations = false;
  for (size_t i = from; i < to; i++)
    durations |= teaches(&learn->row[i], learn->round);
  if (durations) teach_durations(db, learn, from, to);
  teach_flips(db, learn, from, to, other);
}

static void teach_durations(struct store_db *db, const struct store_learn *learn, size_t from, size_t to) {
  uint32_t test = learn->row[from].test, no_files;
  struct estimate_history history = {0};
  struct store_listed one = {.count = 1, .test = &test, .history = &history};
  store_list_recall(db, &one, &no_files);
  for (size_t i = from; i < to; i++) {
    const struct store_learn_row *row = &learn->row[i];
    if (!teaches(row, learn->round)) continue;
    bool process = row->flags & STORE_FIRST;
    uint64_t excess = estimate_learn(&history, row->setup_us, row->call_us, row->teardown_us, row->first || process);
    if (row->first && !process) teach_file(db, row, excess);  // a process' own start is no file's set-up
  }
  uint64_t last_us = (uint64_t)history.ring[(history.n - 1) % ESTIMATE_RING];
  store_sql_run(db, SQL_DURATION_PUT,
                STORE_ARGS(store_int(test), store_int(learn->suite), store_int(history.n),
                           store_blob(history.ring, sizeof history.ring), store_int((uint64_t)history.setup_us),
                           store_int(last_us), store_int(estimate_expected(&history))));
}

static void teach_file(struct store_db *db, const struct store_learn_row *row, uint64_t excess_us) {
  uint64_t old_us = store_sql_number(db, SQL_FILE_SETUP, STORE_ARGS(store_int(row->file)));
  store_sql_run(db, SQL_FILE_SETUP_PUT,
                STORE_ARGS(store_int(row->file), store_int(estimate_file_setup(old_us, excess_us))));
}

// A build counts at most one flip of a test, in the round that completes the contradiction.
static void teach_flips(struct store_db *db, const struct store_learn *learn, size_t from, size_t to, uint8_t other) {
  unsigned before = 0, now = 0, runs = 0, fails = 0;
  for (size_t i = from; i < to; i++) {
    const struct store_learn_row *row = &learn->row[i];
    unsigned saw = evidence(row->status, row->flags);
    if (row->round < learn->round) before |= saw;
    if (row->round <= learn->round) now |= saw;
    if (row->round != learn->round || saw == 0) continue;
    runs++;
    fails += saw == SAW_FAILURE;
  }
  if (runs == 0) return;
  bool flip = flips(now, other) && !flips(before, other);
  store_sql_run(db, SQL_FLAKE_PUT,
                STORE_ARGS(store_int(learn->row[from].test), store_int(learn->suite), store_int(flip), store_int(runs),
                           store_int(fails), store_int(before == 0), store_int(flip ? learn->at_ms : 0)));
}

static bool teaches(const struct store_learn_row *row, uint32_t round) {
  return row->round == round && (row->status == STORE_PASSED || row->status == STORE_XFAILED) &&
         (row->flags & STORE_SETTLES) && !(row->flags & (STORE_LATE | STORE_EXTRA | STORE_LOST));
}

// Within the build, or against what other builds of its commit agree on. Where those contradict each other already, the
// flip is theirs.
static bool flips(unsigned seen, unsigned other) {
  if (seen == SAW_BOTH) return true;
  return seen != 0 && other != 0 && other != SAW_BOTH && (seen | other) == SAW_BOTH;
}

static unsigned evidence(uint32_t status, uint32_t flags) {
  if (flags & STORE_LOST) return 0;
  if (store_status_fails(status)) return SAW_FAILURE;
  return status == STORE_PASSED ? SAW_PASS : 0;
}
