// --fail-if. Called by show.c and history_build.c, page by page. Must not print: its caller says what held.
#include "worker/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/escape.h"

static const char *const ops[] = {"<=", ">=", "!=", "<", ">", "="};  // the longer first

static bool compare(const char *op, int order);
static int read_value(const struct gate *gate, uint32_t type, int64_t *out);
static int64_t seen_as(uint32_t type, int64_t number);
static int text_order(ProtobufCBinaryData cell, const char *value);
static const char *trim(const char *from, size_t n, char *out, size_t out_size);

int gate_init(struct gate *gate, const char *rule, char *why, size_t why_size) {
  *gate = (struct gate){0};
  if (rule[0] == '\0') return 0;
  size_t at = strcspn(rule, "<>=!");
  for (size_t i = 0; i < COUNT_OF(ops); i++) {
    size_t n = strlen(ops[i]);
    if (strncmp(rule + at, ops[i], n) != 0) continue;
    const char *value = rule + at + n;
    if (trim(rule, at, gate->column, sizeof gate->column) == NULL) break;
    if (trim(value, strlen(value), gate->value, sizeof gate->value) == NULL) break;
    (void)snprintf(gate->op, sizeof gate->op, "%s", ops[i]);
    uint64_t number;
    if (strcmp(gate->column, "rows") != 0 || base_parse_u64(gate->value, 0, UINT32_MAX, &number) == 0) return 0;
  }
  char shown[96];
  (void)snprintf(why, why_size,
                 "--fail-if %s is no rule: write COLUMN OP VALUE, as in rows>0, expected>30s or rate>=5%%",
                 base_quote(shown, sizeof shown, rule, strlen(rule)));
  return -1;
}

int gate_feed(struct gate *gate, const struct answer *answer, char *why, size_t why_size) {
  int column = answer_column(answer, gate->column);
  int64_t value = 0;
  gate->rows += answer->row_count;
  if (gate->op[0] == '\0' || strcmp(gate->column, "rows") == 0) return 0;
  uint32_t type = column < 0 ? 0 : answer->rows->type[column];
  if (column < 0 || read_value(gate, type, &value) != 0) {
    char shown[sizeof gate->column * 4 + 3];
    (void)snprintf(why, why_size,
                   column < 0
                       ? "--fail-if: there is no column %s here"
                       : "--fail-if: %s cannot be "
                         "compared with that: 30s for a duration, 5%% for a share, 7d for an age, else a number, "
                         "without places where whole ones are counted",
                   base_quote(shown, sizeof shown, gate->column, strlen(gate->column)));
    return -1;
  }
  for (size_t row = 0; row < answer->row_count && !gate->holds; row++) {
    ProtobufCBinaryData cell = answer_cell(answer, row, column);
    int64_t number = answer_number(answer, row, column, INT64_MIN);
    if (cell.len == 0 || (type != SHARDD__COLUMN_TYPE__COLUMN_TEXT && number == INT64_MIN)) continue;
    int64_t seen = seen_as(type, number);
    int order =
        type == SHARDD__COLUMN_TYPE__COLUMN_TEXT ? text_order(cell, gate->value) : (seen > value) - (seen < value);
    gate->holds = compare(gate->op, order);
    if (!gate->holds) continue;
    ProtobufCBinaryData first = answer_cell(answer, row, 0);
    gate->row[escape_bytes(gate->row, sizeof gate->row - 1, first.data, first.len, ESCAPE_LINE)] = '\0';
  }
  return 0;
}

bool gate_fails(const struct gate *gate) {
  uint64_t value = 0;
  if (gate->op[0] == '\0') return false;
  if (strcmp(gate->column, "rows") != 0) return gate->holds;
  if (base_parse_u64(gate->value, 0, UINT32_MAX, &value) != 0) return false;
  return compare(gate->op, (gate->rows > value) - (gate->rows < value));
}

static bool compare(const char *op, int order) {
  bool equal = op[strlen(op) - 1] == '=' && op[0] != '!';
  if (order == 0) return equal;
  if (op[0] == '!') return true;
  return order < 0 ? op[0] == '<' : op[0] == '>';
}

static int read_value(const struct gate *gate, uint32_t type, int64_t *out) {
  uint64_t us;
  char *end;
  if (type == SHARDD__COLUMN_TYPE__COLUMN_TEXT) return 0;
  if (type == SHARDD__COLUMN_TYPE__COLUMN_DURATION || type == SHARDD__COLUMN_TYPE__COLUMN_TIME) {
    if (base_parse_duration(gate->value, 0, INT64_MAX, &us) != 0) return -1;
    *out = (int64_t)(type == SHARDD__COLUMN_TYPE__COLUMN_TIME ? us / 1000 : us);
    return 0;
  }
  double number = strtod(gate->value, &end);
  bool percent = strcmp(end, "%") == 0;
  if (end == gate->value || (*end != '\0' && !percent)) return -1;
  if (percent && type != SHARDD__COLUMN_TYPE__COLUMN_RATIO) return -1;
  if (type == SHARDD__COLUMN_TYPE__COLUMN_RATIO) number *= percent ? 1e4 : 1e6;
  if (type == SHARDD__COLUMN_TYPE__COLUMN_NUMBER) number *= 1e3;
  if (!(number > -9e18 && number < 9e18)) return -1;
  *out = (int64_t)(number < 0 ? number - 0.5 : number + 0.5);
  return type == SHARDD__COLUMN_TYPE__COLUMN_INT && (double)*out != number ? -1 : 0;
}

// A time as its age in ms.
static int64_t seen_as(uint32_t type, int64_t number) {
  if (type != SHARDD__COLUMN_TYPE__COLUMN_TIME) return number;
  return (int64_t)(base_wall_us() / 1000) - (number > 0 ? number : 0);
}

static int text_order(ProtobufCBinaryData cell, const char *value) {
  size_t n = strlen(value), least = cell.len < n ? cell.len : n;
  int order = memcmp(cell.data, value, least);
  return order ? order : (cell.len > n) - (cell.len < n);
}

// NULL when nothing is left, or too much.
static const char *trim(const char *from, size_t n, char *out, size_t out_size) {
  while (n > 0 && *from == ' ')
    from++, n--;
  while (n > 0 && from[n - 1] == ' ')
    n--;
  if (n == 0 || n >= out_size) return NULL;
  memcpy(out, from, n);
  out[n] = '\0';
  return out;
}
