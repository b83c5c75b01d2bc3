// Every message: what unpacks keeps the rules, and comes back the same after packing (unless it has fields of a later
// version, which nobody packs).
#include "proto/frame.h"
#include "proto/msg.h"
#include "proto/msg_check.h"
#include "tests/fuzz/fuzz.h"

static uint8_t packed[2][FRAME_HEADER_BYTES + FRAME_MAX_BYTES];

static size_t pack(const Shardd__Frame *frame, uint8_t *out) {
  size_t n = msg_packed_bytes(frame);
  if (n == 0) return 0;  // longer than it came: packed columns may be written shorter than they are read
  FUZZ_CHECK(n > FRAME_HEADER_BYTES && n <= sizeof packed[0]);
  FUZZ_CHECK(msg_pack(frame, out) == n);
  return n;
}

static bool of_later_version(const Shardd__Frame *frame) {
  const ProtobufCMessage *body = (const ProtobufCMessage *)frame->hello;  // whichever it is
  if (frame->base.n_unknown_fields > 0 || body->n_unknown_fields > 0) return true;
  return frame->body_case == SHARDD__FRAME__BODY_HELLO && frame->hello->policy &&
         frame->hello->policy->base.n_unknown_fields > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static struct msg_arena *arena;
  const char *why = NULL;
  if (arena == NULL) arena = msg_arena_new(MSG_ARENA_MAX_BYTES);
  FUZZ_CHECK(arena != NULL);
  const Shardd__Frame *frame = msg_unpack(arena, bytes, n, &why);
  if (frame == NULL) {
    FUZZ_CHECK(why != NULL && why[0] != '\0');
    return 0;
  }
  FUZZ_CHECK(msg_check(frame) == NULL && msg_name(frame)[0] != '\0');
  size_t first = of_later_version(frame) ? 0 : pack(frame, packed[0]);
  if (first == 0) return 0;
  frame = msg_unpack(arena, packed[0] + FRAME_HEADER_BYTES, first - FRAME_HEADER_BYTES, &why);
  FUZZ_CHECK(frame != NULL);
  size_t second = pack(frame, packed[1]);
  FUZZ_CHECK(first == second && memcmp(packed[0], packed[1], first) == 0);
  return 0;
}
