// The forecast's arithmetic: sums over a suite, the formula, the knee. Called by plan_forecast.c. It must not know
// where durations come from, nor whether a curve was computed or simulated. The formula stands in forecast.h.
#include "server/forecast.h"

#include <assert.h>
#include <stdlib.h>

enum { FORECAST_PER_WORKER_PPM = 2500, FORECAST_SLACK_PERCENT = 1 };

static void forecast_offer(struct forecast *forecast, uint64_t own_us, uint64_t setup_us, uint32_t index) {
  struct forecast_piece piece = {.us = own_us + setup_us, .own_us = own_us, .index = index};
  if (piece.us > forecast->longest.us) {
    forecast->next = forecast->longest;
    forecast->longest = piece;
  } else if (piece.us > forecast->next.us) {
    forecast->next = piece;
  }
}

static void forecast_offer_tests(struct forecast *forecast, const struct forecast_suite *suite) {
  for (uint32_t i = 0; i < suite->count; i++) {
    bool setup = suite->file_setup_us && suite->file_of[i] < suite->file_count;
    forecast_offer(forecast, suite->expected_us[i], setup ? suite->file_setup_us[suite->file_of[i]] : 0, i);
  }
}

static void forecast_offer_files(struct forecast *forecast, const struct forecast_suite *suite) {
  uint64_t *own_us = base_calloc((size_t)suite->file_count + 1, sizeof *own_us);
  uint32_t *first = base_calloc((size_t)suite->file_count + 1, sizeof *first);
  for (uint32_t i = suite->count; i > 0; i--) {
    uint32_t file = suite->file_of[i - 1];
    if (file >= suite->file_count) {
      forecast_offer(forecast, suite->expected_us[i - 1], 0, i - 1);
      continue;
    }
    own_us[file] += suite->expected_us[i - 1];
    first[file] = i - 1;
  }
  for (uint32_t file = 0; file < suite->file_count; file++)
    forecast_offer(forecast, own_us[file], suite->file_setup_us ? suite->file_setup_us[file] : 0, first[file]);
  free(own_us);
  free(first);
}

void forecast_init(struct forecast *forecast, const struct forecast_suite *suite) {
  *forecast = (struct forecast){.count = suite->count, .file_count = suite->file_count};
  for (uint32_t i = 0; i < suite->count; i++)
    forecast->work_us += suite->expected_us[i];
  for (uint32_t i = 0; suite->file_setup_us && i < suite->file_count; i++)
    forecast->setup_us += suite->file_setup_us[i];
  (suite->whole_files ? forecast_offer_files : forecast_offer_tests)(forecast, suite);
}

uint64_t forecast_finish_us(const struct forecast *forecast, uint32_t workers, uint64_t boot_us) {
  assert(workers > 0);
  double n = workers, sum = (double)(forecast->work_us + forecast->setup_us);
  double mean_setup = forecast->file_count ? (double)forecast->setup_us / forecast->file_count : 0;
  double shared = (1 + FORECAST_PER_WORKER_PPM / 1e6 * n) * (sum + n * mean_setup) / n;
  double longest = (double)forecast->longest.us;
  return boot_us + (uint64_t)(shared > longest ? shared : longest);
}

uint32_t forecast_n_max(const struct forecast *forecast, const struct forecast_piece *piece) {
  uint64_t sum = forecast->work_us + forecast->setup_us;
  if (piece->us == 0) return 1;
  uint64_t n_max = sum / piece->us + (sum % piece->us != 0);
  return n_max < 1 ? 1 : n_max > UINT32_MAX ? UINT32_MAX : (uint32_t)n_max;
}

uint32_t forecast_parts(const struct forecast *forecast) {
  const struct forecast_piece *longest = &forecast->longest, *next = &forecast->next;
  if (next->us == 0 || forecast_n_max(forecast, next) <= forecast_n_max(forecast, longest)) return 0;
  uint64_t setup_us = longest->us - longest->own_us;
  if (setup_us >= next->us) return 0;  // each part would pay the set-up, which alone is longer
  uint64_t room_us = next->us - setup_us, parts = longest->own_us / room_us + (longest->own_us % room_us != 0);
  return parts < 2 ? 0 : parts > UINT32_MAX ? UINT32_MAX : (uint32_t)parts;
}

// ---- curves

uint64_t forecast_machine_us(const struct forecast_curve *curve, uint32_t workers) {
  assert(workers > 0 && workers <= FORECAST_WORKERS_MAX);
  return workers * curve->finish_us[workers];
}

uint32_t forecast_efficiency_ppm(const struct forecast_curve *curve, uint32_t workers) {
  uint64_t machine_us = forecast_machine_us(curve, workers), one_us = curve->finish_us[1];
  if (machine_us == 0 || one_us == 0) return 0;
  return one_us >= machine_us ? 1000000 : (uint32_t)((double)one_us / (double)machine_us * 1e6);
}

uint32_t forecast_knee(const struct forecast_curve *curve) {
  uint32_t knee = 1;
  for (uint32_t n = 2; n <= FORECAST_WORKERS_MAX; n++) {
    if (forecast_efficiency_ppm(curve, n) >= FORECAST_EFFICIENT_PPM) knee = n;
  }
  return knee;
}

uint32_t forecast_advice(const struct forecast_curve *curve, uint32_t n_max) {
  uint64_t at_knee_us = curve->finish_us[forecast_knee(curve)];
  uint32_t advice = forecast_within(curve, at_knee_us + at_knee_us * FORECAST_SLACK_PERCENT / 100);
  if (advice > n_max) advice = n_max;
  return advice ? advice : 1;
}

uint32_t forecast_within(const struct forecast_curve *curve, uint64_t target_us) {
  for (uint32_t n = 1; n <= FORECAST_WORKERS_MAX; n++) {
    if (curve->finish_us[n] && curve->finish_us[n] <= target_us) return n;
  }
  return 0;
}
