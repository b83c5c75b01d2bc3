// A list that comes in chunks: a stream of frames, of which the list chunks are put together. What is accepted holds
// each id once, and each test's file is one of the list's.
#include "proto/frame.h"
#include "server/upload.h"
#include "tests/fuzz/fuzz.h"

// Small, so that lists come to their bound.
static struct budget budget = {.list_bytes = 64 << 10};

static void check(struct upload *upload) {
  const struct store_list *list = upload_list(upload, 7);
  struct map seen;
  bool added;
  map_init(&seen, 1);
  FUZZ_CHECK(list->build == 7 && list->count == upload_count(upload));
  for (uint32_t i = 0; i < list->count; i++) {
    map_add(&seen, list->id[i], strlen(list->id[i]), &added);
    FUZZ_CHECK(added && msg_id_valid(list->id[i], strlen(list->id[i])));
    FUZZ_CHECK(list->file_of[i] == UINT32_MAX || list->file_of[i] < list->file_count);
  }
  map_release(&seen);
}

// False: the rest of the stream is not looked at.
static bool add(struct upload *upload, const uint8_t *body, size_t n) {
  static struct msg_arena *arena;
  const char *why = NULL;
  if (arena == NULL) arena = msg_arena_new(MSG_ARENA_MAX_BYTES);
  const Shardd__Frame *frame = msg_unpack(arena, body, n, &why);
  if (frame == NULL || frame->body_case != SHARDD__FRAME__BODY_LIST_CHUNK) return frame != NULL;
  Shardd__ErrorCode code = upload_add(upload, frame->list_chunk, &why);
  FUZZ_CHECK(code == SHARDD__ERROR_CODE__ERROR_UNSET || why != NULL);
  return code == SHARDD__ERROR_CODE__ERROR_UNSET;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct upload *upload = upload_new(&budget, BUDGET_LISTS, 3);
  size_t at = 0, body = 0;
  while (frame_find(bytes + at, n - at, FRAME_MAX_BYTES, &body) == FRAME_COMPLETE &&
         add(upload, bytes + at + FRAME_HEADER_BYTES, body))
    at += FRAME_HEADER_BYTES + body;
  check(upload);
  upload_free(upload);
  FUZZ_CHECK(budget_used(&budget) == 0);
  return 0;
}
