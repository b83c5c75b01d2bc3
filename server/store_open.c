// From a path to a database that is ours: the lock (store_lock.c), the schema, the check after an unclean stop, the
// epoch, the ballast. Called by store.c at start and end, and by store_thread.c for the ballast. Runs before the store
// thread exists and after it is gone. Must not know records or queries. Failures come back as a text that says what to
// do.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/schema.h"
#include "server/store_impl.h"

static int open_writer(struct store *store, struct store_error *error);
static int check_owner(struct store *store, struct store_error *error);
static int migrate(struct store *store, struct store_error *error);
static int check_damage(struct store *store, bool log_elsewhere, struct store_error *error);
static int raise_epoch(struct store *store, struct store_error *error);
static int set_open(struct store_db *db, uint32_t epoch, bool open);
static int on_row(void *arg, int columns, char **values, char **names);
static int pragma(struct store_db *db, const char *sql, char *out, size_t out_size);
static int fail(struct store *store, struct store_error *error, const char *what);

int store_open_files(struct store *store, struct store_error *error) {
  if (store_lock_take(store, error) != 0) return -1;
  bool log_elsewhere = store_lock_log_is_elsewhere(store);
  if (open_writer(store, error) != 0) return -1;
  if (migrate(store, error) != 0) return -1;
  if (check_damage(store, log_elsewhere, error) != 0) return -1;
  if (raise_epoch(store, error) != 0) return -1;
  store_room_make_ballast(store);
  if (store_sql_open(&store->reader, store->path, false) == 0) return 0;
  (void)snprintf(error->text, sizeof error->text, "%s: cannot open for reading: %s", store->path, store->reader.why);
  return -1;
}

void store_open_undo(struct store *store, bool clean) {
  store_sql_close(&store->reader);
  if (clean) {
    (void)sqlite3_wal_checkpoint_v2(store->writer.sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (set_open(&store->writer, store->epoch, false) != SQLITE_OK)
      base_log(LOG_LEVEL_WARN, "store_close", "why=\"the next start checks the file: %s\"", store->writer.why);
  }
  store_sql_close(&store->writer);
  store_lock_drop(store);  // behind the connections: closing any descriptor of the file drops their locks
}

static int open_writer(struct store *store, struct store_error *error) {
  struct store_db *db = &store->writer;
  char mode[16] = "", limit[64];
  if (store_sql_open(db, store->path, true) != 0) return fail(store, error, "cannot open");
  if (check_owner(store, error) != 0) return -1;
  (void)snprintf(limit, sizeof limit, "PRAGMA journal_size_limit=%d", (int)STORE_WAL_KEEP_BYTES);
  if (pragma(db, "PRAGMA journal_mode=WAL", mode, sizeof mode) != 0) return fail(store, error, "cannot open");
  if (strcmp(mode, "wal") != 0) {
    (void)snprintf(error->text, sizeof error->text,
                   "%s: this file system has no write-ahead log for SQLite (no shared memory); use a local disk",
                   store->path);
    return -1;
  }
  if (pragma(db, "PRAGMA synchronous=FULL", NULL, 0) != 0 || pragma(db, limit, NULL, 0) != 0 ||
      pragma(db, "PRAGMA wal_autocheckpoint=0", NULL, 0) != 0 || pragma(db, "PRAGMA secure_delete=OFF", NULL, 0) != 0 ||
      pragma(db, "PRAGMA cache_size=-32768", NULL, 0) != 0 || pragma(db, "PRAGMA cell_size_check=ON", NULL, 0) != 0)
    return fail(store, error, "cannot set up");
  return 0;
}

// Never touches a database that is another program's.
static int check_owner(struct store *store, struct store_error *error) {
  char id[24] = "", tables[24] = "";
  struct store_db *db = &store->writer;
  if (pragma(db, "PRAGMA application_id", id, sizeof id) != 0 ||
      pragma(db, "SELECT count(*) FROM sqlite_schema", tables, sizeof tables) != 0)
    return fail(store, error, "cannot read");
  if (strtol(id, NULL, 10) == SCHEMA_APPLICATION_ID || strcmp(tables, "0") == 0) return 0;
  (void)snprintf(error->text, sizeof error->text, "%s: is a database of another program; use another path",
                 store->path);
  return -1;
}

// All steps that are missing in one transaction: user_version and application_id roll back with it.
static int migrate(struct store *store, struct store_error *error) {
  struct store_db *db = &store->writer;
  char text[24] = "";
  if (pragma(db, "PRAGMA user_version", text, sizeof text) != 0) return fail(store, error, "cannot read");
  long version = strtol(text, NULL, 10);
  if (version < 0 || version > SCHEMA_VERSION) {
    (void)snprintf(error->text, sizeof error->text,
                   "%s: has schema version %ld, this shardd knows up to %d: a newer shardd wrote it; start that one, or"
                   " use another path",
                   store->path, version, SCHEMA_VERSION);
    return -1;
  }
  if (version == SCHEMA_VERSION) return 0;
  char stamp[96];
  (void)snprintf(stamp, sizeof stamp, "PRAGMA application_id=%d; PRAGMA user_version=%d", SCHEMA_APPLICATION_ID,
                 SCHEMA_VERSION);
  store_sql_begin(db, true);
  for (int step = (int)version + 1; step <= SCHEMA_VERSION && db->rc == SQLITE_OK; step++)
    (void)pragma(db, schema_step(step), NULL, 0);
  if (db->rc == SQLITE_OK) (void)pragma(db, stamp, NULL, 0);
  return store_sql_end(db) == SQLITE_OK ? 0 : fail(store, error, "cannot bring the schema up to date");
}

// `log_elsewhere`: results that were acknowledged may stand in a log that SQLite does not see by this name.
static int check_damage(struct store *store, bool log_elsewhere, struct store_error *error) {
  char open[24] = "", verdict[256] = "";
  struct store_db *db = &store->writer;
  if (pragma(db, "SELECT value FROM meta WHERE key='open'", open, sizeof open) != 0)
    return fail(store, error, "cannot read");
  if (strcmp(open, "0") == 0) return 0;
  if (log_elsewhere) {
    (void)snprintf(error->text, sizeof error->text,
                   "%s: the last daemon did not close it, and used another of its names (hard links): its log stands "
                   "beside that one; start shardd with that name",
                   store->path);
    return -1;
  }
  base_log(LOG_LEVEL_INFO, "store_check", "path=%s why=\"the last daemon did not close it\"", store->path);
  if (pragma(db, "PRAGMA quick_check(1)", verdict, sizeof verdict) != 0) return fail(store, error, "cannot check");
  if (strcmp(verdict, "ok") == 0) return 0;
  (void)snprintf(error->text, sizeof error->text, "%s: is damaged (%s); put back a copy, or move it away to start anew",
                 store->path, verdict);
  return -1;
}

static int raise_epoch(struct store *store, struct store_error *error) {
  char epoch[24] = "", build[24] = "";
  struct store_db *db = &store->writer;
  if (pragma(db, "SELECT value FROM meta WHERE key='epoch'", epoch, sizeof epoch) != 0 ||
      pragma(db, "SELECT coalesce(max(id), 0) FROM build", build, sizeof build) != 0)
    return fail(store, error, "cannot read");
  uint64_t before = strtoull(epoch, NULL, 10);
  if (before >= UINT32_MAX) {
    (void)snprintf(error->text, sizeof error->text, "%s: no start is left to count (epoch %s)", store->path, epoch);
    return -1;
  }
  store->epoch = (uint32_t)before + 1;
  store->next_build = strtoull(build, NULL, 10) + 1;
  if (set_open(db, store->epoch, true) != SQLITE_OK) return fail(store, error, "cannot write");
  // That it is open stands in the file itself, where every name of it shows it.
  (void)sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
  return 0;
}

static int set_open(struct store_db *db, uint32_t epoch, bool open) {
  store_sql_begin(db, true);
  store_sql_run(db, SQL_META_SET, STORE_ARGS(store_text("epoch"), store_int(epoch)));
  store_sql_run(db, SQL_META_SET, STORE_ARGS(store_text("open"), store_int(open)));
  return store_sql_end(db);
}

static int on_row(void *arg, int columns, char **values, char **names) {
  char **out = arg;
  (void)names;
  if (*out == NULL) *out = base_strdup(columns > 0 && values[0] != NULL ? values[0] : "");
  return 0;
}

// Runs constant SQL; the first cell of the first row goes to out.
static int pragma(struct store_db *db, const char *sql, char *out, size_t out_size) {
  char *first = NULL;
  int rc = sqlite3_exec(db->sqlite, sql, on_row, &first, NULL);
  if (rc != SQLITE_OK) {
    db->rc = rc;
    (void)snprintf(db->why, sizeof db->why, "%s", sqlite3_errmsg(db->sqlite));
  } else if (out != NULL && first != NULL) {
    (void)snprintf(out, out_size, "%s", first);
  }
  free(first);
  return rc == SQLITE_OK ? 0 : -1;
}

static int fail(struct store *store, struct store_error *error, const char *what) {
  bool foreign = store->writer.rc == SQLITE_NOTADB;
  (void)snprintf(error->text, sizeof error->text, "%s: %s: %s", store->path, what,
                 foreign ? "it is no SQLite database; use another path" : store->writer.why);
  return -1;
}
