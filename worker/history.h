// The subcommands that tell what is known of builds and tests. Called by main.c; each returns its exit code and prints
// what went wrong itself. With --fail-if the code is 1 when the rule holds.
#ifndef WORKER_HISTORY_H
#define WORKER_HISTORY_H

#include "worker/options.h"

int history_builds(struct options *options, char **words, size_t count, char **command);
int history_workers(struct options *options, char **words, size_t count, char **command);
int history_slow(struct options *options, char **words, size_t count, char **command);
int history_slower(struct options *options, char **words, size_t count, char **command);
int history_flaky(struct options *options, char **words, size_t count, char **command);
int history_broken(struct options *options, char **words, size_t count, char **command);
int history_log(struct options *options, char **words, size_t count, char **command);
// The runs of one test; in a table also its durations and outcomes at a glance, its state and its last failure.
int history_test(struct options *options, char **words, size_t count, char **command);
// One build and the time of its workers.
int history_build(struct options *options, char **words, size_t count, char **command);
// What each owner has of the flaky, broken, slower and slow.
int history_owners(struct options *options, char **words, size_t count, char **command);

#endif
