// `shard import FILE...`. Called by main.c. Reads all files before anything is sent, then sends the tests in chunks,
// each answered when it is on the server's disk. Must not know formats: durations.h does.
#include "worker/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/admin.h"
#include "worker/durations.h"

enum { CHUNK_ROWS = 5000, CHUNK_BYTES = 512 * 1024, WHY_BYTES = 1024 };

struct chunk {
  ProtobufCBinaryData id[CHUNK_ROWS], file[CHUNK_ROWS];
  uint32_t file_of[CHUNK_ROWS];
  uint64_t us[CHUNK_ROWS];
  size_t count, file_count, bytes;
};

static int gather(const struct options *options, char **paths, struct durations *durations);
static int send_all(const struct options *options, const struct durations *durations);
static bool chunk_add(struct chunk *chunk, const struct durations_test *test);
static int chunk_send(struct chunk *chunk, struct ask *ask, const struct options *options);
static int tell(const struct options *options, const struct durations *durations);

int import_main(struct options *options, char **words, size_t count, char **command) {
  (void)count, (void)command;
  struct durations durations;
  durations_init(&durations);
  int code = gather(options, words, &durations);
  if (code == EXIT_OK) code = send_all(options, &durations);
  if (code == EXIT_OK) code = tell(options, &durations);
  durations_release(&durations);
  return code;
}

static int gather(const struct options *options, char **paths, struct durations *durations) {
  char why[WHY_BYTES];
  for (; *paths != NULL; paths++) {
    if (durations_read(durations, *paths, (enum durations_format)options->format, why, sizeof why) == 0) continue;
    fprintf(stderr, "shard import: %s\n", why);
    return EXIT_USAGE;
  }
  durations_sort(durations);
  if (durations->left_out > 0)
    fprintf(stderr, "shard import: left out %zu of %zu row%s: %s%s\n", durations->left_out, durations->rows,
            durations->rows == 1 ? "" : "s", durations->first_left_out, durations->left_out > 1 ? "; ..." : "");
  if (durations->lost[0] != '\0') fprintf(stderr, "shard import: %s\n", durations->lost);
  if (durations->nameless > 0)
    fprintf(
        stderr,
        "shard import: %zu test%s left out: the file is not here. JUnit XML names classes only; run this at the top "
        "of the checkout\n",
        durations->nameless, durations->nameless == 1 ? " is" : "s are");
  if (durations->count > 0) return EXIT_OK;
  fprintf(stderr, "shard import: there is no test with a duration in it\n");
  return EXIT_USAGE;
}

static int send_all(const struct options *options, const struct durations *durations) {
  struct ask *ask;
  int code = admin_open(options, &ask);
  if (code != EXIT_OK) return code;
  struct chunk *chunk = base_calloc(1, sizeof *chunk);
  for (size_t i = 0; i < durations->count && code == EXIT_OK; i++) {
    if (chunk_add(chunk, &durations->test[i])) continue;
    code = chunk_send(chunk, ask, options);
    chunk->count = chunk->file_count = chunk->bytes = 0;
    (void)chunk_add(chunk, &durations->test[i]);
  }
  if (code == EXIT_OK) code = chunk_send(chunk, ask, options);
  free(chunk);
  ask_close(ask);
  return code;
}

// False: it is full. Tests of one file stand together, since they are ordered by id.
static bool chunk_add(struct chunk *chunk, const struct durations_test *test) {
  size_t bytes = strlen(test->id) + (test->file != NULL ? strlen(test->file) : 0) + 32;
  if (chunk->count == CHUNK_ROWS || (chunk->count > 0 && chunk->bytes + bytes > CHUNK_BYTES)) return false;
  uint32_t file = MSG_NO_FILE;
  if (test->file != NULL) {
    const ProtobufCBinaryData *last = chunk->file_count > 0 ? &chunk->file[chunk->file_count - 1] : NULL;
    bool same = last != NULL && strlen(test->file) == last->len && memcmp(test->file, last->data, last->len) == 0;
    if (!same) chunk->file[chunk->file_count++] = msg_text(test->file);
    file = (uint32_t)chunk->file_count - 1;
  }
  chunk->id[chunk->count] = msg_text(test->id);
  chunk->file_of[chunk->count] = file;
  chunk->us[chunk->count++] = test->us;
  chunk->bytes += bytes;
  return true;
}

static int chunk_send(struct chunk *chunk, struct ask *ask, const struct options *options) {
  Shardd__Query query = SHARDD__QUERY__INIT;
  struct ask_error error;
  struct answer answer;
  query.kind = SHARDD__QUERY_KIND__QUERY_IMPORT;
  query.project = msg_text(options->project);
  query.suite = msg_text(options->suite);
  query.n_import_test = query.n_import_file_of = query.n_import_us = chunk->count;
  query.n_import_file = chunk->file_count;
  query.import_test = chunk->id;
  query.import_file = chunk->file;
  query.import_file_of = chunk->file_of;
  query.import_us = chunk->us;
  if (ask_wait(ask, &query, (unsigned)(options->connect_timeout_us / 1000), &answer, &error) == 0) return EXIT_OK;
  fprintf(stderr, "shard import: %s\n", error.text);
  return error.exit_code;
}

static int tell(const struct options *options, const struct durations *durations) {
  bool one = durations->count == 1;
  printf("%zu test%s of project %s, suite %s, %s a duration", durations->count, one ? "" : "s", options->project,
         options->suite, one ? "has" : "have");
  if (durations->skipped == 1) printf("; 1 case did not pass or tells no time");
  if (durations->skipped > 1) printf("; %zu cases did not pass or tell no time", durations->skipped);
  printf(". Those that the server has timed itself keep what was measured\n");
  return fflush(stdout) == 0 ? EXIT_OK : admin_fail_output();
}
