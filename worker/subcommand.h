// What `shard` can do: the table of its subcommands. Used by main.c; tests walk it, so that none is forgotten.
#ifndef WORKER_SUBCOMMAND_H
#define WORKER_SUBCOMMAND_H

#include "worker/options.h"

struct subcommand {
  const char *name;
  enum options_command bit;
  const char *usage;  // behind the name
  const char *help;
  size_t words;        // it takes exactly so many
  bool takes_command;  // it needs a command behind "--"; the others take none
  int (*run)(struct options *options, char **words, size_t count, char **command);
};

// In the order of the help; NULL behind the last.
const struct subcommand *subcommand_at(size_t i);
// NULL: there is none of that name.
const struct subcommand *subcommand_find(const char *name);
// Whether the words and the command are as many as it takes. 0; -1 and *error.
int subcommand_check(const struct subcommand *subcommand, const struct options *options,
                     struct conf_error *error) MUST_CHECK;

#endif
