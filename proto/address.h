// Addresses of a server as people write them: unix:/path, tcp://host[:port], tcp://[v6]:port. Read by the client to
// connect and by the server to listen, so that both mean the same by them.
#ifndef PROTO_ADDRESS_H
#define PROTO_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

enum {
  ADDRESS_PATH_MAX_BYTES = 107,  // sun_path holds this and a NUL
  ADDRESS_HOST_MAX_BYTES = 255,
  ADDRESS_TEXT_MAX_BYTES = 300,
};

struct address {
  bool is_unix;
  char path[ADDRESS_PATH_MAX_BYTES + 1];
  char host[ADDRESS_HOST_MAX_BYTES + 1];  // without brackets
  unsigned port;                          // 0: any free port, which only a listener can mean
};

// Reads `text`; a TCP address without a port gets `default_port`. 0; -1 with *why, a constant text that completes
// "ADDRESS: …", and *address untouched.
int address_parse(const char *text, unsigned default_port, struct address *address, const char **why)
    __attribute__((warn_unused_result));

// Writes the address in its own form (brackets around a v6 host) to out, cut to out_size; returns out.
const char *address_format(const struct address *address, char *out, size_t out_size);

#endif
