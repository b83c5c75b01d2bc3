// The token file. Called at start, at reload and for each hello. Every token is compared with every other candidate in
// full, so that time tells nothing; tokens are never logged.
#include "server/auth.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/files.h"

enum { AUTH_MIN_BYTES = 16, AUTH_MAX_BYTES = 256, AUTH_TOKENS_MAX = 1000, AUTH_DIGEST_BYTES = 32 };

struct auth {
  uint8_t (*digest)[AUTH_DIGEST_BYTES];
  size_t count;
  bool open;
};

static bool auth_digest(const void *token, size_t n, uint8_t out[AUTH_DIGEST_BYTES]) {
  unsigned bytes = AUTH_DIGEST_BYTES;
  return EVP_Digest(token, n, out, &bytes, EVP_sha256(), NULL) == 1;
}

static int auth_add(struct auth *auth, const char *token, const char **why) {
  size_t n = strlen(token);
  *why = "a token has 16 to 256 characters without spaces";
  if (n < AUTH_MIN_BYTES || n > AUTH_MAX_BYTES) return -1;
  for (size_t i = 0; i < n; i++) {
    if (token[i] <= ' ' || token[i] > '~') return -1;
  }
  *why = "more than 1000 tokens";
  if (auth->count == AUTH_TOKENS_MAX) return -1;
  auth->digest = base_realloc(auth->digest, auth->count + 1, sizeof *auth->digest);
  *why = "the digest failed";
  if (!auth_digest(token, n, auth->digest[auth->count])) return -1;
  auth->count++;
  return 0;
}

static int auth_read(struct auth *auth, FILE *file, const char *path, struct auth_error *error) {
  char line[1024];
  for (unsigned number = 1; fgets(line, sizeof line, file); number++) {
    const char *why;
    line[strcspn(line, "\r\n")] = '\0';
    if (!line[0] || line[0] == '#') continue;
    if (auth_add(auth, line, &why) == 0) continue;
    snprintf(error->text, sizeof error->text, "%s:%u: %s", path, number, why);
    return -1;
  }
  OPENSSL_cleanse(line, sizeof line);
  if (auth->count) return 0;
  snprintf(error->text, sizeof error->text, "%s: no token in it; make one with: head -c 32 /dev/urandom | base64",
           path);
  return -1;
}

struct auth *auth_load(const char *path, struct auth_error *error) {
  struct auth *auth = base_calloc(1, sizeof *auth);
  if (!path[0]) {
    auth->open = true;
    return auth;
  }
  const char *why;
  FILE *file = files_read(path, FILES_STREAM, &why);
  if (!file) {
    snprintf(error->text, sizeof error->text, "token-file %s: %s", path, why);
  } else if (auth_read(auth, file, path, error) == 0) {
    fclose(file);
    return auth;
  } else {
    fclose(file);
  }
  auth_free(auth);
  return NULL;
}

void auth_free(struct auth *auth) {
  if (!auth) return;
  free(auth->digest);
  free(auth);
}

bool auth_allows(const struct auth *auth, const void *token, size_t n, int64_t uid) {
  uint8_t digest[AUTH_DIGEST_BYTES];
  if (auth->open || (uid >= 0 && (uid == 0 || uid == (int64_t)geteuid()))) return true;
  if (!auth_digest(token, n, digest)) return false;
  int found = 0;
  for (size_t i = 0; i < auth->count; i++) {
    found |= CRYPTO_memcmp(digest, auth->digest[i], sizeof digest) == 0;
  }
  return found != 0;
}
