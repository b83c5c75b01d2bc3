// The pytest runner's files that are imported when their first test is given: what the interpreter says of them, and
// what it has to know for it. Called by runner_pytest.c and pytest_lines.c. It must not know what a file has to hold:
// who gave the tests does.
#include <stdlib.h>
#include <string.h>

#include "worker/pytest_impl.h"

// Once a list was handed over, another interpreter (after a crash) need not collect for it again.
bool pytest_lazy_wanted(const struct runner *runner) {
  return runner->spec->lazy && (!runner->spec->want_list || runner->handed_over);
}

void pytest_lazy_reset(struct runner *runner) {
  free(runner->opening);
  testlist_free(runner->found);
  runner->opening = NULL;
  runner->found = NULL;
}

void pytest_arm_start(struct runner *runner) {
  uint64_t limit_us = runner->spec->start_timeout_us;
  struct timeval limit = {.tv_sec = (time_t)(limit_us / 1000000), .tv_usec = (suseconds_t)(limit_us % 1000000)};
  if (limit_us) event_add(runner->start_timer, &limit);
}

// ---- collecting after all

static void pytest_lazy_ask(struct runner *runner) {
  runner->collect = runner->listed = false;
  pytest_arm_start(runner);
  pytest_send_word(runner, "collect");
}

void pytest_lazy_listed(struct runner *runner) {
  const struct runner_events *events = &runner->spec->events;
  if (runner->collect) {
    pytest_lazy_ask(runner);
  } else if (events->on_scanned) {
    events->on_scanned(events->arg);
  }
}

void pytest_lazy_collect(struct runner *runner) {
  runner->collect = true;
  if (runner->listed && runner->proc) pytest_lazy_ask(runner);
}

// ---- files

void pytest_lazy_open(struct runner *runner, json_t *line) {
  const char *file = json_string_value(json_object_get(line, "file"));
  pytest_lazy_reset(runner);
  runner->opening = base_strdup(file ? file : "");
  pytest_arm_start(runner);
}

static int pytest_lazy_add(struct testlist *found, const char *file, json_t *ids) {
  for (size_t i = 0; i < json_array_size(ids); i++) {
    json_t *id = json_array_get(ids, i);
    if (testlist_add(found, json_string_value(id), json_string_length(id), file, 0) < 0) return -1;
  }
  return 0;
}

void pytest_lazy_opened(struct runner *runner, json_t *line) {
  const struct runner_events *events = &runner->spec->events;
  const char *file = json_string_value(json_object_get(line, "file"));
  const char *text = json_string_value(json_object_get(line, "text"));
  if (!runner->found) runner->found = testlist_new();
  if (pytest_lazy_add(runner->found, file, json_object_get(line, "ids")) < 0) {
    pytest_break(runner, "a test id in %.300s is empty, over 4096 bytes or holds a newline", file ? file : "no file");
    return;
  }
  if (json_is_true(json_object_get(line, "more"))) return;
  event_del(runner->start_timer);
  testlist_seal(runner->found);
  if (file && events->on_opened && !events->on_opened(events->arg, file, runner->found, text ? text : "")) {
    pytest_break(runner, "%.300s holds other tests here than in the build's list", file);
  }
  pytest_lazy_reset(runner);
}

void pytest_lazy_add_files(struct runner *runner, json_t *line, size_t at, size_t n) {
  if (!runner->lazy) return;
  json_t *files = json_array();
  for (size_t i = at; i < at + n; i++) {
    const char *file = runner->given[i].test.file;
    json_t *name = file ? json_string(file) : NULL;
    json_array_append_new(files, name ? name : json_null());
  }
  json_object_set_new(line, "files", files);
}
