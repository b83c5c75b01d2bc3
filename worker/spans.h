// The spans of a build as the server works them out, so that a report says under each name what `shard build` says
// (docs/history.md, "Spans"). Asked for by report.c and local_end.c, printed by summary.c and markdown.c.
#ifndef WORKER_SPANS_H
#define WORKER_SPANS_H

#include "worker/ask.h"

struct spans {
  bool known;     // the server told; else all is 0
  bool measured;  // something ran: makespan and what is behind it are known
  size_t workers;
  uint64_t wall_us, makespan_us, bound_us, test_us, predicted_us;  // predicted: 0: unknown
  uint64_t idle_ppm;
};

// Of a build; "": the newest. 0; -1 and *error.
int spans_fetch(struct ask *ask, const char *project, const char *suite, const char *build, unsigned timeout_ms,
                struct spans *spans, struct ask_error *error) MUST_CHECK;

// "2 workers: makespan 4.00s, 1.60 of the lower bound 2.50s; wall time 5.00s, test time 5.00s, idle 37%"; "" where
// nothing was measured. The caller frees it.
char *spans_line(const struct spans *spans);

#endif
