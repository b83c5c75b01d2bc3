// What the server says of a build's skips, in words: which node skipped tests that ran elsewhere, and how many skipped
// tests had run on the trunk. Used by report.c and history_build.c. Knows the answer's columns, not where they come
// from.
#ifndef WORKER_SKIPS_H
#define WORKER_SKIPS_H

#include "worker/answer.h"

enum { SKIPS_ROWS = 1000, SKIPS_LINES = 5 };

// The lines of an answer to QUERY_SKIPS, SKIPS_LINES at most, the last with the number of rows that are left out. Each
// goes to `say`, which owns it; names and reasons stand in it as they came. An answer that lacks columns has no lines.
void skips_tell(const struct answer *answer, void (*say)(void *arg, char *line), void *arg);

#endif
