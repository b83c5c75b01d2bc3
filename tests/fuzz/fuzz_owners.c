// CODEOWNERS: the first line of an input is the file that is asked for, the rest the rules. An owner is what stands in
// the rules; a rule for everything before all others changes nothing where another one holds, and decides as the last
// one; line ends are of no matter. What is refused names the file and the line.
#include "tests/fuzz/fuzz_file.h"
#include "worker/owners.h"

enum { TEXT_MAX = 20000, WHY_BYTES = 400 };

// The owners of the file by `before`, the text and `after`; NULL: refused. The caller frees it.
static char *ask(const char *file, const char *before, const char *text, const char *after, char *why) {
  char path[FUZZ_PATH_BYTES], *whole = base_printf("%s%s%s", before, text, after), *found = NULL;
  struct owners *owners;
  int fd = fuzz_hold(whole, strlen(whole), path);
  if (owners_load(path, &owners, why, WHY_BYTES) == 0) {
    FUZZ_CHECK(owners != NULL);
    found = base_strdup(owners_of(owners, file));
    owners_free(owners);
  } else {
    fuzz_check_refused(why, path, fuzz_lines((const uint8_t *)whole, strlen(whole)));
  }
  close(fd);
  free(whole);
  return found;
}

static void check_crlf(const char *file, const char *text, const char *expected, char *why) {
  char *copy = base_malloc(2 * strlen(text) + 1), *to = copy;
  for (; *text != '\0'; text++) {
    if (*text == '\n') *to++ = '\r';
    *to++ = *text;
  }
  *to = '\0';
  char *found = ask(file, "", copy, "", why);
  FUZZ_CHECK(found == NULL || strcmp(found, expected) == 0);  // NULL: a line was as long as may be
  free(found);
  free(copy);
}

// Behind the mark that UTF-8 may begin with: what stands before the text in another file would make it a pattern's.
static const char *behind_mark(const char *file, const char *text, char *why) {
  static const char mark[] = "\xef\xbb\xbf";
  if (strncmp(text, mark, strlen(mark)) != 0) return text;
  const char *rest = text + strlen(mark);
  if (strncmp(rest, mark, strlen(mark)) == 0) return strchr(text, '\0');
  char *found = ask(file, "", text, "", why), *plain = ask(file, "", rest, "", why);
  FUZZ_CHECK(found == NULL || plain == NULL || strcmp(found, plain) == 0);
  free(found);
  free(plain);
  return rest;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  char why[WHY_BYTES] = "";
  if (n > TEXT_MAX || memchr(bytes, '\0', n) != NULL) return 0;
  char *file = base_memdup0(bytes, n), *line = strchr(file, '\n');
  if (line != NULL) {
    *line++ = '\0';
    const char *text = behind_mark(file, line, why);
    char *found = ask(file, "", text, "", why);
    char *first = ask(file, "* @first\n", text, "", why), *last = ask(file, "", text, "\n* @last\n", why);
    FUZZ_CHECK(found == NULL || strstr(text, found) != NULL);
    if (found != NULL && first != NULL && found[0] != '\0') FUZZ_CHECK(strcmp(found, first) == 0);
    if (found != NULL && first != NULL && found[0] == '\0') FUZZ_CHECK(!first[0] || strcmp(first, "@first") == 0);
    FUZZ_CHECK(last == NULL || strcmp(last, "@last") == 0);
    if (found != NULL) check_crlf(file, text, found, why);
    free(found);
    free(first);
    free(last);
  }
  free(file);
  return 0;
}
