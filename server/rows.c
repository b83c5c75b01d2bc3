// A table of answers: cells appended row by row, each a private copy. Called by the store's queries (store_query.c,
// store_report.c) and the registry's, read by query.c, which packs it. The running sum of bytes counts what a cell
// costs on the wire, so that a query can end its page in time. Must not know SQL, messages or what a column means.
#include "server/rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_OVERHEAD = 4 };  // tag and length of a cell on the wire

void rows_init(struct rows *rows, const struct rows_column *columns, size_t column_count) {
  *rows = (struct rows){.columns = columns, .column_count = column_count};
}

void rows_release(struct rows *rows) {
  for (size_t i = 0; i < rows->cell_count; i++)
    free(rows->cells[i].bytes);
  free(rows->cells);
  *rows = (struct rows){0};
}

void rows_text(struct rows *rows, const void *bytes, size_t n) {
  size_t count = rows->cell_count;
  if (count == 0 || (count >= 16 && (count & (count - 1)) == 0))  // room is 16, then the next power of two
    rows->cells = base_realloc(rows->cells, count ? count * 2 : 16, sizeof *rows->cells);
  rows->cells[count] = (struct rows_cell){base_memdup0(bytes, n), n};
  rows->cell_count = count + 1;
  rows->bytes += n + CELL_OVERHEAD;
}

void rows_string(struct rows *rows, const char *text) {
  if (text == NULL) text = "";
  rows_text(rows, text, strlen(text));
}

void rows_int(struct rows *rows, int64_t value) {
  char text[24];
  int n = snprintf(text, sizeof text, "%" PRId64, value);
  rows_text(rows, text, (size_t)n);
}

void rows_none(struct rows *rows) {
  rows_text(rows, "", 0);
}

size_t rows_count(const struct rows *rows) {
  return rows->column_count ? rows->cell_count / rows->column_count : 0;
}
