// Files that are opened by name, from a folder or an argument. A name may be that of a named pipe without a writer, a
// device without an end or a socket: opening or reading those would wait for ever. Everything that reads a file which
// it did not make itself opens it here. Knows nothing of what the files hold.
#ifndef CONFIG_FILES_H
#define CONFIG_FILES_H

#include <stdio.h>

#include "config/base.h"

enum files_kind {
  FILES_REGULAR,  // regular files alone
  FILES_STREAM,   // also what a shell puts in a file's place: an anonymous pipe (`<(command)`), a terminal, /dev/null
};

// A descriptor for reading, which the caller closes. -1: *why says what is wrong, until the next call of strerror.
int files_open(const char *path, enum files_kind kind, const char **why) MUST_CHECK;
// The same as a stream; NULL: *why says what is wrong.
FILE *files_read(const char *path, enum files_kind kind, const char **why) MUST_CHECK;
// NULL when the file behind `fd` is of this kind, else what it is, as a constant text: "it is a named pipe".
const char *files_refuse(int fd, enum files_kind kind) MUST_CHECK;
// A stream that writes to a name which is there and not a regular file (/dev/stdout, `>(command)`). Does not wait for a
// reader: a named pipe that nobody reads is refused. NULL: *why says what is wrong.
FILE *files_write_to(const char *path, const char **why) MUST_CHECK;

#endif
