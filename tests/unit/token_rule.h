// What counted and exclusive tokens promise, said once for all who check it (queue_model.h, tests/sim).
#ifndef TESTS_UNIT_TOKEN_RULE_H
#define TESTS_UNIT_TOKEN_RULE_H

#include "server/tokens.h"

struct token_rule {
  uint32_t total, tokens;  // tests; tokens
  const uint64_t *need;    // by test
  const uint64_t *held;    // by test: 0, it is in nobody's hands
  const uint32_t *copies;  // by token
};

// Whether `test` may be handed out now, alone or with others: tokens are free at the grant (who returns with what it
// holds may hold too many), and nothing runs beside an exclusive test.
static inline bool token_rule_allows(const struct token_rule *rule, uint32_t test) {
  uint32_t used[TOKENS_MAX] = {0}, held = 0, exclusive = 0;
  for (uint32_t i = 0; i < rule->total; i++) {
    if (!rule->held[i]) continue;
    held++;
    exclusive += rule->need[i] == TOKENS_EXCLUSIVE;
    for (uint32_t t = 0; t < rule->tokens; t++)
      used[t] += rule->need[i] >> t & 1;
  }
  if (exclusive || (rule->need[test] == TOKENS_EXCLUSIVE && held)) return false;
  for (uint32_t t = 0; t < rule->tokens; t++) {
    if ((rule->need[test] >> t & 1) && used[t] >= rule->copies[t]) return false;
  }
  return true;
}

#endif
