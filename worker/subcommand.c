// The subcommands of `shard`. Called by main.c. Knows of each its name, its options' bit and what words it takes, and
// nothing of what it does. To add a subcommand, add a row here and a bit in options.h.
#include "worker/subcommand.h"

#include <stdio.h>
#include <string.h>

#include "worker/admin.h"
#include "worker/bisect.h"
#include "worker/export.h"
#include "worker/history.h"
#include "worker/import.h"
#include "worker/local.h"
#include "worker/plan.h"
#include "worker/quarantine.h"
#include "worker/replay.h"
#include "worker/report.h"
#include "worker/run.h"
#include "worker/submit.h"
#include "worker/upkeep.h"

enum {
  SHOWN_BYTES = 80,
  WORD_MORE = OPTIONS_QUARANTINE | OPTIONS_EXPORT | OPTIONS_BUILD,  // may take one more word
  WORD_MANY = OPTIONS_IMPORT | OPTIONS_SUBMIT,                      // may take any number more
  MAY_RUN = OPTIONS_REPLAY,                                         // a command behind "--" is up to the user
};

static const struct subcommand subcommands[] = {
    {"run", OPTIONS_RUN, "[OPTION]... -- COMMAND...", "be a worker: lease tests, run them, report, until none are left",
     0, true, run_main},
    {"local", OPTIONS_LOCAL, "[OPTION]... -- COMMAND...", "a private server and several workers on this machine", 0,
     true, local_main},
    {"status", OPTIONS_STATUS, "[OPTION]...", "builds that are running, and how far they are", 0, false, admin_status},
    {"builds", OPTIONS_BUILDS, "[OPTION]...", "builds of the project, newest first", 0, false, history_builds},
    {"build", OPTIONS_BUILD, "[OPTION]... [KEY]", "one build: predicted, actual, idle, and each worker over its time",
     0, false, history_build},
    {"workers", OPTIONS_WORKERS, "[OPTION]...", "workers of a build", 0, false, history_workers},
    {"slow", OPTIONS_SLOW, "[OPTION]...", "slowest tests by their expected duration", 0, false, history_slow},
    {"slower", OPTIONS_SLOWER, "[OPTION]...", "tests that became slower, with the range of commits", 0, false,
     history_slower},
    {"flaky", OPTIONS_FLAKY, "[OPTION]...", "tests that fail although the code is good", 0, false, history_flaky},
    {"broken", OPTIONS_BROKEN, "[OPTION]...", "tests that fail whatever is tried, and since when", 0, false,
     history_broken},
    {"test", OPTIONS_TEST, "[OPTION]... ID", "the last runs of one test, its state and last failure", 1, false,
     history_test},
    {"log", OPTIONS_LOG, "[OPTION]...", "tests that became flaky, broken, muted or healthy, and why", 0, false,
     history_log},
    {"quarantine", OPTIONS_QUARANTINE, "[OPTION]... add ID | remove ID | list | export | import [FILE]",
     "tests that are muted: they run, and their failures do not count", 1, false, quarantine_main},
    {"owners", OPTIONS_OWNERS, "[OPTION]...", "flaky, broken and slow tests by their CODEOWNERS", 0, false,
     history_owners},
    {"import", OPTIONS_IMPORT, "[OPTION]... FILE...", "durations from .test_durations, JUnit XML or CSV", 1, false,
     import_main},
    {"export", OPTIONS_EXPORT, "[OPTION]... [FILE]", "durations to .test_durations, JUnit XML or CSV", 0, false,
     export_main},
    {"replay", OPTIONS_REPLAY, "[OPTION]... BUILD [-- COMMAND...]",
     "the order in which a worker ran, printed or run again", 1, false, replay_main},
    {"bisect", OPTIONS_BISECT, "[OPTION]... BUILD ID -- COMMAND...", "find the test that makes another one fail", 2,
     true, bisect_main},
    {"backup", OPTIONS_BACKUP, "[OPTION]... NAME", "a copy of the server's database, beside it", 1, false,
     upkeep_backup},
    {"check", OPTIONS_CHECK, "[OPTION]...", "is the server's database whole?", 0, false, upkeep_check},
    {"submit", OPTIONS_SUBMIT, "[OPTION]... [FILE]...", "hand over results that the server could not be given", 0,
     false, submit_main},
    {"wait", OPTIONS_WAIT, "[OPTION]...", "wait for a build's end; its verdict is the exit code", 0, false, admin_wait},
    {"report", OPTIONS_REPORT, "[OPTION]...", "summary of a build, or its merged JUnit XML", 0, false, report_main},
    {"plan", OPTIONS_PLAN, "[OPTION]...", "how long the suite would take on N workers, and how many are worth it", 0,
     false, plan_main},
};

const struct subcommand *subcommand_at(size_t i) {
  return i < COUNT_OF(subcommands) ? &subcommands[i] : NULL;
}

const struct subcommand *subcommand_find(const char *name) {
  for (size_t i = 0; i < COUNT_OF(subcommands); i++)
    if (strcmp(subcommands[i].name, name) == 0) return &subcommands[i];
  return NULL;
}

int subcommand_check(const struct subcommand *subcommand, const struct options *options, struct conf_error *error) {
  size_t most = subcommand->bit & WORD_MANY ? SIZE_MAX : subcommand->words + ((subcommand->bit & WORD_MORE) != 0);
  if (options->word_count > most) {
    char shown[SHOWN_BYTES];
    const char *word = options->words[most];
    (void)snprintf(error->text, sizeof error->text, "%s is no option%s",
                   base_quote(shown, sizeof shown, word, strlen(word)),
                   subcommand->takes_command ? "; the command stands behind --: shard run -- pytest tests" : "");
    return -1;
  }
  if (options->word_count < subcommand->words || (subcommand->takes_command && options->command == NULL)) {
    (void)snprintf(error->text, sizeof error->text, "%s is missing; usage: shard %s %s",
                   subcommand->takes_command ? "the command behind --" : "a word", subcommand->name, subcommand->usage);
    return -1;
  }
  if (!subcommand->takes_command && !(subcommand->bit & MAY_RUN) && options->command != NULL) {
    (void)snprintf(error->text, sizeof error->text, "it runs nothing, so nothing belongs behind --");
    return -1;
  }
  return 0;
}
