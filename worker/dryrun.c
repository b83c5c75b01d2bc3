// The dry run's client: starts the runner for its list alone, sends the list to the server in role PLAN, and prints the
// answer. It must not lease anything.
#include "worker/dryrun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/client.h"
#include "worker/answer.h"
#include "worker/listing.h"
#include "worker/runner.h"
#include "worker/table.h"

enum { DRYRUN_TIMEOUT_MS = 60000, DRYRUN_WORKERS_MAX = 1024 };

struct dryrun {
  const struct options *options;
  struct event_base *base;
  const struct runner_ops *ops;
  struct runner *runner;
  struct testlist *list;
  struct client *client;
  struct client_error error;
  bool send_failed;
  int code;
};

static void on_listed(void *arg, struct testlist *list) {
  struct dryrun *dryrun = arg;
  testlist_seal(list);
  dryrun->list = list;
  event_base_loopbreak(dryrun->base);
}

static void on_started(void *arg, uint32_t tag) {
  (void)arg;
  (void)tag;
}

static void on_result(void *arg, const struct runner_result *result) {
  (void)arg;
  (void)result;
}

static void on_need(void *arg) {
  (void)arg;  // it gets nothing
}

static void on_end(void *arg, const struct runner_end *end) {
  struct dryrun *dryrun = arg;
  int empty = dryrun->options->allow_empty ? EXIT_OK : EXIT_EMPTY;
  dryrun->code = end->kind == RUNNER_END_EMPTY ? empty : end->kind == RUNNER_END_USAGE ? EXIT_USAGE : EXIT_INFRA;
  if (end->why) fprintf(stderr, "shard: %s\n", end->why);
  event_base_loopbreak(dryrun->base);
}

static int dryrun_collect(struct dryrun *dryrun, char **command) {
  static char *list_argv[4];
  char why[512];
  struct runner_spec spec = {.argv = command,
                             .list_argv = options_list_argv(dryrun->options, list_argv),
                             .list_file = dryrun->options->list_file[0] ? dryrun->options->list_file : NULL,
                             .results = dryrun->options->results,
                             .node = "plan",
                             .build = "plan",
                             .want_list = true,
                             .start_timeout_us = dryrun->options->start_timeout_us,
                             .base = dryrun->base,
                             .events = {.on_listed = on_listed,
                                        .on_started = on_started,
                                        .on_result = on_result,
                                        .on_need = on_need,
                                        .on_end = on_end,
                                        .arg = dryrun}};
  dryrun->ops = runner_find(options_runner(dryrun->options), command);
  if (dryrun->ops->check && dryrun->ops->check(&spec, why, sizeof why) < 0) {
    dryrun->code = EXIT_USAGE;
  } else {
    dryrun->runner = dryrun->ops->start(&spec, why, sizeof why);
  }
  if (!dryrun->runner) {
    fprintf(stderr, "shard: %s\n", why);
    return -1;
  }
  event_base_dispatch(dryrun->base);
  dryrun->ops->free(dryrun->runner);
  return dryrun->list ? 0 : -1;
}

static int dryrun_print(const struct dryrun *dryrun, const Shardd__Rows *rows) {
  struct answer answer;
  struct table_look look = {.empty = "no tests"};
  if (answer_init(&answer, rows) < 0) return -1;
  if (!dryrun->options->json) return table_print(stdout, &answer, &look);
  struct json_t *array = table_json_new();
  table_json_add(array, &answer);
  return table_json_finish(stdout, array);
}

static void on_chunk(void *arg, const Shardd__Frame *frame) {
  struct dryrun *dryrun = arg;
  if (dryrun->send_failed) return;
  dryrun->send_failed = client_send(dryrun->client, frame, &dryrun->error) < 0;
}

static int dryrun_hello(struct dryrun *dryrun) {
  const Shardd__Frame *reply;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  hello.version = MSG_VERSION;
  hello.role = SHARDD__ROLE__ROLE_PLAN;
  hello.token = msg_text(dryrun->options->token);
  hello.client = msg_text("shard " SHARD_VERSION);
  hello.project = msg_text(dryrun->options->project);
  hello.suite = msg_text(dryrun->options->suite);
  hello.build = msg_text("plan");
  frame.body_case = SHARDD__FRAME__BODY_HELLO;
  frame.hello = &hello;
  if (client_connect(dryrun->client, DRYRUN_TIMEOUT_MS, &dryrun->error) < 0) return -1;
  if (client_call(dryrun->client, &frame, DRYRUN_TIMEOUT_MS, &reply, &dryrun->error) < 0) return -1;
  if (reply->body_case == SHARDD__FRAME__BODY_WELCOME) return 0;
  snprintf(dryrun->error.text, sizeof dryrun->error.text, "the server refuses the plan (%s)", msg_name(reply));
  return -1;
}

static int dryrun_ask(struct dryrun *dryrun, uint32_t workers) {
  const Shardd__Frame *reply;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Query query = SHARDD__QUERY__INIT;
  if (dryrun_hello(dryrun) < 0) return -1;
  listing_send_to(dryrun->list, on_chunk, dryrun);
  if (dryrun->send_failed) return -1;
  query.kind = SHARDD__QUERY_KIND__QUERY_PLAN;
  query.workers = workers;
  frame.seq = 1;
  frame.body_case = SHARDD__FRAME__BODY_QUERY;
  frame.query = &query;
  if (client_call(dryrun->client, &frame, DRYRUN_TIMEOUT_MS, &reply, &dryrun->error) < 0) return -1;
  if (reply->body_case == SHARDD__FRAME__BODY_ROWS) return dryrun_print(dryrun, reply->rows);
  snprintf(dryrun->error.text, sizeof dryrun->error.text, "the server has no plan (%s)", msg_name(reply));
  return -1;
}

int dryrun_main(const struct options *options, char **command, const char *workers) {
  uint64_t n;
  struct dryrun dryrun = {.options = options, .code = EXIT_INFRA, .base = event_base_new()};
  if (base_parse_u64(workers, 1, DRYRUN_WORKERS_MAX, &n) < 0) {
    fprintf(stderr, "shard: SHARD_PLAN: a number of workers from 1 to %d, not \"%s\"\n", DRYRUN_WORKERS_MAX, workers);
    return EXIT_USAGE;
  }
  dryrun.client = client_new(options->server, &dryrun.error);
  if (dryrun_collect(&dryrun, command) == 0) {
    dryrun.code = dryrun.client && dryrun_ask(&dryrun, (uint32_t)n) == 0 ? EXIT_OK : EXIT_INFRA;
    if (dryrun.code != EXIT_OK) fprintf(stderr, "shard: %s\n", dryrun.error.text);
  }
  client_free(dryrun.client);
  testlist_free(dryrun.list);
  event_base_free(dryrun.base);
  return dryrun.code;
}
