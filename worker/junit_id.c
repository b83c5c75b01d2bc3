// Ids from JUnit cases. Called by durations.c. Looks at the file system for what pytest no longer writes: the file of a
// class. Paths come from a file that anybody may have written, so nothing is opened, and none leads out of the folder.
#include "worker/junit_id.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/base.h"

enum { PATH_MAX_BYTES = 1024 };

static char *find_file(const char *classname, size_t *module_bytes);
static size_t module_of(const char *file, const char *classname);
static char *path_of(const char *module, size_t n);
static char *join(const char *file, const char *classes, const char *name);

char *junit_id(const char *file, const char *classname, const char *name, char **file_out) {
  size_t module = 0;
  *file_out = NULL;
  if (name[0] == '\0') return NULL;
  if (classname[0] == '\0') {
    *file_out = file[0] != '\0' ? base_strdup(file) : NULL;
    return base_strdup(name);
  }
  if (file[0] != '\0') module = module_of(file, classname);
  char *path = module != 0 ? base_strdup(file) : find_file(classname, &module);
  if (path == NULL) return NULL;
  char *id = join(path, classname + module, name);
  *file_out = path;
  return id;
}

// How much of the class's name is the file's; 0: it is another file's.
static size_t module_of(const char *file, const char *classname) {
  size_t n = strlen(file);
  if (n > 3 && strcmp(file + n - 3, ".py") == 0) n -= 3;
  if (strlen(classname) < n) return 0;
  for (size_t i = 0; i < n; i++)
    if (classname[i] != (file[i] == '/' ? '.' : file[i])) return 0;
  return classname[n] == '\0' || classname[n] == '.' ? n : 0;
}

// The longest beginning of the name that is a file here.
static char *find_file(const char *classname, size_t *module_bytes) {
  struct stat st;
  size_t n = strlen(classname);
  if (n > PATH_MAX_BYTES || classname[0] == '/' || strstr(classname, "..") != NULL) return NULL;
  while (n > 0) {
    char *path = path_of(classname, n);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
      *module_bytes = n;
      return path;
    }
    free(path);
    while (n > 0 && classname[--n] != '.')
      continue;
  }
  return NULL;
}

static char *path_of(const char *module, size_t n) {
  char *path = base_printf("%.*s.py", (int)n, module);
  for (size_t i = 0; i < n; i++)
    if (path[i] == '.') path[i] = '/';
  return path;
}

// classes: "" or ".K.Inner"
static char *join(const char *file, const char *classes, const char *name) {
  char *path = base_malloc(2 * strlen(classes) + 1), *to = path;
  for (; *classes != '\0'; classes++) {
    *to++ = *classes == '.' ? ':' : *classes;
    if (*classes == '.') *to++ = ':';
  }
  *to = '\0';
  char *id = base_printf("%s%s::%s", file, path, name);
  free(path);
  return id;
}
