// What this worker is, as the server compares it with the build's others: names and values. Filled by run.c from the
// machine and the command, and from what the test process says; sent in the hello and with the list. Only what is alike
// on all jobs of a homogeneous CI may be in it: no host, kernel, processor or absolute path.
#ifndef WORKER_FACTS_H
#define WORKER_FACTS_H

#include "proto/msg.h"
#include "worker/options.h"

struct identity;

struct facts {
  char *name[MSG_FACTS_MAX], *value[MSG_FACTS_MAX];
  size_t count;
};

struct facts_message {
  ProtobufCBinaryData name[MSG_FACTS_MAX], value[MSG_FACTS_MAX];
  Shardd__Facts facts;
};

// The worker's own: the runner, the command and what it runs by, variables; with a command runner, the system too.
// 0; -1 and *error: --env-key names too many variables, or something else.
int facts_of_worker(struct facts *facts, const struct options *options, const struct identity *identity,
                    char *const *command, bool by_command, struct conf_error *error) MUST_CHECK;
// Adds or replaces one; a bad name, or one too many, goes with its value into the last fact, "more". Control characters
// of the value become spaces, and of what is too long a beginning is left and a digest of the whole.
void facts_add(struct facts *facts, const char *name, const char *value);
// Points into facts, which must outlive the message.
void facts_fill(const struct facts *facts, struct facts_message *message);
void facts_release(struct facts *facts);

#endif
