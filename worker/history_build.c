// `shard build`: one build and its workers over its time, drawn, as JSON, or as one CSV table for both. Called by
// main.c. Must not know how the server came to its answers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/admin.h"
#include "worker/history.h"
#include "worker/human.h"
#include "worker/show.h"
#include "worker/skips.h"
#include "worker/table.h"

enum { WORKERS_MAX = 20000, WHY_BYTES = 512 };

struct building {
  const struct options *options;
  struct gate gate;  // over the build's row
  struct json_t *build, *workers, *skips;
  char *key;
  Shardd__Rows *row;  // the build's, kept for CSV, whose header needs the workers' columns too
  bool runs;          // it is not over
  bool begun;         // a page of workers was printed
};

static int ask_both(struct ask *ask, struct building *building, const char *key);
static void ask_skips(struct ask *ask, const struct building *building);
static const char *rule_of(const struct options *options);
static int judge(const struct building *building);
static int print_json(struct building *building, int code);
static int on_build(void *arg, const struct answer *answer);
static int on_timeline(void *arg, const struct answer *answer);
static void draw(const struct building *building, const struct answer *answer);
static void draw_bar(const char *bar, bool color);
static int print_csv(struct building *building, const struct answer *workers);
static size_t merge_columns(const Shardd__Rows *build, const Shardd__Rows *workers, Shardd__Rows *both);
static void fill_row(Shardd__Rows *both, const char *kind, const struct answer *from, size_t row,
                     const struct answer *build);
static Shardd__Rows *copy_rows(const Shardd__Rows *rows);

// The build that is named, or the newest; then that one's workers, whichever is the newest by now.
int history_build(struct options *options, char **words, size_t count, char **command) {
  struct building building = {.options = options};
  struct ask *ask;
  char why[WHY_BYTES];
  (void)command;
  if (gate_init(&building.gate, rule_of(options), why, sizeof why) != 0) {
    fprintf(stderr, "shard: %s\n", why);
    return EXIT_USAGE;
  }
  int code = admin_check_key(options, count > 0 ? words[0] : NULL);
  if (code == EXIT_OK) code = admin_open(options, &ask);
  if (code != EXIT_OK) return code;
  if (options->json) {
    building.build = table_json_new();
    building.workers = table_json_new();
    building.skips = table_json_new();
  }
  code = ask_both(ask, &building, count > 0 ? words[0] : NULL);
  ask_close(ask);
  if (options->json) code = print_json(&building, code);
  if (code == EXIT_OK && fflush(stdout) != 0) code = admin_fail_output();
  free(building.key);
  if (building.row != NULL) shardd__rows__free_unpacked(building.row, NULL);
  return code == EXIT_OK ? judge(&building) : code;
}

// A rule that stands in the environment or in shard.yml is about the tables, whose columns a build has not.
static const char *rule_of(const struct options *options) {
  return options_source(options, "fail-if") == CONF_FROM_FLAG ? options->fail_if : "";
}

// A rule that does not hold yet has not passed.
static int judge(const struct building *building) {
  int code = show_gate(building->options, &building->gate);
  if (code != EXIT_OK || rule_of(building->options)[0] == '\0' || !building->runs) return code;
  fprintf(stderr, "shard: --fail-if does not hold yet, but the build still runs: `shard wait` waits for its end\n");
  return EXIT_USAGE;
}

static int ask_both(struct ask *ask, struct building *building, const char *key) {
  const struct options *options = building->options;
  struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_BUILD, .build = key, .on_page = on_build, .arg = building};
  int code = show_ask(ask, options, &show);
  show.kind = SHARDD__QUERY_KIND__QUERY_TIMELINE;
  show.on_page = on_timeline;
  show.build = building->key;
  if (options_source(options, "limit") == CONF_FROM_DEFAULT) show.limit = WORKERS_MAX;
  if (code == EXIT_OK) code = show_ask(ask, options, &show);
  if (code == EXIT_OK && !options->csv) ask_skips(ask, building);
  return code;
}

static void on_line(void *arg, char *line) {
  (void)arg;
  char *safe = human_safe(line, strlen(line), ESCAPE_LINE);
  printf("%s\n", safe);
  free(safe);
  free(line);
}

// Asked last: an older server does not know the question, and may close the connection.
static void ask_skips(struct ask *ask, const struct building *building) {
  const struct options *options = building->options;
  Shardd__Query query = SHARDD__QUERY__INIT;
  struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_SKIPS, .build = building->key, .limit = SKIPS_ROWS};
  struct ask_error error;
  struct answer answer;
  show_fill(options, &show, &query);
  if (ask_wait(ask, &query, (unsigned)(options->connect_timeout_us / 1000), &answer, &error) != 0)
    fprintf(stderr, "shard: nothing is told of skips: %s\n", error.text);
  else if (building->skips != NULL)
    table_json_add(building->skips, &answer);
  else
    skips_tell(&answer, on_line, NULL);
}

static int print_json(struct building *building, int code) {
  if (code == EXIT_OK) {
    const struct table_member members[] = {
        {"build", building->build}, {"workers", building->workers}, {"skips", building->skips}};
    int rc = table_json_members(stdout, members, COUNT_OF(members));
    return rc == 0 ? EXIT_OK : admin_fail_output();
  }
  table_json_drop(building->build);
  table_json_drop(building->workers);
  table_json_drop(building->skips);
  return code;
}

static int on_build(void *arg, const struct answer *answer) {
  struct building *building = arg;
  char why[WHY_BYTES];
  if (gate_feed(&building->gate, answer, why, sizeof why) != 0) {
    fprintf(stderr, "shard: %s\n", why);
    return EXIT_USAGE;
  }
  if (answer->row_count > 0 && building->key == NULL) {
    building->key = answer_get_text(answer, 0, "build");
    char *state = answer_get_text(answer, 0, "state");
    building->runs = strcmp(state, "running") == 0 || strcmp(state, "collecting") == 0;
    free(state);
  }
  if (building->build != NULL) table_json_add(building->build, answer);
  if (building->build != NULL) return EXIT_OK;
  if (!building->options->csv) return table_print_record(stdout, answer) == 0 ? EXIT_OK : admin_fail_output();
  if (building->row == NULL) building->row = copy_rows(answer->rows);
  return EXIT_OK;
}

static int on_timeline(void *arg, const struct answer *answer) {
  struct building *building = arg;
  int rc = 0;
  if (building->workers != NULL)
    table_json_add(building->workers, answer);
  else if (building->options->csv)
    rc = print_csv(building, answer);
  else
    draw(building, answer);
  building->begun = true;
  return rc == 0 ? EXIT_OK : admin_fail_output();
}

// ---- drawn

static void draw(const struct building *building, const struct answer *answer) {
  if (!building->begun && answer->row_count > 0) fputc('\n', stdout);
  for (size_t row = 0; row < answer->row_count; row++) {
    char *node = answer_get_text(answer, row, "node"), *bar = answer_get_text(answer, row, "bar"), busy[HUMAN_BYTES];
    char *safe = human_safe(node, strlen(node), ESCAPE_LINE), *cut = human_cut(safe, 12);
    printf("%5lld %-12s |", (long long)answer_get_number(answer, row, "worker", 0), cut);
    draw_bar(bar, options_color(building->options, STDOUT_FILENO));
    printf("| %6lld attempts, %s busy\n", (long long)answer_get_number(answer, row, "tests", 0),
           human_duration((uint64_t)answer_get_number(answer, row, "busy", 0), busy));
    free(node);
    free(bar);
    free(safe);
    free(cut);
  }
}

static void draw_bar(const char *bar, bool color) {
  for (; *bar != '\0'; bar++) {
    if (*bar >= '0' && *bar <= '8')
      fputs(human_bar((unsigned)(*bar - '0')), stdout);
    else
      fputs(color ? "\033[31mx\033[0m" : "x", stdout);
  }
}

// ---- CSV: a row for the build and one for each worker, in one table that has the columns of both behind `kind`

static int print_csv(struct building *building, const struct answer *workers) {
  struct answer build, page;
  Shardd__Rows both = SHARDD__ROWS__INIT;
  if (building->row == NULL || answer_init(&build, building->row) != 0) return -1;
  size_t columns = merge_columns(building->row, workers->rows, &both), rows = workers->row_count + !building->begun;
  both.cell = base_calloc(rows * columns + 1, sizeof *both.cell);
  if (!building->begun) fill_row(&both, "build", &build, 0, &build);
  for (size_t row = 0; row < workers->row_count; row++)
    fill_row(&both, "worker", workers, row, &build);
  int rc = answer_init(&page, &both) == 0 ? table_csv(stdout, &page, !building->begun) : -1;
  free(both.column);
  free(both.type);
  free(both.cell);
  return rc;
}

// "kind", the build's columns, and those of workers that it has not.
static size_t merge_columns(const Shardd__Rows *build, const Shardd__Rows *workers, Shardd__Rows *both) {
  size_t most = 1 + build->n_column + workers->n_column, count = 1 + build->n_column;
  both->column = base_calloc(most, sizeof *both->column);
  both->type = base_calloc(most, sizeof *both->type);
  both->column[0] = msg_text("kind");
  both->type[0] = SHARDD__COLUMN_TYPE__COLUMN_TEXT;
  memcpy(both->column + 1, build->column, build->n_column * sizeof *both->column);
  memcpy(both->type + 1, build->type, build->n_column * sizeof *both->type);
  for (size_t i = 0; i < workers->n_column; i++) {
    const ProtobufCBinaryData *name = &workers->column[i];
    bool known = false;
    for (size_t k = 0; k < count && !known; k++)
      known = both->column[k].len == name->len && memcmp(both->column[k].data, name->data, name->len) == 0;
    if (known) continue;
    both->column[count] = *name;
    both->type[count++] = workers->type[i];
  }
  both->n_column = both->n_type = count;
  return count;
}

// What the row has not is empty, but for the build's and the suite's name: tables of several builds can be put
// together.
static void fill_row(Shardd__Rows *both, const char *kind, const struct answer *from, size_t row,
                     const struct answer *build) {
  ProtobufCBinaryData *cell = both->cell + both->n_cell;
  cell[0] = msg_text(kind);
  for (size_t i = 1; i < both->n_column; i++) {
    char *name = base_memdup0(both->column[i].data, both->column[i].len);
    bool key = strcmp(name, "build") == 0 || strcmp(name, "suite") == 0;
    cell[i] =
        key ? answer_cell(build, 0, answer_column(build, name)) : answer_cell(from, row, answer_column(from, name));
    free(name);
  }
  both->n_cell += both->n_column;
}

static Shardd__Rows *copy_rows(const Shardd__Rows *rows) {
  size_t n = shardd__rows__get_packed_size(rows);
  uint8_t *bytes = base_malloc(n + 1);
  (void)shardd__rows__pack(rows, bytes);
  Shardd__Rows *copy = shardd__rows__unpack(NULL, n, bytes);
  free(bytes);
  return copy;
}
