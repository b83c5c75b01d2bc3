// Annotations of CIs from a build's cases. Called by report.c. Names, nodes and outputs are a stranger's, and must not
// act in the CI. In our own commands each form has its escapes, so that no line ends early. The summary around them:
// GitHub obeys any line that begins with "::", and is told to stop that, up to a word that no test can know; commands
// of TeamCity ("##teamcity[") and sections of GitLab (behind a carriage return and an escape) lose what makes them so
// in human_safe, through which all that is printed goes; lines that begin as headings of Buildkite are set in by the
// summary. It must not ask the server.
#include "worker/annotate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "worker/human.h"

enum { TOKEN_BYTES = 16, LINE_MAX_DIGITS = 9 };

static void stop_github(FILE *out, bool begin);
static void fold_github(FILE *out, const struct cases_case *item, bool begin);
static void fold_gitlab(FILE *out, const struct cases_case *item, bool begin);
static void fold_buildkite(FILE *out, const struct cases_case *item, bool begin);
static const char *token(void);
static void print_github(FILE *out, const struct cases *cases, const char *kind, const enum cases_verdict verdicts[2]);
static void github_line(FILE *out, const struct cases_case *item, const char *kind);
static void github_place(FILE *out, const struct cases_case *item);
static void github_put(FILE *out, const char *text, size_t n, bool property);
static size_t line_of(const struct cases_case *item);
static void print_teamcity(FILE *out, const struct cases *cases, const char *suite);
static void teamcity_begin(FILE *out, const char *message, const char *name, const char *flow);
static void teamcity_case(FILE *out, const struct cases_case *item, const char *flow);
static void teamcity_put(FILE *out, const char *text, size_t n);
static const char *end_of(const struct cases_attempt *attempt, size_t *n);
static const char *in_words(const struct cases_case *item);

enum annotate_form annotate_choose(enum annotate_form form, const char *ci) {
  static const struct {
    const char *ci;
    enum annotate_form form;
  } known[] = {{"github", ANNOTATE_GITHUB},
               {"gitlab", ANNOTATE_GITLAB},
               {"teamcity", ANNOTATE_TEAMCITY},
               {"buildkite", ANNOTATE_BUILDKITE}};
  for (size_t i = 0; i < COUNT_OF(known) && form == ANNOTATE_AUTO; i++)
    if (strcmp(known[i].ci, ci) == 0) form = known[i].form;
  return form == ANNOTATE_AUTO ? ANNOTATE_NONE : form;
}

summary_fold *annotate_fold(enum annotate_form form) {
  static summary_fold *const folds[] = {
      [ANNOTATE_GITHUB] = fold_github, [ANNOTATE_GITLAB] = fold_gitlab, [ANNOTATE_BUILDKITE] = fold_buildkite};
  return (size_t)form < COUNT_OF(folds) ? folds[form] : NULL;
}

void annotate_guard(FILE *out, enum annotate_form form, bool begin) {
  if (form == ANNOTATE_GITHUB) stop_github(out, begin);
}

int annotate_print(FILE *out, enum annotate_form form, const struct cases *cases, const char *suite) {
  static const enum cases_verdict errors[] = {CASES_FAILED, CASES_MISSING}, warnings[] = {CASES_FLAKY, CASES_MUTED};
  if (form == ANNOTATE_GITHUB) {
    print_github(out, cases, "error", errors);
    print_github(out, cases, "warning", warnings);
  }
  if (form == ANNOTATE_TEAMCITY) print_teamcity(out, cases, suite);
  return ferror(out) ? -1 : 0;
}

// ---- folds

// Between stop-commands and its token GitHub takes no line for a command.
static void stop_github(FILE *out, bool begin) {
  if (begin)
    fprintf(out, "::stop-commands::%s\n", token());
  else
    fprintf(out, "::%s::\n", token());
}

// Commands are stopped before and behind it.
static void fold_github(FILE *out, const struct cases_case *item, bool begin) {
  stop_github(out, false);
  if (begin) {
    (void)fputs("::group::", out);
    github_put(out, item->id, strlen(item->id), false);
    (void)fputc('\n', out);
  } else {
    (void)fputs("::endgroup::\n", out);
  }
  stop_github(out, true);
}

// A word that no test can have foreseen.
static const char *token(void) {
  static char text[2 * TOKEN_BYTES + 1];
  unsigned char bytes[TOKEN_BYTES];
  if (text[0] != '\0') return text;
  if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
    base_die(EXIT_INFRA, "no randomness: %s", strerror(errno));
  for (size_t i = 0; i < TOKEN_BYTES; i++)
    (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
  return text;
}

// A section's name is its own; what is printed in it holds no escape (human_safe), so that it cannot end it.
static void fold_gitlab(FILE *out, const struct cases_case *item, bool begin) {
  static unsigned sections;
  char *id = human_safe(item->id, strlen(item->id), ESCAPE_LINE);
  long long now = (long long)time(NULL);
  sections += begin;
  if (begin)
    fprintf(out, "\033[0Ksection_start:%lld:shard_failure_%u[collapsed=true]\r\033[0K%s\n", now, sections, id);
  else
    fprintf(out, "\033[0Ksection_end:%lld:shard_failure_%u\r\033[0K\n", now, sections);
  free(id);
}

// A group ends where the next begins: what follows an output that is folded stands in one that is open.
static void fold_buildkite(FILE *out, const struct cases_case *item, bool begin) {
  char *id = human_safe(item->id, strlen(item->id), ESCAPE_LINE);
  if (begin)
    fprintf(out, "--- %s\n", id);
  else
    fputs("+++ shard report\n", out);
  free(id);
}

// ---- GitHub

static void print_github(FILE *out, const struct cases *cases, const char *kind, const enum cases_verdict verdicts[2]) {
  size_t count = 0, shown = 0;
  for (size_t i = 0; i < cases->count; i++)
    count += cases->item[i].verdict == verdicts[0] || cases->item[i].verdict == verdicts[1];
  size_t room = count > ANNOTATE_GITHUB_MAX ? ANNOTATE_GITHUB_MAX - 1 : count;
  for (size_t i = 0; i < cases->count && shown < room; i++) {
    const struct cases_case *item = &cases->item[i];
    if (item->verdict != verdicts[0] && item->verdict != verdicts[1]) continue;
    github_line(out, item, kind);
    shown++;
  }
  if (count > shown) fprintf(out, "::%s title=shard::… and %zu more tests\n", kind, count - shown);
}

static void github_line(FILE *out, const struct cases_case *item, const char *kind) {
  const struct cases_attempt *final = item->attempt_count > 0 ? &item->attempt[item->attempt_count - 1] : NULL;
  size_t n = 0;
  const char *text = final != NULL && item->verdict == CASES_FAILED ? end_of(final, &n) : "";
  fprintf(out, "::%s ", kind);
  github_place(out, item);
  (void)fputs("title=", out);
  github_put(out, item->id, strlen(item->id) < 250 ? strlen(item->id) : 250, true);
  (void)fputs("::", out);
  (void)fputs(in_words(item), out);
  if (n > 0) (void)fputs("%0A", out);
  github_put(out, text, n, false);
  (void)fputc('\n', out);
}

static void github_place(FILE *out, const struct cases_case *item) {
  size_t line = line_of(item);
  if (item->file == NULL) return;
  (void)fputs("file=", out);
  github_put(out, item->file, strlen(item->file), true);
  (void)fputc(',', out);
  if (line > 0) fprintf(out, "line=%zu,", line);
}

// In properties ":" and "," mean something, too. Controls but line ends go.
static void github_put(FILE *out, const char *text, size_t n, bool property) {
  char *safe = human_safe(text, n, ESCAPE_TEXT);
  for (const char *at = safe; *at != '\0'; at++) {
    bool special = *at == '%' || *at == '\r' || *at == '\n' || (property && (*at == ':' || *at == ','));
    if (special)
      fprintf(out, "%%%02X", (unsigned)*at);
    else
      (void)fputc(*at, out);
  }
  free(safe);
}

// Where the output names the test's file with a line for the last time, as pytest ends it: "tests/test_a.py:12: Error".
static size_t line_of(const struct cases_case *item) {
  const struct cases_attempt *final = cases_final(item);
  if (final == NULL || item->file == NULL || final->text == NULL) return 0;
  size_t file = strlen(item->file), line = 0;
  const char *at = final->text, *end = final->text + final->text_bytes;
  while ((at = memmem(at, (size_t)(end - at), item->file, file)) != NULL) {
    size_t number = 0, digits = 0;
    const char *digit = at + file + 1;
    bool named = (at == final->text || at[-1] == '\n') && at + file < end && at[file] == ':';
    for (; named && digit < end && *digit >= '0' && *digit <= '9' && digits < LINE_MAX_DIGITS; digits++)
      number = 10 * number + (size_t)(*digit++ - '0');
    if (digits > 0) line = number;
    at += file;
  }
  return line;
}

// ---- TeamCity: messages of one flow, so that those of another process of the build do not mix with them

static void print_teamcity(FILE *out, const struct cases *cases, const char *suite) {
  teamcity_begin(out, "testSuiteStarted", suite, suite);
  (void)fputs("']\n", out);
  for (size_t i = 0; i < cases->count; i++)
    teamcity_case(out, &cases->item[i], suite);
  teamcity_begin(out, "testSuiteFinished", suite, suite);
  (void)fputs("']\n", out);
}

// Up to the end of the flow's name, within its quotes.
static void teamcity_begin(FILE *out, const char *message, const char *name, const char *flow) {
  fprintf(out, "##teamcity[%s name='", message);
  teamcity_put(out, name, strlen(name));
  (void)fputs("' flowId='shard ", out);
  teamcity_put(out, flow, strlen(flow));
}

static void teamcity_case(FILE *out, const struct cases_case *item, const char *flow) {
  const struct cases_attempt *final = cases_final(item);
  bool failed = item->verdict == CASES_FAILED || item->verdict == CASES_MISSING;
  size_t n = 0;
  const char *text = final != NULL && failed ? end_of(final, &n) : "";
  teamcity_begin(out, "testStarted", item->id, flow);
  (void)fputs("']\n", out);
  if (failed || item->verdict == CASES_SKIPPED || item->verdict == CASES_MUTED) {
    teamcity_begin(out, failed ? "testFailed" : "testIgnored", item->id, flow);
    fprintf(out, "' message='%s", in_words(item));
    if (failed) (void)fputs("' details='", out);
    teamcity_put(out, text, n);
    (void)fputs("']\n", out);
  }
  teamcity_begin(out, "testFinished", item->id, flow);
  fprintf(out, "' duration='%ju']\n", (uintmax_t)(final != NULL ? cases_duration_us(final) / 1000 : 0));
}

static void teamcity_put(FILE *out, const char *text, size_t n) {
  char *safe = human_safe(text, n, ESCAPE_TEXT);
  for (const char *at = safe; *at != '\0'; at++) {
    if (*at == '\n') {
      (void)fputs("|n", out);
    } else {
      if (strchr("'|[]", *at) != NULL) (void)fputc('|', out);
      (void)fputc(*at, out);
    }
  }
  free(safe);
}

// ---- both

static const char *end_of(const struct cases_attempt *attempt, size_t *n) {
  *n = attempt->text_bytes < ANNOTATE_MESSAGE_BYTES ? attempt->text_bytes : (size_t)ANNOTATE_MESSAGE_BYTES;
  return *n > 0 ? attempt->text + attempt->text_bytes - *n : "";
}

static const char *in_words(const struct cases_case *item) {
  const struct cases_attempt *final = cases_final(item);
  switch (item->verdict) {
    case CASES_MISSING: return "missing: it has no verdict";
    case CASES_FLAKY: return "flaky: it passed after failing";
    case CASES_MUTED: return "muted: it failed, and that does not count";
    case CASES_PASSED:
    case CASES_FAILED:
    case CASES_SKIPPED: break;
  }
  return final != NULL ? cases_status_name(final->status) : "";
}
