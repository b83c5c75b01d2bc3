// The JSON of ctest: tests that are taken keep every rule of a list, their marks those of the wire; the same JSON
// written otherwise gives the same list; and so does the reader of lists, in parts.
#include <jansson.h>

#include "proto/msg.h"
#include "tests/fuzz/fuzz_file.h"
#include "worker/command_list.h"
#include "worker/ctest_list.h"

static uint64_t hash_list(const struct testlist *list) {
  uint64_t sum = FUZZ_HASH_START;
  uint32_t position, mark;
  for (size_t i = 0; i < testlist_count(list); i++)
    sum = fuzz_hash_number(fuzz_hash_text(sum, testlist_id(list, i)), testlist_unit(list, i));
  for (size_t i = 0; i < testlist_marks(list); i++) {
    testlist_mark_at(list, i, &position, &mark);
    sum = fuzz_hash_text(fuzz_hash_number(sum, position), testlist_mark_name(list, mark));
  }
  return sum;
}

static void check_list(const struct testlist *list) {
  uint32_t position, mark, last = 0;
  for (size_t i = 0; i < testlist_count(list); i++) {
    const char *id = testlist_id(list, i);
    FUZZ_CHECK(msg_id_valid(id, strlen(id)) && testlist_file(list, i) == NULL && testlist_unit(list, i) == i);
  }
  for (size_t i = 0; i < testlist_mark_names(list); i++) {
    const char *name = testlist_mark_name(list, i);
    FUZZ_CHECK((name[0] == 'g' || name[0] == 't') && name[1] != '\0' && strchr(name, '\n') == NULL);
    FUZZ_CHECK(strlen(name) <= MSG_NAME_MAX_BYTES);
  }
  for (size_t i = 0; i < testlist_marks(list); i++) {
    testlist_mark_at(list, i, &position, &mark);
    FUZZ_CHECK(position >= last && position < testlist_count(list) && mark < testlist_mark_names(list));
    last = position;
  }
}

// 0: refused.
static uint64_t take(const char *text, size_t n) {
  char why[400] = "";
  struct testlist *list = testlist_new();
  uint64_t sum = 0;
  if (ctest_list_read(list, text, n, why, sizeof why) == 0) {
    check_list(list);
    sum = hash_list(list);
  } else {
    fuzz_check_harmless(why);
  }
  testlist_free(list);
  return sum;
}

static void read_again(const char *text, size_t n, size_t flags, uint64_t sum) {
  json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
  char *other = json_dumps(root, flags);
  FUZZ_CHECK(other != NULL && take(other, strlen(other)) == sum);
  free(other);
  json_decref(root);
}

static void read_parts(const uint8_t *bytes, size_t n, uint64_t sum) {
  uint64_t state = fuzz_hash(FUZZ_HASH_START, bytes, n);
  struct command_list *reader = command_list_new();
  char why[400] = "";
  for (size_t at = 0, part; at < n; at += part) {
    part = fuzz_part(&state, n - at);
    command_list_feed(reader, (const char *)bytes + at, part);
  }
  struct testlist *list = command_list_finish(reader, why, sizeof why);
  if (list == NULL)
    fuzz_check_harmless(why);  // an id may have come twice
  else
    FUZZ_CHECK(hash_list(list) == sum);
  testlist_free(list);
  command_list_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  char *text = base_memdup0(bytes, n);
  uint64_t sum = take(text, n);
  if (sum != 0) {
    read_again(text, n, JSON_COMPACT | JSON_SORT_KEYS, sum);
    read_again(text, n, JSON_INDENT(2) | JSON_ENSURE_ASCII, sum);
    if (n > 0 && bytes[0] == '{') read_parts(bytes, n, sum);
  }
  free(text);
  return 0;
}
