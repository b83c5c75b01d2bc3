// The history's subcommands: each one question and one table, but for `test` and `build`, which draw. Called by main.c.
// Must not know how the server came to its answers.
#include "worker/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/admin.h"
#include "worker/human.h"
#include "worker/show.h"
#include "worker/table.h"

enum { EIGHTHS = 8, LINE_COLUMNS = 60, OUTPUT_LINES = 40, ROWS_ALL = 10000, WHY_BYTES = 512 };

static const char *const bars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

struct line {  // of one test, oldest last, as they come
  int64_t us[LINE_COLUMNS];
  char outcome[LINE_COLUMNS];  // . passed, x failed, s skipped
  size_t count;
  char *output;  // of the newest failure
};

struct drawing {
  const struct options *options;
  size_t rows;
  struct json_t *json;
  char *key;         // of the build
  struct gate gate;  // over the build's row
};

static int run(const struct options *options, Shardd__QueryKind kind, const char *empty);
static int on_runs(void *arg, const struct answer *answer);
static int on_log(void *arg, const struct answer *answer);
static void draw_line(const struct line *line);
static int on_build(void *arg, const struct answer *answer);
static int on_timeline(void *arg, const struct answer *answer);
static void draw_bar(const char *bar, bool color);

int history_builds(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_BUILDS, "no builds");
}

int history_workers(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  const struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_WORKERS,
                            .empty = "no workers",
                            .limit = options_source(options, "limit") == CONF_FROM_DEFAULT ? ROWS_ALL : 0};
  return show_run(options, &show);
}

int history_slow(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_SLOW, "no tests were timed yet");
}

int history_slower(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_SLOWER, "no test became slower");
}

int history_flaky(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_FLAKY, "no flaky tests");
}

int history_broken(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_BROKEN, "no broken tests");
}

int history_log(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_LOG, "no test has changed its state");
}

static int run(const struct options *options, Shardd__QueryKind kind, const char *empty) {
  const struct show show = {.kind = kind, .empty = empty, .any_suite = true};
  return show_run(options, &show);
}

// ---- one test

int history_test(struct options *options, char **words, size_t count, char **command) {
  struct line line = {.output = NULL};
  struct show show = {
      .kind = SHARDD__QUERY_KIND__QUERY_TEST, .test = words[0], .empty = "this test never ran", .any_suite = true};
  (void)command;
  if (count != 1 || !msg_id_valid(words[0], strlen(words[0]))) {
    fprintf(stderr, "shard test: give the id of one test, as `shard slow` and the reports print it\n");
    return EXIT_USAGE;
  }
  int code = show_run(options, &show);
  if (options->json || options->csv || (code != EXIT_OK && code != EXIT_TESTS_FAILED)) return code;
  struct ask *ask;
  int drawn = admin_open(options, &ask);
  if (drawn != EXIT_OK) return drawn;
  show.limit = LINE_COLUMNS;
  show.on_page = on_runs;
  show.arg = &line;
  drawn = show_ask(ask, options, &show);
  if (drawn == EXIT_OK && line.count > 0) draw_line(&line);
  show = (struct show){
      .kind = SHARDD__QUERY_KIND__QUERY_LOG, .test = words[0], .any_suite = true, .limit = 5, .on_page = on_log};
  if (drawn == EXIT_OK) drawn = show_ask(ask, options, &show);
  if (line.output != NULL && drawn == EXIT_OK) printf("\nlast failure:\n%s\n", line.output);
  free(line.output);
  ask_close(ask);
  if (drawn == EXIT_OK && fflush(stdout) != 0) drawn = admin_fail_output();
  return drawn == EXIT_OK ? code : drawn;
}

static int on_runs(void *arg, const struct answer *answer) {
  struct line *line = arg;
  for (size_t row = 0; row < answer->row_count && line->count < LINE_COLUMNS; row++) {
    char *status = answer_get_text(answer, row, "status");
    bool passed = strcmp(status, "passed") == 0 || strcmp(status, "xfailed") == 0 || strcmp(status, "xpassed") == 0;
    bool skipped = strcmp(status, "skipped") == 0;
    line->us[line->count] = answer_get_number(answer, row, "setup", 0) + answer_get_number(answer, row, "call", 0) +
                            answer_get_number(answer, row, "teardown", 0);
    line->outcome[line->count++] = passed ? '.' : skipped ? 's' : 'x';
    ProtobufCBinaryData text = answer_cell(answer, row, answer_column(answer, "text"));
    if (!passed && !skipped && line->output == NULL && text.len > 0)
      line->output = human_safe(text.data, text.len, ESCAPE_TEXT);
    free(status);
  }
  return EXIT_OK;
}

// From the oldest to the newest, as far as they were asked for.
static void draw_line(const struct line *line) {
  int64_t longest = 1;
  char text[HUMAN_BYTES];
  for (size_t i = 0; i < line->count; i++)
    longest = line->us[i] > longest ? line->us[i] : longest;
  fputs("\ndurations  ", stdout);
  for (size_t i = line->count; i-- > 0;)
    fputs(bars[1 + line->us[i] * (EIGHTHS - 1) / longest], stdout);
  printf("  longest %s\noutcomes   ", human_duration((uint64_t)longest, text));
  for (size_t i = line->count; i-- > 0;)
    fputc(line->outcome[i], stdout);
  fputs("  the newest is the last\n", stdout);
}

static int on_log(void *arg, const struct answer *answer) {
  (void)arg;
  for (size_t row = 0; row < answer->row_count; row++) {
    char when[HUMAN_BYTES], *old = answer_get_text(answer, row, "old"), *new = answer_get_text(answer, row, "new");
    char *why = answer_get_text(answer, row, "why"), *who = answer_get_text(answer, row, "who");
    char *safe_why = human_safe(why, strlen(why), ESCAPE_LINE), *safe_who = human_safe(who, strlen(who), ESCAPE_LINE);
    printf("%s  %s -> %s: %s%s%s\n", human_time((uint64_t)answer_get_number(answer, row, "when", 0), when), old, new,
           safe_why, who[0] ? ", by " : "", safe_who);
    free(old);
    free(new);
    free(why);
    free(who);
    free(safe_why);
    free(safe_who);
  }
  return EXIT_OK;
}

// ---- one build

// The build that is named, or the newest; then that one's workers, whichever is the newest by now.
int history_build(struct options *options, char **words, size_t count, char **command) {
  struct drawing build = {.options = options}, timeline = {.options = options};
  struct ask *ask;
  char why[WHY_BYTES];
  (void)command;
  if (gate_init(&build.gate, options->fail_if, why, sizeof why) != 0) {
    fprintf(stderr, "shard: %s\n", why);
    return EXIT_USAGE;
  }
  int code = admin_open(options, &ask);
  if (code != EXIT_OK) return code;
  if (options->json) {
    build.json = table_json_new();
    timeline.json = table_json_new();
  }
  struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_BUILD, .on_page = on_build, .arg = &build};
  if (count > 0) show.build = words[0];
  code = show_ask(ask, options, &show);
  show.kind = SHARDD__QUERY_KIND__QUERY_TIMELINE;
  show.on_page = on_timeline;
  show.arg = &timeline;
  show.build = build.key;
  if (options_source(options, "limit") == CONF_FROM_DEFAULT) show.limit = ROWS_ALL;
  if (code == EXIT_OK) code = show_ask(ask, options, &show);
  ask_close(ask);
  free(build.key);
  if (options->json && code == EXIT_OK) {
    if (table_json_pair(stdout, "build", build.json, "workers", timeline.json) != 0) code = admin_fail_output();
  } else if (options->json) {
    table_json_drop(build.json);
    table_json_drop(timeline.json);
  }
  if (code == EXIT_OK && fflush(stdout) != 0) code = admin_fail_output();
  return code == EXIT_OK ? show_gate(options, &build.gate) : code;
}

static int on_build(void *arg, const struct answer *answer) {
  struct drawing *drawing = arg;
  char why[WHY_BYTES];
  if (gate_feed(&drawing->gate, answer, why, sizeof why) != 0) {
    fprintf(stderr, "shard: %s\n", why);
    return EXIT_USAGE;
  }
  if (answer->row_count > 0 && drawing->key == NULL) drawing->key = answer_get_text(answer, 0, "build");
  if (drawing->json != NULL) table_json_add(drawing->json, answer);
  if (drawing->json != NULL || drawing->options->csv) return EXIT_OK;
  return table_print_record(stdout, answer) == 0 ? EXIT_OK : admin_fail_output();
}

static int on_timeline(void *arg, const struct answer *answer) {
  struct drawing *drawing = arg;
  bool first = drawing->rows == 0;
  drawing->rows += answer->row_count;
  if (drawing->json != NULL) {
    table_json_add(drawing->json, answer);
    return EXIT_OK;
  }
  if (drawing->options->csv) return table_csv(stdout, answer, first) == 0 ? EXIT_OK : admin_fail_output();
  if (first && answer->row_count > 0) fputc('\n', stdout);
  for (size_t row = 0; row < answer->row_count; row++) {
    char *node = answer_get_text(answer, row, "node"), *bar = answer_get_text(answer, row, "bar"), busy[HUMAN_BYTES];
    char *safe = human_safe(node, strlen(node), ESCAPE_LINE), *cut = human_cut(safe, 12);
    printf("%5lld %-12s |", (long long)answer_get_number(answer, row, "worker", 0), cut);
    draw_bar(bar, options_color(drawing->options, STDOUT_FILENO));
    printf("| %6lld tests, %s busy\n", (long long)answer_get_number(answer, row, "tests", 0),
           human_duration((uint64_t)answer_get_number(answer, row, "busy", 0), busy));
    free(node);
    free(bar);
    free(safe);
    free(cut);
  }
  return EXIT_OK;
}

static void draw_bar(const char *bar, bool color) {
  for (; *bar != '\0'; bar++) {
    if (*bar >= '0' && *bar <= '8')
      fputs(bars[*bar - '0'], stdout);
    else
      fputs(color ? "\033[31mx\033[0m" : "x", stdout);
  }
}
