// Unit tests of the table of runners and of the choice by the words of the test command.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka needs the three above first
#include <cmocka.h>

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
  static const char *const pytest[] = {"pytest", "py.test", "/usr/bin/pytest-3", "pytest3.11", "./venv/bin/pytest"};
  static const char *const other[] = {"pytest-cov", "make", "test_pytest", "pytest/run.sh", "pytestx", "./"};
  for (size_t i = 0; i < COUNT_OF(pytest); i++)
    assert_ptr_equal(choose("auto", pytest[i]), &runner_pytest);
  for (size_t i = 0; i < COUNT_OF(other); i++)
    assert_ptr_equal(choose("auto", other[i]), &runner_command);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_name), cmocka_unit_test(test_auto)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
