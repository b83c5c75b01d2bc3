// The tape of choices: drawing, replaying, reading, writing. It must not know what the choices are about.
#include "tests/sim/tape.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { TAPE_LINE = 32 };

void tape_begin(struct tape *tape, uint64_t seed) {
  tape->count = tape->at = 0;
  tape->fresh = true;
  tape->rng = (struct rng){seed};
}

void tape_rewind(struct tape *tape) {
  tape->at = 0;
  tape->fresh = false;
}

static uint8_t tape_byte(struct tape *tape) {
  if (tape->fresh && tape->at < TAPE_MAX) {
    tape->byte[tape->at] = (uint8_t)(rng_next(&tape->rng) >> 56);
    tape->count = tape->at + 1;
  }
  return tape->at < tape->count ? tape->byte[tape->at++] : 0;
}

uint32_t tape_choose(struct tape *tape, uint32_t n) {
  assert(n > 0 && n <= 1U << 16);
  if (n == 1) return 0;
  uint32_t drawn = tape_byte(tape);
  if (n > 256) drawn = drawn << 8 | tape_byte(tape);
  return drawn % n;
}

bool tape_over(const struct tape *tape) {
  return tape->fresh ? tape->at == TAPE_MAX : tape->at >= tape->count;
}

int tape_read(struct tape *tape, FILE *in) {
  char line[256];
  tape->count = 0;
  while (fgets(line, sizeof line, in)) {
    if (line[0] == '#') continue;
    for (const char *at = line; *at && *at != '\n'; at += 2) {
      char digits[3] = {at[0], at[1], '\0'};
      if (strspn(digits, "0123456789abcdef") != 2 || tape->count == TAPE_MAX) return -1;
      tape->byte[tape->count++] = (uint8_t)strtoul(digits, NULL, 16);
    }
  }
  tape_rewind(tape);
  return tape->count && !ferror(in) ? 0 : -1;
}

int tape_write(const struct tape *tape, const char *note, FILE *out) {
  if (fprintf(out, "# %s\n", note) < 0) return -1;
  for (uint32_t i = 0; i < tape->count; i++) {
    bool last = i + 1 == tape->count || (i + 1) % TAPE_LINE == 0;
    if (fprintf(out, "%02x%s", tape->byte[i], last ? "\n" : "") < 0) return -1;
  }
  return 0;
}
