// The rules of each message, as tables: one row per field that has a bound, in the order of shardd.proto. Called by
// msg_unpack for every message of both directions; after it, readers may trust counts, lengths, columns and enum
// values. What a message means, and whether it fits the conversation, is not known here.
//
// A new message needs a row in `messages` (a static_assert counts them); a new field needs a row in its message's table
// when it comes with text, a list, an enum or a column.
#include "proto/msg_check.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "proto/msg.h"
#include "proto/msg_facts.h"

enum kind {
  KIND_TEXT,          // bytes: at most max, no NUL
  KIND_BINARY,        // bytes: min to max
  KIND_ID_OR_NONE,    // bytes: a test id, or empty
  KIND_NUMBER,        // uint32 or enum: min to max
  KIND_COUNT,         // repeated: min to max items
  KIND_SAME,          // repeated: as many items as `other`
  KIND_SAME_OR_NONE,  // repeated: none, or as many items as `other`
  KIND_VALUES,        // repeated uint32: each min to max
  KIND_TEXTS,         // repeated bytes: each at most max, no NUL
  KIND_IDS,           // repeated bytes: each a test id
  KIND_COUNT_OF,
};

struct rule {
  enum kind kind;
  uint16_t at;     // offset of the field
  uint16_t count;  // repeated: offset of its number of items
  uint16_t other;  // KIND_SAME…: offset of the other number of items
  uint32_t min;
  uint32_t max;
  const char *why;
};

struct message {
  const struct rule *rules;
  size_t count;
  const char *(*check)(const Shardd__Frame *frame);  // rules that a row cannot say; NULL: none
};

// Offsets of a field and of its number of items; the texts say which field broke which rule.
#define AT(M, f) .at = offsetof(Shardd__##M, f)
#define LIST(M, f) .at = offsetof(Shardd__##M, f), .count = offsetof(Shardd__##M, n_##f)
#define TEXT(M, f, most) \
  { .kind = KIND_TEXT, AT(M, f), .max = (most), .why = #M "." #f ": too long, or holds a NUL byte" }
#define BINARY(M, f, least, most) \
  { .kind = KIND_BINARY, AT(M, f), .min = (least), .max = (most), .why = #M "." #f ": has a wrong length" }
#define ID_OR_NONE(M, f) \
  { .kind = KIND_ID_OR_NONE, AT(M, f), .why = #M "." #f ": is no valid test id" }
#define NUMBER(M, f, least, most)                                 \
  {                                                               \
    .kind = KIND_NUMBER, AT(M, f), .min = (least), .max = (most), \
    .why = #M "." #f ": has an unknown or too large value"        \
  }
#define COUNT(M, f, least, most) \
  { .kind = KIND_COUNT, LIST(M, f), .min = (least), .max = (most), .why = #M "." #f ": has too few or too many items" }
#define SAME(M, f, g)                                                     \
  {                                                                       \
    .kind = KIND_SAME, LIST(M, f), .other = offsetof(Shardd__##M, n_##g), \
    .why = #M "." #f ": has another number of items than " #g             \
  }
#define SAME_OR_NONE(M, f, g)                                                     \
  {                                                                               \
    .kind = KIND_SAME_OR_NONE, LIST(M, f), .other = offsetof(Shardd__##M, n_##g), \
    .why = #M "." #f ": has another number of items than " #g                     \
  }
#define VALUES(M, f, least, most)                                   \
  {                                                                 \
    .kind = KIND_VALUES, LIST(M, f), .min = (least), .max = (most), \
    .why = #M "." #f ": has an unknown or too large value"          \
  }
#define TEXTS(M, f, most) \
  { .kind = KIND_TEXTS, LIST(M, f), .max = (most), .why = #M "." #f ": an item is too long, or holds a NUL byte" }
#define IDS(M, f) \
  { .kind = KIND_IDS, LIST(M, f), .why = #M "." #f ": an item is no valid test id" }

static const struct rule hello_rules[] = {
    NUMBER(Hello, role, SHARDD__ROLE__ROLE_WORKER, SHARDD__ROLE__ROLE_PLAN),
    TEXT(Hello, token, MSG_TOKEN_MAX_BYTES),
    TEXT(Hello, client, MSG_NAME_MAX_BYTES),
    TEXT(Hello, project, MSG_NAME_MAX_BYTES),
    TEXT(Hello, suite, MSG_NAME_MAX_BYTES),
    TEXT(Hello, build, MSG_NAME_MAX_BYTES),
    TEXT(Hello, commit, MSG_NAME_MAX_BYTES),
    TEXT(Hello, branch, MSG_NAME_MAX_BYTES),
    TEXT(Hello, node, MSG_NAME_MAX_BYTES),
    TEXT(Hello, attempt, MSG_NAME_MAX_BYTES),
    NUMBER(Hello, retried, SHARDD__RETRIED__RETRIED_UNKNOWN, SHARDD__RETRIED__RETRIED_YES),
    TEXT(Hello, host, MSG_NAME_MAX_BYTES),
    BINARY(Hello, session, 0, MSG_SESSION_MAX_BYTES),
    COUNT(Hello, held_lease, 0, MSG_HELD_MAX),
    SAME(Hello, held_count, held_lease),
    VALUES(Hello, held_count, 0, MSG_LEASE_MAX),
    VALUES(Hello, held_test, 0, MSG_LIST_MAX - 1),
    NUMBER(Hello, mixed, 0, MSG_MIXED_ALL),
    NUMBER(Hello, parts, 0, MSG_PARTS_MAX),
};

static const struct rule welcome_rules[] = {
    TEXT(Welcome, server, MSG_NAME_MAX_BYTES),
    BINARY(Welcome, session, 0, MSG_SESSION_MAX_BYTES),
    NUMBER(Welcome, state, SHARDD__BUILD_STATE__BUILD_UNSET, SHARDD__BUILD_STATE__BUILD_ABORTED),
    NUMBER(Welcome, list_count, 0, MSG_LIST_MAX),
    COUNT(Welcome, revoked, 0, MSG_HELD_MAX),
};

static const struct rule error_rules[] = {
    NUMBER(Error, code, SHARDD__ERROR_CODE__ERROR_VERSION, SHARDD__ERROR_CODE__ERROR_DIFFERS),
    TEXT(Error, text, MSG_TEXT_MAX_BYTES),
};

static const struct rule list_offer_rules[] = {
    NUMBER(ListOffer, count, 0, MSG_LIST_MAX),
    BINARY(ListOffer, sha256, MSG_DIGEST_BYTES, MSG_DIGEST_BYTES),
    BINARY(ListOffer, sources, 0, MSG_DIGEST_BYTES),
};

static const struct rule list_chunk_rules[] = {
    COUNT(ListChunk, id, 0, MSG_CHUNK_MAX),
    IDS(ListChunk, id),
    COUNT(ListChunk, file, 0, MSG_CHUNK_MAX),
    TEXTS(ListChunk, file, MSG_NAME_MAX_BYTES),
    SAME(ListChunk, file_of, id),
    SAME(ListChunk, unit_of, id),
    COUNT(ListChunk, mark, 0, MSG_CHUNK_MAX),
    TEXTS(ListChunk, mark, MSG_NAME_MAX_BYTES),
    COUNT(ListChunk, mark_test, 0, 4 * MSG_CHUNK_MAX),
    SAME(ListChunk, mark_of, mark_test),
    SAME_OR_NONE(ListChunk, expected_us, id),
};

static const struct rule list_request_rules[] = {
    NUMBER(ListRequest, tests, 0, MSG_LIST_MAX),
    NUMBER(ListRequest, files, 0, MSG_LIST_MAX),
    BINARY(ListRequest, sources, 0, MSG_DIGEST_BYTES),
};

static const struct rule list_reply_rules[] = {
    NUMBER(ListReply, want, SHARDD__LIST_WANT__LIST_OK, SHARDD__LIST_WANT__LIST_MISMATCH),
    COUNT(ListReply, missing, 0, MSG_FEW_MAX),
    IDS(ListReply, missing),
    COUNT(ListReply, extra, 0, MSG_FEW_MAX),
    IDS(ListReply, extra),
    TEXT(ListReply, first, MSG_NAME_MAX_BYTES),
    COUNT(ListReply, note, 0, MSG_FEW_MAX),
    TEXTS(ListReply, note, MSG_TEXT_MAX_BYTES),
};

static const struct rule lease_request_rules[] = {
    COUNT(LeaseRequest, claim, 0, MSG_LEASE_MAX),
    VALUES(LeaseRequest, claim, 0, MSG_LIST_MAX - 1),
};

static const struct rule lease_rules[] = {
    COUNT(Lease, test, 1, MSG_LEASE_MAX),
    VALUES(Lease, test, 0, MSG_LIST_MAX - 1),
    SAME_OR_NONE(Lease, cap_ms, test),
    SAME(Lease, est_ms, test),
    SAME_OR_NONE(Lease, cap_from, test),
    SAME_OR_NONE(Lease, name, test),
    IDS(Lease, name),
    SAME_OR_NONE(Lease, file, test),
    TEXTS(Lease, file, MSG_NAME_MAX_BYTES),
};

static const struct rule drained_rules[] = {
    NUMBER(Drained, reason, SHARDD__DRAIN_REASON__DRAIN_SETTLED, SHARDD__DRAIN_REASON__DRAIN_FEW),
};

static const struct rule started_rules[] = {
    NUMBER(Started, test, 0, MSG_LIST_MAX - 1),
};

static const struct rule results_rules[] = {
    COUNT(Results, test, 1, MSG_CHUNK_MAX),
    VALUES(Results, test, 0, MSG_LIST_MAX - 1),
    SAME(Results, status, test),
    VALUES(Results, status, SHARDD__STATUS__STATUS_PASSED, SHARDD__STATUS__STATUS_TIMED_OUT),
    SAME(Results, start_us, test),
    SAME(Results, setup_us, test),
    SAME(Results, call_us, test),
    SAME(Results, teardown_us, test),
    SAME(Results, first, test),
    SAME(Results, text_of, text),
    TEXTS(Results, text, MSG_TEXT_MAX_BYTES),
};

static const struct rule heartbeat_rules[] = {
    NUMBER(Heartbeat, test, 0, MSG_LIST_MAX - 1),
};

static const struct rule revoke_rules[] = {
    COUNT(Revoke, lease, 1, MSG_LEASE_MAX),
};

static const struct rule recall_rules[] = {
    COUNT(Recall, test, 1, MSG_LEASE_MAX),
    VALUES(Recall, test, 0, MSG_LIST_MAX - 1),
};

static const struct rule released_rules[] = {
    COUNT(Released, test, 0, MSG_LEASE_MAX),
    VALUES(Released, test, 0, MSG_LIST_MAX - 1),
};

static const struct rule bye_rules[] = {
    NUMBER(Bye, reason, SHARDD__BYE_REASON__BYE_DONE, SHARDD__BYE_REASON__BYE_STOPPED),
    TEXT(Bye, text, MSG_TEXT_MAX_BYTES),
    COUNT(Bye, late, 0, MSG_LATE_MAX),
    TEXTS(Bye, late, MSG_TEXT_MAX_BYTES),
};

static const struct rule goodbye_rules[] = {
    NUMBER(Goodbye, state, SHARDD__BUILD_STATE__BUILD_UNSET, SHARDD__BUILD_STATE__BUILD_ABORTED),
    NUMBER(Goodbye, exit_code, 0, 255),
    COUNT(Goodbye, own, 0, MSG_FEW_MAX),
    IDS(Goodbye, own),
    TEXT(Goodbye, why, MSG_TEXT_MAX_BYTES),
    TEXT(Goodbye, skips, MSG_TEXT_MAX_BYTES),
    TEXT(Goodbye, again, MSG_TEXT_MAX_BYTES),
    TEXT(Goodbye, twice, MSG_TEXT_MAX_BYTES),
};

static const struct rule query_rules[] = {
    TEXT(Query, project, MSG_NAME_MAX_BYTES),
    TEXT(Query, suite, MSG_NAME_MAX_BYTES),
    TEXT(Query, build, MSG_NAME_MAX_BYTES),
    ID_OR_NONE(Query, test),
    TEXT(Query, branch, MSG_NAME_MAX_BYTES),
    TEXT(Query, reason, MSG_NAME_MAX_BYTES),
    TEXT(Query, who, MSG_NAME_MAX_BYTES),
    TEXT(Query, ticket, MSG_NAME_MAX_BYTES),
    TEXT(Query, file, MSG_NAME_MAX_BYTES),
    COUNT(Query, import_test, 0, MSG_CHUNK_MAX),
    IDS(Query, import_test),
    COUNT(Query, import_file, 0, MSG_CHUNK_MAX),
    TEXTS(Query, import_file, MSG_NAME_MAX_BYTES),
    SAME(Query, import_file_of, import_test),
    SAME(Query, import_us, import_test),
};

static const struct rule rows_rules[] = {
    COUNT(Rows, column, 0, MSG_COLUMN_MAX),
    TEXTS(Rows, column, MSG_NAME_MAX_BYTES),
    SAME(Rows, type, column),
    VALUES(Rows, type, SHARDD__COLUMN_TYPE__COLUMN_TEXT, SHARDD__COLUMN_TYPE__COLUMN_NUMBER),
    COUNT(Rows, cell, 0, MSG_CELL_MAX),
    TEXTS(Rows, cell, MSG_TEXT_MAX_BYTES),
};

static const char *check_hello(const Shardd__Frame *frame);
static const char *check_list_offer(const Shardd__Frame *frame);
static const char *check_list_request(const Shardd__Frame *frame);
static const char *check_list_chunk(const Shardd__Frame *frame);
static const char *check_results(const Shardd__Frame *frame);
static const char *check_query(const Shardd__Frame *frame);
static const char *check_rows(const Shardd__Frame *frame);

#define RULES(table) .rules = (table), .count = sizeof(table) / sizeof((table)[0])
static const struct message messages[] = {
    [SHARDD__FRAME__BODY_HELLO] = {RULES(hello_rules), .check = check_hello},
    [SHARDD__FRAME__BODY_WELCOME] = {RULES(welcome_rules)},
    [SHARDD__FRAME__BODY_ERROR] = {RULES(error_rules)},
    [SHARDD__FRAME__BODY_LIST_OFFER] = {RULES(list_offer_rules), .check = check_list_offer},
    [SHARDD__FRAME__BODY_LIST_CHUNK] = {RULES(list_chunk_rules), .check = check_list_chunk},
    [SHARDD__FRAME__BODY_LIST_REPLY] = {RULES(list_reply_rules)},
    [SHARDD__FRAME__BODY_LEASE_REQUEST] = {RULES(lease_request_rules)},
    [SHARDD__FRAME__BODY_LEASE] = {RULES(lease_rules)},
    [SHARDD__FRAME__BODY_PARKED] = {.count = 0},
    [SHARDD__FRAME__BODY_DRAINED] = {RULES(drained_rules)},
    [SHARDD__FRAME__BODY_STARTED] = {RULES(started_rules)},
    [SHARDD__FRAME__BODY_RESULTS] = {RULES(results_rules), .check = check_results},
    [SHARDD__FRAME__BODY_ACK] = {.count = 0},
    [SHARDD__FRAME__BODY_HEARTBEAT] = {RULES(heartbeat_rules)},
    [SHARDD__FRAME__BODY_REVOKE] = {RULES(revoke_rules)},
    [SHARDD__FRAME__BODY_BYE] = {RULES(bye_rules)},
    [SHARDD__FRAME__BODY_GOODBYE] = {RULES(goodbye_rules)},
    [SHARDD__FRAME__BODY_QUERY] = {RULES(query_rules), .check = check_query},
    [SHARDD__FRAME__BODY_ROWS] = {RULES(rows_rules), .check = check_rows},
    [SHARDD__FRAME__BODY_RECALL] = {RULES(recall_rules)},
    [SHARDD__FRAME__BODY_RELEASED] = {RULES(released_rules)},
    [SHARDD__FRAME__BODY_LIST_REQUEST] = {RULES(list_request_rules), .check = check_list_request},
};
enum { MESSAGES = sizeof messages / sizeof messages[0] };
static_assert(MESSAGES == SHARDD__FRAME__BODY_LIST_REQUEST + 1, "every message of Frame has its row");

static bool keeps(const struct rule *rule, const void *message);

const char *msg_check(const Shardd__Frame *frame) {
  size_t body = (size_t)frame->body_case;
  if (body < SHARDD__FRAME__BODY_HELLO || body >= MESSAGES) return "the frame holds no message";
  const struct message *message = &messages[body];
  const void *fields = frame->hello;  // whichever it is: the union holds one pointer
  for (size_t i = 0; i < message->count; i++) {
    if (!keeps(&message->rules[i], fields)) return message->rules[i].why;
  }
  return message->check == NULL ? NULL : message->check(frame);
}

// ---- fields by offset

static const void *at(const void *message, size_t offset) {
  return (const char *)message + offset;
}

static size_t count_at(const void *message, size_t offset) {
  return *(const size_t *)at(message, offset);
}

static bool in_range(const struct rule *rule, size_t value) {
  return value >= rule->min && value <= rule->max;
}

static bool text_valid(const ProtobufCBinaryData *text, size_t max) {
  return text->len == 0 || (text->len <= max && memchr(text->data, '\0', text->len) == NULL);
}

// ---- one function per kind of rule: true when the field keeps it

static bool keeps_text(const struct rule *rule, const void *message) {
  return text_valid(at(message, rule->at), rule->max);
}

static bool keeps_binary(const struct rule *rule, const void *message) {
  const ProtobufCBinaryData *bytes = at(message, rule->at);
  return in_range(rule, bytes->len);
}

static bool keeps_id_or_none(const struct rule *rule, const void *message) {
  const ProtobufCBinaryData *id = at(message, rule->at);
  return id->len == 0 || msg_id_valid(id->data, id->len);
}

static bool keeps_number(const struct rule *rule, const void *message) {
  return in_range(rule, *(const uint32_t *)at(message, rule->at));
}

static bool keeps_count(const struct rule *rule, const void *message) {
  return in_range(rule, count_at(message, rule->count));
}

static bool keeps_same(const struct rule *rule, const void *message) {
  return count_at(message, rule->count) == count_at(message, rule->other);
}

static bool keeps_same_or_none(const struct rule *rule, const void *message) {
  return count_at(message, rule->count) == 0 || keeps_same(rule, message);
}

static bool keeps_values(const struct rule *rule, const void *message) {
  const uint32_t *values = *(const uint32_t *const *)at(message, rule->at);
  size_t n = count_at(message, rule->count);
  for (size_t i = 0; i < n; i++) {
    if (!in_range(rule, values[i])) return false;
  }
  return true;
}

static bool keeps_texts(const struct rule *rule, const void *message) {
  const ProtobufCBinaryData *texts = *(const ProtobufCBinaryData *const *)at(message, rule->at);
  size_t n = count_at(message, rule->count);
  for (size_t i = 0; i < n; i++) {
    if (!text_valid(&texts[i], rule->max)) return false;
  }
  return true;
}

static bool keeps_ids(const struct rule *rule, const void *message) {
  const ProtobufCBinaryData *ids = *(const ProtobufCBinaryData *const *)at(message, rule->at);
  size_t n = count_at(message, rule->count);
  for (size_t i = 0; i < n; i++) {
    if (!msg_id_valid(ids[i].data, ids[i].len)) return false;
  }
  return true;
}

typedef bool keeps_fn(const struct rule *rule, const void *message);
static keeps_fn *const keeps_kind[] = {
    [KIND_TEXT] = keeps_text,
    [KIND_BINARY] = keeps_binary,
    [KIND_ID_OR_NONE] = keeps_id_or_none,
    [KIND_NUMBER] = keeps_number,
    [KIND_COUNT] = keeps_count,
    [KIND_SAME] = keeps_same,
    [KIND_SAME_OR_NONE] = keeps_same_or_none,
    [KIND_VALUES] = keeps_values,
    [KIND_TEXTS] = keeps_texts,
    [KIND_IDS] = keeps_ids,
};
static_assert(sizeof keeps_kind / sizeof keeps_kind[0] == KIND_COUNT_OF, "every kind of rule has its function");

static bool keeps(const struct rule *rule, const void *message) {
  return keeps_kind[rule->kind](rule, message);
}

// ---- rules that concern several fields

static const char *check_policy(const Shardd__Policy *policy) {
  if ((uint32_t)policy->on_retry > SHARDD__ON_RETRY__ON_RETRY_UNRESOLVED)
    return "Policy.on_retry: has an unknown value";
  if ((uint32_t)policy->order > SHARDD__ORDER__ORDER_COLLECTION) return "Policy.order: has an unknown value";
  if (policy->n_token != policy->n_token_count) return "Policy.token_count: has another number of items than token";
  if (policy->n_token > MSG_TOKENS_MAX) return "Policy.token: has too many items";
  for (size_t i = 0; i < policy->n_token; i++) {
    const ProtobufCBinaryData *name = &policy->token[i];
    bool plain = name->len && text_valid(name, MSG_NAME_MAX_BYTES);
    if (!plain || memchr(name->data, '\n', name->len) || memchr(name->data, '=', name->len)) {
      return "Policy.token: an item is no name of a token";
    }
    if (policy->token_count[i] == 0) return "Policy.token_count: an item is 0";
  }
  return NULL;
}

static const char *check_list_offer(const Shardd__Frame *frame) {
  return msg_facts_check(frame->list_offer->facts);
}

static const char *check_list_request(const Shardd__Frame *frame) {
  return msg_facts_check(frame->list_request->facts);
}

// The tests of all held leases stand behind each other in one column.
static const char *check_hello(const Shardd__Frame *frame) {
  const Shardd__Hello *hello = frame->hello;
  const char *broken = hello->policy ? check_policy(hello->policy) : NULL;
  if (!broken) broken = msg_facts_check(hello->facts);
  if (broken) return broken;
  if (hello->part > hello->parts) return "Hello.part: is beyond the number of parts";
  size_t sum = 0;
  for (size_t i = 0; i < hello->n_held_count; i++)
    sum += hello->held_count[i];
  return sum == hello->n_held_test ? NULL : "Hello.held_test: has another number of items than held_count says";
}

// The list of files grows from chunk to chunk: that a place is within it can only be said by who has them all.
static const char *check_list_chunk(const Shardd__Frame *frame) {
  const Shardd__ListChunk *chunk = frame->list_chunk;
  for (size_t i = 0; i < chunk->n_file_of; i++) {
    if (chunk->file_of[i] >= MSG_LIST_MAX && chunk->file_of[i] != MSG_NO_FILE) {
      return "ListChunk.file_of: is no place in a list of files";
    }
  }
  for (size_t i = 0; i < chunk->n_mark_test; i++) {
    if (chunk->mark_test[i] >= chunk->n_id) return "ListChunk.mark_test: is no place in this chunk";
  }
  for (size_t i = 0; i < chunk->n_mark; i++) {
    char kind = chunk->mark[i].len ? (char)chunk->mark[i].data[0] : '\0';
    if ((kind != 'g' && kind != 't') || memchr(chunk->mark[i].data, '\n', chunk->mark[i].len)) {
      return "ListChunk.mark: is no name of a group or token";
    }
  }
  for (size_t i = 0; i < chunk->n_expected_us; i++) {
    if (chunk->expected_us[i] > MSG_EXPECTED_MAX_US) return "ListChunk.expected_us: is longer than a week";
  }
  return NULL;
}

static const char *check_results(const Shardd__Frame *frame) {
  const Shardd__Results *results = frame->results;
  if (frame->seq == 0) return "Results: the frame has no number";
  for (size_t i = 0; i < results->n_text_of; i++) {
    if (results->text_of[i] >= results->n_test) return "Results.text_of: names a row that is not there";
    if (i > 0 && results->text_of[i] <= results->text_of[i - 1]) return "Results.text_of: is not in ascending order";
  }
  return NULL;
}

static const char *check_import(const Shardd__Query *query) {
  for (size_t i = 0; i < query->n_import_test; i++) {
    bool place = query->import_file_of[i] < query->n_import_file || query->import_file_of[i] == MSG_NO_FILE;
    if (!place) return "Query.import_file_of: is no place among the files";
    if (query->import_us[i] > MSG_EXPECTED_MAX_US) return "Query.import_us: is longer than a week";
  }
  return NULL;
}

// The kinds are no row of numbers without gaps.
static const char *check_query(const Shardd__Frame *frame) {
  int kind = (int)frame->query->kind;
  bool known = kind != SHARDD__QUERY_KIND__QUERY_UNSET &&
               protobuf_c_enum_descriptor_get_value(&shardd__query_kind__descriptor, kind) != NULL;
  if (!known) return "Query.kind: has an unknown value";
  return check_import(frame->query);
}

static const char *check_rows(const Shardd__Frame *frame) {
  const Shardd__Rows *rows = frame->rows;
  bool whole = rows->n_column == 0 ? rows->n_cell == 0 : rows->n_cell % rows->n_column == 0;
  return whole ? NULL : "Rows.cell: the last row is not whole";
}
