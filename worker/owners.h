// Who owns a file of tests: a CODEOWNERS file as GitHub and GitLab have it. Called by the admin commands, which add the
// owner to tables of tests. Reads one file; must not know the server.
#ifndef WORKER_OWNERS_H
#define WORKER_OWNERS_H

#include "worker/answer.h"

struct owners;

// `path`, else (path "") the first of CODEOWNERS, .github/, .gitlab/ and docs/CODEOWNERS in the working folder. 0, and
// the caller frees *out; *out is NULL when there is none. -1 and why: a file that was named cannot be opened; or
// "PATH:LINE: …", a line over 4,094 bytes or more than 20,000 rules.
int owners_load(const char *path, struct owners **out, char *why, size_t why_size) MUST_CHECK;
void owners_free(struct owners *owners);

// The owners of a file, as written there ("@team @me"); the last pattern that matches decides. "": nobody. Patterns are
// those of owners_match.h. [Sections] and their default owners are GitLab's. A byte order mark is dropped.
const char *owners_of(const struct owners *owners, const char *file);

// A copy of an answer with a last column "owner", by its column "file", else the test's name up to a
// colon. Lives until owners_free or the next call;
// owners NULL, or an answer without files: the answer itself.
struct answer owners_add(struct owners *owners, const struct answer *answer);

#endif
