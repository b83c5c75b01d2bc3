// quarantine.yml: what is taken may go to the server as it is, and comes back the same when written and read again;
// what is refused names the file and the line.
#include "proto/msg.h"
#include "tests/fuzz/fuzz_file.h"
#include "worker/quarantine_file.h"

enum { ENTRIES_MAX = 2000 };

static uint64_t hash_entry(uint64_t sum, const struct quarantine_entry *entry) {
  const char *const texts[] = {entry->test, entry->reason, entry->who, entry->ticket};
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    sum = fuzz_hash_text(sum, texts[i]);
  return fuzz_hash_number(sum, entry->life_ms);
}

static void check_entry(const struct yaml_tree *tree, const struct quarantine_entry *entry) {
  FUZZ_CHECK(msg_id_valid(entry->test, strlen(entry->test)) && quarantine_file_has(tree, entry->test));
  FUZZ_CHECK(entry->reason[0] != '\0' && strlen(entry->reason) <= MSG_NAME_MAX_BYTES);
  FUZZ_CHECK(strlen(entry->who) <= MSG_NAME_MAX_BYTES && strlen(entry->ticket) <= MSG_NAME_MAX_BYTES);
  FUZZ_CHECK(entry->file && entry->life_ms <= UINT64_C(8030) * 366 * 86400 * 1000);  // the year has four digits
}

// Of all entries that have not ended; *good: none was refused.
static uint64_t take(const char *name, const void *bytes, size_t n, FILE *out, bool *good) {
  struct yaml_error error = {""};
  struct quarantine_entry entry;
  uint64_t sum = FUZZ_HASH_START;
  struct yaml_tree *tree = yaml_parse(name, bytes, n, &error);
  *good = tree != NULL && quarantine_file_check(tree, &error) == 0 && quarantine_file_count(tree) <= ENTRIES_MAX;
  for (size_t i = 0; *good && i < quarantine_file_count(tree); i++) {
    *good = quarantine_file_entry(tree, i, 0, &entry, &error) == 0;
    if (!*good) break;
    check_entry(tree, &entry);
    if (entry.life_ms == 0) continue;  // before 1970
    sum = hash_entry(sum, &entry);
    quarantine_file_write(out, &entry, entry.life_ms);
  }
  if (error.text[0] != '\0') fuzz_check_refused(error.text, name, n + 2);  // YAML knows more line breaks than one
  yaml_tree_free(tree);
  return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  char *first = NULL, *second = NULL;
  size_t first_bytes = 0, second_bytes = 0;
  bool good = false, again = false;
  FILE *out = open_memstream(&first, &first_bytes);
  FUZZ_CHECK(out != NULL);
  uint64_t sum = take("q.yml", bytes, n, out, &good);
  FUZZ_CHECK(fclose(out) == 0);
  if (good && first_bytes <= YAML_MAX_BYTES) {
    out = open_memstream(&second, &second_bytes);
    FUZZ_CHECK(out != NULL);
    FUZZ_CHECK(take("again.yml", first, first_bytes, out, &again) == sum && again);
    FUZZ_CHECK(fclose(out) == 0 && strcmp(first, second) == 0);
  }
  free(first);
  free(second);
  return 0;
}
