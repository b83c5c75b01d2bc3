// Values of facts that are longer than a message takes: a beginning for people, and a digest of the whole for the
// comparison. Pure.
#ifndef WORKER_FACTS_LONG_H
#define WORKER_FACTS_LONG_H

#include <stdint.h>

// The value if it is at most MSG_FACT_MAX_BYTES long, else what stands for it. The caller frees it.
char *facts_long(const char *value);
// The same of a command with what is the job's own marked (MSG_FACT_OWN_BEGINS). Jobs mark different things in one
// command, each its own number wherever that stands: so the digest is not of what is marked, nor of any number up to
// `numbers`, which may be the number of a job.
char *facts_long_command(const char *command, uint64_t numbers);

#endif
