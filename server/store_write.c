// Records to rows: walks a batch in order, inside one transaction that store_thread.c begins and ends. Called by the
// store thread alone. What a batch adds up to per worker and per build (sequence numbers, counters) is gathered while
// records of the same worker follow each other, and written once. Must not know when or whether the transaction
// commits.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

struct tally {  // of neighbouring results of one worker
  uint64_t build, seq, busy_us;
  uint32_t worker, tests, failed;
  int64_t passed_verdicts, failed_verdicts, skipped_verdicts, muted_verdicts;
};

struct writing {
  struct store *store;
  struct store_db *db;
  struct tally tally;
  struct store_done **done_end;
};

static void write_build(struct writing *to, const unsigned char *at);
static void write_identity(struct writing *to, const unsigned char *at);
static void write_worker(struct writing *to, const unsigned char *at);
static void write_list(struct writing *to, const unsigned char *at);
static void write_result(struct writing *to, const unsigned char *at);
static void write_round(struct writing *to, const unsigned char *at);
static void write_state(struct writing *to, const unsigned char *at);
static void write_left(struct writing *to, const unsigned char *at);
static void write_mute(struct writing *to, const unsigned char *at);
static void write_import(struct writing *to, const unsigned char *at);
static void write_cleared(struct writing *to, const unsigned char *at);
static void count_result(struct writing *to, const struct store_result *result);
static void count_verdict(struct tally *tally, uint32_t status, int64_t step);
static void flush(struct writing *to);
static void take_back(struct writing *to, uint64_t build, uint32_t round, const uint32_t *tests, uint32_t count);
static uint32_t *last_rounds(struct store_db *db, uint64_t build, uint32_t round, const uint32_t *sorted,
                             uint32_t count);
static const char *take_text(const unsigned char **at);

static void (*const writers[])(struct writing *to, const unsigned char *at) = {
    [STORE_KIND_BUILD] = write_build,       [STORE_KIND_WORKER] = write_worker,   [STORE_KIND_LIST] = write_list,
    [STORE_KIND_RESULT] = write_result,     [STORE_KIND_ROUND] = write_round,     [STORE_KIND_STATE] = write_state,
    [STORE_KIND_LEFT] = write_left,         [STORE_KIND_MUTE] = write_mute,       [STORE_KIND_IMPORT] = write_import,
    [STORE_KIND_IDENTITY] = write_identity, [STORE_KIND_CLEARED] = write_cleared,
};
static_assert(COUNT_OF(writers) == STORE_KIND_COUNT, "one writer per kind of record");

void store_write_batch(struct store *store, const struct store_batch *batch, struct store_done **done) {
  struct writing to = {.store = store, .db = &store->writer, .done_end = done};
  for (size_t at = 0; at < batch->n && to.db->rc == SQLITE_OK;) {
    struct store_record head;
    memcpy(&head, batch->bytes + at, sizeof head);
    assert(head.bytes >= sizeof head && head.bytes <= batch->n - at && head.kind < STORE_KIND_COUNT);
    if (head.kind != STORE_KIND_RESULT) flush(&to);
    writers[head.kind](&to, batch->bytes + at + sizeof head);
    at += head.bytes;
  }
  flush(&to);
}

static void write_build(struct writing *to, const unsigned char *at) {
  struct store_build b;
  memcpy(&b, at, sizeof b);
  at += sizeof b;
  b.project = take_text(&at);
  b.suite = take_text(&at);
  b.ext = take_text(&at);
  b.commit = take_text(&at);
  b.branch = take_text(&at);
  b.tokens = take_text(&at);
  uint64_t suite = store_write_suite(to->db, b.project, b.suite);
  store_sql_run(
      to->db, SQL_BUILD_ADD,
      STORE_ARGS(store_int(b.build), store_int(suite), store_text(b.ext), store_text(b.commit), store_text(b.branch),
                 store_int(STORE_COLLECTING), store_int(b.started_ms), store_int(b.retries), store_int(b.max_failures),
                 store_int(b.on_retry), store_int(b.by_file), store_int(b.linger_us), store_int(b.timeout_per_test_us),
                 store_int(b.order), store_int(b.by_class), store_text(b.tokens ? b.tokens : ""),
                 store_int(b.min_workers), store_int(b.min_workers_us), store_int(b.trunk)));
  if (b.untrusted) store_sql_run(to->db, SQL_BUILD_UNTRUSTED, STORE_ARGS(store_int(b.build)));
}

static void write_identity(struct writing *to, const unsigned char *at) {
  struct store_identity i;
  memcpy(&i, at, sizeof i);
  at += sizeof i;
  i.commit = take_text(&at);
  i.facts = take_text(&at);
  store_sql_run(to->db, SQL_BUILD_IDENTITY,
                STORE_ARGS(store_int(i.build), store_text(i.commit), store_text(i.facts), store_int(i.mixed),
                           store_blob(i.sources, i.has_sources ? sizeof i.sources : 0)));
}

uint64_t store_write_suite(struct store_db *db, const char *project, const char *suite) {
  uint64_t id = store_sql_number(db, SQL_PROJECT_FIND, STORE_ARGS(store_text(project)));
  if (id == 0) id = store_sql_number(db, SQL_PROJECT_ADD, STORE_ARGS(store_text(project)));
  uint64_t found = store_sql_number(db, SQL_SUITE_FIND, STORE_ARGS(store_int(id), store_text(suite)));
  return found ? found : store_sql_number(db, SQL_SUITE_ADD, STORE_ARGS(store_int(id), store_text(suite)));
}

// A worker that comes back under its number keeps what it has counted and acknowledged.
static void write_worker(struct writing *to, const unsigned char *at) {
  struct store_worker w;
  memcpy(&w, at, sizeof w);
  at += sizeof w;
  w.node = take_text(&at);
  w.attempt = take_text(&at);
  w.host = take_text(&at);
  const struct store_arg args[] = {
      store_int(w.build),     store_int(w.worker), store_text(w.node),
      store_text(w.attempt),  store_text(w.host),  store_blob(w.session, sizeof w.session),
      store_int(w.joined_ms), store_int(w.brings), store_int(w.completed),
      store_int(w.again),     store_int(w.opened), store_int(w.part),
      store_int(w.parts),
  };
  store_sql_run(to->db, SQL_WORKER_UPDATE, args, COUNT_OF(args));
  if (to->db->rc != SQLITE_OK || sqlite3_changes(to->db->sqlite) > 0) return;
  store_sql_run(to->db, SQL_WORKER_ADD, args, COUNT_OF(args));
  store_sql_run(to->db, SQL_BUILD_WORKER, STORE_ARGS(store_int(w.build)));
}

static void write_list(struct writing *to, const unsigned char *at) {
  struct store_list list;
  memcpy(&list, at, sizeof list);
  at += sizeof list;
  const char **id = base_calloc(list.count, sizeof *id), **file = base_calloc(list.file_count, sizeof *file);
  list.file_of = (const uint32_t *)(const void *)at;
  list.unit_of = list.file_of + list.count;
  at += 2 * (size_t)list.count * sizeof *list.file_of;
  list.marks = (const char *)at;
  at += list.marks_bytes;
  for (uint32_t i = 0; i < list.count; i++)
    id[i] = take_text(&at);
  for (uint32_t i = 0; i < list.file_count; i++)
    file[i] = take_text(&at);
  list.id = id;
  list.file = file;
  struct store_done *done = base_calloc(1, sizeof *done);
  done->listed = store_list_write(to->db, &list, base_wall_us() / 1000);
  *to->done_end = done;
  to->done_end = &done->next;
  free(id);
  free(file);
}

static void write_result(struct writing *to, const unsigned char *at) {
  struct store_result r;
  memcpy(&r, at, sizeof r);
  store_sql_run(to->db, SQL_RESULT_ADD,
                STORE_ARGS(store_int(r.build), store_int(r.test), store_int(r.attempt), store_int(r.worker),
                           store_int(r.status), store_int(r.flags), store_int(r.round), store_int(r.start_ms),
                           store_int(r.setup_us), store_int(r.call_us), store_int(r.teardown_us)));
  if (to->db->rc != SQLITE_OK) return;
  if (sqlite3_changes(to->db->sqlite) == 0) {  // an attempt that is on disk never changes
    base_log(LOG_LEVEL_ERROR, "store_twice", "build=%ju test=%u attempt=%u", (uintmax_t)r.build, r.test, r.attempt);
    return;
  }
  if (r.text != NULL && r.text_bytes > 0)
    store_sql_run(to->db, SQL_OUTPUT_ADD,
                  STORE_ARGS(store_int(r.build), store_int(r.test), store_int(r.attempt),
                             store_blob(at + sizeof r, r.text_bytes)));
  count_result(to, &r);
}

static void count_result(struct writing *to, const struct store_result *r) {
  struct tally *tally = &to->tally;
  if (tally->build != r->build || tally->worker != r->worker) {
    flush(to);
    *tally = (struct tally){.build = r->build, .worker = r->worker};
  }
  if (r->seq > tally->seq) tally->seq = r->seq;
  if (!(r->flags & STORE_LOST)) {
    tally->tests++;
    tally->failed += store_status_fails(r->status);
    tally->busy_us += (uint64_t)r->setup_us + r->call_us + r->teardown_us;
  }
  if (r->flags & STORE_SETTLES) count_verdict(tally, r->flags & STORE_MUTED ? STORE_MUTED : r->status, 1);
}

// status: that of the attempt, or STORE_MUTED.
static void count_verdict(struct tally *tally, uint32_t status, int64_t step) {
  if (status == STORE_MUTED) {
    tally->muted_verdicts += step;
    return;
  }
  if (store_status_fails(status))
    tally->failed_verdicts += step;
  else if (status == STORE_SKIPPED)
    tally->skipped_verdicts += step;
  else
    tally->passed_verdicts += step;
}

static void flush(struct writing *to) {
  struct tally *t = &to->tally;
  if (t->build == 0) return;
  store_sql_run(to->db, SQL_WORKER_COUNTS,
                STORE_ARGS(store_int(t->build), store_int(t->worker), store_int(t->seq), store_int(t->tests),
                           store_int(t->failed), store_int(t->busy_us)));
  if (t->passed_verdicts || t->failed_verdicts || t->skipped_verdicts || t->muted_verdicts)
    store_sql_run(to->db, SQL_BUILD_COUNTS,
                  STORE_ARGS(store_int(t->build), store_int((uint64_t)t->passed_verdicts),
                             store_int((uint64_t)t->failed_verdicts), store_int((uint64_t)t->skipped_verdicts),
                             store_int((uint64_t)t->muted_verdicts)));
  *t = (struct tally){0};
}

static void write_round(struct writing *to, const unsigned char *at) {
  struct store_round_record r;
  memcpy(&r, at, sizeof r);
  const uint32_t *tests = (const uint32_t *)(const void *)(at + sizeof r);
  size_t bytes;
  take_back(to, r.build, r.round, tests, r.count);
  unsigned char *blob = store_pack(tests, r.count, &bytes);
  store_sql_run(to->db, SQL_BUILD_PAUSE, STORE_ARGS(store_int(r.build), store_int(r.at_ms)));
  store_sql_run(to->db, SQL_ROUND_ADD,
                STORE_ARGS(store_int(r.build), store_int(r.round), store_int(r.at_ms), store_int(r.count),
                           store_blob(blob, bytes)));
  free(blob);
  store_sql_run(to->db, SQL_BUILD_ROUND, STORE_ARGS(store_int(r.build), store_int(r.round)));
  to->store->learn_due = true;  // the round before is over, even if it has not taught yet
}

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

// The verdicts of these tests no longer count. One that was taken back in an earlier round, and has had none since, is
// not taken back again.
static void take_back(struct writing *to, uint64_t build, uint32_t round, const uint32_t *tests, uint32_t count) {
  uint32_t *sorted = base_calloc(count, sizeof *sorted);
  if (count > 0) memcpy(sorted, tests, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, compare);
  uint32_t *since = last_rounds(to->db, build, round, sorted, count);
  to->tally = (struct tally){.build = build, .worker = UINT32_MAX};
  for (uint32_t i = 0; i < count; i++) {
    uint64_t status =
        store_sql_number(to->db, SQL_VERDICT, STORE_ARGS(store_int(build), store_int(sorted[i]), store_int(since[i])));
    if (status != 0) count_verdict(&to->tally, (uint32_t)status, -1);
  }
  flush(to);
  free(sorted);
  free(since);
}

// Per test, the last round before this one that took its verdict back; 0: none.
static uint32_t *last_rounds(struct store_db *db, uint64_t build, uint32_t round, const uint32_t *sorted,
                             uint32_t count) {
  uint32_t *since = base_calloc(count, sizeof *since);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_ROUND_BEFORE, STORE_ARGS(store_int(build), store_int(round)));
  while (store_sql_row(db, SQL_ROUND_BEFORE)) {
    size_t n = store_sql_bound(stmt, 1, LIMIT_TESTS);
    uint32_t *before = base_calloc(n, sizeof *before);
    if (store_unpack(sqlite3_column_blob(stmt, 2), (size_t)sqlite3_column_bytes(stmt, 2), before, n) != 0)
      store_sql_damaged(db, "a round's list of tests cannot be read");
    for (size_t i = 0; i < n && db->rc == SQLITE_OK; i++) {
      const uint32_t *found = bsearch(&before[i], sorted, count, sizeof *sorted, compare);
      if (found != NULL) since[found - sorted] = store_sql_u32(stmt, 0);
    }
    free(before);
  }
  return since;
}

static void write_state(struct writing *to, const unsigned char *at) {
  struct store_state_record s;
  memcpy(&s, at, sizeof s);
  at += sizeof s;
  const char *text = take_text(&at);
  store_sql_run(to->db, SQL_BUILD_PAUSE, STORE_ARGS(store_int(s.build), store_int(s.at_ms)));
  store_sql_run(
      to->db, SQL_BUILD_STATE,
      STORE_ARGS(store_int(s.build), store_int(s.state), store_int(s.at_ms), store_text(s.text ? text : NULL)));
  if (s.state >= STORE_COMPLETE) to->store->learn_due = true;
}

static void write_left(struct writing *to, const unsigned char *at) {
  struct store_left_record l;
  memcpy(&l, at, sizeof l);
  at += sizeof l;
  const char *late = take_text(&at);
  store_sql_run(to->db, SQL_WORKER_LEFT,
                STORE_ARGS(store_int(l.build), store_int(l.worker), store_int(l.at_ms),
                           store_text(l.late ? late : NULL), store_int(l.fact), store_int(l.cleared)));
}

static void write_cleared(struct writing *to, const unsigned char *at) {
  struct store_cleared_record c;
  memcpy(&c, at, sizeof c);
  store_sql_run(to->db, SQL_WORKER_CLEARED, STORE_ARGS(store_int(c.build), store_int(c.worker), store_int(c.round)));
}

static void write_mute(struct writing *to, const unsigned char *at) {
  struct store_mute mute;
  memcpy(&mute, at, sizeof mute);
  at += sizeof mute;
  mute.project = take_text(&at);
  mute.suite = take_text(&at);
  mute.test = take_text(&at);
  mute.origin = take_text(&at);
  mute.reason = take_text(&at);
  mute.who = take_text(&at);
  mute.ticket = take_text(&at);
  store_mute_write(to->db, &mute);
}

static void write_import(struct writing *to, const unsigned char *at) {
  struct store_import import;
  memcpy(&import, at, sizeof import);
  at += sizeof import;
  const char **id = base_calloc(import.count, sizeof *id), **file = base_calloc(import.file_count, sizeof *file);
  import.us = (const uint64_t *)(const void *)at;
  at += import.count * sizeof *import.us;
  import.file_of = (const uint32_t *)(const void *)at;
  at += import.count * sizeof *import.file_of;
  import.project = take_text(&at);
  import.suite = take_text(&at);
  for (uint32_t i = 0; i < import.count; i++)
    id[i] = take_text(&at);
  for (uint32_t i = 0; i < import.file_count; i++)
    file[i] = take_text(&at);
  import.id = id;
  import.file = file;
  store_import_write(to->db, &import);
  free(id);
  free(file);
}

static const char *take_text(const unsigned char **at) {
  const char *text = (const char *)*at;
  *at += strlen(text) + 1;
  return text;
}
