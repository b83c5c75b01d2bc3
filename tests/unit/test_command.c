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
#include "worker/command_limit.h"
#include "worker/command_list.h"
#include "worker/command_ran.h"
#include "worker/command_results.h"
#include "worker/command_share.h"
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
  bool lacking = true;
  assert_null(command_list_read("/no/such/list", &lacking, why, sizeof(why)));
  assert_false(lacking);
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

struct said {
  const char *text, *nothing;  // NULL: something ran, or nobody knows
  bool skipped;
};

static void test_what_tools_say_ran(void **state) {
  static const struct said said[] = {
      {"", NULL, false},
      {"hello\nworld 0\n", NULL, false},
      {"Running main()\n[==========] 0 tests from 0 test suites ran. (0 ms total)\n[  PASSED  ] 0 tests.\n",
       "[==========] 0 tests from 0 test suites ran. (0 ms total)", false},
      {"[==========] 3 tests from 1 test suite ran. (0 ms total)\n", NULL, false},
      {"testing: warning: no tests to run\nPASS\nok  \tp\t0.002s [no tests to run]\n",
       "testing: warning: no tests to run", false},
      {"?   \texample.com/p\t[no test files]\n", "? example.com/p [no test files]", false},
      {"?   \tp/a\t[no test files]\nok  \tp/b\t0.1s\n", NULL, false},
      {"ok  \tp\t(cached)\n", NULL, false},
      {"No examples found.\n\n\033[32m0 examples, 0 failures\033[0m\n", "0 examples, 0 failures", false},
      {"10 examples, 0 failures\n", NULL, false},
      {"running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out\n",
       "running 0 tests", false},
      {"running 0 tests\nrunning 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n", NULL, false},
      {"running 1 test\ntest result: ok. 0 passed; 0 failed; 1 ignored; 0 measured\n",
       "test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured", true},
      {"collected 0 items\n\n===== no tests ran in 0.01s =====\n", "collected 0 items", false},
      {"Ran 0 tests in 0.000s\n\nOK\n", "Ran 0 tests in 0.000s", false},
      {"  0 passing (1ms)\n", "0 passing (1ms)", false},
      {"  0 passing (1ms)\n  2 pending\n", "0 passing (1ms)", true},
      {"  12 passing (1ms)\n", NULL, false},
      {"No tests found, exiting with code 0\n", "No tests found, exiting with code 0", false},
      {"No tests executed!\n", "No tests executed!", false},
      {"1..0\n", "1..0", false},
      {"1..0 # SKIP no database\n", "1..0 # SKIP no database", true},
      {"1..1\nok 1\n", NULL, false},
      {"0 tests, 0 failures", "0 tests, 0 failures", false},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(said); i++) {
    struct command_ran ran;
    command_ran_clear(&ran);
    for (const char *at = said[i].text; *at; at++)
      command_ran_feed(&ran, 1, at, 1);
    const char *nothing = command_ran_nothing(&ran);
    if ((nothing == NULL) != (said[i].nothing == NULL) || (nothing && strcmp(nothing, said[i].nothing) != 0))
      fail_msg("%zu: %s", i, nothing ? nothing : "something ran");
    assert_int_equal(nothing && ran.skipped, said[i].skipped);
  }
}

static void test_long_lines_and_both_streams(void **state) {
  (void)state;
  struct command_ran ran;
  char *text = base_malloc(100000);
  memset(text, 'x', 100000);
  command_ran_clear(&ran);
  command_ran_feed(&ran, 2, text, 100000);
  command_ran_feed(&ran, 1, "running 0 te", 12);
  command_ran_feed(&ran, 2, "\n", 1);
  command_ran_feed(&ran, 1, "sts\n", 4);
  assert_string_equal(command_ran_nothing(&ran), "running 0 tests");
  free(text);
}

// 60 files whose rows say 10 ms: a process of n takes 400 ms a file, or what it takes to start.
// A hundred default limits of 5 minutes each are no reason to wait for a hang for 8 hours; limits of the user's are.
static void test_limit_of_a_process(void **state) {
  (void)state;
  enum { COUNT = 100 };
  const uint64_t minute_us = UINT64_C(60000000), second_us = UINT64_C(1000000);
  struct runner_test tests[COUNT];
  size_t at[COUNT];
  char text[COMMAND_LIMIT_TEXT_BYTES];
  for (size_t i = 0; i < COUNT; i++) {
    tests[i] = (struct runner_test){.cap_us = 5 * minute_us, .cap_from = RUNNER_CAP_HISTORY, .est_us = second_us / 10};
    at[i] = COUNT - 1 - i;
  }
  tests[7].cap_us = 30 * minute_us;
  tests[7].cap_from = RUNNER_CAP_UNSEEN;
  struct command_limit limit = command_limit_of(tests, at, COUNT);
  assert_true(limit.us == 30 * minute_us + 200 * second_us && limit.guessed && !limit.summed);
  command_limit_text(&limit, text);
  assert_string_equal(text,
                      "it ran longer than its limit of 2000 s (the longest limit of its tests plus 20 times what "
                      "they were expected to take; set --timeout-per-test to change it)");
  limit = command_limit_of(tests, &(size_t){7}, 1);  // alone it has its own
  assert_true(limit.us == 30 * minute_us && limit.guessed && limit.summed);
  tests[3].est_us = UINT64_MAX;  // never more than the sum
  assert_true(command_limit_of(tests, at, COUNT).us == 525 * minute_us);
  for (size_t i = 0; i < COUNT; i++)
    tests[i].cap_from = RUNNER_CAP_ASKED;
  limit = command_limit_of(tests, at, COUNT);
  assert_true(limit.us == 525 * minute_us && !limit.guessed && limit.summed);
  command_limit_text(&limit, text);
  assert_non_null(strstr(text, "31500 s (the limits of its tests added up; --timeout-per-test)"));
  tests[99].cap_us = 0;
  assert_true(command_limit_of(tests, at, COUNT).us == 0);
}

static void test_time_is_shared_out(void **state) {
  (void)state;
  struct command_share files = {0}, start = {0};
  uint64_t rows[] = {10000, 30000, UINT64_MAX, 0};
  command_share_out(rows, 4, 100000, 20000);
  assert_int_equal(rows[0], 15000);  // 80 ms by 10, 30, 13.3 (the mean) and 0
  assert_int_equal(rows[1], 45000);
  assert_int_equal(rows[2], 20000);
  assert_int_equal(rows[3], 0);
  uint64_t none[] = {UINT64_MAX, UINT64_MAX}, late[] = {5};
  command_share_out(none, 2, 90, 0);
  assert_true(none[0] == 45 && none[1] == 45);
  command_share_out(late, 1, 10, 20);
  assert_int_equal(late[0], 0);
  assert_int_equal(command_share_cost_us(&files), 0);
  for (size_t n = 1; n <= 8; n++) {
    command_share_learn(&files, n, n * 400000, n * 10000);
    if (n == 1) assert_int_equal(command_share_start_us(&files), 0);
    command_share_learn(&start, n, 390000 + n * 10000, n * 10000);
  }
  assert_true(command_share_start_us(&files) < 10);
  assert_in_range(command_share_start_us(&start), 389990, 390000);
  assert_in_range(command_share_cost_us(&start), 389990, 390000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_list_lines),
      cmocka_unit_test(test_expansion),
      cmocka_unit_test(test_matching),
      cmocka_unit_test(test_worst_row_counts),
      cmocka_unit_test(test_usage),
      cmocka_unit_test(test_what_tools_say_ran),
      cmocka_unit_test(test_long_lines_and_both_streams),
      cmocka_unit_test(test_limit_of_a_process),
      cmocka_unit_test(test_time_is_shared_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
