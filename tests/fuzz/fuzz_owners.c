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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  char why[WHY_BYTES] = "";
  if (n > TEXT_MAX || memchr(bytes, '\0', n) != NULL) return 0;
  char *file = base_memdup0(bytes, n), *text = strchr(file, '\n');
  if (text != NULL) {
    *text++ = '\0';
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
