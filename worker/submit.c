// Results after the event. A file becomes a worker of its build that asks for nothing but a lease of the tests it has
// results of; the server takes them as it would any other worker's, so that a test which has its verdict by now keeps
// it. Files that were handed over are removed. It must not know who wrote them.
#include "worker/submit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/client.h"
#include "worker/human.h"
#include "worker/listing.h"
#include "worker/spool_file.h"

enum { SUBMIT_TRY_MS = 3000, SUBMIT_ANSWER_MS = 60000, WHY_BYTES = 1024 };

struct submission {
  const struct submit *submit;
  const char *path;
  struct spool_reader *reader;
  struct client *client;
  struct client_error error;
  char *build;        // as people are told
  uint64_t seq;       // of the last Results
  uint64_t acked;     // the server has those up to this one
  size_t rows;        // handed over
  size_t known;       // not needed: they came before
  uint64_t retry_us;  // the server is busy, and asked to be tried again after this
  bool over;          // the build was complete: it takes nothing
  bool welcomed;
  bool twice;        // another job ran the same part, and so a part never ran
  bool want_list;    // the chunks are to be sent
  bool agreed;       // the server has this list
  bool stays_quiet;  // it failed for want of a server
  char why[WHY_BYTES];
};

static int submission_fail(struct submission *submission, const char *why) {
  snprintf(submission->why, sizeof submission->why, "%s", why);
  return -1;
}

static void submission_refused(const struct submission *submission) {
  if (submission->submit->refused) *submission->submit->refused = true;
}

static int submission_odd(struct submission *submission, const Shardd__Frame *frame) {
  if (frame->body_case != SHARDD__FRAME__BODY_ERROR) {
    snprintf(submission->why, sizeof submission->why, "the server sent %s, which makes no sense here", msg_name(frame));
    return -1;
  }
  bool busy = frame->error->code == SHARDD__ERROR_CODE__ERROR_BUSY;
  if (frame->error->code == SHARDD__ERROR_CODE__ERROR_DIFFERS) submission_refused(submission);
  submission->retry_us = busy ? frame->error->retry_us : 0;
  char *safe = human_safe(frame->error->text.data, frame->error->text.len, ESCAPE_LINE);
  snprintf(submission->why, sizeof submission->why, "the server says: %.900s", safe);
  free(safe);
  return -1;
}

// Sends a message and waits for the one of this kind that answers it.
static int submission_call(struct submission *submission, const Shardd__Frame *frame, Shardd__Frame__BodyCase wanted,
                           const Shardd__Frame **reply) {
  for (;;) {
    if (client_call(submission->client, frame, SUBMIT_ANSWER_MS, reply, &submission->error) < 0) {
      return submission_fail(submission, submission->error.text);
    }
    if ((*reply)->body_case == wanted) return 0;
    bool other = (*reply)->body_case == SHARDD__FRAME__BODY_ACK ||      // of something before
                 (*reply)->body_case == SHARDD__FRAME__BODY_DRAINED ||  // the build has failed enough
                 (*reply)->body_case == SHARDD__FRAME__BODY_REVOKE;
    if (!other) return submission_odd(submission, *reply);
    frame = NULL;
  }
}

// ---- the hello

static int submission_connect(struct submission *submission) {
  uint64_t until = base_now_us() + submission->submit->timeout_us;
  for (unsigned tries = 0;; tries++) {
    if (client_connect(submission->client, SUBMIT_TRY_MS, &submission->error) == 0) return 0;
    uint64_t pause = (uint64_t)client_backoff_ms(tries) * 1000;
    if (base_now_us() + pause >= until) break;
    usleep((useconds_t)pause);
  }
  submission->stays_quiet = submission->submit->quiet;
  return submission_fail(submission, submission->error.text);
}

static int submission_hello(struct submission *submission, const Shardd__Frame *from) {
  const Shardd__Frame *reply;
  Shardd__Frame frame = *from;
  Shardd__Hello hello = *from->hello;
  if (hello.role != SHARDD__ROLE__ROLE_WORKER || hello.build.len == 0 || !hello.brings) {
    return submission_fail(submission, "its first message is not that of a worker which brings results");
  }
  submission->build = human_safe(hello.build.data, hello.build.len, ESCAPE_LINE);
  hello.version = MSG_VERSION;
  hello.token = msg_text(submission->submit->options->token);
  frame.hello = &hello;
  uint64_t until_us = base_now_us() + submission->submit->timeout_us;
  for (;;) {
    if (submission_connect(submission) < 0) return -1;
    if (submission_call(submission, &frame, SHARDD__FRAME__BODY_WELCOME, &reply) == 0) break;
    if (submission->retry_us == 0 || base_now_us() + submission->retry_us >= until_us) return -1;
    client_close(submission->client);
    usleep((useconds_t)submission->retry_us);
  }
  submission->over = reply->welcome->state == SHARDD__BUILD_STATE__BUILD_COMPLETE;
  submission->agreed = reply->welcome->list_known;
  submission->acked = reply->welcome->acked;
  submission->welcomed = true;
  return 0;
}

// ---- the list

static int submission_list_reply(struct submission *submission, const Shardd__ListReply *reply) {
  submission->want_list = reply->want == SHARDD__LIST_WANT__LIST_SEND;
  submission->agreed = reply->want == SHARDD__LIST_WANT__LIST_OK;
  if (reply->want != SHARDD__LIST_WANT__LIST_MISMATCH) return 0;
  listing_print_mismatch(reply, stderr);
  submission_refused(submission);
  return submission_fail(submission, "the build has another list than these results are of");
}

static int submission_offer(struct submission *submission, const Shardd__Frame *frame) {
  const Shardd__Frame *reply;
  submission->agreed = false;
  if (submission_call(submission, frame, SHARDD__FRAME__BODY_LIST_REPLY, &reply) < 0) return -1;
  return submission_list_reply(submission, reply->list_reply);
}

static int submission_chunk(struct submission *submission, const Shardd__Frame *frame) {
  const Shardd__Frame *reply;
  if (!submission->want_list) return 0;
  if (client_send(submission->client, frame, &submission->error) < 0) {
    return submission_fail(submission, submission->error.text);
  }
  if (!frame->list_chunk->last) return 0;
  submission->want_list = false;
  if (submission_call(submission, NULL, SHARDD__FRAME__BODY_LIST_REPLY, &reply) < 0) return -1;
  return submission_list_reply(submission, reply->list_reply);
}

// ---- results

static int submission_claim(struct submission *submission, const Shardd__Results *results, uint64_t *lease) {
  const Shardd__Frame *reply;
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__LeaseRequest request = SHARDD__LEASE_REQUEST__INIT;
  request.claim = results->test;
  request.n_claim = results->n_test;
  frame.body_case = SHARDD__FRAME__BODY_LEASE_REQUEST;
  frame.lease_request = &request;
  if (submission_call(submission, &frame, SHARDD__FRAME__BODY_LEASE, &reply) < 0) return -1;
  *lease = reply->lease->lease;
  return 0;
}

static int submission_results(struct submission *submission, const Shardd__Frame *from) {
  const Shardd__Frame *reply;
  Shardd__Frame frame = *from;
  Shardd__Results results = *from->results;
  if (!submission->agreed) {
    return submission_fail(submission, "the server does not know this build's list: was its database replaced?");
  }
  if (from->seq <= submission->seq) return submission_fail(submission, "its messages are not numbered upwards");
  submission->seq = from->seq;
  if (from->seq <= submission->acked) {
    submission->known += results.n_test;
    return 0;
  }
  if (submission_claim(submission, &results, &results.lease) < 0) return -1;
  frame.results = &results;
  if (submission_call(submission, &frame, SHARDD__FRAME__BODY_ACK, &reply) < 0) return -1;
  while (reply->ack->seq < submission->seq) {
    if (submission_call(submission, NULL, SHARDD__FRAME__BODY_ACK, &reply) < 0) return -1;
  }
  submission->rows += results.n_test;
  return 0;
}

static void submission_twice(struct submission *submission, const Shardd__Goodbye *goodbye) {
  if (goodbye->twice.len == 0) return;
  char *safe = human_safe(goodbye->twice.data, goodbye->twice.len, ESCAPE_LINE);
  fprintf(stderr, "shard: exit %d: %s\n", EXIT_INFRA, safe);
  free(safe);
  submission->twice = true;
  submission_refused(submission);
}

static int submission_bye(struct submission *submission, const Shardd__Frame *frame) {
  const Shardd__Frame *reply;
  if (submission_call(submission, frame, SHARDD__FRAME__BODY_GOODBYE, &reply) < 0) return -1;
  const Shardd__Goodbye *goodbye = reply->goodbye;
  submission_twice(submission, goodbye);
  if (submission->submit->options->quiet) return 0;
  if (submission->known) {
    fprintf(stderr, "shard: the server had %zu results of build %s already\n", submission->known, submission->build);
  }
  fprintf(stderr, "shard: %s %zu results of build %s%s; %u of its %u tests have a verdict, %u failing\n",
          submission->over ? "not needed:" : "handed over", submission->rows, submission->build,
          submission->over ? ", which is complete without them" : "", goodbye->settled, goodbye->total,
          goodbye->failing);
  return 0;
}

// ---- a file

static int submission_frame(struct submission *submission, const Shardd__Frame *frame) {
  if (frame->body_case == SHARDD__FRAME__BODY_HELLO) return submission_hello(submission, frame);
  if (frame->body_case == SHARDD__FRAME__BODY_LIST_OFFER) return submission_offer(submission, frame);
  if (frame->body_case == SHARDD__FRAME__BODY_LIST_CHUNK) return submission_chunk(submission, frame);
  if (frame->body_case == SHARDD__FRAME__BODY_BYE) return submission_bye(submission, frame);
  return submission_results(submission, frame);
}

static int submission_run(struct submission *submission) {
  const Shardd__Frame *frame;
  int got;
  submission->reader = spool_reader_open(submission->path, submission->why, sizeof submission->why);
  if (!submission->reader) return -1;
  submission->client = client_new(submission->submit->options->server, &submission->error);
  if (!submission->client) return submission_fail(submission, submission->error.text);
  while ((got = spool_reader_next(submission->reader, &frame, submission->why, sizeof submission->why)) > 0) {
    if (submission_frame(submission, frame) < 0) return -1;
  }
  return got;
}

// The server need not wait for a worker that will not come back.
static void submission_give_up(struct submission *submission) {
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__Bye bye = SHARDD__BYE__INIT;
  const Shardd__Frame *reply;
  if (!submission->welcomed || !client_connected(submission->client)) return;
  bye.reason = SHARDD__BYE_REASON__BYE_SIGNAL;  // not of the worker's test process, of which its own bye tells
  bye.text = msg_text("its results could not be handed over");
  frame.body_case = SHARDD__FRAME__BODY_BYE;
  frame.bye = &bye;
  (void)client_call(submission->client, &frame, SUBMIT_TRY_MS, &reply, &submission->error);
}

int submit_file(const struct submit *submit, const char *path) {
  struct submission submission = {.submit = submit, .path = path};
  int rc = submission_run(&submission);
  if (rc < 0) submission_give_up(&submission);
  char *safe = human_safe(path, strlen(path), ESCAPE_LINE);
  if (rc < 0 && !submission.stays_quiet) fprintf(stderr, "shard: %s was not handed over: %s\n", safe, submission.why);
  if (rc == 0 && spool_reader_remove(submission.reader) != 0)
    fprintf(stderr, "shard: cannot remove %s: %s\n", safe, strerror(errno));
  free(safe);
  spool_reader_close(submission.reader);
  client_free(submission.client);
  free(submission.build);
  return rc < 0 || submission.twice ? EXIT_INFRA : EXIT_OK;
}

static int submit_all(const struct submit *submit, char **paths, size_t count) {
  int code = EXIT_OK;
  for (size_t i = 0; i < count; i++) {
    if (submit_file(submit, paths[i]) != EXIT_OK) code = EXIT_INFRA;
  }
  return code;
}

static void submit_say(size_t files, const char *what) {
  if (files) fprintf(stderr, "shard: %zu %s %s\n", files, files == 1 ? "file is" : "files are", what);
}

// Who holds a file hands it over, or says that it could not; what cannot be locked nobody would.
static int submit_found(const struct submit *submit) {
  struct spool_found found;
  char why[WHY_BYTES];
  if (spool_file_find(submit->options->spool, &found, why, sizeof why) < 0) {
    fprintf(stderr, "shard submit: %s\n", why);
    return EXIT_INFRA;
  }
  bool all = found.held == 0 && found.unknown == 0;
  if (!submit->options->quiet && found.count == 0 && all) fprintf(stderr, "shard: no results wait to be handed over\n");
  int code = submit_all(submit, found.path, found.count);
  if (!submit->options->quiet) submit_say(found.held, "in use by a run or another submit");
  submit_say(found.unknown, "left: nothing can be locked there, and so it is not known whether a run goes on");
  if (found.unknown) code = EXIT_INFRA;
  spool_found_release(&found);
  return code;
}

int submit_main(struct options *options, char **words, size_t count, char **command) {
  struct submit submit = {.options = options, .timeout_us = options->connect_timeout_us};
  (void)command;
  if (!options->server[0]) {
    fprintf(stderr, "shard submit: which server? set --server or SHARD_SERVER\n");
    return EXIT_USAGE;
  }
  return count ? submit_all(&submit, words, count) : submit_found(&submit);
}
