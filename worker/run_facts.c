// What this worker is, at first what it knows by itself, then what its test process says.
// Called by run.c. It must not know what is compared.
#include "worker/run_impl.h"

void run_facts_begin(struct run *run, char *const *command) {
  const struct runner_ops *ops = runner_find(options_runner(run->options), command);
  facts_of_worker(&run->identity.facts, run->options, &run->identity, command, ops && !ops->lists_itself);
}

void run_facts_add(void *arg, const char *name, const char *value) {
  struct run *run = arg;
  facts_add(&run->identity.facts, name, value);
}
