// `shard local`: a private server and N workers on this machine, for one run of a test command. Called by main.c.
#ifndef WORKER_LOCAL_H
#define WORKER_LOCAL_H

#include "worker/options.h"

enum { LOCAL_SERVER_RESTARTS = 3 };

// The subcommand; returns its exit code: the worst of its workers', never 0 unless the server says that the build is
// complete and nothing in it fails.
int local_main(struct options *options, char **words, size_t count, char **command);

#endif
