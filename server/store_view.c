// Views: what another thread than the loop's reads through, with a read-only connection of its own. A view looks like a
// store to store_read.c, store_query.c and their like; what only the real one has (threads, records, the lock) it
// lacks. Its reads have an end: a long one keeps the log from being checkpointed, and who asked may have gone. Must not
// know what is read.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/store_impl.h"

enum {
  PROGRESS_OPS = 1000,   // of SQLite's machine, between two looks at the clock: some 20 µs
  REST_US = 2000,        // between two looks whether the log is short again …
  REST_MOST_US = 500000  // … for at most so long
};

static int on_progress(void *arg);
static void let_checkpoint(struct store *view);

struct store *store_view_new(struct store *store) {
  struct store *view = base_calloc(1, sizeof *view);
  view->viewed = store;
  view->path = base_strdup(store->path);
  view->quarantine = store->quarantine;
  view->epoch = store->epoch;
  view->lock_fd = view->file_fd = view->event_fd = -1;
  return view;
}

void store_view_free(struct store *view) {
  if (view == NULL) return;
  store_sql_close(&view->reader);
  store_report_release(&view->report);
  free(view->path);
  free(view);
}

void store_view_allow(struct store *view, uint64_t most_us) {
  atomic_store(&view->view_stop, false);
  view->view_until_us = base_now_us() + most_us;
}

void store_view_stop(struct store *view) {
  atomic_store(&view->view_stop, true);
}

int store_view_open(struct store *view, struct store_error *error) {
  assert(view->viewed != NULL);
  if (view->reader.sqlite == NULL && store_sql_open(&view->reader, view->path, false) != 0) {
    (void)snprintf(error->text, sizeof error->text, "the database cannot be opened: %s", view->reader.why);
    store_sql_close(&view->reader);
    return -1;
  }
  sqlite3_progress_handler(view->reader.sqlite, PROGRESS_OPS, on_progress, view);
  let_checkpoint(view);
  return 0;
}

bool store_view_over(const struct store *view) {
  return atomic_load(&view->view_stop) || base_now_us() >= view->view_until_us;
}

void store_view_tell(struct store *view) {
  store_thread_wake_loop(view->viewed);
}

static int on_progress(void *arg) {
  return store_view_over(arg);
}

// Questions without a gap would keep a reader in the log at every commit, and so the log from ever beginning again at
// its start. Where it has become long, a question waits until a commit has found no reader; where there are no commits,
// it grows no more.
static void let_checkpoint(struct store *view) {
  struct store *store = view->viewed;
  int pages = atomic_load(&store->log_pages);
  if (pages <= STORE_LOG_PAGES || pages == view->view_rested_at) return;
  uint64_t until_us = base_now_us() + REST_MOST_US;
  while (atomic_load(&store->log_pages) > STORE_LOG_PAGES && base_now_us() < until_us && !store_view_over(view))
    sqlite3_sleep(REST_US / 1000);
  view->view_rested_at = atomic_load(&store->log_pages);
}
