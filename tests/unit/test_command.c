// Unit tests of the command runner's parts that need no process: ids from lines, words of a command, rows to tests.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "worker/command_argv.h"
#include "worker/command_list.h"
#include "worker/command_results.h"
#include "worker/runner.h"

enum { WORDS = 16 };

// Copies of words, so that they are not const.
struct words {
  char *word[WORDS];
};

static struct words words_of(const char *const *words) {
  struct words copy = {{NULL}};
  for (size_t i = 0; words[i]; i++) {
    assert_true(i + 1 < WORDS);
    copy.word[i] = base_strdup(words[i]);
  }
  return copy;
}

static void free_words(struct words *words) {
  for (size_t i = 0; words->word[i]; i++)
    free(words->word[i]);
}

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

static void has(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("no '%s' in: %s", part, text);
}

static void test_list_lines(void **state) {
  (void)state;
  char why[256] = "";
  struct command_list *reader = command_list_new();
  static const char text[] = "a.py::t\r\n\n  indented\nlast";
  for (size_t i = 0; i < sizeof(text) - 1; i++)
    command_list_feed(reader, text + i, 1);
  struct testlist *list = command_list_finish(reader, why, sizeof(why));
  assert_non_null(list);
  assert_int_equal(testlist_count(list), 3);
  assert_string_equal(testlist_id(list, 0), "a.py::t");
  assert_string_equal(testlist_file(list, 0), "a.py");
  assert_string_equal(testlist_id(list, 1), "  indented");
  assert_null(testlist_file(list, 2));
  testlist_free(list);
  command_list_free(reader);
  assert_null(command_list_read("/no/such/list", why, sizeof(why)));
  has(why, "/no/such/list: No such file or directory");
}

static void check_expanded(const char *const *argv, const char *expected) {
  static const char *const ids[] = {"a b", "c"};
  const struct command_words values = {.tmp = "/t", .file = "/t/ids", .node = "n", .batch = "5"};
  struct words words = words_of(argv);
  char **out = command_argv_expand(words.word, &values, ids, 2), text[512] = "";
  for (size_t i = 0; out[i]; i++)
    (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "|" : "", out[i]);
  assert_string_equal(text, expected);
  command_argv_free(out);
  free_words(&words);
}

static void test_expansion(void **state) {
  (void)state;
  check_expanded(ARGV("run", "{}", "end"), "run|a b|c|end");
  check_expanded(ARGV("run"), "run|a b|c");
  check_expanded(ARGV("run", "@{file}", "--out={tmp}/{node}-{batch}.xml"), "run|@/t/ids|--out=/t/n-5.xml");
  check_expanded(ARGV("run", "${file}", "{other}", "{", "{tmp"), "run|${file}|{other}|{|{tmp|a b|c");
  check_expanded(ARGV("{}", "{}"), "a b|c|a b|c");
  check_expanded(ARGV("f() {{}}; echo {{tmp}} {tmp} {{other}} ${{}}", "{{}}", "{}"),
                 "f() {}; echo {tmp} /t {{other}} ${{}}|{}|a b|c");
}

struct match {
  const char *classname, *name, *file;
  const char *expected;  // the id that is meant; NULL: none
};

static void test_matching(void **state) {
  (void)state;
  static const char *const ids[] = {"t.py::K::m", "t.py::f", "name", "c.n",      "c::n2",
                                    "file.sh",    "x",       "x.x",  "d/e.py::g"};
  static const struct match matches[] = {
      {"t.K", "m", "", "t.py::K::m"},
      {"t", "f", "t.py", "t.py::f"},
      {"", "name", "", "name"},
      {"c", "n", "", "c.n"},
      {"c", "n2", "", "c::n2"},
      {"any", "case", "file.sh", "file.sh"},
      {"any", "case", "./file.sh", "file.sh"},
      {"file.sh", "title", "", "file.sh"},
      {"x", "x", "", NULL},
      {"", "x", "", "x"},
      {"d.e", "g", "", "d/e.py::g"},
      {"", "other", "", NULL},
      {"", "", "", NULL},
      {"jest", " name", "", "name"},
      {"t", "m", "", NULL},
  };
  for (size_t i = 0; i < COUNT_OF(matches); i++) {
    struct command_results *results = command_results_new(ids, COUNT_OF(ids));
    const struct junit_case testcase = {.suite = "",
                                        .classname = matches[i].classname,
                                        .name = matches[i].name,
                                        .file = matches[i].file,
                                        .message = "",
                                        .text = ""};
    command_results_on_junit(results, &testcase);
    command_results_settle(results, true);
    const char *found = NULL;
    for (size_t k = 0; k < COUNT_OF(ids); k++)
      if (command_results_get(results, k).known) found = ids[k];
    if ((found == NULL) != (matches[i].expected == NULL) || (found && strcmp(found, matches[i].expected) != 0))
      fail_msg("row %zu means %s", i, found ? found : "none");
    command_results_free(results);
  }
}

static void test_worst_row_counts(void **state) {
  (void)state;
  static const char *const ids[] = {"f"};
  static const enum junit_status statuses[] = {JUNIT_SKIPPED, JUNIT_PASSED, JUNIT_FAILED, JUNIT_ERROR, JUNIT_PASSED};
  static const enum runner_status after[] = {RUNNER_SKIPPED, RUNNER_PASSED, RUNNER_FAILED, RUNNER_ERROR, RUNNER_ERROR};
  for (size_t n = 1; n <= COUNT_OF(statuses); n++) {
    struct command_results *results = command_results_new(ids, 1);
    for (size_t i = 0; i < n; i++) {
      const struct junit_case testcase = {.suite = "",
                                          .classname = "",
                                          .name = "case",
                                          .file = "f",
                                          .has_time = true,
                                          .time_us = 10,
                                          .status = statuses[i],
                                          .message = "m",
                                          .text = "text",
                                          .text_bytes = 4};
      command_results_on_junit(results, &testcase);
    }
    command_results_settle(results, true);
    struct command_outcome outcome = command_results_get(results, 0);
    assert_int_equal(outcome.status, after[n - 1]);
    assert_int_equal(outcome.time_us, 10 * n);
    if (n == 5) assert_string_equal(outcome.text, "m\ntext\nm\ntext");
    command_results_free(results);
  }
}

static void refused(const char *const *argv, const char *results, bool listed, const char *expected) {
  char why[1024] = "";
  struct words words = words_of(argv);
  struct runner_spec spec = {.want_list = true};
  spec.argv = words.word;
  spec.results = results;
  spec.list_file = listed ? "list" : NULL;
  assert_null(runner_command.start(&spec, why, sizeof(why)));
  has(why, expected);
  free_words(&words);
}

static void test_usage(void **state) {
  (void)state;
  refused(ARGV("sh", "-c", "run {}"), "exit", true, "{} must be a word of its own, here it is inside 'run {}'");
  refused(ARGV("sh", "-c", "run {} {{}}"), "exit", true, "Write {{}} where the command is to get the text {}");
  refused(ARGV("true"), "json", true, "results 'json' are not known");
  refused(ARGV("true"), "junit:", true, "junit:PATH");
  refused(ARGV("true"), "exit", false, "--list");
  refused((const char *const[]){NULL}, "exit", true, "no test command");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_list_lines),       cmocka_unit_test(test_expansion), cmocka_unit_test(test_matching),
      cmocka_unit_test(test_worst_row_counts), cmocka_unit_test(test_usage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
