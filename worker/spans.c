// Reads the spans of a build out of QUERY_BUILD's row, and words them. Called by report.c, local_end.c, summary.c and
// markdown.c. It works out none of them: that is the server's.
#include "worker/spans.h"

#include <stdlib.h>

#include "worker/answer.h"
#include "worker/human.h"

static uint64_t number(const struct answer *row, const char *column) {
  int64_t value = answer_get_number(row, 0, column, 0);
  return value > 0 ? (uint64_t)value : 0;
}

int spans_fetch(struct ask *ask, const char *project, const char *suite, const char *build, unsigned timeout_ms,
                struct spans *spans, struct ask_error *error) {
  struct answer row;
  Shardd__Query query = SHARDD__QUERY__INIT;
  query.kind = SHARDD__QUERY_KIND__QUERY_BUILD;
  query.project = msg_text(project);
  query.suite = msg_text(suite);
  query.build = msg_text(build);
  *spans = (struct spans){0};
  if (ask_wait(ask, &query, timeout_ms, &row, error) != 0) return -1;
  *spans = (struct spans){.known = row.row_count > 0 && answer_get_number(&row, 0, "wall", -1) >= 0,
                          .measured = row.row_count > 0 && answer_get_number(&row, 0, "makespan", -1) >= 0,
                          .workers = row.row_count > 0 ? number(&row, "workers") : 0};
  if (!spans->known) return 0;
  spans->wall_us = number(&row, "wall");
  spans->makespan_us = number(&row, "makespan");
  spans->bound_us = number(&row, "lower_bound");
  spans->test_us = number(&row, "test_time");
  spans->predicted_us = number(&row, "predicted");
  spans->idle_ppm = number(&row, "idle");
  return 0;
}

static char *makespan_of(const struct spans *spans) {
  char makespan[HUMAN_BYTES], bound[HUMAN_BYTES], predicted[HUMAN_BYTES];
  (void)human_duration(spans->makespan_us, makespan);
  if (spans->bound_us == 0) return base_strdup(makespan);
  return base_printf("%s, %.2f of the lower bound %s%s%s", makespan,
                     (double)spans->makespan_us / (double)spans->bound_us, human_duration(spans->bound_us, bound),
                     spans->predicted_us ? ", predicted " : "",
                     spans->predicted_us ? human_duration(spans->predicted_us, predicted) : "");
}

char *spans_line(const struct spans *spans) {
  char wall[HUMAN_BYTES], test[HUMAN_BYTES], idle[HUMAN_BYTES];
  if (!spans->known || !spans->measured) return base_strdup("");
  char *makespan = makespan_of(spans);
  char *line = base_printf("%zu worker%s: makespan %s; wall time %s, test time %s, idle %s", spans->workers,
                           spans->workers == 1 ? "" : "s", makespan, human_duration(spans->wall_us, wall),
                           human_duration(spans->test_us, test), human_ratio(spans->idle_ppm, idle));
  free(makespan);
  return line;
}
