// Hostile bodies: floods, truncated, random and mutated messages fail cleanly, within the ceiling of memory, and what
// is accepted keeps all rules. The largest lawful messages fit.
#include "proto/msg_check.h"
#include "tests/unit/msg_sample.h"

static uint32_t next_random(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

static void put_varint(uint8_t *out, size_t *n, size_t value) {
  for (; value > 127; value >>= 7)
    out[(*n)++] = (uint8_t)(value | 128);
  out[(*n)++] = (uint8_t)value;
}

// A body of one message whose content is `unit` repeated to the bound of a frame.
static size_t flood(uint8_t body_tag, const uint8_t *unit, size_t unit_bytes) {
  size_t content = (FRAME_MAX_BYTES - 16) / unit_bytes * unit_bytes, n = 0;
  put_varint(packed, &n, (size_t)body_tag << 3 | 2);
  put_varint(packed, &n, content);
  for (size_t i = 0; i < content; i++)
    packed[n++] = unit[i % unit_bytes];
  assert_in_range(n, FRAME_MAX_BYTES - 64, FRAME_MAX_BYTES);
  return n;
}

static void test_amplification_ends_at_the_ceiling(void **state) {
  (void)state;
  static const struct {
    uint8_t body;
    uint8_t unit[3];
    size_t unit_bytes;
  } floods[] = {
      {SHARDD__FRAME__BODY_LIST_CHUNK, {0x0a, 0}, 2},        // empty ids
      {SHARDD__FRAME__BODY_LIST_CHUNK, {0x12, 0}, 2},        // empty file names
      {SHARDD__FRAME__BODY_HELLO, {0x7a, 0}, 2},             // empty policies
      {SHARDD__FRAME__BODY_RESULTS, {0x20, 1}, 2},           // times, not packed
      {SHARDD__FRAME__BODY_ROWS, {0x1a, 0}, 2},              // empty cells
      {SHARDD__FRAME__BODY_ACK, {0xf8, 0x01, 0x01}, 3},      // fields nobody knows
      {SHARDD__FRAME__BODY_LEASE_REQUEST, {0xfa, 1, 0}, 3},  // the same, as empty bytes
  };
  for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
    size_t n = flood(floods[i].body, floods[i].unit, floods[i].unit_bytes);
    const char *why = NULL;
    assert_null(msg_unpack(arena, packed, n, &why));
    assert_string_equal(why, "the message takes too much memory");
  }
  size_t n = 0;  // whole messages, one after the other: the last would count
  while (n < FRAME_MAX_BYTES - 2) {
    packed[n++] = SHARDD__FRAME__BODY_LEASE_REQUEST << 3 | 2;
    packed[n++] = 0;
  }
  const char *why = NULL;
  assert_null(msg_unpack(arena, packed, n, &why));
  assert_string_equal(why, "the message takes too much memory");
}

static void test_a_packed_flood_breaks_the_row_bound(void **state) {
  (void)state;
  size_t n = 0, rows = 900000;
  put_varint(packed, &n, SHARDD__FRAME__BODY_RESULTS << 3 | 2);
  put_varint(packed, &n, rows + 4);
  put_varint(packed, &n, 2 << 3 | 2);  // Results.test
  put_varint(packed, &n, rows);
  memset(packed + n, 1, rows);
  const char *why = NULL;
  assert_null(msg_unpack(arena, packed, n + rows, &why));
  assert_non_null(why);
}

static void test_the_largest_lawful_chunk_fits(void **state) {
  (void)state;
  static ProtobufCBinaryData ids[MSG_CHUNK_MAX], files[MSG_CHUNK_MAX];
  static uint32_t places[MSG_CHUNK_MAX];
  static uint64_t expected_us[MSG_CHUNK_MAX];
  static char text[MSG_CHUNK_MAX][24];
  for (uint32_t i = 0; i < MSG_CHUNK_MAX; i++) {
    int n = snprintf(text[i], sizeof text[i], "t.py::test_%u", i);
    ids[i] = msg_bytes(text[i], (size_t)n);
    files[i] = msg_bytes(text[i], (size_t)n);
    places[i] = 480000 + i;
    expected_us[i] = MSG_EXPECTED_MAX_US - i;
  }
  make(SHARDD__FRAME__BODY_LIST_CHUNK);
  sample.list_chunk.n_id = sample.list_chunk.n_file = MSG_CHUNK_MAX;
  sample.list_chunk.n_file_of = sample.list_chunk.n_unit_of = MSG_CHUNK_MAX;
  sample.list_chunk.id = ids;
  sample.list_chunk.file = files;
  sample.list_chunk.file_of = sample.list_chunk.unit_of = places;
  sample.list_chunk.n_expected_us = MSG_CHUNK_MAX;
  sample.list_chunk.expected_us = expected_us;
  size_t n = pack(&sample.frame);
  const Shardd__Frame *frame = unpack(packed + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES);
  assert_non_null(frame);
  assert_int_equal(frame->list_chunk->n_id, MSG_CHUNK_MAX);
  assert_memory_equal(frame->list_chunk->id[19999].data, "t.py::test_19999", 16);
}

static void test_the_largest_lawful_page_fits(void **state) {
  (void)state;
  static ProtobufCBinaryData cells[MSG_CELL_MAX];
  for (size_t i = 0; i < MSG_CELL_MAX; i++)
    cells[i] = msg_text("123456789012345678");
  make(SHARDD__FRAME__BODY_ROWS);
  sample.rows.cell = cells;
  sample.rows.n_cell = MSG_CELL_MAX;
  size_t n = pack(&sample.frame);
  assert_non_null(unpack(packed + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES));
}

static void test_a_small_arena_refuses_what_a_larger_one_takes(void **state) {
  (void)state;
  make(SHARDD__FRAME__BODY_RESULTS);
  size_t n = pack(&sample.frame) - FRAME_HEADER_BYTES, refused = 0;
  for (size_t max = 0; max < 2048; max += 8) {
    struct msg_arena *small = msg_arena_new(max);
    const char *why = NULL;
    const Shardd__Frame *frame = msg_unpack(small, packed + FRAME_HEADER_BYTES, n, &why);
    if (frame == NULL) assert_string_equal(why, "the message takes too much memory");
    refused += frame == NULL;
    msg_arena_free(small);
  }
  assert_in_range(refused, 8, 200);
  msg_arena_free(NULL);
}

static void test_every_truncation_is_survived(void **state) {
  (void)state;
  for (int body = FIRST_BODY; body <= LAST_BODY; body++) {
    make(body);
    size_t n = pack(&sample.frame) - FRAME_HEADER_BYTES;
    uint8_t *copy = NULL;
    for (size_t cut = 0; cut < n; cut++) {
      copy = malloc(cut > 0 ? cut : 1);  // its own block: a sanitizer sees any read behind it
      memcpy(copy, packed + FRAME_HEADER_BYTES, cut);
      assert_null(unpack(copy, cut));  // the message is last and has a length: every cut breaks it
      free(copy);
    }
  }
}

static void test_random_bytes_are_survived(void **state) {
  (void)state;
  uint32_t seed = 20261121;
  for (unsigned round = 0; round < 200000; round++) {
    uint8_t bytes[64];
    size_t n = next_random(&seed) % (sizeof bytes + 1);
    for (size_t i = 0; i < n; i++)
      bytes[i] = (uint8_t)next_random(&seed);
    const Shardd__Frame *frame = unpack(bytes, n);
    if (frame != NULL) assert_null(msg_check(frame));
  }
}

// Valid messages with some bytes changed: these get past the outer layers.
static void test_mutated_messages_are_survived(void **state) {
  (void)state;
  uint32_t seed = 4270;
  size_t accepted = 0, refused = 0;
  for (unsigned round = 0; round < 100000; round++) {
    make(FIRST_BODY + (int)(next_random(&seed) % (LAST_BODY - FIRST_BODY + 1)));
    size_t n = pack(&sample.frame) - FRAME_HEADER_BYTES;
    for (unsigned changes = 1 + next_random(&seed) % 3; changes > 0; changes--) {
      packed[FRAME_HEADER_BYTES + next_random(&seed) % n] = (uint8_t)next_random(&seed);
    }
    const Shardd__Frame *frame = unpack(packed + FRAME_HEADER_BYTES, n);
    accepted += frame != NULL;
    refused += frame == NULL;
    if (frame != NULL) assert_in_range(msg_packed_bytes(frame), 1, sizeof packed);
  }
  assert_true(accepted > 1000 && refused > 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_amplification_ends_at_the_ceiling),
      cmocka_unit_test(test_a_packed_flood_breaks_the_row_bound),
      cmocka_unit_test(test_the_largest_lawful_chunk_fits),
      cmocka_unit_test(test_the_largest_lawful_page_fits),
      cmocka_unit_test(test_a_small_arena_refuses_what_a_larger_one_takes),
      cmocka_unit_test(test_every_truncation_is_survived),
      cmocka_unit_test(test_random_bytes_are_survived),
      cmocka_unit_test(test_mutated_messages_are_survived),
  };
  return cmocka_run_group_tests_name("msg_hostile", tests, open_arena, close_arena);
}
