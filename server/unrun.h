// What a build that was given up leaves behind, told in a sentence: which tests have no verdict, and who had them last.
// Called by deliver.c for the record of the build's state and by query.c for `shard wait`.
#ifndef SERVER_UNRUN_H
#define SERVER_UNRUN_H

#include "server/build.h"

// "3 were with node 1 on host (a, b, c); nobody is known to have had 40 (d, e, f, …)": UNRUN_HOLDERS workers by name
// and three tests of each, in the list's order; a restart of the daemon forgets who had what. Ids are made safe to show
// and are cut. The caller frees it; NULL: every test has a verdict, or there is no list.
char *unrun_tell(const struct build *build);

#endif
