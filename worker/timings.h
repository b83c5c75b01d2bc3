// A file of tests and their durations: CSV with a header that names at least the columns file, test and seconds, or
// instead of seconds the phases setup, call and teardown, whose sum counts; further columns are ignored. Read by plan.c
// for `shard plan --simulate`. Knows nothing of what is done with it.
#ifndef WORKER_TIMINGS_H
#define WORKER_TIMINGS_H

#include <stdio.h>

#include "worker/limits.h"
#include "worker/testlist.h"

struct timings {
  struct testlist *list;                 // sealed, without duplicates; owned
  uint64_t *duration_us;                 // per test, by position; owned
  size_t rows, left_out;                 // below the header; those that are not a test and its time
  char first_left_out[LIMIT_WHY_BYTES];  // "NAME:LINE:COLUMN: why"
};

// Reads all of `in` in the order of its lines. A test is named FILE::TEST, unless it begins with its file anyway; an
// empty file means none. At most 500,000 tests of at most a week each; a row that is not a test and its time, or a test
// that an earlier row names, is left out and counted. Seconds are as seconds.h has them. 0; -1 and in why
// "NAME:LINE:COLUMN: what is wrong": the header, no row at all, or too many.
int timings_read(struct timings *timings, FILE *in, const char *name, char *why, size_t why_size) MUST_CHECK;
void timings_release(struct timings *timings);

#endif
