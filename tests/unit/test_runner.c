// Unit tests of the table of runners and of the choice by the words of the test command.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka needs the three above first
#include <cmocka.h>
#include <string.h>

#include "worker/runner.h"

static const struct runner_ops *choose(const char *name, const char *word) {
  char first[] = "uv", last[64];
  size_t i = 0;
  for (; word[i] && i + 1 < sizeof(last); i++)
    last[i] = word[i];
  last[i] = '\0';
  char *argv[] = {first, last, NULL};
  return runner_find(name, argv);
}

static void test_by_name(void **state) {
  (void)state;
  assert_ptr_equal(choose("pytest", "make"), &runner_pytest);
  assert_ptr_equal(choose("command", "pytest"), &runner_command);
  assert_null(choose("rspec", "rspec"));
  assert_null(choose("", "pytest"));
}

static void test_auto(void **state) {
  (void)state;
  static const char *const pytest[] = {"pytest",     "py.test",           "/usr/bin/pytest-3", "/usr/bin/py.test-3",
                                       "pytest3.11", "./venv/bin/pytest", "py.test3"};
  static const char *const other[] = {"pytest-cov", "make", "test_pytest", "pytest/run.sh", "pytestx", "./"};
  for (size_t i = 0; i < COUNT_OF(pytest); i++)
    assert_ptr_equal(choose("auto", pytest[i]), &runner_pytest);
  for (size_t i = 0; i < COUNT_OF(other); i++)
    assert_ptr_equal(choose("auto", other[i]), &runner_command);
}

// The text of a test that was ended says which limit it ran over, where that came from, and what follows.
static void test_cap_text(void **state) {
  (void)state;
  static const struct {
    enum runner_cap from;
    const char *says;
  } rows[] = {{RUNNER_CAP_UNKNOWN, "history"},           {RUNNER_CAP_ASKED, "--timeout-per-test"},
              {RUNNER_CAP_HISTORY, "longest known run"}, {RUNNER_CAP_UNSEEN, "never timed"},
              {RUNNER_CAP_LONGER, "second run"},         {(enum runner_cap)77, "history"}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    char text[RUNNER_CAP_TEXT_BYTES];
    struct runner_test test = {.id = "a", .cap_us = 90500000, .cap_from = rows[i].from};
    runner_cap_text(&test, text);
    assert_non_null(strstr(text, "timed out: it ran longer than its limit of 90.5 s ("));
    assert_non_null(strstr(text, rows[i].says));
    assert_int_equal(text[strlen(text) - 1], ')');
    bool again = rows[i].from == RUNNER_CAP_HISTORY || rows[i].from == RUNNER_CAP_UNSEEN;
    assert_int_equal(strstr(text, "runs once more, alone") != NULL, again);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_name), cmocka_unit_test(test_auto),
                                     cmocka_unit_test(test_cap_text)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
