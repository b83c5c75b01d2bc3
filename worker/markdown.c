// A build's end as Markdown. Called by report.c. Text of strangers stands in <code> and <pre>, where nothing but a few
// characters means anything: those are written as entities. It must not ask the server.
#include "worker/markdown.h"

#include <stdlib.h>
#include <string.h>

#include "worker/human.h"

enum { NAMES_MAX = 20, SLOWEST = 5, ROOM_BYTES = 400 * 1000 };  // ROOM: kept for all but the failures

static size_t print_failures(FILE *out, const struct cases *cases);
static char *failure(const struct cases_case *item);
static void print_names(FILE *out, const struct cases *cases, enum cases_verdict verdict, const char *title,
                        size_t count);
static void print_notes(FILE *out, const struct cases *cases);
static void print_slowest(FILE *out, const struct cases *cases);
static int slower_first(const void *a, const void *b);
static char *escaped(const char *text, size_t n, enum escape_form form);

int markdown_print(FILE *out, const struct cases *cases, const struct summary *summary) {
  char *line = summary_line(summary), *took = summary_took(summary), *spans = spans_line(&summary->spans);
  bool bad = summary->failing > 0 || summary->missing > 0;
  fprintf(out, "### %s %s%s\n\n%s%s", bad ? "❌" : "✅", line, took, spans, spans[0] != '\0' ? "\n\n" : "");
  free(line);
  free(took);
  free(spans);
  size_t left = summary->failing > 0 ? print_failures(out, cases) : 0;
  if (left > 0) fprintf(out, "… and %zu more failing tests.\n\n", left);
  print_names(out, cases, CASES_FLAKY, "flaky, passed after failing", summary->flaky);
  print_names(out, cases, CASES_MUTED, "muted, failed and did not count", summary->muted);
  print_names(out, cases, CASES_MISSING, "missing, without a verdict", summary->missing);
  print_notes(out, cases);
  print_slowest(out, cases);
  return ferror(out) ? -1 : 0;
}

// Returns how many did not fit.
static size_t print_failures(FILE *out, const struct cases *cases) {
  size_t bytes = 0, left = 0;
  for (size_t i = 0; i < cases->count; i++) {
    if (cases->item[i].verdict != CASES_FAILED) continue;
    char *text = left == 0 ? failure(&cases->item[i]) : NULL;
    size_t n = text != NULL ? strlen(text) : 0;
    if (text == NULL || bytes + n > MARKDOWN_MAX_BYTES - ROOM_BYTES)
      left++;
    else
      fputs(text, out);
    bytes += n;
    free(text);
  }
  return left;
}

static char *failure(const struct cases_case *item) {
  const struct cases_attempt *final = cases_final(item);
  char *id = escaped(item->id, strlen(item->id), ESCAPE_LINE),
       *node = escaped(final->node, strlen(final->node), ESCAPE_LINE);
  size_t n = final->text_bytes < MARKDOWN_OUTPUT_BYTES ? final->text_bytes : (size_t)MARKDOWN_OUTPUT_BYTES;
  char *text = n > 0 ? escaped(final->text + final->text_bytes - n, n, ESCAPE_TEXT) : base_strdup("");
  char took[HUMAN_BYTES];
  char *where = item->outside ? base_strdup("")
                              : base_printf(" on %s%s after %s", node[0] ? "node " : "a worker", node,
                                            human_duration(cases_duration_us(final), took));
  char *whole = base_printf("<details><summary><code>%s</code>: %s%s</summary>\n\n<pre>%s%s</pre>\n\n</details>\n\n",
                            id, cases_status_name(final->status), where, n < final->text_bytes ? "…\n" : "", text);
  free(where);
  free(id);
  free(node);
  free(text);
  return whole;
}

static void print_names(FILE *out, const struct cases *cases, enum cases_verdict verdict, const char *title,
                        size_t count) {
  size_t shown = 0;
  if (count == 0) return;
  fprintf(out, "**%zu %s**\n", count, title);
  for (size_t i = 0; i < cases->count && shown < NAMES_MAX; i++) {
    if (cases->item[i].verdict != verdict) continue;
    char *id = escaped(cases->item[i].id, strlen(cases->item[i].id), ESCAPE_LINE);
    fprintf(out, "- <code>%.4000s</code>\n", id);
    free(id);
    shown++;
  }
  if (count > shown) fprintf(out, "- … and %zu more\n", count - shown);
  fputc('\n', out);
}

static void print_notes(FILE *out, const struct cases *cases) {
  for (size_t i = 0; i < cases->note_count; i++) {
    char *line = escaped(cases->note[i], strlen(cases->note[i]), ESCAPE_LINE);
    fprintf(out, "%s- %.4000s\n%s", i == 0 ? "**skips**\n" : "", line, i + 1 == cases->note_count ? "\n" : "");
    free(line);
  }
}

static int slower_first(const void *a, const void *b) {
  const struct cases_case *x = *(const struct cases_case *const *)a, *y = *(const struct cases_case *const *)b;
  uint64_t us = cases_duration_us(cases_final(x)), other_us = cases_duration_us(cases_final(y));
  if (us != other_us) return us > other_us ? -1 : 1;
  return strcmp(x->id, y->id);
}

static void print_slowest(FILE *out, const struct cases *cases) {
  const struct cases_case **order = base_calloc(cases->count + 1, sizeof(struct cases_case *));
  size_t n = 0;
  for (size_t i = 0; i < cases->count; i++)
    if (cases_final(&cases->item[i]) != NULL && !cases->item[i].outside) order[n++] = &cases->item[i];
  qsort(order, n, sizeof(struct cases_case *), slower_first);
  if (n > 0) fputs("| slowest | took |\n|---|---|\n", out);
  for (size_t i = 0; i < n && i < SLOWEST; i++) {
    char took[HUMAN_BYTES], *id = escaped(order[i]->id, strlen(order[i]->id), ESCAPE_LINE);
    fprintf(out, "| <code>%.4000s</code> | %s |\n", id, human_duration(cases_duration_us(cases_final(order[i])), took));
    free(id);
  }
  free(order);
}

// Safe to show, and without anything that Markdown or HTML would take for its own.
static char *escaped(const char *text, size_t n, enum escape_form form) {
  static const char special[] = "&<>\"'`|*_[]\\~#:@$";
  char *safe = human_safe(text, n, form);
  size_t length = strlen(safe), at = 0;
  char *out = base_malloc(length * 6 + 1);
  for (size_t i = 0; i < length; i++) {
    if (strchr(special, safe[i]) != NULL)
      at += (size_t)snprintf(out + at, 7, "&#%d;", safe[i]);
    else
      out[at++] = safe[i];
  }
  out[at] = '\0';
  free(safe);
  return out;
}
