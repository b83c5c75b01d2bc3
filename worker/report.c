// `shard report`, and what `shard local` needs of it. Pages through QUERY_REPORT, folds the pages into cases (cases.h)
// and writes them as JUnit XML (junit_write.h), as JSON or as the summary (summary.h). Its exit code says whether the
// report was made, not what stands in it: that is `shard wait`.
#include "worker/report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/admin.h"
#include "worker/annotate.h"
#include "worker/ci.h"
#include "worker/junit_write.h"
#include "worker/markdown.h"
#include "worker/replace.h"
#include "worker/skips.h"
#include "worker/summary.h"

enum { PAGE_TESTS = 1000, PAGES_MAX = 1000000, WHY_BYTES = 512, SHORT_BYTES = 256 };

static int next_page(struct ask *ask, Shardd__Query *query, unsigned timeout_ms, struct answer *page,
                     struct ask_error *error);
static int fetch_errors(struct ask *ask, const Shardd__Query *report, unsigned timeout_ms, struct cases *cases,
                        struct ask_error *error);
static void fetch_skips(struct ask *ask, const Shardd__Query *report, unsigned timeout_ms, struct cases *cases);
static int write_cases(const struct cases *cases, const char *suite, FILE *out, char *why, size_t why_size);
static void write_case(struct junit_write *writer, const struct cases_case *item);
static int print(const struct options *options, const struct cases *cases, const struct spans *spans,
                 struct json_t *json);
static int print_text(const struct options *options, const struct cases *cases, const struct spans *spans);
static void name_statuses(json_t *rows);

int report_fetch(struct ask *ask, const struct report_of *of, unsigned timeout_ms, struct cases *cases,
                 struct spans *spans, struct json_t *json, struct ask_error *error) {
  Shardd__Query query = SHARDD__QUERY__INIT;
  query.kind = SHARDD__QUERY_KIND__QUERY_REPORT;
  query.project = msg_text(of->project);
  query.suite = msg_text(of->suite);
  query.build = msg_text(of->build);
  query.limit = PAGE_TESTS;
  for (size_t pages = 0; pages < PAGES_MAX; pages++) {
    struct answer page;
    const char *why;
    if (next_page(ask, &query, timeout_ms, &page, error) != 0) return -1;
    if (cases_add(cases, &page, &why) != 0) {
      *error = (struct ask_error){.failure = ASK_REFUSED, .exit_code = EXIT_INFRA};
      (void)snprintf(error->text, sizeof error->text, "%s; install shard and shardd of one version", why);
      return -1;
    }
    if (json != NULL) table_json_add(json, &page);
    query.after = page.rows->next;
    if (query.after > 0) continue;
    if (fetch_errors(ask, &query, timeout_ms, cases, error) != 0) return -1;
    fetch_skips(ask, &query, timeout_ms, cases);
    return spans_fetch(ask, of->project, of->suite, of->build, timeout_ms, spans, error);
  }
  *error = (struct ask_error){.failure = ASK_REFUSED, .exit_code = EXIT_INFRA, .text = "the report has no end"};
  return -1;
}

int report_write(const struct cases *cases, const char *suite, const char *path, char *why, size_t why_size) {
  struct replace replace;
  char problem[SHORT_BYTES] = "";
  if (replace_open(&replace, path, why, why_size) != 0) return -1;
  int rc = write_cases(cases, suite, replace.out, problem, sizeof problem);
  if (rc != 0) (void)snprintf(why, why_size, "cannot write the report %s: %s", path, problem);
  return replace_close(&replace, rc == 0, why, why_size);
}

int report_main(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  struct ask *ask;
  struct ask_error error;
  struct cases cases;
  struct spans spans;
  struct report_of of = {.project = options->project, .suite = options->suite, .build = options->build};
  int code = admin_check_build(options);
  if (code == EXIT_OK) code = admin_open(options, &ask);
  if (code != EXIT_OK) return code;
  cases_init(&cases);
  struct json_t *json = options->json ? table_json_new() : NULL;
  if (report_fetch(ask, &of, (unsigned)(options->connect_timeout_us / 1000), &cases, &spans, json, &error) == 0) {
    code = print(options, &cases, &spans, json);
  } else {
    fprintf(stderr, "shard report: %s\n", error.text);
    code = error.exit_code;
    if (json != NULL) table_json_drop(json);
  }
  cases_release(&cases);
  ask_close(ask);
  return code;
}

static int next_page(struct ask *ask, Shardd__Query *query, unsigned timeout_ms, struct answer *page,
                     struct ask_error *error) {
  uint64_t after = query->after;
  if (ask_wait(ask, query, timeout_ms, page, error) != 0) return -1;
  if (page->rows->next == 0 || page->rows->next != after) return 0;
  *error = (struct ask_error){.failure = ASK_REFUSED, .exit_code = EXIT_INFRA};
  (void)snprintf(error->text, sizeof error->text, "the server sends the same page of the report again and again");
  return -1;
}

// They keep the build from being green, so that a report without them would not be one.
static int fetch_errors(struct ask *ask, const Shardd__Query *report, unsigned timeout_ms, struct cases *cases,
                        struct ask_error *error) {
  Shardd__Query query = *report;
  query.kind = SHARDD__QUERY_KIND__QUERY_ERRORS;
  do {
    struct answer page;
    const char *why;
    if (next_page(ask, &query, timeout_ms, &page, error) != 0) return -1;
    if (cases_add_errors(cases, &page, &why) != 0) {
      *error = (struct ask_error){.failure = ASK_REFUSED, .exit_code = EXIT_INFRA};
      (void)snprintf(error->text, sizeof error->text, "%s; install shard and shardd of one version", why);
      return -1;
    }
    query.after = page.rows->next;
  } while (query.after > 0);
  return 0;
}

static void on_skips(void *arg, char *line) {
  cases_note(arg, line);
}

// Asked last: an older server does not know the question, and may close the connection.
static void fetch_skips(struct ask *ask, const Shardd__Query *report, unsigned timeout_ms, struct cases *cases) {
  struct answer answer;
  struct ask_error error;
  Shardd__Query query = *report;
  query.kind = SHARDD__QUERY_KIND__QUERY_SKIPS;
  query.limit = SKIPS_ROWS;
  if (ask_wait(ask, &query, timeout_ms, &answer, &error) == 0)
    skips_tell(&answer, on_skips, cases);
  else
    fprintf(stderr, "shard: the report says nothing of skips: %s\n", error.text);
}

static int write_cases(const struct cases *cases, const char *suite, FILE *out, char *why, size_t why_size) {
  const char *host = "";
  struct summary summary;
  summary_count(&summary, cases, NULL);
  for (size_t i = 0; i < cases->count && host[0] == '\0'; i++)
    if (cases->item[i].attempt_count > 0) host = cases->item[i].attempt[0].host;
  struct junit_write *writer = junit_write_new(out, suite, host, summary.first_start_ms * 1000, why, why_size);
  if (writer == NULL) return -1;
  for (size_t i = 0; i < cases->note_count; i++)
    junit_write_note(writer, cases->note[i]);
  for (size_t i = 0; i < cases->count; i++)
    write_case(writer, &cases->item[i]);
  return junit_write_finish(writer, why, why_size);
}

// A case without a verdict has no attempts for the report: it is missing, whatever was tried.
static void write_case(struct junit_write *writer, const struct cases_case *item) {
  size_t all = item->settled ? item->attempt_count : 0, count = 0;
  struct junit_write_attempt *attempts = base_calloc(all, sizeof *attempts);
  for (size_t i = 0; i < all; i++) {
    const struct cases_attempt *from = &item->attempt[i];
    if (from->status == RUNNER_SKIPPED && i + 1 < all) continue;  // no attempt at it: see cases_tries
    attempts[count++] = (struct junit_write_attempt){.status = from->status,
                                                     .node = from->node,
                                                     .duration_us = cases_duration_us(from),
                                                     .text = from->text,
                                                     .text_bytes = from->text_bytes};
  }
  struct junit_write_case testcase = {.id = item->id,
                                      .file = item->file,
                                      .attempts = attempts,
                                      .attempt_count = count,
                                      .outside = item->outside,
                                      .muted = item->verdict == CASES_MUTED};
  junit_write_case(writer, &testcase);
  free(attempts);
}

static int print(const struct options *options, const struct cases *cases, const struct spans *spans,
                 struct json_t *json) {
  char why[WHY_BYTES];
  if (json != NULL) name_statuses(json);
  if (json != NULL && table_json_finish(stdout, json) != 0) return admin_fail_output();
  if (options->junit[0] != '\0' && report_write(cases, options->suite, options->junit, why, sizeof why) != 0) {
    fprintf(stderr, "shard report: %s\n", why);
    return EXIT_INFRA;
  }
  if (json != NULL || options->junit[0] != '\0') return EXIT_OK;
  return print_text(options, cases, spans);
}

static int print_text(const struct options *options, const struct cases *cases, const struct spans *spans) {
  struct ci_info ci;
  char why[WHY_BYTES];
  struct summary summary;
  bool known = ci_detect(ci_getenv, NULL, &ci, why, sizeof why) == 0;
  enum annotate_form form = annotate_choose((enum annotate_form)options->annotate, known ? ci.name : "none");
  struct summary_look look = {.color = options_color(options, STDOUT_FILENO),
                              .plain_heads = form == ANNOTATE_BUILDKITE,
                              .fold = annotate_fold(form)};
  summary_count(&summary, cases, spans);
  if (options->markdown)
    return markdown_print(stdout, cases, &summary) == 0 && fflush(stdout) == 0 ? EXIT_OK : admin_fail_output();
  annotate_guard(stdout, form, true);
  summary_print(stdout, cases, &summary, &look);
  annotate_guard(stdout, form, false);
  int rc = annotate_print(stdout, form, cases, options->suite);
  return rc == 0 && fflush(stdout) == 0 ? EXIT_OK : admin_fail_output();
}

// The wire's numbers as the words that people and the summary use.
static void name_statuses(json_t *rows) {
  size_t i;
  json_t *row;
  json_array_foreach(rows, i, row) {
    json_int_t status = json_integer_value(json_object_get(row, "status"));
    if (status < RUNNER_PASSED || status > RUNNER_TIMED_OUT) continue;
    if (json_object_set_new(row, "status", json_string(cases_status_name((enum runner_status)status))) != 0)
      base_die(EXIT_INFRA, "out of memory (JSON)");
  }
}
