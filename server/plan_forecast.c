// Forecasts of planning connections: of a simulated list, or of a suite's history by the closed formula, with what
// bounds them. Called by query.c. The arithmetic is forecast.c's, the history store_forecast.c's; here they are put
// into rows.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/plan_impl.h"

static const struct rows_column plan_curve_columns[] = {
    {"workers", ROWS_INT}, {"finish", ROWS_DURATION_US}, {"machine", ROWS_DURATION_US}, {"efficiency", ROWS_RATIO_PPM}};

static const struct rows_column plan_facts_columns[] = {
    {"source", ROWS_TEXT},        {"tests", ROWS_INT},
    {"files", ROWS_INT},          {"never_timed", ROWS_INT},
    {"work", ROWS_DURATION_US},   {"setup", ROWS_DURATION_US},
    {"boot", ROWS_DURATION_US},   {"boot_source", ROWS_TEXT},
    {"boot_builds", ROWS_INT},    {"piece", ROWS_TEXT},
    {"longest", ROWS_TEXT},       {"longest_time", ROWS_DURATION_US},
    {"n_max", ROWS_INT},          {"split_parts", ROWS_INT},
    {"next", ROWS_TEXT},          {"next_time", ROWS_DURATION_US},
    {"split_n_max", ROWS_INT},    {"knee", ROWS_INT},
    {"target", ROWS_DURATION_US}, {"recommended", ROWS_INT},
};

static const char *const plan_boot_names[] = {
    [PLAN_BOOT_DEFAULT] = "default", [PLAN_BOOT_TOLD] = "told", [PLAN_BOOT_HISTORY] = "history"};

// What the history says of a suite: filled by another thread.
struct plan_past {
  char *project, *suite;
  bool wanted;  // there is no list to forecast
  struct plan_outlook outlook;
};

void plan_forget_outlook(struct plan_outlook *outlook) {
  free(outlook->longest);
  free(outlook->next);
  *outlook = (struct plan_outlook){0};
}

static void plan_set_boot(struct plan_outlook *outlook, const Shardd__Query *query,
                          const struct store_expected *expected) {
  outlook->boot = PLAN_BOOT_DEFAULT;
  outlook->boot_us = FORECAST_BOOT_US;
  if (query->boot_told) {
    outlook->boot = PLAN_BOOT_TOLD;
    outlook->boot_us = query->boot_us < MSG_EXPECTED_MAX_US ? query->boot_us : MSG_EXPECTED_MAX_US;
  } else if (expected && expected->boot_builds) {
    outlook->boot = PLAN_BOOT_HISTORY;
    outlook->boot_us = expected->boot_us;
    outlook->boot_builds = expected->boot_builds;
  }
}

// ---- of a list that was simulated

static char *plan_list_name(const struct store_list *list, const struct forecast_piece *piece, bool whole_files) {
  if (piece->us == 0) return base_strdup("");
  uint32_t file = list->file_of[piece->index];
  return base_strdup(whole_files && file < list->file_count ? list->file[file] : list->id[piece->index]);
}

static Shardd__ErrorCode plan_from_list(struct plan *plan, const Shardd__Query *query, struct store_error *error) {
  struct plan_outlook *outlook = &plan->outlook;
  const struct store_list *list = upload_list(plan->upload, 0);
  if (plan->curve.finish_us[1] == 0) {
    (void)snprintf(error->text, sizeof error->text, "the list was not simulated yet, with one worker at least");
    return SHARDD__ERROR_CODE__ERROR_STATE;
  }
  struct forecast_suite suite = {.count = list->count,
                                 .file_count = list->file_count,
                                 .file_of = list->file_of,
                                 .expected_us = plan->durations,
                                 .whole_files = plan->whole_files};
  forecast_init(&outlook->forecast, &suite);
  plan_set_boot(outlook, query, NULL);
  outlook->simulated = true;
  outlook->whole_files = plan->whole_files;
  outlook->longest = plan_list_name(list, &outlook->forecast.longest, plan->whole_files);
  outlook->next = plan_list_name(list, &outlook->forecast.next, plan->whole_files);
  for (uint32_t n = 1; n <= FORECAST_WORKERS_MAX; n++) {
    uint64_t finish_us = plan->curve.finish_us[n];
    outlook->curve.finish_us[n] = finish_us ? finish_us + outlook->boot_us : 0;
  }
  return SHARDD__ERROR_CODE__ERROR_UNSET;
}

// ---- of the history

// Tests that were never timed get what the scheduler would expect of them. Returns how many those are.
static uint32_t plan_expect_unknown(struct store_expected *expected) {
  uint32_t never = 0;
  for (uint32_t i = 0; i < expected->count; i++)
    never += expected->expected_us[i] == 0;
  if (never == 0) return 0;
  struct estimate_history *history = base_calloc(expected->count, sizeof *history);
  struct estimate_out *out = base_calloc(expected->count, sizeof *out);
  for (uint32_t i = 0; i < expected->count; i++) {
    if (expected->expected_us[i]) (void)estimate_learn(&history[i], 0, expected->expected_us[i], 0, false);
  }
  estimate_list(history, expected->file_of, expected->count, expected->file_count, out);
  for (uint32_t i = 0; i < expected->count; i++) {
    if (expected->expected_us[i] == 0) expected->expected_us[i] = out[i].expected_us;
  }
  free(history);
  free(out);
  return never;
}

static char *plan_row_name(struct store *store, const struct store_expected *expected,
                           const struct forecast_piece *piece, bool whole_files) {
  if (piece->us == 0) return base_strdup("");
  uint32_t file = expected->file_of[piece->index];
  if (whole_files && file < expected->file_count) return store_file_name(store, expected->file[file]);
  return store_test_name(store, expected->test[piece->index]);
}

static void plan_from_expected(struct plan_outlook *outlook, const Shardd__Query *query, struct store *view,
                               struct store_expected *expected) {
  struct forecast_suite suite = {.count = expected->count,
                                 .file_count = expected->file_count,
                                 .file_of = expected->file_of,
                                 .expected_us = expected->expected_us,
                                 .file_setup_us = expected->file_setup_us,
                                 .whole_files = query->by_file};
  forecast_init(&outlook->forecast, &suite);
  plan_set_boot(outlook, query, expected);
  outlook->whole_files = query->by_file;
  outlook->longest = plan_row_name(view, expected, &outlook->forecast.longest, query->by_file);
  outlook->next = plan_row_name(view, expected, &outlook->forecast.next, query->by_file);
  for (uint32_t n = 1; n <= FORECAST_WORKERS_MAX; n++)
    outlook->curve.finish_us[n] = forecast_finish_us(&outlook->forecast, n, outlook->boot_us);
}

struct plan_past *plan_past_begin(struct conn *conn, struct store_error *error) {
  struct plan *plan = conn_user(conn, PLAN_USER);
  if (!plan) {
    (void)snprintf(error->text, sizeof error->text, "a forecast is for a client in role PLAN");
    return NULL;
  }
  struct plan_past *past = base_calloc(1, sizeof *past);
  past->project = base_strdup(plan->project);
  past->suite = base_strdup(plan->suite);
  past->wanted = upload_count(plan->upload) == 0;
  plan_forget_outlook(&plan->outlook);
  plan_listed(plan);
  return past;
}

Shardd__ErrorCode plan_past_read(struct plan_past *past, const Shardd__Query *query, struct store *view,
                                 struct store_error *error) {
  if (!past->wanted) return SHARDD__ERROR_CODE__ERROR_UNSET;
  struct store_expected *expected = store_expected(view, past->project, past->suite, error);
  if (!expected) return SHARDD__ERROR_CODE__ERROR_UNKNOWN;
  past->outlook.never_timed = plan_expect_unknown(expected);
  bool known = past->outlook.never_timed < expected->count;
  if (known) plan_from_expected(&past->outlook, query, view, expected);
  store_expected_free(expected);
  if (known) return SHARDD__ERROR_CODE__ERROR_UNSET;
  (void)snprintf(error->text, sizeof error->text,
                 "no test of project \"%.100s\", suite \"%.100s\" was timed yet: let a build of it end first",
                 past->project, past->suite);
  return SHARDD__ERROR_CODE__ERROR_UNKNOWN;
}

void plan_past_free(struct plan_past *past) {
  if (!past) return;
  plan_forget_outlook(&past->outlook);
  free(past->project);
  free(past->suite);
  free(past);
}

// ---- answers

Shardd__ErrorCode plan_forecast(struct conn *conn, struct plan_past *past, const Shardd__Query *query,
                                struct rows *rows, struct store_error *error) {
  struct plan *plan = conn_user(conn, PLAN_USER);
  assert(plan);
  if (past->wanted) {
    plan_forget_outlook(&plan->outlook);
    plan->outlook = past->outlook;
    past->outlook = (struct plan_outlook){0};
  } else {
    Shardd__ErrorCode code = plan_from_list(plan, query, error);
    if (code != SHARDD__ERROR_CODE__ERROR_UNSET) return code;
  }
  plan->outlook.made = true;
  plan->outlook.target_us = query->target_us < LIMIT_SPAN_US ? query->target_us : LIMIT_SPAN_US;
  const struct forecast_curve *curve = &plan->outlook.curve;
  rows_init(rows, plan_curve_columns, COUNT_OF(plan_curve_columns));
  for (uint32_t n = 1; n <= FORECAST_WORKERS_MAX; n++) {
    if (curve->finish_us[n] == 0) continue;
    rows_int(rows, n);
    rows_int(rows, (int64_t)curve->finish_us[n]);
    rows_int(rows, (int64_t)forecast_machine_us(curve, n));
    rows_int(rows, forecast_efficiency_ppm(curve, n));
  }
  return SHARDD__ERROR_CODE__ERROR_UNSET;
}

static void plan_known_int(struct rows *rows, uint64_t value) {
  if (value) {
    rows_int(rows, (int64_t)value);
  } else {
    rows_none(rows);
  }
}

static void plan_row_of_facts(const struct plan_outlook *outlook, struct rows *rows) {
  const struct forecast *forecast = &outlook->forecast;
  uint32_t parts = forecast_parts(forecast), n_max = forecast_n_max(forecast, &forecast->longest);
  rows_string(rows, outlook->simulated ? "simulation" : "history");
  rows_int(rows, forecast->count);
  rows_int(rows, forecast->file_count);
  rows_int(rows, outlook->never_timed);
  rows_int(rows, (int64_t)forecast->work_us);
  rows_int(rows, (int64_t)forecast->setup_us);
  rows_int(rows, (int64_t)outlook->boot_us);
  rows_string(rows, plan_boot_names[outlook->boot]);
  rows_int(rows, outlook->boot_builds);
  rows_string(rows, outlook->whole_files ? "file" : "test");
  rows_string(rows, outlook->longest);
  rows_int(rows, (int64_t)forecast->longest.us);
  rows_int(rows, n_max);
  plan_known_int(rows, parts);
  rows_string(rows, outlook->next);
  plan_known_int(rows, forecast->next.us);
  plan_known_int(rows, parts ? forecast_n_max(forecast, &forecast->next) : 0);
  rows_int(rows, forecast_knee(&outlook->curve));
  plan_known_int(rows, outlook->target_us);
  plan_known_int(rows, outlook->target_us ? forecast_within(&outlook->curve, outlook->target_us)
                                          : forecast_advice(&outlook->curve, n_max));
}

Shardd__ErrorCode plan_facts(struct conn *conn, struct rows *rows, struct store_error *error) {
  const struct plan *plan = conn_user(conn, PLAN_USER);
  if (!plan || !plan->outlook.made) {
    (void)snprintf(error->text, sizeof error->text, "no forecast was asked for on this connection");
    return SHARDD__ERROR_CODE__ERROR_STATE;
  }
  rows_init(rows, plan_facts_columns, COUNT_OF(plan_facts_columns));
  plan_row_of_facts(&plan->outlook, rows);
  return SHARDD__ERROR_CODE__ERROR_UNSET;
}
