// Room on the disk. Called by the store thread when a commit found none, before each commit while it is tight, and now
// and then; by store_open.c for the first ballast. A commit needs room twice: in the log now, and in the file when the
// log is moved there. A log that cannot be moved cannot be emptied either, and then not even deleting works: so on a
// tight disk the log is emptied after each commit, and no commit begins that would not leave room for that. Pages that
// retention freed inside of the file count as room for the second half. Must not know what the records say.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "server/store_impl.h"

enum { PAGE_BYTES = 4096, RESERVE_BYTES = 256 * 1024, SLACK_BYTES = 64 * 1024 };

static uint64_t file_bytes(const char *path, const char *suffix);

// Room that is there but unused, given up when the disk is full so that retention has something to work with.
void store_room_make_ballast(struct store *store) {
  if (store->ballast_bytes == 0) return;
  struct statvfs fs;
  if (access(store->ballast_path, F_OK) == 0) return;
  if (statvfs(store->path, &fs) != 0 || fs.f_bavail * fs.f_frsize / 2 < store->ballast_bytes) {
    base_log(LOG_LEVEL_WARN, "store_ballast", "path=%s why=\"too little room on the disk\"", store->ballast_path);
    return;
  }
  int fd = open(store->ballast_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  int rc = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)store->ballast_bytes);
  if (fd >= 0) close(fd);
  if (rc == 0) return;
  if (fd >= 0) (void)unlink(store->ballast_path);
  base_log(LOG_LEVEL_WARN, "store_ballast", "path=%s why=\"%s\"", store->ballast_path, strerror(rc));
}

bool store_room_enough(struct store *store, size_t bytes) {
  uint64_t log = bytes + bytes / 2 + SLACK_BYTES, file = log + RESERVE_BYTES;  // pages are never quite full
  store_sql_begin(&store->writer, false);
  uint64_t inside = store_sql_number(&store->writer, SQL_FREELIST, NULL, 0) * PAGE_BYTES;
  if (!store_thread_commit(store)) return false;
  return store_room_bytes(store) >= log + (file > inside ? file - inside : 0);
}

void store_room_free(struct store *store) {
  store->tight = true;
  if (store->ballast_bytes > 0 && unlink(store->ballast_path) == 0)
    base_log(LOG_LEVEL_WARN, "store_ballast", "given_up=1 path=%s", store->ballast_path);
  (void)sqlite3_wal_checkpoint_v2(store->writer.sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
  if (store->keep_results_us == 0) return;
  while (store_keep_slice(store))
    continue;
  (void)sqlite3_wal_checkpoint_v2(store->writer.sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

void store_room_look(struct store *store) {
  if (!store->tight) return;
  store->tight = store_room_bytes(store) < 2 * store->ballast_bytes + STORE_PLENTY_BYTES;
  if (!store->tight) store_room_make_ballast(store);
}

uint64_t store_room_bytes(const struct store *store) {
  struct statvfs fs;
  return statvfs(store->path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

void store_sizes(struct store *store, struct store_sizes *sizes) {
  struct store_db *db = &store->reader;
  uint64_t room = store_room_bytes(store);
  *sizes = (struct store_sizes){.database_bytes = file_bytes(store->path, ""),
                                .log_bytes = file_bytes(store->path, "-wal"),
                                .ballast_bytes = file_bytes(store->path, ".ballast"),
                                .free_bytes = room == UINT64_MAX ? 0 : room,
                                .keep_results_us = store->keep_results_us};
  store_sql_begin(db, false);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_SIZES, NULL, 0);
  if (store_sql_row(db, SQL_SIZES)) {
    sizes->results_since_ms = store_sql_ms(stmt, 0);
    sizes->builds_with_results = store_sql_int(stmt, 1);
    sizes->builds = store_sql_int(stmt, 2);
    sizes->reusable_bytes = store_sql_int(stmt, 3);
  }
  if (store_sql_end(db) != SQLITE_OK) base_log(LOG_LEVEL_ERROR, "store_read", "why=\"%s\"", db->why);
}

static uint64_t file_bytes(const char *path, const char *suffix) {
  struct stat st;
  char *name = base_printf("%s%s", path, suffix);
  uint64_t bytes = stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
  free(name);
  return bytes;
}
