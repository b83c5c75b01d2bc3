// `shard test`: the runs of one test, with what it is taken for; in a table its state stands below, then its durations
// and outcomes at a glance, what its state was, and its last failure. Called by main.c. Must not know how the server
// came to its answers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/admin.h"
#include "worker/history.h"
#include "worker/human.h"
#include "worker/show.h"
#include "worker/table.h"

enum { LINE_COLUMNS = 60, LOG_LINES = 5, WHY_BYTES = 512 };

// Of the test's state, behind each of its runs.
static const struct {
  const char *from, *name;
} told[] = {{"state", "state"},
            {"since", "state_since"},
            {"rate", "rate"},
            {"rate_low", "rate_low"},
            {"rate_high", "rate_high"},
            {"kind", "kind"},
            {"muted_until", "muted_until"}};

struct line {  // of one test, oldest last, as they come
  int64_t us[LINE_COLUMNS];
  char outcome[LINE_COLUMNS];  // . passed, x failed, s skipped
  size_t count;
  char *output;  // of the newest failure
};

struct telling {
  const struct options *options;
  struct answer state;  // lives as long as its connection is not asked again
  struct gate gate;
  struct json_t *json;
  bool begun;
};

static int tell(struct ask *ask, struct telling *telling, const char *test);
static int draw(struct ask *ask, const struct telling *telling, const char *test);
static int on_state(void *arg, const struct answer *answer);
static int on_page(void *arg, const struct answer *answer);
static struct answer with_state(const struct answer *state, const struct answer *runs, Shardd__Rows *rows);
static int on_runs(void *arg, const struct answer *answer);
static int on_log(void *arg, const struct answer *answer);
static void draw_line(const struct line *line);

int history_test(struct options *options, char **words, size_t count, char **command) {
  struct telling telling = {.options = options};
  struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_STATE,
                      .test = words[0],
                      .any_suite = true,
                      .on_page = on_state,
                      .arg = &telling};
  struct ask *ask, *of_state;
  char why[WHY_BYTES];
  (void)command;
  if (count != 1 || !msg_id_valid(words[0], strlen(words[0]))) {
    fprintf(stderr, "shard test: give the id of one test, as `shard slow` and the reports print it\n");
    return EXIT_USAGE;
  }
  if (gate_init(&telling.gate, options->fail_if, why, sizeof why) != 0) {
    fprintf(stderr, "shard: %s\n", why);
    return EXIT_USAGE;
  }
  int code = admin_open(options, &of_state);
  if (code != EXIT_OK) return code;
  code = show_ask(of_state, options, &show);
  if (code == EXIT_OK) code = admin_open(options, &ask);
  if (code == EXIT_OK) {
    code = tell(ask, &telling, words[0]);
    ask_close(ask);
  }
  ask_close(of_state);
  return code == EXIT_OK ? show_gate(options, &telling.gate) : code;
}

static int tell(struct ask *ask, struct telling *telling, const char *test) {
  const struct options *options = telling->options;
  const struct show show = {
      .kind = SHARDD__QUERY_KIND__QUERY_TEST, .test = test, .any_suite = true, .on_page = on_page, .arg = telling};
  if (options->json) telling->json = table_json_new();
  int code = show_ask(ask, options, &show);
  if (telling->json != NULL && code == EXIT_OK) {
    if (table_json_finish(stdout, telling->json) != 0) code = admin_fail_output();
  } else if (telling->json != NULL) {
    table_json_drop(telling->json);
  }
  if (code == EXIT_OK && !options->json && !options->csv) code = draw(ask, telling, test);
  return code == EXIT_OK && fflush(stdout) != 0 ? admin_fail_output() : code;
}

// Below the table. The log is of all branches: where one is named, it is left out.
static int draw(struct ask *ask, const struct telling *telling, const char *test) {
  const struct options *options = telling->options;
  const struct table_look look = {.color = options_color(options, STDOUT_FILENO)};
  struct line line = {.output = NULL};
  struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_TEST,
                      .test = test,
                      .any_suite = true,
                      .limit = LINE_COLUMNS,
                      .on_page = on_runs,
                      .arg = &line};
  fputc('\n', stdout);
  bool one = telling->state.row_count == 1;
  if ((one ? table_print_record(stdout, &telling->state) : table_print(stdout, &telling->state, &look)) != 0)
    return admin_fail_output();
  int code = show_ask(ask, options, &show);
  if (code == EXIT_OK && line.count > 0) draw_line(&line);
  show.kind = SHARDD__QUERY_KIND__QUERY_LOG;
  show.limit = LOG_LINES;
  show.on_page = on_log;
  if (code == EXIT_OK && options_source(options, "branch") != CONF_FROM_FLAG) code = show_ask(ask, options, &show);
  if (line.output != NULL && code == EXIT_OK) printf("\nlast failure:\n%s\n", line.output);
  free(line.output);
  return code;
}

static int on_state(void *arg, const struct answer *answer) {
  struct telling *telling = arg;
  telling->state = *answer;
  return EXIT_OK;
}

static int on_page(void *arg, const struct answer *answer) {
  struct telling *telling = arg;
  const struct options *options = telling->options;
  const struct table_look look = {.color = options_color(options, STDOUT_FILENO),
                                  .empty = telling->begun ? NULL
                                                          : "none of its runs: there are none, they were removed, "
                                                            "or --branch and --since leave them out"};
  Shardd__Rows rows;
  char why[WHY_BYTES];
  bool first = !telling->begun;
  struct answer all = with_state(&telling->state, answer, &rows);
  int code = EXIT_OK;
  telling->begun = true;
  if (gate_feed(&telling->gate, &all, why, sizeof why) != 0) {
    fprintf(stderr, "shard: %s\n", why);
    code = EXIT_USAGE;
  } else if (telling->json != NULL) {
    table_json_add(telling->json, &all);
  } else if (options->csv ? table_csv(stdout, &all, first) != 0 : table_print(stdout, answer, &look) != 0) {
    code = admin_fail_output();
  }
  free(rows.column);
  free(rows.type);
  free(rows.cell);
  return code;
}

// The state in the suite of a run.
static size_t state_of(const struct answer *state, const struct answer *runs, size_t run) {
  ProtobufCBinaryData suite = answer_cell(runs, run, answer_column(runs, "suite"));
  for (size_t row = 0; row < state->row_count; row++) {
    ProtobufCBinaryData name = answer_cell(state, row, answer_column(state, "suite"));
    if (name.len == suite.len && (name.len == 0 || memcmp(name.data, suite.data, name.len) == 0)) return row;
  }
  return 0;
}

// The caller frees the arrays of *rows. Cells are those of the two answers.
static struct answer with_state(const struct answer *state, const struct answer *runs, Shardd__Rows *rows) {
  size_t before = runs->column_count, columns = before + COUNT_OF(told);
  struct answer all = *runs;
  *rows = *runs->rows;
  rows->column = base_calloc(columns, sizeof *rows->column);
  rows->type = base_calloc(columns, sizeof *rows->type);
  rows->cell = base_calloc(runs->row_count * columns + 1, sizeof *rows->cell);
  rows->n_column = rows->n_type = columns;
  rows->n_cell = runs->row_count * columns;
  memcpy(rows->column, runs->rows->column, before * sizeof *rows->column);
  memcpy(rows->type, runs->rows->type, before * sizeof *rows->type);
  for (size_t i = 0; i < COUNT_OF(told); i++) {
    int column = answer_column(state, told[i].from);
    rows->column[before + i] = msg_text(told[i].name);
    rows->type[before + i] = column == ANSWER_NO_COLUMN ? SHARDD__COLUMN_TYPE__COLUMN_TEXT : state->rows->type[column];
    for (size_t row = 0; row < runs->row_count && state->row_count > 0; row++)
      rows->cell[row * columns + before + i] = answer_cell(state, state_of(state, runs, row), column);
  }
  for (size_t row = 0; row < runs->row_count; row++)
    memcpy(rows->cell + row * columns, runs->rows->cell + row * before, before * sizeof *rows->cell);
  return answer_init(&all, rows) == 0 ? all : *runs;
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

// In the space above the first eighth; whatever the server says, a bar has one of those heights.
static unsigned eighths(int64_t us, int64_t longest) {
  double share = us > 0 ? (double)us / (double)longest : 0;
  return (unsigned)(share * (HUMAN_EIGHTHS - 1));
}

// From the oldest to the newest, as far as they were asked for.
static void draw_line(const struct line *line) {
  int64_t longest = 1;
  char text[HUMAN_BYTES];
  for (size_t i = 0; i < line->count; i++)
    longest = line->us[i] > longest ? line->us[i] : longest;
  fputs("\ndurations  ", stdout);
  for (size_t i = line->count; i-- > 0;)
    fputs(human_bar(1 + eighths(line->us[i], longest)), stdout);
  printf("  longest %s\noutcomes   ", human_duration((uint64_t)longest, text));
  for (size_t i = line->count; i-- > 0;)
    fputc(line->outcome[i], stdout);
  fputs("  the newest is the last\n", stdout);
}

static int on_log(void *arg, const struct answer *answer) {
  (void)arg;
  for (size_t row = 0; row < answer->row_count; row++) {
    char when[HUMAN_BYTES], *old = answer_get_safe(answer, row, "old"), *new = answer_get_safe(answer, row, "new");
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
