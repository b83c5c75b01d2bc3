// One build from its tape: a suite, a policy and the rates of faults are chosen, then things happen one at a time in
// any order (the storm), then faults end and the build must, too (the calm); jobs are run again, with the same twice
// more.
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { SIM_STORM_STEPS = 256, SIM_STORM_RECORDS = SIM_RECORDS / 2, SIM_CALM_TURNS = 3000 };

// ---- what is chosen beforehand

static uint32_t build_rate(struct sim *sim, uint32_t most) {
  return sim_choose(sim, 3) ? 0 : sim_choose(sim, most + 1);  // off, mostly
}

static void build_rates(struct sim *sim) {
  sim->rates = (struct sim_rates){.cut = build_rate(sim, 60),
                                  .half_open = build_rate(sim, 200),
                                  .dup = build_rate(sim, 60),
                                  .die = build_rate(sim, 30),
                                  .stall = build_rate(sim, 40),
                                  .crash = build_rate(sim, 20),
                                  .rejoin = build_rate(sim, 60),
                                  .leave = build_rate(sim, 6),
                                  .drop_started = build_rate(sim, 200),
                                  .jump = build_rate(sim, 120)};
  // Who is sick is found out by those who live long enough.
  if (sim->sick) sim->rates.die = sim->rates.stall = sim->rates.leave = sim->rates.cut = sim->rates.jump = 0;
}

static enum sim_nature build_nature(struct sim *sim, uint32_t poison) {
  uint32_t dice = sim_choose(sim, 64);
  if (dice < 44) return SIM_PASSES;
  if (dice < 48) return SIM_FAILS;
  if (dice < 58) return SIM_VARIES;
  return dice < 60 ? SIM_CRASHES : dice < 63 || poison == 2 ? SIM_PASSES : SIM_POISON;
}

static void build_suite(struct sim *sim) {
  uint32_t file = 0, unit = 0, poison = 0, needing = sim_choose(sim, 4) == 3 ? 100 : 0;
  sim->total = sim_choose(sim, 8) ? 1 + sim_choose(sim, 16) : 1 + sim_choose(sim, SIM_TESTS);
  for (uint32_t i = 0; i < SIM_TOKENS; i++)
    sim->copies[i] = 1 + sim_choose(sim, 2);
  for (uint32_t i = 0; i < sim->total; i++) {
    file += sim_choose(sim, 4) == 3;
    unit += sim_choose(sim, 3) == 2;
    sim->file_of[i] = sim_choose(sim, 16) == 15 ? (uint32_t)SCHED_NO_FILE : file;
    sim->unit_of[i] = unit;
    sim->expected_us[i] = 1 + (uint64_t)sim_choose(sim, 65536) * (sim_choose(sim, 8) == 7 ? 1000 : 10);
    sim->nature[i] = build_nature(sim, poison);
    poison += sim->nature[i] == SIM_POISON;
    sim->muted[i] = sim_choose(sim, 32) == 31;
    if (sim_fault(sim, needing)) sim->need[i] = sim_choose(sim, 8) == 7 ? TOKENS_EXCLUSIVE : 1 + sim_choose(sim, 7);
  }
}

// A suite that a sick worker stands out in: its tests pass, and are many.
static void build_sound(struct sim *sim) {
  uint32_t total = sim->total;
  if (total == 0) return;  // never: the analyzer does not know
  for (; sim->total < SIM_TESTS; sim->total++) {
    sim->file_of[sim->total] = sim->file_of[sim->total % total];
    sim->unit_of[sim->total] = sim->unit_of[total - 1];
    sim->expected_us[sim->total] = sim->expected_us[sim->total % total];
  }
  for (uint32_t i = 0; i < sim->total; i++) {
    if (i >= total || sim->nature[i] == SIM_FAILS || sim->nature[i] == SIM_VARIES) sim->nature[i] = SIM_PASSES;
  }
}

static void build_policy(struct sim *sim) {
  sim->policy = (struct queue_policy){.retries = sim_choose(sim, 3),
                                      .max_failures = sim_choose(sim, 4) == 3 ? 1 + sim_choose(sim, 4) : 0,
                                      .linger_us = (1 + sim_choose(sim, 60)) * (uint64_t)SIM_SECOND,
                                      .lease_ttl_us = (2 + sim_choose(sim, 14)) * (uint64_t)SIM_SECOND,
                                      .idle_us = (20 + sim_choose(sim, 256)) * (uint64_t)SIM_SECOND,
                                      .on_retry = (enum queue_on_retry)sim_choose(sim, 3),
                                      .whole_files = sim_choose(sim, 6) == 5,
                                      .whole_units = sim_choose(sim, 6) == 5,
                                      .in_order = sim_choose(sim, 8) == 7};
  // Of choices that are made already, so that tapes which were kept go on to mean what they did.
  if (sim->policy.on_retry == QUEUE_AGAIN && sim->policy.lease_ttl_us / SIM_SECOND % 3 == 0)
    sim->policy.on_retry = QUEUE_UNRESOLVED;
  if (sim->policy.linger_us > 50 * (uint64_t)SIM_SECOND) sim->sick = 1 + sim->policy.retries % 2;
  if (sim->sick) {
    build_sound(sim);
    sim->policy.max_failures = 0;
  }
  if (sim->policy.idle_us > 240 * (uint64_t)SIM_SECOND) sim->policy.min_workers = 1 + sim->total % 4;
  sim->policy.min_workers_us = sim->policy.linger_us;
  sim->policy.limits_tests = sim->total % 2;
  sim->lacking = !sim->sick && sim->policy.linger_us > 35 * (uint64_t)SIM_SECOND;
  if (sim->lacking) {
    build_sound(sim);
    sim->declared = (uint32_t)(sim->policy.linger_us / SIM_SECOND) % 4;
  }
  sim->brings = sim->policy.idle_us > 220 * (uint64_t)SIM_SECOND;
}

// ---- time

static void build_pass(struct sim *sim, uint64_t us) {
  uint64_t until = sim->now_us + us;
  sim_server_tick(sim);
  for (uint64_t due; (due = queue_deadline(sim->server.queue)) <= until;) {
    if (due > sim->now_us) sim->now_us = due;
    sim_server_tick(sim);
  }
  sim->now_us = until;
}

static void storm_time(struct sim *sim) {
  uint64_t due = queue_deadline(sim->server.queue), ahead = 0;
  if (due != UINT64_MAX && due > sim->now_us) ahead = due - sim->now_us;
  switch (sim_choose(sim, 8)) {
    case 6: build_pass(sim, ahead); break;
    case 7: build_pass(sim, ahead ? ahead - 1 : 0); break;
    default: build_pass(sim, (uint64_t)sim_choose(sim, 256) * 1000); break;
  }
  if (sim_fault(sim, sim->rates.jump)) build_pass(sim, sim_choose(sim, 256) * sim->policy.lease_ttl_us / 64);
}

// ---- the storm

static bool storm_alive(const struct sim *sim, uint32_t slot) {
  return sim->worker[slot].life == SIM_ALIVE;
}

static void storm_join(struct sim *sim) {
  bool again = sim->nodes && sim_fault(sim, sim->rates.rejoin);
  uint32_t node = again ? sim_choose(sim, sim->nodes) : sim->nodes++;
  enum queue_retried retried = again ? (enum queue_retried)sim_choose(sim, 3) : QUEUE_RETRIED_NO;
  sim_worker_start(sim, sim->slots, node, retried);
}

// The server looks at the connections it holds open, and gives up one that is none.
static void storm_notice(struct sim *sim, bool all) {
  for (uint32_t i = 0; i < sim->server.sessions; i++) {
    const struct sim_session *session = &sim->server.session[i];
    if (!session->open || session->slot != SIM_NOBODY) continue;
    sim_server_closed(sim, i);
    if (!all) return;
  }
}

static void storm_fault(struct sim *sim) {
  uint32_t slot = sim->slots ? sim_choose(sim, sim->slots) : 0;
  struct sim_worker *worker = &sim->worker[slot];
  if (sim_fault(sim, sim->rates.crash)) {
    sim_server_crash(sim, sim_choose(sim, sim->server.logged - sim->server.durable + 1));
  } else if (sim->link[slot].up && sim_fault(sim, sim->rates.cut)) {
    sim_cut(sim, slot, !sim_fault(sim, sim->rates.half_open));
  } else if (storm_alive(sim, slot) && sim_fault(sim, sim->rates.die)) {
    sim_worker_die(sim, slot);
  } else if (storm_alive(sim, slot) && sim_fault(sim, sim->rates.stall)) {
    worker->life = SIM_STALLED;
  } else if (worker->life == SIM_STALLED) {
    worker->life = SIM_ALIVE;
  } else if (sim->slots < SIM_STORM_SLOTS && sim_choose(sim, 8) < 3) {
    storm_join(sim);
  } else {
    storm_notice(sim, false);
  }
}

// The next slot from `from` on, round about, whose worker can do something, or that has something on its way.
static uint32_t storm_slot(const struct sim *sim, uint32_t what, uint32_t from) {
  for (uint32_t i = 0; i < sim->slots; i++) {
    uint32_t slot = (from + i) % sim->slots;
    const struct sim_link *link = &sim->link[slot];
    if (what == 0 && storm_alive(sim, slot)) return slot;
    if (what == 1 && link->up && link->to_server.count) return slot;
    if (what == 2 && link->up && link->to_worker.count && storm_alive(sim, slot)) return slot;
  }
  return SIM_NOBODY;
}

static void storm_deliver(struct sim *sim, uint32_t slot, bool to_server) {
  struct sim_message message;
  struct sim_link *link = &sim->link[slot];
  if (!sim_receive(to_server ? &link->to_server : &link->to_worker, &message)) return;
  sim_trace_message(sim, slot, &message);
  if (to_server) {
    sim_server_receive(sim, slot, &message);
  } else {
    sim_worker_receive(sim, slot, &message);
  }
}

static void storm_slot_step(struct sim *sim, uint32_t what) {
  uint32_t slot = sim->slots ? storm_slot(sim, what, sim_choose(sim, sim->slots)) : SIM_NOBODY;
  if (slot == SIM_NOBODY) return;
  if (what == 0) {
    sim_worker_act(sim, slot);
  } else {
    storm_deliver(sim, slot, what == 1);
  }
}

static void storm_step(struct sim *sim) {
  uint32_t dice = sim_choose(sim, 64), waiting = sim->server.logged - sim->server.durable;
  sim->counts->steps++;
  if (dice < 24) {
    storm_slot_step(sim, 0);
  } else if (dice < 38) {
    storm_slot_step(sim, 1);
  } else if (dice < 52) {
    storm_slot_step(sim, 2);
  } else if (dice < 55) {
    sim_server_durable(sim, sim->server.durable + (waiting ? waiting - sim_choose(sim, waiting + 1) : 0));
  } else if (dice < 59) {
    storm_time(sim);
  } else {
    storm_fault(sim);
  }
}

// A job that could not reach the server had a part of the tests; it comes with all its results at once.
static void storm_bring(struct sim *sim, uint32_t which) {
  static const uint8_t status[] = {[SIM_PASSES] = QUEUE_PASSED,
                                   [SIM_FAILS] = QUEUE_FAILED,
                                   [SIM_VARIES] = QUEUE_SKIPPED,
                                   [SIM_CRASHES] = QUEUE_CRASHED};
  struct sim_worker worker = {.node = which % (sim->nodes + 1), .attempt_token = sim->attempt_tokens++};
  struct sim_message results = {.kind = SIM_RESULTS, .seq = 1};
  for (uint32_t i = which % 3; i < sim->total; i += 3) {
    if (sim->nature[i] == SIM_POISON) continue;
    uint32_t needs = sim_needs(sim, i);
    results.status[results.lease.count] =
        sim_has(sim, worker.node, needs) ? status[sim->nature[i]] : (uint8_t)QUEUE_SKIPPED;
    results.because[results.lease.count] = (uint8_t)(needs ? needs : 10 + i % 3);
    results.lease.test[results.lease.count++] = (uint8_t)i;
  }
  if (results.lease.count) sim_server_bring(sim, &worker, &results);
}

static void storm(struct sim *sim) {
  uint32_t steps = SIM_STORM_STEPS * (1 + sim_choose(sim, 4)) * (sim->sick ? 2 : 1);
  sim->calm = false;
  for (uint32_t i = 0; i < steps && !tape_over(sim->tape) && sim->server.logged < SIM_STORM_RECORDS; i++) {
    storm_step(sim);
    if (sim->brings && i % 128 == 127) storm_bring(sim, i / 128);
  }
}

// ---- the calm

static bool calm_here(const struct sim *sim) {
  bool here = false;
  for (uint32_t i = 0; i < sim->slots; i++)
    here |= storm_alive(sim, i);
  return here;
}

static void calm_turn(struct sim *sim) {
  for (uint32_t slot = 0; slot < sim->slots; slot++) {
    sim->counts->steps++;
    for (uint32_t n = 0; n < SIM_PIPE && sim->link[slot].to_server.count; n++)
      storm_deliver(sim, slot, true);
    for (uint32_t n = 0; n < SIM_PIPE && storm_alive(sim, slot) && sim->link[slot].to_worker.count; n++)
      storm_deliver(sim, slot, false);
    if (storm_alive(sim, slot)) sim_worker_act(sim, slot);
  }
  sim_server_durable(sim, sim->server.logged);
  build_pass(sim, sim->policy.lease_ttl_us / 8);
}

// It is over when the build has ended and everybody has been told.
static bool calm_over(const struct sim *sim) {
  return queue_state(sim->server.queue) >= QUEUE_COMPLETE && queue_state(sim->server.queue) != QUEUE_INCOMPLETE &&
         !calm_here(sim);
}

static void calm(struct sim *sim) {
  uint32_t turns = 0;
  sim->calm = true;
  sim_trace(sim, "calm begins, state", (uint32_t)queue_state(sim->server.queue));
  for (uint32_t i = 0; i < sim->slots; i++) {
    if (sim->worker[i].life == SIM_STALLED) sim->worker[i].life = SIM_ALIVE;
  }
  storm_notice(sim, true);
  for (; !calm_over(sim) && turns < SIM_CALM_TURNS; turns++) {
    if (!calm_here(sim) && sim->slots < SIM_SLOTS) sim_worker_start(sim, sim->slots, sim->nodes++, QUEUE_RETRIED_NO);
    calm_turn(sim);
  }
  if (turns == SIM_CALM_TURNS)
    sim_broken("I14", "the build does not end, with %u of %u tests READY and %u LEASED",
               sim->server.queue->place_count[PLACE_READY], sim->total, sim->server.queue->place_count[PLACE_LEASED]);
  sim_server_durable(sim, sim->server.logged);
  sim_check_end(sim);
}

// ---- all of it

void sim_build(struct tape *tape, struct sim_counts *counts) {
  static struct sim sim;
  memset(&sim, 0, sizeof sim);
  sim.tape = tape;
  sim.counts = counts;
  sim.now_us = 1000 * (uint64_t)SIM_SECOND;
  build_suite(&sim);
  build_policy(&sim);
  build_rates(&sim);
  sim_server_start(&sim);
  for (uint32_t workers = 1 + sim_choose(&sim, 5) + 2 * sim.sick; workers > 0; workers--)
    storm_join(&sim);
  storm(&sim);
  calm(&sim);
  for (uint32_t again = sim_choose(&sim, 3); again > 0 && sim.slots < SIM_STORM_SLOTS; again--) {
    sim_worker_start(&sim, sim.slots, sim_choose(&sim, sim.nodes), (enum queue_retried)sim_choose(&sim, 3));
    storm(&sim);
    calm(&sim);
  }
  sim_server_crash(&sim, 0);
  sim_check_end(&sim);
  effects_release(&sim.server.effects);
  queue_free(sim.server.queue);
  counts->builds++;
}
