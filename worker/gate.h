// --fail-if: a rule over the rows of an answer that makes a command fail, so that a CI can hold a policy. Called by the
// admin commands. Knows the types of columns, and none by name.
#ifndef WORKER_GATE_H
#define WORKER_GATE_H

#include "worker/answer.h"

struct gate {
  char column[64];  // "rows": their number
  char op[3];       // <, <=, =, !=, >=, >
  char value[128];
  uint64_t rows;  // seen so far
  bool holds;     // the rule held for a row
  char row[96];   // the first cell of that row, safe to show
};

// Takes "COLUMN OP VALUE" apart, as in rows>0, "expected > 30s", rate>=5%, state=flaky. "" is a gate that never holds.
// 0; -1 and why when it cannot be read.
int gate_init(struct gate *gate, const char *rule, char *why, size_t why_size) MUST_CHECK;
// Looks at a page of rows. Durations are written as options are (250ms, 30s), shares as 5% or 0.05, what is counted
// as whole numbers, times are compared
// with an age: since>7d holds for what is older. An empty cell holds for nothing. 0; -1 and why: no such column, or a
// value that is none of its type.
int gate_feed(struct gate *gate, const struct answer *answer, char *why, size_t why_size) MUST_CHECK;
// After the last page: whether the command is to fail.
bool gate_fails(const struct gate *gate);

#endif
