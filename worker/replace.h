// A file that appears whole or not at all: written beside its path, then renamed. Used for reports, exports and
// results that wait.
#ifndef WORKER_REPLACE_H
#define WORKER_REPLACE_H

#include <stdio.h>

#include "config/base.h"

struct replace {
  FILE *out;
  char *path, *temporary;  // equal when it is written directly
};

// "-" is standard output; a path that is no plain file (/dev/stdout, a pipe) is written directly. 0; -1 and in why
// "cannot write PATH: what is wrong".
int replace_open(struct replace *replace, const char *path, char *why, size_t why_size) MUST_CHECK;
// Brings what was written to the disk, for what must outlive a power cut. False: it did not work, and in why.
bool replace_sync(struct replace *replace, char *why, size_t why_size);
// Puts it in its place, or without `good` takes it away again, and then leaves `why` as it is. 0; -1 and in why.
int replace_close(struct replace *replace, bool good, char *why, size_t why_size) MUST_CHECK;

#endif
