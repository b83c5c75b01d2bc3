// The end of a build as Markdown: for GitHub's step summary, Buildkite's annotations, a comment on a merge request.
// Called by report.c. Knows cases, and nothing of who reads it.
#ifndef WORKER_MARKDOWN_H
#define WORKER_MARKDOWN_H

#include <stdio.h>

#include "worker/cases.h"
#include "worker/summary.h"

// GitHub drops a summary of more than 1 MiB as a whole, Buildkite refuses one.
enum { MARKDOWN_MAX_BYTES = 1000 * 1000, MARKDOWN_OUTPUT_BYTES = 8 * 1024 };

// Verdict and counts; the failing tests with the ends of their outputs, folded, as many as fit; flaky, muted and
// missing ones by name; the slowest. Names and outputs are shown as they are, and can form no markup. At most
// MARKDOWN_MAX_BYTES. 0; -1 when out failed.
int markdown_print(FILE *out, const struct cases *cases, const struct summary *summary) MUST_CHECK;

#endif
