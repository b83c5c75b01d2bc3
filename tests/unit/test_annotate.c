// Unit tests of the annotations of CIs: what each form holds, its bounds, and that no name or output of a stranger ends
// a line or begins a command.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/annotate.h"

static void add(struct cases *cases, const char *id, const char *file, enum cases_verdict verdict, const char *text) {
  bool failed = verdict == CASES_FAILED || verdict == CASES_MUTED;
  cases->item = base_realloc(cases->item, cases->count + 1, sizeof *cases->item);
  struct cases_attempt *attempt = base_calloc(1, sizeof *attempt);
  *attempt = (struct cases_attempt){.status = failed ? RUNNER_FAILED : RUNNER_PASSED,
                                    .node = base_strdup("2"),
                                    .host = base_strdup("h"),
                                    .call_us = 7000,
                                    .text = base_strdup(text),
                                    .text_bytes = strlen(text)};
  cases->item[cases->count++] = (struct cases_case){.id = base_strdup(id),
                                                    .file = file != NULL ? base_strdup(file) : NULL,
                                                    .verdict = verdict,
                                                    .settled = verdict != CASES_MISSING,
                                                    .attempt = attempt,
                                                    .attempt_count = 1};
}

static char *print(struct cases *cases, enum annotate_form form) {
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  assert_non_null(out);
  assert_int_equal(annotate_print(out, form, cases, "unit"), 0);
  assert_int_equal(fclose(out), 0);
  cases_release(cases);
  return text;
}

static void test_choice(void **state) {
  (void)state;
  assert_int_equal(annotate_choose(ANNOTATE_AUTO, "github"), ANNOTATE_GITHUB);
  assert_int_equal(annotate_choose(ANNOTATE_AUTO, "gitlab"), ANNOTATE_GITLAB);
  assert_int_equal(annotate_choose(ANNOTATE_AUTO, "teamcity"), ANNOTATE_TEAMCITY);
  assert_int_equal(annotate_choose(ANNOTATE_AUTO, "buildkite"), ANNOTATE_BUILDKITE);
  assert_int_equal(annotate_choose(ANNOTATE_AUTO, "azure"), ANNOTATE_NONE);
  assert_int_equal(annotate_choose(ANNOTATE_NONE, "github"), ANNOTATE_NONE);
  assert_int_equal(annotate_choose(ANNOTATE_TEAMCITY, "github"), ANNOTATE_TEAMCITY);
  assert_null(annotate_fold(ANNOTATE_NONE));
  assert_null(annotate_fold(ANNOTATE_TEAMCITY));
}

static void test_github(void **state) {
  struct cases cases;
  (void)state;
  cases_init(&cases);
  add(&cases, "a.py::t[x,y:1%]", "a.py", CASES_FAILED, "a.py:3: in t\nsee a.py:99\na.py:12: Error\n::error::x\r");
  add(&cases, "a.py::quiet", "a.py", CASES_PASSED, "");
  add(&cases, "b", NULL, CASES_MISSING, "");
  add(&cases, "c", "c:d.py", CASES_FLAKY, "hidden");
  add(&cases, "d\n::error::y", NULL, CASES_MUTED, "hidden");
  char *text = print(&cases, ANNOTATE_GITHUB);
  assert_string_equal(text,
                      "::error file=a.py,line=12,title=a.py%3A%3At[x%2Cy%3A1%25]::failed%0Aa.py:3: in t%0Asee "
                      "a.py:99%0Aa.py:12: Error%0A::error::x\\x0d\n"
                      "::error title=b::missing: it has no verdict\n"
                      "::warning file=c%3Ad.py,title=c::flaky: it passed after failing\n"
                      "::warning title=d%0A%3A%3Aerror%3A%3Ay::muted: it failed, and that does not count\n");
  free(text);
}

static size_t count(const char *text, const char *part) {
  size_t n = 0;
  for (; (text = strstr(text, part)) != NULL; text++)
    n++;
  return n;
}

static void test_github_shows_ten(void **state) {
  (void)state;
  for (size_t tests = 9; tests <= 12; tests++) {
    struct cases cases;
    char *output = base_malloc(100001);
    memset(output, 'x', 100000);
    output[100000] = '\0';
    cases_init(&cases);
    for (size_t i = 0; i < tests; i++)
      add(&cases, "a", NULL, CASES_FAILED, output);
    char *text = print(&cases, ANNOTATE_GITHUB);
    assert_int_equal(count(text, "::error "), tests < 10 ? tests : 10);
    assert_int_equal(count(text, "\n"), tests < 10 ? tests : 10);
    assert_int_equal(strstr(text, "… and 3 more tests\n") != NULL, tests == 12);
    assert_true(strlen(text) < 10 * (ANNOTATE_MESSAGE_BYTES + 100));
    free(text);
    free(output);
  }
}

static void test_teamcity(void **state) {
  struct cases cases;
  (void)state;
  cases_init(&cases);
  add(&cases, "it's [a|b]", NULL, CASES_FAILED, "one\n##teamcity[x]\033");
  add(&cases, "b", NULL, CASES_SKIPPED, "");
  add(&cases, "c", NULL, CASES_MISSING, "");
  char *text = print(&cases, ANNOTATE_TEAMCITY);
  assert_string_equal(
      text,
      "##teamcity[testSuiteStarted name='unit' flowId='shard unit']\n"
      "##teamcity[testStarted name='it|'s |[a||b|]' flowId='shard unit']\n"
      "##teamcity[testFailed name='it|'s |[a||b|]' flowId='shard unit' message='failed' "
      "details='one|n##teamcity\\x5bx|]\\x1b']\n"
      "##teamcity[testFinished name='it|'s |[a||b|]' flowId='shard unit' duration='7']\n"
      "##teamcity[testStarted name='b' flowId='shard unit']\n"
      "##teamcity[testIgnored name='b' flowId='shard unit' message='passed']\n"
      "##teamcity[testFinished name='b' flowId='shard unit' duration='7']\n"
      "##teamcity[testStarted name='c' flowId='shard unit']\n"
      "##teamcity[testFailed name='c' flowId='shard unit' message='missing: it has no verdict' details='']\n"
      "##teamcity[testFinished name='c' flowId='shard unit' duration='0']\n"
      "##teamcity[testSuiteFinished name='unit' flowId='shard unit']\n");
  free(text);
}

static char *folded(enum annotate_form form) {
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  const struct cases_case item = {.id = (char[]){'a', '\r', '\033', 'b', '\0'}};
  assert_non_null(out);
  annotate_fold(form)(out, &item, true);
  fputs("output\n", out);
  annotate_fold(form)(out, &item, false);
  assert_int_equal(fclose(out), 0);
  return text;
}

static void test_folds(void **state) {
  char word[64], again[64];
  (void)state;
  char *text = folded(ANNOTATE_GITHUB);
  assert_int_equal(
      sscanf(text, "::%32[0-9a-f]::\n::group::a\\x0d\\x1bb\n::stop-commands::%32[0-9a-f]\noutput\n", word, again), 2);
  assert_string_equal(word, again);
  assert_int_equal(strlen(word), 32);
  char *end_of_group = base_printf("output\n::%s::\n::endgroup::\n::stop-commands::%s\n", word, word);
  assert_string_equal(strstr(text, "output\n"), end_of_group);
  free(end_of_group);
  free(text);
  char begin[24], one[12], end[24], two[12];
  text = folded(ANNOTATE_GITLAB);
  assert_int_equal(sscanf(text,
                          "\033[0Ksection_start:%23[0-9]:shard_failure_%11[0-9][collapsed=true]\r\033[0K"
                          "a\\x0d\\x1bb\noutput\n\033[0Ksection_end:%23[0-9]:shard_failure_%11[0-9]\r\033[0K\n",
                          begin, one, end, two),
                   4);
  assert_string_equal(one, two);
  free(text);
  text = folded(ANNOTATE_BUILDKITE);
  assert_string_equal(text, "--- a\\x0d\\x1bb\noutput\n+++ shard report\n");
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_choice),   cmocka_unit_test(test_github), cmocka_unit_test(test_github_shows_ten),
      cmocka_unit_test(test_teamcity), cmocka_unit_test(test_folds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
