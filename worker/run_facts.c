// What this worker is, told to the server: at first what it knows by itself, with the list what its test process says.
// Called by run.c and run_lazy.c. It must not know what is compared.
#include "worker/listing.h"
#include "worker/run_impl.h"

void run_facts_begin(struct run *run, char *const *command) {
  const struct runner_ops *ops = runner_find(options_runner(run->options), command);
  facts_of_worker(&run->identity.facts, run->options, &run->identity, command, ops && !ops->lists_itself);
}

void run_facts_add(void *arg, const char *name, const char *value) {
  struct run *run = arg;
  facts_add(&run->identity.facts, name, value);
}

void run_facts_offer(struct run *run) {
  struct facts_message message;
  facts_fill(&run->identity.facts, &message);
  listing_offer(run->list, run->link, &message.facts);
}
