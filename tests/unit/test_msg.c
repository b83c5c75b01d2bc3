// Messages: each one goes out and comes back the same, and each rule of msg_check.c is broken once. What hostile bodies
// do stands in test_msg_hostile.c.
#include "proto/msg_check.h"
#include "tests/unit/msg_sample.h"

static void test_every_message_comes_back_the_same(void **state) {
  (void)state;
  static uint8_t again[4096];
  for (int body = FIRST_BODY; body <= LAST_BODY; body++) {
    make(body);
    size_t n = pack(&sample.frame), body_bytes = 0;
    assert_int_equal(frame_find(packed, n, FRAME_SMALL_MAX_BYTES, &body_bytes), FRAME_COMPLETE);
    assert_int_equal(body_bytes, n - FRAME_HEADER_BYTES);
    const Shardd__Frame *frame = unpack(packed + FRAME_HEADER_BYTES, body_bytes);
    assert_non_null(frame);
    assert_int_equal(frame->body_case, body);
    assert_int_equal(frame->seq, 5);
    assert_int_equal(msg_packed_bytes(frame), n);
    assert_int_equal(msg_pack(frame, again), n);
    assert_memory_equal(again, packed, n);
  }
}

static void test_names(void **state) {
  (void)state;
  static const char *const names[] = {
      "hello",   "welcome", "error",   "list_offer", "list_chunk", "list_reply",  "lease_request", "lease",
      "parked",  "drained", "started", "results",    "ack",        "heartbeat",   "revoke",        "bye",
      "goodbye", "query",   "rows",    "recall",     "released",   "list_request"};
  for (int body = FIRST_BODY; body <= LAST_BODY; body++) {
    make(body);
    assert_string_equal(msg_name(&sample.frame), names[body - FIRST_BODY]);
  }
  sample.frame.body_case = SHARDD__FRAME__BODY__NOT_SET;
  assert_string_equal(msg_name(&sample.frame), "nothing");
}

static void test_columns_arrive(void **state) {
  (void)state;
  make(SHARDD__FRAME__BODY_RESULTS);
  size_t n = pack(&sample.frame);
  const Shardd__Frame *frame = unpack(packed + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES);
  assert_non_null(frame);
  const Shardd__Results *results = frame->results;
  assert_int_equal(results->n_test, 2);
  assert_int_equal(results->test[1], 8);
  assert_int_equal(results->status[1], SHARDD__STATUS__STATUS_FAILED);
  assert_true(results->start_us[0] == 1790000000000000u);
  assert_int_equal(results->setup_us[1], 300001);
  assert_true(results->first[0] && !results->first[1]);
  assert_int_equal(results->text[0].len, strlen("tests/test_a.py"));
}

static void test_a_frame_without_message_is_refused(void **state) {
  (void)state;
  const uint8_t only_seq[] = {0x08, 0x05};
  assert_null(unpack(only_seq, sizeof only_seq));
  const uint8_t unknown_field[] = {0xf8, 0x01, 0x01};  // field 31, from a later version
  assert_null(unpack(unknown_field, sizeof unknown_field));
  Shardd__Frame empty = SHARDD__FRAME__INIT;
  assert_int_equal(msg_packed_bytes(&empty), 0);
}

static void test_of_two_messages_the_last_counts(void **state) {
  (void)state;
  make(SHARDD__FRAME__BODY_LEASE);
  size_t n = pack(&sample.frame);
  static uint8_t two[8192];
  memcpy(two, packed + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES);
  size_t held = n - FRAME_HEADER_BYTES;
  make(SHARDD__FRAME__BODY_ACK);
  n = pack(&sample.frame);
  memcpy(two + held, packed + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES);
  const Shardd__Frame *frame = unpack(two, held + n - FRAME_HEADER_BYTES);
  assert_non_null(frame);
  assert_int_equal(frame->body_case, SHARDD__FRAME__BODY_ACK);
  assert_int_equal(frame->ack->seq, 9);
}

static void test_fields_of_a_later_version_are_ignored(void **state) {
  (void)state;
  make(SHARDD__FRAME__BODY_PARKED);
  size_t n = pack(&sample.frame) - FRAME_HEADER_BYTES;
  uint8_t *body = packed + FRAME_HEADER_BYTES;
  const uint8_t extra[] = {0xf8, 0x01, 0x2a};
  memcpy(body + n, extra, sizeof extra);
  const Shardd__Frame *frame = unpack(body, n + sizeof extra);
  assert_non_null(frame);
  assert_int_equal(frame->parked->leased, 3);
}

// ---- each rule, broken once

enum how {
  SET_NUMBER,     // the uint32 or enum at `at` becomes value
  SET_COUNT,      // the number of items at `at` becomes value; for more than a sample holds, of an empty pool
  SET_LENGTH,     // the bytes at `at` become value times 'x'
  SET_NUL,        // the bytes at `at` become "a\0b"
  SET_NEWLINE,    // the bytes at `at` become "a\nb"
  SET_ITEM,       // second item of the uint32 column at `at`
  SET_ITEM_SIZE,  // second item of the column of bytes at `at`: value times 'x'
  SET_ITEM_NUL,
};

struct breakage {
  int body;
  enum how how;
  size_t at;
  uint32_t value;
  const char *why;  // how the reason must begin; NULL: this is still allowed
};

static char xs[MSG_TEXT_MAX_BYTES + 1];
static uint64_t pool[4 * (MSG_CELL_MAX + 2)];  // zeros: numbers, or empty bytes

static void break_sample(const struct breakage *b) {
  char *at = (char *)make(b->body) + b->at;
  memset(xs, 'x', sizeof xs);
  switch (b->how) {
    case SET_NUMBER: memcpy(at, &b->value, sizeof b->value); break;
    case SET_COUNT: {
      size_t n = b->value;
      void *items = pool;
      if (n > *(size_t *)(void *)at) memcpy(at + sizeof n, &items, sizeof items);
      memcpy(at, &n, sizeof n);
      break;
    }
    case SET_LENGTH: *(ProtobufCBinaryData *)(void *)at = msg_bytes(xs, b->value); break;
    case SET_NUL: *(ProtobufCBinaryData *)(void *)at = msg_bytes("a\0b", 3); break;
    case SET_NEWLINE: *(ProtobufCBinaryData *)(void *)at = msg_bytes("a\nb", 3); break;
    case SET_ITEM: (*(uint32_t **)(void *)at)[1] = b->value; break;
    case SET_ITEM_SIZE: (*(ProtobufCBinaryData **)(void *)at)[1] = msg_bytes(xs, b->value); break;
    case SET_ITEM_NUL: (*(ProtobufCBinaryData **)(void *)at)[1] = msg_bytes("a\0b", 3); break;
  }
}

#define IN(BODY, M, f, how, value, why) \
  { SHARDD__FRAME__BODY_##BODY, how, offsetof(Shardd__##M, f), value, why }
#define ENUM(BODY, M, f, least, most)                                                                                  \
  IN(BODY, M, f, SET_NUMBER, least, NULL), IN(BODY, M, f, SET_NUMBER, most, NULL),                                     \
      IN(BODY, M, f, SET_NUMBER, (uint32_t)(least)-1u, #M "." #f), IN(BODY, M, f, SET_NUMBER, (most) + 1u, #M "." #f), \
      IN(BODY, M, f, SET_NUMBER, 0x80000000u, #M "." #f)
#define TEXT(BODY, M, f, most)                                                 \
  IN(BODY, M, f, SET_LENGTH, 0, NULL), IN(BODY, M, f, SET_LENGTH, most, NULL), \
      IN(BODY, M, f, SET_LENGTH, (most) + 1u, #M "." #f), IN(BODY, M, f, SET_NUL, 0, #M "." #f)
#define ITEMS(BODY, M, f, most)                                                                     \
  IN(BODY, M, f, SET_ITEM_SIZE, most, NULL), IN(BODY, M, f, SET_ITEM_SIZE, (most) + 1u, #M "." #f), \
      IN(BODY, M, f, SET_ITEM_NUL, 0, #M "." #f)
#define COLUMN(BODY, M, f) IN(BODY, M, n_##f, SET_COUNT, 1, #M "."), IN(BODY, M, n_##f, SET_COUNT, 3, #M ".")

static const struct breakage breakages[] = {
    ENUM(HELLO, Hello, role, 1, 3),
    TEXT(HELLO, Hello, token, MSG_TOKEN_MAX_BYTES),
    TEXT(HELLO, Hello, client, MSG_NAME_MAX_BYTES),
    TEXT(HELLO, Hello, project, MSG_NAME_MAX_BYTES),
    TEXT(HELLO, Hello, suite, MSG_NAME_MAX_BYTES),
    TEXT(HELLO, Hello, build, MSG_NAME_MAX_BYTES),
    TEXT(HELLO, Hello, commit, MSG_NAME_MAX_BYTES),
    TEXT(HELLO, Hello, branch, MSG_NAME_MAX_BYTES),
    TEXT(HELLO, Hello, node, MSG_NAME_MAX_BYTES),
    TEXT(HELLO, Hello, attempt, MSG_NAME_MAX_BYTES),
    TEXT(HELLO, Hello, host, MSG_NAME_MAX_BYTES),
    IN(HELLO, Hello, retried, SET_NUMBER, 0, NULL),
    IN(HELLO, Hello, retried, SET_NUMBER, 3, "Hello.retried"),
    IN(HELLO, Hello, part, SET_NUMBER, 2, NULL),
    IN(HELLO, Hello, part, SET_NUMBER, 3, "Hello.part"),
    IN(HELLO, Hello, parts, SET_NUMBER, 0, "Hello.part"),
    IN(HELLO, Hello, parts, SET_NUMBER, MSG_PARTS_MAX, NULL),
    IN(HELLO, Hello, parts, SET_NUMBER, MSG_PARTS_MAX + 1, "Hello.parts"),
    IN(HELLO, Hello, session, SET_NUL, 0, NULL),
    IN(HELLO, Hello, session, SET_LENGTH, MSG_SESSION_MAX_BYTES + 1, "Hello.session"),
    IN(HELLO, Hello, n_held_lease, SET_COUNT, MSG_HELD_MAX + 1, "Hello.held_lease"),
    COLUMN(HELLO, Hello, held_lease),
    COLUMN(HELLO, Hello, held_count),
    IN(HELLO, Hello, held_count, SET_ITEM, MSG_LEASE_MAX + 1, "Hello.held_count"),
    IN(HELLO, Hello, held_count, SET_ITEM, 2, "Hello.held_test"),
    IN(HELLO, Hello, n_held_test, SET_COUNT, 0, "Hello.held_test"),
    ENUM(WELCOME, Welcome, state, 0, 5),
    TEXT(WELCOME, Welcome, server, MSG_NAME_MAX_BYTES),
    IN(WELCOME, Welcome, session, SET_LENGTH, MSG_SESSION_MAX_BYTES + 1, "Welcome.session"),
    IN(WELCOME, Welcome, list_count, SET_NUMBER, MSG_LIST_MAX + 1, "Welcome.list_count"),
    IN(WELCOME, Welcome, n_revoked, SET_COUNT, MSG_HELD_MAX + 1, "Welcome.revoked"),
    ENUM(ERROR, Error, code, 1, 11),
    TEXT(ERROR, Error, text, MSG_TEXT_MAX_BYTES),
    IN(LIST_OFFER, ListOffer, count, SET_NUMBER, 0, NULL),
    IN(LIST_OFFER, ListOffer, count, SET_NUMBER, MSG_LIST_MAX + 1, "ListOffer.count"),
    IN(LIST_OFFER, ListOffer, sha256, SET_LENGTH, MSG_DIGEST_BYTES - 1, "ListOffer.sha256"),
    IN(LIST_OFFER, ListOffer, sha256, SET_LENGTH, MSG_DIGEST_BYTES + 1, "ListOffer.sha256"),
    IN(LIST_OFFER, ListOffer, sha256, SET_LENGTH, 0, "ListOffer.sha256"),
    COLUMN(LIST_CHUNK, ListChunk, id),
    COLUMN(LIST_CHUNK, ListChunk, file_of),
    COLUMN(LIST_CHUNK, ListChunk, unit_of),
    IN(LIST_CHUNK, ListChunk, n_id, SET_COUNT, MSG_CHUNK_MAX + 1, "ListChunk.id"),
    IN(LIST_CHUNK, ListChunk, n_file, SET_COUNT, MSG_CHUNK_MAX + 1, "ListChunk.file"),
    IN(LIST_CHUNK, ListChunk, id, SET_ITEM_SIZE, 0, "ListChunk.id"),
    ITEMS(LIST_CHUNK, ListChunk, id, MSG_ID_MAX_BYTES),
    ITEMS(LIST_CHUNK, ListChunk, file, MSG_NAME_MAX_BYTES),
    IN(LIST_CHUNK, ListChunk, file_of, SET_ITEM, MSG_NO_FILE, NULL),
    IN(LIST_CHUNK, ListChunk, file_of, SET_ITEM, MSG_LIST_MAX, "ListChunk.file_of"),
    IN(LIST_CHUNK, ListChunk, n_expected_us, SET_COUNT, 0, NULL),
    COLUMN(LIST_CHUNK, ListChunk, expected_us),
    IN(LIST_REQUEST, ListRequest, tests, SET_NUMBER, MSG_LIST_MAX, NULL),
    IN(LIST_REQUEST, ListRequest, tests, SET_NUMBER, MSG_LIST_MAX + 1, "ListRequest.tests"),
    IN(LIST_REQUEST, ListRequest, files, SET_NUMBER, MSG_LIST_MAX, NULL),
    IN(LIST_REQUEST, ListRequest, files, SET_NUMBER, MSG_LIST_MAX + 1, "ListRequest.files"),
    ENUM(LIST_REPLY, ListReply, want, 1, 3),
    IN(LIST_REPLY, ListReply, n_missing, SET_COUNT, MSG_FEW_MAX + 1, "ListReply.missing"),
    IN(LIST_REPLY, ListReply, n_extra, SET_COUNT, MSG_FEW_MAX + 1, "ListReply.extra"),
    ITEMS(LIST_REPLY, ListReply, missing, MSG_ID_MAX_BYTES),
    IN(LIST_REPLY, ListReply, extra, SET_ITEM_SIZE, 0, "ListReply.missing"),  // both show the same ids
    TEXT(LIST_REPLY, ListReply, first, MSG_NAME_MAX_BYTES),
    IN(LEASE, Lease, n_test, SET_COUNT, 0, "Lease.test"),
    IN(LEASE, Lease, n_test, SET_COUNT, MSG_LEASE_MAX + 1, "Lease.test"),
    IN(LEASE, Lease, test, SET_ITEM, MSG_LIST_MAX, "Lease.test"),
    IN(LEASE, Lease, n_cap_ms, SET_COUNT, 0, NULL),
    IN(LEASE, Lease, n_name, SET_COUNT, 0, NULL),
    IN(LEASE, Lease, n_file, SET_COUNT, 0, NULL),
    COLUMN(LEASE, Lease, test),
    COLUMN(LEASE, Lease, cap_ms),
    COLUMN(LEASE, Lease, est_ms),
    COLUMN(LEASE, Lease, cap_from),
    COLUMN(LEASE, Lease, name),
    COLUMN(LEASE, Lease, file),
    ITEMS(LEASE, Lease, name, MSG_ID_MAX_BYTES),
    ITEMS(LEASE, Lease, file, MSG_NAME_MAX_BYTES),
    ENUM(DRAINED, Drained, reason, 1, 6),
    IN(LEASE_REQUEST, LeaseRequest, claim, SET_ITEM, MSG_LIST_MAX, "LeaseRequest.claim"),
    IN(LEASE_REQUEST, LeaseRequest, n_claim, SET_COUNT, 0, NULL),
    IN(LEASE_REQUEST, LeaseRequest, n_claim, SET_COUNT, MSG_LEASE_MAX + 1,
       "LeaseRequest.claim: has too few or too many"),
    IN(STARTED, Started, test, SET_NUMBER, MSG_LIST_MAX, "Started.test"),
    IN(RESULTS, Results, n_test, SET_COUNT, 0, "Results.test"),
    IN(RESULTS, Results, n_test, SET_COUNT, MSG_CHUNK_MAX + 1, "Results.test"),
    IN(RESULTS, Results, test, SET_ITEM, MSG_LIST_MAX, "Results.test"),
    COLUMN(RESULTS, Results, test),
    COLUMN(RESULTS, Results, status),
    COLUMN(RESULTS, Results, start_us),
    COLUMN(RESULTS, Results, setup_us),
    COLUMN(RESULTS, Results, call_us),
    COLUMN(RESULTS, Results, teardown_us),
    COLUMN(RESULTS, Results, first),
    COLUMN(RESULTS, Results, text_of),
    COLUMN(RESULTS, Results, text),
    IN(RESULTS, Results, status, SET_ITEM, SHARDD__STATUS__STATUS_TIMED_OUT, NULL),
    IN(RESULTS, Results, status, SET_ITEM, SHARDD__STATUS__STATUS_TIMED_OUT + 1, "Results.status"),
    IN(RESULTS, Results, status, SET_ITEM, 0, "Results.status"),
    IN(RESULTS, Results, text_of, SET_ITEM, 2, "Results.text_of"),
    IN(RESULTS, Results, text_of, SET_ITEM, 0, "Results.text_of"),
    ITEMS(RESULTS, Results, text, MSG_TEXT_MAX_BYTES),
    IN(HEARTBEAT, Heartbeat, test, SET_NUMBER, MSG_LIST_MAX, "Heartbeat.test"),
    IN(REVOKE, Revoke, n_lease, SET_COUNT, 0, "Revoke.lease"),
    IN(REVOKE, Revoke, n_lease, SET_COUNT, MSG_LEASE_MAX + 1, "Revoke.lease"),
    ENUM(BYE, Bye, reason, 1, 4),
    TEXT(BYE, Bye, text, MSG_TEXT_MAX_BYTES),
    IN(BYE, Bye, n_late, SET_COUNT, MSG_LATE_MAX + 1, "Bye.late"),
    ITEMS(BYE, Bye, late, MSG_TEXT_MAX_BYTES),
    ENUM(GOODBYE, Goodbye, state, 0, 5),
    IN(GOODBYE, Goodbye, exit_code, SET_NUMBER, 256, "Goodbye.exit_code"),
    IN(GOODBYE, Goodbye, n_own, SET_COUNT, MSG_FEW_MAX + 1, "Goodbye.own"),
    ITEMS(GOODBYE, Goodbye, own, MSG_ID_MAX_BYTES),
    TEXT(GOODBYE, Goodbye, why, MSG_TEXT_MAX_BYTES),
    TEXT(GOODBYE, Goodbye, twice, MSG_TEXT_MAX_BYTES),
    ENUM(QUERY, Query, kind, 1, 10),
    ENUM(QUERY, Query, kind, 20, 22),
    COLUMN(QUERY, Query, import_file_of),
    COLUMN(QUERY, Query, import_us),
    IN(QUERY, Query, import_test, SET_ITEM_SIZE, MSG_ID_MAX_BYTES, NULL),
    IN(QUERY, Query, import_test, SET_ITEM_SIZE, 0, "Query.import_test"),
    ITEMS(QUERY, Query, import_file, MSG_NAME_MAX_BYTES),
    IN(QUERY, Query, import_file_of, SET_ITEM, 1, NULL),
    IN(QUERY, Query, import_file_of, SET_ITEM, MSG_NO_FILE, NULL),
    IN(QUERY, Query, import_file_of, SET_ITEM, 2, "Query.import_file_of"),
    TEXT(QUERY, Query, project, MSG_NAME_MAX_BYTES),
    TEXT(QUERY, Query, suite, MSG_NAME_MAX_BYTES),
    TEXT(QUERY, Query, build, MSG_NAME_MAX_BYTES),
    TEXT(QUERY, Query, test, MSG_ID_MAX_BYTES),
    IN(QUERY, Query, test, SET_NEWLINE, 0, "Query.test"),
    IN(ROWS, Rows, n_column, SET_COUNT, MSG_COLUMN_MAX + 1, "Rows.column"),
    COLUMN(ROWS, Rows, type),
    IN(ROWS, Rows, type, SET_ITEM, 5, NULL),
    IN(ROWS, Rows, type, SET_ITEM, 6, "Rows.type"),
    IN(ROWS, Rows, n_cell, SET_COUNT, 0, NULL),
    IN(ROWS, Rows, n_cell, SET_COUNT, 3, "Rows.cell"),
    IN(ROWS, Rows, n_cell, SET_COUNT, MSG_CELL_MAX + 2, "Rows.cell: has too few or too many"),
    ITEMS(ROWS, Rows, column, MSG_NAME_MAX_BYTES),
    ITEMS(ROWS, Rows, cell, MSG_TEXT_MAX_BYTES),
};

static void test_each_rule(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof breakages / sizeof breakages[0]; i++) {
    const struct breakage *b = &breakages[i];
    break_sample(b);
    const char *why = msg_check(&sample.frame);
    bool as_expected = b->why == NULL ? why == NULL : why != NULL && strncmp(why, b->why, strlen(b->why)) == 0;
    if (!as_expected) {
      fail_msg("case %zu (%s, value %u): expected %s, got %s", i, msg_name(&sample.frame), b->value,
               b->why == NULL ? "nothing" : b->why, why == NULL ? "nothing" : why);
    }
  }
}

static void test_rules_hold_over_the_wire(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof breakages / sizeof breakages[0]; i++) {
    break_sample(&breakages[i]);
    size_t n = pack(&sample.frame);
    const Shardd__Frame *frame = unpack(packed + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES);
    assert_int_equal(frame == NULL, breakages[i].why != NULL);
  }
}

static void test_results_need_a_number(void **state) {
  (void)state;
  make(SHARDD__FRAME__BODY_RESULTS);
  sample.frame.seq = 0;
  assert_non_null(msg_check(&sample.frame));
  make(SHARDD__FRAME__BODY_HEARTBEAT);
  sample.frame.seq = 0;
  assert_null(msg_check(&sample.frame));
}

static void test_rows_without_columns_have_no_cells(void **state) {
  (void)state;
  make(SHARDD__FRAME__BODY_ROWS);
  sample.rows.n_column = sample.rows.n_type = 0;
  assert_non_null(msg_check(&sample.frame));
  sample.rows.n_cell = 0;
  assert_null(msg_check(&sample.frame));
}

static void test_query_kinds_with_their_gaps(void **state) {
  (void)state;
  unsigned known = 0;
  make(SHARDD__FRAME__BODY_QUERY);
  for (int kind = -1; kind < 1000; kind++) {
    sample.query.kind = (Shardd__QueryKind)kind;
    bool has = kind > 0 && protobuf_c_enum_descriptor_get_value(&shardd__query_kind__descriptor, kind) != NULL;
    assert_int_equal(msg_check(&sample.frame) == NULL, has);
    known += has;
  }
  assert_int_equal(known + 1, shardd__query_kind__descriptor.n_values);
}

static void test_expected_durations_are_bounded(void **state) {
  (void)state;
  make(SHARDD__FRAME__BODY_LIST_CHUNK);
  sample.long_us[0] = 0;
  sample.long_us[1] = MSG_EXPECTED_MAX_US;
  assert_null(msg_check(&sample.frame));
  sample.long_us[1]++;
  assert_string_equal(msg_check(&sample.frame), "ListChunk.expected_us: is longer than a week");
}

// A new value of an enum must not slip past the rules unnoticed: they hold the last value by name.
static void test_rules_know_all_enum_values(void **state) {
  (void)state;
  const struct {
    const ProtobufCEnumDescriptor *descriptor;
    int last;
  } enums[] = {
      {&shardd__role__descriptor, SHARDD__ROLE__ROLE_PLAN},
      {&shardd__retried__descriptor, SHARDD__RETRIED__RETRIED_YES},
      {&shardd__build_state__descriptor, SHARDD__BUILD_STATE__BUILD_ABORTED},
      {&shardd__error_code__descriptor, SHARDD__ERROR_CODE__ERROR_DIFFERS},
      {&shardd__list_want__descriptor, SHARDD__LIST_WANT__LIST_MISMATCH},
      {&shardd__drain_reason__descriptor, SHARDD__DRAIN_REASON__DRAIN_FEW},
      {&shardd__status__descriptor, SHARDD__STATUS__STATUS_TIMED_OUT},
      {&shardd__bye_reason__descriptor, SHARDD__BYE_REASON__BYE_STOPPED},
      {&shardd__column_type__descriptor, SHARDD__COLUMN_TYPE__COLUMN_NUMBER},
      {&shardd__on_retry__descriptor, SHARDD__ON_RETRY__ON_RETRY_UNRESOLVED},
  };
  for (size_t i = 0; i < sizeof enums / sizeof enums[0]; i++) {
    const ProtobufCEnumDescriptor *e = enums[i].descriptor;
    assert_int_equal(e->n_values, enums[i].last + 1);  // contiguous from 0
    assert_int_equal(e->values[e->n_values - 1].value, enums[i].last);
  }
}

static void test_policy_is_checked_inside_hello(void **state) {
  (void)state;
  make(SHARDD__FRAME__BODY_HELLO);
  sample.policy.on_retry = (Shardd__OnRetry)4;
  const char *why = msg_check(&sample.frame);
  assert_non_null(why);
  assert_non_null(strstr(why, "on_retry"));
  sample.hello.policy = NULL;
  assert_null(msg_check(&sample.frame));
}

static void test_ids(void **state) {
  (void)state;
  memset(xs, 'x', sizeof xs);
  assert_false(msg_id_valid("", 0));
  assert_false(msg_id_valid(NULL, 0));
  assert_true(msg_id_valid("a", 1));
  assert_true(msg_id_valid("\xff\xfe \t", 4));  // bytes, not text
  assert_false(msg_id_valid("a\0b", 3));
  assert_false(msg_id_valid("a\nb", 3));
  assert_false(msg_id_valid("a\n", 2));
  assert_true(msg_id_valid(xs, MSG_ID_MAX_BYTES));
  assert_false(msg_id_valid(xs, MSG_ID_MAX_BYTES + 1));
}

static void test_text_fields(void **state) {
  (void)state;
  assert_int_equal(msg_text(NULL).len, 0);
  assert_int_equal(msg_text("").len, 0);
  ProtobufCBinaryData text = msg_text("abc");
  assert_int_equal(text.len, 3);
  assert_memory_equal(text.data, "abc", 3);
}

static void test_a_message_over_the_frame_bound_is_not_packed(void **state) {
  (void)state;
  make(SHARDD__FRAME__BODY_BYE);
  static ProtobufCBinaryData late[17];
  for (size_t i = 0; i < 17; i++)
    late[i] = msg_bytes(xs, MSG_TEXT_MAX_BYTES);
  sample.bye.late = late;
  sample.bye.n_late = 17;
  assert_int_equal(msg_packed_bytes(&sample.frame), 0);
  sample.bye.n_late = 15;
  size_t n = pack(&sample.frame);
  assert_non_null(unpack(packed + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_message_comes_back_the_same),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_columns_arrive),
      cmocka_unit_test(test_a_frame_without_message_is_refused),
      cmocka_unit_test(test_of_two_messages_the_last_counts),
      cmocka_unit_test(test_fields_of_a_later_version_are_ignored),
      cmocka_unit_test(test_each_rule),
      cmocka_unit_test(test_rules_hold_over_the_wire),
      cmocka_unit_test(test_results_need_a_number),
      cmocka_unit_test(test_rows_without_columns_have_no_cells),
      cmocka_unit_test(test_query_kinds_with_their_gaps),
      cmocka_unit_test(test_expected_durations_are_bounded),
      cmocka_unit_test(test_rules_know_all_enum_values),
      cmocka_unit_test(test_policy_is_checked_inside_hello),
      cmocka_unit_test(test_ids),
      cmocka_unit_test(test_text_fields),
      cmocka_unit_test(test_a_message_over_the_frame_bound_is_not_packed),
  };
  return cmocka_run_group_tests_name("msg", tests, open_arena, close_arena);
}
