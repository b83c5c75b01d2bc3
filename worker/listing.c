// Offering and sending the list of tests. It must not know who collects it or what the server does with it.
#include "worker/listing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"
#include "worker/link.h"

enum { LISTING_CHUNK_TESTS = 5000, LISTING_CHUNK_MARKS = 4 * LISTING_CHUNK_TESTS, LISTING_CHUNK_BYTES = 256 * 1024 };

void listing_fill_offer(const struct testlist *list, Shardd__ListOffer *offer) {
  offer->count = (uint32_t)testlist_count(list);
  offer->sha256 = msg_bytes(testlist_digest(list), MSG_DIGEST_BYTES);
  offer->max_failures = testlist_max_failures(list);
}

struct listing_chunk {
  ProtobufCBinaryData id[LISTING_CHUNK_TESTS];
  uint32_t file_of[LISTING_CHUNK_TESTS], unit_of[LISTING_CHUNK_TESTS];
  size_t count, bytes;
  uint32_t mark_test[LISTING_CHUNK_MARKS], mark_of[LISTING_CHUNK_MARKS];
  size_t marks;
};

// Files are numbered in the order of the list; a chunk brings the names that its tests need and earlier chunks did not.
struct listing_files {
  ProtobufCBinaryData *name;
  size_t sent;
};

// How many marks from number `mark` on are the test's.
static size_t listing_marks_of(const struct testlist *list, size_t test, size_t mark) {
  uint32_t position, ignored;
  size_t n = 0;
  for (; mark + n < testlist_marks(list); n++) {
    testlist_mark_at(list, mark + n, &position, &ignored);
    if (position != test) break;
  }
  return n;
}

// `mark` is the first mark of the test `from`, or a later one's.
static void listing_fill(const struct testlist *list, size_t from, size_t mark, struct listing_chunk *chunk) {
  size_t marks = 0;
  chunk->count = chunk->bytes = 0;
  for (size_t i = from; i < testlist_count(list) && chunk->count < LISTING_CHUNK_TESTS; i++) {
    const char *id = testlist_id(list, i);
    chunk->bytes += strlen(id) + 8;
    marks += listing_marks_of(list, i, mark + marks);
    if (chunk->count && (chunk->bytes > LISTING_CHUNK_BYTES || marks > LISTING_CHUNK_MARKS)) break;
    chunk->id[chunk->count] = msg_text(id);
    chunk->file_of[chunk->count] = testlist_file_index(list, i);
    chunk->unit_of[chunk->count++] = testlist_unit(list, i);
  }
}

static size_t listing_files_needed(const struct listing_chunk *chunk, size_t sent) {
  for (size_t i = 0; i < chunk->count; i++) {
    if (chunk->file_of[i] != TESTLIST_NO_FILE && chunk->file_of[i] >= sent) sent = chunk->file_of[i] + 1;
  }
  return sent;
}

// Names of marks go like those of files; `next` is the first mark that was not sent.
struct listing_marks {
  ProtobufCBinaryData *name;
  size_t sent, next;
};

// The marks of the chunk's tests, which have room there.
static size_t listing_fill_marks(const struct testlist *list, size_t from, struct listing_chunk *chunk,
                                 struct listing_marks *marks) {
  size_t needed = marks->sent;
  chunk->marks = 0;
  for (; marks->next < testlist_marks(list); marks->next++) {
    uint32_t position, mark;
    testlist_mark_at(list, marks->next, &position, &mark);
    if (position >= from + chunk->count) break;
    assert(chunk->marks < LISTING_CHUNK_MARKS);
    chunk->mark_test[chunk->marks] = position - (uint32_t)from;
    chunk->mark_of[chunk->marks++] = mark;
    if (mark >= needed) needed = mark + 1;
  }
  return needed;
}

static void listing_put_marks(Shardd__ListChunk *message, struct listing_chunk *chunk, struct listing_marks *marks,
                              size_t needed) {
  message->n_mark_test = message->n_mark_of = chunk->marks;
  message->mark_test = chunk->mark_test;
  message->mark_of = chunk->mark_of;
  message->n_mark = needed - marks->sent;
  message->mark = marks->name + marks->sent;
  marks->sent = needed;
}

void listing_send_to(const struct testlist *list, void (*send)(void *arg, const Shardd__Frame *frame), void *arg) {
  struct listing_chunk *chunk = base_malloc(sizeof *chunk);
  struct listing_files files = {.name = base_calloc(testlist_file_count(list) + 1, sizeof *files.name)};
  struct listing_marks marks = {.name = base_calloc(testlist_mark_names(list) + 1, sizeof *marks.name)};
  size_t at = 0;
  for (size_t i = 0; i < testlist_mark_names(list); i++)
    marks.name[i] = msg_text(testlist_mark_name(list, i));
  for (size_t i = 0; i < testlist_file_count(list); i++)
    files.name[i] = msg_text(testlist_file_name(list, i));
  do {
    Shardd__Frame frame = SHARDD__FRAME__INIT;
    Shardd__ListChunk message = SHARDD__LIST_CHUNK__INIT;
    listing_fill(list, at, marks.next, chunk);
    size_t needed = listing_files_needed(chunk, files.sent);
    message.n_id = message.n_file_of = message.n_unit_of = chunk->count;
    message.id = chunk->id;
    message.file_of = chunk->file_of;
    message.unit_of = chunk->unit_of;
    message.n_file = needed - files.sent;
    message.file = files.name + files.sent;
    files.sent = needed;
    listing_put_marks(&message, chunk, &marks, listing_fill_marks(list, at, chunk, &marks));
    at += chunk->count;
    message.last = at == testlist_count(list);
    frame.body_case = SHARDD__FRAME__BODY_LIST_CHUNK;
    frame.list_chunk = &message;
    send(arg, &frame);
  } while (at < testlist_count(list));
  free(chunk);
  free(files.name);
  free(marks.name);
}

static void listing_to_link(void *arg, const Shardd__Frame *frame) {
  link_send(arg, frame);
}

void listing_send(const struct testlist *list, struct link *link) {
  listing_send_to(list, listing_to_link, link);
}

void listing_print_notes(const Shardd__ListReply *reply, FILE *out) {
  for (size_t i = 0; i < reply->n_note; i++) {
    char *safe = human_safe(reply->note[i].data, reply->note[i].len, ESCAPE_LINE);
    fprintf(out, "shard: WARNING: %s\n", safe);
    free(safe);
  }
}

// ---- mismatch

static void listing_print_ids(FILE *out, const char *sign, const ProtobufCBinaryData *ids, size_t n, uint32_t total) {
  char text[1024];
  for (size_t i = 0; i < n; i++) {
    fprintf(out, "  %s %s\n", sign, base_quote(text, sizeof text, ids[i].data, ids[i].len));
  }
  if (total > n) fprintf(out, "  %s … and %u more\n", sign, total - (uint32_t)n);
}

static bool listing_varies(const ProtobufCBinaryData *ids, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (memmem(ids[i].data, ids[i].len, " at 0x", 6) || memmem(ids[i].data, ids[i].len, "object at", 9)) return true;
  }
  return false;
}

static void listing_print_difference(const Shardd__ListReply *reply, FILE *out) {
  listing_print_ids(out, "-", reply->missing, reply->n_missing, reply->missing_total);
  listing_print_ids(out, "+", reply->extra, reply->n_extra, reply->extra_total);
  fputs("  (- only there, + only here.) ", out);
  if (listing_varies(reply->extra, reply->n_extra) || listing_varies(reply->missing, reply->n_missing)) {
    fputs("Ids hold addresses of objects, which differ from run to run: give those parameters ids of their own.\n",
          out);
  } else {
    fputs(
        "Usual causes: another commit, command or set of packages on this machine; parameters from a set, a clock or a "
        "random source (fix PYTHONHASHSEED, give ids); tests deselected by the environment.\n",
        out);
  }
}

void listing_print_mismatch(const Shardd__ListReply *reply, FILE *out) {
  char first[256];
  fprintf(out, "shard: this worker collected other tests than %s, who came first:\n",
          base_quote(first, sizeof first, reply->first.data, reply->first.len));
  listing_print_difference(reply, out);
}

// ---- one file

struct listing_ids {
  ProtobufCBinaryData id[MSG_FEW_MAX];
  size_t n;
  uint32_t total;
};

static void listing_name(struct listing_ids *ids, const char *id) {
  ids->total++;
  if (ids->n < MSG_FEW_MAX) ids->id[ids->n++] = msg_text(id);
}

static bool listing_is_in(const struct testlist *list, const char *id, uint32_t file) {
  int64_t number = testlist_find(list, id, strlen(id));
  return number >= 0 && testlist_file_index(list, testlist_position(list, (uint32_t)number)) == file;
}

static void listing_find_missing(const struct testlist *list, uint32_t file, const struct testlist *found,
                                 struct listing_ids *missing) {
  for (size_t i = 0; file != TESTLIST_NO_FILE && i < testlist_count(list); i++) {
    const char *id = testlist_id(list, i);
    if (testlist_file_index(list, i) == file && testlist_find(found, id, strlen(id)) < 0) listing_name(missing, id);
  }
}

static void listing_print_file(const char *file, const struct listing_ids *missing, const struct listing_ids *extra,
                               const char *text, FILE *out) {
  Shardd__ListReply reply = SHARDD__LIST_REPLY__INIT;
  ProtobufCBinaryData ids[2][MSG_FEW_MAX];
  char *name = human_safe(file, strlen(file), ESCAPE_LINE), *safe = human_safe(text, strlen(text), ESCAPE_TEXT);
  memcpy(ids[0], missing->id, sizeof ids[0]);
  memcpy(ids[1], extra->id, sizeof ids[1]);
  reply.missing = ids[0];
  reply.n_missing = missing->n;
  reply.missing_total = missing->total;
  reply.extra = ids[1];
  reply.n_extra = extra->n;
  reply.extra_total = extra->total;
  fprintf(out, "shard: %s holds other tests here than in the build's list:\n", name);
  if (safe[0]) fprintf(out, "%s\n", safe);
  listing_print_difference(&reply, out);
  free(name);
  free(safe);
}

bool listing_file_agrees(const struct testlist *list, const char *file, const struct testlist *found, const char *text,
                         FILE *out) {
  struct listing_ids missing = {.n = 0}, extra = {.n = 0};
  uint32_t index = testlist_file_find(list, file);
  size_t count = testlist_count(found), wanted = index == TESTLIST_NO_FILE ? 0 : testlist_file_tests(list, index);
  for (size_t i = 0; i < count; i++) {
    if (!listing_is_in(list, testlist_id(found, i), index)) listing_name(&extra, testlist_id(found, i));
  }
  if (!extra.total && count == wanted) return true;
  listing_find_missing(list, index, found, &missing);
  listing_print_file(file, &missing, &extra, text, out);
  return false;
}
