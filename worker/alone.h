// A worker without a server, as `--fallback static` has it: it runs its own part of the list, says itself how that
// went, and leaves the results for the server. Called by run.c where it would otherwise ask the server.
#ifndef WORKER_ALONE_H
#define WORKER_ALONE_H

#include "worker/identity.h"
#include "worker/run_impl.h"

struct alone;

// Whether this job may go on without a server, and as which of how many. NULL: it may not; if it was asked to, it is
// said why not.
struct alone *alone_new(const struct options *options, const struct identity *identity);
// With a server: says when it could not go on without, as far as that is a matter of settings.
void alone_check(const struct options *options, const struct identity *identity);
void alone_free(struct alone *alone);

// The list is there: works out this job's part.
void alone_listed(struct alone *alone, struct run *run);
// The runner wants tests: gives it some of that part, or finishes it.
void alone_give(struct alone *alone, struct run *run);
void alone_result(struct alone *alone, const struct run *run, uint32_t number, enum runner_status status);
void alone_fill(const struct alone *alone, Shardd__Hello *hello);   // which part it runs
bool alone_done(const struct alone *alone, const struct run *run);  // each test of its part has a result
// The runner is over: says how it went, keeps the results and tries to hand them over. Returns the exit code.
int alone_end(struct alone *alone, struct run *run);

// The part of job `index` of `total` in collection order, as numbers on the wire; the caller frees it, *count of them.
// Each test is of one part, and the parts are the same on every machine that has the same ids, in whatever order: a run
// of neighbours in byte order each, of equal counts. Tests of one group, and those that need the same token, are
// together in the part of the first of them.
uint32_t *alone_part(const struct testlist *list, uint32_t index, uint32_t total, size_t *count);

#endif
