// The verdict of a whole build, as QUERY_WAIT answers it, and what it makes of exit codes (DESIGN 2). Used by `shard
// wait` and `shard local`. Pure: never a false green is decided here, away from processes and connections.
#ifndef WORKER_VERDICT_H
#define WORKER_VERDICT_H

#include "worker/answer.h"

enum { VERDICT_STATE_BYTES = 24 };

struct verdict {
  char state[VERDICT_STATE_BYTES];
  int exit_code;  // as the server has it
  int64_t total, settled, failing, flaky, missing, muted;
  char *why;  // safe to show; owned
};

// 0, and the caller releases it; -1 when the answer has no row or lacks a column.
int verdict_read(struct verdict *verdict, const struct answer *answer) MUST_CHECK;
void verdict_release(struct verdict *verdict);

// The exit code: the server's, but never 0 unless the build is complete and nothing is missing or failing; EXIT_EMPTY
// for a build without tests, unless that is allowed.
int verdict_code(const struct verdict *verdict, bool allow_empty);

// The worst of exit codes: 2 over 16 over 1 over 5 over 0, anything else counts as 16. No codes: 16.
int verdict_worst(const int *codes, size_t count);

#endif
