// What the tables of the history take when they are narrowed by --branch or --since. Used by planted.c.
#ifndef BENCH_NARROWED_H
#define BENCH_NARROWED_H

#include <stdio.h>

#include "server/store.h"

enum { NARROWED_TESTS = 50 };  // of the small branch

struct narrowed {
  struct store *store;    // with a suite "default" of the project "bench", whose builds are of the branch "main"
  const char *const *id;  // NARROWED_TESTS of its tests, and their file
  const char *file;
  uint64_t build;      // a number that no build has: one of the branch "few" is added
  uint64_t target_us;  // what no question may exceed
  FILE *json;          // where members are added; NULL: nowhere
};

// Asks and prints; returns how many questions missed the target.
int narrowed_look(const struct narrowed *narrowed);

#endif
