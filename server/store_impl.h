// Inside of the store, shared by store*.c alone: the handle, the statements, the batch of records, and what the files
// call of each other. Which thread owns what: `writer`, `working`, `learn` belong to the store thread once it runs;
// `reader` belongs to the loop thread, that of a view to the asker's; what both touch stands under `mutex` or is
// atomic.
#ifndef SERVER_STORE_IMPL_H
#define SERVER_STORE_IMPL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "server/flaky.h"
#include "server/limits.h"
#include "server/store.h"
#include "server/store_sql.h"

enum {
  STORE_RETRY_US = 1000000,  // between tries while the disk is full
  STORE_IDLE_US = 60000000,  // between looks for raw results to drop and a ballast to restore
  STORE_WAL_PAGES = 1000,    // checkpoint when the log is longer
  STORE_WAL_KEEP_BYTES = 64 << 20,
  STORE_LOG_PAGES = STORE_WAL_KEEP_BYTES / 4096,  // of a longer log, questions leave the end of it alone now and then
  STORE_LEARN_SLICE = 2000,                       // tests taught in one transaction
  STORE_LEARN_ROWS = 10000,                       // rows read in one step before
  STORE_SKIP_BUILDS = 3,                          // builds of the trunk whose skips are looked at
  STORE_LEARN_BUILDS = 50,                        // other builds of the commit that count for flips
  STORE_KEEP_SLICE = 20000,                       // results dropped in one transaction
  STORE_KEEP_BUILDS = 100,                        // builds dropped in one transaction
  STORE_DAY_MS = 86400000,
  STORE_PLENTY_BYTES = 64 << 20,  // free beside a new ballast: the disk is no longer tight
  STORE_LEARN_BYTES = 1 << 20,    // of one slice of learning, roughly
  STORE_PAGE_BYTES = 900 * 1024,  // of an answer: it must fit one frame
  STORE_PAGE_CELLS = 49000,       // of an answer: below MSG_CELL_MAX
  STORE_ROW_BYTES = 12 * 1024,    // of one row without its text, at most
  STORE_TEST_CELLS = 15 * 200,    // of one test's attempts (LIMIT_ATTEMPTS)
  STORE_TEST_BUILDS = 10000,      // builds searched for the runs of one test
};

// Numbers of Status and BuildState in shardd.proto (asserted in store.c).
enum store_status {
  STORE_PASSED = 1,
  STORE_FAILED,
  STORE_ERRORED,
  STORE_SKIPPED,
  STORE_XFAILED,
  STORE_XPASSED,
  STORE_CRASHED,
  STORE_TIMED_OUT,
};
enum store_state {
  STORE_COLLECTING = 1,
  STORE_RUNNING,
  STORE_COMPLETE,  // this and the following have ended
  STORE_INCOMPLETE,
  STORE_ABORTED,
};
bool store_status_fails(uint32_t status);

// ---- store_sql.c: one connection with its prepared statements. Errors stick, as with a FILE: after the first one
// every call does nothing until store_sql_begin, and the end of the transaction reports it.

struct store_db {
  sqlite3 *sqlite;
  sqlite3_stmt *stmt[SQL_COUNT];  // prepared at first use
  int rc;                         // the first failure since store_sql_begin
  bool full;                      // it says that the disk, not the database, is at its end
  char why[256];                  // its text
};

struct store_arg {
  enum store_arg_type { STORE_ARG_INT, STORE_ARG_REAL, STORE_ARG_TEXT, STORE_ARG_BLOB } type;
  uint64_t value;  // the number, or bytes of the blob
  double real;
  const void *bytes;  // NULL: SQL NULL. Lives until the statement is started again
};

static inline struct store_arg store_int(uint64_t value) {
  return (struct store_arg){.type = STORE_ARG_INT, .value = value};
}

static inline struct store_arg store_real(double value) {
  return (struct store_arg){.type = STORE_ARG_REAL, .real = value};
}

static inline struct store_arg store_text(const char *text) {
  return (struct store_arg){.type = STORE_ARG_TEXT, .bytes = text};
}

static inline struct store_arg store_blob(const void *bytes, size_t n) {
  return (struct store_arg){.type = STORE_ARG_BLOB, .value = n, .bytes = bytes};
}

#define STORE_ARGS(...) \
  (const struct store_arg[]){__VA_ARGS__}, sizeof((const struct store_arg[]){__VA_ARGS__}) / sizeof(struct store_arg)

// Opens a connection of one thread. 0 or -1 with db->why set (store_sql_close is due either way).
int store_sql_open(struct store_db *db, const char *path, bool writer) MUST_CHECK;
void store_sql_close(struct store_db *db);
void store_sql_begin(struct store_db *db, bool immediate);
// COMMIT, or ROLLBACK when anything has failed. SQLITE_OK, or the failure; the text is in db->why.
int store_sql_end(struct store_db *db) MUST_CHECK;
// Makes the transaction fail with this text: the rows contradict themselves.
void store_sql_damaged(struct store_db *db, const char *why);
// Binds and starts a statement; NULL after a failure. Rows are read from the result while store_sql_row is true.
sqlite3_stmt *store_sql_start(struct store_db *db, enum store_sql which, const struct store_arg *args, size_t n);
bool store_sql_row(struct store_db *db, enum store_sql which);
void store_sql_run(struct store_db *db, enum store_sql which, const struct store_arg *args,
                   size_t n);  // no rows wanted
// The first column of the first row; 0 when there is none.
uint64_t store_sql_number(struct store_db *db, enum store_sql which, const struct store_arg *args, size_t n);
const char *store_sql_text(sqlite3_stmt *stmt, int column);  // never NULL; lives until the next row
static inline uint64_t store_sql_int(sqlite3_stmt *stmt, int column) {
  return (uint64_t)sqlite3_column_int64(stmt, column);
}
// From 0 to `most`, whatever stands there: an older daemon, or somebody's SQL, may have written it.
uint64_t store_sql_bound(sqlite3_stmt *stmt, int column, uint64_t most);
static inline uint64_t store_sql_ms(sqlite3_stmt *stmt, int column) {
  return store_sql_bound(stmt, column, LIMIT_STORED_MS);
}
static inline uint64_t store_sql_us(sqlite3_stmt *stmt, int column) {
  return store_sql_bound(stmt, column, LIMIT_STORED_US);
}
static inline uint64_t store_sql_sum_us(sqlite3_stmt *stmt, int column) {
  return store_sql_bound(stmt, column, LIMIT_STORED_SUM_US);
}
static inline uint32_t store_sql_u32(sqlite3_stmt *stmt, int column) {
  return (uint32_t)store_sql_bound(stmt, column, UINT32_MAX);
}
// From 0 to LIMIT_STORED_SUM_US; what is not a number is 0.
double store_sql_real(sqlite3_stmt *stmt, int column);
// A worker's number; one that no build can have is that of the last one it can.
static inline uint32_t store_sql_worker(sqlite3_stmt *stmt, int column) {
  return (uint32_t)store_sql_bound(stmt, column, LIMIT_WORKERS - 1);
}

// ---- store_stmt.c: the text of each statement.
const char *store_stmt_text(enum store_sql which);

// ---- store_ids.c: calls back for every position whose id has a row. The statement takes the first and the last id of
// a stretch and gives rows in ascending order, their id in column 0. Ids of 0 are passed over.
typedef void store_on_id(uint32_t position, sqlite3_stmt *stmt, void *arg);
void store_ids_visit(struct store_db *db, enum store_sql which, const uint32_t *ids, size_t count, store_on_id *on_id,
                     void *arg);

// ---- store_pack.c: arrays of numbers as small blobs (zigzag varints of the differences).
unsigned char *store_pack(const uint32_t *values, size_t count, size_t *bytes);  // freed by the caller
// Exactly `count` values; -1 when the blob holds anything else.
int store_unpack(const void *blob, size_t bytes, uint32_t *values, size_t count) MUST_CHECK;

// ---- store_put.c: records in the order they came, each a copy with its texts behind it.
enum store_kind {
  STORE_KIND_BUILD,
  STORE_KIND_WORKER,
  STORE_KIND_LIST,
  STORE_KIND_RESULT,
  STORE_KIND_ROUND,
  STORE_KIND_STATE,
  STORE_KIND_LEFT,
  STORE_KIND_MUTE,
  STORE_KIND_IMPORT,
  STORE_KIND_IDENTITY,
  STORE_KIND_CLEARED,
  STORE_KIND_COUNT,
};

struct store_record {
  uint64_t bytes;  // of the whole record, this header included; a multiple of 8
  enum store_kind kind;
};

struct store_round_record {
  uint64_t build, at_ms;
  uint32_t round, count;  // count row ids follow
};

struct store_state_record {
  uint64_t build, at_ms;
  uint32_t state;
  const char *text;
};

struct store_left_record {
  uint64_t build, at_ms;
  uint32_t worker, fact, cleared;
  const char *late;
};
struct store_cleared_record {
  uint64_t build;
  uint32_t worker, round;
};

struct store_batch {
  unsigned char *bytes;
  size_t n, room;
  size_t records;
  uint64_t ticket;    // of the last record
  uint64_t since_us;  // when the first came; 0: empty
};

// ---- the handle

struct store_done {  // a finished list on its way to store_poll
  struct store_listed *listed;
  struct store_done *next;
};

// What a closed build teaches, between two slices (store_learn.c, store_judge.c).
struct store_learn_row {
  uint64_t start_ms;
  uint32_t test, attempt, worker, file, round;
  uint32_t setup_us, call_us, teardown_us;
  uint32_t expected_us;  // before this build; 0: never seen
  uint8_t status, flags;
  bool first;  // first of its file on its worker
};

struct store_learn_test {
  size_t from, to;       // its rows
  uint8_t other, blame;  // flaky_saw of other builds of the commit; the last of those that failed by it, from 1
};

struct store_learn_worker {
  uint64_t host, key;  // flaky_name of its host, 0: unknown; flaky_worker
  uint64_t observed_us, expected_us;
  struct flaky_first first;
  uint32_t flips;
  uint32_t speed_ppm;  // observed over expected; 0: not known yet
  bool sick;
};

struct store_learn_other {  // another build of the commit
  uint64_t build, cost_us;  // its wall time times its workers
  uint32_t failing, passed_now;
};

struct store_learn {
  uint64_t build;  // 0: nothing in hand
  uint64_t suite, at_ms;
  uint32_t round, cursor;
  char *commit;
  uint64_t branch;  // flaky_name
  bool trusted, trunk, loaded, judged, gathered;
  struct store_learn_row *row;  // by test and attempt
  size_t count, room;
  struct store_learn_test *test;
  size_t test_count, next;  // next: to gather, then to teach
  struct store_learn_worker *worker;
  uint32_t worker_count;
  uint32_t speed_ppm;                                      // of all workers together
  uint32_t other_flips;                                    // flips of the commit's other builds that this one shows
  struct store_learn_other other[STORE_LEARN_BUILDS + 1];  // the first: this build, in its earlier rounds
  size_t other_count;
  bool sick;
  struct flaky_event *event;  // of the test in hand
};

// The list of the report that was asked for last, between two of its pages (store_report.c).
struct store_positions {
  uint32_t count, file_count;
  uint32_t *test, *unit, *file_of, *files;
  char *marks;
  size_t marks_bytes;
};
struct store_report {
  uint64_t list;  // 0: none
  struct store_positions positions;
  uint32_t next;  // where the next page begins, most likely
};

struct store_chore {
  pthread_t thread;
  bool started;  // there is a thread to join
  enum store_chore_kind kind;
  char *path;                // of the copy
  struct store_chored done;  // the thread's while it runs
  atomic_bool running, stop;
};

struct store {
  char *path, *ballast_path;
  uint64_t ballast_bytes, keep_results_us;
  enum store_quarantine quarantine;
  int lock_fd, file_fd, event_fd;  // locked: FILE.lock, and the database itself
  uint32_t epoch;
  uint64_t next_build;
  pthread_t thread;

  struct store_db reader;  // loop thread; of a view, the thread that has it
  struct store_report report;
  struct store_chore chore;  // loop thread

  pthread_mutex_t mutex;
  pthread_cond_t wake;
  struct store_batch incoming;          // under mutex
  uint64_t ticket;                      // under mutex: the last given out
  struct store_done *done, **done_end;  // under mutex
  bool stop;                            // under mutex
  atomic_uint_fast64_t durable;
  atomic_uint_fast64_t working_since_us;  // when the oldest record in the thread's hands came; 0: none
  atomic_size_t pending;
  atomic_bool full;
  atomic_int log_pages;  // of the log, at the last commit

  struct store_db writer;  // store thread
  struct store_batch working;
  struct store_learn learn;
  int wal_pages;
  bool learn_due, keep_due;
  bool kept;  // the last slice of background work was retention's
  bool tight;
  uint64_t idle_at_us;   // next look at retention and ballast
  uint64_t retry_at_us;  // no background work before (the disk was full)

  struct store *viewed;    // of a view (store_view.c): the store; NULL: this is it
  uint64_t view_until_us;  // the view may read until then
  atomic_bool view_stop;   // or until it is told to stop
  int view_rested_at;      // length of the log when a question last made room for the checkpoint
};

// ---- store_open.c
int store_open_files(struct store *store, struct store_error *error) MUST_CHECK;  // lock, schema, epoch, reader
void store_open_undo(struct store *store, bool clean);

// ---- store_lock.c
int store_lock_take(struct store *store, struct store_error *error) MUST_CHECK;
void store_lock_drop(struct store *store);
// The database has several names, and no log stands beside this one.
bool store_lock_log_is_elsewhere(const struct store *store);

// ---- store_room.c: what to do when the disk is full. `tight`: it was, and there is no plenty of room again.
void store_room_make_ballast(struct store *store);                     // if there is room
bool store_room_enough(struct store *store, size_t bytes) MUST_CHECK;  // to write that much, and to go on after it
void store_room_free(struct store *store);                             // the disk is full: frees what can be freed
void store_room_look(struct store *store);                             // now and then: is the trouble over?

uint64_t store_room_bytes(const struct store *store);  // free on its disk

// ---- store_chore.c
void store_chore_end(struct store *store);  // breaks off what runs

// ---- store_thread.c
void *store_thread_main(void *arg);
void store_thread_wake_loop(struct store *store);
// Ends a transaction of the store thread: true when committed; false when the disk is full; dies of anything else.
bool store_thread_commit(struct store *store) MUST_CHECK;

// ---- store_write.c, store_list.c: inside a transaction of the writer
void store_write_batch(struct store *store, const struct store_batch *batch, struct store_done **done);
struct store_listed *store_list_write(struct store_db *db, const struct store_list *list, uint64_t now_ms);
// Fills history and file_setup_us of a listed whose test ids are set; files: row ids, 0: unknown.
void store_list_recall(struct store_db *db, struct store_listed *listed, const uint32_t *files);
struct store_listed *store_list_new(uint64_t build, uint32_t count, uint32_t file_count);
// store_failed.c: sets failed_last of a list's tests, when its build wants those first, `puzzles`, `skips` and `ran`.
void store_failed_recall(struct store_db *db, struct store_listed *listed);

uint64_t store_write_suite(struct store_db *db, const char *project, const char *suite);  // made if need be

// ---- store_import.c: inside a transaction of the writer
void store_import_write(struct store_db *db, const struct store_import *import);

// ---- store_mute.c: the quarantine. Inside a transaction of the writer:
void store_mute_write(struct store_db *db, const struct store_mute *mute);
// The tests of a list that are muted now, and on disk with the build from now on.
void store_mute_list(struct store_db *db, uint64_t suite, struct store_listed *listed, uint64_t now_ms);
// Those that were when the build's list came; any connection.
void store_mute_recall(struct store_db *db, struct store_listed *listed);
// A test after it was judged: enters, is extended, leaves.
struct store_judged {
  uint64_t suite, test, at_ms;
  enum flaky_state before, state;
  uint64_t hits;  // builds that failed by it, this one included
  double f, r;
};
void store_mute_judged(struct store *store, const struct store_judged *judged);

// ---- background work: one slice each; true: there is more to do now
bool store_learn_slice(struct store *store);
void store_learn_release(struct store_learn *learn);

// ---- store_speed.c, store_judge.c: for store_learn.c. Steps end their transaction: false when the disk is full.
bool store_speed_workers(struct store *store) MUST_CHECK;  // who is sick, how fast they are; rows are loaded
void store_judge_others(struct store_db *db, struct store_learn *learn);  // finds other builds of the commit
bool store_judge_gather(struct store *store) MUST_CHECK;  // a slice of what the commit's other builds saw
void store_judge_test(struct store *store, const struct store_learn_test *test);  // inside the caller's transaction
// flaky_saw of a row; 0 when it proves nothing.
unsigned store_judge_evidence(const struct store_learn *learn, const struct store_learn_row *row);
// A set of numbers in a column: eight bytes each, NULL when it is empty.
struct store_arg store_judge_keys(const struct flaky_keys *keys);
void store_judge_read_keys(sqlite3_stmt *stmt, int column, struct flaky_keys *keys);
bool store_keep_slice(struct store *store);

// ---- store_query.c: what the tables share. A query of suites binds 1 the suite or the project, 2 the limit, 3 the
// rows to skip, 4 since_ms, 5 the branch, and what `more` is.
struct store_asking {
  struct store_db *db;
  const struct store_query *query;
  struct rows *rows;
  struct store_error *error;
};
int store_query_ask(struct store *store, const struct store_query *query, struct rows *rows, struct store_error *error,
                    const struct rows_column *columns, size_t column_count, void (*run)(struct store_asking *ask));
// Starts `one` when the query means one suite, else `all`; SQL_COUNT when there is none, and the error says so.
enum store_sql store_query_suites(struct store_asking *ask, enum store_sql one, enum store_sql all,
                                  struct store_arg more);
// The test in the suites that know it, by suite; STORE_TEST_SUITES at most. 0: none does, and the error says so.
enum { STORE_TEST_SUITES = 64 };
struct store_place {
  uint64_t suite, test;
};
size_t store_query_places(struct store_asking *ask, struct store_place *place);
bool store_query_full(struct store_asking *ask);  // of a page; sets rows->next
// Appends a time, a span or a share, bounded; false: the column is of another type, or holds no number.
bool store_query_bounded(struct rows *rows, sqlite3_stmt *stmt, int column);
void store_query_cells(struct rows *rows, sqlite3_stmt *stmt, int from, int count);  // columns as they are
const char *store_query_state(uint64_t state);
// False, and the answer's error: the query names a branch, and its build is of another.
bool store_query_of_branch(struct store_asking *ask);

// ---- store_skips.c: by worker and reason, the tests that it skipped and that ran on another one.
struct store_skip {
  uint32_t worker, next;  // next: of the worker, UINT32_MAX: none
  uint64_t tests;
  char *reason;  // "": none was given, or there are too many (LIMIT_SKIP_LACKS of a worker)
};
struct store_skips {
  struct store_skip *item;
  uint32_t *head;  // per worker; until item is sorted
  uint32_t count, room;
};
void store_skips_read(struct store_db *db, uint64_t build, struct store_skips *skips);
void store_skips_release(struct store_skips *skips);
// How many tests of a worker, and the reason of most of them; *reason is left alone when there are none.
uint64_t store_skips_of(const struct store_skips *skips, uint32_t worker, const char **reason);

// ---- store_report.c
void store_report_release(struct store_report *report);

// ---- store_read.c
uint64_t store_read_suite(struct store_db *db, const char *project, const char *suite);  // 0: unknown
// A build's list from its blobs. False: it has none, or (db->rc) it is damaged.
bool store_read_positions(struct store_db *db, uint64_t build, struct store_positions *positions);
void store_read_release(struct store_positions *positions);

#endif
