// Answers, whose cells are names and texts of strangers, and the rule of --fail-if over them. An input is a rule, a
// line of digits (the type of each column), then the cells, separated by "|". A rule that is taken is the same when
// written again, and for one row it holds or its contrary does; a table shows no controls; CSV and JSON give the cells
// back.
#include <jansson.h>

#include "tests/fuzz/fuzz_file.h"
#include "tests/unit/answer_fixture.h"
#include "worker/csv.h"
#include "worker/gate.h"
#include "worker/human.h"
#include "worker/table.h"

enum { COLUMNS_MIN = 2, COLUMNS_MAX = 6, CELLS_MAX = 60, WHY_BYTES = 512 };

static const char *const names[COLUMNS_MAX] = {"test", "file", "expected", "rate", "since", "n"};

static void fill(struct answer_fixture *fixture, const char *types, size_t columns, const uint8_t *cells, size_t n) {
  const uint8_t *end = cells + n;
  fixture_init(fixture);
  for (size_t i = 0; i < columns; i++)
    fixture_column(fixture, names[i], (Shardd__ColumnType)(types[i] - '0'));
  while (cells < end && fixture->rows.n_cell < CELLS_MAX) {
    const uint8_t *bar = memchr(cells, '|', (size_t)(end - cells)), *stop = bar ? bar : end;
    fixture_bytes(fixture, cells, (size_t)(stop - cells));
    cells = bar ? bar + 1 : end;
  }
  fixture->rows.n_cell -= fixture->rows.n_cell % columns;
}

// ---- the rule

static bool holds(const struct gate *rule, const char *op, const struct answer *answer, bool *good) {
  struct gate gate;
  char text[300], why[WHY_BYTES] = "";
  (void)snprintf(text, sizeof text, "%s %s %s", rule->column, op, rule->value);
  FUZZ_CHECK(gate_init(&gate, text, why, sizeof why) == 0);
  FUZZ_CHECK(strcmp(gate.column, rule->column) == 0 && strcmp(gate.op, op) == 0);
  FUZZ_CHECK(strcmp(gate.value, rule->value) == 0);
  *good = gate_feed(&gate, answer, why, sizeof why) == 0;
  if (!*good) fuzz_check_harmless(why);
  if (gate.row[0] != '\0') {
    json_t *utf8 = json_string(gate.row);
    FUZZ_CHECK(gate.holds && utf8 != NULL);
    fuzz_check_harmless(gate.row);
    json_decref(utf8);
  }
  return *good && gate_fails(&gate);
}

static void check_rule(const struct answer *answer, const char *rule) {
  static const char *const contrary[][2] = {{"<", ">="}, {">", "<="}, {"=", "!="}};
  struct gate gate;
  char why[WHY_BYTES] = "";
  if (gate_init(&gate, rule, why, sizeof why) != 0) {
    fuzz_check_harmless(why);
    return;
  }
  if (gate.op[0] == '\0') return;
  for (size_t i = 0; i < COUNT_OF(contrary); i++) {
    bool good, also;
    bool one = holds(&gate, contrary[i][0], answer, &good), two = holds(&gate, contrary[i][1], answer, &also);
    FUZZ_CHECK(good == also);
    int column = answer_column(answer, gate.column);
    bool counted = strcmp(gate.column, "rows") == 0;
    if (!good || !(counted || answer->row_count == 1)) continue;
    if (!counted && answer->rows->type[column] == SHARDD__COLUMN_TYPE__COLUMN_TIME) continue;  // the clock runs
    bool unknown = !counted && answer_cell(answer, 0, column).len == 0;
    unknown |= !counted && answer->rows->type[column] != SHARDD__COLUMN_TYPE__COLUMN_TEXT &&
               answer_number(answer, 0, column, INT64_MIN) == INT64_MIN;
    FUZZ_CHECK(unknown ? !one && !two : one != two);
  }
}

// ---- what is printed

static char *print(const struct answer *answer, int form, size_t *n) {
  const struct table_look look = {.empty = "none"};
  char *text = NULL;
  FILE *out = open_memstream(&text, n);
  int rc = -1;
  FUZZ_CHECK(out != NULL);
  if (form == 0) rc = table_print(out, answer, &look);
  if (form == 1) rc = table_print_record(out, answer);
  if (form == 2) rc = table_csv(out, answer, true);
  if (form == 3) {
    struct json_t *array = table_json_new();
    table_json_add(array, answer);
    rc = table_json_finish(out, array);
  }
  FUZZ_CHECK(rc == 0 && fclose(out) == 0);
  return text;
}

// How many lines it has.
static size_t check_shown(const char *text, size_t n, bool tabs) {
  size_t lines = 0;
  for (size_t i = 0; i < n; i++) {
    bool control = (unsigned char)text[i] < ' ' || text[i] == 0x7f;
    FUZZ_CHECK(!control || text[i] == '\n' || (tabs && text[i] == '\t'));
    lines += text[i] == '\n';
  }
  json_t *utf8 = json_stringn(text, n);
  FUZZ_CHECK(utf8 != NULL);
  json_decref(utf8);
  return lines;
}

static void check_table(const struct answer *answer) {
  size_t n = 0;
  char *text = print(answer, 0, &n);
  FUZZ_CHECK(check_shown(text, n, false) == answer->row_count + 1 || (answer->row_count == 0 && strchr(text, '\n')));
  free(text);
  text = print(answer, 1, &n);
  (void)check_shown(text, n, true);
  free(text);
}

static void check_csv_row(const struct answer *answer, size_t row, const struct csv_field *fields) {
  for (size_t i = 0; i < answer->column_count; i++) {
    ProtobufCBinaryData cell = answer_cell(answer, row, (int)i);
    if (answer->rows->type[i] != SHARDD__COLUMN_TYPE__COLUMN_TEXT) continue;
    const char *text = fields[i].text;
    char *safe = human_safe((const char *)cell.data, cell.len, ESCAPE_BYTES);
    size_t n = strlen(safe), mark = fields[i].bytes == n + 1 && text[0] == '\'';  // it would have been a formula
    FUZZ_CHECK(fields[i].bytes == n + mark && memcmp(text + mark, safe, n) == 0);
    FUZZ_CHECK(n == 0 || memchr(text, '\x1b', fields[i].bytes) == NULL);
    free(safe);
  }
}

static void check_csv(const struct answer *answer) {
  const struct csv_field *fields;
  struct csv_place place;
  const char *why;
  size_t n = 0, count = 0, rows = 0;
  char *text = print(answer, 2, &n);
  FILE *in = fmemopen(text, n, "r");
  FUZZ_CHECK(in != NULL);
  struct csv *csv = csv_new(in);
  bool nul = memchr(text, '\0', n) != NULL;  // nothing reads that
  for (; !nul && csv_next(csv, &fields, &count, &place, &why) > 0; rows++) {
    FUZZ_CHECK(count == answer->column_count);
    if (rows > 0) check_csv_row(answer, rows - 1, fields);
  }
  FUZZ_CHECK(nul || rows == answer->row_count + 1);
  csv_free(csv);
  FUZZ_CHECK(fclose(in) == 0);
  free(text);
}

static void check_json(const struct answer *answer) {
  size_t n = 0;
  char *text = print(answer, 3, &n);
  json_t *array = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
  FUZZ_CHECK(array != NULL && json_array_size(array) == answer->row_count);
  for (size_t row = 0; row < answer->row_count; row++) {
    json_t *object = json_array_get(array, row), *test = json_object_get(object, "test");
    ProtobufCBinaryData cell = answer_cell(answer, row, 0);
    FUZZ_CHECK(json_object_size(object) == answer->column_count);
    if (answer->rows->type[0] != SHARDD__COLUMN_TYPE__COLUMN_TEXT || !test) continue;
    json_t *as_is = cell.len > 0 ? json_stringn((const char *)cell.data, cell.len) : json_null();
    FUZZ_CHECK(as_is == NULL ? json_is_string(test) : json_equal(as_is, test));
    json_decref(as_is);
  }
  json_decref(array);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static struct answer_fixture fixture;
  const uint8_t *line = memchr(bytes, '\n', n);
  if (line == NULL) return 0;
  char *rule = base_memdup0(bytes, (size_t)(line - bytes));
  const char *types = (const char *)line + 1;
  size_t left = n - (size_t)(line - bytes) - 1, columns = 0;
  while (columns < left && columns < COLUMNS_MAX && types[columns] >= '0' && types[columns] <= '9')
    columns++;
  if (columns >= COLUMNS_MIN && columns < left && strlen(rule) == (size_t)(line - bytes)) {
    fill(&fixture, types, columns, line + 1 + columns + 1, left - columns - 1);
    const struct answer *answer = fixture_answer(&fixture);
    FUZZ_CHECK(answer != NULL);
    check_rule(answer, rule);
    check_table(answer);
    check_csv(answer);
    check_json(answer);
  }
  free(rule);
  return 0;
}
