// A list while it arrives in chunks, until the build or the plan that it is for has taken it. What it holds is counted
// in the server's budget, and it has to get on: who sends nothing, or too little, makes room for others.
#ifndef SERVER_UPLOAD_H
#define SERVER_UPLOAD_H

#include "proto/msg.h"
#include "server/budget.h"
#include "server/map.h"
#include "server/names.h"
#include "server/store.h"

struct upload;

// budget: NULL, or whose bound holds; it outlives the upload.
struct upload *upload_new(struct budget *budget, enum budget_kind kind, uint64_t hash_seed);
void upload_free(struct upload *upload);
// Appends a chunk. ERROR_UNSET; else the code of an Error, which ends the upload, and *why, a constant text:
// ERROR_MALFORMED when it breaks a rule (an id twice, too many tests, a file that was not named), ERROR_TOO_LARGE when
// the list takes more than one may, ERROR_BUSY when those of others leave no room for it now.
Shardd__ErrorCode upload_add(struct upload *upload, const Shardd__ListChunk *chunk, const char **why) MUST_CHECK;
// Counts bytes that the owner holds because of this list, beside it: as upload_add.
Shardd__ErrorCode upload_hold(struct upload *upload, uint64_t beside_bytes, const char **why) MUST_CHECK;
// When the upload is taken for given up unless it got on: patience_us behind what came last, and sooner when less came
// than LIMIT_UPLOAD_RATE. Call it when the list is asked for and behind each chunk.
uint64_t upload_due_us(struct upload *upload, uint64_t now_us, uint64_t patience_us);
struct names *upload_ids(struct upload *upload);  // until they are taken
uint32_t upload_count(const struct upload *upload);
// The list as the store takes it; pointers live as long as the upload is not changed.
const struct store_list *upload_list(struct upload *upload, uint64_t build);
// Gives the names away, into zeroed ones; upload_list stays as it was spelled. Once.
void upload_take(struct upload *upload, struct names *ids, struct map *files);

#endif
