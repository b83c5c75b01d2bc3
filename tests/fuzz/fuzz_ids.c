// Lists of ids, a line each: whole or in parts the same list; numbers are places in byte order, every id is found, and
// reports can name it.
#include "proto/msg.h"
#include "tests/fuzz/fuzz_file.h"
#include "worker/command_list.h"
#include "worker/junit.h"

static struct testlist *read_parts(const uint8_t *bytes, size_t n, uint64_t *state) {
  struct command_list *reader = command_list_new();
  char why[400] = "";
  for (size_t at = 0, part; at < n; at += part) {
    part = state ? fuzz_part(state, n - at) : n;
    command_list_feed(reader, (const char *)bytes + at, part);
  }
  struct testlist *list = command_list_finish(reader, why, sizeof why);
  if (list == NULL) fuzz_check_harmless(why);
  command_list_free(reader);
  return list;
}

static void check_id(const struct testlist *list, uint32_t number) {
  const char *id = testlist_id(list, testlist_position(list, number));
  FUZZ_CHECK(msg_id_valid(id, strlen(id)) && testlist_find(list, id, strlen(id)) == number);
  if (number > 0) FUZZ_CHECK(strcmp(testlist_id(list, testlist_position(list, number - 1)), id) < 0);
  char *classname, *name;
  junit_split_id(id, &classname, &name);
  FUZZ_CHECK(classname != NULL && name != NULL && strlen(name) <= strlen(id));
  free(classname);
  free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  uint64_t state = fuzz_hash(FUZZ_HASH_START, bytes, n);
  struct testlist *whole = read_parts(bytes, n, NULL), *split = read_parts(bytes, n, &state);
  FUZZ_CHECK((whole == NULL) == (split == NULL));
  if (whole != NULL) {
    FUZZ_CHECK(testlist_count(whole) == testlist_count(split));
    FUZZ_CHECK(memcmp(testlist_digest(whole), testlist_digest(split), MSG_DIGEST_BYTES) == 0);
    for (uint32_t i = 0; i < testlist_count(whole); i++)
      check_id(whole, i);
  }
  testlist_free(whole);
  testlist_free(split);
  return 0;
}
