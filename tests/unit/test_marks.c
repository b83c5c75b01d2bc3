// Groups and tokens of a list: as text and back, as the scheduler's files, as the queue's needs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/marks.h"

enum { TESTS = 6 };

static struct marks marks;

static int tear_down(void **state) {
  (void)state;
  marks_release(&marks);
  return 0;
}

static uint32_t name(enum marks_kind kind, const char *text) {
  int64_t number = marks_name(&marks, kind, text, strlen(text));
  assert_true(number >= 0);
  return (uint32_t)number;
}

static void carry(uint32_t mark, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i <= to; i++)
    assert_int_equal(marks_add(&marks, mark, i), 0);
}

static void test_as_text(void **state) {
  (void)state;
  size_t n, again_n;
  carry(name(MARKS_GROUP, "a group"), 1, 3);
  carry(name(MARKS_TOKEN, "db"), 0, 0);
  (void)name(MARKS_TOKEN, "of no test");
  char *text = marks_text(&marks, &n);
  assert_string_equal(text, "ga group\n1 2 3\ntdb\n0\ntof no test\n\n");
  marks_release(&marks);
  assert_int_equal(marks_read(&marks, text, n, TESTS), 0);
  char *again = marks_text(&marks, &again_n);
  assert_int_equal(again_n, n);
  assert_string_equal(again, text);
  free(again);
  free(text);
}

static void test_nonsense(void **state) {
  static const char *const texts[] = {"x\n1\n",      "ga",        "ga\n",      "ga\n6\n",
                                      "ga\n1  2\n",  "ga\n1,2\n", "ga\n2 1\n", "ga\nx\n",
                                      "ga\n-1\n",    "\n\n",      "ga\n 1\n",  "ga\n99999999999999999999\n",
                                      "ga\n1\nt\n2 "};
  for (size_t i = 0; i < COUNT_OF(texts); i++) {
    if (marks_read(&marks, texts[i], strlen(texts[i]), TESTS) == 0) fail_msg("taken: %s", texts[i]);
    tear_down(state);
  }
  assert_int_equal(marks_read(&marks, "", 0, TESTS), 0);
  assert_int_equal(marks.count, 0);
}

static void test_groups_are_files(void **state) {
  (void)state;
  static const uint32_t list_file_of[TESTS] = {0, 0, 1, 1, UINT32_MAX, 1};
  uint32_t file_of[TESTS];
  bool *whole;
  uint32_t g = name(MARKS_GROUP, "g"), h = name(MARKS_GROUP, "h");
  carry(g, 1, 2);
  carry(h, 2, 2);  // of two groups: the first counts
  carry(h, 4, 4);
  assert_int_equal(marks_scopes(&marks, list_file_of, TESTS, 2, file_of, &whole), 4);
  static const uint32_t expected[TESTS] = {0, 2, 2, 1, 3, 1};
  assert_memory_equal(file_of, expected, sizeof expected);
  assert_true(!whole[0] && !whole[1] && whole[2] && whole[3]);
  free(whole);
}

static void test_needs(void **state) {
  (void)state;
  uint64_t need[TESTS] = {0};
  const char *names[TOKENS_MAX];
  uint32_t tokens;
  carry(name(MARKS_TOKEN, "db"), 0, 1);
  carry(name(MARKS_TOKEN, "printer"), 1, 1);
  carry(name(MARKS_TOKEN, MARKS_EXCLUSIVE), 3, 3);
  uint32_t apart = name(MARKS_GROUP, "with a token"), kept = name(MARKS_GROUP, "without");
  carry(apart, 1, 2);
  carry(kept, 4, 5);
  assert_true(marks_needs(&marks, TESTS, need, names, &tokens));
  assert_int_equal(tokens, 3);
  assert_string_equal(names[0], "db");
  assert_string_equal(names[1], "printer");
  assert_string_equal(names[2], "");
  assert_int_equal(need[0], 1);
  assert_int_equal(need[1], 7);
  assert_int_equal(need[2], 4);  // not beside the other test of its group
  assert_true(need[3] == TOKENS_EXCLUSIVE);
  assert_int_equal(need[4] | need[5], 0);
  uint32_t file_of[TESTS];
  static const uint32_t list_file_of[TESTS] = {0};
  bool *whole;
  assert_int_equal(marks_scopes(&marks, list_file_of, TESTS, 1, file_of, &whole), 2);
  assert_int_equal(file_of[2], 0);
  assert_int_equal(file_of[4], 1);
  free(whole);
}

// Too many: what does not fit shares the last, and nothing runs together that may not.
static void test_too_many_tokens(void **state) {
  (void)state;
  uint64_t need[TESTS] = {0};
  const char *names[TOKENS_MAX];
  uint32_t tokens;
  for (uint32_t i = 0; i < TOKENS_MAX + 2; i++) {
    char text[8] = {(char)('A' + i / 26), (char)('a' + i % 26)};
    carry(name(MARKS_TOKEN, text), i < TOKENS_MAX ? 0 : i - TOKENS_MAX + 1, i < TOKENS_MAX ? 0 : i - TOKENS_MAX + 1);
  }
  carry(name(MARKS_TOKEN, MARKS_EXCLUSIVE), 5, 5);
  assert_false(marks_needs(&marks, TESTS, need, names, &tokens));
  assert_int_equal(tokens, TOKENS_MAX);
  assert_true(need[0] == TOKENS_ALL);
  assert_true(need[1] == UINT64_C(1) << 61 && need[2] == need[1]);
  assert_string_equal(names[61], "");
  assert_true(need[5] == TOKENS_EXCLUSIVE);
}

// Nothing is copied from nowhere (UndefinedBehaviorSanitizer).
static void test_an_empty_list_has_no_places(void **state) {
  (void)state;
  bool *whole;
  assert_int_equal(marks_scopes(&marks, NULL, 0, 0, NULL, &whole), 0);
  free(whole);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_as_text),          TEST(test_nonsense),
                                     TEST(test_groups_are_files), TEST(test_needs),
                                     TEST(test_too_many_tokens),  TEST(test_an_empty_list_has_no_places)};
  return cmocka_run_group_tests_name("marks", tests, NULL, NULL);
}
