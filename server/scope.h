// A build's list in the terms of the scheduler and the queue: which files are shared, which tests are kept together or
// apart, what goes first. Called by build.c when the list is ready. No message and no SQL here.
#ifndef SERVER_SCOPE_H
#define SERVER_SCOPE_H

#include "server/marks.h"
#include "server/sched.h"
#include "server/store.h"

// The numbers of Order in shardd.proto (asserted in deliver.c).
enum scope_order { SCOPE_AUTO, SCOPE_FAILED_FIRST, SCOPE_COLLECTION };

struct scope {
  struct sched_list list;  // points into what follows, and into the store's list
  struct tokens *tokens;   // NULL: no test needs any; the queue's once it is handed over
  struct marks marks;
  uint64_t *expected_us, *order_us, *setup_us;
  uint32_t *file_of;
  bool *whole;
};

// order: enum scope_order. copies: a line NAME=COUNT for each token of which there are several, "" for none. With
// SCOPE_COLLECTION all tests that belong to no group are one file. What the list's marks say wrongly is passed over and
// told in *why (constant; NULL: nothing).
void scope_make(struct scope *scope, const struct store_list *list, const struct store_listed *listed, uint32_t order,
                const char *copies, const char **why);
void scope_release(struct scope *scope);

// The group that alone takes longest, by expected durations and its file's set-up, µs; NULL: there is none.
const char *scope_longest_group(const struct scope *scope, uint64_t *us);

#endif
