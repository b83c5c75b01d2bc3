// A Rows message from plain strings, for tests of what reads answers.
#ifndef TESTS_UNIT_ANSWER_FIXTURE_H
#define TESTS_UNIT_ANSWER_FIXTURE_H

#include <string.h>

#include "worker/answer.h"

enum { FIXTURE_CELLS_MAX = 1024, FIXTURE_COLUMNS_MAX = 32 };

struct answer_fixture {
  Shardd__Rows rows;
  ProtobufCBinaryData column[FIXTURE_COLUMNS_MAX], cell[FIXTURE_CELLS_MAX];
  uint32_t type[FIXTURE_COLUMNS_MAX];
  struct answer answer;
};

static inline void fixture_init(struct answer_fixture *fixture) {
  memset(fixture, 0, sizeof *fixture);
  fixture->rows = (Shardd__Rows)SHARDD__ROWS__INIT;
  fixture->rows.column = fixture->column;
  fixture->rows.type = fixture->type;
  fixture->rows.cell = fixture->cell;
}

static inline void fixture_column(struct answer_fixture *fixture, const char *name, Shardd__ColumnType type) {
  fixture->column[fixture->rows.n_column++] = msg_text(name);
  fixture->type[fixture->rows.n_type++] = (uint32_t)type;
}

static inline void fixture_bytes(struct answer_fixture *fixture, const void *bytes, size_t n) {
  fixture->cell[fixture->rows.n_cell++] = msg_bytes(bytes, n);
}

static inline void fixture_cell(struct answer_fixture *fixture, const char *text) {
  fixture->cell[fixture->rows.n_cell++] = msg_text(text);
}

// The view of what was added so far; NULL when it is no table.
static inline const struct answer *fixture_answer(struct answer_fixture *fixture) {
  return answer_init(&fixture->answer, &fixture->rows) == 0 ? &fixture->answer : NULL;
}

#endif
