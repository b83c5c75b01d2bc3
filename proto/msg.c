// Messages in and out: protobuf-c behind an arena with a hard ceiling, then the rules of msg_check.c. Stands between
// framing and dispatch on the lease's path, on both sides of the wire; the only file that calls protobuf-c's pack and
// unpack. Knows nothing of sockets, builds or workers.
//
// protobuf-c's own unpacking is bounded by nothing: a frame of 1 MiB may ask for 80 MiB. All of it comes from the
// arena, which says no at its ceiling; protobuf-c then gives up cleanly. Nothing is freed one by one: the next unpack
// starts the arena again from its beginning.
#include "proto/msg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/msg_check.h"

enum { ARENA_ALIGN = 8 };  // the strictest member of a generated struct

struct msg_arena {
  ProtobufCAllocator allocator;
  uint8_t *bytes;
  size_t used;
  size_t max;
  bool exceeded;
};

static void *on_alloc(void *arg, size_t bytes);
static void on_free(void *arg, void *memory);

struct msg_arena *msg_arena_new(size_t max_bytes) {
  struct msg_arena *arena = calloc(1, sizeof *arena);
  if (arena == NULL) return NULL;
  arena->bytes = malloc(max_bytes > 0 ? max_bytes : 1);
  if (arena->bytes == NULL) {
    free(arena);
    return NULL;
  }
  arena->max = max_bytes;
  arena->allocator = (ProtobufCAllocator){.alloc = on_alloc, .free = on_free, .allocator_data = arena};
  return arena;
}

void msg_arena_free(struct msg_arena *arena) {
  if (arena == NULL) return;
  free(arena->bytes);
  free(arena);
}

const Shardd__Frame *msg_unpack(struct msg_arena *arena, const uint8_t *body, size_t n, const char **why) {
  arena->used = 0;
  arena->exceeded = false;
  const Shardd__Frame *frame = shardd__frame__unpack(&arena->allocator, n, body);
  if (frame == NULL) {
    *why = arena->exceeded ? "the message takes too much memory" : "the bytes are no protobuf message of this protocol";
    return NULL;
  }
  const char *broken = msg_check(frame);
  if (broken == NULL) return frame;
  *why = broken;
  return NULL;
}

size_t msg_packed_bytes(const Shardd__Frame *frame) {
  size_t body_bytes = shardd__frame__get_packed_size(frame);
  if (body_bytes == 0 || body_bytes > FRAME_MAX_BYTES) return 0;
  return FRAME_HEADER_BYTES + body_bytes;
}

size_t msg_pack(const Shardd__Frame *frame, uint8_t *out) {
  size_t body_bytes = shardd__frame__pack(frame, out + FRAME_HEADER_BYTES);
  frame_put_header(out, body_bytes);
  return FRAME_HEADER_BYTES + body_bytes;
}

const char *msg_name(const Shardd__Frame *frame) {
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(&shardd__frame__descriptor, (unsigned)frame->body_case);
  return frame->body_case == SHARDD__FRAME__BODY__NOT_SET || field == NULL ? "nothing" : field->name;
}

ProtobufCBinaryData msg_bytes(const void *bytes, size_t n) {
  // The type has no const; packing only reads.
  union {
    const void *in;
    uint8_t *out;
  } data = {.in = bytes};
  return (ProtobufCBinaryData){.len = n, .data = data.out};
}

ProtobufCBinaryData msg_text(const char *text) {
  return msg_bytes(text, text == NULL ? 0 : strlen(text));
}

bool msg_id_valid(const void *bytes, size_t n) {
  if (n == 0 || n > MSG_ID_MAX_BYTES) return false;
  return memchr(bytes, '\0', n) == NULL && memchr(bytes, '\n', n) == NULL;
}

// protobuf-c asks for memory here while it unpacks; NULL makes it give up.
static void *on_alloc(void *arg, size_t bytes) {
  struct msg_arena *arena = arg;
  size_t room = arena->max - arena->used;
  if (bytes > room) {
    arena->exceeded = true;
    return NULL;
  }
  void *memory = arena->bytes + arena->used;
  size_t padded = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
  arena->used += padded < room ? padded : room;
  assert(arena->used <= arena->max);
  return memory;
}

static void on_free(void *arg, void *memory) {
  (void)arg;
  (void)memory;
}
