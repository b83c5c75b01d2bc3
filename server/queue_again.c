// READY tests that do not go back to the scheduler, in two lists in order of time: `again`, those to be retried or
// suspected of killing workers; and `held`, those whose skip has to be confirmed (queue_skip.c). What leaves a list
// leaves a hole. Called by queue.c, which moves tests, and by those who send a test round again; pure.
#include <assert.h>

#include "server/queue_impl.h"

static struct queue_waits *queue_waits_of(struct queue *queue, const struct queue_test *test) {
  return test->held ? &queue->held : &queue->again;
}

// Closes the holes: as often as there are more of them than tests.
static void queue_close_up(struct queue *queue, struct queue_waits *waits) {
  uint32_t end = 0;
  for (uint32_t i = waits->first; i < waits->end; i++) {
    if (waits->item[i].test == QUEUE_NO_TEST) continue;
    queue->test[waits->item[i].test].slot = end;
    waits->item[end++] = waits->item[i];
  }
  assert(end == waits->count);
  waits->first = 0;
  waits->end = end;
}

void queue_take_again(struct queue *queue, uint32_t number) {
  struct queue_test *test = &queue->test[number];
  struct queue_waits *waits = queue_waits_of(queue, test);
  assert(waits->item[test->slot].test == number);
  waits->item[test->slot].test = QUEUE_NO_TEST;
  test->again = test->held = false;
  waits->count--;
  waits->us -= sched_expected_us(queue->sched, number);
  while (waits->first < waits->end && waits->item[waits->first].test == QUEUE_NO_TEST)
    waits->first++;
  if (waits->end > 2 * waits->count) queue_close_up(queue, waits);
}

static void queue_put(struct queue *queue, uint32_t number, struct queue_again item) {
  struct queue_test *test = &queue->test[number];
  struct queue_waits *waits = queue_waits_of(queue, test);
  assert(test->place == PLACE_READY && !test->again);
  queue_unready(queue, number);
  if (waits->end == waits->room) {
    waits->room = waits->room ? waits->room * 2 : 8;
    waits->item = base_realloc(waits->item, waits->room, sizeof *waits->item);
  }
  test->slot = waits->end++;
  waits->item[test->slot] = item;
  waits->count++;
  waits->us += sched_expected_us(queue->sched, number);
  test->again = true;
}

void queue_put_again(struct queue *queue, uint32_t number, uint32_t avoid) {
  assert(!queue->test[number].held);
  queue_put(queue, number, (struct queue_again){.test = number, .avoid = avoid});
}

void queue_hold(struct queue *queue, uint32_t number) {
  assert(!queue->test[number].held && !queue->test[number].again);
  queue->test[number].held = true;
  queue_put(queue, number, (struct queue_again){.test = number, .avoid = QUEUE_NOBODY});
}

void queue_unhold(struct queue *queue, uint32_t number) {
  if (!queue->test[number].held) return;
  queue_take_again(queue, number);
  queue_ready(queue, number);
}
