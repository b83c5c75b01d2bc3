// Questions that change something, or that take long: the quarantine, imports, the backup and the check. Called by
// query.c; each is answered when what it asked for is on disk, by query_change_answer. Must not know SQL.
#include <stdlib.h>
#include <string.h>

#include "server/limits.h"
#include "server/query_impl.h"

// ---- quarantine

static const char query_disk_full[] = "the server's disk is full: make room there, and try again";

static const struct rows_column query_mute_columns[] = {{"result", ROWS_TEXT}};

static void query_mute_answer(struct conn *conn, uint64_t seq) {
  struct rows rows;
  rows_init(&rows, query_mute_columns, COUNT_OF(query_mute_columns));
  rows_string(&rows, "ok");
  query_send(conn, seq, &rows);
  rows_release(&rows);
}

// Answers "ok" once the record is on disk.
static void query_when_durable(const struct query_call *call, uint64_t ticket) {
  query_waits(call)->ticket = call->server->last_ticket = ticket;
}

// What speaks against any question whose answer waits for the disk.
static const char *query_change_refuses(const struct query_call *call, Shardd__ErrorCode *code) {
  *code = SHARDD__ERROR_CODE__ERROR_BUSY;
  if (query_waits_of(call) >= LIMIT_WAITS) return "too many questions wait on this connection";
  if (store_behind(call->server->store)) return "too much waits for the server's disk";
  *code = SHARDD__ERROR_CODE__ERROR_DISK;
  return store_full(call->server->store) ? query_disk_full : NULL;
}

static bool query_mutes(const struct query_call *call) {
  return call->message->kind == SHARDD__QUERY_KIND__QUERY_MUTE;
}

static const char *query_mute_refuses(const struct query_call *call, Shardd__ErrorCode *code) {
  const char *why = query_change_refuses(call, code);
  if (why) return why;
  *code = SHARDD__ERROR_CODE__ERROR_UNKNOWN;
  bool mutes = query_mutes(call), file = call->message->mute_flags & 1;  // its last day counts to its end
  uint64_t most_ms = (STORE_MUTE_DAYS_MAX + (uint64_t)file) * 24 * 3600 * 1000;
  if (!call->test[0] || !call->suite[0] || !call->project[0]) return "a project, a suite and a test are needed";
  if (mutes && call->message->reason.len == 0) return "a reason is needed";
  if (mutes && call->message->life_ms == 0) return "it has to be said for how long the test is muted";
  return mutes && call->message->life_ms > most_ms ? "a test is muted for 30 days at most" : NULL;
}

bool query_mute_may(const struct query_call *call) {
  Shardd__ErrorCode code;
  const char *why = query_mute_refuses(call, &code);
  if (why) conn_error(call->conn, code, call->seq, false, "%s", why);
  return !why;
}

int query_mute_check(const struct query_call *call, struct store *view, struct store_error *error) {
  struct store_mute mute = {.project = call->project,
                            .suite = call->suite,
                            .test = call->test,
                            .life_ms = query_mutes(call) ? call->message->life_ms : 0};
  return store_mute_check(view, &mute, error);
}

// Answered when it is on disk.
void query_mute_put(const struct query_call *call) {
  const Shardd__Query *message = call->message;
  if (!query_mute_may(call)) return;  // the disk is full by now
  char *reason = base_memdup0(message->reason.data, message->reason.len);
  char *who = base_memdup0(message->who.data, message->who.len);
  char *ticket = base_memdup0(message->ticket.data, message->ticket.len);
  struct store_mute mute = {.project = call->project,
                            .suite = call->suite,
                            .test = call->test,
                            .origin = message->mute_flags & 1 ? "file" : "manual",
                            .reason = reason,
                            .who = who,
                            .ticket = ticket,
                            .at_ms = server_wall_ms(),
                            .life_ms = query_mutes(call) ? message->life_ms : 0,
                            .extend = message->mute_flags & 2};
  query_when_durable(call, store_put_mute(call->server->store, &mute));
  free(reason);
  free(who);
  free(ticket);
}

// ---- durations from elsewhere

static char **query_texts(const ProtobufCBinaryData *bytes, size_t n) {
  char **texts = base_calloc(n, sizeof *texts);
  for (size_t i = 0; i < n; i++)
    texts[i] = base_memdup0(bytes[i].data, bytes[i].len);
  return texts;
}

static void query_texts_free(char **texts, size_t n) {
  for (size_t i = 0; i < n; i++)
    free(texts[i]);
  free(texts);
}

static const char *query_import_refuses(const struct query_call *call, Shardd__ErrorCode *code) {
  *code = SHARDD__ERROR_CODE__ERROR_UNKNOWN;
  if (!call->project[0] || !call->suite[0]) return "a project and a suite are needed";
  return query_change_refuses(call, code);
}

void query_import(const struct query_call *call) {
  const Shardd__Query *message = call->message;
  Shardd__ErrorCode code;
  const char *why = query_import_refuses(call, &code);
  if (why) {
    conn_error(call->conn, code, call->seq, false, "%s", why);
    return;
  }
  char **id = query_texts(message->import_test, message->n_import_test);
  char **file = query_texts(message->import_file, message->n_import_file);
  struct store_import import = {.project = call->project,
                                .suite = call->suite,
                                .at_ms = server_wall_ms(),
                                .count = (uint32_t)message->n_import_test,
                                .file_count = (uint32_t)message->n_import_file,
                                .id = (const char *const *)id,
                                .file = (const char *const *)file,
                                .file_of = message->import_file_of,
                                .us = message->import_us};
  query_when_durable(call, store_put_import(call->server->store, &import));
  query_texts_free(id, message->n_import_test);
  query_texts_free(file, message->n_import_file);
}

// ---- backup and check

static const struct rows_column query_chore_columns[] = {
    {"result", ROWS_TEXT}, {"text", ROWS_TEXT}, {"bytes", ROWS_INT}, {"took", ROWS_DURATION_US}};

static void query_chore(const struct query_call *call, enum store_chore_kind kind, const char *name) {
  struct store_error error = {.text = "too many questions wait on this connection"};
  if (query_waits_of(call) >= LIMIT_WAITS || store_chore_start(call->server->store, kind, name, &error) < 0) {
    conn_error(call->conn, SHARDD__ERROR_CODE__ERROR_UNKNOWN, call->seq, false, "%s", error.text);
    return;
  }
  query_waits(call)->chore = true;
}

void query_backup(const struct query_call *call) {
  char *name = base_memdup0(call->message->file.data, call->message->file.len);
  query_chore(call, STORE_CHORE_BACKUP, name);
  free(name);
}

void query_check(const struct query_call *call) {
  query_chore(call, STORE_CHORE_CHECK, NULL);
}

static bool query_chore_answer(struct server *server, const struct query_waiter *waiter) {
  struct store_chored done;
  struct rows rows;
  if (!store_chore_done(server->store, &done)) return false;
  rows_init(&rows, query_chore_columns, COUNT_OF(query_chore_columns));
  rows_string(&rows, done.good ? "ok" : "failed");
  rows_string(&rows, done.text);
  rows_int(&rows, (int64_t)done.bytes);
  rows_int(&rows, (int64_t)done.took_us);
  query_send(waiter->conn, waiter->seq, &rows);
  rows_release(&rows);
  return true;
}

bool query_change_answer(struct server *server, const struct query_waiter *waiter) {
  if (waiter->chore) return query_chore_answer(server, waiter);
  if (store_durable(server->store) >= waiter->ticket) {
    query_mute_answer(waiter->conn, waiter->seq);
    return true;
  }
  if (!store_full(server->store)) return false;
  conn_error(waiter->conn, SHARDD__ERROR_CODE__ERROR_DISK, waiter->seq, false,
             "the server's disk is full: the change is made once there is room, unless the server stops before");
  return true;
}
