// Two jobs that go by one number: by mistake in a CI's matrix, or because one takes the place of the other. Only the
// first is an error, so that nothing is refused before the other was heard of again.
#include "server/twin.h"

#include <stdlib.h>
#include <string.h>

#include "server/conn.h"
#include "server/limits.h"
#include "server/server.h"

enum { SHOWN_MOST = 80, SHOWN_BYTES = 4 * SHOWN_MOST + 3 };

// A job that came under a worker's number.
struct twin {
  char *host, *attempt;
  uint64_t first_us, last_us;  // when it asked
};

void twin_free(struct twin *twin) {
  if (!twin) return;
  free(twin->host);
  free(twin->attempt);
  free(twin);
}

// ---- for people

static void twin_quote(char out[SHOWN_BYTES], const char *text) {
  base_quote(out, SHOWN_BYTES, text, strnlen(text, SHOWN_MOST));
}

static char *twin_who(const char *host, const char *attempt) {
  char at[SHOWN_BYTES], by[SHOWN_BYTES];
  twin_quote(at, host);
  twin_quote(by, attempt);
  return attempt[0] ? base_printf("host %s, attempt %s", at, by) : base_printf("host %s", at);
}

static char *twin_node(const struct session *session) {
  char node[SHOWN_BYTES], *who = twin_who(session->host, session->attempt);
  twin_quote(node, session->node);
  char *text =
      session->node[0] ? base_printf("node %s (%s)", node, who) : base_printf("a node without a name (%s)", who);
  free(who);
  return text;
}

// ---- at work

static bool twin_is(const char *text, const ProtobufCBinaryData *bytes) {
  return strlen(text) == bytes->len && (bytes->len == 0 || memcmp(text, bytes->data, bytes->len) == 0);
}

static struct session *twin_at_work(const struct server *server, const struct build *build,
                                    const ProtobufCBinaryData *node) {
  for (uint32_t i = 0; i < build->session_count; i++) {
    struct session *session = build->session[i];
    if (!session->conn || session->left || session->brings || !twin_is(session->node, node)) continue;
    if (server->now_us - session->heard_us < server->settings.lease_ttl_us) return session;
  }
  return NULL;
}

// Notes that the job asks. Another one than before, or one that was away for long, begins anew.
static void twin_asks(const struct server *server, struct session *older, const Shardd__Hello *hello) {
  struct twin *twin = older->twin;
  bool same = twin && twin_is(twin->host, &hello->host) && twin_is(twin->attempt, &hello->attempt) &&
              server->now_us - twin->last_us < LIMIT_TWIN_ASKS_US;
  if (!same) {
    twin_free(twin);
    twin = older->twin = base_calloc(1, sizeof *twin);
    twin->host = base_memdup0(hello->host.data, hello->host.len);
    twin->attempt = base_memdup0(hello->attempt.data, hello->attempt.len);
    twin->first_us = server->now_us;
  }
  twin->last_us = server->now_us;
}

// Whether the older one lives. A job that is run again may come while its machine is just being stopped: where nothing
// tells that it is no re-run, the older one has the time that it would have if it fell silent.
static bool twin_lives(const struct server *server, const struct session *older, const Shardd__Hello *hello) {
  bool another = hello->retried == SHARDD__RETRIED__RETRIED_NO || twin_is(older->attempt, &hello->attempt);
  uint64_t patience_us = another ? LIMIT_TWIN_US : server->settings.lease_ttl_us;
  return older->heard_us >= older->twin->first_us + patience_us;
}

static void twin_refuse(const struct build *build, struct session *older, struct conn *conn) {
  char node[SHOWN_BYTES], ext[SHOWN_BYTES];
  char *there = twin_who(older->host, older->attempt), *here = twin_who(older->twin->host, older->twin->attempt);
  twin_quote(node, older->node);
  twin_quote(ext, build->ext);
  base_log(LOG_LEVEL_WARN, "differs", "build=%llu peer=%s why=number", (unsigned long long)build->id, conn_peer(conn));
  conn_error(conn, SHARDD__ERROR_CODE__ERROR_DIFFERS, 0, true,
             "two jobs of build %s have the number %s: one (%s) is at work, and this is another one (%s). Give each "
             "parallel job a number of its own (--node or SHARD_NODE), or correct the CI's matrix",
             ext, node, there, here);
  free(there);
  free(here);
  twin_free(older->twin);
  older->twin = NULL;
}

bool twin_hello(struct server *server, struct build *build, struct conn *conn, const Shardd__Hello *hello) {
  if (!hello->numbered || hello->brings || hello->node.len == 0) return true;
  struct session *older = twin_at_work(server, build, &hello->node);
  if (!older) return true;
  twin_asks(server, older, hello);
  if (twin_lives(server, older, hello)) {
    twin_refuse(build, older, conn);
    return false;
  }
  char *who = twin_node(older);
  conn_error(conn, SHARDD__ERROR_CODE__ERROR_BUSY, 0, true,
             "%s of this build has not left; if it is gone, this job takes its place once it was silent for %llu s",
             who, (unsigned long long)(server->settings.lease_ttl_us / 1000000));
  free(who);
  return false;
}

// ---- parts

// One session's results, however often they are brought: their names are alike but for the last byte.
static bool twin_kin(const struct session *a, const struct session *b) {
  return memcmp(a->token, b->token, STORE_SESSION_BYTES - 1) == 0;
}

void twin_part(struct session *session, uint32_t part, uint32_t parts) {
  const struct build *build = session->build;
  session->part = part;
  session->parts = parts;
  for (uint32_t i = 0; part && i < build->session_count && !session->same_part; i++) {
    const struct session *other = build->session[i];
    if (other == session || !other->part || twin_kin(session, other)) continue;
    if (other->parts != parts || other->part == part) session->same_part = other;
  }
}

static char *twin_tell_two(const struct session *a, const struct session *b, uint32_t missing) {
  char *first = twin_node(a), *second = twin_node(b), *text;
  if (a->parts == b->parts) {
    text = base_printf(
        "%s and %s both ran part %u of %u without the server, so that another part never ran: %u tests "
        "have no verdict. Give each parallel job a number of its own (--node, or the CI's matrix), and "
        "run the jobs again",
        first, second, a->part, a->parts, missing);
  } else {
    text = base_printf(
        "%s ran part %u of %u without the server, and %s part %u of %u, so that parts of the list never "
        "ran: %u tests have no verdict. Give all parallel jobs the same --total, and run them again",
        first, a->part, a->parts, second, b->part, b->parts, missing);
  }
  free(first);
  free(second);
  return text;
}

char *twin_tell(const struct build *build, const struct session *session) {
  struct queue_counts counts;
  queue_counts(build->queue, &counts);
  if (counts.done == counts.total) return NULL;
  for (uint32_t i = 0; !session && i < build->session_count; i++) {
    if (build->session[i]->same_part) session = build->session[i];
  }
  if (!session || !session->same_part) return NULL;
  return twin_tell_two(session->same_part, session, counts.total - counts.done);
}
