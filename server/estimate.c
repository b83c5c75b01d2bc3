// The duration estimator: what a test will take, from what it took. Called when a list arrives and when a build has
// closed and teaches. Pure: it must not know where histories are kept. Constants and their measurements:
// docs/architecture.md.
#include "server/estimate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int estimate_compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static void estimate_sort_few(uint64_t *values, size_t n) {
  for (size_t i = 1; i < n; i++) {
    uint64_t value = values[i];
    size_t at = i;
    for (; at > 0 && values[at - 1] > value; at--)
      values[at] = values[at - 1];
    values[at] = value;
  }
}

uint64_t estimate_median(uint64_t *values, size_t n) {
  if (n == 0) return 0;
  if (n <= ESTIMATE_RING) {
    estimate_sort_few(values, n);  // a list asks for one per test
  } else {
    qsort(values, n, sizeof *values, estimate_compare);
  }
  return values[n / 2];
}

static uint32_t estimate_kept(const struct estimate_history *history) {
  return history->n < ESTIMATE_RING ? history->n : ESTIMATE_RING;
}

// The duration learned `back` steps ago, 0 being the last.
static uint64_t estimate_back(const struct estimate_history *history, uint32_t back) {
  assert(back < estimate_kept(history));
  return (uint64_t)history->ring[(history->n - 1 - back) % ESTIMATE_RING];
}

uint64_t estimate_learn(struct estimate_history *history, uint64_t setup_us, uint64_t call_us, uint64_t teardown_us,
                        bool first) {
  uint64_t usual = (uint64_t)history->setup_us;
  uint64_t own = first && setup_us > usual ? usual : setup_us;
  if (!first) history->setup_us = history->setup_us > 0 ? (history->setup_us + (float)setup_us) / 2 : (float)setup_us;
  history->ring[history->n % ESTIMATE_RING] = (float)(own + call_us + teardown_us);
  history->n++;
  if (history->n >= 2u * ESTIMATE_RING * 1000000u) history->n -= ESTIMATE_RING * 1000000u;
  return setup_us - own;
}

uint64_t estimate_file_setup(uint64_t old_us, uint64_t seen_us) {
  return old_us ? (old_us + seen_us) / 2 : seen_us;
}

uint64_t estimate_expected(const struct estimate_history *history) {
  uint64_t window[ESTIMATE_WINDOW];
  uint32_t n = estimate_kept(history);
  if (n == 0) return 0;
  if (n > ESTIMATE_WINDOW) n = ESTIMATE_WINDOW;
  for (uint32_t i = 0; i < n; i++) {
    window[i] = estimate_back(history, i);
  }
  uint64_t last = window[0];  // before the window is put in order
  uint64_t expected = (last + estimate_median(window, n)) / 2;
  return expected ? expected : 1;
}

uint64_t estimate_high(const struct estimate_history *history) {
  uint64_t high = 0;
  for (uint32_t i = 0; i < estimate_kept(history); i++) {
    uint64_t value = estimate_back(history, i);
    if (value > high) high = value;
  }
  return high;
}

static uint64_t estimate_median_of(const struct estimate_history *history, uint32_t from, uint32_t count) {
  uint64_t window[ESTIMATE_RING];
  for (uint32_t i = 0; i < count; i++) {
    window[i] = estimate_back(history, from + i);
  }
  return estimate_median(window, count);
}

uint64_t estimate_recent(const struct estimate_history *history) {
  return estimate_kept(history) < ESTIMATE_RECENT ? 0 : estimate_median_of(history, 0, ESTIMATE_RECENT);
}

bool estimate_slower(const struct estimate_history *history, uint64_t *before_us, uint64_t *after_us) {
  if (estimate_kept(history) < ESTIMATE_RING) return false;
  uint64_t before = estimate_median_of(history, ESTIMATE_RECENT, ESTIMATE_RING - ESTIMATE_RECENT);
  uint64_t after = estimate_recent(history), least = after;
  for (uint32_t i = 0; i < ESTIMATE_RECENT; i++) {
    if (estimate_back(history, i) < least) least = estimate_back(history, i);
  }
  *before_us = before;
  *after_us = after;
  return after * 2 > before * 3 && least * 10 > before * 13 && after >= before + ESTIMATE_STEP_US;
}

// What stands in for tests never seen: per file a median, for the suite a mean and the order key of the unknown.
struct estimate_suite {
  uint64_t *file_median;  // 0: nothing known of the file
  uint64_t mean, p95;
};

struct estimate_sample {
  uint32_t file;
  uint64_t us;
};

static int estimate_compare_sample(const void *a, const void *b) {
  const struct estimate_sample *x = a, *y = b;
  if (x->file != y->file) return x->file < y->file ? -1 : 1;
  return (x->us > y->us) - (x->us < y->us);
}

static int estimate_compare_us(const void *a, const void *b) {
  const struct estimate_sample *x = a, *y = b;
  return (x->us > y->us) - (x->us < y->us);
}

static void estimate_summarise(struct estimate_suite *suite, struct estimate_sample *sample, size_t n,
                               size_t file_count) {
  suite->mean = ESTIMATE_DEFAULT_US;
  suite->p95 = ESTIMATE_DEFAULT_US;
  if (n == 0) return;
  qsort(sample, n, sizeof *sample, estimate_compare_sample);
  uint64_t sum = 0;
  for (size_t i = 0; i < n;) {
    size_t end = i;
    while (end < n && sample[end].file == sample[i].file) {
      sum += sample[end++].us;
    }
    if (sample[i].file < file_count) suite->file_median[sample[i].file] = sample[(i + end) / 2].us;
    i = end;
  }
  suite->mean = sum / n;
  qsort(sample, n, sizeof *sample, estimate_compare_us);
  suite->p95 = sample[n - 1 - (n - 1) / 20].us;
}

static void estimate_unknown(const struct estimate_suite *suite, uint32_t file, size_t file_count,
                             struct estimate_out *out) {
  uint64_t median = file < file_count ? suite->file_median[file] : 0;
  out->expected_us = median ? median : suite->mean;
  out->order_us = out->expected_us > suite->p95 ? out->expected_us : suite->p95;
}

void estimate_list(const struct estimate_history *history, const uint32_t *file_of, size_t count, size_t file_count,
                   struct estimate_out *out) {
  struct estimate_suite suite = {.file_median = base_calloc(file_count + 1, sizeof *suite.file_median)};
  struct estimate_sample *sample = base_calloc(count + 1, sizeof *sample);
  size_t seen = 0;
  for (size_t i = 0; i < count; i++) {
    out[i].expected_us = out[i].order_us = estimate_expected(&history[i]);
    if (out[i].expected_us) sample[seen++] = (struct estimate_sample){file_of[i], out[i].expected_us};
  }
  if (seen < count) estimate_summarise(&suite, sample, seen, file_count);
  for (size_t i = 0; i < count; i++) {
    if (!out[i].expected_us) estimate_unknown(&suite, file_of[i], file_count, &out[i]);
  }
  free(sample);
  free(suite.file_median);
}
