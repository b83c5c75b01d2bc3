// Framing, pure: a frame is its body's length as u32 big-endian, then the body (one packed Frame message). The length
// is known after exactly four bytes and is checked before anything is allocated. Used by connections of both sides.
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

enum {
  FRAME_HEADER_BYTES = 4,
  FRAME_MAX_BYTES = 1024 * 1024,      // body; list chunks and query pages, after authentication
  FRAME_SMALL_MAX_BYTES = 64 * 1024,  // body; before authentication
};

enum frame_result {
  FRAME_COMPLETE,   // a whole frame stands at the front of the bytes
  FRAME_PARTIAL,    // more bytes are needed
  FRAME_TOO_LARGE,  // the length passes the bound: close the connection
  FRAME_EMPTY,      // length 0: close the connection
};

// Looks for a frame at the front of `n` bytes. COMPLETE sets *body_bytes (the body starts at bytes +
// FRAME_HEADER_BYTES). PARTIAL sets *body_bytes to how many bytes of header and body must be present before it is worth
// asking again.
enum frame_result frame_find(const uint8_t *bytes, size_t n, size_t max_body_bytes, size_t *body_bytes);

// Writes the header of a body of `body_bytes` (1 … FRAME_MAX_BYTES) to out[0…3].
void frame_put_header(uint8_t *out, size_t body_bytes);

#endif
