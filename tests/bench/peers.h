// What other tools do with a suite, in virtual time: static splits, pytest-xdist's two queues, a shuffled queue of
// single tests. Each returns its makespan in µs.
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include "tests/bench/virtual.h"

// As many tests for each, in collection order.
double peers_count(const struct suite *suite, const struct machine *machines, uint32_t n);
// Longest processing time first over tests, or over whole files, by expected durations.
double peers_lpt(const struct suite *suite, const struct machine *machines, uint32_t n, bool by_file);
// pytest-xdist --dist load: a first share in collection order, topped up while at least two tests wait.
double peers_xdist_load(const struct suite *suite, const struct machine *machines, uint32_t n);
// pytest-xdist --dist worksteal: equal shares in collection order; who has fewer than two left takes half of the
// longest queue's, from its end.
double peers_xdist_worksteal(const struct suite *suite, const struct machine *machines, uint32_t n);
// One test at a time in random order, as ci-queue does.
double peers_random(const struct suite *suite, const struct machine *machines, uint32_t n, uint64_t seed);

#endif
