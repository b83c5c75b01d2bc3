// Results: each row goes through the queue, what is to be kept goes to the store, and the message is acknowledged when
// its last record is on disk. A message that was taken before is acknowledged again, and nothing else happens.
#include <stdlib.h>

#include "server/deliver.h"
#include "server/limits.h"
#include "server/session.h"

struct session_batch {
  struct server *server;
  struct session *session;
  const Shardd__Results *results;
  struct store_result *record;
  size_t count;
  uint32_t unknown, late, extra, sealed, unbelieved;
  uint64_t wall_ms, earliest_ms;  // now; a start before it is not believed
  uint64_t longest_us;            // nor is a test that took longer
};

// The text of a row, or NULL. Rows that have one come in ascending order.
static const ProtobufCBinaryData *session_text_of(const Shardd__Results *results, size_t row) {
  size_t low = 0, high = results->n_text_of;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (results->text_of[middle] < row) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < results->n_text_of && results->text_of[low] == row ? &results->text[low] : NULL;
}

// ---- times that a worker tells
//
// Whatever clock a test process has (frozen, set ahead by years), a test took no longer than what went by here since
// its lease was granted, and the message's way. A lease from before this daemon's start has no such beginning, but its
// build has one by the wall clock. Results that are brought have none at all: what the wire holds bounds them, 71
// minutes a phase. A start is believed in a window around the build; another is taken to have ended now.

static uint64_t session_longest_us(const struct session_batch *batch) {
  const struct server *server = batch->server;
  const struct session *session = batch->session;
  uint64_t age_us = queue_lease_age_us(session->build->queue, server->now_us, session->worker, batch->results->lease);
  if (age_us == UINT64_MAX && session->brings) return UINT64_MAX;
  if (age_us == UINT64_MAX) {
    uint64_t since_ms = session->build->started_ms;
    age_us = batch->wall_ms > since_ms ? (batch->wall_ms - since_ms) * 1000 : 0;
  }
  return age_us + server->gaps_us + LIMIT_PHASE_SLACK_US;
}

static void session_bound(struct session_batch *batch) {
  uint64_t before_ms = batch->session->brings ? LIMIT_BROUGHT_MS : LIMIT_BEFORE_MS;
  batch->wall_ms = server_wall_ms();
  uint64_t from_ms = batch->session->brings ? batch->wall_ms : batch->session->build->started_ms;
  batch->earliest_ms = from_ms > before_ms ? from_ms - before_ms : 0;
  batch->longest_us = session_longest_us(batch);
}

struct session_times {
  uint64_t start_ms;
  uint32_t setup_us, call_us, teardown_us;
};

// Phases that are too long together keep their shares.
static struct session_times session_times(struct session_batch *batch, size_t row) {
  const Shardd__Results *results = batch->results;
  struct session_times times = {.start_ms = results->start_us[row] / 1000,
                                .setup_us = results->setup_us[row],
                                .call_us = results->call_us[row],
                                .teardown_us = results->teardown_us[row]};
  uint64_t sum_us = (uint64_t)times.setup_us + times.call_us + times.teardown_us, longest_us = batch->longest_us;
  bool too_long = sum_us > longest_us;
  if (too_long) {
    double share = (double)longest_us / (double)sum_us;
    times.setup_us = (uint32_t)(times.setup_us * share);
    times.call_us = (uint32_t)(times.call_us * share);
    times.teardown_us = (uint32_t)(times.teardown_us * share);
    sum_us = longest_us;
  }
  bool when = times.start_ms >= batch->earliest_ms && times.start_ms <= batch->wall_ms + LIMIT_AHEAD_MS;
  if (!when) times.start_ms = batch->wall_ms > sum_us / 1000 ? batch->wall_ms - sum_us / 1000 : 0;
  batch->unbelieved += too_long || !when;
  return times;
}

static const char session_skip_text[] =
    "skipped on this worker, after it had failed on another or before: a skip does not undo a failure";

static void session_keep(struct session_batch *batch, size_t row, const struct queue_result *result,
                         const struct session_times *times, uint32_t attempt, uint32_t flags) {
  const Shardd__Results *results = batch->results;
  const struct build *build = batch->session->build;
  const ProtobufCBinaryData *own = session_text_of(results, row);
  ProtobufCBinaryData text = own ? *own : msg_bytes(NULL, 0);
  if (result->status != (enum queue_status)results->status[row]) text = msg_text(session_skip_text);
  if (results->n_first && results->first[row]) flags |= STORE_FIRST;
  batch->record[batch->count++] = (struct store_result){.build = build->id,
                                                        .test = build->row_of[result->test],
                                                        .attempt = attempt,
                                                        .worker = batch->session->worker,
                                                        .status = result->status,
                                                        .flags = flags,
                                                        .round = queue_round(build->queue),
                                                        .start_ms = times->start_ms,
                                                        .setup_us = times->setup_us,
                                                        .call_us = times->call_us,
                                                        .teardown_us = times->teardown_us,
                                                        .text = text.len ? (const char *)text.data : NULL,
                                                        .text_bytes = text.len};
}

static void session_row(struct session_batch *batch, size_t row) {
  const Shardd__Results *results = batch->results;
  struct build *build = batch->session->build;
  uint32_t attempt = 0, position = build->position_of[results->test[row]];
  bool settles = false;
  struct session_times times = session_times(batch, row);
  struct queue_result result = {
      .worker = batch->session->worker,
      .test = position,
      .lease = results->lease,
      .status = queue_counts_as(build->queue, position, (enum queue_status)results->status[row]),
      .duration_us = (uint64_t)times.setup_us + times.call_us + times.teardown_us};
  const ProtobufCBinaryData *text = session_text_of(results, row);
  if (result.status == QUEUE_SKIPPED && text) result.reason = build_reason(build, (const char *)text->data, text->len);
  uint32_t flags = 0;
  switch (queue_result(build->queue, batch->server->now_us, &result, &attempt, &settles, &batch->server->effects)) {
    case ACCEPT_CURRENT: break;
    case ACCEPT_LATE:
      flags = STORE_LATE;
      batch->late++;
      break;
    case ACCEPT_EXTRA:
      flags = STORE_EXTRA;
      batch->extra++;
      break;
    case ACCEPT_SEALED: batch->sealed++; return;
    case ACCEPT_UNKNOWN: batch->unknown++; return;
    case ACCEPT_DUPLICATE: return;
  }
  bool muted = settles && queue_verdict(build->queue, position) == VERDICT_MUTED;
  session_keep(batch, row, &result, &times, attempt,
               flags | (settles ? STORE_SETTLES : 0u) | (muted ? STORE_MUTED : 0u));
}

static void session_log(const struct session_batch *batch) {
  if (batch->unknown + batch->late + batch->extra + batch->sealed + batch->unbelieved == 0) return;
  base_log(LOG_LEVEL_INFO, "results_odd", "build=%llu worker=%u unknown=%u late=%u extra=%u sealed=%u unbelieved=%u",
           (unsigned long long)batch->session->build->id, batch->session->worker, batch->unknown, batch->late,
           batch->extra, batch->sealed, batch->unbelieved);
}

// Only the last record carries the message's number; they come to the disk together, so that a message of which the
// disk has a part is not sent again: what it holds would count twice.
static uint64_t session_store(const struct session_batch *batch, uint64_t seq) {
  struct server *server = batch->server;
  if (batch->count == 0) return server->last_ticket;
  batch->record[batch->count - 1].seq = seq;
  return server->last_ticket = store_put_results(server->store, batch->record, batch->count);
}

static bool session_valid(const struct session *session, const Shardd__Results *results) {
  if (session->build->listing != LISTING_READY) return false;
  for (size_t i = 0; i < results->n_test; i++) {
    if (results->test[i] >= session->build->ids.count) return false;
  }
  return true;
}

// A full disk takes nothing, nor does one that lags far behind, and then nothing behind the first that was refused: an
// acknowledgement speaks for all before it.
static bool session_refuses(struct server *server, struct session *session, uint64_t seq) {
  bool behind = session->refused && seq > session->refused;
  bool full = store_full(server->store);
  if (!behind && !full && !store_behind(server->store)) {
    session->refused = 0;
    return false;
  }
  if (!behind) session->refused = seq;
  conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_DISK, seq, false, "%s",
             behind ? "the disk was full: send the results before these first"
             : full ? "the server's disk is full"
                    : "the server's disk is too slow");
  return true;
}

void session_results(struct server *server, struct session *session, uint64_t seq, const Shardd__Results *results) {
  if (seq <= session->applied) {  // taken before; if it is not on disk yet, its acknowledgement is on the way
    if (seq <= session->acked) deliver_ack(session, seq);
    return;
  }
  if (session_refuses(server, session, seq)) return;
  if (!session_valid(session, results)) {
    conn_error(session->conn, SHARDD__ERROR_CODE__ERROR_STATE, seq, true,
               "results of tests that the list does not hold");
    return;
  }
  struct session_batch batch = {.server = server, .session = session, .results = results};
  session_bound(&batch);
  batch.record = base_calloc(results->n_test + 1, sizeof *batch.record);
  for (size_t i = 0; i < results->n_test; i++) {
    session_row(&batch, i);
  }
  session->applied = seq;
  deliver_when_durable(server, session, session_store(&batch, seq), SERVER_ACK, seq);
  free(batch.record);
  session_log(&batch);
  deliver_effects(server, session->build);
}
