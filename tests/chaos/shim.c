// Preloaded into the real programs by test_faults.py: makes a call of the C library fail, or moves the wall clock.
// Knows nothing of what it is loaded into.
//
//     SHIM_PROGRAM=NAME                                    acts in the program of this name alone, not in its children
//     SHIM_CALL=fdatasync|write|pwrite64|accept4|malloc   which call (malloc: also calloc and realloc)
//     SHIM_AT=N SHIM_TIMES=K SHIM_ERRNO=E                 the Nth of the process and K-1 more fail, with this number
//     SHIM_SYNC_MS=N                                       fdatasync takes so long first
//     SHIM_COUNT=FILE                                     how many there were is written here at the end
//     SHIM_CLOCK=FILE                                     the wall clock is off by the seconds that stand in FILE
//     SHIM_SPEED=N                                        the monotonic clock goes N times as fast, waits with it
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t n);
extern void *__libc_realloc(void *old, size_t n);

static atomic_ulong calls;
static unsigned long at, times, sync_ms, speed;
static struct timespec start;  // of the monotonic clock
static int number;
static const char *call, *count_path, *clock_path;
static bool ready;

__attribute__((constructor)) static void shim_start(void) {
  const char *text = getenv("SHIM_AT");
  at = text ? strtoul(text, NULL, 10) : 0;
  times = (text = getenv("SHIM_TIMES")) ? strtoul(text, NULL, 10) : 1;
  number = (text = getenv("SHIM_ERRNO")) ? (int)strtol(text, NULL, 10) : EIO;
  sync_ms = (text = getenv("SHIM_SYNC_MS")) ? strtoul(text, NULL, 10) : 0;
  call = getenv("SHIM_CALL");
  count_path = getenv("SHIM_COUNT");
  clock_path = getenv("SHIM_CLOCK");
  ready = (text = getenv("SHIM_PROGRAM")) == NULL || strcmp(text, program_invocation_short_name) == 0;
  (void)clock_gettime(CLOCK_MONOTONIC, &start);
  speed = ready && (text = getenv("SHIM_SPEED")) ? strtoul(text, NULL, 10) : 1;
}

__attribute__((destructor)) static void shim_end(void) {
  char line[32];
  if (!ready || count_path == NULL) return;
  ready = false;
  int fd = open(count_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  int n = snprintf(line, sizeof line, "%lu\n", atomic_load(&calls));
  if (fd >= 0 && write(fd, line, (size_t)n) < 0) perror(count_path);
  if (fd >= 0) close(fd);
}

static bool fails(const char *name) {
  if (!ready || call == NULL || strcmp(call, name) != 0) return false;
  unsigned long n = atomic_fetch_add(&calls, 1) + 1;
  if (at == 0 || n < at || n >= at + times) return false;
  errno = number;
  return true;
}

static void *real(const char *name) {
  return dlsym(RTLD_NEXT, name);
}

int fdatasync(int fd) {
  static int (*next)(int);
  if (next == NULL) *(void **)&next = real("fdatasync");
  if (ready && sync_ms > 0) usleep((useconds_t)(sync_ms * 1000));
  return fails("fdatasync") ? -1 : next(fd);
}

ssize_t write(int fd, const void *bytes, size_t n) {
  static ssize_t (*next)(int, const void *, size_t);
  if (next == NULL) *(void **)&next = real("write");
  return fails("write") ? -1 : next(fd, bytes, n);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t where) {
  static ssize_t (*next)(int, const void *, size_t, off64_t);
  if (next == NULL) *(void **)&next = real("pwrite64");
  return fails("pwrite64") ? -1 : next(fd, bytes, n, where);
}

int accept4(int fd, struct sockaddr *address, socklen_t *n, int flags) {
  static int (*next)(int, struct sockaddr *, socklen_t *, int);
  if (next == NULL) *(void **)&next = real("accept4");
  return fails("accept4") ? -1 : next(fd, address, n, flags);
}

void *malloc(size_t n) {
  return fails("malloc") ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t n) {
  return fails("malloc") ? NULL : __libc_calloc(count, n);
}

void *realloc(void *old, size_t n) {
  return fails("malloc") ? NULL : __libc_realloc(old, n);
}

// ---- clocks

enum { SECOND_NS = 1000000000 };

// Where the time since the start is multiplied, then divided.
static struct timespec scaled(struct timespec of, unsigned long by, unsigned long through) {
  int64_t ns = (of.tv_sec - start.tv_sec) * (int64_t)SECOND_NS + of.tv_nsec - start.tv_nsec;
  ns = ns * (int64_t)by / (int64_t)through + start.tv_nsec;
  return (struct timespec){.tv_sec = start.tv_sec + ns / SECOND_NS, .tv_nsec = ns % SECOND_NS};
}

static void shift_wall(struct timespec *now) {
  char line[32] = "";
  int fd = open(clock_path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && read(fd, line, sizeof line - 1) > 0) now->tv_sec += strtol(line, NULL, 10);
  if (fd >= 0) close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*next)(clockid_t, struct timespec *);
  if (next == NULL) *(void **)&next = real("clock_gettime");
  int rc = next(clock, now);
  if (rc != 0) return rc;
  if (clock == CLOCK_REALTIME && ready && clock_path != NULL) shift_wall(now);
  if ((clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE) && speed > 1) *now = scaled(*now, speed, 1);
  return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int room, int timeout_ms) {
  static int (*next)(int, struct epoll_event *, int, int);
  if (next == NULL) *(void **)&next = real("epoll_wait");
  if (speed > 1 && timeout_ms > 0) timeout_ms = (timeout_ms + (int)speed - 1) / (int)speed;
  return next(fd, events, room, timeout_ms);
}

// Of conditions on the monotonic clock, as the daemon's are.
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until) {
  struct timespec then = speed > 1 ? scaled(*until, 1, speed) : *until;
  return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &then);
}
