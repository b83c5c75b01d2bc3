// JSON lines over a Unix socket in a private folder. One connection at a time: the first process that connects is the
// test process; its children have no business here (the adapter closes the socket in them).
#include "worker/adapter.h"

#include <errno.h>
#include <event2/buffer.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct adapter {
  struct event_base *base;
  struct adapter_events events;
  char *folder, *socket;
  int listener, fd;
  struct event *on_accept, *on_read, *on_write;
  struct evbuffer *in, *out;
  bool broken;
};

// ---- reading

static void adapter_break(struct adapter *adapter, const char *why) {
  if (adapter->broken) return;
  adapter->broken = true;
  adapter->events.on_broken(adapter->events.arg, why);
}

static void adapter_line(struct adapter *adapter, const char *text, size_t n) {
  json_error_t error;
  json_t *line = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  if (json_is_object(line)) {
    adapter->events.on_line(adapter->events.arg, line);
  } else {
    adapter_break(adapter, line ? "a line that is no JSON object" : error.text);
  }
  json_decref(line);
}

static void adapter_lines(struct adapter *adapter) {
  size_t n;
  char *text;
  while (!adapter->broken && (text = evbuffer_readln(adapter->in, &n, EVBUFFER_EOL_LF))) {
    adapter_line(adapter, text, n);
    free(text);
  }
  if (evbuffer_get_length(adapter->in) > ADAPTER_LINE_MAX_BYTES) adapter_break(adapter, "a line over 1 MiB");
}

static void adapter_disconnect(struct adapter *adapter) {
  if (adapter->fd < 0) return;
  event_free(adapter->on_read);
  event_free(adapter->on_write);
  close(adapter->fd);
  adapter->fd = -1;
  evbuffer_drain(adapter->in, evbuffer_get_length(adapter->in));
  evbuffer_drain(adapter->out, evbuffer_get_length(adapter->out));
}

// Reads until the socket has no more for now; false: the other side is gone.
static bool adapter_read(struct adapter *adapter) {
  for (;;) {
    int n = evbuffer_read(adapter->in, adapter->fd, 65536);
    if (n > 0) {
      adapter_lines(adapter);
      if (adapter->broken || adapter->fd < 0) return false;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    return n < 0 && errno == EAGAIN;
  }
}

// The end of the stream proves nothing (a daemon forked by a test may hold it open): the process's end is what counts.
static void on_readable(evutil_socket_t fd, short what, void *arg) {
  struct adapter *adapter = arg;
  (void)fd;
  (void)what;
  if (!adapter_read(adapter) && adapter->fd >= 0) event_del(adapter->on_read);
}

// ---- writing

static void adapter_write(struct adapter *adapter) {
  while (evbuffer_get_length(adapter->out)) {
    int n = evbuffer_write(adapter->out, adapter->fd);
    if (n > 0 || (n < 0 && errno == EINTR)) continue;
    if (n < 0 && errno == EAGAIN) {
      event_add(adapter->on_write, NULL);
    } else {
      evbuffer_drain(adapter->out, evbuffer_get_length(adapter->out));
    }
    return;
  }
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
  (void)fd;
  (void)what;
  adapter_write(arg);
}

void adapter_send(struct adapter *adapter, json_t *line) {
  char *text = json_dumps(line, JSON_COMPACT);
  json_decref(line);
  if (text && adapter->fd >= 0 && evbuffer_get_length(adapter->out) < ADAPTER_BACKLOG_MAX_BYTES) {
    evbuffer_add(adapter->out, text, strlen(text));
    evbuffer_add(adapter->out, "\n", 1);
    adapter_write(adapter);
  }
  free(text);
}

void adapter_finish(struct adapter *adapter) {
  if (adapter->fd < 0) return;
  (void)adapter_read(adapter);
  adapter_disconnect(adapter);
  adapter->broken = false;
}

// ---- life

static void on_connect(evutil_socket_t listener, short what, void *arg) {
  struct adapter *adapter = arg;
  (void)what;
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  if (adapter->fd >= 0) {
    close(fd);
    return;
  }
  adapter->fd = fd;
  adapter->on_read = event_new(adapter->base, fd, EV_READ | EV_PERSIST, on_readable, adapter);
  adapter->on_write = event_new(adapter->base, fd, EV_WRITE, on_writable, adapter);
  event_add(adapter->on_read, NULL);
}

static int adapter_make_folder(struct adapter *adapter, char *why, size_t why_size) {
  const char *below = getenv("TMPDIR");
  if (!below || !below[0] || strlen(below) > 70) below = "/tmp";  // a socket's path holds 107 bytes
  adapter->folder = base_printf("%s/shard.XXXXXX", below);
  if (!mkdtemp(adapter->folder)) {
    snprintf(why, why_size, "cannot make a folder in %s: %s", below, strerror(errno));
    return -1;
  }
  adapter->socket = base_printf("%s/r.sock", adapter->folder);
  return 0;
}

static int adapter_write_file(const struct adapter *adapter, const struct adapter_file *from, char *why,
                              size_t why_size) {
  char *path = base_printf("%s/%s", adapter->folder, from->name);
  size_t n = (size_t)(from->end - from->begin);
  FILE *file = fopen(path, "we");
  bool ok = file && fwrite(from->begin, 1, n, file) == n;
  if (file && fclose(file) != 0) ok = false;
  if (!ok) snprintf(why, why_size, "cannot write %s: %s", path, strerror(errno));
  free(path);
  return ok ? 0 : -1;
}

static int adapter_write_files(const struct adapter *adapter, const struct adapter_file *files, size_t count, char *why,
                               size_t why_size) {
  for (size_t i = 0; i < count; i++) {
    if (adapter_write_file(adapter, &files[i], why, why_size) < 0) return -1;
  }
  return 0;
}

static int adapter_listen(struct adapter *adapter, char *why, size_t why_size) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", adapter->socket);
  adapter->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (adapter->listener < 0 || bind(adapter->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
      listen(adapter->listener, 4) < 0) {
    snprintf(why, why_size, "cannot listen on %s: %s", adapter->socket, strerror(errno));
    return -1;
  }
  adapter->on_accept = event_new(adapter->base, adapter->listener, EV_READ | EV_PERSIST, on_connect, adapter);
  event_add(adapter->on_accept, NULL);
  return 0;
}

struct adapter *adapter_new(struct event_base *base, const struct adapter_file *files, size_t file_count,
                            const struct adapter_events *events, char *why, size_t why_size) {
  struct adapter *adapter = base_calloc(1, sizeof *adapter);
  adapter->base = base;
  adapter->events = *events;
  adapter->listener = adapter->fd = -1;
  adapter->in = evbuffer_new();
  adapter->out = evbuffer_new();
  if (adapter_make_folder(adapter, why, why_size) == 0 &&
      adapter_write_files(adapter, files, file_count, why, why_size) == 0 &&
      adapter_listen(adapter, why, why_size) == 0) {
    return adapter;
  }
  adapter_free(adapter);
  return NULL;
}

// Removes the folder with all that is in it: Python leaves its compiled copy beside the adapter's file.
static int on_entry(const char *path, const struct stat *status, int type, struct FTW *where) {
  (void)status;
  (void)type;
  (void)where;
  return remove(path);
}

void adapter_free(struct adapter *adapter) {
  if (!adapter) return;
  adapter_disconnect(adapter);
  if (adapter->on_accept) event_free(adapter->on_accept);
  if (adapter->listener >= 0) close(adapter->listener);
  if (adapter->socket) (void)nftw(adapter->folder, on_entry, 16, FTW_DEPTH | FTW_PHYS);  // it was made
  evbuffer_free(adapter->in);
  evbuffer_free(adapter->out);
  free(adapter->folder);
  free(adapter->socket);
  free(adapter);
}

const char *adapter_folder(const struct adapter *adapter) {
  return adapter->folder;
}

const char *adapter_socket(const struct adapter *adapter) {
  return adapter->socket;
}

bool adapter_refused(const struct adapter *adapter, char *why, size_t why_size) {
  char *path = base_printf("%s/refused", adapter->folder);
  FILE *file = fopen(path, "re");
  size_t n = file ? fread(why, 1, why_size - 1, file) : 0;
  if (file) fclose(file);
  free(path);
  why[n] = '\0';
  return n > 0;
}
