// Matches reported rows to the tests of a batch. Called by the command runner after each process. Two hashes: the ids
// as they are, and the ids as pytest's report names them (class and name apart). It must not know how the tests were
// run, and never guesses: a row that could mean two tests means none, and a test without a row stays unknown.
#include "worker/command_results.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/excerpt.h"
#include "worker/here.h"
#include "worker/limits.h"

enum { NO_TEST = -1, TWO_TESTS = -2 };

struct index {
  char **keys;     // per test
  int64_t *slots;  // test + 1, 0 is free; power of two, at most half full
  size_t room;
};

struct outcome {
  bool known, named, has_time;
  enum runner_status status;
  uint64_t time_us, comma_us;  // as struct seconds has them
  struct excerpt text;
  char *joined;  // text as given out
  size_t joined_bytes;
};

struct row {
  char *name;
  enum runner_status status;
  bool has_time;
  uint64_t time_us, comma_us;
  char *text;
  size_t text_bytes;
};

struct command_results {
  size_t count;
  struct index ids, pairs;
  struct index paths;  // ids as the working folder sees them (here.h)
  struct here *here;
  struct outcome *outcomes;
  struct row *rows;  // of TAP, until settled
  size_t row_count, row_room;
  size_t seen, strange;
  char first_strange[256], stray[256];
};

static void index_init(struct index *index, size_t count);
static void index_release(struct index *index, size_t count);
static void index_add(struct index *index, size_t test, char *key);
static int64_t index_find(const struct index *index, const char *key);
static size_t first_slot(const struct index *index, const char *key);
static char *pair_key(const char *classname, const char *name);
static int64_t find_case(const struct command_results *results, const struct junit_case *testcase, bool *named);
static int64_t find_id(const struct command_results *results, const char *key);
static void meet(int64_t *found, int64_t test);
static int64_t find_row(const struct command_results *results, const struct row *row);
static void take(struct command_results *results, int64_t test, const struct row *row, bool named);
static void add_time(uint64_t *sum_us, uint64_t us);
static enum runner_status status_of(const struct junit_case *testcase);
static void add_row_text(struct outcome *outcome, const struct row *row);
static int rank(enum runner_status status);
static bool failing(enum runner_status status);
static void note_strange(struct command_results *results, const char *name, bool failed);
static char *join_text(const char *message, const char *text, size_t text_bytes, size_t *n);

struct command_results *command_results_new(const char *const *ids, size_t count) {
  struct command_results *results = base_calloc(1, sizeof(*results));
  results->count = count;
  results->outcomes = base_calloc(count + 1, sizeof(*results->outcomes));
  index_init(&results->ids, count);
  index_init(&results->pairs, count);
  index_init(&results->paths, count);
  results->here = here_new();
  for (size_t i = 0; i < count; i++) {
    excerpt_init(&results->outcomes[i].text, EXCERPT_TEXT_MAX_BYTES);
    index_add(&results->ids, i, base_strdup(ids[i]));
    index_add(&results->paths, i, base_strdup(here_path(results->here, ids[i])));
    char *classname, *name;
    junit_split_id(ids[i], &classname, &name);
    index_add(&results->pairs, i, pair_key(classname, name));
    free(classname);
    free(name);
  }
  return results;
}

void command_results_free(struct command_results *results) {
  if (!results) return;
  for (size_t i = 0; i < results->count; i++) {
    excerpt_release(&results->outcomes[i].text);
    free(results->outcomes[i].joined);
  }
  for (size_t i = 0; i < results->row_count; i++) {
    free(results->rows[i].name);
    free(results->rows[i].text);
  }
  index_release(&results->ids, results->count);
  index_release(&results->pairs, results->count);
  index_release(&results->paths, results->count);
  here_free(results->here);
  free(results->outcomes);
  free(results->rows);
  free(results);
}

void command_results_on_junit(void *arg, const struct junit_case *testcase) {
  struct command_results *results = arg;
  results->seen++;
  if (!testcase->name) {  // an error of a suite belongs to no test
    note_strange(results, testcase->message[0] ? testcase->message : testcase->text, true);
    return;
  }
  bool named = false;
  int64_t test = find_case(results, testcase, &named);
  struct row row = {.status = status_of(testcase),
                    .has_time = testcase->has_time,
                    .time_us = testcase->time_us,
                    .comma_us = testcase->comma_us};
  if (test < 0) {
    note_strange(results, testcase->name, failing(row.status));
    return;
  }
  row.text = join_text(testcase->message, testcase->text, testcase->text_bytes, &row.text_bytes);
  take(results, test, &row, named);
  free(row.text);
}

void command_results_on_tap(void *arg, const struct tap_case *testcase) {
  struct command_results *results = arg;
  if (results->row_count == results->row_room) {
    results->row_room = results->row_room ? results->row_room * 2 : 64;
    results->rows = base_realloc(results->rows, results->row_room, sizeof(*results->rows));
  }
  struct row *row = &results->rows[results->row_count++];
  *row = (struct row){
      .name = base_strdup(testcase->description), .has_time = testcase->has_time, .time_us = testcase->time_us};
  row->comma_us = row->time_us;
  row->text = join_text(testcase->reason, testcase->text, testcase->text_bytes, &row->text_bytes);
  row->status = testcase->skip                   ? RUNNER_SKIPPED
                : testcase->todo && testcase->ok ? RUNNER_XPASSED
                : testcase->todo                 ? RUNNER_XFAILED
                : testcase->ok                   ? RUNNER_PASSED
                                                 : RUNNER_FAILED;
  results->seen++;
}

void command_results_decimal_comma(struct command_results *results) {
  for (size_t i = 0; i < results->count; i++)
    results->outcomes[i].time_us = results->outcomes[i].comma_us;
}

void command_results_settle(struct command_results *results, bool in_order) {
  bool named = false;
  for (size_t i = 0; i < results->row_count && !named; i++)
    named = find_row(results, &results->rows[i]) >= 0;
  bool by_order = !named && in_order && results->row_count == results->count;
  bool alone = !named && results->count == 1;
  for (size_t i = 0; i < results->row_count; i++) {
    const struct row *row = &results->rows[i];
    int64_t test = by_order ? (int64_t)i : alone ? 0 : find_row(results, row);
    if (test < 0)
      note_strange(results, row->name, failing(row->status));
    else
      take(results, test, row, named || by_order);
  }
  for (size_t i = 0; i < results->count; i++) {
    struct outcome *outcome = &results->outcomes[i];
    if (!outcome->joined) outcome->joined = excerpt_text(&outcome->text, &outcome->joined_bytes);
  }
}

struct command_outcome command_results_get(const struct command_results *results, size_t test) {
  assert(test < results->count && results->outcomes[test].joined);
  const struct outcome *outcome = &results->outcomes[test];
  return (struct command_outcome){.known = outcome->known,
                                  .named = outcome->named,
                                  .status = outcome->status,
                                  .has_time = outcome->has_time,
                                  .time_us = outcome->time_us,
                                  .text = outcome->joined,
                                  .text_bytes = outcome->joined_bytes};
}

const char *command_results_stray(const struct command_results *results) {
  return results->stray[0] ? results->stray : NULL;
}

const char *command_results_describe(const struct command_results *results, char *out, size_t out_size) {
  if (results->strange)
    (void)snprintf(out, out_size, "%zu rows were reported, %zu of them of no test of this batch (the first: '%s')",
                   results->seen, results->strange, results->first_strange);
  else
    (void)snprintf(out, out_size, "%zu rows were reported", results->seen);
  return out;
}

static void index_init(struct index *index, size_t count) {
  index->keys = base_calloc(count + 1, sizeof(*index->keys));
  for (index->room = 16; index->room < count * 2; index->room *= 2)
    continue;
  index->slots = base_calloc(index->room, sizeof(*index->slots));
}

static void index_release(struct index *index, size_t count) {
  for (size_t i = 0; i < count; i++)
    free(index->keys[i]);
  free(index->keys);
  free(index->slots);
}

// Takes the key over. Two tests of one key: a row of that key means neither.
static void index_add(struct index *index, size_t test, char *key) {
  index->keys[test] = key;
  size_t slot = first_slot(index, key);
  for (; index->slots[slot]; slot = (slot + 1) & (index->room - 1)) {
    int64_t other = index->slots[slot];
    const char *other_key = index->keys[(other < 0 ? -other : other) - 1];
    if (strcmp(other_key, key) != 0) continue;
    if (other > 0) index->slots[slot] = -other;
    return;
  }
  index->slots[slot] = (int64_t)test + 1;
}

static int64_t index_find(const struct index *index, const char *key) {
  for (size_t slot = first_slot(index, key); index->slots[slot]; slot = (slot + 1) & (index->room - 1)) {
    int64_t found = index->slots[slot];
    if (strcmp(index->keys[(found < 0 ? -found : found) - 1], key) == 0) return found < 0 ? TWO_TESTS : found - 1;
  }
  return NO_TEST;
}

static size_t first_slot(const struct index *index, const char *key) {
  uint64_t hash = 14695981039346656037u;
  for (; *key; key++)
    hash = (hash ^ (uint8_t)*key) * 1099511628211u;
  return (size_t)(hash ^ hash >> 32) & (index->room - 1);
}

// Class and name in one key; the newline stands in no id.
static char *pair_key(const char *classname, const char *name) {
  return base_printf("%s\n%s", classname, name);
}

// Every way in which a row can mean a test; it counts when all that hit mean the same one. *named: by the row's name,
// and not only by the class or file that it stands in.
static int64_t find_case(const struct command_results *results, const struct junit_case *testcase, bool *named) {
  const char *name = testcase->name + strspn(testcase->name, " \t\n");  // jest-junit puts a space in front
  const char *file = here_path(results->here, testcase->file);
  bool class = testcase->classname[0] != '\0';
  enum { CONTAINERS = 3 };
  char *keys[] = {base_strdup(testcase->classname),
                  base_strdup(testcase->file),
                  base_strdup(file),
                  base_strdup(testcase->name),
                  base_strdup(name),
                  class ? base_printf("%s.%s", testcase->classname, name) : base_strdup(""),
                  class ? base_printf("%s::%s", testcase->classname, name) : base_strdup(""),
                  file[0] ? base_printf("%s::%s", file, name) : base_strdup("")};
  int64_t found = NO_TEST;
  for (size_t i = 0; i < COUNT_OF(keys); i++) {
    int64_t hit = find_id(results, keys[i]);
    *named = *named || (i >= CONTAINERS && hit != NO_TEST);
    meet(&found, hit);
    free(keys[i]);
  }
  char *pair = pair_key(testcase->classname, name);
  int64_t hit = class ? index_find(&results->pairs, pair) : NO_TEST;
  *named = *named || hit != NO_TEST;
  meet(&found, hit);
  free(pair);
  return found;
}

// By the id itself, else by the path that it is, or begins with.
static int64_t find_id(const struct command_results *results, const char *key) {
  int64_t found = index_find(&results->ids, key);
  return found != NO_TEST ? found : index_find(&results->paths, here_path(results->here, key));
}

static void meet(int64_t *found, int64_t test) {
  if (test == NO_TEST || test == *found) return;
  *found = *found == NO_TEST ? test : TWO_TESTS;
}

// By description, also without what bats -T puts behind it: " in 12ms".
static int64_t find_row(const struct command_results *results, const struct row *row) {
  int64_t found = find_id(results, row->name);
  size_t end = strlen(row->name);
  if (found != NO_TEST || end < 7 || strcmp(row->name + end - 2, "ms") != 0) return found;
  end -= 2;
  size_t digits = end;
  while (digits > 0 && isdigit((unsigned char)row->name[digits - 1]))
    digits--;
  if (digits == end || digits < 5 || strncmp(row->name + digits - 4, " in ", 4) != 0) return found;
  char *name = base_memdup0(row->name, digits - 4);
  found = find_id(results, name);
  free(name);
  return found;
}

// ctest writes as skipped what it could not run: a program or file that is not there, a fixture that failed. What a
// test asked for itself has a message of its own. Its rows are known by their equal class and name.
static bool could_not_run(const struct junit_case *testcase) {
  return testcase->not_run && testcase->status == JUNIT_SKIPPED && testcase->message[0] &&
         strcmp(testcase->classname, testcase->name) == 0 && strncmp(testcase->message, "SKIP_RETURN_CODE=", 17) != 0 &&
         strcmp(testcase->message, "SKIP_REGULAR_EXPRESSION_MATCHED") != 0 &&
         strcmp(testcase->message, "Disabled") != 0;
}

static enum runner_status status_of(const struct junit_case *testcase) {
  static const enum runner_status statuses[] = {[JUNIT_PASSED] = RUNNER_PASSED,
                                                [JUNIT_SKIPPED] = RUNNER_SKIPPED,
                                                [JUNIT_FAILED] = RUNNER_FAILED,
                                                [JUNIT_ERROR] = RUNNER_ERROR};
  return could_not_run(testcase) ? RUNNER_ERROR : statuses[testcase->status];
}

static void take(struct command_results *results, int64_t test, const struct row *row, bool named) {
  assert(test >= 0 && (size_t)test < results->count);
  struct outcome *outcome = &results->outcomes[test];
  if (row->has_time) {
    add_time(&outcome->time_us, row->time_us);
    add_time(&outcome->comma_us, row->comma_us);
  }
  outcome->has_time = outcome->has_time || row->has_time;
  bool worse = !outcome->known || rank(row->status) > rank(outcome->status);
  if (worse && !(outcome->known && failing(outcome->status))) excerpt_clear(&outcome->text);
  if (worse) outcome->status = row->status;
  if (worse || failing(row->status)) add_row_text(outcome, row);
  outcome->known = true;
  outcome->named = outcome->named || named;
}

// Each is bounded, and so is their sum.
static void add_time(uint64_t *sum_us, uint64_t us) {
  *sum_us = us < LIMIT_TEST_US - *sum_us ? *sum_us + us : LIMIT_TEST_US;
}

static void add_row_text(struct outcome *outcome, const struct row *row) {
  if (outcome->text.total && row->text_bytes) excerpt_add_text(&outcome->text, "\n");
  excerpt_add(&outcome->text, row->text, row->text_bytes);
}

static int rank(enum runner_status status) {
  static const int ranks[] = {[RUNNER_SKIPPED] = 0, [RUNNER_XFAILED] = 1, [RUNNER_XPASSED] = 2,
                              [RUNNER_PASSED] = 3,  [RUNNER_FAILED] = 4,  [RUNNER_ERROR] = 5};
  assert((size_t)status < COUNT_OF(ranks));
  return ranks[status];
}

static bool failing(enum runner_status status) {
  return rank(status) >= rank(RUNNER_FAILED);
}

static void note_strange(struct command_results *results, const char *name, bool failed) {
  if (results->strange++ == 0)
    (void)snprintf(results->first_strange, sizeof(results->first_strange), "%.*s", 200, name);
  if (failed && !results->stray[0])
    (void)snprintf(results->stray, sizeof(results->stray), "%.*s", 200, name[0] ? name : "(without a name)");
}

// The message in front of the text, unless the text says it itself.
static char *join_text(const char *message, const char *text, size_t text_bytes, size_t *n) {
  size_t message_bytes = strlen(message);
  bool said = message_bytes == 0 || memmem(text, text_bytes, message, message_bytes) != NULL;
  if (said) message_bytes = 0;
  size_t gap = message_bytes && text_bytes;
  char *out = base_malloc(message_bytes + gap + text_bytes + 1);
  memcpy(out, message, message_bytes);
  if (gap) out[message_bytes] = '\n';
  memcpy(out + message_bytes + gap, text, text_bytes);
  *n = message_bytes + gap + text_bytes;
  out[*n] = '\0';
  return out;
}
