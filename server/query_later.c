// Questions that have to wait. Those about what is in memory wait for a turn of the loop, which answers one of them,
// between the messages of workers. All others, which read the database or compute over a whole list, wait for the asker
// (query_apart.c). Connections take turns in either line. Called by query.c and server.c. It must not know what a
// question asks.
#include <assert.h>
#include <stdlib.h>

#include "server/asker.h"
#include "server/limits.h"
#include "server/query_impl.h"

struct query_later {
  struct query_later *next;
  struct conn *conn;
  uint64_t seq;
  size_t bytes;
  uint8_t packed[];
};

static struct query_later **query_later_end(struct query_later **at) {
  while (*at)
    at = &(*at)->next;
  return at;
}

static void query_later_count(const struct query_later *line, const struct conn *conn, uint32_t *of_conn,
                              uint32_t *all) {
  for (const struct query_later *later = line; later; later = later->next) {
    *of_conn += later->conn == conn;
    ++*all;
  }
}

static const char *query_later_refuses(const struct server *server, const struct conn *conn, size_t bytes) {
  uint32_t of_conn = 0, all = 0;
  query_later_count(server->questions, conn, &of_conn, &all);
  query_later_count(server->reading, conn, &of_conn, &all);
  if (bytes > LIMIT_QUESTION_BYTES) return "the question is too long";
  if (of_conn >= LIMIT_QUESTIONS) return "too many questions wait on this connection";
  return all >= LIMIT_QUESTIONS_ALL ? "too many questions wait" : NULL;
}

void query_put_off(struct server *server, struct conn *conn, uint64_t seq, const Shardd__Query *query, bool apart) {
  size_t bytes = shardd__query__get_packed_size(query);
  const char *why = query_later_refuses(server, conn, bytes);
  if (why) {
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_BUSY, seq, false, "%s", why);
    return;
  }
  struct query_later *later = base_malloc(sizeof *later + bytes);
  *later = (struct query_later){.conn = conn, .seq = seq, .bytes = bytes};
  shardd__query__pack(query, later->packed);
  *query_later_end(apart ? &server->reading : &server->questions) = later;
}

// The questions of this connection go behind all others.
static void query_send_back(struct query_later **line, const struct conn *conn) {
  struct query_later *back = NULL, **end = &back;
  for (struct query_later **at = line; *at;) {
    struct query_later *later = *at;
    if (later->conn != conn) {
      at = &later->next;
      continue;
    }
    *at = later->next;
    later->next = NULL;
    *end = later;
    end = &later->next;
  }
  *query_later_end(line) = back;
}

// Takes the first one off its line. NULL: it need not be answered.
static Shardd__Query *query_later_take(struct query_later **line, struct conn **conn, uint64_t *seq) {
  struct query_later *later = *line;
  *line = later->next;
  query_send_back(line, later->conn);
  Shardd__Query *query = conn_closing(later->conn) ? NULL : shardd__query__unpack(NULL, later->bytes, later->packed);
  *conn = later->conn;
  *seq = later->seq;
  free(later);
  return query;
}

static void query_answer_next(struct server *server) {
  struct conn *conn;
  uint64_t seq;
  Shardd__Query *query = query_later_take(&server->questions, &conn, &seq);
  server->answered++;
  if (!query) return;
  query_now(server, conn, seq, query);
  shardd__query__free_unpacked(query, NULL);
}

static void query_read_next(struct server *server) {
  struct conn *conn;
  uint64_t seq;
  Shardd__Query *query = query_later_take(&server->reading, &conn, &seq);
  if (query)
    query_apart_begin(server, conn, seq, query);
  else
    server->answered++;
}

bool query_next(struct server *server) {
  query_apart_take(server);
  if (server->reading && !asker_busy(server->asker)) query_read_next(server);
  if (server->questions) query_answer_next(server);
  return server->questions || (server->reading && !asker_busy(server->asker));
}

static void query_later_drop(struct query_later **at, const struct conn *conn) {
  while (*at) {
    struct query_later *later = *at;
    if (later->conn != conn) {
      at = &later->next;
      continue;
    }
    *at = later->next;
    free(later);
  }
}

void query_drop(struct server *server, const struct conn *conn) {
  query_later_drop(&server->questions, conn);
  query_later_drop(&server->reading, conn);
  query_apart_drop(server, conn);
}
