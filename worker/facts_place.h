// Where programs stand in a command: its first word, what is behind env, timeout, sh -c and the like, and the first
// word of each command of a script. Pure, a word at a time.
#ifndef WORKER_FACTS_PLACE_H
#define WORKER_FACTS_PLACE_H

#include <stdbool.h>
#include <stddef.h>

enum facts_at {
  FACTS_AT_PROGRAM,   // the word is a program, or a variable set for one
  FACTS_AT_OPTION,    // an option of a program that starts another one, or that one
  FACTS_AT_VALUE,     // the value of such an option
  FACTS_AT_SCRIPT,    // the text behind sh -c
  FACTS_AT_ARGUMENT,  // anything else
};

struct facts_place {
  enum facts_at at;
  bool shell;          // the options are a shell's
  const char *values;  // letters of the options that take a value
};

// The place of the first word.
struct facts_place facts_place_begin(void);
// The place behind a word of `n` bytes. in_script: the word is of a script or a command line, where operators stand
// and quotes count for nothing.
struct facts_place facts_place_next(struct facts_place place, const char *word, size_t n, bool in_script);

#endif
