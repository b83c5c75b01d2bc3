// The report of a build: all its attempts, page by page, as cases, JSON or the merged JUnit file. `shard report`, and
// the end of `shard local`.
#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H

#include "worker/ask.h"
#include "worker/cases.h"
#include "worker/options.h"
#include "worker/spans.h"
#include "worker/table.h"

struct report_of {
  const char *project, *suite, *build;  // build "": the newest
};

// Asks for every page and adds it to `cases`; with `json` (NULL: none) each page's rows also to that array. Then asks
// for the build's spans. 0; -1 and *error.
int report_fetch(struct ask *ask, const struct report_of *of, unsigned timeout_ms, struct cases *cases,
                 struct spans *spans, struct json_t *json, struct ask_error *error) MUST_CHECK;

// Writes the JUnit report of the cases to a file, in one step, or to stdout ("-"). 0; -1 and a message in why.
int report_write(const struct cases *cases, const char *suite, const char *path, char *why, size_t why_size) MUST_CHECK;

// The subcommand; returns its exit code.
int report_main(struct options *options, char **words, size_t count, char **command);

#endif
