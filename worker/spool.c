// The spool: open batch → packed message → acknowledged and freed. A result that the server has acknowledged is on its
// disk; one that it has not is here.
#include "worker/spool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/msg.h"

struct spool_message {
  struct spool_message *next;
  uint64_t seq;
  size_t rows, bytes;
  uint8_t *packed;
};

// The message being gathered.
struct spool_batch {
  uint64_t lease, seq;
  size_t rows, texts, text_bytes;
  uint32_t test[SPOOL_ROWS_MAX], status[SPOOL_ROWS_MAX], text_of[SPOOL_ROWS_MAX];
  uint32_t setup_us[SPOOL_ROWS_MAX], call_us[SPOOL_ROWS_MAX], teardown_us[SPOOL_ROWS_MAX];
  uint64_t start_us[SPOOL_ROWS_MAX];
  protobuf_c_boolean first[SPOOL_ROWS_MAX];
  ProtobufCBinaryData text[SPOOL_ROWS_MAX];
};

struct spool {
  struct spool_message *head, **tail, *unsent;
  struct spool_batch batch;
  uint64_t next_seq;
  size_t rows;
};

struct spool *spool_new(void) {
  struct spool *spool = base_calloc(1, sizeof *spool);
  spool->tail = &spool->head;
  spool->next_seq = 1;
  return spool;
}

static void spool_clear_batch(struct spool_batch *batch) {
  for (size_t i = 0; i < batch->texts; i++)
    free(batch->text[i].data);
  batch->rows = batch->texts = batch->text_bytes = 0;
}

void spool_free(struct spool *spool) {
  if (!spool) return;
  spool_ack(spool, UINT64_MAX);
  spool_clear_batch(&spool->batch);
  free(spool);
}

static uint32_t spool_clamp(uint64_t us) {
  return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

// The wire takes no NUL in a text.
static ProtobufCBinaryData spool_without_nul(char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (!text[i]) text[i] = ' ';
  }
  return msg_bytes(text, n);
}

// Head and tail of a text that is too long.
static ProtobufCBinaryData spool_text(const char *text, size_t n) {
  static const char gap[] = "\n[… cut …]\n";
  const size_t half = (MSG_TEXT_MAX_BYTES - sizeof gap) / 2;
  if (n <= MSG_TEXT_MAX_BYTES) return spool_without_nul(base_memdup0(text, n), n);
  char *cut = base_malloc(MSG_TEXT_MAX_BYTES);
  memcpy(cut, text, half);
  memcpy(cut + half, gap, sizeof gap - 1);
  memcpy(cut + half + sizeof gap - 1, text + n - half, half);
  return spool_without_nul(cut, 2 * half + sizeof gap - 1);
}

uint64_t spool_add(struct spool *spool, uint64_t lease, uint32_t number, const struct runner_result *result) {
  struct spool_batch *batch = &spool->batch;
  if (batch->rows &&
      (batch->lease != lease || batch->rows == SPOOL_ROWS_MAX || batch->text_bytes > SPOOL_TEXT_MAX_BYTES)) {
    spool_close(spool);
  }
  if (batch->rows == 0) {
    batch->lease = lease;
    batch->seq = spool->next_seq++;
  }
  size_t row = batch->rows++;
  batch->test[row] = number;
  batch->status[row] = result->status;
  batch->start_us[row] = result->start_us;
  batch->setup_us[row] = spool_clamp(result->setup_us);
  batch->call_us[row] = spool_clamp(result->call_us);
  batch->teardown_us[row] = spool_clamp(result->teardown_us);
  batch->first[row] = result->first;
  if (result->text && result->text_bytes) {
    batch->text_of[batch->texts] = (uint32_t)row;
    batch->text[batch->texts] = spool_text(result->text, result->text_bytes);
    batch->text_bytes += batch->text[batch->texts++].len;
  }
  spool->rows++;
  return batch->seq;
}

static void spool_fill(struct spool_batch *batch, Shardd__Results *results) {
  results->lease = batch->lease;
  results->n_test = results->n_status = results->n_start_us = results->n_setup_us = batch->rows;
  results->n_call_us = results->n_teardown_us = results->n_first = batch->rows;
  results->test = batch->test;
  results->status = batch->status;
  results->start_us = batch->start_us;
  results->setup_us = batch->setup_us;
  results->call_us = batch->call_us;
  results->teardown_us = batch->teardown_us;
  results->first = batch->first;
  results->n_text_of = results->n_text = batch->texts;
  results->text_of = batch->text_of;
  results->text = batch->text;
}

void spool_close(struct spool *spool) {
  struct spool_batch *batch = &spool->batch;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Results results = SHARDD__RESULTS__INIT;
  if (batch->rows == 0) return;
  spool_fill(batch, &results);
  frame.seq = batch->seq;
  frame.body_case = SHARDD__FRAME__BODY_RESULTS;
  frame.results = &results;
  struct spool_message *message = base_calloc(1, sizeof *message);
  message->seq = batch->seq;
  message->rows = batch->rows;
  message->bytes = msg_packed_bytes(&frame);
  assert(message->bytes > 0);
  message->packed = base_malloc(message->bytes);
  msg_pack(&frame, message->packed);
  *spool->tail = message;
  spool->tail = &message->next;
  if (!spool->unsent) spool->unsent = message;
  spool_clear_batch(batch);
}

const uint8_t *spool_next(struct spool *spool, size_t *n) {
  struct spool_message *message = spool->unsent;
  if (!message) return NULL;
  spool->unsent = message->next;
  *n = message->bytes;
  return message->packed;
}

void spool_rewind(struct spool *spool) {
  spool->unsent = spool->head;
}

void spool_ack(struct spool *spool, uint64_t seq) {
  while (spool->head && spool->head->seq <= seq) {
    struct spool_message *message = spool->head;
    spool->head = message->next;
    if (!spool->head) spool->tail = &spool->head;
    if (spool->unsent == message) spool->unsent = message->next;
    spool->rows -= message->rows;
    free(message->packed);
    free(message);
  }
}

bool spool_empty(const struct spool *spool) {
  return !spool->head && spool->batch.rows == 0;
}

size_t spool_rows(const struct spool *spool) {
  return spool->rows;
}

uint64_t spool_last(const struct spool *spool) {
  return spool->next_seq - 1;
}
