// Head and tail of a stream within a bound. The head grows as it fills, the tail is a ring that is allocated when the
// head is full, so that the many short texts cost what they hold. Used by junit.c, tap.c and the command runner; it
// knows nothing of what the bytes mean.
#include "worker/excerpt.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAP_MAX_BYTES = 64, FIRST_BYTES = 256 };

static void add_tail(struct excerpt *excerpt, const char *bytes, size_t n);

void excerpt_init(struct excerpt *excerpt, size_t max_bytes) {
  assert(max_bytes > 2 * GAP_MAX_BYTES);
  size_t kept = max_bytes - GAP_MAX_BYTES;
  *excerpt = (struct excerpt){.head_max = kept / 2, .tail_max = kept - kept / 2};
}

void excerpt_release(struct excerpt *excerpt) {
  free(excerpt->head);
  free(excerpt->tail);
  *excerpt = (struct excerpt){.head_max = excerpt->head_max, .tail_max = excerpt->tail_max};
}

void excerpt_clear(struct excerpt *excerpt) {
  excerpt->head_bytes = excerpt->tail_at = excerpt->tail_bytes = 0;
  excerpt->total = 0;
}

void excerpt_add(struct excerpt *excerpt, const char *bytes, size_t n) {
  excerpt->total += n;
  size_t room = excerpt->head_max - excerpt->head_bytes;
  size_t head = n < room ? n : room;
  if (excerpt->head_bytes + head > excerpt->head_room) {
    size_t want = (excerpt->head_bytes + head) * 2 + FIRST_BYTES;
    excerpt->head_room = want < excerpt->head_max ? want : excerpt->head_max;
    excerpt->head = base_realloc(excerpt->head, excerpt->head_room, 1);
  }
  if (head) memcpy(excerpt->head + excerpt->head_bytes, bytes, head);
  excerpt->head_bytes += head;
  if (n > head) add_tail(excerpt, bytes + head, n - head);
}

void excerpt_add_text(struct excerpt *excerpt, const char *text) {
  excerpt_add(excerpt, text, strlen(text));
}

char *excerpt_text(const struct excerpt *excerpt, size_t *n) {
  char gap[GAP_MAX_BYTES] = "";
  uint64_t lost = excerpt->total - excerpt->head_bytes - excerpt->tail_bytes;
  if (lost) (void)snprintf(gap, sizeof(gap), "\n[... %llu bytes left out ...]\n", (unsigned long long)lost);
  size_t gap_bytes = strlen(gap);
  char *out = base_malloc(excerpt->head_bytes + gap_bytes + excerpt->tail_bytes + 1), *end = out;
  if (excerpt->head_bytes) memcpy(end, excerpt->head, excerpt->head_bytes);
  end += excerpt->head_bytes;
  memcpy(end, gap, gap_bytes);
  end += gap_bytes;
  if (excerpt->tail_bytes) {  // the oldest byte is at tail_at once the ring is full
    size_t start = excerpt->tail_bytes == excerpt->tail_max ? excerpt->tail_at : 0;
    size_t first = excerpt->tail_bytes - start;
    memcpy(end, excerpt->tail + start, first);
    memcpy(end + first, excerpt->tail, start);
    end += excerpt->tail_bytes;
  }
  *end = '\0';
  *n = (size_t)(end - out);
  return out;
}

static void add_tail(struct excerpt *excerpt, const char *bytes, size_t n) {
  if (!excerpt->tail) excerpt->tail = base_malloc(excerpt->tail_max);
  if (n > excerpt->tail_max) {
    bytes += n - excerpt->tail_max;
    n = excerpt->tail_max;
  }
  size_t until_end = excerpt->tail_max - excerpt->tail_at;
  size_t first = n < until_end ? n : until_end;
  memcpy(excerpt->tail + excerpt->tail_at, bytes, first);
  memcpy(excerpt->tail, bytes + first, n - first);
  excerpt->tail_at = (excerpt->tail_at + n) % excerpt->tail_max;
  size_t bytes_now = excerpt->tail_bytes + n;
  excerpt->tail_bytes = bytes_now < excerpt->tail_max ? bytes_now : excerpt->tail_max;
}
