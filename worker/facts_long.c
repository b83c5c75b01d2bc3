// Long values of facts. Called by facts.c. It must not know what the values say.
#include "worker/facts_long.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "config/base.h"
#include "proto/msg.h"

// A command is as long as its alike part: what is over differs from job to job by the digits of its number.
enum { ALIKE_MAX_BYTES = 1536, SHOWN_BYTES = 400, NUMBER_MAX_BYTES = 18 };

static char *long_digest(const char *text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  if (EVP_Digest(text, strlen(text), digest, &n, EVP_sha256(), NULL) != 1)
    base_die(EXIT_INFRA, "SHA-256 failed in libcrypto: cannot compute the digest of a fact");
  char *hex = base_calloc(1, 2 * (size_t)n + 1);
  for (unsigned i = 0; i < n; i++) {
    hex[2 * (size_t)i] = "0123456789abcdef"[digest[i] >> 4];
    hex[2 * (size_t)i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

// Bytes of the job's own that begin here, its marks among them; 0: none do.
static size_t long_own(const char *at) {
  if (*at != MSG_FACT_OWN_BEGINS) return 0;
  const char *end = strchr(at, MSG_FACT_OWN_ENDS);
  return end ? (size_t)(end + 1 - at) : strlen(at);
}

// Bytes of a number up to `numbers` that begins here, behind what is not a digit; 0: none does.
static size_t long_number(const char *at, uint64_t numbers) {
  size_t n = strspn(at, "0123456789");
  char digits[NUMBER_MAX_BYTES + 1] = "";
  uint64_t value;
  if (n == 0 || n > NUMBER_MAX_BYTES || (at[0] == '0' && n > 1)) return 0;
  memcpy(digits, at, n);
  return base_parse_u64(digits, 0, numbers, &value) == 0 ? n : 0;
}

// The command with a mark for each thing that may differ from job to job. The caller frees it.
static char *long_alike(const char *command, uint64_t numbers) {
  char *alike = base_malloc(strlen(command) + 1);
  size_t used = 0;
  bool digit = false;  // the byte before is one
  for (const char *at = command; *at;) {
    size_t own = long_own(at), skips = own || digit ? own : long_number(at, numbers);
    digit = !own && isdigit((unsigned char)*at);
    alike[used++] = skips ? MSG_FACT_OWN_BEGINS : *at;
    at += skips ? skips : 1;
  }
  alike[used] = '\0';
  return alike;
}

// A beginning that ends at the same place on all jobs: numbers and what is marked do not count.
static size_t long_shown(const char *value) {
  size_t alike = 0, at = 0, end = 0;
  while (value[at] && alike < SHOWN_BYTES) {
    size_t own = long_own(value + at);
    at += own ? own : 1;
    if (at > ALIKE_MAX_BYTES) break;
    if (own || isdigit((unsigned char)value[at - 1])) continue;
    alike++;
    end = at;
  }
  return end;
}

static char *long_cut(const char *value, const char *alike) {
  char *digest = long_digest(alike);
  char *text = base_printf("%.*s... sha256 of the whole: %s", (int)long_shown(value), value, digest);
  free(digest);
  return text;
}

char *facts_long(const char *value) {
  return strlen(value) <= MSG_FACT_MAX_BYTES ? base_strdup(value) : long_cut(value, value);
}

char *facts_long_command(const char *command, uint64_t numbers) {
  char *alike = long_alike(command, numbers);
  bool fits = strlen(alike) <= ALIKE_MAX_BYTES && strlen(command) <= MSG_FACT_MAX_BYTES;
  char *text = fits ? base_strdup(command) : long_cut(command, alike);
  free(alike);
  return text;
}
