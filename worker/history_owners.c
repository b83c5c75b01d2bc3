// `shard owners`: the flaky, broken, slower and slow tests added up by who owns their files. Called by main.c. Must not
// know CODEOWNERS; owners.c does.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/admin.h"
#include "worker/history.h"
#include "worker/show.h"
#include "worker/table.h"

enum { OWNERS_MAX = 4096, COLUMNS = 7, CELL_BYTES = 24 };

struct sums {
  char *owner;
  int64_t flaky, broken, slower, lost_us, slow_us, tests;
};

struct adding {
  struct sums *sums;
  size_t count;
  enum { ADD_FLAKY, ADD_BROKEN, ADD_SLOWER, ADD_SLOW } what;
};

static const struct question {
  Shardd__QueryKind kind;
} questions[] = {
    [ADD_FLAKY] = {SHARDD__QUERY_KIND__QUERY_FLAKY},
    [ADD_BROKEN] = {SHARDD__QUERY_KIND__QUERY_BROKEN},
    [ADD_SLOWER] = {SHARDD__QUERY_KIND__QUERY_SLOWER},
    [ADD_SLOW] = {SHARDD__QUERY_KIND__QUERY_SLOW},
};

static int on_page(void *arg, const struct answer *answer);
static struct sums *find(struct adding *adding, const char *owner);
static int print(const struct options *options, struct adding *adding);

int history_owners(struct options *options, char **words, size_t count, char **command) {
  struct adding adding = {.count = 0};
  int code = EXIT_OK;
  (void)words, (void)count, (void)command;
  for (adding.what = ADD_FLAKY; code == EXIT_OK && (size_t)adding.what < COUNT_OF(questions); adding.what++) {
    const struct show show = {
        .kind = questions[adding.what].kind, .any_suite = true, .limit = SHOW_ALL, .on_page = on_page, .arg = &adding};
    code = show_run(options, &show);
  }
  if (code == EXIT_OK) code = print(options, &adding);
  for (size_t i = 0; i < adding.count; i++)
    free(adding.sums[i].owner);
  free(adding.sums);
  return code;
}

static int on_page(void *arg, const struct answer *answer) {
  struct adding *adding = arg;
  if (answer_column(answer, "owner") == ANSWER_NO_COLUMN) {
    fprintf(stderr, "shard owners: there is no CODEOWNERS here, in .github, .gitlab or docs; name one with --owners\n");
    return EXIT_USAGE;
  }
  for (size_t row = 0; row < answer->row_count; row++) {
    char *owner = answer_get_text(answer, row, "owner");
    struct sums *sums = find(adding, owner);
    sums->flaky += adding->what == ADD_FLAKY;
    sums->broken += adding->what == ADD_BROKEN;
    sums->slower += adding->what == ADD_SLOWER;
    sums->tests += adding->what == ADD_SLOW;
    if (adding->what == ADD_FLAKY) sums->lost_us += answer_get_number(answer, row, "lost", 0);
    if (adding->what == ADD_SLOW) sums->slow_us += answer_get_number(answer, row, "cost_per_day", 0);
    free(owner);
  }
  return EXIT_OK;
}

// Beyond the bound all are added to one, which says so.
static struct sums *find(struct adding *adding, const char *owner) {
  for (size_t i = 0; i < adding->count; i++)
    if (strcmp(adding->sums[i].owner, owner) == 0) return &adding->sums[i];
  if (adding->count == OWNERS_MAX) return &adding->sums[adding->count - 1];
  if (adding->count == OWNERS_MAX - 1) owner = "(others)";
  adding->sums = base_realloc(adding->sums, adding->count + 1, sizeof *adding->sums);
  adding->sums[adding->count] = (struct sums){.owner = base_strdup(owner)};
  return &adding->sums[adding->count++];
}

static int compare(const void *a, const void *b) {
  const struct sums *x = a, *y = b;
  if (x->broken != y->broken) return x->broken > y->broken ? -1 : 1;
  if (x->flaky != y->flaky) return x->flaky > y->flaky ? -1 : 1;
  if (x->slow_us != y->slow_us) return x->slow_us > y->slow_us ? -1 : 1;
  return strcmp(x->owner, y->owner);
}

static int print(const struct options *options, struct adding *adding) {
  static const char *const names[COLUMNS] = {"owner", "tests", "broken", "flaky", "slower", "lost", "cost_per_day"};
  uint32_t types[COLUMNS] = {SHARDD__COLUMN_TYPE__COLUMN_TEXT,    1, 1, 1, 1, SHARDD__COLUMN_TYPE__COLUMN_DURATION,
                             SHARDD__COLUMN_TYPE__COLUMN_DURATION};
  size_t count = adding->count;
  ProtobufCBinaryData columns[COLUMNS], *cells = base_calloc(count * COLUMNS + 1, sizeof *cells);
  char(*text)[CELL_BYTES] = base_calloc(count * COLUMNS + 1, sizeof *text);
  if (adding->count > 0) qsort(adding->sums, adding->count, sizeof *adding->sums, compare);
  for (size_t i = 0; i < COLUMNS; i++)
    columns[i] = msg_text(names[i]);
  for (size_t i = 0; i < count; i++) {
    const struct sums *s = &adding->sums[i];
    const int64_t numbers[COLUMNS] = {0, s->tests, s->broken, s->flaky, s->slower, s->lost_us, s->slow_us};
    cells[i * COLUMNS] = msg_text(s->owner[0] ? s->owner : "(nobody)");
    for (size_t c = 1; c < COLUMNS; c++) {
      (void)snprintf(text[i * COLUMNS + c], CELL_BYTES, "%lld", (long long)numbers[c]);
      cells[i * COLUMNS + c] = msg_text(text[i * COLUMNS + c]);
    }
  }
  Shardd__Rows rows = SHARDD__ROWS__INIT;
  rows.column = columns;
  rows.type = types;
  rows.cell = cells;
  rows.n_column = rows.n_type = COLUMNS;
  rows.n_cell = count * COLUMNS;
  struct answer answer;
  int code = answer_init(&answer, &rows) == 0 ? show_answer(options, &answer, "no tests are known") : EXIT_INFRA;
  free(cells);
  free(text);
  return code;
}
