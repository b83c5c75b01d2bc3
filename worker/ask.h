// Asking the server as an administrator: connect, say hello, send a query, get rows or a message with an exit code.
// Used by the admin commands, which wait, and by local.c, which polls from its loop. Knows the conversation, not the
// answers.
#ifndef WORKER_ASK_H
#define WORKER_ASK_H

#include "worker/answer.h"

struct ask;

enum ask_failure {
  ASK_LOST,     // no connection, or it broke: connecting again may help
  ASK_TIMEOUT,  // no answer in time; the connection and the question stand
  ASK_REFUSED,  // the server said no: token, version
  ASK_UNKNOWN,  // no such project, build or test
  ASK_TRY,      // the server cannot just now: ask again
};

struct ask_error {
  enum ask_failure failure;
  int exit_code;      // EXIT_USAGE or EXIT_INFRA
  uint64_t retry_us;  // a busy server asked to be asked again after this; 0: it did not
  char text[640];     // complete for printing, says what to do
};

struct ask_plan {
  const char *address, *token, *project, *suite;
};

// Connects and is let in, within timeout_ms, in which a busy server is tried again as it asks for. `token` "" sends
// none. 0, and the caller closes *out; -1 and *error.
int ask_open(struct ask **out, const char *address, const char *token, unsigned timeout_ms,
             struct ask_error *error) MUST_CHECK;
// The same as a planning client, which may send a list (ask_push) before it asks.
int ask_open_plan(struct ask **out, const struct ask_plan *plan, unsigned timeout_ms,
                  struct ask_error *error) MUST_CHECK;
void ask_close(struct ask *ask);

// Sends a message that is no question, and waits until the connection has taken it. 0; -1 and *error.
int ask_push(struct ask *ask, const Shardd__Frame *frame, unsigned timeout_ms, struct ask_error *error) MUST_CHECK;

// Sends a query; its answer is the next that ask_poll gives, earlier unanswered ones are forgotten. 0; -1 and *error.
int ask_send(struct ask *ask, const Shardd__Query *query, struct ask_error *error) MUST_CHECK;
// Moves bytes without waiting: 1 and *answer (valid until the next call), 0 when it is not there yet, -1 and *error.
int ask_poll(struct ask *ask, struct answer *answer, struct ask_error *error) MUST_CHECK;

// Waits at most timeout_ms for the answer to the query sent last; with `query`, sends that one first. 0 and *answer
// (valid until the next call); -1 and *error. A busy server is sent `query` again as it asks for, until timeout_ms have
// passed. ASK_TIMEOUT when it is worth waiting on.
int ask_wait(struct ask *ask, const Shardd__Query *query, unsigned timeout_ms, struct answer *answer,
             struct ask_error *error) MUST_CHECK;

#endif
