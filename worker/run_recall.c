// Steal-back, the worker's side: another worker has nothing to do, and the server asks for tests of a lease that have
// not begun here. What the runner can still give goes back; the answer is sent in any case. Called by run.c.
#include <stdlib.h>

#include "worker/run_impl.h"

static void recall_answer(struct run *run, uint64_t lease, uint32_t *numbers, size_t count) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Released released = SHARDD__RELEASED__INIT;
  released.lease = lease;
  released.n_test = count;
  released.test = numbers;
  frame.body_case = SHARDD__FRAME__BODY_RELEASED;
  frame.released = &released;
  link_send(run->link, &frame);
}

void run_recall(struct run *run, const Shardd__Recall *recall) {
  size_t asked, given = 0;
  uint32_t *tags = held_tags(&run->held, recall->lease, recall->test, recall->n_test, &asked);
  uint32_t *numbers = base_calloc(asked + 1, sizeof *numbers);
  bool *taken = base_calloc(asked + 1, sizeof *taken);
  if (!run->ended && asked) run->ops->release(run->runner, tags, asked, taken);
  for (size_t i = 0; i < asked; i++) {
    if (taken[i]) numbers[given++] = held_give_back(&run->held, tags[i]);
  }
  if (run->options->verbose) fprintf(stderr, "shard: %zu tests handed back for another worker\n", given);
  recall_answer(run, recall->lease, numbers, given);
  held_ack(&run->held, 0);  // a lease of which all else is done is over by this
  free(tags);
  free(numbers);
  free(taken);
}

void run_disown(struct run *run, uint64_t seq) {
  for (struct held_lease *lease = run->held.first; lease; lease = lease->next) {
    size_t count;
    uint32_t *numbers = held_disown(lease, seq, &count);
    if (count) recall_answer(run, lease->id, numbers, count);
    free(numbers);
  }
}
