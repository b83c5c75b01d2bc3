// Unit tests of a client whose calls fail: each system call that it makes, at the moment that is worst, and memory. It
// says what went wrong, or goes on where that is right; nothing leaks and nothing is closed twice.
#include <sys/random.h>

#include "tests/unit/client_peer.h"

// ---- calls that fail (the linker sends them here)

static struct {
  int error, after, times;  // fails `times` times, after so many calls that do not
} planned[8];
enum call { CALL_SOCKET, CALL_CONNECT, CALL_POLL, CALL_GETSOCKOPT, CALL_SEND, CALL_READ, CALL_GETRANDOM, CALL_REALLOC };

static void plan(enum call call, int error_number, int after, int times) {
  planned[call].error = error_number;
  planned[call].after = after;
  planned[call].times = times;
}

static bool fails(enum call call) {
  if (planned[call].times == 0 || planned[call].after-- > 0) return false;
  planned[call].after = 0;
  planned[call].times--;
  errno = planned[call].error;
  return true;
}

#define WRAP(result, name, call, parameters, arguments) \
  result __real_##name parameters;                      \
  result __wrap_##name parameters;                      \
  result __wrap_##name parameters {                     \
    return fails(call) ? -1 : __real_##name arguments;  \
  }

WRAP(int, socket, CALL_SOCKET, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, connect, CALL_CONNECT, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n))
WRAP(int, poll, CALL_POLL, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout))
WRAP(int, getsockopt, CALL_GETSOCKOPT, (int fd, int level, int name, void *value, socklen_t *n),
     (fd, level, name, value, n))
WRAP(ssize_t, send, CALL_SEND, (int fd, const void *bytes, size_t n, int flags), (fd, bytes, n, flags))
WRAP(ssize_t, read, CALL_READ, (int fd, void *bytes, size_t n), (fd, bytes, n))
WRAP(ssize_t, getrandom, CALL_GETRANDOM, (void *bytes, size_t n, unsigned flags), (bytes, n, flags))

void *__real_realloc(void *old, size_t n);
void *__wrap_realloc(void *old, size_t n);
void *__wrap_realloc(void *old, size_t n) {
  return fails(CALL_REALLOC) ? NULL : __real_realloc(old, n);
}

static int forget_plans(void **state) {
  (void)state;
  memset(planned, 0, sizeof planned);
  error.text[0] = '\0';
  return 0;
}

// ---- connecting

static void test_no_descriptor(void **state) {
  (void)state;
  const char *addresses[] = {unix_text, tcp_text};
  for (size_t i = 0; i < 2; i++) {
    struct client *client = client_new(addresses[i], &error);
    plan(CALL_SOCKET, EMFILE, 0, 1);
    assert_int_equal(client_connect(client, 1000, &error), -1);
    assert_non_null(strstr(error.text, strerror(EMFILE)));
    client_free(client);
  }
}

static void on_silence(int fd) {
  char byte;
  while (recv(fd, &byte, 1, 0) > 0)
    continue;
}

static void test_interrupted_connects_go_on(void **state) {
  (void)state;
  const struct {
    const char *address;
    int listener, error;
  } cases[] = {{unix_text, unix_listener, EINTR}, {unix_text, unix_listener, EAGAIN}, {tcp_text, tcp_listener, EINTR}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct peer peer;
    struct client *client = client_new(cases[i].address, &error);
    peer_start(&peer, cases[i].listener, on_silence);
    if (i < 2) plan(CALL_CONNECT, cases[i].error, 0, 2);
    plan(CALL_POLL, EINTR, 0, 1);
    if (client_connect(client, PATIENCE_MS, &error) != 0) fail_msg("case %zu: %s", i, error.text);
    client_free(client);
    peer_join(&peer);
  }
}

static void test_a_unix_socket_that_stays_busy(void **state) {
  (void)state;
  struct client *client = client_new(unix_text, &error);
  plan(CALL_CONNECT, EAGAIN, 0, 1000);
  assert_int_equal(client_connect(client, 50, &error), -1);
  assert_non_null(strstr(error.text, strerror(EAGAIN)));
  client_free(client);
}

static void test_connects_that_come_to_nothing(void **state) {
  (void)state;
  struct client *client = client_new(tcp_text, &error);
  plan(CALL_CONNECT, EINPROGRESS, 0, 1);
  plan(CALL_POLL, ENOMEM, 0, 1);
  assert_int_equal(client_connect(client, 1000, &error), -1);
  assert_non_null(strstr(error.text, strerror(ENOMEM)));
  plan(CALL_CONNECT, EINPROGRESS, 0, 1);
  plan(CALL_GETSOCKOPT, ENOBUFS, 0, 1);
  assert_int_equal(client_connect(client, 1000, &error), -1);
  assert_true(error.text[0] != '\0');
  plan(CALL_CONNECT, ENETUNREACH, 0, 1);
  assert_int_equal(client_connect(client, 1000, &error), -1);
  assert_non_null(strstr(error.text, strerror(ENETUNREACH)));
  client_free(client);
}

// ---- talking

static struct client *talking(struct peer *peer) {
  peer_start(peer, unix_listener, on_silence);
  return connected(unix_text);
}

static Shardd__Frame heartbeat(Shardd__Heartbeat *body) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  *body = (Shardd__Heartbeat)SHARDD__HEARTBEAT__INIT;
  body->lease = 7;
  frame.body_case = SHARDD__FRAME__BODY_HEARTBEAT;
  frame.heartbeat = body;
  return frame;
}

static void test_no_memory_for_what_is_sent(void **state) {
  (void)state;
  struct peer peer;
  Shardd__Heartbeat body;
  Shardd__Frame frame = heartbeat(&body);
  struct client *client = talking(&peer);
  plan(CALL_REALLOC, ENOMEM, 0, 1);
  assert_int_equal(client_send(client, &frame, &error), -1);
  assert_true(error.text[0] != '\0');
  assert_true(client_connected(client));  // it was not queued, and nothing else happened
  assert_int_equal(client_send(client, &frame, &error), 0);
  client_free(client);
  peer_join(&peer);
}

static void test_no_memory_for_what_arrives(void **state) {
  (void)state;
  struct peer peer;
  const Shardd__Frame *frame;
  struct client *client = talking(&peer);
  plan(CALL_REALLOC, ENOMEM, 0, 1);
  assert_int_equal(client_receive(client, &error), 0);
  assert_int_equal(client_next(client, &frame, &error), -1);
  assert_non_null(strstr(error.text, "out of memory"));
  assert_false(client_connected(client));
  client_free(client);
  peer_join(&peer);
}

static void test_interrupted_talk_goes_on(void **state) {
  (void)state;
  struct peer peer;
  const Shardd__Frame *reply;
  Shardd__Heartbeat body;
  Shardd__Frame frame = heartbeat(&body);
  struct client *client = talking(&peer);
  plan(CALL_SEND, EINTR, 0, 2);
  plan(CALL_READ, EINTR, 0, 2);
  plan(CALL_POLL, EINTR, 0, 1);
  assert_int_equal(client_call(client, &frame, 50, &reply, &error), -1);  // nobody answers
  assert_non_null(strstr(error.text, "did not answer"));
  assert_true(client_connected(client));
  plan(CALL_POLL, ENOMEM, 0, 1);
  assert_int_equal(client_call(client, NULL, 50, &reply, &error), -1);
  assert_non_null(strstr(error.text, "cannot wait"));
  client_free(client);
  peer_join(&peer);
}

static void test_broken_talk_is_told(void **state) {
  (void)state;
  struct peer peer;
  const Shardd__Frame *reply;
  Shardd__Heartbeat body;
  Shardd__Frame frame = heartbeat(&body);
  struct client *client = talking(&peer);
  plan(CALL_READ, ECONNRESET, 0, 1);
  assert_int_equal(client_receive(client, &error), 0);
  assert_int_equal(client_next(client, &reply, &error), -1);
  assert_non_null(strstr(error.text, strerror(ECONNRESET)));
  assert_int_equal(client_flush(client, &error), -1);
  assert_int_equal(client_send(client, &frame, &error), -1);
  client_free(client);
  peer_join(&peer);
  client = talking(&peer);
  plan(CALL_SEND, EPIPE, 0, 1);
  assert_int_equal(client_send(client, &frame, &error), -1);
  assert_non_null(strstr(error.text, strerror(EPIPE)));
  client_free(client);
  peer_join(&peer);
}

static void test_backoff_without_randomness(void **state) {
  (void)state;
  plan(CALL_GETRANDOM, EAGAIN, 0, 10);
  for (unsigned i = 0; i < 10; i++)
    assert_in_range(client_backoff_ms(i), CLIENT_BACKOFF_MIN_MS / 2, CLIENT_BACKOFF_MAX_MS);
}

#define TEST(name) cmocka_unit_test_setup(name, forget_plans)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_no_descriptor),
      TEST(test_interrupted_connects_go_on),
      TEST(test_a_unix_socket_that_stays_busy),
      TEST(test_connects_that_come_to_nothing),
      TEST(test_no_memory_for_what_is_sent),
      TEST(test_no_memory_for_what_arrives),
      TEST(test_interrupted_talk_goes_on),
      TEST(test_broken_talk_is_told),
      TEST(test_backoff_without_randomness),
  };
  return cmocka_run_group_tests_name("client_faults", tests, open_listeners, close_listeners);
}
