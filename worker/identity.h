// Who this worker is: explicit options first, then what the CI says, then what the machine says. Built once by run.c
// and sent in every hello.
#ifndef WORKER_IDENTITY_H
#define WORKER_IDENTITY_H

#include "proto/msg.h"
#include "worker/ci.h"
#include "worker/facts.h"
#include "worker/options.h"

struct identity {
  bool numbered;  // the node is this job's number among `total`
  struct ci_info ci;
  char build[CI_NAME_BYTES], node[CI_NAME_BYTES], attempt[CI_TOKEN_BYTES];
  char commit[CI_TOKEN_BYTES], branch[CI_NAME_BYTES];
  char host[256];
  uint32_t total;
  bool alone;  // no other job has its key, and the CI does not tell when it is run again: with the server it goes by
               // the name 0, by which it is known when it returns
  bool untrusted;
  ProtobufCBinaryData token[MSG_TOKENS_MAX];  // names, of --tokens
  uint32_t token_count[MSG_TOKENS_MAX];
  size_t tokens;
  uint32_t mixed;      // MSG_MIXED_*
  struct facts facts;  // run.c adds them
};

// 0; -1 and *error (a CI variable that makes no sense, a build that nobody names).
int identity_make(struct identity *identity, const struct options *options, struct conf_error *error) MUST_CHECK;

// Says on stderr what the CI's variables were taken to mean, so that `shard report --build KEY` can be given the key.
// Silent when the build was named by an option.
void identity_say(const struct identity *identity, const struct options *options);

// A policy with what it points at.
struct identity_policy {
  Shardd__Policy policy;
  struct facts_message facts;
  ProtobufCBinaryData token[MSG_TOKENS_MAX];
  uint32_t token_count[MSG_TOKENS_MAX];
};

// Fills a hello that points into identity, options and *policy; session and held leases are the caller's.
void identity_hello(const struct identity *identity, const struct options *options, Shardd__Hello *hello,
                    struct identity_policy *policy);

#endif
