// Names to numbers: every distinct byte string added gets the next number, from 0; the bytes live in one arena. Pure.
// Holds the file names of a build.
#ifndef SERVER_MAP_H
#define SERVER_MAP_H

#include "config/base.h"

struct map {
  char *arena;  // names, each with a NUL behind it
  size_t arena_bytes, arena_room;
  uint32_t *offset;  // offset[i]: where name i begins; offset[count] is where the next will
  uint32_t count, room;
  uint32_t *slot;  // open addressing; number + 1, 0: empty
  uint32_t slot_mask;
  uint64_t seed;  // keeps chosen names from colliding on purpose
};

enum { MAP_NONE = UINT32_MAX, MAP_ARENA_MAX = UINT32_MAX };

void map_init(struct map *map, uint64_t seed);
void map_release(struct map *map);
// The number of the name, added if it is new (*added says so). MAP_NONE when the arena is at its bound of 4 GiB.
uint32_t map_add(struct map *map, const void *name, size_t n, bool *added);
uint32_t map_find(const struct map *map, const void *name, size_t n);  // MAP_NONE: not there
const char *map_name(const struct map *map, uint32_t number);          // NUL-terminated
size_t map_length(const struct map *map, uint32_t number);
// Gives back memory kept for growth: call when the last name was added.
void map_trim(struct map *map);
// A hash of bytes for tables like this one; the seed is what an attacker does not know.
uint64_t map_hash(uint64_t seed, const void *name, size_t n);

#endif
