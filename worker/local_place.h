// Where a `shard local` lives: its temporary folder, the project's history, the programs it starts. Made and removed by
// local.c, and without a history by plan_place.c; knows files only.
#ifndef WORKER_LOCAL_PLACE_H
#define WORKER_LOCAL_PLACE_H

#include "worker/options.h"

struct local_place {
  char *folder;         // private, removed at the end
  char *address;        // "unix:FOLDER/s"
  char *config;         // an empty file in it: the private server reads no other's settings
  char *history;        // the database
  bool temporary;       // the database is in the folder: another holds the project's, or there is nowhere to keep one
  char note[400];       // why it is temporary; "": it is not
  int lock_fd;          // held while this or its server lives; -1: none
  char *self, *server;  // paths of this program and of shardd
};

// Makes it all. 0; -1 and a message in why, with nothing left behind.
int local_place_open(struct local_place *place, const struct options *options, char *why, size_t why_size) MUST_CHECK;
// The same with a database in the folder, whatever the project has: nothing is kept.
int local_place_open_temporary(struct local_place *place, char *why, size_t why_size) MUST_CHECK;
// Removes the folder and lets go of the history.
void local_place_close(struct local_place *place);

// Whether the next child inherits the lock: the server does, so that the history stays taken until it has ended too.
void local_place_share_lock(const struct local_place *place, bool share);

// The history of a project whose checkout begins at `top`, under `cache` (an absolute folder). The caller frees it.
char *local_place_history(const char *cache, const char *project, const char *top);

#endif
