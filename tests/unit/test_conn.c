// Unit tests of connections over real sockets: frames in pieces and in heaps, bounds before and after the hello,
// malformed bytes, slow readers, silence, the bound on connections, and closing at every turn.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
// cmocka needs those above first
#include <cmocka.h>

#include "proto/frame.h"
#include "server/conn.h"
#include "server/limits.h"

enum { PATIENCE_US = 20000000, SEEN_MAX = 500 };

static struct event_base *base;
static struct conns *conns;
static struct budget budget;
static struct msg_arena *arena;
static struct conn *last;
static int peer = -1;
static size_t seen, closed;
static uint64_t seqs[SEEN_MAX];
static bool closes_at_once;

static void on_message(void *arg, struct conn *conn, const Shardd__Frame *frame) {
  assert_ptr_equal(arg, &seen);
  assert_true(seen < SEEN_MAX);
  seqs[seen++] = frame->seq;
  last = conn;
  if (closes_at_once) conn_close(conn);
}

static void on_closed(void *arg, struct conn *conn) {
  assert_ptr_equal(arg, &seen);
  if (conn == last) last = NULL;
  closed++;
}

static const struct conn_handler handler = {.on_message = on_message, .on_closed = on_closed, .arg = &seen};

// A connection and the other end of it.
static int connect_one(void) {
  int fds[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  conn_open(conns, fds[0], "test", 1234);
  return fds[1];
}

static int set_up(void **state) {
  (void)state;
  seen = closed = 0;
  last = NULL;
  closes_at_once = false;
  budget = (struct budget){.buffer_bytes = LIMIT_BUFFER_BYTES};
  base = event_base_new();
  arena = msg_arena_new(MSG_ARENA_MAX_BYTES);
  conns = conns_new(base, 3, 1000000, &budget, &handler);
  peer = connect_one();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  conns_free(conns);
  assert_int_equal(budget_used(&budget), 0);
  msg_arena_free(arena);
  event_base_free(base);
  if (peer >= 0) close(peer);
  peer = -1;
  return 0;
}

// Turns the loop as long as something happens at once.
static void turn(void) {
  event_base_loop(base, EVLOOP_NONBLOCK);
  conns_end_turn(conns);
}

static void turn_until(const size_t *counter, size_t count) {
  uint64_t deadline = base_now_us() + PATIENCE_US;
  while (*counter < count && base_now_us() < deadline)
    turn();
  assert_int_equal(*counter, count);
}

// A lease request is the smallest message there is.
static size_t small_message(uint8_t *out, uint64_t seq) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__LeaseRequest request = SHARDD__LEASE_REQUEST__INIT;
  frame.seq = seq;
  frame.body_case = SHARDD__FRAME__BODY_LEASE_REQUEST;
  frame.lease_request = &request;
  return msg_pack(&frame, out);
}

static void put(const void *bytes, size_t n) {
  assert_int_equal(send(peer, bytes, n, MSG_NOSIGNAL), n);
}

static void put_message(uint64_t seq) {
  uint8_t bytes[64];
  put(bytes, small_message(bytes, seq));
}

// Reads the next message; true at the end of the stream instead.
static bool get(const Shardd__Frame **frame) {
  static uint8_t bytes[2 * FRAME_MAX_BYTES];
  size_t n = 0, body = 0;
  uint64_t deadline = base_now_us() + PATIENCE_US;
  *frame = NULL;
  while (base_now_us() < deadline) {
    size_t want = n < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES - n : FRAME_HEADER_BYTES + body - n;
    ssize_t got = recv(peer, bytes + n, want, 0);
    if (got == 0 || (got < 0 && errno == ECONNRESET)) return true;
    if (got > 0) n += (size_t)got;
    if (n >= FRAME_HEADER_BYTES && frame_find(bytes, n, FRAME_MAX_BYTES, &body) == FRAME_COMPLETE) break;
    if (n >= FRAME_HEADER_BYTES) {
      body = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
    }
    turn();
  }
  const char *why = NULL;
  *frame = msg_unpack(arena, bytes + FRAME_HEADER_BYTES, body, &why);
  if (!*frame) fail_msg("%s", why ? why : "nothing came");
  return false;
}

static void expect_error(Shardd__ErrorCode code) {
  const Shardd__Frame *frame;
  assert_false(get(&frame));
  assert_int_equal(frame->body_case, SHARDD__FRAME__BODY_ERROR);
  assert_int_equal(frame->error->code, code);
}

static void expect_end(void) {
  const Shardd__Frame *frame;
  assert_true(get(&frame));
  turn_until(&closed, 1);
  assert_int_equal(conns_count(conns), 0);
}

static void test_byte_by_byte(void **state) {
  (void)state;
  uint8_t bytes[64];
  size_t n = small_message(bytes, 77);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(seen, 0);
    put(bytes + i, 1);
    turn();
  }
  turn_until(&seen, 1);
  assert_int_equal(seqs[0], 77);
  assert_string_equal(conn_peer(last), "test");
  assert_int_equal(conn_uid(last), 1234);
}

// More than are taken in one go: the rest comes too, in order, though no byte follows.
static void test_many_at_once(void **state) {
  (void)state;
  enum { MANY = 5 * LIMIT_FRAMES_A_TURN };
  uint8_t bytes[64 * MANY];
  size_t n = 0;
  for (uint64_t i = 0; i < MANY; i++)
    n += small_message(bytes + n, i);
  put(bytes, n);
  turn_until(&seen, MANY);
  for (uint64_t i = 0; i < MANY; i++)
    assert_int_equal(seqs[i], i);
}

static void test_malformed(void **state) {
  (void)state;
  put("\0\0\0\3abc", 7);
  expect_error(SHARDD__ERROR_CODE__ERROR_MALFORMED);
  expect_end();
  assert_int_equal(seen, 0);
}

static void test_empty_frame(void **state) {
  (void)state;
  put("\0\0\0\0", 4);
  expect_error(SHARDD__ERROR_CODE__ERROR_MALFORMED);
  expect_end();
}

// What stands behind a broken frame is not read as one.
static void test_nothing_after_an_error(void **state) {
  (void)state;
  put("\0\0\0\3abc", 7);
  put_message(1);
  expect_error(SHARDD__ERROR_CODE__ERROR_MALFORMED);
  expect_end();
  assert_int_equal(seen, 0);
}

static void test_bounds_of_frames(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  conn_let_in(last);
  assert_true(conn_is_in(last));
  put("\0\1\0\1", 4);  // one over the bound before the hello: now it may come
  for (int i = 0; i < 10; i++)
    turn();
  assert_int_equal(conns_count(conns), 1);
  assert_int_equal(close(peer), 0);
  turn_until(&closed, 1);
  peer = connect_one();
  put("\0\1\0\1", 4);
  expect_error(SHARDD__ERROR_CODE__ERROR_TOO_LARGE);
  const Shardd__Frame *frame;
  assert_true(get(&frame));
}

static void test_closed_by_the_handler(void **state) {
  (void)state;
  closes_at_once = true;
  put_message(1);
  put_message(2);
  expect_end();
  assert_int_equal(seen, 1);  // nothing more is read
}

static void test_peer_goes(void **state) {
  (void)state;
  put_message(1);
  assert_int_equal(close(peer), 0);
  peer = -1;
  turn_until(&closed, 1);
  assert_int_equal(seen, 1);  // what it said before is heard
  assert_int_equal(conns_count(conns), 0);
}

static void big_message(size_t texts) {
  static char text[60000];
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Error error = SHARDD__ERROR__INIT;
  memset(text, 'x', sizeof text);
  frame.body_case = SHARDD__FRAME__BODY_ERROR;
  frame.error = &error;
  error.code = SHARDD__ERROR_CODE__ERROR_BUSY;
  error.text = msg_bytes(text, sizeof text);
  for (size_t i = 0; i < texts; i++)
    conn_send(last, &frame);
}

// A reader slower than the socket's buffer gets everything in the end.
static void test_slow_reader(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  big_message(50);
  assert_true(conn_unsent(last) > 50 * 60000);
  turn();
  assert_true(conn_unsent(last) > 0);
  for (int i = 0; i < 50; i++) {
    const Shardd__Frame *frame;
    assert_false(get(&frame));
    assert_int_equal(frame->error->text.len, 60000);
  }
  turn();
  assert_int_equal(conn_unsent(last), 0);
}

static void test_no_reader(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  big_message(LIMIT_OUT_BYTES / 60000 + 1);
  turn_until(&closed, 1);
}

static void test_bound_on_connections(void **state) {
  (void)state;
  int other[] = {connect_one(), connect_one()};
  int refused = connect_one();
  char byte;
  assert_int_equal(conns_count(conns), 3);
  assert_int_equal(recv(refused, &byte, 1, 0), 0);
  close(refused);
  close(other[0]);
  turn_until(&closed, 1);
  int again = connect_one();
  assert_int_equal(conns_count(conns), 3);
  close(again);
  close(other[1]);
}

// Time is passed in. Turns as the daemon does, from deadline to deadline, and returns when the connection was ended.
static uint64_t ends_at(uint64_t now, uint64_t silence_us) {
  for (int turns = 0; turns < 10; turns++) {
    uint64_t due = conns_tick(conns, now, silence_us);
    if (conn_closing(last)) return now;
    assert_true(due > now);
    now = due;
  }
  return UINT64_MAX;
}

static void test_silence(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  uint64_t said = base_now_us();
  conn_let_in(last);
  assert_int_equal(ends_at(said, 5000000), UINT64_MAX);  // nobody's: it waits for an answer
  conn_set_user(last, &seen, 3);
  assert_ptr_equal(conn_user(last, 3), &seen);
  assert_null(conn_user(last, 4));
  assert_true(ends_at(said + 60000000, 5000000) < UINT64_MAX);
  expect_error(SHARDD__ERROR_CODE__ERROR_TIMEOUT);
  expect_end();
}

static void test_silence_is_measured(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  uint64_t said = base_now_us();
  conn_let_in(last);
  conn_set_user(last, &seen, 3);
  uint64_t end = ends_at(said, 5000000);
  assert_true(end > said + 4000000 && end <= said + 10000000);
}

static void test_no_hello(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  uint64_t said = base_now_us(), end = ends_at(said, 5000000);
  assert_true(end > said && end <= said + 1000000);  // the time for a hello, not for silence
  expect_error(SHARDD__ERROR_CODE__ERROR_TIMEOUT);
  expect_end();
}

// One that comes after a look at the clock has no more time for its hello than others.
static void test_no_hello_of_a_later_one(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  conn_let_in(last);
  (void)conns_tick(conns, base_now_us(), 5000000);
  close(peer);
  peer = connect_one();
  turn_until(&closed, 1);
  put_message(2);
  turn_until(&seen, 2);
  uint64_t said = base_now_us(), end = ends_at(said, 5000000);
  assert_true(end > said && end <= said + 1000000);
}

// Who waits for an answer may be silent, but not in the middle of a message.
static void test_half_a_message(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  conn_let_in(last);
  uint64_t said = base_now_us();
  assert_int_equal(ends_at(said, 5000000), UINT64_MAX);
  assert_int_equal(send(peer, "\0\0\1", 3, 0), 3);
  while (budget_used(&budget) == 0)
    turn();
  uint64_t end = ends_at(said + 60000000, 5000000);
  assert_true(end < UINT64_MAX);
  expect_error(SHARDD__ERROR_CODE__ERROR_TIMEOUT);
  expect_end();
}

static void test_deadline_of_its_own(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  conn_let_in(last);
  uint64_t now = base_now_us();
  assert_int_equal(ends_at(now, 5000000), UINT64_MAX);
  conn_set_due(last, now + 70000000, "the list came too slowly");
  assert_int_equal(ends_at(now + 60000000, 5000000), now + 70000000);
  expect_error(SHARDD__ERROR_CODE__ERROR_TIMEOUT);
  expect_end();
}

// What others hold refuses large messages; a small one is heard all the same.
static void test_no_room(void **state) {
  (void)state;
  enum { LARGE = LIMIT_BUFFER_LEAST + 20000 };
  static const char zeros[LARGE];
  struct budget_share others = {.budget = &budget, .kind = BUDGET_BUFFERS};
  assert_int_equal(budget_hold(&others, LIMIT_BUFFER_BYTES), BUDGET_GRANTED);
  put_message(1);
  turn_until(&seen, 1);
  conn_let_in(last);
  assert_int_equal(send(peer, "\0\1\0\0", 4, 0), 4);
  assert_int_equal(send(peer, zeros, LARGE, 0), LARGE);
  while (!conn_closing(last))
    turn();
  expect_error(SHARDD__ERROR_CODE__ERROR_BUSY);
  assert_true(budget_used(&budget) <= LIMIT_BUFFER_BYTES + LIMIT_BUFFER_LEAST);
  budget_release(&others);
}

static void test_error_keeps_the_connection(void **state) {
  (void)state;
  put_message(1);
  turn_until(&seen, 1);
  conn_error(last, SHARDD__ERROR_CODE__ERROR_UNKNOWN, 9, false, "no build called %s", "x");
  const Shardd__Frame *frame;
  assert_false(get(&frame));
  assert_int_equal(frame->seq, 9);
  assert_memory_equal(frame->error->text.data, "no build called x", 17);
  put_message(2);
  turn_until(&seen, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_byte_by_byte),
      TEST(test_many_at_once),
      TEST(test_malformed),
      TEST(test_empty_frame),
      TEST(test_nothing_after_an_error),
      TEST(test_bounds_of_frames),
      TEST(test_closed_by_the_handler),
      TEST(test_peer_goes),
      TEST(test_slow_reader),
      TEST(test_no_reader),
      TEST(test_bound_on_connections),
      TEST(test_silence),
      TEST(test_silence_is_measured),
      TEST(test_no_hello),
      TEST(test_no_hello_of_a_later_one),
      TEST(test_half_a_message),
      TEST(test_deadline_of_its_own),
      TEST(test_no_room),
      TEST(test_error_keeps_the_connection),
  };
  return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
