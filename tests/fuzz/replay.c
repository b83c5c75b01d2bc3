// Feeds a fuzz target from files, without libFuzzer: each file as it is, then mutated by chance, the same way each
// time.
//
//     fuzz_NAME [--mutations N] FILE|FOLDER…
//
// Called by tests/fuzz/test_fuzz.py. Prints how many inputs were fed; a finding ends the program with its input named.
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX_BYTES = 1 << 20, PATH_BYTES = 512 };

static uint64_t state, fed;
static char current[PATH_BYTES + 64];  // what is said of a finding
static size_t current_bytes;

static uint32_t below(uint32_t n) {
  state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
  return (uint32_t)(state >> 33) % n;
}

// Another input of the same length or less, or with a piece of it doubled.
static size_t mutate(uint8_t *bytes, size_t n, size_t room) {
  for (uint32_t times = 1 + below(4); times > 0 && n > 0; times--) {
    uint32_t at = below((uint32_t)n), length = 1 + below(8);
    if (length > n - at) length = (uint32_t)n - at;
    switch (below(5)) {
      case 0: bytes[at] = (uint8_t)below(256); break;
      case 1: bytes[at] ^= (uint8_t)(1U << below(8)); break;
      case 2: n = at; break;
      case 3:
        memmove(bytes + at, bytes + at + length, n - at - length);
        n -= length;
        break;
      default:
        if (n + length > room) break;
        memmove(bytes + at + length, bytes + at, n - at);
        n += length;
    }
  }
  return n;
}

static void feed(const uint8_t *bytes, size_t n) {
  uint8_t *exact = malloc(n ? n : 1);  // so that a sanitizer sees the first byte behind it
  FUZZ_CHECK(exact != NULL);
  memcpy(exact, bytes, n);
  (void)LLVMFuzzerTestOneInput(exact, n);
  free(exact);
  fed++;
}

static void feed_file(const char *path, uint32_t mutations) {
  static uint8_t original[INPUT_MAX_BYTES], bytes[INPUT_MAX_BYTES];
  FILE *file = fopen(path, "re");
  FUZZ_CHECK(file != NULL);
  size_t n = fread(original, 1, sizeof original, file);
  (void)fclose(file);
  state = fuzz_hash(FUZZ_HASH_START, original, n);
  for (uint32_t i = 0; i <= mutations; i++) {
    memcpy(bytes, original, n);
    size_t length = i > 0 ? mutate(bytes, n, sizeof bytes) : n;
    int said = snprintf(current, sizeof current, "replay: found by %s, mutation %u\n", path, i);
    current_bytes = said < (int)sizeof current ? (size_t)said : sizeof current - 1;
    feed(bytes, length);
  }
}

static void feed_path(const char *path, uint32_t mutations) {
  struct dirent **entries;
  int count = scandir(path, &entries, NULL, alphasort);
  if (count < 0) {
    feed_file(path, mutations);
    return;
  }
  for (int i = 0; i < count; i++) {
    char below_it[PATH_BYTES];
    int n = snprintf(below_it, sizeof below_it, "%s/%s", path, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.' && n < (int)sizeof below_it) feed_file(below_it, mutations);
    free(entries[i]);
  }
  free(entries);
}

static void on_abort(int signo) {
  (void)signo;
  if (write(STDOUT_FILENO, current, current_bytes) < 0) _exit(98);
  _exit(99);
}

int main(int argc, char **argv) {
  uint32_t mutations = 0;
  int first = 1, out = dup(STDOUT_FILENO);
  if (argc > 2 && strcmp(argv[1], "--mutations") == 0) {
    mutations = (uint32_t)strtoul(argv[2], NULL, 10);
    first = 3;
  }
  (void)signal(SIGABRT, on_abort);
  for (int i = first; i < argc; i++)
    feed_path(argv[i], mutations);
  (void)dprintf(out, "replay: %llu inputs\n", (unsigned long long)fed);
  return fed > 0 ? 0 : 1;
}
