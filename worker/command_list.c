// Reads ids by lines. Called by the command runner with a list command's output as it comes, or with a file. The file
// of a test is what stands before the first "::" of its id; an id without "::" has none, since nothing says that it
// names a path that others share. It must not know where the text comes from.
#include "worker/command_list.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/files.h"
#include "proto/msg.h"
#include "worker/ctest_list.h"
#include "worker/decode.h"

enum { JSON_MAX_BYTES = 64 << 20, SHOWN_BYTES = 240 };
enum { LINE_BYTES = MSG_ID_MAX_BYTES + 2 };  // an id, its carriage return, one more to see that it is too long

struct command_list {
  struct testlist *list;
  struct decode decode;
  char line[LINE_BYTES + 1];
  size_t line_bytes;
  uint64_t line_number;  // of the line being read, from 1
  char *json;            // the whole text, when it begins with "{"; NULL: it is lines
  size_t json_bytes, json_room;
  char why[512];
};

static void take_text(void *arg, const char *bytes, size_t n);
static void take_line(struct command_list *reader);
static void add_test(struct command_list *reader, const char *id, size_t n);

struct command_list *command_list_new(void) {
  struct command_list *reader = base_calloc(1, sizeof(*reader));
  reader->list = testlist_new();
  reader->line_number = 1;
  return reader;
}

void command_list_free(struct command_list *reader) {
  if (!reader) return;
  testlist_free(reader->list);
  free(reader->json);
  free(reader);
}

static void keep_json(struct command_list *reader, const char *bytes, size_t n) {
  if (reader->json_bytes + n > JSON_MAX_BYTES) {
    (void)snprintf(reader->why, sizeof(reader->why), "the list is longer than 64 MiB");
    return;
  }
  if (reader->json_bytes + n > reader->json_room) {
    reader->json_room = 2 * (reader->json_bytes + n);
    reader->json = base_realloc(reader->json, reader->json_room, 1);
  }
  assert(reader->json || n == 0);
  if (n) memcpy(reader->json + reader->json_bytes, bytes, n);
  reader->json_bytes += n;
}

void command_list_feed(struct command_list *reader, const char *bytes, size_t n) {
  decode_feed(&reader->decode, bytes, n, false, take_text, reader);
}

static void take_text(void *arg, const char *bytes, size_t n) {
  struct command_list *reader = arg;
  bool first = reader->line_number == 1 && reader->line_bytes == 0;
  if (n > 0 && !reader->why[0] && (reader->json || (first && bytes[0] == '{'))) {
    keep_json(reader, bytes, n);
    return;
  }
  while (n > 0 && !reader->why[0]) {
    const char *newline = memchr(bytes, '\n', n);
    size_t part = newline ? (size_t)(newline - bytes) : n;
    size_t room = LINE_BYTES - reader->line_bytes;
    size_t kept = part < room ? part : room;
    memcpy(reader->line + reader->line_bytes, bytes, kept);
    reader->line_bytes += kept;
    if (!newline) return;
    take_line(reader);
    bytes += part + 1;
    n -= part + 1;
  }
}

struct testlist *command_list_finish(struct command_list *reader, char *why, size_t why_size) {
  decode_feed(&reader->decode, NULL, 0, true, take_text, reader);
  if (reader->line_bytes && !reader->why[0]) take_line(reader);
  bool json = reader->json && !reader->why[0];
  if (json && ctest_list_read(reader->list, reader->json, reader->json_bytes, reader->why, sizeof(reader->why)) < 0) {
    (void)snprintf(why, why_size, "%s", reader->why);
    return NULL;
  }
  if (reader->why[0]) {
    (void)snprintf(why, why_size, "%s", reader->why);
    return NULL;
  }
  size_t duplicates = testlist_seal(reader->list);
  if (duplicates) {
    const char *first = testlist_duplicate(reader->list, 0);
    char shown[SHOWN_BYTES];
    (void)snprintf(why, why_size, "%zu ids come more than once, the first is %s: every test needs an id of its own",
                   duplicates, base_quote(shown, sizeof shown, first, strlen(first)));
    return NULL;
  }
  struct testlist *list = reader->list;
  reader->list = NULL;
  return list;
}

// What is wrong with the machine, and not with what the user named.
static bool list_lacks(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO;
}

struct testlist *command_list_read(const char *path, bool *lacking, char *why, size_t why_size) {
  const char *wrong;
  errno = 0;
  FILE *file = files_read(path, FILES_STREAM, &wrong);
  *lacking = !file && list_lacks(errno);
  if (!file) {
    (void)snprintf(why, why_size, "cannot read the list of tests %s: %s", path, wrong);
    return NULL;
  }
  struct command_list *reader = command_list_new();
  char buffer[16 * 1024], problem[320] = "";
  size_t n;
  while ((n = fread(buffer, 1, sizeof(buffer), file)) > 0)
    command_list_feed(reader, buffer, n);
  struct testlist *list = NULL;
  if (ferror(file)) {
    *lacking = list_lacks(errno);
    (void)snprintf(problem, sizeof(problem), "%s", strerror(errno));
  } else {
    list = command_list_finish(reader, problem, sizeof(problem));
  }
  if (!list) (void)snprintf(why, why_size, "list of tests %s: %s", path, problem);
  command_list_free(reader);
  (void)fclose(file);
  return list;
}

static void take_line(struct command_list *reader) {
  size_t n = reader->line_bytes;
  reader->line_bytes = 0;
  if (n > 0 && n < LINE_BYTES && reader->line[n - 1] == '\r') n--;
  if (n > 0) add_test(reader, reader->line, n);
  reader->line_number++;
}

static void add_test(struct command_list *reader, const char *id, size_t n) {
  reader->line[n] = '\0';
  char *file = NULL;
  const char *end = strstr(id, "::");
  if (end && end > id) file = base_memdup0(id, (size_t)(end - id));
  uint32_t unit = (uint32_t)testlist_count(reader->list);
  if (testlist_add(reader->list, id, n, file, unit) < 0) {
    const char *what = testlist_count(reader->list) >= MSG_LIST_MAX ? "more tests than a build may have (500000)"
                       : n > MSG_ID_MAX_BYTES                       ? "an id is longer than 4096 bytes"
                                                                    : "an id holds a NUL byte";
    (void)snprintf(reader->why, sizeof(reader->why), "line %llu: %s", (unsigned long long)reader->line_number, what);
  }
  free(file);
}
