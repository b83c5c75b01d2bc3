// The known word that somebody probably meant: for flags, keys, subcommands and choices that do not exist. The caller
// offers the known words one after the other. Called by conf.c, conf_args.c and conf_value.c; knows only words.
#ifndef CONFIG_NEAREST_H
#define CONFIG_NEAREST_H

#include "config/base.h"

enum { NEAREST_MAX_BYTES = 48 };  // longer words have no nearest one

struct nearest {
  const char *word;
  const char *best;  // NULL: none was near enough
  size_t distance;
};

// Starts a search for `word`, which must live until its end.
void nearest_init(struct nearest *nearest, const char *word);

// Takes `known` (which must live as long as the answer) when it is nearer than what was offered before: the number of
// letters inserted, removed, replaced or swapped with their neighbour (optimal string alignment), at most a third of
// the word, at least one and at most three. Dashes and underscores count as the same.
void nearest_offer(struct nearest *nearest, const char *known);

// Writes "; did you mean LEADknown?" to out, or "" when nothing is near; returns out.
const char *nearest_hint(const struct nearest *nearest, const char *lead, char *out, size_t out_size);

#endif
