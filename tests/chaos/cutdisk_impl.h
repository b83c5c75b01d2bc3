// Inside of the disk of cutdisk.h, shared by cutdisk.c (files and power cuts) and cutdisk_vfs.c (what SQLite calls).
#ifndef TESTS_CHAOS_CUTDISK_IMPL_H
#define TESTS_CHAOS_CUTDISK_IMPL_H

#include <sqlite3.h>
#include <stddef.h>

#include "tests/chaos/cutdisk.h"
#include "tests/chaos/rng.h"

enum { CUTDISK_SHM_LOCKS = SQLITE_SHM_NLOCK, CUTDISK_SECTOR = 512 };

struct cutbytes {
  unsigned char *bytes;
  size_t n, room;
};

// A change that is not on the plates yet.
struct cutchange {
  struct cutchange *next;
  size_t at, n;          // truncation: to `at` bytes
  unsigned char *bytes;  // NULL: truncation
};

struct cutinode {
  struct cutbytes safe;  // what a cut cannot take
  struct cutbytes seen;  // what readers see
  bool made;             // its name survives a cut
  bool syncs_folder;     // its next sync syncs the folder
  struct cutchange *first, **last;
};

struct cutnode {  // a name
  struct cutnode *next;
  char *name;
  struct cutinode *inode;   // NULL: removed
  struct cutinode *before;  // removed, but a cut may bring it back
  unsigned readers;         // holders of SHARED or more
  const void *writer;       // holder of RESERVED or more
  bool pending;             // which wants or has EXCLUSIVE
  unsigned char **region;   // the log's shared index
  int region_count, region_bytes;
  unsigned mapped;
  int shm_lock[CUTDISK_SHM_LOCKS];  // > 0: sharers, -1: one owner
};

struct cutdisk {
  struct cutnode *nodes;
  struct rng rng;
  uint64_t changes, cut_at;
  void (*on_cut)(void *arg);
  void *arg;
  struct cutdisk *left;
};

struct cutnode *cutdisk_find(struct cutdisk *disk, const char *name, bool create);
void cutdisk_write(struct cutdisk *disk, struct cutinode *inode, const void *bytes, size_t n, size_t at);
void cutdisk_truncate(struct cutdisk *disk, struct cutinode *inode, size_t size);
void cutdisk_sync(struct cutdisk *disk, struct cutinode *inode);
void cutdisk_remove(struct cutdisk *disk, struct cutnode *node, bool synced);
void cutdisk_create(struct cutnode *node, bool syncs_folder);

#endif
