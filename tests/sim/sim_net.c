// Connections: two queues of messages each. A message waits until somebody chooses to deliver it, may come twice where
// the protocol allows for it, and is lost when the connection breaks or cannot hold more.
#include "tests/sim/sim.h"

void sim_link_open(struct sim *sim, uint32_t slot) {
  struct sim_link *link = &sim->link[slot];
  link->up = true;
  link->number = SIM_NOBODY;
  link->to_server.count = link->to_worker.count = 0;
}

static bool sim_repeatable(enum sim_kind kind) {
  static const bool may[SIM_GOODBYE + 1] = {
      [SIM_STARTED] = true, [SIM_RESULTS] = true, [SIM_HEARTBEAT] = true, [SIM_RELEASED] = true,
      [SIM_BYE] = true,     [SIM_REVOKE] = true,  [SIM_RECALL] = true,    [SIM_ACK] = true};
  return may[kind];
}

static bool sim_push(struct sim_pipe *pipe, const struct sim_message *message) {
  if (pipe->count == SIM_PIPE) return false;
  pipe->message[(pipe->first + pipe->count++) % SIM_PIPE] = *message;
  return true;
}

static void sim_send(struct sim *sim, uint32_t slot, struct sim_pipe *pipe, const struct sim_message *message) {
  bool room = sim_push(pipe, message);
  if (room && sim_repeatable(message->kind) && sim_fault(sim, sim->rates.dup)) (void)sim_push(pipe, message);
  if (!room) sim_cut(sim, slot, true);  // somebody does not read
}

void sim_send_server(struct sim *sim, uint32_t slot, const struct sim_message *message) {
  sim->worker[slot].sent_us = sim->now_us;
  if (sim->link[slot].up) sim_send(sim, slot, &sim->link[slot].to_server, message);
}

void sim_send_worker(struct sim *sim, uint32_t slot, const struct sim_message *message) {
  struct sim_link *link = &sim->link[slot];
  if (link->up && !sim_push(&link->to_worker, message)) {
    link->up = false;  // the server hears of it with the next look at its connections
  } else if (link->up && sim_repeatable(message->kind) && sim_fault(sim, sim->rates.dup)) {
    (void)sim_push(&link->to_worker, message);
  }
}

bool sim_receive(struct sim_pipe *pipe, struct sim_message *message) {
  if (!pipe->count) return false;
  *message = pipe->message[pipe->first];
  pipe->first = (pipe->first + 1) % SIM_PIPE;
  pipe->count--;
  return true;
}

void sim_cut(struct sim *sim, uint32_t slot, bool server_knows) {
  struct sim_link *link = &sim->link[slot];
  uint32_t number = link->number;
  sim->counts->cuts += link->up;
  sim_link_open(sim, slot);
  link->up = false;
  sim->worker[slot].welcomed = false;
  if (number == SIM_NOBODY) return;
  sim->server.session[number].slot = SIM_NOBODY;
  if (server_knows) sim_server_closed(sim, number);
}
