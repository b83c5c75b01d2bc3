// Which project this is, and where it begins: by what the CI says, else by the git checkout around the working folder,
// else by the folder's own name. Reads .git itself: no git program is needed in the image. Called by options.c (the
// default of --project, the search for shard.yml) and local.c (the history's folder).
#ifndef WORKER_PROJECT_H
#define WORKER_PROJECT_H

#include "worker/ci.h"

// The nearest folder at or above `dir` that holds .git; NULL when there is none. The caller frees it.
char *project_top(const char *dir);

// "owner/name" from the CI's variables, else from the URL of git's remote "origin", else the name of the top folder.
// Never NULL or empty; at most 1024 bytes. The caller frees it.
char *project_name(ci_lookup *lookup, void *arg, const char *dir);

// "owner/name" of a repository's URL or scp-like address; NULL when it names no path. The caller frees it.
char *project_of_url(const char *url);

// A copy fit for a file's name: what is not a letter, digit, dot, dash or underscore becomes "-"; never begins with a
// dot; at most 100 bytes. The caller frees it.
char *project_file_name(const char *project);

#endif
