// A build's failures in the words of a CI: what its log, or its page of tests, understands. Printed by `shard report`
// beside the summary. Limits and escapes are those of each CI's documentation.
#ifndef WORKER_ANNOTATE_H
#define WORKER_ANNOTATE_H

#include <stdio.h>

#include "worker/summary.h"

// The numbers of --annotate (options_table.c).
enum annotate_form {
  ANNOTATE_AUTO,
  ANNOTATE_NONE,
  ANNOTATE_GITHUB,
  ANNOTATE_GITLAB,
  ANNOTATE_TEAMCITY,
  ANNOTATE_BUILDKITE
};

enum {
  ANNOTATE_GITHUB_MAX = 10,       // of each kind that GitHub shows of a step
  ANNOTATE_MESSAGE_BYTES = 2000,  // the end of an output
};

// What AUTO means in the CI called `ci` (ci.h); the others stay.
enum annotate_form annotate_choose(enum annotate_form form, const char *ci);

// Around all of the summary. GitHub: what is printed between is taken for no command. Nothing for the others, whose
// commands no safe text holds (human.h).
void annotate_guard(FILE *out, enum annotate_form form, bool begin);

// For summary_look, within annotate_guard: folds each failure's output where the log can (GitHub, GitLab, Buildkite).
// NULL: as it is.
summary_fold *annotate_fold(enum annotate_form form);

// Behind the summary. GitHub: an ::error for each failing or missing test and a ::warning for each flaky or muted one,
// ten of each at most. TeamCity: all tests as service messages. 0; -1 when writing failed.
int annotate_print(FILE *out, enum annotate_form form, const struct cases *cases, const char *suite) MUST_CHECK;

#endif
