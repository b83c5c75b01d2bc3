// `shard export [FILE]`. Called by main.c. Asks for all durations of the suite, orders them by id, so that equal
// histories give equal files, and writes them in a form that `shard import` and the tools of others read.
#include "worker/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/admin.h"
#include "worker/durations.h"
#include "worker/junit_write.h"
#include "worker/replace.h"
#include "worker/show.h"

enum { WHY_BYTES = 512, TESTS_MAX = MSG_LIST_MAX, SECOND_US = 1000000 };

struct output {
  const struct options *options;
  const struct durations *durations;
  FILE *out;
  size_t left_out;  // ids that the form cannot hold
};

static int on_page(void *arg, const struct answer *answer);
static int write_all(const struct options *options, const char *path, const struct durations *durations);
static int write_split(struct output *output, char *why, size_t why_size);
static int write_junit(struct output *output, char *why, size_t why_size);
static int write_csv(struct output *output, char *why, size_t why_size);
static void put_seconds(FILE *out, uint64_t us);
static void put_field(FILE *out, const char *text);

typedef int write_fn(struct output *output, char *why, size_t why_size);
static write_fn *const writers[] = {
    [DURATIONS_SPLIT] = write_split,
    [DURATIONS_JUNIT] = write_junit,
    [DURATIONS_CSV] = write_csv,
};

int export_main(struct options *options, char **words, size_t count, char **command) {
  (void)command;
  struct durations durations;
  durations_init(&durations);
  const struct show show = {
      .kind = SHARDD__QUERY_KIND__QUERY_DURATIONS, .limit = TESTS_MAX, .on_page = on_page, .arg = &durations};
  int code = show_run(options, &show);
  durations_sort(&durations);
  if (code == EXIT_OK) code = write_all(options, count > 0 ? words[0] : "-", &durations);
  durations_release(&durations);
  return code;
}

static int on_page(void *arg, const struct answer *answer) {
  for (size_t row = 0; row < answer->row_count; row++) {
    char *id = answer_get_text(answer, row, "test"), *file = answer_get_text(answer, row, "file");
    int64_t us = answer_get_number(answer, row, "expected", -1);
    int rc = us < 0 ? -1 : durations_add(arg, id, strlen(id), file, (uint64_t)us);
    free(id);
    free(file);
    if (rc == 0) continue;
    fprintf(stderr, "shard export: the answer makes no sense; install shard and shardd of one version\n");
    return EXIT_INFRA;
  }
  return EXIT_OK;
}

static int write_all(const struct options *options, const char *path, const struct durations *durations) {
  struct output output = {.options = options, .durations = durations};
  char why[WHY_BYTES];
  struct replace replace;
  if (replace_open(&replace, path, why, sizeof why) != 0) {
    fprintf(stderr, "shard export: %s\n", why);
    return EXIT_INFRA;
  }
  output.out = replace.out;
  int rc = writers[durations_format((enum durations_format)options->format, path)](&output, why, sizeof why);
  rc = replace_close(&replace, rc == 0, why, sizeof why);
  if (rc != 0) fprintf(stderr, "shard export: %s\n", why);
  if (output.left_out > 0)
    fprintf(stderr, "shard export: %zu tests are left out: JSON holds no ids that are not UTF-8\n", output.left_out);
  return rc == 0 ? EXIT_OK : EXIT_INFRA;
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
  struct junit_write *writer = junit_write_new(output->out, output->options->suite, "", base_wall_us(), why, why_size);
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

static void put_field(FILE *out, const char *text) {
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
