// make bench-load: a load generator that speaks the real protocol. Starts the daemon it is given, uploads a list,
// drains it with N workers that report at once, and prints leases and results per second, the daemon's CPU time per
// test and the latency of a lease (request to lease, persistence on) for each N. Every result is acknowledged before a
// worker leaves.
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/base.h"
#include "proto/client.h"

enum { LOAD_WORKERS_MAX = 10000, LOAD_CHUNK = 5000, LOAD_LATENCIES_MAX = 1000000, LOAD_ID_BYTES = 96 };

struct load_worker {
  struct load *load;
  struct client *client;
  struct event *read, *write;
  uint64_t asked_us, seq, acked;
  bool drained, gone;
};

struct load {
  const char *address;
  pid_t daemon;
  struct event_base *base;
  struct load_worker *worker;
  uint32_t workers, alive, tests;
  uint8_t digest[32];
  uint64_t *latency, latencies, leases, results;
  const char *build;
};

static void load_die(const char *what, const char *why) {
  fprintf(stderr, "bench-load: %s: %s\n", what, why);
  exit(1);
}

static void load_send(struct load_worker *worker, const Shardd__Frame *frame) {
  struct client_error error;
  if (client_send(worker->client, frame, &error) < 0) load_die("send", error.text);
  if (worker->write && client_wants_write(worker->client)) event_add(worker->write, NULL);
}

static void load_id(char *out, uint32_t number) {
  // 86 bytes, as in a large suite; zero-padded, so that the order by bytes is the order of numbers.
  snprintf(out, LOAD_ID_BYTES, "tests/some/package/of/the/suite/test_module_%04u.py::TestClassName::test_function_%07u",
           number / 200, number);
}

// ---- the list

static void load_chunk(struct load_worker *worker, uint32_t from, uint32_t to) {
  static char text[LOAD_CHUNK][LOAD_ID_BYTES], file[LOAD_CHUNK][LOAD_ID_BYTES];
  static ProtobufCBinaryData id[LOAD_CHUNK], name[LOAD_CHUNK];
  static uint32_t file_of[LOAD_CHUNK], unit_of[LOAD_CHUNK];
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListChunk chunk = SHARDD__LIST_CHUNK__INIT;
  size_t files = 0;
  for (uint32_t i = from; i < to; i++) {
    load_id(text[i - from], i);
    id[i - from] = msg_text(text[i - from]);
    file_of[i - from] = i / 200;
    unit_of[i - from] = i;
    if (i % 200) continue;
    snprintf(file[files], LOAD_ID_BYTES, "tests/some/package/of/the/suite/test_module_%04u.py", i / 200);
    name[files] = msg_text(file[files]);
    files++;
  }
  chunk.n_id = chunk.n_file_of = chunk.n_unit_of = to - from;
  chunk.id = id;
  chunk.file_of = file_of;
  chunk.unit_of = unit_of;
  chunk.n_file = files;
  chunk.file = name;
  chunk.last = to == worker->load->tests;
  frame.body_case = SHARDD__FRAME__BODY_LIST_CHUNK;
  frame.list_chunk = &chunk;
  load_send(worker, &frame);
}

static void load_offer(struct load_worker *worker) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListOffer offer = SHARDD__LIST_OFFER__INIT;
  offer.count = worker->load->tests;
  offer.sha256 = msg_bytes(worker->load->digest, sizeof worker->load->digest);
  frame.body_case = SHARDD__FRAME__BODY_LIST_OFFER;
  frame.list_offer = &offer;
  load_send(worker, &frame);
}

static void load_list(struct load_worker *worker) {
  const Shardd__Frame *reply;
  struct client_error error;
  load_offer(worker);
  if (client_call(worker->client, NULL, 60000, &reply, &error) < 0) load_die("list", error.text);
  if (reply->body_case != SHARDD__FRAME__BODY_LIST_REPLY || reply->list_reply->want != SHARDD__LIST_WANT__LIST_SEND)
    return;
  for (uint32_t i = 0; i < worker->load->tests; i += LOAD_CHUNK) {
    uint32_t end = i + LOAD_CHUNK < worker->load->tests ? i + LOAD_CHUNK : worker->load->tests;
    load_chunk(worker, i, end);
  }
  if (client_call(worker->client, NULL, 120000, &reply, &error) < 0) load_die("list", error.text);
  if (reply->body_case != SHARDD__FRAME__BODY_LIST_REPLY) load_die("list", msg_name(reply));
}

// ---- a worker

static void load_hello(struct load_worker *worker, uint32_t number) {
  char node[32];
  const Shardd__Frame *reply;
  struct client_error error;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  snprintf(node, sizeof node, "%u", number);
  hello.version = MSG_VERSION;
  hello.role = SHARDD__ROLE__ROLE_WORKER;
  hello.client = msg_text("bench-load");
  hello.project = msg_text("bench");
  hello.suite = msg_text("default");
  hello.build = msg_text(worker->load->build);
  hello.node = msg_text(node);
  hello.node_total = worker->load->workers;
  hello.host = msg_text("bench");
  frame.body_case = SHARDD__FRAME__BODY_HELLO;
  frame.hello = &hello;
  if (client_connect(worker->client, 10000, &error) < 0) load_die("connect", error.text);
  if (client_call(worker->client, &frame, 10000, &reply, &error) < 0) load_die("hello", error.text);
  if (reply->body_case != SHARDD__FRAME__BODY_WELCOME) load_die("hello", msg_name(reply));
}

static void load_ask(struct load_worker *worker) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__LeaseRequest request = SHARDD__LEASE_REQUEST__INIT;
  frame.body_case = SHARDD__FRAME__BODY_LEASE_REQUEST;
  frame.lease_request = &request;
  worker->asked_us = base_now_us();
  load_send(worker, &frame);
}

static void load_report(struct load_worker *worker, const Shardd__Lease *lease) {
  size_t n = lease->n_test;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Results results = SHARDD__RESULTS__INIT;
  uint32_t *column = base_calloc(5 * n + 1, sizeof *column);
  uint64_t *start = base_calloc(n + 1, sizeof *start);
  protobuf_c_boolean *first = base_calloc(n + 1, sizeof *first);
  for (size_t i = 0; i < n; i++) {
    column[i] = lease->test[i];
    column[n + i] = SHARDD__STATUS__STATUS_PASSED;
    column[2 * n + i] = 10;
    column[3 * n + i] = 1000 + lease->test[i] % 997;
    column[4 * n + i] = 10;
    start[i] = base_wall_us();
  }
  results.lease = lease->lease;
  results.n_test = results.n_status = results.n_setup_us = results.n_call_us = results.n_teardown_us = n;
  results.n_start_us = results.n_first = n;
  results.first = first;
  results.test = column;
  results.status = column + n;
  results.setup_us = column + 2 * n;
  results.call_us = column + 3 * n;
  results.teardown_us = column + 4 * n;
  results.start_us = start;
  frame.seq = ++worker->seq;
  frame.body_case = SHARDD__FRAME__BODY_RESULTS;
  frame.results = &results;
  load_send(worker, &frame);
  worker->load->results += n;
  free(column);
  free(start);
  free(first);
}

static void load_leave_if_done(struct load_worker *worker) {
  if (worker->gone || !worker->drained || worker->acked < worker->seq) return;
  worker->gone = true;
  event_del(worker->read);
  if (--worker->load->alive == 0) event_base_loopbreak(worker->load->base);
}

static void load_frame(struct load_worker *worker, const Shardd__Frame *frame) {
  struct load *load = worker->load;
  if (frame->body_case == SHARDD__FRAME__BODY_LEASE) {
    if (load->latencies < LOAD_LATENCIES_MAX) load->latency[load->latencies++] = base_now_us() - worker->asked_us;
    load->leases++;
    load_report(worker, frame->lease);
    load_ask(worker);
  } else if (frame->body_case == SHARDD__FRAME__BODY_ACK) {
    worker->acked = frame->ack->seq;
  } else if (frame->body_case == SHARDD__FRAME__BODY_DRAINED) {
    worker->drained = true;
  } else if (frame->body_case != SHARDD__FRAME__BODY_PARKED) {
    load_die("unexpected", msg_name(frame));
  }
  load_leave_if_done(worker);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
  struct load_worker *worker = arg;
  const Shardd__Frame *frame;
  struct client_error error;
  int got;
  (void)fd;
  (void)what;
  if (client_receive(worker->client, &error) < 0) load_die("receive", error.text);
  while ((got = client_next(worker->client, &frame, &error)) > 0)
    load_frame(worker, frame);
  if (got < 0) load_die("receive", error.text);
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
  struct load_worker *worker = arg;
  struct client_error error;
  (void)fd;
  (void)what;
  if (client_flush(worker->client, &error) < 0) load_die("send", error.text);
  if (client_wants_write(worker->client)) event_add(worker->write, NULL);
}

// ---- figures

static int compare_u64(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static double daemon_cpu_s(pid_t pid) {
  char path[64], line[1024];
  unsigned long user = 0, system = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  if (fgets(line, sizeof line, file)) {
    const char *after = strrchr(line, ')');
    // NOLINTNEXTLINE(cert-err34-c): the kernel wrote these numbers
    if (!after || sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
      user = 0;
  }
  fclose(file);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void load_run(struct load *load, uint32_t workers, const char *build, FILE *json) {
  load->workers = load->alive = workers;
  load->build = build;
  load->leases = load->results = load->latencies = 0;
  for (uint32_t i = 0; i < workers; i++) {
    struct client_error error;
    load->worker[i] = (struct load_worker){.load = load, .client = client_new(load->address, &error)};
    load_hello(&load->worker[i], i);
    if (i == 0) load_list(&load->worker[0]);
  }
  double cpu = daemon_cpu_s(load->daemon);
  uint64_t begin = base_now_us();
  for (uint32_t i = 0; i < workers; i++) {
    struct load_worker *worker = &load->worker[i];
    worker->read = event_new(load->base, client_fd(worker->client), EV_READ | EV_PERSIST, on_readable, worker);
    worker->write = event_new(load->base, client_fd(worker->client), EV_WRITE, on_writable, worker);
    event_add(worker->read, NULL);
    load_ask(worker);
  }
  event_base_dispatch(load->base);
  double seconds = (double)(base_now_us() - begin) / 1e6;
  cpu = daemon_cpu_s(load->daemon) - cpu;
  if (load->results < load->tests) load_die("lost", "fewer results than tests");
  qsort(load->latency, load->latencies, sizeof *load->latency, compare_u64);
  uint64_t p50 = load->latency[load->latencies / 2], p99 = load->latency[load->latencies - 1 - load->latencies / 100];
  printf(
      "%6u workers: %8.0f results/s acknowledged, %7.0f leases/s, %6.2f us of server CPU per test, lease p50 %llu us "
      "p99 "
      "%llu us\n",
      workers, (double)load->results / seconds, (double)load->leases / seconds, cpu * 1e6 / (double)load->results,
      (unsigned long long)p50, (unsigned long long)p99);
  fprintf(json,
          "{\"bench\":\"load\",\"workers\":%u,\"results_per_s\":%.0f,\"leases_per_s\":%.0f,\"cpu_us_per_test\":%.3f,"
          "\"lease_p50_us\":%llu,\"lease_p99_us\":%llu}\n",
          workers, (double)load->results / seconds, (double)load->leases / seconds, cpu * 1e6 / (double)load->results,
          (unsigned long long)p50, (unsigned long long)p99);
  for (uint32_t i = 0; i < workers; i++) {
    event_free(load->worker[i].read);
    event_free(load->worker[i].write);
    client_free(load->worker[i].client);
  }
}

// ---- the daemon

static pid_t load_start(const char *shardd, const char *address, const char *database) {
  pid_t pid = fork();
  if (pid == 0) {
    execl(shardd, shardd, "--listen", address, "--database", database, "--log-level", "error", "--exit-with-parent",
          "--max-connections", "12000", "--ballast", "0", (char *)NULL);
    _exit(127);
  }
  for (int i = 0; i < 200; i++) {
    struct client_error error;
    struct client *client = client_new(address, &error);
    bool up = client && client_connect(client, 1000, &error) == 0;
    client_free(client);
    if (up) return pid;
    usleep(50000);
  }
  load_die("start", shardd);
  return 0;
}

int main(int argc, char **argv) {
  static const uint32_t counts[] = {1, 50, 1000, 10000};
  if (argc < 3) {
    fprintf(stderr, "usage: %s SHARDD FOLDER [JSON [TESTS]]: the daemon, an empty folder, file for the figures\n",
            argv[0]);
    return 2;
  }
  FILE *json = fopen(argc > 3 ? argv[3] : "/dev/null", "we");
  struct rlimit files = {.rlim_cur = 12500, .rlim_max = 12500};
  if (!json) load_die(argv[3], strerror(errno));
  char *address = base_printf("unix:%s/s", argv[2]), *database = base_printf("%s/db", argv[2]);
  struct load load = {.address = address, .tests = 200000, .base = event_base_new()};
  uint64_t tests;
  if (argc > 4 && base_parse_u64(argv[4], 1, 500000, &tests) == 0) load.tests = (uint32_t)tests;
  bool many = setrlimit(RLIMIT_NOFILE, &files) == 0;
  signal(SIGPIPE, SIG_IGN);
  load.worker = base_calloc(LOAD_WORKERS_MAX, sizeof *load.worker);
  load.latency = base_calloc(LOAD_LATENCIES_MAX, sizeof *load.latency);
  load.daemon = load_start(argv[1], address, database);
  for (size_t i = 0; i < COUNT_OF(counts); i++) {
    char build[32];
    snprintf(build, sizeof build, "load-%u", counts[i]);
    if (counts[i] > 1000 && !many) {
      printf("%6u workers: SKIPPED: no more file descriptors allowed (%s)\n", counts[i], strerror(errno));
      continue;
    }
    load_run(&load, counts[i], build, json);
  }
  kill(load.daemon, SIGTERM);
  waitpid(load.daemon, NULL, 0);
  return fclose(json) == 0 ? 0 : 1;
}
