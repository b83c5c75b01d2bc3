// Included by test_client.c: listeners on a Unix socket and on loopback, and what the other end of a connection plays,
// in a thread of its own, well-behaved or not.
#ifndef TESTS_UNIT_CLIENT_PEER_H
#define TESTS_UNIT_CLIENT_PEER_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/client.h"
#include "proto/frame.h"

enum { PATIENCE_MS = 20000, FRAME_ROOM = FRAME_HEADER_BYTES + FRAME_MAX_BYTES };

static char folder[] = "/tmp/shard-client-XXXXXX";
static char unix_path[64], unix_text[80], tcp_text[64];
static int unix_listener, tcp_listener;
static uint16_t tcp_port;
static struct client_error error;

typedef void script_fn(int fd);

struct peer {
  pthread_t thread;
  int listener;
  script_fn *script;
};

static inline void *on_peer(void *arg) {
  struct peer *peer = arg;
  int fd = accept(peer->listener, NULL, NULL);
  if (fd < 0) abort();
  peer->script(fd);
  close(fd);
  return NULL;
}

static inline void peer_start(struct peer *peer, int listener, script_fn *script) {
  *peer = (struct peer){.listener = listener, .script = script};
  assert_int_equal(pthread_create(&peer->thread, NULL, on_peer, peer), 0);
}

static inline void peer_join(struct peer *peer) {
  assert_int_equal(pthread_join(peer->thread, NULL), 0);
}

// ---- what peers do; a broken expectation there ends the program

static inline void write_all(int fd, const void *bytes, size_t n) {
  for (size_t done = 0; done < n;) {
    ssize_t wrote = send(fd, (const char *)bytes + done, n - done, MSG_NOSIGNAL);
    if (wrote <= 0) abort();
    done += (size_t)wrote;
  }
}

static inline bool read_all(int fd, void *bytes, size_t n) {
  for (size_t done = 0; done < n;) {
    ssize_t got = read(fd, (char *)bytes + done, n - done);
    if (got <= 0) return false;
    done += (size_t)got;
  }
  return true;
}

// One frame with its header, as it came; 0 at the end of the stream.
static inline size_t read_frame(int fd, uint8_t *out) {
  if (!read_all(fd, out, FRAME_HEADER_BYTES)) return 0;
  size_t n = (size_t)out[0] << 24 | (size_t)out[1] << 16 | (size_t)out[2] << 8 | out[3];
  if (n > FRAME_MAX_BYTES || !read_all(fd, out + FRAME_HEADER_BYTES, n)) abort();
  return FRAME_HEADER_BYTES + n;
}

static inline void read_to_end(int fd) {
  char bytes[4096];
  while (read(fd, bytes, sizeof bytes) > 0)
    continue;
}

static inline void play_echo(int fd) {
  uint8_t *frame = malloc(FRAME_ROOM);
  for (size_t n; (n = read_frame(fd, frame)) > 0;)
    write_all(fd, frame, n);
  free(frame);
}

static inline void play_echo_byte_by_byte(int fd) {
  uint8_t *frame = malloc(FRAME_ROOM);
  for (size_t n; (n = read_frame(fd, frame)) > 0;) {
    for (size_t i = 0; i < n; i++)
      write_all(fd, frame + i, 1);
  }
  free(frame);
}

static inline void play_silence(int fd) {
  read_to_end(fd);
}

static inline void play_close(int fd) {
  (void)fd;
}

static inline void send_error(int fd, Shardd__ErrorCode code) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Error message = SHARDD__ERROR__INIT;
  message.code = code;
  message.text = msg_text("go away");
  frame.body_case = SHARDD__FRAME__BODY_ERROR;
  frame.error = &message;
  uint8_t bytes[64];
  write_all(fd, bytes, msg_pack(&frame, bytes));
}

// Refuses, leaves what was sent unread and closes: the client's next write meets a reset.
static inline void play_refuse(int fd) {
  send_error(fd, SHARDD__ERROR_CODE__ERROR_TOKEN);
}

static inline void play_two_frames_and_a_half(int fd) {
  send_error(fd, SHARDD__ERROR_CODE__ERROR_BUSY);
  send_error(fd, SHARDD__ERROR_CODE__ERROR_STOPPING);
  const uint8_t half[] = {0, 0, 0, 9, 1, 2};
  write_all(fd, half, sizeof half);
}

static inline void play_http(int fd) {
  const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
  write_all(fd, text, sizeof text - 1);
  read_to_end(fd);
}

static inline void play_empty_frame(int fd) {
  write_all(fd, "\0\0\0\0", 4);
  read_to_end(fd);
}

static inline void play_malformed(int fd) {
  write_all(fd, "\0\0\0\2\xff\xff", 6);
  read_to_end(fd);
}

static inline void play_one_good_then_malformed(int fd) {
  send_error(fd, SHARDD__ERROR_CODE__ERROR_BUSY);
  play_malformed(fd);
}

// ---- set-up

static inline int open_listeners(void **state) {
  (void)state;
  if (mkdtemp(folder) == NULL) return -1;
  snprintf(unix_path, sizeof unix_path, "%s/s", folder);
  snprintf(unix_text, sizeof unix_text, "unix:%s", unix_path);
  struct sockaddr_un local = {.sun_family = AF_UNIX};
  snprintf(local.sun_path, sizeof local.sun_path, "%s", unix_path);
  unix_listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(unix_listener, (const struct sockaddr *)&local, sizeof local) != 0 || listen(unix_listener, 8) != 0)
    return -1;
  struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof loopback;
  tcp_listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(tcp_listener, (const struct sockaddr *)&loopback, size) != 0 || listen(tcp_listener, 8) != 0) return -1;
  if (getsockname(tcp_listener, (struct sockaddr *)&loopback, &size) != 0) return -1;
  tcp_port = ntohs(loopback.sin_port);
  snprintf(tcp_text, sizeof tcp_text, "tcp://127.0.0.1:%u", tcp_port);
  return 0;
}

static inline int close_listeners(void **state) {
  (void)state;
  close(unix_listener);
  close(tcp_listener);
  unlink(unix_path);
  return rmdir(folder);
}

static inline struct client *connected(const char *address) {
  struct client *client = client_new(address, &error);
  assert_non_null(client);
  if (client_connect(client, PATIENCE_MS, &error) != 0) fail_msg("%s", error.text);
  assert_true(client_connected(client));
  return client;
}

static Shardd__Parked parked = SHARDD__PARKED__INIT;

static inline const Shardd__Frame *numbered(uint64_t seq) {
  static Shardd__Frame frame = SHARDD__FRAME__INIT;
  frame.seq = seq;
  frame.body_case = SHARDD__FRAME__BODY_PARKED;
  frame.parked = &parked;
  return &frame;
}

// A Bye with `texts` texts of 64 KiB.
static inline const Shardd__Frame *heavy(uint64_t seq, size_t texts) {
  static Shardd__Frame frame = SHARDD__FRAME__INIT;
  static Shardd__Bye bye = SHARDD__BYE__INIT;
  static ProtobufCBinaryData late[32];
  static char xs[MSG_TEXT_MAX_BYTES];
  memset(xs, 'x', sizeof xs);
  for (size_t i = 0; i < texts; i++)
    late[i] = msg_bytes(xs, sizeof xs);
  bye.reason = SHARDD__BYE_REASON__BYE_DONE;
  bye.n_late = texts;
  bye.late = late;
  frame.seq = seq;
  frame.body_case = SHARDD__FRAME__BODY_BYE;
  frame.bye = &bye;
  return &frame;
}

static inline void expect_error(const char *part) {
  if (strstr(error.text, part) == NULL) fail_msg("expected '%s' in '%s'", part, error.text);
}

// Polls and moves bytes until the next frame or the end of the stream.
static inline int next_frame(struct client *client, const Shardd__Frame **frame) {
  for (;;) {
    int found = client_next(client, frame, &error);
    if (found != 0) return found;
    struct pollfd pollfd = {.fd = client_fd(client), .events = POLLIN};
    if (client_wants_write(client)) pollfd.events |= POLLOUT;
    assert_int_equal(poll(&pollfd, 1, PATIENCE_MS), 1);
    struct client_error ignored;
    if ((pollfd.revents & POLLOUT) != 0) (void)client_flush(client, &ignored);
    if ((pollfd.revents & ~POLLOUT) != 0) (void)client_receive(client, &ignored);
  }
}

#endif
