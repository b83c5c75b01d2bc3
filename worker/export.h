// `shard export`: what each test of a suite is expected to take, for other tools: .test_durations, JUnit XML or CSV.
#ifndef WORKER_EXPORT_H
#define WORKER_EXPORT_H

#include "worker/options.h"

int export_main(struct options *options, char **words, size_t count, char **command);

#endif
