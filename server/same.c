// One build, one commit, one environment: a CI's matrix, or a key that is used again, would spread the tests over
// different things and call the sum green. Must not know how workers find out what they are.
#include "server/same.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/conn.h"
#include "server/limits.h"
#include "server/server.h"

enum { SHORT_COMMIT = 7, SHOWN_BYTES = 160, TOLD_BYTES = 300, DIFFERENCE_BYTES = 1024 };

// ---- comparing

static bool same_is_hex(const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (!isxdigit((unsigned char)text[i])) return false;
  }
  return true;
}

bool same_commit(const char *a, const char *b) {
  size_t m = strlen(a), n = strlen(b), least = m < n ? m : n;
  if (least == 0 || strcmp(a, b) == 0) return true;
  if (least < SHORT_COMMIT || !same_is_hex(a, m) || !same_is_hex(b, n)) return false;
  return strncasecmp(a, b, least) == 0;
}

static const char *same_skip_own(const char *at) {
  while (*at && *at != MSG_FACT_OWN_ENDS)
    at++;
  return *at ? at + 1 : at;
}

static bool same_is_mark(char c) {
  return c == MSG_FACT_OWN_BEGINS || c == MSG_FACT_OWN_ENDS;
}

// Where both have something of their own it is left out; what only one of them takes for its own is compared.
bool same_value(const char *a, const char *b) {
  for (;;) {
    if (*a == MSG_FACT_OWN_BEGINS && *b == MSG_FACT_OWN_BEGINS) {
      a = same_skip_own(a);
      b = same_skip_own(b);
      continue;
    }
    if (same_is_mark(*a)) {
      a++;
    } else if (same_is_mark(*b)) {
      b++;
    } else if (*a != *b) {
      return false;
    } else if (*a == '\0') {
      return true;
    } else {
      a++;
      b++;
    }
  }
}

// ---- the build's facts

static struct fact *same_find(const struct build *build, const char *name) {
  for (size_t i = 0; i < build->fact_count; i++) {
    if (strcmp(build->fact[i].name, name) == 0) return &build->fact[i];
  }
  return NULL;
}

static bool same_learn(struct build *build, const char *name, const char *value) {
  if (build->fact_count == LIMIT_FACTS) return false;
  if (!build->fact) build->fact = base_calloc(LIMIT_FACTS, sizeof *build->fact);
  build->fact[build->fact_count++] = (struct fact){base_strdup(name), base_strdup(value)};
  return true;
}

static char *same_text(const struct build *build) {
  char *text = base_strdup("");
  for (size_t i = 0; i < build->fact_count; i++) {
    char *more = base_printf("%s%s=%s\n", text, build->fact[i].name, build->fact[i].value);
    free(text);
    text = more;
  }
  return text;
}

void same_restore(struct build *build, const char *facts) {
  for (const char *at = facts ? facts : "", *end; (end = strchr(at, '\n')); at = end + 1) {
    const char *equals = memchr(at, '=', (size_t)(end - at));
    if (!equals) continue;
    char *name = base_memdup0(at, (size_t)(equals - at)), *value = base_memdup0(equals + 1, (size_t)(end - equals - 1));
    (void)same_learn(build, name, value);
    free(name);
    free(value);
  }
}

void same_release(struct build *build) {
  for (size_t i = 0; i < build->fact_count; i++) {
    free(build->fact[i].name);
    free(build->fact[i].value);
  }
  free(build->fact);
  build->fact = NULL;
  build->fact_count = 0;
}

static void same_keep(struct server *server, const struct build *build) {
  char *facts = same_text(build);
  struct store_identity identity = {.build = build->id,
                                    .commit = build->commit,
                                    .facts = facts,
                                    .mixed = build->mixed,
                                    .has_sources = build->has_sources};
  memcpy(identity.sources, build->sources, sizeof identity.sources);
  server->last_ticket = store_put_identity(server->store, &identity);
  free(facts);
}

// ---- files of tests

void same_take_sources(struct session *session, const ProtobufCBinaryData *sources) {
  session->has_sources = sources->len == STORE_DIGEST_BYTES;
  if (session->has_sources) memcpy(session->sources, sources->data, STORE_DIGEST_BYTES);
}

bool same_sources(const struct session *session) {
  const struct build *build = session->build;
  return build->has_sources && session->has_sources &&
         memcmp(build->sources, session->sources, STORE_DIGEST_BYTES) == 0;
}

void same_learn_sources(struct server *server, const struct session *session) {
  struct build *build = session->build;
  if (build->has_sources || !session->has_sources) return;
  build->has_sources = true;
  memcpy(build->sources, session->sources, sizeof build->sources);
  same_keep(server, build);
}

// ---- a worker tells

// For people: without the marks, cut.
static void same_show(char *out, const char *value) {
  char plain[SHOWN_BYTES];
  size_t n = 0;
  for (; *value && n < sizeof plain - 4; value++) {
    if (!same_is_mark(*value)) plain[n++] = *value;
  }
  if (*value) n += (size_t)snprintf(plain + n, sizeof plain - n, "...");
  if (n)
    base_quote(out, 2 * SHOWN_BYTES, plain, n);
  else
    (void)snprintf(out, 2 * SHOWN_BYTES, "not set");
}

static void same_add_difference(char *text, const char *name, const char *here, const char *there) {
  char shown[2][2 * SHOWN_BYTES];
  size_t used = strlen(text);
  same_show(shown[0], here);
  same_show(shown[1], there);
  (void)snprintf(text + used, DIFFERENCE_BYTES - used, "%s%s: %s here, %s in the build", used ? "; " : "", name,
                 shown[0], shown[1]);
}

static void same_add_too_many(char *text, const char *name) {
  size_t used = strlen(text);
  (void)snprintf(text + used, DIFFERENCE_BYTES - used,
                 "%s%s: not known in the build, whose workers already brought %d names (--env-key), which is the bound",
                 used ? "; " : "", name, LIMIT_FACTS);
}

// Whether something was new; what differs is added to `text`, unless a mixture is wanted. The advice behind it has to
// fit into the message as well.
static bool same_tell(struct build *build, const Shardd__Facts *facts, char *text) {
  bool learned = false;
  uint32_t more = 0;
  for (size_t i = 0; facts && i < facts->n_name; i++) {
    char *name = base_memdup0(facts->name[i].data, facts->name[i].len);
    char *value = base_memdup0(facts->value[i].data, facts->value[i].len);
    const struct fact *known = same_find(build, name);
    if (!known && same_learn(build, name, value)) {
      learned = true;
    } else if (!known && !(build->mixed & MSG_MIXED_ENVIRONMENT) && strlen(text) <= TOLD_BYTES) {
      same_add_too_many(text, name);
    } else if (!known) {
      more += !(build->mixed & MSG_MIXED_ENVIRONMENT);
    } else if (!(build->mixed & MSG_MIXED_ENVIRONMENT) && !same_value(value, known->value)) {
      if (strlen(text) > TOLD_BYTES)
        more++;
      else
        same_add_difference(text, name, value, known->value);
    }
    free(name);
    free(value);
  }
  size_t used = strlen(text);
  if (more) (void)snprintf(text + used, DIFFERENCE_BYTES - used, "; and %u more", more);
  return learned;
}

static void same_refuse(const struct build *build, struct conn *conn, const char *difference) {
  base_log(LOG_LEVEL_WARN, "differs", "build=%llu peer=%s why=environment", (unsigned long long)build->id,
           conn_peer(conn));
  conn_error(conn, SHARDD__ERROR_CODE__ERROR_DIFFERS, 0, true,
             "this worker's environment is not the build's: %s. A build is of one environment, and its workers share "
             "the tests: give each entry of a matrix a build of its own (--variant or --build), or mix them with "
             "--allow-mixed environment",
             difference);
}

bool same_facts(struct server *server, struct build *build, struct conn *conn, const Shardd__Facts *facts) {
  char text[DIFFERENCE_BYTES] = "";
  uint32_t known = (uint32_t)build->fact_count;
  bool learned = same_tell(build, facts, text);
  if (text[0]) {
    // What the refused one told besides is not the build's.
    while (build->fact_count > known) {
      free(build->fact[--build->fact_count].name);
      free(build->fact[build->fact_count].value);
    }
    same_refuse(build, conn, text);
    return false;
  }
  if (learned) same_keep(server, build);
  return true;
}

static bool same_commit_told(struct build *build, struct conn *conn, const char *commit) {
  char here[2 * SHOWN_BYTES], there[2 * SHOWN_BYTES], ext[2 * SHOWN_BYTES];
  if ((build->mixed & MSG_MIXED_COMMIT) || same_commit(build->commit, commit)) return true;
  same_show(here, commit);
  same_show(there, build->commit);
  same_show(ext, build->ext);
  base_log(LOG_LEVEL_WARN, "differs", "build=%llu peer=%s why=commit", (unsigned long long)build->id, conn_peer(conn));
  conn_error(conn, SHARDD__ERROR_CODE__ERROR_DIFFERS, 0, true,
             "build %s is of commit %s, and this worker of commit %s: a build is of one commit, since its results say "
             "nothing of another one. Give each commit a build key of its own (--build), or mix them with "
             "--allow-mixed commit",
             ext, there, here);
  return false;
}

// What a refused worker told and asked for is not the build's.
bool same_hello(struct server *server, struct build *build, struct conn *conn, const Shardd__Hello *hello) {
  char *commit = base_memdup0(hello->commit.data, hello->commit.len);
  uint32_t mixed = build->mixed;
  build->mixed |= hello->mixed;
  bool same = same_commit_told(build, conn, commit) && same_facts(server, build, conn, hello->facts);
  if (!same) build->mixed = mixed;
  bool adopted = same && !build->commit[0] && commit[0];
  if (adopted) {
    free(build->commit);
    build->commit = base_strdup(commit);
  }
  free(commit);
  if (adopted || build->mixed != mixed) same_keep(server, build);
  return same;
}
