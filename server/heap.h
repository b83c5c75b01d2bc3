// A binary max-heap of nodes that live inside their owners, so that an owner can be moved or removed in O(log n). Pure.
// Used by the scheduler to find the file or unit to take next. Equal keys come out in the order of the nodes in
// memory, which is that of the array they all stand in, so that the same history gives the same schedule.
#ifndef SERVER_HEAP_H
#define SERVER_HEAP_H

#include "config/base.h"

struct heap_node {
  uint64_t key;
  uint32_t place;                       // 1 …: where it stands in the heap; 0: not in it
} __attribute__((packed, aligned(4)));  // there is one for each unit of tests

struct heap {
  struct heap_node **node;  // node[1 … count]
  uint32_t count, room;
};

void heap_init(struct heap *heap);
void heap_release(struct heap *heap);
// Inserts the node with this key, or moves it there. A node is in at most one heap.
void heap_set(struct heap *heap, struct heap_node *node, uint64_t key);
// Takes the node out; nothing when it is not in.
void heap_remove(struct heap *heap, struct heap_node *node);
// The node with the largest key, or NULL.
struct heap_node *heap_top(const struct heap *heap);
// True when the heap order and every place hold; for checks in tests.
bool heap_valid(const struct heap *heap);

#endif
