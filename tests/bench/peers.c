// Other tools' schedules. Called by makespan.c. None of them loses time between tests: only what it decides counts.
#include "tests/bench/peers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// ---- the static splits

static double finish_of(const struct suite *suite, const struct machine *machine, const uint32_t *owner, uint32_t who) {
  double sum = 0;
  uint32_t file = UINT32_MAX;
  for (uint32_t i = 0; i < suite->count; i++) {
    if (owner[i] != who) continue;
    sum += (double)suite->actual_us[i];
    if (file != suite->file_of[i]) sum += (double)suite->setup_us[suite->file_of[i]];
    file = suite->file_of[i];
  }
  return (double)(machine->join_us + machine->start_us) + sum * machine->speed;
}

static double latest(const struct suite *suite, const struct machine *machines, uint32_t n, const uint32_t *owner) {
  double end = 0;
  for (uint32_t i = 0; i < n; i++) {
    double finish = finish_of(suite, &machines[i], owner, i);
    if (finish > end) end = finish;
  }
  return end;
}

double peers_count(const struct suite *suite, const struct machine *machines, uint32_t n) {
  uint32_t *owner = base_calloc(suite->count, sizeof *owner);
  for (uint32_t i = 0; i < suite->count; i++)
    owner[i] = (uint32_t)((uint64_t)i * n / suite->count);
  double end = latest(suite, machines, n, owner);
  free(owner);
  return end;
}

struct item {
  uint64_t weight;
  uint32_t index;
};

static int compare_items(const void *a, const void *b) {
  const struct item *x = a, *y = b;
  if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

double peers_lpt(const struct suite *suite, const struct machine *machines, uint32_t n, bool by_file) {
  uint32_t count = by_file ? suite->file_count : suite->count;
  struct item *item = base_calloc(count, sizeof *item);
  struct estimate_out *out = base_calloc(suite->count, sizeof *out);
  uint32_t *owner = base_calloc(suite->count, sizeof *owner), *of = base_calloc(count, sizeof *of);
  uint64_t load[VIRTUAL_WORKERS_MAX] = {0};
  estimate_list(suite->history, suite->file_of, suite->count, suite->file_count, out);
  for (uint32_t i = 0; i < count; i++)
    item[i].index = i;
  for (uint32_t i = 0; i < suite->count; i++)
    item[by_file ? suite->file_of[i] : i].weight += out[i].expected_us;
  qsort(item, count, sizeof *item, compare_items);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t least = 0;
    for (uint32_t w = 1; w < n; w++)
      least = load[w] < load[least] ? w : least;
    load[least] += item[i].weight;
    of[item[i].index] = least;
  }
  for (uint32_t i = 0; i < suite->count; i++)
    owner[i] = of[by_file ? suite->file_of[i] : i];
  double end = latest(suite, machines, n, owner);
  free(item);
  free(out);
  free(owner);
  free(of);
  return end;
}

// ---- pytest-xdist

struct xdist {
  uint64_t next_us;
  uint32_t queue_begin, queue_end, file;
  uint32_t *queue;
};

static void xdist_give(struct xdist *node, uint32_t *next, uint32_t count, uint32_t many) {
  for (uint32_t i = 0; i < many && *next < count; i++)
    node->queue[node->queue_end++] = (*next)++;
}

static uint64_t xdist_cost(const struct suite *suite, const struct machine *machine, struct xdist *node) {
  uint32_t test = node->queue[node->queue_begin];
  double cost = (double)suite->actual_us[test];
  if (node->file != suite->file_of[test]) cost += (double)suite->setup_us[suite->file_of[test]];
  node->file = suite->file_of[test];
  return (uint64_t)(cost * machine->speed);
}

static uint32_t xdist_first(const struct xdist *node, uint32_t n) {
  uint32_t first = 0;
  for (uint32_t i = 1; i < n; i++)
    first = node[i].next_us < node[first].next_us ? i : first;
  return first;
}

double peers_xdist_load(const struct suite *suite, const struct machine *machines, uint32_t n) {
  assert(n > 0);
  struct xdist *node = base_calloc(n, sizeof *node);
  uint32_t next = 0, share = suite->count / (4 * n) > 2 ? suite->count / (4 * n) : 2;
  uint64_t end = 0;
  for (uint32_t i = 0; i < n; i++) {
    node[i] = (struct xdist){.file = UINT32_MAX, .queue = base_calloc(suite->count, sizeof(uint32_t))};
    xdist_give(&node[i], &next, suite->count, share);
    node[i].next_us =
        node[i].queue_end ? machines[i].join_us + xdist_cost(suite, &machines[i], &node[i]) : VIRTUAL_NEVER;
  }
  for (;;) {
    uint32_t first = xdist_first(node, n);
    if (node[first].next_us == VIRTUAL_NEVER) break;
    struct xdist *at = &node[first];
    uint64_t now = end = at->next_us;
    at->queue_begin++;
    uint32_t left = suite->count - next, least = left / n / 4 > 2 ? left / n / 4 : 2,
             most = left / n / 2 > 2 ? left / n / 2 : 2;
    uint32_t waiting = at->queue_end - at->queue_begin;
    if (waiting < least) xdist_give(at, &next, suite->count, most - waiting);
    at->next_us = at->queue_begin < at->queue_end ? now + xdist_cost(suite, &machines[first], at) : VIRTUAL_NEVER;
  }
  for (uint32_t i = 0; i < n; i++)
    free(node[i].queue);
  free(node);
  return (double)end;
}

// ---- worksteal

static uint32_t xdist_longest(const struct xdist *node, uint32_t n) {
  uint32_t longest = 0;
  for (uint32_t i = 1; i < n; i++) {
    if (node[i].queue_end - node[i].queue_begin > node[longest].queue_end - node[longest].queue_begin) longest = i;
  }
  return longest;
}

static void xdist_steal(struct xdist *node, uint32_t n, struct xdist *thief) {
  struct xdist *victim = &node[xdist_longest(node, n)];
  uint32_t waiting = victim->queue_end - victim->queue_begin, most = waiting > 2 ? waiting - 2 : 0;
  uint32_t taken = waiting / 2 < most ? waiting / 2 : most;
  if (victim == thief) return;
  memcpy(thief->queue + thief->queue_end, victim->queue + victim->queue_end - taken, taken * sizeof *thief->queue);
  thief->queue_end += taken;
  victim->queue_end -= taken;
}

double peers_xdist_worksteal(const struct suite *suite, const struct machine *machines, uint32_t n) {
  assert(n > 0);
  struct xdist *node = base_calloc(n, sizeof *node);
  uint32_t next = 0, first;
  uint64_t end = 0;
  for (uint32_t i = 0; i < n; i++) {
    node[i] = (struct xdist){.file = UINT32_MAX, .queue = base_calloc(2 * (size_t)suite->count, sizeof(uint32_t))};
    xdist_give(&node[i], &next, suite->count, (uint32_t)((uint64_t)suite->count * (i + 1) / n) - next);
    node[i].next_us =
        node[i].queue_end ? machines[i].join_us + xdist_cost(suite, &machines[i], &node[i]) : VIRTUAL_NEVER;
  }
  while (node[first = xdist_first(node, n)].next_us != VIRTUAL_NEVER) {
    struct xdist *at = &node[first];
    end = at->next_us;
    if (++at->queue_begin == at->queue_end) at->queue_begin = at->queue_end = 0;
    if (at->queue_end - at->queue_begin < 2) xdist_steal(node, n, at);
    at->next_us = at->queue_begin < at->queue_end ? end + xdist_cost(suite, &machines[first], at) : VIRTUAL_NEVER;
  }
  for (uint32_t i = 0; i < n; i++)
    free(node[i].queue);
  free(node);
  return (double)end;
}

// ---- a shuffled queue

double peers_random(const struct suite *suite, const struct machine *machines, uint32_t n, uint64_t seed) {
  struct xdist node[VIRTUAL_WORKERS_MAX] = {0};
  uint32_t *order = base_calloc(suite->count, sizeof *order);
  double end = 0;
  for (uint32_t i = 0; i < suite->count; i++) {
    uint32_t other = (uint32_t)(suite_random(&seed) % (i + 1));
    order[i] = order[other];
    order[other] = i;
  }
  for (uint32_t i = 0; i < n; i++)
    node[i] = (struct xdist){.file = UINT32_MAX, .next_us = machines[i].join_us};
  for (uint32_t i = 0; i < suite->count; i++) {
    uint32_t first = xdist_first(node, n);
    node[first].queue = &order[i];
    node[first].queue_begin = 0;
    node[first].next_us += machines[first].start_us + xdist_cost(suite, &machines[first], &node[first]);
    if ((double)node[first].next_us > end) end = (double)node[first].next_us;
  }
  free(order);
  return end;
}
