// Counts and prints the cases of a build. Called by local.c at the end and by `shard report`. summary_count is pure;
// printing makes every name and output safe first, since tests may print anything. It must not decide an exit code:
// that is the server's.
//
// The static split stands for what people do without a queue: N contiguous parts of equally many tests in collection
// order. Its start-up was not seen, so it is compared by test time alone, with the busiest worker's.
#include "worker/summary.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"

enum { COUNTS_BYTES = 512, RULE_COLUMNS = 78, SUMMARY_WORKERS_MAX = 1000000 };

static void compare_split(struct summary *summary, const struct cases *cases);
static size_t count_workers(const struct cases *cases);
static uint64_t whole_us(const struct cases_case *item);
static uint64_t busiest_us(const struct cases *cases, size_t workers);
static uint64_t static_split_us(const struct cases *cases, size_t workers);
static void print_rule(FILE *out, const char *title, const char *color);
static void print_failures(FILE *out, const struct cases *cases, const struct summary_look *look);
static void print_failure(FILE *out, const struct cases_case *item, const struct summary_look *look);
static void print_lines(FILE *out, const char *text, bool plain_heads);
static void print_names(FILE *out, const struct cases *cases, enum cases_verdict verdict, const char *title,
                        size_t count);
static void print_history(FILE *out, const struct cases_case *item);
static void print_notes(FILE *out, const struct cases *cases);
static void print_schedule(FILE *out, const struct summary *summary);
static void print_slowest(FILE *out, const struct cases *cases);
static int slower_first(const void *a, const void *b);

void summary_count(struct summary *summary, const struct cases *cases, const struct spans *spans) {
  *summary = (struct summary){.total = cases->count};
  for (size_t i = 0; i < cases->count; i++) {
    const struct cases_case *item = &cases->item[i];
    const struct cases_attempt *final = cases_final(item);
    summary->missing += item->verdict == CASES_MISSING;
    summary->flaky += item->verdict == CASES_FLAKY;
    summary->failing += item->verdict == CASES_FAILED;
    summary->muted += item->verdict == CASES_MUTED;
    if (final != NULL && item->verdict != CASES_MUTED) summary->by_status[final->status]++;
    for (size_t j = 0; j < item->attempt_count; j++) {
      uint64_t start_ms = item->attempt[j].start_ms;
      if (start_ms && (!summary->first_start_ms || start_ms < summary->first_start_ms))
        summary->first_start_ms = start_ms;
    }
  }
  if (spans != NULL) summary->spans = *spans;
  compare_split(summary, cases);
}

void summary_print(FILE *out, const struct cases *cases, const struct summary *summary,
                   const struct summary_look *look) {
  if (summary->failing > 0) print_failures(out, cases, look);
  if (summary->flaky > 0) print_names(out, cases, CASES_FLAKY, "flaky, passed after failing", summary->flaky);
  if (summary->muted > 0) print_names(out, cases, CASES_MUTED, "muted, failed and did not count", summary->muted);
  if (summary->missing > 0) print_names(out, cases, CASES_MISSING, "missing, without a verdict", summary->missing);
  print_notes(out, cases);
  if (!look->failures_only && summary->first_start_ms > 0) {
    print_slowest(out, cases);
    print_schedule(out, summary);
  }
  char *line = summary_line(summary), *took = summary_took(summary);
  bool bad = summary->failing > 0 || summary->missing > 0;
  fprintf(out, "%s%s%s%s\n",
          !look->color ? ""
          : bad        ? "\033[1;31m"
                       : "\033[1;32m",
          line, look->color ? "\033[0m" : "", took);
  free(line);
  free(took);
}

char *summary_took(const struct summary *summary) {
  char wall[HUMAN_BYTES];
  return summary->spans.known ? base_printf(" in %s", human_duration(summary->spans.wall_us, wall)) : base_strdup("");
}

char *summary_line(const struct summary *summary) {
  static const enum runner_status order[] = {RUNNER_PASSED,    RUNNER_FAILED,  RUNNER_ERROR,   RUNNER_CRASHED,
                                             RUNNER_TIMED_OUT, RUNNER_SKIPPED, RUNNER_XFAILED, RUNNER_XPASSED};
  _Static_assert(COUNT_OF(order) == RUNNER_TIMED_OUT, "every status is counted");
  char text[COUNTS_BYTES] = "";
  size_t at = 0;
  for (size_t i = 0; i < COUNT_OF(order); i++) {
    size_t count = summary->by_status[order[i]];
    if (count == 0) continue;
    const char *plural = order[i] == RUNNER_ERROR && count > 1 ? "s" : "";
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu %s%s", at > 0 ? ", " : "", count,
                           cases_status_name(order[i]), plural);
    if (order[i] == RUNNER_PASSED && summary->flaky > 0)
      at += (size_t)snprintf(text + at, sizeof text - at, " (%zu flaky)", summary->flaky);
  }
  if (summary->muted > 0)
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu muted", at > 0 ? ", " : "", summary->muted);
  if (summary->missing > 0)
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu missing", at > 0 ? ", " : "", summary->missing);
  return base_strdup(at > 0 ? text : "no tests");
}

static void compare_split(struct summary *summary, const struct cases *cases) {
  size_t workers = summary->spans.known ? summary->spans.workers : count_workers(cases);
  for (size_t i = 0; i < cases->count; i++)
    for (size_t j = 0; j < cases->item[i].attempt_count; j++)
      if (cases->item[i].attempt[j].round > 1) return;
  if (workers < 2 || workers < count_workers(cases) || workers > SUMMARY_WORKERS_MAX) return;
  summary->busiest_us = busiest_us(cases, workers);
  summary->static_us = static_split_us(cases, workers);
}

// Workers are numbered from 0 in the order they joined; the highest number seen tells how many there were at least.
static size_t count_workers(const struct cases *cases) {
  size_t count = 0;
  for (size_t i = 0; i < cases->count; i++)
    for (size_t j = 0; j < cases->item[i].attempt_count; j++) {
      size_t worker = cases->item[i].attempt[j].worker;
      if (worker < UINT32_MAX && worker + 1 > count) count = worker + 1;
    }
  return count;
}

static uint64_t whole_us(const struct cases_case *item) {
  uint64_t sum_us = 0;
  for (size_t i = 0; i < item->attempt_count; i++)
    sum_us += cases_duration_us(&item->attempt[i]);
  return sum_us;
}

static uint64_t busiest_us(const struct cases *cases, size_t workers) {
  uint64_t *sum_us = base_calloc(workers, sizeof *sum_us), most_us = 0;
  for (size_t i = 0; i < cases->count; i++)
    for (size_t j = 0; j < cases->item[i].attempt_count; j++) {
      const struct cases_attempt *attempt = &cases->item[i].attempt[j];
      if (attempt->worker < workers) sum_us[attempt->worker] += cases_duration_us(attempt);
    }
  for (size_t i = 0; i < workers; i++)
    if (sum_us[i] > most_us) most_us = sum_us[i];
  free(sum_us);
  return most_us;
}

static uint64_t static_split_us(const struct cases *cases, size_t workers) {
  uint64_t slowest_us = 0;
  size_t tests = cases->count;
  while (tests > 0 && cases->item[tests - 1].outside)  // they come last
    tests--;
  for (size_t part = 0; part < workers; part++) {
    uint64_t sum_us = 0;
    size_t begin = tests * part / workers, end = tests * (part + 1) / workers;
    for (size_t i = begin; i < end; i++)
      sum_us += whole_us(&cases->item[i]);
    if (sum_us > slowest_us) slowest_us = sum_us;
  }
  return slowest_us;
}

static void print_rule(FILE *out, const char *title, const char *color) {
  int rest = RULE_COLUMNS - (int)strlen(title) - 2;
  fprintf(out, "%s", color);
  for (int i = 0; i < rest / 2; i++)
    fputc('=', out);
  fprintf(out, " %s ", title);
  for (int i = 0; i < rest - rest / 2; i++)
    fputc('=', out);
  fprintf(out, "%s\n", color[0] != '\0' ? "\033[0m" : "");
}

static void print_failures(FILE *out, const struct cases *cases, const struct summary_look *look) {
  size_t shown = 0, left = 0;
  print_rule(out, "failures", look->color ? "\033[31m" : "");
  for (size_t i = 0; i < cases->count; i++) {
    if (cases->item[i].verdict != CASES_FAILED) continue;
    if (shown < SUMMARY_OUTPUTS_MAX)
      print_failure(out, &cases->item[i], look);
    else
      left++;
    shown++;
  }
  if (left > 0) fprintf(out, "... and %zu more failing tests; `shard report --junit FILE` has all of them\n", left);
}

static void print_failure(FILE *out, const struct cases_case *item, const struct summary_look *look) {
  const struct cases_attempt *final = cases_final(item);
  char *id = human_safe(item->id, strlen(item->id), ESCAPE_LINE), took[HUMAN_BYTES];
  char *node = human_safe(final->node, strlen(final->node), ESCAPE_LINE);
  fputs(look->color ? "\033[1m" : "", out);
  print_lines(out, id, look->plain_heads);
  fprintf(out, "%s: %s", look->color ? "\033[0m" : "", cases_status_name(final->status));
  if (!item->outside)
    fprintf(out, " on %s%s after %s", node[0] != '\0' ? "node " : "a worker", node,
            human_duration(cases_duration_us(final), took));
  if (cases_tries(item) > 1) fprintf(out, ", attempt %zu", cases_tries(item));
  fputc('\n', out);
  if (final->text_bytes > 0) {
    char *text = human_safe(final->text, final->text_bytes, ESCAPE_TEXT);
    if (look->fold != NULL) look->fold(out, item, true);
    print_lines(out, text, look->plain_heads);
    fputs(text[0] != '\0' && text[strlen(text) - 1] == '\n' ? "" : "\n", out);
    if (look->fold != NULL) look->fold(out, item, false);
    free(text);
  }
  free(id);
  free(node);
}

static void print_lines(FILE *out, const char *text, bool plain_heads) {
  static const char *const heads[] = {"---", "+++", "~~~", "^^^"};
  while (plain_heads && *text != '\0') {
    size_t n = strcspn(text, "\n");
    bool head = false;
    for (size_t i = 0; i < COUNT_OF(heads); i++)
      head |= strncmp(text, heads[i], 3) == 0 && strchr(" \t\n", text[3]) != NULL;
    n += text[n] == '\n';
    fprintf(out, "%s%.*s", head ? " " : "", (int)n, text);
    text += n;
  }
  fputs(text, out);
}

static void print_names(FILE *out, const struct cases *cases, enum cases_verdict verdict, const char *title,
                        size_t count) {
  size_t shown = 0;
  fprintf(out, "%s:\n", title);
  for (size_t i = 0; i < cases->count && shown < SUMMARY_NAMES_MAX; i++) {
    const struct cases_case *item = &cases->item[i];
    if (item->verdict != verdict) continue;
    char *id = human_safe(item->id, strlen(item->id), ESCAPE_LINE);
    fprintf(out, "  %s", id);
    free(id);
    print_history(out, item);
    fputc('\n', out);
    shown++;
  }
  if (count > shown) fprintf(out, "  ... and %zu more\n", count - shown);
}

static void print_history(FILE *out, const struct cases_case *item) {
  for (size_t i = 0; i < item->attempt_count; i++) {
    char *node = human_safe(item->attempt[i].node, strlen(item->attempt[i].node), ESCAPE_LINE);
    fprintf(out, "%s%s%s%s", i == 0 ? ": " : ", ", cases_status_name(item->attempt[i].status),
            node[0] != '\0' ? " on " : "", node);
    free(node);
  }
}

static void print_notes(FILE *out, const struct cases *cases) {
  for (size_t i = 0; i < cases->note_count; i++) {
    char *safe = human_safe(cases->note[i], strlen(cases->note[i]), ESCAPE_LINE);
    fprintf(out, "%s\n", safe);
    free(safe);
  }
}

static void print_schedule(FILE *out, const struct summary *summary) {
  char busiest[HUMAN_BYTES], parts[HUMAN_BYTES], *line = spans_line(&summary->spans);
  if (line[0] != '\0') fprintf(out, "%s\n", line);
  free(line);
  if (summary->static_us == 0) return;
  fprintf(out, "test time of the busiest worker %s; a static split by count would take %s\n",
          human_duration(summary->busiest_us, busiest), human_duration(summary->static_us, parts));
}

static void print_slowest(FILE *out, const struct cases *cases) {
  const struct cases_case *slowest[SUMMARY_SLOWEST + 1];
  size_t count = 0;
  for (size_t i = 0; i < cases->count; i++) {
    if (cases_final(&cases->item[i]) == NULL || cases->item[i].outside) continue;
    slowest[count++] = &cases->item[i];
    qsort(slowest, count, sizeof slowest[0], slower_first);
    if (count > SUMMARY_SLOWEST) count = SUMMARY_SLOWEST;
  }
  if (count > 0) fputs("slowest tests:\n", out);
  for (size_t i = 0; i < count; i++) {
    char *id = human_safe(slowest[i]->id, strlen(slowest[i]->id), ESCAPE_LINE), took[HUMAN_BYTES];
    fprintf(out, "  %8s  %s\n", human_duration(cases_duration_us(cases_final(slowest[i])), took), id);
    free(id);
  }
}

static int slower_first(const void *a, const void *b) {
  const struct cases_case *const *left = a, *const *right = b;
  uint64_t left_us = cases_duration_us(cases_final(*left)), right_us = cases_duration_us(cases_final(*right));
  return left_us > right_us ? -1 : left_us < right_us;
}
