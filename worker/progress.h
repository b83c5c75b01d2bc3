// How far a build is, while it runs: a bar with the time left and the running tests on a terminal, plain lines
// elsewhere. Fed with rows of QUERY_STATUS by local.c and by `shard wait`. Keeps no clock and asks nobody.
#ifndef WORKER_PROGRESS_H
#define WORKER_PROGRESS_H

#include <stdio.h>

#include "worker/answer.h"

struct progress;

enum { PROGRESS_QUIET_US = 30 * 1000 * 1000, PROGRESS_BURST_US = 1000 * 1000, PROGRESS_DEFAULT_COLUMNS = 80 };

struct progress_look {
  FILE *out;
  bool terminal;  // draw a bar and redraw it in place; else lines
  bool color;
};

struct progress *progress_new(const struct progress_look *look);
void progress_free(struct progress *progress);  // takes the bar away; NULL is legal

// Takes a row of a status answer. A terminal's bar is drawn anew; a line is written for a new state, for a new failure
// (at most one line each PROGRESS_BURST_US), and after PROGRESS_QUIET_US without a line. `columns` is the terminal's
// width, 0: unknown.
void progress_update(struct progress *progress, const struct answer *answer, size_t row, unsigned columns,
                     uint64_t now_us);

// Takes the bar away before something else is written to the terminal; progress_show draws it again. NULL is legal.
void progress_hide(struct progress *progress);
void progress_show(struct progress *progress);

#endif
