// The subcommands that ask the server and print its answer. Called by main.c; each returns its exit code and prints
// what went wrong itself.
#ifndef WORKER_ADMIN_H
#define WORKER_ADMIN_H

#include "worker/ask.h"
#include "worker/options.h"

int admin_status(struct options *options, char **words, size_t count, char **command);
// Waits until the build is over, showing progress on stderr; its exit code is the build's.
int admin_wait(struct options *options, char **words, size_t count, char **command);

// Connects as the options say. EXIT_OK and *ask; else an exit code, and what is wrong was printed.
int admin_open(const struct options *options, struct ask **ask) MUST_CHECK;
// Inside a CI "the newest build" may be another pipeline's: EXIT_USAGE (printed) when no build was named there.
int admin_check_build(const struct options *options) MUST_CHECK;
// The same where a key may be a word, else NULL, or --branch as a flag may ask for its newest build; an empty key is
// none.
int admin_check_key(const struct options *options, const char *key) MUST_CHECK;
// Says that standard output could not be written; returns EXIT_INFRA.
int admin_fail_output(void);

#endif
