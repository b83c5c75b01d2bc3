// A raw epoll echo on a Unix socket: the least that a server in this place can do, so that figures of latency can be
// told from those of the machine. Called by bench/load.py; ends when its stdin does.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/bench.h"

enum { ECHO_EVENTS = 512, ECHO_BACKLOG = 4096 };

static int echo_listen(const char *path) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof at.sun_path) bench_die("path", path);
  memcpy(at.sun_path, path, strlen(path));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) != 0 || listen(fd, ECHO_BACKLOG) != 0)
    bench_die(path, strerror(errno));
  return fd;
}

static void echo_watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) bench_die("epoll", strerror(errno));
}

static void echo_back(int fd) {
  char bytes[4096];
  ssize_t n = recv(fd, bytes, sizeof bytes, 0);
  if (n > 0 && send(fd, bytes, (size_t)n, MSG_NOSIGNAL) == n) return;
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  close(fd);
}

static void echo_accept(int epoll, int listener) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
    echo_watch(epoll, fd);
}

int main(int argc, char **argv) {
  struct epoll_event events[ECHO_EVENTS];
  bench_program("echo");
  if (argc != 2) bench_die("usage", "echo SOCKET");
  bench_allow_files(0);
  int listener = echo_listen(argv[1]), epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) bench_die("epoll", strerror(errno));
  echo_watch(epoll, listener);
  echo_watch(epoll, STDIN_FILENO);
  for (;;) {
    int n = epoll_wait(epoll, events, ECHO_EVENTS, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == STDIN_FILENO) return EXIT_OK;
      if (fd == listener) {
        echo_accept(epoll, listener);
      } else {
        echo_back(fd);
      }
    }
  }
}
