// Included by the test programs of net.c: a loop, a listener's handler that keeps who came, and callers.
#ifndef TESTS_UNIT_NET_FIXTURE_H
#define TESTS_UNIT_NET_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/limits.h"
#include "server/net.h"

enum { PATIENCE_MS = 20000, ARRIVALS_MAX = 400 };

static struct event_base *base;
static struct net_error error;
static char folder[] = "/tmp/shard-net-XXXXXX";
static char path[64], address[80];

static struct {
  int fds[ARRIVALS_MAX];
  size_t count;
  char peer[64];
  int64_t uid;
} arrived;

static void on_accept(int fd, const char *peer, int64_t uid, void *arg) {
  assert_ptr_equal(arg, &arrived);
  assert_true(arrived.count < ARRIVALS_MAX);
  assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  arrived.fds[arrived.count++] = fd;
  snprintf(arrived.peer, sizeof arrived.peer, "%s", peer);
  arrived.uid = uid;
}

static const struct net_handler handler = {.on_accept = on_accept, .arg = &arrived};

static int set_up(void **state) {
  (void)state;
  snprintf(path, sizeof path, "%s/s", folder);
  snprintf(address, sizeof address, "unix:%s", path);
  memset(&arrived, 0, sizeof arrived);
  base = event_base_new();
  return base == NULL ? -1 : 0;
}

static int tear_down(void **state) {
  (void)state;
  for (size_t i = 0; i < arrived.count; i++)
    close(arrived.fds[i]);
  event_base_free(base);
  unlink(path);
  return 0;
}

static int make_folder(void **state) {
  (void)state;
  return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state) {
  (void)state;
  return rmdir(folder);
}

static struct net_listener *listening(const char *where) {
  struct net_listener *listener = net_listen(base, where, 0600, &handler, &error);
  if (listener == NULL) fail_msg("%s", error.text);
  return listener;
}

static void expect_refusal(const char *where, const char *part) {
  assert_null(net_listen(base, where, 0600, &handler, &error));
  if (strstr(error.text, part) == NULL) fail_msg("expected '%s' in '%s'", part, error.text);
}

static int try_local(const char *where) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s", where);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_true(fd >= 0);
  if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0) return fd;
  int cause = errno;
  close(fd);
  errno = cause;
  return -1;
}

static int call_local(void) {
  int fd = try_local(path);
  assert_true(fd >= 0);
  return fd;
}

static uint64_t now_ms(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_nothing(evutil_socket_t fd, short events, void *arg) {
  (void)fd;
  (void)events;
  (void)arg;
}

// Turns the loop until `count` have come.
static void await(size_t count) {
  const struct timeval tick = {.tv_usec = 50000};
  uint64_t deadline = now_ms(CLOCK_MONOTONIC) + PATIENCE_MS;
  struct event *timer = event_new(base, -1, EV_PERSIST, on_nothing, NULL);
  event_add(timer, &tick);
  while (arrived.count < count && now_ms(CLOCK_MONOTONIC) < deadline)
    event_base_loop(base, EVLOOP_ONCE);
  event_free(timer);
  assert_int_equal(arrived.count, count);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
