// Folding attempts into cases. Called by report.c and local.c with each page of a report. The server marks the attempt
// that settled a verdict; a test without such an attempt is missing, whatever else is known of it: silence is never
// success. It must not print, nor decide an exit code.
#include "worker/cases.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/msg.h"

// Of the column "flags": the bits of store_result_flags, which are part of the protocol's report.
enum { FLAG_SETTLES = 1, FLAG_EXTRA = 4, FLAG_LOST = 16, FLAG_MUTED = 32 };

_Static_assert(RUNNER_PASSED == (int)SHARDD__STATUS__STATUS_PASSED &&
                   RUNNER_TIMED_OUT == (int)SHARDD__STATUS__STATUS_TIMED_OUT,
               "statuses have the numbers of the wire");

enum column {
  COLUMN_ID,
  COLUMN_FILE,
  COLUMN_ATTEMPT,
  COLUMN_STATUS,
  COLUMN_FLAGS,
  COLUMN_ROUND,
  COLUMN_WORKER,
  COLUMN_NODE,
  COLUMN_HOST,
  COLUMN_START,
  COLUMN_SETUP,
  COLUMN_CALL,
  COLUMN_TEARDOWN,
  COLUMN_TEXT,
  COLUMN_COUNT,
};

static const struct {
  const char *name, *missing;
} columns[COLUMN_COUNT] = {
    [COLUMN_ID] = {"id", "the report has no column id"},
    [COLUMN_FILE] = {"file", "the report has no column file"},
    [COLUMN_ATTEMPT] = {"attempt", "the report has no column attempt"},
    [COLUMN_STATUS] = {"status", "the report has no column status"},
    [COLUMN_FLAGS] = {"flags", "the report has no column flags"},
    [COLUMN_ROUND] = {"round", "the report has no column round"},
    [COLUMN_WORKER] = {"worker", "the report has no column worker"},
    [COLUMN_NODE] = {"node", "the report has no column node"},
    [COLUMN_HOST] = {"host", "the report has no column host"},
    [COLUMN_START] = {"start", "the report has no column start"},
    [COLUMN_SETUP] = {"setup", "the report has no column setup"},
    [COLUMN_CALL] = {"call", "the report has no column call"},
    [COLUMN_TEARDOWN] = {"teardown", "the report has no column teardown"},
    [COLUMN_TEXT] = {"text", "the report has no column text"},
};

static const char *const status_names[] = {
    [RUNNER_PASSED] = "passed",   [RUNNER_FAILED] = "failed",       [RUNNER_ERROR] = "error",
    [RUNNER_SKIPPED] = "skipped", [RUNNER_XFAILED] = "xfailed",     [RUNNER_XPASSED] = "xpassed",
    [RUNNER_CRASHED] = "crashed", [RUNNER_TIMED_OUT] = "timed_out",
};

struct row {
  const struct answer *page;
  const int *column;
  size_t row;
};

static struct cases_case *case_new(struct cases *cases);
static struct cases_case *case_of(struct cases *cases, const struct row *row);
static int add_attempt(struct cases_case *item, const struct row *row, const char **why);
static int64_t number(const struct row *row, enum column column);
static uint64_t duration(const struct row *row, enum column column);
static char *text(const struct row *row, enum column column);
static void settle(struct cases_case *item);

void cases_init(struct cases *cases) {
  *cases = (struct cases){0};
}

void cases_release(struct cases *cases) {
  for (size_t i = 0; i < cases->count; i++) {
    struct cases_case *item = &cases->item[i];
    for (size_t j = 0; j < item->attempt_count; j++) {
      free(item->attempt[j].node);
      free(item->attempt[j].host);
      free(item->attempt[j].text);
    }
    free(item->attempt);
    free(item->id);
    free(item->file);
  }
  free(cases->item);
  for (size_t i = 0; i < cases->note_count; i++)
    free(cases->note[i]);
  free(cases->note);
  cases_init(cases);
}

int cases_add(struct cases *cases, const struct answer *page, const char **why) {
  int column[COLUMN_COUNT];
  for (size_t i = 0; i < COLUMN_COUNT; i++) {
    column[i] = answer_column(page, columns[i].name);
    if (column[i] != ANSWER_NO_COLUMN) continue;
    *why = columns[i].missing;
    return -1;
  }
  for (size_t i = 0; i < page->row_count; i++) {
    struct row row = {.page = page, .column = column, .row = i};
    ProtobufCBinaryData id = answer_cell(page, i, column[COLUMN_ID]);
    if (!msg_id_valid(id.data, id.len)) {
      *why = "the report has a row without a valid id";
      return -1;
    }
    if (add_attempt(case_of(cases, &row), &row, why) != 0) return -1;
  }
  return 0;
}

static void add_error(struct cases *cases, const struct answer *answer, size_t row) {
  int64_t worker = answer_get_number(answer, row, "worker", 0);
  char *node = answer_get_text(answer, row, "node"), *text = answer_get_text(answer, row, "text");
  char *number = base_printf("%lld", (long long)worker);
  struct cases_case *item = case_new(cases);
  item->id =
      base_printf("outside of any test (%s %s)", node[0] != '\0' ? "node" : "worker", node[0] != '\0' ? node : number);
  item->outside = item->settled = true;
  item->attempt = base_calloc(1, sizeof *item->attempt);
  item->attempt_count = 1;
  *item->attempt = (struct cases_attempt){.status = RUNNER_ERROR,
                                          .worker = worker < 0 ? UINT32_MAX : (uint32_t)worker,
                                          .node = node,
                                          .host = answer_get_text(answer, row, "host"),
                                          .text = text,
                                          .text_bytes = strlen(text)};
  item->verdict = CASES_FAILED;
  free(number);
}

int cases_add_errors(struct cases *cases, const struct answer *answer, const char **why) {
  static const char *const names[] = {"worker", "node", "host", "stands", "text"};
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    if (answer_column(answer, names[i]) != ANSWER_NO_COLUMN) continue;
    *why = "the answer about errors outside of tests lacks a column";
    return -1;
  }
  for (size_t row = 0; row < answer->row_count; row++)
    if (answer_get_number(answer, row, "stands", 1) != 0) add_error(cases, answer, row);
  return 0;
}

void cases_note(struct cases *cases, char *line) {
  cases->note = base_realloc(cases->note, cases->note_count + 1, sizeof *cases->note);
  cases->note[cases->note_count++] = line;
}

size_t cases_tries(const struct cases_case *item) {
  size_t tries = 0;
  for (size_t i = 0; i < item->attempt_count; i++)
    tries += item->attempt[i].status != RUNNER_SKIPPED || i + 1 == item->attempt_count;
  return tries;
}

const struct cases_attempt *cases_final(const struct cases_case *item) {
  return item->settled ? &item->attempt[item->attempt_count - 1] : NULL;
}

uint64_t cases_duration_us(const struct cases_attempt *attempt) {
  return attempt->setup_us + attempt->call_us + attempt->teardown_us;
}

bool cases_bad(enum runner_status status) {
  return status == RUNNER_FAILED || status == RUNNER_ERROR || status == RUNNER_CRASHED || status == RUNNER_TIMED_OUT;
}

const char *cases_status_name(enum runner_status status) {
  return status_names[status];
}

static struct cases_case *case_new(struct cases *cases) {
  if (cases->count == cases->room) {
    cases->room = cases->room > 0 ? cases->room * 2 : 256;
    cases->item = base_realloc(cases->item, cases->room, sizeof *cases->item);
  }
  assert(cases->item != NULL);
  struct cases_case *item = &cases->item[cases->count++];
  *item = (struct cases_case){0};
  return item;
}

// The last case, or a new one when the row is of another test.
static struct cases_case *case_of(struct cases *cases, const struct row *row) {
  ProtobufCBinaryData id = answer_cell(row->page, row->row, row->column[COLUMN_ID]);
  struct cases_case *last = cases->count > 0 ? &cases->item[cases->count - 1] : NULL;
  if (last != NULL && strlen(last->id) == id.len && memcmp(last->id, id.data, id.len) == 0) return last;
  struct cases_case *item = case_new(cases);
  char *file = text(row, COLUMN_FILE);
  *item = (struct cases_case){.id = text(row, COLUMN_ID), .file = file[0] != '\0' ? file : NULL};
  if (file[0] == '\0') free(file);
  return item;
}

static int add_attempt(struct cases_case *item, const struct row *row, const char **why) {
  int64_t attempt = number(row, COLUMN_ATTEMPT), status = number(row, COLUMN_STATUS), flags = number(row, COLUMN_FLAGS);
  bool settles = (flags & FLAG_SETTLES) != 0;
  if (attempt == 0) return 0;  // a test that nobody reported
  if (attempt < 0 || flags < 0 || status < RUNNER_PASSED || status > RUNNER_TIMED_OUT) {
    *why = "the report has an attempt without a number, status or flags that are known";
    return -1;
  }
  if (!settles && (flags & (FLAG_EXTRA | FLAG_LOST)) != 0) return 0;
  item->attempt = base_realloc(item->attempt, item->attempt_count + 1, sizeof *item->attempt);
  struct cases_attempt *added = &item->attempt[item->attempt_count++];
  *added = (struct cases_attempt){.status = (enum runner_status)status,
                                  .worker = (uint32_t)number(row, COLUMN_WORKER),
                                  .round = (uint32_t)number(row, COLUMN_ROUND),
                                  .node = text(row, COLUMN_NODE),
                                  .host = text(row, COLUMN_HOST),
                                  .start_ms = duration(row, COLUMN_START),
                                  .setup_us = duration(row, COLUMN_SETUP),
                                  .call_us = duration(row, COLUMN_CALL),
                                  .teardown_us = duration(row, COLUMN_TEARDOWN)};
  added->text_bytes = answer_cell(row->page, row->row, row->column[COLUMN_TEXT]).len;
  if (added->text_bytes > 0) added->text = text(row, COLUMN_TEXT);
  item->settled = settles;
  item->muted = (flags & FLAG_MUTED) != 0;
  settle(item);
  return 0;
}

static int64_t number(const struct row *row, enum column column) {
  return answer_number(row->page, row->row, row->column[column], -1);
}

static uint64_t duration(const struct row *row, enum column column) {
  int64_t us = number(row, column);
  return us < 0 ? 0 : (uint64_t)us;
}

static char *text(const struct row *row, enum column column) {
  return answer_text(row->page, row->row, row->column[column]);
}

// Flaky is what passed after failing, and after a crash too.
static void settle(struct cases_case *item) {
  item->verdict = CASES_MISSING;
  if (!item->settled) return;
  const struct cases_attempt *last = &item->attempt[item->attempt_count - 1];
  bool failed = false;
  for (size_t i = 0; i + 1 < item->attempt_count; i++)
    failed = failed || cases_bad(item->attempt[i].status);
  if (cases_bad(last->status))
    item->verdict = item->muted ? CASES_MUTED : CASES_FAILED;
  else if (last->status == RUNNER_SKIPPED)
    item->verdict = CASES_SKIPPED;
  else
    item->verdict = failed ? CASES_FLAKY : CASES_PASSED;
}
