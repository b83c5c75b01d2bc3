// A worker's life: hello → list → (lease → run → report)* → bye. Two sides meet here, the link to the server (link.c)
// and the runner (runner_*.c); this file passes tests one way and results the other, and ends with the exit code that
// the server works out from the verdicts this worker decided. It must not know how tests are run or messages framed.
#include "worker/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/alone.h"
#include "worker/dryrun.h"
#include "worker/human.h"
#include "worker/run_impl.h"

_Static_assert((int)RUNNER_PASSED == (int)SHARDD__STATUS__STATUS_PASSED, "statuses differ");
_Static_assert((int)RUNNER_TIMED_OUT == (int)SHARDD__STATUS__STATUS_TIMED_OUT, "statuses differ");

enum { RUN_FLUSH_US = 5000, RUN_LEASES_MAX = MSG_HELD_MAX - 2 };

// ---- results

static void run_send_spool(struct run *run) {
  size_t n;
  const uint8_t *bytes;
  while (link_up(run->link) && (bytes = spool_next(run->spool, &n)))
    link_send_packed(run->link, bytes, n);
}

void run_flush(struct run *run) {
  spool_close(run->spool);
  run_send_spool(run);
  event_del(run->flush);
}

// Tells the server what runs: at once when it is quiet, else with the next flush.
static void run_announce(struct run *run) {
  uint64_t lease;
  const struct held_test *test = held_find(&run->held, run->running_tag, &lease);
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Started started = SHARDD__STARTED__INIT;
  if (!run->running_since_us || run->announced || !test) return;
  run->announced = true;
  started.lease = lease;
  started.test = test->number;
  frame.body_case = SHARDD__FRAME__BODY_STARTED;
  frame.started = &started;
  link_send(run->link, &frame);
}

static void on_flush(evutil_socket_t fd, short what, void *arg) {
  (void)fd;
  (void)what;
  run_flush(arg);
  run_announce(arg);
}

static void on_retry(evutil_socket_t fd, short what, void *arg) {
  struct run *run = arg;
  (void)fd;
  (void)what;
  spool_rewind(run->spool);
  run_send_spool(run);
}

static void run_arm_flush(struct run *run) {
  struct timeval after = {.tv_usec = RUN_FLUSH_US};
  if (!event_pending(run->flush, EV_TIMEOUT, NULL)) event_add(run->flush, &after);
}

static void run_count(struct run *run, enum runner_status status) {
  switch (status) {
    case RUNNER_PASSED:
    case RUNNER_XFAILED:
    case RUNNER_XPASSED: run->passed++; break;
    case RUNNER_SKIPPED: run->skipped++; break;
    case RUNNER_FAILED:
    case RUNNER_ERROR:
    case RUNNER_CRASHED:
    case RUNNER_TIMED_OUT: run->failed++; break;
  }
}

static void on_result(void *arg, const struct runner_result *result) {
  struct run *run = arg;
  uint64_t lease;
  struct held_test *test = held_find(&run->held, result->tag, &lease);
  run->running_since_us = 0;
  if (!test || test->seq) return;
  if (spool_empty(run->spool)) run->waiting_since_us = base_now_us();
  test->seq = spool_add(run->spool, lease, test->number, result);
  run_count(run, result->status);
  run_keep_soon(run);
  if (run->alone) alone_result(run->alone, run, test->number, result->status);
  run_arm_flush(run);
}

static void on_started(void *arg, uint32_t tag) {
  struct run *run = arg;
  run->running_tag = tag;
  run->running_since_us = base_now_us();
  run->announced = false;
  if (!event_pending(run->flush, EV_TIMEOUT, NULL)) run_announce(run);
  run_arm_flush(run);
}

// ---- leases

void run_ask(struct run *run) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__LeaseRequest request = SHARDD__LEASE_REQUEST__INIT;
  if (!run->wants || run->asked || !run->list_agreed) return;
  if (run->alone) {
    alone_give(run->alone, run);
    return;
  }
  if (held_leases(&run->held) >= RUN_LEASES_MAX) return;
  run->asked = true;
  request.names = !run->list;
  request.start_us = run->ops->start_cost ? run->ops->start_cost(run->runner) : 0;
  frame.body_case = SHARDD__FRAME__BODY_LEASE_REQUEST;
  frame.lease_request = &request;
  link_send(run->link, &frame);
}

static void on_ack(struct run *run, uint64_t seq) {
  size_t rows = spool_rows(run->spool);
  spool_ack(run->spool, seq);
  spool_file_acked(&run->file, seq);
  run_disown(run, seq);
  held_ack(&run->held, seq);
  if (spool_rows(run->spool) < rows) {
    run->waiting_since_us = base_now_us();
    run->disk_full = false;
  }
  run_ask(run);
  run_settle(run);
}

static void on_need(void *arg) {
  struct run *run = arg;
  run->wants = true;
  run_flush(run);
  run_ask(run);
}

static void on_lease(struct run *run, const Shardd__Lease *lease) {
  struct runner_test *tests = held_take(&run->held, lease, run->list);
  if (!tests) {
    run_die(run, EXIT_INFRA, "the server leases tests that are not in the list");
    return;
  }
  run->wants = run->asked = false;
  if (run->options->verbose) fprintf(stderr, "shard: lease of %zu tests\n", lease->n_test);
  if (!run->ended) run->ops->give(run->runner, tests, lease->n_test);
  free(tests);
}

static void on_drained(struct run *run, const Shardd__Drained *drained) {
  run->wants = run->asked = false;
  if (drained->reason == SHARDD__DRAIN_REASON__DRAIN_LATE && !run->options->quiet) {
    fprintf(stderr, "shard: nothing left to run for this worker: the build was over\n");
  }
  if (drained->reason == SHARDD__DRAIN_REASON__DRAIN_FENCED) {
    run->fenced = true;
    fprintf(stderr, "shard: WARNING: tests that failed on this worker pass on others: it gets no more of them\n");
  }
  if (run->ended) return;
  bool early = drained->reason == SHARDD__DRAIN_REASON__DRAIN_MAX_FAILURES ||
               drained->reason == SHARDD__DRAIN_REASON__DRAIN_FENCED ||
               drained->reason == SHARDD__DRAIN_REASON__DRAIN_FEW;
  if (early && run->ops->drop) run->ops->drop(run->runner);
  run->finishing = true;
  run->ops->finish(run->runner);
}

// ---- messages

static void on_error(struct run *run, const Shardd__Error *error) {
  if (error->code == SHARDD__ERROR_CODE__ERROR_DISK) {
    struct timeval after = {.tv_sec = 1};
    if (!event_pending(run->retry, EV_TIMEOUT, NULL)) event_add(run->retry, &after);
    if (!run->disk_full) fprintf(stderr, "shard: the server's disk is full: keeping the results and trying again\n");
    run->disk_full = true;
    return;
  }
  char *safe = human_safe(error->text.data, error->text.len, ESCAPE_LINE);
  fprintf(stderr, "shard: the server says: %s\n", safe);
  free(safe);
}

static void on_frame(void *arg, const Shardd__Frame *frame) {
  struct run *run = arg;
  switch (frame->body_case) {
    case SHARDD__FRAME__BODY_LEASE: on_lease(run, frame->lease); return;
    case SHARDD__FRAME__BODY_PARKED:
      if (!run->ended) run->ops->idle(run->runner);
      return;
    case SHARDD__FRAME__BODY_DRAINED: on_drained(run, frame->drained); return;
    case SHARDD__FRAME__BODY_ACK: on_ack(run, frame->ack->seq); return;
    case SHARDD__FRAME__BODY_LIST_REPLY: run_list_reply(run, frame->list_reply); return;
    case SHARDD__FRAME__BODY_LIST_CHUNK: run_lazy_chunk(run, frame->list_chunk); return;
    case SHARDD__FRAME__BODY_GOODBYE: run_goodbye(run, frame->goodbye); return;
    case SHARDD__FRAME__BODY_ERROR: on_error(run, frame->error); return;
    case SHARDD__FRAME__BODY_RECALL: run_recall(run, frame->recall); return;
    case SHARDD__FRAME__BODY_REVOKE: return;  // it is running already: its result is taken as evidence
    case SHARDD__FRAME__BODY__NOT_SET:
    case SHARDD__FRAME__BODY_HELLO:
    case SHARDD__FRAME__BODY_WELCOME:
    case SHARDD__FRAME__BODY_LIST_OFFER:
    case SHARDD__FRAME__BODY_LIST_REQUEST:
    case SHARDD__FRAME__BODY_LEASE_REQUEST:
    case SHARDD__FRAME__BODY_STARTED:
    case SHARDD__FRAME__BODY_RESULTS:
    case SHARDD__FRAME__BODY_HEARTBEAT:
    case SHARDD__FRAME__BODY_BYE:
    case SHARDD__FRAME__BODY_QUERY:
    case SHARDD__FRAME__BODY_ROWS:
    case SHARDD__FRAME__BODY_RELEASED:
    case _SHARDD__FRAME__BODY__CASE_IS_INT_SIZE: break;
  }
  run_die(run, EXIT_INFRA, "the server sent %s, which makes no sense here", msg_name(frame));
}

static void on_hello(void *arg, Shardd__Hello *hello) {
  struct run *run = arg;
  held_hello(&run->held, hello, run->held_lease, run->held_count, &run->held_test);
}

static void on_welcome(void *arg, const Shardd__Welcome *welcome, bool again) {
  struct run *run = arg;
  run->list_known = welcome->list_known;
  run->collecting = welcome->collecting;
  run->asked = false;
  if (!again) return;
  run->waiting_since_us = base_now_us();
  on_ack(run, welcome->acked);
  spool_rewind(run->spool);
  run_flush(run);
  if (run->list_offered && !run->list_agreed) run_list_offer(run);
  if (run->download) run_lazy_begin(run);
  run_ask(run);
  if (run->said_bye) run_bye(run);
  run_settle(run);
}

// A server that answers but keeps nothing is as good as lost.
static void run_check_patience(struct run *run) {
  uint64_t limit_us = run->options->server_timeout_us;
  if (spool_empty(run->spool) || base_now_us() - run->waiting_since_us <= limit_us) return;
  run_give_up(run, EXIT_INFRA, "the server kept no result for too long",
              run->disk_full ? "its disk is full" : "it does not say why");
}

static void on_heartbeat(void *arg, Shardd__Heartbeat *heartbeat) {
  struct run *run = arg;
  uint64_t lease;
  run_check_patience(run);
  const struct held_test *test = held_find(&run->held, run->running_tag, &lease);
  if (!test || !run->running_since_us) return;
  heartbeat->lease = lease;
  heartbeat->test = test->number;
  heartbeat->running_us = base_now_us() - run->running_since_us;
}

static void on_failed(void *arg, enum link_failure failure, const char *why) {
  static const char *const what[] = {[LINK_REFUSED] = "the server refuses",
                                     [LINK_DIFFERS] = "the server refuses this worker",
                                     [LINK_BROKEN] = "the conversation with the server broke",
                                     [LINK_LOST] = "the server was lost for too long"};
  struct run *run = arg;
  run_give_up(run, failure == LINK_REFUSED ? EXIT_USAGE : EXIT_INFRA, what[failure], why);
}

// ---- the runner's end and signals

static void on_end(void *arg, const struct runner_end *end) {
  struct run *run = arg;
  run->ended = true;
  run->running_since_us = 0;
  if (run->end_kind != RUNNER_END_FAILED) run->end_kind = end->kind;
  if (end->why && !run->why) run->why = base_strdup(end->why);
  run_copy_late(run, end);
  run_flush(run);
  run_keep_soon(run);
  if (end->kind == RUNNER_END_EMPTY && (!run->list || run->spec.lazy)) {
    run_lazy_forget(run);
    run->list = testlist_new();
    testlist_seal(run->list);
    run_list_offer(run);
  }
  if (run->heard_goodbye) run_quit(run, 128 + run->signo);
  run_settle(run);
}

static void on_farewell(evutil_socket_t fd, short what, void *arg) {
  struct run *run = arg;
  (void)fd;
  (void)what;
  run_quit(run, 128 + run->signo);
}

static void on_signal(evutil_socket_t signo, short what, void *arg) {
  (void)what;
  run_told_to_stop(arg, (int)signo);
}

// ---- start

static int run_start_runner(struct run *run, char **command) {
  static char *list_argv[4];
  char why[512];
  run->ops = runner_find(options_runner(run->options), command);
  bool lazy = run->options->collect == OPTIONS_COLLECT_LAZY && run->ops->collect && !run->alone;
  run->spec = (struct runner_spec){.argv = command,
                                   .list_argv = options_list_argv(run->options, list_argv),
                                   .list_file = run->options->list_file[0] ? run->options->list_file : NULL,
                                   .results = run->options->results,
                                   .node = run->identity.node,
                                   .build = run->identity.build,
                                   .want_list = !run_list_trusted(run) && !(lazy && run->collecting),
                                   .lazy = lazy,
                                   .allow_empty = run->options->allow_empty,
                                   .start_timeout_us = run->options->start_timeout_us,
                                   .base = run->base,
                                   .events = {.on_listed = run_list_listed,
                                              .on_started = on_started,
                                              .on_result = on_result,
                                              .on_need = on_need,
                                              .on_opened = run_lazy_opened,
                                              .on_fact = run_facts_add,
                                              .on_sources = run_list_sources,
                                              .on_scanned = run_lazy_scanned,
                                              .on_end = on_end,
                                              .arg = run}};
  run->list_agreed = !run->spec.want_list && !run->ops->lists_itself;
  run->end_kind = RUNNER_END_USAGE;
  if (!run->ops->check || run->ops->check(&run->spec, why, sizeof why) == 0) {
    run->runner = run->ops->start(&run->spec, why, sizeof why);
    run->end_kind = run->runner ? RUNNER_END_OK : RUNNER_END_FAILED;
  }
  if (run->runner) return 0;
  run->why = base_strdup(why);
  return -1;
}

static int run_connect(struct run *run) {
  struct client_error error;
  enum link_failure failure;
  struct link_events events = {.on_hello = on_hello,
                               .on_welcome = on_welcome,
                               .on_frame = on_frame,
                               .on_heartbeat = on_heartbeat,
                               .on_lost = run_keep_soon,
                               .on_trying = run_keep_due,
                               .on_failed = on_failed,
                               .arg = run};
  run->link = link_open(run->base, run->options, &run->identity, &events, &failure, &error);
  if (run->link) {
    identity_say(&run->identity, run->options);
    alone_check(run->options, &run->identity);
    return EXIT_OK;
  }
  fprintf(stderr, "shard: %s\n", error.text);
  if (failure == LINK_LOST && (run->alone = alone_new(run->options, &run->identity))) return EXIT_OK;
  return failure == LINK_REFUSED ? EXIT_USAGE : EXIT_INFRA;
}

static void run_make_events(struct run *run) {
  run->flush = event_new(run->base, -1, 0, on_flush, run);
  run->retry = event_new(run->base, -1, 0, on_retry, run);
  run->keep = event_new(run->base, -1, 0, run_keep_now, run);
  run->farewell = event_new(run->base, -1, 0, on_farewell, run);
  run->on_signal[0] = evsignal_new(run->base, SIGINT, on_signal, run);
  run->on_signal[1] = evsignal_new(run->base, SIGTERM, on_signal, run);
  run->on_signal[2] = evsignal_new(run->base, SIGHUP, on_signal, run);
}

static int run_loop(struct run *run, char **command) {
  int code = run_connect(run);
  if (code != EXIT_OK) return code;
  if (run_start_runner(run, command) < 0) {
    run->ended = true;
    run_bye(run);
    run_settle(run);
  }
  for (size_t i = 0; i < RUN_SIGNALS; i++)
    event_add(run->on_signal[i], NULL);
  if (!run->gone) event_base_dispatch(run->base);
  if (run->signo && !run->heard_goodbye && !run->alone) run_keep(run);  // told to stop while the server was away
  return run->alone ? alone_end(run->alone, run) : run->code;
}

static void run_release(struct run *run) {
  if (run->runner) run->ops->free(run->runner);
  link_close(run->link);
  event_free(run->flush);
  event_free(run->retry);
  event_free(run->keep);
  event_free(run->farewell);
  for (size_t i = 0; i < RUN_SIGNALS; i++)
    event_free(run->on_signal[i]);
  event_base_free(run->base);
  held_release(&run->held);
  spool_free(run->spool);
  spool_file_release(&run->file);
  testlist_free(run->list);
  download_free(run->download);
  alone_free(run->alone);
  for (size_t i = 0; i < run->late_count; i++)
    free(run->late[i]);
  free(run->late);
  free(run->held_test);
  facts_release(&run->identity.facts);
  free(run->why);
}

int run_main(struct options *options, char **words, size_t count, char **command) {
  static struct run run;
  struct conf_error error;
  if (count || !command) {
    fprintf(stderr, "shard run: %s%s; say which command runs the tests: shard run [options] -- pytest -q tests/\n",
            count ? "unexpected word " : "no test command", count ? words[0] : "");
    return EXIT_USAGE;
  }
  const char *plan = getenv("SHARD_PLAN");
  if (plan && plan[0]) return dryrun_main(options, command, plan);
  if (!options->server[0]) {
    fprintf(stderr, "shard run: which server? set --server or SHARD_SERVER, or run here alone: shard local -- …\n");
    return EXIT_USAGE;
  }
  run = (struct run){.options = options, .spool = spool_new(), .base = event_base_new(), .code = EXIT_INFRA};
  if (identity_make(&run.identity, options, &error) < 0 || run_facts_begin(&run, command, &error) < 0) {
    fprintf(stderr, "shard run: %s\n", error.text);
    return EXIT_USAGE;
  }
  signal(SIGPIPE, SIG_IGN);
  run_make_events(&run);
  int code = run_loop(&run, command);
  run_release(&run);
  return code;
}
