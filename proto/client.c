// The client's end of the wire: one non-blocking socket with a flat buffer each way. Called by `shard`'s subcommands
// and by the tests, which poll client_fd() in their own loops or use the blocking client_call(). Turns bytes into
// frames (frame.h) and messages (msg.h); what they mean, when to reconnect and what to send again is the caller's.
//
// A lost connection keeps what had arrived: a server that refuses says why and then closes, and the client may learn of
// the closing first, by a failed write. client_next gives the frames that came before, then the loss.
#include "proto/client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/address.h"
#include "proto/frame.h"

enum {
  READ_BYTES = 64 * 1024,                                              // room made before each read
  HELD_MAX_BYTES = FRAME_HEADER_BYTES + FRAME_MAX_BYTES + READ_BYTES,  // unread input: one frame always fits
  UNIX_RETRY_MS = 5,           // a Unix listener whose backlog is full refuses instead of queueing
  TCP_SILENCE_MS = 30 * 1000,  // unacknowledged for so long: the path is dead
  TCP_IDLE_S = 15,
  TCP_PROBE_S = 5,
  TCP_PROBES = 3,
};

// Bytes from start to end are held.
struct buffer {
  uint8_t *bytes;
  size_t start, end, size;
};

struct client {
  char *text;  // the address as it was given
  struct address address;
  int fd;  // -1: not connected
  struct buffer in, out;
  struct msg_arena *arena;
  struct client_error loss;  // why fd is -1
};

static int connect_unix(struct client *client, uint64_t deadline_ms, struct client_error *error);
static int connect_tcp(struct client *client, uint64_t deadline_ms, struct client_error *error);
static int write_backlog(struct client *client, struct client_error *error);
static int wait_and_move(struct client *client, uint64_t deadline_ms, unsigned timeout_ms, struct client_error *error);
static void lose(struct client *client, const char *what, const char *why);

__attribute__((format(printf, 2, 3))) static void say(struct client_error *error, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(error->text, sizeof error->text, fmt, args);
  va_end(args);
  if (n < 0) error->text[0] = '\0';
}

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct client *client_new(const char *address, struct client_error *error) {
  struct address parsed;
  const char *why = NULL;
  if (address_parse(address, CLIENT_DEFAULT_PORT, &parsed, &why) != 0) {
    say(error, "server address '%.300s': %s", address, why);
    return NULL;
  }
  if (!parsed.is_unix && parsed.port == 0) {
    say(error, "server address '%.300s': port 0 is for listening only: write the server's port", address);
    return NULL;
  }
  struct client *client = calloc(1, sizeof *client);
  if (client != NULL) {
    *client = (struct client){.fd = -1, .address = parsed, .text = strdup(address)};
    client->arena = msg_arena_new(MSG_ARENA_MAX_BYTES);
    if (client->text != NULL && client->arena != NULL) {
      say(&client->loss, "not connected to %.300s", address);
      return client;
    }
  }
  client_free(client);
  say(error, "out of memory");
  return NULL;
}

void client_free(struct client *client) {
  if (client == NULL) return;
  client_close(client);
  msg_arena_free(client->arena);
  free(client->in.bytes);
  free(client->out.bytes);
  free(client->text);
  free(client);
}

const char *client_address(const struct client *client) {
  return client->text;
}

int client_connect(struct client *client, unsigned timeout_ms, struct client_error *error) {
  client_close(client);
  uint64_t deadline_ms = now_ms() + timeout_ms;
  return client->address.is_unix ? connect_unix(client, deadline_ms, error) : connect_tcp(client, deadline_ms, error);
}

bool client_connected(const struct client *client) {
  return client->fd >= 0;
}

void client_close(struct client *client) {
  if (client->fd >= 0) close(client->fd);
  client->fd = -1;
  client->in.start = client->in.end = client->out.start = client->out.end = 0;
  say(&client->loss, "not connected to %.300s", client->text);
}

int client_fd(const struct client *client) {
  return client->fd;
}

bool client_wants_write(const struct client *client) {
  return client->fd >= 0 && client->out.start < client->out.end;
}

// ---- buffers

// Makes room for n bytes behind what is held. 0; -1 when memory is out.
static int buffer_reserve(struct buffer *buffer, size_t n) {
  size_t held = buffer->end - buffer->start;
  if (buffer->size - buffer->end >= n) return 0;
  if (held > 0 && buffer->start > 0) memmove(buffer->bytes, buffer->bytes + buffer->start, held);
  buffer->start = 0;
  buffer->end = held;
  if (buffer->size - held >= n) return 0;
  size_t size = buffer->size > 0 ? buffer->size : 4096;
  while (size - held < n)
    size *= 2;
  uint8_t *grown = realloc(buffer->bytes, size);
  if (grown == NULL) return -1;
  buffer->bytes = grown;
  buffer->size = size;
  return 0;
}

static void buffer_drop(struct buffer *buffer, size_t n) {
  buffer->start += n;
  if (buffer->start == buffer->end) buffer->start = buffer->end = 0;
}

// ---- sending

int client_send(struct client *client, const Shardd__Frame *frame, struct client_error *error) {
  if (client->fd < 0) {
    *error = client->loss;
    return -1;
  }
  size_t n = msg_packed_bytes(frame), waiting = client->out.end - client->out.start;
  if (n == 0) {
    say(error, "a %s message is empty or larger than %d bytes and cannot be sent", msg_name(frame), FRAME_MAX_BYTES);
    return -1;
  }
  if (n > CLIENT_BACKLOG_MAX_BYTES - waiting) {
    say(error, "%s does not take what is sent: %zu bytes wait already", client->text, waiting);
    return -1;
  }
  if (buffer_reserve(&client->out, n) != 0) {
    say(error, "out of memory for a %s message of %zu bytes", msg_name(frame), n);
    return -1;
  }
  client->out.end += msg_pack(frame, client->out.bytes + client->out.end);
  return waiting > 0 ? 0 : write_backlog(client, error);  // behind a backlog it waits for the socket as well
}

int client_send_packed(struct client *client, const uint8_t *bytes, size_t n, struct client_error *error) {
  size_t waiting = client->out.end - client->out.start;
  if (client->fd < 0) {
    *error = client->loss;
    return -1;
  }
  if (n > CLIENT_BACKLOG_MAX_BYTES - waiting || buffer_reserve(&client->out, n) != 0) {
    say(error, "%s does not take what is sent: %zu bytes wait already", client->text, waiting);
    return -1;
  }
  memcpy(client->out.bytes + client->out.end, bytes, n);
  client->out.end += n;
  return waiting > 0 ? 0 : write_backlog(client, error);
}

int client_flush(struct client *client, struct client_error *error) {
  if (client->fd >= 0) return write_backlog(client, error);
  *error = client->loss;
  return -1;
}

static int write_backlog(struct client *client, struct client_error *error) {
  struct buffer *out = &client->out;
  while (out->start < out->end) {
    ssize_t n = send(client->fd, out->bytes + out->start, out->end - out->start, MSG_NOSIGNAL);
    if (n >= 0) {
      buffer_drop(out, (size_t)n);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return 0;
    } else if (errno != EINTR) {
      int saved = errno;
      struct client_error ignored;
      (void)client_receive(client, &ignored);  // the server's last words
      lose(client, "lost the connection to", strerror(saved));
      *error = client->loss;
      return -1;
    }
  }
  return 0;
}

// Ends the connection; what has arrived stays for client_next. The first reason stays too.
static void lose(struct client *client, const char *what, const char *why) {
  if (client->fd < 0) return;
  close(client->fd);
  client->fd = -1;
  client->out.start = client->out.end = 0;
  say(&client->loss, "%s %.300s: %s", what, client->text, why);
}

// ---- receiving

int client_receive(struct client *client, struct client_error *error) {
  struct buffer *in = &client->in;
  if (client->fd < 0) {
    *error = client->loss;
    return -1;
  }
  while (in->end - in->start < HELD_MAX_BYTES) {
    if (buffer_reserve(in, READ_BYTES) != 0) {
      lose(client, "gave up the connection to", "out of memory");
      return 0;
    }
    ssize_t n = read(client->fd, in->bytes + in->end, in->size - in->end);
    if (n > 0) {
      in->end += (size_t)n;
    } else if (n == 0) {
      lose(client, "lost the connection to", "the server closed it");
      return 0;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return 0;
    } else if (errno != EINTR) {
      lose(client, "lost the connection to", strerror(errno));
      return 0;
    }
  }
  return 0;
}

// The stream cannot be read any further: what stands behind the bad bytes is void.
static int refuse(struct client *client, const char *why, struct client_error *error) {
  client_close(client);
  say(&client->loss, "what answers at %.300s is no shardd of this version: %s", client->text, why);
  *error = client->loss;
  return -1;
}

int client_next(struct client *client, const Shardd__Frame **frame, struct client_error *error) {
  struct buffer *in = &client->in;
  const uint8_t *bytes = in->bytes + in->start;
  size_t body_bytes = 0;
  const char *why = NULL;
  if (in->start == in->end) bytes = (const uint8_t *)"";
  switch (frame_find(bytes, in->end - in->start, FRAME_MAX_BYTES, &body_bytes)) {
    case FRAME_COMPLETE: break;
    case FRAME_TOO_LARGE: return refuse(client, "it announces a frame above the bound", error);
    case FRAME_EMPTY: return refuse(client, "it sends an empty frame", error);
    case FRAME_PARTIAL:
      if (client->fd >= 0) return 0;
      *error = client->loss;
      return -1;
  }
  const Shardd__Frame *found = msg_unpack(client->arena, bytes + FRAME_HEADER_BYTES, body_bytes, &why);
  if (found == NULL) return refuse(client, why, error);
  buffer_drop(in, FRAME_HEADER_BYTES + body_bytes);
  *frame = found;
  return 1;
}

// ---- waiting

int client_call(struct client *client, const Shardd__Frame *frame, unsigned timeout_ms, const Shardd__Frame **reply,
                struct client_error *error) {
  uint64_t deadline_ms = now_ms() + timeout_ms;
  // A failed send may have been preceded by the server's reason to close: that is the reply then.
  if (frame != NULL && client_send(client, frame, error) != 0) return client_next(client, reply, error) == 1 ? 0 : -1;
  for (;;) {
    int found = client_next(client, reply, error);
    if (found != 0) return found > 0 ? 0 : -1;
    if (wait_and_move(client, deadline_ms, timeout_ms, error) != 0) return -1;
  }
}

// poll() until the deadline; > 0 ready, 0 time is up, < 0 with errno.
static int poll_until(int fd, short events, uint64_t deadline_ms) {
  for (;;) {
    uint64_t now = now_ms(), left = now < deadline_ms ? deadline_ms - now : 0;
    struct pollfd pollfd = {.fd = fd, .events = events};
    int ready = poll(&pollfd, 1, left > INT32_MAX ? INT32_MAX : (int)left);
    if (ready >= 0 || errno != EINTR) return ready;
  }
}

static int wait_and_move(struct client *client, uint64_t deadline_ms, unsigned timeout_ms, struct client_error *error) {
  short events = (short)(client_wants_write(client) ? POLLIN | POLLOUT : POLLIN);
  int ready = poll_until(client->fd, events, deadline_ms);
  if (ready == 0) {
    say(error, "%.300s did not answer within %u ms: is the server overloaded or stopped?", client->text, timeout_ms);
    return -1;
  }
  if (ready < 0) {
    say(error, "cannot wait for %.300s: %s", client->text, strerror(errno));
    return -1;
  }
  // A loss in either direction is found by client_next, behind the frames that came before it.
  struct client_error ignored;
  (void)client_receive(client, &ignored);
  if (client_wants_write(client)) (void)write_backlog(client, &ignored);
  return 0;
}

// ---- connecting

static const char *hint(int cause) {
  static const struct {
    int cause;
    const char *hint;
  } hints[] = {
      {ENOENT, "is shardd running? start it, or set --server/SHARD_SERVER"},
      {ECONNREFUSED, "is shardd running? start it, or set --server/SHARD_SERVER"},
      {EACCES, "may this user write to the socket? join its group, or set --server/SHARD_SERVER"},
      {ETIMEDOUT, "nothing answers: check the host, the port and the firewalls between"},
      {EHOSTUNREACH, "check the host, the route and the firewalls between"},
      {ENETUNREACH, "check the host and the network of this machine"},
      {EAGAIN, "the server accepts no more connections for now: try again, or look at its log"},
      {EMFILE, "raise the limit of open files (ulimit -n)"},
  };
  for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
    if (hints[i].cause == cause) return hints[i].hint;
  }
  return "check --server/SHARD_SERVER";
}

static int fail_connect(struct client *client, int cause, struct client_error *error) {
  say(error, "cannot connect to %.300s: %s: %s", client->text, strerror(cause), hint(cause));
  client->loss = *error;
  return -1;
}

static int connect_unix(struct client *client, uint64_t deadline_ms, struct client_error *error) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, client->address.path, strlen(client->address.path));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail_connect(client, errno, error);
  while (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
    int cause = errno;
    bool again = cause == EINTR || (cause == EAGAIN && now_ms() < deadline_ms);
    if (!again) {
      close(fd);
      return fail_connect(client, cause, error);
    }
    if (cause == EAGAIN) (void)poll(NULL, 0, UNIX_RETRY_MS);
  }
  client->fd = fd;
  return 0;
}

// Options that make a dead path known: what is sent must be acknowledged, and a silent peer is probed.
static void tune(int fd) {
  static const struct {
    int level, option, value;
  } options[] = {
      {IPPROTO_TCP, TCP_NODELAY, 1},
      {IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_SILENCE_MS},
      {SOL_SOCKET, SO_KEEPALIVE, 1},
      {IPPROTO_TCP, TCP_KEEPIDLE, TCP_IDLE_S},
      {IPPROTO_TCP, TCP_KEEPINTVL, TCP_PROBE_S},
      {IPPROTO_TCP, TCP_KEEPCNT, TCP_PROBES},
  };
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    (void)setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof options[i].value);
  }
}

// One address of the host. 0 and *out; otherwise the errno.
static int try_address(const struct addrinfo *address, uint64_t deadline_ms, int *out) {
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), cause = 0;
  if (fd < 0) return errno;
  if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) cause = errno;
  if (cause == EINPROGRESS || cause == EINTR) {
    socklen_t size = sizeof cause;
    int ready = poll_until(fd, POLLOUT, deadline_ms);
    if (ready == 0) cause = ETIMEDOUT;
    if (ready < 0) cause = errno;
    if (ready > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &size) != 0) cause = errno;
  }
  if (cause != 0) {
    close(fd);
    return cause;
  }
  tune(fd);
  *out = fd;
  return 0;
}

static size_t count(const struct addrinfo *list) {
  size_t n = 0;
  for (; list != NULL; list = list->ai_next)
    n++;
  return n;
}

static int connect_tcp(struct client *client, uint64_t deadline_ms, struct client_error *error) {
  const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
  struct addrinfo *list = NULL;
  char port[8];
  (void)snprintf(port, sizeof port, "%u", client->address.port & 0xffffu);
  int result = getaddrinfo(client->address.host, port, &wanted, &list);
  if (result != 0) {
    say(error, "cannot connect to %.300s: host '%s': %s: check the host in --server/SHARD_SERVER", client->text,
        client->address.host, result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
    client->loss = *error;
    return -1;
  }
  int cause = EADDRNOTAVAIL;
  for (const struct addrinfo *a = list; a != NULL && cause != 0; a = a->ai_next) {
    uint64_t now = now_ms(), left = now < deadline_ms ? deadline_ms - now : 0;
    cause = try_address(a, now + left / count(a), &client->fd);  // a dead address leaves time for the next
  }
  freeaddrinfo(list);
  return cause == 0 ? 0 : fail_connect(client, cause, error);
}

// ---- coming back

unsigned client_backoff_ms(unsigned attempt) {
  unsigned most = CLIENT_BACKOFF_MIN_MS;
  while (attempt-- > 0 && most < CLIENT_BACKOFF_MAX_MS)
    most *= 2;
  if (most > CLIENT_BACKOFF_MAX_MS) most = CLIENT_BACKOFF_MAX_MS;
  uint32_t random = 0;
  if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
    random = (uint32_t)now_ms() * 2654435761u;
  return most - most / 2 + (unsigned)((uint64_t)random * (most / 2 + 1) >> 32);
}
