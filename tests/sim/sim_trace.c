// What happens, a line each: `sim --trace TAPE` prints it for a tape that breaks.
#include <inttypes.h>

#include "tests/sim/sim.h"

bool sim_tracing;

static const char *const trace_names[SIM_GOODBYE + 1] = {
    [SIM_HELLO] = "hello",     [SIM_LIST] = "list",           [SIM_ASK] = "ask",           [SIM_STARTED] = "started",
    [SIM_RESULTS] = "results", [SIM_HEARTBEAT] = "heartbeat", [SIM_RELEASED] = "released", [SIM_BYE] = "bye",
    [SIM_WELCOME] = "welcome", [SIM_LISTED] = "listed",       [SIM_LEASE] = "lease",       [SIM_PARKED] = "parked",
    [SIM_DRAINED] = "drained", [SIM_REVOKE] = "revoke",       [SIM_RECALL] = "recall",     [SIM_ACK] = "ack",
    [SIM_GOODBYE] = "goodbye"};

static void trace_lease(const struct sim_lease *lease) {
  if (lease->id) (void)printf(" %" PRIx64, lease->id);
  for (uint32_t i = 0; i < lease->count; i++)
    (void)printf("%s%u", i ? "," : ":", lease->test[i]);
}

void sim_trace_message(const struct sim *sim, uint32_t slot, const struct sim_message *message) {
  if (!sim_tracing) return;
  (void)printf("%11" PRIu64 " process %u %s %s", sim->now_us, slot, message->kind < SIM_WELCOME ? "says" : "hears",
               trace_names[message->kind]);
  if (message->number != SIM_NOBODY) (void)printf(" #%u", message->number);
  trace_lease(&message->lease);
  for (uint32_t i = 0; i < message->held_count; i++)
    trace_lease(&message->held[i]);
  for (uint32_t i = 0; message->kind == SIM_RESULTS && i < message->lease.count; i++)
    (void)printf("%s%u", i ? "," : " status ", message->status[i]);
  (void)printf(" seq %" PRIu64 " reason %u\n", message->seq, message->reason);
}

void sim_trace(const struct sim *sim, const char *what, uint32_t of) {
  if (sim_tracing) (void)printf("%11" PRIu64 " %s %u\n", sim->now_us, what, of);
}
