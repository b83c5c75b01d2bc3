// What is left to do when the workers of a `shard local` are gone. Called by local.c. The workers' exit codes and the
// server's verdict are two witnesses: the worse one counts, and a server that cannot be asked is no witness for
// success.
#include "worker/local_end.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/report.h"
#include "worker/summary.h"
#include "worker/verdict.h"

enum { ANSWER_MS = 30 * 1000, VERDICT_MS = 20 * 1000, SIGNALLED_MS = 2000, WHY_BYTES = 512 };

static int ask_verdict(struct ask *ask, const struct local_end *end);
static int print_report(struct ask *ask, const struct local_end *end);
static int show(const struct cases *cases, const struct spans *spans, const struct local_end *end);

int local_end_finish(const struct local_end *end) {
  struct ask *ask;
  struct ask_error error;
  int worst = verdict_worst(end->codes, end->count);
  bool all_empty = worst == EXIT_EMPTY;
  if (ask_open(&ask, end->address, "", ANSWER_MS, &error) != 0) {
    fprintf(stderr, "shard local: the verdict cannot be asked for: %s\n", error.text);
    return end->signal != 0 ? 128 + end->signal : EXIT_INFRA;
  }
  int codes[] = {worst, EXIT_OK, EXIT_OK};
  if (worst != EXIT_USAGE && !all_empty) {
    codes[1] = end->signal == 0 ? ask_verdict(ask, end) : EXIT_OK;
    codes[2] = print_report(ask, end);
  }
  ask_close(ask);
  return end->signal != 0 ? 128 + end->signal : verdict_worst(codes, COUNT_OF(codes));
}

static int ask_verdict(struct ask *ask, const struct local_end *end) {
  struct answer answer;
  struct ask_error error;
  struct verdict verdict;
  Shardd__Query query = SHARDD__QUERY__INIT;
  query.kind = SHARDD__QUERY_KIND__QUERY_WAIT;
  query.project = msg_text(end->options->project);
  query.suite = msg_text(end->options->suite);
  query.build = msg_text(end->build);
  if (ask_wait(ask, &query, VERDICT_MS, &answer, &error) != 0) {
    fprintf(stderr, "shard local: the build has no verdict: %s\n", error.text);
    return EXIT_INFRA;
  }
  if (verdict_read(&verdict, &answer) != 0) {
    fprintf(stderr, "shard local: the verdict lacks columns; install shard and shardd of one version\n");
    return EXIT_INFRA;
  }
  int code = verdict_code(&verdict, end->options->allow_empty);
  if (code != EXIT_OK && code != EXIT_TESTS_FAILED)
    fprintf(stderr, "shard local: the build is %s, %lld of %lld tests settled: %s\n", verdict.state,
            (long long)verdict.settled, (long long)verdict.total, verdict.why);
  verdict_release(&verdict);
  return code;
}

static int print_report(struct ask *ask, const struct local_end *end) {
  struct cases cases;
  struct spans spans;
  struct ask_error error;
  struct report_of of = {.project = end->options->project, .suite = end->options->suite, .build = end->build};
  cases_init(&cases);
  int code = EXIT_OK;
  if (report_fetch(ask, &of, end->signal != 0 ? SIGNALLED_MS : ANSWER_MS, &cases, &spans, NULL, &error) == 0) {
    code = show(&cases, &spans, end);
  } else if (end->signal == 0) {
    fprintf(stderr, "shard local: no report: %s\n", error.text);
    code = EXIT_INFRA;
  }
  cases_release(&cases);
  return code;
}

static int show(const struct cases *cases, const struct spans *spans, const struct local_end *end) {
  struct summary summary;
  struct summary_look look = {.color = options_color(end->options, STDOUT_FILENO),
                              .failures_only = end->options->quiet};
  char why[WHY_BYTES];
  summary_count(&summary, cases, spans);
  summary_print(stdout, cases, &summary, &look);
  (void)fflush(stdout);
  if (end->options->junit[0] == '\0') return EXIT_OK;
  if (report_write(cases, end->options->suite, end->options->junit, why, sizeof why) == 0) return EXIT_OK;
  fprintf(stderr, "shard local: %s\n", why);
  return EXIT_INFRA;
}
