// Opens files without waiting. O_NONBLOCK keeps the open itself from waiting for the other end of a pipe; it is taken
// away again before anything is read. Called by everything that opens a file by name.
#include "config/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { FILES_MEMORY_MAJOR = 1, FILES_NULL_MINOR = 3 };

// A pipe without a name has both its ends: who made it holds the other one.
static const char *files_refuse_pipe(int fd, enum files_kind kind) {
  struct statfs fs;
  bool anonymous = fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS_MAGIC;
  if (kind == FILES_STREAM && anonymous) return NULL;
  return anonymous ? "it is a pipe, not a regular file" : "it is a named pipe, not a regular file";
}

static const char *files_refuse_device(int fd, const struct stat *st, enum files_kind kind) {
  bool null = st->st_rdev == makedev(FILES_MEMORY_MAJOR, FILES_NULL_MINOR);
  return kind == FILES_STREAM && (null || isatty(fd)) ? NULL : "it is a device, not a regular file";
}

const char *files_refuse(int fd, enum files_kind kind) {
  struct stat st;
  if (fstat(fd, &st) != 0) return strerror(errno);
  if (S_ISREG(st.st_mode)) return NULL;
  if (S_ISFIFO(st.st_mode)) return files_refuse_pipe(fd, kind);
  if (S_ISCHR(st.st_mode)) return files_refuse_device(fd, &st, kind);
  if (S_ISDIR(st.st_mode)) return "it is a folder, not a regular file";
  return "it is not a regular file";
}

static bool files_wait_again(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

int files_open(const char *path, enum files_kind kind, const char **why) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    *why = errno == ENXIO ? "it is a socket or a device, not a regular file" : strerror(errno);
    return -1;
  }
  *why = files_refuse(fd, kind);
  if (!*why && !files_wait_again(fd)) *why = strerror(errno);
  if (!*why) return fd;
  (void)close(fd);
  return -1;
}

FILE *files_read(const char *path, enum files_kind kind, const char **why) {
  int fd = files_open(path, kind, why);
  FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
  if (fd >= 0 && !file) {
    *why = strerror(errno);
    (void)close(fd);
  }
  return file;
}

FILE *files_write_to(const char *path, const char **why) {
  int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  FILE *file = fd >= 0 && files_wait_again(fd) ? fdopen(fd, "w") : NULL;
  if (file) return file;
  *why = errno == ENXIO ? "it is a named pipe that nobody reads, or a socket" : strerror(errno);
  if (fd >= 0) (void)close(fd);
  return NULL;
}
