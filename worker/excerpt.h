// The head and the tail of a stream of bytes within a fixed bound, with a line between them that says how much is left
// out: what is kept of a test's output and of a command's stderr. Used by the readers and runners; knows no formats.
#ifndef WORKER_EXCERPT_H
#define WORKER_EXCERPT_H

#include "config/base.h"

struct excerpt {
  size_t head_max, tail_max;  // bounds, bytes
  char *head, *tail;          // tail: a ring
  size_t head_bytes, head_room;
  size_t tail_at, tail_bytes;
  uint64_t total;  // bytes added
};

enum { EXCERPT_TEXT_MAX_BYTES = 64 * 1024 };

// Keeps at most max_bytes, half of them head, half tail (and a line about the gap within that bound).
void excerpt_init(struct excerpt *excerpt, size_t max_bytes);
void excerpt_release(struct excerpt *excerpt);
void excerpt_clear(struct excerpt *excerpt);
void excerpt_add(struct excerpt *excerpt, const char *bytes, size_t n);
void excerpt_add_text(struct excerpt *excerpt, const char *text);
// What was kept, NUL-terminated, its length in *n (never over max_bytes); the caller frees it.
char *excerpt_text(const struct excerpt *excerpt, size_t *n);

#endif
