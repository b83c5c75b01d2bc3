// A swarm of workers that speak the real protocol and run nothing: every test "passes" at once and is reported with the
// duration it is told. swarm.c drives it; swarm_list.c and swarm_worker.c are a worker's messages.
#ifndef BENCH_SWARM_H
#define BENCH_SWARM_H

#include "proto/client.h"
#include "tests/bench/bench.h"

enum {
  SWARM_WORKERS_MAX = 15000,
  SWARM_SAMPLES_MAX = 4000000,
  SWARM_UNACKED_MAX = 64,  // Results of one worker whose way to the disk is timed
  SWARM_REPLY_MS = 120000,
};

struct swarm;

struct swarm_worker {
  struct swarm *swarm;
  struct client *client;
  uint32_t number;
  uint64_t lease;  // in hand; 0: none
  uint32_t *test, count, room;
  uint64_t asked_us;  // 0: nothing was asked for
  uint64_t seq, acked, sent_us[SWARM_UNACKED_MAX];
  struct swarm_worker *next_idle;
  bool welcome, drained, gone, wants_write;
};

struct swarm_samples {
  uint64_t *us;
  size_t n;
};

struct swarm {
  const char *address, *build;  // builds are called BUILD-0, BUILD-1, …
  pid_t server;
  uint32_t builds, tests, workers;  // tests of each build
  uint32_t call_us;                 // what every test is said to have taken
  uint32_t unit_tests;              // tests of a class; 1: functions, each for itself
  bool hold;                        // connect, send the lists, and wait
  double seconds;                   // end the run after so long; 0: when the builds are drained
  struct bench_pace pace;           // of lease requests, all workers together
  struct swarm_worker *worker;
  struct swarm_worker *idle, **idle_end;  // hold a lease, or nothing yet; the next to ask stands first
  uint32_t welcomed, alive;
  uint64_t leases, results, unacked;  // unacked: messages of results
  struct swarm_samples lease, ack;    // request to lease, results to acknowledgement
  int epoll, timer;                   // timer: -1 without a pace
};

// Connects and says hello; the welcome comes to swarm_receive.
void swarm_hello(struct swarm_worker *worker);
// Offers the list of its build and sends it when it is asked for; returns when the server has it.
void swarm_list(struct swarm_worker *worker);
// Reports what it has in hand and asks for the next lease.
void swarm_turn(struct swarm_worker *worker);
// Says goodbye.
void swarm_bye(struct swarm_worker *worker);
// Takes whatever the server has sent.
void swarm_receive(struct swarm_worker *worker);
void swarm_send(struct swarm_worker *worker, const Shardd__Frame *frame);
// Waits for a worker's next frame.
const Shardd__Frame *swarm_wait(struct swarm_worker *worker);
// It has nothing to do until its turn.
void swarm_idle(struct swarm_worker *worker);

#endif
