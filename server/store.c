// The store's handle: made and unmade here, and what the loop may ask of it without touching the database. The files
// that make it up: store_open (lock, schema, epoch), store_put (records in), store_thread (group commit), store_write
// and store_list (records to rows), store_learn and store_keep (background), store_read, store_query and store_report
// (reads), store_view (for another thread's), store_sql, store_stmt and store_pack (below all of them). Called by the
// daemon's start, end and loop.
#include "server/store.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/store_impl.h"
#include "shardd.pb-c.h"

#define SAME(own, wire) static_assert((int)(own) == (int)(wire), "numbers of shardd.proto")
SAME(STORE_PASSED, SHARDD__STATUS__STATUS_PASSED);
SAME(STORE_FAILED, SHARDD__STATUS__STATUS_FAILED);
SAME(STORE_ERRORED, SHARDD__STATUS__STATUS_ERROR);
SAME(STORE_SKIPPED, SHARDD__STATUS__STATUS_SKIPPED);
SAME(STORE_XFAILED, SHARDD__STATUS__STATUS_XFAILED);
SAME(STORE_XPASSED, SHARDD__STATUS__STATUS_XPASSED);
SAME(STORE_CRASHED, SHARDD__STATUS__STATUS_CRASHED);
SAME(STORE_TIMED_OUT, SHARDD__STATUS__STATUS_TIMED_OUT);
SAME(STORE_COLLECTING, SHARDD__BUILD_STATE__BUILD_COLLECTING);
SAME(STORE_RUNNING, SHARDD__BUILD_STATE__BUILD_RUNNING);
SAME(STORE_COMPLETE, SHARDD__BUILD_STATE__BUILD_COMPLETE);
SAME(STORE_INCOMPLETE, SHARDD__BUILD_STATE__BUILD_INCOMPLETE);
SAME(STORE_ABORTED, SHARDD__BUILD_STATE__BUILD_ABORTED);

static struct store *allocate(const struct store_options *options);
static int start_thread(struct store *store, struct store_error *error);
static void release(struct store *store);

struct store *store_open(const struct store_options *options, struct store_error *error) {
  struct store *store = allocate(options);
  store->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (store->event_fd < 0) {
    (void)snprintf(error->text, sizeof error->text, "%s: cannot make an eventfd: %s", store->path, strerror(errno));
  } else if (store_open_files(store, error) == 0 && start_thread(store, error) == 0) {
    return store;
  }
  store_open_undo(store, false);
  release(store);
  return NULL;
}

void store_close(struct store *store) {
  if (store == NULL) return;
  store_chore_end(store);
  pthread_mutex_lock(&store->mutex);
  store->stop = true;
  pthread_cond_signal(&store->wake);
  pthread_mutex_unlock(&store->mutex);
  (void)pthread_join(store->thread, NULL);
  store_open_undo(store, true);
  release(store);
}

uint32_t store_epoch(const struct store *store) {
  return store->epoch;
}

uint64_t store_next_build(const struct store *store) {
  return store->next_build;
}

int store_eventfd(const struct store *store) {
  return store->event_fd;
}

uint64_t store_durable(const struct store *store) {
  return atomic_load(&store->durable);
}

bool store_full(const struct store *store) {
  if (atomic_load(&store->full)) return true;
  uint64_t since = atomic_load(&store->working_since_us);
  return since != 0 && base_now_us() - since > STORE_STALL_US;
}

bool store_behind(struct store *store) {
  pthread_mutex_lock(&store->mutex);
  bool behind = store->incoming.n > LIMIT_BATCH_BYTES;
  pthread_mutex_unlock(&store->mutex);
  return behind;
}

size_t store_pending(const struct store *store) {
  return atomic_load(&store->pending);
}

struct store_listed *store_poll(struct store *store) {
  uint64_t count;
  struct store_listed *listed = NULL;
  if (read(store->event_fd, &count, sizeof count) < 0 && errno != EAGAIN)
    base_die(EXIT_INFRA, "store: cannot read the eventfd: %s", strerror(errno));
  pthread_mutex_lock(&store->mutex);
  struct store_done *done = store->done;
  if (done != NULL) {
    listed = done->listed;
    store->done = done->next;
    if (store->done == NULL) store->done_end = &store->done;
  }
  pthread_mutex_unlock(&store->mutex);
  free(done);
  return listed;
}

void store_listed_free(struct store_listed *listed) {
  if (listed == NULL) return;
  free(listed->test);
  free(listed->history);
  free(listed->file_setup_us);
  free(listed->muted);
  free(listed->failed_last);
  free(listed->puzzles);
  free(listed->skips);
  free(listed->ran);
  free(listed);
}

bool store_status_fails(uint32_t status) {
  return status == STORE_FAILED || status == STORE_ERRORED || status == STORE_CRASHED || status == STORE_TIMED_OUT;
}

static struct store *allocate(const struct store_options *options) {
  struct store *store = base_calloc(1, sizeof *store);
  pthread_condattr_t attr;
  assert(options->path != NULL && options->path[0] != '\0');
  store->path = base_strdup(options->path);
  store->ballast_path = base_printf("%s.ballast", options->path);
  store->ballast_bytes = options->ballast_bytes;
  store->keep_results_us = options->keep_results_us;
  store->quarantine = options->quarantine;
  store->lock_fd = store->file_fd = store->event_fd = -1;
  store->done_end = &store->done;
  store->learn_due = store->keep_due = true;
  if (pthread_condattr_init(&attr) != 0 || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) != 0 ||
      pthread_cond_init(&store->wake, &attr) != 0 || pthread_mutex_init(&store->mutex, NULL) != 0)
    base_die(EXIT_INFRA, "store: cannot make a lock");
  pthread_condattr_destroy(&attr);
  return store;
}

// Signals are the loop's: the thread blocks them all.
static int start_thread(struct store *store, struct store_error *error) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int rc = pthread_create(&store->thread, NULL, store_thread_main, store);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (rc == 0) return 0;
  (void)snprintf(error->text, sizeof error->text, "%s: cannot start the store's thread: %s", store->path, strerror(rc));
  return -1;
}

static void release(struct store *store) {
  for (struct store_done *done = store->done, *next; done != NULL; done = next) {
    next = done->next;
    store_listed_free(done->listed);
    free(done);
  }
  if (store->event_fd >= 0) close(store->event_fd);
  store_learn_release(&store->learn);
  store_report_release(&store->report);
  pthread_mutex_destroy(&store->mutex);
  pthread_cond_destroy(&store->wake);
  free(store->incoming.bytes);
  free(store->working.bytes);
  free(store->path);
  free(store->ballast_path);
  free(store);
}
