// What the adapter says, line by line, and what it is told: the tests given, begun and reported. Called by
// runner_pytest.c. It must not know why a process ended.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"
#include "worker/pytest_impl.h"

void pytest_add_late(struct runner *runner, const char *text) {
  if (runner->late_count < PYTEST_LATE_MAX) runner->late[runner->late_count++] = base_strdup(text);
}

// ---- what was given

static size_t pytest_find(const struct runner *runner, const char *id) {
  for (size_t i = runner->begin; i < runner->end; i++) {
    if (strcmp(runner->given[i].test.id, id) == 0) return i;
  }
  return SIZE_MAX;
}

static void pytest_forget(struct runner *runner, size_t at) {
  if (at > runner->begin) {
    memmove(&runner->given[runner->begin + 1], &runner->given[runner->begin],
            (at - runner->begin) * sizeof *runner->given);
  }
  runner->begin++;
  if (runner->sent) runner->sent--;
  if (runner->begin == runner->end) runner->begin = runner->end = 0;
}

// What the test counts for: estimates are scaled by how the last tests went, so that guesses about tests that were
// never timed (far too long for most) do not make each test wait for a word from here.
static uint64_t pytest_expect(const struct runner *runner, const struct pytest_test *given) {
  const double ballast_us = 1000;
  double scale = (runner->observed_us + ballast_us) / (runner->expected_us + ballast_us);
  return (uint64_t)((double)given->test.est_us * (scale < 1 ? scale : 1));
}

static void pytest_observe(struct runner *runner, const struct pytest_test *given, uint64_t us) {
  const double fading = 0.9;
  runner->observed_us = fading * runner->observed_us + (double)us;
  runner->expected_us = fading * runner->expected_us + (double)given->test.est_us;
}

// The next test that the interpreter may be told of; NULL: it has enough to go on.
static struct pytest_test *pytest_next(struct runner *runner) {
  if (runner->begin + runner->sent >= runner->end) return NULL;
  struct pytest_test *next = &runner->given[runner->begin + runner->sent];
  next->ahead_us = pytest_expect(runner, next);
  bool fits = runner->ahead_us + next->ahead_us <= PYTEST_AHEAD_US;
  return runner->waits || fits ? next : NULL;
}

void pytest_send(struct runner *runner) {
  struct pytest_test *next;
  uint64_t now_us = base_now_us();
  while (runner->wants && (next = pytest_next(runner))) {
    json_t *ids = json_array(), *line = json_object();
    size_t bytes = 0, n = 0;
    for (; next && n < PYTEST_IDS_A_LINE && bytes < PYTEST_LINE_IDS_BYTES; n++) {
      json_array_append_new(ids, json_string(next->test.id));
      bytes += strlen(next->test.id);
      runner->sent++;
      runner->ahead_us += next->ahead_us;
      next->told_us = now_us;
      runner->waits = false;
      next = pytest_next(runner);
    }
    json_object_set_new(line, "t", json_string("run"));
    json_object_set_new(line, "ids", ids);
    pytest_lazy_add_files(runner, line, runner->begin + runner->sent - n, n);
    adapter_send(runner->adapter, line);
  }
}

void pytest_release(struct runner *runner, const uint32_t *tags, size_t count, bool *taken) {
  size_t kept = runner->begin + runner->sent;
  for (size_t i = kept; i < runner->end; i++) {
    size_t at = runner_named(tags, count, runner->given[i].test.tag);
    if (at == SIZE_MAX) {
      runner->given[kept++] = runner->given[i];
    } else {
      taken[at] = true;
    }
  }
  runner->end = kept;
}

void pytest_send_word(struct runner *runner, const char *word) {
  json_t *line = json_object();
  json_object_set_new(line, "t", json_string(word));
  adapter_send(runner->adapter, line);
}

// The interpreter wants tests: those it was not told of (after a crash), else the worker is asked.
static void pytest_need(struct runner *runner) {
  runner->wants = runner->waits = true;
  if (runner->begin + runner->sent < runner->end) {
    pytest_send(runner);
  } else if (runner->finishing) {
    pytest_send_word(runner, "finish");
  } else if (!runner->asked) {
    runner->asked = true;
    runner->spec->events.on_need(runner->spec->events.arg);
  }
}

size_t pytest_begun(const struct runner *runner) {
  for (size_t i = runner->begin; i < runner->end; i++) {
    if (runner->given[i].started) return i;
  }
  return SIZE_MAX;
}

// ---- lines of the adapter

static const char *pytest_text(json_t *line, const char *key) {
  const char *text = json_string_value(json_object_get(line, key));
  return text ? text : "";
}

static uint64_t pytest_number(json_t *line, const char *key) {
  json_int_t n = json_integer_value(json_object_get(line, key));
  return n > 0 ? (uint64_t)n : 0;
}

void pytest_break(struct runner *runner, const char *fmt, ...) {
  char text[1024];
  va_list args;
  if (runner->broken) return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  runner->broken = human_safe(text, strlen(text), ESCAPE_TEXT);  // it quotes what the process said
  if (runner->proc) proc_stop(runner->proc, PYTEST_GRACE_US);
}

// [place, mark] pairs of the tests of this line, which begin at `first`.
static void pytest_marks(struct runner *runner, json_t *marks, size_t first) {
  for (size_t i = 0; runner->list && i < json_array_size(marks); i++) {
    json_t *pair = json_array_get(marks, i);
    json_int_t place = json_integer_value(json_array_get(pair, 0));
    const char *mark = json_string_value(json_array_get(pair, 1));
    size_t at = place >= 0 ? first + (size_t)place : SIZE_MAX;
    bool known = mark && (mark[0] == 'g' || mark[0] == 't') && at < testlist_count(runner->list);
    if (known && testlist_mark(runner->list, at, mark) == 0) continue;
    pytest_break(runner, "a group or token of %.300s makes no sense: %.300s",
                 at < testlist_count(runner->list) ? testlist_id(runner->list, at) : "a test", mark ? mark : "");
    return;
  }
}

static void on_tests(struct runner *runner, json_t *line) {
  json_t *ids = json_object_get(line, "ids"), *files = json_object_get(line, "files");
  json_t *units = json_object_get(line, "units");
  size_t first = runner->list ? testlist_count(runner->list) : 0;
  for (size_t i = 0; runner->list && i < json_array_size(ids); i++) {
    json_t *id = json_array_get(ids, i);
    const char *file = json_string_value(json_array_get(files, i));
    uint32_t unit = (uint32_t)json_integer_value(json_array_get(units, i));
    if (testlist_add(runner->list, json_string_value(id), json_string_length(id), file, unit) < 0) {
      pytest_break(runner,
                   "a test id is empty, over 4096 bytes or holds a newline, or there are over 500000 tests: %.200s",
                   json_string_value(id));
    }
  }
  if (!runner->broken) pytest_marks(runner, json_object_get(line, "marks"), first);
}

static void pytest_name_duplicates(struct runner *runner, json_t *names) {
  size_t n = json_array_size(names);
  if (n == 0 || runner->duplicates) return;
  runner->duplicates = base_strdup(json_string_value(json_array_get(names, 0)) ?: "");
  fprintf(stderr,
          "shard: %zu%s test id%s occur more than once, beginning with %s; the later ones are called #2, #3 …\n", n,
          n == 20 ? " or more" : "", n == 1 ? "" : "s", runner->duplicates);
}

static void on_listed(struct runner *runner, json_t *line) {
  struct testlist *list = runner->list;
  runner->listed = true;
  event_del(runner->start_timer);
  const char *sources = pytest_text(line, "sources");
  if (runner->spec->events.on_sources) runner->spec->events.on_sources(runner->spec->events.arg, sources);
  if (json_is_true(json_object_get(line, "lazy"))) {
    pytest_lazy_listed(runner);
    return;
  }
  runner->list = NULL;
  runner->collection_errors = (int)pytest_number(line, "errors");
  pytest_name_duplicates(runner, json_object_get(line, "duplicates"));
  if (!list || runner->handed_over || runner->broken) {
    testlist_free(list);
    return;
  }
  runner->handed_over = true;
  testlist_set_max_failures(list, (uint32_t)pytest_number(line, "maxfail"));
  testlist_seal(list);
  runner->collected = (uint32_t)testlist_count(list);
  if (runner->collected != pytest_number(line, "n")) {
    testlist_free(list);
    pytest_break(runner, "%s", "the list of tests is not complete");
    return;
  }
  if (runner->collected == 0) {
    testlist_free(list);  // its end will say that it is empty
    runner->finishing = true;
    return;
  }
  runner->spec->events.on_listed(runner->spec->events.arg, list);
}

static void pytest_arm_cap(struct runner *runner, uint64_t cap_us) {
  struct timeval after = {.tv_sec = (time_t)(cap_us / 1000000), .tv_usec = (suseconds_t)(cap_us % 1000000)};
  if (cap_us) {
    event_add(runner->cap, &after);
  } else {
    event_del(runner->cap);
  }
}

static void on_start(struct runner *runner, json_t *line) {
  size_t at = pytest_find(runner, pytest_text(line, "id"));
  if (at == SIZE_MAX) {
    pytest_break(runner, "pytest began a test that was not given to it: %.600s", pytest_text(line, "id"));
    return;
  }
  struct pytest_test *given = &runner->given[at];
  given->started = true;
  given->started_us = base_wall_us();
  given->began_us = base_now_us();
  runner->ahead_us -= given->ahead_us;
  bool brief = given->ahead_us <= PYTEST_AHEAD_US;  // behind another one nothing waits that could be taken back
  uint32_t tag = given->test.tag;
  pytest_arm_cap(runner, given->test.cap_us);
  runner->spec->events.on_started(runner->spec->events.arg, tag);
  if (brief && runner->ahead_us < PYTEST_AHEAD_US / 2) pytest_send(runner);
}

static enum runner_status pytest_status(const char *name) {
  static const char *const names[] = {
      [RUNNER_PASSED] = "passed",   [RUNNER_FAILED] = "failed",   [RUNNER_ERROR] = "error",
      [RUNNER_SKIPPED] = "skipped", [RUNNER_XFAILED] = "xfailed", [RUNNER_XPASSED] = "xpassed"};
  for (size_t i = RUNNER_PASSED; i < COUNT_OF(names); i++) {
    if (strcmp(names[i], name) == 0) return (enum runner_status)i;
  }
  return RUNNER_ERROR;
}

void pytest_report(struct runner *runner, size_t at, const struct runner_result *result) {
  enum runner_status status = result->status;
  if (status == RUNNER_FAILED || status == RUNNER_ERROR) runner->any_failed = true;
  runner->any_ran = true;
  pytest_forget(runner, at);
  runner->spec->events.on_result(runner->spec->events.arg, result);
}

static void pytest_cut(uint64_t *phase_us, uint64_t *left_us) {
  if (*phase_us > *left_us) *phase_us = *left_us;
  *left_us -= *phase_us;
}

// The process's clocks may be anything (libfaketime): what it says it spent is no more than has passed here since it
// was told of the test, and it began between then and now.
static void pytest_bound(const struct pytest_test *given, struct runner_result *result) {
  uint64_t left_us = base_now_us() - given->told_us, begun_us = base_wall_us() - left_us;
  if (!given->started) return;
  if (result->start_us < begun_us || result->start_us - begun_us > left_us) result->start_us = given->started_us;
  pytest_cut(&result->setup_us, &left_us);
  pytest_cut(&result->call_us, &left_us);
  pytest_cut(&result->teardown_us, &left_us);
}

static void on_result(struct runner *runner, json_t *line) {
  size_t at = pytest_find(runner, pytest_text(line, "id"));
  json_t *text = json_object_get(line, "text");
  if (at == SIZE_MAX) {
    pytest_break(runner, "pytest reported a test that was not given to it: %.600s", pytest_text(line, "id"));
    return;
  }
  struct runner_result result = {.tag = runner->given[at].test.tag,
                                 .status = pytest_status(pytest_text(line, "status")),
                                 .start_us = pytest_number(line, "start"),
                                 .setup_us = pytest_number(line, "setup"),
                                 .call_us = pytest_number(line, "call"),
                                 .teardown_us = pytest_number(line, "teardown"),
                                 .first = json_is_true(json_object_get(line, "first")),
                                 .text = json_string_value(text),
                                 .text_bytes = json_string_length(text)};
  pytest_bound(&runner->given[at], &result);
  pytest_observe(runner, &runner->given[at], result.setup_us + result.call_us + result.teardown_us);
  pytest_report(runner, at, &result);
  size_t begun = pytest_begun(runner);  // a skipped file is reported while another test tears down
  pytest_arm_cap(runner, begun == SIZE_MAX ? 0 : runner->given[begun].test.cap_us);
}

static void on_need(struct runner *runner, json_t *line) {
  (void)line;
  pytest_need(runner);
}

static void on_hello(struct runner *runner, json_t *line) {
  const struct runner_events *events = &runner->spec->events;
  const char *name;
  json_t *value;
  json_object_foreach(json_object_get(line, "facts"), name, value) {
    if (json_is_string(value) && events->on_fact) events->on_fact(events->arg, name, json_string_value(value));
  }
}

static void on_open(struct runner *runner, json_t *line) {
  pytest_lazy_open(runner, line);
}

static void on_opened(struct runner *runner, json_t *line) {
  pytest_lazy_opened(runner, line);
}

static void on_late(struct runner *runner, json_t *line) {
  pytest_add_late(runner, pytest_text(line, "text"));
}

static void on_error(struct runner *runner, json_t *line) {
  pytest_break(runner, "%.900s", pytest_text(line, "text"));
}

static void on_bye(struct runner *runner, json_t *line) {
  runner->bye = true;
  runner->bye_code = (int)pytest_number(line, "rc");
  runner->stopped = json_is_true(json_object_get(line, "stopped"));
  runner->unexplained = json_is_true(json_object_get(line, "unexplained"));
}

static void on_last_word(struct runner *runner, json_t *line) {
  (void)line;
  runner->last_word = runner->bye;
}

static const struct {
  const char *name;
  void (*handle)(struct runner *runner, json_t *line);
} pytest_lines[] = {{"result", on_result}, {"start", on_start}, {"need", on_need},     {"tests", on_tests},
                    {"listed", on_listed}, {"late", on_late},   {"bye", on_bye},       {"error", on_error},
                    {"hello", on_hello},   {"open", on_open},   {"opened", on_opened}, {"end", on_last_word}};

void pytest_line(struct runner *runner, json_t *line) {
  const char *name = pytest_text(line, "t");
  runner->heard = true;
  if (runner->ended || runner->broken) return;
  for (size_t i = 0; i < COUNT_OF(pytest_lines); i++) {
    if (strcmp(pytest_lines[i].name, name) == 0) {
      pytest_lines[i].handle(runner, line);
      return;
    }
  }
}
