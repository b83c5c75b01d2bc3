// Patterns of CODEOWNERS. Used by owners.c.
#ifndef WORKER_OWNERS_MATCH_H
#define WORKER_OWNERS_MATCH_H

#include <stdbool.h>

// True when the pattern owns the file, a path from the top folder without "/" in front. As GitHub and GitLab have it:
// a pattern with a slash in front or within begins at the top folder, one without may begin in any; "*" and "?" stay
// within a folder's or file's name; "**" as a whole name is any number of folders, also none; a pattern owns the file
// of that name and all below a folder of that name; with a slash at the end only what is below. "/docs/*" alone owns
// the files of docs and none of its folders'. Brackets are those of .gitignore, or stand for themselves; a backslash
// takes the next character's meaning away. There is no "!".
bool owners_match(const char *pattern, const char *file);

#endif
