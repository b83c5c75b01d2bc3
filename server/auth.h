// Who may come in: the tokens of the token file, compared in constant time. Without a token file everybody who reaches
// a listener may: then only Unix sockets and loopback are listened on (settings_check).
#ifndef SERVER_AUTH_H
#define SERVER_AUTH_H

#include "config/base.h"

struct auth;

struct auth_error {
  char text[512];
};

// Reads a token file: a token a line, 16 to 256 printable characters; blank lines and lines that begin with # do not
// count. path "" gives an auth that lets everybody in. NULL and *error when it cannot be read or holds no token.
struct auth *auth_load(const char *path, struct auth_error *error);
void auth_free(struct auth *auth);

// True when the token is one of the file's, or no token is asked for. A peer on the Unix socket with the daemon's own
// uid or root's needs none (uid -1: not known).
bool auth_allows(const struct auth *auth, const void *token, size_t n, int64_t uid);

#endif
