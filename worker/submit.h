// `shard submit`: hands the server the results that it could not be given when they were made. Called by main.c, and by
// alone.c at the end of a run without a server.
#ifndef WORKER_SUBMIT_H
#define WORKER_SUBMIT_H

#include "worker/options.h"

struct submit {
  const struct options *options;
  uint64_t timeout_us;  // longest wait for the connection
  bool quiet;           // a server that is not there is nothing to speak of
  // Becomes true when the server refuses the results for what they are: another job ran the same part of the list, or
  // the build is of another list, commit or environment. NULL: not asked for.
  bool *refused;
};

// Hands over one file, and removes it when all of it is on the server's disk. An exit code.
int submit_file(const struct submit *submit, const char *path);

// Runs the subcommand: the files that are named, else all of the spool's folder.
int submit_main(struct options *options, char **words, size_t count, char **command);

#endif
