// Unit tests of the TAP reader: versions 12 to 14, bats' output, broken streams, and damage by deterministic mutation.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "worker/excerpt.h"
#include "worker/tap.h"

enum { CASES = 16, TEXT = 256 };

struct seen_case {
  char description[TEXT], reason[TEXT], text[TEXT];
  bool ok, skip, todo, has_time;
  uint64_t time_us;
};

struct seen {
  struct seen_case cases[CASES];
  uint32_t count;
};

static void on_case(void *arg, const struct tap_case *testcase) {
  struct seen *seen = arg;
  assert_int_equal(testcase->place, seen->count);
  assert_true(testcase->text_bytes <= EXCERPT_TEXT_MAX_BYTES);
  if (seen->count < CASES) {
    struct seen_case *to = &seen->cases[seen->count];
    (void)snprintf(to->description, TEXT, "%s", testcase->description);
    (void)snprintf(to->reason, TEXT, "%s", testcase->reason);
    (void)snprintf(to->text, TEXT, "%s", testcase->text);
    to->ok = testcase->ok;
    to->skip = testcase->skip;
    to->todo = testcase->todo;
    to->has_time = testcase->has_time;
    to->time_us = testcase->time_us;
  }
  seen->count++;
}

static int read_text(const char *text, size_t n, size_t piece, struct seen *seen, char why[TAP_WHY_BYTES]) {
  memset(seen, 0, sizeof(*seen));
  struct tap *reader = tap_new(on_case, seen);
  for (size_t at = 0; at < n; at += piece)
    tap_feed(reader, text + at, n - at < piece ? n - at : piece);
  int status = tap_finish(reader);
  (void)snprintf(why, TAP_WHY_BYTES, "%s", tap_why(reader));
  assert_true((status < 0) == (why[0] != '\0'));
  tap_free(reader);
  return status;
}

static struct seen good(const char *text) {
  struct seen whole, pieces;
  char why[TAP_WHY_BYTES];
  if (read_text(text, strlen(text), strlen(text) + 1, &whole, why) < 0) fail_msg("%s: %s", why, text);
  assert_int_equal(read_text(text, strlen(text), 1, &pieces, why), 0);
  assert_memory_equal(&whole, &pieces, sizeof(whole));
  return whole;
}

static uint32_t bad(const char *text, const char *expected) {
  struct seen seen;
  char why[TAP_WHY_BYTES];
  assert_int_equal(read_text(text, strlen(text), 7, &seen, why), -1);
  if (!strstr(why, expected)) fail_msg("'%s' does not say '%s'", why, expected);
  return seen.count;
}

static void test_bats(void **state) {
  (void)state;
  struct seen seen = good(
      "1..3\nok 1 one in 6ms\nnot ok 2 two # x\n# (in test file a.bats, line 5)\n#   `false' failed\n"
      "ok 3 three # skip why not\n");
  assert_int_equal(seen.count, 3);
  assert_string_equal(seen.cases[0].description, "one in 6ms");
  assert_true(seen.cases[0].ok);
  assert_string_equal(seen.cases[1].description, "two # x");
  assert_false(seen.cases[1].ok);
  assert_string_equal(seen.cases[1].text, "(in test file a.bats, line 5)\n  `false' failed\n");
  assert_true(seen.cases[2].skip);
  assert_string_equal(seen.cases[2].reason, "why not");
  assert_string_equal(seen.cases[2].description, "three");
}

static void test_tap13_yaml(void **state) {
  (void)state;
  struct seen seen = good(
      "TAP version 13\nok 1 one\n  ---\n  duration_ms: 5.25\n  ...\nnot ok 2\n  ---\n  message: |\n"
      "    not ok 9 in the text\n  ...\nnot ok 3 - sk # SKIP\n1..3\n");
  assert_int_equal(seen.count, 3);
  assert_true(seen.cases[0].has_time);
  assert_int_equal(seen.cases[0].time_us, 5250);
  assert_string_equal(seen.cases[1].description, "");
  assert_string_equal(seen.cases[1].text, "  message: |\n    not ok 9 in the text\n");
  assert_false(seen.cases[2].ok || seen.cases[2].skip);  // as prove has it
  assert_string_equal(seen.cases[2].description, "sk");
}

static void test_tap14_subtests_and_escapes(void **state) {
  (void)state;
  struct seen seen = good(
      "TAP version 14\n1..2\n# Subtest: outer\n    1..2\n    ok 1 - in\n    not ok 2 - inner\n"
      "not ok 1 - outer \\# 1 \\\\ x # TODO later\nok 2 - 5 apples\r\n");
  assert_int_equal(seen.count, 2);
  assert_string_equal(seen.cases[0].description, "outer # 1 \\ x");
  assert_true(seen.cases[0].todo);
  assert_string_equal(seen.cases[0].reason, "later");
  assert_non_null(strstr(seen.cases[0].text, "not ok 2 - inner"));
  assert_string_equal(seen.cases[1].description, "5 apples");
  assert_string_equal(seen.cases[1].text, "");
}

static void test_plans(void **state) {
  (void)state;
  assert_int_equal(good("1..0 # SKIP no tests here\n").count, 1);
  assert_int_equal(good("noise\nok\nokay, this is none\nnot okay\n1..1").count, 1);
  assert_int_equal(bad("ok 1\nok 2\n", "no plan"), 2);
  assert_int_equal(bad("", "no plan"), 0);
  assert_int_equal(bad("1..3\nok 1\n", "says 3 tests, 1 were seen"), 1);
  assert_int_equal(bad("1..1\nok 1\nok 2\n", "says 1 tests, 2 were seen"), 2);
  assert_int_equal(bad("1..1\nok 1\n1..1\nok 1\n", "two plans"), 2);
  assert_int_equal(bad("1..99999999999999999999\n", "no plan"), 0);
  assert_int_equal(bad("1..2\nok 1\nBail out! no database\nok 2\n", "bailed out: no database"), 2);
}

static void test_numbers(void **state) {
  (void)state;
  assert_int_equal(good("1..3\nok 3\nok 1\nok 2 - two\n").count, 3);
  assert_int_equal(good("1..3\nok\nok 2\nok - 3\n").count, 3);
  assert_int_equal(good("1..2\nok 1\n    ok 1 - inner\n    1..1\nok 2 - outer\n").count, 2);
  assert_int_equal(bad("1..3\nok 1\nok 2\nok 2\n", "comes twice"), 3);
  assert_int_equal(bad("1..2\nok 0\nok 1\n", "is 0"), 2);
  assert_int_equal(bad("1..3\nok 1\nok 2\nok 4\n", "beyond"), 3);
  assert_int_equal(bad("1..1\nok 500001\n", "beyond"), 1);
  assert_int_equal(bad("1..1\nok 99999999999999999999999999 - x\n", "beyond"), 1);
}

static void test_bounds(void **state) {
  (void)state;
  size_t n = 3 * TAP_LINE_MAX_BYTES;
  char *text = base_malloc(n + 32), why[TAP_WHY_BYTES];
  struct seen seen;
  memset(text, 'd', n);
  memcpy(text, "1..1\nok 1 ", 10);
  text[n - 1] = '\n';
  assert_int_equal(read_text(text, n, 1000, &seen, why), 0);  // the rest of a long line is dropped, the test is not
  assert_int_equal(seen.count, 1);
  struct tap *reader = tap_new(on_case, &seen);
  memset(&seen, 0, sizeof(seen));
  tap_feed(reader, "1..1\nok 1\n", 10);
  memset(text, '#', n);
  for (size_t fed = 0; fed <= TAP_MAX_BYTES; fed += n)
    tap_feed(reader, text, n);
  assert_int_equal(tap_finish(reader), -1);
  assert_non_null(strstr(tap_why(reader), "64 MiB"));
  tap_free(reader);
  free(text);
}

static void test_mutations(void **state) {
  (void)state;
  static const char base[] =
      "TAP version 13\n1..4\nok 1 - a # SKIP r\n  ---\n  duration_ms: 1.5\n  ...\n# diag\nnot ok 2 b \\# c"
      "\n    ok 1 sub\n    1..1\nok 3 # TODO t\nnot ok 4\nBail out! x\n";
  uint32_t random = 88675123u;
  char text[sizeof(base)], why[TAP_WHY_BYTES];
  struct seen whole, pieces;
  for (int round = 0; round < 20000; round++) {
    memcpy(text, base, sizeof(base));
    size_t n = sizeof(base) - 1;
    for (int change = 0; change < 1 + round % 5; change++) {
      random ^= random << 13, random ^= random >> 17, random ^= random << 5;
      size_t at = random % n;
      switch (random >> 8 & 3) {
        case 0: text[at] = (char)(random >> 16); break;
        case 1: text[at] = "\n #\\.-"[(random >> 16) % 6]; break;
        case 2: memmove(text + at, text + at / 2, n - at); break;
        default: n = at > 1 ? at : n;
      }
    }
    int status = read_text(text, n, n, &whole, why);
    assert_int_equal(read_text(text, n, 1, &pieces, why), status);
    assert_memory_equal(&whole, &pieces, sizeof(whole));
    assert_true(whole.count <= 64);
  }
}

static void test_file(void **state) {
  (void)state;
  struct seen seen = {.count = 0};
  char why[256] = "";
  assert_int_equal(tap_read_file("/no/such/file.tap", on_case, &seen, why, sizeof(why)), -1);
  assert_string_equal(why, "/no/such/file.tap: No such file or directory");
  assert_int_equal(tap_read_file("/tmp", on_case, &seen, why, sizeof(why)), -1);
}

// "1..0 # SKIP" is one skipped test; without the word, or beside a test, it is not.
static void test_a_plan_that_skips_all(void **state) {
  (void)state;
  static const struct {
    const char *text, *reason;
  } skipped[] = {{"1..0 # SKIP no database\n", "no database"},
                 {"TAP version 13\n1..0 # skip\n", ""},
                 {"1..0 # Skipped: no database\n", "no database"},
                 {"1..0 #SKIP a # b\r\n", "a # b"},
                 {"\xef\xbb\xbf"
                  "1..0 # SKIP x\n",
                  "x"},
                 {"# begun\n1..0\t# SKIP x", "x"}};
  for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++) {
    struct seen seen = good(skipped[i].text);
    assert_int_equal(seen.count, 1);
    assert_true(seen.cases[0].skip && seen.cases[0].ok && !seen.cases[0].todo);
    assert_string_equal(seen.cases[0].description, "");
    assert_string_equal(seen.cases[0].reason, skipped[i].reason);
  }
  assert_int_equal(good("1..0\n").count, 0);
  assert_int_equal(good("1..0 # nothing\n").count, 0);
  static const char *const others[] = {"1..0 # SKIP x\nok 1\n", "1..0 # SKIP x\n1..0 # SKIP x\n",
                                       "1..0 # SKIP x\nBail out!\n", "1..1 # SKIP x\n"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    struct seen seen;
    char why[TAP_WHY_BYTES];
    assert_int_equal(read_text(others[i], strlen(others[i]), 3, &seen, why), -1);
    for (uint32_t k = 0; k < seen.count; k++)
      assert_false(seen.cases[k].skip);
  }
}

static void test_byte_order_marks(void **state) {
  (void)state;
  struct seen seen = good(
      "\xef\xbb\xbf"
      "ok 1 - a\n1..1\n");
  assert_string_equal(seen.cases[0].description, "a");
  static const char wide[] =
      "\xff\xfe"
      "1\0.\0.\0"
      "1\0\n\0o\0k\0 \0"
      "1\0 \0\xe4\0\n\0";
  for (size_t part = 1; part < 6; part++) {
    char why[TAP_WHY_BYTES];
    assert_int_equal(read_text(wide, sizeof wide - 1, part, &seen, why), 0);
    assert_string_equal(seen.cases[0].description, "\xc3\xa4");
  }
}

static void test_times_are_bounded(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool has;
    uint64_t us;
  } times[] = {{"1.5", true, 1500},     {"0,5", true, 500},  {"-1", false, 0},    {"nan", false, 0},
               {"inf", false, 0},       {"1e308", false, 0}, {"1e400", false, 0}, {"604800000", true, 604800000000},
               {"604800001", false, 0}, {"0x10", false, 0},  {"", false, 0}};
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
    char text[128];
    (void)snprintf(text, sizeof text, "1..1\nok 1 - a\n  ---\n  duration_ms: %s\n  ...\n", times[i].text);
    struct seen seen = good(text);
    assert_int_equal(seen.cases[0].has_time, times[i].has);
    assert_int_equal(seen.cases[0].time_us, times[i].us);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_plan_that_skips_all),
      cmocka_unit_test(test_byte_order_marks),
      cmocka_unit_test(test_times_are_bounded),
      cmocka_unit_test(test_bats),
      cmocka_unit_test(test_tap13_yaml),
      cmocka_unit_test(test_tap14_subtests_and_escapes),
      cmocka_unit_test(test_plans),
      cmocka_unit_test(test_numbers),
      cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_mutations),
      cmocka_unit_test(test_file),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
