// Records on their way in: each put copies its record, texts behind it, to the end of the incoming batch and returns
// the record's ticket. Called by the loop thread; the store thread swaps the batch away under the same mutex, so that
// no put ever waits for the disk. Must not know SQL. The layout of a record is shared with store_write.c, which reads
// it.
#include <assert.h>
#include <string.h>

#include "server/store_impl.h"

enum { BATCH_MIN_BYTES = 64 * 1024, ALIGNMENT = 8 };

static unsigned char *begin(struct store *store, enum store_kind kind, size_t bytes);
static uint64_t end(struct store *store);
static unsigned char *append(struct store *store, enum store_kind kind, size_t bytes);
static uint64_t count(struct store *store);
static uint64_t append_result(struct store *store, const struct store_result *result);
static unsigned char *put(unsigned char *at, const void *bytes, size_t n);
static size_t text_bytes(const char *text);
static unsigned char *put_text(unsigned char *at, const char *text);

uint64_t store_put_build(struct store *store, const struct store_build *build) {
  const char *const texts[] = {build->project, build->suite, build->ext, build->commit, build->branch, build->tokens};
  size_t bytes = sizeof *build;
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    bytes += text_bytes(texts[i]);
  unsigned char *at = put(begin(store, STORE_KIND_BUILD, bytes), build, sizeof *build);
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    at = put_text(at, texts[i]);
  return end(store);
}

uint64_t store_put_identity(struct store *store, const struct store_identity *identity) {
  size_t bytes = sizeof *identity + text_bytes(identity->commit) + text_bytes(identity->facts);
  unsigned char *at = put(begin(store, STORE_KIND_IDENTITY, bytes), identity, sizeof *identity);
  put_text(put_text(at, identity->commit), identity->facts);
  return end(store);
}

uint64_t store_put_worker(struct store *store, const struct store_worker *worker) {
  size_t bytes = sizeof *worker + text_bytes(worker->node) + text_bytes(worker->attempt) + text_bytes(worker->host);
  unsigned char *at = put(begin(store, STORE_KIND_WORKER, bytes), worker, sizeof *worker);
  put_text(put_text(put_text(at, worker->node), worker->attempt), worker->host);
  return end(store);
}

uint64_t store_put_list(struct store *store, const struct store_list *list) {
  size_t column = list->count * sizeof(uint32_t), bytes = sizeof *list + 2 * column + list->marks_bytes;
  for (uint32_t i = 0; i < list->count; i++)
    bytes += text_bytes(list->id[i]);
  for (uint32_t i = 0; i < list->file_count; i++)
    bytes += text_bytes(list->file[i]);
  unsigned char *at = put(begin(store, STORE_KIND_LIST, bytes), list, sizeof *list);
  at = put(put(at, list->file_of, column), list->unit_of, column);
  at = put(at, list->marks, list->marks_bytes);
  for (uint32_t i = 0; i < list->count; i++)
    at = put_text(at, list->id[i]);
  for (uint32_t i = 0; i < list->file_count; i++)
    at = put_text(at, list->file[i]);
  return end(store);
}

uint64_t store_put_result(struct store *store, const struct store_result *result) {
  return store_put_results(store, result, 1);
}

// Under one lock: the thread takes all of them or none, so that a message is on disk as a whole or not at all.
uint64_t store_put_results(struct store *store, const struct store_result *results, size_t n) {
  assert(n > 0);
  uint64_t ticket = 0;
  pthread_mutex_lock(&store->mutex);
  for (size_t i = 0; i < n; i++)
    ticket = append_result(store, &results[i]);
  pthread_mutex_unlock(&store->mutex);
  return ticket;
}

uint64_t store_put_round(struct store *store, uint64_t build, uint32_t round, const uint32_t *tests, size_t count,
                         uint64_t at_ms) {
  struct store_round_record record = {.build = build, .at_ms = at_ms, .round = round, .count = (uint32_t)count};
  assert(round >= 2 && count <= UINT32_MAX);
  size_t column = count * sizeof *tests;
  put(put(begin(store, STORE_KIND_ROUND, sizeof record + column), &record, sizeof record), tests, column);
  return end(store);
}

uint64_t store_put_state(struct store *store, uint64_t build, uint32_t state, uint64_t at_ms, const char *text) {
  struct store_state_record record = {.build = build, .at_ms = at_ms, .state = state, .text = text};
  put_text(put(begin(store, STORE_KIND_STATE, sizeof record + text_bytes(text)), &record, sizeof record), text);
  return end(store);
}

uint64_t store_put_left(struct store *store, uint64_t build, uint32_t worker, uint64_t at_ms, const char *late,
                        uint32_t fact, uint32_t cleared) {
  struct store_left_record record = {
      .build = build, .at_ms = at_ms, .worker = worker, .fact = fact, .cleared = cleared, .late = late};
  put_text(put(begin(store, STORE_KIND_LEFT, sizeof record + text_bytes(late)), &record, sizeof record), late);
  return end(store);
}

uint64_t store_put_cleared(struct store *store, uint64_t build, uint32_t worker, uint32_t round) {
  struct store_cleared_record record = {.build = build, .worker = worker, .round = round};
  put(begin(store, STORE_KIND_CLEARED, sizeof record), &record, sizeof record);
  return end(store);
}

uint64_t store_put_mute(struct store *store, const struct store_mute *mute) {
  const char *const texts[] = {mute->project, mute->suite, mute->test,  mute->origin,
                               mute->reason,  mute->who,   mute->ticket};
  size_t bytes = sizeof *mute;
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    bytes += text_bytes(texts[i]);
  unsigned char *at = put(begin(store, STORE_KIND_MUTE, bytes), mute, sizeof *mute);
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    at = put_text(at, texts[i]);
  return end(store);
}

// Locks the incoming batch and makes room for a record; the caller fills `bytes` from the returned place on, then
// end().
uint64_t store_put_import(struct store *store, const struct store_import *import) {
  size_t bytes = sizeof *import + import->count * (sizeof *import->us + sizeof *import->file_of) +
                 text_bytes(import->project) + text_bytes(import->suite);
  for (uint32_t i = 0; i < import->count; i++)
    bytes += text_bytes(import->id[i]);
  for (uint32_t i = 0; i < import->file_count; i++)
    bytes += text_bytes(import->file[i]);
  unsigned char *at = put(begin(store, STORE_KIND_IMPORT, bytes), import, sizeof *import);
  at = put(at, import->us, import->count * sizeof *import->us);
  at = put(at, import->file_of, import->count * sizeof *import->file_of);
  at = put_text(put_text(at, import->project), import->suite);
  for (uint32_t i = 0; i < import->count; i++)
    at = put_text(at, import->id[i]);
  for (uint32_t i = 0; i < import->file_count; i++)
    at = put_text(at, import->file[i]);
  return end(store);
}

static unsigned char *begin(struct store *store, enum store_kind kind, size_t bytes) {
  pthread_mutex_lock(&store->mutex);
  return append(store, kind, bytes);
}

static uint64_t end(struct store *store) {
  uint64_t ticket = count(store);
  pthread_mutex_unlock(&store->mutex);
  return ticket;
}

// ---- with the lock held

static unsigned char *append(struct store *store, enum store_kind kind, size_t bytes) {
  struct store_record head = {.kind = kind};
  head.bytes = (sizeof head + bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  struct store_batch *batch = &store->incoming;
  if (batch->room - batch->n < head.bytes) {
    size_t room = batch->room * 2 > BATCH_MIN_BYTES ? batch->room * 2 : BATCH_MIN_BYTES;
    batch->room = room - batch->n < head.bytes ? batch->n + head.bytes : room;
    batch->bytes = base_realloc(batch->bytes, 1, batch->room);
  }
  unsigned char *at = batch->bytes + batch->n;
  batch->n += head.bytes;
  return put(at, &head, sizeof head);
}

// Only the first record of a batch wakes the thread: it then gathers for a window by itself.
static uint64_t count(struct store *store) {
  struct store_batch *batch = &store->incoming;
  uint64_t ticket = ++store->ticket;
  assert(batch->n <= batch->room && !store->stop);
  batch->ticket = ticket;
  atomic_fetch_add(&store->pending, 1);
  if (batch->records++ == 0) {
    batch->since_us = base_now_us();
    pthread_cond_signal(&store->wake);
  }
  return ticket;
}

static uint64_t append_result(struct store *store, const struct store_result *result) {
  size_t n = result->text ? result->text_bytes : 0;
  unsigned char *at = put(append(store, STORE_KIND_RESULT, sizeof *result + n), result, sizeof *result);
  put(at, result->text, n);
  return count(store);
}

static unsigned char *put(unsigned char *at, const void *bytes, size_t n) {
  if (n > 0) memcpy(at, bytes, n);
  return at + n;
}

static size_t text_bytes(const char *text) {
  return (text ? strlen(text) : 0) + 1;
}

static unsigned char *put_text(unsigned char *at, const char *text) {
  return put(at, text ? text : "", text_bytes(text));
}
