// A forecast on a terminal and as JSON. Called by plan.c. Names come from strangers and are made safe; sentences follow
// from the facts alone, so that the two forms say the same.
#include "worker/plan_view.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"
#include "worker/table.h"

enum { NAME_COLUMNS = 100 };

static uint64_t number(const struct answer *answer, size_t row, const char *column);
static json_t *curve_of(const struct plan_view *view, const struct answer *answer);
static void drop_facts(struct plan_facts *facts);
static bool shows(const struct plan_view *view, uint32_t workers);
static void print_context(const struct plan_view *view, FILE *out);
static void print_boot(const struct plan_facts *facts, FILE *out);
static void print_table(const struct plan_view *view, FILE *out);
static void print_row(const struct plan_view *view, uint32_t workers, FILE *out);
static void print_target(const struct plan_view *view, FILE *out);
static uint32_t quickest(const struct plan_view *view);
static void print_advice(const struct plan_view *view, FILE *out);
static void print_bound(const struct plan_view *view, FILE *out);
static void print_split(const struct plan_view *view, FILE *out);
static char *cost_of(const struct plan_view *view, uint32_t workers);
static const char *minutes_of(uint64_t us, char out[HUMAN_BYTES]);
static char *shown_name(const char *name);
static char *counted(int64_t n, const char *thing);
static void set_text(json_t *object, const char *member, const char *text);

// ---- taking over

int plan_view_take_curve(struct plan_view *view, const struct answer *answer, bool json) {
  static const char *const columns[] = {"workers", "finish", "machine", "efficiency"};
  for (size_t i = 0; i < COUNT_OF(columns); i++)
    if (answer_column(answer, columns[i]) == ANSWER_NO_COLUMN) return -1;
  for (size_t i = 0; i < answer->row_count; i++) {
    int64_t workers = answer_get_number(answer, i, "workers", 0);
    if (workers < 1 || workers > PLAN_VIEW_WORKERS_MAX) continue;
    view->row[workers] = (struct plan_row){.finish_us = number(answer, i, "finish"),
                                           .machine_us = number(answer, i, "machine"),
                                           .efficiency_ppm = (uint32_t)number(answer, i, "efficiency"),
                                           .known = true};
  }
  if (view->only != 0 && !view->row[view->only].known) return -1;
  if (json) view->json = curve_of(view, answer);
  return 0;
}

int plan_view_take_facts(struct plan_view *view, const struct answer *answer) {
  struct plan_facts *facts = &view->facts;
  int64_t knee = answer_get_number(answer, 0, "knee", 0), best = answer_get_number(answer, 0, "recommended", 0);
  if (answer->row_count != 1 || answer_column(answer, "recommended") == ANSWER_NO_COLUMN) return -1;
  if (knee < 1 || knee > PLAN_VIEW_WORKERS_MAX || best < 0 || best > PLAN_VIEW_WORKERS_MAX) return -1;
  char *source = answer_get_text(answer, 0, "source"), *piece = answer_get_text(answer, 0, "piece");
  drop_facts(facts);
  *facts = (struct plan_facts){.simulated = strcmp(source, "simulation") == 0,
                               .whole_files = strcmp(piece, "file") == 0,
                               .tests = answer_get_number(answer, 0, "tests", 0),
                               .files = answer_get_number(answer, 0, "files", 0),
                               .never_timed = answer_get_number(answer, 0, "never_timed", 0),
                               .work_us = number(answer, 0, "work"),
                               .setup_us = number(answer, 0, "setup"),
                               .boot_us = number(answer, 0, "boot"),
                               .boot_source = answer_get_text(answer, 0, "boot_source"),
                               .boot_builds = answer_get_number(answer, 0, "boot_builds", 0),
                               .longest = answer_get_text(answer, 0, "longest"),
                               .longest_us = number(answer, 0, "longest_time"),
                               .n_max = answer_get_number(answer, 0, "n_max", 1),
                               .split_parts = answer_get_number(answer, 0, "split_parts", 0),
                               .split_n_max = answer_get_number(answer, 0, "split_n_max", 0),
                               .next = answer_get_text(answer, 0, "next"),
                               .next_us = number(answer, 0, "next_time"),
                               .knee = knee,
                               .recommended = best};
  free(source);
  free(piece);
  if (view->json == NULL) return 0;
  json_t *array = table_json_new();
  table_json_add(array, answer);
  if (json_object_update(view->json, json_array_get(array, 0)) != 0) base_die(EXIT_INFRA, "out of memory (JSON)");
  table_json_drop(array);
  return 0;
}

void plan_view_release(struct plan_view *view) {
  drop_facts(&view->facts);
  if (view->json != NULL) table_json_drop(view->json);
  view->json = NULL;
}

// What the server does not say, or says badly, is 0.
static uint64_t number(const struct answer *answer, size_t row, const char *column) {
  int64_t value = answer_get_number(answer, row, column, 0);
  return value > 0 ? (uint64_t)value : 0;
}

// An object with the rows that are shown as its member "curve".
static json_t *curve_of(const struct plan_view *view, const struct answer *answer) {
  json_t *object = json_object(), *curve = table_json_new();
  table_json_add(curve, answer);
  for (size_t i = json_array_size(curve); view->only != 0 && i > 0; i--)
    if (answer_get_number(answer, i - 1, "workers", 0) != view->only) (void)json_array_remove(curve, i - 1);
  if (object == NULL || json_object_set_new(object, "curve", curve) != 0) base_die(EXIT_INFRA, "out of memory (JSON)");
  return object;
}

static void drop_facts(struct plan_facts *facts) {
  free(facts->boot_source);
  free(facts->longest);
  free(facts->next);
  *facts = (struct plan_facts){0};
}

bool plan_view_meets(const struct plan_view *view) {
  if (view->target_us == 0) return true;
  return view->only != 0 ? view->row[view->only].finish_us <= view->target_us : view->facts.recommended > 0;
}

// ---- context

int plan_view_print(const struct plan_view *view, FILE *out) {
  print_context(view, out);
  print_table(view, out);
  fputc('\n', out);
  if (view->target_us != 0)
    print_target(view, out);
  else if (view->only == 0)
    print_advice(view, out);
  print_bound(view, out);
  return ferror(out) ? -1 : 0;
}

static void print_context(const struct plan_view *view, FILE *out) {
  const struct plan_facts *facts = &view->facts;
  char work[HUMAN_BYTES], setup[HUMAN_BYTES];
  char *name = shown_name(view->timings != NULL ? view->timings : view->project), *suite = shown_name(view->suite);
  char *tests = counted(facts->tests, "test"), *files = counted(facts->files, "file");
  fputs(name, out);
  if (view->timings == NULL && strcmp(view->suite, "default") != 0) fprintf(out, ", suite %s", suite);
  fprintf(out, ": %s in %s, %s of work", tests, files, human_duration(facts->work_us, work));
  if (facts->setup_us > 0) fprintf(out, " and %s of file set-ups", human_duration(facts->setup_us, setup));
  if (facts->simulated)
    fputs("; simulated", out);
  else if (facts->never_timed == 0)
    fputs("; all of them timed", out);
  else
    fprintf(out, "; %" PRId64 " timed, %" PRId64 " never (their time is guessed)", facts->tests - facts->never_timed,
            facts->never_timed);
  print_boot(facts, out);
  free(name);
  free(suite);
  free(tests);
  free(files);
}

static void print_boot(const struct plan_facts *facts, FILE *out) {
  char boot[HUMAN_BYTES];
  fprintf(out, "\nstart-up of a job: %s", human_duration(facts->boot_us, boot));
  if (strcmp(facts->boot_source, "default") == 0) {
    fputs(", assumed (--boot)", out);
  } else if (strcmp(facts->boot_source, "history") == 0) {
    char *builds = counted(facts->boot_builds, "build");
    fprintf(out, ", seen in %s, without what the CI does before (--boot)", builds);
    free(builds);
  }
  fputs("\n\n", out);
}

// ---- table

static bool shows(const struct plan_view *view, uint32_t workers) {
  static const uint32_t some[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
  if (!view->row[workers].known) return false;
  if (view->only != 0) return workers == view->only;
  if (view->every || workers == view->facts.recommended || workers == view->facts.knee) return true;
  for (size_t i = 0; i < COUNT_OF(some); i++)
    if (some[i] == workers) return true;
  return false;
}

static void print_table(const struct plan_view *view, FILE *out) {
  fprintf(out, "%sworkers    finish  machine-min  efficiency%s\n", view->color ? "\033[1m" : "",
          view->color ? "\033[0m" : "");
  for (uint32_t workers = 1; workers <= PLAN_VIEW_WORKERS_MAX; workers++)
    if (shows(view, workers)) print_row(view, workers, out);
}

static void print_row(const struct plan_view *view, uint32_t workers, FILE *out) {
  const struct plan_row *row = &view->row[workers];
  char finish[HUMAN_BYTES], minutes[HUMAN_BYTES];
  bool knee = view->only == 0 && workers == view->facts.knee && workers < PLAN_VIEW_WORKERS_MAX;  // 64: not reached
  bool best = view->only == 0 && workers == view->facts.recommended;
  const char *mark = best && knee ? "  recommended, the knee" : best ? "  recommended" : knee ? "  the knee" : "";
  fprintf(out, "%s%7u  %8s  %11s  %9u%%%s%s\n", view->color && best ? "\033[1m" : "", workers,
          human_duration(row->finish_us, finish), minutes_of(row->machine_us, minutes), row->efficiency_ppm / 10000,
          mark, view->color && best ? "\033[0m" : "");
}

// ---- sentences

static void print_target(const struct plan_view *view, FILE *out) {
  char target[HUMAN_BYTES];
  bool meets = plan_view_meets(view);
  uint32_t best = view->only != 0 ? view->only : meets ? (uint32_t)view->facts.recommended : quickest(view);
  char *cost = cost_of(view, best);
  (void)human_duration(view->target_us, target);
  if (meets)
    fprintf(out, "Within %s: %s.\n", target, cost);
  else
    fprintf(out, "Not within %s; %s %s.\n", target, view->only != 0 ? "with" : "the best is", cost);
  free(cost);
}

// The smallest number of workers that ends first.
static uint32_t quickest(const struct plan_view *view) {
  uint32_t best = 1;
  for (uint32_t n = 2; n <= PLAN_VIEW_WORKERS_MAX; n++)
    if (view->row[n].known && view->row[n].finish_us < view->row[best].finish_us) best = n;
  return best;
}

static void print_advice(const struct plan_view *view, FILE *out) {
  const struct plan_facts *facts = &view->facts;
  char *cost = cost_of(view, (uint32_t)facts->recommended);
  fprintf(out, "Recommended: %s.\n", cost);
  free(cost);
  if (facts->knee == 1)
    fputs("With two, over a fifth of the machine time would be lost already.\n", out);
  else if (facts->knee >= PLAN_VIEW_WORKERS_MAX)
    fputs("The knee, behind which over a fifth of the machine time is lost, does not come before 64.\n", out);
  else if (facts->knee > facts->recommended)
    fprintf(out, "Up to %" PRId64 ", the knee, no more than a fifth of the machine time is lost.\n", facts->knee);
  else
    fputs("With more, the finish may still come earlier, but over a fifth of the machine time is lost.\n", out);
}

static void print_bound(const struct plan_view *view, FILE *out) {
  const struct plan_facts *facts = &view->facts;
  char time[HUMAN_BYTES];
  if (facts->longest_us == 0) return;
  char *name = shown_name(facts->longest);
  const char *kind = facts->whole_files ? "file" : "test", *whole = facts->whole_files ? " and is not split" : "";
  (void)human_duration(facts->longest_us, time);
  if (facts->n_max > PLAN_VIEW_WORKERS_MAX) {
    fprintf(out, "No %s bounds the finish up to 64 workers; the longest, %s (%s), would from %" PRId64 " on.\n", kind,
            name, time, facts->n_max);
  } else {
    fprintf(out, "More than %" PRId64 " (N_max) cannot be kept busy: the %s %s takes %s alone%s.\n", facts->n_max, kind,
            name, time, whole);
    print_split(view, out);
  }
  free(name);
}

static void print_split(const struct plan_view *view, FILE *out) {
  const struct plan_facts *facts = &view->facts;
  char time[HUMAN_BYTES];
  if (facts->next_us == 0) return;
  char *next = shown_name(facts->next);
  (void)human_duration(facts->next_us, time);
  if (facts->split_parts > 0)
    fprintf(out, "Split it in %" PRId64 ": N_max %" PRId64 " -> %" PRId64 ", bound by the next, %s (%s).\n",
            facts->split_parts, facts->n_max, facts->split_n_max, next, time);
  else
    fprintf(out, "To split it alone gains nothing: the next, %s, takes %s.\n", next, time);
  free(next);
}

static char *cost_of(const struct plan_view *view, uint32_t workers) {
  char finish[HUMAN_BYTES], minutes[HUMAN_BYTES], *who = counted(workers, "worker");
  const struct plan_row *row = &view->row[workers];
  char *text = base_printf("%s, done in %s for %s machine-minutes", who, human_duration(row->finish_us, finish),
                           minutes_of(row->machine_us, minutes));
  free(who);
  return text;
}

static const char *minutes_of(uint64_t us, char out[HUMAN_BYTES]) {
  double minutes = (double)us / 60e6;
  (void)snprintf(out, HUMAN_BYTES, "%.*f", minutes < 10 ? 2 : 1, minutes);
  return out;
}

static char *shown_name(const char *name) {
  char *safe = human_safe(name, strlen(name), ESCAPE_LINE), *cut = human_cut(safe, NAME_COLUMNS);
  free(safe);
  return cut;
}

static char *counted(int64_t n, const char *thing) {
  return base_printf("%" PRId64 " %s%s", n, thing, n == 1 ? "" : "s");
}

// ---- JSON

int plan_view_json(struct plan_view *view, FILE *out) {
  json_t *object = view->json, *curve = json_incref(json_object_get(object, "curve"));
  view->json = NULL;
  if (view->timings != NULL) {
    set_text(object, "timings", view->timings);
  } else {
    set_text(object, "project", view->project);
    set_text(object, "suite", view->suite);
  }
  if (view->only != 0 && view->facts.simulated) {  // of two numbers alone: nothing can be advised
    (void)json_object_set_new(object, "knee", json_null());
    (void)json_object_set_new(object, "recommended", json_null());
  }
  (void)json_object_del(object, "curve");  // it goes behind the facts
  (void)json_object_set_new(object, "curve", curve);
  return table_json_finish(out, object);
}

static void set_text(json_t *object, const char *member, const char *text) {
  char *safe = human_safe(text, strlen(text), ESCAPE_LINE);
  (void)json_object_set_new(object, member, json_string(safe));
  free(safe);
}
