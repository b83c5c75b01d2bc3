// The words of a test command: {} for the ids of a batch, {file} for a file of them, {tmp}, {node} and {batch}; "{{x}}"
// is the text "{x}". Used by the command runner; knows no processes. Arguments stay arguments: nothing here is ever
// given to a shell.
#ifndef WORKER_COMMAND_ARGV_H
#define WORKER_COMMAND_ARGV_H

#include "config/base.h"

// What the ids of one process may take up as arguments.
enum { COMMAND_ARGV_IDS_MAX_BYTES = 120 * 1024 };

struct command_words {
  const char *tmp;    // the batch's private folder
  const char *file;   // path of the file that holds the ids
  const char *node;   // NULL counts as ""
  const char *batch;  // number of the batch
};

// 0; -1 and a message when {} stands inside a word, where ids cannot become arguments of their own.
int command_argv_check(char *const *argv, char *why, size_t why_size) MUST_CHECK;
// Whether a word (or any part of one) is "{NAME}", not preceded by "$".
bool command_argv_has(char *const *argv, const char *name);
// How many of the ids, at least one, go into one process.
size_t command_argv_fit(char *const *argv, const char *const *ids, size_t count);
// The words of the process, NULL-terminated; the ids stand where {} is, or last when neither {} nor {file} is there.
char **command_argv_expand(char *const *argv, const struct command_words *words, const char *const *ids, size_t count);
void command_argv_free(char **argv);
// One word with {tmp}, {file}, {node} and {batch} replaced; the caller frees it.
char *command_argv_word(const char *word, const struct command_words *words);

#endif
