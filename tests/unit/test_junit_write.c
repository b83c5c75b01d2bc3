// Unit tests of the merged report: shape, order of attempts, collisions, hostile texts; every document is read back by
// the project's own reader, so that it is at least well formed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "worker/junit.h"
#include "worker/junit_write.h"

enum { CASES = 16 };

struct seen {
  size_t count;
  char names[CASES][128], classnames[CASES][128];
  enum junit_status statuses[CASES];
};

static void on_case(void *arg, const struct junit_case *testcase) {
  struct seen *seen = arg;
  if (seen->count < CASES) {
    (void)snprintf(seen->names[seen->count], 128, "%s", testcase->name);
    (void)snprintf(seen->classnames[seen->count], 128, "%s", testcase->classname);
    seen->statuses[seen->count] = testcase->status;
  }
  seen->count++;
}

// The document of some tests; the caller frees it.
static char *document(const struct junit_write_case *cases, size_t count, struct seen *seen) {
  char *text = NULL, why[256] = "";
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  struct junit_write *writer = junit_write_new(out, "unit", "host", 1700000000000000, why, sizeof(why));
  assert_non_null(writer);
  for (size_t i = 0; i < count; i++)
    junit_write_case(writer, &cases[i]);
  assert_int_equal(junit_write_finish(writer, why, sizeof(why)), 0);
  assert_int_equal(fclose(out), 0);
  memset(seen, 0, sizeof(*seen));
  struct junit *reader = junit_new(on_case, seen);
  if (junit_feed(reader, text, n, true) < 0) fail_msg("%s: %s", junit_why(reader), text);
  junit_free(reader);
  assert_int_equal(seen->count, count);
  return text;
}

static void has(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("no '%s' in %s", part, text);
}

static void hasnt(const char *text, const char *part) {
  if (strstr(text, part)) fail_msg("'%s' in %s", part, text);
}

#define ATTEMPT(...) (&(const struct junit_write_attempt){__VA_ARGS__})
#define TEXT(t) .text = (t), .text_bytes = sizeof(t) - 1

// What failed and does not count is skipped, with its output.
static void test_muted(void **state) {
  (void)state;
  struct seen seen;
  const struct junit_write_case cases[] = {
      {"t", NULL, ATTEMPT(.status = RUNNER_FAILED, TEXT("line\nE assert 0\n")), 1, true, false}};
  char *text = document(cases, 1, &seen);
  assert_non_null(strstr(text, "<skipped type=\"shardd.muted\" message=\"E assert 0\">line"));
  assert_non_null(strstr(text, "failures=\"0\""));
  assert_non_null(strstr(text, "skipped=\"1\""));
  assert_null(strstr(text, "<failure"));
  free(text);
}

// What is to be said of the build stands before its tests, and is no part of any.
static void test_notes(void **state) {
  char *text = NULL, why[256] = "";
  size_t n = 0;
  struct seen seen = {.count = 0};
  (void)state;
  FILE *out = open_memstream(&text, &n);
  struct junit_write *writer = junit_write_new(out, "unit", "host", 0, why, sizeof(why));
  const struct junit_write_case testcase = {"t", NULL, ATTEMPT(.status = RUNNER_PASSED), 1, false, false};
  junit_write_case(writer, &testcase);
  for (int i = 0; i < JUNIT_WRITE_NOTES + 1; i++)
    junit_write_note(writer, i == 0 ? "node \"1\" skipped <2>" : "more");
  assert_int_equal(junit_write_finish(writer, why, sizeof(why)), 0);
  assert_int_equal(fclose(out), 0);
  has(text, "<properties>\n      <property name=\"shardd.note\" value=\"node &quot;1&quot; skipped &lt;2&gt;\"/>\n");
  assert_true(strstr(text, "</properties>\n    <testcase") != NULL);
  struct junit *reader = junit_new(on_case, &seen);
  assert_int_equal(junit_feed(reader, text, n, true), 0);
  assert_string_equal(seen.names[0], "t");
  junit_free(reader);
  free(text);
}

static void test_shape(void **state) {
  (void)state;
  struct seen seen;
  const struct junit_write_case cases[] = {
      {"tests/a.py::K::t[1]", "tests/a.py", ATTEMPT(.status = RUNNER_PASSED, .node = "2", .duration_us = 1500000), 1,
       false, false},
      {"tests/a.py::f", "tests/a.py", ATTEMPT(.status = RUNNER_FAILED, TEXT("line\nE assert 0\n")), 1, false, false},
      {"s.sh", NULL, ATTEMPT(.status = RUNNER_SKIPPED, TEXT("no db")), 1, false, false},
      {"dir/t.sh", "dir", ATTEMPT(.status = RUNNER_CRASHED), 1, false, false},
      {"gone", NULL, NULL, 0, false, false},
      {"x", NULL, ATTEMPT(.status = RUNNER_XFAILED), 1, false, false},
      {"y", NULL, ATTEMPT(.status = RUNNER_XPASSED), 1, false, false},
      {"z", NULL, ATTEMPT(.status = RUNNER_TIMED_OUT), 1, false, false},
      {"w", NULL, ATTEMPT(.status = RUNNER_ERROR, TEXT("set-up")), 1, false, false},
  };
  char *text = document(cases, COUNT_OF(cases), &seen);
  has(text, "<testsuites name=\"shardd\" tests=\"9\" failures=\"1\" errors=\"4\" skipped=\"2\" time=\"1.500000\">");
  has(text, "<testsuite name=\"unit\" tests=\"9\"");
  has(text, "timestamp=\"2023-11-14T22:13:20\" hostname=\"host\"");
  has(text, "<testcase classname=\"tests.a.K\" name=\"t[1]\" file=\"tests/a.py\" time=\"1.500000\">");
  has(text, "<property name=\"shardd.id\" value=\"tests/a.py::K::t[1]\"/>");
  has(text, "<property name=\"shardd.node\" value=\"2\"/>");
  has(text, "<failure type=\"failure\" message=\"E assert 0\">line\nE assert 0\n</failure>");
  has(text, "<testcase classname=\"unit\" name=\"s.sh\" time=\"0.000000\">");
  has(text, "<skipped type=\"skipped\" message=\"no db\">no db</skipped>");
  has(text, "<testcase classname=\"dir\" name=\"dir/t.sh\" file=\"dir\"");
  has(text, "<error type=\"shardd.crashed\" message=\"the test process crashed\"></error>");
  has(text, "<error type=\"shardd.missing\"");
  has(text, "<skipped type=\"xfail\"");
  has(text, "<error type=\"shardd.timed_out\"");
  static const enum junit_status expected[] = {JUNIT_PASSED,  JUNIT_FAILED, JUNIT_SKIPPED, JUNIT_ERROR, JUNIT_ERROR,
                                               JUNIT_SKIPPED, JUNIT_PASSED, JUNIT_ERROR,   JUNIT_ERROR};
  for (size_t i = 0; i < COUNT_OF(expected); i++)
    assert_int_equal(seen.statuses[i], expected[i]);
  free(text);
}

static void test_module(void **state) {
  (void)state;
  struct seen seen;
  const struct junit_write_case cases[] = {
      {"sub/test_m.py", "sub/test_m.py", ATTEMPT(.status = RUNNER_SKIPPED, TEXT("no db")), 1, false, false},
      {"sub/run.py", NULL, ATTEMPT(.status = RUNNER_PASSED), 1, false, false},
      {"pkg/test_n.py", "../lib/pkg/test_n.py", ATTEMPT(.status = RUNNER_SKIPPED, TEXT("no x")), 1, false, false},
  };
  char *text = document(cases, COUNT_OF(cases), &seen);
  has(text, "<testcase classname=\"\" name=\"sub.test_m\" file=\"sub/test_m.py\"");
  has(text, "<testcase classname=\"unit\" name=\"sub/run.py\"");
  has(text, "<testcase classname=\"\" name=\"pkg.test_n\" file=\"../lib/pkg/test_n.py\"");
  free(text);
}

static void test_attempts(void **state) {
  (void)state;
  struct seen seen;
  const struct junit_write_attempt flaky[] = {{.status = RUNNER_FAILED, .node = "0", TEXT("first")},
                                              {.status = RUNNER_CRASHED},
                                              {.status = RUNNER_PASSED, .node = "1"}};
  const struct junit_write_attempt broken[] = {{.status = RUNNER_PASSED},
                                               {.status = RUNNER_TIMED_OUT},
                                               {.status = RUNNER_FAILED, TEXT("one")},
                                               {.status = RUNNER_FAILED, TEXT("two")}};
  const struct junit_write_case cases[] = {{"flaky", NULL, flaky, 3, false, false},
                                           {"broken", NULL, broken, 4, false, false}};
  char *text = document(cases, 2, &seen);
  assert_int_equal(seen.statuses[0], JUNIT_PASSED);
  assert_int_equal(seen.statuses[1], JUNIT_FAILED);
  has(text, "<flakyFailure type=\"failure\" message=\"first\"><stackTrace>first</stackTrace></flakyFailure>");
  has(text, "<flakyError type=\"shardd.crashed\" message=\"the test process crashed\"><stackTrace></stackTrace>");
  has(text, "<failure type=\"failure\" message=\"two\">two</failure>\n      <rerunError type=\"shardd.timed_out\"");
  has(text, "<rerunFailure type=\"failure\" message=\"one\"><stackTrace>one</stackTrace></rerunFailure>");
  has(text, "<property name=\"shardd.attempts\" value=\"4\"/>");
  has(text, "failures=\"1\" errors=\"0\"");
  free(text);
}

static void test_colliding_names(void **state) {
  (void)state;
  struct seen seen;
  const struct junit_write_attempt *passed = ATTEMPT(.status = RUNNER_PASSED);
  const struct junit_write_case cases[] = {{"a/b.py::t", NULL, passed, 1, false, false},
                                           {"a.b.py::t", NULL, passed, 1, false, false}};
  char *text = document(cases, 2, &seen);
  assert_string_equal(seen.classnames[0], seen.classnames[1]);
  assert_string_equal(seen.names[0], "t");
  assert_string_equal(seen.names[1], "t (a.b.py::t)");
  free(text);
}

static void test_hostile_text(void **state) {
  (void)state;
  struct seen seen;
  static const char nasty[] =
      "]]> <&\"' \033[31mred\033[0m \033[ \x01\x00\x7f \xff\xc3 \xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf "
      "\xef\xbf\xbe \xe2\x82\xac \xf0\x9f\x98\x80\r\ttab\nlast <line>";
  const struct junit_write_case cases[] = {
      {"id <\"&'>\x01\xfe\t", "f<", ATTEMPT(.status = RUNNER_FAILED, .node = "\"n\"", TEXT(nasty)), 1, false, false}};
  char *text = document(cases, 1, &seen);
  assert_string_equal(seen.names[0], "id <\"&'>\xef\xbf\xbd\t");
  has(text, "]]&gt; &lt;&amp;\"' red  ");
  has(text, "\xe2\x82\xac \xf0\x9f\x98\x80&#13;\ttab\nlast &lt;line&gt;</failure>");
  has(text, "message=\"last &lt;line&gt;\"");
  has(text, "&#127; \xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd ");
  hasnt(text, "\x01");
  hasnt(text, "\033");
  hasnt(text, "\xed\xa0\x80");
  hasnt(text, "\xef\xbf\xbe");
  free(text);
}

static void test_every_byte(void **state) {
  (void)state;
  struct seen seen;
  uint32_t random = 123456789u;
  char bytes[600];
  for (int round = 0; round < 500; round++) {
    for (size_t i = 0; i < sizeof(bytes); i++) {
      random ^= random << 13, random ^= random >> 17, random ^= random << 5;
      bytes[i] = round < 2 ? (char)i : (char)(random >> 9);
    }
    const struct junit_write_attempt attempt = {.status = RUNNER_ERROR, .text = bytes, .text_bytes = sizeof(bytes)};
    const struct junit_write_case testcase = {"t", NULL, &attempt, 1, false, false};
    free(document(&testcase, 1, &seen));
  }
}

static void test_cap(void **state) {
  (void)state;
  struct seen seen;
  size_t n = 300 * 1024;
  char *long_text = base_malloc(n);
  memset(long_text, 'x', n);
  struct junit_write_attempt attempts[5];
  for (size_t i = 0; i < 5; i++)
    attempts[i] = (struct junit_write_attempt){.status = RUNNER_FAILED, .text = long_text, .text_bytes = n};
  const struct junit_write_case testcase = {"t", NULL, attempts, 5, false, false};
  char *text = document(&testcase, 1, &seen);
  assert_true(strlen(text) > 60 * 1024 && strlen(text) < JUNIT_WRITE_TEXT_MAX_BYTES + 8 * 1024);
  has(text, "bytes left out ...]");
  free(text);
  free(long_text);
}

static void test_many_and_full_disk(void **state) {
  (void)state;
  char id[32], why[256] = "";
  FILE *full = fopen("/dev/full", "w");
  assert_non_null(full);
  struct junit_write *writer = junit_write_new(full, "s", "h", 0, why, sizeof(why));
  for (int i = 0; i < 3000; i++) {
    (void)snprintf(id, sizeof(id), "t%d", i);
    junit_write_case(writer, &(struct junit_write_case){id, NULL, ATTEMPT(.status = RUNNER_PASSED), 1, false, false});
  }
  assert_int_equal(junit_write_finish(writer, why, sizeof(why)), -1);
  has(why, "No space left on device");
  (void)fclose(full);
  junit_write_abandon(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_muted),        cmocka_unit_test(test_notes),
      cmocka_unit_test(test_shape),        cmocka_unit_test(test_module),
      cmocka_unit_test(test_attempts),     cmocka_unit_test(test_colliding_names),
      cmocka_unit_test(test_hostile_text), cmocka_unit_test(test_every_byte),
      cmocka_unit_test(test_cap),          cmocka_unit_test(test_many_and_full_disk),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
