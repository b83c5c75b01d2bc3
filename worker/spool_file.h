// Results in a file, when there is no server to take them: the frames that would have gone over the wire, as the wire
// has them. First the hello; the offer of the list, if the worker has one, and all its chunks, if the server may not
// know it; then the results; at last the bye, without which the file was cut off; behind it the SHA-256 of all before,
// 32 bytes. Written by run_end.c, read by submit.c.
#ifndef WORKER_SPOOL_FILE_H
#define WORKER_SPOOL_FILE_H

#include <stdio.h>

#include "proto/msg.h"
#include "worker/spool.h"

struct spool_file_head {
  Shardd__Hello hello;          // the token stays out of the file
  Shardd__Bye bye;              // with the errors outside of any test
  const struct testlist *list;  // NULL: the worker has none
  bool whole;                   // the server may not know the list
};

// Writes all that the spool holds, which must be closed, into a new file in `folder` ("": shard/spool in the user's
// cache folder), whole or not at all, and to the disk. Returns its path, which the caller frees; NULL and a message in
// why.
char *spool_file_write(const char *folder, const struct spool_file_head *head, struct spool *spool, char *why,
                       size_t why_size);

// The files of such a folder, in order of their names: *count paths, which the caller frees, and the array. NULL: the
// folder is not there or cannot be read, and a message is in why.
char **spool_file_find(const char *folder, size_t *count, char *why, size_t why_size);

// Reading: one frame after the other, each checked as one from the wire. Frames of other kinds, or in another order
// than the one above, are an error.
struct spool_reader;
// Looks first whether the whole file is as it was written: a list with a wrong bit would be another list. NULL and a
// message in why.
struct spool_reader *spool_reader_open(const char *path, char *why, size_t why_size);
// The first `bytes` of a stream, which it takes over, unlooked; `name` stands in messages.
struct spool_reader *spool_reader_new(FILE *in, uint64_t bytes, const char *name);
void spool_reader_close(struct spool_reader *reader);
// 1 and *frame, which lives until the next call; 0 at the end; -1 and a message in why that names the file and the
// place in it.
int spool_reader_next(struct spool_reader *reader, const Shardd__Frame **frame, char *why, size_t why_size);

#endif
