// Paths below the working folder. Called with what test tools wrote, so a path may be anything. A folder is the working
// folder when device and number agree, whatever it is called; the last answers are kept, since rows of one file and one
// folder come together.
#include "worker/here.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/base.h"

enum { PREFIX_MAX_BYTES = 4096 };

struct here {
  bool known;
  struct stat folder;
  char *inside, *outside;  // a name of the folder, with its "/"; a folder that is not below it. NULL: none yet
};

static bool is_prefix(const char *prefix, const char *path);
static const char *look(struct here *here, const char *path);
static void keep(char **to, const char *path, size_t n);

struct here *here_new(void) {
  struct here *here = base_calloc(1, sizeof *here);
  here->known = stat(".", &here->folder) == 0;
  return here;
}

void here_free(struct here *here) {
  if (here == NULL) return;
  free(here->inside);
  free(here->outside);
  free(here);
}

const char *here_path(struct here *here, const char *path) {
  static const char url[] = "file://";
  const char *at = path;
  if (strncmp(at, url, sizeof url - 1) == 0 && at[sizeof url - 1] == '/') at += sizeof url - 1;
  if (at[0] == '/' && here->known) at = look(here, at);
  while (at[0] == '.' && at[1] == '/' && at[2] != '\0') {
    at += 2;
    while (at[0] == '/' && at[1] != '\0')
      at++;
  }
  return at[0] == '/' ? path : at;
}

static const char *look(struct here *here, const char *path) {
  char prefix[PREFIX_MAX_BYTES];
  struct stat st;
  size_t n = strlen(path);
  if (is_prefix(here->inside, path)) return path + strlen(here->inside);
  if (is_prefix(here->outside, path) && strchr(path + strlen(here->outside), '/') == NULL) return path;
  size_t end = 0;
  for (size_t i = 1; i < n && i + 1 < sizeof prefix && path[i] != '\n'; i++) {
    if (path[i] != '/') continue;
    memcpy(prefix, path, i);
    prefix[i] = '\0';
    if (stat(prefix, &st) != 0 || !S_ISDIR(st.st_mode)) break;
    end = i + 1;
    if (st.st_dev != here->folder.st_dev || st.st_ino != here->folder.st_ino) continue;
    keep(&here->inside, path, end);
    return path + end;
  }
  if (end > 0) keep(&here->outside, path, end);
  return path;
}

static bool is_prefix(const char *prefix, const char *path) {
  return prefix != NULL && strncmp(path, prefix, strlen(prefix)) == 0;
}

static void keep(char **to, const char *path, size_t n) {
  free(*to);
  *to = base_memdup0(path, n);
}
