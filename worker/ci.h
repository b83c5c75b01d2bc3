// What the CI says of this job, read from its environment variables by one table. Called by run.c, which lets explicit
// SHARD_* settings win; pure over a function that looks names up, so that tests can feed environments.
#ifndef WORKER_CI_H
#define WORKER_CI_H

#include "config/base.h"

enum { CI_NAME_BYTES = 1025, CI_TOKEN_BYTES = 257, CI_NODES_MAX = 1000000 };

// The numbers of Retried in shardd.proto.
enum ci_retried { CI_RETRIED_UNKNOWN, CI_RETRIED_NO, CI_RETRIED_YES };

struct ci_info {
  const char *name;              // "gitlab", …; "none"
  char build[CI_NAME_BYTES];     // the key of the build: pipeline and job group; empty: the CI does not tell, ask for
                                 // --build
  char node[CI_NAME_BYTES];      // stable name of this parallel job; empty: unknown
  int64_t index;                 // 0-based; -1: unknown, or a job without parallel
  uint32_t total;                // declared workers; 1 for a job without parallel; 0: unknown
  char attempt[CI_TOKEN_BYTES];  // differs between a job and its re-run; empty: unknown
  enum ci_retried retried;
  char commit[CI_TOKEN_BYTES];
  char branch[CI_NAME_BYTES];
  char job_url[CI_NAME_BYTES];
  bool fork;  // the code comes from a fork; false: it does not, or the CI does not tell
};

// The value of an environment variable, or NULL. `arg` is what ci_detect was given.
typedef const char *ci_lookup(const char *name, void *arg);

// Fills info from the environment. 0 (also outside any CI: name "none", index -1, all else empty); -1 and a message
// that names the variable when one is malformed.
int ci_detect(ci_lookup *lookup, void *arg, struct ci_info *info, char *why, size_t why_size) MUST_CHECK;

// The process's own environment, for ci_detect.
const char *ci_getenv(const char *name, void *arg);

// Names of all CIs known, in the order of detection, "none" last; NULL behind the last.
const char *ci_name(size_t i);

#endif
