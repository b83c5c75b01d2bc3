// quarantine.yml: muted tests that are kept and reviewed with the code. It is a list of maps; the empty list is [].
// Called by quarantine.c. Whoever imports it unmutes what it does not name, so it is read as a whole and strictly.
// Knows no server.
#ifndef WORKER_QUARANTINE_FILE_H
#define WORKER_QUARANTINE_FILE_H

#include <stdio.h>

#include "config/yaml.h"

struct quarantine_entry {
  const char *test, *reason, *who, *ticket;  // who, ticket: "" when they are not told
  uint64_t until_ms;                         // since 1970: the end of its last day, UTC
  bool extend;
  unsigned line, column;  // of the test
};

struct quarantine_file {
  struct yaml_tree *tree;  // owns the texts
  struct quarantine_entry *entry;
  size_t count;
};

// 0, and the caller releases *file; -1 and *error, which names the place. `take` has the tree already, or NULL with the
// *error why there is none, and takes it over.
int quarantine_file_read(struct quarantine_file *file, const char *path, struct yaml_error *error) MUST_CHECK;
int quarantine_file_take(struct quarantine_file *file, struct yaml_tree *tree, struct yaml_error *error) MUST_CHECK;
void quarantine_file_release(struct quarantine_file *file);

// The entry of a test, or NULL.
const struct quarantine_entry *quarantine_file_find(const struct quarantine_file *file, const char *test);

// Prints an entry as it is read.
void quarantine_file_print(FILE *out, const struct quarantine_entry *entry);

#endif
