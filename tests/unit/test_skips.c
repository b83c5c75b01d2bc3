// Unit tests of skips in words.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "tests/unit/answer_fixture.h"
#include "worker/skips.h"

enum { LINES = 16 };

struct said {
  char *line[LINES];
  size_t count;
};

static void on_line(void *arg, char *line) {
  struct said *said = arg;
  assert_true(said->count < LINES);
  said->line[said->count++] = line;
}

static void add_row(struct answer_fixture *f, const char *const cells[6]) {
  for (size_t i = 0; i < 6; i++)
    fixture_cell(f, cells[i]);
}

static void begin(struct answer_fixture *f) {
  static const char *const names[] = {"worker", "node", "host", "tests", "reason", "branch"};
  fixture_init(f);
  for (size_t i = 0; i < COUNT_OF(names); i++)
    fixture_column(f, names[i], SHARDD__COLUMN_TYPE__COLUMN_TEXT);
}

static void tell(struct answer_fixture *f, struct said *said) {
  *said = (struct said){.count = 0};
  skips_tell(fixture_answer(f), on_line, said);
}

static void release(struct said *said) {
  for (size_t i = 0; i < said->count; i++)
    free(said->line[i]);
}

static void test_words(void **state) {
  static const char *const rows[][6] = {{"", "", "", "79", "", "main, release"},
                                        {"1", "1", "host", "79", "needs docker", ""},
                                        {"2", "", "box", "1", "", ""},
                                        {"3", "", "", "2", "why", ""},
                                        {"", "", "", "1", "", ""}};
  static const char *const want[] = {
      "79 tests were skipped that ran on main, release", "node 1 skipped 79 tests that ran elsewhere: needs docker",
      "worker 2 on box skipped 1 test that ran elsewhere", "worker 3 skipped 2 tests that ran elsewhere: why",
      "1 test was skipped that ran on the trunk"};
  struct answer_fixture f;
  struct said said;
  (void)state;
  begin(&f);
  for (size_t i = 0; i < COUNT_OF(rows); i++)
    add_row(&f, rows[i]);
  tell(&f, &said);
  assert_int_equal(said.count, COUNT_OF(want));
  for (size_t i = 0; i < COUNT_OF(want); i++)
    assert_string_equal(said.line[i], want[i]);
  release(&said);
}

static void test_bound(void **state) {
  static const char *const row[6] = {"1", "1", "", "5", "x", ""};
  struct answer_fixture f;
  struct said said;
  (void)state;
  begin(&f);
  for (int i = 0; i < 9; i++)
    add_row(&f, row);
  tell(&f, &said);
  assert_int_equal(said.count, SKIPS_LINES);
  assert_string_equal(said.line[SKIPS_LINES - 1], "... and 5 more nodes or reasons; `shard build --json` has them all");
  release(&said);
  f.rows.next = 9;
  tell(&f, &said);
  assert_non_null(strstr(said.line[SKIPS_LINES - 1], "... and at least 5 more nodes"));
  release(&said);
}

// Another version's answer, or none.
static void test_nothing(void **state) {
  struct answer_fixture f;
  struct said said;
  (void)state;
  begin(&f);
  tell(&f, &said);
  assert_int_equal(said.count, 0);
  fixture_init(&f);
  fixture_column(&f, "else", SHARDD__COLUMN_TYPE__COLUMN_TEXT);
  fixture_cell(&f, "1");
  tell(&f, &said);
  assert_int_equal(said.count, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_bound),
                                     cmocka_unit_test(test_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
