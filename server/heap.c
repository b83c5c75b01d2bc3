// The scheduler's priority queue: an array heap over nodes embedded in files and units. sched.c is the only caller.
// It must not know what the keys mean, and allocates nothing but its array of pointers.
#include "server/heap.h"

#include <assert.h>
#include <stdlib.h>

static bool heap_before(const struct heap_node *a, const struct heap_node *b) {
  return a->key != b->key ? a->key > b->key : (uintptr_t)a < (uintptr_t)b;
}

static void heap_place(struct heap *heap, struct heap_node *node, uint32_t place) {
  heap->node[place] = node;
  node->place = place;
}

static void heap_up(struct heap *heap, struct heap_node *node, uint32_t place) {
  while (place > 1 && heap_before(node, heap->node[place / 2])) {
    heap_place(heap, heap->node[place / 2], place);
    place /= 2;
  }
  heap_place(heap, node, place);
}

static void heap_down(struct heap *heap, struct heap_node *node, uint32_t place) {
  for (;;) {
    uint32_t child = place * 2;
    if (child > heap->count) break;
    if (child < heap->count && heap_before(heap->node[child + 1], heap->node[child])) child++;
    if (!heap_before(heap->node[child], node)) break;
    heap_place(heap, heap->node[child], place);
    place = child;
  }
  heap_place(heap, node, place);
}

void heap_init(struct heap *heap) {
  *heap = (struct heap){0};
}

void heap_release(struct heap *heap) {
  free(heap->node);
  heap_init(heap);
}

static void heap_grow(struct heap *heap) {
  if (heap->count + 1 < heap->room) return;
  heap->room = heap->room ? heap->room + heap->room / 2 : 4;
  heap->node = base_realloc(heap->node, heap->room, sizeof *heap->node);
}

void heap_set(struct heap *heap, struct heap_node *node, uint64_t key) {
  if (!node->place) {
    heap_grow(heap);
    node->key = key;
    heap->count++;
    heap_up(heap, node, heap->count);
    return;
  }
  assert(node->place <= heap->count && heap->node[node->place] == node);
  bool rises = key > node->key;
  node->key = key;
  if (rises) {
    heap_up(heap, node, node->place);
  } else {
    heap_down(heap, node, node->place);
  }
}

void heap_remove(struct heap *heap, struct heap_node *node) {
  if (!node->place) return;
  uint32_t place = node->place;
  assert(place <= heap->count && heap->node[place] == node);
  node->place = 0;
  struct heap_node *last = heap->node[heap->count--];
  if (last == node) return;
  if (place > 1 && heap_before(last, heap->node[place / 2])) {
    heap_up(heap, last, place);
  } else {
    heap_down(heap, last, place);
  }
}

struct heap_node *heap_top(const struct heap *heap) {
  return heap->count ? heap->node[1] : NULL;
}

bool heap_valid(const struct heap *heap) {
  for (uint32_t i = 1; i <= heap->count; i++) {
    if (heap->node[i]->place != i) return false;
    if (i > 1 && heap_before(heap->node[i], heap->node[i / 2])) return false;
  }
  return true;
}
