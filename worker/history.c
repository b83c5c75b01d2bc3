// The history's subcommands that are one question and one table. Called by main.c. Must not know how the server came
// to its answers.
#include "worker/history.h"

#include "worker/admin.h"
#include "worker/show.h"

static int run(const struct options *options, Shardd__QueryKind kind, const char *empty);

int history_builds(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_BUILDS, "no builds");
}

int history_workers(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  const struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_WORKERS,
                            .empty = "no workers",
                            .limit = options_source(options, "limit") == CONF_FROM_DEFAULT ? SHOW_ALL : 0};
  int code = admin_check_key(options, NULL);
  return code == EXIT_OK ? show_run(options, &show) : code;
}

int history_slow(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_SLOW, "no tests were timed yet");
}

int history_slower(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_SLOWER, "no test became slower");
}

int history_flaky(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_FLAKY, "no flaky tests");
}

int history_broken(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_BROKEN, "no broken tests");
}

int history_log(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  return run(options, SHARDD__QUERY_KIND__QUERY_LOG, "no test has changed its state");
}

static int run(const struct options *options, Shardd__QueryKind kind, const char *empty) {
  const struct show show = {.kind = kind, .empty = empty, .any_suite = true};
  return show_run(options, &show);
}
