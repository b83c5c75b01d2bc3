// Unit tests of the leases in a worker's hands: names or numbers, what a hello says of them, what is over when the
// server has it on disk, and what is named when it never got there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/held.h"

static struct held held;
static struct testlist *list;

static int set_up(void **state) {
  (void)state;
  static const char *const ids[] = {"b", "a", "c"};
  held = (struct held){0};
  list = testlist_new();
  for (size_t i = 0; i < COUNT_OF(ids); i++)
    assert_int_equal(testlist_add(list, ids[i], 1, "f.py", 0), 0);
  return (int)testlist_seal(list);
}

static int tear_down(void **state) {
  (void)state;
  held_release(&held);
  testlist_free(list);
  return 0;
}

static struct runner_test *take(uint64_t id, uint32_t *numbers, size_t n, const struct testlist *of) {
  Shardd__Lease lease = SHARDD__LEASE__INIT;
  lease.lease = id;
  lease.test = numbers;
  lease.n_test = n;
  return held_take(&held, &lease, of);
}

static void test_numbers_of_the_list(void **state) {
  (void)state;
  uint32_t numbers[] = {0, 2};
  struct runner_test *tests = take(5, numbers, 2, list);
  assert_non_null(tests);
  assert_string_equal(tests[0].id, "a");  // by the order of bytes
  assert_string_equal(tests[1].id, "c");
  assert_string_equal(tests[0].file, "f.py");
  assert_int_equal(tests[0].cap_us, 0);
  assert_int_equal(tests[0].cap_from, RUNNER_CAP_UNKNOWN);
  uint64_t lease = 0;
  assert_int_equal(held_find(&held, tests[1].tag, &lease)->number, 2);
  assert_int_equal(lease, 5);
  assert_null(held_find(&held, tests[1].tag + 1, &lease));
  assert_int_equal(held_open(&held), 2);
  free(tests);
}

// What a hello names although it has a result is disowned when that turns out to be on the server's disk.
static void test_disowned_once(void **state) {
  (void)state;
  uint32_t numbers[] = {0, 1, 2}, *named = NULL, counts[MSG_HELD_MAX];
  uint64_t leases[MSG_HELD_MAX], lease;
  size_t count;
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  struct runner_test *tests = take(5, numbers, 3, list);
  held_find(&held, tests[0].tag, &lease)->seq = 1;
  free(held_disown(held.first, 1, &count));
  assert_int_equal(count, 0);  // no hello has named it
  held_find(&held, tests[1].tag, &lease)->seq = 2;
  held_hello(&held, &hello, leases, counts, &named);
  assert_int_equal(counts[0], 3);
  uint32_t *disowned = held_disown(held.first, 1, &count);
  assert_int_equal(count, 1);
  assert_int_equal(disowned[0], 0);
  free(disowned);
  free(held_disown(held.first, 1, &count));
  assert_int_equal(count, 0);
  disowned = held_disown(held.first, 9, &count);
  assert_int_equal(count, 1);  // not the third, which has no result
  assert_int_equal(disowned[0], 1);
  free(disowned);
  free(named);
  free(tests);
}

static void test_names_of_the_lease(void **state) {
  (void)state;
  uint32_t numbers[] = {100, 200}, cap[] = {2000, 0}, est[] = {7, 8};
  Shardd__Lease lease = SHARDD__LEASE__INIT;
  ProtobufCBinaryData names[] = {msg_text("x"), msg_text("y")}, files[] = {msg_text("fx"), msg_text(NULL)};
  lease.lease = 9;
  lease.n_test = lease.n_name = lease.n_file = lease.n_cap_ms = lease.n_est_ms = 2;
  lease.test = numbers;
  lease.cap_ms = cap;
  lease.est_ms = est;
  Shardd__CapFrom from[] = {SHARDD__CAP_FROM__CAP_FROM_LONGER, SHARDD__CAP_FROM__CAP_FROM_ASKED};
  lease.n_cap_from = 2;
  lease.cap_from = from;
  lease.name = names;
  lease.file = files;
  struct runner_test *tests = held_take(&held, &lease, NULL);
  assert_non_null(tests);
  assert_string_equal(tests[0].id, "x");
  assert_string_equal(tests[0].file, "fx");
  assert_null(tests[1].file);
  assert_int_equal(tests[0].cap_us, 2000000);
  assert_int_equal(tests[0].cap_from, RUNNER_CAP_LONGER);
  assert_int_equal(tests[1].est_us, 8000);
  free(tests);
}

static void test_what_the_list_lacks(void **state) {
  (void)state;
  uint32_t numbers[] = {0, 3};
  assert_null(take(5, numbers, 2, list));
  assert_null(take(5, numbers, 1, NULL));  // no list, no names
  assert_int_equal(held_leases(&held), 0);
  assert_int_equal(held.leases, 0);
}

static void report(uint32_t tag, uint64_t seq) {
  uint64_t lease;
  struct held_test *test = held_find(&held, tag, &lease);
  assert_non_null(test);
  test->seq = seq;
}

// A hello names what is not on the server's disk: reported or not.
static void test_hello(void **state) {
  (void)state;
  uint32_t first[] = {0, 1}, second[] = {2};
  struct runner_test *one = take(5, first, 2, list), *two = take(6, second, 1, list);
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  uint64_t leases[MSG_HELD_MAX];
  uint32_t counts[MSG_HELD_MAX], *tests = NULL;
  report(one[0].tag, 1);
  report(one[1].tag, 2);
  held_ack(&held, 1);
  assert_int_equal(held_open(&held), 1);
  held_hello(&held, &hello, leases, counts, &tests);
  assert_int_equal(hello.n_held_lease, 2);
  assert_int_equal(leases[0], 5);
  assert_int_equal(counts[0], 1);
  assert_int_equal(counts[1], 1);
  assert_int_equal(hello.n_held_test, 2);
  assert_int_equal(tests[0], 1);
  assert_int_equal(tests[1], 2);
  held_ack(&held, 2);
  assert_int_equal(held_leases(&held), 1);  // all of the first is on disk
  held_ack(&held, 1);                       // an old one changes nothing
  assert_int_equal(held.acked, 2);
  held_hello(&held, &hello, leases, counts, &tests);
  assert_int_equal(hello.n_held_lease, 1);
  assert_int_equal(leases[0], 6);
  assert_int_equal(held.leases, 2);  // ever
  assert_int_equal(held.tests, 3);
  free(tests);
  free(one);
  free(two);
}

static void test_hello_is_bounded(void **state) {
  (void)state;
  Shardd__Hello hello = SHARDD__HELLO__INIT;
  uint64_t leases[MSG_HELD_MAX];
  uint32_t counts[MSG_HELD_MAX], *tests = NULL, number[] = {1};
  for (uint64_t i = 1; i <= MSG_HELD_MAX + 4; i++)
    free(take(i, number, 1, list));
  held_hello(&held, &hello, leases, counts, &tests);
  assert_int_equal(hello.n_held_lease, MSG_HELD_MAX);
  assert_int_equal(hello.n_held_test, MSG_HELD_MAX);
  free(tests);
}

static void test_names_what_is_lost(void **state) {
  (void)state;
  char *text = NULL;
  size_t n = 0;
  uint32_t numbers[] = {0, 1, 2};
  struct runner_test *tests = take(5, numbers, 3, list);
  report(tests[0].tag, 1);
  report(tests[1].tag, 2);
  held_ack(&held, 1);
  FILE *out = open_memstream(&text, &n);
  held_print_unacked(&held, list, out);
  assert_int_equal(fclose(out), 0);
  assert_null(strstr(text, ": a\n"));
  assert_non_null(strstr(text, ": b\n"));
  assert_null(strstr(text, ": c\n"));  // it has no result that could be lost
  free(text);
  free(tests);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_numbers_of_the_list), TEST(test_disowned_once), TEST(test_names_of_the_lease),
      TEST(test_what_the_list_lacks), TEST(test_hello),         TEST(test_hello_is_bounded),
      TEST(test_names_what_is_lost),
  };
  return cmocka_run_group_tests_name("held", tests, NULL, NULL);
}
