// Arrays of row numbers as blobs: each value as the difference to the one before it, zigzag, then 7 bits a byte. A list
// whose tests were first seen together packs to one byte a test. Called by the files of the store that read and write
// lists and rounds. Must not know what the numbers stand for; what it reads may be damaged.
#include <stdlib.h>

#include "server/store_impl.h"

enum { VARINT_MAX = 5 };  // bytes of 33 bits

unsigned char *store_pack(const uint32_t *values, size_t count, size_t *bytes) {
  unsigned char *out = base_malloc(count * VARINT_MAX + 1);
  size_t at = 0;
  int64_t before = 0;
  for (size_t i = 0; i < count; i++) {
    int64_t step = (int64_t)values[i] - before;
    uint64_t zigzag = step < 0 ? ((uint64_t)-step << 1) - 1 : (uint64_t)step << 1;
    for (; zigzag >= 0x80; zigzag >>= 7)
      out[at++] = (unsigned char)(zigzag | 0x80);
    out[at++] = (unsigned char)zigzag;
    before = values[i];
  }
  *bytes = at;
  return out;
}

int store_unpack(const void *blob, size_t bytes, uint32_t *values, size_t count) {
  const unsigned char *in = blob;
  size_t at = 0;
  int64_t value = 0;
  for (size_t i = 0; i < count; i++) {
    uint64_t zigzag = 0;
    unsigned shift = 0;
    do {
      if (at == bytes || shift == 7 * VARINT_MAX) return -1;
      zigzag |= (uint64_t)(in[at] & 0x7f) << shift;
      shift += 7;
    } while (in[at++] & 0x80);
    value += zigzag & 1 ? -(int64_t)(zigzag >> 1) - 1 : (int64_t)(zigzag >> 1);
    if (value < 0 || value > UINT32_MAX) return -1;
    values[i] = (uint32_t)value;
  }
  return at == bytes ? 0 : -1;
}
