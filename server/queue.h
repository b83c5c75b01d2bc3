// One build's queue: which test is where, who holds what until when, and what the verdict is. Pure: time comes in as
// now_us (monotonic, without the gaps of a stalled loop), everything to be done goes out as effects.
//
// Each test is READY (free in the scheduler, or waiting in the list of those to run again), LEASED (in exactly one live
// lease) or DONE (it has its verdict). queue_move is the one function that changes that. Invariants: docs/reliability
// of the protocol notes; queue_check asserts them.
//
// Tests are named by position in collection order. Workers are numbered in the order they joined.
#ifndef SERVER_QUEUE_H
#define SERVER_QUEUE_H

#include "server/effect.h"
#include "server/sched.h"
#include "server/tokens.h"

struct queue;

// The numbers of Status, BuildState, OnRetry and Retried in shardd.proto (asserted in deliver.c).
enum queue_status {
  QUEUE_PASSED = 1,
  QUEUE_FAILED,
  QUEUE_ERROR,
  QUEUE_SKIPPED,
  QUEUE_XFAILED,
  QUEUE_XPASSED,
  QUEUE_CRASHED,
  QUEUE_TIMED_OUT,
};
enum queue_state { QUEUE_COLLECTING = 1, QUEUE_RUNNING, QUEUE_COMPLETE, QUEUE_INCOMPLETE, QUEUE_ABORTED };
// QUEUE_AGAIN: what is unresolved, and when nothing is, what the node decided before.
enum queue_on_retry { QUEUE_AGAIN, QUEUE_MINE, QUEUE_ALL, QUEUE_UNRESOLVED };
enum queue_retried { QUEUE_RETRIED_UNKNOWN, QUEUE_RETRIED_NO, QUEUE_RETRIED_YES };

// How a worker leaves.
enum queue_leaving {
  LEAVING_WELL,    // after its whole session, without an error
  LEAVING_LATE,    // with an error outside of any test
  LEAVING_EARLY,   // told to stop, or stopped by an option of its runner
  LEAVING_BROKEN,  // its test process failed
};
// What it leaves behind: nothing, errors outside of tests, or a test process that failed after it had run tests.
enum queue_fact { FACT_NONE, FACT_LATE, FACT_BROKEN };
// Why a job that is run again opened tests. The numbers are stored.
enum queue_opening {
  AGAIN_NONE,        // it is not one
  AGAIN_NOTHING,     // it opened none
  AGAIN_FAILED,      // they failed
  AGAIN_LATE,        // they ran before an error outside of tests
  AGAIN_UNRESOLVED,  // both
  AGAIN_DECIDED,     // its node decided them before
  AGAIN_ALL,
};

enum queue_verdict {
  VERDICT_NONE,
  VERDICT_PASSED,
  VERDICT_FLAKY,  // passed after failing
  VERDICT_FAILED,
  VERDICT_SKIPPED,
  VERDICT_CRASHED,
  VERDICT_MUTED,  // failed or crashed, and does not count
};

struct queue_policy {
  uint32_t retries;       // further attempts after a failing one
  uint32_t max_failures;  // failing verdicts that end the build; 0: no bound
  uint64_t linger_us;     // how long a worker with nothing to do waits for what others hold
  uint64_t lease_ttl_us;  // silence that ends a worker's leases
  uint64_t idle_us;       // time without workers that ends the build
  enum queue_on_retry on_retry;
  bool whole_files, whole_units;  // never split over workers
  bool in_order;                  // every worker runs in collection order: nothing is asked back
  bool limits_tests;              // the user said how long a test may take; else its cap is a guess
  uint32_t min_workers;           // fewer that have come min_workers_us after the start end the build; 0: no bound
  uint64_t min_workers_us;
};

struct queue *queue_new(const struct queue_policy *policy, uint32_t epoch, uint64_t now_us);
void queue_free(struct queue *queue);
// New times after a reload, or a bound on failures that a runner brought.
void queue_set_times(struct queue *queue, uint64_t lease_ttl_us, uint64_t idle_us);
void queue_set_max_failures(struct queue *queue, uint32_t max_failures);

// The list is known: every test READY, the build RUNNING (COMPLETE when the list is empty). `tokens`, which becomes the
// queue's, says which tests need some; NULL: none does.
void queue_set_list(struct queue *queue, uint64_t now_us, const struct sched_list *list, struct tokens *tokens,
                    struct effects *effects);
// Before its first verdict: this test runs as any other, but what would fail it makes it VERDICT_MUTED, which is no
// failing verdict.
void queue_mute(struct queue *queue, uint32_t test);
// Before its first verdict: what the trunk's last builds say of the test. It was skipped in all of them; or it ran.
void queue_skip_history(struct queue *queue, uint32_t test, bool skipped, bool ran);
bool queue_has_list(const struct queue *queue);

// ---- workers

struct queue_join {
  const char *node;     // "": unknown
  const char *attempt;  // opaque token of this try of the job
  enum queue_retried retried;
  uint32_t node_total;  // declared workers, 0: unknown
  bool brings;          // it only brings results (queue_claim): no job that is run again
};

// A worker comes. A job that is run again (its node was here with another attempt, or it says so) makes tests READY
// again, as queue_rerun.c and the policy's on_retry say; *reopened receives their positions (caller frees),
// *reopened_count their number, and a CLEARED effect comes for each fact that is cleared by that. Returns the worker's
// number; UINT32_MAX when the build holds LIMIT_WORKERS.
uint32_t queue_join(struct queue *queue, uint64_t now_us, const struct queue_join *join, uint32_t **reopened,
                    uint32_t *reopened_count, struct effects *effects);
// So many nodes are declared to take part, as a worker that returns says; the highest number counts.
void queue_declare(struct queue *queue, uint32_t nodes);
// Its connection is lost; its leases live on until their deadline.
void queue_detach(struct queue *queue, uint64_t now_us, uint32_t worker);
// It is back on a new connection; an INCOMPLETE build goes on.
void queue_attach(struct queue *queue, uint64_t now_us, uint32_t worker, struct effects *effects);
// It names a lease that it still holds, from before a lost connection or a restart: what is READY becomes its again; of
// a live one, what it neither names nor has reported was handed back and is READY. False: nothing of it is the worker's
// any more (its results are accepted as late ones), or the lease cannot be one: its id was never granted, or its tests
// are not the list's, each once.
bool queue_adopt(struct queue *queue, uint64_t now_us, uint32_t worker, uint64_t lease, const uint32_t *tests,
                 uint32_t count);
// It has run these tests without the server. They become a lease of the worker's, for which a LEASE effect comes and
// under which their results are taken; they stay where they are until then. False, and no effect: the tests are not the
// list's, each once, or the worker has no room for a lease.
bool queue_claim(struct queue *queue, uint32_t worker, const uint32_t *tests, uint32_t count, struct effects *effects);
// It is back and names the leases it holds: any other live one never reached it, its tests are READY again, uncharged.
void queue_holds_only(struct queue *queue, uint64_t now_us, uint32_t worker, const uint64_t *leases, size_t count,
                      struct effects *effects);
// Any message of the worker: it lives.
void queue_heard(struct queue *queue, uint64_t now_us, uint32_t worker);
// It wants tests: ends in exactly one LEASE, PARK or DRAIN effect now, and after a PARK later in a LEASE or DRAIN.
void queue_lease(struct queue *queue, uint64_t now_us, uint32_t worker, struct effects *effects);
// The worker's leases hold at most `tests`, 1 to LIMIT_LEASE: its leases carry names, and a message has a bound.
void queue_limit_leases(struct queue *queue, uint32_t worker, uint32_t tests);
// The worker starts a process for each lease, at this cost (µs, at least 1): its leases are made to last, and nothing
// of them is asked back.
void queue_starts_processes(struct queue *queue, uint32_t worker, uint64_t start_us);
void queue_started(struct queue *queue, uint64_t now_us, uint32_t worker, uint64_t lease, uint32_t test);
// It answers a RECALL effect: these tests of the lease will not begin there (count 0: none of them); they are READY
// again. A lease that is not the worker's, and tests that are not in it, are passed over.
void queue_released(struct queue *queue, uint64_t now_us, uint32_t worker, uint64_t lease, const uint32_t *tests,
                    uint32_t count, struct effects *effects);
// It leaves for good: what it holds goes back at once, uncharged. CLEARED effects come for facts of earlier runs of its
// job, where it is run again and leaves well.
void queue_leave(struct queue *queue, uint64_t now_us, uint32_t worker, enum queue_leaving how,
                 struct effects *effects);
// A worker that has not left was heard of within the lease_ttl (or is awaited after a restart): it may still leave with
// an error, and an ended build is not over for good.
bool queue_closing(const struct queue *queue, uint64_t now_us);
// It ended long before the restart: it is not worth waiting for who has not come back.
void queue_await_nobody(struct queue *queue);

// ---- results

enum queue_accept {
  ACCEPT_CURRENT,    // of the live lease
  ACCEPT_LATE,       // of an ended lease, no verdict yet: taken all the same
  ACCEPT_EXTRA,      // after the verdict: evidence
  ACCEPT_DUPLICATE,  // this lease reported this test already
  ACCEPT_SEALED,     // the build is over
  ACCEPT_UNKNOWN,    // no such lease, not this worker's, or the test is not in it
};

struct queue_result {
  uint32_t worker, test;
  uint64_t lease;
  enum queue_status status;
  uint64_t duration_us;
  uint32_t reason;  // SKIPPED: a number for the text that says why, 0: none does
};

// Since when a worker has a lease; UINT64_MAX: it is not one that was granted since the server's start.
uint64_t queue_lease_age_us(const struct queue *queue, uint64_t now_us, uint32_t worker, uint64_t lease);
// What a result counts as: a skip does not undo a failure, of this round or an earlier one, elsewhere. A test that
// failed where it can run must not turn green where it cannot.
enum queue_status queue_counts_as(const struct queue *queue, uint32_t test, enum queue_status status);
// Takes a result. *attempt (from 1) and *settles are set when it is to be stored (CURRENT, LATE, EXTRA).
enum queue_accept queue_result(struct queue *queue, uint64_t now_us, const struct queue_result *result,
                               uint32_t *attempt, bool *settles, struct effects *effects);

// ---- time

// Ends what is due: silent workers' leases, lingering, an idle build.
void queue_tick(struct queue *queue, uint64_t now_us, struct effects *effects);
// Ends an unfinished build without workers now, as when it had been idle for long enough.
void queue_give_up(struct queue *queue, struct effects *effects);
// When queue_tick has something to do next; UINT64_MAX: nothing is waiting for time.
uint64_t queue_deadline(const struct queue *queue);

// ---- recovery: the same state changes, from records

// What has to be on disk of a worker, beside its join. queue_past reads it.
struct queue_past {
  enum queue_fact fact;
  bool unstored;       // it ran what is in no record
  uint32_t cleared;    // of a CLEARED effect; 0: the fact is open
  uint32_t completed;  // how often the build had become COMPLETE when it came
  enum queue_opening again;
  uint32_t opened;
};
void queue_past(const struct queue *queue, uint32_t worker, struct queue_past *past);
uint32_t queue_restore_worker(struct queue *queue, const struct queue_join *join, const struct queue_past *past);
void queue_restore_left(struct queue *queue, uint32_t worker);
// `lease` and `duration_us` are not looked at.
void queue_restore_result(struct queue *queue, const struct queue_result *result, uint32_t attempt, bool settles);
// A stored EXTRA: its number is not given again, and the worker has run the test.
void queue_restore_extra(struct queue *queue, const struct queue_result *result, uint32_t attempt);
void queue_restore_round(struct queue *queue, uint32_t round, const uint32_t *tests, uint32_t count);
// Everything was replayed: works out the state. `ended`: the build had ended with this state; 0: it had not.
void queue_restored(struct queue *queue, uint64_t now_us, uint32_t ended, struct effects *effects);

// ---- reading

struct queue_counts {
  uint32_t total, ready, leased, done;
  uint32_t by_verdict[VERDICT_MUTED + 1];
  uint32_t by_status[QUEUE_TIMED_OUT + 1];  // of the attempts that settled
  uint32_t failing;                         // failed and crashed
  uint32_t workers, connected, parked;
  uint32_t late_errors, broken;  // workers with such a fact, still open
  uint64_t left_us;              // expected time of what is not done
};
void queue_counts(const struct queue *queue, struct queue_counts *counts);
enum queue_state queue_state(const struct queue *queue);
uint64_t queue_expected_us(const struct queue *queue, uint32_t test);
// INCOMPLETE for want of workers (min_workers).
bool queue_few(const struct queue *queue);
uint32_t queue_round(const struct queue *queue);
enum queue_verdict queue_verdict(const struct queue *queue, uint32_t test);
uint32_t queue_worker_count(const struct queue *queue);
// Workers that share the work: declared ones that have not left, or connected ones if those are more; at least 1.
uint32_t queue_at_work(const struct queue *queue);
bool queue_worker_connected(const struct queue *queue, uint32_t worker);
uint32_t queue_own_failing(const struct queue *queue, uint32_t worker);
// Its history calls the test flaky and cannot tell how (flaky_kind_of): where the policy allows retries, its first
// failure is tried once more on the worker that it failed on, and the policy's retries come after that.
void queue_puzzle(struct queue *queue, uint32_t test);
// How often in this round the test ran over a cap that the user did not set. The first time settles nothing: the test
// runs once more, alone and with a longer cap.
uint32_t queue_overruns(const struct queue *queue, uint32_t test);
// How slow the worker is by its finished tests; 1: as expected.
double queue_slowness(const struct queue *queue, uint32_t worker);
// The worker that settled a test's verdict, UINT32_MAX: none.
uint32_t queue_decided_by(const struct queue *queue, uint32_t test);
// The worker that a test without a verdict was leased to last, UINT32_MAX: none since the start.
uint32_t queue_last_held_by(const struct queue *queue, uint32_t test);
// The test that a worker began last and has not reported, UINT32_MAX: none.
uint32_t queue_running_test(const struct queue *queue, uint32_t worker);
// For each worker: how many tests it skipped that ran elsewhere, or go there, and the reason of `most` of them. One
// pass over tests and votes.
struct queue_lacked {
  uint32_t tests, reason, most;
};
void queue_skip_lacked(const struct queue *queue, struct queue_lacked *lacked);
// How many tests' verdict is skipped although they ran on the trunk.
uint32_t queue_skip_lost(const struct queue *queue);
// Exit code of a worker that leaves now (DESIGN 2), with a constant text that says why.
int queue_exit_code(const struct queue *queue, uint32_t worker, const char **why);
// Whether the worker is a job that is run again, why it opened tests, how many, and whether it ran any.
enum queue_opening queue_again(const struct queue *queue, uint32_t worker, uint32_t *opened, bool *ran);
// Exit code of the whole build, for `shard wait`.
int queue_build_code(const struct queue *queue, const char **why);

// Asserts every invariant; O(tests), for tests and simulation.
void queue_check(const struct queue *queue);

#endif
