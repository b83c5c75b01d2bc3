// `shard export [FILE]`. Called by main.c. Asks for all durations of the suite, orders them by id, so that equal
// histories give equal files, and writes them in a form that `shard import` and the tools of others read.
#include "worker/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/admin.h"
#include "worker/durations_write.h"
#include "worker/replace.h"
#include "worker/show.h"

enum { WHY_BYTES = 512, TESTS_MAX = MSG_LIST_MAX };

static int on_page(void *arg, const struct answer *answer);
static int write_all(const struct options *options, const char *path, const struct durations *durations);

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
  enum durations_format format = durations_format((enum durations_format)options->format, path);
  size_t left_out = 0;
  char why[WHY_BYTES];
  struct replace replace;
  if (replace_open(&replace, path, why, sizeof why) != 0) {
    fprintf(stderr, "shard export: %s\n", why);
    return EXIT_INFRA;
  }
  int rc = durations_write(replace.out, durations, format, options->suite, &left_out, why, sizeof why);
  rc = replace_close(&replace, rc == 0, why, sizeof why);
  if (rc != 0) fprintf(stderr, "shard export: %s\n", why);
  if (left_out > 0)
    fprintf(stderr, "shard export: %zu tests are left out: JSON holds no ids that are not UTF-8\n", left_out);
  return rc == 0 ? EXIT_OK : EXIT_INFRA;
}
