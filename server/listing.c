// Lists of tests: offered, sent, compared. The first list wins; a worker whose list differs is told how and ends (a run
// over two lists would lose tests). Called by dispatch.c. It must not know what the queue does with the tests.
#include "server/listing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/deliver.h"
#include "server/limits.h"
#include "server/same.h"
#include "server/upload.h"

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

// More of the list is to come from this worker, in time.
static void listing_expect(const struct server *server, struct session *session, struct upload *upload) {
  uint64_t due_us = upload_due_us(upload, base_now_us(), server_silence_us(server));
  if (session->conn) conn_set_due(session->conn, due_us, "the list came too slowly, or not at all");
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
  session->diff = upload_new(&server->budget, BUDGET_LISTS, server->hash_seed);
  listing_expect(server, session, session->diff);
  listing_reply(session, SHARDD__LIST_WANT__LIST_SEND);
}

static void listing_ask(struct server *server, struct session *session) {
  struct build *build = session->build;
  build->listing = LISTING_UPLOAD;
  build->uploader = session;
  build->upload = upload_new(&server->budget, BUDGET_LISTS, server->hash_seed);
  session->offered = false;
  listing_expect(server, session, build->upload);
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
  listing_only_in(&session->build->ids, upload_ids(session->diff), 0, &diff);
  listing_only_in(upload_ids(session->diff), &session->build->ids, 1, &diff);
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

// Takes a chunk in. False: the connection has got an Error.
static bool listing_take(struct server *server, struct session *session, struct upload *upload,
                         const Shardd__ListChunk *chunk) {
  const char *why;
  Shardd__ErrorCode code = upload_add(upload, chunk, &why);
  if (code != SHARDD__ERROR_CODE__ERROR_UNSET) {
    conn_error(session->conn, code, 0, true, "%s", why);
    listing_gone(server, session);
  } else if (chunk->last) {
    conn_set_due(session->conn, 0, NULL);
  } else {
    listing_expect(server, session, upload);
  }
  return code == SHARDD__ERROR_CODE__ERROR_UNSET;
}

static void listing_diff_chunk(struct server *server, struct session *session, const Shardd__ListChunk *chunk) {
  if (!listing_take(server, session, session->diff, chunk) || !chunk->last) return;
  listing_mismatch(session);
  upload_free(session->diff);
  session->diff = NULL;
}

// ---- uploads

static void listing_complete(struct server *server, struct session *session) {
  struct build *build = session->build;
  struct names ids;
  struct map files;
  const struct store_list *list = upload_list(build->upload, build->id);
  upload_take(build->upload, &ids, &files);
  build_take_list(build, &ids, &files, list);
  build->listing = LISTING_STORING;
  build->uploader = NULL;
  free(build->listed_by);
  build->listed_by =
      base_printf("%s%s%s", session->node[0] ? "node " : "", session->node, session->node[0] ? "" : session->host);
  if (!listing_agrees(build, session)) {
    base_log(LOG_LEVEL_WARN, "list_digest", "build=%llu worker=%u", (unsigned long long)build->id, session->worker);
  }
  session->offered = true;  // answered with the others, once the list is on disk
  store_put_list(server->store, list);
}

void listing_chunk(struct server *server, struct session *session, const Shardd__ListChunk *chunk) {
  struct build *build = session->build;
  if (session->diff) {
    listing_diff_chunk(server, session, chunk);
  } else if (build->listing != LISTING_UPLOAD || build->uploader != session) {
    conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_STATE, 0, true, "a list chunk that nobody asked for");
  } else if (listing_take(server, session, build->upload, chunk) && chunk->last) {
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
  if (session->conn && !conn_closing(session->conn)) conn_set_due(session->conn, 0, NULL);
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
