// One question, printed: as a table, JSON or CSV, page by page, with owners, and with --fail-if as the exit code. That
// rule is held to all rows there are, however few of them are printed. Called by the admin commands. Knows no column by
// name.
#ifndef WORKER_SHOW_H
#define WORKER_SHOW_H

#include "worker/ask.h"
#include "worker/gate.h"
#include "worker/options.h"

enum { SHOW_ALL = 2000000000 };  // a limit that no answer reaches

struct show {
  Shardd__QueryKind kind;
  const char *test, *build;     // NULL: none, and that of the options
  const char *empty;            // what to print when there are no rows
  uint64_t limit;               // 0: that of the options; SHOW_ALL: every row
  bool any_project, any_suite;  // what nobody named is left open
  // Instead of printing: takes each page; anything but 0 ends it with that exit code. NULL: print.
  int (*on_page)(void *arg, const struct answer *answer);
  void *arg;
};

// An exit code; what went wrong was printed.
int show_run(const struct options *options, const struct show *show);
// The same over an open connection, without --fail-if.
int show_ask(struct ask *ask, const struct options *options, const struct show *show);
// Prints rows that were made here, and holds --fail-if to them.
int show_answer(const struct options *options, const struct answer *answer, const char *empty);
// After the last row: says so when --fail-if holds. An exit code.
int show_gate(const struct options *options, const struct gate *gate);
// What the options say of which project, suite, build, branch and age a query is about.
void show_fill(const struct options *options, const struct show *show, Shardd__Query *query);

#endif
