// Counted resources: tests that need a token ("db", of which there are two) run at most so many at once, over all
// workers of the build. Pure. The queue owns the tests' states and tells which of those with tokens are READY and which
// LEASED; this picks. Such tests are not in the scheduler, and each is a lease of its own: a token is taken at the
// grant and is free again with the result.
//
// A token is critical when the work that waits for it, divided by its copies, is over the scheduler's threshold for
// long tests: its tests then go before all others (scheduling notes, section 7). Exclusive tests run while nothing else
// does.
#ifndef SERVER_TOKENS_H
#define SERVER_TOKENS_H

#include "config/base.h"

enum { TOKENS_MAX = 62, TOKENS_SETS_MAX = 256, TOKENS_NONE = UINT32_MAX };
static const uint64_t TOKENS_EXCLUSIVE = UINT64_C(1) << 63;
static const uint64_t TOKENS_ALL = (UINT64_C(1) << 62) - 1;

struct tokens;

struct tokens_list {
  uint32_t count;                          // tests, in collection order
  const uint64_t *need;                    // per test: a bit for each token, or TOKENS_EXCLUSIVE alone; 0: none
  uint32_t copies[TOKENS_MAX];             // per token, at least 1
  const uint64_t *expected_us, *order_us;  // per test
};

// None of its tests is READY at first. Arrays are read during the call only. Beyond TOKENS_SETS_MAX different sets a
// test needs one of every token: too much rather than too little.
struct tokens *tokens_new(const struct tokens_list *list);
void tokens_free(struct tokens *tokens);

bool tokens_need(const struct tokens *tokens, uint32_t test);   // does it need any? false for NULL
void tokens_put(struct tokens *tokens, uint32_t test);          // it is READY
void tokens_take(struct tokens *tokens, uint32_t test);         // it is not READY any more
bool tokens_holds(const struct tokens *tokens, uint32_t test);  // put and not taken
void tokens_acquire(struct tokens *tokens, uint32_t test);      // LEASED: its tokens are in use
void tokens_release(struct tokens *tokens, uint32_t test);      // not LEASED any more

// May the test be leased now? `leased`: tests that are LEASED, of any kind.
bool tokens_free_for(const struct tokens *tokens, uint32_t test, uint32_t leased);
// The next test whose tokens are free: longest first above long_us, else in collection order; of critical tokens alone
// when `critical`. Never an exclusive one. TOKENS_NONE: there is none.
uint32_t tokens_pick(const struct tokens *tokens, uint64_t long_us, bool critical);
// A READY exclusive test, or TOKENS_NONE; and whether one runs.
uint32_t tokens_pick_exclusive(const struct tokens *tokens);
bool tokens_exclusive_runs(const struct tokens *tokens);

uint32_t tokens_ready(const struct tokens *tokens);     // tests put and not taken; 0 for NULL
uint64_t tokens_ready_us(const struct tokens *tokens);  // what they are expected to take

// Asserts every invariant; for tests, O(tests).
void tokens_check(const struct tokens *tokens);

#endif
