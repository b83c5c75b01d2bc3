// What went wrong outside of any test: the workers of a build that left such an error behind, or whose test process
// failed, and whether that still stands. Called on the loop thread through its read-only connection, a row a worker.
// Must not know the wire or who asks.
#include "server/store_impl.h"

enum { ERROR_TEXT_BYTES = 16 * 1024 };  // of a worker's

static const struct rows_column columns[] = {
    {"worker", ROWS_INT}, {"node", ROWS_TEXT},    {"host", ROWS_TEXT}, {"kind", ROWS_TEXT},
    {"stands", ROWS_INT}, {"left", ROWS_TIME_MS}, {"text", ROWS_TEXT},
};

static void ask_errors(struct store_asking *ask) {
  const struct store_query *query = ask->query;
  if (!store_query_of_branch(ask)) return;
  sqlite3_stmt *stmt = store_sql_start(ask->db, SQL_QUERY_ERRORS,
                                       STORE_ARGS(store_int(query->build), store_int(query->limit),
                                                  store_int(query->after), store_int(ERROR_TEXT_BYTES)));
  while (!store_query_full(ask) && store_sql_row(ask->db, SQL_QUERY_ERRORS)) {
    store_query_cells(ask->rows, stmt, 0, 3);
    rows_string(ask->rows, store_sql_int(stmt, 3) == 1 ? "error" : "process");
    store_query_cells(ask->rows, stmt, 4, 3);
  }
}

int store_query_errors(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error) {
  return store_query_ask(store, query, rows, error, columns, COUNT_OF(columns), ask_errors);
}
