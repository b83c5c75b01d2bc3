// Inside of `shard run`: the state that the files run*.c and alone.c share. Nobody else includes this.
#ifndef WORKER_RUN_IMPL_H
#define WORKER_RUN_IMPL_H

#include "worker/download.h"
#include "worker/held.h"
#include "worker/link.h"
#include "worker/runner.h"
#include "worker/spool_file.h"

enum { RUN_SIGNALS = 3 };

struct alone;

struct run {
  const struct options *options;
  struct identity identity;
  struct event_base *base;
  struct link *link;
  const struct runner_ops *ops;
  struct runner *runner;
  struct runner_spec spec;
  struct testlist *list;
  struct alone *alone;        // there was no server at the start, and it goes on without one; NULL: there was
  struct download *download;  // it has not collected: the build's list on its way to here
  struct held held;
  struct spool *spool;
  struct event *flush, *retry, *keep, *farewell, *on_signal[RUN_SIGNALS];
  struct spool_file file;                  // what the spool holds, while the server is away
  uint8_t own_session[MSG_SESSION_BYTES];  // without a server: the name that the file has in its place
  bool named;                              // it is made
  uint64_t keep_pause_us;
  bool keep_failed;  // the last time
  uint64_t held_lease[MSG_HELD_MAX];
  uint32_t held_count[MSG_HELD_MAX], *held_test;
  uint32_t running_tag;
  uint64_t running_since_us;  // 0: nothing runs
  bool announced;             // the server knows what runs
  uint64_t waiting_since_us;  // results wait since then, or the last acknowledgement, to be on the server's disk
  bool disk_full;             // it says that it has no room for them
  bool list_agreed, list_offered;
  bool wants;  // the runner wants tests
  bool asked;  // the server was asked for them, on this connection
  bool heard_goodbye;
  bool list_known;                    // the server has the list already
  uint8_t sources[MSG_DIGEST_BYTES];  // of the files of tests, when it has_sources
  bool has_sources;
  bool collecting;  // or another worker is making it
  bool finishing;   // the server has no more tests for the runner
  bool ended;       // the runner is over
  bool said_bye, gone;
  bool kept;    // run_keep was called
  bool fenced;  // the server found that tests fail on this machine alone
  int signo;
  enum runner_end_kind end_kind;
  char *why;
  char **late;
  size_t late_count;
  uint32_t passed, failed, skipped;
  int code;
};

// run_recall.c
// The server asks tests back: those that the runner has not begun go, and it hears which.
void run_recall(struct run *run, const Shardd__Recall *recall);
// Messages up to `seq` are acknowledged. A hello that was said before named their tests as being here; a server that
// knew no better has taken them for that, and is told that they are not.
void run_disown(struct run *run, uint64_t seq);

// run.c

void run_flush(struct run *run);  // what was reported goes out now

// run_facts.c: what this worker is.

int run_facts_begin(struct run *run, char *const *command, struct conf_error *error) MUST_CHECK;  // see facts.h
void run_facts_add(void *arg, const char *name, const char *value);                               // for runner_events

// run_list.c

void run_ask(struct run *run);          // run.c: asks for tests, if it needs any
void run_list_agreed(struct run *run);  // the server and this worker have the same list
void run_list_offer(struct run *run);
void run_list_reply(struct run *run, const Shardd__ListReply *reply);
void run_list_listed(void *arg, struct testlist *list);    // for runner_events
void run_list_sources(void *arg, const char *sha256_hex);  // for runner_events
// Whether the build's list is this worker's without a look at its own.
bool run_list_trusted(const struct run *run);
ProtobufCBinaryData run_list_sources_bytes(const struct run *run);

// run_lazy.c: a worker that has not collected.

// It begins without a list: asks for the build's. Again after a lost connection.
void run_lazy_begin(struct run *run);
void run_lazy_scanned(void *arg);  // for runner_events: it begins, unless it knows the list
void run_lazy_chunk(struct run *run, const Shardd__ListChunk *chunk);
void run_lazy_collect(struct run *run);  // nobody has the list, and this worker shall make it
void run_lazy_forget(struct run *run);   // it has collected after all: the list it was sent is not its own
// For runner_events: whether a file holds what the list says.
bool run_lazy_opened(void *arg, const char *file, const struct testlist *found, const char *text);

// run_end.c

// Ends the loop with an exit code; the first call counts.
void run_quit(struct run *run, int code);
void run_die(struct run *run, int code, const char *fmt, ...) PRINTF(3, 4);  // says why, and quits
// The server cannot be served any more: says what it will never know, and quits.
void run_give_up(struct run *run, int code, const char *what, const char *why);
// Errors outside of any test.
void run_copy_late(struct run *run, const struct runner_end *end);
// Why and how it leaves. Points into the run; bye->late is the caller's to free.
void run_fill_bye(const struct run *run, Shardd__Bye *bye);
// A signal: what it has not begun goes back at once, the results it has go first. The second one ends it.
void run_told_to_stop(struct run *run, int signo);
void run_bye(struct run *run);
// When the runner is over and every result is on the server's disk, the worker takes its leave.
void run_settle(struct run *run);
// The server's last word: says how it went, and quits.
void run_goodbye(struct run *run, const Shardd__Goodbye *goodbye);

// run_keep.c

// There are results, and the server may be away: soon there is a file of them if it is. `arg` is the run.
void run_keep_soon(void *arg);
void run_keep_due(void *arg);  // the loop will stand for a while: what was to be written soon is written now
void run_keep_now(evutil_socket_t fd, short what, void *arg);  // the event of that
// The run is over: writes the results that the server does not have into the file, and says so; what does not work is
// said, too. Returns its path, which the run owns; NULL: there is none.
const char *run_keep(struct run *run);

#endif
