// Listeners on plain libevent events: the doorstep of the lease's path. Called by the daemon's start and end; between
// them by the loop, once per listener that has somebody waiting. Knows sockets and addresses, nothing of connections.
//
// Two things go wrong with naive listeners. Without free descriptors accept fails, the socket stays readable, and the
// loop spins: here the listener rests for a while and says so once. And a thousand clients at once keep the loop in
// accept: here a turn takes a bounded number, the others wait in the backlog for the next turn.
#include "server/net.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "server/limits.h"
#include "server/settings.h"

enum {
  NET_SOCKETS_MAX = 4,   // addresses of one name
  NET_REST_US = 200000,  // after accept found no descriptor or no memory
  NET_LOCK_TRIES = 200,  // for the folder of a socket file, NET_LOCK_WAIT_MS each
  NET_LOCK_WAIT_MS = 10,
  NET_ADDRESS_BYTES = 320,
};

struct net_socket {
  struct net_listener *listener;
  int fd;
  struct event *readable;
};

struct net_listener {
  struct event_base *base;
  struct net_handler handler;
  struct net_socket sockets[NET_SOCKETS_MAX];
  size_t count;
  struct event *rest;  // ends the pause after a failed accept
  bool troubled;       // the log has it
  bool exposed;
  char path[sizeof((struct sockaddr_un *)NULL)->sun_path];  // of the socket file to remove; "": none
  dev_t dev;
  ino_t ino;
  char address[NET_ADDRESS_BYTES];
};

// Any address that accept and getsockname may give.
union net_sockaddr {
  struct sockaddr any;
  struct sockaddr_in four;
  struct sockaddr_in6 six;
  struct sockaddr_un local;
  struct sockaddr_storage storage;
};

static int open_unix(struct net_listener *listener, const char *path, mode_t mode, struct net_error *error);
static int open_tcp(struct net_listener *listener, const struct settings_address *address, struct net_error *error);
static int watch(struct net_listener *listener, int fd);
static int describe(struct net_listener *listener);
static void on_rested(evutil_socket_t fd, short events, void *arg);

PRINTF(2, 3) static int fail(struct net_error *error, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  (void)vsnprintf(error->text, sizeof error->text, fmt, args);
  va_end(args);
  return -1;
}

static struct net_listener *listener_new(struct event_base *base, const struct net_handler *handler) {
  struct net_listener *listener = base_calloc(1, sizeof *listener);
  listener->base = base;
  listener->handler = *handler;
  listener->rest = evtimer_new(base, on_rested, listener);
  if (listener->rest == NULL) base_die(EXIT_INFRA, "out of memory for a listener");
  return listener;
}

struct net_listener *net_listen(struct event_base *base, const char *address, mode_t socket_mode,
                                const struct net_handler *handler, struct net_error *error) {
  struct settings_address parsed;
  struct conf_error reason;
  if (settings_address(address, &parsed, &reason) != 0) {
    (void)fail(error, "%s", reason.text);
    return NULL;
  }
  struct net_listener *listener = listener_new(base, handler);
  int rc = parsed.local ? open_unix(listener, parsed.path, socket_mode, error) : open_tcp(listener, &parsed, error);
  if (rc == 0) return listener;
  net_close(listener);
  return NULL;
}

int net_activated(struct event_base *base, const struct net_handler *handler, struct net_listener **out, size_t max,
                  size_t *count, struct net_error *error) {
  int passed = sd_listen_fds(1);
  if (passed < 0) return fail(error, "cannot take over the sockets of systemd: %s", strerror(-passed));
  if ((size_t)passed > max) return fail(error, "systemd passed %d sockets, at most %zu are allowed", passed, max);
  for (int i = 0; i < passed; i++) {
    int fd = SD_LISTEN_FDS_START + i;
    if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
      while (i-- > 0)
        net_close(out[i]);
      return fail(error, "descriptor %d passed by systemd is no listening stream socket: use ListenStream=", fd);
    }
    out[i] = listener_new(base, handler);
    (void)evutil_make_socket_nonblocking(fd);
    (void)evutil_make_socket_closeonexec(fd);
    if (watch(out[i], fd) != 0 || describe(out[i]) != 0) base_die(EXIT_INFRA, "cannot watch descriptor %d", fd);
  }
  *count = (size_t)passed;
  return 0;
}

// Only the file that was made here: its path may have gone to another daemon since.
static void remove_file(const struct net_listener *listener) {
  struct stat now;
  if (listener->path[0] == '\0' || lstat(listener->path, &now) != 0) return;
  if (now.st_dev != listener->dev || now.st_ino != listener->ino) return;
  if (unlink(listener->path) != 0) {
    base_log(LOG_LEVEL_WARN, "socket_stays", "address=%s reason=\"%s\"", listener->address, strerror(errno));
  }
}

void net_close(struct net_listener *listener) {
  if (listener == NULL) return;
  remove_file(listener);  // first, so that nobody connects to what is about to close
  for (size_t i = 0; i < listener->count; i++) {
    event_free(listener->sockets[i].readable);
    close(listener->sockets[i].fd);
  }
  event_free(listener->rest);
  free(listener);
}

const char *net_address(const struct net_listener *listener) {
  return listener->address;
}

bool net_exposed(const struct net_listener *listener) {
  return listener->exposed;
}

bool net_is_loopback(const char *address) {
  struct settings_address parsed;
  struct conf_error ignored;
  return settings_address(address, &parsed, &ignored) == 0 && (parsed.local || parsed.loopback);
}

// ---- addresses as text

static bool is_loopback(const union net_sockaddr *address) {
  if (address->any.sa_family == AF_INET) return ntohl(address->four.sin_addr.s_addr) >> 24 == 127;
  if (address->any.sa_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&address->six.sin6_addr);
  return address->any.sa_family == AF_UNIX;
}

// host:port, with brackets around a v6 host.
static void write_inet(const union net_sockaddr *address, char *out, size_t size) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (address->any.sa_family == AF_INET6) {
    (void)inet_ntop(AF_INET6, &address->six.sin6_addr, host, sizeof host);
    (void)snprintf(out, size, "[%s]:%u", host, ntohs(address->six.sin6_port));
  } else {
    (void)inet_ntop(AF_INET, &address->four.sin_addr, host, sizeof host);
    (void)snprintf(out, size, "%s:%u", host, ntohs(address->four.sin_port));
  }
}

// Learns from the first socket what the listener is bound to, and from each whether others can reach it.
static int describe(struct net_listener *listener) {
  for (size_t i = listener->count; i-- > 0;) {
    union net_sockaddr bound = {.storage = {0}};
    socklen_t size = sizeof bound;
    char text[NET_ADDRESS_BYTES - 8];
    if (getsockname(listener->sockets[i].fd, &bound.any, &size) != 0) return -1;
    if (!is_loopback(&bound)) listener->exposed = true;
    if (bound.any.sa_family == AF_UNIX) {
      const char *name = bound.local.sun_path[0] == '\0' ? "(abstract)" : bound.local.sun_path;
      (void)snprintf(listener->address, sizeof listener->address, "unix:%.107s", name);
      continue;
    }
    write_inet(&bound, text, sizeof text);
    (void)snprintf(listener->address, sizeof listener->address, "tcp://%s", text);
  }
  return 0;
}

// ---- accepting

static void rest(struct net_listener *listener, int cause) {
  const struct timeval pause = {.tv_usec = NET_REST_US};
  for (size_t i = 0; i < listener->count; i++)
    (void)event_del(listener->sockets[i].readable);
  (void)evtimer_add(listener->rest, &pause);
  if (listener->troubled) return;
  listener->troubled = true;
  base_log(LOG_LEVEL_ERROR, "accept_rests", "address=%s reason=\"%s\" hint=\"%s\"", listener->address, strerror(cause),
           cause == EMFILE ? "raise LimitNOFILE or lower max-connections" : "the machine is short of resources");
}

static void on_rested(evutil_socket_t fd, short events, void *arg) {
  struct net_listener *listener = arg;
  (void)fd;
  (void)events;
  for (size_t i = 0; i < listener->count; i++)
    (void)event_add(listener->sockets[i].readable, NULL);
}

static void welcome(struct net_listener *listener, int fd, const union net_sockaddr *from) {
  char peer[64];
  int64_t uid = -1;
  if (from->any.sa_family == AF_INET || from->any.sa_family == AF_INET6) {
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    write_inet(from, peer, sizeof peer);
  } else {
    struct ucred who;
    socklen_t size = sizeof who;
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    if (known) uid = who.uid;
    (void)snprintf(peer, sizeof peer, "unix:pid=%ld,uid=%lld", known ? (long)who.pid : -1L, (long long)uid);
  }
  if (listener->troubled) base_log(LOG_LEVEL_INFO, "accept_resumes", "address=%s", listener->address);
  listener->troubled = false;
  listener->handler.on_accept(fd, peer, uid, listener->handler.arg);
}

// Errors of the one connection that was about to be accepted; accept(2) asks to treat them as "nobody there yet".
static bool is_passing(int cause) {
  static const int passing[] = {EINTR,  ECONNABORTED, EPROTO,      ENETDOWN,   ENOPROTOOPT, EHOSTDOWN,
                                ENONET, EHOSTUNREACH, ENETUNREACH, EOPNOTSUPP, EPERM,       ETIMEDOUT};
  for (size_t i = 0; i < COUNT_OF(passing); i++) {
    if (passing[i] == cause) return true;
  }
  return false;
}

static void on_readable(evutil_socket_t listening, short events, void *arg) {
  struct net_socket *socket = arg;
  (void)events;
  for (int i = 0; i < LIMIT_ACCEPTS_A_TURN; i++) {
    union net_sockaddr from = {.storage = {0}};
    socklen_t size = sizeof from;
    int fd = accept4(listening, &from.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int cause = fd >= 0 ? 0 : errno;
    if (fd >= 0) {
      welcome(socket->listener, fd, &from);
    } else if (cause == EAGAIN || cause == EWOULDBLOCK) {
      return;
    } else if (!is_passing(cause)) {
      rest(socket->listener, cause);
      return;
    }
  }
}

// ---- opening

// Takes over a listening descriptor. -1: it stays the caller's.
static int watch(struct net_listener *listener, int fd) {
  assert(listener->count < NET_SOCKETS_MAX);
  struct net_socket *socket = &listener->sockets[listener->count];
  struct event *readable = event_new(listener->base, fd, EV_READ | EV_PERSIST, on_readable, socket);
  if (readable == NULL) return -1;
  if (event_add(readable, NULL) != 0) {
    event_free(readable);
    return -1;
  }
  *socket = (struct net_socket){.listener = listener, .fd = fd, .readable = readable};
  listener->count++;
  return 0;
}

// ---- Unix

// Daemons that start at once must look at the old file and make the new one in turn: whoever holds the folder's lock
// may.
static int lock_folder(const char *path, struct net_error *error) {
  char folder[sizeof((struct sockaddr_un *)NULL)->sun_path];
  size_t n = (size_t)(strrchr(path, '/') - path);
  memcpy(folder, path, n);
  memcpy(folder + n, n == 0 ? "/" : "", n == 0 ? 2 : 1);
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return fail(error, "cannot listen on unix:%s: folder %s: %s: create it, or choose another path (listen)", path,
                folder, strerror(errno));
  }
  for (int i = 0; i < NET_LOCK_TRIES; i++) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    (void)poll(NULL, 0, NET_LOCK_WAIT_MS);
  }
  close(fd);
  return fail(error, "cannot listen on unix:%s: another process keeps folder %s locked", path, folder);
}

// What stands at the path is removed when it is a socket on which nothing answers.
static int remove_stale(const struct sockaddr_un *address, struct net_error *error) {
  const char *path = address->sun_path;
  struct stat there;
  if (lstat(path, &there) != 0) return 0;
  if (!S_ISSOCK(there.st_mode)) {
    return fail(error,
                "cannot listen on unix:%s: a file that is no socket stands there: move it, or choose another path",
                path);
  }
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(error, "cannot listen on unix:%s: %s", path, strerror(errno));
  int cause = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
  close(fd);
  if (cause == 0 || cause == EAGAIN) {  // EAGAIN: its backlog is full
    return fail(error, "cannot listen on unix:%s: another daemon answers there: stop it, or choose another path", path);
  }
  if (cause != ECONNREFUSED && cause != ENOENT) {
    return fail(error, "cannot listen on unix:%s: cannot tell whether the socket there is in use: %s", path,
                strerror(cause));
  }
  if (unlink(path) == 0 || errno == ENOENT) return 0;
  return fail(error, "cannot listen on unix:%s: cannot remove the unused socket there: %s", path, strerror(errno));
}

// The mode narrows before the file exists and is exact afterwards, whatever the umask: it is never more open than
// asked.
static int bind_unix(int fd, const struct sockaddr_un *address, mode_t mode, struct net_error *error) {
  (void)fchmod(fd, mode);
  if (bind(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
    if (chmod(address->sun_path, mode) == 0 && listen(fd, SOMAXCONN) == 0) return 0;
    int cause = errno;
    (void)unlink(address->sun_path);
    return fail(error, "cannot listen on unix:%s: %s", address->sun_path, strerror(cause));
  }
  return fail(error, "cannot listen on unix:%s: %s: check the rights on its folder, or choose another path (listen)",
              address->sun_path, strerror(errno));
}

static int open_unix(struct net_listener *listener, const char *path, mode_t mode, struct net_error *error) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, path, strlen(path) + 1);
  int fd = -1, rc = -1, folder = lock_folder(path, error);
  if (folder < 0) return -1;
  if (remove_stale(&address, error) != 0) goto out;
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    (void)fail(error, "cannot listen on unix:%s: %s", path, strerror(errno));
    goto out;
  }
  if (bind_unix(fd, &address, mode, error) != 0) goto out;
  struct stat made;
  if (lstat(path, &made) != 0 || watch(listener, fd) != 0 || describe(listener) != 0) {
    (void)fail(error, "cannot listen on unix:%s: the new socket cannot be watched", path);
    (void)unlink(path);
    goto out;
  }
  fd = -1;
  memcpy(listener->path, path, strlen(path) + 1);
  listener->dev = made.st_dev;
  listener->ino = made.st_ino;
  rc = 0;
out:
  if (fd >= 0 && listener->count == 0) close(fd);
  close(folder);
  return rc;
}

// ---- TCP

static const char *tcp_hint(int cause) {
  if (cause == EADDRINUSE) return "another program listens there: stop it, or choose another port (listen)";
  if (cause == EADDRNOTAVAIL) return "this machine does not have that address: choose another (listen)";
  if (cause == EACCES) return "ports below 1024 need a right: choose another port (listen)";
  return "check the address (listen)";
}

// Binds one address of the host and listens. 0; otherwise the errno.
static int open_one(struct net_listener *listener, const struct addrinfo *address, in_port_t port) {
  union net_sockaddr to = {.storage = {0}};
  const int on = 1;
  memcpy(&to, address->ai_addr, address->ai_addrlen);
  *(address->ai_family == AF_INET6 ? &to.six.sin6_port : &to.four.sin_port) = port;
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, &to.any, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0 && watch(listener, fd) == 0) return 0;
  int cause = errno != 0 ? errno : ENOMEM;
  close(fd);
  return cause;
}

static in_port_t bound_port(const struct net_listener *listener) {
  union net_sockaddr bound = {.storage = {0}};
  socklen_t size = sizeof bound;
  if (getsockname(listener->sockets[0].fd, &bound.any, &size) != 0) return 0;
  return bound.any.sa_family == AF_INET6 ? bound.six.sin6_port : bound.four.sin_port;
}

// Every address of the name; with port 0 the first decides the port of all. A family that this machine does not have is
// passed over as long as another works.
static int open_all(struct net_listener *listener, const struct addrinfo *list, uint16_t port) {
  int passed_over = 0;
  for (const struct addrinfo *a = list; a != NULL && listener->count < NET_SOCKETS_MAX; a = a->ai_next) {
    in_port_t wanted = port == 0 && listener->count > 0 ? bound_port(listener) : htons(port);
    int cause = open_one(listener, a, wanted);
    bool absent = cause == EADDRNOTAVAIL || cause == EAFNOSUPPORT;
    if (cause != 0 && !absent) return cause;
    if (cause != 0) passed_over = cause;
  }
  if (listener->count == 0) return passed_over != 0 ? passed_over : EADDRNOTAVAIL;
  return describe(listener) == 0 ? 0 : errno;
}

static int open_tcp(struct net_listener *listener, const struct settings_address *address, struct net_error *error) {
  const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *list = NULL;
  int result = getaddrinfo(address->host, NULL, &wanted, &list);
  if (result != 0) {
    return fail(error, "cannot listen on host %s: %s: write an address of this machine (listen)", address->host,
                result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
  }
  int cause = open_all(listener, list, address->port);
  freeaddrinfo(list);
  if (cause == 0) return 0;
  return fail(error, "cannot listen on tcp://%s:%u: %s: %s", address->host, address->port, strerror(cause),
              tcp_hint(cause));
}
