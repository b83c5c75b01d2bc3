// The user's cache folder, where this program keeps what outlives it: histories of `shard local`, results that no
// server took. Used by local_place.c and spool_file.c.
#ifndef WORKER_CACHE_H
#define WORKER_CACHE_H

#include "config/base.h"

// XDG_CACHE_HOME, else HOME/.cache. The caller frees it. NULL: neither is set to an absolute path.
char *cache_folder(void);
// Makes the folders above a file, private ones where there are none yet. False with errno.
bool cache_make_parents(const char *path);

#endif
