// Interned names: a hash over one arena of bytes. Used for the files of a build. It must not know what a name stands
// for, and it never forgets one: the whole map goes with its build.
#include "server/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MAP_FIRST_SLOTS = 16 };

// Multiply and fold, eight bytes a step: the construction of the wyhash family. Quality matters more than strength
// here; the seed is what an attacker does not know.
static uint64_t map_fold(uint64_t a, uint64_t b) {
  __uint128_t product = (__uint128_t)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t map_hash(uint64_t seed, const void *name, size_t n) {
  uint64_t hash = seed ^ (n * UINT64_C(0x9e3779b97f4a7c15));
  uint64_t word;
  const char *at = name;
  for (; n >= sizeof word; at += sizeof word, n -= sizeof word) {
    memcpy(&word, at, sizeof word);
    hash = map_fold(hash ^ word, UINT64_C(0xa0761d6478bd642f));
  }
  word = 0;
  if (n > 0) memcpy(&word, at, n);  // an empty name may be no place at all
  return map_fold(hash ^ word, UINT64_C(0xe7037ed1a0b428db));
}

void map_init(struct map *map, uint64_t seed) {
  *map = (struct map){.seed = seed};
  map->slot = base_calloc(MAP_FIRST_SLOTS, sizeof *map->slot);
  map->slot_mask = MAP_FIRST_SLOTS - 1;
  map->offset = base_calloc(1, sizeof *map->offset);
  map->room = 1;
}

void map_release(struct map *map) {
  free(map->arena);
  free(map->offset);
  free(map->slot);
  *map = (struct map){0};
}

const char *map_name(const struct map *map, uint32_t number) {
  assert(number < map->count);
  return map->arena + map->offset[number];
}

size_t map_length(const struct map *map, uint32_t number) {
  assert(number < map->count);
  return map->offset[number + 1] - map->offset[number] - 1;
}

// The slot of a name, or the empty slot where it belongs.
static uint32_t map_slot(const struct map *map, const char *name, size_t n) {
  uint32_t at = (uint32_t)map_hash(map->seed, name, n) & map->slot_mask;
  while (map->slot[at]) {
    uint32_t number = map->slot[at] - 1;
    if (map_length(map, number) == n && (n == 0 || memcmp(map_name(map, number), name, n) == 0)) break;
    at = (at + 1) & map->slot_mask;
  }
  return at;
}

static void map_grow_slots(struct map *map) {
  if ((uint64_t)map->count * 4 < ((uint64_t)map->slot_mask + 1) * 3) return;
  uint32_t slots = (map->slot_mask + 1) * 2;
  free(map->slot);
  map->slot = base_calloc(slots, sizeof *map->slot);
  map->slot_mask = slots - 1;
  for (uint32_t i = 0; i < map->count; i++) {
    map->slot[map_slot(map, map_name(map, i), map_length(map, i))] = i + 1;
  }
}

static void map_grow_names(struct map *map, size_t n) {
  if (map->arena_bytes + n + 1 > map->arena_room) {
    map->arena_room = (map->arena_room + n + 64) * 3 / 2;
    map->arena = base_realloc(map->arena, map->arena_room, 1);
  }
  if (map->count + 2 > map->room) {
    map->room = (map->room + 8) * 3 / 2;
    map->offset = base_realloc(map->offset, map->room, sizeof *map->offset);
  }
}

uint32_t map_find(const struct map *map, const void *name, size_t n) {
  uint32_t at = map_slot(map, name, n);
  return map->slot[at] ? map->slot[at] - 1 : (uint32_t)MAP_NONE;
}

uint32_t map_add(struct map *map, const void *name, size_t n, bool *added) {
  *added = false;
  uint32_t at = map_slot(map, name, n);
  if (map->slot[at]) return map->slot[at] - 1;
  if (map->arena_bytes + n + 1 > MAP_ARENA_MAX) return MAP_NONE;
  map_grow_names(map, n);
  if (n) memcpy(map->arena + map->arena_bytes, name, n);
  map->arena[map->arena_bytes + n] = '\0';
  map->offset[map->count] = (uint32_t)map->arena_bytes;
  map->arena_bytes += n + 1;
  map->offset[map->count + 1] = (uint32_t)map->arena_bytes;
  map->slot[at] = ++map->count;
  map_grow_slots(map);
  *added = true;
  return map->count - 1;
}

void map_trim(struct map *map) {
  if (!map->count) return;
  map->arena = base_realloc(map->arena, map->arena_bytes, 1);
  map->arena_room = map->arena_bytes;
  map->offset = base_realloc(map->offset, map->count + 1, sizeof *map->offset);
  map->room = map->count + 1;
}
