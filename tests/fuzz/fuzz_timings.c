// Files of timings, the CSV reader below them included: what is taken keeps every rule, what is refused says where.
#include "proto/msg.h"
#include "tests/fuzz/fuzz.h"
#include "worker/timings.h"

static void check_taken(const struct timings *timings) {
  size_t count = testlist_count(timings->list);
  FUZZ_CHECK(count > 0 && count <= MSG_LIST_MAX && testlist_seal(timings->list) == 0);
  for (size_t i = 0; i < count; i++) {
    const char *id = testlist_id(timings->list, i), *file = testlist_file(timings->list, i);
    FUZZ_CHECK(msg_id_valid(id, strlen(id)) && timings->duration_us[i] <= MSG_EXPECTED_MAX_US);
    FUZZ_CHECK(file == NULL ||
               (file[0] != '\0' && strlen(file) <= MSG_NAME_MAX_BYTES && strncmp(id, file, strlen(file)) == 0));
  }
}

static void check_refused(const char *why) {
  char *end;
  FUZZ_CHECK(strncmp(why, "t.csv:", 6) == 0);
  unsigned long line = strtoul(why + 6, &end, 10);
  FUZZ_CHECK(line > 0 && *end == ':');
  unsigned long column = strtoul(end + 1, &end, 10);
  FUZZ_CHECK(column > 0 && strncmp(end, ": ", 2) == 0);
  for (const char *at = why; *at != '\0'; at++)
    FUZZ_CHECK((unsigned char)*at >= ' ' && *at != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct timings timings = {0};
  char why[640] = "";
  char *copy = base_memdup0(bytes, n);
  FILE *in = n > 0 ? fmemopen(copy, n, "r") : fopen("/dev/null", "re");
  FUZZ_CHECK(in != NULL);
  if (timings_read(&timings, in, "t.csv", why, sizeof why) == 0)
    check_taken(&timings);
  else
    check_refused(why);
  timings_release(&timings);
  FUZZ_CHECK(fclose(in) == 0);
  free(copy);
  return 0;
}
