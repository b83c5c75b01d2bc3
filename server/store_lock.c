// One daemon for one database, by whatever name it is opened. Two locks, both of the open file and not of the process,
// so that they go however the daemon ends: FILE.lock beside the database, which holds the owner's pid, and the database
// file itself, which has other names (hard links, bind mounts). Called by store_open.c.
//
// SQLite locks the file with POSIX locks of the process, all of which are dropped when any descriptor of the file is
// closed. So FILE.lock comes first: who is refused there has not opened the database. And the database's own is closed
// last. flock(2) and those locks do not see each other.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/files.h"
#include "server/store_impl.h"

static int refuse_held(const struct store *store, long pid, struct store_error *error) {
  char who[24] = "unknown";
  if (pid > 0) (void)snprintf(who, sizeof who, "%ld", pid);
  (void)snprintf(error->text, sizeof error->text,
                 "%s: another shardd (pid %s) has this database open; stop it first, or use another path", store->path,
                 who);
  return -1;
}

static int fail(const char *path, const char *what, const char *why, struct store_error *error) {
  (void)snprintf(error->text, sizeof error->text, "%s: cannot %s: %s", path, what, why);
  return -1;
}

// ---- the file beside it

static long pid_in(int fd) {
  char pid[24] = "";
  ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
  pid[n > 0 ? n : 0] = '\0';
  return strtol(pid, NULL, 10);
}

// Beside the file that a symbolic link leads to: its log and index stand there, too.
static char *path_beside(const struct store *store) {
  char real[PATH_MAX];
  return base_printf("%s.lock", realpath(store->path, real) ? real : store->path);
}

static int lock_beside(struct store *store, const char *path, struct store_error *error) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (store->lock_fd < 0) {
    (void)snprintf(error->text, sizeof error->text, "%s: cannot open: %s; does the folder exist, and is it ours?", path,
                   strerror(errno));
    return -1;
  }
  if (fcntl(store->lock_fd, F_OFD_SETLK, &whole) == 0) return 0;
  if (errno != EAGAIN && errno != EACCES) return fail(path, "lock", strerror(errno), error);
  return refuse_held(store, pid_in(store->lock_fd), error);
}

static int sign(const struct store *store, const char *path, struct store_error *error) {
  bool good = ftruncate(store->lock_fd, 0) == 0 && dprintf(store->lock_fd, "%ld\n", (long)getpid()) > 0;
  return good ? 0 : fail(path, "write", strerror(errno), error);
}

// ---- the file itself

// Who has the database open holds SQLite's lock on it, which names the process; 0: not one that is seen from here.
static long pid_of_sqlite(int fd) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK ? (long)whole.l_pid : 0;
}

// SQLite would create it for everybody to read; its log and index take over the mode.
static int lock_itself(struct store *store, struct store_error *error) {
  store->file_fd = open(store->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
  if (store->file_fd < 0) return fail(store->path, "open", strerror(errno), error);
  const char *why = files_refuse(store->file_fd, FILES_REGULAR);
  if (why) return fail(store->path, "open", why, error);
  if (flock(store->file_fd, LOCK_EX | LOCK_NB) == 0) return 0;
  if (errno != EWOULDBLOCK) return fail(store->path, "lock", strerror(errno), error);
  return refuse_held(store, pid_of_sqlite(store->file_fd), error);
}

int store_lock_take(struct store *store, struct store_error *error) {
  char *path = path_beside(store);
  int rc = lock_beside(store, path, error);
  if (rc == 0) rc = lock_itself(store, error);
  if (rc == 0) rc = sign(store, path, error);
  free(path);
  return rc;
}

// SQLite looks for the log beside the name by which it opens the database.
bool store_lock_log_is_elsewhere(const struct store *store) {
  struct stat st;
  char real[PATH_MAX];
  if (fstat(store->file_fd, &st) != 0 || st.st_nlink < 2) return false;
  char *path = base_printf("%s-wal", realpath(store->path, real) ? real : store->path);
  bool none = stat(path, &st) != 0 || st.st_size == 0;
  free(path);
  return none;
}

// The files stay, or two could hold one each.
void store_lock_drop(struct store *store) {
  if (store->file_fd >= 0) close(store->file_fd);
  if (store->lock_fd >= 0) close(store->lock_fd);
  store->file_fd = store->lock_fd = -1;
}
