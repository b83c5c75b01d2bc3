// What a closed build teaches: durations of its settled passing attempts, set-ups of its files, which tests became
// slower, and through store_judge.c which are flaky or broken. Called by the store thread between commits, one slice at
// a time: first all rows of the build are read, then its tests are taught in the order of their ids, and each
// transaction also moves the build's cursor. A daemon killed in between goes on behind the cursor, so that each round
// teaches exactly once. Must not know the arithmetic of estimates.
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

enum { PPM = 1000000, SPEED_SLACK_PPM = 100000, RUNS_DAYS = 7 };

struct durations {  // what is remembered of a test's durations beside its ring
  uint64_t build[ESTIMATE_RING];
  double runs7, cost7;
  uint64_t cost_ms, base_us, step_us, step_ms, step_from, step_to;
  struct flaky_keys step_branches;  // where it was slow since
};

static bool pick(struct store *store);
static void load(struct store *store);
static void mark_first(struct store_learn *learn);
static void mark_tests(struct store_learn *learn);
static bool teach(struct store *store);
static void teach_durations(struct store_db *db, const struct store_learn *learn, const struct store_learn_test *test);
static void read_durations(struct store_db *db, uint32_t test, struct durations *more);
static uint64_t at_usual_speed(const struct store_learn *learn, const struct store_learn_row *row, uint64_t us);
static void count_cost(struct durations *more, const struct store_learn *learn, uint64_t us);
static void find_step(struct store_db *db, struct durations *more, const struct store_learn *learn,
                      const struct estimate_history *history);
static void teach_file(struct store_db *db, const struct store_learn_row *row, uint64_t excess_us);
static bool teaches(const struct store_learn *learn, const struct store_learn_row *row);

bool store_learn_slice(struct store *store) {
  if (store->learn.build == 0 && !pick(store)) return false;
  struct store_learn *learn = &store->learn;
  bool done = true;
  if (!learn->loaded)
    load(store);
  else if (!learn->judged)
    done = store_speed_workers(store);
  else if (!learn->gathered)
    done = store_judge_gather(store);
  else
    done = teach(store);
  if (!done) store->retry_at_us = base_now_us() + STORE_RETRY_US;
  return true;
}

void store_learn_release(struct store_learn *learn) {
  free(learn->commit);
  free(learn->row);
  free(learn->test);
  free(learn->worker);
  free(learn->event);
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
        .round = store_sql_u32(stmt, 2),
        .cursor = store_sql_u32(stmt, 3),
        .commit = base_strdup(store_sql_text(stmt, 4)),
        .at_ms = store_sql_ms(stmt, 5),
        .trusted = store_sql_int(stmt, 6) != 0,
        .trunk = store_sql_int(stmt, 7) != 0,
        .branch = flaky_name(store_sql_text(stmt, 8)),
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
        .test = store_sql_u32(stmt, 0),
        .attempt = store_sql_u32(stmt, 1),
        .worker = store_sql_worker(stmt, 2),
        .status = (uint8_t)store_sql_int(stmt, 3),
        .flags = (uint8_t)store_sql_int(stmt, 4),
        .round = store_sql_u32(stmt, 5),
        .start_ms = store_sql_ms(stmt, 6),
        .setup_us = store_sql_u32(stmt, 7),
        .call_us = store_sql_u32(stmt, 8),
        .teardown_us = store_sql_u32(stmt, 9),
        .file = store_sql_u32(stmt, 10),
        .expected_us = store_sql_u32(stmt, 11),
    };
  }
  if (!store_thread_commit(store)) {
    learn->count = before;
    store->retry_at_us = base_now_us() + STORE_RETRY_US;
  } else if (learn->count - before < STORE_LEARN_ROWS) {
    mark_first(learn);
    mark_tests(learn);
    learn->loaded = true;
  }
}

static int compare_order(const void *a, const void *b) {
  const struct store_learn_row *x = *(struct store_learn_row *const *)a, *y = *(struct store_learn_row *const *)b;
  if (x->worker != y->worker) return x->worker < y->worker ? -1 : 1;
  if (x->start_ms != y->start_ms) return x->start_ms < y->start_ms ? -1 : 1;
  return (x->test > y->test) - (x->test < y->test);
}

// A test that follows one of another file on its worker pays for the set-up of its file. One that was skipped pays for
// nothing: what it would have paid, the file's set-up and the start of the process, falls to the next of the file.
static void mark_first(struct store_learn *learn) {
  struct store_learn_row **order = base_calloc(learn->count, sizeof(struct store_learn_row *));
  size_t n = 0;
  for (size_t i = 0; i < learn->count; i++)
    if (!(learn->row[i].flags & STORE_LOST)) order[n++] = &learn->row[i];
  qsort(order, n, sizeof(struct store_learn_row *), compare_order);
  bool paid = false, process = false;
  for (size_t i = 0; i < n; i++) {
    bool other = i == 0 || order[i - 1]->worker != order[i]->worker;
    process = !other && process;
    paid = !other && order[i - 1]->file == order[i]->file && paid;
    if (order[i]->status == STORE_SKIPPED) {
      process |= (order[i]->flags & STORE_FIRST) != 0;
      continue;
    }
    order[i]->first = order[i]->file != 0 && !paid;
    if (process) order[i]->flags |= STORE_FIRST;
    paid = true;
    process = false;
  }
  free(order);
}

static void mark_tests(struct store_learn *learn) {
  learn->test = base_calloc(learn->count + 1, sizeof *learn->test);
  learn->event = base_calloc(FLAKY_EVENTS_MAX, sizeof *learn->event);
  for (size_t from = 0, to; from < learn->count; from = to) {
    for (to = from + 1; to < learn->count && learn->row[to].test == learn->row[from].test;)
      to++;
    learn->test[learn->test_count++] = (struct store_learn_test){.from = from, .to = to};
  }
}

// One transaction; an untrusted build is over at once. False: the disk is full, nothing was taught.
static bool teach(struct store *store) {
  struct store_db *db = &store->writer;
  struct store_learn *learn = &store->learn;
  size_t taught = 0;
  store_sql_begin(db, true);
  size_t end = learn->trusted ? learn->next : learn->test_count;
  for (; end < learn->test_count && taught < STORE_LEARN_SLICE; end++) {
    const struct store_learn_test *test = &learn->test[end];
    if (learn->row[test->from].test <= learn->cursor) continue;  // before the last stop
    teach_durations(db, learn, test);
    store_judge_test(store, test);
    taught++;
  }
  bool last = end == learn->test_count;
  if (last)
    store_sql_run(db, SQL_LEARN_DONE, STORE_ARGS(store_int(learn->build), store_int(learn->round)));
  else
    store_sql_run(db, SQL_LEARN_CURSOR,
                  STORE_ARGS(store_int(learn->build), store_int(learn->row[learn->test[end - 1].from].test)));
  if (!store_thread_commit(store)) return false;
  learn->next = end;
  if (!last) return true;
  store_learn_release(learn);
  store_thread_wake_loop(store);
  return true;
}

static void teach_durations(struct store_db *db, const struct store_learn *learn, const struct store_learn_test *test) {
  uint32_t id = learn->row[test->from].test, no_files;
  struct estimate_history history = {0};
  struct store_listed one = {.count = 1, .test = &id, .history = &history};
  struct durations more = {0};
  bool known = false;
  for (size_t i = test->from; i < test->to; i++) {
    const struct store_learn_row *row = &learn->row[i];
    if (!teaches(learn, row)) continue;
    if (!known) {
      store_list_recall(db, &one, &no_files);
      read_durations(db, id, &more);
    }
    known = true;
    bool process = row->flags & STORE_FIRST;
    uint64_t setup_us = at_usual_speed(learn, row, row->setup_us), call_us = at_usual_speed(learn, row, row->call_us);
    uint64_t excess = estimate_learn(&history, setup_us, call_us, at_usual_speed(learn, row, row->teardown_us),
                                     row->first || process);
    more.build[(history.n - 1) % ESTIMATE_RING] = learn->build;
    count_cost(&more, learn, (uint64_t)history.ring[(history.n - 1) % ESTIMATE_RING]);
    find_step(db, &more, learn, &history);
    if (row->first && !process) teach_file(db, row, excess);  // a process' own start is no file's set-up
  }
  if (!known) return;
  uint64_t last_us = (uint64_t)history.ring[(history.n - 1) % ESTIMATE_RING];
  store_sql_run(
      db, SQL_DURATION_PUT,
      STORE_ARGS(store_int(id), store_int(learn->suite), store_int(history.n),
                 store_blob(history.ring, sizeof history.ring), store_int((uint64_t)history.setup_us),
                 store_int(last_us), store_int(estimate_expected(&history)), store_int(estimate_high(&history)),
                 store_blob(more.build, sizeof more.build), store_real(more.runs7), store_real(more.cost7),
                 store_int(more.cost_ms), store_int(more.base_us), store_int(more.step_us), store_int(more.step_ms),
                 store_int(more.step_from), store_int(more.step_to), store_judge_keys(&more.step_branches)));
}

static void read_durations(struct store_db *db, uint32_t test, struct durations *more) {
  sqlite3_stmt *stmt = store_sql_start(db, SQL_DURATION_MORE, STORE_ARGS(store_int(test)));
  if (!store_sql_row(db, SQL_DURATION_MORE)) return;
  const void *builds = sqlite3_column_blob(stmt, 0);
  if (builds != NULL && (size_t)sqlite3_column_bytes(stmt, 0) == sizeof more->build)
    memcpy(more->build, builds, sizeof more->build);
  more->runs7 = store_sql_real(stmt, 1);
  more->cost7 = store_sql_real(stmt, 2);
  more->cost_ms = store_sql_ms(stmt, 3);
  more->base_us = store_sql_us(stmt, 4);
  more->step_us = store_sql_us(stmt, 5);
  more->step_ms = store_sql_ms(stmt, 6);
  more->step_from = store_sql_int(stmt, 7);
  more->step_to = store_sql_int(stmt, 8);
  store_judge_read_keys(stmt, 9, &more->step_branches);
  sqlite3_reset(stmt);
}

// On a worker that is a tenth slower or faster than its build is as a whole, durations count as that build's.
static uint64_t at_usual_speed(const struct store_learn *learn, const struct store_learn_row *row, uint64_t us) {
  uint64_t own = learn->worker[row->worker].speed_ppm, all = learn->speed_ppm;
  if (own == 0 || all == 0) return us;
  uint64_t relative = own * PPM / all;
  if (relative > PPM - SPEED_SLACK_PPM && relative < PPM + SPEED_SLACK_PPM) return us;
  return us * PPM / relative;
}

// Runs and their cost, each forgotten by a factor of e in seven days: divided by seven, per day.
static void count_cost(struct durations *more, const struct store_learn *learn, uint64_t us) {
  double days = learn->at_ms > more->cost_ms ? (double)(learn->at_ms - more->cost_ms) / STORE_DAY_MS : 0;
  double kept = more->cost_ms ? exp(-days / RUNS_DAYS) : 0;
  more->runs7 = more->runs7 * kept + 1;
  more->cost7 = more->cost7 * kept + (double)us;
  if (learn->at_ms > more->cost_ms) more->cost_ms = learn->at_ms;
}

// The step stands until the test takes no more than 1.2 times what it did before.
static void find_step(struct store_db *db, struct durations *more, const struct store_learn *learn,
                      const struct estimate_history *history) {
  uint64_t before_us, after_us, last_us = (uint64_t)history->ring[(history->n - 1) % ESTIMATE_RING];
  if (more->step_ms != 0) {
    more->step_us = estimate_recent(history);
    if (last_us * 5 > more->base_us * 6) flaky_keys_add(&more->step_branches, learn->branch);
    if (more->step_us * 5 > more->base_us * 6) return;
    more->base_us = more->step_us = more->step_ms = more->step_from = more->step_to = 0;
    more->step_branches = (struct flaky_keys){0};
  } else if (estimate_slower(history, &before_us, &after_us)) {
    more->base_us = before_us;
    more->step_us = after_us;
    more->step_ms = learn->at_ms;
    more->step_from = more->build[(history->n - 1 - ESTIMATE_RECENT) % ESTIMATE_RING];
    more->step_to = more->build[(history->n - ESTIMATE_RECENT) % ESTIMATE_RING];
    for (uint32_t i = 1; i <= ESTIMATE_RECENT; i++) {
      uint64_t build = more->build[(history->n - i) % ESTIMATE_RING];
      sqlite3_stmt *stmt = store_sql_start(db, SQL_BUILD_BRANCH, STORE_ARGS(store_int(build)));
      if (!store_sql_row(db, SQL_BUILD_BRANCH)) continue;
      flaky_keys_add(&more->step_branches, flaky_name(store_sql_text(stmt, 0)));
      sqlite3_reset(stmt);
    }
  }
}

static void teach_file(struct store_db *db, const struct store_learn_row *row, uint64_t excess_us) {
  uint64_t old_us = store_sql_number(db, SQL_FILE_SETUP, STORE_ARGS(store_int(row->file)));
  store_sql_run(db, SQL_FILE_SETUP_PUT,
                STORE_ARGS(store_int(row->file), store_int(estimate_file_setup(old_us, excess_us))));
}

static bool teaches(const struct store_learn *learn, const struct store_learn_row *row) {
  return row->round == learn->round && (row->status == STORE_PASSED || row->status == STORE_XFAILED) &&
         (row->flags & STORE_SETTLES) && !(row->flags & (STORE_LATE | STORE_EXTRA | STORE_LOST)) && !learn->sick &&
         !learn->worker[row->worker].sick;
}
