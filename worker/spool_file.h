// Results in a file, when there is no server to take them: the frames that would have gone over the wire, as the wire
// has them. First the hello; the offer of the list, if the worker has one, and all its chunks, if the server may not
// know it; then the results, numbered as they were sent or would have been; at last the bye, without which the file was
// cut off; behind it the SHA-256 of all before, 32 bytes. Written by run_keep.c, read by submit.c.
#ifndef WORKER_SPOOL_FILE_H
#define WORKER_SPOOL_FILE_H

#include <stdio.h>

#include "proto/msg.h"
#include "worker/spool.h"

struct spool_file_head {
  Shardd__Hello hello;          // with the worker's session; the token stays out of the file
  Shardd__Bye bye;              // with the errors outside of any test
  const struct testlist *list;  // NULL: the worker has none
  bool whole;                   // the server may not know the list
};

// The file of one run, written anew as it learns more. While the run goes on it holds a lock on it (flock), so that
// nobody hands over what it will hand over itself; the lock dies with the process.
struct spool_file {
  char *path;    // NULL: it is not there
  int lock;      // while there is a path; -1: not held
  uint64_t seq;  // the newest message in it
};

// Writes all that the spool holds, which must be closed, whole or not at all, and to the disk: for the first time into
// a new file in `folder` ("": shard/spool in the user's cache folder). -1 with a message in why: then the file is as it
// was before.
int spool_file_write(struct spool_file *file, const char *folder, const struct spool_file_head *head,
                     struct spool *spool, char *why, size_t why_size);
void spool_file_let_go(struct spool_file *file);  // the run is over, and others may hand the file over
void spool_file_remove(struct spool_file *file);
// The server has the messages up to `seq` on its disk: removes a file that holds no others.
void spool_file_acked(struct spool_file *file, uint64_t seq);
void spool_file_release(struct spool_file *file);  // it stays

// The files of such a folder that nobody holds, in order of their names, and how many there are besides.
struct spool_found {
  char **path;
  size_t count;
  size_t held;     // by a run, or by another submit
  size_t unknown;  // nothing can be locked there: whether a run holds them is not known
};

// Removes what a run that was killed had not finished writing, once it is old. -1 and a message in why: the folder is
// not there or cannot be read.
int spool_file_find(const char *folder, struct spool_found *found, char *why, size_t why_size);
void spool_found_release(struct spool_found *found);

// Reading: one frame after the other, each checked as one from the wire. Frames of other kinds, or in another order
// than the one above, are an error.
struct spool_reader;
// Looks first whether nobody holds the file, and the whole of it is as it was written: a list with a wrong bit would be
// another list. Holds it until it is closed. NULL and a message in why.
struct spool_reader *spool_reader_open(const char *path, char *why, size_t why_size);
// The first `bytes` of a stream, which it takes over, unlooked; `name` stands in messages. arena: the caller's, for
// MSG_ARENA_MAX_BYTES; NULL: one of its own.
struct spool_reader *spool_reader_new(FILE *in, uint64_t bytes, const char *name, struct msg_arena *arena);
// Removes the file; not a newer one that a run has put in its place. -1 and errno.
int spool_reader_remove(const struct spool_reader *reader);
void spool_reader_close(struct spool_reader *reader);
// 1 and *frame, which lives until the next call; 0 at the end; -1 and a message in why that names the file and the
// place in it.
int spool_reader_next(struct spool_reader *reader, const Shardd__Frame **frame, char *why, size_t why_size);

#endif
