// A question, page by page, to standard output. Called by admin.c and history.c. Must not know what a question means.
#include "worker/show.h"

#include <stdio.h>
#include <unistd.h>

#include "worker/admin.h"
#include "worker/owners.h"
#include "worker/table.h"

enum { WHY_BYTES = 512 };

struct output {
  const struct options *options;
  const struct show *show;
  struct owners *owners;
  struct gate gate;
  struct json_t *json;
  uint64_t left;  // rows that may yet be printed
  bool first;
};

static int prepare(struct output *output);
static int pages(struct ask *ask, struct output *output);
static int take(struct output *output, const struct answer *page);
static uint64_t limit_of(const struct options *options, const struct show *show);
static int finish(struct output *output);

int show_run(const struct options *options, const struct show *show) {
  struct output output = {.options = options, .show = show, .left = limit_of(options, show), .first = true};
  struct ask *ask = NULL;
  int code = prepare(&output);
  if (code == EXIT_OK) code = admin_open(options, &ask);
  if (code == EXIT_OK) {
    if (options->json && show->on_page == NULL) output.json = table_json_new();
    code = pages(ask, &output);
    code = code == EXIT_OK ? finish(&output) : code;
    ask_close(ask);
  }
  if (output.json != NULL) table_json_drop(output.json);
  owners_free(output.owners);
  return code;
}

int show_ask(struct ask *ask, const struct options *options, const struct show *show) {
  struct output output = {.options = options, .show = show, .left = limit_of(options, show), .first = true};
  return pages(ask, &output);
}

int show_answer(const struct options *options, const struct answer *answer, const char *empty) {
  const struct show show = {.empty = empty};
  struct output output = {.options = options, .show = &show, .left = limit_of(options, &show), .first = true};
  char why[WHY_BYTES];
  if (gate_init(&output.gate, options->fail_if, why, sizeof why) != 0) {
    fprintf(stderr, "shard: %s\n", why);
    return EXIT_USAGE;
  }
  if (options->json) output.json = table_json_new();
  int code = take(&output, answer);
  if (code == EXIT_OK) code = finish(&output);
  if (output.json != NULL) table_json_drop(output.json);
  return code;
}

void show_fill(const struct options *options, const struct show *show, Shardd__Query *query) {
  bool told_project = options_source(options, "project") != CONF_FROM_DEFAULT;
  bool told_suite = options_source(options, "suite") != CONF_FROM_DEFAULT;
  bool told_branch = options_source(options, "branch") == CONF_FROM_FLAG;  // else it is the job's own
  query->kind = show->kind;
  query->project = msg_text(show->any_project && !told_project ? "" : options->project);
  query->suite = msg_text(show->any_suite && !told_suite ? "" : options->suite);
  query->build = msg_text(show->build != NULL ? show->build : options->build);
  query->test = msg_text(show->test != NULL ? show->test : "");
  query->branch = msg_text(told_branch ? options->branch : "");
  query->limit = (uint32_t)limit_of(options, show);
  if (options->since_us > 0) query->since_ms = (base_wall_us() - options->since_us) / 1000;
}

static int prepare(struct output *output) {
  const struct options *options = output->options;
  char why[WHY_BYTES];
  if (gate_init(&output->gate, options->fail_if, why, sizeof why) != 0 ||
      owners_load(options->owners, &output->owners, why, sizeof why) != 0) {
    fprintf(stderr, "shard: %s\n", why);
    return EXIT_USAGE;
  }
  return EXIT_OK;
}

static uint64_t limit_of(const struct options *options, const struct show *show) {
  return show->limit ? show->limit : options->limit;
}

// A gate that does not hold yet sees to the end of the rows, behind those that are printed, too.
static int pages(struct ask *ask, struct output *output) {
  Shardd__Query query = SHARDD__QUERY__INIT;
  struct ask_error error;
  struct answer answer;
  bool gated = output->gate.op[0] != '\0' && output->show->on_page == NULL;
  show_fill(output->options, output->show, &query);
  if (gated) query.limit = SHOW_ALL;
  do {
    if (ask_wait(ask, &query, (unsigned)(output->options->connect_timeout_us / 1000), &answer, &error) != 0) {
      fprintf(stderr, "shard: %s\n", error.text);
      return error.exit_code;
    }
    int code = take(output, &answer);
    if (code != EXIT_OK) return code;
    query.after = answer.rows->next;
    if (!gated) query.limit = (uint32_t)output->left;
  } while (query.after != 0 && (output->left > 0 || (gated && !output->gate.holds)));
  return EXIT_OK;
}

static int take(struct output *output, const struct answer *page) {
  const struct options *options = output->options;
  struct answer answer = owners_add(output->owners, page);
  struct table_look look = {.color = options_color(options, STDOUT_FILENO),
                            .empty = output->first ? output->show->empty : NULL};
  char why[WHY_BYTES];
  int rc = 0;
  bool first = output->first;
  output->first = false;
  bool prints = output->show->on_page == NULL;
  if (prints && gate_feed(&output->gate, &answer, why, sizeof why) != 0) {
    fprintf(stderr, "shard: %s\n", why);
    return EXIT_USAGE;
  }
  if (answer.row_count > output->left) answer.row_count = (size_t)output->left;
  output->left -= answer.row_count;
  if (!prints) return output->show->on_page(output->show->arg, &answer);
  if (answer.row_count == 0 && !first) return EXIT_OK;
  if (output->json != NULL)
    table_json_add(output->json, &answer);
  else if (options->csv)
    rc = table_csv(stdout, &answer, first);
  else
    rc = table_print(stdout, &answer, &look);
  return rc == 0 ? EXIT_OK : admin_fail_output();
}

static int finish(struct output *output) {
  if (output->json != NULL) {
    int rc = table_json_finish(stdout, output->json);
    output->json = NULL;
    if (rc != 0) return admin_fail_output();
  }
  if (fflush(stdout) != 0) return admin_fail_output();
  return output->show->on_page != NULL ? EXIT_OK : show_gate(output->options, &output->gate);
}

int show_gate(const struct options *options, const struct gate *gate) {
  if (!gate_fails(gate)) return EXIT_OK;
  if (gate->row[0] != '\0')
    fprintf(stderr, "shard: --fail-if %s holds: %s\n", options->fail_if, gate->row);
  else
    fprintf(stderr, "shard: --fail-if %s holds: %ju rows\n", options->fail_if, (uintmax_t)gate->rows);
  return EXIT_TESTS_FAILED;
}
