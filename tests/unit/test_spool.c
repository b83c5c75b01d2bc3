// Unit tests of the spool: batches of one lease, numbers that survive a lost connection, texts cut and cleaned, bounds.
// What goes out is unpacked as the server would.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "proto/frame.h"
#include "proto/msg.h"
#include "worker/spool.h"

static struct spool *spool;
static struct msg_arena *arena;

static int set_up(void **state) {
  (void)state;
  spool = spool_new();
  arena = msg_arena_new(MSG_ARENA_MAX_BYTES);
  return arena ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  spool_free(spool);
  msg_arena_free(arena);
  return 0;
}

static uint64_t add(uint64_t lease, uint32_t test, const char *text) {
  struct runner_result result = {.status = text ? RUNNER_FAILED : RUNNER_PASSED, .start_us = 5, .call_us = test};
  result.text = text;
  result.text_bytes = text ? strlen(text) : 0;
  return spool_add(spool, lease, test, &result);
}

// The next message as the server reads it; NULL: none.
static const Shardd__Frame *next(void) {
  size_t n = 0, body = 0;
  const char *why = NULL;
  const uint8_t *packed = spool_next(spool, &n);
  if (!packed) return NULL;
  assert_int_equal(frame_find(packed, n, FRAME_MAX_BYTES, &body), FRAME_COMPLETE);
  assert_int_equal(body + FRAME_HEADER_BYTES, n);
  const Shardd__Frame *frame = msg_unpack(arena, packed + FRAME_HEADER_BYTES, body, &why);
  if (!frame) {
    fail_msg("%s", why);
    abort();  // fail_msg does not return, which the analyzer does not know
  }
  assert_int_equal(frame->body_case, SHARDD__FRAME__BODY_RESULTS);
  return frame;
}

static void test_batches(void **state) {
  (void)state;
  assert_true(spool_empty(spool));
  spool_close(spool);  // nothing to close
  assert_null(next());
  assert_int_equal(add(7, 1, NULL), 1);
  assert_int_equal(add(7, 2, "boom"), 1);
  assert_int_equal(add(8, 3, NULL), 2);  // another lease, another message
  assert_false(spool_empty(spool));
  const Shardd__Frame *frame = next();
  assert_int_equal(frame->seq, 1);
  assert_int_equal(frame->results->lease, 7);
  assert_int_equal(frame->results->n_test, 2);
  assert_int_equal(frame->results->test[1], 2);
  assert_int_equal(frame->results->status[1], RUNNER_FAILED);
  assert_int_equal(frame->results->call_us[1], 2);
  assert_int_equal(frame->results->n_text, 1);
  assert_int_equal(frame->results->text_of[0], 1);
  assert_memory_equal(frame->results->text[0].data, "boom", 4);
  assert_null(next());  // the second is still open
  spool_close(spool);
  assert_int_equal(next()->seq, 2);
  assert_int_equal(spool_rows(spool), 3);
}

static void test_acknowledged_and_sent_again(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 5; i++) {
    assert_int_equal(add(1, i, NULL), i + 1);
    spool_close(spool);
  }
  assert_int_equal(next()->seq, 1);
  assert_int_equal(next()->seq, 2);
  assert_int_equal(next()->seq, 3);
  spool_ack(spool, 2);
  assert_int_equal(spool_rows(spool), 3);
  spool_ack(spool, 1);  // an old one says nothing new
  spool_rewind(spool);  // the connection was lost
  for (uint64_t seq = 3; seq <= 5; seq++)
    assert_int_equal(next()->seq, seq);
  assert_null(next());
  assert_int_equal(add(1, 9, NULL), 6);  // numbers go on
  spool_ack(spool, 5);
  assert_false(spool_empty(spool));
  spool_close(spool);
  assert_int_equal(next()->seq, 6);
  spool_ack(spool, 6);
  assert_true(spool_empty(spool));
  assert_int_equal(spool_rows(spool), 0);
  spool_rewind(spool);
  assert_null(next());
}

// What is acknowledged before it was sent on this connection is not sent.
static void test_ack_of_the_unsent(void **state) {
  (void)state;
  add(1, 1, NULL), spool_close(spool);
  add(1, 2, NULL), spool_close(spool);
  assert_int_equal(next()->seq, 1);
  spool_rewind(spool);
  spool_ack(spool, 1);
  assert_int_equal(next()->seq, 2);
}

static void test_rows_of_a_message(void **state) {
  (void)state;
  for (uint32_t i = 0; i < SPOOL_ROWS_MAX; i++)
    assert_int_equal(add(1, i, NULL), 1);
  assert_int_equal(add(1, 0, NULL), 2);
  assert_int_equal(next()->results->n_test, SPOOL_ROWS_MAX);
}

static void test_texts(void **state) {
  (void)state;
  enum { LONG = 3 * MSG_TEXT_MAX_BYTES };
  char *text = base_calloc(LONG + 1, 1);
  memset(text, 'm', LONG);
  text[0] = 'A';
  text[LONG - 1] = 'Z';
  struct runner_result result = {.status = RUNNER_ERROR, .text = "a\0b", .text_bytes = 3};
  (void)spool_add(spool, 1, 0, &result);
  (void)add(1, 1, text);
  spool_close(spool);
  const Shardd__Results *results = next()->results;
  assert_int_equal(results->n_text, 2);
  assert_memory_equal(results->text[0].data, "a b", 3);  // the wire takes no NUL
  assert_true(results->text[1].len <= MSG_TEXT_MAX_BYTES);
  assert_int_equal(results->text[1].data[0], 'A');
  assert_int_equal(results->text[1].data[results->text[1].len - 1], 'Z');
  free(text);
}

// However long the texts, a message fits a frame.
static void test_many_texts(void **state) {
  (void)state;
  char *text = base_calloc(MSG_TEXT_MAX_BYTES + 1, 1);
  memset(text, 't', MSG_TEXT_MAX_BYTES);
  for (uint32_t i = 0; i < 40; i++)
    (void)add(1, i, text);
  spool_close(spool);
  size_t rows = 0;
  for (const Shardd__Frame *frame; (frame = next());)
    rows += frame->results->n_test;
  assert_int_equal(rows, 40);
  free(text);
}

static void test_absurd_times(void **state) {
  (void)state;
  struct runner_result result = {
      .status = RUNNER_PASSED, .setup_us = UINT64_MAX, .teardown_us = UINT32_MAX, .first = true};
  (void)spool_add(spool, 1, 0, &result);
  spool_close(spool);
  const Shardd__Results *results = next()->results;
  assert_int_equal(results->setup_us[0], UINT32_MAX);
  assert_int_equal(results->teardown_us[0], UINT32_MAX);
  assert_true(results->first[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_batches),
      TEST(test_acknowledged_and_sent_again),
      TEST(test_ack_of_the_unsent),
      TEST(test_rows_of_a_message),
      TEST(test_texts),
      TEST(test_many_texts),
      TEST(test_absurd_times),
  };
  return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
