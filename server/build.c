// Builds in memory: made by session.c or recover.c, found by key, id or session, evicted when they ended and everybody
// has left (the store keeps them). It must not know messages or SQL.
#include "server/build.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/listing.h"
#include "server/same.h"
#include "server/scope.h"
#include "server/server.h"
#include "server/twin.h"
#include "server/upload.h"

struct build *build_new(struct server *server, const struct store_build *from, const struct queue_policy *policy) {
  struct build *build = base_calloc(1, sizeof *build);
  build->id = from->build;
  build->project = base_strdup(from->project);
  build->suite = base_strdup(from->suite);
  build->ext = base_strdup(from->ext);
  build->commit = base_strdup(from->commit);
  build->branch = base_strdup(from->branch);
  build->started_ms = from->started_ms;
  build->timeout_per_test_us = from->timeout_per_test_us;
  build->order = from->order;
  build->tokens = base_strdup(from->tokens ? from->tokens : "");
  build->mixed = from->mixed;
  build->has_sources = from->has_sources;
  memcpy(build->sources, from->sources, sizeof build->sources);
  same_restore(build, from->facts);
  build->queue = queue_new(policy, store_epoch(server->store), server->now_us);
  names_init(&build->ids, server->hash_seed);
  map_init(&build->files, server->hash_seed);
  map_init(&build->reasons, server->hash_seed);
  build->next = server->builds;
  server->builds = build;
  server->build_count++;
  return build;
}

static void build_free_session(struct session *session) {
  upload_free(session->diff);
  free(session->node);
  free(session->attempt);
  free(session->host);
  twin_free(session->twin);
  free(session);
}

void build_free(struct server *server, struct build *build) {
  struct build **at = &server->builds;
  while (*at != build)
    at = &(*at)->next;
  *at = build->next;
  server->build_count--;
  for (uint32_t i = 0; i < build->session_count; i++) {
    if (build->session[i]) build_free_session(build->session[i]);
  }
  queue_free(build->queue);
  upload_free(build->upload);
  names_release(&build->ids);
  map_release(&build->files);
  map_release(&build->reasons);
  free(build->project);
  free(build->suite);
  free(build->ext);
  free(build->commit);
  free(build->branch);
  free(build->listed_by);
  free(build->tokens);
  same_release(build);
  free(build->note);
  free(build->skips);
  free(build->file_of);
  free(build->number_of);
  free(build->position_of);
  free(build->row_of);
  free(build->cap_ms);
  free(build->session);
  free(build);
}

struct build *build_find(struct server *server, const char *project, const char *suite, const char *ext) {
  struct build *build = server->builds;
  while (build &&
         (strcmp(build->ext, ext) != 0 || strcmp(build->suite, suite) != 0 || strcmp(build->project, project) != 0)) {
    build = build->next;
  }
  return build;
}

struct build *build_by_id(struct server *server, uint64_t id) {
  struct build *build = server->builds;
  while (build && build->id != id)
    build = build->next;
  return build;
}

struct session *build_add_session(struct build *build, uint32_t worker, const char *node, const char *attempt,
                                  const char *host) {
  assert(worker == build->session_count);
  if ((build->session_count & (build->session_count - 1)) == 0) {
    uint32_t room = build->session_count ? build->session_count * 2 : 1;
    build->session = base_realloc(build->session, room, sizeof *build->session);
  }
  struct session *session = base_calloc(1, sizeof *session);
  session->build = build;
  session->worker = worker;
  session->node = base_strdup(node);
  session->attempt = base_strdup(attempt);
  session->host = base_strdup(host);
  build->session[build->session_count++] = session;
  return session;
}

struct session *build_find_session(struct build *build, const uint8_t *token) {
  for (uint32_t i = 0; i < build->session_count; i++) {
    if (memcmp(build->session[i]->token, token, STORE_SESSION_BYTES) == 0) return build->session[i];
  }
  return NULL;
}

bool build_collects(const struct build *build, uint32_t before) {
  for (uint32_t i = 0; i < build->session_count && i < before; i++) {
    const struct session *session = build->session[i];
    if (session->conn && !session->left && !session->wants_list) return true;
  }
  return false;
}

// ---- reasons of skips

uint32_t build_reason(struct build *build, const char *text, size_t n) {
  bool added;
  n = store_reason_bytes(text, n);
  if (n == 0) return 0;
  uint32_t number = map_find(&build->reasons, text, n);
  if (number == MAP_NONE && build->reasons.count < LIMIT_SKIP_REASONS)
    number = map_add(&build->reasons, text, n, &added);
  return number == MAP_NONE ? LIMIT_SKIP_REASONS + 1 : number + 1;
}

const char *build_reason_text(const struct build *build, uint32_t reason) {
  return reason && reason <= build->reasons.count ? map_name(&build->reasons, reason - 1) : "";
}

// ---- the list

static int build_compare_ids(const void *a, const void *b, void *arg) {
  const struct store_list *list = *(const struct store_list **)arg;
  return strcmp(list->id[*(const uint32_t *)a], list->id[*(const uint32_t *)b]);
}

// Collection order is often the order of the bytes, or nearly.
static bool build_in_order(const struct store_list *list) {
  for (uint32_t i = 1; i < list->count; i++) {
    if (strcmp(list->id[i - 1], list->id[i]) > 0) return false;
  }
  return true;
}

static void build_number(struct build *build, const struct store_list *list) {
  build->number_of = base_calloc(list->count + 1, sizeof *build->number_of);
  build->position_of = base_calloc(list->count + 1, sizeof *build->position_of);
  for (uint32_t i = 0; i < list->count; i++) {
    build->position_of[i] = i;
  }
  if (!build_in_order(list))
    qsort_r(build->position_of, list->count, sizeof *build->position_of, build_compare_ids, &list);
  for (uint32_t i = 0; i < list->count; i++) {
    build->number_of[build->position_of[i]] = i;
  }
}

// Many ids at a time: a call of libcrypto costs as much as the hash of an id. At the first need: after a restart the
// workers come back without an offer, and it may never be asked for.
const uint8_t *build_digest(struct build *build) {
  char text[4 * (MSG_ID_MAX_BYTES + 1)];
  size_t used = 0;
  if (build->digested) return build->digest;
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  unsigned bytes = STORE_DIGEST_BYTES;
  bool ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
  for (uint32_t i = 0; ok && i < build->ids.count; i++) {
    size_t n = names_length(&build->ids, build->position_of[i]);
    assert(n <= MSG_ID_MAX_BYTES);
    if (sizeof text - used < n + 1) {
      ok = EVP_DigestUpdate(context, text, used);
      used = 0;
    }
    names_copy(&build->ids, build->position_of[i], text + used);
    text[used + n] = '\n';
    used += n + 1;
  }
  ok = ok && EVP_DigestUpdate(context, text, used) && EVP_DigestFinal_ex(context, build->digest, &bytes);
  EVP_MD_CTX_free(context);
  if (!ok) base_die(EXIT_INFRA, "libcrypto: SHA-256 failed");
  build->digested = true;
  return build->digest;
}

static void build_finish_list(struct build *build, const struct store_list *list) {
  size_t longest_file = 0;
  assert(build->ids.count == list->count && build->files.count == list->file_count);
  for (uint32_t i = 0; i < build->files.count; i++) {
    if (map_length(&build->files, i) > longest_file) longest_file = map_length(&build->files, i);
  }
  build->longest_bytes = list->count ? build->ids.longest + longest_file : 0;
  build->file_of = base_calloc(list->count + 1, sizeof *build->file_of);
  if (list->count) memcpy(build->file_of, list->file_of, list->count * sizeof *build->file_of);
  build_number(build, list);
  build->digested = false;
}

void build_take_list(struct build *build, struct names *ids, struct map *files, const struct store_list *list) {
  assert(build->ids.count == 0 && build->files.count == 0);
  names_release(&build->ids);
  map_release(&build->files);
  build->ids = *ids;
  build->files = *files;
  *ids = (struct names){0};
  *files = (struct map){0};
  build_finish_list(build, list);
}

void build_set_list(struct build *build, const struct store_list *list) {
  bool added;
  assert(build->ids.count == 0);
  names_reserve(&build->ids, list->count);
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t number = names_add(&build->ids, list->id[i], strlen(list->id[i]), &added);
    assert(added && number == i);
  }
  for (uint32_t i = 0; i < list->file_count; i++) {
    map_add(&build->files, list->file[i], strlen(list->file[i]), &added);
  }
  names_trim(&build->ids);
  map_trim(&build->files);
  build_finish_list(build, list);
}

static uint32_t build_ms(uint64_t us) {
  uint64_t ms = us / 1000;
  if (ms == 0) return 1;
  return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

// The longest a test may take: what was asked for, else many times the longest known, at least some minutes.
static uint32_t build_cap_ms(const struct build *build, const struct estimate_history *history) {
  uint64_t high = estimate_high(history);
  if (build->timeout_per_test_us) return build_ms(build->timeout_per_test_us);
  if (!high) return 0;
  uint64_t cap = high * LIMIT_CAP_TIMES > LIMIT_CAP_LEAST_US ? high * LIMIT_CAP_TIMES : LIMIT_CAP_LEAST_US;
  return build_ms(cap);
}

uint32_t build_cap(const struct build *build, uint32_t worker, uint32_t position, enum build_cap_from *from) {
  uint32_t cap_ms = build->cap_ms[position], overruns = queue_overruns(build->queue, position);
  double slowness = queue_slowness(build->queue, worker);
  *from = overruns ? BUILD_CAP_LONGER : cap_ms ? BUILD_CAP_HISTORY : BUILD_CAP_UNSEEN;
  if (build->timeout_per_test_us) *from = BUILD_CAP_ASKED;
  if (build->timeout_per_test_us) return cap_ms;
  if (slowness < 1 || !cap_ms) slowness = 1;  // what was never seen has no time of which it could be a multiple
  if (!cap_ms) cap_ms = LIMIT_CAP_UNSEEN_US / 1000;
  if (slowness > LIMIT_CAP_SLOWNESS) slowness = LIMIT_CAP_SLOWNESS;
  double longer_us = (double)cap_ms * 1000 * slowness * (overruns ? LIMIT_CAP_LONGER : 1);
  return build_ms((uint64_t)longer_us);
}

// A group that takes longer than all would take if everything were spread evenly bounds the finish: somebody should
// know.
static void build_note_group(struct build *build, const struct scope *scope) {
  uint64_t group_us, sum_us = 0;
  const char *group = scope_longest_group(scope, &group_us);
  uint32_t workers = queue_at_work(build->queue);
  for (uint32_t i = 0; i < scope->list.count; i++)
    sum_us += scope->expected_us[i];
  if (!group || workers < 2 || group_us <= sum_us / workers) return;
  char name[200];
  base_quote(name, sizeof name, group, strlen(group));
  free(build->note);
  build->note = base_printf("the group %s takes %.1f s on one worker; %u workers could be done in %.1f s without it",
                            name, (double)group_us / 1e6, workers, (double)sum_us / workers / 1e6);
  base_log(LOG_LEVEL_WARN, "group_long", "build=%llu group=%s seconds=%.1f", (unsigned long long)build->id, name,
           (double)group_us / 1e6);
}

void build_list_ready(struct server *server, struct build *build, const struct store_list *list,
                      const struct store_listed *listed) {
  struct scope scope;
  const char *why;
  assert(listed->count == list->count && build->ids.count == list->count);
  scope_make(&scope, list, listed, build->order, build->tokens, &why);
  if (why) base_log(LOG_LEVEL_WARN, "marks", "build=%llu why=\"%s\"", (unsigned long long)build->id, why);
  if (why && !build->note) build->note = base_strdup(why);
  build->row_of = base_calloc(list->count + 1, sizeof *build->row_of);
  build->cap_ms = base_calloc(list->count + 1, sizeof *build->cap_ms);
  for (uint32_t i = 0; i < list->count; i++) {
    build->row_of[i] = listed->test[i];
    build->cap_ms[i] = build_cap_ms(build, &listed->history[i]);
  }
  build->listing = LISTING_READY;
  build_note_group(build, &scope);
  queue_set_list(build->queue, server->now_us, &scope.list, scope.tokens, &server->effects);
  for (uint32_t i = 0; i < list->count; i++) {
    if (listed->muted[i]) queue_mute(build->queue, i);
    if (listed->puzzles[i]) queue_puzzle(build->queue, i);
    queue_skip_history(build->queue, i, listed->skips[i], listed->ran[i]);
  }
  scope_release(&scope);
}

// ---- eviction

static bool build_deserted(const struct build *build) {
  for (uint32_t i = 0; i < build->session_count; i++) {
    if (build->session[i]->conn) return false;
  }
  return true;
}

// Nobody is connected to it and everything of it is on disk.
static bool build_quiet(const struct server *server, const struct build *build) {
  return build_deserted(build) && build->pending == 0 && store_durable(server->store) >= build->state_ticket;
}

uint32_t build_running(const struct server *server, bool with_list) {
  uint32_t n = 0;
  for (const struct build *build = server->builds; build; build = build->next)
    n += queue_state(build->queue) < QUEUE_COMPLETE && (build->listing != LISTING_NONE) == with_list;
  return n;
}

struct build *build_left_without_list(const struct server *server) {
  struct build *oldest = NULL;
  for (struct build *build = server->builds; build; build = build->next) {
    bool listless = queue_state(build->queue) < QUEUE_COMPLETE && build->listing == LISTING_NONE;
    if (listless && build_deserted(build)) oldest = build;
  }
  return oldest;
}

uint64_t build_evict(struct server *server, uint64_t now_us) {
  uint64_t next = UINT64_MAX;
  for (struct build *build = server->builds, *after; build; build = after) {
    after = build->next;
    uint64_t due = build->ended_us + (build->listing == LISTING_NONE ? 0 : LIMIT_BUILD_KEEP_US);
    if (queue_state(build->queue) < QUEUE_COMPLETE) continue;
    if (due <= now_us && build_quiet(server, build)) {
      build_free(server, build);
    } else if (due > now_us && due < next) {
      next = due;
    }
  }
  return next;
}
