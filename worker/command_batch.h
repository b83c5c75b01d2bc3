// One process's worth of tests of the command runner: its number, its private folder with the file of ids, where its
// results are and the reader for them. Knows no processes and no server; runner_command.c starts the process between
// begin and settle.
#ifndef WORKER_COMMAND_BATCH_H
#define WORKER_COMMAND_BATCH_H

#include <stdio.h>

#include "worker/command_argv.h"
#include "worker/command_results.h"

enum command_source { COMMAND_FROM_EXIT, COMMAND_FROM_JUNIT, COMMAND_FROM_TAP, COMMAND_FROM_TAP_FILE };
enum command_read { COMMAND_READ_MORE, COMMAND_READ_WHOLE, COMMAND_READ_BROKEN };

struct command_batch {
  enum command_source source;
  const char *pattern;  // path of the results, with placeholders; NULL: none
  const char *node;
  char *root;       // private folder of the runner; NULL until the first batch
  uint64_t number;  // counts up, from 1
  char number_text[24];
  char *folder, *ids_path, *results_path;
  bool in_order;  // TAP rows that name no test belong to the tests in order
  FILE *file;     // results being read
  struct junit *junit;
  struct tap *tap;                  // reads the process's output, or the file
  struct command_results *results;  // NULL: the exit status is the result
};

// Reads the option --results ("exit", "junit:PATH", "tap", "tap:PATH", "tap-in-order", "tap-in-order:PATH"; NULL or "":
// exit); its text and node must live on. 0; -1 and a message.
int command_batch_init(struct command_batch *batch, const char *option, const char *node, char *why,
                       size_t why_size) MUST_CHECK;
void command_batch_release(struct command_batch *batch);  // removes the folders

// The next batch: folder, file of ids, reader. A results file that an earlier run left is removed, it is no result.
int command_batch_begin(struct command_batch *batch, const char *const *ids, size_t count, char *why,
                        size_t why_size) MUST_CHECK;
struct command_words command_batch_words(const struct command_batch *batch);
void command_batch_feed(struct command_batch *batch, const char *bytes, size_t n);  // standard output
// The process is gone: reads the next part of the results, little enough not to hold up the loop. MORE: call again; the
// others: all was read and settled. BROKEN: with a message; what was read counts.
enum command_read command_batch_read(struct command_batch *batch, char *why, size_t why_size) MUST_CHECK;
void command_batch_end(struct command_batch *batch);

#endif
