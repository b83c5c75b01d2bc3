// What SQLite calls of the disk of cutdisk.h: a VFS that is registered as the default at the first mount. Promises what
// the VFS for Unix promises by default: writes damage only the bytes they cover (POWERSAFE_OVERWRITE), nothing else.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/base.h"
#include "tests/chaos/cutdisk_impl.h"

enum { PATH_BYTES = 512, SECTOR_SIZE = 4096 };

struct cutfile {
  sqlite3_file base;
  struct cutnode *node;
  struct cutinode *inode;
  int level;        // SQLITE_LOCK_*
  unsigned shared;  // bits of shm locks
  unsigned owned;
  bool mapped;
};

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out);

static struct cutdisk *mounted;
static const char *weak;
static bool weakening;

static int on_close(sqlite3_file *base) {
  (void)base;
  return SQLITE_OK;
}

static int on_read(sqlite3_file *base, void *to, int n, sqlite3_int64 at) {
  const struct cutbytes *seen = &((struct cutfile *)base)->inode->seen;
  size_t start = (size_t)at, want = (size_t)n, have = start < seen->n ? seen->n - start : 0;
  if (have > want) have = want;
  if (have > 0) memcpy(to, seen->bytes + start, have);
  memset((char *)to + have, 0, want - have);
  return have == want ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int on_write(sqlite3_file *base, const void *from, int n, sqlite3_int64 at) {
  cutdisk_write(mounted, ((struct cutfile *)base)->inode, from, (size_t)n, (size_t)at);
  return SQLITE_OK;
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 size) {
  cutdisk_truncate(mounted, ((struct cutfile *)base)->inode, (size_t)size);
  return SQLITE_OK;
}

static int on_sync(sqlite3_file *base, int flags) {
  struct cutfile *file = (struct cutfile *)base;
  (void)flags;
  cutdisk_sync(mounted, file->inode);
  return SQLITE_OK;
}

static int on_size(sqlite3_file *base, sqlite3_int64 *size) {
  *size = (sqlite3_int64)((struct cutfile *)base)->inode->seen.n;
  return SQLITE_OK;
}

static int on_lock(sqlite3_file *base, int level) {
  struct cutfile *file = (struct cutfile *)base;
  struct cutnode *node = file->node;
  if (file->level >= level) return SQLITE_OK;
  if (level == SQLITE_LOCK_SHARED) {
    if (node->pending) return SQLITE_BUSY;
    node->readers++;
  } else {
    if (node->writer != NULL && node->writer != file) return SQLITE_BUSY;
    node->writer = file;
    node->pending = level > SQLITE_LOCK_RESERVED;
    if (level == SQLITE_LOCK_EXCLUSIVE && node->readers > 1) {
      file->level = SQLITE_LOCK_PENDING;
      return SQLITE_BUSY;
    }
  }
  file->level = level;
  return SQLITE_OK;
}

static int on_unlock(sqlite3_file *base, int level) {
  struct cutfile *file = (struct cutfile *)base;
  struct cutnode *node = file->node;
  if (file->level <= level) return SQLITE_OK;
  if (node->writer == file) {
    node->writer = NULL;
    node->pending = false;
  }
  if (level == SQLITE_LOCK_NONE) node->readers--;
  file->level = level;
  return SQLITE_OK;
}

static int on_reserved(sqlite3_file *base, int *out) {
  *out = ((struct cutfile *)base)->node->writer != NULL;
  return SQLITE_OK;
}

static int on_control(sqlite3_file *base, int op, void *arg) {
  (void)base;
  char **words = arg;
  if (op == SQLITE_FCNTL_PRAGMA && weak != NULL && !weakening && strcmp(words[1], "synchronous") == 0) return SQLITE_OK;
  return SQLITE_NOTFOUND;
}

static int on_sector(sqlite3_file *base) {
  (void)base;
  return SECTOR_SIZE;
}

static int on_device(sqlite3_file *base) {
  (void)base;
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int on_shm_map(sqlite3_file *base, int region, int bytes, int extend, void volatile **out) {
  struct cutfile *file = (struct cutfile *)base;
  struct cutnode *node = file->node;
  if (!file->mapped) node->mapped++;
  file->mapped = true;
  *out = NULL;
  if (region >= node->region_count) {
    if (!extend) return SQLITE_OK;
    node->region = base_realloc(node->region, (size_t)region + 1, sizeof *node->region);
    while (node->region_count <= region)
      node->region[node->region_count++] = base_calloc(1, (size_t)bytes);
  }
  *out = node->region[region];
  return SQLITE_OK;
}

static int shm_release(struct cutfile *file, int from, int n) {
  for (int i = from; i < from + n; i++) {
    unsigned bit = 1U << i;
    if (file->shared & bit) file->node->shm_lock[i]--;
    if (file->owned & bit) file->node->shm_lock[i] = 0;
    file->shared &= ~bit;
    file->owned &= ~bit;
  }
  return SQLITE_OK;
}

static int on_shm_lock(sqlite3_file *base, int from, int n, int flags) {
  struct cutfile *file = (struct cutfile *)base;
  int *lock = file->node->shm_lock;
  assert(from >= 0 && n > 0 && from + n <= CUTDISK_SHM_LOCKS);
  if (flags & SQLITE_SHM_UNLOCK) return shm_release(file, from, n);
  bool share = flags & SQLITE_SHM_SHARED;
  for (int i = from; i < from + n; i++)
    if (share ? lock[i] < 0 : lock[i] != 0 && !(file->owned & (1U << i))) return SQLITE_BUSY;
  for (int i = from; i < from + n; i++) {
    unsigned bit = 1U << i;
    if (share && !(file->shared & bit)) lock[i]++;
    if (!share) lock[i] = -1;
    *(share ? &file->shared : &file->owned) |= bit;
  }
  return SQLITE_OK;
}

// One thread at a time, and those that take turns do so by a mutex.
static void on_shm_barrier(sqlite3_file *base) {
  (void)base;
}

// The index goes with its last user, as it does on Unix when the next process comes.
static int on_shm_unmap(sqlite3_file *base, int delete_it) {
  struct cutfile *file = (struct cutfile *)base;
  struct cutnode *node = file->node;
  (void)delete_it;
  if (!file->mapped) return SQLITE_OK;
  shm_release(file, 0, CUTDISK_SHM_LOCKS);
  file->mapped = false;
  if (--node->mapped > 0) return SQLITE_OK;
  for (int i = 0; i < node->region_count; i++)
    free(node->region[i]);
  free(node->region);
  node->region = NULL;
  node->region_count = 0;
  return SQLITE_OK;
}

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out) {
  static const sqlite3_io_methods methods = {
      .iVersion = 2,
      .xClose = on_close,
      .xRead = on_read,
      .xWrite = on_write,
      .xTruncate = on_truncate,
      .xSync = on_sync,
      .xFileSize = on_size,
      .xLock = on_lock,
      .xUnlock = on_unlock,
      .xCheckReservedLock = on_reserved,
      .xFileControl = on_control,
      .xSectorSize = on_sector,
      .xDeviceCharacteristics = on_device,
      .xShmMap = on_shm_map,
      .xShmLock = on_shm_lock,
      .xShmBarrier = on_shm_barrier,
      .xShmUnmap = on_shm_unmap,
  };
  struct cutfile *file = (struct cutfile *)base;
  (void)vfs;
  *file = (struct cutfile){0};
  if (name == NULL) return SQLITE_CANTOPEN;  // temporary files stay in memory (PRAGMA temp_store)
  struct cutnode *node = cutdisk_find(mounted, name, flags & SQLITE_OPEN_CREATE);
  if (node == NULL || (node->inode == NULL && !(flags & SQLITE_OPEN_CREATE))) return SQLITE_CANTOPEN;
  if (node->inode == NULL) cutdisk_create(node, flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL));
  *file = (struct cutfile){.base.pMethods = &methods, .node = node, .inode = node->inode};
  if (out != NULL) *out = flags;
  return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int synced) {
  (void)vfs;
  struct cutnode *node = cutdisk_find(mounted, name, false);
  if (node == NULL || node->inode == NULL) return SQLITE_IOERR_DELETE_NOENT;
  cutdisk_remove(mounted, node, synced);
  return SQLITE_OK;
}

static int on_access(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
  (void)vfs, (void)flags;
  struct cutnode *node = cutdisk_find(mounted, name, false);
  *out = node != NULL && node->inode != NULL;
  return SQLITE_OK;
}

static int on_full_path(sqlite3_vfs *vfs, const char *name, int n, char *out) {
  (void)vfs;
  return snprintf(out, (size_t)n, "%s", name) < n ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int on_randomness(sqlite3_vfs *vfs, int n, char *out) {
  (void)vfs;
  for (int i = 0; i < n; i++)
    out[i] = (char)rng_next(&mounted->rng);
  return n;
}

static int on_sleep(sqlite3_vfs *vfs, int us) {
  (void)vfs;
  return us;  // nobody else would act meanwhile
}

static int on_time(sqlite3_vfs *vfs, sqlite3_int64 *ms) {
  (void)vfs;
  *ms = INT64_C(212000000000000);
  return SQLITE_OK;
}

static int on_connection(sqlite3 *db, char **error, const struct sqlite3_api_routines *api) {
  char sql[64];
  (void)error, (void)api;
  if (weak == NULL) return SQLITE_OK;
  (void)snprintf(sql, sizeof sql, "PRAGMA synchronous=%s", weak);
  weakening = true;
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  weakening = false;
  return rc;
}

void cutdisk_mount(struct cutdisk *disk) {
  static sqlite3_vfs vfs = {
      .iVersion = 2,
      .szOsFile = sizeof(struct cutfile),
      .mxPathname = PATH_BYTES,
      .zName = "cutdisk",
      .xOpen = on_open,
      .xDelete = on_delete,
      .xAccess = on_access,
      .xFullPathname = on_full_path,
      .xRandomness = on_randomness,
      .xSleep = on_sleep,
      .xCurrentTimeInt64 = on_time,
  };
  static bool known;
  mounted = disk;
  if (known) return;
  known = true;
  if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK || sqlite3_auto_extension((void (*)(void))on_connection) != SQLITE_OK)
    base_die(EXIT_INFRA, "cutdisk: SQLite takes no file system");
}

void cutdisk_weaken(const char *synchronous) {
  weak = synchronous;
}
