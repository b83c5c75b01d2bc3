// Every bound of the server in one place: what a loop, queue, string or table may grow to. Wire bounds: proto/msg.h.
#ifndef SERVER_LIMITS_H
#define SERVER_LIMITS_H

#include <stdint.h>

enum {
  LIMIT_TESTS = 500000,           // of a build
  LIMIT_LEASE = 10000,            // tests of a lease; results of a lease fit one frame
  LIMIT_LIST_BYTES = 256 << 20,   // ids of a list while it is uploaded
  LIMIT_UPLOAD_RATE = 32 << 10,   // bytes a second that a list comes in, or makes room for others
  LIMIT_UPLOAD_TEST_BYTES = 16,   // that a test counts there besides its names
  LIMIT_WORKERS = 20000,          // ever, of a build
  LIMIT_ROUNDS = 1 << 20,         // of a build that are read back; a job that is run again opens one
  LIMIT_ATTEMPTS = 200,           // results kept of one test in one build
  LIMIT_LEASES_HELD = 16,         // of one worker, fenced ones included, as a Hello names them
  LIMIT_CRASHES = 2,              // confirmed crashes that settle the verdict
  LIMIT_OVERRUNS = 2,             // times over a cap that nobody asked for that settle the verdict
  LIMIT_LOST = 3,                 // different vanished workers that settle the verdict
  LIMIT_SKIP_VOTES = 4 << 20,     // skips of different workers that a build remembers; beyond, a skip settles
  LIMIT_SKIP_KINDS = 64,          // reasons of skips that are told apart in a file
  LIMIT_SKIP_LACKS = 16,          // reasons of a worker's skips that are known to be its own; beyond, all are
  LIMIT_SKIP_LOOK = 64,           // tests that are passed over, looking for one whose skip a worker may confirm
  LIMIT_SKIP_REASONS = 1 << 16,   // different reasons of a build; those beyond are one
  LIMIT_SKIP_REASON_BYTES = 200,  // of a reason
  LIMIT_NODE_BYTES = 1024,        // node name, attempt token, host
  LIMIT_OUT_BYTES = 4 << 20,  // unsent bytes of a connection, then it is closed (list and report pages wait for room)
  LIMIT_IN_BYTES = 2 << 20,   // unread bytes of a connection
  LIMIT_BUFFER_BYTES = 128 << 20,    // of both kinds, of all connections
  LIMIT_BUFFER_LEAST = 32 << 10,     // so much each may hold whatever the others do
  LIMIT_BATCH_BYTES = 64 << 20,      // records that wait for the disk; beyond, changes and results are refused
  LIMIT_FRAMES_A_TURN = 64,          // of one connection, so that one cannot starve the rest
  LIMIT_ACCEPTS_A_TURN = 64,         // of one listener
  LIMIT_DIFF_NAMES = 20,             // ids named on each side of a list mismatch
  LIMIT_OWN_NAMES = 20,              // ids named in a Goodbye
  LIMIT_FACTS = 64,                  // of a build: names that its workers are compared by
  LIMIT_LATE_BYTES = 64 * 1024,      // text of a worker's late errors
  LIMIT_WAITS = 16,                  // questions of one connection that wait for a build
  LIMIT_QUESTIONS = 64,              // of one connection that wait for their turn
  LIMIT_QUESTIONS_ALL = 4096,        // of all
  LIMIT_QUESTION_BYTES = 16384,      // of such a question, packed
  LIMIT_QUESTION_US = 120000000,     // that a question may read and compute
  LIMIT_SIMULATIONS = 8,             // in progress at a time, one a connection
  LIMIT_SIMULATED_TEST_BYTES = 128,  // that a simulation is taken to hold of a test
  LIMIT_PLAN_US = 600000000,         // a list to plan with is kept for so long after the first question
  LIMIT_SIMULATED_A_TURN = 16384,    // events in virtual time in one turn of the loop: a few milliseconds
  LIMIT_ROWS = 1000,                 // default rows of an admin query
  LIMIT_ROWS_MAX = 100000,
  LIMIT_START_US = 60000000,          // a process's start counts for no more
  LIMIT_LINGER_US = 2000000000,       // a worker's --linger counts for no more
  LIMIT_MIN_WORKERS_US = 2000000000,  // nor does its --min-workers-timeout
  LIMIT_CAP_LEAST_US = 300000000,     // a test's cap from history is never shorter
  LIMIT_CAP_UNSEEN_US = 1800000000,   // cap of a test that was never seen
  LIMIT_COLLECTING_TIMES = 4,         // so many times max-builds may be running without a list
  LIMIT_CLOSE_US = 2000000,           // and its connection is read on for so long, so that it hears of it
  LIMIT_BUSY_US = 2000000,            // who is refused with ERROR_BUSY is to try again after this
  LIMIT_TWIN_US = 1000000,            // who is heard of so long after another job came under its number is at work
  LIMIT_TWIN_ASKS_US = 30000000,      // so long a job that came under a number in use may be silent, and be the same
  LIMIT_CAP_TIMES = 20,               // a cap from history is that many times the longest known run
  LIMIT_CAP_SLOWNESS = 10,            // and on a slow worker longer, at most by this factor
  LIMIT_CAP_LONGER = 3,               // and by this one when such a cap has ended the test before
  LIMIT_BUILD_KEEP_US = 60000000,     // an ended build without workers leaves memory after this
};

// What no number from outside or from the database is believed beyond, since sums and products of it would not fit.
#define LIMIT_STORED_MS (UINT64_C(1) << 42)            // a time: the year 2109
#define LIMIT_STORED_US (UINT64_C(1) << 40)            // a span: 12 days, so that those of all tests can be added up
#define LIMIT_STORED_SUM_US (UINT64_C(1) << 45)        // a sum of spans: 13 months
#define LIMIT_TIMEOUT_US (UINT64_C(604800) * 1000000)  // a test's own timeout: a week
#define LIMIT_SPAN_US (UINT64_C(2592000) * 1000000)    // what a question assumes: 30 days
// A worker's clock: a start is believed that is at most so much ahead of the server's clock, or before the build.
// Results that are brought are older.
#define LIMIT_AHEAD_MS UINT64_C(60000)
#define LIMIT_BEFORE_MS UINT64_C(3600000)
#define LIMIT_BROUGHT_MS (UINT64_C(90) * 24 * 3600 * 1000)
// A test took at most what went by since its lease was granted, and so much: the message was under way.
#define LIMIT_PHASE_SLACK_US UINT64_C(2000000)

#endif
