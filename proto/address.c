// Reading and writing of addresses. Called by proto/client.c (connect) and server/net.c (listen); knows nothing of
// sockets and resolves no names. Everything is bounded by the arrays of struct address, and what does not fit is said
// instead of cut: a socket path that loses its end would be another socket.
#include "proto/address.h"

#include <stdio.h>
#include <string.h>

#define FORMS "write unix:/path, tcp://host:port or tcp://[v6 address]:port"

static const char *parse_unix(const char *path, struct address *out);
static const char *parse_tcp(const char *rest, struct address *out);

int address_parse(const char *text, unsigned default_port, struct address *address, const char **why) {
  static const struct {
    const char *prefix;
    const char *(*parse)(const char *rest, struct address *out);
  } schemes[] = {{"unix:", parse_unix}, {"tcp://", parse_tcp}};
  const char *wrong = "is no address: " FORMS;
  struct address read = {.port = default_port};
  if (strncmp(text, "tls://", 6) == 0) wrong = "TLS is not supported by this version: use tcp:// or unix:";
  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
    size_t n = strlen(schemes[i].prefix);
    if (strncmp(text, schemes[i].prefix, n) == 0) wrong = schemes[i].parse(text + n, &read);
  }
  if (wrong != NULL) {
    *why = wrong;
    return -1;
  }
  *address = read;
  return 0;
}

const char *address_format(const struct address *address, char *out, size_t out_size) {
  int n;
  if (address->is_unix) {
    n = snprintf(out, out_size, "unix:%s", address->path);
  } else if (strchr(address->host, ':') != NULL) {
    n = snprintf(out, out_size, "tcp://[%s]:%u", address->host, address->port);
  } else {
    n = snprintf(out, out_size, "tcp://%s:%u", address->host, address->port);
  }
  if (n < 0 && out_size > 0) out[0] = '\0';
  return out;
}

static const char *parse_unix(const char *path, struct address *out) {
  size_t n = strlen(path);
  if (n == 0) return "names no socket file: write unix:/path";
  if (n > ADDRESS_PATH_MAX_BYTES) return "the path of a Unix socket cannot be longer than 107 bytes: use a shorter one";
  out->is_unix = true;
  memcpy(out->path, path, n + 1);
  return NULL;
}

// Decimal, 0 to 65535, nothing else.
static const char *parse_port(const char *text, struct address *out) {
  unsigned port = 0;
  size_t n = strspn(text, "0123456789");
  if (n == 0 || n > 5 || text[n] != '\0') return "the port must be a number from 0 to 65535";
  for (size_t i = 0; i < n; i++)
    port = port * 10 + (unsigned)(text[i] - '0');
  if (port > 65535) return "the port must be a number from 0 to 65535";
  out->port = port;
  return NULL;
}

static const char *parse_tcp(const char *rest, struct address *out) {
  bool bracketed = rest[0] == '[';
  const char *host = bracketed ? rest + 1 : rest;
  size_t n = strcspn(host, bracketed ? "]" : ":");
  const char *behind = host + n;
  if (bracketed && *behind++ != ']') return "the closing ] of the v6 address is missing";
  if (!bracketed && behind[0] == ':' && strchr(behind + 1, ':') != NULL) {
    return "a v6 address stands in brackets: tcp://[::1]:4270";
  }
  if (n == 0) return "names no host: " FORMS;
  if (n > ADDRESS_HOST_MAX_BYTES) return "the host name is longer than 255 bytes";
  if (strcspn(host, "/@ \t\n") < n) return "the host name holds a character that no host name has: " FORMS;
  memcpy(out->host, host, n);
  out->host[n] = '\0';
  if (*behind == '\0') return NULL;
  if (*behind != ':') return "something else than :port stands behind the host: " FORMS;
  return parse_port(behind + 1, out);
}
