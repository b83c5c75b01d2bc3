// The build's list on its way to workers that have not collected: a chunk for each request, so that the list of half a
// million tests waits in no buffer. When nobody is left who may bring a list, those who wait for it are asked to
// collect. Called by dispatch.c, session.c and listing.c. It must not know how lists come in.
#include <stdlib.h>

#include "server/listing.h"
#include "server/same.h"

// ---- pages

static bool listing_page_full(const struct listing_page *page, size_t more_bytes) {
  bool first = page->ids + page->files == 0;
  return !first && page->bytes + more_bytes > LISTING_PAGE_BYTES;
}

// Names files up to a test's; false when they do not fit.
static bool listing_page_files(struct listing_page *page, const struct build *build, uint32_t known, uint32_t file) {
  while (file != UINT32_MAX && known + page->files <= file) {
    uint32_t next = known + page->files;
    size_t n = map_length(&build->files, next);
    if (page->files == LISTING_PAGE_ROWS || listing_page_full(page, n + 8)) return false;
    page->file[page->files++] = msg_bytes(map_name(&build->files, next), n);
    page->bytes += n + 8;
  }
  return true;
}

static bool listing_page_test(struct listing_page *page, const struct build *build, uint32_t position) {
  size_t n = names_length(&build->ids, position);
  if (page->ids == LISTING_PAGE_ROWS || listing_page_full(page, n + 16)) return false;
  page->file_of[page->ids] = build->file_of[position];
  page->unit_of[page->ids] = 0;
  page->id[page->ids++] = msg_bytes(page->text + page->text_bytes, n);
  page->text_bytes += names_copy(&build->ids, position, page->text + page->text_bytes);
  page->bytes += n + 16;
  return true;
}

bool listing_page_fill(struct listing_page *page, const struct build *build, uint32_t tests, uint32_t files) {
  page->ids = page->files = 0;
  page->bytes = page->text_bytes = 0;
  while (tests + page->ids < build->ids.count) {
    uint32_t position = tests + page->ids;
    if (!listing_page_files(page, build, files, build->file_of[position])) break;
    if (!listing_page_test(page, build, position)) break;
  }
  return tests + page->ids == build->ids.count;
}

// Nothing shows that its list would be the build's: it collects, and what it offers then is compared.
static void listing_have_collected(struct session *session) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListReply reply = SHARDD__LIST_REPLY__INIT;
  session->wants_list = false;
  reply.want = SHARDD__LIST_WANT__LIST_SEND;
  frame.body_case = SHARDD__FRAME__BODY_LIST_REPLY;
  frame.list_reply = &reply;
  if (session->conn) conn_send(session->conn, &frame);
}

static void listing_send_page(struct session *session) {
  if (!same_sources(session)) {
    listing_have_collected(session);
    return;
  }
  struct listing_page *page = base_malloc(sizeof *page);
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListChunk chunk = SHARDD__LIST_CHUNK__INIT;
  session->wants_list = false;
  chunk.last = listing_page_fill(page, session->build, session->list_tests, session->list_files);
  chunk.n_id = chunk.n_file_of = chunk.n_unit_of = page->ids;
  chunk.id = page->id;
  chunk.file_of = page->file_of;
  chunk.unit_of = page->unit_of;
  chunk.n_file = page->files;
  chunk.file = page->file;
  frame.body_case = SHARDD__FRAME__BODY_LIST_CHUNK;
  frame.list_chunk = &chunk;
  if (session->conn) conn_send(session->conn, &frame);
  free(page);
}

// ---- who wants it

void listing_request(struct session *session, const Shardd__ListRequest *request) {
  const struct build *build = session->build;
  bool ready = build->listing == LISTING_READY;
  if (request->tests > (ready ? build->ids.count : 0) || request->files > (ready ? build->files.count : 0)) {
    conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_STATE, 0, true, "a list request behind the end of the list");
    return;
  }
  same_take_sources(session, &request->sources);
  session->wants_list = true;
  session->list_tests = request->tests;
  session->list_files = request->files;
  if (ready) {
    listing_send_page(session);
  } else {
    listing_seek(session->build);
  }
}

void listing_send_waiting(struct build *build) {
  for (uint32_t i = 0; i < build->session_count; i++) {
    if (build->session[i]->wants_list) listing_send_page(build->session[i]);
  }
}

void listing_seek(struct build *build) {
  if (build->listing != LISTING_NONE || build_collects(build, UINT32_MAX)) return;
  for (uint32_t i = 0; i < build->session_count; i++) {
    struct session *session = build->session[i];
    if (session->wants_list && session->conn) listing_have_collected(session);
  }
}
