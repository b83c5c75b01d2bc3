// Reads comma-separated values (RFC 4180) record by record, within bounds: quoted fields with "" for a quote and with
// line breaks, LF or CRLF, a byte order mark, blank lines skipped. Used by timings.c. Knows where each field begins,
// and not what it means.
#ifndef WORKER_CSV_H
#define WORKER_CSV_H

#include <stdio.h>

#include "config/base.h"

enum {
  CSV_RECORD_MAX_BYTES = 64 * 1024,  // of the fields of a record
  CSV_FIELDS_MAX = 64,
};

// Where a field or a fault is: line and character of the line, from 1.
struct csv_place {
  uint32_t line, column;
};

struct csv_field {
  const char *text;  // NUL-terminated, without the quotes; holds no NUL
  size_t bytes;
  struct csv_place place;
};

struct csv;

// Reads from `in`, which stays the caller's.
struct csv *csv_new(FILE *in);
void csv_free(struct csv *csv);
// The next record: 1 and *fields (valid until the next call) and *count; 0 at the end; CSV_ODD or -1 with *place and
// *why, a constant text. CSV_ODD: the line is not a record and is skipped, the next call goes on below it. After 0 and
// -1 (the file cannot be read) nothing more comes.
enum { CSV_ODD = -2 };
int csv_next(struct csv *csv, const struct csv_field **fields, size_t *count, struct csv_place *place,
             const char **why) MUST_CHECK;
// Where it stands: behind what was read.
struct csv_place csv_place(const struct csv *csv);

#endif
