// The list of a worker that has collected: offered to the server, sent when it wants it, agreed on or not. Called by
// run.c. It must not know how tests are collected. A worker that has not: run_lazy.c.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/alone.h"
#include "worker/listing.h"
#include "worker/run_impl.h"

void run_list_agreed(struct run *run) {
  run->list_agreed = true;
  if (run->ended) {
    run_settle(run);
  } else {
    run_ask(run);
  }
}

// Only a worker that has no way to make a list takes the others' unseen: every other one is compared, since a checkout
// that holds other tests would lose them.
bool run_list_trusted(const struct run *run) {
  bool has_none = !run->options->list[0] && !run->options->list_file[0];
  return run->list_known && (run->ops->lists_itself || has_none);
}

static int run_list_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void run_list_sources(void *arg, const char *sha256_hex) {
  struct run *run = arg;
  run->has_sources = strlen(sha256_hex) == 2 * sizeof run->sources;
  for (size_t i = 0; run->has_sources && i < sizeof run->sources; i++) {
    int high = run_list_digit(sha256_hex[2 * i]), low = run_list_digit(sha256_hex[2 * i + 1]);
    run->has_sources = high >= 0 && low >= 0;
    run->sources[i] = (uint8_t)(high * 16 + low);
  }
}

ProtobufCBinaryData run_list_sources_bytes(const struct run *run) {
  return msg_bytes(run->sources, run->has_sources ? sizeof run->sources : 0);
}

void run_list_offer(struct run *run) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListOffer offer = SHARDD__LIST_OFFER__INIT;
  struct facts_message message;
  run->list_offered = true;
  if (run->alone) {
    alone_listed(run->alone, run);
    return;
  }
  facts_fill(&run->identity.facts, &message);
  listing_fill_offer(run->list, &offer);
  offer.facts = &message.facts;
  offer.sources = run_list_sources_bytes(run);
  frame.body_case = SHARDD__FRAME__BODY_LIST_OFFER;
  frame.list_offer = &offer;
  link_send(run->link, &frame);
}

void run_list_reply(struct run *run, const Shardd__ListReply *reply) {
  switch (reply->want) {
    case SHARDD__LIST_WANT__LIST_OK:
      listing_print_notes(reply, stderr);
      run_list_agreed(run);
      return;
    case SHARDD__LIST_WANT__LIST_SEND:
      if (run->list) {
        listing_send(run->list, run->link);
      } else {
        run_lazy_collect(run);
      }
      return;
    case SHARDD__LIST_WANT__LIST_MISMATCH:
      listing_print_mismatch(reply, stderr);
      run->end_kind = RUNNER_END_FAILED;
      free(run->why);
      run->why = base_strdup("this worker collected other tests than the build's first");
      run->ended = true;
      run_bye(run);
      return;
    case SHARDD__LIST_WANT__LIST_UNSET:
    case _SHARDD__LIST_WANT_IS_INT_SIZE: break;
  }
  run_die(run, EXIT_INFRA, "the server's answer to the list makes no sense");
}

void run_list_listed(void *arg, struct testlist *list) {
  struct run *run = arg;
  testlist_seal(list);
  run_lazy_forget(run);
  run->list = list;
  if (!run->options->quiet) fprintf(stderr, "shard: collected %zu tests\n", testlist_count(list));
  run_list_offer(run);
}
