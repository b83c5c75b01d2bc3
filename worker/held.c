// Bookkeeping of leases on the worker's side; run.c is the only caller. It must not know runners or connections.
#include "worker/held.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/human.h"

_Static_assert((int)SHARDD__CAP_FROM__CAP_FROM_ASKED == (int)RUNNER_CAP_ASKED, "origins of a cap differ");
_Static_assert((int)SHARDD__CAP_FROM__CAP_FROM_LONGER == (int)RUNNER_CAP_LONGER, "origins of a cap differ");

static char *held_text(const ProtobufCBinaryData *bytes) {
  return bytes->len ? base_memdup0(bytes->data, bytes->len) : NULL;
}

static void held_free_lease(struct held_lease *lease) {
  for (uint32_t i = 0; i < lease->count; i++) {
    free(lease->test[i].id);
    free(lease->test[i].file);
  }
  free(lease->test);
  free(lease);
}

static bool held_fill(struct held_lease *lease, const Shardd__Lease *from, const struct testlist *list, uint32_t i,
                      struct runner_test *out) {
  struct held_test *test = &lease->test[i];
  test->number = from->test[i];
  if (from->n_name) {
    test->id = held_text(&from->name[i]);
    test->file = from->n_file ? held_text(&from->file[i]) : NULL;
    out->id = test->id;
    out->file = test->file;
  } else if (list && test->number < testlist_count(list)) {
    size_t position = testlist_position(list, test->number);
    out->id = testlist_id(list, position);
    out->file = testlist_file(list, position);
  }
  out->tag = lease->base + i;
  out->cap_us = i < from->n_cap_ms ? (uint64_t)from->cap_ms[i] * 1000 : 0;
  out->cap_from = i < from->n_cap_from ? (enum runner_cap)from->cap_from[i] : RUNNER_CAP_UNKNOWN;
  out->est_us = i < from->n_est_ms ? (uint64_t)from->est_ms[i] * 1000 : 0;
  return out->id != NULL;
}

struct runner_test *held_take(struct held *held, const Shardd__Lease *from, const struct testlist *list) {
  struct held_lease *lease = base_calloc(1, sizeof *lease);
  struct runner_test *out = base_calloc(from->n_test + 1, sizeof *out);
  bool valid = true;
  lease->id = from->lease;
  lease->base = held->next_tag;
  lease->count = lease->open = (uint32_t)from->n_test;
  lease->test = base_calloc(from->n_test + 1, sizeof *lease->test);
  for (uint32_t i = 0; i < lease->count; i++)
    valid = held_fill(lease, from, list, i, &out[i]) && valid;
  if (!valid) {
    held_free_lease(lease);
    free(out);
    return NULL;
  }
  held->next_tag += lease->count;
  held->leases++;
  held->tests += lease->count;
  struct held_lease **at = &held->first;
  while (*at)
    at = &(*at)->next;
  *at = lease;
  return out;
}

struct held_test *held_find(struct held *held, uint32_t tag, uint64_t *id) {
  for (struct held_lease *lease = held->first; lease; lease = lease->next) {
    if (tag - lease->base >= lease->count) continue;
    *id = lease->id;
    return &lease->test[tag - lease->base];
  }
  return NULL;
}

static const struct held_lease *held_lease_of(const struct held *held, uint64_t id) {
  const struct held_lease *lease = held->first;
  while (lease && lease->id != id)
    lease = lease->next;
  return lease;
}

static int held_compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

uint32_t *held_tags(const struct held *held, uint64_t id, const uint32_t *numbers, size_t n, size_t *count) {
  const struct held_lease *lease = held_lease_of(held, id);
  uint32_t *sorted = base_calloc(n + 1, sizeof *sorted),
           *tags = base_calloc((lease ? lease->count : 0) + 1, sizeof *tags);
  *count = 0;
  for (size_t i = 0; i < n; i++)
    sorted[i] = numbers[i];
  qsort(sorted, n, sizeof *sorted, held_compare);
  for (uint32_t i = 0; lease && i < lease->count; i++) {
    const struct held_test *test = &lease->test[i];
    if (test->seq || test->given_back) continue;
    if (bsearch(&test->number, sorted, n, sizeof *sorted, held_compare)) tags[(*count)++] = lease->base + i;
  }
  free(sorted);
  return tags;
}

uint32_t held_give_back(struct held *held, uint32_t tag) {
  uint64_t lease;
  struct held_test *test = held_find(held, tag, &lease);
  assert(test && !test->seq && !test->given_back);
  test->given_back = true;
  held->tests--;
  return test->number;
}

uint32_t *held_disown(struct held_lease *lease, uint64_t seq, size_t *count) {
  uint32_t *numbers = base_calloc(lease->count + 1, sizeof *numbers);
  *count = 0;
  for (uint32_t i = 0; i < lease->count; i++) {
    struct held_test *test = &lease->test[i];
    if (!test->named || test->seq > seq) continue;
    test->named = false;
    numbers[(*count)++] = test->number;
  }
  return numbers;
}

static bool held_done(const struct held_lease *lease, uint64_t seq) {
  for (uint32_t i = 0; i < lease->count; i++) {
    if (lease->test[i].given_back) continue;
    if (lease->test[i].seq == 0 || lease->test[i].seq > seq) return false;
  }
  return true;
}

void held_ack(struct held *held, uint64_t seq) {
  if (seq > held->acked) held->acked = seq;
  for (struct held_lease **at = &held->first; *at;) {
    struct held_lease *lease = *at;
    if (!held_done(lease, held->acked)) {
      at = &lease->next;
      continue;
    }
    *at = lease->next;
    held_free_lease(lease);
  }
}

void held_hello(struct held *held, Shardd__Hello *hello, uint64_t *leases, uint32_t *counts, uint32_t **tests) {
  size_t n = 0, total = 0;
  for (const struct held_lease *lease = held->first; lease; lease = lease->next)
    total += lease->count;
  *tests = base_realloc(*tests, total + 1, sizeof **tests);
  total = 0;
  for (struct held_lease *lease = held->first; lease && n < MSG_HELD_MAX; lease = lease->next, n++) {
    leases[n] = lease->id;
    counts[n] = 0;
    for (uint32_t i = 0; i < lease->count; i++) {
      struct held_test *test = &lease->test[i];
      if (test->given_back || (test->seq && test->seq <= held->acked)) continue;
      test->named = test->seq != 0;
      (*tests)[total++] = test->number;
      counts[n]++;
    }
  }
  hello->n_held_lease = hello->n_held_count = n;
  hello->held_lease = leases;
  hello->held_count = counts;
  hello->n_held_test = total;
  hello->held_test = *tests;
}

uint32_t held_open(const struct held *held) {
  uint32_t open = 0;
  for (const struct held_lease *lease = held->first; lease; lease = lease->next) {
    for (uint32_t i = 0; i < lease->count; i++)
      open += lease->test[i].seq == 0 && !lease->test[i].given_back;
  }
  return open;
}

static void held_print(const struct held_test *test, const struct testlist *list, FILE *out) {
  const char *id = test->id ? test->id : testlist_id(list, testlist_position(list, test->number));
  char *safe = human_safe(id, strlen(id), ESCAPE_LINE);
  fprintf(out, "shard:   not handed over: %s\n", safe);
  free(safe);
}

void held_print_unacked(const struct held *held, const struct testlist *list, FILE *out) {
  size_t n = 0;
  for (const struct held_lease *lease = held->first; lease; lease = lease->next) {
    for (uint32_t i = 0; i < lease->count; i++) {
      if (lease->test[i].seq <= held->acked) continue;  // 0: it has no result
      if (n++ < MSG_FEW_MAX) held_print(&lease->test[i], list, out);
    }
  }
  if (n > MSG_FEW_MAX) fprintf(out, "shard:   … and %zu more\n", n - MSG_FEW_MAX);
}

uint32_t held_leases(const struct held *held) {
  uint32_t n = 0;
  for (const struct held_lease *lease = held->first; lease; lease = lease->next)
    n++;
  return n;
}

void held_release(struct held *held) {
  while (held->first) {
    struct held_lease *lease = held->first;
    held->first = lease->next;
    held_free_lease(lease);
  }
}
