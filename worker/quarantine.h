// `shard quarantine add|remove|list|export|import`: tests that are muted. Called by main.c. A file of them can be kept
// with the code and reviewed with it: quarantine.yml.
#ifndef WORKER_QUARANTINE_H
#define WORKER_QUARANTINE_H

#include "worker/options.h"

// words[0] is the action, words[1] a test or a file. Prints; returns the exit code. `import` makes the entries that
// came from a file be those of this one: it adds, changes and removes, and leaves entries made by hand or by
// themselves.
int quarantine_main(struct options *options, char **words, size_t count, char **command);

#endif
