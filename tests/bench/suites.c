// Timing histories for the benchmarks. Reads CSV through gzip where needed; the generated ones depend on their seed
// alone.
#include "tests/bench/suites.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/map.h"

uint64_t suite_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * UINT64_C(2685821657736338717);
}

double suite_uniform(uint64_t *state) {
  return ((double)(suite_random(state) >> 11) + 0.5) / 9007199254740992.0;
}

double suite_normal(uint64_t *state) {
  return sqrt(-2 * log(suite_uniform(state))) * cos(6.283185307179586 * suite_uniform(state));
}

static struct suite *suite_new(const char *name, uint32_t room) {
  struct suite *suite = base_calloc(1, sizeof *suite);
  const char *slash = strrchr(name, '/');
  snprintf(suite->name, sizeof suite->name, "%s", slash ? slash + 1 : name);
  suite->name[strcspn(suite->name, ".")] = '\0';
  suite->file_of = base_calloc(room, sizeof *suite->file_of);
  suite->unit_of = base_calloc(room, sizeof *suite->unit_of);
  suite->actual_us = base_calloc(room, sizeof *suite->actual_us);
  suite->history = base_calloc(room, sizeof *suite->history);
  suite->setup_us = base_calloc(room, sizeof *suite->setup_us);
  return suite;
}

void suite_free(struct suite *suite) {
  if (!suite) return;
  free(suite->file_of);
  free(suite->unit_of);
  free(suite->actual_us);
  free(suite->history);
  free(suite->setup_us);
  free(suite);
}

// ---- reading

struct suite_reader {
  struct suite *suite;
  struct map files;
  bool phases;
};

static double suite_number(const char *text) {
  char *end;
  errno = 0;
  double value = strtod(text, &end);
  return end == text || errno || !(value >= 0) || value > 1e6 ? -1 : value;
}

static void suite_learn_history(struct estimate_history *history, char *text) {
  char *rest = text, *word;
  while ((word = strsep(&rest, " ;|"))) {
    double seconds = word[0] ? suite_number(word) : -1;
    if (seconds >= 0) (void)estimate_learn(history, 0, (uint64_t)(seconds * 1e6), 0, false);
  }
}

// The fields of a line: file, test, then numbers; NULL when there are too few.
static char *suite_fields(char *line, char **file) {
  char *rest = line;
  line[strcspn(line, "\r\n")] = '\0';
  *file = strsep(&rest, ",");
  return strsep(&rest, ",") ? rest : NULL;
}

static int suite_read_line(struct suite_reader *reader, char *line) {
  struct suite *suite = reader->suite;
  char *file, *rest = suite_fields(line, &file);
  bool added;
  if (!rest) return -1;
  uint32_t at = suite->count;
  char *first = strsep(&rest, ",");
  double seconds = suite_number(first);
  if (reader->phases && rest) {
    double call = suite_number(strsep(&rest, ",")), teardown = rest ? suite_number(rest) : -1;
    seconds = seconds < 0 || call < 0 || teardown < 0 ? -1 : seconds + call + teardown;
  } else if (rest) {
    suite_learn_history(&suite->history[at], rest);
  }
  if (seconds < 0) return -1;
  suite->file_of[at] = map_add(&reader->files, file, strlen(file), &added);
  suite->unit_of[at] = at;
  suite->actual_us[at] = (uint64_t)(seconds * 1e6);
  suite->count++;
  return 0;
}

static FILE *suite_open(const char *path) {
  size_t n = strlen(path);
  if (n < 3 || strcmp(path + n - 3, ".gz") != 0) return fopen(path, "re");
  char *command = base_printf("exec gzip -dc '%s'", path);
  FILE *file = popen(command, "re");
  free(command);
  return file;
}

static int suite_read(struct suite_reader *reader, FILE *file, const char *path) {
  char line[4096];
  if (!fgets(line, sizeof line, file)) return -1;
  reader->phases = strstr(line, "setup") != NULL;
  for (unsigned number = 2; fgets(line, sizeof line, file); number++) {
    if (reader->suite->count < 100000 && suite_read_line(reader, line) == 0) continue;
    fprintf(stderr, "%s:%u: no test with its duration\n", path, number);
    return -1;
  }
  reader->suite->file_count = reader->files.count;
  return reader->suite->count ? 0 : -1;
}

struct suite *suite_load(const char *path) {
  FILE *file = suite_open(path);
  if (!file) return NULL;
  struct suite_reader reader = {.suite = suite_new(path, 100000)};
  map_init(&reader.files, 1);
  int result = suite_read(&reader, file, path);
  map_release(&reader.files);
  size_t n = strlen(path);
  bool packed = n > 3 && strcmp(path + n - 3, ".gz") == 0;
  // cppcheck-suppress doubleFree
  bool closed = packed ? pclose(file) == 0 : fclose(file) == 0;
  if (result == 0 && closed) return reader.suite;
  suite_free(reader.suite);
  return NULL;
}

// ---- making

struct suite *suite_generate(const char *name, uint32_t count, uint32_t per_file, double median_s, double sigma,
                             uint64_t seed) {
  struct suite *suite = suite_new(name, count);
  uint32_t file = 0, left = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (left == 0) {
      left = 1 + (uint32_t)(suite_random(&seed) % (2 * per_file));
      file = suite->file_count++;
    }
    left--;
    suite->file_of[i] = file;
    suite->unit_of[i] = i;
    suite->actual_us[i] = (uint64_t)(1e6 * median_s * exp(sigma * suite_normal(&seed)));
  }
  suite->count = count;
  return suite;
}

void suite_set_setups(struct suite *suite, double median_s, double sigma, uint64_t seed) {
  for (uint32_t i = 0; i < suite->file_count; i++) {
    suite->setup_us[i] = median_s > 0 ? (uint64_t)(1e6 * median_s * exp(sigma * suite_normal(&seed))) : 0;
  }
}

void suite_set_noise(struct suite *suite, double sigma, double unknown, uint64_t seed) {
  for (uint32_t i = 0; i < suite->count; i++) {
    double factor = exp(sigma * suite_normal(&seed));
    double u = suite_uniform(&seed);
    if (u < 0.05) factor *= u < 0.025 ? 4 : 0.25;
    suite->history[i] = (struct estimate_history){0};
    if (suite_uniform(&seed) < unknown) continue;
    (void)estimate_learn(&suite->history[i], 0, (uint64_t)((double)suite->actual_us[i] * factor), 0, false);
  }
}
