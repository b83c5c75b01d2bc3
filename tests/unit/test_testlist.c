// Unit tests of the collected list: bounds, order by bytes, files, duplicates, digest (known from sha256sum).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "proto/msg.h"
#include "worker/testlist.h"

static void add(struct testlist *list, const char *id, const char *file, uint32_t unit) {
  assert_int_equal(testlist_add(list, id, strlen(id), file, unit), 0);
}

static void hex(const uint8_t *digest, char out[65]) {
  for (size_t i = 0; i < 32; i++)
    (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void test_empty(void **state) {
  (void)state;
  struct testlist *list = testlist_new();
  char text[65];
  assert_int_equal(testlist_seal(list), 0);
  assert_int_equal(testlist_count(list), 0);
  assert_int_equal(testlist_file_count(list), 0);
  assert_int_equal(testlist_find(list, "a", 1), -1);
  hex(testlist_digest(list), text);
  assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  testlist_free(list);
  testlist_free(NULL);
}

static void test_order_and_digest(void **state) {
  (void)state;
  struct testlist *list = testlist_new();
  add(list, "b", "f2", 7);
  add(list, "a::z", "f1", 3);
  add(list, "\xc3\xa9", NULL, 1);
  add(list, "a", "f2", 3);
  assert_int_equal(testlist_seal(list), 0);
  assert_int_equal(testlist_seal(list), 0);        // a second time changes nothing
  static const size_t positions[] = {3, 1, 0, 2};  // a, a::z, b, é
  for (uint32_t i = 0; i < 4; i++)
    assert_int_equal(testlist_position(list, i), positions[i]);
  assert_string_equal(testlist_id(list, 1), "a::z");
  assert_string_equal(testlist_file(list, 0), "f2");
  assert_null(testlist_file(list, 2));
  assert_int_equal(testlist_file_index(list, 2), TESTLIST_NO_FILE);
  assert_int_equal(testlist_file_index(list, 0), testlist_file_index(list, 3));
  assert_int_equal(testlist_file_count(list), 2);
  assert_string_equal(testlist_file_name(list, 1), "f1");
  assert_int_equal(testlist_unit(list, 0), 7);
  assert_int_equal(testlist_find(list, "b", 1), 2);
  assert_int_equal(testlist_find(list, "a::", 3), -1);
  char text[65];  // printf 'a\na::z\nb\n\303\251\n' | sha256sum
  hex(testlist_digest(list), text);
  assert_string_equal(text, "1f0067fd7ad8591e1903f3e1e621e1babd88d865d06fb899be66697ac5c21a88");
  testlist_free(list);
}

static void test_duplicates(void **state) {
  (void)state;
  struct testlist *list = testlist_new();
  static const char *const ids[] = {"x", "y", "x", "z", "x", "y"};
  for (size_t i = 0; i < COUNT_OF(ids); i++)
    add(list, ids[i], NULL, 0);
  assert_int_equal(testlist_seal(list), 2);
  assert_string_equal(testlist_duplicate(list, 0), "x");
  assert_string_equal(testlist_duplicate(list, 1), "y");
  testlist_free(list);
}

static void test_bounds(void **state) {
  (void)state;
  struct testlist *list = testlist_new();
  char *id = base_malloc(MSG_ID_MAX_BYTES + 1);
  memset(id, 'i', MSG_ID_MAX_BYTES + 1);
  assert_int_equal(testlist_add(list, id, MSG_ID_MAX_BYTES + 1, NULL, 0), -1);
  assert_int_equal(testlist_add(list, id, MSG_ID_MAX_BYTES, NULL, 0), 0);
  assert_int_equal(testlist_add(list, "", 0, NULL, 0), -1);
  assert_int_equal(testlist_add(list, "a\nb", 3, NULL, 0), -1);
  assert_int_equal(testlist_add(list, "a\0b", 3, NULL, 0), -1);
  id[MSG_NAME_MAX_BYTES + 1] = '\0';  // a file name that cannot go over the wire
  assert_int_equal(testlist_add(list, "long file", 9, id, 0), 0);
  assert_int_equal(testlist_add(list, "no file", 7, "", 0), 0);
  assert_int_equal(testlist_count(list), 3);
  assert_null(testlist_file(list, 1));
  assert_null(testlist_file(list, 2));
  testlist_free(list);
  free(id);
}

static void test_full(void **state) {
  (void)state;
  struct testlist *list = testlist_new();
  char id[32], file[32];
  for (uint32_t i = 0; i < MSG_LIST_MAX; i++) {
    (void)snprintf(id, sizeof(id), "t%u", i);
    (void)snprintf(file, sizeof(file), "f%u", i / 10);
    assert_int_equal(testlist_add(list, id, strlen(id), file, i), 0);
  }
  assert_int_equal(testlist_add(list, "one more", 8, NULL, 0), -1);
  assert_int_equal(testlist_seal(list), 0);
  assert_int_equal(testlist_count(list), MSG_LIST_MAX);
  assert_int_equal(testlist_file_count(list), MSG_LIST_MAX / 10);
  for (uint32_t i = 0; i < MSG_LIST_MAX; i += 997) {
    (void)snprintf(id, sizeof(id), "t%u", i);
    int64_t number = testlist_find(list, id, strlen(id));
    assert_true(number >= 0);
    assert_int_equal(testlist_position(list, (uint32_t)number), i);
    (void)snprintf(file, sizeof(file), "f%u", i / 10);
    assert_string_equal(testlist_file(list, i), file);
  }
  testlist_set_max_failures(list, 3);
  assert_int_equal(testlist_max_failures(list), 3);
  testlist_free(list);
}

static void test_tests_of_a_file(void **state) {
  (void)state;
  struct testlist *list = testlist_new();
  add(list, "b::1", "b", 0);
  add(list, "a::1", "a", 0);
  add(list, "b::2", "b", 0);
  add(list, "none", NULL, 0);
  for (uint32_t i = 0; i < 200; i++) {  // grows
    char id[32], file[32];
    (void)snprintf(id, sizeof(id), "c%u", i);
    (void)snprintf(file, sizeof(file), "f%u", i);
    add(list, id, file, 0);
  }
  assert_int_equal(testlist_file_find(list, "b"), 0);
  assert_int_equal(testlist_file_tests(list, 0), 2);
  assert_int_equal(testlist_file_find(list, "a"), 1);
  assert_int_equal(testlist_file_tests(list, 1), 1);
  assert_int_equal(testlist_file_tests(list, testlist_file_find(list, "f199")), 1);
  assert_int_equal(testlist_file_find(list, "c"), TESTLIST_NO_FILE);
  testlist_free(list);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_empty),      cmocka_unit_test(test_order_and_digest),
      cmocka_unit_test(test_duplicates), cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_full),       cmocka_unit_test(test_tests_of_a_file),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
