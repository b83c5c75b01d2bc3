// The client against real sockets: each test gives the other end to a thread that plays the server (client_peer.h).
#include "proto/client.h"

#include "tests/unit/client_peer.h"

// ---- calls

static void check_call(const char *address, int listener) {
  struct peer peer;
  peer_start(&peer, listener, play_echo);
  struct client *client = connected(address);
  assert_string_equal(client_address(client), address);
  const Shardd__Frame *reply = NULL;
  assert_int_equal(client_call(client, numbered(42), PATIENCE_MS, &reply, &error), 0);
  assert_int_equal(reply->body_case, SHARDD__FRAME__BODY_PARKED);
  assert_int_equal(reply->seq, 42);
  assert_int_equal(client_call(client, numbered(43), PATIENCE_MS, &reply, &error), 0);
  assert_int_equal(reply->seq, 43);
  client_free(client);
  peer_join(&peer);
}

static void test_call(void **state) {
  (void)state;
  char by_name[64];
  snprintf(by_name, sizeof by_name, "tcp://localhost:%u", tcp_port);  // ::1 refuses first where there is v6
  check_call(unix_text, unix_listener);
  check_call(tcp_text, tcp_listener);
  check_call(by_name, tcp_listener);
}

static void test_descriptor_does_not_block_and_is_not_inherited(void **state) {
  (void)state;
  struct peer peer;
  peer_start(&peer, tcp_listener, play_silence);
  struct client *client = connected(tcp_text);
  assert_true((fcntl(client_fd(client), F_GETFL) & O_NONBLOCK) != 0);
  assert_true((fcntl(client_fd(client), F_GETFD) & FD_CLOEXEC) != 0);
  assert_false(client_wants_write(client));
  client_close(client);
  assert_int_equal(client_fd(client), -1);
  assert_false(client_connected(client));
  client_free(client);
  peer_join(&peer);
}

static void check_pipeline(script_fn *script, uint64_t frames) {
  struct peer peer;
  peer_start(&peer, unix_listener, script);
  struct client *client = connected(unix_text);
  const Shardd__Frame *frame = NULL;
  for (uint64_t i = 1; i <= frames; i++)
    assert_int_equal(client_send(client, numbered(i), &error), 0);
  for (uint64_t i = 1; i <= frames; i++) {
    assert_int_equal(next_frame(client, &frame), 1);
    assert_true(frame->seq == i);
  }
  assert_int_equal(client_next(client, &frame, &error), 0);
  client_free(client);
  peer_join(&peer);
}

static void test_pipelined_frames_keep_their_order(void **state) {
  (void)state;
  check_pipeline(play_echo, 20000);
  check_pipeline(play_echo_byte_by_byte, 2000);
}

static void test_large_frames_both_ways(void **state) {
  (void)state;
  struct peer peer;
  peer_start(&peer, tcp_listener, play_echo);
  struct client *client = connected(tcp_text);
  const Shardd__Frame *frame = NULL;
  for (uint64_t i = 1; i <= 20; i++)
    assert_int_equal(client_send(client, heavy(i, 15), &error), 0);
  assert_true(client_wants_write(client));  // 20 MB do not fit into the socket's buffers
  for (uint64_t i = 1; i <= 20; i++) {
    assert_int_equal(next_frame(client, &frame), 1);
    assert_true(frame->seq == i);
    assert_int_equal(frame->bye->n_late, 15);
    assert_int_equal(frame->bye->late[14].len, MSG_TEXT_MAX_BYTES);
  }
  assert_false(client_wants_write(client));
  client_free(client);
  peer_join(&peer);
}

static void test_call_gives_up_in_time(void **state) {
  (void)state;
  struct peer peer;
  peer_start(&peer, unix_listener, play_silence);
  struct client *client = connected(unix_text);
  const Shardd__Frame *reply = NULL;
  struct timespec before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  assert_int_equal(client_call(client, numbered(1), 60, &reply, &error), -1);
  clock_gettime(CLOCK_MONOTONIC, &after);
  int64_t waited_ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
  assert_in_range(waited_ms, 59, PATIENCE_MS);
  expect_error("did not answer within 60 ms");
  expect_error(unix_text);
  assert_null(reply);
  assert_true(client_connected(client));
  client_free(client);
  peer_join(&peer);
}

// ---- losses

static void check_refusal_is_heard(const char *address, int listener) {
  struct peer peer;
  peer_start(&peer, listener, play_refuse);
  struct client *client = connected(address);
  const Shardd__Frame *reply = NULL;
  // However the writes and the reset meet: the reason comes before the loss.
  int sent = 0;
  for (unsigned i = 0; i < 100 && sent == 0; i++)
    sent = client_send(client, heavy(i + 1, 1), &error);
  peer_join(&peer);
  assert_int_equal(client_call(client, numbered(1), PATIENCE_MS, &reply, &error), 0);
  assert_int_equal(reply->body_case, SHARDD__FRAME__BODY_ERROR);
  assert_int_equal(reply->error->code, SHARDD__ERROR_CODE__ERROR_TOKEN);
  assert_int_equal(next_frame(client, &reply), -1);
  expect_error("lost the connection to");
  expect_error(address);
  assert_false(client_connected(client));
  assert_int_equal(client_send(client, numbered(2), &error), -1);
  assert_int_equal(client_flush(client, &error), -1);
  assert_int_equal(client_receive(client, &error), -1);
  client_free(client);
}

static void test_a_refusal_is_heard_although_writes_fail(void **state) {
  (void)state;
  for (unsigned i = 0; i < 20; i++) {
    check_refusal_is_heard(unix_text, unix_listener);
    check_refusal_is_heard(tcp_text, tcp_listener);
  }
}

static void test_frames_come_before_the_end(void **state) {
  (void)state;
  struct peer peer;
  peer_start(&peer, unix_listener, play_two_frames_and_a_half);
  struct client *client = connected(unix_text);
  peer_join(&peer);
  const Shardd__Frame *frame = NULL;
  assert_int_equal(client_receive(client, &error), 0);
  assert_int_equal(client_next(client, &frame, &error), 1);
  assert_int_equal(frame->error->code, SHARDD__ERROR_CODE__ERROR_BUSY);
  assert_int_equal(client_next(client, &frame, &error), 1);
  assert_int_equal(frame->error->code, SHARDD__ERROR_CODE__ERROR_STOPPING);
  assert_int_equal(client_next(client, &frame, &error), -1);
  expect_error("the server closed it");
  assert_false(client_connected(client));
  // The half frame is forgotten when the client connects again.
  peer_start(&peer, unix_listener, play_echo);
  assert_int_equal(client_connect(client, PATIENCE_MS, &error), 0);
  assert_int_equal(client_call(client, numbered(7), PATIENCE_MS, &frame, &error), 0);
  assert_int_equal(frame->seq, 7);
  client_free(client);
  peer_join(&peer);
}

static void test_unsent_bytes_are_forgotten_on_reconnect(void **state) {
  (void)state;
  struct peer silent, echo;
  peer_start(&silent, unix_listener, play_close);
  struct client *client = connected(unix_text);
  peer_join(&silent);
  while (client_send(client, heavy(1, 15), &error) == 0)
    continue;
  peer_start(&echo, unix_listener, play_echo);
  assert_int_equal(client_connect(client, PATIENCE_MS, &error), 0);
  assert_false(client_wants_write(client));
  const Shardd__Frame *frame = NULL;
  assert_int_equal(client_call(client, numbered(3), PATIENCE_MS, &frame, &error), 0);
  assert_int_equal(frame->seq, 3);
  client_free(client);
  peer_join(&echo);
}

static void check_refused_stream(script_fn *script, const char *part, unsigned good) {
  struct peer peer;
  peer_start(&peer, tcp_listener, script);
  struct client *client = connected(tcp_text);
  const Shardd__Frame *frame = NULL;
  for (unsigned i = 0; i < good; i++)
    assert_int_equal(next_frame(client, &frame), 1);
  assert_int_equal(next_frame(client, &frame), -1);
  expect_error("is no shardd of this version");
  expect_error(part);
  assert_false(client_connected(client));
  assert_int_equal(client_next(client, &frame, &error), -1);
  expect_error(part);
  client_free(client);
  peer_join(&peer);
}

static void test_what_is_no_shardd_is_left(void **state) {
  (void)state;
  check_refused_stream(play_http, "announces a frame above the bound", 0);
  check_refused_stream(play_empty_frame, "empty frame", 0);
  check_refused_stream(play_malformed, "no protobuf message", 0);
  check_refused_stream(play_one_good_then_malformed, "no protobuf message", 1);
}

static void test_the_backlog_has_a_bound(void **state) {
  (void)state;
  // Connected to a listener that never accepts: nothing is ever read.
  struct client *client = connected(unix_text);
  unsigned sent = 0;
  while (sent < 200 && client_send(client, heavy(1, 15), &error) == 0)
    sent++;
  assert_in_range(sent, 60, 80);
  expect_error("bytes wait already");
  assert_true(client_connected(client));
  assert_true(client_wants_write(client));
  client_free(client);
  int fd = accept(unix_listener, NULL, NULL);
  assert_true(fd >= 0);
  close(fd);
}

static void test_messages_that_cannot_be_sent(void **state) {
  (void)state;
  struct peer peer;
  struct client *client = client_new(unix_text, &error);
  assert_int_equal(client_send(client, numbered(1), &error), -1);
  expect_error("not connected to unix:");
  assert_int_equal(client_flush(client, &error), -1);
  assert_int_equal(client_receive(client, &error), -1);
  peer_start(&peer, unix_listener, play_echo);
  assert_int_equal(client_connect(client, PATIENCE_MS, &error), 0);
  assert_int_equal(client_send(client, heavy(1, 17), &error), -1);
  expect_error("bye message");
  const Shardd__Frame *frame = NULL;
  assert_int_equal(client_call(client, numbered(5), PATIENCE_MS, &frame, &error), 0);
  assert_int_equal(frame->seq, 5);
  client_free(client);
  peer_join(&peer);
}

// ---- connecting

static void check_no_connection(const char *address, const char *reason, const char *advice) {
  struct client *client = client_new(address, &error);
  assert_non_null(client);
  assert_int_equal(client_connect(client, PATIENCE_MS, &error), -1);
  expect_error("cannot connect to");
  expect_error(address);
  expect_error(reason);
  expect_error(advice);
  assert_false(client_connected(client));
  assert_int_equal(client_send(client, numbered(1), &error), -1);
  expect_error(reason);
  client_free(client);
}

static void test_errors_say_what_was_tried_and_what_to_do(void **state) {
  (void)state;
  char text[128];
  snprintf(text, sizeof text, "unix:%s/absent.sock", folder);
  check_no_connection(text, "No such file or directory", "is shardd running? start it, or set --server/SHARD_SERVER");
  struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof loopback;
  int bound = socket(AF_INET, SOCK_STREAM, 0);  // bound and not listening: nobody else can take the port meanwhile
  assert_int_equal(bind(bound, (const struct sockaddr *)&loopback, size), 0);
  assert_int_equal(getsockname(bound, (struct sockaddr *)&loopback, &size), 0);
  snprintf(text, sizeof text, "tcp://127.0.0.1:%u", ntohs(loopback.sin_port));
  check_no_connection(text, "Connection refused", "is shardd running?");
  close(bound);
  check_no_connection("tcp://no-such-host.invalid:1", "no-such-host.invalid", "check the host");
}

static void test_addresses_are_checked_first(void **state) {
  (void)state;
  assert_null(client_new("localhost", &error));
  expect_error("'localhost': is no address: write unix:/path");
  assert_null(client_new("tcp://ci:0", &error));
  expect_error("port 0");
  char text[400];
  memset(text, 'y', sizeof text);
  memcpy(text, "unix:/", 6);
  text[sizeof text - 1] = '\0';
  assert_null(client_new(text, &error));
  expect_error("107 bytes");
}

static void *on_accept_later(void *arg) {
  (void)arg;
  close(accept(unix_listener, NULL, NULL));
  return NULL;
}

static void test_a_full_backlog_is_waited_for(void **state) {
  (void)state;
  assert_int_equal(listen(unix_listener, 0), 0);
  struct client *first = connected(unix_text);
  struct client *second = client_new(unix_text, &error);
  assert_int_equal(client_connect(second, 30, &error), -1);
  expect_error("accepts no more connections");
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, on_accept_later, NULL), 0);
  assert_int_equal(client_connect(second, PATIENCE_MS, &error), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  client_free(first);
  client_free(second);
  close(accept(unix_listener, NULL, NULL));
  assert_int_equal(listen(unix_listener, 8), 0);
}

static void test_backoff_doubles_with_jitter_to_its_bound(void **state) {
  (void)state;
  const unsigned attempts[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 31, 32, 1000, UINT32_MAX};
  for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
    unsigned most = attempts[i] < 7 ? (unsigned)CLIENT_BACKOFF_MIN_MS << attempts[i] : CLIENT_BACKOFF_MAX_MS;
    unsigned low = UINT32_MAX, high = 0;
    for (unsigned round = 0; round < 500; round++) {
      unsigned ms = client_backoff_ms(attempts[i]);
      low = ms < low ? ms : low;
      high = ms > high ? ms : high;
    }
    assert_in_range(low, most / 2, most * 6 / 10);
    assert_in_range(high, most * 9 / 10, most);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_call),
      cmocka_unit_test(test_descriptor_does_not_block_and_is_not_inherited),
      cmocka_unit_test(test_pipelined_frames_keep_their_order),
      cmocka_unit_test(test_large_frames_both_ways),
      cmocka_unit_test(test_call_gives_up_in_time),
      cmocka_unit_test(test_a_refusal_is_heard_although_writes_fail),
      cmocka_unit_test(test_frames_come_before_the_end),
      cmocka_unit_test(test_unsent_bytes_are_forgotten_on_reconnect),
      cmocka_unit_test(test_what_is_no_shardd_is_left),
      cmocka_unit_test(test_the_backlog_has_a_bound),
      cmocka_unit_test(test_messages_that_cannot_be_sent),
      cmocka_unit_test(test_errors_say_what_was_tried_and_what_to_do),
      cmocka_unit_test(test_addresses_are_checked_first),
      cmocka_unit_test(test_a_full_backlog_is_waited_for),
      cmocka_unit_test(test_backoff_doubles_with_jitter_to_its_bound),
  };
  return cmocka_run_group_tests_name("client", tests, open_listeners, close_listeners);
}
