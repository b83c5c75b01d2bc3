// Long work beside the store thread: a copy of the database (backup) and its check. Called on the loop thread; the work
// runs on a thread of its own with a read-only connection, in one read transaction, so that it sees one moment of the
// database however much is written meanwhile, and nobody waits for it but its asker. One at a time. The log grows while
// it lasts, since pages that it still reads cannot be moved. Must not know who asked.
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/store_impl.h"

enum { STEP_PAGES = 256, PROGRESS_OPS = 10000, NAME_BYTES = 200 };

// What a whole database never holds: each gives the number of rows that contradict the others.
static const struct {
  const char *sql, *what;
} contradictions[] = {
    {"SELECT count(*) FROM dur_stat d WHERE NOT EXISTS (SELECT 1 FROM test t WHERE t.id=d.test)",
     "durations of tests that are not there"},
    {"SELECT count(*) FROM flake_stat f WHERE NOT EXISTS (SELECT 1 FROM test t WHERE t.id=f.test)",
     "judgements of tests that are not there"},
    {"SELECT count(*) FROM build b WHERE b.list IS NOT NULL AND NOT EXISTS (SELECT 1 FROM list l WHERE l.id=b.list)",
     "builds whose list is not there"},
    {"SELECT count(*) FROM worker w WHERE NOT EXISTS (SELECT 1 FROM build b WHERE b.id=w.build)",
     "workers of builds that are not there"},
};

static void *chore_main(void *arg);
static void tell(const struct store *store);
static void backup(struct store *store, struct store_db *from);
static int copy(struct store *store, struct store_db *from, const char *path);
static int settle(struct store *store, sqlite3 *to);
static int put_in_place(struct store *store, const char *path);
static void check(struct store *store, struct store_db *db);
static int on_problem(void *arg, int columns, char **values, char **names);
static int on_progress(void *arg);
static void say(struct store *store, const char *fmt, ...) PRINTF(2, 3);
static const char *refuse_name(const char *name);
static char *beside(const struct store *store, const char *name);
static int sync_path(const char *path);

int store_chore_start(struct store *store, enum store_chore_kind kind, const char *name, struct store_error *error) {
  struct store_chore *chore = &store->chore;
  struct stat st = {0};
  uint64_t room = store_room_bytes(store);
  const char *why = kind == STORE_CHORE_BACKUP ? refuse_name(name) : NULL;
  if (atomic_load(&chore->running)) why = "another backup or check is running";
  if (why == NULL && kind == STORE_CHORE_BACKUP && stat(store->path, &st) == 0 &&
      room < (uint64_t)st.st_size + STORE_PLENTY_BYTES)
    why = "there is no room for a copy on the disk of the database";
  if (why != NULL) {
    (void)snprintf(error->text, sizeof error->text, "%s", why);
    return -1;
  }
  store_chore_end(store);
  chore->kind = kind;
  chore->path = kind == STORE_CHORE_BACKUP ? beside(store, name) : NULL;
  chore->done = (struct store_chored){.good = true};
  atomic_store(&chore->stop, false);
  atomic_store(&chore->running, true);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = pthread_create(&chore->thread, NULL, chore_main, store);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  chore->started = rc == 0;
  if (rc == 0) return 0;
  atomic_store(&chore->running, false);
  (void)snprintf(error->text, sizeof error->text, "cannot start a thread: %s", strerror(rc));
  return -1;
}

bool store_chore_done(struct store *store, struct store_chored *done) {
  if (atomic_load(&store->chore.running)) return false;
  *done = store->chore.done;
  return true;
}

void store_chore_end(struct store *store) {
  struct store_chore *chore = &store->chore;
  atomic_store(&chore->stop, true);
  if (chore->started) (void)pthread_join(chore->thread, NULL);
  chore->started = false;
  free(chore->path);
  chore->path = NULL;
}

static void *chore_main(void *arg) {
  struct store *store = arg;
  struct store_chore *chore = &store->chore;
  struct store_db db;
  uint64_t began_us = base_now_us();
  if (store_sql_open(&db, store->path, false) != 0) {
    say(store, "cannot open: %s", db.why);
  } else {
    sqlite3_progress_handler(db.sqlite, PROGRESS_OPS, on_progress, store);
    store_sql_begin(&db, false);
    chore->kind == STORE_CHORE_BACKUP ? backup(store, &db) : check(store, &db);
    if (store_sql_end(&db) != SQLITE_OK && chore->done.good) say(store, "cannot read: %s", db.why);
  }
  store_sql_close(&db);
  chore->done.took_us = base_now_us() - began_us;
  tell(store);
  atomic_store(&chore->running, false);
  store_thread_wake_loop(store);
  return NULL;
}

static void tell(const struct store *store) {
  const struct store_chore *chore = &store->chore;
  const char *what = chore->kind == STORE_CHORE_BACKUP ? "backup" : "check";
  const char *path = chore->kind == STORE_CHORE_BACKUP ? chore->path : store->path;
  char why[sizeof chore->done.text + 2];
  if (chore->done.good)
    base_log(LOG_LEVEL_INFO, "store_chore", "what=%s took_ms=%ju path=%s", what,
             (uintmax_t)(chore->done.took_us / 1000), path);
  else
    base_log(LOG_LEVEL_ERROR, "store_chore", "what=%s path=%s why=%s", what, path,
             base_quote(why, sizeof why, chore->done.text, strlen(chore->done.text)));
}

// ---- backup

// Made under another name, checked, and only then put where it was asked for.
static void backup(struct store *store, struct store_db *from) {
  struct stat st;
  char *path = base_printf("%s.tmp", store->chore.path);
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (access(store->chore.path, F_OK) == 0) {
    say(store, "%s is there already", store->chore.path);
  } else if (fd < 0) {
    say(store, "cannot make %s: %s", path, strerror(errno));
  } else if (copy(store, from, path) == 0 && stat(path, &st) == 0 && put_in_place(store, path) == 0) {
    store->chore.done.bytes = (uint64_t)st.st_size;
  }
  if (fd >= 0) {
    (void)unlink(path);
    close(fd);
  }
  free(path);
}

static int copy(struct store *store, struct store_db *from, const char *path) {
  sqlite3 *to = NULL;
  int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc == SQLITE_OK) {
    sqlite3_progress_handler(to, PROGRESS_OPS, on_progress, store);
    // The transaction begins here: what is committed later is not in the copy.
    (void)store_sql_number(from, SQL_META_READ, STORE_ARGS(store_text("epoch")));
    sqlite3_backup *pages = sqlite3_backup_init(to, "main", from->sqlite, "main");
    while (pages != NULL && rc == SQLITE_OK)
      rc = on_progress(store) ? SQLITE_INTERRUPT : sqlite3_backup_step(pages, STEP_PAGES);
    if (pages == NULL) rc = sqlite3_errcode(to);
    if (sqlite3_backup_finish(pages) == SQLITE_OK && rc == SQLITE_DONE) rc = SQLITE_OK;
  }
  if (rc != SQLITE_OK) say(store, "cannot write %s: %s", path, sqlite3_errstr(rc));
  if (rc == SQLITE_OK && settle(store, to) != 0) rc = SQLITE_ERROR;
  sqlite3_close(to);
  return rc == SQLITE_OK ? 0 : -1;
}

// No log of its own, and whole.
static int settle(struct store *store, sqlite3 *to) {
  int rc = sqlite3_exec(to, "PRAGMA journal_mode=DELETE; UPDATE meta SET value=0 WHERE key='open'", NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(to, "PRAGMA quick_check(1)", on_problem, store, NULL);
  if (rc != SQLITE_OK) say(store, "the copy: %s", sqlite3_errmsg(to));
  return store->chore.done.good ? 0 : -1;
}

static int put_in_place(struct store *store, const char *path) {
  char *folder = base_strdup(path);
  int rc = sync_path(path);
  if (rc == 0) rc = link(path, store->chore.path);  // never over another file
  if (rc == 0) rc = sync_path(dirname(folder));
  if (rc != 0) say(store, "cannot make %s: %s", store->chore.path, strerror(errno));
  free(folder);
  return rc;
}

static int sync_path(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  int rc = fd < 0 ? -1 : fsync(fd), error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  return rc;
}

// Letters, digits and "._+-", and no name that SQLite or the store gives a meaning to.
static const char *refuse_name(const char *name) {
  static const char *const endings[] = {"-wal", "-shm", "-journal", ".lock", ".ballast", ".tmp"};
  size_t n = strlen(name);
  if (n == 0 || n > NAME_BYTES || name[0] == '.' || name[0] == '-' ||
      name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-")] != '\0')
    return "a backup is a plain name in the folder of the database: letters, digits and ._+-";
  for (size_t i = 0; i < COUNT_OF(endings); i++) {
    size_t ending = strlen(endings[i]);
    if (n >= ending && strcmp(name + n - ending, endings[i]) == 0)
      return "such a name belongs to the files that SQLite and shardd keep beside a database";
  }
  return NULL;
}

static char *beside(const struct store *store, const char *name) {
  char *copy_of_path = base_strdup(store->path);
  char *path = base_printf("%s/%s", dirname(copy_of_path), name);
  free(copy_of_path);
  return path;
}

// ---- check

static void check(struct store *store, struct store_db *db) {
  if (sqlite3_exec(db->sqlite, "PRAGMA integrity_check(20)", on_problem, store, NULL) != SQLITE_OK)
    say(store, "%s", sqlite3_errmsg(db->sqlite));
  for (size_t i = 0; i < COUNT_OF(contradictions) && store->chore.done.good; i++) {
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->sqlite, contradictions[i].sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW)
      say(store, "%s", sqlite3_errmsg(db->sqlite));
    else if (sqlite3_column_int64(stmt, 0) != 0)
      say(store, "%lld %s", (long long)sqlite3_column_int64(stmt, 0), contradictions[i].what);
    sqlite3_finalize(stmt);
  }
}

static int on_problem(void *arg, int columns, char **values, char **names) {
  struct store *store = arg;
  (void)names;
  if (columns > 0 && values[0] != NULL && strcmp(values[0], "ok") != 0) say(store, "%s", values[0]);
  return 0;
}

static int on_progress(void *arg) {
  struct store *store = arg;
  return atomic_load(&store->chore.stop);
}

// Another line of what is wrong, as far as there is room.
static void say(struct store *store, const char *fmt, ...) {
  struct store_chored *done = &store->chore.done;
  size_t n = strlen(done->text);
  va_list args;
  done->good = false;
  if (n > 0 && n + 1 < sizeof done->text) {
    done->text[n++] = '\n';
    done->text[n] = '\0';
  }
  va_start(args, fmt);
  (void)vsnprintf(done->text + n, sizeof done->text - n, fmt, args);
  va_end(args);
}
