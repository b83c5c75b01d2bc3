// Listeners on Unix sockets: the socket file's life, daemons that want the same one, sockets passed by systemd.
#include "tests/unit/net_fixture.h"

// ---- socket files

static void test_the_socket_file_has_its_mode_and_goes_with_the_listener(void **state) {
  (void)state;
  static const mode_t modes[] = {0600, 0660, 0666, 0777};
  mode_t mask = umask(077);
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    struct stat file;
    struct net_listener *listener = net_listen(base, address, modes[i], &handler, &error);
    assert_non_null(listener);
    assert_int_equal(stat(path, &file), 0);
    assert_true(S_ISSOCK(file.st_mode));
    assert_int_equal(file.st_mode & 0777, modes[i]);
    net_close(listener);
    assert_int_equal(stat(path, &file), -1);
  }
  umask(mask);
}

static void leave_stale_socket(void) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(bind(fd, (const struct sockaddr *)&to, sizeof to), 0);
  assert_int_equal(listen(fd, 1), 0);
  close(fd);
}

static void test_an_unused_socket_file_is_replaced(void **state) {
  (void)state;
  leave_stale_socket();
  struct net_listener *listener = listening(address);
  int fd = call_local();
  await(1);
  close(fd);
  net_close(listener);
}

static void test_a_socket_in_use_is_left_alone(void **state) {
  (void)state;
  struct net_listener *listener = listening(address);
  expect_refusal(address, "another daemon answers there");
  int fd = call_local();
  await(2);  // the look of the second daemon, and this call: the first still has its place
  close(fd);
  net_close(listener);
}

static void test_a_socket_with_a_full_backlog_is_in_use(void **state) {
  (void)state;
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
  int busy = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(bind(busy, (const struct sockaddr *)&to, sizeof to), 0);
  assert_int_equal(listen(busy, 0), 0);
  int fd = call_local();
  expect_refusal(address, "another daemon answers there");
  close(fd);
  close(busy);
}

static void test_a_file_that_is_no_socket_is_left_alone(void **state) {
  (void)state;
  int fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
  assert_int_equal(write(fd, "keep", 4), 4);
  close(fd);
  expect_refusal(address, "a file that is no socket stands there");
  struct stat file;
  assert_int_equal(stat(path, &file), 0);
  assert_int_equal(file.st_size, 4);
}

static void test_a_successors_file_is_not_removed(void **state) {
  (void)state;
  struct net_listener *listener = listening(address);
  assert_int_equal(unlink(path), 0);
  struct net_listener *successor = listening(address);
  net_close(listener);
  int fd = call_local();
  await(1);
  close(fd);
  net_close(successor);
}

// Of many daemons that start at once beside a stale file, exactly one gets the place, and it answers.
static void test_a_race_has_one_winner(void **state) {
  (void)state;
  for (unsigned round = 0; round < 20; round++) {
    enum { DAEMONS = 6 };
    int go[2], done[2], hold[2];
    assert_int_equal(pipe(go) | pipe(done) | pipe(hold), 0);
    leave_stale_socket();
    for (unsigned i = 0; i < DAEMONS; i++) {
      if (fork() != 0) continue;
      char byte;
      close(go[1]);
      close(hold[1]);
      struct event_base *own = event_base_new();
      if (read(go[0], &byte, 1) != 0) _exit(9);
      struct net_listener *listener = net_listen(own, address, 0600, &handler, &error);
      if (write(done[1], listener != NULL ? "1" : "0", 1) != 1) _exit(9);
      if (listener != NULL && read(hold[0], &byte, 1) != 0) _exit(9);
      _exit(listener != NULL ? 1 : 0);
    }
    close(go[1]);
    unsigned winners = 0;
    for (unsigned i = 0; i < DAEMONS; i++) {
      char byte = 0;
      assert_int_equal(read(done[0], &byte, 1), 1);
      winners += byte == '1';
    }
    assert_int_equal(winners, 1);
    close(call_local());
    close(hold[1]);
    int status;
    while (wait(&status) > 0)
      assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    close(go[0]);
    close(done[0]);
    close(done[1]);
    close(hold[0]);
    unlink(path);
  }
}

// ---- systemd

// In a child, whose descriptor 3 and environment are its own: gives what net_activated said.
static int activate(int fd, const char *fds, bool serve) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct net_listener *got[2];
    size_t count = 77;
    char pid[24];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("LISTEN_PID", pid, 1);
    if (fds != NULL) setenv("LISTEN_FDS", fds, 1);
    if (fd >= 0 && dup2(fd, 3) != 3) _exit(99);
    base = event_base_new();  // an epoll descriptor of its own, beside descriptor 3
    if (net_activated(base, &handler, got, 2, &count, &error) != 0) _exit(50);
    if (getenv("LISTEN_FDS") != NULL) _exit(51);
    if (count == 0) _exit(0);
    if (strcmp(net_address(got[0]), address) != 0 || net_exposed(got[0])) _exit(52);
    if (serve) await(1);
    net_close(got[0]);
    _exit(access(path, F_OK) == 0 ? 1 : 53);  // systemd's file stays
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void test_sockets_passed_by_systemd(void **state) {
  (void)state;
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
  int passed = socket(AF_UNIX, SOCK_STREAM, 0), null = open("/dev/null", O_RDONLY);
  assert_int_equal(bind(passed, (const struct sockaddr *)&to, sizeof to), 0);
  assert_int_equal(activate(passed, "1", false), 50);  // bound and not listening
  assert_int_equal(listen(passed, 4), 0);
  int fd = call_local();
  assert_int_equal(activate(passed, "1", true), 1);
  assert_int_equal(activate(null, "1", false), 50);
  assert_int_equal(activate(-1, NULL, false), 0);
  assert_int_equal(activate(passed, "3", false), 50);  // more than there is room for
  close(fd);
  close(passed);
  close(null);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_the_socket_file_has_its_mode_and_goes_with_the_listener),
      TEST(test_an_unused_socket_file_is_replaced),
      TEST(test_a_socket_in_use_is_left_alone),
      TEST(test_a_socket_with_a_full_backlog_is_in_use),
      TEST(test_a_file_that_is_no_socket_is_left_alone),
      TEST(test_a_successors_file_is_not_removed),
      TEST(test_a_race_has_one_winner),
      TEST(test_sockets_passed_by_systemd),
  };
  return cmocka_run_group_tests_name("net_local", tests, make_folder, remove_folder);
}
