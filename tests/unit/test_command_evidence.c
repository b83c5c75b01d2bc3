// Unit tests of what the command runner takes for evidence that a test ran, with real processes: rows that are missing,
// cut, of other tests or without names; processes that crash, hang, or end with an error that no failure explains.
#include "tests/unit/command_fixture.h"

// How many processes were started: each one notes it.
static size_t processes(void) {
  char noted[256] = "";
  FILE *file = fopen("processes", "r");
  size_t n = file ? fread(noted, 1, sizeof(noted), file) : 0;
  if (file) (void)fclose(file);
  return n;
}

// A test without a row runs again by itself. It does not explain the failure of a stranger beside the others.
static void test_missing_result(void **state) {
  struct fixture *f = *state;
  run(f, "a\ndrop\nb\n", "junit:{tmp}/r.xml", ARGV("sh", "-c", junit_script, "sh", "{tmp}/r.xml", "{}"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told_count, 3);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[2].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_ERROR);
  assert_int_equal(f->told[1].starts, 2);
  assert_int_equal(f->told[0].starts, 2);
  assert_int_equal(f->late_count, 2);  // with the test alone, and with the others
  has(f->late, "failed outside of them: 'stranger'");
  has(f->told[1].text, "nothing shows that this test ran");
  has(f->told[1].text, "the first: 'stranger'");
}

static void test_no_results_file(void **state) {
  struct fixture *f = *state;
  write_file("r.xml", "<testsuite><testcase name='a'/></testsuite>");  // of an earlier run: no result
  run(f, "a\n", "junit:r.xml", ARGV("true"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_ERROR);
  has(f->told[0].text, "r.xml: No such file or directory");
}

// A command that never reports anything is not run for each of a thousand tests.
static void test_never_a_row(void **state) {
  struct fixture *f = *state;
  run(f, "a\nb\nc\nd\ne\n", "junit:r.xml", ARGV("sh", "-c", "printf . >> processes", "sh"));
  assert_int_equal(f->kind, RUNNER_END_FAILED);
  assert_int_equal(f->told_count, 3);
  assert_int_equal(f->told[2].status, RUNNER_ERROR);
  has(f->why, "3 tests given to 'sh', each alone, have no result");
  has(f->why, "check the test command and --results");
  assert_int_equal(processes(), 4);
}

static void test_broken_results_file(void **state) {
  struct fixture *f = *state;
  run(f, "a\nb\n", "junit:r.xml",
      ARGV("sh", "-c", "printf \"<testsuite><testcase name='a'/><testcase\" > r.xml", "sh"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_ERROR);
  has(f->told[1].text, "unclosed token");
}

// Cases of a file in a report that was cut: the worst of them may be missing, so they prove nothing.
static void test_cut_report_of_a_file(void **state) {
  struct fixture *f = *state;
  run(f, "x.sh\n", "junit:r.xml",
      ARGV("sh", "-c", "printf \"<testsuite><testcase name='a' file='x.sh'/><testcase\" > r.xml", "sh"));
  assert_int_equal(f->told[0].status, RUNNER_ERROR);
  has(f->told[0].text, "unclosed token");
}

static void test_failing_command_without_failing_test(void **state) {
  struct fixture *f = *state;
  assert_int_equal(setenv("CODE", "5", 1), 0);
  run(f, "a\n", "junit:{tmp}/r.xml", ARGV("sh", "-c", junit_script, "sh", "{tmp}/r.xml"));
  assert_int_equal(unsetenv("CODE"), 0);
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 1);
  has(f->late, "exit status 5 though no test of its batch failed");
  has(f->late, "its tests: 'a'");
  has(f->late, "said");
}

// A shell command that writes rows for its arguments as `row` says, and ends as `end` says.
static void run_rows(struct fixture *f, const char *ids, const char *results, const char *row, const char *end) {
  char *script = base_printf(
      "printf . >> processes; out=$1; shift; { echo 1..$#; for t; do %s; done; } > rows; mv rows \"$out\"; %s", row,
      end);
  run(f, ids, results, ARGV("sh", "-c", script, "sh", "{tmp}/t", "{}"));
  free(script);
}

#define BAD_FAILS "case $t in bad*) echo \"not ok $t\"; ;; *) echo \"ok $t\";; esac"

// A failing test explains the exit status until it passes alone: what passed runs once more without it.
static void test_failure_explains_for_now(void **state) {
  struct fixture *f = *state;
  run_rows(f, "a\nbad\nb\n", "tap:{tmp}/t", BAD_FAILS, "exit 1");
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(processes(), 2);
  assert_int_equal(f->told_count, 3);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  assert_int_equal(f->late_count, 1);
  has(f->late, "'sh' ended with exit status 1 when the tests that had passed ran again without those that failed");
  has(f->late, "its tests: 'a', 'b'");
}

static void test_failure_confirmed(void **state) {
  struct fixture *f = *state;
  run_rows(f, "a\nbad\nb\n", "tap:{tmp}/t", BAD_FAILS, "case \"$*\" in *bad*) exit 1;; esac");
  assert_int_equal(processes(), 2);
  assert_int_equal(f->told[0].starts, 2);
  assert_int_equal(f->told[1].starts, 1);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 0);
}

// A failure in the run that confirms is that test's result, and explains how that one ended no more than the first did.
static void test_failure_and_another(void **state) {
  struct fixture *f = *state;
  run_rows(f, "a\nbad\nb\n", "tap:{tmp}/t", "case $t/$# in bad/*|b/2) echo \"not ok $t\";; *) echo \"ok $t\";; esac",
           "exit 1");
  assert_int_equal(processes(), 3);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[2].status, RUNNER_FAILED);
  assert_int_equal(f->late_count, 1);
  has(f->late, "its tests: 'a'");
}

static void test_failure_and_another_confirmed(void **state) {
  struct fixture *f = *state;
  run_rows(f, "a\nbad\nb\n", "tap:{tmp}/t", "case $t/$# in bad/*|b/2) echo \"not ok $t\";; *) echo \"ok $t\";; esac",
           "case $# in 1) exit 0;; *) exit 1;; esac");
  assert_int_equal(processes(), 3);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[2].status, RUNNER_FAILED);
  assert_int_equal(f->late_count, 0);
}

// There is nothing to confirm when all fail.
static void test_all_fail(void **state) {
  struct fixture *f = *state;
  run_rows(f, "bad1\nbad2\n", "tap:{tmp}/t", BAD_FAILS, "exit 1");
  assert_int_equal(processes(), 1);
  assert_int_equal(f->late_count, 0);
}

static void test_skips_do_not_explain(void **state) {
  struct fixture *f = *state;
  run_rows(f, "a\nb\n", "tap:{tmp}/t", "echo \"ok $t # SKIP no\"", "exit 3");
  assert_int_equal(f->told[0].status, RUNNER_SKIPPED);
  assert_int_equal(f->late_count, 1);
  has(f->late, "exit status 3 though no test of its batch failed");
}

// All rows are written, one of them failing, and the process dies: a failing test does not explain a signal.
static void test_signal_behind_the_rows(void **state) {
  struct fixture *f = *state;
  run_rows(f, "a\nbad\n", "tap:{tmp}/t", BAD_FAILS, "kill -SEGV $$");
  assert_int_equal(f->told_count, 2);
  assert_int_equal(f->late_count, 1);
  has(f->late, "killed by SIGSEGV");
}

// Failures that belong to no test of the batch are errors, whatever the exit status says.
static void test_stray_failures(void **state) {
  static const char *const reports[][2] = {
      {"<testcase name='other'><failure/></testcase>", "failed outside of them: 'other'"},
      {"<error message='cannot load x'/>", "failed outside of them: 'cannot load x'"},
      {"<failure message='teardown'/>", "failed outside of them: 'teardown'"},
  };
  struct fixture *f = *state;
  for (size_t i = 0; i < COUNT_OF(reports); i++) {
    char *script =
        base_printf("cat > r.xml <<'END'\n<testsuite><testcase name='a'/>%s</testsuite>\nEND\n", reports[i][0]);
    f->next = 0;
    testlist_free(f->list);
    f->list = NULL;
    memset(f->told, 0, sizeof(f->told[0]));
    run(f, "a\n", "junit:r.xml", ARGV("sh", "-c", script, "sh"));
    free(script);
    assert_int_equal(f->told[0].status, RUNNER_PASSED);
    assert_int_equal(f->late_count, 1);
    has(f->late, reports[i][1]);
    free(f->told[0].text);
    f->told[0].text = NULL;
  }
}

// Writes failing rows for tests of the name bad*, and an error of a suite when `when` (an expression of test) says so.
static void run_stray(struct fixture *f, const char *ids, const char *when) {
  char *script = base_printf(
      "printf . >> processes; { echo '<testsuite>'; for t; do case $t in drop*) ;; bad*) echo \"<testcase "
      "name='$t'><failure/></testcase>\";; *) echo \"<testcase name='$t'/>\";; esac; done; if %s; then "
      "echo '<error message=\"database\"/>'; fi; echo '</testsuite>'; } > r.xml; exit 1",
      when);
  run(f, ids, "junit:r.xml", ARGV("sh", "-c", script, "sh", "{}"));
  free(script);
  assert_int_equal(f->kind, RUNNER_END_OK);
}

// A failing test, which may be muted or pass when it is tried again, never explains what failed outside of the tests.
static void test_failure_explains_no_stray(void **state) {
  struct fixture *f = *state;
  run_stray(f, "bad1\nbad2\n", "true");
  assert_int_equal(processes(), 1);
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  assert_int_equal(f->late_count, 1);
  has(f->late, "failed outside of them: 'database'");
  has(f->late, "its tests: 'bad1', 'bad2'");
}

static void test_one_failure_explains_no_stray(void **state) {
  struct fixture *f = *state;
  run_stray(f, "bad\n", "true");
  assert_int_equal(f->late_count, 1);
}

// The failure of the batch, and of a test that is run alone behind it, with or without a row.
static void test_failure_alone_explains_no_stray(void **state) {
  struct fixture *f = *state;
  run_stray(f, "drop\n", "true");
  assert_int_equal(f->told[0].status, RUNNER_ERROR);
  assert_int_equal(f->late_count, 1);
  has(f->late, "failed outside of them: 'database'");
}

static void test_stray_beside_a_missing_row(void **state) {
  struct fixture *f = *state;
  run_rows(f, "bad\nlate\n", "tap:{tmp}/t",
           "case $t/$# in bad/*) echo \"not ok $t\"; echo 'not ok stranger';; late/1) echo \"not ok $t\"; echo 'not ok "
           "other';; esac",
           "exit 1");
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  assert_int_equal(f->late_count, 2);  // of the process with both, and of the one that it was alone in
}

// Where it comes with the failing test it is gone without it: that is shown by a process of those that passed.
static void test_stray_gone_without_the_failure(void **state) {
  struct fixture *f = *state;
  run_rows(f, "a\nbad\n", "tap:{tmp}/t",
           "case $t in bad*) echo \"not ok $t\"; echo 'not ok stranger';; *) echo \"ok $t\";; esac",
           "case \"$*\" in *bad*) exit 1;; esac");
  assert_int_equal(processes(), 2);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 0);
}

static void test_counted_and_not_shown(void **state) {
  static const char *const script =
      "echo '<testsuites errors=\"0\"><testsuite name=\"S\" errors=\"1\"><testcase "
      "name=\"a\"/></testsuite></testsuites>' "
      "> r.xml";
  struct fixture *f = *state;
  run(f, "a\n", "junit:r.xml", ARGV("sh", "-c", script, "sh"));
  assert_int_equal(f->late_count, 1);
  has(f->late, "suite 'S' counts 1 errors and failures and shows none");
}

static void test_bails_out(void **state) {
  struct fixture *f = *state;
  run_rows(f, "a\nb\n", "tap:{tmp}/t", "echo \"ok $t\"", "echo 'Bail out! no database' >> $out");
  assert_int_equal(f->told_count, 2);
  assert_int_equal(f->late_count, 1);
  has(f->late, "bailed out: no database");
}

// Two programs of which a batch runs the first alone: each one is run by itself.
static void test_tap_rows_without_names(void **state) {
  struct fixture *f = *state;
  write_file("1.t", "printf . >> processes; printf '1..2\\nok 1 - x\\nok 2 - y\\n'");
  write_file("2.t", "printf . >> processes; printf '1..1\\nnot ok 1 - z\\n'; exit 1");
  run(f, "1.t\n2.t\n", "tap", ARGV("sh"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  assert_int_equal(processes(), 3);
  assert_int_equal(f->late_count, 0);
}

// The culprit of a crash is found, and what it took with it has results of its own.
static void test_tap_cut(void **state) {
  struct fixture *f = *state;
  run(f, "a\nb\nc\n", "tap",
      ARGV("sh", "-c", "echo 1..$#; for t; do test $t != b || kill -KILL $$; echo ok $t; done", "sh", "{}"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[0].starts, 2);  // what passed is confirmed without the crash
  assert_int_equal(f->told[1].status, RUNNER_CRASHED);
  has(f->told[1].text, "killed by SIGKILL");
  assert_int_equal(f->told[2].status, RUNNER_PASSED);
  assert_int_equal(f->told[2].starts, 2);
  assert_int_equal(f->late_count, 0);
}

// The shell that runs the tool ends with 128 + the signal.
static void test_crash_below_a_shell(void **state) {
  static const char *const script =
      "sh -c 'for t; do test $t != b || kill -SEGV $$; done; echo 1..$#; for t; do echo ok $t; done' sh \"$@\"; exit "
      "$?";
  struct fixture *f = *state;
  run(f, "a\nb\n", "tap", ARGV("sh", "-c", script, "sh", "{}"));
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_CRASHED);
  has(f->told[1].text, "exit status 139: a shell's for SIGSEGV");
}

// A crash that no test shows when it runs alone is an error of no test, and not forgotten.
static void test_crash_of_nobody(void **state) {
  struct fixture *f = *state;
  run(f, "a\nb\n", "tap", ARGV("sh", "-c", "test $# = 1 || kill -SEGV $$; echo 1..1; echo ok $1", "sh", "{}"));
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 1);
  has(f->late, "killed by SIGSEGV though no test of its batch failed");
}

// The one that hangs is over its time; the batch's time is charged to nobody else.
static void test_tap_over_time(void **state) {
  struct fixture *f = *state;
  f->cap_us = 500 * 1000;
  run(f, "a\nb\nc\n", "tap",
      ARGV("sh", "-c", "echo 1..$#; for t; do test $t != b || exec sleep 1000; echo ok $t; done", "sh", "{}"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_TIMED_OUT);
  has(f->told[1].text, "timed out: it ran longer than its limit of 0.5 s");
  assert_int_equal(f->told[2].status, RUNNER_PASSED);
  assert_true(f->told[0].call_us < 500 * 1000 && f->told[2].call_us < 500 * 1000);
  assert_int_equal(f->late_count, 0);
}

// All rows are there and the process does not end. A limit of the user's makes that an error at once; a default one
// when it happens again, with a longer limit.
static void test_over_a_limit_with_all_rows(void **state) {
  struct fixture *f = *state;
  f->cap_us = 200 * 1000;
  f->cap_from = RUNNER_CAP_HISTORY;
  run_rows(f, "a\nb\n", "tap:{tmp}/t", "echo \"ok $t\"", "exec sleep 1000");
  assert_int_equal(processes(), 2);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 1);
  has(f->late, "it ran longer than its limit of 0.6 s (the longest limit of its tests plus 20 times");
  has(f->late, "when its tests ran once more with a longer limit");
}

static void test_over_a_default_limit_once(void **state) {
  struct fixture *f = *state;
  f->cap_us = 500 * 1000;
  f->cap_from = RUNNER_CAP_HISTORY;
  run_rows(f, "a\nb\n", "tap:{tmp}/t", "echo \"ok $t\"", "mkdir seen 2>/dev/null && exec sleep 1000; exit 0");
  assert_int_equal(processes(), 2);
  assert_int_equal(f->told_count, 2);
  assert_int_equal(f->late_count, 0);
}

static void test_over_a_limit_of_the_users(void **state) {
  struct fixture *f = *state;
  f->cap_us = 200 * 1000;
  f->cap_from = RUNNER_CAP_ASKED;
  run_rows(f, "a\nb\n", "tap:{tmp}/t", "echo \"ok $t\"", "exec sleep 1000");
  assert_int_equal(processes(), 1);
  assert_int_equal(f->late_count, 1);
  has(f->late, "it ran longer than its limit of 0.4 s (the limits of its tests added up; --timeout-per-test)");
}

#define HANGS_AND_ENDS_WELL "trap 'kill $!; exit 0' TERM; sleep 1000 & wait $!"

// What a process makes of the signal by which it is ended does not matter.
static void test_over_a_limit_and_well(void **state) {
  struct fixture *f = *state;
  f->cap_us = 200 * 1000;
  f->cap_from = RUNNER_CAP_ASKED;
  run_rows(f, "a\nb\n", "tap:{tmp}/t", "echo \"ok $t\"", HANGS_AND_ENDS_WELL);
  assert_int_equal(f->told[1].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 1);
  has(f->late, "ended with exit status 0 (stopped: it ran longer than its limit of 0.4 s");
}

static void test_over_a_limit_and_well_beside_failures(void **state) {
  struct fixture *f = *state;
  f->cap_us = 200 * 1000;
  f->cap_from = RUNNER_CAP_ASKED;
  run_rows(f, "a\nbad\n", "tap:{tmp}/t", BAD_FAILS, HANGS_AND_ENDS_WELL);
  assert_int_equal(f->late_count, 1);
}

static void test_over_a_default_limit_and_well(void **state) {
  struct fixture *f = *state;
  f->cap_us = 200 * 1000;
  f->cap_from = RUNNER_CAP_HISTORY;
  run_rows(f, "a\nb\n", "tap:{tmp}/t", "echo \"ok $t\"", HANGS_AND_ENDS_WELL);
  assert_int_equal(processes(), 2);
  assert_int_equal(f->late_count, 1);
}

// A row that is there and a process that hangs, for a test that is run alone.
static void test_alone_over_a_limit_and_well(void **state) {
  struct fixture *f = *state;
  f->cap_us = 200 * 1000;
  f->cap_from = RUNNER_CAP_ASKED;
  run_rows(f, "a\nb\n", "tap:{tmp}/t", "test $t/$# = b/2 || echo \"ok $t\"",
           "test $# = 2 || { " HANGS_AND_ENDS_WELL "; }");
  assert_int_equal(f->told_count, 2);
  assert_int_equal(f->late_count, 1);
}

// A tool that finds nothing to run ends well; a test that it was to run did not pass.
static void test_exit_nothing_ran(void **state) {
  struct fixture *f = *state;
  run(f, "[==========] 0 tests from 0 test suites ran. (0 ms total)\n1..0 # SKIP no database\n[=] 1 test ran\n", "exit",
      ARGV("printf", "%s\\n", "{}"));
  assert_int_equal(f->told[0].status, RUNNER_ERROR);
  has(f->told[0].text, "nothing ran: the test command ended with 0 and said '[==========] 0 tests from");
  assert_int_equal(f->told[1].status, RUNNER_SKIPPED);
  assert_int_equal(f->told[2].status, RUNNER_PASSED);
}

// ctest's JUnit calls "skipped" what it could not run.
static void test_ctest_not_run(void **state) {
  struct fixture *f = *state;
  static const char *const rows[][2] = {{"Unable to find executable", "notrun"},
                                        {"Required Files Missing", "notrun"},
                                        {"Fixture dependency failed", "notrun"},
                                        {"Failed to change working directory", "notrun"},
                                        {"SKIP_RETURN_CODE=77", "notrun"},
                                        {"SKIP_REGULAR_EXPRESSION_MATCHED", "notrun"},
                                        {"", "disabled"}};
  char ids[64] = "", xml[4096] = "<testsuite>";
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    (void)snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "t%zu\n", i);
    (void)snprintf(xml + strlen(xml), sizeof(xml) - strlen(xml),
                   "<testcase name='t%zu' classname='t%zu' time='0' status='%s'>%s%s%s</testcase>", i, i, rows[i][1],
                   rows[i][0][0] ? "<skipped message='" : "", rows[i][0], rows[i][0][0] ? "'/>" : "");
  }
  (void)snprintf(xml + strlen(xml), sizeof(xml) - strlen(xml), "</testsuite>");
  write_file("kept", xml);
  run(f, ids, "junit:{tmp}/r.xml", ARGV("sh", "-c", "cp kept \"$1\"", "sh", "{tmp}/r.xml", "{file}"));
  for (size_t i = 0; i < COUNT_OF(rows); i++)
    assert_int_equal(f->told[i].status, i < 4 ? RUNNER_ERROR : RUNNER_SKIPPED);
  has(f->told[0].text, "Unable to find executable");
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_missing_result),
                                     TEST(test_no_results_file),
                                     TEST(test_never_a_row),
                                     TEST(test_broken_results_file),
                                     TEST(test_cut_report_of_a_file),
                                     TEST(test_failing_command_without_failing_test),
                                     TEST(test_failure_explains_for_now),
                                     TEST(test_failure_confirmed),
                                     TEST(test_failure_and_another),
                                     TEST(test_failure_and_another_confirmed),
                                     TEST(test_all_fail),
                                     TEST(test_skips_do_not_explain),
                                     TEST(test_signal_behind_the_rows),
                                     TEST(test_stray_failures),
                                     TEST(test_failure_explains_no_stray),
                                     TEST(test_one_failure_explains_no_stray),
                                     TEST(test_failure_alone_explains_no_stray),
                                     TEST(test_stray_beside_a_missing_row),
                                     TEST(test_stray_gone_without_the_failure),
                                     TEST(test_counted_and_not_shown),
                                     TEST(test_bails_out),
                                     TEST(test_tap_rows_without_names),
                                     TEST(test_tap_cut),
                                     TEST(test_crash_below_a_shell),
                                     TEST(test_crash_of_nobody),
                                     TEST(test_tap_over_time),
                                     TEST(test_over_a_limit_with_all_rows),
                                     TEST(test_over_a_default_limit_once),
                                     TEST(test_over_a_limit_of_the_users),
                                     TEST(test_over_a_limit_and_well),
                                     TEST(test_over_a_limit_and_well_beside_failures),
                                     TEST(test_over_a_default_limit_and_well),
                                     TEST(test_alone_over_a_limit_and_well),
                                     TEST(test_exit_nothing_ran),
                                     TEST(test_ctest_not_run)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
