// Questions that have to wait for their turn. Nearly all read the database or walk a list, and what one of them costs
// has a bound, but not what many do: so each turn of the loop answers one, between the messages of workers, and
// connections take turns. Called by query.c and server.c. It must not know what a question asks.
#include <stdlib.h>

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

static const char *query_later_refuses(const struct server *server, const struct conn *conn, size_t bytes) {
  uint32_t of_conn = 0, all = 0;
  for (const struct query_later *later = server->questions; later; later = later->next) {
    of_conn += later->conn == conn;
    all++;
  }
  if (bytes > LIMIT_QUESTION_BYTES) return "the question is too long";
  if (of_conn >= LIMIT_QUESTIONS) return "too many questions wait on this connection";
  return all >= LIMIT_QUESTIONS_ALL ? "too many questions wait" : NULL;
}

void query_put_off(struct server *server, struct conn *conn, uint64_t seq, const Shardd__Query *query) {
  size_t bytes = shardd__query__get_packed_size(query);
  const char *why = query_later_refuses(server, conn, bytes);
  if (why) {
    conn_error(conn, SHARDD__ERROR_CODE__ERROR_BUSY, seq, false, "%s", why);
    return;
  }
  struct query_later *later = base_malloc(sizeof *later + bytes);
  *later = (struct query_later){.conn = conn, .seq = seq, .bytes = bytes};
  shardd__query__pack(query, later->packed);
  *query_later_end(&server->questions) = later;
}

// The questions of this connection go behind all others.
static void query_send_back(struct server *server, const struct conn *conn) {
  struct query_later *back = NULL, **end = &back;
  for (struct query_later **at = &server->questions; *at;) {
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
  *query_later_end(&server->questions) = back;
}

bool query_next(struct server *server) {
  struct query_later *later = server->questions;
  if (!later) return false;
  server->questions = later->next;
  query_send_back(server, later->conn);
  Shardd__Query *query = shardd__query__unpack(NULL, later->bytes, later->packed);
  if (query && !conn_closing(later->conn)) query_now(server, later->conn, later->seq, query);
  server->answered++;
  if (query) shardd__query__free_unpacked(query, NULL);
  free(later);
  return server->questions != NULL;
}

void query_drop(struct server *server, const struct conn *conn) {
  for (struct query_later **at = &server->questions; *at;) {
    struct query_later *later = *at;
    if (later->conn != conn) {
      at = &later->next;
      continue;
    }
    *at = later->next;
    free(later);
  }
}
