// The history's subcommands: each one question and one table, but for `build`, which draws. Called by main.c.
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

enum { ROWS_ALL = 10000, WHY_BYTES = 512 };

static const char *const bars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

struct drawing {
  const struct options *options;
  size_t rows;
  struct json_t *json;
  char *key;         // of the build
  struct gate gate;  // over the build's row
};

static int run(const struct options *options, Shardd__QueryKind kind, const char *empty);
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
