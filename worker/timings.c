// Durations of tests from CSV. Called by plan.c and durations.c. The file comes from people and scripts: a row that is
// wrong is told with its place and left out, and every bound is checked before anything is kept.
#include "worker/timings.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config/escape.h"
#include "proto/msg.h"
#include "worker/csv.h"
#include "worker/seconds.h"

enum { SHOWN_BYTES = 120, NONE = -1, PHASES = 3 };

// Places of columns in a record; NONE: there is no such column.
struct columns {
  int file, test, seconds, phase[PHASES];
  size_t count;
};

struct reading {
  const char *name;
  struct csv *csv;
  struct columns columns;
  struct timings timings;
  struct csv_place *place;  // of each test's name
  uint64_t *comma_us;       // its time with a decimal comma
  struct seconds_seen seen;
  size_t room;
  char *unit;  // what the tests of the last unit have in common
  uint32_t unit_number;
  char *why;
  size_t why_size;
};

static int read_header(struct reading *reading);
static int name_column(struct reading *reading, const struct csv_field *field, int index);
static int need_columns(struct reading *reading);
static int read_test(struct reading *reading, const struct csv_field *fields, size_t count);
static int read_duration(struct reading *reading, const struct csv_field *fields, struct seconds *time);
static int read_seconds(struct reading *reading, const struct csv_field *field, struct seconds *time);
static int add_test(struct reading *reading, const struct csv_field *file, const struct csv_field *test,
                    const struct seconds *time);
static char *id_of(const struct csv_field *file, const struct csv_field *test);
static uint32_t unit_of(struct reading *reading, const char *id, size_t file_bytes);
static void leave_out(struct reading *reading);
static int wrong_again(struct reading *reading);
static void drop_twice(struct reading *reading);
static int wrong(struct reading *reading, struct csv_place place, const char *fmt, ...) PRINTF(3, 4);

int timings_read(struct timings *timings, FILE *in, const char *name, char *why, size_t why_size) {
  struct reading reading = {.name = name, .csv = csv_new(in), .why = why, .why_size = why_size};
  const struct csv_field *fields;
  struct csv_place place;
  const char *what;
  size_t count;
  int found = 1;
  reading.timings.list = testlist_new();
  int rc = read_header(&reading);
  while (rc == 0 && (found = csv_next(reading.csv, &fields, &count, &place, &what)) != 0 && found != -1) {
    reading.timings.rows++;
    bool full = testlist_count(reading.timings.list) >= MSG_LIST_MAX;
    int row = found == CSV_ODD ? wrong(&reading, place, "%s", what) : read_test(&reading, fields, count);
    if (row != 0 && full) rc = -1;
    if (row != 0 && !full) leave_out(&reading);
  }
  if (rc == 0 && found < 0) rc = wrong(&reading, place, "%s", what);
  if (rc == 0 && testlist_count(reading.timings.list) == 0)
    rc = reading.timings.left_out > 0 ? wrong_again(&reading)
                                      : wrong(&reading, csv_place(reading.csv), "no test stands below the header");
  if (rc == 0) drop_twice(&reading);
  for (size_t i = 0; rc == 0 && seconds_decimal_comma(&reading.seen) && i < testlist_count(reading.timings.list); i++)
    reading.timings.duration_us[i] = reading.comma_us[i];
  csv_free(reading.csv);
  free(reading.place);
  free(reading.comma_us);
  free(reading.unit);
  if (rc == 0)
    *timings = reading.timings;
  else
    timings_release(&reading.timings);
  return rc;
}

void timings_release(struct timings *timings) {
  testlist_free(timings->list);
  free(timings->duration_us);
  *timings = (struct timings){0};
}

// ---- the header

static int read_header(struct reading *reading) {
  const struct csv_field *fields;
  struct csv_place place;
  const char *what;
  size_t count;
  struct columns *columns = &reading->columns;
  *columns = (struct columns){.file = NONE, .test = NONE, .seconds = NONE, .phase = {NONE, NONE, NONE}};
  int found = csv_next(reading->csv, &fields, &count, &place, &what);
  if (found < 0) return wrong(reading, place, "%s", what);
  if (found == 0) return wrong(reading, csv_place(reading->csv), "the file is empty; it begins with file,test,seconds");
  columns->count = count;
  for (size_t i = 0; i < count; i++)
    if (name_column(reading, &fields[i], (int)i) != 0) return -1;
  return need_columns(reading);
}

static int name_column(struct reading *reading, const struct csv_field *field, int index) {
  struct columns *columns = &reading->columns;
  const struct {
    const char *name;
    int *place;
  } names[] = {{"file", &columns->file},      {"test", &columns->test},     {"seconds", &columns->seconds},
               {"setup", &columns->phase[0]}, {"call", &columns->phase[1]}, {"teardown", &columns->phase[2]}};
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    if (strcmp(field->text, names[i].name) != 0) continue;
    if (*names[i].place != NONE)
      return wrong(reading, field->place, "the header names the column \"%s\" twice", names[i].name);
    *names[i].place = index;
  }
  return 0;
}

static int need_columns(struct reading *reading) {
  const struct columns *columns = &reading->columns;
  bool phases = columns->phase[0] != NONE && columns->phase[1] != NONE && columns->phase[2] != NONE;
  const char *missing = columns->file == NONE                 ? "\"file\""
                        : columns->test == NONE               ? "\"test\""
                        : columns->seconds == NONE && !phases ? "\"seconds\" (nor setup, call and teardown)"
                                                              : NULL;
  if (missing == NULL) return 0;
  return wrong(reading, (struct csv_place){1, 1},
               "the header names no column %s; a file of timings begins with file,test,seconds", missing);
}

// ---- tests

static int read_test(struct reading *reading, const struct csv_field *fields, size_t count) {
  const struct columns *columns = &reading->columns;
  struct seconds time = {0};
  if (count != columns->count) {
    size_t shown = count > columns->count ? columns->count : count - 1;
    return wrong(reading, fields[shown].place, "%zu fields, where the header names %zu columns", count, columns->count);
  }
  const struct csv_field *file = &fields[columns->file], *test = &fields[columns->test];
  if (test->bytes == 0) return wrong(reading, test->place, "the test has no name");
  if (file->bytes > MSG_NAME_MAX_BYTES)
    return wrong(reading, file->place, "the file's name is longer than %d bytes", MSG_NAME_MAX_BYTES);
  if (read_duration(reading, fields, &time) != 0) return -1;
  return add_test(reading, file, test, &time);
}

static int read_duration(struct reading *reading, const struct csv_field *fields, struct seconds *time) {
  const struct columns *columns = &reading->columns;
  struct seconds sum = {0};
  if (columns->seconds != NONE) return read_seconds(reading, &fields[columns->seconds], time);
  for (size_t i = 0; i < PHASES; i++) {
    struct seconds phase;
    if (read_seconds(reading, &fields[columns->phase[i]], &phase) != 0) return -1;
    sum.us += phase.us;
    sum.comma_us += phase.comma_us;
  }
  if (sum.us > LIMIT_TEST_US || sum.comma_us > LIMIT_TEST_US)
    return wrong(reading, fields[columns->phase[0]].place, "the phases together are longer than a week");
  *time = sum;
  return 0;
}

static int read_seconds(struct reading *reading, const struct csv_field *field, struct seconds *time) {
  char shown[SHOWN_BYTES];
  if (seconds_read(field->text, SECONDS_UNIT_US, &reading->seen, time) == 0) return 0;
  return wrong(reading, field->place, "%s seconds: a test takes " LIMIT_TEST_TEXT,
               base_quote(shown, sizeof shown, field->text, field->bytes));
}

static int add_test(struct reading *reading, const struct csv_field *file, const struct csv_field *test,
                    const struct seconds *time) {
  struct testlist *list = reading->timings.list;
  size_t at = testlist_count(list);
  if (at == reading->room) {
    reading->room = reading->room ? 2 * reading->room : 1024;
    reading->place = base_realloc(reading->place, reading->room, sizeof *reading->place);
    reading->comma_us = base_realloc(reading->comma_us, reading->room, sizeof *reading->comma_us);
    reading->timings.duration_us = base_realloc(reading->timings.duration_us, reading->room, sizeof(uint64_t));
  }
  char *id = id_of(file, test);
  int rc = testlist_add(list, id, strlen(id), file->bytes ? file->text : NULL, unit_of(reading, id, file->bytes));
  const char *what = at >= MSG_LIST_MAX              ? "more tests than a build may have (500000)"
                     : strlen(id) > MSG_ID_MAX_BYTES ? "the test's id, FILE::TEST, is longer than 4096 bytes"
                                                     : "the test's name holds a line break";
  free(id);
  if (rc != 0) return wrong(reading, test->place, "%s", what);
  reading->place[at] = test->place;
  reading->timings.duration_us[at] = time->us;
  reading->comma_us[at] = time->comma_us;
  return 0;
}

static char *id_of(const struct csv_field *file, const struct csv_field *test) {
  bool whole = file->bytes == 0 ||
               (strncmp(test->text, file->text, file->bytes) == 0 && strncmp(test->text + file->bytes, "::", 2) == 0);
  return whole ? base_strdup(test->text) : base_printf("%s::%s", file->text, test->text);
}

// As the pytest runner has it: the outermost class, else the function without its parameters.
static uint32_t unit_of(struct reading *reading, const char *id, size_t file_bytes) {
  const char *rest = file_bytes ? id + file_bytes + 2 : id, *class = strstr(rest, "::");
  size_t function = strcspn(rest, "["), n = (size_t)(rest - id) + function;
  if (class != NULL && (size_t)(class - rest) < function) n = (size_t)(class - id);
  if (reading->unit == NULL || strlen(reading->unit) != n || memcmp(reading->unit, id, n) != 0) {
    free(reading->unit);
    reading->unit = base_memdup0(id, n);
    reading->unit_number++;
  }
  return reading->unit_number;
}

// The reason is in why.
static void leave_out(struct reading *reading) {
  struct timings *timings = &reading->timings;
  if (timings->left_out++ > 0) return;
  (void)snprintf(timings->first_left_out, sizeof timings->first_left_out, "%s", reading->why);
}

// Of a test that several rows name the first stays.
static void drop_twice(struct reading *reading) {
  struct testlist *list = reading->timings.list, *once;
  size_t count = testlist_count(list), kept = 0;
  if (testlist_seal(list) == 0) return;
  uint32_t *first = base_calloc(count, sizeof *first);  // by number: line of the first row
  once = testlist_new();
  for (size_t i = 0; i < count; i++) {
    const char *id = testlist_id(list, i);
    int64_t number = testlist_find(list, id, strlen(id));
    if (first[number] == 0) {
      first[number] = reading->place[i].line;
      reading->timings.duration_us[kept] = reading->timings.duration_us[i];
      reading->comma_us[kept++] = reading->comma_us[i];
      if (testlist_add(once, id, strlen(id), testlist_file(list, i), testlist_unit(list, i)) == 0) continue;
    }
    char shown[SHOWN_BYTES];
    (void)wrong(reading, reading->place[i], "line %u names the test %s already", first[number],
                base_quote(shown, sizeof shown, id, strlen(id)));
    leave_out(reading);
  }
  free(first);
  testlist_free(list);
  reading->timings.list = once;
  (void)testlist_seal(once);
}

// No row could be read: the first reason is the file's.
static int wrong_again(struct reading *reading) {
  (void)snprintf(reading->why, reading->why_size, "%s", reading->timings.first_left_out);
  return -1;
}

static int wrong(struct reading *reading, struct csv_place place, const char *fmt, ...) {
  char *name = base_malloc(4 * strlen(reading->name) + 1), text[400];
  va_list args;
  name[escape_bytes(name, 4 * strlen(reading->name), reading->name, strlen(reading->name), ESCAPE_LINE)] = '\0';
  va_start(args, fmt);
  (void)vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  (void)snprintf(reading->why, reading->why_size, "%.200s:%u:%u: %s", name, place.line, place.column, text);
  free(name);
  return -1;
}
