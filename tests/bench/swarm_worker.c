// One worker of the swarm: its hello, its results and requests, and what it makes of the server's messages. Called by
// swarm.c. It must not know when its turn comes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "tests/bench/swarm.h"

static void watch(struct swarm_worker *worker, int change) {
  worker->wants_write = client_wants_write(worker->client);
  struct epoll_event event = {.events = EPOLLIN | (worker->wants_write ? EPOLLOUT : 0), .data.ptr = worker};
  if (epoll_ctl(worker->swarm->epoll, change, client_fd(worker->client), &event) != 0) bench_die("epoll", "ctl");
}

void swarm_send(struct swarm_worker *worker, const Shardd__Frame *frame) {
  struct client_error error;
  if (client_send(worker->client, frame, &error) < 0) bench_die("send", error.text);
  if (worker->welcome && client_wants_write(worker->client) != worker->wants_write) watch(worker, EPOLL_CTL_MOD);
}

const Shardd__Frame *swarm_wait(struct swarm_worker *worker) {
  const Shardd__Frame *frame;
  struct client_error error;
  if (client_call(worker->client, NULL, SWARM_REPLY_MS, &frame, &error) < 0) bench_die("wait", error.text);
  if (frame->body_case == SHARDD__FRAME__BODY_ERROR)
    bench_die("server", base_memdup0(frame->error->text.data, frame->error->text.len));
  return frame;
}

void swarm_hello(struct swarm_worker *worker) {
  struct swarm *swarm = worker->swarm;
  struct client_error error;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  char node[16], build[128];
  snprintf(node, sizeof node, "%u", worker->number);
  snprintf(build, sizeof build, "%.100s-%u", swarm->build, worker->number % swarm->builds);
  hello.version = MSG_VERSION;
  hello.role = SHARDD__ROLE__ROLE_WORKER;
  hello.client = msg_text("bench");
  hello.project = msg_text("bench");
  hello.suite = msg_text("default");
  hello.build = msg_text(build);
  hello.node = msg_text(node);
  hello.node_total = swarm->workers / swarm->builds;
  hello.host = msg_text("bench");
  frame.body_case = SHARDD__FRAME__BODY_HELLO;
  frame.hello = &hello;
  worker->client = client_new(swarm->address, &error);
  if (!worker->client || client_connect(worker->client, 10000, &error) < 0) bench_die("connect", error.text);
  swarm_send(worker, &frame);
  watch(worker, EPOLL_CTL_ADD);
}

void swarm_idle(struct swarm_worker *worker) {
  struct swarm *swarm = worker->swarm;
  worker->next_idle = NULL;
  *swarm->idle_end = worker;
  swarm->idle_end = &worker->next_idle;
}

// ---- its turn

// A row a test: all passed at once.
static void report(struct swarm_worker *worker) {
  uint32_t n = worker->count;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Results results = SHARDD__RESULTS__INIT;
  uint32_t *column = base_calloc(4 * (size_t)n + 1, sizeof *column);
  protobuf_c_boolean *first = base_calloc(n + 1, sizeof *first);
  uint64_t *start = base_calloc(n + 1, sizeof *start), now_us = base_wall_us();
  for (uint32_t i = 0; i < n; i++) {
    column[i] = SHARDD__STATUS__STATUS_PASSED;
    column[2 * n + i] = worker->swarm->call_us;
    start[i] = now_us;
  }
  results.lease = worker->lease;
  results.test = worker->test;
  results.status = column;
  results.setup_us = column + n;
  results.call_us = column + 2 * (size_t)n;
  results.teardown_us = column + 3 * (size_t)n;
  results.start_us = start;
  results.first = first;
  results.n_test = results.n_status = results.n_setup_us = results.n_call_us = results.n_teardown_us = n;
  results.n_start_us = results.n_first = n;
  frame.seq = ++worker->seq;
  frame.body_case = SHARDD__FRAME__BODY_RESULTS;
  frame.results = &results;
  worker->sent_us[worker->seq % SWARM_UNACKED_MAX] = base_now_us();
  swarm_send(worker, &frame);
  worker->swarm->results += n;
  worker->swarm->unacked++;
  worker->lease = 0;
  free(column);
  free(first);
  free(start);
}

static void ask(struct swarm_worker *worker) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__LeaseRequest request = SHARDD__LEASE_REQUEST__INIT;
  frame.body_case = SHARDD__FRAME__BODY_LEASE_REQUEST;
  frame.lease_request = &request;
  worker->asked_us = base_now_us();
  swarm_send(worker, &frame);
}

void swarm_turn(struct swarm_worker *worker) {
  if (worker->lease) report(worker);
  if (!worker->drained) ask(worker);
}

void swarm_bye(struct swarm_worker *worker) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Bye bye = SHARDD__BYE__INIT;
  bye.reason = SHARDD__BYE_REASON__BYE_DONE;
  frame.body_case = SHARDD__FRAME__BODY_BYE;
  frame.bye = &bye;
  worker->gone = false;
  swarm_send(worker, &frame);
}

// ---- what the server says

static void sample(struct swarm_samples *samples, uint64_t us) {
  if (samples->n < SWARM_SAMPLES_MAX) samples->us[samples->n++] = us;
}

static void take_lease(struct swarm_worker *worker, const Shardd__Lease *lease) {
  if (worker->asked_us) sample(&worker->swarm->lease, base_now_us() - worker->asked_us);
  if (lease->n_test > worker->room) {
    worker->room = (uint32_t)lease->n_test;
    worker->test = base_realloc(worker->test, worker->room, sizeof *worker->test);
  }
  memcpy(worker->test, lease->test, lease->n_test * sizeof *worker->test);
  worker->count = (uint32_t)lease->n_test;
  worker->lease = lease->lease;
  worker->swarm->leases++;
  swarm_idle(worker);
}

static void take_ack(struct swarm_worker *worker, uint64_t seq) {
  uint64_t now_us = base_now_us();
  if (seq > worker->seq) bench_die("ack", "of results that were not sent");
  for (; worker->acked < seq; worker->acked++) {
    uint64_t number = worker->acked + 1;
    worker->swarm->unacked--;
    if (worker->seq - number < SWARM_UNACKED_MAX)
      sample(&worker->swarm->ack, now_us - worker->sent_us[number % SWARM_UNACKED_MAX]);
  }
}

static void leave_if_done(struct swarm_worker *worker) {
  if (worker->gone || !worker->drained || worker->acked < worker->seq) return;
  worker->gone = true;
  worker->swarm->alive--;
}

// Whatever else may come is none of its business: it reports all it has at its next turn.
static void take(struct swarm_worker *worker, const Shardd__Frame *frame) {
  struct swarm *swarm = worker->swarm;
  if (frame->body_case == SHARDD__FRAME__BODY_LEASE) {
    take_lease(worker, frame->lease);
  } else if (frame->body_case == SHARDD__FRAME__BODY_ACK) {
    take_ack(worker, frame->ack->seq);
  } else if (frame->body_case == SHARDD__FRAME__BODY_PARKED) {
    worker->asked_us = 0;  // its lease comes when there is work
  } else if (frame->body_case == SHARDD__FRAME__BODY_DRAINED) {
    worker->drained = true;
  } else if (frame->body_case == SHARDD__FRAME__BODY_WELCOME) {
    worker->welcome = true;
    swarm->welcomed++;
  } else if (frame->body_case == SHARDD__FRAME__BODY_GOODBYE) {
    worker->gone = true;
    swarm->alive--;
  } else if (frame->body_case == SHARDD__FRAME__BODY_ERROR) {
    bench_die("server", base_memdup0(frame->error->text.data, frame->error->text.len));
  }
  leave_if_done(worker);
}

void swarm_receive(struct swarm_worker *worker) {
  const Shardd__Frame *frame;
  struct client_error error;
  int got;
  if (worker->wants_write && client_flush(worker->client, &error) < 0) bench_die("send", error.text);
  if (client_wants_write(worker->client) != worker->wants_write) watch(worker, EPOLL_CTL_MOD);
  if (client_receive(worker->client, &error) < 0) bench_die("receive", error.text);
  while ((got = client_next(worker->client, &frame, &error)) > 0)
    take(worker, frame);
  if (got < 0) bench_die("receive", error.text);
}
