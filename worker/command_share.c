// Shares a process's time out over its tests. Called by the command runner after each process. A line is fitted through
// (tests, time beyond the rows) of the processes so far; where it meets no tests at all is the start-up. It must not
// know where the figures come from.
#include "worker/command_share.h"

void command_share_learn(struct command_share *share, size_t tests, uint64_t wall_us, uint64_t rows_us) {
  uint64_t beyond_us = wall_us > rows_us ? wall_us - rows_us : 0;
  double n = (double)tests, beyond = (double)beyond_us;
  if (share->processes == 0 || beyond_us < share->least_us) share->least_us = beyond_us;
  share->processes += 1;
  share->tests += n;
  share->squares += n * n;
  share->beyond += beyond;
  share->products += n * beyond;
}

// False: all processes had the same number of tests.
static bool command_share_fit(const struct command_share *share, double *start_us) {
  double spread = share->processes * share->squares - share->tests * share->tests;
  if (spread <= 0) return false;
  double each = (share->processes * share->products - share->tests * share->beyond) / spread;
  if (each < 0) each = 0;
  *start_us = (share->beyond - each * share->tests) / share->processes;
  return true;
}

uint64_t command_share_start_us(const struct command_share *share) {
  double start_us;
  if (!command_share_fit(share, &start_us) || start_us < 0) return 0;
  return start_us < (double)share->least_us ? (uint64_t)start_us : share->least_us;
}

uint64_t command_share_cost_us(const struct command_share *share) {
  double start_us;
  if (share->processes == 0) return 0;
  uint64_t cost_us = command_share_fit(share, &start_us) ? command_share_start_us(share)
                                                         : (uint64_t)(share->beyond / share->processes);
  return cost_us ? cost_us : 1;
}

void command_share_out(uint64_t *times_us, size_t count, uint64_t wall_us, uint64_t start_us) {
  double sum = 0, known = 0, left = wall_us > start_us ? (double)(wall_us - start_us) : 0;
  for (size_t i = 0; i < count; i++) {
    if (times_us[i] == UINT64_MAX) continue;
    sum += (double)times_us[i];
    known += 1;
  }
  bool even = sum <= 0;
  double mean = even ? 1 : sum / known, all = mean * (even ? (double)count : sum / mean + (double)count - known);
  for (size_t i = 0; i < count; i++) {
    double weight = even || times_us[i] == UINT64_MAX ? mean : (double)times_us[i];
    times_us[i] = (uint64_t)(left * (weight / all));
  }
}
