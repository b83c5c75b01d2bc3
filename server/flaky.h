// Is a failure the test's, the code's, or the machine's? Pure arithmetic of the flaky model. Called by the store when a
// build closes: it sorts the rows of the build into trials, one per test, and each trial changes what is remembered of
// its test. Times are wall clock in ms (evidence ages in days). Units and formulas stand at each function; they were
// chosen by simulation (docs/history.md).
#ifndef SERVER_FLAKY_H
#define SERVER_FLAKY_H

#include "config/base.h"

enum {
  FLAKY_EVENTS_MAX = 512,  // newest events of one test that are judged
  FLAKY_NEW_TRIALS = 20,   // with fewer a test is new
  FLAKY_CLUSTER = 5,       // flips of one worker and build that count in full together
  FLAKY_KEYS = 16,         // members of a set that are told apart
};
#define FLAKY_DAY_MS UINT64_C(86400000)
#define FLAKY_WINDOW_MS (14 * FLAKY_DAY_MS)  // events older than this prove nothing; also the half-life of F and R

// In order of rising trouble; numbers stand in the database.
enum flaky_state { FLAKY_NEW, FLAKY_HEALTHY, FLAKY_SUSPECT, FLAKY_FLAKY, FLAKY_BROKEN };
enum flaky_kind { FLAKY_KIND_UNKNOWN, FLAKY_KIND_RANDOM, FLAKY_KIND_ORDER, FLAKY_KIND_HOST, FLAKY_KIND_CLUSTER };

// ---- Step 1: whose fault is it? First attempts of a worker in a build, or of a whole build.
struct flaky_first {
  uint32_t n, failed;
};

// A worker is sick when n ≥ 10, x ≥ 5, x/n ≥ 0.2 and x/n ≥ 4ρ, with n and x its first attempts and those that failed,
// and ρ = (X−x+1)/(N−n+1) the rate of the rest of the build. `build` counts the worker as well. Its rows are no
// evidence of anything.
bool flaky_worker_sick(const struct flaky_first *worker, const struct flaky_first *build);
// A build is sick when at least 20 % of at least 20 tests failed and the last build that taught had less than 5 %.
// `build` is without the sick workers' rows; last->n = 0: there was none, and nothing is sick.
bool flaky_build_sick(const struct flaky_first *build, const struct flaky_first *last);

// ---- Step 2: a trial is one test in one build, sick rows left out.
enum flaky_saw { FLAKY_SAW_FAILURE = 1, FLAKY_SAW_PASS = 2, FLAKY_SAW_BOTH = 3 };

enum flaky_flags {        // of an event; numbers stand in the database
  FLAKY_FAILED_SAME = 1,  // it failed again on the worker it had failed on
  FLAKY_PASSED_SAME = 2,  // it passed on the worker it had failed on
  FLAKY_PASSED_ELSEWHERE = 4,
  FLAKY_PASSED_OTHER_HOST = 8,
  FLAKY_HIT = 16,       // it made its build fail
  FLAKY_ISOLATED = 32,  // a lone failure between passes of other commits
};

struct flaky_keys {  // a small set of names as numbers; what comes when it is full is not kept
  uint64_t key[FLAKY_KEYS];
  uint32_t n;
};

struct flaky_trial {
  uint64_t at_ms;
  uint64_t build, commit;          // commit: flaky_commit
  unsigned before;                 // flaky_saw of the build's earlier rounds
  unsigned now;                    // flaky_saw of this round and the earlier ones
  unsigned other;                  // flaky_saw of other builds of the commit
  uint32_t fails;                  // failing attempts of this round
  struct flaky_keys fail_workers;  // flaky_worker of those, each once
  uint32_t worker;                 // of the build's first failing attempt
  uint64_t host;                   // its host, as a number; 0: unknown
  unsigned flags;                  // flaky_flags, without FLAKY_ISOLATED
  uint32_t cluster;                // k: flips of this build on that worker, this one included
  uint64_t branch;                 // flaky_name
  bool trunk;  // of the trunk: elsewhere a failure without a pass says nothing of the code that all share
};

// A failure of code that is good, which is what a flip is.
struct flaky_event {
  uint64_t at_ms, build, commit, host;
  uint32_t worker, cluster;
  unsigned flags;
  double weight;
};

// What is remembered of one test. Zeroed: never seen.
struct flaky_memory {
  double f, r;               // flips and good trials, decayed as of at_ms
  uint64_t at_ms, since_ms;  // since_ms: of the state
  uint64_t cleared_ms;       // events up to here were forgiven
  uint64_t last_event_ms;
  uint64_t last_good, first_bad;  // builds; first_bad 0: no failures without a pass since last_good
  uint64_t bad_commit, bad_ms;    // of the newest failure since then
  uint32_t bad_worker;
  uint32_t trials, clean;             // clean: good trials without failure since the last event
  uint32_t streak, streak_attempts;   // commits and attempts that failed since last_good
  struct flaky_keys streak_workers;   // flaky_worker of those
  struct flaky_keys streak_branches;  // where it failed, and did not pass since
  enum flaky_state state;
  bool flagged;  // flaky, and not clean for long enough since
};

// A number for a commit; a build without one is a commit of its own. FNV-1a, 64 bits; never 0.
uint64_t flaky_commit(const char *commit, uint64_t build);
// A number for any name; 0 for the empty one.
uint64_t flaky_name(const char *name);
// A number for a worker as far as builds can tell them apart: a node on a host. One without a name goes by its number
// in the build.
uint64_t flaky_worker(const char *host, const char *node, uint32_t number);
void flaky_keys_add(struct flaky_keys *keys, uint64_t key);  // 0 is nobody

// True when this trial is a flip: it failed although the commit is good, and earlier rounds had not shown it yet.
bool flaky_flips(const struct flaky_trial *trial);

// Takes a trial in. With G good trials, R counts those and F the flips among them; each is halved in FLAKY_WINDOW_MS.
//   good:     passed here or in another build of the commit: R+1; if it failed as well: F+1, weight min(1, 5/k)
//   resolved: passed here, and only failed in the commit's other builds: their trial is a flip after all, F+1, R+1
//   all-fail: neither; on the trunk the streak of failing commits grows
//   isolated: on the trunk, a pass, after exactly one failing attempt, of another commit, after a pass: F+1, R+1,
//             weight 0.5
// A pass on each of the trunk's branches on which it failed ends the streak; a pass on any of them when the failures
// are of that one commit, are older than FLAKY_WINDOW_MS, or when a branch is unknown. True, and *event: it was a flip;
// the caller keeps the event for flaky_judge.
bool flaky_learn(struct flaky_memory *memory, const struct flaky_trial *trial, struct flaky_event *event);

// The state after the trial, and why; true when it changed. events: those of the test, in any order, at most
// FLAKY_EVENTS_MAX. The first that holds:
//   broken:  a·ln(0.98 / clamp(θ̂, 0.005, 0.9)) ≥ 6.9 with a failing attempts in the streak, over ≥ 2 commits, or
//            a ≥ 3 on ≥ 2 workers. Until the streak ends.
//   flaky:   Σ weight ≥ 2 within FLAKY_WINDOW_MS over ≥ 2 commits. Until `clean` reaches clamp(5/θ̂, 50, 500), or 100
//            when no event came for FLAKY_WINDOW_MS: then F is divided by 4 and the events so far are forgiven.
//   suspect: Σ weight > 0.   new: fewer than FLAKY_NEW_TRIALS.   healthy: otherwise.
bool flaky_judge(struct flaky_memory *memory, const struct flaky_event *events, size_t count, uint64_t now_ms);

// What the failures have in common, over the events of the window:
//   cluster: ≥ 70 % of ≥ 3 events came with more than FLAKY_CLUSTER flips on their worker
//   host:    ≥ 3 events, all on one host, and passes on another
//   order:   of ≥ 3 events that tried the failing worker again, ≥ 70 % failed there again and passed elsewhere
//   random:  the others of those
enum flaky_kind flaky_kind_of(const struct flaky_event *events, size_t count, uint64_t now_ms);

// θ̂, the chance to fail although the code is good: (F+0.02)/(R+20.02), a Beta prior of mean 0.1 %; lo and hi are the
// 5 % and 95 % points of Beta(F+0.02, R−F+20).
struct flaky_rate {
  double theta, lo, hi;
};
struct flaky_rate flaky_rate(double f, double r);
double flaky_theta(double f, double r);  // θ̂ alone, which is cheap

const char *flaky_state_name(enum flaky_state state);
const char *flaky_kind_name(enum flaky_kind kind);  // "" when unknown

#endif
