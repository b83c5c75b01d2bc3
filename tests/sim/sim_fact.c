// Failing facts outside of verdicts, by the records alone: which worker left one behind, what produced it, and whether
// that has run again since, to the end of the session. A build may be green only then. It must not look into the queue.
#include "tests/sim/sim.h"

static bool fact_ran(const struct sim *sim, uint32_t worker, uint32_t test) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind == SIM_REC_RESULT && record->worker == worker && record->test == test) return true;
  }
  return false;
}

bool sim_ran(const struct sim *sim, uint32_t worker) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind == SIM_REC_RESULT && record->worker == worker) return true;
  }
  return false;
}

// The round opened the test, or the test was open when it began.
static bool fact_opened(const struct sim *sim, uint32_t round, uint32_t test) {
  bool open = true;
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind == SIM_REC_RESULT && record->test == test) open &= !record->settles;
    if (record->kind != SIM_REC_ROUND) continue;
    for (uint32_t t = 0; t < record->count; t++)
      open |= record->tests[t] == test;
    if (record->round == round) return open;
  }
  return false;
}

static bool fact_left_well(const struct sim *sim, uint32_t worker) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind == SIM_REC_LEFT && record->worker == worker) return record->leaving == LEAVING_WELL;
  }
  return false;
}

// Somebody who came to the end of a session has run it since it was opened in that round.
static bool fact_shown(const struct sim *sim, uint32_t round, uint32_t result) {
  for (uint32_t i = 0; i < result; i++) {
    const struct sim_record *record = &sim->server.log[i];
    bool of_it = record->kind == SIM_REC_RESULT && record->test == sim->server.log[result].test && record->settles;
    if (of_it && record->round >= round && fact_left_well(sim, record->worker)) return true;
  }
  return false;
}

static bool fact_unstored(const struct sim *sim, uint32_t worker) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind == SIM_REC_LEFT && record->worker == worker) return record->past.unstored;
  }
  return false;
}

// What came too late for a record may have been any test.
static bool fact_may_have_run(const struct sim *sim, uint32_t worker, uint32_t test) {
  return fact_ran(sim, worker, test) || fact_unstored(sim, worker);
}

// It counts, of a test that was opened because an error came behind its run: what there is to show of the error comes
// with the end of this worker's session.
static bool fact_owes(const struct sim *sim, uint32_t result) {
  const struct sim_record *ran = &sim->server.log[result];
  if (ran->kind != SIM_REC_RESULT || ran->extra || ran->lost) return false;
  for (uint32_t i = 0; i < result; i++) {
    const struct sim_record *record = &sim->server.log[i];
    bool cleared = record->kind == SIM_REC_CLEARED && record->round > 1 && record->round <= ran->round;
    if (!cleared || !fact_may_have_run(sim, record->worker, ran->test)) continue;
    if (fact_opened(sim, record->round, ran->test) && !fact_shown(sim, record->round, result)) return true;
  }
  return false;
}

// The worker's last result that it owes the end of its session for, before this record; `before` itself: there is none.
static uint32_t fact_owed(const struct sim *sim, uint32_t worker, uint32_t before) {
  for (uint32_t i = before; i-- > 0;) {
    if (sim->server.log[i].worker == worker && fact_owes(sim, i)) return i;
  }
  return before;
}

static bool fact_has_left(const struct sim *sim, uint32_t worker) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    if (sim->server.log[i].kind == SIM_REC_LEFT && sim->server.log[i].worker == worker) return true;
  }
  return false;
}

// A worker left a fact behind with this record; or vanished behind it, and it is the last that it owed an end for.
static bool fact_left(const struct sim *sim, uint32_t at) {
  const struct sim_record *record = &sim->server.log[at];
  if (record->kind == SIM_REC_RESULT && fact_owes(sim, at) && !fact_has_left(sim, record->worker))
    return fact_owed(sim, record->worker, sim->server.logged) == at;
  if (record->kind != SIM_REC_LEFT) return false;
  if (record->leaving == LEAVING_EARLY) return fact_owed(sim, record->worker, at) != at;
  return record->leaving == LEAVING_LATE ||
         (record->leaving == LEAVING_BROKEN && (record->past.unstored || sim_ran(sim, record->worker)));
}

bool sim_fact_evidence(const struct sim *sim, uint32_t test) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    bool vanished = sim->server.log[i].kind == SIM_REC_RESULT;  // after a restart nobody knows all that it had run
    if (fact_left(sim, i) && (vanished || fact_may_have_run(sim, sim->server.log[i].worker, test))) return true;
  }
  return false;
}

bool sim_was_complete(const struct sim *sim) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind == SIM_REC_STATE && record->state == QUEUE_COMPLETE) return true;
  }
  return false;
}

// It did not run the test, but skip it: a skip is what there is to repeat.
static bool fact_only_skipped(const struct sim *sim, uint32_t worker, uint32_t test) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    bool own = record->kind == SIM_REC_RESULT && record->worker == worker && record->test == test;
    if (own && record->status != QUEUE_SKIPPED) return false;
  }
  return true;
}

// Was the test's verdict settled behind the record, by more than a skip of what had run?
static bool fact_ran_again(const struct sim *sim, uint32_t left, uint32_t test) {
  bool never_ran = fact_only_skipped(sim, sim->server.log[left].worker, test), skipped = never_ran;
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind != SIM_REC_RESULT || record->test != test || !record->settles) continue;
    if (i > left && (record->status != QUEUE_SKIPPED || skipped)) return true;
    if (i < left) skipped = never_ran || record->status == QUEUE_SKIPPED;
  }
  return false;
}

static uint32_t fact_node(const struct sim *sim, uint32_t worker) {
  uint32_t i = 0;
  while (sim->server.log[i].kind != SIM_REC_WORKER || sim->server.log[i].worker != worker)
    i++;
  return sim->server.log[i].node;
}

// A later run of its job went through its whole session.
static bool fact_well_again(const struct sim *sim, uint32_t left) {
  uint32_t worker = sim->server.log[left].worker, node = fact_node(sim, worker);
  for (uint32_t i = left + 1; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    if (record->kind != SIM_REC_LEFT || record->leaving != LEAVING_WELL || record->worker <= worker) continue;
    uint32_t other = fact_node(sim, record->worker);
    if (other == node || (other % 8 == 7 && node % 8 == 7 && sim_ran(sim, record->worker))) return true;
  }
  return false;
}

bool sim_vanished(const struct sim *sim) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    if (fact_owes(sim, i) && !fact_has_left(sim, sim->server.log[i].worker)) return true;
  }
  return false;
}

void sim_check_facts(const struct sim *sim) {
  for (uint32_t i = 0; i < sim->server.logged; i++) {
    const struct sim_record *record = &sim->server.log[i];
    bool evidence = false;
    if (!fact_left(sim, i)) continue;
    for (uint32_t test = 0; test < sim->total; test++) {
      if (!fact_may_have_run(sim, sim->server.log[i].worker, test)) continue;
      evidence = true;
      if (!fact_ran_again(sim, i, test))
        sim_broken("I3", "green, and test %u has not run since worker %u left an error behind", test, record->worker);
    }
    if (!evidence && !fact_well_again(sim, i))
      sim_broken("I3", "green, and no session has shown that worker %u's error is gone", record->worker);
  }
}
