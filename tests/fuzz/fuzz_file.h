// For readers that take a path: a file without a name, and what a refusal of one must look like.
#ifndef TESTS_FUZZ_FUZZ_FILE_H
#define TESTS_FUZZ_FUZZ_FILE_H

#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

enum { FUZZ_PATH_BYTES = 64 };

// Can be opened at `path` until the descriptor is closed.
static inline int fuzz_hold(const void *bytes, size_t n, char path[FUZZ_PATH_BYTES]) {
  int fd = memfd_create("fuzz", MFD_CLOEXEC);
  FUZZ_CHECK(fd >= 0 && (n == 0 || write(fd, bytes, n) == (ssize_t)n));
  (void)snprintf(path, FUZZ_PATH_BYTES, "/proc/self/fd/%d", fd);
  return fd;
}

// A message goes to terminals and logs.
static inline void fuzz_check_harmless(const char *why) {
  FUZZ_CHECK(why[0] != '\0');
  for (const char *at = why; *at != '\0'; at++)
    FUZZ_CHECK((unsigned char)*at >= ' ' && *at != 0x7f);
}

// "NAME:LINE: …", of `lines` lines at most.
static inline void fuzz_check_refused(const char *why, const char *name, size_t lines) {
  char *end;
  fuzz_check_harmless(why);
  FUZZ_CHECK(strncmp(why, name, strlen(name)) == 0 && why[strlen(name)] == ':');
  unsigned long line = strtoul(why + strlen(name) + 1, &end, 10);
  FUZZ_CHECK(line > 0 && line <= lines && *end == ':');
}

static inline size_t fuzz_lines(const uint8_t *bytes, size_t n) {
  size_t lines = 1;
  for (size_t i = 0; i < n; i++)
    lines += bytes[i] == '\n';
  return lines;
}

#endif
