// A list of tests to rows, and back comes what is known of each. Called by store_write.c inside a transaction, and by
// store_read.c for the recall. Lists of one suite with the same ids, files and units in the same order share one row;
// the rows of tests and files are made at first sight. Must not know builds beyond their list, nor who waits for the
// answer.
#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

static void digest_list(const struct store_list *list, unsigned char *digest);
static uint64_t find_list(struct store_db *db, uint64_t suite, const unsigned char *digest, uint64_t now_ms,
                          struct store_listed *listed, uint32_t *files, bool *fresh);
static void add_files(struct store_db *db, uint64_t suite, const struct store_list *list, uint32_t *files);
static void add_tests(struct store_db *db, uint64_t suite, const struct store_list *list, const uint32_t *files,
                      uint64_t now_ms, uint32_t *tests);
static uint64_t add_list(struct store_db *db, uint64_t suite, const unsigned char *digest,
                         const struct store_list *list, const uint32_t *tests, const uint32_t *files, uint64_t now_ms);
static uint32_t row_id(struct store_db *db, uint64_t id);

struct store_listed *store_list_write(struct store_db *db, const struct store_list *list, uint64_t now_ms) {
  unsigned char digest[STORE_DIGEST_BYTES];
  struct store_listed *listed = store_list_new(list->build, list->count, list->file_count);
  uint32_t *files = base_calloc(list->file_count, sizeof *files);
  bool fresh = false;
  uint64_t suite = store_sql_number(db, SQL_BUILD_SUITE, STORE_ARGS(store_int(list->build)));
  assert(suite != 0 || db->rc != SQLITE_OK);  // the build's record came before
  digest_list(list, digest);
  uint64_t id = find_list(db, suite, digest, now_ms, listed, files, &fresh);
  if (!fresh) {
    add_files(db, suite, list, files);
    add_tests(db, suite, list, files, now_ms, listed->test);
    if (id == 0) id = add_list(db, suite, digest, list, listed->test, files, now_ms);
    store_sql_run(db, SQL_LIST_SEEN, STORE_ARGS(store_int(id), store_int(now_ms)));
  }
  store_sql_run(db, SQL_BUILD_LIST, STORE_ARGS(store_int(list->build), store_int(id), store_int(list->count)));
  store_list_recall(db, listed, files);
  store_mute_list(db, suite, listed, now_ms);
  store_failed_recall(db, listed);
  free(files);
  return listed;
}

struct store_listed *store_list_new(uint64_t build, uint32_t count, uint32_t file_count) {
  struct store_listed *listed = base_calloc(1, sizeof *listed);
  *listed = (struct store_listed){
      .build = build,
      .count = count,
      .file_count = file_count,
      .test = base_calloc(count, sizeof *listed->test),
      .history = base_calloc(count, sizeof *listed->history),
      .file_setup_us = base_calloc(file_count, sizeof *listed->file_setup_us),
      .muted = base_calloc(count, sizeof *listed->muted),
      .failed_last = base_calloc(count, sizeof *listed->failed_last),
      .puzzles = base_calloc(count, sizeof *listed->puzzles),
      .skips = base_calloc(count, sizeof *listed->skips),
      .ran = base_calloc(count, sizeof *listed->ran),
  };
  return listed;
}

struct recall {
  struct store_db *db;
  struct store_listed *listed;
};

static void on_history(uint32_t position, sqlite3_stmt *stmt, void *arg) {
  const struct recall *recall = arg;
  struct estimate_history *history = &recall->listed->history[position];
  if (sqlite3_column_bytes(stmt, 2) != sizeof history->ring) {
    store_sql_damaged(recall->db, "a test's durations cannot be read");
    return;
  }
  history->n = store_sql_u32(stmt, 1);
  memcpy(history->ring, sqlite3_column_blob(stmt, 2), sizeof history->ring);
  history->setup_us = (float)store_sql_us(stmt, 3);
  for (size_t i = 0; i < ESTIMATE_RING; i++) {  // NaN is not above anything
    float us = history->ring[i];
    history->ring[i] = !(us > 0) ? 0 : us > (float)LIMIT_STORED_US ? (float)LIMIT_STORED_US : us;
  }
}

void store_list_recall(struct store_db *db, struct store_listed *listed, const uint32_t *files) {
  struct recall recall = {.db = db, .listed = listed};
  store_ids_visit(db, SQL_HISTORY, listed->test, listed->count, on_history, &recall);
  for (uint32_t i = 0; i < listed->file_count; i++)
    if (files[i] != 0) listed->file_setup_us[i] = store_sql_number(db, SQL_FILE_SETUP, STORE_ARGS(store_int(files[i])));
}

// Lengths go in before the bytes, so that no two lists read the same.
static void digest_list(const struct store_list *list, unsigned char *digest) {
  EVP_MD_CTX *hash = EVP_MD_CTX_new();
  const uint32_t head[] = {list->count, list->file_count};
  bool good = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;
  good = good && EVP_DigestUpdate(hash, head, sizeof head) == 1;
  for (uint32_t i = 0; i < list->count && good; i++) {
    const uint32_t row[] = {(uint32_t)strlen(list->id[i]), list->file_of[i], list->unit_of[i]};
    good = EVP_DigestUpdate(hash, row, sizeof row) == 1 && EVP_DigestUpdate(hash, list->id[i], row[0]) == 1;
  }
  for (uint32_t i = 0; i < list->file_count && good; i++) {
    uint32_t n = (uint32_t)strlen(list->file[i]);
    good = EVP_DigestUpdate(hash, &n, sizeof n) == 1 && EVP_DigestUpdate(hash, list->file[i], n) == 1;
  }
  if (list->marks_bytes) good = good && EVP_DigestUpdate(hash, list->marks, list->marks_bytes) == 1;
  if (!good || EVP_DigestFinal_ex(hash, digest, NULL) != 1) base_die(EXIT_INFRA, "store: SHA-256 is not available");
  EVP_MD_CTX_free(hash);
}

// The row of an equal list. *fresh: its ids were taken over, and its tests marked as seen within a day, so that nothing
// else is to do.
static uint64_t find_list(struct store_db *db, uint64_t suite, const unsigned char *digest, uint64_t now_ms,
                          struct store_listed *listed, uint32_t *files, bool *fresh) {
  sqlite3_stmt *stmt =
      store_sql_start(db, SQL_LIST_FIND, STORE_ARGS(store_int(suite), store_blob(digest, STORE_DIGEST_BYTES)));
  if (!store_sql_row(db, SQL_LIST_FIND)) return 0;
  uint64_t id = store_sql_int(stmt, 0), seen_ms = store_sql_ms(stmt, 1);
  if (store_sql_int(stmt, 2) != listed->count || store_sql_int(stmt, 3) != listed->file_count ||
      store_unpack(sqlite3_column_blob(stmt, 4), (size_t)sqlite3_column_bytes(stmt, 4), listed->test, listed->count) !=
          0 ||
      store_unpack(sqlite3_column_blob(stmt, 5), (size_t)sqlite3_column_bytes(stmt, 5), files, listed->file_count) != 0)
    store_sql_damaged(db, "a list of tests cannot be read");
  sqlite3_reset(stmt);
  *fresh = now_ms < seen_ms + STORE_DAY_MS;
  return id;
}

static void add_files(struct store_db *db, uint64_t suite, const struct store_list *list, uint32_t *files) {
  for (uint32_t i = 0; i < list->file_count; i++) {
    const struct store_arg args[] = {store_int(suite), store_text(list->file[i])};
    uint64_t id = store_sql_number(db, SQL_FILE_FIND, args, COUNT_OF(args));
    if (id == 0) id = store_sql_number(db, SQL_FILE_ADD, args, COUNT_OF(args));
    files[i] = row_id(db, id);
  }
}

static void add_tests(struct store_db *db, uint64_t suite, const struct store_list *list, const uint32_t *files,
                      uint64_t now_ms, uint32_t *tests) {
  for (uint32_t i = 0; i < list->count; i++) {
    uint64_t file = list->file_of[i] < list->file_count ? files[list->file_of[i]] : 0;
    struct store_arg node = store_blob(list->id[i], strlen(list->id[i]));
    sqlite3_stmt *stmt = store_sql_start(db, SQL_TEST_FIND, STORE_ARGS(store_int(suite), node));
    if (store_sql_row(db, SQL_TEST_FIND)) {
      tests[i] = row_id(db, store_sql_int(stmt, 0));
      bool same = store_sql_int(stmt, 1) == file && now_ms < store_sql_ms(stmt, 2) + STORE_DAY_MS;
      sqlite3_reset(stmt);
      if (!same) store_sql_run(db, SQL_TEST_SEEN, STORE_ARGS(store_int(tests[i]), store_int(file), store_int(now_ms)));
    } else {
      tests[i] = row_id(db, store_sql_number(db, SQL_TEST_ADD,
                                             STORE_ARGS(store_int(suite), node, store_int(file), store_int(now_ms))));
    }
  }
}

static uint64_t add_list(struct store_db *db, uint64_t suite, const unsigned char *digest,
                         const struct store_list *list, const uint32_t *tests, const uint32_t *files, uint64_t now_ms) {
  size_t test_bytes, unit_bytes, file_bytes, of_bytes;
  uint32_t *file_of = base_calloc(list->count, sizeof *file_of);
  for (uint32_t i = 0; i < list->count; i++)
    file_of[i] = list->file_of[i] < list->file_count ? list->file_of[i] + 1 : 0;
  unsigned char *test_blob = store_pack(tests, list->count, &test_bytes);
  unsigned char *unit_blob = store_pack(list->unit_of, list->count, &unit_bytes);
  unsigned char *of_blob = store_pack(file_of, list->count, &of_bytes);
  unsigned char *file_blob = store_pack(files, list->file_count, &file_bytes);
  uint64_t id = store_sql_number(
      db, SQL_LIST_ADD,
      STORE_ARGS(store_int(suite), store_blob(digest, STORE_DIGEST_BYTES), store_int(list->count),
                 store_int(list->file_count), store_blob(test_blob, test_bytes), store_blob(unit_blob, unit_bytes),
                 store_blob(of_blob, of_bytes), store_blob(file_blob, file_bytes), store_int(now_ms),
                 store_blob(list->marks_bytes ? list->marks : "", list->marks_bytes)));
  free(test_blob);
  free(unit_blob);
  free(of_blob);
  free(file_blob);
  free(file_of);
  return id;
}

// Row ids are u32 all over the server.
static uint32_t row_id(struct store_db *db, uint64_t id) {
  if (id > UINT32_MAX) store_sql_damaged(db, "more than four thousand million tests");
  return (uint32_t)id;
}
