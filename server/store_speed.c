// The workers of a closed build: who was sick, how fast each was, and what the build was made of as a whole. Called by
// store_learn.c on the store thread once the rows are loaded, before anything is learned of a test. Writes what it
// finds beside the build and its workers. Must not know what sickness is (flaky.c) or who asks.
#include <stdlib.h>

#include "server/store_impl.h"

enum { SPEED_GRACE_US = 5000000, PPM = 1000000 };

struct work {  // of a build, as its rows have it
  uint64_t expected_us, unknown, known, longest_us, longest_expected_us, ended_ms, setup_us;
  uint32_t setups, longest_test, last_test;
};

static void make_workers(struct store_learn *learn);
static void read_workers(struct store_db *db, struct store_learn *learn, uint64_t *stored_ppm);
static void count_rows(struct store_learn *learn, struct work *work);
static struct flaky_first find_sick(struct store_db *db, struct store_learn *learn);
static void find_speeds(struct store_learn *learn, const uint64_t *stored_ppm);
static uint64_t predict(const struct store_learn *learn, const struct work *work);
static void write_build(struct store_db *db, const struct store_learn *learn, const struct work *work,
                        const struct flaky_first *first);

bool store_speed_workers(struct store *store) {
  struct store_db *db = &store->writer;
  struct store_learn *learn = &store->learn;
  struct work work = {0};
  make_workers(learn);
  uint64_t *stored_ppm = base_calloc((size_t)learn->worker_count + 1, sizeof *stored_ppm);
  store_sql_begin(db, true);
  read_workers(db, learn, stored_ppm);
  count_rows(learn, &work);
  struct flaky_first first = find_sick(db, learn);
  find_speeds(learn, stored_ppm);
  if (learn->cursor == 0) write_build(db, learn, &work, &first);
  store_judge_others(db, learn);
  free(stored_ppm);
  learn->judged = store_thread_commit(store);
  return learn->judged;
}

static void make_workers(struct store_learn *learn) {
  learn->worker_count = 0;
  for (size_t i = 0; i < learn->count; i++)
    if (learn->row[i].worker >= learn->worker_count) learn->worker_count = learn->row[i].worker + 1;
  free(learn->worker);
  learn->worker = base_calloc((size_t)learn->worker_count + 1, sizeof *learn->worker);
  learn->sick = false;
}

static void read_workers(struct store_db *db, struct store_learn *learn, uint64_t *stored_ppm) {
  sqlite3_stmt *stmt = store_sql_start(db, SQL_JUDGE_WORKERS, STORE_ARGS(store_int(learn->build)));
  while (store_sql_row(db, SQL_JUDGE_WORKERS)) {
    uint64_t idx = store_sql_int(stmt, 0);
    if (idx >= learn->worker_count) continue;
    learn->worker[idx].host = flaky_name(store_sql_text(stmt, 1));
    stored_ppm[idx] = store_sql_us(stmt, 2);
    learn->worker[idx].key = flaky_worker(store_sql_text(stmt, 1), store_sql_text(stmt, 3), (uint32_t)idx);
  }
}

static uint64_t whole_us(const struct store_learn_row *row) {
  return (uint64_t)row->setup_us + row->call_us + row->teardown_us;
}

// A skip that settled nothing, since the test was tried elsewhere: it is no attempt at it.
static bool passed_over(const struct store_learn *learn, size_t i) {
  const struct store_learn_row *row = &learn->row[i];
  return row->status == STORE_SKIPPED && i + 1 < learn->count && row[1].test == row->test;
}

// First attempts, observed and expected durations, and what the build was made of.
static void count_rows(struct store_learn *learn, struct work *work) {
  bool tried = false;  // the test, before this row
  for (size_t i = 0; i < learn->count; i++) {
    const struct store_learn_row *row = &learn->row[i];
    struct store_learn_worker *worker = &learn->worker[row->worker];
    bool again = i > 0 && learn->row[i - 1].test == row->test && tried;
    tried = again || (!(row->flags & STORE_LOST) && !passed_over(learn, i));
    uint64_t us = whole_us(row), ended_ms = row->start_ms + us / 1000;
    if (row->flags & STORE_LOST || passed_over(learn, i)) continue;
    unsigned saw = again ? 0 : store_judge_evidence(learn, row);
    worker->first.n += saw != 0;
    worker->first.failed += saw == FLAKY_SAW_FAILURE;
    if (row->expected_us > 0 && row->status == STORE_PASSED && !row->first && !(row->flags & STORE_FIRST)) {
      worker->observed_us += us;
      worker->expected_us += row->expected_us;
    }
    if (!again && row->expected_us > 0) {
      work->known++;
      work->expected_us += row->expected_us;
      if (row->expected_us > work->longest_expected_us) work->longest_expected_us = row->expected_us;
    }
    work->unknown += !again && row->expected_us == 0;
    work->setups += row->first;
    if (row->first && !(row->flags & STORE_FIRST)) work->setup_us += row->setup_us;
    if (us >= work->longest_us) work->longest_us = us, work->longest_test = row->test;
    if (ended_ms >= work->ended_ms) work->ended_ms = ended_ms, work->last_test = row->test;
  }
}

// Returns the first attempts of those that are not.
static struct flaky_first find_sick(struct store_db *db, struct store_learn *learn) {
  struct flaky_first all = {0}, sound = {0}, last = {0};
  for (uint32_t w = 0; w < learn->worker_count; w++) {
    all.n += learn->worker[w].first.n;
    all.failed += learn->worker[w].first.failed;
  }
  for (uint32_t w = 0; w < learn->worker_count; w++) {
    struct store_learn_worker *worker = &learn->worker[w];
    worker->sick = flaky_worker_sick(&worker->first, &all);
    sound.n += worker->sick ? 0 : worker->first.n;
    sound.failed += worker->sick ? 0 : worker->first.failed;
  }
  sqlite3_stmt *stmt =
      store_sql_start(db, SQL_JUDGE_LAST, STORE_ARGS(store_int(learn->suite), store_int(learn->build)));
  if (store_sql_row(db, SQL_JUDGE_LAST)) {
    last = (struct flaky_first){store_sql_u32(stmt, 0), store_sql_u32(stmt, 1)};
    sqlite3_reset(stmt);
  }
  learn->sick = flaky_build_sick(&sound, &last);
  return sound;
}

static uint32_t speed_ppm(uint64_t observed_us, uint64_t expected_us) {
  if (expected_us == 0) return 0;
  double ppm = (double)(observed_us + SPEED_GRACE_US) / (double)(expected_us + SPEED_GRACE_US) * PPM;
  return ppm < UINT32_MAX ? (uint32_t)ppm : UINT32_MAX;
}

// v = (observed + 5 s) / (expected + 5 s). A build that goes on after a stop keeps what it had found: the expectations
// have changed since.
static void find_speeds(struct store_learn *learn, const uint64_t *stored_ppm) {
  uint64_t observed_us = 0, expected_us = 0;
  for (uint32_t w = 0; w < learn->worker_count; w++) {
    struct store_learn_worker *worker = &learn->worker[w];
    worker->speed_ppm =
        learn->cursor > 0 ? (uint32_t)stored_ppm[w] : speed_ppm(worker->observed_us, worker->expected_us);
    observed_us += worker->observed_us;
    expected_us += worker->expected_us;
  }
  learn->speed_ppm = speed_ppm(observed_us, expected_us);
}

// The mean load of the workers, or the longest test if that is more; tests never seen count as the mean of the others.
// 0: nothing was known.
static uint64_t predict(const struct store_learn *learn, const struct work *work) {
  uint64_t workers = 0;
  for (uint32_t w = 0; w < learn->worker_count; w++)
    workers += learn->worker[w].first.n > 0;
  if (work->known == 0 || workers == 0) return 0;
  uint64_t all_us = work->expected_us + work->expected_us / work->known * work->unknown;
  return all_us / workers > work->longest_expected_us ? all_us / workers : work->longest_expected_us;
}

static struct store_arg int_or_null(uint64_t value) {
  return value ? store_int(value) : store_text(NULL);
}

static void write_build(struct store_db *db, const struct store_learn *learn, const struct work *work,
                        const struct flaky_first *first) {
  for (uint32_t w = 0; w < learn->worker_count; w++) {
    const struct store_learn_worker *worker = &learn->worker[w];
    store_sql_run(db, SQL_JUDGE_WORKER,
                  STORE_ARGS(store_int(learn->build), store_int(w), store_int(worker->sick || learn->sick),
                             int_or_null(worker->speed_ppm)));
  }
  store_sql_run(db, SQL_JUDGE_BUILD,
                STORE_ARGS(store_int(learn->build), store_int(learn->sick), store_int(first->n),
                           store_int(first->failed), int_or_null(predict(learn, work)), store_int(work->setups),
                           store_int(work->setup_us), int_or_null(work->longest_test), int_or_null(work->last_test)));
}
