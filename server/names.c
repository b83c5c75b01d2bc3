// Names that begin alike, kept as an earlier one's beginning and a rest. Called by listing.c, build.c and by those who
// name a test to somebody. It must not know what a name stands for, and it never forgets one.
//
// An entry is either whole: a byte 0, the name; or shared: how many bytes it has in common with the base (1 … 127, and
// 128 if that is far), how many entries back that stands (a byte, two little-endian ones if far), the rest. A base is
// always whole, so that any name is put together from two pieces. A name becomes the new base when those since the last
// one would have saved more, taken together, by following each other than a whole entry costs.
#include "server/names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/map.h"

enum {
  NAMES_FIRST_SLOTS = 16,
  NAMES_NUMBER_BITS = 20,
  NAMES_SHARED_LEAST = 8,  // fewer bytes in common are not worth it
  NAMES_SHARED_MOST = 127,
  NAMES_FAR = 128,
  NAMES_NEAR_MOST = 255,
  NAMES_BACK_MOST = 65535,
};

static const uint32_t number_mask = (1u << NAMES_NUMBER_BITS) - 1;
_Static_assert(NAMES_MAX < (1 << NAMES_NUMBER_BITS) - 1, "a slot must hold the number + 1");

static void names_set_slots(struct names *names, uint32_t slots);

// A name in two pieces.
struct names_view {
  const char *start, *rest;
  size_t start_bytes, rest_bytes;
};

static struct names_view names_view(const struct names *names, uint32_t number) {
  assert(number < names->count);
  const char *entry = names->arena + names->offset[number];
  size_t bytes = names->offset[number + 1] - names->offset[number];
  unsigned first = (unsigned char)entry[0];
  if (first == 0) return (struct names_view){.start = entry + 1, .start_bytes = bytes - 1, .rest = entry + bytes};
  size_t head = first & NAMES_FAR ? 3 : 2;
  uint32_t back = (unsigned char)entry[1] | (first & NAMES_FAR ? (uint32_t)(unsigned char)entry[2] << 8 : 0);
  assert(back > 0 && back <= number && bytes >= head);
  return (struct names_view){.start = names->arena + names->offset[number - back] + 1,
                             .start_bytes = first & ~(unsigned)NAMES_FAR,
                             .rest = entry + head,
                             .rest_bytes = bytes - head};
}

void names_init(struct names *names, uint64_t seed) {
  *names = (struct names){.seed = seed, .slot_mask = NAMES_FIRST_SLOTS - 1, .base = NAMES_NONE, .room = 1};
  names->slot = base_calloc(NAMES_FIRST_SLOTS, sizeof *names->slot);
  names->offset = base_calloc(1, sizeof *names->offset);
}

void names_release(struct names *names) {
  free(names->arena);
  free(names->offset);
  free(names->slot);
  free(names->last);
  *names = (struct names){0};
}

size_t names_length(const struct names *names, uint32_t number) {
  struct names_view view = names_view(names, number);
  return view.start_bytes + view.rest_bytes;
}

size_t names_copy(const struct names *names, uint32_t number, char *out) {
  struct names_view view = names_view(names, number);
  if (view.start_bytes) memcpy(out, view.start, view.start_bytes);
  if (view.rest_bytes) memcpy(out + view.start_bytes, view.rest, view.rest_bytes);
  return view.start_bytes + view.rest_bytes;
}

// ---- finding

static bool names_equal(const struct names *names, uint32_t number, const char *name, size_t n) {
  struct names_view view = names_view(names, number);
  if (n == 0 || view.start_bytes + view.rest_bytes != n) return view.start_bytes + view.rest_bytes == n;
  return (view.start_bytes == 0 || memcmp(view.start, name, view.start_bytes) == 0) &&
         (view.rest_bytes == 0 || memcmp(view.rest, name + view.start_bytes, view.rest_bytes) == 0);
}

static uint32_t names_tag(uint64_t hash) {
  return (uint32_t)(hash >> 32) & ~number_mask;
}

// The slot of a name, or the empty slot where it belongs. The bits of the hash in a slot keep almost every other name
// from being looked at.
static uint32_t names_slot(const struct names *names, uint64_t hash, const char *name, size_t n) {
  uint32_t at = (uint32_t)hash & names->slot_mask, tag = names_tag(hash);
  for (; names->slot[at]; at = (at + 1) & names->slot_mask) {
    if ((names->slot[at] & ~number_mask) != tag) continue;
    if (names_equal(names, (names->slot[at] & number_mask) - 1, name, n)) break;
  }
  return at;
}

static void names_index(struct names *names) {
  if (!names->slot) names_set_slots(names, names->slot_mask + 1);
}

uint32_t names_find(struct names *names, const void *name, size_t n) {
  names_index(names);
  uint32_t at = names_slot(names, map_hash(names->seed, name, n), name, n);
  return names->slot[at] ? (names->slot[at] & number_mask) - 1 : (uint32_t)NAMES_NONE;
}

// ---- adding

static void names_set_slots(struct names *names, uint32_t slots) {
  free(names->slot);
  names->slot = base_calloc(slots, sizeof *names->slot);
  names->slot_mask = slots - 1;
  char *name = base_malloc(names->longest + 1);
  for (uint32_t i = 0; i < names->count; i++) {
    size_t n = names_copy(names, i, name);
    uint64_t hash = map_hash(names->seed, name, n);
    uint32_t at = (uint32_t)hash & names->slot_mask;
    while (names->slot[at])
      at = (at + 1) & names->slot_mask;
    names->slot[at] = names_tag(hash) | (i + 1);
  }
  free(name);
}

static bool names_fit(uint32_t count, uint64_t slots) {
  return (uint64_t)count * 4 < slots * 3;
}

static void names_grow_slots(struct names *names) {
  if (!names_fit(names->count, (uint64_t)names->slot_mask + 1)) names_set_slots(names, (names->slot_mask + 1) * 2);
}

void names_reserve(struct names *names, uint32_t count) {
  uint32_t slots = names->slot_mask + 1;
  assert(count <= NAMES_MAX);
  while (!names_fit(count, slots))
    slots *= 2;
  if (!names->slot || slots > names->slot_mask + 1) names_set_slots(names, slots);
}

static void names_grow(struct names *names, size_t n) {
  if (names->arena_bytes + n + 1 > names->arena_room) {
    names->arena_room = (names->arena_room + n + 64) * 3 / 2;
    names->arena = base_realloc(names->arena, names->arena_room, 1);
  }
  if (names->count + 2 > names->room) {
    names->room = (names->room + 8) * 3 / 2;
    names->offset = base_realloc(names->offset, names->room, sizeof *names->offset);
  }
}

// Bytes at the beginning of both, at most NAMES_SHARED_MOST; eight at a time while they agree.
static size_t names_common(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
  size_t n = 0, most = a_bytes < b_bytes ? a_bytes : b_bytes;
  if (most > NAMES_SHARED_MOST) most = NAMES_SHARED_MOST;
  for (uint64_t x, y; n + sizeof x <= most; n += sizeof x) {
    memcpy(&x, a + n, sizeof x);
    memcpy(&y, b + n, sizeof y);
    if (x != y) break;
  }
  while (n < most && a[n] == b[n])
    n++;
  return n;
}

// How many bytes the name shares with the base; 0: it is to be a base itself.
static size_t names_shared(struct names *names, const char *name, size_t n) {
  if (names->base == NAMES_NONE || names->count - names->base > NAMES_BACK_MOST) return 0;
  struct names_view base = names_view(names, names->base);
  size_t shared = names_common(base.start, base.start_bytes, name, n);
  size_t nearer = names_common(names->last, names->last_bytes, name, n);
  if (nearer > shared) names->drift += nearer - shared;
  return shared < NAMES_SHARED_LEAST || names->drift > shared ? 0 : shared;
}

static void names_put(struct names *names, const char *name, size_t n, size_t shared) {
  char *entry = names->arena + names->arena_bytes;
  uint32_t back = names->count - names->base;
  bool far = back > NAMES_NEAR_MOST;
  size_t head = !shared ? 1 : far ? 3 : 2;
  entry[0] = (char)(unsigned char)(shared | (shared && far ? NAMES_FAR : 0));
  if (shared) {
    entry[1] = (char)(unsigned char)(back & 0xff);
    if (far) entry[2] = (char)(unsigned char)(back >> 8);
  } else {
    names->base = names->count;
    names->drift = 0;
  }
  if (n > shared) memcpy(entry + head, name + shared, n - shared);
  names->offset[names->count] = (uint32_t)names->arena_bytes;
  names->arena_bytes += head + n - shared;
  names->offset[++names->count] = (uint32_t)names->arena_bytes;
  names->name_bytes += n;
  if (n > names->longest) names->longest = n;
}

static void names_remember(struct names *names, const char *name, size_t n) {
  if (n > names->last_room) {
    names->last_room = n;
    names->last = base_realloc(names->last, n, 1);
  }
  if (n) memcpy(names->last, name, n);
  names->last_bytes = n;
}

uint32_t names_add(struct names *names, const void *name, size_t n, bool *added) {
  *added = false;
  names_index(names);
  uint64_t hash = map_hash(names->seed, name, n);
  uint32_t at = names_slot(names, hash, name, n);
  if (names->slot[at]) return (names->slot[at] & number_mask) - 1;
  if (names->count >= NAMES_MAX || n >= NAMES_BYTES_MAX - names->arena_bytes) return NAMES_NONE;
  names_grow(names, n);
  names_put(names, name, n, names_shared(names, name, n));
  names_remember(names, name, n);
  names->slot[at] = names_tag(hash) | names->count;
  names_grow_slots(names);
  *added = true;
  return names->count - 1;
}

void names_trim(struct names *names) {
  free(names->last);
  names->last = NULL;
  names->last_bytes = names->last_room = 0;
  names->base = NAMES_NONE;
  free(names->slot);
  names->slot = NULL;
  if (!names->count) return;
  names->arena = base_realloc(names->arena, names->arena_bytes, 1);
  names->arena_room = names->arena_bytes;
  names->offset = base_realloc(names->offset, names->count + 1, sizeof *names->offset);
  names->room = names->count + 1;
}
