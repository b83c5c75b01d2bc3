// A disk in memory with a volatile cache, as SQLite's default file system (VFS): a write stays in the cache until the
// file is synced, and when the power is cut, each unsynced write is kept, lost, torn between sectors of 512 bytes or
// turned to garbage, by chance. Files, locks and the shared index of the log are complete enough for WAL mode with
// several connections of one process; one thread at a time.
#ifndef TESTS_CHAOS_CUTDISK_H
#define TESTS_CHAOS_CUTDISK_H

#include <stdbool.h>
#include <stdint.h>

struct cutdisk;

// An empty disk, freed by cutdisk_free (NULL is legal).
struct cutdisk *cutdisk_new(uint64_t seed);
void cutdisk_free(struct cutdisk *disk);

// SQLite's files are on this disk from now on. Connections to another one must be closed.
void cutdisk_mount(struct cutdisk *disk);

// The power is cut in the middle of the `at`th change from now (write, truncation, sync or removal; from 1): on_cut is
// called there, and cutdisk_left will give what the cut left. The disk itself goes on as if nothing had happened, so
// that whoever uses it can end in order.
void cutdisk_plan(struct cutdisk *disk, uint64_t at, void (*on_cut)(void *arg), void *arg);
uint64_t cutdisk_changes(const struct cutdisk *disk);  // since cutdisk_plan
// What was left, the caller's to free: of the planned cut, or of one at this moment when that has not come.
struct cutdisk *cutdisk_left(struct cutdisk *disk);

// For the control: all connections opened from now on run with this `synchronous` ("NORMAL", "OFF"), whatever their
// owner says. NULL: the owner decides.
void cutdisk_weaken(const char *synchronous);

#endif
