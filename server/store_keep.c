// Retention: drops the raw results of builds that ended long ago, a slice per transaction; verdict counts and history
// stay. Called by the store thread between commits, in turn with learning, and when the disk is full. A build goes only
// after it has taught. Must not know why it was called.
#include "server/store_impl.h"

static uint64_t next_build(struct store *store, uint64_t *list);
static bool drop(struct store_db *db, uint64_t build, uint64_t list, uint64_t *results);

bool store_keep_slice(struct store *store) {
  struct store_db *db = &store->writer;
  uint64_t build = 0, list = 0, builds = 0, results = 0;
  uint64_t most = store->tight ? 1 : STORE_KEEP_BUILDS;
  bool gone = true;
  store_sql_begin(db, true);
  while (gone && builds < most && results < STORE_KEEP_SLICE) {
    build = next_build(store, &list);
    gone = build != 0 && drop(db, build, list, &results);
    builds += gone;
  }
  if (!store_thread_commit(store)) {
    store->retry_at_us = base_now_us() + STORE_RETRY_US;
    return false;
  }
  if (results > 0 || builds > 0)
    base_log(LOG_LEVEL_INFO, "store_keep", "results=%ju builds=%ju", (uintmax_t)results, (uintmax_t)builds);
  return build != 0;
}

static uint64_t next_build(struct store *store, uint64_t *list) {
  struct store_db *db = &store->writer;
  uint64_t now_us = base_wall_us(), build = 0;
  uint64_t before_ms = now_us > store->keep_results_us ? (now_us - store->keep_results_us) / 1000 : 0;
  sqlite3_stmt *stmt = store_sql_start(db, SQL_KEEP_NEXT, STORE_ARGS(store_int(before_ms)));
  if (store_sql_row(db, SQL_KEEP_NEXT)) {
    build = store_sql_int(stmt, 0);
    *list = store_sql_int(stmt, 1);
    sqlite3_reset(stmt);
  }
  return build;
}

// True when nothing is left of the build. `results`: how many this slice dropped, of which there may be
// STORE_KEEP_SLICE.
static bool drop(struct store_db *db, uint64_t build, uint64_t list, uint64_t *results) {
  struct store_arg room = store_int(STORE_KEEP_SLICE - *results);
  uint64_t cut = store_sql_number(db, SQL_KEEP_CUT, STORE_ARGS(store_int(build), room));
  bool last = cut == 0;
  struct store_arg below = store_int(last ? (uint64_t)UINT32_MAX + 1 : cut);
  store_sql_run(db, SQL_KEEP_OUTPUT, STORE_ARGS(store_int(build), below));
  store_sql_run(db, SQL_KEEP_RESULT, STORE_ARGS(store_int(build), below));
  if (db->rc == SQLITE_OK) *results += (uint64_t)sqlite3_changes(db->sqlite);
  if (!last) return false;
  store_sql_run(db, SQL_KEEP_WORKER, STORE_ARGS(store_int(build)));
  store_sql_run(db, SQL_KEEP_ROUND, STORE_ARGS(store_int(build)));
  store_sql_run(db, SQL_KEEP_BUILD, STORE_ARGS(store_int(build)));
  if (list != 0) store_sql_run(db, SQL_KEEP_LIST, STORE_ARGS(store_int(list)));
  return true;
}
