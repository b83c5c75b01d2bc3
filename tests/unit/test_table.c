// Unit tests of tables, JSON, durations and escaping of what the server answers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "tests/unit/answer_fixture.h"
#include "worker/human.h"
#include "worker/table.h"

static char *printed(const struct answer *answer, const struct table_look *look) {
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  assert_int_equal(table_print(out, answer, look), 0);
  assert_int_equal(fclose(out), 0);
  return text;
}

static char *printed_json(const struct answer *answer) {
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  struct json_t *json = table_json_new();
  table_json_add(json, answer);
  assert_int_equal(table_json_finish(out, json), 0);
  assert_int_equal(fclose(out), 0);
  return text;
}

static void expect_table(struct answer_fixture *fixture, const char *expected) {
  struct table_look look = {0};
  char *text = printed(fixture_answer(fixture), &look);
  assert_string_equal(text, expected);
  free(text);
}

static void test_aligns(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  fixture_column(&f, "test", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  fixture_column(&f, "runs", SHARDD__COLUMN_TYPE__COLUMN_INT);
  fixture_column(&f, "expected", SHARDD__COLUMN_TYPE__COLUMN_DURATION);
  fixture_column(&f, "share", SHARDD__COLUMN_TYPE__COLUMN_RATIO);
  fixture_column(&f, "last", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  const char *cells[] = {"a::b", "7", "1250000", "125000", "passed", "größer", "1234", "65000000", "", ""};
  for (size_t i = 0; i < COUNT_OF(cells); i++)
    fixture_cell(&f, cells[i]);
  expect_table(&f,
               "test    runs  expected  share  last\n"
               "a::b       7     1.25s  12.5%  passed\n"
               "größer  1234     1m05s      -  -\n");
}

static void test_wide_characters(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  fixture_column(&f, "id", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  fixture_column(&f, "n", SHARDD__COLUMN_TYPE__COLUMN_INT);
  fixture_cell(&f, "試験");
  fixture_cell(&f, "1");
  fixture_cell(&f, "abcd");
  fixture_cell(&f, "2");
  expect_table(&f, "id    n\n試験  1\nabcd  2\n");
  assert_int_equal(human_width("試験"), 4);
  char *cut = human_cut("試験abc", 5);
  assert_string_equal(cut, "試験…");
  free(cut);
}

// What steers a terminal, or a reader, never gets through.
static void test_escapes_hostile_names(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  fixture_column(&f, "id", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  static const char hostile[] =
      "a\033[2Jb\r\x07"
      "c\xc2\x9b"
      "d\xe2\x80\xae"
      "e\xff"
      "f";
  fixture_bytes(&f, hostile, sizeof hostile - 1);
  struct table_look look = {0};
  char *text = printed(fixture_answer(&f), &look);
  for (const char *p = text; *p != '\0'; p++)
    assert_true(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
  assert_non_null(strstr(text, "a\\x1b[2Jb\\x0d\\x07c\\xc2\\x9bd\\xe2\\x80\\xaee\\xfff"));
  free(text);
}

// Nor what the log of a CI obeys within a line.
static void test_disarms_log_commands(void **state) {
  static const char *const cases[][2] = {
      {"a ##teamcity[buildStatus status='SUCCESS']", "a ##teamcity\\x5bbuildStatus status='SUCCESS']"},
      {"##VSO[task.complete]##[error]x", "##VSO\\x5btask.complete]##\\x5berror]x"},
      {"###[a]", "###\\x5ba]"},
      {"## [a] #[b] [c]##", "## [a] #[b] [c]##"},
      {"##teamcity\x01[", "##teamcity\\x01["},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char *line = human_safe(cases[i][0], strlen(cases[i][0]), ESCAPE_LINE);
    char *text = human_safe(cases[i][0], strlen(cases[i][0]), ESCAPE_TEXT);
    assert_string_equal(line, cases[i][1]);
    assert_string_equal(text, cases[i][1]);
    free(line);
    free(text);
  }
}

static void test_several_lines_and_empty(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  fixture_column(&f, "running", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  struct table_look look = {.empty = "nothing runs"};
  char *text = printed(fixture_answer(&f), &look);
  assert_string_equal(text, "nothing runs\n");
  free(text);
  fixture_cell(&f, "a\nb\nc");
  fixture_cell(&f, "a\n");
  expect_table(&f, "running\na (+2)\na\n");
}

static void test_color_only_marks_the_head(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  fixture_column(&f, "id", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  fixture_cell(&f, "a");
  struct table_look look = {.color = true};
  char *text = printed(fixture_answer(&f), &look);
  assert_string_equal(text, "\033[1mid\033[0m\na\n");
  free(text);
}

static void test_json_types(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  fixture_column(&f, "id", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  fixture_column(&f, "n", SHARDD__COLUMN_TYPE__COLUMN_INT);
  fixture_column(&f, "took", SHARDD__COLUMN_TYPE__COLUMN_DURATION);
  fixture_column(&f, "start", SHARDD__COLUMN_TYPE__COLUMN_TIME);
  fixture_column(&f, "share", SHARDD__COLUMN_TYPE__COLUMN_RATIO);
  fixture_column(&f, "rate", SHARDD__COLUMN_TYPE__COLUMN_NUMBER);
  fixture_column(&f, "none", SHARDD__COLUMN_TYPE__COLUMN_INT);
  fixture_bytes(&f, "a\"\033\xff\xc3\xa9", 6);
  const char *cells[] = {"-3", "1500000", "1700000000123", "500000", "11400", ""};
  for (size_t i = 0; i < COUNT_OF(cells); i++)
    fixture_cell(&f, cells[i]);
  char *text = printed_json(fixture_answer(&f));
  assert_string_equal(text,
                      "[\n  {\n"
                      "    \"id\": \"a\\\"\\u001B\\\\xff\\u00E9\",\n"
                      "    \"n\": -3,\n"
                      "    \"took_us\": 1500000,\n"
                      "    \"start\": \"2023-11-14T22:13:20.123Z\",\n"
                      "    \"share\": 0.5,\n"
                      "    \"rate\": 11.4,\n"
                      "    \"none\": null\n"
                      "  }\n]\n");
  free(text);
}

static void test_json_without_rows(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  fixture_column(&f, "id", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  char *text = printed_json(fixture_answer(&f));
  assert_string_equal(text, "[]\n");
  free(text);
}

static void test_no_table(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  assert_null(fixture_answer(&f));  // no columns
  fixture_column(&f, "a", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  fixture_column(&f, "b", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  fixture_cell(&f, "1");
  assert_null(fixture_answer(&f));  // half a row
  fixture_cell(&f, "2");
  assert_non_null(fixture_answer(&f));
  f.rows.n_type = 1;
  assert_null(fixture_answer(&f));
}

// A newer server may have types that this client does not know.
static void test_unknown_type_is_text(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  fixture_column(&f, "a", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  f.type[0] = 4711;
  fixture_cell(&f, "12");
  expect_table(&f, "a\n12\n");
}

static void test_numbers_are_strict(void **state) {
  (void)state;
  struct answer_fixture f;
  fixture_init(&f);
  fixture_column(&f, "n", SHARDD__COLUMN_TYPE__COLUMN_INT);
  static const struct {
    const char *text;
    int64_t number;
  } samples[] = {{"0", 0},
                 {"-7", -7},
                 {"9223372036854775807", INT64_MAX},
                 {"9223372036854775808", 99},
                 {"", 99},
                 {"1 ", 99},
                 {" 1", 99},
                 {"+1", 99},
                 {"0x10", 99},
                 {"-", 99},
                 {"1e3", 99}};
  for (size_t i = 0; i < COUNT_OF(samples); i++)
    fixture_cell(&f, samples[i].text);
  fixture_bytes(&f, "1\0002", 3);
  const struct answer *answer = fixture_answer(&f);
  for (size_t i = 0; i < COUNT_OF(samples); i++)
    assert_int_equal(answer_get_number(answer, i, "n", 99), samples[i].number);
  assert_int_equal(answer_get_number(answer, COUNT_OF(samples), "n", 99), 99);
  assert_int_equal(answer_get_number(answer, COUNT_OF(samples) + 1, "n", 99), 99);  // no such row
  assert_int_equal(answer_get_number(answer, 0, "m", 99), 99);                      // no such column
}

static void test_durations(void **state) {
  (void)state;
  static const struct {
    uint64_t us;
    const char *text;
  } samples[] = {{0, "0"},
                 {350, "350us"},
                 {999999, "999ms"},
                 {1000000, "1.00s"},
                 {9999999, "9.99s"},
                 {59990000, "59.9s"},
                 {60000000, "1m00s"},
                 {3599999999, "59m59s"},
                 {3600000000, "1h00m"},
                 {90061000000, "1d01h"},
                 {UINT64_MAX, "213503982d08h"}};
  char out[HUMAN_BYTES];
  for (size_t i = 0; i < COUNT_OF(samples); i++)
    assert_string_equal(human_duration(samples[i].us, out), samples[i].text);
  assert_string_equal(human_ratio(0, out), "0%");
  assert_string_equal(human_ratio(4000, out), "0.4%");
  assert_string_equal(human_ratio(1000000, out), "100%");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_aligns),
      cmocka_unit_test(test_wide_characters),
      cmocka_unit_test(test_escapes_hostile_names),
      cmocka_unit_test(test_disarms_log_commands),
      cmocka_unit_test(test_several_lines_and_empty),
      cmocka_unit_test(test_color_only_marks_the_head),
      cmocka_unit_test(test_json_types),
      cmocka_unit_test(test_json_without_rows),
      cmocka_unit_test(test_no_table),
      cmocka_unit_test(test_unknown_type_is_text),
      cmocka_unit_test(test_numbers_are_strict),
      cmocka_unit_test(test_durations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
