// A store to be killed: puts builds, lists, results with output, rounds and ends into the database, and says after each
// commit how many results are durable; or says what a database holds. Called by syscalls.py, which kills it at every
// system call.
//
//     storetool write FILE    lines "durable N"
//     storetool read FILE     one line "results N", once all that is there was looked at; 1 when it contradicts itself
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/store.h"

enum { TESTS = 24, BATCHES = 6, PASSED = 1, FAILED = 2, COMPLETE = 3, WAIT_MS = 20000, TEXT_BYTES = 9000 };

static void wait_for(struct store *store, uint64_t ticket) {
  while (store_durable(store) < ticket) {
    struct pollfd fd = {.fd = store_eventfd(store), .events = POLLIN};
    if (poll(&fd, 1, WAIT_MS) != 1) base_die(EXIT_INFRA, "storetool: nothing becomes durable");
    struct store_listed *listed = store_poll(store);
    if (listed != NULL) base_die(EXIT_INFRA, "storetool: a list that nobody put");
  }
}

static struct store_listed *put_build(struct store *store, uint64_t id) {
  char ext[24], names[TESTS][24];
  const char *ids[TESTS], *file = "a.py";
  uint32_t file_of[TESTS] = {0}, unit_of[TESTS] = {0};
  (void)snprintf(ext, sizeof ext, "b%" PRIu64, id);
  for (uint32_t i = 0; i < TESTS; i++) {
    (void)snprintf(names[i], sizeof names[i], "a.py::test_%02u", i);
    ids[i] = names[i];
  }
  const struct store_build build = {
      .build = id, .project = "p", .suite = "s", .ext = ext, .commit = "c", .branch = "b", .started_ms = 1};
  const struct store_worker worker = {.build = id, .node = "n", .attempt = "1", .host = "h"};
  const struct store_list list = {
      .build = id, .count = TESTS, .file_count = 1, .id = ids, .file = &file, .file_of = file_of, .unit_of = unit_of};
  store_put_build(store, &build);
  store_put_worker(store, &worker);
  uint64_t ticket = store_put_list(store, &list);
  struct store_listed *listed = NULL;
  while (listed == NULL) {
    struct pollfd fd = {.fd = store_eventfd(store), .events = POLLIN};
    if (poll(&fd, 1, WAIT_MS) != 1) base_die(EXIT_INFRA, "storetool: the list does not come");
    listed = store_poll(store);
  }
  wait_for(store, ticket);
  return listed;
}

static uint64_t put_result(struct store *store, uint64_t build, uint32_t row, uint32_t i) {
  static char text[TEXT_BYTES];
  memset(text, 'x', sizeof text);
  const struct store_result result = {.build = build,
                                      .test = row,
                                      .attempt = 1,
                                      .status = i % 5 == 4 ? FAILED : PASSED,
                                      .flags = STORE_SETTLES,
                                      .round = 1,
                                      .start_ms = 1000 + i,
                                      .call_us = 10 + i,
                                      .text = i % 5 == 4 ? text : NULL,
                                      .text_bytes = i % 5 == 4 ? sizeof text : 0,
                                      .seq = i + 1};
  return store_put_result(store, &result);
}

static void say(const char *what, uint32_t n) {
  char line[40];
  int bytes = snprintf(line, sizeof line, "%s %u\n", what, n);
  if (write(STDOUT_FILENO, line, (size_t)bytes) != bytes) base_die(EXIT_INFRA, "storetool: cannot write");
}

static int write_all(struct store *store) {
  uint64_t build = store_next_build(store), ticket = 0;
  struct store_listed *listed = put_build(store, build);
  for (uint32_t batch = 0, i = 0; batch < BATCHES; batch++) {
    for (uint32_t n = 0; n < TESTS / BATCHES; n++, i++)
      ticket = put_result(store, build, listed->test[i], i);
    wait_for(store, ticket);
    say("durable", i);
  }
  const uint32_t again[] = {listed->test[4], listed->test[9]};
  wait_for(store, store_put_state(store, build, COMPLETE, 5, NULL));
  wait_for(store, store_put_round(store, build, 2, again, COUNT_OF(again), 6));
  say("rounds", 2);
  store_listed_free(listed);
  return 0;
}

// ---- reading

struct seen {
  uint32_t results, tests, rounds, state;
};

static void on_build(void *arg, const struct store_build *build, uint32_t state, uint32_t round) {
  (void)build;
  ((struct seen *)arg)->state = state;
  ((struct seen *)arg)->rounds = round;
}

static void on_worker(void *arg, const struct store_worker *worker, uint64_t acked, bool left, const char *late) {
  (void)worker, (void)left, (void)late;
  struct seen *seen = arg;
  if (acked > TESTS || (seen->state == COMPLETE && acked != TESTS)) base_die(1, "the worker's number is wrong");
}

static void on_list(void *arg, const struct store_list *list, const struct store_listed *listed) {
  (void)listed;
  ((struct seen *)arg)->tests = list->count;
}

static void on_round(void *arg, uint32_t round, const uint32_t *tests, size_t count) {
  (void)arg, (void)tests;
  if (round != 2 || count != 2) base_die(1, "a round that nobody put");
}

// In order, without a gap: results were put by test.
static void on_result(void *arg, const struct store_result *result) {
  struct seen *seen = arg;
  if (result->start_ms != 1000 + seen->results || result->attempt != 1) base_die(1, "a result is missing");
  seen->results++;
}

static int read_all(struct store *store) {
  struct seen seen = {0};
  const struct store_replay replay = {on_build, on_worker, on_list, on_round, on_result, &seen};
  uint64_t build = store_find(store, "p", "s", "b1");
  if (build != 0 && store_replay_build(store, build, &replay) != 0) return 1;
  if (seen.results > 0 && seen.tests != TESTS) return 1;
  if (seen.rounds == 2 && seen.results != TESTS) return 1;
  say("rounds", seen.rounds);
  say("results", seen.results);
  return 0;
}

int main(int argc, char **argv) {
  base_log_init("storetool", LOG_LEVEL_WARN);
  bool writes = argc == 3 && strcmp(argv[1], "write") == 0;
  if (argc != 3 || (!writes && strcmp(argv[1], "read") != 0)) base_die(EXIT_USAGE, "write|read FILE");
  const struct store_options options = {.path = argv[2], .ballast_bytes = 4096};
  struct store_error error = {""};
  struct store *store = store_open(&options, &error);
  if (store == NULL) base_die(1, "%s", error.text);
  int rc = writes ? write_all(store) : read_all(store);
  store_close(store);
  return rc;
}
