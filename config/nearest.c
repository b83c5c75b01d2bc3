// The known word that somebody probably meant. Called wherever an unknown flag, key or choice is refused. Edit distance
// with swapped neighbours, in three rows of fixed size, so that a hostile word costs nothing.
// Must not know where the words come from: callers offer them one by one.
#include "config/nearest.h"

#include <stdio.h>
#include <string.h>

static size_t distance_of(const char *a, size_t a_length, const char *b, size_t b_length);
static bool same(char a, char b);

void nearest_init(struct nearest *nearest, const char *word) {
  *nearest = (struct nearest){.word = word};
}

void nearest_offer(struct nearest *nearest, const char *known) {
  size_t length = strlen(nearest->word), known_length = strlen(known);
  if (length == 0 || length > NEAREST_MAX_BYTES || known_length > NEAREST_MAX_BYTES) return;
  size_t allowed = length / 3 < 1 ? 1 : length / 3 > 3 ? 3 : length / 3;
  size_t distance = distance_of(nearest->word, length, known, known_length);
  if (distance > allowed || (nearest->best != NULL && distance >= nearest->distance)) return;
  nearest->best = known;
  nearest->distance = distance;
}

const char *nearest_hint(const struct nearest *nearest, const char *lead, char *out, size_t out_size) {
  if (out_size == 0) return out;
  out[0] = '\0';
  if (nearest->best != NULL) (void)snprintf(out, out_size, "; did you mean %s%s?", lead, nearest->best);
  return out;
}

static size_t distance_of(const char *a, size_t a_length, const char *b, size_t b_length) {
  size_t row[3][NEAREST_MAX_BYTES + 1];
  size_t *before = row[0], *last = row[1], *now = row[2];
  for (size_t j = 0; j <= b_length; j++)
    last[j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    now[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      size_t best = last[j - 1] + !same(a[i - 1], b[j - 1]);
      if (last[j] + 1 < best) best = last[j] + 1;
      if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
      bool swapped = i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]);
      if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
      now[j] = best;
    }
    size_t *free_row = before;
    before = last;
    last = now;
    now = free_row;
  }
  return last[b_length];
}

static bool same(char a, char b) {
  return a == b || (a == '_' && b == '-') || (a == '-' && b == '_');
}
