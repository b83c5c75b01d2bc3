// Memory for libevent and libcrypto. Called by both mains. An event that could not be made would else be added all the
// same, and libcrypto's own start goes through a null pointer. The end is at once, without what exit() runs: libcrypto
// would wait there for a lock that it holds here. libevent also ends a program by itself, with 1, which of a worker
// says that tests failed. Must not know what the libraries are used for.
#include "config/memory.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/base.h"

static void *checked(void *memory) {
  static const char text[] = "out of memory, in a library\n";
  if (memory != NULL) return memory;
  if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(EXIT_INFRA);
  _exit(EXIT_INFRA);
}

static void *on_malloc(size_t bytes) {
  return checked(malloc(bytes > 0 ? bytes : 1));
}

static void *on_realloc(void *old, size_t bytes) {
  return checked(realloc(old, bytes > 0 ? bytes : 1));
}

static void *on_crypto_malloc(size_t bytes, const char *file, int line) {
  (void)file, (void)line;
  return on_malloc(bytes);
}

static void *on_crypto_realloc(void *old, size_t bytes, const char *file, int line) {
  (void)file, (void)line;
  return on_realloc(old, bytes);
}

static void on_crypto_free(void *old, const char *file, int line) {
  (void)file, (void)line;
  free(old);
}

static void on_fatal(int code) {
  (void)code;  // what is wrong was said
  exit(EXIT_INFRA);
}

void memory_never_fails(void) {
  event_set_fatal_callback(on_fatal);
  event_set_mem_functions(on_malloc, on_realloc, free);
  (void)CRYPTO_set_mem_functions(on_crypto_malloc, on_crypto_realloc,
                                 on_crypto_free);  // it says no when it is too late
}
