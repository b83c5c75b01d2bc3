// The results that the server does not have, on the worker's own disk: written as they come while the server is away,
// so that not even SIGKILL loses them; removed when the server has them all after all; and left behind when it will not
// have them from this worker. Called by run.c, run_end.c and alone.c. It must not know what such a file looks like.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "worker/alone.h"
#include "worker/human.h"
#include "worker/run_impl.h"

// A pause between two files, and of how many times what the last one took: it is written as a whole.
enum { KEEP_PAUSE_US = 300 * 1000, KEEP_PAUSE_TIMES = 20 };

// The file names its worker, so that the server can tell which of the results it has, however often they are brought.
static ProtobufCBinaryData keep_session(struct run *run) {
  ProtobufCBinaryData session = link_session(run->link);
  if (session.len) return session;
  if (!run->named && getrandom(run->own_session, MSG_SESSION_BYTES, 0) != MSG_SESSION_BYTES) {
    base_die(EXIT_INFRA, "getrandom failed");
  }
  run->named = true;
  return msg_bytes(run->own_session, MSG_SESSION_BYTES);
}

// What a run that is not over leaves in its file is read when it was killed. If that was while it ended, its tests have
// all passed perhaps, and an error outside of them is what nobody will know: never taken for none.
static void keep_fill_bye(const struct run *run, bool last, Shardd__Bye *bye) {
  static const char unknown[] = "killed while it ended: whether that brought errors outside of its tests is not known";
  run_fill_bye(run, bye);
  if (run->ended) return;
  if (!last) {
    bye->reason = SHARDD__BYE_REASON__BYE_SIGNAL;  // its test process did not fail: nobody knows of it
    bye->text = msg_text("killed while the server was away");
  }
  bool ends = run->alone ? alone_done(run->alone, run) : run->finishing;
  if (ends) bye->late[bye->n_late++] = msg_text(unknown);
}

static int keep_write(struct run *run, bool last, char *why, size_t why_size) {
  struct spool_file_head head = {.list = run->list, .whole = run->alone != NULL};
  struct identity_policy policy;
  spool_close(run->spool);
  keep_fill_bye(run, last, &head.bye);
  head.hello = (Shardd__Hello)SHARDD__HELLO__INIT;
  identity_hello(&run->identity, run->options, &head.hello, &policy);
  head.hello.session = keep_session(run);
  if (run->alone) alone_fill(run->alone, &head.hello);
  int rc = spool_file_write(&run->file, run->options->spool, &head, run->spool, why, why_size);
  if (rc < 0 && run->file.path && run->late_count) {  // the older one does not tell of the errors; its room may do
    spool_file_remove(&run->file);
    rc = spool_file_write(&run->file, run->options->spool, &head, run->spool, why, why_size);
  }
  free(head.bye.late);
  return rc;
}

void run_keep_soon(void *arg) {
  struct run *run = arg;
  uint64_t us = run->keep_pause_us > KEEP_PAUSE_US ? run->keep_pause_us : KEEP_PAUSE_US;
  struct timeval after = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
  if (link_up(run->link) || spool_empty(run->spool) || event_pending(run->keep, EV_TIMEOUT, NULL)) return;
  event_add(run->keep, &after);
}

void run_keep_now(evutil_socket_t fd, short what, void *arg) {
  struct run *run = arg;
  char why[512];
  (void)fd;
  (void)what;
  if (link_up(run->link) || spool_empty(run->spool)) return;
  uint64_t began_us = base_now_us();
  int rc = keep_write(run, false, why, sizeof why);
  run->keep_pause_us = (base_now_us() - began_us) * KEEP_PAUSE_TIMES;
  if (rc < 0 && !run->keep_failed) fprintf(stderr, "shard: WARNING: the results are in memory only: %s\n", why);
  run->keep_failed = rc < 0;
}

void run_keep_due(void *arg) {
  struct run *run = arg;
  if (!event_pending(run->keep, EV_TIMEOUT, NULL)) return;
  event_del(run->keep);
  run_keep_now(-1, EV_TIMEOUT, run);
}

const char *run_keep(struct run *run) {
  char why[512];
  spool_close(run->spool);
  if (run->kept || (spool_empty(run->spool) && (!run->late_count || !run->alone || !run->list))) return NULL;
  run->kept = true;
  int rc = keep_write(run, true, why, sizeof why);
  spool_file_let_go(&run->file);
  if (rc < 0 && run->file.path && access(run->file.path, F_OK) != 0) spool_file_release(&run->file);
  char *safe = run->file.path ? human_safe(run->file.path, strlen(run->file.path), ESCAPE_LINE) : NULL;
  if (rc == 0) {
    fprintf(stderr, "shard: %zu results are kept in %s; `shard submit` hands them over when the server is back\n",
            spool_rows(run->spool), safe);
  } else if (safe) {
    fprintf(stderr, "shard: the last results are lost, those before are kept in %s: %s\n", safe, why);
  } else {
    fprintf(stderr, "shard: the results are lost: %s\n", why);
  }
  free(safe);
  return run->file.path;
}
