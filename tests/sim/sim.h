// The simulator's inside: the real core (server/queue*.c, sched.c, tokens.c) with everything around it simulated. A
// shell as deliver.c and session.c are one (sim_server.c), a disk that forgets what was not synced (sim_disk.c),
// connections that wait, repeat and break (sim_net.c), workers (sim_worker.c), the tests they run, and the clock. All
// chance comes from one tape. What must be true is checked from outside, after every event (sim_check.c).
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "server/limits.h"
#include "server/queue.h"
#include "server/queue_impl.h"
#include "tests/sim/tape.h"

enum {
  SIM_TESTS = 40,
  SIM_START_US = 1000000,
  SIM_SLOTS = 36,  // processes in a build's life; SIM_STORM_SLOTS of them during faults
  SIM_STORM_SLOTS = 22,
  SIM_NUMBERS = 200,  // workers the server ever sees: who loses its welcome joins again
  SIM_HELD = 5,       // leases in a process's hands
  SIM_SPOOL = 12,
  SIM_PIPE = 16,
  SIM_RECORDS = 4000,
  SIM_TOKENS = 3,
  SIM_NOBODY = UINT32_MAX,
  SIM_SECOND = 1000000,
};

// ---- messages

enum sim_kind {
  SIM_HELLO,
  SIM_LIST,
  SIM_ASK,
  SIM_STARTED,
  SIM_RESULTS,
  SIM_HEARTBEAT,
  SIM_RELEASED,
  SIM_BYE,
  SIM_WELCOME,
  SIM_LISTED,
  SIM_LEASE,
  SIM_PARKED,
  SIM_DRAINED,
  SIM_REVOKE,
  SIM_RECALL,
  SIM_ACK,
  SIM_GOODBYE,
};

struct sim_lease {
  uint64_t id;
  uint32_t count;
  uint8_t test[SIM_TESTS];
};

struct sim_message {
  enum sim_kind kind;
  uint32_t number;         // HELLO, WELCOME: the worker's number, SIM_NOBODY: a new one
  uint64_t seq;            // RESULTS: number; ACK, WELCOME: acknowledged
  uint32_t reason;         // DRAINED: reason; GOODBYE: exit code; ASK: most tests of a lease; BYE: errors outside tests
  bool list_known;         // WELCOME
  struct sim_lease lease;  // LEASE, RECALL, RELEASED, RESULTS, STARTED, REVOKE
  uint8_t status[SIM_TESTS], because[SIM_TESTS];
  uint32_t held_count;  // HELLO
  struct sim_lease held[SIM_HELD];
};

struct sim_pipe {
  struct sim_message message[SIM_PIPE];
  uint32_t first, count;
};

struct sim_link {
  bool up;
  uint32_t number;  // whom the server talks to on it, SIM_NOBODY: it does not know yet
  struct sim_pipe to_server, to_worker;
};

// ---- the server

struct sim_session {
  uint32_t slot;  // whose link it is on, SIM_NOBODY: on none
  uint32_t node;
  bool brings;
  bool open;  // the server takes the connection to be open; without a slot it is half open
  bool left, goodbye_due, drained, offered;
  uint64_t applied, acked;  // numbers of its Results: taken, on disk
  uint64_t heard_us;
};
// Some workers pay the start of a process for each lease.
static inline bool sim_starts_processes(uint32_t number) {
  return number % 4 == 3;
}

enum sim_record_kind {
  SIM_REC_WORKER,
  SIM_REC_LIST,
  SIM_REC_ROUND,
  SIM_REC_RESULT,
  SIM_REC_LEFT,
  SIM_REC_STATE,
  SIM_REC_CLEARED
};
struct sim_record {
  enum sim_record_kind kind;
  uint32_t worker, node, attempt_token, round, test, attempt, state, count;
  enum queue_status status;
  uint32_t reason;
  bool settles, lost, extra, brings;
  enum queue_leaving leaving;
  struct queue_past past;  // WORKER, LEFT
  bool more;               // of the same message: they outlive a crash together, or not at all
  uint64_t seq, lease;
  uint8_t tests[SIM_TESTS];
  uint32_t previous;  // result of the same test, SIM_NOBODY: none
};

enum sim_wait_kind { SIM_WAIT_WELCOME, SIM_WAIT_ACK, SIM_WAIT_GOODBYE, SIM_WAIT_LIST };
struct sim_wait {
  enum sim_wait_kind kind;
  uint32_t ticket, number;
  uint64_t seq;
};

// What the records on the log say of a test: the oracle the queue is held against.
struct sim_truth {
  enum queue_verdict verdict;
  uint32_t decided, attempts, bad, last;  // last: its newest record
  bool overran;                           // a limit that nobody asked for ended it in this round
  bool could[SIM_NUMBERS];                // it was skipped although this worker was there and would have run it
};

struct sim_server {
  uint32_t rounds;
  struct queue *queue;
  struct effects effects;
  struct sim_session session[SIM_NUMBERS];
  uint32_t sessions, epoch;
  enum { SIM_LIST_NONE, SIM_LIST_STORING, SIM_LIST_READY } list;
  uint64_t last_lease;
  struct sim_record log[SIM_RECORDS];
  uint32_t logged, durable;
  struct sim_wait wait[SIM_RECORDS];
  uint32_t wait_first, wait_count;
  struct sim_truth truth[SIM_TESTS];
  uint32_t charged[SIM_TESTS], charged_by[SIM_TESTS][LIMIT_LOST];  // workers that vanished with it, each once
  uint64_t alone[SIM_TESTS];                                       // the lease in which it went out as a suspect
};

// Jobs of every eighth node have no name.
static inline void sim_node_name(uint32_t node, char name[16]) {
  if (node % 8 == 7) {
    name[0] = '\0';
  } else {
    (void)snprintf(name, 16, "n%u", node);
  }
}

// ---- workers

enum sim_life { SIM_UNBORN, SIM_ALIVE, SIM_STALLED, SIM_DEAD, SIM_EXITED };

struct sim_held {
  struct sim_lease lease;
  uint64_t seq[SIM_TESTS];  // message of its result, 0: none
  bool given[SIM_TESTS];    // it will not run here
  bool named[SIM_TESTS];    // the last hello named it although it has a result
};

struct sim_spooled {
  uint64_t seq;
  bool closed;
  struct sim_lease lease;  // the tests reported
  uint8_t status[SIM_TESTS], because[SIM_TESTS];
};

struct sim_worker {
  enum sim_life life;
  uint32_t node, attempt_token, number;
  enum queue_retried retried;
  bool welcomed, list_agreed, offered, asked, drained, said_bye, leaves, late;
  uint32_t held_count, spooled, unsent;
  struct sim_held held[SIM_HELD];
  struct sim_spooled spool[SIM_SPOOL];
  uint64_t next_seq, sent_us;
  bool runs;
  uint64_t run_lease;
  uint32_t run_test;
  uint32_t exit_code;
};

// ---- a build

enum sim_nature { SIM_PASSES, SIM_FAILS, SIM_VARIES, SIM_CRASHES, SIM_POISON };

// How often each fault comes, of 256 tries; chosen anew for each build, many of them 0.
struct sim_rates {
  uint32_t cut, half_open, dup, die, stall, crash, rejoin, leave, drop_started, jump;
};

struct sim_counts {
  uint64_t builds, steps, grants, current, late, extra, duplicate, sealed, unknown, adopted, expired, recalls, released,
      lost, restarts, forgotten, cuts, rounds, fenced, few, brought, cleared, with_tokens, poisoned, aborted, unsettled,
      repeated, contradicted;
};

// What the server is at, for the checks after it.
enum sim_cause_kind { SIM_ON_MESSAGE, SIM_ON_CLOSED, SIM_ON_TICK, SIM_ON_LIST };
struct sim_cause {
  enum sim_cause_kind kind;
  uint32_t number;
  const struct sim_message *message;
};

struct sim {
  struct tape *tape;
  struct sim_counts *counts;
  struct queue_policy policy;
  struct sim_rates rates;
  uint64_t now_us;
  bool calm;
  uint32_t total, nodes, attempt_tokens;
  enum sim_nature nature[SIM_TESTS];
  uint32_t file_of[SIM_TESTS], unit_of[SIM_TESTS];
  uint64_t expected_us[SIM_TESTS], need[SIM_TESTS];
  uint32_t copies[SIM_TOKENS];
  bool muted[SIM_TESTS];
  bool brings;    // jobs come that ran without the server
  uint32_t sick;  // so many nodes, the first ones, fail what would pass
  bool lacking;   // nodes lack things that tests need
  uint32_t declared;
  struct sim_link link[SIM_SLOTS];
  struct sim_worker worker[SIM_SLOTS];
  uint32_t slots;
  struct sim_server server;
  // before the event that is checked
  struct sim_cause cause;
  uint64_t held[SIM_TESTS], granted[SIM_TESTS];  // lease, 0: none
  uint32_t holder[SIM_TESTS];
  bool settled[SIM_TESTS];
  bool complete;  // the build was
};

// sim.c: one build from its tape; what was broken ends the process by sim_broken.
void sim_build(struct tape *tape, struct sim_counts *counts);
static inline uint32_t sim_choose(struct sim *sim, uint32_t n) {
  return tape_choose(sim->tape, n);
}
static inline bool sim_fault(struct sim *sim, uint32_t rate) {
  return rate && !sim->calm && sim_choose(sim, 256) >= 256 - rate;
}
// An invariant is broken: by its name, which shrinking keeps, and in words. Does not return (shrink.c).
_Noreturn void sim_broken(const char *invariant, const char *format, ...) __attribute__((format(printf, 2, 3)));

// sim_net.c: one connection a slot.
void sim_link_open(struct sim *sim, uint32_t slot);
void sim_send_server(struct sim *sim, uint32_t slot, const struct sim_message *message);
void sim_send_worker(struct sim *sim, uint32_t slot, const struct sim_message *message);
bool sim_receive(struct sim_pipe *pipe, struct sim_message *message);
// It breaks, with all that was on the way; the server hears of it, or not.
void sim_cut(struct sim *sim, uint32_t slot, bool server_knows);

// sim_server.c
void sim_server_start(struct sim *sim);
void sim_server_receive(struct sim *sim, uint32_t slot, const struct sim_message *message);
// A job that ran without the server comes, brings these results (their lease is made here), and goes.
void sim_server_bring(struct sim *sim, const struct sim_worker *worker, struct sim_message *results);
void sim_server_closed(struct sim *sim, uint32_t number);  // a connection ended, or was given up
void sim_server_tick(struct sim *sim);                     // whatever is due
void sim_server_effects(struct sim *sim);
void sim_server_durable(struct sim *sim, uint32_t ticket);  // the disk has everything up to here
void sim_server_crash(struct sim *sim, uint32_t survive);   // so many of the records that were not durable outlive it

// sim_disk.c
struct sim_record *sim_log(struct sim *sim, struct sim_record record);  // appends, and tells the truth of it
void sim_recover(struct sim *sim, uint32_t kept);                       // a new queue from the first records
void sim_set_list(struct sim *sim);

// sim_fact.c
bool sim_ran(const struct sim *sim, uint32_t worker);
// Some worker that left a failing fact behind had run the test.
bool sim_fact_evidence(const struct sim *sim, uint32_t test);
bool sim_was_complete(const struct sim *sim);
// Some worker ran what an error had come behind, and has not left.
bool sim_vanished(const struct sim *sim);
// A green build: what produced each fact has run again since.
void sim_check_facts(const struct sim *sim);

// sim_worker.c
void sim_worker_start(struct sim *sim, uint32_t slot, uint32_t node, enum queue_retried retried);
void sim_worker_receive(struct sim *sim, uint32_t slot, const struct sim_message *message);
void sim_worker_act(struct sim *sim, uint32_t slot);
void sim_worker_die(struct sim *sim, uint32_t slot);

// What a test needs, 0: nothing, and whether a node has it: the fourth, nobody has.
uint32_t sim_needs(const struct sim *sim, uint32_t test);
bool sim_has(const struct sim *sim, uint32_t node, uint32_t thing);
// The history tells that all of the trunk's last builds skipped the test.
bool sim_skips_on_trunk(const struct sim *sim, uint32_t test);

// sim_trace.c: what is said of an event when somebody wants to see it.
extern bool sim_tracing;
void sim_trace(const struct sim *sim, const char *what, uint32_t of);
void sim_trace_message(const struct sim *sim, uint32_t slot, const struct sim_message *message);

// sim_check.c
void sim_check_before(struct sim *sim, struct sim_cause cause);
void sim_check_after(struct sim *sim);
void sim_check_grant(struct sim *sim, const struct effect *effect);
// A skip was logged that settles its test.
void sim_check_skip(struct sim *sim, const struct sim_record *record);
void sim_check_truth(const struct sim *sim);
// The worker, which has left, is told this exit code.
void sim_check_goodbye(const struct sim *sim, uint32_t number, uint32_t code, const char *why);
void sim_check_end(const struct sim *sim);

#endif
