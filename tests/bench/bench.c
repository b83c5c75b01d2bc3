// What the benchmarks in C share. It knows no protocol and no server.
#include "tests/bench/bench.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

static const char *program = "bench";

void bench_program(const char *name) {
  program = name;
}

void bench_die(const char *what, const char *why) {
  fprintf(stderr, "%s: %s: %s\n", program, what, why);
  exit(EXIT_USAGE);
}

// ---- the suite

void bench_file(char out[BENCH_NAME_ROOM], uint32_t file) {
  snprintf(out, BENCH_NAME_ROOM, "tests/some/package/of/the/suite/test_module_%04u.py", file);
}

// Names of tests have little in common: a number for the order, and letters that follow no rule.
void bench_id(char out[BENCH_NAME_ROOM], uint32_t number) {
  uint32_t file = number / BENCH_FILE_TESTS, at = number % BENCH_FILE_TESTS;
  uint64_t word = (number + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
  int n = snprintf(out, BENCH_NAME_ROOM,
                   "tests/some/package/of/the/suite/test_module_%04u.py::TestOfUnit%02u::test_%02u_%08x_%02x", file,
                   at / BENCH_UNIT_TESTS, at % BENCH_UNIT_TESTS, (uint32_t)(word >> 32), (uint32_t)(word >> 24 & 0xff));
  if (n != BENCH_ID_BYTES) bench_die("id", "the number is too large");
}

// ---- CPU time

static uint64_t cpu_of_thread(pid_t pid, const char *thread) {
  char path[64], text[128];
  snprintf(path, sizeof path, "/proc/%d/task/%.12s/schedstat", (int)pid, thread);
  FILE *file = fopen(path, "re");
  if (!file) return 0;  // it has ended meanwhile
  uint64_t ns = fgets(text, sizeof text, file) ? strtoull(text, NULL, 10) : 0;
  fclose(file);
  return ns / 1000;
}

struct bench_cpu bench_cpu(pid_t pid) {
  char path[64];
  struct bench_cpu cpu = {0};
  snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  DIR *threads = opendir(path);
  if (!threads) bench_die(path, strerror(errno));
  for (const struct dirent *entry; (entry = readdir(threads));) {
    if (entry->d_name[0] == '.') continue;
    uint64_t us = cpu_of_thread(pid, entry->d_name);
    *(strtol(entry->d_name, NULL, 10) == pid ? &cpu.first_us : &cpu.others_us) += us;
  }
  closedir(threads);
  return cpu;
}

struct bench_cpu bench_cpu_since(pid_t pid, struct bench_cpu before) {
  struct bench_cpu now = bench_cpu(pid);
  return (struct bench_cpu){now.first_us - before.first_us, now.others_us - before.others_us};
}

// ---- percentiles

static int compare_u64(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

void bench_sort(uint64_t *values, size_t n) {
  qsort(values, n, sizeof *values, compare_u64);
}

uint64_t bench_percentile(const uint64_t *sorted, size_t n, double part) {
  return n ? sorted[(size_t)((double)(n - 1) * part)] : 0;
}

// ---- open loops

uint64_t bench_pace_due(const struct bench_pace *pace, uint64_t now_us) {
  if (pace->rate <= 0) return UINT64_MAX;
  uint64_t due = (uint64_t)((double)(now_us - pace->begin_us) * pace->rate / 1e6);
  return due > pace->done ? due - pace->done : 0;
}

int bench_timer(int epoll, uint64_t every_us) {
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct timespec every = {.tv_sec = (time_t)(every_us / 1000000), .tv_nsec = (long)(every_us % 1000000 * 1000)};
  struct itimerspec spec = {.it_interval = every, .it_value = every};
  struct epoll_event event = {.events = EPOLLIN};
  if (fd < 0 || timerfd_settime(fd, 0, &spec, NULL) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
    bench_die("timerfd", strerror(errno));
  return fd;
}

void bench_allow_files(uint32_t connections) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) bench_die("getrlimit", strerror(errno));
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) bench_die("setrlimit", strerror(errno));
  if (files.rlim_max < connections + 32) bench_die("connections", "more than the limit on open files allows");
}

uint64_t bench_number(const char *what, const char *text, uint64_t min, uint64_t max) {
  uint64_t value;
  if (base_parse_u64(text, min, max, &value) != 0) bench_die(what, text);
  return value;
}
