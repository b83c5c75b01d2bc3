// One worker's output on its way to ours: whole lines only, each behind the worker's prefix, so that the lines of
// several workers never run into each other. Used by local.c; knows bytes, not workers.
#ifndef WORKER_LOCAL_OUTPUT_H
#define WORKER_LOCAL_OUTPUT_H

#include <stdio.h>

#include "worker/progress.h"

struct local_output;

enum { LOCAL_OUTPUT_LINE_MAX_BYTES = 64 * 1024 };

// Lines go to `out`; `progress` (NULL: none) is taken away meanwhile. The prefix is copied.
struct local_output *local_output_new(FILE *out, const char *prefix, struct progress *progress);

// Takes bytes and writes the lines that are whole. A lone carriage return ends a line too: what redraws a line in place
// would draw over the prefix. Longer lines are cut in two.
void local_output_feed(struct local_output *output, const char *bytes, size_t n);

// Writes what has no line end, with one; frees. NULL is legal.
void local_output_finish(struct local_output *output);

#endif
