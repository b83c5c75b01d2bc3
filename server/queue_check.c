// Asserts that a queue is sound: every test in exactly one place, every counter equal to what it counts, every list
// linked both ways. Called after each operation in tests and simulation, never in the daemon: it walks everything.
#include <assert.h>

#include "server/queue_impl.h"

static void queue_check_test(const struct queue *queue, uint32_t number) {
  const struct queue_test *test = &queue->test[number];
  bool needs = tokens_need(queue->tokens, number);
  bool free = needs ? tokens_holds(queue->tokens, number) : sched_is_free(queue->sched, number);
  assert(!needs || !sched_is_free(queue->sched, number));
  assert(!test->again || (test->place == PLACE_READY && !free));
  assert(free == (test->place == PLACE_READY && !test->again));
  assert((test->place == PLACE_DONE) == (test->verdict != VERDICT_NONE));
  assert((test->place == PLACE_LEASED || test->again) == (test->slot != QUEUE_NO_SLOT));
  assert(!test->held || test->again);
  const struct queue_waits *waits = test->held ? &queue->held : &queue->again;
  assert(!test->again || waits->item[test->slot].test == number);
  assert(test->place != PLACE_READY || !queue_skip_voted(queue, number) || test->again);
  assert(!queue_is_suspect(test) || test->place != PLACE_READY || test->again);
  if (test->place != PLACE_LEASED) return;
  assert(test->slot < queue->lease_count && queue->lease[test->slot] && queue->lease[test->slot]->live);
  const struct queue_lease *lease = queue->lease[test->slot];
  uint32_t found = 0;
  for (uint32_t i = 0; i < lease->count; i++) {
    found += lease->test[i] == number && !lease->reported[i];
  }
  assert(found == 1);
}

static void queue_check_tests(const struct queue *queue) {
  uint32_t place[PLACE_DONE + 1] = {0}, verdict[VERDICT_MUTED + 1] = {0}, again = 0, held = 0;
  uint32_t retried = 0, settled = 0;
  uint64_t leased_us = 0, again_us = 0, held_us = 0;
  for (uint32_t i = 0; i < queue->total; i++) {
    queue_check_test(queue, i);
    place[queue->test[i].place]++;
    verdict[queue->test[i].verdict]++;
    again += queue->test[i].again && !queue->test[i].held;
    held += queue->test[i].held;
    if (queue->test[i].again) *(queue->test[i].held ? &held_us : &again_us) += sched_expected_us(queue->sched, i);
    retried += queue->test[i].failures > 0;
    if (queue->test[i].place == PLACE_LEASED) leased_us += sched_expected_us(queue->sched, i);
  }
  assert(again == queue->again.count && again_us == queue->again.us && leased_us == queue->leased_us);
  assert(held == queue->held.count && held_us == queue->held.us);
  for (size_t i = 0; i < COUNT_OF(place); i++)
    assert(place[i] == queue->place_count[i]);
  for (size_t i = 0; i < COUNT_OF(verdict); i++)
    assert(verdict[i] == queue->by_verdict[i]);
  assert(queue->state != QUEUE_COMPLETE || place[PLACE_DONE] == queue->total);
  assert(retried == queue->retried);
  for (size_t i = 0; i < COUNT_OF(queue->by_status); i++)
    settled += queue->by_status[i];
  assert(settled == place[PLACE_DONE]);
}

static void queue_check_list(const struct queue *queue, enum queue_list list) {
  uint32_t previous = QUEUE_NOBODY, n = 0;
  for (uint32_t i = queue->fifo[list].head; i != QUEUE_NOBODY; i = queue->worker[i].link[list].next) {
    const struct queue_link *link = &queue->worker[i].link[list];
    assert(link->in && link->prev == previous && n++ < queue->worker_count);
    if (list == LIST_HEARD && previous != QUEUE_NOBODY) {
      assert(queue->worker[previous].heard_us <= queue->worker[i].heard_us);
    }
    previous = i;
  }
  assert(queue->fifo[list].tail == previous);
  assert(list != LIST_PARKED || n == queue->parked);
}

static void queue_check_lease(const struct queue *queue, uint32_t slot) {
  const struct queue_lease *lease = queue->lease[slot];
  uint32_t held = 0, open = 0;
  for (uint32_t i = 0; i < lease->count; i++) {
    const struct queue_test *test = &queue->test[lease->test[i]];
    held += test->place == PLACE_LEASED && test->slot == slot;
    open += !lease->reported[i];
  }
  assert(held == lease->held && open == lease->open);
}

static uint64_t queue_check_held_us(const struct queue *queue, uint32_t slot) {
  const struct queue_lease *lease = queue->lease[slot];
  uint64_t held_us = 0;
  for (uint32_t i = 0; i < lease->count; i++) {
    const struct queue_test *test = &queue->test[lease->test[i]];
    if (test->place == PLACE_LEASED && test->slot == slot) held_us += sched_expected_us(queue->sched, lease->test[i]);
  }
  return held_us;
}

static void queue_check_worker(const struct queue *queue, uint32_t number, uint32_t *failing) {
  const struct queue_worker *worker = &queue->worker[number];
  assert(!worker->left || (!worker->connected && !worker->link[LIST_HEARD].in));
  assert(!worker->drained || !worker->connected);
  assert(!worker->link[LIST_PARKED].in || (worker->connected && !worker->asked && worker->sched.file == SCHED_NO_FILE));
  assert(!worker->connected || worker->link[LIST_HEARD].in || queue_ended(queue));
  uint64_t held_us = 0;
  for (uint32_t i = 0; i < worker->slot_count; i++) {
    const struct queue_lease *lease = queue->lease[worker->slot[i]];
    held_us += queue_check_held_us(queue, worker->slot[i]);
    assert(lease && lease->worker == number && lease->open > 0);
    assert(!lease->live || worker->link[LIST_HEARD].in);
    assert(lease->live == (lease->held > 0));
    queue_check_lease(queue, worker->slot[i]);
  }
  assert(held_us == worker->held_us);
  *failing += worker->own_failing;
  assert(worker->fact == FACT_NONE ? !worker->fact_round : worker->left || worker->fact_round);
  assert(!worker->owes || (!worker->left && !queue_fact_open(worker)));
}

void queue_check(const struct queue *queue) {
  if (queue->sched) {
    sched_check(queue->sched);
    if (queue->tokens) tokens_check(queue->tokens);
    queue_check_tests(queue);
    queue_skip_check(queue);
  }
  uint32_t connected = 0, left = 0, awaited = 0, failing = 0, recalls = 0, owing = 0, facts[FACT_BROKEN + 1] = {0};
  for (uint32_t i = 0; i < queue->lease_count; i++)
    recalls += queue->lease[i] && queue->lease[i]->recalled;
  assert(recalls == queue->recalls);
  for (uint32_t i = 0; i < queue->worker_count; i++) {
    queue_check_worker(queue, i, &failing);
    connected += queue->worker[i].connected;
    left += queue->worker[i].left;
    awaited += queue->worker[i].awaited;
    owing += queue->worker[i].owes;
    facts[queue->worker[i].fact] += queue_fact_open(&queue->worker[i]);
  }
  assert(connected == queue->connected && left == queue->left && awaited == queue->awaited);
  assert(facts[FACT_LATE] == queue->late_errors && facts[FACT_BROKEN] == queue->broken);
  assert(owing == queue->owing);
  assert(failing == queue_failing_count(queue) && queue->forgiven <= failing);
  for (enum queue_list list = LIST_HEARD; list < LIST_COUNT; list++) {
    queue_check_list(queue, list);
  }
  assert((queue->connected == 0) == (queue->idle_since_us > 0));
}
