// Listeners on real sockets: who comes in and as whom, how many a turn, rest without descriptors, and errors. Socket
// files and systemd: test_net_local.c.
#include "tests/unit/net_fixture.h"

static int call_tcp(const char *host, unsigned port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  assert_int_equal(inet_pton(AF_INET, host, &to.sin_addr), 1);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
  return fd;
}

static unsigned port_of(const struct net_listener *listener) {
  const char *colon = strrchr(net_address(listener), ':');
  return (unsigned)strtoul(colon + 1, NULL, 10);
}

// ---- who comes in

static void test_a_local_peer_is_known(void **state) {
  (void)state;
  struct net_listener *listener = listening(address);
  assert_string_equal(net_address(listener), address);
  assert_false(net_exposed(listener));
  int fd = call_local();
  await(1);
  char expected[64];
  snprintf(expected, sizeof expected, "unix:pid=%ld,uid=%ld", (long)getpid(), (long)getuid());
  assert_string_equal(arrived.peer, expected);
  assert_int_equal(arrived.uid, getuid());
  assert_int_equal(write(fd, "x", 1), 1);
  char byte = 0;
  assert_int_equal(read(arrived.fds[0], &byte, 1), 1);
  assert_int_equal(byte, 'x');
  close(fd);
  net_close(listener);
}

static void test_tcp_with_any_port(void **state) {
  (void)state;
  struct net_listener *listener = listening("tcp://127.0.0.1:0");
  unsigned port = port_of(listener);
  assert_in_range(port, 1, 65535);
  assert_false(net_exposed(listener));
  int fd = call_tcp("127.0.0.1", port);
  await(1);
  struct sockaddr_in own;
  socklen_t size = sizeof own;
  assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &size), 0);
  char expected[64];
  snprintf(expected, sizeof expected, "127.0.0.1:%u", ntohs(own.sin_port));
  assert_string_equal(arrived.peer, expected);
  assert_int_equal(arrived.uid, -1);
  int on = 0;
  size = sizeof on;
  assert_int_equal(getsockopt(arrived.fds[0], IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
  assert_int_not_equal(on, 0);
  close(fd);
  net_close(listener);
}

static void test_a_name_is_listened_on_at_all_its_addresses(void **state) {
  (void)state;
  struct net_listener *listener = listening("tcp://localhost:0");
  assert_false(net_exposed(listener));
  int fd = call_tcp("127.0.0.1", port_of(listener));
  await(1);
  close(fd);
  net_close(listener);
}

static void test_exposure(void **state) {
  (void)state;
  struct net_listener *listener = listening("tcp://0.0.0.0:0");
  assert_true(net_exposed(listener));
  net_close(listener);
  assert_true(net_is_loopback("unix:/run/x"));
  assert_true(net_is_loopback("tcp://127.3.2.1:5"));
  assert_true(net_is_loopback("tcp://[::1]:5"));
  assert_true(net_is_loopback("tcp://localhost"));
  assert_false(net_is_loopback("tcp://0.0.0.0:5"));
  assert_false(net_is_loopback("tcp://[::]:5"));
  assert_false(net_is_loopback("tcp://ci.example:5"));
  assert_false(net_is_loopback("tcp://128.0.0.1"));
  assert_false(net_is_loopback("nonsense"));
}

static void test_a_turn_accepts_a_bounded_number(void **state) {
  (void)state;
  enum { CALLERS = 2 * LIMIT_ACCEPTS_A_TURN + 10 };
  struct net_listener *listener = listening(address);
  int fds[CALLERS];
  for (size_t i = 0; i < CALLERS; i++)
    fds[i] = call_local();
  event_base_loop(base, EVLOOP_ONCE);
  assert_int_equal(arrived.count, LIMIT_ACCEPTS_A_TURN);
  event_base_loop(base, EVLOOP_ONCE);
  assert_int_equal(arrived.count, 2 * LIMIT_ACCEPTS_A_TURN);
  await(CALLERS);
  for (size_t i = 0; i < CALLERS; i++)
    close(fds[i]);
  net_close(listener);
}

// ---- no descriptors

// Runs the loop for a while and gives the processor time it took.
static uint64_t spent_ms(unsigned ms) {
  const struct timeval period = {.tv_usec = ms * 1000};
  uint64_t before = now_ms(CLOCK_PROCESS_CPUTIME_ID);
  event_base_loopexit(base, &period);
  event_base_dispatch(base);
  return now_ms(CLOCK_PROCESS_CPUTIME_ID) - before;
}

// Turns stderr into a file until end_capture.
static int begin_capture(FILE *into) {
  int saved = dup(STDERR_FILENO);
  fflush(stderr);
  dup2(fileno(into), STDERR_FILENO);
  return saved;
}

static size_t end_capture(FILE *from, int saved, const char *word) {
  static char text[65536];
  fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  rewind(from);
  text[fread(text, 1, sizeof text - 1, from)] = '\0';
  size_t count = 0;
  for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
    count++;
  return count;
}

static void test_without_descriptors_it_rests_and_says_so_once(void **state) {
  (void)state;
  struct net_listener *listener = listening(address);
  FILE *log = tmpfile();
  assert_non_null(log);
  int first = call_local(), second = call_local(), saved = begin_capture(log), probe = dup(0);
  struct rlimit limit, tight;
  getrlimit(RLIMIT_NOFILE, &limit);
  tight = limit;
  tight.rlim_cur = (rlim_t)probe;  // the lowest free descriptor is out of bounds now
  close(probe);
  setrlimit(RLIMIT_NOFILE, &tight);
  uint64_t cpu_ms = spent_ms(700);
  size_t before = arrived.count;
  setrlimit(RLIMIT_NOFILE, &limit);
  await(2);
  size_t rests = end_capture(log, saved, "accept_rests");
  rewind(log);
  char text[4096];
  text[fread(text, 1, sizeof text - 1, log)] = '\0';
  assert_int_equal(before, 0);
  assert_true(cpu_ms < 200);
  assert_int_equal(rests, 1);
  assert_non_null(strstr(text, "accept_resumes"));
  assert_non_null(strstr(text, "LimitNOFILE"));
  fclose(log);
  close(first);
  close(second);
  net_close(listener);
}

// ---- what cannot be listened on

static void test_errors_say_what_and_why(void **state) {
  (void)state;
  char text[128];
  expect_refusal("nonsense", "is no address");
  snprintf(text, sizeof text, "unix:%s/absent/s", folder);
  expect_refusal(text, "No such file or directory");
  expect_refusal(text, "create it");
  struct net_listener *listener = listening("tcp://127.0.0.1:0");
  expect_refusal(net_address(listener), "another program listens there");
  net_close(listener);
  expect_refusal("tcp://192.0.2.1:4270", "does not have that address");
  expect_refusal("tcp://no-such-host.invalid:1", "no-such-host.invalid");
}

static void test_a_port_is_free_again_after_close(void **state) {
  (void)state;
  struct net_listener *listener = listening("tcp://127.0.0.1:0");
  char text[64];
  snprintf(text, sizeof text, "%s", net_address(listener));
  int fd = call_tcp("127.0.0.1", port_of(listener));
  await(1);
  close(arrived.fds[--arrived.count]);  // the server closes first: its end stays in TIME_WAIT
  close(fd);
  net_close(listener);
  listener = listening(text);
  net_close(listener);
  net_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_a_local_peer_is_known),
      TEST(test_tcp_with_any_port),
      TEST(test_a_name_is_listened_on_at_all_its_addresses),
      TEST(test_exposure),
      TEST(test_a_turn_accepts_a_bounded_number),
      TEST(test_without_descriptors_it_rests_and_says_so_once),
      TEST(test_errors_say_what_and_why),
      TEST(test_a_port_is_free_again_after_close),
  };
  return cmocka_run_group_tests_name("net", tests, make_folder, remove_folder);
}
