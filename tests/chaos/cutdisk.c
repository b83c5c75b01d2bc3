// Files of the disk of cutdisk.h, and what a power cut leaves of them. A file has two contents: what readers see, and
// what is safe; between them stand the changes since its last sync. New names and removals are safe when the folder is
// synced, as SQLite does with the first sync of a new journal or log. Knows nothing of SQLite.
#include "tests/chaos/cutdisk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "config/base.h"
#include "tests/chaos/cutdisk_impl.h"

enum fate { FATE_ALL, FATE_NONE, FATE_PREFIX, FATE_SOME, FATE_TORN, FATE_GARBAGE, FATE_COUNT };

static void count(struct cutdisk *disk);
static void sync_folder(struct cutdisk *disk);
static struct cutdisk *cut(struct cutdisk *disk);
static void survive(struct cutdisk *disk, const struct cutinode *from, struct cutdisk *to, const char *name);
static void apply(struct cutbytes *to, const struct cutchange *change);
static void apply_torn(struct rng *rng, struct cutbytes *to, const struct cutchange *change, bool garbage);
static void put(struct cutbytes *to, const void *bytes, size_t n, size_t at);
static void resize(struct cutbytes *to, size_t n);
static struct cutinode *inode_new(void);
static void inode_free(struct cutinode *inode);
static void forget_changes(struct cutinode *inode);

struct cutdisk *cutdisk_new(uint64_t seed) {
  struct cutdisk *disk = base_calloc(1, sizeof *disk);
  disk->rng.state = seed;
  return disk;
}

void cutdisk_free(struct cutdisk *disk) {
  if (disk == NULL) return;
  for (struct cutnode *node = disk->nodes, *next; node != NULL; node = next) {
    next = node->next;
    assert(node->mapped == 0 && node->readers == 0);
    inode_free(node->inode);
    inode_free(node->before);
    free(node->name);
    free(node);
  }
  cutdisk_free(disk->left);
  free(disk);
}

void cutdisk_plan(struct cutdisk *disk, uint64_t at, void (*on_cut)(void *arg), void *arg) {
  assert(disk->left == NULL && at > 0);
  disk->changes = 0;
  disk->cut_at = at;
  disk->on_cut = on_cut;
  disk->arg = arg;
}

uint64_t cutdisk_changes(const struct cutdisk *disk) {
  return disk->changes;
}

struct cutdisk *cutdisk_left(struct cutdisk *disk) {
  struct cutdisk *left = disk->left ? disk->left : cut(disk);
  disk->left = NULL;
  return left;
}

struct cutnode *cutdisk_find(struct cutdisk *disk, const char *name, bool create) {
  struct cutnode *node = disk->nodes;
  while (node != NULL && strcmp(node->name, name) != 0)
    node = node->next;
  if (node != NULL || !create) return node;
  node = base_calloc(1, sizeof *node);
  node->name = base_strdup(name);
  node->next = disk->nodes;
  return disk->nodes = node;
}

void cutdisk_create(struct cutnode *node, bool syncs_folder) {
  assert(node->inode == NULL);
  node->inode = inode_new();
  node->inode->syncs_folder = syncs_folder;
}

void cutdisk_write(struct cutdisk *disk, struct cutinode *inode, const void *bytes, size_t n, size_t at) {
  struct cutchange *change = base_calloc(1, sizeof *change);
  *change = (struct cutchange){.at = at, .n = n, .bytes = base_malloc(n + 1)};
  memcpy(change->bytes, bytes, n);
  *inode->last = change;
  inode->last = &change->next;
  put(&inode->seen, bytes, n, at);
  count(disk);
}

void cutdisk_truncate(struct cutdisk *disk, struct cutinode *inode, size_t size) {
  struct cutchange *change = base_calloc(1, sizeof *change);
  change->at = size;
  *inode->last = change;
  inode->last = &change->next;
  resize(&inode->seen, size);
  count(disk);
}

// A cut in the middle of a sync finds its changes still unsafe.
void cutdisk_sync(struct cutdisk *disk, struct cutinode *inode) {
  count(disk);
  for (struct cutchange *change = inode->first; change != NULL; change = change->next)
    apply(&inode->safe, change);
  forget_changes(inode);
  if (!inode->syncs_folder) return;
  inode->syncs_folder = false;
  sync_folder(disk);
}

void cutdisk_remove(struct cutdisk *disk, struct cutnode *node, bool synced) {
  assert(node->inode != NULL);
  count(disk);
  if (node->before != NULL || !node->inode->made) {
    inode_free(node->inode);
  } else {
    node->before = node->inode;
  }
  node->inode = NULL;
  if (synced) sync_folder(disk);
}

static void sync_folder(struct cutdisk *disk) {
  for (struct cutnode *node = disk->nodes; node != NULL; node = node->next) {
    inode_free(node->before);
    node->before = NULL;
    if (node->inode != NULL) node->inode->made = true;
  }
}

static void count(struct cutdisk *disk) {
  disk->changes++;
  if (disk->cut_at == 0 || disk->changes != disk->cut_at) return;
  disk->left = cut(disk);
  disk->on_cut(disk->arg);
}

static struct cutdisk *cut(struct cutdisk *disk) {
  struct cutdisk *left = cutdisk_new(rng_next(&disk->rng));
  for (const struct cutnode *node = disk->nodes; node != NULL; node = node->next) {
    bool back = node->before != NULL && rng_one_in(&disk->rng, 2);
    if (back)
      survive(disk, node->before, left, node->name);
    else if (node->inode != NULL && (node->inode->made || rng_one_in(&disk->rng, 2)))
      survive(disk, node->inode, left, node->name);
  }
  return left;
}

static void survive(struct cutdisk *disk, const struct cutinode *from, struct cutdisk *to, const char *name) {
  struct rng *rng = &disk->rng;
  enum fate fate = (enum fate)rng_below(rng, FATE_COUNT);
  struct cutinode *inode = inode_new();
  put(&inode->safe, from->safe.bytes, from->safe.n, 0);
  for (const struct cutchange *change = from->first; change != NULL && fate != FATE_NONE; change = change->next) {
    if (fate == FATE_PREFIX && rng_one_in(rng, 4)) break;
    if (fate == FATE_SOME && rng_one_in(rng, 2)) continue;
    if (fate >= FATE_TORN && change->bytes != NULL)
      apply_torn(rng, &inode->safe, change, fate == FATE_GARBAGE);
    else
      apply(&inode->safe, change);
  }
  put(&inode->seen, inode->safe.bytes, inode->safe.n, 0);
  inode->made = true;
  cutdisk_find(to, name, true)->inode = inode;
}

static void apply(struct cutbytes *to, const struct cutchange *change) {
  if (change->bytes == NULL)
    resize(to, change->at);
  else
    put(to, change->bytes, change->n, change->at);
}

// Each sector of the write for itself: new, old, or (garbage) neither.
static void apply_torn(struct rng *rng, struct cutbytes *to, const struct cutchange *change, bool garbage) {
  for (size_t done = 0, n; done < change->n; done += n) {
    size_t at = change->at + done, rest = change->n - done;
    n = CUTDISK_SECTOR - at % CUTDISK_SECTOR;
    if (n > rest) n = rest;
    uint32_t how = rng_below(rng, garbage ? 3 : 2);
    unsigned char noise[CUTDISK_SECTOR];
    memset(noise, (int)rng_below(rng, 256), sizeof noise);
    if (how == 1) put(to, change->bytes + done, n, at);
    if (how == 2) put(to, noise, n, at);
  }
}

static void put(struct cutbytes *to, const void *bytes, size_t n, size_t at) {
  if (n == 0) return;
  if (at + n > to->n) resize(to, at + n);
  memcpy(to->bytes + at, bytes, n);
}

static void resize(struct cutbytes *to, size_t n) {
  if (n > to->room) {
    to->room = n * 2 > 8192 ? n * 2 : 8192;
    to->bytes = base_realloc(to->bytes, 1, to->room);
  }
  if (n > to->n) memset(to->bytes + to->n, 0, n - to->n);
  to->n = n;
}

static struct cutinode *inode_new(void) {
  struct cutinode *inode = base_calloc(1, sizeof *inode);
  inode->last = &inode->first;
  return inode;
}

static void inode_free(struct cutinode *inode) {
  if (inode == NULL) return;
  forget_changes(inode);
  free(inode->safe.bytes);
  free(inode->seen.bytes);
  free(inode);
}

static void forget_changes(struct cutinode *inode) {
  for (struct cutchange *change = inode->first, *next; change != NULL; change = next) {
    next = change->next;
    free(change->bytes);
    free(change);
  }
  inode->first = NULL;
  inode->last = &inode->first;
}
