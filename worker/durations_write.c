// Writes durations in the three forms that durations.c reads. Called by export.c.
#include "worker/durations_write.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/human.h"
#include "worker/junit_write.h"

enum { SECOND_US = 1000000 };

struct output {
  FILE *out;
  const struct durations *durations;
  const char *suite;
  size_t left_out;  // ids that the form cannot hold
};

static int write_split(struct output *output, char *why, size_t why_size);
static int write_junit(struct output *output, char *why, size_t why_size);
static int write_csv(struct output *output, char *why, size_t why_size);

typedef int write_fn(struct output *output, char *why, size_t why_size);
static write_fn *const writers[] = {
    [DURATIONS_SPLIT] = write_split,
    [DURATIONS_JUNIT] = write_junit,
    [DURATIONS_CSV] = write_csv,
};

static void put_seconds(FILE *out, uint64_t us);
static void put_field(FILE *out, const char *text);
static void put_text(FILE *out, const char *text);

int durations_write(FILE *out, const struct durations *durations, enum durations_format format, const char *suite,
                    size_t *left_out, char *why, size_t why_size) {
  struct output output = {.out = out, .durations = durations, .suite = suite};
  int rc = writers[format](&output, why, why_size);
  *left_out = output.left_out;
  return rc;
}

// As pytest-split writes it: sorted, indented by four.
static int write_split(struct output *output, char *why, size_t why_size) {
  const struct durations *durations = output->durations;
  bool first = true;
  (void)why, (void)why_size;
  for (size_t i = 0; i < durations->count; i++) {
    const struct durations_test *test = &durations->test[i];
    char *text = durations_json(test->id, strlen(test->id));
    output->left_out += text == NULL;
    if (text == NULL) continue;
    (void)fprintf(output->out, "%s\n    %s: ", first ? "{" : ",", text);
    put_seconds(output->out, test->us);
    first = false;
    free(text);
  }
  (void)fputs(first ? "{}\n" : "\n}\n", output->out);
  return 0;
}

static int write_junit(struct output *output, char *why, size_t why_size) {
  const struct durations *durations = output->durations;
  struct junit_write *writer = junit_write_new(output->out, output->suite, "", base_wall_us(), why, why_size);
  if (writer == NULL) return -1;
  for (size_t i = 0; i < durations->count; i++) {
    const struct durations_test *test = &durations->test[i];
    struct junit_write_attempt attempt = {.status = RUNNER_PASSED, .duration_us = test->us};
    struct junit_write_case testcase = {.id = test->id, .file = test->file, .attempts = &attempt, .attempt_count = 1};
    junit_write_case(writer, &testcase);
  }
  return junit_write_finish(writer, why, why_size);
}

// A file is named where its tests' ids begin with it: what reads this puts it before the others.
static int write_csv(struct output *output, char *why, size_t why_size) {
  const struct durations *durations = output->durations;
  (void)why, (void)why_size;
  (void)fputs("file,test,seconds\n", output->out);
  for (size_t i = 0; i < durations->count; i++) {
    const struct durations_test *test = &durations->test[i];
    size_t n = test->file != NULL ? strlen(test->file) : 0;
    bool begins = n > 0 && strncmp(test->id, test->file, n) == 0 && strncmp(test->id + n, "::", 2) == 0;
    put_field(output->out, begins ? test->file : "");
    (void)fputc(',', output->out);
    put_field(output->out, test->id);
    (void)fputc(',', output->out);
    put_seconds(output->out, test->us);
    (void)fputc('\n', output->out);
  }
  return 0;
}

// Without needless zeros, as Python writes them.
static void put_seconds(FILE *out, uint64_t us) {
  char digits[16];
  int n = snprintf(digits, sizeof digits, "%06ju", (uintmax_t)(us % SECOND_US));
  while (n > 1 && digits[n - 1] == '0')
    n--;
  (void)fprintf(out, "%ju.%.*s", (uintmax_t)(us / SECOND_US), n, digits);
}

// As they are, so that what reads the file finds the same ids; on a terminal, safe to show.
static void put_field(FILE *out, const char *text) {
  char *shown = isatty(fileno(out)) ? human_safe(text, strlen(text), ESCAPE_LINE) : base_strdup(text);
  put_text(out, shown);
  free(shown);
}

static void put_text(FILE *out, const char *text) {
  if (text[strcspn(text, ",\"\r\n")] == '\0' && text[0] != ' ') {
    (void)fputs(text, out);
    return;
  }
  (void)fputc('"', out);
  for (; *text != '\0'; text++) {
    if (*text == '"') (void)fputc('"', out);
    (void)fputc(*text, out);
  }
  (void)fputc('"', out);
}
