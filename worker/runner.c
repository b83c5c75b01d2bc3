// The table of runners and the choice among them. Called by run.c; the one place that names all runners. It must not
// know what any of them does.
#include "worker/runner.h"

#include <stdio.h>
#include <string.h>

static const struct runner_ops *const runners[] = {&runner_pytest, &runner_command};

static bool names_pytest(const char *word);

const struct runner_ops *runner_find(const char *name, char *const *argv) {
  if (strcmp(name, "auto") == 0) {
    for (; argv && *argv; argv++)
      if (names_pytest(*argv)) return &runner_pytest;
    return &runner_command;
  }
  for (size_t i = 0; i < COUNT_OF(runners); i++)
    if (strcmp(runners[i]->name, name) == 0) return runners[i];
  return NULL;
}

size_t runner_named(const uint32_t *tags, size_t count, uint32_t tag) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (tags[middle] < tag) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < count && tags[low] == tag ? low : SIZE_MAX;
}

void runner_cap_text(const struct runner_test *test, char text[RUNNER_CAP_TEXT_BYTES]) {
  static const char *const from[] = {
      [RUNNER_CAP_UNKNOWN] = "--timeout-per-test, or by default its history",
      [RUNNER_CAP_ASKED] = "--timeout-per-test",
      [RUNNER_CAP_HISTORY] =
          "from its history, many times its longest known run; it runs once more, alone and with "
          "a longer limit, before that counts",
      [RUNNER_CAP_UNSEEN] =
          "the default of a test that was never timed; it runs once more, alone and with a longer "
          "limit, before that counts",
      [RUNNER_CAP_LONGER] = "the longer one of its second run, alone; a shorter one ended the first run"};
  const char *origin = from[(size_t)test->cap_from < COUNT_OF(from) ? test->cap_from : RUNNER_CAP_UNKNOWN];
  snprintf(text, RUNNER_CAP_TEXT_BYTES, "timed out: it ran longer than its limit of %.6g s (%s)",
           (double)test->cap_us / 1e6, origin);
}

// "pytest", "py.test", "pytest-3", "py.test-3", "pytest3.11", with any path before it.
static bool names_pytest(const char *word) {
  const char *slash = strrchr(word, '/');
  if (slash) word = slash + 1;
  size_t n = strncmp(word, "py.test", 7) == 0 ? 7 : strncmp(word, "pytest", 6) == 0 ? 6 : 0;
  if (n == 0) return false;
  word += n;
  if (*word == '-') word++;
  return word[strspn(word, "0123456789.")] == '\0';
}
