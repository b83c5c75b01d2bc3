// A table of answers to an admin query: typed columns, cells row by row. Filled by the store's and the registry's
// queries, packed into a Rows message by query.c. Knows nothing of SQL or of the wire.
#ifndef SERVER_ROWS_H
#define SERVER_ROWS_H

#include "config/base.h"

// The numbers of ColumnType in shardd.proto (asserted in query.c).
enum rows_type { ROWS_TEXT, ROWS_INT, ROWS_DURATION_US, ROWS_TIME_MS, ROWS_RATIO_PPM, ROWS_MILLI };

struct rows_column {
  const char *name;  // constant text
  enum rows_type type;
};

struct rows {
  const struct rows_column *columns;  // constant
  size_t column_count;
  struct rows_cell {
    char *bytes;  // owned
    size_t n;
  } * cells;
  size_t cell_count;
  size_t bytes;   // of all cells, to keep a page within its frame
  uint64_t next;  // paging: continue behind this; 0: that was all
};

void rows_init(struct rows *rows, const struct rows_column *columns, size_t column_count);
void rows_release(struct rows *rows);
// Append the next cell, in the order of the columns.
void rows_text(struct rows *rows, const void *bytes, size_t n);
void rows_string(struct rows *rows, const char *text);  // NULL counts as ""
void rows_int(struct rows *rows, int64_t value);
void rows_none(struct rows *rows);  // an empty cell: unknown
size_t rows_count(const struct rows *rows);

#endif
