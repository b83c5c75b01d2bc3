// Asking the daemon to look after its database. Called by main.c and admin.c. Both jobs may take minutes: the question
// waits as long as the connection stands.
#include "worker/upkeep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/admin.h"
#include "worker/human.h"
#include "worker/show.h"

enum { TICK_MS = 1000, KEYS_MAX = 64 };

static int ask_for(const struct options *options, Shardd__QueryKind kind, const char *file);
static int on_sizes(void *arg, const struct answer *answer);
static uint64_t value_of(const struct answer *answer, const char *key);
static const char *human_size(uint64_t bytes, char out[HUMAN_BYTES]);

int upkeep_backup(struct options *options, char **words, size_t count, char **command) {
  (void)count, (void)command;
  return ask_for(options, SHARDD__QUERY_KIND__QUERY_BACKUP, words[0]);
}

int upkeep_check(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return ask_for(options, SHARDD__QUERY_KIND__QUERY_CHECK, "");
}

static int ask_for(const struct options *options, Shardd__QueryKind kind, const char *file) {
  Shardd__Query query = SHARDD__QUERY__INIT;
  struct ask_error error;
  struct answer answer;
  struct ask *ask;
  char took[HUMAN_BYTES], size[HUMAN_BYTES];
  int code = admin_open(options, &ask);
  if (code != EXIT_OK) return code;
  query.kind = kind;
  query.file = msg_text(file);
  int rc = ask_wait(ask, &query, TICK_MS, &answer, &error);
  while (rc != 0 && error.failure == ASK_TIMEOUT)
    rc = ask_wait(ask, NULL, TICK_MS, &answer, &error);
  if (rc != 0) {
    fprintf(stderr, "shard: %s\n", error.text);
    ask_close(ask);
    return error.exit_code;
  }
  char *result = answer_get_text(&answer, 0, "result"), *text = answer_get_text(&answer, 0, "text");
  char *safe = human_safe(text, strlen(text), ESCAPE_TEXT);
  bool good = answer.row_count > 0 && strcmp(result, "ok") == 0;
  (void)human_duration((uint64_t)answer_get_number(&answer, 0, "took", 0), took);
  if (!good)
    fprintf(stderr, "shard: %s\n", safe);
  else if (kind == SHARDD__QUERY_KIND__QUERY_BACKUP)
    printf("%s: %s, checked, in %s\n", file, human_size((uint64_t)answer_get_number(&answer, 0, "bytes", 0), size),
           took);
  else
    printf("the database is whole; read in %s\n", took);
  free(safe);
  free(text);
  free(result);
  ask_close(ask);
  return good && fflush(stdout) == 0 ? EXIT_OK : EXIT_INFRA;
}

// ---- sizes

int upkeep_sizes(const struct options *options) {
  const struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_SERVER, .limit = KEYS_MAX, .on_page = on_sizes};
  return show_run(options, &show);
}

static int on_sizes(void *arg, const struct answer *answer) {
  char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES], d[HUMAN_BYTES];
  uint64_t keep_us = value_of(answer, "keep_results_us"), since_ms = value_of(answer, "results_since_ms");
  (void)arg;
  printf("\ndatabase  %s, of which %s can be used again; log %s; %s free on its disk\n",
         human_size(value_of(answer, "database_bytes"), a), human_size(value_of(answer, "reusable_bytes"), b),
         human_size(value_of(answer, "log_bytes"), c), human_size(value_of(answer, "free_bytes"), d));
  printf("results   of %ju of %ju builds", (uintmax_t)value_of(answer, "builds_with_results"),
         (uintmax_t)value_of(answer, "builds"));
  if (since_ms > 0) printf(", since %s", human_time(since_ms, a));
  printf(", kept %s\n", keep_us > 0 ? human_duration(keep_us, b) : "for ever");
  return ferror(stdout) ? admin_fail_output() : EXIT_OK;
}

static uint64_t value_of(const struct answer *answer, const char *key) {
  uint64_t value = 0;
  for (size_t row = 0; row < answer->row_count; row++) {
    char *name = answer_get_text(answer, row, "key");
    if (strcmp(name, key) == 0) value = (uint64_t)answer_get_number(answer, row, "value", 0);
    free(name);
  }
  return value;
}

static const char *human_size(uint64_t bytes, char out[HUMAN_BYTES]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = (double)bytes;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < COUNT_OF(units); unit++)
    value /= 1024;
  (void)snprintf(out, HUMAN_BYTES, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return out;
}
