// Byte order marks. Called by the readers of text. Holds at most four bytes back; must not know what the text means.
#include "worker/decode.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 4096, FILE_CHUNK = 16 * 1024 };

static const char replacement[] = "\xef\xbf\xbd";

static bool decide(struct decode *decode, bool last, size_t *mark_bytes);
static void feed_utf16(struct decode *decode, const char *bytes, size_t n, bool last, decode_sink *sink, void *arg);
static size_t take_unit(struct decode *decode, char *out);
static size_t put_utf8(uint32_t code, char *out);

void decode_feed(struct decode *decode, const char *bytes, size_t n, bool last, decode_sink *sink, void *arg) {
  while (decode->form == DECODE_UNDECIDED && (n > 0 || last)) {
    size_t mark_bytes = 0;
    if (n > 0) {
      decode->pending[decode->pending_bytes++] = (uint8_t)*bytes++;
      n--;
    }
    if (!decide(decode, last && n == 0, &mark_bytes)) continue;
    uint8_t held[4];
    size_t held_bytes = decode->pending_bytes - mark_bytes;
    memcpy(held, decode->pending + mark_bytes, held_bytes);
    decode->pending_bytes = 0;
    if (decode->form == DECODE_PLAIN && held_bytes > 0) sink(arg, (const char *)held, held_bytes);
    if (decode->form != DECODE_PLAIN) feed_utf16(decode, (const char *)held, held_bytes, false, sink, arg);
  }
  if (decode->form == DECODE_PLAIN && n > 0) sink(arg, bytes, n);
  if (decode->form == DECODE_UTF16LE || decode->form == DECODE_UTF16BE) feed_utf16(decode, bytes, n, last, sink, arg);
}

// False: more bytes decide. *mark_bytes: how many of those held are the mark.
static bool decide(struct decode *decode, bool last, size_t *mark_bytes) {
  static const struct {
    char mark[4];
    size_t bytes, dropped;
    enum decode_form form;
    bool guess;
  } marks[] = {{"\xef\xbb\xbf", 3, 3, DECODE_PLAIN, false},
               {"\xff\xfe", 2, 2, DECODE_UTF16LE, false},
               {"\xfe\xff", 2, 2, DECODE_UTF16BE, false},
               {"<\0", 2, 0, DECODE_UTF16LE, true},
               {"\0<", 2, 0, DECODE_UTF16BE, true}};
  bool open = false;
  for (size_t i = 0; i < COUNT_OF(marks); i++) {
    size_t n = decode->pending_bytes < marks[i].bytes ? decode->pending_bytes : marks[i].bytes;
    if ((marks[i].guess && !decode->guess) || memcmp(decode->pending, marks[i].mark, n) != 0) continue;
    open = open || n < marks[i].bytes;
    if (n < marks[i].bytes) continue;
    decode->form = marks[i].form;
    *mark_bytes = marks[i].dropped;
    return true;
  }
  if (open && !last) return false;
  decode->form = DECODE_PLAIN;
  return true;
}

static void feed_utf16(struct decode *decode, const char *bytes, size_t n, bool last, decode_sink *sink, void *arg) {
  char out[CHUNK];
  size_t used = 0;
  for (size_t i = 0; i < n; i++) {
    decode->pending[decode->pending_bytes++] = (uint8_t)bytes[i];
    if (decode->pending_bytes % 2 == 0) used += take_unit(decode, out + used);
    if (used + 8 <= sizeof out) continue;
    sink(arg, out, used);
    used = 0;
  }
  if (last && decode->pending_bytes > 0) {
    used += put_utf8(0xfffd, out + used);
    decode->replaced++;
    decode->pending_bytes = 0;
  }
  if (used > 0) sink(arg, out, used);
}

// Two or four bytes are pending: a unit, or a high half and the unit behind it. Returns the bytes written.
static size_t take_unit(struct decode *decode, char *out) {
  const uint8_t *at = decode->pending;
  size_t high = decode->form == DECODE_UTF16BE ? 0 : 1, used = 0;
  uint32_t unit = (uint32_t)at[high] << 8 | at[1 - high];
  if (decode->pending_bytes == 4) {
    uint32_t low = (uint32_t)at[2 + high] << 8 | at[3 - high];
    if (low >= 0xdc00 && low < 0xe000) {
      decode->pending_bytes = 0;
      return put_utf8(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out);
    }
    used = put_utf8(0xfffd, out);
    decode->replaced++;
    memmove(decode->pending, decode->pending + 2, 2);
    unit = low;
  }
  decode->pending_bytes = 2;
  if (unit >= 0xd800 && unit < 0xdc00) return used;  // waits for its other half
  decode->pending_bytes = 0;
  bool alone = unit >= 0xdc00 && unit < 0xe000;
  decode->replaced += alone;
  return used + put_utf8(alone ? 0xfffd : unit, out + used);
}

static size_t put_utf8(uint32_t code, char *out) {
  if (code == 0xfffd) {
    memcpy(out, replacement, 3);
    return 3;
  }
  size_t more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const uint8_t lead[] = {0x00, 0xc0, 0xe0, 0xf0};
  out[0] = (char)(lead[more] | code >> (6 * more));
  for (size_t i = 1; i <= more; i++)
    out[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3f));
  return more + 1;
}

// ---- files

struct decoded_file {
  FILE *in;
  struct decode decode;
  char *out;
  size_t bytes, at, room;
  bool ended;
};

static void on_decoded(void *arg, const char *bytes, size_t n) {
  struct decoded_file *file = arg;
  if (file->bytes + n > file->room) {
    file->room = 2 * (file->bytes + n);
    file->out = base_realloc(file->out, file->room, 1);
  }
  memcpy(file->out + file->bytes, bytes, n);
  file->bytes += n;
}

static ssize_t on_read(void *arg, char *to, size_t size) {
  struct decoded_file *file = arg;
  char buffer[FILE_CHUNK];
  while (file->at == file->bytes && !file->ended) {
    file->at = file->bytes = 0;
    size_t n = fread(buffer, 1, sizeof buffer, file->in);
    if (ferror(file->in)) return -1;
    file->ended = n < sizeof buffer;
    decode_feed(&file->decode, buffer, n, file->ended, on_decoded, file);
  }
  size_t n = file->bytes - file->at < size ? file->bytes - file->at : size;
  if (n > 0) memcpy(to, file->out + file->at, n);
  file->at += n;
  return (ssize_t)n;
}

static int on_close(void *arg) {
  struct decoded_file *file = arg;
  int rc = fclose(file->in);
  free(file->out);
  free(file);
  return rc;
}

FILE *decode_stream(FILE *in) {
  if (in == NULL) return NULL;
  struct decoded_file *file = base_calloc(1, sizeof *file);
  file->in = in;
  FILE *out = fopencookie(file, "r", (cookie_io_functions_t){.read = on_read, .close = on_close});
  if (out == NULL) base_die(EXIT_INFRA, "out of memory for a file");
  return out;
}
