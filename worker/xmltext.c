// XML made acceptable, character by character. Called by junit.c. Bytes go through decode.c (byte order marks, UTF-16),
// through iconv when the declaration names an encoding, and then through a lexer that knows just enough of XML to tell
// text, tags, comments, CDATA and processing instructions apart. Every input is hostile; what is not well-formed is
// expat's to refuse. Line breaks stay where they are, so that expat's line numbers are those of the file.
#include "worker/xmltext.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/escape.h"
#include "worker/decode.h"
#include "worker/xmltext_encoding.h"

enum { HEAD_BYTES = 1024, REFERENCE_BYTES = 32, SHOWN_BYTES = 120, OUT_FIRST = 32 * 1024, CONVERTED_BYTES = 4096 };

enum state { TEXT, REFERENCE, OPENED, TAG, QUOTED, COMMENT, CDATA, INSTRUCTION };

static const char replacement[] = "\xef\xbf\xbd";  // U+FFFD

struct xmltext {
  void (*on_xml)(void *arg, const char *bytes, size_t n);
  void *arg;
  struct decode decode;
  char head[HEAD_BYTES];  // up to the end of the declaration, which names the encoding
  size_t head_bytes;
  bool begun;         // the encoding is known
  iconv_t converter;  // NULL: none
  char partial[16];   // of a character that iconv waits for
  size_t partial_bytes;
  char unknown[XMLTEXT_ENCODING_BYTES];  // the encoding that is not read
  uint8_t character[4];                  // of UTF-8, as far as it has come
  size_t character_bytes, character_needs;
  uint8_t least, most;       // what its next byte may be
  enum state state, around;  // around: the state that the reference stands in
  char quote;
  char seen[REFERENCE_BYTES];  // the reference behind "&"; or what stands behind "<"
  size_t seen_bytes;
  char before[2];  // the characters before this one, within the state
  char *out;
  size_t out_bytes, out_room;
  unsigned long line, first_line;
  size_t replaced;
};

static void on_decoded(void *arg, const char *bytes, size_t n);
static void begin(struct xmltext *text);
static void take_bytes(struct xmltext *text, const char *bytes, size_t n);
static void convert(struct xmltext *text, const char *bytes, size_t n);
static void end_conversion(struct xmltext *text);
static void take_utf8(struct xmltext *text, const char *bytes, size_t n);
static bool take_continuation(struct xmltext *text, uint8_t byte);
static void take_lead(struct xmltext *text, uint8_t byte);
static void take_ascii(struct xmltext *text, char c);
static void take_opened(struct xmltext *text, char c);
static void take_reference(struct xmltext *text, char c);
static bool reference_allowed(const char *name, size_t n);
static void enter(struct xmltext *text, enum state state);
static void replace(struct xmltext *text, const char *by);
static void count_loss(struct xmltext *text);
static void put(struct xmltext *text, const char *bytes, size_t n);

struct xmltext *xmltext_new(void (*on_xml)(void *arg, const char *bytes, size_t n), void *arg) {
  struct xmltext *text = base_calloc(1, sizeof *text);
  text->on_xml = on_xml;
  text->arg = arg;
  text->decode.guess = true;
  text->line = 1;
  return text;
}

void xmltext_free(struct xmltext *text) {
  if (text == NULL) return;
  if (text->converter != NULL) (void)iconv_close(text->converter);
  free(text->out);
  free(text);
}

void xmltext_feed(struct xmltext *text, const char *bytes, size_t n, bool last) {
  decode_feed(&text->decode, bytes, n, last, on_decoded, text);
  if (last) {
    if (!text->begun) begin(text);
    if (text->converter != NULL) end_conversion(text);
    if (text->character_needs > 0) replace(text, replacement);
    if (text->state == REFERENCE) take_reference(text, '\0');
    text->character_needs = 0;
  }
  bool between = text->state == TEXT || text->state == CDATA;
  if (text->out_bytes == 0 || (!between && !last)) return;
  text->on_xml(text->arg, text->out, text->out_bytes);
  text->out_bytes = 0;
}

void xmltext_lost(const struct xmltext *text, char *out, size_t size) {
  char encoding[SHOWN_BYTES] = "", characters[SHOWN_BYTES] = "";
  size_t count = text->replaced + text->decode.replaced;
  if (text->unknown[0] != '\0') {
    char shown[XMLTEXT_ENCODING_BYTES + 8];
    (void)snprintf(encoding, sizeof encoding, "the encoding %s is not known, the text was read as UTF-8",
                   base_quote(shown, sizeof shown, text->unknown, strlen(text->unknown)));
  }
  if (count > 0)
    (void)snprintf(characters, sizeof characters,
                   "%zu character%s that XML does not allow %s replaced, the first in line %lu", count,
                   count == 1 ? "" : "s", count == 1 ? "was" : "were", text->first_line ? text->first_line : 1);
  (void)snprintf(out, size, "%s%s%s", encoding, encoding[0] && characters[0] ? "; " : "", characters);
}

// ---- bytes to UTF-8

// Collects the declaration first.
static void on_decoded(void *arg, const char *bytes, size_t n) {
  struct xmltext *text = arg;
  while (!text->begun && n > 0) {
    static const char start[] = "<?xml";
    text->head[text->head_bytes++] = *bytes;
    size_t known = text->head_bytes < sizeof start - 1 ? text->head_bytes : sizeof start - 1;
    bool declared = memcmp(text->head, start, known) == 0;
    if (!declared || *bytes == '>' || text->head_bytes == HEAD_BYTES) begin(text);
    bytes++;
    n--;
  }
  if (n > 0) take_bytes(text, bytes, n);
}

// The encoding is known now; UTF-16 has been decoded, whatever the declaration says.
static void begin(struct xmltext *text) {
  char name[XMLTEXT_ENCODING_BYTES] = "", iconv_name[XMLTEXT_ENCODING_BYTES] = "";
  text->begun = true;
  if (text->decode.form == DECODE_PLAIN && text->head_bytes > 5 && memcmp(text->head, "<?xml", 5) == 0)
    xmltext_encoding_find(text->head, text->head_bytes, name);
  bool known = xmltext_encoding_iconv(name, iconv_name);
  if (known && iconv_name[0] != '\0') {
    iconv_t converter = iconv_open("UTF-8", iconv_name);
    known = (intptr_t)converter != -1;
    if (known) text->converter = converter;
  }
  if (!known) memcpy(text->unknown, name, sizeof text->unknown);
  take_bytes(text, text->head, text->head_bytes);
}

static void take_bytes(struct xmltext *text, const char *bytes, size_t n) {
  if (text->converter != NULL)
    convert(text, bytes, n);
  else
    take_utf8(text, bytes, n);
}

// A byte at a time: what iconv waits for is a few bytes, and a byte that begins nothing is replaced.
static void convert(struct xmltext *text, const char *bytes, size_t n) {
  char converted[CONVERTED_BYTES], *to = converted;
  for (size_t i = 0; i < n; i++) {
    text->partial[text->partial_bytes++] = bytes[i];
    char *from = text->partial;
    size_t left = text->partial_bytes, room = sizeof converted - (size_t)(to - converted);
    if (iconv(text->converter, &from, &left, &to, &room) != (size_t)-1) {
      text->partial_bytes = 0;
    } else if (errno != EINVAL || text->partial_bytes == sizeof text->partial) {
      (void)iconv(text->converter, NULL, NULL, &to, &room);
      memcpy(to, "\xff", 1);  // is replaced, and counted, below
      to++;
      bool again = text->partial_bytes > 1;  // the byte that did not fit may begin a character of its own
      text->partial_bytes = 0;
      i -= again;
    } else {
      memmove(text->partial, from, left);
      text->partial_bytes = left;
    }
    if (sizeof converted - (size_t)(to - converted) >= 64) continue;
    take_utf8(text, converted, (size_t)(to - converted));
    to = converted;
  }
  take_utf8(text, converted, (size_t)(to - converted));
}

// Some encodings hold a letter back for the accent that may follow it.
static void end_conversion(struct xmltext *text) {
  char held[64], *to = held;
  size_t room = sizeof held;
  (void)iconv(text->converter, NULL, NULL, &to, &room);
  take_utf8(text, held, (size_t)(to - held));
  if (text->partial_bytes > 0) replace(text, replacement);
  text->partial_bytes = 0;
}

static void take_utf8(struct xmltext *text, const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint8_t byte = (uint8_t)bytes[i];
    if (text->character_needs > 0 && take_continuation(text, byte)) continue;
    if (byte == '\n') text->line++;
    if (byte < 0x80)
      take_ascii(text, (char)byte);
    else
      take_lead(text, byte);
  }
}

// False: the byte begins something else, and the character before it was broken.
static bool take_continuation(struct xmltext *text, uint8_t byte) {
  if (byte < text->least || byte > text->most) {
    text->character_needs = 0;
    replace(text, replacement);
    return false;
  }
  text->character[text->character_bytes++] = byte;
  text->least = 0x80;
  text->most = 0xbf;
  if (--text->character_needs > 0) return true;
  bool noncharacter = text->character_bytes == 3 && text->character[0] == 0xef && text->character[1] == 0xbf &&
                      text->character[2] >= 0xbe;  // U+FFFE, U+FFFF
  if (text->state == REFERENCE) take_reference(text, '\0');
  if (text->state == OPENED) enter(text, TAG);
  if (noncharacter)
    replace(text, replacement);
  else
    put(text, (const char *)text->character, text->character_bytes);
  text->before[0] = text->before[1] = '\0';
  return true;
}

static void take_lead(struct xmltext *text, uint8_t byte) {
  if (byte < 0xc2 || byte > 0xf4) {
    replace(text, replacement);
    return;
  }
  text->character[0] = byte;
  text->character_bytes = 1;
  text->character_needs = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
  text->least = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
  text->most = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
}

// ---- the lexer

static void take_ascii(struct xmltext *text, char c) {
  if ((unsigned char)c < ' ' && c != '\t' && c != '\n' && c != '\r') {
    replace(text, replacement);
    return;
  }
  if (text->state == REFERENCE) {
    take_reference(text, c);
    return;
  }
  if (text->state == OPENED) {
    take_opened(text, c);
    return;
  }
  bool closing = c == '>' && text->before[0] == ']' && text->before[1] == ']';
  if (c == '&' && (text->state == TEXT || text->state == QUOTED)) {
    text->around = text->state;
    enter(text, REFERENCE);
    return;
  }
  if (text->state == TEXT && closing) {
    replace(text, "&gt;");  // "]]>" ends nothing here
    return;
  }
  put(text, &c, 1);
  if (text->state == TEXT && c == '<') {
    enter(text, OPENED);
    return;
  }
  bool ends = (text->state == CDATA && closing) || (text->state == TAG && c == '>') ||
              (text->state == COMMENT && c == '>' && text->before[0] == '-' && text->before[1] == '-') ||
              (text->state == INSTRUCTION && c == '>' && text->before[1] == '?');
  if (ends) {
    enter(text, TEXT);
  } else if (text->state == TAG && (c == '"' || c == '\'')) {
    text->quote = c;
    enter(text, QUOTED);
  } else if (text->state == QUOTED && c == text->quote) {
    enter(text, TAG);
  } else {
    text->before[0] = text->before[1];
    text->before[1] = c;
  }
}

// Behind "<": which of them it is.
static void take_opened(struct xmltext *text, char c) {
  static const struct {
    const char *begins;
    enum state state;
  } kinds[] = {{"?", INSTRUCTION}, {"!--", COMMENT}, {"![CDATA[", CDATA}};
  text->seen[text->seen_bytes++] = c;
  for (size_t i = 0; i < COUNT_OF(kinds); i++) {
    if (strncmp(text->seen, kinds[i].begins, text->seen_bytes) != 0) continue;
    put(text, &c, 1);
    if (kinds[i].begins[text->seen_bytes] == '\0') enter(text, kinds[i].state);
    return;
  }
  enter(text, TAG);
  take_ascii(text, c);
}

// Behind "&", up to the ";". What is no reference is an ampersand.
static void take_reference(struct xmltext *text, char c) {
  bool part = c == '#' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  if (part && text->seen_bytes < REFERENCE_BYTES) {
    text->seen[text->seen_bytes++] = c;
    return;
  }
  char name[REFERENCE_BYTES];
  size_t n = text->seen_bytes;
  memcpy(name, text->seen, n);
  enter(text, text->around);
  if (c == ';' && reference_allowed(name, n)) {
    put(text, "&", 1);
    put(text, name, n);
    put(text, ";", 1);
    return;
  }
  if (c == ';' && n > 1 && name[0] == '#') {
    replace(text, replacement);
    return;
  }
  replace(text, "&amp;");
  put(text, name, n);
  if (c != '\0') take_ascii(text, c);
}

static bool reference_allowed(const char *name, size_t n) {
  static const char *const known[] = {"lt", "gt", "amp", "quot", "apos"};
  for (size_t i = 0; i < COUNT_OF(known); i++)
    if (strlen(known[i]) == n && memcmp(known[i], name, n) == 0) return true;
  if (n < 2 || name[0] != '#') return false;
  char number[REFERENCE_BYTES], *end;
  bool hex = name[1] == 'x';
  memcpy(number, name + 1 + hex, n - 1 - hex);
  number[n - 1 - hex] = '\0';
  if (number[0] == '\0') return false;
  unsigned long code = strtoul(number, &end, hex ? 16 : 10);
  if (*end != '\0') return false;
  if (code < 0x20) return code == '\t' || code == '\n' || code == '\r';
  return code < 0xd800 || (code > 0xdfff && code < 0xfffe) || (code > 0xffff && code < 0x110000);
}

static void enter(struct xmltext *text, enum state state) {
  text->state = state;
  text->seen_bytes = 0;
  text->before[0] = text->before[1] = '\0';
}

// Characters within a tag's name or between its attributes would still not be well-formed: expat's to say.
static void replace(struct xmltext *text, const char *by) {
  if (text->state == REFERENCE) take_reference(text, '\0');
  if (text->state == OPENED) enter(text, TAG);
  count_loss(text);
  put(text, by, strlen(by));
  text->before[0] = text->before[1] = '\0';
}

static void count_loss(struct xmltext *text) {
  if (text->replaced++ == 0) text->first_line = text->line;
}

static void put(struct xmltext *text, const char *bytes, size_t n) {
  if (text->out_bytes + n > text->out_room) {
    text->out_room = text->out_room > 0 ? 2 * (text->out_bytes + n) : OUT_FIRST;
    text->out = base_realloc(text->out, text->out_room, 1);
  }
  memcpy(text->out + text->out_bytes, bytes, n);
  text->out_bytes += n;
}
