// Messages: pack, unpack within a hard ceiling of memory, validate. The only place that calls protobuf-c, whose
// unpacking has no bounds of its own (a 1 MiB frame of empty sub-messages takes 80 MiB). Used by both sides'
// connections.
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shardd.pb-c.h"

enum {
  MSG_VERSION = 1,
  MSG_ARENA_MAX_BYTES = 8 * 1024 * 1024,  // unpacked size of one message
  MSG_ID_MAX_BYTES = 4096,                // a test id
  MSG_NAME_MAX_BYTES = 1024,              // project, suite, build, node, file, …
  MSG_TOKEN_MAX_BYTES = 256,
  MSG_TEXT_MAX_BYTES = 64 * 1024,  // failure output of one attempt
  MSG_LIST_MAX = 500000,           // tests of a build
  MSG_LEASE_MAX = 10000,           // tests of a lease
  MSG_CHUNK_MAX = 20000,           // rows of one list chunk or one Results
  MSG_HELD_MAX = 16,               // leases named in a Hello
  MSG_SESSION_BYTES = 16,          // the name that who ran without a server gives itself, for results that are brought
  MSG_SESSION_MAX_BYTES = 64,      // the server's name of a worker's session: any bytes
  MSG_DIGEST_BYTES = 32,           // SHA-256
  MSG_TOKENS_MAX = 62,             // tokens of a Policy
  MSG_FEW_MAX = 20,                // ids shown to people: missing, extra, own
  MSG_LATE_MAX = 1000,             // errors outside of tests in a Bye
  MSG_COLUMN_MAX = 64,             // columns of a Rows
  MSG_CELL_MAX = 50000,            // cells of one Rows; a longer answer comes in pages
  MSG_FACTS_MAX = 48,              // facts of one message
  MSG_FACT_NAME_MAX_BYTES = 64,
  MSG_FACT_MAX_BYTES = 2048,  // a fact's value
};

// In a fact's value: what stands between the two may differ from node to node (its number in the name of a file).
#define MSG_FACT_OWN_BEGINS '\x0e'
#define MSG_FACT_OWN_ENDS '\x0f'

// Hello.mixed: of what a build may be a mixture.
enum { MSG_PARTS_MAX = 1000000 };  // of a list that jobs without a server share
enum { MSG_MIXED_COMMIT = 1, MSG_MIXED_ENVIRONMENT = 2, MSG_MIXED_ALL = 3 };

#define MSG_EXPECTED_MAX_US UINT64_C(604800000000)  // expected duration of a test: a week

#define MSG_NO_FILE UINT32_MAX  // in file_of: a test that belongs to no file

// Memory for unpacking, reused from message to message; one per program is enough.
struct msg_arena;
struct msg_arena *msg_arena_new(size_t max_bytes);  // NULL: out of memory
void msg_arena_free(struct msg_arena *arena);

// Unpacks a body and checks every rule of its message: exactly one body, bounds on counts and lengths, columns of
// equal length, no NUL or empty id, known enum values. The message lives in the arena until the next unpack.
// NULL on failure, with *why a constant text that says what rule was broken.
const Shardd__Frame *msg_unpack(struct msg_arena *arena, const uint8_t *body, size_t n, const char **why);

// Bytes that msg_pack will write, header included; 0 when the message is over FRAME_MAX_BYTES.
size_t msg_packed_bytes(const Shardd__Frame *frame);

// Writes header and body into out, which has room for msg_packed_bytes() bytes; returns the number written.
size_t msg_pack(const Shardd__Frame *frame, uint8_t *out);

// The constant name of a message ("lease_request"), for logs and errors.
const char *msg_name(const Shardd__Frame *frame);

// A field of type bytes that points at text the caller keeps alive.
ProtobufCBinaryData msg_bytes(const void *bytes, size_t n);
ProtobufCBinaryData msg_text(const char *text);  // NULL counts as ""

// True when `n` bytes are a valid test id: 1 … MSG_ID_MAX_BYTES, no NUL, no newline.
bool msg_id_valid(const void *bytes, size_t n);

#endif
