// What this worker is, at first what it knows by itself, then what its test process says.
// Called by run.c. It must not know what is compared.
#include "worker/run_impl.h"

int run_facts_begin(struct run *run, char *const *command, struct conf_error *error) {
  const struct runner_ops *ops = runner_find(options_runner(run->options), command);
  bool by_command = ops && !ops->lists_itself;
  return facts_of_worker(&run->identity.facts, run->options, &run->identity, command, by_command, error);
}

void run_facts_add(void *arg, const char *name, const char *value) {
  struct run *run = arg;
  facts_add(&run->identity.facts, name, value);
}
