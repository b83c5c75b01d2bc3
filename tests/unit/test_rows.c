// Unit tests of server/rows.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/rows.h"

static const struct rows_column columns[] = {{"name", ROWS_TEXT}, {"n", ROWS_INT}, {"took", ROWS_DURATION_US}};

static void test_cells_in_order(void **state) {
  struct rows rows;
  (void)state;
  rows_init(&rows, columns, COUNT_OF(columns));
  assert_int_equal(rows_count(&rows), 0);
  rows_string(&rows, "first");
  rows_int(&rows, INT64_MIN);
  rows_none(&rows);
  rows_text(&rows, "a\0b", 3);
  assert_int_equal(rows_count(&rows), 1);  // the second row is not whole yet
  rows_int(&rows, INT64_MAX);
  rows_string(&rows, NULL);
  assert_int_equal(rows_count(&rows), 2);
  assert_string_equal(rows.cells[0].bytes, "first");
  assert_string_equal(rows.cells[1].bytes, "-9223372036854775808");
  assert_int_equal(rows.cells[2].n, 0);
  assert_int_equal(rows.cells[3].n, 3);
  assert_memory_equal(rows.cells[3].bytes, "a\0b", 4);
  assert_string_equal(rows.cells[4].bytes, "9223372036854775807");
  assert_int_equal(rows.cells[5].n, 0);
  assert_int_equal(rows.next, 0);
  rows_release(&rows);
  assert_int_equal(rows.cell_count, 0);
}

static void test_copies_and_counts_bytes(void **state) {
  struct rows rows;
  char text[] = "mine";
  (void)state;
  rows_init(&rows, columns, COUNT_OF(columns));
  rows_string(&rows, text);
  text[0] = 'X';
  assert_string_equal(rows.cells[0].bytes, "mine");
  assert_true(rows.bytes >= 4);
  size_t before = rows.bytes;
  rows_none(&rows);
  assert_true(rows.bytes > before);  // an empty cell takes room in a frame too
  rows_release(&rows);
}

static void test_grows(void **state) {
  struct rows rows;
  (void)state;
  rows_init(&rows, columns, COUNT_OF(columns));
  for (int64_t i = 0; i < 3000; i++)
    rows_int(&rows, i);
  assert_int_equal(rows_count(&rows), 1000);
  for (int64_t i = 0; i < 3000; i++) {
    char want[24];
    (void)snprintf(want, sizeof want, "%jd", (intmax_t)i);
    assert_string_equal(rows.cells[i].bytes, want);
  }
  rows_release(&rows);
}

static void test_release_of_nothing(void **state) {
  struct rows rows = {0};
  (void)state;
  assert_int_equal(rows_count(&rows), 0);
  rows_release(&rows);
  rows_init(&rows, columns, COUNT_OF(columns));
  rows_release(&rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cells_in_order),
      cmocka_unit_test(test_copies_and_counts_bytes),
      cmocka_unit_test(test_grows),
      cmocka_unit_test(test_release_of_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
