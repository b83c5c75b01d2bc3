// The tests of `ctest --show-only=json-v1`, with what their properties ask of the scheduler. Used by command_list.c for
// a list that begins with "{".
#ifndef WORKER_CTEST_LIST_H
#define WORKER_CTEST_LIST_H

#include "worker/testlist.h"

// Appends the tests to the list, in ctest's order, each a unit of its own: RUN_SERIAL makes a test exclusive,
// RESOURCE_LOCK names tokens, and tests that share fixtures (FIXTURES_SETUP, FIXTURES_REQUIRED, FIXTURES_CLEANUP,
// directly or through others) are one group. 0; -1 and a message in why when the text is not that JSON, or a test
// cannot be added.
int ctest_list_read(struct testlist *list, const char *text, size_t n, char *why, size_t why_size) MUST_CHECK;

#endif
