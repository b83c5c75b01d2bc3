// What clients can make the daemon hold, counted in bytes: lists until they are on disk, plans, and buffers of
// connections. Each holder has a share, which it sets to what it holds; a share that would take the whole over its
// bound is refused. The shares of ended connections are given back: the sum is 0 when the last one is gone. Pure.
#ifndef SERVER_BUDGET_H
#define SERVER_BUDGET_H

#include "config/base.h"

enum budget_kind {
  BUDGET_LISTS,    // lists of workers, until they are on disk
  BUDGET_PLANS,    // of planning clients: lists, and what is made of them
  BUDGET_BUFFERS,  // read and not yet understood, written and not yet sent
  BUDGET_KINDS
};

// list_bytes bounds lists and plans together, buffer_bytes the buffers. Of list_bytes one share takes at most half, and
// so do all plans together: what is planned keeps no build out.
struct budget {
  uint64_t list_bytes, buffer_bytes;
  uint64_t used[BUDGET_KINDS];
  uint64_t most;  // that was ever used
};

// Zeroed, but for budget and kind: holds nothing. Without a budget it counts and is never refused.
struct budget_share {
  struct budget *budget;
  enum budget_kind kind;
  uint64_t bytes;
};

enum budget_answer {
  BUDGET_GRANTED,
  BUDGET_BUSY,       // there is room for it once others have ended
  BUDGET_TOO_LARGE,  // there never is
};

// Sets what the share holds, in bytes. A refused share stays as it was. Less than before, and nothing, is always
// granted.
enum budget_answer budget_hold(struct budget_share *share, uint64_t bytes) MUST_CHECK;
// Sets what the share holds without asking: for what is held already, and is bounded elsewhere.
void budget_count(struct budget_share *share, uint64_t bytes);
void budget_release(struct budget_share *share);
uint64_t budget_used(const struct budget *budget);  // of all kinds

#endif
