// Unit tests of folding attempts into cases, of the summary, and of what verdicts make of exit codes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "tests/unit/answer_fixture.h"
#include "worker/summary.h"
#include "worker/verdict.h"

enum { SETTLES = 1, EXTRA = 4, LOST = 16 };

struct attempt_row {
  const char *id, *attempt, *status, *flags, *worker, *start, *call, *text;
};

static void add_rows(struct answer_fixture *f, const struct attempt_row *rows, size_t count) {
  static const char *const names[] = {"position", "id",   "file",  "attempt", "status", "flags",    "round", "worker",
                                      "node",     "host", "start", "setup",   "call",   "teardown", "text"};
  fixture_init(f);
  for (size_t i = 0; i < COUNT_OF(names); i++)
    fixture_column(f, names[i], SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  for (size_t i = 0; i < count; i++) {
    const struct attempt_row *row = &rows[i];
    const char *cells[] = {"0",        row->id, "t.py",      row->attempt, row->status,
                           row->flags, "1",     row->worker, row->worker,  "host",
                           row->start, "0",     row->call,   "0",          row->text};
    for (size_t j = 0; j < COUNT_OF(cells); j++)
      fixture_cell(f, cells[j]);
  }
}

static void fold(struct cases *cases, const struct attempt_row *rows, size_t count) {
  struct answer_fixture f;
  const char *why = "";
  add_rows(&f, rows, count);
  if (cases_add(cases, fixture_answer(&f), &why) != 0) fail_msg("%s", why);
}

// As the server would tell of `mixed`, on so many workers.
static struct spans spans_of(size_t workers) {
  return (struct spans){.known = true,
                        .measured = true,
                        .workers = workers,
                        .wall_us = 5000000,
                        .makespan_us = 4000000,
                        .bound_us = 2500000,
                        .test_us = 5001000,
                        .idle_ppm = 370000};
}

static char *printed(const struct cases *cases, size_t workers, bool color) {
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  struct summary summary;
  struct summary_look look = {.color = color};
  struct spans spans = spans_of(workers);
  summary_count(&summary, cases, &spans);
  summary_print(out, cases, &summary, &look);
  assert_int_equal(fclose(out), 0);
  return text;
}

// Two workers, times in milliseconds since the epoch and microseconds.
static const struct attempt_row mixed[] = {
    {"t.py::a", "1", "1", "1", "0", "1000", "2000000", ""},
    {"t.py::b", "1", "2", "0", "0", "3000", "500000", "first try"},
    {"t.py::b", "2", "1", "1", "1", "4000", "500000", ""},
    {"t.py::c", "1", "2", "0", "1", "1000", "1000000", "boom one"},
    {"t.py::c", "2", "2", "1", "0", "4000", "1000000", "boom\033[2J two\nsecond line"},
    {"t.py::c", "3", "1", "4", "1", "9000", "7000000", ""},
    {"t.py::d", "1", "4", "1", "1", "2000", "0", "why"},
    {"t.py::e", "1", "5", "1", "1", "2000", "1000", "expected"},
    {"t.py::f", "0", "", "0", "", "", "", ""},
    {"t.py::g", "1", "2", "16", "0", "2000", "0", ""},
};

static void test_folds(void **state) {
  (void)state;
  struct cases cases;
  cases_init(&cases);
  fold(&cases, mixed, 4);  // a page may end inside a test
  fold(&cases, mixed + 4, COUNT_OF(mixed) - 4);
  static const enum cases_verdict verdicts[] = {CASES_PASSED, CASES_FLAKY,   CASES_FAILED, CASES_SKIPPED,
                                                CASES_PASSED, CASES_MISSING, CASES_MISSING};
  assert_int_equal(cases.count, COUNT_OF(verdicts));
  for (size_t i = 0; i < COUNT_OF(verdicts); i++)
    assert_int_equal(cases.item[i].verdict, verdicts[i]);
  assert_int_equal(cases.item[2].attempt_count, 2);  // what came after the verdict does not count
  assert_string_equal(cases.item[1].attempt[0].text, "first try");
  assert_int_equal(cases_final(&cases.item[1])->status, RUNNER_PASSED);
  assert_null(cases_final(&cases.item[5]));
  assert_null(cases_final(&cases.item[6]));
  assert_int_equal(cases.item[6].attempt_count, 0);  // lost is never a failure
  cases_release(&cases);
}

// A verdict that a re-run took back: what was tried since did not settle.
static void test_reopened_is_missing(void **state) {
  (void)state;
  static const struct attempt_row rows[] = {{"a", "1", "2", "1", "0", "1000", "1", ""},
                                            {"a", "2", "2", "0", "0", "2000", "1", ""}};
  struct cases cases;
  cases_init(&cases);
  fold(&cases, rows, COUNT_OF(rows));
  assert_int_equal(cases.item[0].verdict, CASES_MISSING);
  cases_release(&cases);
}

static void test_lost_may_settle(void **state) {
  (void)state;
  static const struct attempt_row rows[] = {{"a", "1", "7", "17", "0", "1000", "0", "killed three workers"}};
  struct cases cases;
  cases_init(&cases);
  fold(&cases, rows, COUNT_OF(rows));
  assert_int_equal(cases.item[0].verdict, CASES_FAILED);
  assert_int_equal(cases_final(&cases.item[0])->status, RUNNER_CRASHED);
  cases_release(&cases);
}

// What a machine skipped and another one ran is neither flaky nor tried twice.
static void test_skips_are_no_tries(void **state) {
  (void)state;
  static const struct attempt_row rows[] = {
      {"a", "1", "4", "0", "0", "1000", "1", "needs docker"}, {"a", "2", "1", "1", "1", "2000", "1", ""},
      {"b", "1", "4", "1", "0", "1000", "1", "needs docker"}, {"b", "2", "2", "1", "1", "2000", "1", "boom"},
      {"c", "1", "4", "0", "0", "1000", "1", "why"},          {"c", "2", "4", "1", "1", "2000", "1", "why"}};
  struct cases cases;
  cases_init(&cases);
  fold(&cases, rows, COUNT_OF(rows));
  assert_int_equal(cases.item[0].verdict, CASES_PASSED);
  assert_int_equal(cases.item[1].verdict, CASES_FAILED);
  assert_int_equal(cases.item[2].verdict, CASES_SKIPPED);
  for (size_t i = 0; i < cases.count; i++)
    assert_int_equal(cases_tries(&cases.item[i]), 1);
  char *text = printed(&cases, 2, false);
  assert_null(strstr(text, "attempt 2"));
  assert_non_null(strstr(text, "1 passed, 1 failed, 1 skipped in"));
  free(text);
  cases_release(&cases);
}

// What went wrong outside of any test is an error, and no test.
static void test_errors_outside_of_tests(void **state) {
  (void)state;
  static const char *const names[] = {"worker", "node", "host", "kind", "stands", "left", "text"};
  static const char *const cells[] = {"1", "7", "h", "error",   "1", "1000", "the service left rows behind",
                                      "0", "",  "h", "process", "1", "1000", "killed",
                                      "2", "9", "h", "error",   "0", "1000", "long mended"};
  struct answer_fixture f;
  struct cases cases;
  const char *why = NULL;
  cases_init(&cases);
  fold(&cases, mixed, 1);
  fixture_init(&f);
  for (size_t i = 0; i < COUNT_OF(names); i++)
    fixture_column(&f, names[i], SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  for (size_t i = 0; i < COUNT_OF(cells); i++)
    fixture_cell(&f, cells[i]);
  assert_int_equal(cases_add_errors(&cases, fixture_answer(&f), &why), 0);
  assert_int_equal(cases.count, 3);
  assert_string_equal(cases.item[1].id, "outside of any test (node 7)");
  assert_string_equal(cases.item[2].id, "outside of any test (worker 0)");
  char *text = printed(&cases, 1, false);
  assert_non_null(strstr(text, "outside of any test (node 7): error\nthe service left rows behind\n"));
  assert_non_null(strstr(text, "1 passed, 2 errors in"));
  assert_null(strstr(strstr(text, "slowest tests"), "outside"));
  free(text);
  cases_release(&cases);
  fixture_init(&f);
  fixture_column(&f, "worker", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  assert_int_equal(cases_add_errors(&cases, fixture_answer(&f), &why), -1);
  assert_non_null(why);
}

static void test_refuses_nonsense(void **state) {
  (void)state;
  static const struct attempt_row bad[] = {
      {"a", "1", "0", "1", "0", "1", "1", ""}, {"a", "1", "9", "1", "0", "1", "1", ""},
      {"a", "x", "1", "1", "0", "1", "1", ""}, {"a", "1", "1", "", "0", "1", "1", ""},
      {"", "1", "1", "1", "0", "1", "1", ""},  {"a\nb", "1", "1", "1", "0", "1", "1", ""}};
  for (size_t i = 0; i < COUNT_OF(bad); i++) {
    struct answer_fixture f;
    struct cases cases;
    const char *why = NULL;
    cases_init(&cases);
    add_rows(&f, &bad[i], 1);
    assert_int_equal(cases_add(&cases, fixture_answer(&f), &why), -1);
    assert_non_null(why);
    cases_release(&cases);
  }
  struct answer_fixture f;
  struct cases cases;
  const char *why = NULL;
  cases_init(&cases);
  fixture_init(&f);
  fixture_column(&f, "id", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  assert_int_equal(cases_add(&cases, fixture_answer(&f), &why), -1);
  assert_string_equal(why, "the report has no column file");
}

static void test_counts(void **state) {
  (void)state;
  struct cases cases;
  struct summary summary;
  cases_init(&cases);
  fold(&cases, mixed, COUNT_OF(mixed));
  struct spans spans = spans_of(2);
  summary_count(&summary, &cases, &spans);
  assert_int_equal(summary.total, 7);
  assert_int_equal(summary.missing, 2);
  assert_int_equal(summary.flaky, 1);
  assert_int_equal(summary.failing, 1);
  assert_int_equal(summary.first_start_ms, 1000);
  assert_int_equal(summary.spans.makespan_us, 4000000);
  char *line = summary_line(&summary);
  assert_string_equal(line, "2 passed (1 flaky), 1 failed, 1 skipped, 1 xfailed, 2 missing");
  free(line);
  uint64_t static_us = summary.static_us, busiest_us = summary.busiest_us;
  summary_count(&summary, &cases, NULL);  // as many workers as were seen
  assert_int_equal(summary.static_us, static_us);
  assert_int_equal(summary.busiest_us, busiest_us);
  assert_false(summary.spans.known);
  spans.workers = 1;  // fewer than ran something: not to be compared
  summary_count(&summary, &cases, &spans);
  assert_int_equal(summary.static_us, 0);
  spans.workers = 2;
  cases.item[0].attempt[0].round = 2;
  summary_count(&summary, &cases, &spans);
  assert_int_equal(summary.static_us, 0);
  cases_release(&cases);
}

static void test_prints(void **state) {
  (void)state;
  struct cases cases;
  cases_init(&cases);
  fold(&cases, mixed, COUNT_OF(mixed));
  char *text = printed(&cases, 2, false);
  assert_null(strchr(text, '\033'));
  assert_non_null(strstr(text, "t.py::c: failed on node 0 after 1.00s, attempt 2\nboom\\x1b[2J two\nsecond line\n"));
  assert_non_null(strstr(text, "flaky, passed after failing:\n  t.py::b: failed on 0, passed on 1\n"));
  assert_non_null(strstr(text, "missing, without a verdict:\n  t.py::f\n  t.py::g\n"));
  assert_non_null(strstr(text,
                         "2 workers: makespan 4.00s, 1.60 of the lower bound 2.50s; wall time 5.00s, test time 5.00s, "
                         "idle 37%\n"
                         "test time of the busiest worker 3.50s; a static split by count would take 5.00s\n"));
  const char *last = strstr(text, "2 passed (1 flaky), 1 failed, 1 skipped, 1 xfailed, 2 missing in 5.00s\n");
  assert_non_null(last);
  assert_int_equal(last[strlen(last) - 1], '\n');
  assert_null(strchr(last, '\n')[1] ? last : NULL);  // the counts stand last
  free(text);
  text = printed(&cases, 2, true);
  assert_non_null(strstr(text, "\033[1;31m2 passed"));
  free(text);
  cases_release(&cases);
}

static void test_notes_stand_before_the_counts(void **state) {
  (void)state;
  struct cases cases;
  cases_init(&cases);
  fold(&cases, mixed, COUNT_OF(mixed));
  cases_note(&cases, base_strdup("node 1 skipped 79 tests that ran elsewhere: needs\033[2J docker"));
  char *text = printed(&cases, 2, false);
  const char *note = strstr(text, "\nnode 1 skipped 79 tests that ran elsewhere: needs\\x1b[2J docker\n");
  assert_non_null(note);
  assert_true(note < strstr(text, "2 passed (1 flaky)"));
  free(text);
  cases_release(&cases);
}

static void test_many_failures_are_bounded(void **state) {
  (void)state;
  struct cases cases;
  char id[32];
  cases_init(&cases);
  for (size_t i = 0; i < SUMMARY_OUTPUTS_MAX + 3; i++) {
    (void)snprintf(id, sizeof id, "t%zu", i);
    struct attempt_row row = {id, "1", "2", "1", "0", "1000", "1000", "out"};
    fold(&cases, &row, 1);
  }
  char *text = printed(&cases, 1, false);
  assert_non_null(strstr(text, "t49: failed"));
  assert_null(strstr(text, "t50: failed"));
  assert_non_null(strstr(text, "... and 3 more failing tests"));
  free(text);
  cases_release(&cases);
}

static void test_nothing(void **state) {
  (void)state;
  struct cases cases;
  cases_init(&cases);
  char *text = printed(&cases, 4, false);
  assert_string_equal(text, "no tests in 5.00s\n");
  free(text);
  cases_release(&cases);
}

// ---- verdicts

static int read_wait(struct verdict *verdict, const char *state, const char *code, const char *total,
                     const char *failing, const char *missing) {
  static const char *const names[] = {"state", "exit_code", "total", "settled", "failing", "flaky", "missing", "text"};
  const char *cells[] = {state, code, total, total, failing, "0", missing, "why\033"};
  struct answer_fixture f;
  fixture_init(&f);
  for (size_t i = 0; i < COUNT_OF(names); i++)
    fixture_column(&f, names[i], SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  for (size_t i = 0; i < COUNT_OF(cells); i++)
    fixture_cell(&f, cells[i]);
  return verdict_read(verdict, fixture_answer(&f));
}

static int code_of(const char *state, const char *code, const char *total, const char *failing, const char *missing,
                   bool allow_empty) {
  struct verdict verdict;
  assert_int_equal(read_wait(&verdict, state, code, total, failing, missing), 0);
  assert_string_equal(verdict.why, "why\\x1b");
  int result = verdict_code(&verdict, allow_empty);
  verdict_release(&verdict);
  return result;
}

static void test_never_falsely_green(void **state) {
  (void)state;
  assert_int_equal(code_of("complete", "0", "5", "0", "0", false), EXIT_OK);
  assert_int_equal(code_of("complete", "1", "5", "1", "0", false), EXIT_TESTS_FAILED);
  assert_int_equal(code_of("incomplete", "0", "5", "0", "0", false), EXIT_INFRA);
  assert_int_equal(code_of("running", "0", "5", "0", "0", false), EXIT_INFRA);
  assert_int_equal(code_of("complete", "0", "5", "0", "1", false), EXIT_INFRA);
  assert_int_equal(code_of("complete", "0", "5", "2", "0", false), EXIT_TESTS_FAILED);
  assert_int_equal(code_of("complete", "0", "0", "0", "0", false), EXIT_EMPTY);
  assert_int_equal(code_of("complete", "0", "0", "0", "0", true), EXIT_OK);
  assert_int_equal(code_of("aborted", "1", "5", "1", "3", false), EXIT_TESTS_FAILED);
  struct verdict verdict;
  assert_int_equal(read_wait(&verdict, "complete", "", "5", "0", "0"), -1);
  assert_int_equal(read_wait(&verdict, "complete", "0", "5", "0", "-1"), -1);
  assert_int_equal(read_wait(&verdict, "complete", "256", "5", "0", "0"), -1);
  assert_int_equal(read_wait(&verdict, "", "0", "5", "0", "0"), -1);
}

static void test_worst(void **state) {
  (void)state;
  static const struct {
    int codes[3], worst;
  } samples[] = {{{0, 0, 0}, 0},  {{0, 5, 0}, 5},    {{5, 1, 0}, 1},    {{1, 16, 5}, 16},
                 {{16, 2, 1}, 2}, {{0, 0, 139}, 16}, {{1, 127, 0}, 16}, {{0, -1, 0}, 16}};
  for (size_t i = 0; i < COUNT_OF(samples); i++)
    assert_int_equal(verdict_worst(samples[i].codes, 3), samples[i].worst);
  assert_int_equal(verdict_worst(NULL, 0), EXIT_INFRA);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_folds),
      cmocka_unit_test(test_reopened_is_missing),
      cmocka_unit_test(test_lost_may_settle),
      cmocka_unit_test(test_skips_are_no_tries),
      cmocka_unit_test(test_errors_outside_of_tests),
      cmocka_unit_test(test_refuses_nonsense),
      cmocka_unit_test(test_counts),
      cmocka_unit_test(test_prints),
      cmocka_unit_test(test_notes_stand_before_the_counts),
      cmocka_unit_test(test_many_failures_are_bounded),
      cmocka_unit_test(test_nothing),
      cmocka_unit_test(test_never_falsely_green),
      cmocka_unit_test(test_worst),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
