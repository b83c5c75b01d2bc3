// .test_durations of pytest-split: {"ID": SECONDS, ...}, or the older [["ID", SECONDS], ...]. Used by durations.c.
#ifndef WORKER_DURATIONS_SPLIT_H
#define WORKER_DURATIONS_SPLIT_H

#include "worker/durations.h"

// As durations_read.
int durations_split_read(struct durations *durations, const char *path, char *why, size_t why_size) MUST_CHECK;

#endif
