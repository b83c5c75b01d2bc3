// A build in virtual time: the queue and the scheduler that serve real workers, served with made-up ones whose tests
// take what they are said to take. Used by plan.c (the dry run, `shard plan --simulate`) and by tests. Pure: the clock
// is a number, and the work is done in slices, so that who runs it can do something else in between.
#ifndef SERVER_SIMULATION_H
#define SERVER_SIMULATION_H

#include "config/base.h"

struct simulation;
struct tokens;

// A test ended: who ran it, from when to when; file_setup_us of that was its file's set-up, paid because the worker
// came from another file.
struct simulation_ran {
  uint32_t worker, test;
  uint64_t start_us, end_us, file_setup_us;
};

// Arrays are borrowed until simulation_free; file_of as in sched_list.
struct simulation_suite {
  uint32_t count, file_count;
  const uint32_t *file_of, *unit_of;
  const uint64_t *actual_us;               // what each test takes
  const uint64_t *expected_us, *order_us;  // what the scheduler thinks; may be actual_us
  const uint64_t *file_setup_us;           // paid by each worker that enters the file, and known; NULL: none
  bool whole_files;                        // a file is never shared
  const bool *whole_of;                    // per file: of these it holds; NULL: of none
  struct tokens *tokens;                   // which tests need some; the simulation's from now on; NULL: none does
  const double *slowness;                  // per worker: factor on all that it does; NULL: 1
  void (*on_ran)(void *arg, const struct simulation_ran *ran);  // in the order of end_us; NULL: nobody wants to know
  void *arg;
};

// `workers` (at least 1) come at time 0 and stay. Costs time in proportion to the tests: the one part without slices.
struct simulation *simulation_new(const struct simulation_suite *suite, uint32_t workers);
void simulation_free(struct simulation *simulation);
// Goes on by at most `events`: a test ends, or the queue looks after something. True when all tests have ended.
bool simulation_step(struct simulation *simulation, uint32_t events) MUST_CHECK;
// When the last test so far ended.
uint64_t simulation_finish_us(const struct simulation *simulation);

#endif
