// Reads durations from files that other tools wrote. Called by import.c and export.c. Every file is hostile: sizes are
// checked before anything is kept, and what is wrong is told with its line.
#include "worker/durations.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/files.h"
#include "proto/msg.h"
#include "worker/human.h"
#include "worker/junit.h"
#include "worker/junit_id.h"
#include "worker/timings.h"

static int read_split(struct durations *durations, const char *path, char *why, size_t why_size);
static int read_junit(struct durations *durations, const char *path, char *why, size_t why_size);
static int read_csv(struct durations *durations, const char *path, char *why, size_t why_size);

typedef int read_fn(struct durations *durations, const char *path, char *why, size_t why_size);
static read_fn *const readers[] = {
    [DURATIONS_SPLIT] = read_split,
    [DURATIONS_JUNIT] = read_junit,
    [DURATIONS_CSV] = read_csv,
};

static char *read_whole(const char *path, size_t *n, char *why, size_t why_size);
static int add_split(struct durations *durations, const char *id, size_t id_bytes, const json_t *value);
static size_t line_of(const char *text, size_t n, const char *key, size_t key_bytes);
static void on_case(void *arg, const struct junit_case *testcase);
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
  if (durations->count >= MSG_LIST_MAX || us > MSG_EXPECTED_MAX_US || !msg_id_valid(id, id_bytes)) return -1;
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

// ---- .test_durations: {"ID": SECONDS, ...}

static int read_split(struct durations *durations, const char *path, char *why, size_t why_size) {
  size_t n, bytes;
  json_error_t error;
  const char *id;
  json_t *value;
  char *text = read_whole(path, &n, why, why_size);
  if (text == NULL) return -1;
  json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
  int rc = json_is_object(root) ? 0 : -1;
  char *quoting = human_safe(error.text, strlen(error.text), ESCAPE_LINE);  // it quotes the file
  if (root == NULL)
    (void)snprintf(why, why_size, "%s:%d: %s", path, error.line, quoting);
  else if (rc != 0)
    (void)snprintf(why, why_size, "%s:1: this is no object of tests and their seconds", path);
  json_object_keylen_foreach(root, id, bytes, value) {
    if (rc != 0 || add_split(durations, id, bytes, value) == 0) continue;
    char *safe = human_safe(id, bytes < 200 ? bytes : 200, ESCAPE_LINE);
    const char *what = durations->count >= MSG_LIST_MAX ? "there are more tests than 500,000"
                       : !msg_id_valid(id, bytes) ? "this is no id of a test: it is empty, too long or has a line break"
                                                  : "a test takes from 0 seconds to a week";
    (void)snprintf(why, why_size, "%s:%zu: %s: %s", path, line_of(text, n, id, bytes), safe, what);
    free(safe);
    rc = -1;
  }
  json_decref(root);
  free(quoting);
  free(text);
  return rc;
}

static int add_split(struct durations *durations, const char *id, size_t id_bytes, const json_t *value) {
  double seconds = json_is_number(value) ? json_number_value(value) : -1;
  if (!(seconds >= 0 && seconds * 1e6 <= (double)MSG_EXPECTED_MAX_US)) return -1;
  const char *end = memmem(id, id_bytes, "::", 2);
  char *file = end != NULL && end - id <= MSG_NAME_MAX_BYTES ? base_memdup0(id, (size_t)(end - id)) : NULL;
  int rc = durations_add(durations, id, id_bytes, file, (uint64_t)llround(seconds * 1e6));
  free(file);
  return rc;
}

// The line on which a key stands, as the usual writers write it; 1 when it is written otherwise.
static size_t line_of(const char *text, size_t n, const char *key, size_t key_bytes) {
  json_t *string = json_stringn(key, key_bytes);
  char *forms[] = {durations_json(key, key_bytes), string != NULL ? json_dumps(string, JSON_ENCODE_ANY) : NULL};
  const char *found = NULL;
  size_t line = 1;
  for (size_t i = 0; i < COUNT_OF(forms); i++) {
    if (found == NULL && forms[i] != NULL) found = memmem(text, n, forms[i], strlen(forms[i]));
    free(forms[i]);
  }
  for (const char *at = text; found != NULL && (at = memchr(at, '\n', (size_t)(found - at))) != NULL; at++)
    line++;
  json_decref(string);
  return line;
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

static char *read_whole(const char *path, size_t *n, char *why, size_t why_size) {
  const char *problem;
  FILE *file = files_read(path, FILES_STREAM, &problem);
  char *text = NULL;
  size_t room = 0;
  *n = 0;
  if (file == NULL) {
    (void)snprintf(why, why_size, "%s: %s", path, problem);
    return NULL;
  }
  do {
    room = room ? 2 * room : 64 * 1024;
    text = base_realloc(text, room, 1);
    *n += fread(text + *n, 1, room - *n, file);
  } while (*n == room && *n <= DURATIONS_MAX_BYTES);
  if (ferror(file) || *n > DURATIONS_MAX_BYTES) {
    (void)snprintf(why, why_size, "%s: %s", path, ferror(file) ? strerror(errno) : "is over 64 MiB");
    free(text);
    text = NULL;
  }
  (void)fclose(file);
  return text;
}

// ---- JUnit XML

struct junit_reading {
  struct durations *durations;
  bool full;
};

static int read_junit(struct durations *durations, const char *path, char *why, size_t why_size) {
  struct junit_reading reading = {.durations = durations};
  if (junit_read_file(path, on_case, &reading, why, why_size) != 0) return -1;
  if (!reading.full) return 0;
  (void)snprintf(why, why_size, "%s: there are more tests than 500,000", path);
  return -1;
}

static void on_case(void *arg, const struct junit_case *testcase) {
  struct junit_reading *reading = arg;
  struct durations *durations = reading->durations;
  if (testcase->name == NULL || !testcase->has_time || testcase->status != JUNIT_PASSED) {
    durations->skipped++;
    return;
  }
  bool told = testcase->id[0] != '\0';
  char *file = told ? base_strdup(testcase->file) : NULL;
  char *id = told ? base_strdup(testcase->id) : junit_id(testcase->file, testcase->classname, testcase->name, &file);
  reading->full |= durations->count >= MSG_LIST_MAX;
  if (id == NULL || durations_add(durations, id, strlen(id), file, testcase->time_us) != 0) durations->nameless++;
  free(id);
  free(file);
}

// ---- CSV

static int read_csv(struct durations *durations, const char *path, char *why, size_t why_size) {
  struct timings timings;
  const char *problem;
  FILE *in = files_read(path, FILES_STREAM, &problem);
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
  timings_release(&timings);
  return rc;
}
