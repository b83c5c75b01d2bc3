// What the fuzz targets share. Each fuzz_NAME.c defines LLVMFuzzerTestOneInput: linked with libFuzzer by `make
// fuzz-NAME`, and with replay.c, which feeds the corpus, in `make check`. A target checks what must hold for any input
// with FUZZ_CHECK; the split of an input follows from its bytes, so that a finding repeats.
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_CHECK(condition)                                                       \
  do {                                                                              \
    if (!(condition)) {                                                             \
      (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                      \
    }                                                                               \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);  // optional

// FNV-1a, to be continued from an earlier sum.
enum { FUZZ_HASH_START = 0x811C9DC5 };
static inline uint64_t fuzz_hash(uint64_t sum, const void *bytes, size_t n) {
  const uint8_t *at = bytes;
  for (size_t i = 0; i < n; i++)
    sum = (sum ^ at[i]) * UINT64_C(0x100000001B3);
  return sum;
}

static inline uint64_t fuzz_hash_text(uint64_t sum, const char *text) {
  return fuzz_hash(sum, text, strlen(text) + 1);
}

static inline uint64_t fuzz_hash_number(uint64_t sum, uint64_t number) {
  return fuzz_hash(sum, &number, sizeof number);
}

// The next part of `left` bytes: at least one, mostly few.
static inline size_t fuzz_part(uint64_t *state, size_t left) {
  *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
  size_t part = 1 + (size_t)(*state >> 33) % (*state >> 60 ? 16 : 5000);
  return part < left ? part : left;
}

#endif
