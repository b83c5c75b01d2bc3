// Paths as the working folder sees them: test tools name files absolutely, through symbolic links, as file:// or with
// "./" in front. Used by command_results.c and durations.c, which compare them with ids.
#ifndef WORKER_HERE_H
#define WORKER_HERE_H

struct here;

// Of the folder that is the working folder now.
struct here *here_new(void);
void here_free(struct here *here);

// The part of `path` below the working folder: without "file://", without "./" in front, and without the folder's own
// path, also when a link leads there. Points into `path`, which may have anything behind the path ("::test"); what is
// not below the working folder stays as it is. Looks at folders' names only and opens nothing.
const char *here_path(struct here *here, const char *path);

#endif
