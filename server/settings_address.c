// Where to listen: "unix:/path" and "tcp://host:port" taken apart, and told whether only this machine can reach them.
// Called by settings_check before anything is opened, and by net.c when it opens. Pure: it resolves no name, so any
// name but localhost counts as reachable from elsewhere.
#include <arpa/inet.h>
#include <string.h>

#include "server/settings.h"

static int parse_unix(const char *path, struct settings_address *out);
static int parse_tcp(const char *text, struct settings_address *out);
static int take_host(const char *host, size_t length, struct settings_address *out);
static bool is_loopback(const char *host);

int settings_address(const char *text, struct settings_address *out, struct conf_error *error) {
  static const char unix_form[] = "unix:", tcp_form[] = "tcp://";
  struct settings_address address = {0};
  int rc = -1;
  if (strncmp(text, unix_form, strlen(unix_form)) == 0) rc = parse_unix(text + strlen(unix_form), &address);
  if (strncmp(text, tcp_form, strlen(tcp_form)) == 0) rc = parse_tcp(text + strlen(tcp_form), &address);
  if (rc == 0) {
    *out = address;
    return 0;
  }
  char shown[160];
  (void)snprintf(error->text, sizeof error->text,
                 "listen: %s is no address; write unix:/path (absolute, at most %zu bytes) or tcp://host:port, such as "
                 "tcp://127.0.0.1:%d or tcp://[::1]:%d",
                 base_quote(shown, sizeof shown, text, strlen(text)), sizeof address.path - 1, SETTINGS_PORT,
                 SETTINGS_PORT);
  return -1;
}

static int parse_unix(const char *path, struct settings_address *out) {
  size_t length = strlen(path);
  if (path[0] != '/' || length < 2 || length >= sizeof out->path) return -1;
  memcpy(out->path, path, length + 1);
  out->local = true;
  return 0;
}

static int parse_tcp(const char *text, struct settings_address *out) {
  bool bracket = text[0] == '[';
  const char *host = bracket ? text + 1 : text;
  const char *end = strchr(host, bracket ? ']' : ':');
  if (end == NULL && bracket) return -1;
  size_t length = end != NULL ? (size_t)(end - host) : strlen(host);
  if (take_host(host, length, out) != 0) return -1;
  struct in6_addr six;
  if (bracket && inet_pton(AF_INET6, out->host, &six) != 1) return -1;
  const char *behind = host + length + (bracket ? 1 : 0);
  uint64_t port = SETTINGS_PORT;
  if (*behind != '\0' && (*behind != ':' || base_parse_u64(behind + 1, 0, UINT16_MAX, &port) != 0)) return -1;
  out->port = (uint16_t)port;
  out->loopback = is_loopback(out->host);
  return 0;
}

// Letters, digits, dots, dashes and underscores, and what IPv6 addresses need.
static int take_host(const char *host, size_t length, struct settings_address *out) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";
  if (length == 0 || length >= sizeof out->host || strspn(host, allowed) < length) return -1;
  memcpy(out->host, host, length);
  out->host[length] = '\0';
  return 0;
}

static bool is_loopback(const char *host) {
  struct in_addr four;
  struct in6_addr six;
  if (inet_pton(AF_INET, host, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  if (inet_pton(AF_INET6, host, &six) == 1) return IN6_IS_ADDR_LOOPBACK(&six);
  return strcmp(host, "localhost") == 0;
}
