// Text of strangers made safe to show. Called by base.c (log, last words), yaml.c and conf.c (what their messages
// quote). Works on bytes: valid UTF-8 passes character by character, except those which steer a terminal or a reader
// (C0, C1, line separators, bidirectional controls, the byte order mark); the rest becomes \xNN, byte by byte. Must not
// allocate, since last words come from here when memory is out.
#include "config/escape.h"

#include <stdio.h>
#include <string.h>

static const char cut_mark[] = "…";

enum { PIECE_BYTES = 8, CUT_BYTES = sizeof cut_mark - 1 };

static size_t escape_one(char piece[PIECE_BYTES], const unsigned char *p, size_t n, enum escape_form form,
                         size_t *used);
static size_t utf8_length(const unsigned char *p, size_t n);
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
  bool kept = form == ESCAPE_TEXT && (*p == '\n' || *p == '\t');
  if (form == ESCAPE_QUOTED && (*p == '"' || *p == '\\')) {
    piece[0] = '\\';
    piece[1] = (char)*p;
    return 2;
  }
  if (kept || (*p >= 0x20 && *p < 0x7f)) {
    piece[0] = (char)*p;
    return 1;
  }
  size_t length = utf8_length(p, n);
  if (length > 0) {
    memcpy(piece, p, length);
    *used = length;
    return length;
  }
  return (size_t)snprintf(piece, PIECE_BYTES, "\\x%02x", *p);
}

// Bytes of the harmless character of two to four bytes at p; 0 when it is malformed, overlong, a surrogate or steering.
static size_t utf8_length(const unsigned char *p, size_t n) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t length = *p >= 0xf0 && *p < 0xf8 ? 4 : *p >= 0xe0 ? 3 : 2;
  if (*p < 0xc0 || *p >= 0xf8 || length > n) return 0;
  uint32_t code = *p & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    code = code << 6 | (p[i] & 0x3fu);
  }
  bool valid = code >= least[length] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return valid && !is_steering(code) ? length : 0;
}

static bool is_steering(uint32_t code) {
  return (code >= 0x80 && code <= 0x9f)                                       // C1
         || code == 0x200e || code == 0x200f || code == 0x061c                // direction marks
         || (code >= 0x2028 && code <= 0x202e)                                // separators, embeddings, overrides
         || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff              // isolates, byte order mark
         || (code & 0xfffe) == 0xfffe || (code >= 0xfdd0 && code <= 0xfdef);  // no characters
}
