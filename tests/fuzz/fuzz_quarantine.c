// quarantine.yml: what is taken may go to the server as it is, and comes back the same when written and read again;
// what is refused names the file and the line.
#include "proto/msg.h"
#include "tests/fuzz/fuzz_file.h"
#include "worker/quarantine_file.h"

static uint64_t hash_entry(uint64_t sum, const struct quarantine_entry *entry) {
  const char *const texts[] = {entry->test, entry->reason, entry->who, entry->ticket};
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    sum = fuzz_hash_text(sum, texts[i]);
  return fuzz_hash_number(fuzz_hash_number(sum, entry->until_ms), entry->extend);
}

static void check_entry(const struct quarantine_file *file, const struct quarantine_entry *entry) {
  FUZZ_CHECK(msg_id_valid(entry->test, strlen(entry->test)) && quarantine_file_find(file, entry->test) == entry);
  FUZZ_CHECK(entry->reason[0] != '\0' && strlen(entry->reason) <= MSG_NAME_MAX_BYTES);
  FUZZ_CHECK(strlen(entry->who) <= MSG_NAME_MAX_BYTES && strlen(entry->ticket) <= MSG_NAME_MAX_BYTES);
  FUZZ_CHECK(entry->until_ms <= UINT64_C(8030) * 366 * 86400 * 1000);  // the year has four digits
}

// Of all entries that end after 1970; *good: nothing was refused.
static uint64_t take(const char *name, const void *bytes, size_t n, FILE *out, bool *good) {
  struct yaml_error error = {""};
  struct quarantine_file file;
  uint64_t sum = FUZZ_HASH_START;
  *good = quarantine_file_take(&file, yaml_parse(name, bytes, n, &error), &error) == 0;
  FUZZ_CHECK(*good == (error.text[0] == '\0'));
  if (!*good) {
    fuzz_check_refused(error.text, name, n + 2);  // YAML knows more line breaks than one
    return sum;
  }
  for (size_t i = 0; i < file.count; i++) {
    check_entry(&file, &file.entry[i]);
    if (file.entry[i].until_ms == 0) continue;
    sum = hash_entry(sum, &file.entry[i]);
    quarantine_file_print(out, &file.entry[i]);
  }
  if (fflush(out) == 0 && ftell(out) == 0) fputs("[]\n", out);
  quarantine_file_release(&file);
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
