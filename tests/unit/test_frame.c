// Framing: every length, every bound, and the property that makes a stream safe to read in any pieces: however the
// bytes are cut, the same frames come out.
#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const size_t UNTOUCHED = 424242;

static void check_header(size_t body_bytes, uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  uint8_t out[FRAME_HEADER_BYTES + 1] = {0xee, 0xee, 0xee, 0xee, 0xee};
  frame_put_header(out, body_bytes);
  const uint8_t expected[] = {a, b, c, d, 0xee};
  assert_memory_equal(out, expected, sizeof expected);
}

static void test_header_is_big_endian(void **state) {
  (void)state;
  check_header(1, 0, 0, 0, 1);
  check_header(0x102, 0, 0, 1, 2);
  check_header(0x70123, 0, 7, 1, 0x23);
  check_header(FRAME_MAX_BYTES, 0, 0x10, 0, 0);
}

static void test_short_header_asks_for_four_bytes(void **state) {
  (void)state;
  const uint8_t bytes[] = {0xff, 0xff, 0xff};
  for (size_t n = 0; n <= sizeof bytes; n++) {
    size_t body_bytes = UNTOUCHED;
    assert_int_equal(frame_find(bytes, n, FRAME_MAX_BYTES, &body_bytes), FRAME_PARTIAL);
    assert_int_equal(body_bytes, FRAME_HEADER_BYTES);
  }
}

static void test_partial_body_says_how_much_is_needed(void **state) {
  (void)state;
  uint8_t bytes[FRAME_HEADER_BYTES + 300] = {0};
  frame_put_header(bytes, 300);
  for (size_t n = FRAME_HEADER_BYTES; n < sizeof bytes; n++) {
    size_t body_bytes = UNTOUCHED;
    assert_int_equal(frame_find(bytes, n, 300, &body_bytes), FRAME_PARTIAL);
    assert_int_equal(body_bytes, sizeof bytes);
  }
  size_t body_bytes = UNTOUCHED;
  assert_int_equal(frame_find(bytes, sizeof bytes, 300, &body_bytes), FRAME_COMPLETE);
  assert_int_equal(body_bytes, 300);
}

static void check_refused(uint32_t length, size_t max, enum frame_result expected) {
  const uint8_t bytes[] = {(uint8_t)(length >> 24), (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length};
  size_t body_bytes = UNTOUCHED;
  assert_int_equal(frame_find(bytes, sizeof bytes, max, &body_bytes), expected);
  assert_int_equal(body_bytes, UNTOUCHED);
}

static void test_lengths_are_judged_from_the_header_alone(void **state) {
  (void)state;
  check_refused(0, FRAME_MAX_BYTES, FRAME_EMPTY);
  check_refused(FRAME_MAX_BYTES + 1, FRAME_MAX_BYTES, FRAME_TOO_LARGE);
  check_refused(FRAME_SMALL_MAX_BYTES + 1, FRAME_SMALL_MAX_BYTES, FRAME_TOO_LARGE);
  check_refused(UINT32_MAX, FRAME_MAX_BYTES, FRAME_TOO_LARGE);
  check_refused(0x80000000u, FRAME_MAX_BYTES, FRAME_TOO_LARGE);
  check_refused(0x47455420u, FRAME_MAX_BYTES, FRAME_TOO_LARGE);  // "GET ": somebody speaks HTTP
}

static void test_bound_itself_is_allowed(void **state) {
  (void)state;
  uint8_t header[FRAME_HEADER_BYTES];
  size_t body_bytes = 0;
  frame_put_header(header, FRAME_MAX_BYTES);
  assert_int_equal(frame_find(header, sizeof header, FRAME_MAX_BYTES, &body_bytes), FRAME_PARTIAL);
  assert_int_equal(body_bytes, FRAME_HEADER_BYTES + FRAME_MAX_BYTES);
}

static void test_only_the_first_frame_is_found(void **state) {
  (void)state;
  const uint8_t bytes[] = {0, 0, 0, 2, 'a', 'b', 0, 0, 0, 1, 'c'};
  size_t body_bytes = 0;
  assert_int_equal(frame_find(bytes, sizeof bytes, FRAME_MAX_BYTES, &body_bytes), FRAME_COMPLETE);
  assert_int_equal(body_bytes, 2);
  assert_int_equal(frame_find(bytes + 6, sizeof bytes - 6, FRAME_MAX_BYTES, &body_bytes), FRAME_COMPLETE);
  assert_int_equal(body_bytes, 1);
}

// ---- whole against split

enum { STREAM_MAX = 64 * 1024, BODY_MAX = 700, FRAMES_MAX = 2000 };

struct reader {
  uint8_t buffer[STREAM_MAX];
  size_t held;
  size_t lengths[FRAMES_MAX];
  uint32_t sums[FRAMES_MAX];
  size_t frames;
  enum frame_result end;  // PARTIAL until the stream is refused
};

static uint32_t sum_of(const uint8_t *bytes, size_t n) {
  uint32_t sum = 2166136261u;
  for (size_t i = 0; i < n; i++)
    sum = (sum ^ bytes[i]) * 16777619u;
  return sum;
}

// What a connection does with a chunk it has read.
static void reader_feed(struct reader *reader, const uint8_t *bytes, size_t n) {
  if (reader->end != FRAME_PARTIAL) return;
  memcpy(reader->buffer + reader->held, bytes, n);
  reader->held += n;
  size_t done = 0, body_bytes = 0;
  enum frame_result result;
  while ((result = frame_find(reader->buffer + done, reader->held - done, BODY_MAX, &body_bytes)) == FRAME_COMPLETE) {
    assert_true(reader->frames < FRAMES_MAX);
    reader->lengths[reader->frames] = body_bytes;
    reader->sums[reader->frames++] = sum_of(reader->buffer + done + FRAME_HEADER_BYTES, body_bytes);
    done += FRAME_HEADER_BYTES + body_bytes;
  }
  reader->end = result;
  memmove(reader->buffer, reader->buffer + done, reader->held - done);
  reader->held -= done;
}

static uint32_t next_random(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

// Frames of random lengths; now and then a length that must be refused, or a cut end.
static size_t make_stream(uint8_t *bytes, uint32_t *seed) {
  size_t n = 0;
  while (n < STREAM_MAX - FRAME_HEADER_BYTES - BODY_MAX && next_random(seed) % 60 != 0) {
    size_t body_bytes = 1 + next_random(seed) % (next_random(seed) % 8 == 0 ? BODY_MAX : 20);
    frame_put_header(bytes + n, body_bytes);
    for (size_t i = 0; i < body_bytes; i++)
      bytes[n + FRAME_HEADER_BYTES + i] = (uint8_t)next_random(seed);
    n += FRAME_HEADER_BYTES + body_bytes;
  }
  switch (next_random(seed) % 4) {
    case 0: return n;
    case 1: return n > 0 ? n - 1 : 0;
    case 2: frame_put_header(bytes + n, BODY_MAX + 1); return n + FRAME_HEADER_BYTES;
    default: memset(bytes + n, 0, FRAME_HEADER_BYTES); return n + FRAME_HEADER_BYTES;
  }
}

static void test_whole_and_split_streams_give_the_same_frames(void **state) {
  (void)state;
  static uint8_t bytes[STREAM_MAX];
  struct reader *whole = malloc(sizeof *whole), *split = malloc(sizeof *split);
  size_t seen[4] = {0}, frames = 0;
  for (uint32_t round = 0; round < 3000; round++) {
    uint32_t seed = round;
    size_t n = make_stream(bytes, &seed);
    whole->held = split->held = whole->frames = split->frames = 0;
    whole->end = split->end = FRAME_PARTIAL;
    reader_feed(whole, bytes, n);
    size_t largest = 1 + next_random(&seed) % 40;
    for (size_t i = 0; i < n;) {
      size_t piece = 1 + next_random(&seed) % largest;
      if (piece > n - i) piece = n - i;
      reader_feed(split, bytes + i, piece);
      i += piece;
    }
    assert_int_equal(whole->end, split->end);
    assert_int_equal(whole->frames, split->frames);
    assert_memory_equal(whole->lengths, split->lengths, whole->frames * sizeof whole->lengths[0]);
    assert_memory_equal(whole->sums, split->sums, whole->frames * sizeof whole->sums[0]);
    seen[whole->end]++;
    frames += whole->frames;
  }
  assert_true(seen[FRAME_PARTIAL] > 100 && seen[FRAME_TOO_LARGE] > 100 && seen[FRAME_EMPTY] > 100);
  assert_true(frames > 10000);
  free(whole);
  free(split);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_header_is_big_endian),
      cmocka_unit_test(test_short_header_asks_for_four_bytes),
      cmocka_unit_test(test_partial_body_says_how_much_is_needed),
      cmocka_unit_test(test_lengths_are_judged_from_the_header_alone),
      cmocka_unit_test(test_bound_itself_is_allowed),
      cmocka_unit_test(test_only_the_first_frame_is_found),
      cmocka_unit_test(test_whole_and_split_streams_give_the_same_frames),
  };
  return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
