// Tables and JSON from Rows. Called by admin.c and report.c. Columns are typed by the server (ColumnType); how each
// type looks stands in one table here. It must not know any column by name but those that have another name now, nor
// ask the server.
#include "worker/table.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/human.h"

enum { GAP = 2, NAME_BYTES = 128 };

struct form {
  bool right;
  const char *(*show)(uint64_t number, char out[HUMAN_BYTES]);  // NULL: as it is
  json_t *(*json)(int64_t number);                              // NULL: a string
  const char *suffix;                                           // of the member's name
};

static void csv_cell(FILE *out, const char *text, size_t n, bool last);
static void csv_safe(FILE *out, const char *text, size_t n);
static json_t *json_of_int(int64_t number);
static json_t *json_of_time(int64_t ms);
static json_t *json_of_ratio(int64_t ppm);
static json_t *json_of_number(int64_t milli);
static const struct form *form_of(const struct answer *answer, size_t column);
static char *shown_cell(const struct answer *answer, size_t row, size_t column);
static char *first_line(ProtobufCBinaryData cell);
static bool is_former(const struct answer *answer, size_t column);
static void print_line(FILE *out, const struct answer *answer, char **cells, const size_t *widths);
static json_t *json_of_cell(const struct answer *answer, size_t row, size_t column);
static json_t *json_of_bytes(ProtobufCBinaryData cell);
static char *mended(ProtobufCBinaryData cell);
static size_t utf8_length(const unsigned char *p, size_t n);
static json_t *checked(json_t *value);

static const struct form forms[] = {
    [SHARDD__COLUMN_TYPE__COLUMN_TEXT] = {false, NULL, NULL, ""},
    [SHARDD__COLUMN_TYPE__COLUMN_INT] = {true, NULL, json_of_int, ""},
    [SHARDD__COLUMN_TYPE__COLUMN_DURATION] = {true, human_duration, json_of_int, "_us"},
    [SHARDD__COLUMN_TYPE__COLUMN_TIME] = {true, human_time, json_of_time, ""},
    [SHARDD__COLUMN_TYPE__COLUMN_RATIO] = {true, human_ratio, json_of_ratio, ""},
    [SHARDD__COLUMN_TYPE__COLUMN_NUMBER] = {true, human_number, json_of_number, ""},
};

// Names that `wall` had before 0.2.0. JSON and CSV keep them for programs; people see each number once.
static const char *const former[] = {"actual", "duration", "elapsed"};

_Static_assert(COUNT_OF(forms) == SHARDD__COLUMN_TYPE__COLUMN_NUMBER + 1, "a form for each type");

int table_print(FILE *out, const struct answer *answer, const struct table_look *look) {
  size_t columns = answer->column_count, count = (answer->row_count + 1) * columns;
  if (answer->row_count == 0 && look->empty != NULL) {
    fprintf(out, "%s\n", look->empty);
    return ferror(out) ? -1 : 0;
  }
  char **cells = base_calloc(count, sizeof *cells);
  size_t *widths = base_calloc(columns, sizeof *widths);
  for (size_t i = 0; i < count; i++) {
    size_t column = i % columns;
    const ProtobufCBinaryData *name = &answer->rows->column[column];
    cells[i] =
        i < columns ? human_safe(name->data, name->len, ESCAPE_LINE) : shown_cell(answer, i / columns - 1, column);
    size_t width = human_width(cells[i]);
    if (width > widths[column]) widths[column] = width;
  }
  fputs(look->color ? "\033[1m" : "", out);
  for (size_t row = 0; row <= answer->row_count; row++) {
    print_line(out, answer, cells + row * columns, widths);
    fputs(look->color && row == 0 ? "\033[0m\n" : "\n", out);
  }
  for (size_t i = 0; i < count; i++)
    free(cells[i]);
  free(cells);
  free(widths);
  return ferror(out) ? -1 : 0;
}

int table_print_record(FILE *out, const struct answer *answer) {
  size_t widest = 0;
  for (size_t i = 0; i < answer->column_count; i++)
    if (answer->rows->column[i].len > widest) widest = answer->rows->column[i].len;
  for (size_t i = 0; answer->row_count > 0 && i < answer->column_count; i++) {
    const ProtobufCBinaryData *name = &answer->rows->column[i];
    if (answer_cell(answer, 0, (int)i).len == 0 || is_former(answer, i)) continue;
    char *label = human_safe(name->data, name->len, ESCAPE_LINE), *cell = shown_cell(answer, 0, i);
    fprintf(out, "%-*s  %s\n", (int)widest, label, cell);
    free(label);
    free(cell);
  }
  return ferror(out) ? -1 : 0;
}

struct json_t *table_json_new(void) {
  return checked(json_array());
}

void table_json_add(struct json_t *array, const struct answer *answer) {
  for (size_t row = 0; row < answer->row_count; row++) {
    json_t *object = checked(json_object());
    for (size_t column = 0; column < answer->column_count; column++) {
      char name[NAME_BYTES];
      const ProtobufCBinaryData *bytes = &answer->rows->column[column];
      char *safe = human_safe(bytes->data, bytes->len, ESCAPE_LINE);
      (void)snprintf(name, sizeof name, "%.100s%s", safe, form_of(answer, column)->suffix);
      free(safe);
      if (json_object_set_new_nocheck(object, name, json_of_cell(answer, row, column)) != 0)
        base_die(EXIT_INFRA, "out of memory (JSON)");
    }
    if (json_array_append_new(array, object) != 0) base_die(EXIT_INFRA, "out of memory (JSON)");
  }
}

// The one control character that JSON does not ask to be escaped.
static int on_json(const char *text, size_t n, void *out) {
  for (size_t i = 0; i < n; i++) {
    if (text[i] == '\x7f')
      (void)fputs("\\u007f", out);
    else
      (void)fputc(text[i], out);
  }
  return ferror(out) ? -1 : 0;
}

int table_json_finish(FILE *out, struct json_t *array) {
  int rc = json_dump_callback(array, on_json, out, JSON_ENSURE_ASCII | JSON_INDENT(2));
  json_decref(array);
  fputc('\n', out);
  return rc != 0 || ferror(out) ? -1 : 0;
}

void table_json_drop(struct json_t *array) {
  json_decref(array);
}

int table_json_members(FILE *out, const struct table_member *members, size_t count) {
  json_t *object = checked(json_object());
  for (size_t i = 0; i < count; i++)
    if (json_object_set_new(object, members[i].name, members[i].array) != 0)
      base_die(EXIT_INFRA, "out of memory (JSON)");
  return table_json_finish(out, object);
}

int table_csv(FILE *out, const struct answer *answer, bool head) {
  size_t columns = answer->column_count;
  for (size_t column = 0; head && column < columns; column++) {
    const ProtobufCBinaryData *name = &answer->rows->column[column];
    char *full = base_printf("%.*s%s", (int)name->len, (const char *)name->data, form_of(answer, column)->suffix);
    csv_cell(out, full, strlen(full), column + 1 == columns);
    free(full);
  }
  for (size_t row = 0; row < answer->row_count; row++)
    for (size_t column = 0; column < columns; column++) {
      char text[HUMAN_BYTES];
      ProtobufCBinaryData cell = answer_cell(answer, row, (int)column);
      int64_t number = answer_number(answer, row, (int)column, -1);
      uint32_t type = answer->rows->type[column];
      const char *shown = (const char *)cell.data;
      if (cell.len > 0 && type == SHARDD__COLUMN_TYPE__COLUMN_TIME)
        shown = human_utc(number < 0 ? 0 : (uint64_t)number, text);
      if (cell.len > 0 && type == SHARDD__COLUMN_TYPE__COLUMN_RATIO) {
        (void)snprintf(text, sizeof text, "%.6f", (double)number / 1e6);
        shown = text;
      }
      if (cell.len > 0 && type == SHARDD__COLUMN_TYPE__COLUMN_NUMBER) {
        (void)snprintf(text, sizeof text, "%.3f", (double)number / 1e3);
        shown = text;
      }
      csv_cell(out, shown, shown == text ? strlen(text) : cell.len, column + 1 == columns);
    }
  return ferror(out) ? -1 : 0;
}

// Without what commands a terminal: the file may be shown on one. Bytes that are no UTF-8 stay, for whoever looks for
// such an id, unless this is a terminal.
static void csv_safe(FILE *out, const char *text, size_t n) {
  bool terminal = isatty(fileno(out));
  char *safe = human_safe(text, n, terminal ? ESCAPE_TEXT : ESCAPE_BYTES);
  for (const char *at = safe; *at != '\0'; at++) {
    if (*at == '"') fputc('"', out);
    fputc(*at, out);
  }
  free(safe);
}

// In quotes where a reader needs them; what a spreadsheet would take for a formula begins with a quote mark.
static void csv_cell(FILE *out, const char *text, size_t n, bool last) {
  bool formula = n > 1 && (memchr("=+-", text[0], 3) != NULL || (text[0] == '@' && memchr(text, '(', n) != NULL));
  bool quotes = formula;
  for (size_t i = 0; i < n; i++)
    quotes |= text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r';
  fputs(quotes ? "\"" : "", out);
  if (formula) fputc('\'', out);
  csv_safe(out, text, n);
  fputs(quotes ? "\"" : "", out);
  fputs(last ? "\r\n" : ",", out);
}

static json_t *json_of_int(int64_t number) {
  return json_integer(number);
}

static json_t *json_of_time(int64_t ms) {
  char text[HUMAN_BYTES];
  return json_string(human_utc(ms < 0 ? 0 : (uint64_t)ms, text));
}

static json_t *json_of_ratio(int64_t ppm) {
  return json_real((double)ppm / 1e6);
}

static json_t *json_of_number(int64_t milli) {
  return json_real((double)milli / 1e3);
}

// Types that a newer server has and we do not know are texts.
static const struct form *form_of(const struct answer *answer, size_t column) {
  uint32_t type = answer->rows->type[column];
  return &forms[type < COUNT_OF(forms) ? type : (uint32_t)SHARDD__COLUMN_TYPE__COLUMN_TEXT];
}

static char *shown_cell(const struct answer *answer, size_t row, size_t column) {
  const struct form *form = form_of(answer, column);
  ProtobufCBinaryData cell = answer_cell(answer, row, (int)column);
  if (cell.len == 0) return base_strdup("-");
  int64_t number = answer_number(answer, row, (int)column, -1);
  if (form->show == NULL || number < 0) return first_line(cell);
  char text[HUMAN_BYTES];
  return base_strdup(form->show((uint64_t)number, text));
}

static char *first_line(ProtobufCBinaryData cell) {
  const uint8_t *newline = memchr(cell.data, '\n', cell.len);
  if (newline == NULL) return human_safe(cell.data, cell.len, ESCAPE_LINE);
  size_t first = (size_t)(newline - cell.data), more = 1;
  for (size_t i = first + 1; i + 1 < cell.len; i++)
    more += cell.data[i] == '\n';
  char *safe = human_safe(cell.data, first, ESCAPE_LINE);
  if (first + 1 == cell.len) return safe;
  char *both = base_printf("%s (+%zu)", safe, more);
  free(safe);
  return both;
}

static bool is_former(const struct answer *answer, size_t column) {
  const ProtobufCBinaryData *name = &answer->rows->column[column];
  if (answer_column(answer, "wall") == ANSWER_NO_COLUMN) return false;
  for (size_t i = 0; i < COUNT_OF(former); i++)
    if (name->len == strlen(former[i]) && memcmp(name->data, former[i], name->len) == 0) return true;
  return false;
}

static void print_line(FILE *out, const struct answer *answer, char **cells, const size_t *widths) {
  for (size_t column = 0; column < answer->column_count; column++) {
    if (is_former(answer, column)) continue;
    size_t padding = widths[column] - human_width(cells[column]);
    bool right = form_of(answer, column)->right, last = column + 1 == answer->column_count;
    if (right) fprintf(out, "%*s", (int)padding, "");
    fputs(cells[column], out);
    if (!last) fprintf(out, "%*s", (int)(right ? GAP : padding + GAP), "");
  }
}

static json_t *json_of_cell(const struct answer *answer, size_t row, size_t column) {
  const struct form *form = form_of(answer, column);
  ProtobufCBinaryData cell = answer_cell(answer, row, (int)column);
  if (form->json == NULL) return json_of_bytes(cell);
  int64_t none = INT64_MIN, number = answer_number(answer, row, (int)column, none);
  return checked(number == none ? json_null() : form->json(number));
}

static json_t *json_of_bytes(ProtobufCBinaryData cell) {
  if (cell.len == 0) return json_null();
  json_t *text = json_stringn((const char *)cell.data, cell.len);
  if (text != NULL) return text;
  char *safe = mended(cell);
  text = checked(json_string_nocheck(safe));
  free(safe);
  return text;
}

// Malformed bytes as \xNN, all else as it is: a reader sees which bytes they were.
static char *mended(ProtobufCBinaryData cell) {
  char *out = base_malloc(cell.len * 4 + 1);
  size_t at = 0;
  for (size_t i = 0; i < cell.len;) {
    size_t length = utf8_length(cell.data + i, cell.len - i);
    if (length == 0) {
      at += (size_t)snprintf(out + at, 5, "\\x%02x", cell.data[i++]);
      continue;
    }
    memcpy(out + at, cell.data + i, length);
    at += length;
    i += length;
  }
  out[at] = '\0';
  return out;
}

// Length of the character at p, 0 when it is malformed; jansson itself is the judge of what is UTF-8.
static size_t utf8_length(const unsigned char *p, size_t n) {
  for (size_t length = 1; length <= 4 && length <= n; length++) {
    json_t *text = json_stringn((const char *)p, length);
    if (text == NULL) continue;
    json_decref(text);
    return p[0] == '\0' ? 0 : length;
  }
  return 0;
}

static json_t *checked(json_t *value) {
  if (value == NULL) base_die(EXIT_INFRA, "out of memory (JSON)");
  return value;
}
