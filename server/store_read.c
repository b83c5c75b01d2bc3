// The loop's reads: which builds have not ended, which build is meant, a build's whole state for recovery, and
// estimates for ids of no build. Called on the loop thread, through its read-only connection, or on the asker's through
// its view; each call is one short transaction, so that what it sees is of one moment and the log can be checkpointed
// after it. Must not know what the state is for.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"
#include "server/store_span.h"

static int end(struct store *store, const char *what);
static uint32_t replay_build(struct store_db *db, uint64_t build, const struct store_replay *replay);
static void replay_workers(struct store_db *db, uint64_t build, const struct store_replay *replay);
static void replay_list(struct store_db *db, uint64_t build, const struct store_replay *replay);
static char **names(struct store_db *db, enum store_sql which, const uint32_t *ids, uint32_t count, char **text);
static void replay_round(struct store_db *db, uint64_t build, uint32_t round, const struct store_replay *replay);
static void replay_results(struct store_db *db, uint64_t build, uint32_t round, const struct store_replay *replay);
static void unpack_column(struct store_db *db, sqlite3_stmt *stmt, int column, uint32_t *values, uint32_t count);

int store_unfinished(struct store *store, uint64_t **ids, size_t *count) {
  struct store_db *db = &store->reader;
  uint64_t *found = NULL;
  size_t n = 0, room = 0;
  store_sql_begin(db, false);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_UNFINISHED, NULL, 0);
  while (store_sql_row(db, SQL_UNFINISHED)) {
    if (n == room) found = base_realloc(found, room = room * 2 + 16, sizeof *found);
    found[n++] = store_sql_int(stmt, 0);
  }
  if (end(store, "unfinished") != 0) {
    free(found);
    return -1;
  }
  *ids = found;
  *count = n;
  return 0;
}

uint64_t store_find(struct store *store, const char *project, const char *suite, const char *ext) {
  if (ext[0] == '\0') return store_find_newest(store, project, suite, "");
  struct store_db *db = &store->reader;
  store_sql_begin(db, false);
  uint64_t build = 0, id = store_read_suite(db, project, suite);
  if (id != 0) build = store_sql_number(db, SQL_FIND, STORE_ARGS(store_int(id), store_text(ext)));
  return end(store, "find") == 0 ? build : 0;
}

int store_wall_us(struct store *store, uint64_t build, uint64_t *us) {
  struct store_db *db = &store->reader;
  store_sql_begin(db, false);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_QUERY_WALL, STORE_ARGS(store_int(build)));
  bool found = store_sql_row(db, SQL_QUERY_WALL);
  uint64_t wall_us = found ? store_span_wall_us(stmt, 0) : 0;
  if (found) sqlite3_reset(stmt);
  if (end(store, "wall") != 0 || !found) return -1;
  *us = wall_us;
  return 0;
}

uint64_t store_find_newest(struct store *store, const char *project, const char *suite, const char *branch) {
  struct store_db *db = &store->reader;
  store_sql_begin(db, false);
  uint64_t build = 0, id = store_read_suite(db, project, suite);
  if (id != 0) build = store_sql_number(db, SQL_FIND_NEWEST, STORE_ARGS(store_int(id), store_text(branch)));
  return end(store, "find") == 0 ? build : 0;
}

int store_replay_build(struct store *store, uint64_t build, const struct store_replay *replay) {
  struct store_db *db = &store->reader;
  store_sql_begin(db, false);
  uint32_t rounds = replay_build(db, build, replay);
  if (rounds > 0) {
    replay_workers(db, build, replay);
    replay_list(db, build, replay);
  }
  uint64_t round = rounds > 0 ? 1 : 0;
  while (round > 0 && db->rc == SQLITE_OK) {
    if (round > 1) replay_round(db, build, (uint32_t)round, replay);
    replay_results(db, build, (uint32_t)round, replay);
    // Not one by one: the number of rounds that is stored may be any.
    const struct store_arg args[] = {store_int(build), store_int(round), store_int(rounds)};
    round = round < rounds ? store_sql_number(db, SQL_READ_NEXT, args, COUNT_OF(args)) : 0;
  }
  int rc = end(store, "replay");
  if (rc == 0 && rounds == 0)
    base_log(LOG_LEVEL_ERROR, "store_replay", "build=%ju why=\"no such build\"", (uintmax_t)build);
  return rounds == 0 ? -1 : rc;
}

struct store_listed *store_lookup(struct store *store, const char *project, const char *suite,
                                  const struct store_list *list) {
  struct store_db *db = &store->reader;
  struct store_listed *listed = store_list_new(0, list->count, list->file_count);
  uint32_t *files = base_calloc(list->file_count, sizeof *files);
  store_sql_begin(db, false);
  uint64_t id = store_read_suite(db, project, suite);
  for (uint32_t i = 0; i < list->count && id != 0; i++)
    listed->test[i] = (uint32_t)store_sql_number(
        db, SQL_TEST_FIND, STORE_ARGS(store_int(id), store_blob(list->id[i], strlen(list->id[i]))));
  for (uint32_t i = 0; i < list->file_count && id != 0; i++)
    files[i] = (uint32_t)store_sql_number(db, SQL_FILE_FIND, STORE_ARGS(store_int(id), store_text(list->file[i])));
  store_list_recall(db, listed, files);
  free(files);
  if (end(store, "lookup") == 0) return listed;
  store_listed_free(listed);
  return NULL;
}

uint64_t store_read_suite(struct store_db *db, const char *project, const char *suite) {
  uint64_t id = store_sql_number(db, SQL_PROJECT_FIND, STORE_ARGS(store_text(project)));
  return id ? store_sql_number(db, SQL_SUITE_FIND, STORE_ARGS(store_int(id), store_text(suite))) : 0;
}

bool store_read_positions(struct store_db *db, uint64_t build, struct store_positions *positions) {
  sqlite3_stmt *stmt = store_sql_start(db, SQL_READ_LIST, STORE_ARGS(store_int(build)));
  if (!store_sql_row(db, SQL_READ_LIST)) return false;
  uint32_t count = (uint32_t)store_sql_bound(stmt, 0, LIMIT_TESTS);
  uint32_t file_count = (uint32_t)store_sql_bound(stmt, 1, LIMIT_TESTS);
  struct store_positions p = {
      .count = count,
      .file_count = file_count,
      .test = base_calloc(count, sizeof *p.test),
      .unit = base_calloc(count, sizeof *p.unit),
      .file_of = base_calloc(count, sizeof *p.file_of),
      .files = base_calloc(file_count, sizeof *p.files),
  };
  unpack_column(db, stmt, 2, p.test, count);
  unpack_column(db, stmt, 3, p.unit, count);
  unpack_column(db, stmt, 4, p.file_of, count);
  unpack_column(db, stmt, 5, p.files, file_count);
  p.marks_bytes = (size_t)sqlite3_column_bytes(stmt, 6);
  p.marks = base_memdup0(sqlite3_column_blob(stmt, 6), p.marks_bytes);
  sqlite3_reset(stmt);
  for (uint32_t i = 0; i < count; i++)
    p.file_of[i] = p.file_of[i] >= 1 && p.file_of[i] <= file_count ? p.file_of[i] - 1 : UINT32_MAX;
  *positions = p;
  if (db->rc == SQLITE_OK) return true;
  store_read_release(positions);
  return false;
}

void store_read_release(struct store_positions *positions) {
  free(positions->test);
  free(positions->unit);
  free(positions->file_of);
  free(positions->files);
  free(positions->marks);
  *positions = (struct store_positions){0};
}

static int end(struct store *store, const char *what) {
  struct store_db *db = &store->reader;
  if (store_sql_end(db) == SQLITE_OK) return 0;
  base_log(LOG_LEVEL_ERROR, "store_read", "query=%s path=%s why=\"%s\"", what, store->path, db->why);
  return -1;
}

// Its number of rounds; 0: there is no such build.
static uint32_t replay_build(struct store_db *db, uint64_t build, const struct store_replay *replay) {
  sqlite3_stmt *stmt = store_sql_start(db, SQL_READ_BUILD, STORE_ARGS(store_int(build)));
  if (!store_sql_row(db, SQL_READ_BUILD)) return 0;
  struct store_build b = {
      .build = build,
      .project = store_sql_text(stmt, 0),
      .suite = store_sql_text(stmt, 1),
      .ext = store_sql_text(stmt, 2),
      .commit = store_sql_text(stmt, 3),
      .branch = store_sql_text(stmt, 4),
      .started_ms = store_sql_ms(stmt, 5),
      .retries = store_sql_u32(stmt, 6),
      .max_failures = store_sql_u32(stmt, 7),
      .on_retry = (uint32_t)store_sql_bound(stmt, 8, 3),
      .linger_us = store_sql_us(stmt, 9),
      .timeout_per_test_us = store_sql_us(stmt, 10),
      .by_file = store_sql_int(stmt, 11) != 0,
      .order = store_sql_u32(stmt, 14),
      .by_class = store_sql_int(stmt, 15) != 0,
      .tokens = store_sql_text(stmt, 16),
      .min_workers = store_sql_u32(stmt, 17),
      .min_workers_us = store_sql_us(stmt, 18),
      .facts = store_sql_text(stmt, 19),
      .mixed = (uint32_t)store_sql_bound(stmt, 20, 3),
      .has_sources = sqlite3_column_bytes(stmt, 21) == STORE_DIGEST_BYTES,
      .ended_ms = store_sql_ms(stmt, 22),
  };
  if (b.has_sources) memcpy(b.sources, sqlite3_column_blob(stmt, 21), sizeof b.sources);
  uint32_t round = (uint32_t)store_sql_bound(stmt, 13, LIMIT_ROUNDS);
  if (round == 0) round = 1;  // it is there, and begins with the first
  replay->on_build(replay->arg, &b, (uint32_t)store_sql_bound(stmt, 12, STORE_ABORTED), round);
  sqlite3_reset(stmt);
  return round;
}

static void replay_workers(struct store_db *db, uint64_t build, const struct store_replay *replay) {
  sqlite3_stmt *stmt = store_sql_start(db, SQL_READ_WORKERS, STORE_ARGS(store_int(build)));
  while (store_sql_row(db, SQL_READ_WORKERS)) {
    struct store_worker w = {
        .build = build,
        .worker = store_sql_worker(stmt, 0),
        .node = store_sql_text(stmt, 1),
        .attempt = store_sql_text(stmt, 2),
        .host = store_sql_text(stmt, 3),
        .joined_ms = store_sql_ms(stmt, 5),
        .brings = store_sql_int(stmt, 9) != 0,
        .fact = store_sql_u32(stmt, 10),
        .cleared = store_sql_u32(stmt, 11),
        .completed = store_sql_u32(stmt, 12),
        .again = store_sql_u32(stmt, 13),
        .opened = store_sql_u32(stmt, 14),
        .part = store_sql_u32(stmt, 15),
        .parts = store_sql_u32(stmt, 16),
    };
    if (sqlite3_column_bytes(stmt, 4) != sizeof w.session) {
      store_sql_damaged(db, "a worker's session cannot be read");
      continue;
    }
    memcpy(w.session, sqlite3_column_blob(stmt, 4), sizeof w.session);
    replay->on_worker(replay->arg, &w, store_sql_int(stmt, 6), store_sql_int(stmt, 7) != 0,
                      (const char *)sqlite3_column_text(stmt, 8));
  }
}

static void replay_list(struct store_db *db, uint64_t build, const struct store_replay *replay) {
  struct store_positions p;
  if (!store_read_positions(db, build, &p)) return;
  struct store_listed *listed = store_list_new(build, p.count, p.file_count);
  memcpy(listed->test, p.test, p.count * sizeof *p.test);
  store_list_recall(db, listed, p.files);
  store_mute_recall(db, listed);
  store_failed_recall(db, listed);
  char *ids, *files, **id = names(db, SQL_READ_NODES, p.test, p.count, &ids),
                     **file = names(db, SQL_READ_PATHS, p.files, p.file_count, &files);
  struct store_list list = {
      .build = build,
      .count = p.count,
      .file_count = p.file_count,
      .id = (const char *const *)id,
      .file = (const char *const *)file,
      .file_of = p.file_of,
      .unit_of = p.unit,
      .marks = p.marks,
      .marks_bytes = p.marks_bytes,
  };
  if (db->rc == SQLITE_OK) replay->on_list(replay->arg, &list, listed);
  free(id);
  free(ids);
  free(file);
  free(files);
  store_listed_free(listed);
  store_read_release(&p);
}

// All names behind each other, since there are many; where each begins, 0 for none.
struct names {
  size_t *at, used, room;
  char *text;
};

static void on_name(uint32_t position, sqlite3_stmt *stmt, void *arg) {
  struct names *all = arg;
  const void *bytes = sqlite3_column_blob(stmt, 1);
  size_t n = (size_t)sqlite3_column_bytes(stmt, 1);
  if (all->room - all->used < n + 1) {
    all->room = 2 * (all->used + n + 1);
    all->text = base_realloc(all->text, all->room, 1);
  }
  all->at[position] = all->used;
  if (n) memcpy(all->text + all->used, bytes, n);
  all->text[all->used + n] = '\0';
  all->used += n + 1;
}

// The caller frees the array and *text.
static char **names(struct store_db *db, enum store_sql which, const uint32_t *ids, uint32_t count, char **text) {
  struct names all = {.at = base_calloc(count + 1, sizeof *all.at), .used = 1, .room = 1, .text = base_calloc(1, 1)};
  char **name = base_calloc(count + 1, sizeof *name);
  store_ids_visit(db, which, ids, count, on_name, &all);
  for (uint32_t i = 0; i < count; i++) {
    if (all.at[i] == 0) store_sql_damaged(db, "a list names a row that is not there");
    name[i] = all.text + all.at[i];
  }
  free(all.at);
  *text = all.text;
  return name;
}

static void replay_round(struct store_db *db, uint64_t build, uint32_t round, const struct store_replay *replay) {
  sqlite3_stmt *stmt = store_sql_start(db, SQL_READ_ROUND, STORE_ARGS(store_int(build), store_int(round)));
  if (!store_sql_row(db, SQL_READ_ROUND)) return;  // dropped by retention before the build was run again
  uint32_t count = (uint32_t)store_sql_bound(stmt, 0, LIMIT_TESTS), *tests = base_calloc(count, sizeof *tests);
  unpack_column(db, stmt, 1, tests, count);
  sqlite3_reset(stmt);
  if (db->rc == SQLITE_OK) replay->on_round(replay->arg, round, tests, count);
  free(tests);
}

static void replay_results(struct store_db *db, uint64_t build, uint32_t round, const struct store_replay *replay) {
  sqlite3_stmt *stmt = store_sql_start(db, SQL_READ_RESULTS, STORE_ARGS(store_int(build), store_int(round)));
  while (store_sql_row(db, SQL_READ_RESULTS)) {
    struct store_result r = {
        .build = build,
        .test = store_sql_u32(stmt, 0),
        .attempt = store_sql_u32(stmt, 1),
        .worker = store_sql_worker(stmt, 2),
        .status = store_sql_u32(stmt, 3),
        .flags = store_sql_u32(stmt, 4),
        .round = round,
        .start_ms = store_sql_ms(stmt, 5),
        .setup_us = store_sql_u32(stmt, 6),
        .call_us = store_sql_u32(stmt, 7),
        .teardown_us = store_sql_u32(stmt, 8),
        .text = sqlite3_column_blob(stmt, 9),
        .text_bytes = (size_t)sqlite3_column_bytes(stmt, 9),
    };
    replay->on_result(replay->arg, &r);
  }
}

static void unpack_column(struct store_db *db, sqlite3_stmt *stmt, int column, uint32_t *values, uint32_t count) {
  const void *blob = sqlite3_column_blob(stmt, column);
  if (store_unpack(blob, (size_t)sqlite3_column_bytes(stmt, column), values, count) != 0)
    store_sql_damaged(db, "packed numbers cannot be read");
}
