// Puts a list of tests together from the chunks of the server. Called by run_lazy.c. It must not know what is done with
// the list.
#include "worker/download.h"

#include <assert.h>
#include <stdlib.h>

struct download {
  struct testlist *list;
  char **file;  // in the order in which the chunks name them
  size_t files, room;
};

struct download *download_new(void) {
  struct download *download = base_calloc(1, sizeof *download);
  download->list = testlist_new();
  return download;
}

void download_free(struct download *download) {
  if (!download) return;
  for (size_t i = 0; i < download->files; i++)
    free(download->file[i]);
  free(download->file);
  testlist_free(download->list);
  free(download);
}

void download_request(const struct download *download, Shardd__ListRequest *request) {
  request->tests = (uint32_t)testlist_count(download->list);
  request->files = (uint32_t)download->files;
}

static int download_files(struct download *download, const Shardd__ListChunk *chunk) {
  if (chunk->n_file > MSG_LIST_MAX - download->files) return -1;
  if (download->files + chunk->n_file > download->room) {
    download->room = (download->files + chunk->n_file) * 2;
    download->file = base_realloc(download->file, download->room, sizeof *download->file);
  }
  for (size_t i = 0; i < chunk->n_file; i++)
    download->file[download->files++] = base_memdup0(chunk->file[i].data, chunk->file[i].len);
  return 0;
}

int download_chunk(struct download *download, const Shardd__ListChunk *chunk) {
  if (download_files(download, chunk) < 0) return -1;
  for (size_t i = 0; i < chunk->n_id; i++) {
    uint32_t file = chunk->file_of[i];
    if (file != MSG_NO_FILE && file >= download->files) return -1;
    if (testlist_add(download->list, (const char *)chunk->id[i].data, chunk->id[i].len,
                     file == MSG_NO_FILE ? NULL : download->file[file], chunk->unit_of[i]) < 0) {
      return -1;
    }
  }
  if (!chunk->last) return chunk->n_id || chunk->n_file ? 0 : -1;
  return testlist_seal(download->list) ? -1 : 1;
}

struct testlist *download_take(struct download *download) {
  struct testlist *list = download->list;
  assert(list);
  download->list = NULL;
  return list;
}
