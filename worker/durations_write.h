// Durations as files that `shard import` and the tools of others read.
#ifndef WORKER_DURATIONS_WRITE_H
#define WORKER_DURATIONS_WRITE_H

#include <stdio.h>

#include "worker/durations.h"

// Writes all, which durations_sort has ordered, in a form that is not DURATIONS_AUTO; JUnit names the suite. *left_out
// is how many have an id that the form cannot hold. 0; -1 and why. That `out` failed is the caller's to see.
int durations_write(FILE *out, const struct durations *durations, enum durations_format format, const char *suite,
                    size_t *left_out, char *why, size_t why_size) MUST_CHECK;

#endif
