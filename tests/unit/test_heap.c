// Unit tests of the heap: order, ties, moves and removals from any place, against a plain search through an array.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/heap.h"

enum { NODES = 200 };

static void test_empty(void **state) {
  (void)state;
  struct heap heap;
  struct heap_node node = {0};
  heap_init(&heap);
  assert_null(heap_top(&heap));
  heap_remove(&heap, &node);  // it is not in
  assert_true(heap_valid(&heap));
  heap_set(&heap, &node, 0);
  assert_ptr_equal(heap_top(&heap), &node);
  heap_remove(&heap, &node);
  assert_int_equal(node.place, 0);
  assert_null(heap_top(&heap));
  heap_release(&heap);
}

static void test_equal_keys_by_place(void **state) {
  (void)state;
  struct heap heap;
  struct heap_node node[NODES] = {0};
  heap_init(&heap);
  for (uint32_t i = 0; i < NODES; i++)
    heap_set(&heap, &node[i * 77 % NODES], 5);
  for (uint32_t i = 0; i < NODES; i++) {
    assert_ptr_equal(heap_top(&heap), &node[i]);
    heap_remove(&heap, heap_top(&heap));
    assert_true(heap_valid(&heap));
  }
  heap_release(&heap);
}

static const struct heap_node *largest(const struct heap_node *node) {
  const struct heap_node *best = NULL;
  for (uint32_t i = 0; i < NODES; i++) {
    if (node[i].place && (!best || node[i].key > best->key)) best = &node[i];
  }
  return best;
}

static void test_against_a_search(void **state) {
  (void)state;
  struct heap heap;
  struct heap_node node[NODES] = {0};
  uint64_t dice = 42;
  uint32_t in = 0;
  heap_init(&heap);
  for (int step = 0; step < 20000; step++) {
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    struct heap_node *at = &node[(dice >> 33) % NODES];
    if (dice >> 62 == 0) {
      in -= at->place > 0;
      heap_remove(&heap, at);
      assert_int_equal(at->place, 0);
    } else {
      in += at->place == 0;
      heap_set(&heap, at, (dice >> 20) % 50);
    }
    assert_true(heap_valid(&heap));
    assert_int_equal(heap.count, in);
    assert_ptr_equal(heap_top(&heap), largest(node));
  }
  heap_release(&heap);
}

static void test_disorder_is_seen(void **state) {
  (void)state;
  struct heap heap;
  struct heap_node node[3] = {0};
  heap_init(&heap);
  for (uint32_t i = 0; i < 3; i++)
    heap_set(&heap, &node[i], 10 - i);
  node[2].key = 100;  // behind the heap's back
  assert_false(heap_valid(&heap));
  node[2].key = 8;
  assert_true(heap_valid(&heap));
  node[1].place = 3;
  assert_false(heap_valid(&heap));
  heap_release(&heap);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_empty),
      cmocka_unit_test(test_equal_keys_by_place),
      cmocka_unit_test(test_against_a_search),
      cmocka_unit_test(test_disorder_is_seen),
  };
  return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
