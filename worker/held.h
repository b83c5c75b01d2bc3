// The leases in a worker's hands: which tests, which are reported in which message. Used by run.c; a lease is gone when
// the server has every result of it on disk.
#ifndef WORKER_HELD_H
#define WORKER_HELD_H

#include <stdio.h>

#include "proto/msg.h"
#include "worker/runner.h"
#include "worker/testlist.h"

struct held_test {
  uint32_t number;  // on the wire
  uint64_t seq;     // message with its result; 0: not reported
  char *id, *file;  // owned when the lease brought names
  bool given_back;  // it will not run here
  bool named;       // the last hello named it although it has a result
};

struct held_lease {
  struct held_lease *next;
  uint64_t id;
  uint32_t base;  // tag of its first test
  uint32_t count, open;
  struct held_test *test;
};

struct held {
  struct held_lease *first;
  uint32_t next_tag;
  uint32_t leases, tests;  // ever
  uint64_t acked;          // messages up to this one are on the server's disk
};

// Takes over a lease and makes what the runner needs (caller frees; the ids live as long as the lease or the list).
// NULL when it names tests that the list does not have.
struct runner_test *held_take(struct held *held, const Shardd__Lease *lease, const struct testlist *list);
struct held_test *held_find(struct held *held, uint32_t tag, uint64_t *lease);  // NULL: not held
// The tags of those tests of a lease that are named by their numbers and have no result; *count of them. The caller
// frees them.
uint32_t *held_tags(const struct held *held, uint64_t lease, const uint32_t *numbers, size_t n, size_t *count);
// The test will not run here: it is not named to the server any more. Returns its number.
uint32_t held_give_back(struct held *held, uint32_t tag);
// Tests of the lease that the last hello named although they had a result, which messages up to `seq` carry: their
// numbers, *count of them, once. The caller frees them.
uint32_t *held_disown(struct held_lease *lease, uint64_t seq, size_t *count);
// Messages up to `seq` are on the server's disk.
void held_ack(struct held *held, uint64_t seq);
// For a hello: leases and tests not acknowledged; the arrays live until the next call or held_release.
void held_hello(struct held *held, Shardd__Hello *hello, uint64_t *lease, uint32_t *count, uint32_t **tests);
uint32_t held_open(const struct held *held);    // tests without a result
uint32_t held_leases(const struct held *held);  // now
// Names the tests whose results the server has not acknowledged, at most MSG_FEW_MAX of them, a line each.
void held_print_unacked(const struct held *held, const struct testlist *list, FILE *out);
void held_release(struct held *held);

#endif
