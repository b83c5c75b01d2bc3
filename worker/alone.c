// The static split. Every job works it out for itself, from the list and its own number, and so all jobs together run
// each test once without a word between them; that holds only while no job is run again, since a server that was there
// in between has other ideas of who ran what. There are no retries, no quarantine and no tokens across jobs.
#include "worker/alone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"
#include "worker/submit.h"

enum { ALONE_GIVE_MAX = 1000, ALONE_SUBMIT_US = 3000000 };

struct alone {
  uint32_t index, total;
  uint32_t *part;
  size_t count, given;
  uint32_t *failing;  // numbers
  size_t failing_count;
  bool enough;  // --max-failures was reached
};

// ---- may it?

static bool alone_refuses(const char *why) {
  fprintf(stderr, "shard: --fallback static does not apply: %s\n", why);
  return false;
}

static bool alone_may(struct alone *alone, const struct options *options, const struct identity *identity) {
  uint64_t index = 0;
  bool told = options->node[0] && base_parse_u64(options->node, 0, UINT32_MAX, &index) == 0;
  alone->total = identity->total;
  if (identity->ci.retried == CI_RETRIED_YES) {
    return alone_refuses("this job is run again, and only the server knows what is left of its build");
  }
  if (identity->ci.retried == CI_RETRIED_UNKNOWN) {
    return alone_refuses(
        "the CI does not tell whether this job is run again, in which case only the server would know "
        "what is left; set --retried no where it never is");
  }
  if (!told && identity->ci.index < 0 && alone->total != 1) {
    return alone_refuses("this job has no number; set --node to its 0-based one");
  }
  if (alone->total == 0) return alone_refuses("the number of parallel jobs is unknown; set --total");
  if (!told) index = identity->ci.index < 0 ? 0 : (uint64_t)identity->ci.index;
  if (index >= alone->total) return alone_refuses("this job's number is not below the number of parallel jobs");
  alone->index = (uint32_t)index;
  return true;
}

struct alone *alone_new(const struct options *options, const struct identity *identity) {
  if (options->fallback != OPTIONS_FALLBACK_STATIC) return NULL;
  struct alone *alone = base_calloc(1, sizeof *alone);
  if (!alone_may(alone, options, identity)) {
    free(alone);
    return NULL;
  }
  fprintf(stderr,
          "shard: WARNING: going on without the server: this job runs part %u of %u of the tests, without retries, "
          "quarantine, or tokens across jobs\n",
          alone->index + 1, alone->total);
  return alone;
}

void alone_check(const struct options *options, const struct identity *identity) {
  struct alone alone;
  if (options->fallback == OPTIONS_FALLBACK_STATIC && identity->ci.retried != CI_RETRIED_YES) {
    (void)alone_may(&alone, options, identity);
  }
}

void alone_free(struct alone *alone) {
  if (!alone) return;
  free(alone->part);
  free(alone->failing);
  free(alone);
}

// ---- the part

static uint32_t alone_root(uint32_t *parent, uint32_t at) {
  while (parent[at] != at) {
    parent[at] = parent[parent[at]];
    at = parent[at];
  }
  return at;
}

// For each number on the wire, the least of those that must be with it.
static uint32_t *alone_roots(const struct testlist *list, const uint32_t *number_of) {
  size_t count = testlist_count(list), names = testlist_mark_names(list);
  uint32_t *parent = base_calloc(count + 1, sizeof *parent), *first = base_calloc(names + 1, sizeof *first);
  for (uint32_t i = 0; i < count; i++)
    parent[i] = i;
  for (size_t i = 0; i < names; i++)
    first[i] = UINT32_MAX;
  for (size_t i = 0; i < testlist_marks(list); i++) {
    uint32_t position, mark;
    testlist_mark_at(list, i, &position, &mark);
    if (first[mark] == UINT32_MAX) first[mark] = number_of[position];
    uint32_t a = alone_root(parent, first[mark]), b = alone_root(parent, number_of[position]);
    parent[a > b ? a : b] = a < b ? a : b;
  }
  free(first);
  for (uint32_t i = 0; i < count; i++)
    parent[i] = alone_root(parent, i);
  return parent;
}

// By number, since the order of collection may differ from machine to machine where the list does not.
uint32_t *alone_part(const struct testlist *list, uint32_t index, uint32_t total, size_t *count) {
  uint64_t n = testlist_count(list), before = 0;
  uint32_t *number_of = base_calloc(n + 1, sizeof *number_of), *weight = base_calloc(n + 1, sizeof *weight);
  uint32_t *part = base_calloc(n + 1, sizeof *part), *owner = base_calloc(n + 1, sizeof *owner);
  for (uint32_t i = 0; i < n; i++)
    number_of[testlist_position(list, i)] = i;
  uint32_t *root = alone_roots(list, number_of);
  for (uint64_t i = 0; i < n; i++)
    weight[root[i]]++;
  for (uint64_t i = 0; i < n; i++) {
    owner[i] = root[i] == i ? (uint32_t)(before * total / n) : owner[root[i]];
    if (root[i] == i) before += weight[i];
  }
  *count = 0;
  for (uint64_t i = 0; i < n; i++) {
    if (owner[number_of[i]] == index) part[(*count)++] = number_of[i];
  }
  free(root);
  free(number_of);
  free(weight);
  free(owner);
  return part;
}

void alone_fill(const struct alone *alone, Shardd__Hello *hello) {
  hello->part = alone->index + 1;
  hello->parts = alone->total;
}

// ---- at work

void alone_listed(struct alone *alone, struct run *run) {
  free(alone->part);
  alone->part = alone_part(run->list, alone->index, alone->total, &alone->count);
  alone->failing = base_realloc(alone->failing, alone->count + 1, sizeof *alone->failing);
  run_list_agreed(run);
}

void alone_give(struct alone *alone, struct run *run) {
  Shardd__Lease lease = SHARDD__LEASE__INIT;
  size_t left = alone->count - alone->given;
  run->wants = false;
  if (left == 0 || alone->enough) {
    run->ops->finish(run->runner);
    return;
  }
  lease.n_test = left < ALONE_GIVE_MAX ? left : (size_t)ALONE_GIVE_MAX;
  lease.test = alone->part + alone->given;
  alone->given += lease.n_test;
  struct runner_test *tests = held_take(&run->held, &lease, run->list);
  for (size_t i = 0; i < lease.n_test; i++) {
    tests[i].cap_us = run->options->timeout_per_test_us;
    tests[i].cap_from = RUNNER_CAP_ASKED;
  }
  run->ops->give(run->runner, tests, lease.n_test);
  free(tests);
}

static bool alone_bad(enum runner_status status) {
  return status == RUNNER_FAILED || status == RUNNER_ERROR || status == RUNNER_CRASHED || status == RUNNER_TIMED_OUT;
}

void alone_result(struct alone *alone, const struct run *run, uint32_t number, enum runner_status status) {
  if (!alone_bad(status)) return;
  alone->failing[alone->failing_count++] = number;
  uint64_t most = run->options->max_failures;
  if (alone->enough || most == 0 || alone->failing_count < most) return;
  alone->enough = true;
  if (run->ops->drop) run->ops->drop(run->runner);
}

// ---- the end

static void alone_print_id(const struct run *run, const char *what, uint32_t number) {
  const char *id = testlist_id(run->list, testlist_position(run->list, number));
  char *safe = human_safe(id, strlen(id), ESCAPE_LINE);
  fprintf(stderr, "shard:   %s: %s\n", what, safe);
  free(safe);
}

static void alone_print(const struct alone *alone, const struct run *run, size_t missing) {
  uint32_t ran = run->passed + run->failed + run->skipped;
  if (!run->list || (run->options->quiet && ran == run->passed + run->skipped && missing == 0)) return;
  const uint8_t *digest = testlist_digest(run->list);
  fprintf(
      stderr,
      "shard: part %u of %u, without the server: ran %u of %zu tests: %u passed, %u failed, %u skipped (of the list "
      "%02x%02x%02x%02x of %zu tests)\n",
      alone->index + 1, alone->total, ran, alone->count, run->passed, run->failed, run->skipped, digest[0], digest[1],
      digest[2], digest[3], testlist_count(run->list));
  for (size_t i = 0; i < alone->failing_count && i < MSG_FEW_MAX; i++)
    alone_print_id(run, "failed here", alone->failing[i]);
  if (alone->failing_count > MSG_FEW_MAX) {
    fprintf(stderr, "shard:   … and %zu more\n", alone->failing_count - MSG_FEW_MAX);
  }
  for (size_t i = 0; i < run->late_count; i++) {
    char *safe = human_safe(run->late[i], strlen(run->late[i]), ESCAPE_TEXT);
    fprintf(stderr, "shard: error outside of any test: %s\n", safe);
    free(safe);
  }
}

// Those of the part that have no result.
static size_t alone_missing(const struct alone *alone, const struct run *run, bool print) {
  size_t missing = 0;
  bool *done = base_calloc(run->list ? testlist_count(run->list) + 1 : 1, sizeof *done);
  for (const struct held_lease *lease = run->held.first; lease; lease = lease->next) {
    for (uint32_t i = 0; i < lease->count; i++)
      done[lease->test[i].number] = lease->test[i].seq != 0;
  }
  for (size_t i = 0; i < alone->count; i++) {
    if (done[alone->part[i]]) continue;
    if (print && missing < MSG_FEW_MAX) alone_print_id(run, "has no result", alone->part[i]);
    missing++;
  }
  if (print && missing > MSG_FEW_MAX) fprintf(stderr, "shard:   … and %zu more\n", missing - MSG_FEW_MAX);
  free(done);
  return missing;
}

bool alone_done(const struct alone *alone, const struct run *run) {
  return alone_missing(alone, run, false) == 0;
}

static int alone_code(const struct alone *alone, const struct run *run, size_t missing) {
  if (run->signo) return 128 + run->signo;
  if (run->end_kind == RUNNER_END_USAGE) return EXIT_USAGE;
  if (alone->failing_count || run->late_count) return EXIT_TESTS_FAILED;  // whatever became of the runner
  if (run->end_kind == RUNNER_END_FAILED) return EXIT_INFRA;
  if (run->end_kind == RUNNER_END_EMPTY) return run->options->allow_empty ? EXIT_OK : EXIT_EMPTY;
  return missing || !run->list ? EXIT_INFRA : EXIT_OK;  // without a list nothing is known to have passed
}

// False: the server is back and refuses the results: another job ran the same part, or the build is of another list,
// commit or environment, so that a part of the tests ran nowhere.
static bool alone_hand_over(struct run *run) {
  const char *path = run_keep(run);
  bool refused = false;
  if (!path) return true;
  struct submit submit = {.options = run->options, .timeout_us = ALONE_SUBMIT_US, .quiet = true, .refused = &refused};
  (void)submit_file(&submit, path);  // the file stays where it cannot, which was said
  return !refused;
}

int alone_end(struct alone *alone, struct run *run) {
  size_t missing = alone_missing(alone, run, false);
  int code = alone_code(alone, run, missing);
  alone_print(alone, run, missing);
  if (code == EXIT_INFRA) (void)alone_missing(alone, run, true);
  if (code == EXIT_INFRA && !run->list) fprintf(stderr, "shard: the test process ended without a list of its tests\n");
  if (run->why) fprintf(stderr, "shard: exit %d: %s\n", code, run->why);
  return alone_hand_over(run) || code != EXIT_OK ? code : EXIT_INFRA;
}
