// The shell around the core, as session.c, session_results.c, listing.c and deliver.c are one: messages in, effects
// out, records to the disk, and answers that wait for it. Each event is checked from outside (sim_check.c), and what is
// due is done at once afterwards, as the loop does at the end of a turn.
#include <stdlib.h>

#include "tests/sim/sim.h"

enum { SIM_NUMBERS_STORM = SIM_NUMBERS - SIM_SLOTS };

static void sim_wait(struct sim *sim, enum sim_wait_kind kind, uint32_t number, uint64_t seq) {
  struct sim_server *server = &sim->server;
  if (server->wait_count == SIM_RECORDS) sim_broken("bound", "too much waits for the disk");
  server->wait[(server->wait_first + server->wait_count++) % SIM_RECORDS] =
      (struct sim_wait){.kind = kind, .ticket = server->logged, .number = number, .seq = seq};
}

static void sim_reply(struct sim *sim, uint32_t number, const struct sim_message *message) {
  uint32_t slot = sim->server.session[number].slot;
  if (slot != SIM_NOBODY) sim_send_worker(sim, slot, message);
}

void sim_server_start(struct sim *sim) {
  sim->server.epoch = sim->server.rounds = 1;
  sim->server.queue = queue_new(&sim->policy, 1, sim->now_us);
}

// ---- effects

static void sim_drain(struct sim *sim, uint32_t number, enum effect_drain reason) {
  struct sim_message message = {.kind = SIM_DRAINED, .number = number, .reason = (uint32_t)reason};
  sim->server.session[number].drained = true;
  sim_reply(sim, number, &message);
}

static void sim_state(struct sim *sim) {
  enum queue_state state = queue_state(sim->server.queue);
  if (state == QUEUE_COLLECTING) return;
  sim_trace(sim, "state", (uint32_t)state);
  (void)sim_log(sim, (struct sim_record){.kind = SIM_REC_STATE, .state = (uint32_t)state});
  bool few = state == QUEUE_INCOMPLETE && queue_few(sim->server.queue), early = few || state == QUEUE_ABORTED;
  sim->counts->aborted += state == QUEUE_ABORTED;
  sim->counts->few += few;
  for (uint32_t i = 0; early && i < sim->server.sessions; i++) {
    if (queue_worker_connected(sim->server.queue, i))
      sim_drain(sim, i, few ? EFFECT_DRAIN_FEW : EFFECT_DRAIN_MAX_FAILURES);
  }
}

static void sim_lost(struct sim *sim, const struct effect *effect) {
  sim->counts->lost++;
  sim_trace(sim, "lost test", effect->test);
  (void)sim_log(sim, (struct sim_record){.kind = SIM_REC_RESULT,
                                         .worker = effect->worker,
                                         .test = effect->test,
                                         .attempt = effect->attempt,
                                         .round = effect->round,
                                         .status = QUEUE_CRASHED,
                                         .settles = true,
                                         .lost = true});
}

static void sim_round(struct sim *sim, uint32_t number, const uint32_t *tests, uint32_t count) {
  struct sim_record round = {.kind = SIM_REC_ROUND, .round = number, .count = count};
  for (uint32_t i = 0; i < count; i++)
    round.tests[i] = (uint8_t)tests[i];
  sim->counts->rounds++;
  (void)sim_log(sim, round);
}

static void sim_tests_message(struct sim *sim, const struct effect *effect, enum sim_kind kind) {
  struct sim_message message = {.kind = kind, .lease = {.id = effect->lease, .count = effect->count}};
  for (uint32_t i = 0; i < effect->count; i++)
    message.lease.test[i] = (uint8_t)effect->tests[i];
  sim_reply(sim, effect->worker, &message);
}

static void sim_effect(struct sim *sim, const struct effect *effect) {
  struct sim_message parked = {.kind = SIM_PARKED};
  switch (effect->kind) {
    case EFFECT_LEASE:
      sim_check_grant(sim, effect);
      sim_tests_message(sim, effect, SIM_LEASE);
      break;
    case EFFECT_RECALL:
      sim->counts->recalls++;
      sim_tests_message(sim, effect, SIM_RECALL);
      break;
    case EFFECT_REVOKE: sim_tests_message(sim, effect, SIM_REVOKE); break;
    case EFFECT_PARK: sim_reply(sim, effect->worker, &parked); break;
    case EFFECT_DRAIN: sim_drain(sim, effect->worker, effect->reason); break;
    case EFFECT_STATE: sim_state(sim); break;
    case EFFECT_RESULT: sim_lost(sim, effect); break;
    case EFFECT_CLEARED:
      sim->counts->cleared++;
      (void)sim_log(sim,
                    (struct sim_record){.kind = SIM_REC_CLEARED, .worker = effect->worker, .round = effect->round});
      break;
    case EFFECT_ROUND:
      *(sim->sick ? &sim->counts->fenced : &sim->counts->contradicted) += 1;
      sim_round(sim, effect->round, effect->tests, effect->count);
      break;
  }
}

void sim_server_effects(struct sim *sim) {
  for (size_t i = 0; i < sim->server.effects.count; i++)
    sim_effect(sim, &sim->server.effects.item[i]);
  effects_clear(&sim->server.effects);
}

// ---- hello

static void sim_welcome(struct sim *sim, uint32_t number) {
  struct sim_message welcome = {.kind = SIM_WELCOME, .number = number, .seq = sim->server.session[number].acked};
  welcome.list_known = sim->server.list == SIM_LIST_READY;
  sim_reply(sim, number, &welcome);
}

static void sim_bind(struct sim *sim, uint32_t number, uint32_t slot) {
  struct sim_session *session = &sim->server.session[number];
  session->slot = slot;
  session->open = true;
  session->drained = false;
  session->heard_us = sim->now_us;
  sim->link[slot].number = number;
}

// A new session, on disk.
static uint32_t sim_enter(struct sim *sim, const struct sim_worker *worker, bool brings) {
  struct sim_server *server = &sim->server;
  char node[16], attempt[16];
  uint32_t *reopened, count, round = queue_round(sim->server.queue);
  sim_node_name(worker->node, node);
  (void)snprintf(attempt, sizeof attempt, "t%u", worker->attempt_token);
  struct queue_join join = {.node = node, .attempt = attempt, .retried = worker->retried, .brings = brings};
  join.node_total = sim->declared;
  uint32_t number = queue_join(server->queue, sim->now_us, &join, &reopened, &count, &server->effects);
  if (number != server->sessions++) sim_broken("I12", "a worker joins as number %u", number);
  struct queue_past past;
  queue_past(server->queue, number, &past);
  if (count && brings) sim_broken("I12", "%u tests run again for worker %u, which only brings", count, number);
  server->session[number] =
      (struct sim_session){.slot = SIM_NOBODY, .node = worker->node, .brings = brings, .heard_us = sim->now_us};
  (void)sim_log(sim, (struct sim_record){.kind = SIM_REC_WORKER,
                                         .worker = number,
                                         .node = worker->node,
                                         .attempt_token = worker->attempt_token,
                                         .past = past,
                                         .brings = brings});
  if (queue_round(server->queue) != round) sim_round(sim, queue_round(server->queue), reopened, count);
  free(reopened);
  return number;
}

static void sim_join(struct sim *sim, uint32_t slot) {
  if (sim->server.sessions >= (sim->calm ? (uint32_t)SIM_NUMBERS : (uint32_t)SIM_NUMBERS_STORM)) return;
  uint32_t number = sim_enter(sim, &sim->worker[slot], false);
  sim_bind(sim, number, slot);
  sim->cause.number = number;
  sim_wait(sim, SIM_WAIT_WELCOME, number, 0);
}

static void sim_resume(struct sim *sim, uint32_t slot, const struct sim_message *hello) {
  struct sim_server *server = &sim->server;
  struct sim_session *session = &server->session[hello->number];
  uint64_t ids[SIM_HELD];
  if (hello->number >= server->sessions) sim_broken("I4", "a welcomed worker is not on disk");
  queue_declare(server->queue, sim->declared);
  queue_attach(server->queue, sim->now_us, hello->number, &server->effects);
  sim_bind(sim, hello->number, slot);
  for (uint32_t i = 0; i < hello->held_count; i++) {
    const struct sim_lease *lease = &hello->held[i];
    uint32_t tests[SIM_TESTS];
    for (uint32_t t = 0; t < lease->count; t++)
      tests[t] = lease->test[t];
    bool known = server->list == SIM_LIST_READY;
    ids[i] = lease->id;
    if (known && queue_adopt(server->queue, sim->now_us, hello->number, lease->id, tests, lease->count))
      sim->counts->adopted++;
  }
  queue_holds_only(server->queue, sim->now_us, hello->number, ids, hello->held_count, &server->effects);
  if (session->acked > session->applied) session->applied = session->acked;
  sim_welcome(sim, hello->number);
}

// ---- results

static struct sim_record sim_row(const struct sim_message *message, uint32_t row, uint32_t number) {
  return (struct sim_record){.kind = SIM_REC_RESULT,
                             .worker = number,
                             .test = message->lease.test[row],
                             .status = (enum queue_status)message->status[row],
                             .reason = message->because[row],
                             .lease = message->lease.id};
}

static void sim_results(struct sim *sim, uint32_t number, const struct sim_message *message) {
  struct sim_session *session = &sim->server.session[number];
  struct sim_record kept[SIM_TESTS];
  uint32_t count = 0;
  if (message->seq <= session->applied) {
    struct sim_message ack = {.kind = SIM_ACK, .seq = session->acked};
    if (message->seq <= session->acked) sim_reply(sim, number, &ack);
    return;
  }
  for (uint32_t i = 0; i < message->lease.count; i++) {
    struct sim_record record = sim_row(message, i, number);
    record.status = queue_counts_as(sim->server.queue, record.test, record.status);
    struct queue_result result = {.worker = number, .test = record.test, .lease = record.lease};
    result.status = record.status = queue_counts_as(sim->server.queue, record.test, record.status);
    result.reason = record.status == QUEUE_SKIPPED ? record.reason : 0;
    result.duration_us = sim->expected_us[record.test] * (1 + number % 3);
    enum queue_accept accept =
        queue_result(sim->server.queue, sim->now_us, &result, &record.attempt, &record.settles, &sim->server.effects);
    uint64_t *counts[] = {[ACCEPT_CURRENT] = &sim->counts->current, [ACCEPT_LATE] = &sim->counts->late,
                          [ACCEPT_EXTRA] = &sim->counts->extra,     [ACCEPT_DUPLICATE] = &sim->counts->duplicate,
                          [ACCEPT_SEALED] = &sim->counts->sealed,   [ACCEPT_UNKNOWN] = &sim->counts->unknown};
    ++*counts[accept];
    record.extra = accept == ACCEPT_EXTRA;
    record.round = queue_round(sim->server.queue);
    sim->counts->unsettled += accept < ACCEPT_EXTRA && !record.settles && record.status == QUEUE_SKIPPED;
    if (accept <= ACCEPT_EXTRA) kept[count++] = record;
  }
  for (uint32_t i = 0; i < count; i++)
    kept[i].more = i + 1 < count;
  if (count) kept[count - 1].seq = message->seq;  // on disk: the whole message is
  for (uint32_t i = 0; i < count; i++)
    sim_check_skip(sim, sim_log(sim, kept[i]));
  session->applied = message->seq;
  sim_wait(sim, SIM_WAIT_ACK, number, message->seq);
}

// ---- the other messages

static void sim_released(struct sim *sim, uint32_t number, const struct sim_message *message) {
  uint32_t tests[SIM_TESTS];
  for (uint32_t i = 0; i < message->lease.count; i++)
    tests[i] = message->lease.test[i];
  sim->counts->released += message->lease.count;
  queue_released(sim->server.queue, sim->now_us, number, message->lease.id, tests, message->lease.count,
                 &sim->server.effects);
}

static void sim_list(struct sim *sim, uint32_t number) {
  struct sim_message listed = {.kind = SIM_LISTED};
  sim->server.session[number].offered = true;
  if (sim->server.list == SIM_LIST_READY) sim_reply(sim, number, &listed);
  if (sim->server.list != SIM_LIST_NONE) return;
  sim->server.list = SIM_LIST_STORING;
  (void)sim_log(sim, (struct sim_record){.kind = SIM_REC_LIST});
  sim_wait(sim, SIM_WAIT_LIST, number, 0);
}

static void sim_bye(struct sim *sim, uint32_t number, enum queue_leaving how) {
  struct sim_session *session = &sim->server.session[number];
  if (!session->left) {
    session->left = true;
    queue_leave(sim->server.queue, sim->now_us, number, how, &sim->server.effects);
    struct sim_record record = {.kind = SIM_REC_LEFT, .worker = number, .leaving = how};
    queue_past(sim->server.queue, number, &record.past);
    (void)sim_log(sim, record);
  }
  if (!session->goodbye_due) sim_wait(sim, SIM_WAIT_GOODBYE, number, 0);
  session->goodbye_due = true;
}

static void sim_started(struct sim *sim, uint32_t number, const struct sim_message *message) {
  if (!message->lease.count || sim->server.list != SIM_LIST_READY) return;
  queue_started(sim->server.queue, sim->now_us, number, message->lease.id, message->lease.test[0]);
}

// ---- results from a time without the server

static void sim_claim(struct sim *sim, uint32_t number, struct sim_message *results) {
  struct effects effects = {0};
  uint32_t tests[SIM_TESTS];
  for (uint32_t i = 0; i < results->lease.count; i++)
    tests[i] = results->lease.test[i];
  if (!queue_claim(sim->server.queue, number, tests, results->lease.count, &effects) || effects.count != 1)
    sim_broken("I6", "worker %u cannot claim what it has run", number);
  if (effects.item[0].lease <= sim->server.last_lease) sim_broken("I6", "a claim's lease was granted before");
  results->lease.id = sim->server.last_lease = effects.item[0].lease;
  effects_release(&effects);
}

void sim_server_bring(struct sim *sim, const struct sim_worker *worker, struct sim_message *results) {
  struct sim_message hello = {.kind = SIM_HELLO};
  if (sim->server.list != SIM_LIST_READY || sim->server.sessions >= SIM_NUMBERS_STORM) return;
  sim->counts->brought += results->lease.count;
  sim_check_before(sim, (struct sim_cause){SIM_ON_MESSAGE, SIM_NOBODY, &hello});
  uint32_t number = sim_enter(sim, worker, true);
  sim_server_effects(sim);
  sim_check_after(sim);
  sim_server_tick(sim);
  sim_claim(sim, number, results);
  sim_check_before(sim, (struct sim_cause){SIM_ON_MESSAGE, number, results});
  sim_results(sim, number, results);
  sim_server_effects(sim);
  sim_check_after(sim);
  sim_server_tick(sim);
  struct sim_message bye = {.kind = SIM_BYE};
  sim_check_before(sim, (struct sim_cause){SIM_ON_MESSAGE, number, &bye});
  sim_bye(sim, number, number % 4 == 2 ? LEAVING_LATE : LEAVING_WELL);
  sim_server_effects(sim);
  sim_check_after(sim);
  sim_server_tick(sim);
}

static void sim_handle(struct sim *sim, uint32_t number, const struct sim_message *message) {
  struct sim_server *server = &sim->server;
  switch (message->kind) {
    case SIM_LIST: sim_list(sim, number); break;
    case SIM_ASK:
      server->session[number].drained = false;
      if (message->reason) queue_limit_leases(server->queue, number, message->reason);
      if (sim_starts_processes(number)) queue_starts_processes(server->queue, number, SIM_START_US);
      queue_lease(server->queue, sim->now_us, number, &server->effects);
      break;
    case SIM_STARTED:
    case SIM_HEARTBEAT: sim_started(sim, number, message); break;
    case SIM_RESULTS: sim_results(sim, number, message); break;
    case SIM_RELEASED: sim_released(sim, number, message); break;
    case SIM_BYE: sim_bye(sim, number, (enum queue_leaving)message->reason); break;
    case SIM_HELLO:
    case SIM_WELCOME:
    case SIM_LISTED:
    case SIM_LEASE:
    case SIM_PARKED:
    case SIM_DRAINED:
    case SIM_REVOKE:
    case SIM_RECALL:
    case SIM_ACK:
    case SIM_GOODBYE: sim_broken("bound", "the server is sent message %d", (int)message->kind);
  }
}

void sim_server_receive(struct sim *sim, uint32_t slot, const struct sim_message *message) {
  uint32_t number = message->kind == SIM_HELLO ? message->number : sim->link[slot].number;
  sim_check_before(sim, (struct sim_cause){SIM_ON_MESSAGE, number, message});
  if (message->kind == SIM_HELLO && number == SIM_NOBODY) {
    sim_join(sim, slot);
  } else if (message->kind == SIM_HELLO) {
    sim_resume(sim, slot, message);
  } else if (number != SIM_NOBODY) {
    sim->server.session[number].heard_us = sim->now_us;
    queue_heard(sim->server.queue, sim->now_us, number);
    sim_handle(sim, number, message);
  }
  sim_server_effects(sim);
  sim_check_after(sim);
  sim_server_tick(sim);
}

// ---- time, connections, the disk

void sim_server_closed(struct sim *sim, uint32_t number) {
  struct sim_session *session = &sim->server.session[number];
  if (!session->open) return;
  sim_trace(sim, "the server loses worker", number);
  sim_check_before(sim, (struct sim_cause){SIM_ON_CLOSED, number, NULL});
  session->open = false;
  session->slot = SIM_NOBODY;
  if (!session->left) queue_detach(sim->server.queue, sim->now_us, number);
  sim_server_effects(sim);
  sim_check_after(sim);
}

void sim_server_tick(struct sim *sim) {
  struct queue *queue = sim->server.queue;
  for (int turns = 0; queue_deadline(queue) <= sim->now_us; turns++) {
    if (turns == 3) sim_broken("I7", "a tick leaves undone what is due");
    sim_trace(sim, "tick", 0);
    sim_check_before(sim, (struct sim_cause){SIM_ON_TICK, SIM_NOBODY, NULL});
    queue_tick(queue, sim->now_us, &sim->server.effects);
    sim_server_effects(sim);
    sim_check_after(sim);
  }
}

static void sim_list_stored(struct sim *sim) {
  struct sim_message listed = {.kind = SIM_LISTED};
  sim_check_before(sim, (struct sim_cause){SIM_ON_LIST, SIM_NOBODY, NULL});
  sim->server.list = SIM_LIST_READY;
  sim_set_list(sim);
  for (uint32_t i = 0; i < sim->server.sessions; i++) {
    if (sim->server.session[i].offered) sim_reply(sim, i, &listed);
  }
  sim_server_effects(sim);
  sim_check_after(sim);
  sim_server_tick(sim);
}

static void sim_answer(struct sim *sim, const struct sim_wait *wait) {
  struct sim_session *session = &sim->server.session[wait->number];
  struct sim_message message = {.kind = SIM_ACK};
  const char *why;
  switch (wait->kind) {
    case SIM_WAIT_WELCOME: sim_welcome(sim, wait->number); return;
    case SIM_WAIT_LIST: sim_list_stored(sim); return;
    case SIM_WAIT_ACK:
      if (wait->seq > session->acked) session->acked = wait->seq;
      message.seq = session->acked;
      break;
    case SIM_WAIT_GOODBYE:
      session->goodbye_due = false;
      message.kind = SIM_GOODBYE;
      message.reason = (uint32_t)queue_exit_code(sim->server.queue, wait->number, &why);
      sim_check_goodbye(sim, wait->number, message.reason, why);
      break;
  }
  sim_reply(sim, wait->number, &message);
}

void sim_server_durable(struct sim *sim, uint32_t ticket) {
  struct sim_server *server = &sim->server;
  server->durable = ticket;
  while (server->wait_count && server->wait[server->wait_first].ticket <= server->durable) {
    struct sim_wait wait = server->wait[server->wait_first];
    server->wait_first = (server->wait_first + 1) % SIM_RECORDS;
    server->wait_count--;
    sim_answer(sim, &wait);
  }
}

void sim_server_crash(struct sim *sim, uint32_t survive) {
  struct sim_server *server = &sim->server;
  uint32_t kept = server->durable + survive;
  while (kept && server->log[kept - 1].more)
    kept--;
  sim->counts->restarts++;
  sim_trace(sim, "the server crashes, keeping records", kept);
  sim->counts->forgotten += server->logged - kept;
  for (uint32_t i = 0; i < SIM_SLOTS; i++) {
    bool was = sim->link[i].up;
    sim->link[i].number = SIM_NOBODY;
    if (was) sim_cut(sim, i, false);
  }
  server->wait_count = 0;
  sim_recover(sim, kept);
  sim_check_truth(sim);
  sim_server_tick(sim);
}
