// A build in memory: its names, its queue, its list, and the sessions of its workers. Shared by session.c, listing.c,
// deliver.c, recover.c and query.c; build.c makes and finds them. No message and no SQL here.
#ifndef SERVER_BUILD_H
#define SERVER_BUILD_H

#include "server/map.h"
#include "server/names.h"
#include "server/queue.h"
#include "server/store.h"

struct conn;
struct server;
struct twin;
struct upload;

enum listing_state {
  LISTING_NONE,     // nobody has sent a list
  LISTING_UPLOAD,   // a worker is sending it
  LISTING_STORING,  // it is on its way to the disk
  LISTING_READY,
};

// Where the longest time that a test may take comes from. The numbers of CapFrom in shardd.proto (asserted in
// deliver.c).
enum build_cap_from { BUILD_CAP_ASKED = 1, BUILD_CAP_HISTORY, BUILD_CAP_UNSEEN, BUILD_CAP_LONGER };

struct fact {
  char *name, *value;
};

struct build {
  struct build *next;
  uint64_t id;
  char *project, *suite, *ext, *commit, *branch;
  struct queue *queue;
  uint64_t started_ms, ended_us;
  uint64_t timeout_per_test_us;
  uint32_t order;     // Order of shardd.proto
  char *tokens;       // a line NAME=COUNT for each token with several copies
  struct fact *fact;  // what its workers are compared by (same.c): LIMIT_FACTS, when there are any
  size_t fact_count;
  uint32_t mixed;                       // MSG_MIXED_*
  uint8_t sources[STORE_DIGEST_BYTES];  // of the files that hold tests, when it has_sources
  bool has_sources;
  char *skips;  // what a Goodbye says of skips, as it was at skips_us; or NULL
  uint64_t skips_us;
  char *note;  // what may be mended about its list, for people; NULL: nothing
  enum listing_state listing;
  struct session *uploader;
  struct upload *upload;               // UPLOAD, STORING: what was received
  char *listed_by;                     // who sent the list
  uint8_t digest[STORE_DIGEST_BYTES];  // of the list, when it is `digested`: build_digest
  bool digested;
  struct names ids;  // by position in collection order
  struct map files;
  struct map reasons;        // of skips
  size_t longest_bytes;      // of an id with its file
  uint32_t *file_of;         // by position; UINT32_MAX: none
  uint32_t *number_of;       // position → number on the wire (byte order)
  uint32_t *position_of;     // number → position
  uint32_t *row_of;          // position → test's row id in the store
  uint32_t *cap_ms;          // position → longest it may take by policy or history; 0: it was never seen
  struct session **session;  // by worker number
  uint32_t session_count;
  uint32_t pending;       // results not yet on disk
  uint64_t state_ticket;  // of the last record of its state
};

// A worker's side of a build, over all its connections.
struct session {
  struct build *build;
  uint32_t worker;
  struct conn *conn;  // NULL: away
  uint8_t token[STORE_SESSION_BYTES];
  char *node, *attempt, *host;
  uint64_t heard_us;                // when it last said something
  struct twin *twin;                // a job that came under its number (twin.c); NULL: none
  uint32_t part, parts;             // of the list: what it ran without the server; 0: no fixed part
  const struct session *same_part;  // an earlier one whose part cannot be beside its own; NULL: none
  uint64_t applied, acked;          // numbers of its Results: taken, on disk
  uint64_t refused;  // the first of its Results that a full disk refused; 0: none. Nothing behind it is taken before
  bool wants_names, left, goodbye_due;
  bool goodbye_said;  // on this connection
  bool brings;        // results from a time without the server
  bool offered;       // its list waits for the build's
  uint32_t offer_count;
  uint8_t offer_digest[STORE_DIGEST_BYTES];
  uint8_t sources[STORE_DIGEST_BYTES];  // of its files of tests, when it has_sources
  bool has_sources;
  struct upload *diff;              // it sends its differing list
  bool wants_list;                  // it has not collected, and waits for the build's list
  uint32_t list_tests, list_files;  // so much of it it has
};

struct build *build_new(struct server *server, const struct store_build *store_build,
                        const struct queue_policy *policy);
void build_free(struct server *server, struct build *build);
struct build *build_find(struct server *server, const char *project, const char *suite, const char *ext);
struct build *build_by_id(struct server *server, uint64_t id);
struct session *build_add_session(struct build *build, uint32_t worker, const char *node, const char *attempt,
                                  const char *host);
struct session *build_find_session(struct build *build, const uint8_t *token);

// Whether a worker whose number is below `before` is here and may still bring a list.
bool build_collects(const struct build *build, uint32_t before);

// The number of the first line of a skip's text, from 1 and the same for equal ones; 0: it is empty. Those beyond
// LIMIT_SKIP_REASONS are one number, which has no text.
uint32_t build_reason(struct build *build, const char *text, size_t n);
const char *build_reason_text(const struct build *build, uint32_t reason);  // "": none

// SHA-256 of the list's ids in byte order, each followed by a newline: what a ListOffer says. Lives in the build.
const uint8_t *build_digest(struct build *build);
// The list: ids and files in collection order, from the store; makes the numbers.
void build_set_list(struct build *build, const struct store_list *list);
// The same from an upload, whose names go over to the build; `list` spells them.
void build_take_list(struct build *build, struct names *ids, struct map *files, const struct store_list *list);
// The rows and expectations of that list, from the store: makes the queue ready.
void build_list_ready(struct server *server, struct build *build, const struct store_list *list,
                      const struct store_listed *listed);

// Unfinished builds in memory, with a list (or one on its way) or without.
uint32_t build_running(const struct server *server, bool with_list);
// The oldest unfinished build that has no list and no worker; NULL: there is none.
struct build *build_left_without_list(const struct server *server);

// Frees what ended long ago, at once when it never had a list; returns when to call again.
uint64_t build_evict(struct server *server, uint64_t now_us);

// The longest that a test may take on this worker, ms, at least 1: what the user asked for; else what its history makes
// of it, longer on a slow worker and once such a cap has ended it.
uint32_t build_cap(const struct build *build, uint32_t worker, uint32_t position, enum build_cap_from *from);

#endif
