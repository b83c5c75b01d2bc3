// Bare SQLite with the project's schema and durability: how many rows of results a second it takes on this machine, in
// transactions of a given size, in the order in which leases of 20 tests come back. What the daemon persists is
// compared with it. Prints one line of JSON. Called by load.py.
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "server/schema.h"
#include "server/store_impl.h"
#include "tests/bench/bench.h"

enum { BARE_LEASE = 20, BARE_WORKERS = 50, BARE_COLUMNS = 11 };

static void run(struct store_db *db, const char *sql) {
  if (sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) != SQLITE_OK) bench_die(sql, sqlite3_errmsg(db->sqlite));
}

static void open_database(struct store_db *db, const char *path) {
  if (store_sql_open(db, path, true) != 0) bench_die(path, db->why);
  for (int step = 1; step <= SCHEMA_VERSION; step++)
    run(db, schema_step(step));
  run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32768; PRAGMA secure_delete=OFF");
}

// Columns of a later schema, behind those we know, get a 0.
static void put_row(struct store_db *db, uint32_t test) {
  static int columns;
  const struct store_arg args[BARE_COLUMNS] = {store_int(1),
                                               store_int(test),
                                               store_int(1),
                                               store_int(test % 50),
                                               store_int(STORE_PASSED),
                                               store_int(STORE_SETTLES),
                                               store_int(1),
                                               store_int(1700000000000 + test),
                                               store_int(10),
                                               store_int(1000 + test % 997),
                                               store_int(10)};
  sqlite3_stmt *stmt = store_sql_start(db, SQL_RESULT_ADD, args, BARE_COLUMNS);
  if (columns == 0) columns = sqlite3_bind_parameter_count(stmt);
  for (int i = BARE_COLUMNS; i < columns; i++)
    (void)sqlite3_bind_int64(stmt, i + 1, 0);
  if (store_sql_row(db, SQL_RESULT_ADD) || db->rc != SQLITE_OK) bench_die("insert", db->why);
}

// The order in which results come from workers that each go through a file of their own, a lease at a time.
static uint32_t *make_order(uint32_t rows) {
  uint32_t *order = base_calloc(rows, sizeof *order), n = 0, round = BARE_WORKERS * BENCH_FILE_TESTS;
  for (uint32_t begin = 0; begin < rows; begin += round) {
    for (uint32_t i = 0; i < round; i++) {
      uint32_t lease = i / BARE_LEASE, file = lease % BARE_WORKERS, at = lease / BARE_WORKERS * BARE_LEASE;
      uint32_t test = begin + file * BENCH_FILE_TESTS + at + i % BARE_LEASE;
      if (test < rows) order[n++] = test;
    }
  }
  if (n != rows) bench_die("order", "does not hold each test once");
  return order;
}

int main(int argc, char **argv) {
  bench_program("bare");
  if (argc != 4) bench_die("usage", "bare DATABASE ROWS ROWS_PER_TRANSACTION");
  struct store_db db;
  uint32_t rows = (uint32_t)bench_number("rows", argv[2], BARE_LEASE, 100000000) / BARE_LEASE * BARE_LEASE;
  uint32_t at_once = (uint32_t)bench_number("rows per transaction", argv[3], 1, 1000000);
  uint32_t *order = make_order(rows);
  open_database(&db, argv[1]);
  clock_t cpu = clock();
  uint64_t begin = base_now_us();
  for (uint32_t i = 0; i < rows;) {
    store_sql_begin(&db, true);
    for (uint32_t end = rows - i < at_once ? rows : i + at_once; i < end; i++)
      put_row(&db, order[i] + 1);
    if (store_sql_end(&db) != SQLITE_OK) bench_die("commit", db.why);
  }
  double seconds = (double)(base_now_us() - begin) / 1e6, busy = (double)(clock() - cpu) / CLOCKS_PER_SEC;
  printf("{\"rows\": %u, \"per_transaction\": %u, \"run_s\": %.4f, \"per_s\": %.0f, \"cpu_us\": %.4f}\n", rows, at_once,
         seconds, rows / seconds, busy * 1e6 / rows);
  store_sql_close(&db);
  free(order);
  return EXIT_OK;
}
