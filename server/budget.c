// Bytes that clients make the daemon hold. Called by upload.c, plan.c and conn.c; server.c owns the budget and gives
// its bounds. It must not know what is held.
#include "server/budget.h"

#include <assert.h>

uint64_t budget_used(const struct budget *budget) {
  uint64_t sum = 0;
  for (int kind = 0; kind < BUDGET_KINDS; kind++)
    sum += budget->used[kind];
  return sum;
}

void budget_count(struct budget_share *share, uint64_t bytes) {
  struct budget *budget = share->budget;
  if (budget) {
    assert(budget->used[share->kind] >= share->bytes);
    budget->used[share->kind] += bytes - share->bytes;
    if (budget_used(budget) > budget->most) budget->most = budget_used(budget);
  }
  share->bytes = bytes;
}

void budget_release(struct budget_share *share) {
  budget_count(share, 0);
}

static bool budget_fits(const struct budget *budget, enum budget_kind kind, uint64_t more) {
  uint64_t lists = budget->used[BUDGET_LISTS] + budget->used[BUDGET_PLANS];
  if (kind == BUDGET_BUFFERS) return budget->used[kind] + more <= budget->buffer_bytes;
  if (kind == BUDGET_PLANS && budget->used[kind] + more > budget->list_bytes / 2) return false;
  return lists + more <= budget->list_bytes;
}

enum budget_answer budget_hold(struct budget_share *share, uint64_t bytes) {
  const struct budget *budget = share->budget;
  if (budget && bytes > share->bytes) {
    if (share->kind != BUDGET_BUFFERS && bytes > budget->list_bytes / 2) return BUDGET_TOO_LARGE;
    if (!budget_fits(budget, share->kind, bytes - share->bytes)) return BUDGET_BUSY;
  }
  budget_count(share, bytes);
  return BUDGET_GRANTED;
}
