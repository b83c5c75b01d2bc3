// What the benchmarks in C share: a suite of generated tests, the CPU time of another process, percentiles, a schedule
// for open loops. Used by swarm.c, peers.c, bare.c and history.c.
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <sys/types.h>

#include "config/base.h"

enum {
  BENCH_ID_BYTES = 86,  // of every id of the generated suite, as in a large real one
  BENCH_NAME_ROOM = 96,
  BENCH_FILE_TESTS = 200,  // tests of a file
  BENCH_UNIT_TESTS = 10,   // tests of a class
};

// Prints "PROGRAM: what: why" and ends with 2: a benchmark that cannot measure has no verdict.
_Noreturn void bench_die(const char *what, const char *why);
void bench_program(const char *name);  // for bench_die; the name must live on

// The id and the file of test `number` (below 2,000,000). Ids stand in byte order of their numbers.
void bench_id(char out[BENCH_NAME_ROOM], uint32_t number);
void bench_file(char out[BENCH_NAME_ROOM], uint32_t file);

// CPU time that a process has used, in microseconds: its first thread (the daemon's loop), and all others (its store).
struct bench_cpu {
  uint64_t first_us, others_us;
};
// Threads that have ended are not counted. Ends the program when the process is not there.
struct bench_cpu bench_cpu(pid_t pid);
struct bench_cpu bench_cpu_since(pid_t pid, struct bench_cpu before);

// Sorts in place; then values[n - 1 - n * part] is the percentile. 0 of nothing.
void bench_sort(uint64_t *values, size_t n);
uint64_t bench_percentile(const uint64_t *sorted, size_t n, double part);

// An open loop: `rate` events a second, evenly; rate 0: as many as one likes.
struct bench_pace {
  double rate;
  uint64_t begin_us, done;
};
// How many are due and not done at now_us; UINT64_MAX without a rate.
uint64_t bench_pace_due(const struct bench_pace *pace, uint64_t now_us);

// A descriptor that is readable every `every_us`, watched by `epoll` with a data pointer of NULL.
int bench_timer(int epoll, uint64_t every_us);
// Raises the limit on open files as far as it goes; ends the program when it does not allow this many connections.
void bench_allow_files(uint32_t connections);

// strtoull over a whole argument, within bounds; ends the program otherwise.
uint64_t bench_number(const char *what, const char *text, uint64_t min, uint64_t max);

#endif
