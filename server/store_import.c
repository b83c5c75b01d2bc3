// Durations from elsewhere, in and out: what an import leaves of each test, and what is expected of all tests of a
// suite. Called by store_write.c on the store thread, and by query_apart.c's questions on the asker's thread. An
// imported duration is one run that no build made; the first build that times the test makes it a history like any
// other. Must not know the formats that durations come in.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

static const struct rows_column duration_columns[] = {
    {"test", ROWS_TEXT},
    {"file", ROWS_TEXT},
    {"expected", ROWS_DURATION_US},
};

static uint64_t find_file(struct store_db *db, uint64_t suite, const char *path);
static void put(struct store_db *db, uint64_t suite, uint64_t test, uint64_t us);
static void ask_durations(struct store_asking *ask);

void store_import_write(struct store_db *db, const struct store_import *import) {
  uint64_t suite = store_write_suite(db, import->project, import->suite);
  uint64_t *files = base_calloc(import->file_count, sizeof *files);
  for (uint32_t i = 0; i < import->file_count; i++)
    files[i] = find_file(db, suite, import->file[i]);
  for (uint32_t i = 0; i < import->count; i++) {
    struct store_arg node = store_blob(import->id[i], strlen(import->id[i]));
    uint64_t file = import->file_of[i] < import->file_count ? files[import->file_of[i]] : 0;
    uint64_t test = store_sql_number(db, SQL_TEST_FIND, STORE_ARGS(store_int(suite), node));
    if (test == 0)
      test = store_sql_number(db, SQL_TEST_ADD,
                              STORE_ARGS(store_int(suite), node, store_int(file), store_int(import->at_ms)));
    put(db, suite, test, import->us[i]);
  }
  free(files);
}

static uint64_t find_file(struct store_db *db, uint64_t suite, const char *path) {
  const struct store_arg args[] = {store_int(suite), store_text(path)};
  uint64_t id = store_sql_number(db, SQL_FILE_FIND, args, COUNT_OF(args));
  return id ? id : store_sql_number(db, SQL_FILE_ADD, args, COUNT_OF(args));
}

static void put(struct store_db *db, uint64_t suite, uint64_t test, uint64_t us) {
  struct estimate_history history = {0};
  (void)estimate_learn(&history, 0, us, 0, true);
  store_sql_run(db, SQL_IMPORT_PUT,
                STORE_ARGS(store_int(test), store_int(suite), store_blob(history.ring, sizeof history.ring),
                           store_int((uint64_t)history.ring[0]), store_int(estimate_expected(&history))));
}

int store_query_durations(struct store *store, const struct store_query *query, struct rows *rows,
                          struct store_error *error) {
  return store_query_ask(store, query, rows, error, duration_columns, COUNT_OF(duration_columns), ask_durations);
}

static void ask_durations(struct store_asking *ask) {
  const struct store_query *query = ask->query;
  struct store_db *db = ask->db;
  uint64_t suite = store_read_suite(db, query->project, query->suite), last = 0;
  if (suite == 0) {
    (void)snprintf(ask->error->text, sizeof ask->error->text, "nothing is known of project \"%.100s\", suite %.100s",
                   query->project, query->suite);
    return;
  }
  sqlite3_stmt *stmt = store_sql_start(db, SQL_QUERY_DURATIONS,
                                       STORE_ARGS(store_int(suite), store_int(query->after), store_int(query->limit)));
  while (!store_query_full(ask) && store_sql_row(db, SQL_QUERY_DURATIONS)) {
    last = store_sql_int(stmt, 0);
    store_query_cells(ask->rows, stmt, 1, COUNT_OF(duration_columns));
  }
  ask->rows->next = ask->rows->next != 0 || rows_count(ask->rows) == query->limit ? last : 0;
}
