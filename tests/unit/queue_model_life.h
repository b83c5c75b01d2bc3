// Included by queue_model.h: the model's beginning, its end, how workers leave, and the server's restart from the
// records.
#ifndef TESTS_UNIT_QUEUE_MODEL_LIFE_H
#define TESTS_UNIT_QUEUE_MODEL_LIFE_H

// Stopped before the end of its session, it leaves a fact only where it ran again what a cleared one had come of.
static inline void model_leave(struct model *m, struct model_worker *w, bool late_errors) {
  model_hear(m, w);
  for (uint32_t i = 0; i < m->total; i++) {
    if (m->held[i] && m->holder[i] == w->number) m->held[i] = 0;
  }
  w->presence = GONE;
  w->asked = false;
  w->late_errors = late_errors;
  enum queue_leaving well = w->number % 3 ? LEAVING_WELL : LEAVING_EARLY;
  struct queue_counts before, after;
  queue_counts(m->queue, &before);
  queue_leave(m->queue, m->now, w->number, late_errors ? LEAVING_LATE : well, &m->fx);
  queue_counts(m->queue, &after);
  w->broken = after.broken > before.broken;
  assert_true(!w->broken || (well == LEAVING_EARLY && m->cleared));
  model_take_effects(m, true);
}

static struct model *model_new(uint64_t seed) {
  struct model *m = base_calloc(1, sizeof *m);
  m->seed = m->dice = seed;
  m->now = 1000 * (uint64_t)SECOND;
  m->epoch = 1;
  m->total = model_chance(m, 20) ? 1 + model_roll(m, 3) : 1 + model_roll(m, MODEL_TESTS);
  m->policy = (struct queue_policy){.retries = model_roll(m, 4),
                                    .max_failures = model_chance(m, 25) ? 1 + model_roll(m, 5) : 0,
                                    .linger_us = (1 + model_roll(m, 60)) * (uint64_t)SECOND,
                                    .lease_ttl_us = (2 + model_roll(m, 15)) * (uint64_t)SECOND,
                                    .idle_us = (5 + model_roll(m, 300)) * (uint64_t)SECOND,
                                    .on_retry = (enum queue_on_retry)model_roll(m, 4),
                                    .whole_files = model_chance(m, 20)};
  uint32_t file = 0, unit = 0, needing = model_chance(m, 30) ? 30 : 0;
  for (uint32_t t = 0; t < MODEL_TOKENS; t++)
    m->copies[t] = 1 + model_roll(m, 3);
  for (uint32_t i = 0; i < m->total; i++) {
    file += model_chance(m, 20);
    unit += model_chance(m, 40);
    m->file_of[i] = model_chance(m, 5) ? (uint32_t)SCHED_NO_FILE : file;
    m->unit_of[i] = unit;
    m->expected_us[i] = model_chance(m, 10) ? model_roll(m, 60 * SECOND) : model_roll(m, SECOND);
    m->expected_us[i]++;
    if (model_chance(m, needing)) m->need[i] = model_chance(m, 10) ? TOKENS_EXCLUSIVE : 1 + model_roll(m, 7);
  }
  m->queue = queue_new(&m->policy, m->epoch, m->now);
  return m;
}

static inline void model_free(struct model *m) {
  for (size_t i = 0; i < m->record_count; i++)
    free(m->record[i].tests);
  free(m->record);
  effects_release(&m->fx);
  queue_free(m->queue);
  free(m);
}

static inline void model_set_list(struct model *m) {
  struct sched_list list = {.count = m->total, .file_count = m->file_of[m->total - 1] + 1};
  uint64_t setup_us[MODEL_TESTS + 1];
  for (uint32_t i = 0; i <= MODEL_TESTS; i++)
    setup_us[i] = i % 3 * SECOND;
  list.file_count = MODEL_TESTS + 1;
  list.file_of = m->file_of;
  list.unit_of = m->unit_of;
  list.expected_us = list.order_us = m->expected_us;
  list.file_setup_us = setup_us;
  struct tokens_list tokens = {.count = m->total, .need = m->need};
  memcpy(tokens.copies, m->copies, sizeof m->copies);
  tokens.expected_us = tokens.order_us = m->expected_us;
  m->has_list = true;
  queue_set_list(m->queue, m->now, &list, tokens_new(&tokens), &m->fx);
  model_take_effects(m, true);
}

static inline void model_replay(struct model *m, const struct model_record *record) {
  struct queue_result result = {
      .worker = record->worker, .test = record->test, .status = record->status, .reason = record->reason};
  switch (record->kind) {
    case RECORD_ROUND: queue_restore_round(m->queue, record->round, record->tests, record->count); return;
    case RECORD_EXTRA: queue_restore_extra(m->queue, &result, record->attempt); return;
    case RECORD_RESULT:
    case RECORD_LOST: break;
  }
  queue_restore_result(m->queue, &result, record->attempt, record->settles);
}

static inline void model_restore_workers(struct model *m, const struct queue_past *past) {
  for (uint32_t i = 0; i < m->worker_count; i++) {
    struct model_worker *w = &m->worker[i];
    char node[16], token[16];
    model_names(w, node, token);
    struct queue_join join = {.node = node, .attempt = token};
    assert_int_equal(queue_restore_worker(m->queue, &join, &past[i]), i);
    if (w->presence == GONE) {
      queue_restore_left(m->queue, i);
      continue;
    }
    w->presence = AWAY;
    w->asked = w->drained = false;
    w->said_us = 0;
  }
}

// The server dies and comes back: what was decided is what is decided, who failed what is who failed what.
static inline void model_restart(struct model *m) {
  struct queue_counts before, after;
  uint32_t own[MODEL_WORKERS] = {0};
  struct queue_past past[MODEL_WORKERS];
  enum queue_state state = queue_state(m->queue);
  uint32_t round = queue_round(m->queue);
  queue_counts(m->queue, &before);
  for (uint32_t i = 0; i < m->worker_count; i++)
    own[i] = queue_own_failing(m->queue, i), queue_past(m->queue, i, &past[i]);
  queue_free(m->queue);
  memset(m->held, 0, sizeof m->held);
  m->queue = queue_new(&m->policy, ++m->epoch, m->now);
  model_restore_workers(m, past);
  if (m->has_list) model_set_list(m);
  for (size_t i = 0; i < m->record_count; i++)
    model_replay(m, &m->record[i]);
  queue_restored(m->queue, m->now, state >= QUEUE_COMPLETE ? (uint32_t)state : 0, &m->fx);
  model_take_effects(m, true);
  queue_counts(m->queue, &after);
  assert_int_equal(queue_state(m->queue), state);
  assert_int_equal(queue_round(m->queue), round);
  assert_int_equal(after.failing, before.failing);
  assert_int_equal(after.late_errors, before.late_errors);
  assert_memory_equal(after.by_verdict, before.by_verdict, sizeof after.by_verdict);
  assert_memory_equal(after.by_status, before.by_status, sizeof after.by_status);
  for (uint32_t i = 0; i < m->worker_count; i++)
    assert_int_equal(queue_own_failing(m->queue, i), own[i]);
  model_check(m);
}

#endif
