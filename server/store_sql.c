// One SQLite connection with its statements: open, begin, bind, step, end. Called by every other store file, each
// connection by one thread. Failures stick in the handle, like those of a FILE, so that code that writes twenty rows
// reads as twenty lines and is checked once, at the end of its transaction. Must not know records, threads or queries.
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/store_impl.h"

static void fail(struct store_db *db, int rc);
static bool disk_full(int rc, int error);
static void exec(struct store_db *db, const char *sql);

int store_sql_open(struct store_db *db, const char *path, bool writer) {
  int flags = writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  *db = (struct store_db){0};
  int rc = sqlite3_open_v2(path, &db->sqlite, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
  if (rc != SQLITE_OK) {
    fail(db, rc);
    return -1;
  }
  sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, writer ? 0 : 1, NULL);
  sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, writer ? 0 : 1, NULL);
  sqlite3_busy_timeout(db->sqlite, writer ? 5000 : 100);
  exec(db, "PRAGMA temp_store=MEMORY");
  if (!writer) exec(db, "PRAGMA query_only=ON");
  return db->rc == SQLITE_OK ? 0 : -1;
}

void store_sql_close(struct store_db *db) {
  for (size_t i = 0; i < SQL_COUNT; i++)
    sqlite3_finalize(db->stmt[i]);
  sqlite3_close(db->sqlite);
  db->sqlite = NULL;
  memset(db->stmt, 0, sizeof db->stmt);
}

void store_sql_begin(struct store_db *db, bool immediate) {
  db->rc = SQLITE_OK;
  db->full = false;
  db->why[0] = '\0';
  exec(db, immediate ? "BEGIN IMMEDIATE" : "BEGIN");
}

int store_sql_end(struct store_db *db) {
  for (size_t i = 0; i < SQL_COUNT; i++)
    if (db->stmt[i] != NULL) sqlite3_reset(db->stmt[i]);
  if (db->rc == SQLITE_OK) exec(db, "COMMIT");
  if (db->rc != SQLITE_OK && !sqlite3_get_autocommit(db->sqlite))
    (void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
  return db->rc;
}

void store_sql_damaged(struct store_db *db, const char *why) {
  if (db->rc != SQLITE_OK) return;
  db->rc = SQLITE_CORRUPT;
  (void)snprintf(db->why, sizeof db->why, "%s", why);
}

sqlite3_stmt *store_sql_start(struct store_db *db, enum store_sql which, const struct store_arg *args, size_t n) {
  if (db->rc != SQLITE_OK) return NULL;
  sqlite3_stmt **stmt = &db->stmt[which];
  int rc = SQLITE_OK;
  if (*stmt == NULL)
    rc = sqlite3_prepare_v3(db->sqlite, store_stmt_text(which), -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
  else
    sqlite3_reset(*stmt);
  for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
    int at = (int)i + 1;
    switch (args[i].type) {
      case STORE_ARG_INT: rc = sqlite3_bind_int64(*stmt, at, (sqlite3_int64)args[i].value); break;
      case STORE_ARG_REAL: rc = sqlite3_bind_double(*stmt, at, args[i].real); break;
      case STORE_ARG_TEXT: rc = sqlite3_bind_text(*stmt, at, args[i].bytes, -1, SQLITE_STATIC); break;
      case STORE_ARG_BLOB: rc = sqlite3_bind_blob64(*stmt, at, args[i].bytes, args[i].value, SQLITE_STATIC); break;
    }
  }
  if (rc == SQLITE_OK) return *stmt;
  fail(db, rc);
  return NULL;
}

bool store_sql_row(struct store_db *db, enum store_sql which) {
  if (db->rc != SQLITE_OK) return false;
  assert(db->stmt[which] != NULL);
  int rc = sqlite3_step(db->stmt[which]);
  if (rc == SQLITE_ROW) return true;
  if (rc != SQLITE_DONE) fail(db, rc);
  sqlite3_reset(db->stmt[which]);
  return false;
}

void store_sql_run(struct store_db *db, enum store_sql which, const struct store_arg *args, size_t n) {
  store_sql_start(db, which, args, n);
  bool row = store_sql_row(db, which);
  assert(!row);
  (void)row;
}

uint64_t store_sql_number(struct store_db *db, enum store_sql which, const struct store_arg *args, size_t n) {
  uint64_t value = 0;
  sqlite3_stmt *stmt = store_sql_start(db, which, args, n);
  if (store_sql_row(db, which)) {
    value = store_sql_int(stmt, 0);
    sqlite3_reset(stmt);
  }
  return value;
}

uint64_t store_sql_bound(sqlite3_stmt *stmt, int column, uint64_t most) {
  int64_t value = sqlite3_column_int64(stmt, column);
  if (value < 0) return 0;
  return (uint64_t)value < most ? (uint64_t)value : most;
}

double store_sql_real(sqlite3_stmt *stmt, int column) {
  double value = sqlite3_column_double(stmt, column), most = (double)LIMIT_STORED_SUM_US;
  if (!(value > 0)) return 0;
  return value < most ? value : most;
}

const char *store_sql_text(sqlite3_stmt *stmt, int column) {
  const char *text = (const char *)sqlite3_column_text(stmt, column);
  return text ? text : "";
}

static void fail(struct store_db *db, int rc) {
  int error = db->sqlite ? sqlite3_system_errno(db->sqlite) : 0;
  bool from_system = error != 0 && ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN);
  db->rc = rc;
  db->full = disk_full(rc, error);
  (void)snprintf(db->why, sizeof db->why, "%s%s%s", db->sqlite ? sqlite3_errmsg(db->sqlite) : sqlite3_errstr(rc),
                 from_system ? ": " : "", from_system ? strerror(error) : "");
}

// A full disk shows when pages are written, or when the shared index of the log grows. A failed fsync is never taken
// for it: what it left on disk is unknown, so that only a restart can tell.
static bool disk_full(int rc, int error) {
  if (rc == SQLITE_FULL) return true;
  if (rc != SQLITE_IOERR_WRITE && rc != SQLITE_IOERR_SHMSIZE) return false;
  return error == ENOSPC || error == EDQUOT;
}

static void exec(struct store_db *db, const char *sql) {
  if (db->rc != SQLITE_OK) return;
  int rc = sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);
  if (rc != SQLITE_OK) fail(db, rc);
}
