// A worker that has not collected: it takes the build's list from the server, if it has the same files of tests, and
// compares with it each file that its test process imports. When nobody has a list it collects like the first. Called
// by run.c. It must not know how tests are collected.
#include <stdio.h>

#include "worker/listing.h"
#include "worker/run_impl.h"

static void run_lazy_request(struct run *run) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListRequest request = SHARDD__LIST_REQUEST__INIT;
  struct facts_message message;
  facts_fill(&run->identity.facts, &message);
  download_request(run->download, &request);
  request.facts = &message.facts;
  request.sources = run_list_sources_bytes(run);
  frame.body_case = SHARDD__FRAME__BODY_LIST_REQUEST;
  frame.list_request = &request;
  link_send(run->link, &frame);
}

void run_lazy_begin(struct run *run) {
  if (!run->download) run->download = download_new();
  run_lazy_request(run);
}

void run_lazy_scanned(void *arg) {
  struct run *run = arg;
  if (!run->list && !run->download && !run->ended) run_lazy_begin(run);
}

void run_lazy_chunk(struct run *run, const Shardd__ListChunk *chunk) {
  if (!run->download) return;  // it has collected meanwhile
  int end = download_chunk(run->download, chunk);
  if (end < 0) {
    run_die(run, EXIT_INFRA, "the list that the server sends makes no sense");
  } else if (end == 0) {
    run_lazy_request(run);
  } else {
    run->list = download_take(run->download);
    download_free(run->download);
    run->download = NULL;
    if (run->options->verbose) fprintf(stderr, "shard: the list has %zu tests\n", testlist_count(run->list));
    run_list_agreed(run);
  }
}

void run_lazy_collect(struct run *run) {
  if (!run->download) {
    run_die(run, EXIT_INFRA, "the server asks for a list that this worker has not");
    return;
  }
  run_lazy_forget(run);
  if (!run->options->quiet)
    fprintf(stderr, "shard: nothing shows that the list of tests is the same here: collecting all\n");
  if (!run->ended) run->ops->collect(run->runner);
}

void run_lazy_forget(struct run *run) {
  download_free(run->download);
  testlist_free(run->list);
  run->download = NULL;
  run->list = NULL;
  run->list_agreed = false;
}

bool run_lazy_opened(void *arg, const char *file, const struct testlist *found, const char *text) {
  const struct run *run = arg;
  return !run->list || listing_file_agrees(run->list, file, found, text, stderr);
}
