// The database of builds, results and history: one SQLite file, one writing connection on a thread of its own.
//
// The loop hands over records; the thread takes what has accumulated about every STORE_WINDOW_US, writes it in one
// transaction (BEGIN IMMEDIATE, WAL, synchronous=FULL), and after COMMIT publishes the ticket of the last record and
// wakes the loop by an eventfd. Only then does the loop acknowledge. Short reads go through a read-only connection of
// the loop thread, those of questions through a view (store_view_new) of another one. A failed commit ends the process;
// a full disk does not (store_full). SQL stands in store_*.c and schema.sql alone.
#ifndef SERVER_STORE_H
#define SERVER_STORE_H

#include "config/base.h"
#include "server/estimate.h"
#include "server/rows.h"

struct store;

enum {
  STORE_WINDOW_US = 5000,
  STORE_STALL_US = 10000000,  // a commit that takes this long counts as a full disk
  STORE_SESSION_BYTES = 16,
  STORE_DIGEST_BYTES = 32,
};

struct store_options {
  const char *path;          // the database; FILE-wal, FILE-shm, FILE.lock, FILE.ballast stand beside it
  uint64_t ballast_bytes;    // kept free for the day the disk is full; 0: none
  uint64_t keep_results_us;  // raw results older than this go at the next look, once a minute; 0: kept for ever
  enum store_quarantine { STORE_QUARANTINE_OFF, STORE_QUARANTINE_REPORT, STORE_QUARANTINE_AUTO } quarantine;
};

struct store_error {
  char text[768];
};

// Opens or creates the database: locks it, by whatever name it goes (a second daemon is refused with a message that
// names the holder's pid where it can be known), migrates by user_version, runs quick_check after an unclean stop,
// raises the epoch by one and writes it, starts the thread. NULL and *error on failure.
struct store *store_open(const struct store_options *options, struct store_error *error);
// Writes what is pending, checkpoints, stops the thread, closes.
void store_close(struct store *store);

uint32_t store_epoch(const struct store *store);       // of this run; never repeats
uint64_t store_next_build(const struct store *store);  // first unused build id; the loop counts on from it
int store_eventfd(const struct store *store);          // readable when store_poll has something to say

// ---- Writing: records of the loop thread. Pointers in a record are the caller's again when the call returns (copied).

struct store_build {
  uint64_t build;  // id chosen by the loop
  const char *project, *suite, *ext, *commit, *branch;
  uint64_t started_ms;  // wall clock
  uint32_t retries, max_failures, on_retry;
  uint64_t linger_us, timeout_per_test_us;
  bool by_file, by_class;
  uint32_t order;           // Order of shardd.proto
  const char *tokens;       // a line NAME=COUNT for each token with several copies
  uint32_t min_workers;     // that must have come
  uint64_t min_workers_us;  // within this time
  uint64_t ended_ms;        // read back alone; 0: it has not ended
  bool untrusted;           // it teaches nothing; not read back
  bool trunk;               // its failures count towards broken; not read back
  const char *facts;        // of store_identity; not written here
  uint32_t mixed;
  uint8_t sources[STORE_DIGEST_BYTES];
  bool has_sources;
};

// What a build is of, as far as its workers have told by now. It replaces what was known.
struct store_identity {
  uint64_t build;
  const char *commit;
  const char *facts;  // a line NAME=VALUE each
  uint32_t mixed;
  uint8_t sources[STORE_DIGEST_BYTES];
  bool has_sources;
};

struct store_worker {
  uint64_t build;
  uint32_t worker;  // number within the build
  const char *node, *attempt, *host;
  uint8_t session[STORE_SESSION_BYTES];
  uint64_t joined_ms;
  bool brings;                        // it ran without the server, and only brought what it had
  uint32_t part, parts;               // and that was this part, from 1, of so many; 0: no fixed part
  uint32_t completed, again, opened;  // as in queue_past
  uint32_t fact, cleared;             // read back alone: store_put_left and store_put_cleared write them
};

// A list in collection order. Equal lists of one suite share one row.
struct store_list {
  uint64_t build;
  uint32_t count, file_count;
  const char *const *id;    // NUL-terminated, unique
  const char *const *file;  // names, file_count of them
  const uint32_t *file_of;  // per test; UINT32_MAX: none
  const uint32_t *unit_of;  // per test
  const char *marks;        // groups and tokens, marks_text; marks_bytes 0: none
  size_t marks_bytes;
};

enum store_result_flags {
  STORE_SETTLES = 1,  // this attempt settled the test's verdict
  STORE_LATE = 2,     // of an expired lease, accepted all the same
  STORE_EXTRA = 4,    // came after the verdict: evidence only
  STORE_FIRST = 8,    // first test of its process
  STORE_LOST = 16,    // stands for workers that vanished; durations are void
  STORE_MUTED = 32,   // it settled the verdict muted
};

struct store_result {
  uint64_t build;
  uint32_t test;     // row id, from store_listed or recovery
  uint32_t attempt;  // from 1, unique per build and test
  uint32_t worker;
  uint32_t status;  // Status of shardd.proto
  uint32_t flags;
  uint32_t round;
  uint64_t start_ms;  // wall clock
  uint32_t setup_us, call_us, teardown_us;
  const char *text;  // failure output, NULL: none
  size_t text_bytes;
  uint64_t seq;  // of the worker's message; the row of the worker remembers the highest (0: none)
};

// Each returns the record's ticket: increasing, durable when store_durable() has reached it.
uint64_t store_put_build(struct store *store, const struct store_build *build);
uint64_t store_put_identity(struct store *store, const struct store_identity *identity);
uint64_t store_put_worker(struct store *store, const struct store_worker *worker);
uint64_t store_put_list(struct store *store, const struct store_list *list);  // answered by a store_listed
uint64_t store_put_result(struct store *store, const struct store_result *result);
// `n` of them, at least 1, which are durable together; the ticket is that of the last.
uint64_t store_put_results(struct store *store, const struct store_result *results, size_t n);
// A re-run of part of a build: these tests (row ids) lose their verdict. round counts from 2.
uint64_t store_put_round(struct store *store, uint64_t build, uint32_t round, const uint32_t *tests, size_t count,
                         uint64_t at_ms);
// The build's state (BuildState). An ended state also teaches durations and flakiness, in slices between commits,
// exactly once per round however often the daemon is killed meanwhile. `text` may be NULL: why it ended so.
uint64_t store_put_state(struct store *store, uint64_t build, uint32_t state, uint64_t at_ms, const char *text);
// Beside a fact: the worker ran tests of which there is no record.
enum { STORE_FACT_KIND = 3, STORE_FACT_UNSTORED = 4 };
// A worker left; `late`: errors that belong to no running test, NULL: none. `fact`: what it left behind (queue_fact),
// and the round in which that was cleared already, 0: it was not.
uint64_t store_put_left(struct store *store, uint64_t build, uint32_t worker, uint64_t at_ms, const char *late,
                        uint32_t fact, uint32_t cleared);
// The fact is cleared in this round. Of a worker that has not left, and is taken for lost, it is that its test process
// failed.
uint64_t store_put_cleared(struct store *store, uint64_t build, uint32_t worker, uint32_t round);

// Puts a test into quarantine, or changes how it is there; life_ms 0 takes it out. It holds for lists that come later.
// store_mute_check says whether it may.
struct store_mute {
  const char *project, *suite, *test;
  const char *origin, *reason, *who, *ticket;  // origin: manual or file
  uint64_t at_ms, life_ms;
  bool extend;  // at the end, once more if it is still flaky
};
enum { STORE_MUTE_AUTO_DAYS = 14, STORE_MUTE_DAYS_MAX = 30, STORE_MUTE_LEAST = 20 };
uint64_t store_put_mute(struct store *store, const struct store_mute *mute);
// 0; -1 and *error: the test is unknown or broken, is not muted (life_ms 0), or the quarantine is full: it holds at
// most 20 tests of a suite, or 1 % of them if that is more.
int store_mute_check(struct store *store, const struct store_mute *mute, struct store_error *error) MUST_CHECK;

// Durations that were measured elsewhere, as one run of each test: what is expected of them until they are timed here.
// Tests that have been timed here keep what was measured. Makes project, suite, files and tests that are not there yet.
struct store_import {
  const char *project, *suite;
  uint64_t at_ms;
  uint32_t count, file_count;
  const char *const *id, *const *file;
  const uint32_t *file_of;  // per test; UINT32_MAX: none
  const uint64_t *us;       // per test
};
uint64_t store_put_import(struct store *store, const struct store_import *import);

// True when the disk is full, or records have waited in a commit for longer than STORE_STALL_US: the loop then refuses
// new results with ERROR_DISK. The eventfd tells of both edges of a full disk. Pending records are kept and tried again
// each second, after giving up the ballast and running retention.
bool store_full(const struct store *store);
// Whether so much waits for the disk (LIMIT_BATCH_BYTES) that nothing more is to be put that can be sent again.
bool store_behind(struct store *store);
size_t store_pending(const struct store *store);  // records not yet durable

// A copy of the database under a plain name in its folder, in one moment's state, checked; or a check of the database
// itself. Runs beside everything else, one at a time. 0, and the eventfd tells of its end; -1 and *error.
enum store_chore_kind { STORE_CHORE_BACKUP, STORE_CHORE_CHECK };
struct store_chored {
  bool good;
  char text[1024];  // what is wrong, a line each
  uint64_t bytes;   // of the copy
  uint64_t took_us;
};
int store_chore_start(struct store *store, enum store_chore_kind kind, const char *name,
                      struct store_error *error) MUST_CHECK;
bool store_chore_done(struct store *store, struct store_chored *done);  // false: it runs

// ---- Completions, on the loop thread after the eventfd became readable.

// What the store knows of a list, in its order. Freed by the caller with store_listed_free.
struct store_listed {
  uint64_t build;
  uint32_t count, file_count;
  uint32_t *test;                    // row ids
  struct estimate_history *history;  // per test; n = 0: never seen
  bool *failed_last;                 // per test: it failed last time on the build's branch; only for ORDER_FAILED_FIRST
  uint64_t *file_setup_us;           // per file: learned cost of its set-up; 0: unknown
  bool *muted;                       // per test: in quarantine when the build's list came
  bool *puzzles;                     // per test: suspect or flaky, and of no known kind
  bool *skips;                       // per test: skipped in each of the trunk's last builds (STORE_SKIP_BUILDS)
  bool *ran;                         // per test: passed on the trunk
};

// Reads the eventfd empty; returns the next finished list, or NULL.
struct store_listed *store_poll(struct store *store);
void store_listed_free(struct store_listed *listed);
uint64_t store_durable(const struct store *store);  // highest durable ticket

// ---- Views: for one other thread, which takes a view wherever a function below wants a store, but for store_sizes.

// The store outlives it. It opens the database when it is first used.
struct store *store_view_new(struct store *store);
void store_view_free(struct store *view);
// Before the thread begins: what it reads may take so long, in µs, and is not stopped.
void store_view_allow(struct store *view, uint64_t most_us);
// From any thread: what is being read fails soon, until more is allowed.
void store_view_stop(struct store *view);
// On the view's thread, before it reads. Waits a moment when the log is long, so that it is checkpointed in between. 0;
// -1 and *error.
int store_view_open(struct store *view, struct store_error *error) MUST_CHECK;
bool store_view_over(const struct store *view);  // it was stopped, or its time is up: reads fail
void store_view_tell(struct store *view);        // wakes the loop: the store's eventfd becomes readable

// ---- Reading, on the loop thread or through a view.

// Calls back with the whole state of a build, in this order: build, workers by number, the list (once, if it is known),
// rounds and results interleaved as they happened (all results of round r before round r+1; within a round, by test and
// attempt). Strings live until the callback returns.
struct store_replay {
  void (*on_build)(void *arg, const struct store_build *build, uint32_t state, uint32_t round);
  void (*on_worker)(void *arg, const struct store_worker *worker, uint64_t acked_seq, bool left, const char *late);
  void (*on_list)(void *arg, const struct store_list *list, const struct store_listed *listed);
  void (*on_round)(void *arg, uint32_t round, const uint32_t *tests, size_t count);
  void (*on_result)(void *arg, const struct store_result *result);  // only skipped ones have their text
  void *arg;
};

// The ids of builds that have not ended. The caller frees *ids. 0 or -1 (logged).
int store_unfinished(struct store *store, uint64_t **ids, size_t *count);
// The id of a build, 0 when there is none. ext "" means the newest of the suite.
uint64_t store_find(struct store *store, const char *project, const char *suite, const char *ext);
// The wall time of a build by what is on disk, as `shard builds` has it. 0 or -1: it is not there yet, or cannot be
// read (logged).
int store_wall_us(struct store *store, uint64_t build, uint64_t *us) MUST_CHECK;
// The newest of a branch, "": of any.
uint64_t store_find_newest(struct store *store, const char *project, const char *suite, const char *branch);
int store_replay_build(struct store *store, uint64_t build, const struct store_replay *replay);  // 0 or -1 (logged)

// Estimates for ids that are in no build: for `shard local --dry-run`. NULL on failure; freed by the caller.
struct store_listed *store_lookup(struct store *store, const char *project, const char *suite,
                                  const struct store_list *list);

// What a forecast needs of a suite: the list of its newest build, with what its tests are expected to take. Freed by
// the caller with store_expected_free.
struct store_expected {
  uint32_t count, file_count;
  uint32_t *test, *file;    // row ids, for store_test_name and store_file_name
  uint32_t *file_of;        // per test; UINT32_MAX: none
  uint64_t *expected_us;    // per test, or what it took in that build; 0: never timed
  uint64_t *file_setup_us;  // per file; 0: unknown
  // What a worker's life cost beside its tests: of each of the last builds the least of any worker (the others waited
  // more), of those the median. Nothing that a CI does before `shard run` is in it.
  uint64_t boot_us;
  uint32_t boot_builds;  // that it was seen in; 0: unknown
};
// NULL and *error: the suite is not known, has no list, or the database cannot be read.
struct store_expected *store_expected(struct store *store, const char *project, const char *suite,
                                      struct store_error *error);
void store_expected_free(struct store_expected *expected);
// Names of rows, NUL-terminated; the caller frees them. "" when there is no such row.
char *store_test_name(struct store *store, uint32_t test);
char *store_file_name(struct store *store, uint32_t file);

// What the database takes, and what is kept in it. 0 where it cannot be told.
struct store_sizes {
  uint64_t database_bytes, log_bytes, ballast_bytes;
  uint64_t reusable_bytes;    // within the database, of what was removed
  uint64_t free_bytes;        // of its disk
  uint64_t keep_results_us;   // 0: for ever
  uint64_t results_since_ms;  // start of the oldest build that has its results
  uint64_t builds_with_results, builds;
};
void store_sizes(struct store *store, struct store_sizes *sizes);

// Of a skip's text, the bytes that are its reason: the first line, at most LIMIT_SKIP_REASON_BYTES.
size_t store_reason_bytes(const char *text, size_t n);

// Admin tables. rows is initialised by the call and released by the caller. 0; -1 and *error.
struct store_query {
  const char *project, *suite;  // suite "": all of the project
  uint64_t build;               // for workers, report
  const char *test;             // for test
  uint32_t limit;
  uint64_t since_ms;   // what happened before is left out; 0: nothing is
  const char *branch;  // NULL or "": all
  uint64_t after;      // report: row id of the test to continue behind
};
int store_query_builds(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error);
int store_query_workers(struct store *store, const struct store_query *query, struct rows *rows,
                        struct store_error *error);
int store_query_slow(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error);
int store_query_flaky(struct store *store, const struct store_query *query, struct rows *rows,
                      struct store_error *error);
int store_query_test(struct store *store, const struct store_query *query, struct rows *rows,
                     struct store_error *error);
// Each with what follows from flaky.h and estimate.h; docs/history.md explains the columns.
int store_query_broken(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error);
int store_query_slower(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error);
// Changes of states and of quarantine, newest first; of one test when query->test is not "".
int store_query_log(struct store *store, const struct store_query *query, struct rows *rows, struct store_error *error);
// What one test is taken for, in each suite that has it; neither age nor branch narrow it.
int store_query_state_of(struct store *store, const struct store_query *query, struct rows *rows,
                         struct store_error *error);
// Muted tests, expired ones first; and unless the quarantine is off, those that would enter it (candidate).
int store_query_quarantine(struct store *store, const struct store_query *query, struct rows *rows,
                           struct store_error *error);
// The expected duration of each test of one suite that has one, by row id; rows->next is that of the last, if there are
// more.
int store_query_durations(struct store *store, const struct store_query *query, struct rows *rows,
                          struct store_error *error);
// One row about one build.
int store_query_build(struct store *store, const struct store_query *query, struct rows *rows,
                      struct store_error *error);
// One row per worker of a build; "bar" has STORE_BAR characters, one per equal part of the build's time: 0 to 8, the
// eighths of it that the worker was busy, or x when an attempt that failed ended in it.
enum { STORE_BAR = 60 };
int store_query_timeline(struct store *store, const struct store_query *query, struct rows *rows,
                         struct store_error *error);
// The workers of a build that skipped tests which ran elsewhere, a row for each reason, those with most tests first.
// Before them, without a worker, how many tests were skipped that ran in the trunk's last builds before, and on which
// branches.
int store_query_skips(struct store *store, const struct store_query *query, struct rows *rows,
                      struct store_error *error);
// The workers of a build that left an error outside of tests behind ("error"), or whose test process failed or was
// stopped ("process"), with the beginning of what they said; whether it stands, or all of it has run again since.
int store_query_errors(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error);
// The tables above end early where the answer would not fit a frame: rows->next is then the number of rows to skip, as
// `after`, for what follows.
//
// One row per attempt, and one with attempt 0 for a test without any, in collection order, at most `limit` tests and
// about 900 KiB a page; rows->next continues. Columns: position (from 0), id, file, attempt, status (number of Status),
// flags (store_result_flags), round, worker, node, host, start, setup, call, teardown, text.
int store_query_report(struct store *store, const struct store_query *query, struct rows *rows,
                       struct store_error *error);

#endif
