// Comma-separated values, character by character. Called by timings.c. A record lies in one buffer of fixed size, its
// fields point into it: whatever comes in, memory stays the same.
#include "worker/csv.h"

#include <stdlib.h>
#include <string.h>

enum { END = EOF };

struct csv {
  FILE *in;
  struct csv_place at;  // of the next character
  int next;             // the next character, or END
  char *text;
  size_t bytes;
  struct csv_field field[CSV_FIELDS_MAX];
  size_t start[CSV_FIELDS_MAX];  // of each field in text
  size_t count;
  bool quoted;  // the record holds a quoted field: then it is not blank
  struct csv_place wrong_at;
  const char *why;  // of the record; NULL: nothing is wrong so far
  bool broken;      // the file cannot be read
  char *line;       // of a quoted field, from its second line on: read again when its quote ends nowhere
  size_t line_bytes, line_room;
  bool keeping;              // bytes taken go to `line`
  struct csv_place line_at;  // where it begins
  char *again;               // bytes to be read before those of the file
  size_t again_at, again_bytes;
};

static int next_byte(struct csv *csv);
static int peek_byte(const struct csv *csv);
static void keep_byte(struct csv *csv, int byte);
static void skip_mark(struct csv *csv);
static int take(struct csv *csv);
static void put(struct csv *csv, int character, struct csv_place from);
static void fail(struct csv *csv, struct csv_place place, const char *why);
static void read_record(struct csv *csv);
static void read_field(struct csv *csv);
static void read_quoted(struct csv *csv, struct csv_place begin);
static bool at_line_end(const struct csv *csv);
static bool at_crlf(const struct csv *csv);
static void end_line(struct csv *csv);
static void skip_line(struct csv *csv);

struct csv *csv_new(FILE *in) {
  struct csv *csv = base_calloc(1, sizeof *csv);
  csv->in = in;
  csv->at = (struct csv_place){1, 1};
  csv->text = base_malloc(CSV_RECORD_MAX_BYTES);
  csv->next = getc_unlocked(in);
  skip_mark(csv);
  return csv;
}

void csv_free(struct csv *csv) {
  if (csv == NULL) return;
  free(csv->text);
  free(csv->line);
  free(csv->again);
  free(csv);
}

int csv_next(struct csv *csv, const struct csv_field **fields, size_t *count, struct csv_place *place,
             const char **why) {
  bool blank = true;
  if (!csv->broken) csv->why = NULL;
  while (blank && csv->why == NULL && csv->next != END) {
    read_record(csv);
    blank = csv->count == 1 && csv->bytes == 1 && !csv->quoted;
  }
  if (!csv->broken && ferror(csv->in)) {
    csv->why = NULL;
    csv->broken = true;
    fail(csv, csv->at, "the file cannot be read any further");
  }
  if (csv->why != NULL) {
    *place = csv->wrong_at;
    *why = csv->why;
    if (!csv->broken) skip_line(csv);
    return csv->broken ? -1 : CSV_ODD;
  }
  if (blank) return 0;
  for (size_t i = 0; i < csv->count; i++)
    csv->field[i].text = csv->text + csv->start[i];
  *fields = csv->field;
  *count = csv->count;
  return 1;
}

struct csv_place csv_place(const struct csv *csv) {
  return csv->at;
}

// ---- characters

static int next_byte(struct csv *csv) {
  if (csv->again_at < csv->again_bytes) return (unsigned char)csv->again[csv->again_at++];
  return getc_unlocked(csv->in);
}

static int peek_byte(const struct csv *csv) {
  if (csv->again_at < csv->again_bytes) return (unsigned char)csv->again[csv->again_at];
  int byte = getc_unlocked(csv->in);
  if (byte != EOF) (void)ungetc(byte, csv->in);
  return byte;
}

static void keep_byte(struct csv *csv, int byte) {
  if (csv->line_bytes == csv->line_room) {
    csv->line_room = csv->line_room > 0 ? 2 * csv->line_room : 1024;
    csv->line = base_realloc(csv->line, csv->line_room, 1);
  }
  csv->line[csv->line_bytes++] = (char)byte;
}

// The mark that some programs put before UTF-8. Where only its first byte comes, that one is dropped: it is no text.
static void skip_mark(struct csv *csv) {
  if (csv->next != 0xef || peek_byte(csv) != 0xbb) return;
  (void)getc_unlocked(csv->in);
  if (peek_byte(csv) == 0xbf) (void)getc_unlocked(csv->in);
  csv->next = getc_unlocked(csv->in);
}

// Columns count characters: the further bytes of one in UTF-8 do not.
static int take(struct csv *csv) {
  int character = csv->next;
  csv->next = next_byte(csv);
  if (csv->keeping) keep_byte(csv, character);
  if (character == '\n') {
    csv->at.line++;
    csv->at.column = 1;
  } else if ((character & 0xc0) != 0x80) {
    csv->at.column++;
  }
  return character;
}

// `from`: where the character stood.
static void put(struct csv *csv, int character, struct csv_place from) {
  if (csv->bytes < CSV_RECORD_MAX_BYTES) {
    csv->text[csv->bytes++] = (char)character;
  } else {
    fail(csv, from, "a record is longer than 65536 bytes");
  }
}

static void fail(struct csv *csv, struct csv_place place, const char *why) {
  if (csv->why != NULL) return;
  csv->wrong_at = place;
  csv->why = why;
}

// ---- records and fields

static void read_record(struct csv *csv) {
  csv->bytes = csv->count = csv->line_bytes = 0;
  csv->quoted = csv->keeping = false;
  for (;;) {
    if (csv->count == CSV_FIELDS_MAX) fail(csv, csv->at, "a record has more than 64 fields");
    if (csv->why != NULL) return;
    read_field(csv);
    if (csv->next != ',' || csv->why != NULL) break;
    (void)take(csv);
  }
  end_line(csv);
}

static void read_field(struct csv *csv) {
  struct csv_field *field = &csv->field[csv->count];
  struct csv_place begin = csv->at;
  csv->start[csv->count++] = csv->bytes;
  *field = (struct csv_field){.place = begin};
  size_t before = csv->bytes;
  if (csv->next == '"') {
    read_quoted(csv, begin);
  } else {
    while (csv->why == NULL && csv->next != ',' && !at_line_end(csv)) {
      struct csv_place from = csv->at;
      if (csv->next == '\0') fail(csv, from, "a NUL byte: this is not text");
      put(csv, take(csv), from);
    }
  }
  field->bytes = csv->bytes - before;
  put(csv, '\0', csv->at);
}

// Two quotes are one; behind a single one the field must end.
static void read_quoted(struct csv *csv, struct csv_place begin) {
  csv->quoted = true;
  (void)take(csv);
  while (csv->why == NULL) {
    struct csv_place from = csv->at;
    if (csv->next == END) fail(csv, begin, "the quote that begins here is never closed");
    if (csv->next == '\0') fail(csv, from, "a NUL byte: this is not text");
    if (csv->why != NULL) return;
    int character = take(csv);
    if (character == '\n' && !csv->keeping) {
      csv->keeping = true;
      csv->line_at = csv->at;
    }
    if (character == '"' && csv->next != '"') break;
    if (character == '"') (void)take(csv);
    put(csv, character, from);
  }
  if (csv->why == NULL && csv->next != ',' && !at_line_end(csv))
    fail(csv, csv->at, "a closing quote with text behind it; a quote inside quotes is written twice");
}

static bool at_line_end(const struct csv *csv) {
  return csv->next == END || csv->next == '\n' || at_crlf(csv);
}

static bool at_crlf(const struct csv *csv) {
  if (csv->next != '\r') return false;
  int behind = peek_byte(csv);
  return behind == '\n' || behind == END;
}

static void end_line(struct csv *csv) {
  if (csv->next == '\r') (void)take(csv);
  if (csv->next == '\n') (void)take(csv);
}

// Past the line on which the record that is not one begins. A quote that ends nowhere has taken further lines: those
// are read again.
static void skip_line(struct csv *csv) {
  if (!csv->keeping) {
    while (csv->next != END && take(csv) != '\n')
      continue;
    return;
  }
  csv->keeping = false;
  if (csv->next != END) keep_byte(csv, csv->next);
  for (; csv->again_at < csv->again_bytes; csv->again_at++)
    keep_byte(csv, csv->again[csv->again_at]);
  free(csv->again);
  csv->again = csv->line;
  csv->again_bytes = csv->line_bytes;
  csv->again_at = csv->line_bytes = csv->line_room = 0;
  csv->line = NULL;
  csv->at = csv->line_at;
  csv->next = next_byte(csv);
}
