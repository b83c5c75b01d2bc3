// `shard status` and `shard wait`, and what the other admin commands share. Called by main.c. `wait` outlives a server
// that restarts, begins before its build does, and shows progress meanwhile. What a query's columns are is the server's
// business; only `wait` reads them, through verdict.h and progress.h.
#include "worker/admin.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "proto/client.h"
#include "worker/ci.h"
#include "worker/human.h"
#include "worker/progress.h"
#include "worker/show.h"
#include "worker/table.h"
#include "worker/upkeep.h"
#include "worker/verdict.h"

enum { TICK_MS = 500, WHY_BYTES = 512, STATUS_ROWS = 10000, SAY_AFTER_US = 2000000 };

struct wait {
  const struct options *options;
  struct ask *verdict, *status;  // two conversations: the one that waits cannot be asked anything else
  struct progress *progress;
  uint64_t began_us, heard_us;  // heard: when the server was last there
  bool seen;                    // the build exists, on the server as it is now
  bool was_seen;                // it has existed
  uint64_t says_at_us;          // when it is said that it does not yet
  unsigned attempt;             // to connect, since it was last there
};

static void fill(const struct options *options, Shardd__Query *query);
static int print_json(const struct answer *answer);
static unsigned connect_ms(const struct options *options);
static int wait_on(struct wait *wait, struct answer *answer);
static int wait_connect(struct wait *wait, struct ask_error *error);
static int wait_tick(struct wait *wait, struct answer *answer, struct ask_error *error);
static int wait_after(struct wait *wait, const struct ask_error *error);
static bool wait_look(struct wait *wait);
static int wait_unseen(struct wait *wait, struct ask_error *error);
static void wait_drop(struct wait *wait);
static void print_verdict(const struct verdict *verdict);
static int settle(const struct options *options, const struct answer *answer);

int admin_status(struct options *options, char **words, size_t count, char **command) {
  const struct show show = {.kind = SHARDD__QUERY_KIND__QUERY_STATUS,
                            .empty = "no builds are running",
                            .any_project = true,
                            .any_suite = true,
                            .limit = STATUS_ROWS};
  (void)words, (void)count, (void)command;
  int code = show_run(options, &show);
  return code == EXIT_OK && !options->json && !options->csv ? upkeep_sizes(options) : code;
}

int admin_wait(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  struct answer answer;
  struct wait wait = {.options = options, .began_us = base_now_us(), .heard_us = base_now_us()};
  struct progress_look look = {.out = stderr, .terminal = isatty(STDERR_FILENO), .color = options_color(options, 2)};
  int code = admin_check_build(options);
  if (code != EXIT_OK) return code;
  if (!options->quiet) wait.progress = progress_new(&look);
  wait.says_at_us = options->quiet ? UINT64_MAX : wait.began_us + SAY_AFTER_US;
  code = wait_on(&wait, &answer);
  progress_free(wait.progress);
  if (code == EXIT_OK) code = settle(options, &answer);
  wait_drop(&wait);
  return code;
}

int admin_open(const struct options *options, struct ask **ask) {
  struct ask_error error;
  if (ask_open(ask, options->server, options->token, connect_ms(options), &error) == 0) return EXIT_OK;
  fprintf(stderr, "shard: %s\n", error.text);
  return error.exit_code;
}

int admin_check_build(const struct options *options) {
  struct ci_info ci;
  char why[WHY_BYTES];
  if (options->build[0] != '\0') return EXIT_OK;
  if (ci_detect(ci_getenv, NULL, &ci, why, sizeof why) == 0 && strcmp(ci.name, "none") == 0) return EXIT_OK;
  fprintf(stderr,
          "shard: say which build: the newest may be another pipeline's here. Give --build KEY, with the key that the "
          "jobs of `shard run` print or were given\n");
  return EXIT_USAGE;
}

int admin_check_key(const struct options *options, const char *key) {
  bool named = key != NULL || options_source(options, "build") == CONF_FROM_FLAG;
  if (named && (key != NULL ? key : options->build)[0] == '\0') {
    fprintf(stderr, "shard: an empty key names no build; leave it out for the newest one\n");
    return EXIT_USAGE;
  }
  bool branch = options_source(options, "branch") == CONF_FROM_FLAG;
  return named || branch ? EXIT_OK : admin_check_build(options);
}

int admin_fail_output(void) {
  fprintf(stderr, "shard: cannot write to standard output\n");
  return EXIT_INFRA;
}

static void fill(const struct options *options, Shardd__Query *query) {
  query->project = msg_text(options->project);
  query->suite = msg_text(options->suite);
  query->build = msg_text(options->build);
}

static int print_json(const struct answer *answer) {
  struct json_t *json = table_json_new();
  table_json_add(json, answer);
  int rc = table_json_finish(stdout, json);
  return rc == 0 && fflush(stdout) == 0 ? EXIT_OK : admin_fail_output();
}

static unsigned connect_ms(const struct options *options) {
  return (unsigned)(options->connect_timeout_us / 1000);
}

// ---- wait

// EXIT_OK and *answer, which lives as long as the connection; else an exit code.
static int wait_on(struct wait *wait, struct answer *answer) {
  for (;;) {
    struct ask_error error;
    int rc = wait->verdict == NULL ? wait_connect(wait, &error) : wait_tick(wait, answer, &error);
    if (rc > 0) return EXIT_OK;
    if (rc == 0) continue;
    int code = wait_after(wait, &error);
    if (code == EXIT_OK) continue;
    progress_hide(wait->progress);
    fprintf(stderr, "shard wait: %s\n", error.text);
    return code;
  }
}

static int wait_connect(struct wait *wait, struct ask_error *error) {
  const struct options *options = wait->options;
  Shardd__Query query = SHARDD__QUERY__INIT;
  if (ask_open(&wait->verdict, options->server, options->token, connect_ms(options), error) != 0) return -1;
  if (ask_open(&wait->status, options->server, options->token, connect_ms(options), error) != 0) return -1;
  fill(options, &query);
  query.kind = SHARDD__QUERY_KIND__QUERY_WAIT;
  wait->heard_us = wait->began_us = base_now_us();
  wait->seen = false;  // the server may have come back with another database
  wait->attempt = 0;
  return ask_send(wait->verdict, &query, error);
}

// 1: the answer is there; 0: not yet; -1 and *error.
static int wait_tick(struct wait *wait, struct answer *answer, struct ask_error *error) {
  if (ask_wait(wait->verdict, NULL, TICK_MS, answer, error) == 0) return 1;
  if (error->failure != ASK_TIMEOUT) return -1;
  if (wait_look(wait)) {
    wait->heard_us = base_now_us();
    return wait->seen ? 0 : wait_unseen(wait, error);
  }
  if (base_now_us() - wait->heard_us < wait->options->server_timeout_us) return 0;
  *error = (struct ask_error){.failure = ASK_LOST, .exit_code = EXIT_INFRA};
  (void)snprintf(error->text, sizeof error->text, "the server gave no answer for longer than --server-timeout");
  return -1;
}

// 0 as long as the build may still begin; -1 and *error.
static int wait_unseen(struct wait *wait, struct ask_error *error) {
  char limit[HUMAN_BYTES];
  human_duration(wait->options->start_timeout_us, limit);
  if (wait->heard_us >= wait->says_at_us) {
    wait->says_at_us = UINT64_MAX;
    fprintf(stderr, "shard wait: no such build yet; waiting for its first worker, at most %s (--start-timeout)\n",
            limit);
  }
  if (wait->heard_us - wait->began_us < wait->options->start_timeout_us) return 0;
  *error = (struct ask_error){.failure = ASK_UNKNOWN, .exit_code = EXIT_INFRA};
  char *safe = human_safe(wait->options->build, strlen(wait->options->build), ESCAPE_LINE);
  (void)snprintf(error->text, sizeof error->text,
                 "no worker has joined %s%.200s within %s (--start-timeout): did the jobs start, with this project, "
                 "suite and build?",
                 safe[0] != '\0' ? "build " : "a build", safe, limit);
  free(safe);
  return -1;
}

// EXIT_OK: try on, after a pause; else the exit code.
static int wait_after(struct wait *wait, const struct ask_error *error) {
  uint64_t patience_us = wait->was_seen ? wait->options->server_timeout_us : wait->options->connect_timeout_us;
  wait_drop(wait);
  if (error->failure != ASK_LOST && error->failure != ASK_TRY && error->failure != ASK_TIMEOUT) return error->exit_code;
  if (base_now_us() - wait->heard_us >= patience_us) return error->exit_code;
  (void)poll(NULL, 0, (int)client_backoff_ms(wait->attempt++));
  return EXIT_OK;
}

// The row of the build that is waited for. An empty key stands for the newest build, which the server chose; an empty
// project or suite would match any in the question, and none in what is waited for.
static bool wait_finds(const struct wait *wait, const struct answer *answer) {
  bool found = false;
  for (size_t row = 0; row < answer->row_count && !found; row++) {
    char *project = answer_get_text(answer, row, "project"), *suite = answer_get_text(answer, row, "suite");
    found = strcmp(project, wait->options->project) == 0 && strcmp(suite, wait->options->suite) == 0;
    free(project);
    free(suite);
  }
  return found;
}

// True when the server answered. Progress is a courtesy: what goes wrong with it is found by the waiting connection.
static bool wait_look(struct wait *wait) {
  struct answer answer;
  struct ask_error ignored;
  struct winsize size = {0};
  Shardd__Query query = SHARDD__QUERY__INIT;
  unsigned timeout_ms = connect_ms(wait->options);
  if (wait->status == NULL &&
      ask_open(&wait->status, wait->options->server, wait->options->token, timeout_ms, &ignored) != 0)
    return false;
  fill(wait->options, &query);
  query.kind = SHARDD__QUERY_KIND__QUERY_STATUS;
  if (ask_wait(wait->status, &query, timeout_ms, &answer, &ignored) != 0) {
    ask_close(wait->status);
    wait->status = NULL;
    return false;
  }
  if (!wait_finds(wait, &answer)) return true;
  wait->seen = wait->was_seen = true;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0) size.ws_col = 0;
  if (wait->progress != NULL) progress_update(wait->progress, &answer, 0, size.ws_col, base_now_us());
  return true;
}

static void wait_drop(struct wait *wait) {
  ask_close(wait->verdict);
  ask_close(wait->status);
  wait->verdict = wait->status = NULL;
}

static void print_verdict(const struct verdict *verdict) {
  printf("%s: %lld of %lld settled, %lld failing, %lld flaky, %lld missing", verdict->state,
         (long long)verdict->settled, (long long)verdict->total, (long long)verdict->failing, (long long)verdict->flaky,
         (long long)verdict->missing);
  if (verdict->muted > 0) printf(", %lld muted", (long long)verdict->muted);
  printf(": %s\n", verdict->why);
}

static int settle(const struct options *options, const struct answer *answer) {
  struct verdict verdict;
  if (verdict_read(&verdict, answer) != 0) {
    fprintf(stderr, "shard wait: the answer lacks columns; install shard and shardd of one version\n");
    return EXIT_INFRA;
  }
  int code = verdict_code(&verdict, options->allow_empty);
  if (options->json)
    code = print_json(answer) == EXIT_OK ? code : EXIT_INFRA;
  else
    print_verdict(&verdict);
  verdict_release(&verdict);
  return fflush(stdout) == 0 ? code : admin_fail_output();
}
