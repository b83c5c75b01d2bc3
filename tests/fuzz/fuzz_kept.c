// What the server keeps of names and numbers that workers sent, and reads again. The first byte of an input says what
// the rest is:
//   n: names, a line each: those of a map, found and copied as they were, whatever is shared
//   m: groups and tokens as text: the same after reading and writing; what is made of them is within bounds
//   p: packed numbers: the same after unpacking and packing again
#include "server/map.h"
#include "server/marks.h"
#include "server/names.h"
#include "server/store_impl.h"
#include "tests/fuzz/fuzz.h"

enum { TESTS = 300, NUMBERS_MAX = 5000, NAME_MAX_BYTES = 8192 };

// ---- names

static void check_name(struct names *names, const struct map *map, uint32_t number) {
  static char copy[NAME_MAX_BYTES];
  size_t n = map_length(map, number);
  const char *name = map_name(map, number);
  FUZZ_CHECK(names_length(names, number) == n && names_copy(names, number, copy) == n);
  FUZZ_CHECK(memcmp(copy, name, n) == 0 && names_find(names, name, n) == number);
}

static void read_names(const uint8_t *bytes, size_t n, uint64_t seed) {
  struct names names;
  struct map map;
  names_init(&names, seed);
  map_init(&map, ~seed);
  for (size_t at = 0, part; at < n; at += part + 1) {
    const uint8_t *end = memchr(bytes + at, '\n', n - at);
    bool added, also;
    part = end ? (size_t)(end - bytes) - at : n - at;
    if (part >= NAME_MAX_BYTES) continue;
    if (seed % 3 == 0 && at > n / 2 && names.last) names_trim(&names);  // also in the middle
    uint32_t number = names_add(&names, bytes + at, part, &added);
    FUZZ_CHECK(number == map_add(&map, (const char *)bytes + at, part, &also) && added == also);
  }
  FUZZ_CHECK(names.count == map.count);
  for (int trimmed = 0; trimmed < 2; trimmed++) {
    for (uint32_t i = 0; i < names.count; i++)
      check_name(&names, &map, i);
    names_trim(&names);
  }
  names_release(&names);
  map_release(&map);
}

// ---- groups and tokens

static void use_marks(const struct marks *marks, uint32_t tests) {
  static uint32_t list_file_of[TESTS], file_of[TESTS];
  static uint64_t need[TESTS];
  const char *names[TOKENS_MAX];
  uint32_t tokens = 0;
  bool *whole = NULL;
  memset(need, 0, sizeof need);
  for (uint32_t i = 0; i < tests; i++)
    list_file_of[i] = i % 3 ? i % 7 : UINT32_MAX;
  uint32_t files = marks_scopes(marks, list_file_of, tests, 7, file_of, &whole);
  bool fits = marks_needs(marks, tests, need, names, &tokens);
  FUZZ_CHECK(files >= 7 && files <= 7 + marks->count && tokens <= TOKENS_MAX && (fits || tokens == TOKENS_MAX));
  for (uint32_t i = 0; i < tests; i++) {
    FUZZ_CHECK(file_of[i] == list_file_of[i] || (file_of[i] >= 7 && file_of[i] < files && whole[file_of[i]]));
    FUZZ_CHECK(need[i] == TOKENS_EXCLUSIVE || need[i] >> tokens == 0);
  }
  for (uint32_t i = 0; i < tokens; i++)
    FUZZ_CHECK(names[i] != NULL);
  free(whole);
}

static void read_marks(const uint8_t *bytes, size_t n, uint64_t seed) {
  struct marks marks = {0}, again = {0};
  uint32_t tests = 1 + (uint32_t)(seed % TESTS);
  size_t first_bytes, second_bytes;
  if (memchr(bytes, '\0', n) == NULL && marks_read(&marks, (const char *)bytes, n, tests) == 0) {
    use_marks(&marks, tests);
    char *first = marks_text(&marks, &first_bytes);
    FUZZ_CHECK(marks_read(&again, first, first_bytes, tests) == 0 && again.count == marks.count);
    char *second = marks_text(&again, &second_bytes);
    FUZZ_CHECK(again.tests == marks.tests && first_bytes == second_bytes && memcmp(first, second, first_bytes) == 0);
    free(first);
    free(second);
  }
  marks_release(&marks);
  marks_release(&again);
}

// ---- packed numbers

static void read_packed(const uint8_t *bytes, size_t n) {
  static uint32_t values[NUMBERS_MAX], again[NUMBERS_MAX];
  size_t count = 0, packed_bytes;
  for (size_t i = 0; i < n; i++)
    count += bytes[i] < 0x80;
  if (count > NUMBERS_MAX || store_unpack(bytes, n, values, count) != 0) return;
  unsigned char *packed = store_pack(values, count, &packed_bytes);
  FUZZ_CHECK(packed_bytes <= n && store_unpack(packed, packed_bytes, again, count) == 0);
  FUZZ_CHECK(memcmp(values, again, count * sizeof *values) == 0);
  if (count > 0) FUZZ_CHECK(store_unpack(packed, packed_bytes - 1, again, count) != 0);
  free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  if (n == 0) return 0;
  uint64_t seed = fuzz_hash(FUZZ_HASH_START, bytes, n);
  if (bytes[0] == 'n') read_names(bytes + 1, n - 1, seed);
  if (bytes[0] == 'm') read_marks(bytes + 1, n - 1, seed);
  if (bytes[0] == 'p') read_packed(bytes + 1, n - 1);
  return 0;
}
