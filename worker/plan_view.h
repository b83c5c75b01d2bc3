// A forecast as people and programs read it. Called by plan.c with the server's two answers; knows their columns, and
// not how they came.
#ifndef WORKER_PLAN_VIEW_H
#define WORKER_PLAN_VIEW_H

#include <stdio.h>

#include "worker/answer.h"

enum { PLAN_VIEW_WORKERS_MAX = 64 };

struct plan_row {
  uint64_t finish_us, machine_us;
  uint32_t efficiency_ppm;
  bool known;
};

struct plan_facts {
  bool simulated, whole_files;
  int64_t tests, files, never_timed;
  uint64_t work_us, setup_us, boot_us;
  char *boot_source;  // "told", "history" or "default"
  int64_t boot_builds;
  char *longest, *next;  // names of what bounds the finish, now and when that is split; "": there is none
  uint64_t longest_us, next_us;
  int64_t n_max;                     // more workers cannot be kept busy
  int64_t split_parts, split_n_max;  // of the longest; parts 0: that alone gains nothing
  int64_t knee, recommended;         // recommended 0: none is within the target
};

struct plan_view {
  const char *project, *suite;
  const char *timings;  // the file that was simulated; NULL: from history
  uint64_t target_us;   // 0: not told
  uint32_t only;        // the one number of workers to tell of; 0: all
  bool every, color;    // every: of 1 to 64; else some
  struct plan_facts facts;
  struct plan_row row[PLAN_VIEW_WORKERS_MAX + 1];
  struct json_t *json;  // built by the two takes when wanted
};

// Take over an answer: the predicted finishes, then the facts. With `json` the object that plan_view_json prints is
// built as well. 0; -1 when the answer lacks columns.
int plan_view_take_curve(struct plan_view *view, const struct answer *answer, bool json) MUST_CHECK;
int plan_view_take_facts(struct plan_view *view, const struct answer *answer) MUST_CHECK;
void plan_view_release(struct plan_view *view);

// Whether the target, if there is one, can be met: by the number that was asked for, else by any.
bool plan_view_meets(const struct plan_view *view);

// Context, table, advice. 0; -1 when out failed.
int plan_view_print(const struct plan_view *view, FILE *out) MUST_CHECK;
// The facts as one object, durations in members called NAME_us, with the finishes as its member "curve". Frees the
// object.
int plan_view_json(struct plan_view *view, FILE *out) MUST_CHECK;

#endif
