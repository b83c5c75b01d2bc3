// What the database must hold, for the power-cut test: a plain copy of the facts that were put, row by row as sums of
// hashes, so that a copy of the whole model is one assignment. Filled by cutwork.c while it puts records; compared with
// what a database holds after a cut.
#ifndef TESTS_CHAOS_CUTMODEL_H
#define TESTS_CHAOS_CUTMODEL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/store.h"

enum { MODEL_BUILDS = 24, MODEL_TESTS = 12, MODEL_WORKERS = 3, MODEL_ROUNDS = 4, MODEL_WHY_BYTES = 256 };

enum model_verdict { MODEL_NONE, MODEL_PASS, MODEL_FAIL, MODEL_SKIP };

// As far as it stands in the database, row for row.
struct model_rows {
  uint32_t state, round, passed, failed, skipped, tests, workers, results;
  bool purged;
  uint64_t result_sum, worker_sum;
};

struct model_worker {
  uint64_t seq, busy_us;
  uint32_t tests, failed;
  bool left;
};

struct model_build {
  uint64_t ended_ms;
  uint32_t test_count, worker_count, results, outputs;
  uint64_t result_sum;
  bool listed, purged;
  uint32_t state, round;
  struct model_worker worker[MODEL_WORKERS];
  struct model_test {
    uint32_t row;  // of the database
    uint32_t attempts;
    enum model_verdict verdict;
  } test[MODEL_TESTS];
  struct model_taught {
    uint32_t runs, durations;  // what this round teaches once it is over
  } round_of[MODEL_ROUNDS];
};

struct model {
  uint32_t count;
  struct model_build build[MODEL_BUILDS];  // ids from 1
};

// What a database holds.
struct found {
  uint32_t count;
  struct model_rows build[MODEL_BUILDS];
  uint64_t results, outputs, runs, durations, unlearned;
};

void model_build(struct model *model, uint32_t tests);  // a build with the next id
void model_worker(struct model *model, uint64_t build);
void model_result(struct model *model, const struct store_result *result);
void model_round(struct model *model, uint64_t build, const uint32_t *tests, size_t count);
void model_state(struct model *model, uint64_t build, uint32_t state, uint64_t at_ms);
void model_left(struct model *model, uint64_t build, uint32_t worker);
// What retention drops when it comes at this time of the wall.
void model_purge(struct model *model, uint64_t wall_ms, uint64_t keep_us);
uint64_t model_results(const struct model *model);  // rows that are not dropped

// Reads everything, and runs SQLite's own check. False, and why: the file is damaged, or holds what nobody wrote.
bool model_read(sqlite3 *db, struct found *found, char why[MODEL_WHY_BYTES]);
// True when they are the same; else `why` names the first difference.
bool model_same(const struct model *model, const struct found *found, char why[MODEL_WHY_BYTES]);

#endif
