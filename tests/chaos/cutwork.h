// What a daemon would put into its store, by chance: builds, workers, lists, results with and without output, rounds,
// ends. Each record goes into the model at the same moment.
#ifndef TESTS_CHAOS_CUTWORK_H
#define TESTS_CHAOS_CUTWORK_H

#include "tests/chaos/cutmodel.h"
#include "tests/chaos/rng.h"

// Puts a burst of records, at least one. `flood`: one of them is longer than the log may grow. Gives the last ticket.
uint64_t cutwork_burst(struct store *store, struct model *model, struct rng *rng, bool flood);
// Takes the row ids of a list that the store has finished.
void cutwork_listed(struct model *model, const struct store_listed *listed);

#endif
