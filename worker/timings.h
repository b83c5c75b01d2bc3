// A file of tests and their durations: CSV with a header that names at least the columns file, test and seconds, or
// instead of seconds the phases setup, call and teardown, whose sum counts; further columns are ignored. Read by plan.c
// for `shard plan --simulate`. Knows nothing of what is done with it.
#ifndef WORKER_TIMINGS_H
#define WORKER_TIMINGS_H

#include <stdio.h>

#include "worker/testlist.h"

struct timings {
  struct testlist *list;  // sealed, without duplicates; owned
  uint64_t *duration_us;  // per test, by position; owned
};

// Reads all of `in` in the order of its lines. A test is named FILE::TEST, unless it begins with its file anyway; an
// empty file means none. At most 500,000 tests of at most a week each. 0; -1 and in why "NAME:LINE:COLUMN: what is
// wrong".
int timings_read(struct timings *timings, FILE *in, const char *name, char *why, size_t why_size) MUST_CHECK;
void timings_release(struct timings *timings);

#endif
