// A list of tests from lines of text: the output of a --list command or a list file, one id a line. Used by the command
// runner; knows no processes. Blank lines are skipped, a carriage return at a line's end is dropped, all else is the
// id. A text that begins with "{" is taken for ctest's JSON (ctest_list.h).
#ifndef WORKER_COMMAND_LIST_H
#define WORKER_COMMAND_LIST_H

#include "worker/testlist.h"

struct command_list;

struct command_list *command_list_new(void);
void command_list_free(struct command_list *reader);
void command_list_feed(struct command_list *reader, const char *bytes, size_t n);
// The end of the text: the sealed list, which the caller owns. NULL and a message that names the line when one is no
// id, when an id comes twice or there are too many.
struct testlist *command_list_finish(struct command_list *reader, char *why, size_t why_size) MUST_CHECK;
// The same of a file; why names it. *lacking: NULL because the machine lacked descriptors, memory or a disk that works,
// which another try may have; not because of what the user named.
struct testlist *command_list_read(const char *path, bool *lacking, char *why, size_t why_size) MUST_CHECK;

#endif
