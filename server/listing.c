// Lists of tests: offered, sent, compared. The first list wins; a worker whose list differs is told how and ends (a run
// over two lists would lose tests). Called by dispatch.c. It must not know what the queue does with the tests.
#include "server/listing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/deliver.h"
#include "server/limits.h"
#include "server/marks.h"
#include "server/same.h"

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
};

struct upload *upload_new(uint64_t hash_seed) {
  struct upload *upload = base_calloc(1, sizeof *upload);
  names_init(&upload->ids, hash_seed);
  map_init(&upload->files, hash_seed);
  return upload;
}

void upload_free(struct upload *upload) {
  if (!upload) return;
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

int upload_add(struct upload *upload, const Shardd__ListChunk *chunk, const char **why) {
  uint32_t first = upload->ids.count;
  if (upload_add_files(upload, chunk, why) < 0) return -1;
  for (size_t i = 0; i < chunk->n_id; i++) {
    uint32_t file = chunk->n_file_of ? chunk->file_of[i] : UINT32_MAX;
    uint32_t unit = chunk->n_unit_of ? chunk->unit_of[i] : (uint32_t)i;
    if (upload_add_test(upload, &chunk->id[i], file, unit, why) < 0) return -1;
  }
  return upload_add_marks(upload, chunk, first, why);
}

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

// The build takes over the names; the list stays as it was spelled.
static void upload_give(struct upload *upload, struct build *build) {
  const struct store_list *list = upload_list(upload, build->id);
  build_take_list(build, &upload->ids, &upload->files, list);
  upload->taken = true;
}

// ---- replies

static void listing_reply(struct session *session, Shardd__ListWant want) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListReply reply = SHARDD__LIST_REPLY__INIT;
  ProtobufCBinaryData note = msg_text(session->build->note);
  reply.want = want;
  reply.n_note = want == SHARDD__LIST_WANT__LIST_OK && session->build->note ? 1 : 0;
  reply.note = &note;
  frame.body_case = SHARDD__FRAME__BODY_LIST_REPLY;
  frame.list_reply = &reply;
  if (session->conn) conn_send(session->conn, &frame);
}

static bool listing_agrees(struct build *build, const struct session *session) {
  return session->offer_count == build->ids.count &&
         memcmp(session->offer_digest, build_digest(build), STORE_DIGEST_BYTES) == 0;
}

// The build has its list: says whether the session's is the same.
static void listing_compare(struct server *server, struct session *session) {
  session->offered = false;
  if (listing_agrees(session->build, session)) {
    same_learn_sources(server, session);
    listing_reply(session, SHARDD__LIST_WANT__LIST_OK);
    return;
  }
  upload_free(session->diff);
  session->diff = upload_new(server->hash_seed);
  listing_reply(session, SHARDD__LIST_WANT__LIST_SEND);
}

static void listing_ask(struct server *server, struct session *session) {
  struct build *build = session->build;
  build->listing = LISTING_UPLOAD;
  build->uploader = session;
  build->upload = upload_new(server->hash_seed);
  session->offered = false;
  listing_reply(session, SHARDD__LIST_WANT__LIST_SEND);
}

// The build becomes one with a list: that is what max-builds counts.
static void listing_begin(struct server *server, struct session *session) {
  if (build_running(server, true) < server->settings.max_builds) {
    listing_ask(server, session);
    return;
  }
  session->offered = false;
  conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_BUSY, 0, true, "too many running builds (max-builds is %llu)",
             (unsigned long long)server->settings.max_builds);
}

void listing_offer(struct server *server, struct session *session, const Shardd__ListOffer *offer) {
  struct build *build = session->build;
  session->offer_count = offer->count;
  memcpy(session->offer_digest, offer->sha256.data, STORE_DIGEST_BYTES);
  same_take_sources(session, &offer->sources);
  queue_set_max_failures(build->queue, offer->max_failures);
  session->offered = true;
  switch (build->listing) {
    case LISTING_NONE: listing_begin(server, session); break;
    case LISTING_READY: listing_compare(server, session); break;
    case LISTING_UPLOAD:
    case LISTING_STORING: break;
  }
}

// ---- differences

struct listing_diff {
  ProtobufCBinaryData name[2][LIMIT_DIFF_NAMES];
  uint32_t named[2], total[2];
};

static void listing_only_in(const struct names *a, struct names *b, int side, struct listing_diff *diff) {
  char name[MSG_ID_MAX_BYTES];
  for (uint32_t i = 0; i < a->count; i++) {
    size_t n = names_copy(a, i, name);
    if (names_find(b, name, n) != NAMES_NONE) continue;
    diff->total[side]++;
    if (diff->named[side] < LIMIT_DIFF_NAMES)
      diff->name[side][diff->named[side]++] = msg_bytes(base_memdup0(name, n), n);
  }
}

static void listing_diff_release(struct listing_diff *diff) {
  for (int side = 0; side < 2; side++) {
    for (uint32_t i = 0; i < diff->named[side]; i++)
      free(diff->name[side][i].data);
  }
}

static void listing_mismatch(struct session *session) {
  struct listing_diff diff = {0};
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListReply reply = SHARDD__LIST_REPLY__INIT;
  listing_only_in(&session->build->ids, &session->diff->ids, 0, &diff);
  listing_only_in(&session->diff->ids, &session->build->ids, 1, &diff);
  frame.body_case = SHARDD__FRAME__BODY_LIST_REPLY;
  frame.list_reply = &reply;
  reply.want = diff.total[0] || diff.total[1] ? SHARDD__LIST_WANT__LIST_MISMATCH : SHARDD__LIST_WANT__LIST_OK;
  reply.missing = diff.name[0];
  reply.n_missing = diff.named[0];
  reply.missing_total = diff.total[0];
  reply.extra = diff.name[1];
  reply.n_extra = diff.named[1];
  reply.extra_total = diff.total[1];
  reply.first = msg_text(session->build->listed_by);
  base_log(LOG_LEVEL_WARN, "list_mismatch", "build=%llu worker=%u missing=%u extra=%u",
           (unsigned long long)session->build->id, session->worker, diff.total[0], diff.total[1]);
  conn_send(session->conn, &frame);
  listing_diff_release(&diff);
}

static void listing_diff_chunk(struct session *session, const Shardd__ListChunk *chunk) {
  const char *why;
  if (upload_add(session->diff, chunk, &why) < 0) {
    conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_MALFORMED, 0, true, "%s", why);
    return;
  }
  if (!chunk->last) return;
  listing_mismatch(session);
  upload_free(session->diff);
  session->diff = NULL;
}

// ---- uploads

static void listing_complete(struct server *server, struct session *session) {
  struct build *build = session->build;
  upload_give(build->upload, build);
  build->listing = LISTING_STORING;
  build->uploader = NULL;
  free(build->listed_by);
  build->listed_by =
      base_printf("%s%s%s", session->node[0] ? "node " : "", session->node, session->node[0] ? "" : session->host);
  if (!listing_agrees(build, session)) {
    base_log(LOG_LEVEL_WARN, "list_digest", "build=%llu worker=%u", (unsigned long long)build->id, session->worker);
  }
  session->offered = true;  // answered with the others, once the list is on disk
  store_put_list(server->store, upload_list(build->upload, build->id));
}

void listing_chunk(struct server *server, struct session *session, const Shardd__ListChunk *chunk) {
  struct build *build = session->build;
  const char *why;
  if (session->diff) {
    listing_diff_chunk(session, chunk);
  } else if (build->listing != LISTING_UPLOAD || build->uploader != session) {
    conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_STATE, 0, true, "a list chunk that nobody asked for");
  } else if (upload_add(build->upload, chunk, &why) < 0) {
    conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_MALFORMED, 0, true, "%s", why);
  } else if (chunk->last) {
    listing_complete(server, session);
  }
}

void listing_stored(struct server *server, const struct store_listed *listed) {
  struct build *build = build_by_id(server, listed->build);
  if (!build || build->listing != LISTING_STORING) return;
  build_list_ready(server, build, upload_list(build->upload, build->id), listed);
  upload_free(build->upload);
  build->upload = NULL;
  base_log(LOG_LEVEL_INFO, "list", "build=%llu tests=%u files=%u", (unsigned long long)build->id, listed->count,
           listed->file_count);
  for (uint32_t i = 0; i < build->session_count; i++) {
    if (build->session[i]->offered) listing_compare(server, build->session[i]);
  }
  listing_send_waiting(build);
  deliver_effects(server, build);
}

void listing_gone(struct server *server, struct session *session) {
  struct build *build = session->build;
  session->offered = session->wants_list = false;
  upload_free(session->diff);
  session->diff = NULL;
  if (build->listing != LISTING_UPLOAD || build->uploader != session) return;
  upload_free(build->upload);
  build->upload = NULL;
  build->uploader = NULL;
  build->listing = LISTING_NONE;
  for (uint32_t i = 0; i < build->session_count && build->listing == LISTING_NONE; i++) {
    if (build->session[i]->offered) listing_ask(server, build->session[i]);
  }
}
