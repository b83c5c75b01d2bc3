// Tests that need tokens, by their set of tokens: two heaps a set, by the longest and by the place in collection order.
// Called by the queue alone. It must not know leases or workers.
#include "server/tokens.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "server/heap.h"

struct tokens_test {
  uint32_t position, set;
  uint64_t expected_us;
  uint32_t order_us;
  bool ready, used;
  struct heap_node longest, next;
};

struct tokens_set {
  uint64_t need;
  uint64_t ready_us;
  struct heap longest, next;
};

struct tokens {
  uint32_t count, test_count, set_count;
  uint32_t *place_of;  // by position: in `test`, TOKENS_NONE: needs no token
  struct tokens_test *test;
  struct tokens_set set[TOKENS_SETS_MAX];
  uint32_t copies[TOKENS_MAX], used[TOKENS_MAX], exclusive_used;
  uint64_t token_us[TOKENS_MAX];  // of what is ready and needs it
  uint32_t ready;
  uint64_t ready_us;
};

#define TEST_OF(node, member) ((struct tokens_test *)(void *)((char *)(node)-offsetof(struct tokens_test, member)))

// ---- building

static uint32_t tokens_set_of(struct tokens *tokens, uint64_t need) {
  for (uint32_t i = 0; i < tokens->set_count; i++) {
    if (tokens->set[i].need == need) return i;
  }
  if (tokens->set_count == TOKENS_SETS_MAX - 1 && need != TOKENS_EXCLUSIVE) need = TOKENS_ALL;
  if (tokens->set_count == TOKENS_SETS_MAX) return TOKENS_SETS_MAX - 1;
  tokens->set[tokens->set_count].need = need;
  return tokens->set_count++;
}

static void tokens_fill(struct tokens *tokens, const struct tokens_list *list) {
  for (uint32_t i = 0; i < list->count; i++) {
    tokens->place_of[i] = TOKENS_NONE;
    if (!list->need[i]) continue;
    uint32_t set = tokens_set_of(tokens, list->need[i]), place = tokens->test_count++;
    tokens->place_of[i] = place;
    tokens->test[place] =
        (struct tokens_test){.position = i,
                             .set = set,
                             .expected_us = list->expected_us[i],
                             .order_us = list->order_us[i] > UINT32_MAX ? UINT32_MAX : (uint32_t)list->order_us[i]};
  }
}

struct tokens *tokens_new(const struct tokens_list *list) {
  struct tokens *tokens = base_calloc(1, sizeof *tokens);
  uint32_t needing = 0;
  for (uint32_t i = 0; i < list->count; i++)
    needing += list->need[i] != 0;
  tokens->count = list->count;
  tokens->place_of = base_calloc(list->count + 1, sizeof *tokens->place_of);
  tokens->test = base_calloc(needing + 1, sizeof *tokens->test);
  for (uint32_t i = 0; i < TOKENS_MAX; i++)
    tokens->copies[i] = list->copies[i] ? list->copies[i] : 1;
  tokens_fill(tokens, list);
  return tokens;
}

void tokens_free(struct tokens *tokens) {
  if (!tokens) return;
  for (uint32_t i = 0; i < tokens->set_count; i++) {
    heap_release(&tokens->set[i].longest);
    heap_release(&tokens->set[i].next);
  }
  free(tokens->place_of);
  free(tokens->test);
  free(tokens);
}

// ---- states

static struct tokens_test *tokens_test_of(const struct tokens *tokens, uint32_t position) {
  assert(position < tokens->count && tokens->place_of[position] != TOKENS_NONE);
  return &tokens->test[tokens->place_of[position]];
}

bool tokens_need(const struct tokens *tokens, uint32_t position) {
  return tokens && tokens->place_of[position] != TOKENS_NONE;
}

bool tokens_holds(const struct tokens *tokens, uint32_t position) {
  return tokens_need(tokens, position) && tokens_test_of(tokens, position)->ready;
}

static void tokens_count(struct tokens *tokens, const struct tokens_test *test, int change) {
  struct tokens_set *set = &tokens->set[test->set];
  uint64_t us = (uint64_t)(int64_t)change * test->expected_us;
  set->ready_us += us;
  tokens->ready_us += us;
  tokens->ready += (uint32_t)change;
  for (uint32_t i = 0; i < TOKENS_MAX; i++) {
    if (set->need >> i & 1) tokens->token_us[i] += us;
  }
}

void tokens_put(struct tokens *tokens, uint32_t position) {
  struct tokens_test *test = tokens_test_of(tokens, position);
  struct tokens_set *set = &tokens->set[test->set];
  assert(!test->ready && !test->used);
  test->ready = true;
  heap_set(&set->longest, &test->longest, test->order_us);
  heap_set(&set->next, &test->next, UINT32_MAX - position);
  tokens_count(tokens, test, 1);
}

void tokens_take(struct tokens *tokens, uint32_t position) {
  struct tokens_test *test = tokens_test_of(tokens, position);
  struct tokens_set *set = &tokens->set[test->set];
  assert(test->ready);
  test->ready = false;
  heap_remove(&set->longest, &test->longest);
  heap_remove(&set->next, &test->next);
  tokens_count(tokens, test, -1);
}

static void tokens_use(struct tokens *tokens, uint32_t position, int change) {
  struct tokens_test *test = tokens_test_of(tokens, position);
  uint64_t need = tokens->set[test->set].need;
  assert(test->used == (change < 0));
  test->used = change > 0;
  if (need & TOKENS_EXCLUSIVE) tokens->exclusive_used += (uint32_t)change;
  for (uint32_t i = 0; i < TOKENS_MAX; i++) {
    if (need >> i & 1) tokens->used[i] += (uint32_t)change;
  }
}

void tokens_acquire(struct tokens *tokens, uint32_t position) {
  tokens_use(tokens, position, 1);
}

void tokens_release(struct tokens *tokens, uint32_t position) {
  tokens_use(tokens, position, -1);
}

// ---- choosing

static bool tokens_set_free(const struct tokens *tokens, const struct tokens_set *set) {
  for (uint32_t i = 0; i < TOKENS_MAX; i++) {
    if ((set->need >> i & 1) && tokens->used[i] >= tokens->copies[i]) return false;
  }
  return true;
}

bool tokens_exclusive_runs(const struct tokens *tokens) {
  return tokens && tokens->exclusive_used > 0;
}

bool tokens_free_for(const struct tokens *tokens, uint32_t position, uint32_t leased) {
  if (tokens_exclusive_runs(tokens)) return false;
  if (!tokens_need(tokens, position)) return true;
  const struct tokens_set *set = &tokens->set[tokens_test_of(tokens, position)->set];
  if (set->need & TOKENS_EXCLUSIVE) return leased == 0;
  return tokens_set_free(tokens, set);
}

// How long what waits for one of the set's tokens takes at least.
static uint64_t tokens_chain_us(const struct tokens *tokens, const struct tokens_set *set) {
  uint64_t longest = 0;
  for (uint32_t i = 0; i < TOKENS_MAX; i++) {
    uint64_t chain = set->need >> i & 1 ? tokens->token_us[i] / tokens->copies[i] : 0;
    if (chain > longest) longest = chain;
  }
  return longest;
}

uint32_t tokens_pick(const struct tokens *tokens, uint64_t long_us, bool critical) {
  const struct tokens_set *best = NULL;
  uint64_t best_us = 0;
  for (uint32_t i = 0; i < tokens->set_count; i++) {
    const struct tokens_set *set = &tokens->set[i];
    if ((set->need & TOKENS_EXCLUSIVE) || !heap_top(&set->longest) || !tokens_set_free(tokens, set)) continue;
    uint64_t chain_us = tokens_chain_us(tokens, set), longest_us = heap_top(&set->longest)->key;
    if (critical && chain_us <= long_us && longest_us <= long_us) continue;
    if (best && chain_us <= best_us) continue;
    best = set;
    best_us = chain_us;
  }
  if (!best) return TOKENS_NONE;
  if (heap_top(&best->longest)->key > long_us) return TEST_OF(heap_top(&best->longest), longest)->position;
  return TEST_OF(heap_top(&best->next), next)->position;
}

uint32_t tokens_pick_exclusive(const struct tokens *tokens) {
  for (uint32_t i = 0; i < tokens->set_count; i++) {
    const struct tokens_set *set = &tokens->set[i];
    if ((set->need & TOKENS_EXCLUSIVE) && heap_top(&set->next)) return TEST_OF(heap_top(&set->next), next)->position;
  }
  return TOKENS_NONE;
}

uint32_t tokens_ready(const struct tokens *tokens) {
  return tokens ? tokens->ready : 0;
}

uint64_t tokens_ready_us(const struct tokens *tokens) {
  return tokens ? tokens->ready_us : 0;
}

// ---- checking

void tokens_check(const struct tokens *tokens) {
  uint32_t ready = 0, used[TOKENS_MAX] = {0}, exclusive = 0;
  uint64_t ready_us = 0;
  for (uint32_t i = 0; i < tokens->test_count; i++) {
    const struct tokens_test *test = &tokens->test[i];
    uint64_t need = tokens->set[test->set].need;
    assert(!(test->ready && test->used) && tokens->place_of[test->position] == i);
    assert(test->ready == (test->longest.place > 0) && test->ready == (test->next.place > 0));
    ready += test->ready;
    ready_us += test->ready ? test->expected_us : 0;
    exclusive += test->used && (need & TOKENS_EXCLUSIVE);
    for (uint32_t t = 0; t < TOKENS_MAX; t++)
      used[t] += test->used && (need >> t & 1);
  }
  assert(ready == tokens->ready && ready_us == tokens->ready_us && exclusive == tokens->exclusive_used);
  for (uint32_t t = 0; t < TOKENS_MAX; t++)
    assert(used[t] == tokens->used[t]);
  for (uint32_t i = 0; i < tokens->set_count; i++)
    assert(heap_valid(&tokens->set[i].longest) && heap_valid(&tokens->set[i].next));
}
