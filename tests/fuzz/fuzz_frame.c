// Framing: a stream gives the same frames, and ends the same way, whether it comes whole or in parts.
#include "proto/frame.h"
#include "tests/fuzz/fuzz.h"

struct seen {
  uint64_t frames, sum;
  enum frame_result end;
};

// What a connection does with the bytes it has: takes all whole frames from the front.
static size_t take(const uint8_t *bytes, size_t n, struct seen *seen) {
  size_t at = 0, body = 0;
  for (;;) {
    size_t left = n - at;
    seen->end = frame_find(bytes + at, left, FRAME_SMALL_MAX_BYTES, &body);
    if (seen->end == FRAME_PARTIAL)
      FUZZ_CHECK(body > left && body <= FRAME_HEADER_BYTES + FRAME_SMALL_MAX_BYTES &&
                 (left < FRAME_HEADER_BYTES) == (body == FRAME_HEADER_BYTES));
    if (seen->end != FRAME_COMPLETE) return at;
    uint8_t header[FRAME_HEADER_BYTES];
    FUZZ_CHECK(body > 0 && body <= FRAME_SMALL_MAX_BYTES && FRAME_HEADER_BYTES + body <= left);
    frame_put_header(header, body);
    FUZZ_CHECK(memcmp(header, bytes + at, sizeof header) == 0);
    seen->frames++;
    seen->sum = fuzz_hash(seen->sum, bytes + at, FRAME_HEADER_BYTES + body);
    at += FRAME_HEADER_BYTES + body;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct seen whole = {.sum = FUZZ_HASH_START}, split = {.sum = FUZZ_HASH_START};
  uint64_t state = fuzz_hash(FUZZ_HASH_START, bytes, n);
  uint8_t *buffer = malloc(n + 1);
  size_t held = 0;
  FUZZ_CHECK(buffer != NULL);
  size_t taken = take(bytes, n, &whole);
  split.end = FRAME_PARTIAL;
  for (size_t at = 0, part; at < n && split.end == FRAME_PARTIAL; at += part) {
    part = fuzz_part(&state, n - at);
    memcpy(buffer + held, bytes + at, part);
    held += part;
    size_t gone = take(buffer, held, &split);
    held -= gone;
    memmove(buffer, buffer + gone, held);
  }
  FUZZ_CHECK(whole.frames == split.frames && whole.sum == split.sum && whole.end == split.end);
  FUZZ_CHECK(whole.end != FRAME_PARTIAL || held == n - taken);
  free(buffer);
  return 0;
}
