// A list while it arrives, and what it holds. Called by listing.c (lists of workers) and plan.c (of planning clients).
// Bytes that it will hold once it is spelled for the store are counted as the tests come, so that a list that was taken
// in whole is never refused later. It must not know builds, connections or the queue.
#include "server/upload.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/marks.h"

struct upload {
  struct names ids;
  struct map files;
  uint32_t *file_of, *unit_of;
  uint32_t room;
  struct marks marks;
  char *marks_text;
  struct store_list list;
  const char **id, **file;
  char *text;  // what id points into
  bool taken;  // ids and files are the build's by now
  struct budget_share share;
  uint64_t beside_bytes;  // that the owner holds
  uint64_t due_us, seen_bytes;
};

struct upload *upload_new(struct budget *budget, enum budget_kind kind, uint64_t hash_seed) {
  struct upload *upload = base_calloc(1, sizeof *upload);
  upload->share = (struct budget_share){.budget = budget, .kind = kind};
  names_init(&upload->ids, hash_seed);
  map_init(&upload->files, hash_seed);
  return upload;
}

void upload_free(struct upload *upload) {
  if (!upload) return;
  budget_release(&upload->share);
  names_release(&upload->ids);
  map_release(&upload->files);
  marks_release(&upload->marks);
  free(upload->marks_text);
  free(upload->file_of);
  free(upload->unit_of);
  free(upload->id);
  free(upload->file);
  free(upload->text);
  free(upload);
}

struct names *upload_ids(struct upload *upload) {
  assert(!upload->taken);
  return &upload->ids;
}

uint32_t upload_count(const struct upload *upload) {
  return upload->ids.count;
}

static int upload_add_files(struct upload *upload, const Shardd__ListChunk *chunk, const char **why) {
  bool added;
  for (size_t i = 0; i < chunk->n_file; i++) {
    *why = "the list names too many files, or they have too many bytes";
    if (upload->files.count >= LIMIT_TESTS || upload->files.arena_bytes + chunk->file[i].len > LIMIT_LIST_BYTES)
      return -1;
    map_add(&upload->files, chunk->file[i].data, chunk->file[i].len, &added);
    *why = "a file is named twice in the list";
    if (!added) return -1;
  }
  return 0;
}

static int upload_add_test(struct upload *upload, const ProtobufCBinaryData *id, uint32_t file, uint32_t unit,
                           const char **why) {
  bool added;
  *why = "a test names a file that the list does not";
  if (file != UINT32_MAX && file >= upload->files.count) return -1;
  *why = "the list holds more than 500000 tests or too many bytes";
  if (upload->ids.count >= LIMIT_TESTS || upload->ids.name_bytes + id->len > LIMIT_LIST_BYTES) return -1;
  uint32_t position = names_add(&upload->ids, id->data, id->len, &added);
  *why = "a test stands twice in the list";
  if (!added) return -1;
  if (position >= upload->room) {
    upload->room = upload->room ? upload->room * 2 : 1024;
    upload->file_of = base_realloc(upload->file_of, upload->room, sizeof *upload->file_of);
    upload->unit_of = base_realloc(upload->unit_of, upload->room, sizeof *upload->unit_of);
  }
  upload->file_of[position] = file;
  upload->unit_of[position] = unit;
  return 0;
}

// `first`: the position of the chunk's first test.
static int upload_add_marks(struct upload *upload, const Shardd__ListChunk *chunk, uint32_t first, const char **why) {
  *why = "the list has too many groups and tokens";
  for (size_t i = 0; i < chunk->n_mark; i++) {
    const ProtobufCBinaryData *mark = &chunk->mark[i];
    if (marks_name(&upload->marks, (enum marks_kind)mark->data[0], mark->data + 1, mark->len - 1) < 0) return -1;
  }
  for (size_t i = 0; i < chunk->n_mark_test; i++) {
    *why = "a test carries a mark that the list does not name, or marks come out of order";
    if (chunk->mark_of[i] >= upload->marks.count) return -1;
    if (marks_add(&upload->marks, chunk->mark_of[i], first + chunk->mark_test[i]) < 0) return -1;
  }
  return 0;
}

static int upload_add_chunk(struct upload *upload, const Shardd__ListChunk *chunk, const char **why) {
  uint32_t first = upload->ids.count;
  if (upload_add_files(upload, chunk, why) < 0) return -1;
  for (size_t i = 0; i < chunk->n_id; i++) {
    uint32_t file = chunk->n_file_of ? chunk->file_of[i] : UINT32_MAX;
    uint32_t unit = chunk->n_unit_of ? chunk->unit_of[i] : (uint32_t)i;
    if (upload_add_test(upload, &chunk->id[i], file, unit, why) < 0) return -1;
  }
  return upload_add_marks(upload, chunk, first, why);
}

// ---- what it holds

static uint64_t upload_names_bytes(const struct names *names) {
  uint64_t slots = names->slot ? (uint64_t)names->slot_mask + 1 : 0;
  return names->arena_room + (names->room + slots) * sizeof *names->slot;
}

static uint64_t upload_map_bytes(const struct map *map) {
  uint64_t slots = map->slot ? (uint64_t)map->slot_mask + 1 : 0;
  return map->arena_room + (map->room + slots) * sizeof *map->slot;
}

// The copies that upload_list makes.
static uint64_t upload_spelled_bytes(const struct upload *upload) {
  uint64_t ids = upload->ids.name_bytes + upload->ids.count * (1 + sizeof *upload->id);
  return ids + upload->files.count * sizeof *upload->file + marks_text_bytes(&upload->marks);
}

static uint64_t upload_bytes(const struct upload *upload) {
  return sizeof *upload + upload_names_bytes(&upload->ids) + upload_map_bytes(&upload->files) +
         upload->room * (sizeof *upload->file_of + sizeof *upload->unit_of) + upload->marks.bytes +
         upload_spelled_bytes(upload) + upload->beside_bytes;
}

static Shardd__ErrorCode upload_count_bytes(struct upload *upload, const char **why) {
  switch (budget_hold(&upload->share, upload_bytes(upload))) {
    case BUDGET_GRANTED: return SHARDD__ERROR_CODE__ERROR_UNSET;
    case BUDGET_BUSY:
      *why = "lists of other clients fill the memory that the server keeps for them (list-memory)";
      return SHARDD__ERROR_CODE__ERROR_BUSY;
    case BUDGET_TOO_LARGE: break;
  }
  *why = "the list takes more memory than the server gives to one (half of list-memory)";
  return SHARDD__ERROR_CODE__ERROR_TOO_LARGE;
}

Shardd__ErrorCode upload_hold(struct upload *upload, uint64_t beside_bytes, const char **why) {
  uint64_t before_bytes = upload->beside_bytes;
  upload->beside_bytes = beside_bytes;
  Shardd__ErrorCode code = upload_count_bytes(upload, why);
  if (code != SHARDD__ERROR_CODE__ERROR_UNSET) upload->beside_bytes = before_bytes;
  return code;
}

Shardd__ErrorCode upload_add(struct upload *upload, const Shardd__ListChunk *chunk, const char **why) {
  if (upload_add_chunk(upload, chunk, why) < 0) return SHARDD__ERROR_CODE__ERROR_MALFORMED;
  return upload_count_bytes(upload, why);
}

uint64_t upload_due_us(struct upload *upload, uint64_t now_us, uint64_t patience_us) {
  uint64_t bytes = upload->ids.name_bytes + upload->files.arena_bytes + upload->marks.bytes;
  uint64_t came = bytes + upload->ids.count * (uint64_t)LIMIT_UPLOAD_TEST_BYTES - upload->seen_bytes;
  upload->seen_bytes += came;
  uint64_t due_us = upload->due_us + came * 1000000 / LIMIT_UPLOAD_RATE, latest_us = now_us + patience_us;
  upload->due_us = upload->due_us && due_us < latest_us ? due_us : latest_us;
  return upload->due_us;
}

// ---- as a list

// The ids at full length, each with a NUL behind it.
static void upload_spell(struct upload *upload) {
  uint32_t count = upload->ids.count;
  upload->id = base_realloc(upload->id, count + 1, sizeof *upload->id);
  upload->text = base_realloc(upload->text, upload->ids.name_bytes + count + 1, 1);
  char *at = upload->text;
  for (uint32_t i = 0; i < count; i++) {
    upload->id[i] = at;
    at += names_copy(&upload->ids, i, at);
    *at++ = '\0';
  }
}

const struct store_list *upload_list(struct upload *upload, uint64_t build) {
  upload->list.build = build;
  if (upload->taken) return &upload->list;
  names_trim(&upload->ids);
  map_trim(&upload->files);
  upload_spell(upload);
  upload->file = base_realloc(upload->file, upload->files.count + 1, sizeof *upload->file);
  for (uint32_t i = 0; i < upload->files.count; i++)
    upload->file[i] = map_name(&upload->files, i);
  free(upload->marks_text);
  size_t marks_bytes;
  upload->marks_text = marks_text(&upload->marks, &marks_bytes);
  upload->list = (struct store_list){.build = build,
                                     .marks = upload->marks_text,
                                     .marks_bytes = marks_bytes,
                                     .count = upload->ids.count,
                                     .file_count = upload->files.count,
                                     .id = upload->id,
                                     .file = upload->file,
                                     .file_of = upload->file_of,
                                     .unit_of = upload->unit_of};
  return &upload->list;
}

void upload_take(struct upload *upload, struct names *ids, struct map *files) {
  assert(!upload->taken);
  *ids = upload->ids;
  *files = upload->files;
  upload->ids = (struct names){0};
  upload->files = (struct map){0};
  upload->taken = true;
}
