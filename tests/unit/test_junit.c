// Unit tests of the JUnit reader and of pytest's naming: what each producer writes, bounds, and damaged documents by
// deterministic mutation (same seed, same inputs).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "worker/excerpt.h"
#include "worker/junit.h"

enum { CASES = 32, TEXT = 256 };

struct seen_case {
  char suite[TEXT], classname[TEXT], name[TEXT], file[TEXT], id[TEXT], message[TEXT], text[TEXT];
  bool suite_error, has_time;
  uint64_t time_us;
  enum junit_status status;
};

struct seen {
  struct seen_case cases[CASES];
  size_t count;
};

static void copy(char out[TEXT], const char *text) {
  (void)snprintf(out, TEXT, "%s", text);
}

static void on_case(void *arg, const struct junit_case *testcase) {
  struct seen *seen = arg;
  assert_int_equal(strlen(testcase->text), testcase->text_bytes);
  assert_true(testcase->text_bytes <= EXCERPT_TEXT_MAX_BYTES);
  if (seen->count < CASES) {
    struct seen_case *to = &seen->cases[seen->count];
    copy(to->suite, testcase->suite);
    copy(to->classname, testcase->classname);
    copy(to->name, testcase->name ? testcase->name : "");
    copy(to->file, testcase->file);
    copy(to->id, testcase->id);
    copy(to->message, testcase->message);
    copy(to->text, testcase->text);
    to->suite_error = !testcase->name;
    to->has_time = testcase->has_time;
    to->time_us = testcase->time_us;
    to->status = testcase->status;
  }
  seen->count++;
}

// Feeds byte by byte or whole; both must tell the same.
static int read_text(const char *text, size_t n, bool bytewise, struct seen *seen, char why[JUNIT_WHY_BYTES]) {
  memset(seen, 0, sizeof(*seen));
  struct junit *reader = junit_new(on_case, seen);
  int status = 0;
  for (size_t i = 0; bytewise && status == 0 && i < n; i++)
    status = junit_feed(reader, text + i, 1, false);
  if (status == 0) status = junit_feed(reader, text, bytewise ? 0 : n, true);
  (void)snprintf(why, JUNIT_WHY_BYTES, "%s", junit_why(reader));
  assert_true((status < 0) == (why[0] != '\0'));
  junit_free(reader);
  return status;
}

static struct seen good(const char *text) {
  struct seen whole, pieces;
  char why[JUNIT_WHY_BYTES];
  if (read_text(text, strlen(text), false, &whole, why) < 0) fail_msg("%s: %s", why, text);
  assert_int_equal(read_text(text, strlen(text), true, &pieces, why), 0);
  assert_memory_equal(&whole, &pieces, sizeof(whole));
  return whole;
}

static void bad(const char *text, const char *expected) {
  struct seen seen;
  char why[JUNIT_WHY_BYTES];
  assert_int_equal(read_text(text, strlen(text), false, &seen, why), -1);
  if (!strstr(why, expected)) fail_msg("'%s' does not say '%s'", why, expected);
}

static void test_pytest(void **state) {
  (void)state;
  struct seen seen = good(
      "<?xml version=\"1.0\" encoding=\"utf-8\"?><testsuites><testsuite name=\"pytest\" tests=\"77\">"
      "<testcase classname=\"tests.test_a.TestK\" name=\"test_p[a b]\" file=\"tests/test_a.py\" line=\"3\" "
      "time=\"0.010\"/>"
      "<testcase classname=\"tests.test_a\" name=\"test_f\" time=\"1.5\"><failure message=\"assert 0\">def f():\n&gt; "
      "assert"
      " 0</failure><system-out>said</system-out></testcase>"
      "<testcase classname=\"tests.test_a\" name=\"test_e\"><error message=\"boom\">trace</error></testcase>"
      "<testcase classname=\"tests.test_a\" name=\"test_s\"><skipped type=\"pytest.skip\" message=\"no db\">x</skipped>"
      "</testcase></testsuite></testsuites>");
  assert_int_equal(seen.count, 4);
  assert_string_equal(seen.cases[0].name, "test_p[a b]");
  assert_string_equal(seen.cases[0].file, "tests/test_a.py");
  assert_string_equal(seen.cases[0].suite, "pytest");
  assert_int_equal(seen.cases[0].status, JUNIT_PASSED);
  assert_int_equal(seen.cases[0].time_us, 10000);
  assert_int_equal(seen.cases[1].status, JUNIT_FAILED);
  assert_int_equal(seen.cases[1].time_us, 1500000);
  assert_string_equal(seen.cases[1].message, "assert 0");
  assert_string_equal(seen.cases[1].text, "def f():\n> assert 0\n---- system-out ----\nsaid");
  assert_int_equal(seen.cases[2].status, JUNIT_ERROR);
  assert_false(seen.cases[2].has_time);
  assert_int_equal(seen.cases[3].status, JUNIT_SKIPPED);
  assert_string_equal(seen.cases[3].message, "no db");
}

static void test_ids_that_shard_noted(void **state) {
  (void)state;
  struct seen seen = good(
      "<testsuite><testcase name=\"a\"><properties><property name=\"shardd.id\" value=\"x y\"/><property "
      "name=\"shardd.id\" value=\"second\"/></properties></testcase><testcase name=\"b\"><properties><property "
      "name=\"other\" value=\"z\"/><property name=\"shardd.id\"/></properties></testcase></testsuite>");
  assert_int_equal(seen.count, 2);
  assert_string_equal(seen.cases[0].id, "x y");
  assert_string_equal(seen.cases[1].id, "");
}

static void test_roots_nesting_and_inheritance(void **state) {
  (void)state;
  struct seen seen = good(
      "<testsuites><testsuite name=\"all\"><testsuite name=\"file\" file=\"/src/a.php\"><properties><property "
      "name=\"error\"/>"
      "</properties><testsuite name=\"K\"><testcase name=\"t1\"/></testsuite><testcase name=\"t2\" "
      "file=\"own\"/></testsuite>"
      "<testcase name=\"t3\" classname=\"c\"/></testsuite></testsuites>");
  assert_int_equal(seen.count, 3);
  assert_string_equal(seen.cases[0].suite, "K");
  assert_string_equal(seen.cases[0].file, "/src/a.php");
  assert_string_equal(seen.cases[0].classname, "");
  assert_string_equal(seen.cases[1].suite, "file");
  assert_string_equal(seen.cases[1].file, "own");
  assert_string_equal(seen.cases[2].suite, "all");
  assert_string_equal(seen.cases[2].file, "");
  assert_int_equal(good("<testsuite><testcase name=\"t\"/></testsuite>").count, 1);
  assert_int_equal(good("<testsuites/>").count, 0);
}

static void test_statuses(void **state) {
  (void)state;
  struct seen seen = good(
      "<testsuite>"
      "<testcase name=\"notrun\" status=\"notrun\"><skipped message=\"\"/></testcase>"
      "<testcase name=\"disabled\" status=\"disabled\"/><testcase name=\"gtest\" status=\"run\" result=\"skipped\"/>"
      "<testcase name=\"ran\" status=\"run\"/><testcase name=\"worst\"><error/><failure/><skipped/></testcase>"
      "<testcase name=\"flaky\"><flakyFailure message=\"first\"><stackTrace>s</stackTrace></flakyFailure></testcase>"
      "<testcase name=\"rerun\"><failure message=\"f\"/><rerunFailure>again</rerunFailure></testcase>"
      "<testcase name=\"deep\"><other><failure/></other></testcase></testsuite>");
  static const enum junit_status expected[] = {JUNIT_SKIPPED, JUNIT_SKIPPED, JUNIT_SKIPPED, JUNIT_PASSED,
                                               JUNIT_ERROR,   JUNIT_PASSED,  JUNIT_FAILED,  JUNIT_PASSED};
  assert_int_equal(seen.count, COUNT_OF(expected));
  for (size_t i = 0; i < COUNT_OF(expected); i++)
    assert_int_equal(seen.cases[i].status, expected[i]);
}

static void test_failed_by_attribute(void **state) {
  (void)state;
  struct seen seen = good(
      "<testsuite><testcase name=\"a\" status=\"failed\"/><testcase name=\"b\" status=\"FAIL\"/>"
      "<testcase name=\"c\" result=\"error\"/><testcase name=\"d\" status=\"failed\"><skipped/></testcase>"
      "<testcase name=\"e\" status=\"fail\"><error message=\"why\"/></testcase>"
      "<testcase name=\"f\" status=\"passed\" result=\"completed\"/></testsuite>");
  static const enum junit_status expected[] = {JUNIT_FAILED, JUNIT_FAILED, JUNIT_FAILED,
                                               JUNIT_FAILED, JUNIT_ERROR,  JUNIT_PASSED};
  assert_int_equal(seen.count, COUNT_OF(expected));
  for (size_t i = 0; i < COUNT_OF(expected); i++)
    assert_int_equal(seen.cases[i].status, expected[i]);
  assert_string_equal(seen.cases[4].message, "why");
}

static void test_suite_error(void **state) {
  (void)state;
  struct seen seen = good(
      "<testsuites><testsuite name=\"s\"><testcase name=\"a\"/><error message=\"plan\">no plan</error>"
      "</testsuite></testsuites>");
  assert_int_equal(seen.count, 2);
  assert_true(seen.cases[1].suite_error);
  assert_int_equal(seen.cases[1].status, JUNIT_ERROR);
  assert_string_equal(seen.cases[1].message, "plan");
  assert_string_equal(seen.cases[1].text, "no plan");
}

static void test_times(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool has;
    uint64_t us;
  } times[] = {{"0", true, 0},      {"1,234.5", true, 1234500000},
               {"5e-05", true, 50}, {"", false, 0},
               {"fast", false, 0},  {"-1", false, 0},
               {"1s", false, 0},    {"nan", false, 0},
               {"1e300", false, 0}, {"0.0000004", true, 0},
               {"inf", false, 0},   {"12.000001", true, 12000001}};
  for (size_t i = 0; i < COUNT_OF(times); i++) {
    char text[128];
    (void)snprintf(text, sizeof(text), "<testsuite><testcase name=\"t\" time=\"%s\"/></testsuite>", times[i].text);
    struct seen seen = good(text);
    assert_int_equal(seen.cases[0].has_time, times[i].has);
    assert_int_equal(seen.cases[0].time_us, times[i].us);
  }
}

static void test_refused(void **state) {
  (void)state;
  bad("", "line 1: no element found");
  bad("<html/>", "root is neither");
  bad("{\"tests\": 1}", "not well-formed");
  bad("<testsuite><testcase name=\"a\"></testsuite>", "mismatched tag");
  bad("<testsuite>\n\n<testcase", "line 3");
  bad("<!DOCTYPE x [<!ENTITY a \"b\">]><testsuite/>", "DOCTYPE");
  bad("<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><testsuite/>", "DOCTYPE");
}

static void test_depth(void **state) {
  (void)state;
  char text[4096] = "";
  for (int i = 0; i < JUNIT_MAX_DEPTH; i++)
    (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "<testsuite>");
  char deeper[4096];
  (void)snprintf(deeper, sizeof(deeper), "%s<testsuite>", text);
  bad(deeper, "deeper than 64");
  for (int i = 0; i < JUNIT_MAX_DEPTH; i++)
    (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "</testsuite>");
  assert_int_equal(good(text).count, 0);
}

static void test_size(void **state) {
  (void)state;
  struct seen seen = {.count = 0};
  struct junit *reader = junit_new(on_case, &seen);
  char *block = base_malloc(1024 * 1024);
  memset(block, 'x', 1024 * 1024);
  assert_int_equal(junit_feed(reader, "<testsuite><testcase name=\"t\"><failure>", 39, false), 0);
  for (int i = 0; i < 63; i++)
    assert_int_equal(junit_feed(reader, block, 1024 * 1024, false), 0);
  assert_int_equal(junit_feed(reader, block, 1024 * 1024, false), -1);
  assert_non_null(strstr(junit_why(reader), "64 MiB"));
  assert_int_equal(junit_feed(reader, "", 0, true), -1);
  junit_free(reader);
  free(block);
}

// 20,000 damaged documents: cut, bytes changed, pieces moved. Nothing may break, and cases that come are whole.
static void test_mutations(void **state) {
  (void)state;
  static const char base[] =
      "<?xml version=\"1.0\"?><testsuites name=\"a\"><testsuite name=\"s\" file=\"f\"><testcase classname=\"c\" "
      "name=\"n\" "
      "time=\"1.0\"><failure message=\"m\">text &amp; <![CDATA[<raw>]]></failure><system-out>o</system-out></testcase>"
      "<testcase name=\"b\"><skipped/></testcase><error message=\"e\"/></testsuite></testsuites>";
  uint32_t random = 2463534242u;
  char text[sizeof(base)], why[JUNIT_WHY_BYTES];
  struct seen whole, pieces;
  for (int round = 0; round < 20000; round++) {
    memcpy(text, base, sizeof(base));
    size_t n = sizeof(base) - 1;
    for (int change = 0; change < 1 + round % 4; change++) {
      random ^= random << 13, random ^= random >> 17, random ^= random << 5;
      size_t at = random % n;
      switch (random >> 8 & 3) {
        case 0: text[at] = (char)(random >> 16); break;
        case 1: text[at] = "<>&\"/!"[(random >> 16) % 6]; break;
        case 2: memmove(text + at, text + at / 2, n - at); break;
        default: n = at > 1 ? at : n;
      }
    }
    int status = read_text(text, n, false, &whole, why);
    assert_true(whole.count <= 64);
    assert_int_equal(read_text(text, n, true, &pieces, why), status);
    if (status == 0) assert_memory_equal(&whole, &pieces, sizeof(whole));
  }
}

static void test_file(void **state) {
  (void)state;
  char path[] = "/tmp/shard-junit-XXXXXX", why[256] = "";
  int fd = mkstemp(path);
  struct seen seen = {.count = 0};
  struct junit_notes notes;
  assert_true(fd >= 0);
  assert_int_equal(junit_read_file(path, on_case, &seen, &notes, why, sizeof(why)), -1);  // empty
  assert_non_null(strstr(why, path));
  static const char text[] = "<testsuite><testcase name=\"t\"/></testsuite>";
  assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
  assert_int_equal(junit_read_file(path, on_case, &seen, &notes, why, sizeof(why)), 0);
  assert_int_equal(seen.count, 1);
  (void)close(fd);
  (void)unlink(path);
  assert_int_equal(junit_read_file(path, on_case, &seen, &notes, why, sizeof(why)), -1);
  assert_non_null(strstr(why, "No such file"));
  assert_int_equal(junit_read_file("/tmp", on_case, &seen, &notes, why, sizeof(why)), -1);
}

static void test_split_id(void **state) {
  (void)state;
  static const struct {
    const char *id, *classname, *name;
  } ids[] = {
      {"tests/test_a.py::TestK::test_p[a::b/c]", "tests.test_a.TestK", "test_p[a::b/c]"},
      {"test_a.py::t", "test_a", "t"},
      {"a.b/c.py::t", "a.b.c", "t"},
      {"bin::mod::case", "bin.mod", "case"},
      {"plain name", "", "plain name"},
      {"dir/file.sh", "", "dir/file.sh"},
      {"::t", "", "t"},
      {"a::", "a", ""},
      {"[x::y]", "", "[x::y]"},
      {".py::t", "", "t"},
  };
  for (size_t i = 0; i < COUNT_OF(ids); i++) {
    char *classname, *name;
    junit_split_id(ids[i].id, &classname, &name);
    assert_string_equal(classname, ids[i].classname);
    assert_string_equal(name, ids[i].name);
    free(classname);
    free(name);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pytest),
      cmocka_unit_test(test_roots_nesting_and_inheritance),
      cmocka_unit_test(test_statuses),
      cmocka_unit_test(test_failed_by_attribute),
      cmocka_unit_test(test_suite_error),
      cmocka_unit_test(test_times),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_depth),
      cmocka_unit_test(test_size),
      cmocka_unit_test(test_file),
      cmocka_unit_test(test_mutations),
      cmocka_unit_test(test_split_id),
      cmocka_unit_test(test_ids_that_shard_noted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
