// JUnit XML: whole or in parts, the same cases and the same end; the matcher takes them.
#include "tests/fuzz/fuzz_file.h"
#include "tests/fuzz/fuzz_results.h"

struct seen {
  uint64_t cases, sum;
  struct command_results *results;
};

static void on_case(void *arg, const struct junit_case *c) {
  struct seen *seen = arg;
  FUZZ_CHECK(c->suite && c->classname && c->file && c->message && c->text_bytes <= EXCERPT_TEXT_MAX_BYTES);
  FUZZ_CHECK(c->text != NULL || c->text_bytes == 0);
  const char *const texts[] = {c->suite, c->classname, c->name ? c->name : "", c->file, c->message};
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    seen->sum = fuzz_hash_text(seen->sum, texts[i]);
  seen->sum = fuzz_hash(seen->sum, c->text, c->text_bytes);
  seen->sum = fuzz_hash_number(seen->sum, c->status);
  seen->sum = fuzz_hash_number(seen->sum, c->has_time ? c->time_us : UINT64_MAX);
  seen->cases++;
  command_results_on_junit(seen->results, c);
}

static int read_parts(const uint8_t *bytes, size_t n, uint64_t *state, struct seen *seen) {
  struct junit *reader = junit_new(on_case, seen);
  int rc = 0;
  size_t at = 0, part;
  do {
    part = state ? fuzz_part(state, n - at + (n == at)) : n;
    if (part > n - at) part = n - at;
    rc = junit_feed(reader, (const char *)bytes + at, part, at + part == n);
    at += part;
  } while (rc == 0 && at < n);
  if (rc != 0) fuzz_check_harmless(junit_why(reader));
  junit_free(reader);
  fuzz_settle(seen->results, rc == 0);
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct seen whole = {.sum = FUZZ_HASH_START, .results = command_results_new(fuzz_ids, COUNT_OF(fuzz_ids))};
  struct seen split = {.sum = FUZZ_HASH_START, .results = command_results_new(fuzz_ids, COUNT_OF(fuzz_ids))};
  uint64_t state = fuzz_hash(FUZZ_HASH_START, bytes, n);
  int one = read_parts(bytes, n, NULL, &whole), two = read_parts(bytes, n, &state, &split);
  FUZZ_CHECK(one == two && whole.cases == split.cases && whole.sum == split.sum);
  return 0;
}
