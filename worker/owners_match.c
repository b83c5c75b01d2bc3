// Patterns of CODEOWNERS, name by name. Called by owners.c for each rule and file. Patterns come from a file that
// anyone may have written: the work is at most the number of names in the pattern times that in the path, however many
// "**" there are, because only the last "**" needs to be taken up again.
#include "worker/owners_match.h"

#include <fnmatch.h>
#include <stddef.h>
#include <string.h>

enum { NAME_BYTES = 4096 };

// A name between slashes; bytes 0 at the end.
struct name {
  const char *at;
  size_t bytes;
};

static struct name name_at(const char *path) {
  return (struct name){path, strcspn(path, "/")};
}

static const char *behind(struct name name) {
  const char *at = name.at + name.bytes;
  return at[0] == '/' ? at + 1 : at;
}

static bool is(struct name name, const char *text) {
  return strlen(text) == name.bytes && memcmp(name.at, text, name.bytes) == 0;
}

// Brackets that stand for themselves: "[id].ts".
static bool plain_brackets(const char *pattern, char out[2 * NAME_BYTES]) {
  size_t n = 0;
  bool found = false;
  for (; *pattern != '\0'; pattern++) {
    if (*pattern == '\\' && pattern[1] != '\0') {
      out[n++] = *pattern++;
    } else if (*pattern == '[') {
      out[n++] = '\\';
      found = true;
    }
    out[n++] = *pattern;
  }
  out[n] = '\0';
  return found;
}

static bool name_matches(struct name pattern, struct name name) {
  char want[NAME_BYTES], have[NAME_BYTES], plain[2 * NAME_BYTES];
  if (pattern.bytes >= sizeof want || name.bytes >= sizeof have) return false;
  memcpy(want, pattern.at, pattern.bytes);
  memcpy(have, name.at, name.bytes);
  want[pattern.bytes] = have[name.bytes] = '\0';
  return fnmatch(want, have, 0) == 0 || (plain_brackets(want, plain) && fnmatch(plain, have, 0) == 0);
}

// The pattern is at its end, and `path` is what is left of the file. children: the last name was a "*" of one folder.
static bool ends(const char *path, bool folder, bool children) {
  return folder ? path[0] != '\0' : path[0] == '\0' || !children;
}

static bool matches_from(const char *pattern, const char *path) {
  const char *again = NULL, *again_path = NULL;  // behind the last "**", and where it stopped
  bool folder = pattern[0] != '\0' && pattern[strlen(pattern) - 1] == '/', children = false;
  for (;;) {
    struct name want = name_at(pattern), have = name_at(path);
    if (pattern[0] == '\0' && ends(path, folder, children)) return true;
    if (is(want, "**")) {
      pattern = again = behind(want);
      again_path = path;
      if (want.at[want.bytes] == '\0') return path[0] != '\0';
      continue;
    }
    if (want.bytes > 0 && have.bytes > 0 && name_matches(want, have)) {
      children = is(want, "*") && pattern != again;
      pattern = behind(want);
      path = behind(have);
      continue;
    }
    if (again == NULL || again_path[0] == '\0') return false;
    again_path = behind(name_at(again_path));
    pattern = again;
    path = again_path;
  }
}

bool owners_match(const char *pattern, const char *file) {
  size_t n = strlen(pattern);
  const char *slash = strchr(pattern, '/');
  bool bound = slash != NULL && (size_t)(slash - pattern) + 1 < n;
  if (n == 1 && slash != NULL) return false;     // "/" is nothing's name
  if (n == 1 && pattern[0] == '*') return true;  // also what is not a path, "a/"
  if (pattern[0] == '/') pattern++;
  if (matches_from(pattern, file)) return true;
  for (const char *at = file; !bound && (at = strchr(at, '/')) != NULL;)
    if (matches_from(pattern, ++at)) return true;
  return false;
}
