// Framing: the length in front of each message. The first step of a lease's path (bytes -> connection -> frame), pure:
// no socket, no buffer, no memory. Called by server/conn.c and proto/client.c for every chunk they have read; knows
// nothing of what a frame holds. A length is judged as soon as its four bytes are there, so that nobody allocates or
// waits for a body that will be refused.
#include "proto/frame.h"

#include <assert.h>

static size_t read_length(const uint8_t *bytes) {
  return (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | (size_t)bytes[3];
}

enum frame_result frame_find(const uint8_t *bytes, size_t n, size_t max_body_bytes, size_t *body_bytes) {
  if (n < FRAME_HEADER_BYTES) {
    *body_bytes = FRAME_HEADER_BYTES;
    return FRAME_PARTIAL;
  }
  size_t length = read_length(bytes);
  if (length == 0) return FRAME_EMPTY;
  if (length > max_body_bytes) return FRAME_TOO_LARGE;
  if (n - FRAME_HEADER_BYTES < length) {
    *body_bytes = FRAME_HEADER_BYTES + length;
    return FRAME_PARTIAL;
  }
  *body_bytes = length;
  return FRAME_COMPLETE;
}

void frame_put_header(uint8_t *out, size_t body_bytes) {
  assert(body_bytes > 0 && body_bytes <= FRAME_MAX_BYTES);
  out[0] = (uint8_t)(body_bytes >> 24);
  out[1] = (uint8_t)(body_bytes >> 16);
  out[2] = (uint8_t)(body_bytes >> 8);
  out[3] = (uint8_t)body_bytes;
}
