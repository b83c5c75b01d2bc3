// What is said to an echo, to beanstalkd and to redis, and how their answers read. Called by rival.c. It must not know
// sockets.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/rival.h"

enum { ECHO_BYTES = 64 };

static size_t say(char out[RIVAL_REQUEST_MAX], int n) {
  if (n < 0 || n >= RIVAL_REQUEST_MAX) bench_die("request", out);
  return (size_t)n;
}

// The bytes of `lines` lines, 0 when they are not all there.
static size_t whole_lines(const struct rival *rival, unsigned lines) {
  const char *at = rival->in, *end = rival->in + rival->in_bytes;
  for (unsigned i = 0; i < lines; i++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    if (!newline) return 0;
    at = newline + 1;
  }
  return (size_t)(at - rival->in);
}

static void expect(const struct rival *rival, const char *start) {
  if (strncmp(rival->in, start, strlen(start)) == 0) return;
  bench_die("an answer that makes no sense", base_memdup0(rival->in, rival->in_bytes < 80 ? rival->in_bytes : 80));
}

// ---- echo: 64 bytes there and back

static size_t echo_request(const struct rival *rival, char out[RIVAL_REQUEST_MAX]) {
  memset(out, 'a' + (int)(rival->number % 26), ECHO_BYTES);
  return ECHO_BYTES;
}

static size_t echo_reply(struct rival *rival) {
  return rival->in_bytes < ECHO_BYTES ? 0 : ECHO_BYTES;
}

// ---- beanstalkd: reserve, delete. A job's body is the id of a test.

static size_t beanstalkd_put(const struct rival *rival, char out[RIVAL_REQUEST_MAX]) {
  char id[BENCH_NAME_ROOM];
  bench_id(id, rival->number);
  return say(out, snprintf(out, RIVAL_REQUEST_MAX, "put 0 0 600 %d\r\n%s\r\n", BENCH_ID_BYTES, id));
}

static size_t beanstalkd_inserted(struct rival *rival) {
  size_t n = whole_lines(rival, 1);
  if (n) expect(rival, "INSERTED ");
  return n;
}

static size_t beanstalkd_reserve(const struct rival *rival, char out[RIVAL_REQUEST_MAX]) {
  (void)rival;
  return say(out, snprintf(out, RIVAL_REQUEST_MAX, "reserve\r\n"));
}

static size_t beanstalkd_reserved(struct rival *rival) {
  size_t n = whole_lines(rival, 2);
  if (!n) return 0;
  expect(rival, "RESERVED ");
  snprintf(rival->unit, sizeof rival->unit, "%lu", strtoul(rival->in + strlen("RESERVED "), NULL, 10));
  return n;
}

static size_t beanstalkd_delete(const struct rival *rival, char out[RIVAL_REQUEST_MAX]) {
  return say(out, snprintf(out, RIVAL_REQUEST_MAX, "delete %s\r\n", rival->unit));
}

static size_t beanstalkd_deleted(struct rival *rival) {
  size_t n = whole_lines(rival, 1);
  if (n) expect(rival, "DELETED");
  return n;
}

// ---- redis: LPOP alone (no lease, nothing to acknowledge); or moved to a list of the worker's own and removed there
// when it is done, which is redis' own pattern of a reliable queue.

static size_t redis_push(const struct rival *rival, char out[RIVAL_REQUEST_MAX]) {
  char id[BENCH_NAME_ROOM];
  bench_id(id, rival->number);
  return say(out,
             snprintf(out, RIVAL_REQUEST_MAX, "*3\r\n$5\r\nRPUSH\r\n$5\r\nqueue\r\n$%d\r\n%s\r\n", BENCH_ID_BYTES, id));
}

static size_t redis_number(struct rival *rival) {
  size_t n = whole_lines(rival, 1);
  if (n) expect(rival, ":");
  return n;
}

static size_t redis_lpop(const struct rival *rival, char out[RIVAL_REQUEST_MAX]) {
  (void)rival;
  return say(out, snprintf(out, RIVAL_REQUEST_MAX, "*2\r\n$4\r\nLPOP\r\n$5\r\nqueue\r\n"));
}

static size_t redis_value(struct rival *rival) {
  size_t n = whole_lines(rival, 2);
  if (!n) return 0;
  expect(rival, "$86\r\n");
  memcpy(rival->unit, rival->in + 5, BENCH_ID_BYTES);
  rival->unit[BENCH_ID_BYTES] = '\0';
  return n;
}

static size_t redis_move(const struct rival *rival, char out[RIVAL_REQUEST_MAX]) {
  return say(out, snprintf(out, RIVAL_REQUEST_MAX, "*3\r\n$9\r\nRPOPLPUSH\r\n$5\r\nqueue\r\n$6\r\nw%05u\r\n",
                           rival->number % 100000));
}

static size_t redis_remove(const struct rival *rival, char out[RIVAL_REQUEST_MAX]) {
  return say(out, snprintf(out, RIVAL_REQUEST_MAX, "*4\r\n$4\r\nLREM\r\n$6\r\nw%05u\r\n$1\r\n1\r\n$%d\r\n%s\r\n",
                           rival->number % 100000, BENCH_ID_BYTES, rival->unit));
}

static size_t redis_removed(struct rival *rival) {
  size_t n = whole_lines(rival, 1);
  if (n) expect(rival, ":1\r\n");
  return n;
}

static const struct rival_kind kinds[] = {
    {"echo", {NULL, NULL}, {{echo_request, echo_reply}}, 1},
    {"beanstalkd",
     {beanstalkd_put, beanstalkd_inserted},
     {{beanstalkd_reserve, beanstalkd_reserved}, {beanstalkd_delete, beanstalkd_deleted}},
     2},
    {"redis-lpop", {redis_push, redis_number}, {{redis_lpop, redis_value}}, 1},
    {"redis-list", {redis_push, redis_number}, {{redis_move, redis_value}, {redis_remove, redis_removed}}, 2},
};

const struct rival_kind *rival_kind(const char *name) {
  for (size_t i = 0; i < COUNT_OF(kinds); i++) {
    if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
  }
  return NULL;
}
