// A worker: one process from its first hello to its exit, with what it keeps between them: leases in its hands, results
// in its spool until they are acknowledged. The rules are those of worker/run.c, held.c and spool.c; which of the
// things it could do it does next is chosen.
#include <string.h>

#include "tests/sim/sim.h"

void sim_worker_start(struct sim *sim, uint32_t slot, uint32_t node, enum queue_retried retried) {
  sim->worker[slot] = (struct sim_worker){.life = SIM_ALIVE,
                                          .node = node,
                                          .attempt_token = sim->attempt_tokens++,
                                          .number = SIM_NOBODY,
                                          .retried = retried,
                                          .next_seq = 1};
  sim->link[slot].number = SIM_NOBODY;
  if (slot >= sim->slots) sim->slots = slot + 1;
}

void sim_worker_die(struct sim *sim, uint32_t slot) {
  sim->worker[slot].life = SIM_DEAD;
  sim_trace(sim, "dies: process", slot);
  if (sim->link[slot].up) sim_cut(sim, slot, !sim_fault(sim, sim->rates.half_open));
}

// ---- leases in its hands

static bool worker_open(const struct sim_held *held, uint32_t at) {
  return !held->seq[at] && !held->given[at];
}

static uint32_t worker_next(const struct sim_held *held) {
  uint32_t at = 0;
  while (at < held->lease.count && !worker_open(held, at))
    at++;
  return at;
}

static struct sim_held *worker_held(struct sim_worker *worker, uint64_t lease) {
  for (uint32_t i = 0; i < worker->held_count; i++) {
    if (worker->held[i].lease.id == lease) return &worker->held[i];
  }
  return NULL;
}

static void worker_acked(struct sim_worker *worker, uint64_t seq) {
  uint32_t first = 0, kept = 0;
  while (first < worker->spooled && worker->spool[first].closed && worker->spool[first].seq <= seq)
    first++;
  memmove(worker->spool, worker->spool + first, (worker->spooled - first) * sizeof *worker->spool);
  worker->spooled -= first;
  worker->unsent = worker->unsent > first ? worker->unsent - first : 0;
  uint64_t oldest = worker->spooled ? worker->spool[0].seq : worker->next_seq;
  for (uint32_t i = 0; i < worker->held_count; i++) {
    const struct sim_held *held = &worker->held[i];
    bool over = true;
    for (uint32_t t = 0; t < held->lease.count; t++)
      over &= held->given[t] || (held->seq[t] && held->seq[t] < oldest);
    if (!over) worker->held[kept++] = *held;
  }
  worker->held_count = kept;
}

// ---- messages to the server

static void worker_hello(struct sim *sim, uint32_t slot) {
  struct sim_worker *worker = &sim->worker[slot];
  struct sim_message hello = {.kind = SIM_HELLO, .number = worker->number};
  uint64_t oldest = worker->spooled ? worker->spool[0].seq : worker->next_seq;
  for (uint32_t i = 0; i < worker->held_count; i++) {
    struct sim_held *held = &worker->held[i];
    struct sim_lease *lease = &hello.held[hello.held_count++];
    lease->id = held->lease.id;
    for (uint32_t t = 0; t < held->lease.count; t++) {
      if (held->given[t] || (held->seq[t] && held->seq[t] < oldest)) continue;
      held->named[t] = held->seq[t] != 0;
      lease->test[lease->count++] = held->lease.test[t];
    }
  }
  sim_link_open(sim, slot);
  worker->welcomed = worker->asked = false;
  sim_send_server(sim, slot, &hello);
}

static void worker_flush(struct sim *sim, uint32_t slot) {
  struct sim_worker *worker = &sim->worker[slot];
  if (worker->spooled) worker->spool[worker->spooled - 1].closed = true;
  for (; worker->welcomed && worker->unsent < worker->spooled; worker->unsent++) {
    const struct sim_spooled *spooled = &worker->spool[worker->unsent];
    struct sim_message results = {.kind = SIM_RESULTS, .seq = spooled->seq, .lease = spooled->lease};
    memcpy(results.status, spooled->status, sizeof results.status);
    memcpy(results.because, spooled->because, sizeof results.because);
    sim_send_server(sim, slot, &results);
    if (!worker->welcomed) return;  // the connection broke under it
  }
}

static void worker_tell(struct sim *sim, uint32_t slot, enum sim_kind kind) {
  const struct sim_worker *worker = &sim->worker[slot];
  struct sim_message message = {.kind = kind, .lease = {.id = worker->run_lease, .count = worker->runs}};
  message.lease.test[0] = (uint8_t)worker->run_test;
  if (worker->welcomed) sim_send_server(sim, slot, &message);
}

static void worker_ask(struct sim *sim, uint32_t slot) {
  struct sim_worker *worker = &sim->worker[slot];
  struct sim_message ask = {.kind = SIM_ASK, .reason = sim_fault(sim, 8) ? 1 + sim_choose(sim, 4) : 0};
  worker->asked = true;
  sim_send_server(sim, slot, &ask);
}

// ---- tests

static bool worker_begin(struct sim *sim, uint32_t slot) {
  struct sim_worker *worker = &sim->worker[slot];
  if (worker->runs || worker->spooled == SIM_SPOOL || worker->leaves) return false;
  for (uint32_t i = 0; i < worker->held_count; i++) {
    uint32_t at = worker_next(&worker->held[i]);
    if (at == worker->held[i].lease.count) continue;
    worker->runs = true;
    worker->run_lease = worker->held[i].lease.id;
    worker->run_test = worker->held[i].lease.test[at];
    bool silent = sim_fault(sim, sim->rates.drop_started);
    if (!silent) worker_flush(sim, slot);  // in this order they go out
    if (!silent) worker_tell(sim, slot, SIM_STARTED);
    return true;
  }
  return false;
}

uint32_t sim_needs(const struct sim *sim, uint32_t test) {
  if (!sim->lacking || sim->nature[test] != SIM_PASSES) return 0;
  uint32_t file = sim->file_of[test] == SCHED_NO_FILE ? test : sim->file_of[test];
  return file % 2 ? 1 + file % 3 : test % 7 == 3 ? 2 : test % 7 == 5 ? 4 : 0;  // whole files, and some in others
}

bool sim_skips_on_trunk(const struct sim *sim, uint32_t test) {
  uint32_t needs = sim_needs(sim, test);
  return needs == 4 || (needs == 1 && test % 5 == 0);
}

bool sim_has(const struct sim *sim, uint32_t node, uint32_t thing) {
  static const uint32_t has[] = {1 << 0 | 1 << 2, 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3, 1 << 0, 1 << 0 | 1 << 1 | 1 << 3};
  return has[(node + sim->total) % COUNT_OF(has)] >> thing & 1;
}

static enum queue_status worker_status(struct sim *sim, uint32_t slot, uint32_t test) {
  static const enum queue_status odd[] = {QUEUE_PASSED,  QUEUE_FAILED,  QUEUE_ERROR,     QUEUE_SKIPPED,
                                          QUEUE_XFAILED, QUEUE_XPASSED, QUEUE_TIMED_OUT, QUEUE_CRASHED};
  if (!sim_has(sim, sim->worker[slot].node, sim_needs(sim, test))) return QUEUE_SKIPPED;
  switch (sim->nature[test]) {
    case SIM_PASSES: return sim->worker[slot].node < sim->sick ? QUEUE_FAILED : QUEUE_PASSED;
    case SIM_FAILS: return QUEUE_FAILED;
    case SIM_CRASHES: return QUEUE_CRASHED;
    case SIM_VARIES:
    case SIM_POISON: break;
  }
  return odd[sim_choose(sim, COUNT_OF(odd))];
}

static void worker_spool(struct sim_worker *worker, uint64_t lease, uint32_t test, enum queue_status status,
                         uint32_t reason) {
  struct sim_spooled *last = worker->spooled ? &worker->spool[worker->spooled - 1] : NULL;
  if (last && last->lease.id != lease) last->closed = true;
  if (!last || last->closed) {
    last = &worker->spool[worker->spooled++];
    *last = (struct sim_spooled){.seq = worker->next_seq++, .lease = {.id = lease}};
  }
  last->lease.test[last->lease.count] = (uint8_t)test;
  last->because[last->lease.count] = (uint8_t)reason;
  last->status[last->lease.count++] = (uint8_t)status;
}

static void worker_end_test(struct sim *sim, uint32_t slot) {
  struct sim_worker *worker = &sim->worker[slot];
  struct sim_held *held = worker_held(worker, worker->run_lease);
  if (sim->nature[worker->run_test] == SIM_POISON) {
    sim->counts->poisoned++;
    sim_worker_die(sim, slot);
    return;
  }
  worker->runs = false;
  uint32_t test = worker->run_test, needs = sim_needs(sim, test);
  worker_spool(worker, worker->run_lease, test, worker_status(sim, slot, test), needs ? needs : 10 + test % 3);
  for (uint32_t i = 0; i < held->lease.count; i++) {
    if (held->lease.test[i] == worker->run_test) held->seq[i] = worker->spool[worker->spooled - 1].seq;
  }
}

// ---- what the server says

// What a hello named as being here, and is on the server's disk: a server that took it for that is told so.
static void worker_disown(struct sim *sim, uint32_t slot, uint64_t seq) {
  struct sim_worker *worker = &sim->worker[slot];
  for (uint32_t i = 0; i < worker->held_count; i++) {
    struct sim_held *held = &worker->held[i];
    struct sim_message released = {.kind = SIM_RELEASED, .lease = {.id = held->lease.id}};
    for (uint32_t t = 0; t < held->lease.count; t++) {
      if (!held->named[t] || held->seq[t] > seq) continue;
      held->named[t] = false;
      released.lease.test[released.lease.count++] = held->lease.test[t];
    }
    if (released.lease.count) sim_send_server(sim, slot, &released);
  }
}

static void worker_say_bye(struct sim *sim, uint32_t slot) {
  const struct sim_worker *worker = &sim->worker[slot];
  enum queue_leaving well = slot % 5 == 4 ? LEAVING_EARLY : LEAVING_WELL;
  enum queue_leaving how = worker->late ? slot % 3 ? LEAVING_LATE : LEAVING_BROKEN : well;
  sim_send_server(sim, slot, &(struct sim_message){.kind = SIM_BYE, .reason = how});
}

static void worker_welcome(struct sim *sim, uint32_t slot, const struct sim_message *message) {
  struct sim_worker *worker = &sim->worker[slot];
  worker->number = message->number;
  worker->welcomed = true;
  worker->list_agreed |= message->list_known;
  worker->unsent = 0;
  worker_disown(sim, slot, message->seq);
  worker_acked(worker, message->seq);
  worker_flush(sim, slot);
  if (worker->said_bye && worker->welcomed) worker_say_bye(sim, slot);
}

static void worker_lease(struct sim_worker *worker, const struct sim_message *message) {
  if (worker->held_count == SIM_HELD) sim_broken("bound", "a worker is given too many leases");
  struct sim_held *held = &worker->held[worker->held_count++];
  *held = (struct sim_held){.lease = message->lease};
  for (uint32_t i = 0; i < SIM_TESTS; i++)
    held->given[i] = worker->said_bye;  // too late: its runner has ended
  worker->asked = false;
}

static void worker_drained(struct sim_worker *worker, uint32_t reason) {
  worker->drained = true;
  worker->asked = false;
  bool early = reason == EFFECT_DRAIN_MAX_FAILURES || reason == EFFECT_DRAIN_FENCED || reason == EFFECT_DRAIN_FEW;
  for (uint32_t i = 0; early && i < worker->held_count; i++) {
    struct sim_held *held = &worker->held[i];
    for (uint32_t t = 0; t < held->lease.count; t++) {
      bool running = worker->runs && worker->run_lease == held->lease.id && worker->run_test == held->lease.test[t];
      if (worker_open(held, t) && !running) held->given[t] = true;
    }
  }
}

static void worker_recall(struct sim *sim, uint32_t slot, const struct sim_message *recall) {
  struct sim_worker *worker = &sim->worker[slot];
  struct sim_held *held = worker_held(worker, recall->lease.id);
  struct sim_message released = {.kind = SIM_RELEASED, .lease = {.id = recall->lease.id}};
  uint32_t most = recall->lease.count - sim_choose(sim, recall->lease.count + 1);
  for (uint32_t i = 0; held && i < held->lease.count && released.lease.count < most; i++) {
    uint32_t test = held->lease.test[i];
    bool asked = memchr(recall->lease.test, (int)test, recall->lease.count) != NULL;
    bool running = worker->runs && worker->run_lease == held->lease.id && worker->run_test == test;
    if (!asked || running || !worker_open(held, i)) continue;
    held->given[i] = true;
    released.lease.test[released.lease.count++] = (uint8_t)test;
  }
  sim_send_server(sim, slot, &released);
  worker_acked(worker, 0);
}

void sim_worker_receive(struct sim *sim, uint32_t slot, const struct sim_message *message) {
  struct sim_worker *worker = &sim->worker[slot];
  switch (message->kind) {
    case SIM_WELCOME: worker_welcome(sim, slot, message); break;
    case SIM_LISTED: worker->list_agreed = true; break;
    case SIM_LEASE: worker_lease(worker, message); break;
    case SIM_DRAINED: worker_drained(worker, message->reason); break;
    case SIM_RECALL: worker_recall(sim, slot, message); break;
    case SIM_ACK:
      worker_disown(sim, slot, message->seq);
      worker_acked(worker, message->seq);
      break;
    case SIM_GOODBYE:
      worker->life = SIM_EXITED;
      worker->exit_code = message->reason;
      if (sim->link[slot].up) sim_cut(sim, slot, true);
      break;
    case SIM_PARKED:
    case SIM_REVOKE: break;  // it is running already: its result is taken as evidence
    case SIM_HELLO:
    case SIM_LIST:
    case SIM_ASK:
    case SIM_STARTED:
    case SIM_RESULTS:
    case SIM_HEARTBEAT:
    case SIM_RELEASED:
    case SIM_BYE: sim_broken("bound", "a worker is sent message %d", (int)message->kind);
  }
}

// ---- what it does next

static bool worker_idle(const struct sim_worker *worker) {
  for (uint32_t i = 0; i < worker->held_count; i++) {
    if (worker_next(&worker->held[i]) < worker->held[i].lease.count) return worker->leaves;
  }
  return !worker->runs;
}

static void worker_bye(struct sim *sim, uint32_t slot) {
  struct sim_worker *worker = &sim->worker[slot];
  worker->said_bye = true;
  worker->late = sim_fault(sim, 16);
  worker_say_bye(sim, slot);
}

static void worker_offer(struct sim *sim, uint32_t slot) {
  sim->worker[slot].offered = true;
  sim_send_server(sim, slot, &(struct sim_message){.kind = SIM_LIST});
}

// With nothing left to run: deliver, and ask for more or leave.
static void worker_rest(struct sim *sim, uint32_t slot) {
  struct sim_worker *worker = &sim->worker[slot];
  bool ends = worker->drained || worker->leaves;
  if (worker->unsent < worker->spooled) {
    worker_flush(sim, slot);
  } else if (!worker->list_agreed && !worker->leaves) {
    worker_offer(sim, slot);
  } else if (ends && !worker->spooled) {
    if (!worker->said_bye) worker_bye(sim, slot);
  } else if (!ends && !worker->asked && worker->held_count < SIM_HELD - 1) {
    worker_ask(sim, slot);
  } else {
    worker_tell(sim, slot, SIM_HEARTBEAT);
  }
}

static void worker_work(struct sim *sim, uint32_t slot) {
  const struct sim_worker *worker = &sim->worker[slot];
  if (worker->runs) {
    worker_end_test(sim, slot);
  } else if (!worker_begin(sim, slot) && worker->welcomed) {
    worker_rest(sim, slot);
  }
}

void sim_worker_act(struct sim *sim, uint32_t slot) {
  struct sim_worker *worker = &sim->worker[slot];
  if (sim_fault(sim, sim->rates.leave) && !worker->runs) worker->leaves = true;
  if (!sim->link[slot].up) {
    if (sim->calm || sim_choose(sim, 4) == 0) {
      sim_cut(sim, slot, !sim_fault(sim, sim->rates.half_open));
      worker_hello(sim, slot);
    } else if (!worker_idle(worker)) {
      worker_work(sim, slot);
    }
  } else if (sim->now_us >= worker->sent_us + sim->policy.lease_ttl_us / 3 && worker->welcomed) {
    worker_tell(sim, slot, SIM_HEARTBEAT);
  } else if (!worker_idle(worker)) {
    uint32_t what = sim_choose(sim, 8);
    if (what < 6 || worker->drained || worker->leaves || worker->asked || !worker->welcomed) {
      worker_work(sim, slot);
    } else if (what == 6) {
      worker_flush(sim, slot);
    } else if (worker->held_count < SIM_HELD - 1 && worker->list_agreed) {
      worker_ask(sim, slot);  // before it has run dry, as pytest does
    }
  } else if (worker->welcomed) {
    worker_rest(sim, slot);
  }
}
