// The time that a process of the command runner may take. Called by runner_command.c before it starts one, and by
// command_settle.c for its words. It must not know what the tests are or how they end.
#include "worker/command_limit.h"

#include <assert.h>
#include <stdio.h>

static uint64_t plus(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static bool guessed(enum runner_cap from) {
  switch (from) {
    case RUNNER_CAP_HISTORY:
    case RUNNER_CAP_UNSEEN:
    case RUNNER_CAP_LONGER: return true;
    case RUNNER_CAP_UNKNOWN:
    case RUNNER_CAP_ASKED: break;
  }
  return false;
}

struct command_limit command_limit_of(const struct runner_test *tests, const size_t *at, size_t count) {
  uint64_t sum_us = 0, longest_us = 0, expected_us = 0;
  bool guesses = count > 0;
  for (size_t i = 0; i < count; i++) {
    const struct runner_test *test = &tests[at[i]];
    if (test->cap_us == 0) return (struct command_limit){.us = 0};
    sum_us = plus(sum_us, test->cap_us);
    expected_us = plus(expected_us, test->est_us);
    longest_us = test->cap_us > longest_us ? test->cap_us : longest_us;
    guesses = guesses && guessed(test->cap_from);
  }
  uint64_t times_us = expected_us > UINT64_MAX / COMMAND_LIMIT_TIMES ? UINT64_MAX : expected_us * COMMAND_LIMIT_TIMES;
  uint64_t guess_us = plus(longest_us, times_us);
  if (!guesses || guess_us >= sum_us) return (struct command_limit){.us = sum_us, .guessed = guesses, .summed = true};
  return (struct command_limit){.us = guess_us, .guessed = true};
}

void command_limit_text(const struct command_limit *limit, char text[COMMAND_LIMIT_TEXT_BYTES]) {
  assert(limit->us > 0);
  const char *from = limit->summed ? "the limits of its tests added up" : "the longest limit of its tests";
  char more[64] = "";
  if (!limit->summed)
    (void)snprintf(more, sizeof(more), " plus %d times what they were expected to take", COMMAND_LIMIT_TIMES);
  (void)snprintf(text, COMMAND_LIMIT_TEXT_BYTES, "it ran longer than its limit of %.6g s (%s%s; %s)",
                 (double)limit->us / 1e6, from, more,
                 limit->guessed ? "set --timeout-per-test to change it" : "--timeout-per-test");
}
