// The load generator: many workers of the real protocol in one process. Connects them, sends the lists of their builds,
// drains these, and prints one line of JSON: leases and results a second, the server's CPU time for a test, how long a
// lease and an acknowledgement took. Every result is acknowledged before the clock stops. Called by the benchmarks in
// Python with a daemon that runs.
#include "tests/bench/swarm.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
  SWARM_EVENTS = 512,
  SWARM_WELCOMES = 128,     // hellos under way at the same time
  SWARM_PACE_US = 100,      // how often an open loop looks what is due
  SWARM_SILENT_MS = 120000  // nothing comes for so long: the server hangs
};

struct swarm_figures {
  double connect_s, submit_s, run_s, leave_s;
  struct bench_cpu submit, run;
};

// ---- the loop

static void poll_once(struct swarm *swarm) {
  struct epoll_event events[SWARM_EVENTS];
  int n = epoll_wait(swarm->epoll, events, SWARM_EVENTS, SWARM_SILENT_MS);
  if (n == 0) bench_die("wait", "the server says nothing");
  if (n < 0 && errno != EINTR) bench_die("epoll", strerror(errno));
  for (int i = 0; i < n; i++) {
    uint64_t ticks;
    struct swarm_worker *worker = events[i].data.ptr;
    if (worker) {
      swarm_receive(worker);
    } else if (read(swarm->timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) {
      bench_die("timer", strerror(errno));
    }
  }
}

static void take_turns(struct swarm *swarm) {
  uint64_t due = bench_pace_due(&swarm->pace, base_now_us());
  while (due-- && swarm->idle) {
    struct swarm_worker *worker = swarm->idle;
    swarm->idle = worker->next_idle;
    if (!swarm->idle) swarm->idle_end = &swarm->idle;
    swarm->pace.done++;
    swarm_turn(worker);
  }
}

static double seconds_since(uint64_t begin_us) {
  return (double)(base_now_us() - begin_us) / 1e6;
}

// ---- the phases

static void connect_all(struct swarm *swarm) {
  for (uint32_t i = 0; i < swarm->workers; i++) {
    swarm->worker[i] = (struct swarm_worker){.swarm = swarm, .number = i};
    swarm_hello(&swarm->worker[i]);
    while (i + 1 - swarm->welcomed >= SWARM_WELCOMES)
      poll_once(swarm);
  }
  while (swarm->welcomed < swarm->workers)
    poll_once(swarm);
}

static void submit_all(struct swarm *swarm) {
  for (uint32_t i = 0; i < swarm->builds; i++)
    swarm_list(&swarm->worker[i]);
}

static bool time_is_up(const struct swarm *swarm) {
  return swarm->seconds > 0 && seconds_since(swarm->pace.begin_us) >= swarm->seconds;
}

static void run_all(struct swarm *swarm) {
  swarm->alive = swarm->workers;
  for (uint32_t i = 0; i < swarm->workers; i++)
    swarm_idle(&swarm->worker[i]);
  swarm->pace.begin_us = base_now_us();
  while (swarm->alive && !time_is_up(swarm)) {
    take_turns(swarm);
    if (swarm->alive) poll_once(swarm);
  }
  while (swarm->unacked)
    poll_once(swarm);
}

static void leave_all(struct swarm *swarm) {
  swarm->alive = swarm->workers;
  for (uint32_t i = 0; i < swarm->workers; i++)
    swarm_bye(&swarm->worker[i]);
  while (swarm->alive)
    poll_once(swarm);
}

static void hold(struct swarm *swarm) {
  char byte;
  printf("{\"workers\": %u, \"builds\": %u, \"tests\": %u}\n", swarm->workers, swarm->builds, swarm->tests);
  fflush(stdout);
  if (read(STDIN_FILENO, &byte, 1) < 0) bench_die("stdin", strerror(errno));
}

// ---- figures

static void print_latency(const char *name, struct swarm_samples *samples) {
  bench_sort(samples->us, samples->n);
  printf(", \"%s_p50_us\": %ju, \"%s_p99_us\": %ju, \"%s_max_us\": %ju", name,
         (uintmax_t)bench_percentile(samples->us, samples->n, 0.5), name,
         (uintmax_t)bench_percentile(samples->us, samples->n, 0.99), name,
         (uintmax_t)bench_percentile(samples->us, samples->n, 1));
}

static void print_figures(struct swarm *swarm, const struct swarm_figures *figures) {
  double tests = (double)swarm->builds * swarm->tests, results = (double)swarm->results;
  printf("{\"workers\": %u, \"builds\": %u, \"tests\": %u, \"rate\": %.0f", swarm->workers, swarm->builds, swarm->tests,
         swarm->pace.rate);
  printf(", \"connect_s\": %.4f, \"submit_s\": %.4f, \"run_s\": %.4f, \"leave_s\": %.4f", figures->connect_s,
         figures->submit_s, figures->run_s, figures->leave_s);
  printf(", \"results\": %ju, \"results_per_s\": %.0f, \"leases\": %ju, \"leases_per_s\": %.0f",
         (uintmax_t)swarm->results, results / figures->run_s, (uintmax_t)swarm->leases,
         (double)swarm->leases / figures->run_s);
  printf(", \"submit_cpu_us\": %.4f, \"loop_cpu_us\": %.4f, \"store_cpu_us\": %.4f",
         (double)(figures->submit.first_us + figures->submit.others_us) / tests,
         (double)figures->run.first_us / results, (double)figures->run.others_us / results);
  print_latency("lease", &swarm->lease);
  print_latency("ack", &swarm->ack);
  printf("}\n");
}

static void measure(struct swarm *swarm) {
  struct swarm_figures figures;
  uint64_t begin = base_now_us();
  connect_all(swarm);
  figures.connect_s = seconds_since(begin);
  struct bench_cpu cpu = bench_cpu(swarm->server);
  begin = base_now_us();
  submit_all(swarm);
  figures.submit_s = seconds_since(begin);
  figures.submit = bench_cpu_since(swarm->server, cpu);
  if (swarm->hold) {
    hold(swarm);
    return;
  }
  cpu = bench_cpu(swarm->server);
  begin = base_now_us();
  run_all(swarm);
  figures.run_s = seconds_since(begin);
  figures.run = bench_cpu_since(swarm->server, cpu);
  if (!swarm->alive && swarm->results < (uint64_t)swarm->builds * swarm->tests)
    bench_die("lost", "fewer results than tests");
  begin = base_now_us();
  leave_all(swarm);
  figures.leave_s = seconds_since(begin);
  print_figures(swarm, &figures);
}

// ---- set-up

static void usage(void) {
  fprintf(
      stderr,
      "usage: swarm --server ADDRESS --pid PID [--build NAME] [--builds N] [--tests N] [--workers N]\n"
      "             [--call-us US] [--rate LEASES_PER_SECOND] [--seconds N] [--unit-tests N] [--hold]\n"
      "pid: of the daemon; tests: of each build; hold: connect, send the lists, say so, and wait for stdin to end\n");
  exit(EXIT_USAGE);
}

static void take_options(struct swarm *swarm, int argc, char **argv) {
  static const struct option options[] = {
      {"server", 1, NULL, 's'},  {"pid", 1, NULL, 'p'},        {"build", 1, NULL, 'n'},   {"builds", 1, NULL, 'b'},
      {"tests", 1, NULL, 't'},   {"workers", 1, NULL, 'w'},    {"call-us", 1, NULL, 'c'}, {"rate", 1, NULL, 'r'},
      {"seconds", 1, NULL, 'e'}, {"unit-tests", 1, NULL, 'u'}, {"hold", 0, NULL, 'h'},    {NULL, 0, NULL, 0}};
  for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (letter) {
      case 's': swarm->address = optarg; break;
      case 'p': swarm->server = (pid_t)bench_number("--pid", optarg, 1, INT32_MAX); break;
      case 'n': swarm->build = optarg; break;
      case 'b': swarm->builds = (uint32_t)bench_number("--builds", optarg, 1, 100); break;
      case 't': swarm->tests = (uint32_t)bench_number("--tests", optarg, 1, MSG_LIST_MAX); break;
      case 'w': swarm->workers = (uint32_t)bench_number("--workers", optarg, 1, SWARM_WORKERS_MAX); break;
      case 'c': swarm->call_us = (uint32_t)bench_number("--call-us", optarg, 0, UINT32_MAX); break;
      case 'r': swarm->pace.rate = (double)bench_number("--rate", optarg, 0, 1000000); break;
      case 'e': swarm->seconds = (double)bench_number("--seconds", optarg, 1, 3600); break;
      case 'u': swarm->unit_tests = (uint32_t)bench_number("--unit-tests", optarg, 1, BENCH_FILE_TESTS); break;
      case 'h': swarm->hold = true; break;
      default: usage();
    }
  }
  if (!swarm->address || !swarm->server || optind < argc || swarm->workers < swarm->builds) usage();
}

int main(int argc, char **argv) {
  struct swarm swarm = {.build = "bench", .builds = 1, .tests = 1000, .workers = 1, .call_us = 1000, .timer = -1};
  swarm.unit_tests = BENCH_UNIT_TESTS;
  bench_program("swarm");
  take_options(&swarm, argc, argv);
  bench_allow_files(swarm.workers);
  signal(SIGPIPE, SIG_IGN);
  swarm.worker = base_calloc(swarm.workers, sizeof *swarm.worker);
  swarm.lease.us = base_calloc(SWARM_SAMPLES_MAX, sizeof *swarm.lease.us);
  swarm.ack.us = base_calloc(SWARM_SAMPLES_MAX, sizeof *swarm.ack.us);
  swarm.idle_end = &swarm.idle;
  swarm.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (swarm.epoll < 0) bench_die("epoll", strerror(errno));
  if (swarm.pace.rate > 0) swarm.timer = bench_timer(swarm.epoll, SWARM_PACE_US);
  measure(&swarm);
  return EXIT_OK;
}
