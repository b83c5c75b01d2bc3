// Rows by column name. Called by whoever asked the server a question. Cells are bytes of any kind: numbers are read
// strictly, a cell that is none counts as unknown. It must not know any column by name.
#include "worker/answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"

enum { NUMBER_BYTES = 24 };

int answer_init(struct answer *answer, const Shardd__Rows *rows) {
  size_t columns = rows->n_column;
  if (columns == 0 || rows->n_type != columns || rows->n_cell % columns != 0) return -1;
  *answer = (struct answer){.rows = rows, .row_count = rows->n_cell / columns, .column_count = columns};
  return 0;
}

int answer_column(const struct answer *answer, const char *name) {
  size_t length = strlen(name);
  for (size_t i = 0; i < answer->column_count; i++) {
    const ProtobufCBinaryData *column = &answer->rows->column[i];
    if (column->len == length && memcmp(column->data, name, length) == 0) return (int)i;
  }
  return ANSWER_NO_COLUMN;
}

ProtobufCBinaryData answer_cell(const struct answer *answer, size_t row, int column) {
  if (column < 0 || row >= answer->row_count) return (ProtobufCBinaryData){0};
  return answer->rows->cell[row * answer->column_count + (size_t)column];
}

int64_t answer_number(const struct answer *answer, size_t row, int column, int64_t otherwise) {
  ProtobufCBinaryData cell = answer_cell(answer, row, column);
  char text[NUMBER_BYTES], *end;
  if (cell.len == 0 || cell.len >= sizeof text) return otherwise;
  memcpy(text, cell.data, cell.len);
  text[cell.len] = '\0';
  if (text[0] != '-' && (text[0] < '0' || text[0] > '9')) return otherwise;
  errno = 0;
  long long number = strtoll(text, &end, 10);
  return errno != 0 || end != text + cell.len ? otherwise : number;
}

char *answer_text(const struct answer *answer, size_t row, int column) {
  ProtobufCBinaryData cell = answer_cell(answer, row, column);
  return base_memdup0(cell.data, cell.len);
}

int64_t answer_get_number(const struct answer *answer, size_t row, const char *column, int64_t otherwise) {
  return answer_number(answer, row, answer_column(answer, column), otherwise);
}

char *answer_get_text(const struct answer *answer, size_t row, const char *column) {
  return answer_text(answer, row, answer_column(answer, column));
}

char *answer_get_safe(const struct answer *answer, size_t row, const char *column) {
  ProtobufCBinaryData cell = answer_cell(answer, row, answer_column(answer, column));
  return human_safe(cell.data, cell.len, ESCAPE_LINE);
}
