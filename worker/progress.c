// Progress of a running build. Called by local.c and admin.c with status rows. The bar is one line that is redrawn;
// where the output is no terminal nothing is ever redrawn, and CIs that end silent jobs get a line at least every half
// minute. It must not read a clock or ask the server.
#include "worker/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"

enum { BAR_COLUMNS = 24, LINE_BYTES = 512, STATE_BYTES = 24 };

struct progress {
  struct progress_look look;
  char *bar;  // as drawn, with its colours; NULL: nothing yet
  bool drawn;
  bool said_any;
  char state[STATE_BYTES];
  int64_t failing;
  uint64_t said_us;
};

struct view {
  char *state, *running;
  int64_t total, done, failing, workers;
  uint64_t wall_us, eta_us;
};

static void read_view(struct view *view, const struct answer *answer, size_t row);
static void draw(struct progress *progress, const struct view *view, unsigned columns);
static char *describe(const struct view *view, bool brief);
static char *running_of(const struct view *view);
static unsigned percent(const struct view *view);
static void say(struct progress *progress, const struct view *view, uint64_t now_us);

struct progress *progress_new(const struct progress_look *look) {
  struct progress *progress = base_calloc(1, sizeof *progress);
  progress->look = *look;
  return progress;
}

void progress_free(struct progress *progress) {
  if (progress == NULL) return;
  progress_hide(progress);
  free(progress->bar);
  free(progress);
}

void progress_update(struct progress *progress, const struct answer *answer, size_t row, unsigned columns,
                     uint64_t now_us) {
  struct view view;
  read_view(&view, answer, row);
  if (progress->look.terminal)
    draw(progress, &view, columns > 0 ? columns : PROGRESS_DEFAULT_COLUMNS);
  else
    say(progress, &view, now_us);
  free(view.state);
  free(view.running);
}

void progress_hide(struct progress *progress) {
  if (progress == NULL || !progress->drawn) return;
  fputs("\r\033[K", progress->look.out);
  (void)fflush(progress->look.out);
  progress->drawn = false;
}

void progress_show(struct progress *progress) {
  if (progress == NULL || progress->bar == NULL) return;
  fprintf(progress->look.out, "\r%s\033[K", progress->bar);
  (void)fflush(progress->look.out);
  progress->drawn = true;
}

static void read_view(struct view *view, const struct answer *answer, size_t row) {
  int64_t wall = answer_get_number(answer, row, "wall", 0), eta = answer_get_number(answer, row, "eta", 0);
  char *state = answer_get_text(answer, row, "state");
  *view = (struct view){.state = human_safe(state, strlen(state), ESCAPE_LINE),
                        .running = answer_get_text(answer, row, "running"),
                        .total = answer_get_number(answer, row, "total", 0),
                        .done = answer_get_number(answer, row, "done", 0),
                        .failing = answer_get_number(answer, row, "failing", 0),
                        .workers = answer_get_number(answer, row, "workers", 0),
                        .wall_us = wall > 0 ? (uint64_t)wall : 0,
                        .eta_us = eta > 0 ? (uint64_t)eta : 0};
  free(state);
}

// The last column stays free: some terminals wrap when it is written.
static void draw(struct progress *progress, const struct view *view, unsigned columns) {
  static const char full[] = "########################", rest[] = "........................";
  _Static_assert(sizeof full == BAR_COLUMNS + 1 && sizeof rest == BAR_COLUMNS + 1, "as wide as the bar");
  size_t filled = percent(view) * BAR_COLUMNS / 100, taken = BAR_COLUMNS + 3;
  char *text = describe(view, false), *cut = human_cut(text, columns > taken + 1 ? columns - taken - 1 : 0);
  const char *on = !progress->look.color ? "" : view->failing > 0 ? "\033[31m" : "\033[32m";
  free(progress->bar);
  if (columns > taken)
    progress->bar = base_printf("[%s%.*s%s%.*s] %s", on, (int)filled, full, on[0] ? "\033[0m" : "",
                                (int)(BAR_COLUMNS - filled), rest, cut);
  else
    progress->bar = base_strdup("");
  free(text);
  free(cut);
  progress_show(progress);
}

// "1234/5125 24%, 3 failing, 4 workers, 12.3s, 40s left: newest running test (+3)"; the caller frees it.
static char *describe(const struct view *view, bool brief) {
  char elapsed[HUMAN_BYTES], eta[HUMAN_BYTES], failing[48] = "", left[HUMAN_BYTES + 16] = "";
  char *running = brief ? base_strdup("") : running_of(view);
  if (view->failing > 0) (void)snprintf(failing, sizeof failing, ", %" PRId64 " failing", view->failing);
  if (view->eta_us > 0 && view->done < view->total)
    (void)snprintf(left, sizeof left, ", ~%s left", human_duration(view->eta_us, eta));
  (void)human_duration(view->wall_us, elapsed);
  char *text = strcmp(view->state, "running") == 0 || view->total > 0
                   ? base_printf("%" PRId64 "/%" PRId64 " %u%%%s, %" PRId64 " worker%s, %s%s%s%s", view->done,
                                 view->total, percent(view), failing, view->workers, view->workers == 1 ? "" : "s",
                                 elapsed, left, running[0] != '\0' ? ": " : "", running)
                   : base_printf("%s, %" PRId64 " worker%s, %s", view->state, view->workers,
                                 view->workers == 1 ? "" : "s", elapsed);
  free(running);
  return text;
}

// The newest running test and how many others run; the caller frees it.
static char *running_of(const struct view *view) {
  size_t first = strcspn(view->running, "\n"), others = 0;
  for (const char *p = view->running + first; *p != '\0'; p++)
    others += *p == '\n' && p[1] != '\0';
  char *safe = human_safe(view->running, first, ESCAPE_LINE);
  if (others == 0) return safe;
  char *both = base_printf("%s (+%zu)", safe, others);
  free(safe);
  return both;
}

static unsigned percent(const struct view *view) {
  if (view->total <= 0 || view->done <= 0) return 0;
  return view->done >= view->total ? 100 : (unsigned)(view->done * 100 / view->total);
}

static void say(struct progress *progress, const struct view *view, uint64_t now_us) {
  uint64_t since_us = now_us - progress->said_us;
  bool changed = strncmp(progress->state, view->state, STATE_BYTES - 1) != 0;
  bool failing = view->failing > progress->failing && since_us >= PROGRESS_BURST_US;
  if (progress->said_any && !changed && !failing && since_us < PROGRESS_QUIET_US) return;
  char *text = describe(view, true);
  bool is_running = strcmp(view->state, "running") == 0;
  fprintf(progress->look.out, "shard: %s%s%s\n", view->total > 0 && !is_running ? view->state : "",
          view->total > 0 && !is_running ? ": " : "", text);
  (void)fflush(progress->look.out);
  free(text);
  (void)snprintf(progress->state, sizeof progress->state, "%s", view->state);
  progress->failing = view->failing;
  progress->said_us = now_us;
  progress->said_any = true;
}
