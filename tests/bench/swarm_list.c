// The list of the generated suite, as a worker offers and sends it. Called by swarm.c for the first worker of a build.
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/swarm.h"

enum { LIST_CHUNK = 5000 };

static void list_digest(uint32_t tests, uint8_t digest[MSG_DIGEST_BYTES]) {
  EVP_MD_CTX *hash = EVP_MD_CTX_new();
  bool ok = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;
  for (uint32_t i = 0; ok && i < tests; i++) {
    char id[BENCH_NAME_ROOM];
    bench_id(id, i);
    id[BENCH_ID_BYTES] = '\n';
    ok = EVP_DigestUpdate(hash, id, BENCH_ID_BYTES + 1) == 1;
  }
  if (!ok || EVP_DigestFinal_ex(hash, digest, NULL) != 1) bench_die("list", "SHA-256 failed");
  EVP_MD_CTX_free(hash);
}

static void list_offer(struct swarm_worker *worker) {
  uint8_t digest[MSG_DIGEST_BYTES];
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListOffer offer = SHARDD__LIST_OFFER__INIT;
  list_digest(worker->swarm->tests, digest);
  offer.count = worker->swarm->tests;
  offer.sha256 = msg_bytes(digest, sizeof digest);
  frame.body_case = SHARDD__FRAME__BODY_LIST_OFFER;
  frame.list_offer = &offer;
  swarm_send(worker, &frame);
}

static void list_chunk(struct swarm_worker *worker, uint32_t from, uint32_t to) {
  static char text[LIST_CHUNK][BENCH_NAME_ROOM], name[LIST_CHUNK / BENCH_FILE_TESTS + 1][BENCH_NAME_ROOM];
  static ProtobufCBinaryData id[LIST_CHUNK], file[LIST_CHUNK / BENCH_FILE_TESTS + 1];
  static uint32_t file_of[LIST_CHUNK], unit_of[LIST_CHUNK];
  Shardd__Frame frame = SHARDD__FRAME__INIT;
  Shardd__ListChunk chunk = SHARDD__LIST_CHUNK__INIT;
  for (uint32_t i = from; i < to; i++) {
    bench_id(text[i - from], i);
    id[i - from] = msg_text(text[i - from]);
    file_of[i - from] = i / BENCH_FILE_TESTS;
    unit_of[i - from] = i / worker->swarm->unit_tests;
    if (i % BENCH_FILE_TESTS) continue;
    bench_file(name[chunk.n_file], i / BENCH_FILE_TESTS);
    file[chunk.n_file] = msg_text(name[chunk.n_file]);
    chunk.n_file++;
  }
  chunk.n_id = chunk.n_file_of = chunk.n_unit_of = to - from;
  chunk.id = id;
  chunk.file = file;
  chunk.file_of = file_of;
  chunk.unit_of = unit_of;
  chunk.last = to == worker->swarm->tests;
  frame.body_case = SHARDD__FRAME__BODY_LIST_CHUNK;
  frame.list_chunk = &chunk;
  swarm_send(worker, &frame);
}

void swarm_list(struct swarm_worker *worker) {
  list_offer(worker);
  const Shardd__Frame *reply = swarm_wait(worker);
  if (reply->body_case != SHARDD__FRAME__BODY_LIST_REPLY) bench_die("list", msg_name(reply));
  if (reply->list_reply->want != SHARDD__LIST_WANT__LIST_SEND) return;
  for (uint32_t i = 0; i < worker->swarm->tests; i += LIST_CHUNK) {
    uint32_t end = i + LIST_CHUNK < worker->swarm->tests ? i + LIST_CHUNK : worker->swarm->tests;
    list_chunk(worker, i, end);
  }
  reply = swarm_wait(worker);
  if (reply->body_case != SHARDD__FRAME__BODY_LIST_REPLY || reply->list_reply->want != SHARDD__LIST_WANT__LIST_OK)
    bench_die("list", msg_name(reply));
}
