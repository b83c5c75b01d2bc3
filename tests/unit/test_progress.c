// Unit tests of the progress bar, its plain lines, and of workers' output behind prefixes.
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
#include "worker/local_output.h"
#include "worker/progress.h"

static const uint64_t second_us = 1000000;

struct screen {
  char *text;
  size_t n;
  FILE *out;
};

static void screen_open(struct screen *screen) {
  screen->text = NULL;
  screen->out = open_memstream(&screen->text, &screen->n);
  assert_non_null(screen->out);
}

static void screen_close(struct screen *screen) {
  assert_int_equal(fclose(screen->out), 0);
  free(screen->text);
}

// What was written since the last call.
static const char *taken(struct screen *screen, size_t *at) {
  assert_int_equal(fflush(screen->out), 0);
  const char *fresh = screen->text + *at;
  *at = screen->n;
  return fresh;
}

static void update(struct progress *progress, const char *state, const char *total, const char *done,
                   const char *failing, const char *running, unsigned columns, uint64_t now_us) {
  static const char *const names[] = {"build",  "suite",   "state", "total", "done",   "failing",
                                      "leased", "workers", "wall",  "eta",   "running"};
  const char *cells[] = {"b", "default", state, total, done, failing, "3", "4", "12300000", "40000000", running};
  struct answer_fixture f;
  fixture_init(&f);
  for (size_t i = 0; i < COUNT_OF(names); i++)
    fixture_column(&f, names[i], SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  for (size_t i = 0; i < COUNT_OF(cells); i++)
    fixture_cell(&f, cells[i]);
  progress_update(progress, fixture_answer(&f), 0, columns, now_us);
}

static void test_bar(void **state) {
  (void)state;
  struct screen screen;
  size_t at = 0;
  screen_open(&screen);
  struct progress_look look = {.out = screen.out, .terminal = true};
  struct progress *progress = progress_new(&look);
  update(progress, "running", "100", "50", "0", "t.py::a\nt.py::b\nt.py::c", 200, 1);
  assert_string_equal(taken(&screen, &at),
                      "\r[############............] 50/100 50%, 4 workers, 12.3s, ~40.0s left: t.py::a (+2)\033[K");
  progress_hide(progress);
  assert_string_equal(taken(&screen, &at), "\r\033[K");
  progress_hide(progress);
  assert_string_equal(taken(&screen, &at), "");
  progress_show(progress);
  assert_true(strncmp(taken(&screen, &at), "\r[####", 6) == 0);
  update(progress, "running", "100", "100", "2", "", 200, 2);
  assert_string_equal(taken(&screen, &at),
                      "\r[########################] 100/100 100%, 2 failing, 4 workers, 12.3s\033[K");
  progress_free(progress);
  assert_string_equal(taken(&screen, &at), "\r\033[K");
  screen_close(&screen);
}

// Never wider than the terminal, however long and hostile the names.
static void test_bar_is_cut(void **state) {
  (void)state;
  struct screen screen;
  char name[4097];
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  memcpy(name, "t\033[2J\xe2\x80\xae", 8);
  for (unsigned columns = 1; columns <= 120; columns++) {
    size_t at = 0;
    screen_open(&screen);
    struct progress_look look = {.out = screen.out, .terminal = true};
    struct progress *progress = progress_new(&look);
    update(progress, "running", "100", "1", "1", name, columns, 1);
    const char *text = taken(&screen, &at);
    assert_int_equal(text[0], '\r');
    char *line = base_memdup0(text + 1, strlen(text) - 1 - strlen("\033[K"));
    assert_null(strchr(line, '\033'));
    assert_true(human_width(line) < columns || line[0] == '\0');
    free(line);
    progress_free(progress);
    screen_close(&screen);
  }
}

static void test_bar_color(void **state) {
  (void)state;
  struct screen screen;
  size_t at = 0;
  screen_open(&screen);
  struct progress_look look = {.out = screen.out, .terminal = true, .color = true};
  struct progress *progress = progress_new(&look);
  update(progress, "running", "4", "2", "0", "", 80, 1);
  assert_non_null(strstr(taken(&screen, &at), "[\033[32m############\033[0m..."));
  update(progress, "running", "4", "2", "1", "", 80, 1);
  assert_non_null(strstr(taken(&screen, &at), "[\033[31m############\033[0m..."));
  progress_free(progress);
  screen_close(&screen);
}

static void test_lines(void **state) {
  (void)state;
  struct screen screen;
  size_t at = 0;
  screen_open(&screen);
  struct progress_look look = {.out = screen.out};
  struct progress *progress = progress_new(&look);
  uint64_t now = 100 * second_us;
  update(progress, "collecting", "0", "0", "0", "", 0, now);
  assert_string_equal(taken(&screen, &at), "shard: collecting, 4 workers, 12.3s\n");
  update(progress, "collecting", "0", "0", "0", "", 0, now += second_us);
  assert_string_equal(taken(&screen, &at), "");
  update(progress, "running", "100", "0", "0", "t", 0, now += 1);
  assert_string_equal(taken(&screen, &at), "shard: 0/100 0%, 4 workers, 12.3s, ~40.0s left\n");
  update(progress, "running", "100", "60", "0", "t", 0, now += 29 * second_us);
  assert_string_equal(taken(&screen, &at), "");
  update(progress, "running", "100", "61", "0", "t", 0, now += second_us);
  assert_string_equal(taken(&screen, &at), "shard: 61/100 61%, 4 workers, 12.3s, ~40.0s left\n");
  update(progress, "running", "100", "62", "1", "t", 0, now += second_us / 2);  // a burst of failures is one line
  assert_string_equal(taken(&screen, &at), "");
  update(progress, "running", "100", "63", "2", "t", 0, now += second_us);
  assert_non_null(strstr(taken(&screen, &at), "63/100 63%, 2 failing, "));
  update(progress, "complete", "100", "100", "2", "", 0, now + 1);
  assert_string_equal(taken(&screen, &at), "shard: complete: 100/100 100%, 2 failing, 4 workers, 12.3s\n");
  progress_show(progress);
  progress_free(progress);
  assert_string_equal(taken(&screen, &at), "");  // nothing was ever to be redrawn
  screen_close(&screen);
}

static void test_null_is_legal(void **state) {
  (void)state;
  progress_hide(NULL);
  progress_show(NULL);
  progress_free(NULL);
  local_output_finish(NULL);
}

// ---- output behind prefixes

static void expect_output(const char *const *parts, size_t count, const char *expected) {
  struct screen screen;
  screen_open(&screen);
  struct local_output *output = local_output_new(screen.out, "[3] ", NULL);
  for (size_t i = 0; i < count; i++)
    local_output_feed(output, parts[i], strlen(parts[i]));
  local_output_finish(output);
  assert_int_equal(fflush(screen.out), 0);
  assert_string_equal(screen.text, expected);
  screen_close(&screen);
}

static void test_prefix(void **state) {
  (void)state;
  expect_output((const char *[]){"a", "b\nc", "\n", "\nd"}, 4, "[3] ab\n[3] c\n[3] \n[3] d\n");
  expect_output((const char *[]){""}, 1, "");
  expect_output((const char *[]){"a\r\nb\r", "\nc\rd\r\r\n"}, 2, "[3] a\n[3] b\n[3] c\n[3] d\n[3] \n");
  expect_output((const char *[]){"\033[31mred\033[0m\n"}, 1, "[3] \033[31mred\033[0m\n");
}

static void test_two_never_mix_inside_a_line(void **state) {
  (void)state;
  struct screen screen;
  screen_open(&screen);
  struct local_output *one = local_output_new(screen.out, "[1] ", NULL);
  struct local_output *two = local_output_new(screen.out, "[2] ", NULL);
  local_output_feed(one, "aaa", 3);
  local_output_feed(two, "bbb\nb", 5);
  local_output_feed(one, "a\n", 2);
  local_output_finish(two);
  local_output_finish(one);
  assert_int_equal(fflush(screen.out), 0);
  assert_string_equal(screen.text, "[2] bbb\n[1] aaaa\n[2] b\n");
  screen_close(&screen);
}

static void test_long_line_is_cut(void **state) {
  (void)state;
  struct screen screen;
  size_t n = LOCAL_OUTPUT_LINE_MAX_BYTES * 2 + 5;
  char *bytes = base_malloc(n);
  memset(bytes, 'z', n);
  screen_open(&screen);
  struct local_output *output = local_output_new(screen.out, "> ", NULL);
  local_output_feed(output, bytes, n);
  local_output_finish(output);
  assert_int_equal(fflush(screen.out), 0);
  assert_int_equal(screen.n, n + 3 * 3);
  assert_string_equal(screen.text + screen.n - 8, "> zzzzz\n");
  screen_close(&screen);
  free(bytes);
}

static void test_output_moves_the_bar_away(void **state) {
  (void)state;
  struct screen screen;
  size_t at = 0;
  screen_open(&screen);
  struct progress_look look = {.out = screen.out, .terminal = true};
  struct progress *progress = progress_new(&look);
  update(progress, "running", "4", "2", "0", "", 60, 1);
  struct local_output *output = local_output_new(screen.out, "[0] ", progress);
  (void)taken(&screen, &at);
  local_output_feed(output, "no line yet", 11);
  assert_string_equal(taken(&screen, &at), "");
  local_output_feed(output, "\n", 1);
  assert_true(strncmp(taken(&screen, &at), "\r\033[K[0] no line yet\n\r[####", 25) == 0);
  local_output_finish(output);
  progress_free(progress);
  screen_close(&screen);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bar),
      cmocka_unit_test(test_bar_is_cut),
      cmocka_unit_test(test_bar_color),
      cmocka_unit_test(test_lines),
      cmocka_unit_test(test_null_is_legal),
      cmocka_unit_test(test_prefix),
      cmocka_unit_test(test_two_never_mix_inside_a_line),
      cmocka_unit_test(test_long_line_is_cut),
      cmocka_unit_test(test_output_moves_the_bar_away),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
