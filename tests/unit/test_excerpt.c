// Unit tests of excerpts: everything under the bound is kept, head and tail above it, however it is cut into pieces.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the three above first
#include <cmocka.h>

#include "worker/excerpt.h"

enum { MAX = 1024 };

static void test_short_is_whole(void **state) {
  (void)state;
  struct excerpt excerpt;
  size_t n;
  excerpt_init(&excerpt, MAX);
  char *text = excerpt_text(&excerpt, &n);
  assert_string_equal(text, "");
  free(text);
  excerpt_add_text(&excerpt, "one ");
  excerpt_add(&excerpt, "t\0wo", 4);
  text = excerpt_text(&excerpt, &n);
  assert_int_equal(n, 8);
  assert_memory_equal(text, "one t\0wo", 9);
  free(text);
  excerpt_clear(&excerpt);
  text = excerpt_text(&excerpt, &n);
  assert_int_equal(n, 0);
  free(text);
  excerpt_release(&excerpt);
}

// Byte i is a function of i, so that what is kept can be checked wherever it was cut.
static char byte_at(size_t i) {
  return (char)('a' + i * 7 % 26);
}

static void check_kept(size_t total, size_t piece) {
  struct excerpt excerpt;
  char bytes[4096];
  excerpt_init(&excerpt, MAX);
  for (size_t at = 0; at < total;) {
    size_t n = total - at < piece ? total - at : piece;
    for (size_t i = 0; i < n; i++)
      bytes[i] = byte_at(at + i);
    excerpt_add(&excerpt, bytes, n);
    at += n;
  }
  size_t n, head = 0, tail = 0;
  char *text = excerpt_text(&excerpt, &n);
  assert_true(n <= MAX);
  while (head < n && head < total && text[head] == byte_at(head))
    head++;
  while (tail < n && tail < total && text[n - 1 - tail] == byte_at(total - 1 - tail))
    tail++;
  if (total <= excerpt.head_max + excerpt.tail_max) {
    assert_int_equal(n, total);
    assert_int_equal(head, total);
  } else {
    assert_true(head >= excerpt.head_max && tail >= excerpt.tail_max);
    assert_non_null(strstr(text, "bytes left out ..."));
  }
  free(text);
  excerpt_release(&excerpt);
}

static void test_head_and_tail(void **state) {
  (void)state;
  static const size_t pieces[] = {1, 3, 479, 480, 481, 960, 961, 4096};
  for (size_t p = 0; p < COUNT_OF(pieces); p++)
    for (size_t total = 0; total < 5000; total += total < 900 || total > 1100 ? 97 : 1)
      check_kept(total, pieces[p]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_short_is_whole), cmocka_unit_test(test_head_and_tail)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
