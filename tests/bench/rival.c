// A load generator for other servers (an echo, beanstalkd, redis), for comparison in the same run: many connections in
// one process, each with one operation under way, as fast as it goes or at a given rate. Prints one line of JSON:
// operations a second, the server's CPU time for one, how long one took. Called by the benchmarks in Python.
#include "tests/bench/rival.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
  RIVALS_MAX = 15000,
  RIVALS_EVENTS = 512,
  RIVALS_PACE_US = 100,
  RIVALS_SILENT_MS = 20000,
  RIVALS_FILL_AT_ONCE = 200
};

struct rivals {
  const char *address;
  const struct rival_kind *kind;
  pid_t server;
  uint32_t connections;
  uint64_t operations, started, done;
  struct bench_pace pace;
  struct rival *rival, *idle, **idle_end;
  uint64_t *latency;
  int epoll, timer;
};

// ---- sockets

static int connect_unix(const char *path) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof to.sun_path) bench_die("address", path);
  memcpy(to.sun_path, path, strlen(path));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) bench_die(path, strerror(errno));
  return fd;
}

static int connect_port(uint16_t port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) bench_die("connect", strerror(errno));
  return fd;
}

// unix:/path, or a port on the loopback.
static int connect_to(const char *address) {
  if (strncmp(address, "unix:", 5) == 0) return connect_unix(address + 5);
  return connect_port((uint16_t)bench_number("address", address, 1, UINT16_MAX));
}

static void say(const struct rival *rival, const struct rival_step *step) {
  char out[RIVAL_REQUEST_MAX];
  size_t n = step->request(rival, out);
  if (send(rival->fd, out, n, MSG_NOSIGNAL) != (ssize_t)n) bench_die("send", "the socket does not take a request");
}

static void hear(struct rival *rival) {
  ssize_t n = recv(rival->fd, rival->in + rival->in_bytes, sizeof rival->in - rival->in_bytes, 0);
  if (n == 0) bench_die("receive", "the server has closed the connection");
  if (n < 0 && errno != EAGAIN && errno != EINTR) bench_die("receive", strerror(errno));
  if (n > 0) rival->in_bytes += (size_t)n;
}

static bool take_reply(struct rival *rival, const struct rival_step *step) {
  size_t n = step->reply(rival);
  if (n == 0 && rival->in_bytes == sizeof rival->in) bench_die("receive", "an answer without an end");
  if (n == 0) return false;
  rival->in_bytes -= n;
  memmove(rival->in, rival->in + n, rival->in_bytes);
  return true;
}

// ---- one connection's operation after another

static void go_idle(struct rivals *rivals, struct rival *rival) {
  rival->next_idle = NULL;
  *rivals->idle_end = rival;
  rivals->idle_end = &rival->next_idle;
}

static void begin(struct rival *rival, const struct rival_kind *kind) {
  rival->step = 0;
  rival->asked_us = base_now_us();
  say(rival, &kind->step[0]);
}

static void on_readable(struct rivals *rivals, struct rival *rival) {
  hear(rival);
  while (take_reply(rival, &rivals->kind->step[rival->step])) {
    if (++rival->step < rivals->kind->steps) {
      say(rival, &rivals->kind->step[rival->step]);
      continue;
    }
    rivals->latency[rivals->done++] = base_now_us() - rival->asked_us;
    go_idle(rivals, rival);
    return;
  }
}

static void take_turns(struct rivals *rivals) {
  uint64_t due = bench_pace_due(&rivals->pace, base_now_us());
  while (due-- && rivals->idle && rivals->started < rivals->operations) {
    struct rival *rival = rivals->idle;
    rivals->idle = rival->next_idle;
    if (!rivals->idle) rivals->idle_end = &rivals->idle;
    rivals->pace.done++;
    rivals->started++;
    begin(rival, rivals->kind);
  }
}

static void poll_once(struct rivals *rivals) {
  struct epoll_event events[RIVALS_EVENTS];
  int n = epoll_wait(rivals->epoll, events, RIVALS_EVENTS, RIVALS_SILENT_MS);
  if (n == 0) bench_die("wait", "the server says nothing");
  for (int i = 0; i < n; i++) {
    uint64_t ticks;
    struct rival *rival = events[i].data.ptr;
    if (rival) {
      on_readable(rivals, rival);
    } else if (read(rivals->timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) {
      bench_die("timer", strerror(errno));
    }
  }
}

// ---- the phases

static void fill(struct rivals *rivals) {
  struct rival *filler = base_calloc(1, sizeof *filler);
  if (!rivals->kind->fill.request) return;
  filler->fd = connect_to(rivals->address);
  for (uint64_t sent = 0, got = 0; got < rivals->operations;) {
    for (; sent < rivals->operations && sent - got < RIVALS_FILL_AT_ONCE; sent++) {
      filler->number = (uint32_t)(sent % 1000000);
      say(filler, &rivals->kind->fill);
    }
    hear(filler);
    while (take_reply(filler, &rivals->kind->fill))
      got++;
  }
  close(filler->fd);
  free(filler);
}

static void connect_all(struct rivals *rivals) {
  for (uint32_t i = 0; i < rivals->connections; i++) {
    struct rival *rival = &rivals->rival[i];
    *rival = (struct rival){.number = i, .fd = connect_to(rivals->address)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = rival};
    if (epoll_ctl(rivals->epoll, EPOLL_CTL_ADD, rival->fd, &event) != 0) bench_die("epoll", strerror(errno));
    go_idle(rivals, rival);
  }
}

static void measure(struct rivals *rivals) {
  fill(rivals);
  connect_all(rivals);
  struct bench_cpu cpu = bench_cpu(rivals->server);
  rivals->pace.begin_us = base_now_us();
  while (rivals->done < rivals->operations) {
    take_turns(rivals);
    poll_once(rivals);
  }
  double seconds = (double)(base_now_us() - rivals->pace.begin_us) / 1e6, n = (double)rivals->done;
  cpu = bench_cpu_since(rivals->server, cpu);
  bench_sort(rivals->latency, rivals->done);
  printf(
      "{\"kind\": \"%s\", \"connections\": %u, \"operations\": %ju, \"rate\": %.0f, \"run_s\": %.4f, \"per_s\": %.0f",
      rivals->kind->name, rivals->connections, (uintmax_t)rivals->done, rivals->pace.rate, seconds, n / seconds);
  printf(", \"cpu_us\": %.4f, \"p50_us\": %ju, \"p99_us\": %ju, \"max_us\": %ju}\n",
         (double)(cpu.first_us + cpu.others_us) / n, (uintmax_t)bench_percentile(rivals->latency, rivals->done, 0.5),
         (uintmax_t)bench_percentile(rivals->latency, rivals->done, 0.99),
         (uintmax_t)bench_percentile(rivals->latency, rivals->done, 1));
}

// ---- set-up

static void usage(void) {
  fprintf(stderr,
          "usage: rival --kind echo|beanstalkd|redis-lpop|redis-list --server ADDRESS --pid PID [--connections N]\n"
          "             [--operations N] [--rate PER_SECOND]\n"
          "address: unix:/path, or a port on the loopback; pid: of the server\n");
  exit(EXIT_USAGE);
}

static void take_options(struct rivals *rivals, int argc, char **argv) {
  static const struct option options[] = {
      {"kind", 1, NULL, 'k'},       {"server", 1, NULL, 's'}, {"pid", 1, NULL, 'p'}, {"connections", 1, NULL, 'c'},
      {"operations", 1, NULL, 'o'}, {"rate", 1, NULL, 'r'},   {NULL, 0, NULL, 0}};
  for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (letter) {
      case 'k': rivals->kind = rival_kind(optarg); break;
      case 's': rivals->address = optarg; break;
      case 'p': rivals->server = (pid_t)bench_number("--pid", optarg, 1, INT32_MAX); break;
      case 'c': rivals->connections = (uint32_t)bench_number("--connections", optarg, 1, RIVALS_MAX); break;
      case 'o': rivals->operations = bench_number("--operations", optarg, 1, 10000000); break;
      case 'r': rivals->pace.rate = (double)bench_number("--rate", optarg, 0, 1000000); break;
      default: usage();
    }
  }
  if (!rivals->address || !rivals->server || !rivals->kind || optind < argc) usage();
}

int main(int argc, char **argv) {
  struct rivals rivals = {.connections = 1, .operations = 1000, .timer = -1};
  bench_program("rival");
  take_options(&rivals, argc, argv);
  bench_allow_files(rivals.connections);
  rivals.rival = base_calloc(rivals.connections, sizeof *rivals.rival);
  rivals.latency = base_calloc(rivals.operations, sizeof *rivals.latency);
  rivals.idle_end = &rivals.idle;
  rivals.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (rivals.epoll < 0) bench_die("epoll", strerror(errno));
  if (rivals.pace.rate > 0) rivals.timer = bench_timer(rivals.epoll, RIVALS_PACE_US);
  measure(&rivals);
  return EXIT_OK;
}
