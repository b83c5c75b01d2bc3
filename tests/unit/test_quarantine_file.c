// Unit tests of quarantine.yml: what an entry holds, which days there are, that each refusal names file, line and
// column, and that what is printed is read again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/quarantine_file.h"

static char path[] = "/tmp/shardd-test-quarantine-XXXXXX";
static struct quarantine_file file;
static struct yaml_error error;

static int read_text(const char *text) {
  FILE *out = fopen(path, "we");
  assert_non_null(out);
  assert_true(fputs(text, out) >= 0);
  assert_int_equal(fclose(out), 0);
  return quarantine_file_read(&file, path, &error);
}

static void takes(const char *text) {
  if (read_text(text) != 0) fail_msg("%s", error.text);
}

static void refuses(const char *text, const char *place, const char *want) {
  char whole[sizeof error.text];
  assert_int_equal(read_text(text), -1);
  (void)snprintf(whole, sizeof whole, "%s:%s: %s", path, place, want);
  assert_string_equal(error.text, whole);
}

static void test_entries(void **state) {
  (void)state;
  takes(
      "# Muted\n- test: t/a.sh\n  reason: slow clock\n  until: 2024-02-29\n"
      "- {reason: r, until: \"1970-01-01\", extend: yes, who: me, ticket: T-7, test: \"b\\x09\"}\n");
  assert_int_equal(file.count, 2);
  const struct quarantine_entry *a = quarantine_file_find(&file, "t/a.sh"), *b = quarantine_file_find(&file, "b\t");
  assert_ptr_equal(a, &file.entry[0]);
  assert_string_equal(a->reason, "slow clock");
  assert_string_equal(a->who, "");
  assert_string_equal(a->ticket, "");
  assert_false(a->extend);
  assert_int_equal(a->line, 2);
  assert_int_equal(a->until_ms, UINT64_C(1709251200000));
  assert_ptr_equal(b, &file.entry[1]);
  assert_string_equal(b->who, "me");
  assert_string_equal(b->ticket, "T-7");
  assert_true(b->extend);
  assert_int_equal(b->line, 5);
  assert_int_equal(b->until_ms, UINT64_C(86400000));
  assert_null(quarantine_file_find(&file, "c"));
  quarantine_file_release(&file);
  takes("[]\n");
  assert_int_equal(file.count, 0);
  quarantine_file_release(&file);
}

static void test_no_list(void **state) {
  (void)state;
  static const char no_list[] = "this is no list of tests; begin each with \"- test:\", and write [] if there are none";
  refuses("", "1:1", no_list);
  refuses("# nothing\n", "1:1", no_list);
  refuses("---\n", "1:1", no_list);
  refuses("\nhello\n", "2:1", no_list);
  refuses("{}\n", "1:1", no_list);
  refuses("test: a\nreason: r\nuntil: 2000-01-01\n", "1:1", no_list);
}

static void test_entries_that_are_none(void **state) {
  (void)state;
  static const char ok[] = "- {test: a, reason: r, until: 2000-01-01}\n";
  char twice[128];
  refuses("- a\n", "1:3", "an entry has test, reason and until at least, as \"test: ID\" on a line of its own");
  refuses("- test: a\n  until: 2000-01-01\n", "1:3",
          "this entry has no reason; an entry has test, reason and until at least");
  refuses("- test: a\n  reason: \"\"\n", "1:3",
          "this entry has no reason; an entry has test, reason and until at least");
  refuses("-\n  reason: r\n  test: a\n", "2:3",
          "this entry has no until; an entry has test, reason and until at least");
  refuses("- test: a\n  why: r\n", "2:3", "unknown key; known are test, reason, until, who, ticket, extend");
  refuses("- test: a\n  reason: [r]\n  until: 2000-01-01\n", "2:11", "reason takes one text");
  refuses("- test: \"a\\nb\"\n  reason: r\n  until: 2000-01-01\n", "1:9",
          "this is no id of a test: it has one line of at most 4096 bytes");
  (void)snprintf(twice, sizeof twice, "%s- {test: b, reason: r, until: 2000-01-01}\n%s", ok, ok);
  refuses(twice, "3:10", "this test stands twice, first on line 1; remove one of them");
}

static void test_long_text(void **state) {
  (void)state;
  char text[2048], long_one[1026];
  memset(long_one, 'x', sizeof long_one);
  long_one[1024] = '\0';
  (void)snprintf(text, sizeof text, "- test: a\n  until: 2000-01-01\n  reason: %s\n", long_one);
  takes(text);
  quarantine_file_release(&file);
  long_one[1024] = 'x';
  long_one[1025] = '\0';
  (void)snprintf(text, sizeof text, "- test: a\n  until: 2000-01-01\n  reason: %s\n", long_one);
  refuses(text, "3:11", "reason is longer than 1024 bytes");
}

static const char until[] = "- test: a\n  reason: r\n  until: %s\n";

static void until_is(const char *day, uint64_t until_ms) {
  char text[128];
  (void)snprintf(text, sizeof text, until, day);
  takes(text);
  assert_int_equal(file.entry[0].until_ms, until_ms);
  quarantine_file_release(&file);
}

static void is_no_day(const char *word) {
  char text[128], want[128];
  (void)snprintf(text, sizeof text, until, word);
  (void)snprintf(want, sizeof want, "until: \"%s\" is no day; it takes YEAR-MONTH-DAY", word);
  refuses(text, "3:10", want);
}

static void test_days(void **state) {
  (void)state;
  until_is("1960-01-01", 0);
  until_is("1969-12-31", 0);
  until_is("2000-12-31", UINT64_C(978307200000));
  static const char *const none[] = {"2026-11-31", "2025-02-29", "2026-13-01", "2026-00-10",
                                     "2026-10-00", "2026-1-1",   "2026- 1- 1", "20261101",
                                     "2026/11/01", "soon",       "2026-11-1x", "2026-11-01 12:00"};
  for (size_t i = 0; i < COUNT_OF(none); i++)
    is_no_day(none[i]);
}

static void test_extend(void **state) {
  (void)state;
  static const struct {
    const char *word;
    bool is;
  } words[] = {{"yes", true}, {"true", true}, {"on", true}, {"no", false}, {"false", false}, {"off", false}};
  char text[128];
  for (size_t i = 0; i < COUNT_OF(words); i++) {
    (void)snprintf(text, sizeof text, "- {test: a, reason: r, until: 2000-01-01, extend: %s}\n", words[i].word);
    takes(text);
    assert_int_equal(file.entry[0].extend, words[i].is);
    quarantine_file_release(&file);
  }
  refuses("- test: a\n  reason: r\n  until: 2000-01-01\n  extend: maybe\n", "4:11",
          "extend: \"maybe\" is wrong; it takes yes or no");
}

static void test_what_is_printed_is_read(void **state) {
  (void)state;
  const struct quarantine_entry entry = {.test = "t.py::a[\"é\\\"]\x1b",
                                         .reason = "a: b # c",
                                         .who = "",
                                         .ticket = "no",
                                         .until_ms = UINT64_C(978307200000),
                                         .extend = true};
  FILE *out = fopen(path, "we");
  assert_non_null(out);
  quarantine_file_print(out, &entry);
  assert_int_equal(fclose(out), 0);
  if (quarantine_file_read(&file, path, &error) != 0) fail_msg("%s", error.text);
  assert_int_equal(file.count, 1);
  assert_string_equal(file.entry[0].test, entry.test);
  assert_string_equal(file.entry[0].reason, entry.reason);
  assert_string_equal(file.entry[0].who, "");
  assert_string_equal(file.entry[0].ticket, "no");
  assert_int_equal(file.entry[0].until_ms, entry.until_ms);
  assert_true(file.entry[0].extend);
  quarantine_file_release(&file);
}

int main(void) {
  int fd = mkstemp(path);
  if (fd < 0) return 1;
  (void)close(fd);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_entries),
      cmocka_unit_test(test_no_list),
      cmocka_unit_test(test_entries_that_are_none),
      cmocka_unit_test(test_long_text),
      cmocka_unit_test(test_days),
      cmocka_unit_test(test_extend),
      cmocka_unit_test(test_what_is_printed_is_read),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  (void)unlink(path);
  return failed;
}
