// Unit tests of the pages in which the server sends a list: all of it, in order, within the bounds, whatever order its
// files have.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "proto/frame.h"
#include "server/listing.h"

static struct build build;
static struct listing_page page;

static void begin(void) {
  memset(&build, 0, sizeof(build));
  names_init(&build.ids, 1);
  map_init(&build.files, 1);
}

static void end(void) {
  names_release(&build.ids);
  map_release(&build.files);
  free(build.file_of);
}

static void add_file(const char *name, size_t bytes) {
  static char text[2000];
  bool added;
  assert_in_range(bytes, strlen(name), sizeof(text));
  memset(text, 'f', sizeof(text));
  memcpy(text, name, strlen(name));
  map_add(&build.files, text, bytes, &added);
  assert_true(added);
}

static void add_test(const char *name, size_t bytes, uint32_t file) {
  static char text[MSG_ID_MAX_BYTES];
  bool added;
  memset(text, 't', sizeof(text));
  memcpy(text, name, strlen(name));
  uint32_t position = names_add(&build.ids, text, bytes, &added);
  assert_true(added);
  if ((position & (position - 1)) == 0)
    build.file_of = base_realloc(build.file_of, position ? position * 2 : 1, sizeof(*build.file_of));
  build.file_of[position] = file;
}

// Takes all pages and compares them with the build's list; returns their number.
static uint32_t check_pages(void) {
  static char name[MSG_ID_MAX_BYTES];
  uint32_t tests = 0, files = 0, count = 0;
  for (bool last = false; !last; count++) {
    last = listing_page_fill(&page, &build, tests, files);
    assert_true(last || page.ids + page.files > 0);
    assert_true(page.bytes <= LISTING_PAGE_BYTES || page.ids + page.files == 1);
    for (uint32_t i = 0; i < page.files; i++) {
      assert_int_equal(page.file[i].len, map_length(&build.files, files + i));
      assert_memory_equal(page.file[i].data, map_name(&build.files, files + i), page.file[i].len);
    }
    files += page.files;
    for (uint32_t i = 0; i < page.ids; i++) {
      assert_int_equal(page.id[i].len, names_copy(&build.ids, tests + i, name));
      assert_memory_equal(page.id[i].data, name, page.id[i].len);
      assert_int_equal(page.file_of[i], build.file_of[tests + i]);
      assert_true(page.file_of[i] == UINT32_MAX || page.file_of[i] < files);
    }
    tests += page.ids;
  }
  assert_int_equal(tests, build.ids.count);
  return count;
}

static void test_small_lists(void **state) {
  (void)state;
  begin();
  assert_int_equal(check_pages(), 1);
  assert_int_equal(page.ids, 0);
  add_test("none", 4, UINT32_MAX);
  assert_int_equal(check_pages(), 1);
  add_file("unused", 6);
  add_file("a", 1);
  add_test("a::1", 4, 1);
  assert_int_equal(check_pages(), 1);
  assert_int_equal(page.files, 2);
  end();
}

static void test_rows_and_bytes_are_bounded(void **state) {
  (void)state;
  char name[32];
  begin();
  for (uint32_t i = 0; i < 12000; i++) {
    (void)snprintf(name, sizeof(name), "%u", i);
    if (i % 4 == 0) add_file(name, strlen(name));
    add_test(name, strlen(name), i / 4);
  }
  assert_int_equal(check_pages(), 3);
  end();
  begin();
  add_file("a", 1);
  for (uint32_t i = 0; i < 300; i++) {
    (void)snprintf(name, sizeof(name), "%u ", i);
    add_test(name, MSG_ID_MAX_BYTES, 0);
  }
  assert_in_range(check_pages(), 5, 6);
  end();
}

// Its first test is of the last of many long names: these take pages of their own, and each fits a frame.
static void test_files_before_their_tests(void **state) {
  (void)state;
  char name[32];
  begin();
  for (uint32_t i = 0; i < 3000; i++) {
    (void)snprintf(name, sizeof(name), "%u ", i);
    add_file(name, MSG_NAME_MAX_BYTES);
  }
  add_test("last", 4, 2999);
  add_test("first", 5, 0);
  assert_false(listing_page_fill(&page, &build, 0, 0));
  assert_int_equal(page.ids, 0);
  assert_in_range(check_pages(), 12, 13);
  assert_int_equal(page.ids, 2);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_small_lists),
      cmocka_unit_test(test_rows_and_bytes_are_bounded),
      cmocka_unit_test(test_files_before_their_tests),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
