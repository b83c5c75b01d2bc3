// Where a user's caches are. It must not know what is kept there.
#include "worker/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char *cache_folder(void) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (cache && cache[0] == '/') return base_strdup(cache);
  return home && home[0] == '/' ? base_printf("%s/.cache", home) : NULL;
}

bool cache_make_parents(const char *path) {
  char *folder = base_strdup(path);
  bool made = true;
  for (char *slash = folder[0] ? strchr(folder + 1, '/') : NULL; made && slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    made = mkdir(folder, 0700) == 0 || errno == EEXIST;
    *slash = '/';
  }
  int error = errno;
  free(folder);
  errno = error;
  return made;
}
