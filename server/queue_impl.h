// The queue's inside, shared by queue.c (states, leases, time), queue_worker.c (coming and going), queue_rerun.c
// (re-runs) and queue_verdict.c (results). Nobody else includes it.
#ifndef SERVER_QUEUE_IMPL_H
#define SERVER_QUEUE_IMPL_H

#include "server/limits.h"
#include "server/queue.h"

enum { QUEUE_NOBODY = UINT32_MAX, QUEUE_NO_TEST = UINT32_MAX, QUEUE_NO_SLOT = UINT32_MAX };

enum queue_place { PLACE_READY, PLACE_LEASED, PLACE_DONE };

// Workers of a test are numbered in 16 bits, since there are many tests.
enum { QUEUE_TEST_NOBODY = UINT16_MAX };
_Static_assert((int)LIMIT_WORKERS < (int)QUEUE_TEST_NOBODY, "a test cannot name each worker");

struct queue_test {
  uint32_t slot;                     // LEASED: the live lease; `again`: its place in that list
  uint16_t worker;                   // DONE: whose attempt settled the verdict; else who had it last
  uint16_t lost_by[LIMIT_LOST - 1];  // different workers that vanished with it in their hands
  uint16_t attempts;
  uint8_t failures;
  uint8_t crashes : 4, overruns : 3;  // overruns: of a cap that nobody asked for
  uint8_t evidence : 1;               // of a fact that was cleared, to be run again (queue_fact_owes)
  uint8_t place : 2, verdict : 3;
  bool held : 1;            // `again`, in the list of those whose skip is to be confirmed
  bool ran_on_trunk : 1;    // by the history (queue_skip_history)
  bool skips_on_trunk : 1;  // likewise, in all builds that are looked at
  uint8_t status : 4;
  bool again : 1;          // READY: waits in a list (queue_again.c), not in the scheduler or among those with tokens
  bool muted : 1;          // its failing verdict is VERDICT_MUTED
  bool failed_before : 1;  // in an earlier round, or an error outside of tests came behind it: it has to run
  bool puzzles : 1;        // it is flaky, and not known how
};
_Static_assert(sizeof(struct queue_test) == 16, "a test grew");

struct queue_lease {
  uint64_t id;
  uint32_t worker;
  bool live;                   // some test is LEASED in it; false: kept so that late results are known
  bool claimed;                // of tests that were run without the server: none of it is ever LEASED
  bool alone;                  // of suspects: its worker gets nothing beside it
  uint32_t count, open, held;  // tests; of those not reported by this lease; LEASED in it
  uint32_t hint;               // where the next result is looked for first
  uint32_t started;            // position in `test` begun last
  uint64_t started_us;         // when
  uint64_t granted_us;         // when it was, if it was granted here (`timed`) and not adopted or claimed
  bool timed;
  bool recalled;             // tests were asked back, and nothing was answered yet
  uint64_t recall_after_us;  // not before: its worker had nothing to give
  uint32_t *test;
  bool *reported;
};

// A worker stands in up to two lists, each in order of time: those heard of, and those parked.
enum queue_list { LIST_HEARD, LIST_PARKED, LIST_COUNT };
struct queue_link {
  uint32_t next, prev;
  bool in;
};
struct queue_fifo {
  uint32_t head, tail;
};

struct queue_worker {
  struct sched_worker sched;
  struct queue_link link[LIST_COUNT];
  char *node, *attempt;
  uint64_t heard_us, parked_us;
  bool connected, left, late;
  bool awaited;                           // was at work before a restart and has not come back
  bool drained;                           // was told to go for lack of work: no longer counted as connected
  bool asked;                             // fell silent while it was parked: parked again when it speaks
  bool brings;                            // only brings results
  bool cleared;                           // was suspected of being sick, wrongly
  bool fenced;                            // is sick: gets nothing any more
  bool fencing;                           // and its failures are to be given back
  uint32_t ran, ran_failed, ran_skipped;  // its attempts that counted, and those of them that failed, were skipped
  uint32_t failed_in[3], failed_files;    // tests of different files among those, at most as many
  uint32_t probes, refuted, confirmed;    // failures that others tried again: all, passed there, failed there too
  uint32_t own_failing;
  uint64_t held_us;    // expected time of what is LEASED in its leases
  uint32_t lease_max;  // tests of a lease; 0: LIMIT_LEASE
  uint32_t slot[LIMIT_LEASES_HELD], slot_count;
  uint32_t node_id;                          // the first worker of the same node
  uint32_t lacks[LIMIT_SKIP_LACKS], lacked;  // reasons for which it skips what others run
  enum queue_fact fact;                      // that it left behind
  uint32_t fact_round;                       // the round in which the fact was cleared; 0: it is open
  bool owes;                                 // it ran evidence, and has not left: its session's end is part of that
  uint32_t completed;                        // queue->completed when it came
  enum queue_opening again;                  // it is a job that is run again, and why it opened `opened` tests
  uint32_t opened;
  bool unstored;                      // it ran what is in no record: all tests are its evidence
  uint32_t *note, noted, noted_room;  // tests that it ran and whose verdict is not its own, maybe more than once
};

// READY tests that do not go back to the scheduler (queue_again.c).
struct queue_again {
  uint32_t test;   // QUEUE_NO_TEST: a hole
  uint32_t avoid;  // goes to another node than this worker's, if one is connected
  bool stays;      // goes to that very worker, while it is connected
};

struct queue_waits {
  struct queue_again *item;  // [first, end), with holes
  uint32_t first, end, room, count;
  uint64_t us;  // expected time of those
};

// Skips (queue_skip.c): who skipped a test, by kinds, which are a file and a reason.
struct queue_vote {
  uint32_t next, kind;
  uint16_t worker;
};
struct queue_kind {
  uint32_t file, reason, next;  // the file's next kind
  uint32_t voters;              // the first of those who skipped tests of it
  uint32_t probe;               // a test of it that stands for others while it has no verdict
  bool contradicted;            // a test that was skipped so ran on another worker
};
struct queue_voter {
  uint32_t next;
  uint16_t worker;
  bool ran;  // other tests of the file
};
struct queue_skips {
  uint32_t *vote_of;  // per test: its first vote; NULL: there is none yet
  uint32_t *kind_of;  // per file, and behind them for the kinds of any file: its first
  struct queue_vote *vote;
  struct queue_kind *kind;
  struct queue_voter *voter;
  uint32_t vote_count, vote_room, kind_count, kind_room, voter_count, voter_room;
  uint32_t files;
  bool lacking;  // some worker lacks something
  bool found;    // which was found out just now: what it settled is to be looked at
  bool gave_up;  // declared nodes that have not come are not waited for
};

// A suspect's failure that is tried elsewhere.
struct queue_probe {
  uint32_t test, suspect;
};

struct queue {
  struct queue_policy policy;
  struct sched *sched;    // NULL: no list yet
  struct tokens *tokens;  // NULL: no test needs any
  struct queue_test *test;
  uint32_t total, place_count[PLACE_DONE + 1];
  uint32_t by_verdict[VERDICT_MUTED + 1], by_status[QUEUE_TIMED_OUT + 1];
  struct queue_lease **lease;  // by slot; NULL: unused
  uint32_t lease_count, lease_room;
  struct queue_worker *worker;
  uint32_t worker_count, worker_room;
  struct queue_fifo fifo[LIST_COUNT];
  uint32_t connected, parked, left, declared, awaited;
  uint32_t late_errors, broken;  // workers with such an open fact
  uint32_t owing;                // workers that owe
  uint32_t completed;            // how often the build became COMPLETE
  struct queue_waits again, held;
  struct queue_skips skips;
  uint32_t nodes;  // that have come to run tests
  uint32_t retried;
  struct queue_probe *probe;
  uint32_t probe_count, probe_room, probed;  // open ones; ever
  uint32_t ran, ran_failed, ran_skipped;     // the workers' together
  uint32_t fencing;                          // workers that are; nothing is settled before they were dealt with
  uint64_t next_lease;
  enum queue_state state;
  uint32_t round;
  uint32_t forgiven;        // failing verdicts that do not count against max_failures: from before a re-run
  bool wake;                // queue_tick has something to do at once
  bool rerun;               // a restored worker was a job run again
  uint64_t started_us;      // when it was made, or restored
  uint32_t came;            // different nodes, if there is a bound
  bool few;                 // INCOMPLETE because fewer workers came than min_workers
  uint64_t idle_since_us;   // 0: a worker is connected
  uint64_t hold_until_us;   // after a restart: nothing is granted before the old workers are back, or this
  uint64_t leased_us;       // expected time of LEASED tests
  bool alone;               // an exclusive test runs, or did when it was last looked
  uint64_t alone_until_us;  // who waited for one begins to linger then
  uint32_t recalls;         // leases with `recalled`
  uint64_t steal_us;        // when it is looked again for tests to ask back, if workers are parked
  uint64_t steal_pause_us;  // not before: looking takes time for each worker
};

// queue.c
void queue_move(struct queue *queue, uint32_t test, enum queue_place to);
void queue_hand_out(struct queue *queue, uint32_t test, uint32_t slot);  // to LEASED
void queue_ready(struct queue *queue, uint32_t test);
void queue_unready(struct queue *queue, uint32_t test);
// LEASED before, and not run: READY, among those to run again if it is a suspect.
void queue_give_back(struct queue *queue, uint32_t test);
// Workers vanished with it in their hands, or its interpreter crashed: it runs on a worker that holds nothing else.
bool queue_is_suspect(const struct queue_test *test);
uint32_t queue_lost(const struct queue_test *test);  // how many different workers vanished
void queue_pump(struct queue *queue, uint64_t now_us, struct effects *effects);
void queue_set_state(struct queue *queue, enum queue_state state, struct effects *effects);
void queue_settle(struct queue *queue, uint64_t now_us, struct effects *effects);
void queue_list_add(struct queue *queue, enum queue_list list, uint32_t worker);
void queue_list_remove(struct queue *queue, enum queue_list list, uint32_t worker);
bool queue_ended(const struct queue *queue);
void queue_drain(struct queue *queue, uint32_t worker, struct effects *effects);
// The worker was told to go, and is no longer counted as connected.
void queue_send_home(struct queue *queue, uint64_t now_us, uint32_t worker, struct effects *effects);

// queue_again.c
void queue_put_again(struct queue *queue, uint32_t test, uint32_t avoid);
void queue_hold(struct queue *queue, uint32_t test);    // until its skip is confirmed
void queue_unhold(struct queue *queue, uint32_t test);  // if it is held: READY as others are
void queue_take_again(struct queue *queue, uint32_t test);

// queue_skip.c
void queue_skip_release(struct queue *queue);
// An attempt, live or replayed: a skip for a reason, or a run, which contradicts the others' skips. True: a skip of a
// worker that had skipped the test before.
bool queue_skip_learn(struct queue *queue, uint32_t worker, uint32_t test, enum queue_status status, uint32_t reason);
// Whether this skip, which was learned, settles the verdict.
bool queue_skip_settles(struct queue *queue, uint32_t worker, uint32_t test, bool repeated);
bool queue_skip_has_voted(const struct queue *queue, uint32_t worker, uint32_t test);
// Some worker has skipped the test.
bool queue_skip_voted(const struct queue *queue, uint32_t test);
// The worker skipped the test, or lacks what its file needs.
bool queue_skip_bars(const struct queue *queue, uint32_t worker, uint32_t test);
// It is barred, and for another worker that is there.
bool queue_skip_elsewhere(const struct queue *queue, uint32_t worker, uint32_t test);
// Workers are not all alike: what one does not get another one may.
bool queue_skip_differs(const struct queue *queue);
// Held tests for the worker; `last`: nothing else is left for it.
uint32_t queue_skip_pick(struct queue *queue, uint32_t worker, uint32_t *out, uint32_t room, bool last);
// Of what the scheduler picked, holds back what the worker lacks something for, and returns how many are left.
uint32_t queue_skip_filter(struct queue *queue, uint32_t worker, uint32_t *tests, uint32_t count);
void queue_skip_tick(struct queue *queue, uint64_t now_us, struct effects *effects);
uint64_t queue_skip_deadline(const struct queue *queue);
void queue_skip_check(const struct queue *queue);

// queue_rerun.c
// Was the node here before, as another try of the job?
bool queue_node_returns(const struct queue *queue, const struct queue_join *join);
// The worker, which was just added, is a job run again: opens tests, and clears facts by that. *tests receives their
// positions, which the caller frees; returns their number, 0 without *tests.
uint32_t queue_rerun(struct queue *queue, uint32_t worker, const struct queue_join *join, bool known, uint32_t **tests,
                     struct effects *effects);
void queue_reopen_test(struct queue *queue, uint32_t test);
bool queue_fact_open(const struct queue_worker *worker);
void queue_fact_count(struct queue *queue, enum queue_fact fact, int by);
// An attempt of the worker, live or replayed. If the test is evidence, the worker owes the end of its session: an error
// outside of tests may come no sooner. If it vanishes before, or leaves early, the fact is its own from then on.
void queue_fact_owes(struct queue *queue, uint32_t worker, uint32_t test);
// Some worker that owes has vanished.
bool queue_fact_hangs(const struct queue *queue);
void queue_fact_learn(struct queue *queue, uint32_t worker, enum queue_leaving how, struct effects *effects);
// The worker ran the test, and its verdict is not, or no longer, the worker's.
void queue_note_run(struct queue *queue, uint32_t worker, uint32_t test);

// It ran a test of which no record is kept, so that nobody can tell after a restart which it was.
void queue_note_unstored(struct queue *queue, uint32_t worker);

// queue_worker.c
// It is there to run tests, or will be back: connected, silent for less than a lease's time, or awaited after a
// restart.
bool queue_present(const struct queue *queue, uint32_t worker);
// A worker that is connected, or is awaited after a restart, and not only to bring results, beside this one.
bool queue_others_run(const struct queue *queue, const struct queue_worker *worker);
void queue_go_on(struct queue *queue, bool rerun, struct effects *effects);

// queue_lease.c
struct queue_lease *queue_lease_new(struct queue *queue, uint64_t id, uint32_t worker, const uint32_t *tests,
                                    uint32_t count, uint32_t *slot);
void queue_lease_drop(struct queue *queue, uint32_t slot);
// Ends the worker's live leases: what was not reported is READY again. `lost`: it vanished, and each test it held is
// charged.
void queue_lease_end_all(struct queue *queue, uint32_t worker, bool lost, struct effects *effects);
struct queue_lease *queue_lease_find(struct queue *queue, uint32_t worker, uint64_t id, uint32_t *slot);
uint32_t queue_lease_place(struct queue_lease *lease, uint32_t test);  // UINT32_MAX: not in it
// It holds suspects, and gets nothing until they are run.
bool queue_runs_alone(const struct queue *queue, const struct queue_worker *worker);
// Grants what fits the worker; false: nothing.
bool queue_try_grant(struct queue *queue, uint64_t now_us, uint32_t worker, struct effects *effects);

// queue_steal.c
// Asks tests back for those who are parked.
void queue_steal(struct queue *queue, uint64_t now_us, struct effects *effects);
uint64_t queue_steal_deadline(const struct queue *queue);
// A recall of the lease, if there is one, is answered or has become pointless.
void queue_recall_over(struct queue *queue, struct queue_lease *lease);
// Of a live lease, what its worker does not name any more is not in its hands. False: that was all of it.
bool queue_lease_keep_only(struct queue *queue, uint32_t slot, const uint32_t *tests, uint32_t count);

// queue_sick.c
// The worker is suspected of being sick, or known to be, while there is another one.
bool queue_suspects(const struct queue *queue, uint32_t worker);
// Whether its failure of this test settles nothing, but is tried on another worker; it is then counted as that.
bool queue_sick_probes(struct queue *queue, uint32_t worker, uint32_t test);
// An attempt that counts: what it says of a suspect that failed the test before.
void queue_sick_learn(struct queue *queue, uint32_t worker, uint32_t test, bool failed);
// Between two messages: gives back what sick workers settled, and sends them home.
void queue_sick_fence(struct queue *queue, uint64_t now_us, struct effects *effects);

// queue_verdict.c
bool queue_failing(enum queue_verdict verdict);
uint32_t queue_failing_count(const struct queue *queue);
void queue_set_verdict(struct queue *queue, uint32_t test, uint32_t worker, enum queue_status status);
void queue_clear_verdict(struct queue *queue, uint32_t test);

#endif
