// The ids of a build's tests, small: each distinct one added gets the next number, from 0. Ids of neighbours begin
// alike, so that most are kept as what they share with an earlier one, and the rest. Pure. Used for a list while it is
// uploaded and for that of a build.
#ifndef SERVER_NAMES_H
#define SERVER_NAMES_H

#include "config/base.h"

struct names {
  char *arena;  // entries, see names.c
  size_t arena_bytes, arena_room;
  uint32_t *offset;  // offset[i]: where entry i begins; offset[count] is where the next will
  uint32_t count, room;
  uint32_t *slot;  // open addressing: some bits of the hash above the number + 1; 0: empty. NULL after names_trim
  uint32_t slot_mask;
  uint64_t seed;        // keeps chosen names from colliding on purpose
  uint64_t name_bytes;  // of all names as they were given
  size_t longest;       // of them
  // While names are added: the whole entry that the next ones are compared with, the last name, and how many bytes
  // they shared with the last name but not with that entry.
  uint32_t base;
  char *last;
  size_t last_bytes, last_room, drift;
};

enum { NAMES_NONE = UINT32_MAX, NAMES_MAX = (1 << 20) - 2, NAMES_BYTES_MAX = 1 << 30 };

void names_init(struct names *names, uint64_t seed);
void names_release(struct names *names);
// Makes room for this many names at once, where their number is known before.
void names_reserve(struct names *names, uint32_t count);
// The number of the name, added if it is new (*added says so). NAMES_NONE when NAMES_MAX names or NAMES_BYTES_MAX bytes
// are there.
uint32_t names_add(struct names *names, const void *name, size_t n, bool *added);
uint32_t names_find(struct names *names, const void *name, size_t n);  // NAMES_NONE: not there
size_t names_length(const struct names *names, uint32_t number);
// Writes the name's names_length bytes, no NUL behind them; returns their number.
size_t names_copy(const struct names *names, uint32_t number, char *out);
// Gives back memory kept for growth and for finding names: call when the last name was added. What is added or looked
// for later makes the hash again.
void names_trim(struct names *names);

#endif
