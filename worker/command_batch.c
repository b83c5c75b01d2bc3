// The files and the reader of one batch. Called by runner_command.c around each process. It must not know how the
// process is started nor what is done with its results. Folders are private (0700), one a batch, and go with the batch,
// so that what one process writes to {tmp} is never taken for another's.
#include "worker/command_batch.h"

#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/files.h"

enum { SHOWN_BYTES = 400 };

static int make_root(struct command_batch *batch, char *why, size_t why_size);
static int write_ids(const char *path, const char *const *ids, size_t count);
static int open_results(struct command_batch *batch, const char *const *ids, size_t count, char *why, size_t why_size);
static bool open_file(struct command_batch *batch, char *why, size_t why_size);
static enum command_read read_slice(struct command_batch *batch, char *why, size_t why_size);
static void take_notes(struct command_batch *batch);
static enum command_read end_tap(struct command_batch *batch, char *why, size_t why_size);
static void remove_tree(const char *path);

int command_batch_init(struct command_batch *batch, const char *option, const char *node, char *why, size_t why_size) {
  static const struct {
    const char *word;
    enum command_source source;
    bool path, in_order;
  } known[] = {{"exit", COMMAND_FROM_EXIT, false, false},       {"tap", COMMAND_FROM_TAP, false, false},
               {"junit:", COMMAND_FROM_JUNIT, true, false},     {"tap:", COMMAND_FROM_TAP_FILE, true, false},
               {"tap-in-order", COMMAND_FROM_TAP, false, true}, {"tap-in-order:", COMMAND_FROM_TAP_FILE, true, true}};
  if (!option || !*option) option = "exit";
  for (size_t i = 0; i < COUNT_OF(known); i++) {
    size_t n = strlen(known[i].word);
    bool fits =
        known[i].path ? strncmp(option, known[i].word, n) == 0 && option[n] : strcmp(option, known[i].word) == 0;
    if (!fits) continue;
    *batch = (struct command_batch){.source = known[i].source, .node = node, .in_order = known[i].in_order};
    if (known[i].path) batch->pattern = option + n;
    return 0;
  }
  (void)snprintf(why, why_size,
                 "results '%.200s' are not known: give exit, junit:PATH, tap, tap:PATH, tap-in-order or "
                 "tap-in-order:PATH",
                 option);
  return -1;
}

void command_batch_release(struct command_batch *batch) {
  command_batch_end(batch);
  if (batch->root) remove_tree(batch->root);
  free(batch->root);
  batch->root = NULL;
}

int command_batch_begin(struct command_batch *batch, const char *const *ids, size_t count, char *why, size_t why_size) {
  assert(!batch->folder && count > 0);
  if (!batch->root && make_root(batch, why, why_size) < 0) return -1;
  batch->number++;
  (void)snprintf(batch->number_text, sizeof(batch->number_text), "%" PRIu64, batch->number);
  batch->folder = base_printf("%s/%" PRIu64, batch->root, batch->number);
  batch->ids_path = base_printf("%s/ids", batch->folder);
  if (mkdir(batch->folder, 0700) < 0 || write_ids(batch->ids_path, ids, count) < 0) {
    (void)snprintf(why, why_size, "cannot write %s: %s", batch->ids_path, strerror(errno));
    return -1;
  }
  return batch->source == COMMAND_FROM_EXIT ? 0 : open_results(batch, ids, count, why, why_size);
}

struct command_words command_batch_words(const struct command_batch *batch) {
  return (struct command_words){
      .tmp = batch->folder, .file = batch->ids_path, .node = batch->node, .batch = batch->number_text};
}

void command_batch_feed(struct command_batch *batch, const char *bytes, size_t n) {
  if (batch->tap) tap_feed(batch->tap, bytes, n);
}

enum command_read command_batch_read(struct command_batch *batch, char *why, size_t why_size) {
  enum command_read read = COMMAND_READ_BROKEN;
  assert(batch->results);
  if (batch->source == COMMAND_FROM_TAP)
    read = end_tap(batch, why, why_size);
  else if (batch->file || open_file(batch, why, why_size))
    read = read_slice(batch, why, why_size);
  if (read != COMMAND_READ_MORE) command_results_settle(batch->results, batch->in_order && read == COMMAND_READ_WHOLE);
  return read;
}

void command_batch_end(struct command_batch *batch) {
  if (batch->file) (void)fclose(batch->file);
  junit_free(batch->junit);
  tap_free(batch->tap);
  command_results_free(batch->results);
  batch->file = NULL;
  batch->junit = NULL;
  batch->tap = NULL;
  batch->results = NULL;
  if (batch->folder) remove_tree(batch->folder);
  free(batch->folder);
  free(batch->ids_path);
  free(batch->results_path);
  batch->folder = batch->ids_path = batch->results_path = NULL;
}

static int make_root(struct command_batch *batch, char *why, size_t why_size) {
  const char *tmp = getenv("TMPDIR");
  char *root = base_printf("%s/shard-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (mkdtemp(root)) {
    batch->root = root;
    return 0;
  }
  (void)snprintf(why, why_size, "cannot make a private folder in %s: %s", tmp && *tmp ? tmp : "/tmp", strerror(errno));
  free(root);
  return -1;
}

static int write_ids(const char *path, const char *const *ids, size_t count) {
  FILE *file = fopen(path, "we");
  if (!file) return -1;
  for (size_t i = 0; i < count; i++)
    (void)fprintf(file, "%s\n", ids[i]);
  bool failed = ferror(file) != 0;
  return fclose(file) == 0 && !failed ? 0 : -1;
}

static int open_results(struct command_batch *batch, const char *const *ids, size_t count, char *why, size_t why_size) {
  batch->results = command_results_new(ids, count);
  if (batch->source == COMMAND_FROM_TAP) batch->tap = tap_new(command_results_on_tap, batch->results);
  if (!batch->pattern) return 0;
  struct command_words words = command_batch_words(batch);
  batch->results_path = command_argv_word(batch->pattern, &words);
  if (unlink(batch->results_path) == 0 || errno == ENOENT || errno == ENOTDIR) return 0;
  (void)snprintf(why, why_size, "cannot remove the results of an earlier run, %s: %s", batch->results_path,
                 strerror(errno));
  return -1;
}

static bool open_file(struct command_batch *batch, char *why, size_t why_size) {
  const char *wrong;
  batch->file = files_read(batch->results_path, FILES_REGULAR, &wrong);
  if (!batch->file) {
    (void)snprintf(why, why_size, "%s: %s", batch->results_path, wrong);
    return false;
  }
  if (batch->source == COMMAND_FROM_JUNIT)
    batch->junit = junit_new(command_results_on_junit, batch->results);
  else
    batch->tap = tap_new(command_results_on_tap, batch->results);
  return true;
}

// A slice of the file. The reader bounds what it reads in all.
static enum command_read read_slice(struct command_batch *batch, char *why, size_t why_size) {
  enum { SLICE_BYTES = 128 * 1024 };
  static char slice[SLICE_BYTES];  // too large for the stack; one thread
  size_t n = fread(slice, 1, sizeof(slice), batch->file);
  bool last = n < sizeof(slice);
  if (ferror(batch->file)) {
    (void)snprintf(why, why_size, "%s: cannot be read to its end", batch->results_path);
    return COMMAND_READ_BROKEN;
  }
  if (batch->junit) {
    bool good = junit_feed(batch->junit, slice, n, last) == 0;
    if (good && !last) return COMMAND_READ_MORE;
    take_notes(batch);
    if (good) return COMMAND_READ_WHOLE;
    (void)snprintf(why, why_size, "%s: %s", batch->results_path, junit_why(batch->junit));
    return COMMAND_READ_BROKEN;
  }
  tap_feed(batch->tap, slice, n);
  return last ? end_tap(batch, why, why_size) : COMMAND_READ_MORE;
}

static void take_notes(struct command_batch *batch) {
  struct junit_notes notes = junit_notes(batch->junit);
  if (notes.decimal_comma) command_results_decimal_comma(batch->results);
  if (!notes.lost[0]) return;
  char file[SHOWN_BYTES], lost[SHOWN_BYTES];
  base_log(LOG_LEVEL_WARN, "results_lost", "file=%s lost=%s",
           base_quote(file, sizeof file, batch->results_path, strlen(batch->results_path)),
           base_quote(lost, sizeof lost, notes.lost, strlen(notes.lost)));
}

static enum command_read end_tap(struct command_batch *batch, char *why, size_t why_size) {
  if (tap_finish(batch->tap) == 0) return COMMAND_READ_WHOLE;
  const char *path = batch->results_path ? batch->results_path : "";
  (void)snprintf(why, why_size, "%s%s%s", path, *path ? ": " : "", tap_why(batch->tap));
  return COMMAND_READ_BROKEN;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where) {
  (void)info, (void)kind, (void)where;
  return remove(path);
}

static void remove_tree(const char *path) {
  enum { OPEN_FOLDERS = 16 };
  if (nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0 || errno == ENOENT) return;
  base_log(LOG_LEVEL_WARN, "leftover", "folder=%s error=\"%s\"", path, strerror(errno));
}
