// Listeners: Unix sockets, TCP, and sockets handed over by systemd. Opened by the daemon at its start, served by its
// loop; each accepted descriptor goes to one callback (conn_open). They know nothing of what is said on a connection.
#ifndef SERVER_NET_H
#define SERVER_NET_H

#include <event2/event.h>
#include <sys/types.h>

#include "config/base.h"

struct net_listener;

struct net_handler {
  // Takes over a connected descriptor: non-blocking, close-on-exec. `peer` says who it is, for logs, and lives until
  // the callback returns: "127.0.0.1:50123", "unix:pid=7,uid=1000". uid: of the process behind a Unix socket; -1: TCP.
  // It must not close the listener.
  void (*on_accept)(int fd, const char *peer, int64_t uid, void *arg);
  void *arg;
};

struct net_error {
  char text[512];
};

// Listens on unix:/path or tcp://host[:port] (settings_address reads it); a name with several addresses is listened on
// at all of them. The socket file gets `socket_mode`. A socket file that is there already is replaced when nothing
// answers on it; when something does, another daemon runs, and this one must not take its place. The handler is copied.
// NULL and *error (what was tried, what went wrong, what to do).
struct net_listener *net_listen(struct event_base *base, const char *address, mode_t socket_mode,
                                const struct net_handler *handler, struct net_error *error);

// Takes over the sockets that systemd passed (LISTEN_FDS), at most `max`; the variables are removed from the
// environment. 0 and *count (0: none were passed); -1 and *error when one of them is no listening stream socket or they
// are too many.
int net_activated(struct event_base *base, const struct net_handler *handler, struct net_listener **out, size_t max,
                  size_t *count, struct net_error *error) MUST_CHECK;

// Stops listening and closes; removes the socket file when it is still the one that net_listen made. NULL is legal.
void net_close(struct net_listener *listener);

// What it is bound to, in the form a client takes: "unix:/run/x.sock", "tcp://127.0.0.1:43211" (the real port).
const char *net_address(const struct net_listener *listener);

// True when other machines can reach it: TCP on anything but loopback.
bool net_exposed(const struct net_listener *listener);

// True when `address` (unix:… or tcp://…) can be reached from this machine alone; false as well when it is no address.
bool net_is_loopback(const char *address);

#endif
