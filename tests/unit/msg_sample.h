// Included by the test programs of msg.c: one valid message of each kind, to be changed and sent. Definitions stand
// here because each program is one file.
#ifndef TESTS_UNIT_MSG_SAMPLE_H
#define TESTS_UNIT_MSG_SAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/frame.h"
#include "proto/msg.h"

enum { FIRST_BODY = SHARDD__FRAME__BODY_HELLO, LAST_BODY = SHARDD__FRAME__BODY_LIST_REQUEST };

// One valid message of each kind, with columns of two rows that a test may change.
struct sample {
  Shardd__Frame frame;
  Shardd__Hello hello;
  Shardd__Policy policy;
  Shardd__Welcome welcome;
  Shardd__Error error;
  Shardd__ListOffer list_offer;
  Shardd__ListChunk list_chunk;
  Shardd__ListReply list_reply;
  Shardd__LeaseRequest lease_request;
  Shardd__Lease lease;
  Shardd__Parked parked;
  Shardd__Drained drained;
  Shardd__Started started;
  Shardd__Results results;
  Shardd__Ack ack;
  Shardd__Heartbeat heartbeat;
  Shardd__Revoke revoke;
  Shardd__Bye bye;
  Shardd__Goodbye goodbye;
  Shardd__Query query;
  Shardd__Rows rows;
  Shardd__Recall recall;
  Shardd__Released released;
  Shardd__ListRequest list_request;
  uint32_t a[2], b[2], c[2], d[2], e[2];
  Shardd__CapFrom cap_from[2];
  uint64_t big[2], long_us[2];
  uint64_t spans[2];
  protobuf_c_boolean flags[2];
  ProtobufCBinaryData texts[2], names[4];
  uint8_t digest[MSG_DIGEST_BYTES];
};

static struct msg_arena *arena;
static struct sample sample;
static uint8_t packed[FRAME_HEADER_BYTES + FRAME_MAX_BYTES];

static void fill_columns(struct sample *s) {
  for (unsigned i = 0; i < 2; i++) {
    s->a[i] = 7 + i;
    s->b[i] = 1 + i;
    s->c[i] = 300000 + i;
    s->d[i] = 20 + i;
    s->e[i] = i;
    s->spans[i] = i * MSG_EXPECTED_MAX_US;
    s->big[i] = 1790000000000000u + i;
    s->long_us[i] = 5000000000u + i;
    s->flags[i] = i == 0;
  }
  s->texts[0] = msg_text("tests/test_a.py::test_one[x]");
  s->texts[1] = msg_bytes("tests/test_b.py::T::test_\xc3\xa4", 27);
  for (unsigned i = 0; i < 4; i++)
    s->names[i] = msg_text(i % 2 == 0 ? "tests/test_a.py" : "");
  memset(s->digest, 0, sizeof s->digest);
}

static void fill_to_server(struct sample *s) {
  s->policy = (Shardd__Policy)SHARDD__POLICY__INIT;
  s->policy.retries = 2;
  s->policy.linger_us = 60000000;
  s->hello = (Shardd__Hello)SHARDD__HELLO__INIT;
  s->hello.version = MSG_VERSION;
  s->hello.role = SHARDD__ROLE__ROLE_WORKER;
  s->hello.token = msg_text("shd_1_secret");
  s->hello.project = msg_text("p");
  s->hello.session = msg_bytes("\0\1\2", 3);
  s->hello.policy = &s->policy;
  s->hello.part = 1;
  s->hello.parts = 2;
  s->hello.n_held_lease = s->hello.n_held_count = s->hello.n_held_test = 2;
  s->hello.held_lease = s->big;
  s->hello.held_count = s->e;  // 0 and 1
  s->hello.n_held_test = 1;
  s->hello.held_test = s->a;
  s->list_offer = (Shardd__ListOffer)SHARDD__LIST_OFFER__INIT;
  s->list_offer.count = 2;
  s->list_offer.sha256 = msg_bytes(s->digest, sizeof s->digest);
  s->list_chunk = (Shardd__ListChunk)SHARDD__LIST_CHUNK__INIT;
  s->list_chunk.n_id = s->list_chunk.n_file = s->list_chunk.n_file_of = s->list_chunk.n_unit_of = 2;
  s->list_chunk.id = s->texts;
  s->list_chunk.file = s->names;
  s->list_chunk.file_of = s->e;
  s->list_chunk.unit_of = s->b;
  s->list_chunk.n_expected_us = 2;
  s->list_chunk.expected_us = s->long_us;
  s->lease_request = (Shardd__LeaseRequest)SHARDD__LEASE_REQUEST__INIT;
  s->lease_request.names = true;
  s->lease_request.n_claim = 2;
  s->lease_request.claim = s->a;
  s->started = (Shardd__Started)SHARDD__STARTED__INIT;
  s->started.lease = 4294967297u;
  s->results = (Shardd__Results)SHARDD__RESULTS__INIT;
  s->results.n_test = s->results.n_status = s->results.n_start_us = s->results.n_setup_us = s->results.n_call_us =
      s->results.n_teardown_us = s->results.n_first = s->results.n_text_of = s->results.n_text = 2;
  s->results.test = s->a;
  s->results.status = s->b;
  s->results.start_us = s->big;
  s->results.setup_us = s->c;
  s->results.call_us = s->d;
  s->results.teardown_us = s->d;
  s->results.first = s->flags;
  s->results.text_of = s->e;
  s->results.text = s->names;
  s->heartbeat = (Shardd__Heartbeat)SHARDD__HEARTBEAT__INIT;
  s->heartbeat.running_us = 5;
  s->bye = (Shardd__Bye)SHARDD__BYE__INIT;
  s->bye.reason = SHARDD__BYE_REASON__BYE_DONE;
  s->bye.n_late = 2;
  s->bye.late = s->names;
  s->released = (Shardd__Released)SHARDD__RELEASED__INIT;
  s->released.lease = 7;
  s->released.n_test = 2;
  s->released.test = s->a;
  s->list_request = (Shardd__ListRequest)SHARDD__LIST_REQUEST__INIT;
  s->list_request.tests = 5000;
  s->list_request.files = 40;
  s->query = (Shardd__Query)SHARDD__QUERY__INIT;
  s->query.kind = SHARDD__QUERY_KIND__QUERY_TEST;
  s->query.test = msg_text("a.py::t");
  s->query.n_import_test = s->query.n_import_file = s->query.n_import_file_of = s->query.n_import_us = 2;
  s->query.import_test = s->texts;
  s->query.import_file = s->names;
  s->query.import_file_of = s->e;
  s->query.import_us = s->spans;
}

static void fill_to_worker(struct sample *s) {
  s->welcome = (Shardd__Welcome)SHARDD__WELCOME__INIT;
  s->welcome.version = MSG_VERSION;
  s->welcome.state = SHARDD__BUILD_STATE__BUILD_RUNNING;
  s->welcome.n_revoked = 2;
  s->welcome.revoked = s->big;
  s->error = (Shardd__Error)SHARDD__ERROR__INIT;
  s->error.code = SHARDD__ERROR_CODE__ERROR_TOKEN;
  s->error.text = msg_text("no");
  s->list_reply = (Shardd__ListReply)SHARDD__LIST_REPLY__INIT;
  s->list_reply.want = SHARDD__LIST_WANT__LIST_MISMATCH;
  s->list_reply.n_missing = s->list_reply.n_extra = 2;
  s->list_reply.missing = s->list_reply.extra = s->texts;
  s->lease = (Shardd__Lease)SHARDD__LEASE__INIT;
  s->lease.lease = 77;
  s->lease.n_test = s->lease.n_cap_ms = s->lease.n_est_ms = s->lease.n_name = s->lease.n_file = 2;
  s->lease.test = s->a;
  s->lease.cap_ms = s->c;
  s->lease.est_ms = s->d;
  s->lease.n_cap_from = 2;
  s->lease.cap_from = s->cap_from;
  s->lease.name = s->texts;
  s->lease.file = s->names;
  s->parked = (Shardd__Parked)SHARDD__PARKED__INIT;
  s->parked.leased = 3;
  s->drained = (Shardd__Drained)SHARDD__DRAINED__INIT;
  s->drained.reason = SHARDD__DRAIN_REASON__DRAIN_LINGER;
  s->ack = (Shardd__Ack)SHARDD__ACK__INIT;
  s->ack.seq = 9;
  s->revoke = (Shardd__Revoke)SHARDD__REVOKE__INIT;
  s->revoke.n_lease = 2;
  s->revoke.lease = s->big;
  s->goodbye = (Shardd__Goodbye)SHARDD__GOODBYE__INIT;
  s->goodbye.state = SHARDD__BUILD_STATE__BUILD_COMPLETE;
  s->goodbye.exit_code = 16;
  s->goodbye.n_own = 2;
  s->goodbye.own = s->texts;
  s->rows = (Shardd__Rows)SHARDD__ROWS__INIT;
  s->rows.n_column = s->rows.n_type = 2;
  s->rows.column = s->texts;
  s->rows.type = s->e;
  s->rows.n_cell = 4;
  s->rows.cell = s->names;
  s->recall = (Shardd__Recall)SHARDD__RECALL__INIT;
  s->recall.lease = 7;
  s->recall.n_test = 2;
  s->recall.test = s->a;
}

static void *sample_of(struct sample *s, int body) {
  void *const messages[] = {&s->hello,      &s->welcome,       &s->error, &s->list_offer, &s->list_chunk,
                            &s->list_reply, &s->lease_request, &s->lease, &s->parked,     &s->drained,
                            &s->started,    &s->results,       &s->ack,   &s->heartbeat,  &s->revoke,
                            &s->bye,        &s->goodbye,       &s->query, &s->rows,       &s->recall,
                            &s->released,   &s->list_request};
  assert_int_equal(sizeof messages / sizeof messages[0], LAST_BODY - FIRST_BODY + 1);
  return messages[body - FIRST_BODY];
}

static void *make(int body) {
  fill_columns(&sample);
  fill_to_server(&sample);
  fill_to_worker(&sample);
  sample.frame = (Shardd__Frame)SHARDD__FRAME__INIT;
  sample.frame.seq = 5;
  sample.frame.body_case = body;
  void *message = sample_of(&sample, body);
  sample.frame.hello = message;
  return message;
}

static inline size_t pack(const Shardd__Frame *frame) {
  size_t n = msg_packed_bytes(frame);
  assert_in_range(n, FRAME_HEADER_BYTES + 1, sizeof packed);
  assert_int_equal(msg_pack(frame, packed), n);
  return n;
}

static inline const Shardd__Frame *unpack(const uint8_t *body, size_t n) {
  const char *why = "untouched";
  const Shardd__Frame *frame = msg_unpack(arena, body, n, &why);
  if (frame == NULL) assert_string_not_equal(why, "untouched");
  if (frame != NULL) assert_string_equal(why, "untouched");
  return frame;
}

static int open_arena(void **state) {
  (void)state;
  arena = msg_arena_new(MSG_ARENA_MAX_BYTES);
  return arena == NULL ? -1 : 0;
}

static int close_arena(void **state) {
  (void)state;
  msg_arena_free(arena);
  return 0;
}

#endif
