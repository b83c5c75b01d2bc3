// What the skips of a build are worth: the workers that skipped tests which ran elsewhere, by reason, and how many
// skipped tests ran in the trunk's last builds. Called on the asker's thread through its view, of builds that run and
// of those that have ended: all of it stands in the results. One walk over the results of the build; what is kept of it
// is bounded by workers and reasons. Must not know the wire or who asks.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/store_impl.h"

enum { NO_KIND = UINT32_MAX, NO_TEST = 0 };

static const struct rows_column columns[] = {
    {"worker", ROWS_INT}, {"node", ROWS_TEXT},   {"host", ROWS_TEXT},
    {"tests", ROWS_INT},  {"reason", ROWS_TEXT}, {"branch", ROWS_TEXT},
};

static void ask_skips(struct store_asking *ask);
static void tell_trunk(struct store_asking *ask, uint64_t *skip);
static void tell_worker(struct store_asking *ask, const struct store_skip *skip);

static int most_first(const void *a, const void *b);
static void take(struct store_skips *skips, uint32_t worker, const char *text, size_t n);

int store_query_skips(struct store *store, const struct store_query *query, struct rows *rows,
                      struct store_error *error) {
  return store_query_ask(store, query, rows, error, columns, COUNT_OF(columns), ask_skips);
}

size_t store_reason_bytes(const char *text, size_t n) {
  const char *end = n ? memchr(text, '\n', n) : NULL;
  if (end) n = (size_t)(end - text);
  while (n && (text[n - 1] == ' ' || text[n - 1] == '\r'))
    n--;
  return n < LIMIT_SKIP_REASON_BYTES ? n : (size_t)LIMIT_SKIP_REASON_BYTES;
}

void store_skips_read(struct store_db *db, uint64_t build, struct store_skips *skips) {
  *skips = (struct store_skips){.head = base_malloc(LIMIT_WORKERS * sizeof *skips->head)};
  uint32_t *last = base_calloc(LIMIT_WORKERS, sizeof *last);  // the test that the worker skipped last, NO_TEST: none
  memset(skips->head, 0xff, LIMIT_WORKERS * sizeof *skips->head);
  sqlite3_stmt *stmt = store_sql_start(db, SQL_QUERY_SKIPS, STORE_ARGS(store_int(build)));
  while (store_sql_row(db, SQL_QUERY_SKIPS)) {
    uint32_t worker = store_sql_worker(stmt, 0), test = store_sql_u32(stmt, 1);
    if (last[worker] == test && test != NO_TEST) continue;  // it was asked twice
    last[worker] = test;
    const char *text = (const char *)sqlite3_column_text(stmt, 2);
    size_t n = text ? (size_t)sqlite3_column_bytes(stmt, 2) : 0;
    take(skips, worker, text, store_reason_bytes(text, n));
  }
  free(last);
}

void store_skips_release(struct store_skips *skips) {
  for (uint32_t i = 0; i < skips->count; i++)
    free(skips->item[i].reason);
  free(skips->item);
  free(skips->head);
}

uint64_t store_skips_of(const struct store_skips *skips, uint32_t worker, const char **reason) {
  uint64_t sum = 0, most = 0;
  for (uint32_t i = worker < LIMIT_WORKERS ? skips->head[worker] : (uint32_t)NO_KIND; i != NO_KIND;
       i = skips->item[i].next) {
    const struct store_skip *skip = &skips->item[i];
    sum += skip->tests;
    if (skip->tests < most) continue;
    most = skip->tests;
    *reason = skip->reason;
  }
  return sum;
}

// The kind of the worker and the reason, made if it is new; reasons beyond the bound are one, without a name.
static struct store_skip *kind_of(struct store_skips *skips, uint32_t worker, const char *text, size_t n) {
  uint32_t length = 0, i = skips->head[worker];
  for (; i != NO_KIND; i = skips->item[i].next, length++) {
    assert(i < skips->count);
    const char *reason = skips->item[i].reason;
    if (strlen(reason) == n && memcmp(reason, text, n) == 0) return &skips->item[i];
  }
  if (length >= LIMIT_SKIP_LACKS && n > 0) return kind_of(skips, worker, "", 0);
  if (skips->count == skips->room) {
    skips->room = skips->room ? skips->room * 2 : 16;
    skips->item = base_realloc(skips->item, skips->room, sizeof *skips->item);
  }
  skips->item[skips->count] =
      (struct store_skip){.worker = worker, .next = skips->head[worker], .reason = base_memdup0(text, n)};
  skips->head[worker] = skips->count;
  return &skips->item[skips->count++];
}

static void take(struct store_skips *skips, uint32_t worker, const char *text, size_t n) {
  const char *nul = text && n ? memchr(text, '\0', n) : NULL;
  if (nul) n = (size_t)(nul - text);
  kind_of(skips, worker, text && n ? text : "", n)->tests++;
}

// ---- the answer: what the trunk ran, then workers and reasons, those with most tests first

static void ask_skips(struct store_asking *ask) {
  struct store_skips skips;
  uint64_t skip = ask->query->after;
  if (!store_query_of_branch(ask)) return;
  tell_trunk(ask, &skip);
  store_skips_read(ask->db, ask->query->build, &skips);
  if (skips.count) qsort(skips.item, skips.count, sizeof *skips.item, most_first);
  for (uint32_t i = 0; i < skips.count; i++) {
    if (skip > 0) {
      skip--;
      continue;
    }
    if (rows_count(ask->rows) == ask->query->limit) {
      ask->rows->next = ask->query->after + rows_count(ask->rows);
      break;
    }
    if (store_query_full(ask)) break;
    tell_worker(ask, &skips.item[i]);
  }
  store_skips_release(&skips);
}

static int most_first(const void *a, const void *b) {
  const struct store_skip *x = a, *y = b;
  if (x->tests != y->tests) return x->tests > y->tests ? -1 : 1;
  if (x->worker != y->worker) return x->worker > y->worker ? 1 : -1;
  return strcmp(x->reason, y->reason);
}

// Appends the name to those that commas part, once.
static void add_branch(char **names, const char *name) {
  size_t n = strlen(name);
  for (const char *at = *names; n && *at; at += strcspn(at, ","), at += strspn(at, ", ")) {
    if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == '\0')) return;
  }
  if (n == 0) return;
  char *more = base_printf("%s%s%s", *names, (*names)[0] ? ", " : "", name);
  free(*names);
  *names = more;
}

static void tell_trunk(struct store_asking *ask, uint64_t *skip) {
  uint64_t build = ask->query->build, trunk[STORE_SKIP_BUILDS] = {0};
  uint32_t count = 0;
  char *names = base_strdup("");
  sqlite3_stmt *stmt =
      store_sql_start(ask->db, SQL_TRUNK_BUILDS, STORE_ARGS(store_int(build), store_int((uint64_t)STORE_SKIP_BUILDS)));
  while (count < STORE_SKIP_BUILDS && store_sql_row(ask->db, SQL_TRUNK_BUILDS)) {
    trunk[count++] = store_sql_int(stmt, 0);
    add_branch(&names, store_sql_text(stmt, 2));
  }
  if (stmt != NULL) sqlite3_reset(stmt);
  uint64_t tests = count == 0 ? 0
                              : store_sql_number(ask->db, SQL_QUERY_LOST,
                                                 STORE_ARGS(store_int(build), store_int(trunk[0]), store_int(trunk[1]),
                                                            store_int(trunk[2])));
  if (tests > 0 && *skip > 0) {
    (*skip)--;
  } else if (tests > 0) {
    for (int i = 0; i < 3; i++)
      rows_none(ask->rows);
    rows_int(ask->rows, (int64_t)tests);
    rows_none(ask->rows);
    rows_string(ask->rows, names);
  }
  free(names);
}

static void tell_worker(struct store_asking *ask, const struct store_skip *skip) {
  sqlite3_stmt *stmt =
      store_sql_start(ask->db, SQL_QUERY_WORKER, STORE_ARGS(store_int(ask->query->build), store_int(skip->worker)));
  bool known = store_sql_row(ask->db, SQL_QUERY_WORKER);
  rows_int(ask->rows, skip->worker);
  rows_string(ask->rows, known ? store_sql_text(stmt, 0) : "");
  rows_string(ask->rows, known ? store_sql_text(stmt, 1) : "");
  rows_int(ask->rows, (int64_t)skip->tests);
  rows_string(ask->rows, skip->reason);
  rows_none(ask->rows);
  if (known) sqlite3_reset(stmt);
}
