// `shard plan`. From history: ask the server, as `shard slow` does. With --simulate: read the file, start a private
// server (plan_place.h), send it the list, have each number of workers simulated in turn, so that no question takes
// long. Both end in the same two questions, whose answers plan_view.h shows. It must not know how a forecast is made.
#include "worker/plan.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/files.h"
#include "worker/admin.h"
#include "worker/decode.h"
#include "worker/listing.h"
#include "worker/plan_place.h"
#include "worker/plan_view.h"
#include "worker/timings.h"

enum { WHY_BYTES = 640, TICK_MS = 100, START_TICK_MS = 5, SIMULATE_MS = 60000, PATIENCE_US = 1000000 };

struct plan {
  const struct options *options;
  struct plan_place *place;  // NULL: the server is not ours
  struct timings timings;
  struct ask *ask;
  struct plan_view view;
  size_t sent;  // tests of the list
  int code;     // of what went wrong; EXIT_OK
};

static int check(const struct options *options);
static int from_history(struct plan *plan);
static int from_file(struct plan *plan);
static int read_file(struct plan *plan);
static const char *name_of_file(const struct options *options);
static int await_place(struct plan *plan);
static void on_chunk(void *arg, const Shardd__Frame *frame);
static int simulate(struct plan *plan);
static int question(struct plan *plan, Shardd__Query *query, unsigned timeout_ms, struct answer *answer);
static int forecast(struct plan *plan);
static int show(struct plan *plan);
static int fail(const struct ask_error *error);
static unsigned connect_ms(const struct options *options);

int plan_main(struct options *options, char **words, size_t count, char **command) {
  (void)words, (void)count, (void)command;
  int code = check(options);
  if (code != EXIT_OK) return code;
  bool simulated = options->simulate[0] != '\0';
  struct plan plan = {.options = options,
                      .view = {.project = options->project,
                               .suite = options->suite,
                               .timings = simulated ? name_of_file(options) : NULL,
                               .target_us = options->target_us,
                               .every = options->all,
                               .color = options_color(options, STDOUT_FILENO)}};
  if (options_source(options, "workers") == CONF_FROM_FLAG) plan.view.only = (uint32_t)options->worker_count;
  code = simulated ? from_file(&plan) : from_history(&plan);
  ask_close(plan.ask);
  plan_place_close(plan.place);  // before anything is printed: whoever reads may go away
  if (code == EXIT_OK) code = show(&plan);
  timings_release(&plan.timings);
  plan_view_release(&plan.view);
  return code;
}

static int check(const struct options *options) {
  bool told = options_source(options, "workers") == CONF_FROM_FLAG;
  if (!told || options->worker_count <= PLAN_VIEW_WORKERS_MAX) return EXIT_OK;
  fprintf(stderr, "shard plan: --workers: a plan knows 1 to %d workers\n", PLAN_VIEW_WORKERS_MAX);
  return EXIT_USAGE;
}

static int from_history(struct plan *plan) {
  struct ask_error error;
  const struct options *options = plan->options;
  struct ask_plan who = {options->server, options->token, options->project, options->suite};
  if (ask_open_plan(&plan->ask, &who, connect_ms(options), &error) != 0) return fail(&error);
  return forecast(plan);
}

// ---- from a file

static int from_file(struct plan *plan) {
  char why[WHY_BYTES];
  int code = read_file(plan);
  if (code != EXIT_OK) return code;
  plan->place = plan_place_open(why, sizeof why);
  if (plan->place == NULL) {
    fprintf(stderr, "shard plan: %s\n", why);
    return EXIT_INFRA;
  }
  code = await_place(plan);
  if (code != EXIT_OK) return code;
  listing_send_to(plan->timings.list, on_chunk, plan);
  if (plan->code != EXIT_OK) return plan->code;
  code = simulate(plan);
  return code == EXIT_OK ? forecast(plan) : code;
}

static int read_file(struct plan *plan) {
  char why[WHY_BYTES];
  const char *path = plan->options->simulate;
  bool standard = strcmp(path, "-") == 0;
  const char *problem = "";
  FILE *in = standard ? stdin : decode_stream(files_read(path, FILES_STREAM, &problem));
  if (in == NULL) {
    fprintf(stderr, "shard plan: cannot read %s: %s\n", path, problem);
    return EXIT_USAGE;
  }
  int rc = timings_read(&plan->timings, in, name_of_file(plan->options), why, sizeof why);
  if (!standard) (void)fclose(in);
  const struct timings *timings = &plan->timings;
  if (rc == 0 && timings->left_out > 0)
    fprintf(stderr, "shard plan: left out %zu of %zu row%s: %s%s\n", timings->left_out, timings->rows,
            timings->rows == 1 ? "" : "s", timings->first_left_out, timings->left_out > 1 ? "; ..." : "");
  if (rc == 0) return EXIT_OK;
  fprintf(stderr, "shard plan: %s\n", why);
  return EXIT_USAGE;
}

static const char *name_of_file(const struct options *options) {
  return strcmp(options->simulate, "-") == 0 ? "standard input" : options->simulate;
}

static int await_place(struct plan *plan) {
  struct ask_error error;
  struct ask_plan who = {plan_place_address(plan->place), "", plan->options->project, plan->options->suite};
  uint64_t deadline_us = base_now_us() + plan->options->connect_timeout_us;
  while (ask_open_plan(&plan->ask, &who, connect_ms(plan->options), &error) != 0) {
    int code = plan_place_look(plan->place);
    if (code != EXIT_OK) return code;
    if (error.failure != ASK_LOST || base_now_us() >= deadline_us) return fail(&error);
    (void)poll(NULL, 0, START_TICK_MS);
  }
  return EXIT_OK;
}

// A chunk of the list, with the durations of its tests.
static void on_chunk(void *arg, const Shardd__Frame *frame) {
  struct plan *plan = arg;
  struct ask_error error;
  Shardd__Frame copy = *frame;
  Shardd__ListChunk chunk = *frame->list_chunk;
  if (plan->code != EXIT_OK) return;
  chunk.n_expected_us = chunk.n_id;
  chunk.expected_us = plan->timings.duration_us + plan->sent;
  plan->sent += chunk.n_id;
  copy.list_chunk = &chunk;
  plan->code = plan_place_look(plan->place);
  if (plan->code == EXIT_OK && ask_push(plan->ask, &copy, SIMULATE_MS, &error) != 0) plan->code = fail(&error);
}

// A question for each number of workers; one of them alone is compared with a single worker.
static int simulate(struct plan *plan) {
  uint64_t began_us = base_now_us();
  bool tells = isatty(STDERR_FILENO) == 1;
  int code = EXIT_OK;
  for (uint32_t n = 1; code == EXIT_OK && n <= PLAN_VIEW_WORKERS_MAX; n++) {
    struct answer answer;
    Shardd__Query query = SHARDD__QUERY__INIT;
    if (plan->view.only != 0 && n != 1 && n != plan->view.only) continue;
    query.kind = SHARDD__QUERY_KIND__QUERY_SIMULATE;
    query.workers = n;
    query.by_file = plan->options->by_file;
    code = question(plan, &query, SIMULATE_MS, &answer);
    if (tells && base_now_us() - began_us > PATIENCE_US)
      fprintf(stderr, "\rsimulated: %u of %d workers\033[K", n, PLAN_VIEW_WORKERS_MAX);
  }
  if (tells && base_now_us() - began_us > PATIENCE_US) fputs("\r\033[K", stderr);
  return code;
}

// ---- the two questions

// EXIT_OK and *answer, valid until the next question; else the exit code, and what is wrong was said.
static int question(struct plan *plan, Shardd__Query *query, unsigned timeout_ms, struct answer *answer) {
  struct ask_error error;
  uint64_t deadline_us = base_now_us() + (uint64_t)timeout_ms * 1000;
  const Shardd__Query *first = query;
  while (ask_wait(plan->ask, first, plan->place ? TICK_MS : timeout_ms, answer, &error) != 0) {
    int code = plan->place ? plan_place_look(plan->place) : EXIT_OK;
    if (code != EXIT_OK) return code;
    if (error.failure != ASK_TIMEOUT || base_now_us() >= deadline_us) return fail(&error);
    first = NULL;
  }
  return EXIT_OK;
}

static int forecast(struct plan *plan) {
  struct answer answer;
  const struct options *options = plan->options;
  Shardd__Query query = SHARDD__QUERY__INIT;
  query.kind = SHARDD__QUERY_KIND__QUERY_FORECAST;
  query.boot_us = options->boot_us;
  query.boot_told = options->boot_told;
  query.by_file = options->by_file;
  query.target_us = options->target_us;
  int code = question(plan, &query, connect_ms(options), &answer);
  if (code != EXIT_OK) return code;
  int rc = plan_view_take_curve(&plan->view, &answer, options->json);
  query.kind = SHARDD__QUERY_KIND__QUERY_FORECAST_FACTS;
  if (rc == 0) code = question(plan, &query, connect_ms(options), &answer);
  if (code != EXIT_OK) return code;
  if (rc == 0) rc = plan_view_take_facts(&plan->view, &answer);
  if (rc == 0) return EXIT_OK;
  fprintf(stderr, "shard plan: the answer lacks columns; install shard and shardd of one version\n");
  return EXIT_INFRA;
}

static int show(struct plan *plan) {
  bool meets = plan_view_meets(&plan->view);
  int rc = plan->options->json ? plan_view_json(&plan->view, stdout) : plan_view_print(&plan->view, stdout);
  if (rc != 0 || fflush(stdout) != 0) return admin_fail_output();
  return meets ? EXIT_OK : EXIT_TESTS_FAILED;
}

static int fail(const struct ask_error *error) {
  fprintf(stderr, "shard plan: %s\n", error->text);
  return error->exit_code;
}

static unsigned connect_ms(const struct options *options) {
  return (unsigned)(options->connect_timeout_us / 1000);
}
