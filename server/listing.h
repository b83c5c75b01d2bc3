// How a build gets its list: the first worker that offers one sends it, the others' are compared by digest; one that
// differs sends its own and is told the difference. Called by dispatch.c and when the store has the list on disk.
#ifndef SERVER_LISTING_H
#define SERVER_LISTING_H

#include "server/server.h"

// A list while it arrives in chunks.
struct upload;
struct upload *upload_new(uint64_t hash_seed);
void upload_free(struct upload *upload);
// Appends a chunk. 0; -1 and *why (a constant text) when it breaks a rule: an id twice, too many tests, a file that was
// not named.
int upload_add(struct upload *upload, const Shardd__ListChunk *chunk, const char **why) MUST_CHECK;
uint32_t upload_count(const struct upload *upload);
// The list as the store takes it; pointers live as long as the upload is not changed.
const struct store_list *upload_list(struct upload *upload, uint64_t build);

void listing_offer(struct server *server, struct session *session, const Shardd__ListOffer *offer);
void listing_chunk(struct server *server, struct session *session, const Shardd__ListChunk *chunk);
// The store has a list on disk.
void listing_stored(struct server *server, const struct store_listed *listed);
// A worker is gone: if it was sending the list, the next who offered one is asked.
void listing_gone(struct server *server, struct session *session);

#endif
