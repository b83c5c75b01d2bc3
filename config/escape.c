// Text of strangers made safe to show. Called by base.c (log, last words), yaml.c and conf.c (what their messages
// quote). Works on bytes: valid UTF-8 passes character by character, except those which steer a terminal or a reader
// (C0, C1, line separators, bidirectional controls, the byte order mark); the rest becomes \xNN, byte by byte. Must not
// allocate, since last words come from here when memory is out.
#include "config/escape.h"

#include <stdio.h>
#include <string.h>

static const char cut_mark[] = "…";

enum { PIECE_BYTES = 12, CUT_BYTES = sizeof cut_mark - 1 };

static size_t escape_one(char piece[PIECE_BYTES], const unsigned char *p, size_t n, enum escape_form form,
                         size_t *used);
static size_t code_in_yaml(char piece[PIECE_BYTES], uint32_t code);
static size_t decode(const unsigned char *p, size_t n, uint32_t *code);
static bool is_steering(uint32_t code);

size_t escape_bytes(char *out, size_t room, const void *bytes, size_t n, enum escape_form form) {
  const unsigned char *from = bytes;
  size_t at = 0, cut = 0;  // cut: the last end of a character behind which the mark still fits
  for (size_t i = 0, used; i < n; i += used) {
    char piece[PIECE_BYTES];
    size_t length = escape_one(piece, from + i, n - i, form, &used);
    if (at + length > room) {
      if (room < CUT_BYTES) return at;
      memcpy(out + cut, cut_mark, CUT_BYTES);
      return cut + CUT_BYTES;
    }
    memcpy(out + at, piece, length);
    at += length;
    if (at + CUT_BYTES <= room) cut = at;
  }
  return at;
}

// The character at p as it is shown; *used is how many of the bytes it stands for. Returns the length of the piece.
static size_t escape_one(char piece[PIECE_BYTES], const unsigned char *p, size_t n, enum escape_form form,
                         size_t *used) {
  *used = 1;
  if ((form == ESCAPE_QUOTED || form == ESCAPE_YAML) && (*p == '"' || *p == '\\')) {
    piece[0] = '\\';
    piece[1] = (char)*p;
    return 2;
  }
  bool several = form == ESCAPE_TEXT || form == ESCAPE_BYTES;
  bool kept = several && (*p == '\n' || *p == '\t');
  if (kept || (*p >= 0x20 && *p < 0x7f)) {
    piece[0] = (char)*p;
    return 1;
  }
  uint32_t code = 0xfffd;
  size_t length = decode(p, n, &code);
  if (length > 1 && !is_steering(code)) {
    memcpy(piece, p, length);
    *used = length;
    return length;
  }
  if (form == ESCAPE_BYTES && length == 0 && *p >= 0xa0) {
    piece[0] = (char)*p;
    return 1;
  }
  if (form != ESCAPE_YAML) return (size_t)snprintf(piece, PIECE_BYTES, "\\x%02x", *p);
  *used = length > 0 ? length : 1;
  return code_in_yaml(piece, code);
}

static size_t code_in_yaml(char piece[PIECE_BYTES], uint32_t code) {
  int length = code <= 0xff     ? snprintf(piece, PIECE_BYTES, "\\x%02x", code)
               : code <= 0xffff ? snprintf(piece, PIECE_BYTES, "\\u%04x", code)
                                : snprintf(piece, PIECE_BYTES, "\\U%08x", code);
  return (size_t)length;
}

// Length of the character at p, *code its number; 0 when it is malformed, overlong or a surrogate, *code untouched.
static size_t decode(const unsigned char *p, size_t n, uint32_t *code) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (*p < 0x80) {
    *code = *p;
    return 1;
  }
  size_t length = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
  if (*p < 0xc0 || *p >= 0xf8 || length > n) return 0;
  uint32_t sum = *p & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    sum = sum << 6 | (p[i] & 0x3fu);
  }
  if (sum < least[length] || sum > 0x10ffff || (sum >= 0xd800 && sum <= 0xdfff)) return 0;
  *code = sum;
  return length;
}

// Characters that command a terminal or reorder what is read.
static bool is_steering(uint32_t code) {
  static const struct {
    uint32_t first, last;
  } range[] = {
      {0x00, 0x1f},     {0x7f, 0x9f},      // C0 and C1 controls
      {0x061c, 0x061c}, {0x200b, 0x200f},  // marks without width or of direction
      {0x2028, 0x202e},                    // separators, embeddings, overrides
      {0x2060, 0x206f}, {0xfeff, 0xfeff},  // isolates, joiners, byte order mark
      {0xfdd0, 0xfdef}, {0xfff0, 0xfffb},  // no characters, annotations
  };
  for (size_t i = 0; i < COUNT_OF(range); i++)
    if (code >= range[i].first && code <= range[i].last) return true;
  return (code & 0xfffe) == 0xfffe;
}
