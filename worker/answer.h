// Reading a Rows message by the names of its columns, so that a server may add or move columns. Used by all that asks
// the server: admin, report, progress, local. Knows nothing of what the columns mean.
#ifndef WORKER_ANSWER_H
#define WORKER_ANSWER_H

#include "config/base.h"
#include "proto/msg.h"

// A view of a message, which must live as long.
struct answer {
  const Shardd__Rows *rows;
  size_t row_count, column_count;
};

enum { ANSWER_NO_COLUMN = -1 };

// 0; -1 when the message is no table (columns, types and cells do not fit each other).
int answer_init(struct answer *answer, const Shardd__Rows *rows) MUST_CHECK;

// The place of a column, or ANSWER_NO_COLUMN.
int answer_column(const struct answer *answer, const char *name);

// A cell; empty for ANSWER_NO_COLUMN.
ProtobufCBinaryData answer_cell(const struct answer *answer, size_t row, int column);

// A cell as a number, or `otherwise` where it is empty, no decimal number or there is no such column.
int64_t answer_number(const struct answer *answer, size_t row, int column, int64_t otherwise);

// A cell as NUL-terminated text; the caller frees it.
char *answer_text(const struct answer *answer, size_t row, int column);

// The same by name.
int64_t answer_get_number(const struct answer *answer, size_t row, const char *column, int64_t otherwise);
char *answer_get_text(const struct answer *answer, size_t row, const char *column);
// The same, safe to show in a line (human.h).
char *answer_get_safe(const struct answer *answer, size_t row, const char *column);

#endif
