// The worker's end of a test process that stays alive: a private folder with the adapter and a Unix socket, JSON lines
// both ways (docs/adapters.md). Used by runner_pytest.c; knows lines, not what they mean to a run.
#ifndef WORKER_ADAPTER_H
#define WORKER_ADAPTER_H

#include <event2/event.h>
#include <jansson.h>

#include "config/base.h"

enum {
  ADAPTER_LINE_MAX_BYTES = 1024 * 1024,
  ADAPTER_BACKLOG_MAX_BYTES = 64 * 1024 * 1024,
};

struct adapter;

struct adapter_events {
  // An object came; borrowed.
  void (*on_line)(void *arg, json_t *line);
  // What came is no line of the protocol: why says so.
  void (*on_broken)(void *arg, const char *why);
  void *arg;
};

struct adapter_file {
  const char *name, *begin, *end;
};

// Makes the folder (0700, below TMPDIR), writes the adapter's files into it and listens. NULL and why on failure.
struct adapter *adapter_new(struct event_base *base, const struct adapter_file *files, size_t file_count,
                            const struct adapter_events *events, char *why, size_t why_size);
void adapter_free(struct adapter *adapter);  // removes the folder
const char *adapter_folder(const struct adapter *adapter);
const char *adapter_socket(const struct adapter *adapter);
// What a test process that did not connect has left in the folder's file "refused": why it runs no tests. False: there
// is none. Text from outside: escape it for a terminal.
bool adapter_refused(const struct adapter *adapter, char *why, size_t why_size);

// Sends an object; takes it over. Dropped when nobody is connected.
void adapter_send(struct adapter *adapter, json_t *line);
// Reads what is still in the socket, then forgets the connection: the process is gone, another may connect.
void adapter_finish(struct adapter *adapter);

#endif
