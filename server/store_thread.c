// The store thread: group commit. It sleeps until a record comes, gathers for a window, swaps the batches, writes the
// records in one transaction, publishes the ticket of the last and wakes the loop; only then may anything be
// acknowledged. Between batches it does one slice of background work (learning, retention). Started by store.c. A
// failed commit ends the process, except a full disk: the batch is kept and tried again until there is room. Must not
// know what a record says.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/store_impl.h"

enum { BATCH_KEEP_BYTES = 8 << 20 };  // memory a batch may hold on to

static bool take(struct store *store);
static bool background_due(const struct store *store, uint64_t now_us);
static void wait_until(struct store *store, uint64_t at_us);
static void write_batch(struct store *store);
static bool try_batch(struct store *store, struct store_done **done);
static void publish(struct store *store, struct store_done *done);
static void disk_full(struct store *store);
static bool rest(struct store *store);
static void background(struct store *store);
static int on_wal(void *arg, sqlite3 *sqlite, const char *name, int pages);
static void checkpoint(struct store *store);

void *store_thread_main(void *arg) {
  struct store *store = arg;
  sqlite3_wal_hook(store->writer.sqlite, on_wal, store);
  while (take(store)) {
    if (store->working.records > 0) write_batch(store);
    background(store);
  }
  return NULL;
}

void store_thread_wake_loop(struct store *store) {
  uint64_t one = 1;
  if (write(store->event_fd, &one, sizeof one) < 0 && errno != EAGAIN)
    base_die(EXIT_INFRA, "store: cannot write the eventfd: %s", strerror(errno));
}

bool store_thread_commit(struct store *store) {
  if (store_sql_end(&store->writer) == SQLITE_OK) return true;
  if (store->writer.full) return false;
  base_die(EXIT_INFRA, "store: cannot write %s: %s", store->path, store->writer.why);
}

// Waits for records or for background work. False: the end, with nothing left to write.
static bool take(struct store *store) {
  struct store_batch *in = &store->incoming;
  pthread_mutex_lock(&store->mutex);
  for (uint64_t now = base_now_us(); !store->stop; now = base_now_us()) {
    if (in->records > 0 && now >= in->since_us + STORE_WINDOW_US) break;
    if (in->records == 0 && background_due(store, now)) break;
    wait_until(store, in->records > 0 ? in->since_us + STORE_WINDOW_US
                                      : (store->retry_at_us > now ? store->retry_at_us : store->idle_at_us));
  }
  bool more = in->records > 0 || !store->stop;
  struct store_batch empty = store->working;
  store->working = *in;
  *in = empty;
  atomic_store(&store->working_since_us, store->working.since_us);
  pthread_mutex_unlock(&store->mutex);
  return more;
}

static bool background_due(const struct store *store, uint64_t now_us) {
  if (now_us < store->retry_at_us) return false;
  return store->learn_due || store->keep_due || now_us >= store->idle_at_us;
}

static void wait_until(struct store *store, uint64_t at_us) {
  struct timespec at = {.tv_sec = (time_t)(at_us / 1000000), .tv_nsec = (long)(at_us % 1000000 * 1000)};
  (void)pthread_cond_timedwait(&store->wake, &store->mutex, &at);
}

static void write_batch(struct store *store) {
  struct store_done *done = NULL;
  struct store_batch *batch = &store->working;
  while (!try_batch(store, &done)) {
    disk_full(store);
    if (try_batch(store, &done)) break;
    if (rest(store)) continue;
    base_log(LOG_LEVEL_ERROR, "store_close", "lost=%zu why=\"the disk is full; nobody was told that these were kept\"",
             batch->records);
    atomic_fetch_sub(&store->pending, batch->records);
    *batch = (struct store_batch){.bytes = batch->bytes, .room = batch->room};
    return;
  }
  publish(store, done);
  checkpoint(store);
}

static bool try_batch(struct store *store, struct store_done **done) {
  if (store->tight && !store_room_enough(store, store->working.n)) return false;
  store_sql_begin(&store->writer, true);
  store_write_batch(store, &store->working, done);
  if (store_thread_commit(store)) return true;
  for (struct store_done *next; *done != NULL; *done = next) {  // their row ids were rolled back
    next = (*done)->next;
    store_listed_free((*done)->listed);
    free(*done);
  }
  return false;
}

static void publish(struct store *store, struct store_done *done) {
  struct store_batch *batch = &store->working;
  pthread_mutex_lock(&store->mutex);
  *store->done_end = done;
  while (*store->done_end != NULL)
    store->done_end = &(*store->done_end)->next;
  pthread_mutex_unlock(&store->mutex);
  if (atomic_exchange(&store->full, false)) base_log(LOG_LEVEL_INFO, "store_full", "over=1 path=%s", store->path);
  atomic_store(&store->durable, batch->ticket);
  atomic_fetch_sub(&store->pending, batch->records);
  atomic_store(&store->working_since_us, 0);
  store_thread_wake_loop(store);
  if (batch->room > BATCH_KEEP_BYTES) {
    free(batch->bytes);
    batch->bytes = NULL;
    batch->room = 0;
  }
  *batch = (struct store_batch){.bytes = batch->bytes, .room = batch->room};
}

static void disk_full(struct store *store) {
  if (!atomic_exchange(&store->full, true)) {
    base_log(LOG_LEVEL_ERROR, "store_full",
             "path=%s records=%zu why=\"the disk is full; results wait until there is room\"", store->path,
             store->working.records);
    store_thread_wake_loop(store);
  }
  store_room_free(store);
}

// A second's rest between tries. False: the store is to close.
static bool rest(struct store *store) {
  uint64_t until = base_now_us() + STORE_RETRY_US;
  pthread_mutex_lock(&store->mutex);
  while (!store->stop && base_now_us() < until)
    wait_until(store, until);
  bool stop = store->stop;
  pthread_mutex_unlock(&store->mutex);
  return !stop;
}

static void background(struct store *store) {
  uint64_t now = base_now_us();
  if (!background_due(store, now)) return;
  if (now >= store->idle_at_us) {
    store->idle_at_us = now + STORE_IDLE_US;
    store->keep_due = true;
    store_room_look(store);
  }
  // In turn: where builds never stop ending, there is always something to learn.
  store->kept = store->keep_due && (!store->learn_due || !store->kept);
  if (store->kept)
    store->keep_due = store->keep_results_us > 0 && store_keep_slice(store);
  else if (store->learn_due && store->tight && !store_room_enough(store, STORE_LEARN_BYTES))
    store->retry_at_us = now + STORE_RETRY_US;
  else if (store->learn_due) {
    store->learn_due = store_learn_slice(store);
    store->keep_due |= !store->learn_due;  // what has just taught may be old
  }
  checkpoint(store);
}

static int on_wal(void *arg, sqlite3 *sqlite, const char *name, int pages) {
  struct store *store = arg;
  (void)sqlite, (void)name;
  store->wal_pages = pages;
  atomic_store(&store->log_pages, pages);
  return SQLITE_OK;
}

// After the acknowledgements, so that they do not wait for it. It alone moves pages from the log to the file.
static void checkpoint(struct store *store) {
  struct store_db *db = &store->writer;
  if (store->wal_pages < (store->tight ? 1 : STORE_WAL_PAGES)) return;
  int mode = store->tight ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
  int rc = sqlite3_wal_checkpoint_v2(db->sqlite, NULL, mode, NULL, NULL);
  store->wal_pages = 0;
  if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_FULL) return;
  if (rc == SQLITE_IOERR_WRITE && sqlite3_system_errno(db->sqlite) == ENOSPC) return;
  base_die(EXIT_INFRA, "store: cannot checkpoint %s: %s", store->path, sqlite3_errmsg(db->sqlite));
}
