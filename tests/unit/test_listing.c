// Unit tests of the list as a worker handles it: sent in chunks, put together again from the server's, and compared
// with what one file holds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/download.h"
#include "worker/listing.h"

static void add(struct testlist *list, const char *id, const char *file) {
  assert_int_equal(testlist_add(list, id, strlen(id), file, 0), 0);
}

static struct testlist *make(const char *const (*tests)[2], size_t count) {
  struct testlist *list = testlist_new();
  for (size_t i = 0; i < count; i++)
    add(list, tests[i][0], tests[i][1]);
  testlist_seal(list);
  return list;
}

// ---- download

static void on_chunk(void *arg, const Shardd__Frame *frame) {
  struct download *download = arg;
  assert_int_equal(download_chunk(download, frame->list_chunk), frame->list_chunk->last ? 1 : 0);
}

static void test_what_is_sent_comes_together_again(void **state) {
  (void)state;
  static const size_t counts[] = {0, 1, 3, 12345};
  for (size_t c = 0; c < COUNT_OF(counts); c++) {
    struct testlist *list = testlist_new();
    char id[40], file[40];
    for (size_t i = 0; i < counts[c]; i++) {
      (void)snprintf(id, sizeof(id), "test %zu", counts[c] - i);
      (void)snprintf(file, sizeof(file), "file %zu", i / 3);
      add(list, id, i % 5 == 4 ? NULL : file);
    }
    testlist_seal(list);
    struct download *download = download_new();
    listing_send_to(list, on_chunk, download);
    Shardd__ListRequest request = SHARDD__LIST_REQUEST__INIT;
    download_request(download, &request);
    assert_int_equal(request.tests, counts[c]);
    assert_int_equal(request.files, testlist_file_count(list));
    struct testlist *again = download_take(download);
    assert_memory_equal(testlist_digest(again), testlist_digest(list), 32);
    for (size_t i = 0; i < counts[c]; i++) {
      assert_string_equal(testlist_id(again, i), testlist_id(list, i));
      assert_int_equal(testlist_file_index(again, i), testlist_file_index(list, i));
    }
    testlist_free(again);
    testlist_free(list);
    download_free(download);
  }
  download_free(NULL);
}

static int chunk_of(struct download *download, const char *id, const char *file, uint32_t file_of, bool last) {
  Shardd__ListChunk chunk = SHARDD__LIST_CHUNK__INIT;
  ProtobufCBinaryData ids[] = {msg_text(id)}, files[] = {msg_text(file)};
  uint32_t zero = 0;
  chunk.n_id = chunk.n_file_of = chunk.n_unit_of = id != NULL;
  chunk.id = ids;
  chunk.file_of = &file_of;
  chunk.unit_of = &zero;
  chunk.n_file = file != NULL;
  chunk.file = files;
  chunk.last = last;
  return download_chunk(download, &chunk);
}

static void test_chunks_that_make_no_sense(void **state) {
  (void)state;
  struct download *download = download_new();
  assert_int_equal(chunk_of(download, NULL, "a", 0, false), 0);
  assert_int_equal(chunk_of(download, "a::1", NULL, 0, false), 0);
  assert_int_equal(chunk_of(download, "a::2", NULL, 1, false), -1);  // a file that was not named
  assert_int_equal(chunk_of(download, "a\n", NULL, 0, false), -1);
  assert_int_equal(chunk_of(download, NULL, NULL, 0, false), -1);  // nothing, for ever
  assert_int_equal(chunk_of(download, "none", NULL, MSG_NO_FILE, false), 0);
  assert_int_equal(chunk_of(download, "a::1", NULL, 0, true), -1);  // twice
  download_free(download);
}

// ---- one file

static const char *const tests[][2] = {{"b::2", "b"}, {"b::1", "b"}, {"a::1", "a"}, {"x", NULL}, {"b::3", "b"}};

// What is printed when `found` is what the file holds; "": they agree.
static char *compare(const char *file, const char *const (*found)[2], size_t count, const char *text) {
  struct testlist *list = make(tests, COUNT_OF(tests)), *here = make(found, count);
  char *out;
  size_t bytes;
  FILE *stream = open_memstream(&out, &bytes);
  bool agrees = listing_file_agrees(list, file, here, text, stream);
  (void)fclose(stream);
  assert_int_equal(agrees, bytes == 0);
  testlist_free(list);
  testlist_free(here);
  return out;
}

static void check(const char *file, const char *const (*found)[2], size_t count, const char *wanted) {
  char *out = compare(file, found, count, "");
  if (!wanted) assert_string_equal(out, "");
  if (wanted) assert_non_null(strstr(out, wanted));
  free(out);
}

static void test_a_file_that_agrees(void **state) {
  (void)state;
  static const char *const b[][2] = {{"b::1", "b"}, {"b::2", "b"}, {"b::3", "b"}};
  static const char *const a[][2] = {{"a::1", "a"}};
  check("b", b, 3, NULL);
  check("a", a, 1, NULL);
  check("c", a, 0, NULL);  // the list has nothing of it, and neither has it
}

static void test_a_file_that_differs(void **state) {
  (void)state;
  static const char *const b[][2] = {{"b::1", "b"}, {"b::2", "b"}, {"b::4", "b"}, {"a::1", "b"}};
  check("b", b, 2, "shard: b holds other tests here than in the build's list:\n  - \"b::3\"\n  (- only");
  check("b", b, 3, "  - \"b::3\"\n  + \"b::4\"\n  (- only");
  check("b", b, 4, "  - \"b::3\"\n  + \"b::4\"\n  + \"a::1\"\n");  // there, but of another file
  check("c", b, 1, "shard: c holds other tests here than in the build's list:\n  + \"b::1\"\n");
  check("b", b, 0, "  - \"b::2\"\n  - \"b::1\"\n  - \"b::3\"\n");
  char *out = compare("b", b, 0, "ImportError: \033[31mno\nsecond line");
  assert_non_null(strstr(out, "ImportError: "));
  assert_non_null(strstr(out, "second line\n"));
  assert_null(strchr(out, '\033'));
  free(out);
}

static void test_many_differences(void **state) {
  (void)state;
  static char text[50][8];
  const char *found[50][2];
  for (size_t i = 0; i < COUNT_OF(found); i++) {
    (void)snprintf(text[i], sizeof(text[i]), "n%zu", i);
    found[i][0] = text[i];
    found[i][1] = "b";
  }
  check("b", found, 50, "  + \"n19\"\n  + … and 30 more\n");
}

int main(void) {
  const struct CMUnitTest all[] = {
      cmocka_unit_test(test_what_is_sent_comes_together_again),
      cmocka_unit_test(test_chunks_that_make_no_sense),
      cmocka_unit_test(test_a_file_that_agrees),
      cmocka_unit_test(test_a_file_that_differs),
      cmocka_unit_test(test_many_differences),
  };
  return cmocka_run_group_tests(all, NULL, NULL);
}
