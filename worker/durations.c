// Reads durations from files that other tools wrote. Called by import.c and export.c. Every file is hostile: sizes are
// checked before anything is kept, and what is wrong is told with its line.
#include "worker/durations.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/escape.h"
#include "config/files.h"
#include "worker/decode.h"
#include "worker/durations_split.h"
#include "worker/here.h"
#include "worker/human.h"
#include "worker/junit.h"
#include "worker/junit_id.h"
#include "worker/limits.h"
#include "worker/timings.h"

static int read_junit(struct durations *durations, const char *path, char *why, size_t why_size);
static int read_csv(struct durations *durations, const char *path, char *why, size_t why_size);

typedef int read_fn(struct durations *durations, const char *path, char *why, size_t why_size);
static read_fn *const readers[] = {
    [DURATIONS_SPLIT] = durations_split_read,
    [DURATIONS_JUNIT] = read_junit,
    [DURATIONS_CSV] = read_csv,
};

static void on_case(void *arg, const struct junit_case *testcase);
struct junit_reading;
static void keep_comma(struct junit_reading *reading, uint64_t us);
static int compare(const void *a, const void *b);

void durations_init(struct durations *durations) {
  *durations = (struct durations){0};
}

void durations_release(struct durations *durations) {
  for (size_t i = 0; i < durations->count; i++) {
    free(durations->test[i].id);
    free(durations->test[i].file);
  }
  free(durations->test);
  durations_init(durations);
}

enum durations_format durations_format(enum durations_format format, const char *path) {
  size_t n = strlen(path);
  if (format != DURATIONS_AUTO) return format;
  if (n >= 4 && strcmp(path + n - 4, ".xml") == 0) return DURATIONS_JUNIT;
  return n >= 4 && strcmp(path + n - 4, ".csv") == 0 ? DURATIONS_CSV : DURATIONS_SPLIT;
}

int durations_read(struct durations *durations, const char *path, enum durations_format format, char *why,
                   size_t why_size) {
  return readers[durations_format(format, path)](durations, path, why, why_size);
}

int durations_add(struct durations *durations, const char *id, size_t id_bytes, const char *file, uint64_t us) {
  if (durations->count >= MSG_LIST_MAX || us > LIMIT_TEST_US || !msg_id_valid(id, id_bytes)) return -1;
  if (file != NULL && strlen(file) > MSG_NAME_MAX_BYTES) return -1;
  if (durations->count == durations->room) {
    durations->room = durations->room ? 2 * durations->room : 1024;
    durations->test = base_realloc(durations->test, durations->room, sizeof *durations->test);
  }
  durations->test[durations->count] =
      (struct durations_test){.id = base_memdup0(id, id_bytes),
                              .file = file != NULL && file[0] != '\0' ? base_strdup(file) : NULL,
                              .us = us,
                              .order = durations->count};
  durations->count++;
  return 0;
}

void durations_leave_out(struct durations *durations, const char *fmt, ...) {
  va_list args;
  if (durations->left_out++ > 0) return;
  va_start(args, fmt);
  (void)vsnprintf(durations->first_left_out, sizeof durations->first_left_out, fmt, args);
  va_end(args);
}

void durations_sort(struct durations *durations) {
  struct durations_test *test = durations->test;
  size_t kept = 0;
  if (durations->count > 0) qsort(test, durations->count, sizeof *test, compare);
  for (size_t i = 0; i < durations->count; i++) {
    if (i + 1 < durations->count && strcmp(test[i].id, test[i + 1].id) == 0) {
      free(test[i].id);
      free(test[i].file);
    } else {
      test[kept++] = test[i];
    }
  }
  durations->count = kept;
}

static int compare(const void *a, const void *b) {
  const struct durations_test *x = a, *y = b;
  int rc = strcmp(x->id, y->id);
  return rc != 0 ? rc : (x->order > y->order) - (x->order < y->order);
}

char *durations_json(const char *id, size_t id_bytes) {
  json_t *string = json_stringn(id, id_bytes);
  char *text = string != NULL ? json_dumps(string, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
  json_decref(string);
  for (char *at = text; at != NULL && (at = strchr(at, '\\')) != NULL; at += 2)
    for (size_t i = 2; at[1] == 'u' && i < 6; i++)
      if (at[i] >= 'A' && at[i] <= 'F') at[i] = (char)(at[i] - 'A' + 'a');
  return text;
}

// ---- JUnit XML

struct junit_reading {
  struct durations *durations;
  const char *path;
  struct here *here;
  uint64_t *comma_us;  // per test from `first` on: its time with a decimal comma
  size_t first, room;
  bool full;
};

static int read_junit(struct durations *durations, const char *path, char *why, size_t why_size) {
  struct junit_reading reading = {.durations = durations, .path = path, .here = here_new(), .first = durations->count};
  struct junit_notes notes;
  int rc = junit_read_file(path, on_case, &reading, &notes, why, why_size);
  for (size_t i = reading.first; notes.decimal_comma && i < durations->count; i++)
    durations->test[i].us = reading.comma_us[i - reading.first];
  if (rc == 0 && notes.lost[0] && !durations->lost[0])
    (void)snprintf(durations->lost, sizeof durations->lost, "%.200s: %s", path, notes.lost);
  here_free(reading.here);
  free(reading.comma_us);
  if (rc == 0 && reading.full) {
    (void)snprintf(why, why_size, "%s: there are more tests than 500,000", path);
    rc = -1;
  }
  return rc;
}

static void on_case(void *arg, const struct junit_case *testcase) {
  struct junit_reading *reading = arg;
  struct durations *durations = reading->durations;
  durations->rows++;
  if (testcase->odd_time) {
    char *safe = human_safe(testcase->name, strnlen(testcase->name, 200), ESCAPE_LINE);
    durations_leave_out(durations, "%s: %s: a test takes " LIMIT_TEST_TEXT, reading->path, safe);
    free(safe);
    return;
  }
  if (testcase->name == NULL || !testcase->has_time || testcase->status != JUNIT_PASSED) {
    durations->skipped++;
    return;
  }
  bool told = testcase->id[0] != '\0';
  const char *path = here_path(reading->here, testcase->file);
  char *file = told ? base_strdup(testcase->file) : NULL;
  char *id = told ? base_strdup(testcase->id) : junit_id(path, testcase->classname, testcase->name, &file);
  reading->full |= durations->count >= MSG_LIST_MAX;
  if (id == NULL || durations_add(durations, id, strlen(id), file, testcase->time_us) != 0)
    durations->nameless++;
  else
    keep_comma(reading, testcase->comma_us);
  free(id);
  free(file);
}

static void keep_comma(struct junit_reading *reading, uint64_t us) {
  size_t at = reading->durations->count - 1 - reading->first;
  if (at >= reading->room) {
    reading->room = 2 * at + 64;
    reading->comma_us = base_realloc(reading->comma_us, reading->room, sizeof *reading->comma_us);
  }
  reading->comma_us[at] = us;
}

// ---- CSV

static int read_csv(struct durations *durations, const char *path, char *why, size_t why_size) {
  struct timings timings;
  const char *problem;
  FILE *in = decode_stream(files_read(path, FILES_STREAM, &problem));
  if (in == NULL) {
    (void)snprintf(why, why_size, "%s: %s", path, problem);
    return -1;
  }
  int rc = timings_read(&timings, in, path, why, why_size);
  (void)fclose(in);
  if (rc != 0) return -1;
  for (size_t i = 0; i < testlist_count(timings.list) && rc == 0; i++) {
    const char *id = testlist_id(timings.list, i);
    rc = durations_add(durations, id, strlen(id), testlist_file(timings.list, i), timings.duration_us[i]);
  }
  if (rc != 0) (void)snprintf(why, why_size, "%s: there are more tests than 500,000", path);
  durations->rows += timings.rows;
  if (timings.left_out > 0) durations_leave_out(durations, "%s", timings.first_left_out);
  if (timings.left_out > 1) durations->left_out += timings.left_out - 1;
  timings_release(&timings);
  return rc;
}
