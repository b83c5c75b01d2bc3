// Files that are replaced in one step. Called by report.c, export.c and spool_file.c.
#include "worker/replace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/files.h"

static void say(const struct replace *replace, const char *problem, char *why, size_t why_size);

int replace_open(struct replace *replace, const char *path, char *why, size_t why_size) {
  struct stat st;
  bool direct = strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISREG(st.st_mode));
  replace->path = base_strdup(path);
  replace->temporary = direct ? base_strdup(path) : base_printf("%s.tmp-%ld", path, (long)getpid());
  const char *problem = NULL;
  replace->out = strcmp(path, "-") == 0 ? stdout
                 : direct               ? files_write_to(path, &problem)
                                        : fopen(replace->temporary, "wxe");
  if (replace->out != NULL) return 0;
  say(replace, problem != NULL ? problem : strerror(errno), why, why_size);
  free(replace->path);
  free(replace->temporary);
  return -1;
}

bool replace_sync(struct replace *replace, char *why, size_t why_size) {
  bool good = fflush(replace->out) == 0 && fsync(fileno(replace->out)) == 0;
  if (!good) say(replace, strerror(errno), why, why_size);
  return good;
}

int replace_close(struct replace *replace, bool good, char *why, size_t why_size) {
  bool beside = strcmp(replace->path, replace->temporary) != 0, failed = ferror(replace->out) != 0;
  int error = failed ? EIO : 0;
  if ((replace->out == stdout ? fflush(stdout) : fclose(replace->out)) != 0 && error == 0) error = errno;
  if (good && error == 0 && beside && rename(replace->temporary, replace->path) != 0) error = errno;
  if (good && error != 0) say(replace, strerror(error), why, why_size);
  if (beside && (!good || error != 0)) (void)unlink(replace->temporary);
  free(replace->path);
  free(replace->temporary);
  return good && error == 0 ? 0 : -1;
}

static void say(const struct replace *replace, const char *problem, char *why, size_t why_size) {
  (void)snprintf(why, why_size, "cannot write %s: %s", replace->path, problem);
}
