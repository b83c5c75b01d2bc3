// Which tests a worker gets next: file-affine guided leasing, long tests first, unknown tests early, collection order
// inside a file. Pure. The queue owns the tests' states and tells the scheduler which of them are free; the scheduler
// picks.
//
// Policy and constants (measured over real timing histories; docs/architecture.md tells the figures):
//   R = expected time of the free tests, P = their number, W = workers at work
//   a lease is worth g = R/4W, at least SCHED_MIN_US and at most SCHED_MAX_US, divided by the worker's slowness, and
//   holds at most P/4W tests, always one; a test is "long" when its order key is over L = R/3W a worker stays in its
//   file: first the unit that holds a long test, else the next in collection order then: a file with a long test; then
//   the untouched or abandoned file with most work; then it shares the open file with most work per owner, from its far
//   end, if that is worth the file's set-up (never to fill up a lease)
// A unit is a class, or a function with all its parameters: the piece of a file that is moved as a whole when pieces
// move.
#ifndef SERVER_SCHED_H
#define SERVER_SCHED_H

#include "config/base.h"

enum {
  SCHED_MIN_US = 20000,
  SCHED_MAX_US = 10000000,
  SCHED_CUTS = 4,
  SCHED_CUTS_PROCESS = 2,   // of workers that start a process for each lease, whose leases last
  SCHED_STARTS_LEAST = 4,   // at least so many times what its start costs
  SCHED_STARTS_MOST = 100,  // and at most so many, or SCHED_MAX_US
  SCHED_LEASE_MAX = 10000,  // tests of a lease
  SCHED_UNIT_MAX = 256,     // tests of a unit; longer ones are cut
  SCHED_NO_FILE = UINT32_MAX,
};

// An order key from here on goes before everything else: a worker leaves its file for such a test.
static const uint64_t SCHED_FIRST_US = UINT64_C(1) << 31;

struct sched;

// What the scheduler keeps of a worker; embedded in the queue's. Zero it with sched_worker_init.
struct sched_worker {
  uint32_t file;                      // the file it is in, SCHED_NO_FILE: none
  bool far_end;                       // it came to share: takes from the file's end
  uint64_t start_us;                  // it starts a process for each lease, which costs this; 0: it does not
  uint64_t observed_us, expected_us;  // of its finished tests: their ratio is its slowness
};

// A scheduler for `count` tests in collection order, all taken (sched_free_test makes them free). file_of:
// SCHED_NO_FILE makes the test a file of its own. whole_files: a file is never shared. Arrays are read during the call
// only.
struct sched_list {
  uint32_t count, file_count;
  const uint32_t *file_of, *unit_of;
  const uint64_t *expected_us, *order_us;
  const uint64_t *file_setup_us;  // NULL: all unknown
  const bool *whole_of;           // per file: one worker at a time is in it; NULL: of none
  bool whole_files;               // of all files
  bool whole_units;               // a unit is one worker's, and all in one lease
  bool in_order;                  // collection order goes before all else: files by their place, no long tests first
};
struct sched *sched_new(const struct sched_list *list);
void sched_free(struct sched *sched);

void sched_worker_init(struct sched_worker *worker);
// A finished test tells how fast the worker is.
void sched_worker_learn(struct sched_worker *worker, uint64_t observed_us, uint64_t expected_us);
// Slowness: (observed + 5 s) / (expected + 5 s).
double sched_worker_slowness(const struct sched_worker *worker);
// The worker leaves its file (it is gone, or has nothing to do): the file may be abandoned by that.
void sched_worker_leave(struct sched *sched, struct sched_worker *worker);

// True when the worker's own file has free tests.
bool sched_worker_has_more(const struct sched *sched, const struct sched_worker *worker);

// A worker that is in some file is in the file of this test after all, unless that is whole and another one is in it:
// what it was given of other files went back.
void sched_worker_stay(struct sched *sched, struct sched_worker *worker, uint32_t test);

// May neighbours in a lease go to two workers? Not those of a file, or a unit, that is whole.
bool sched_may_part(const struct sched *sched, uint32_t a, uint32_t b);
bool sched_same_file(const struct sched *sched, uint32_t a, uint32_t b);
// The file's number; a test without one is alone in its own.
uint32_t sched_file(const struct sched *sched, uint32_t test);
uint32_t sched_file_count(const struct sched *sched);
// The test's file is whole, and another worker is in it.
bool sched_is_taken(const struct sched *sched, const struct sched_worker *worker, uint32_t test);
// The test's file is whole: one worker at a time is in it.
bool sched_is_whole(const struct sched *sched, uint32_t test);
// What the test's file costs to set up, µs.
uint64_t sched_setup_us(const struct sched *sched, uint32_t test);

// Makes a taken test free, or takes a free one out of turn.
void sched_free_test(struct sched *sched, uint32_t test);
void sched_take_test(struct sched *sched, uint32_t test);
bool sched_is_free(const struct sched *sched, uint32_t test);

// Takes the next lease for the worker: writes tests in the order to run them into out[0 … room-1] and returns their
// number; 0: nothing that is worth taking. `workers` is W, at least 1.
uint32_t sched_grant(struct sched *sched, struct sched_worker *worker, uint32_t workers, uint32_t *out, uint32_t room);

uint32_t sched_free_count(const struct sched *sched);  // P
uint64_t sched_free_us(const struct sched *sched);     // R
uint64_t sched_expected_us(const struct sched *sched, uint32_t test);

// Asserts every invariant; for tests, O(tests).
void sched_check(const struct sched *sched);

#endif
