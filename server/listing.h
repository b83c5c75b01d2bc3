// How a build gets its list: the first worker that offers one sends it, the others' are compared by digest; one that
// differs sends its own and is told the difference. How those get it who have not collected: listing_send.c. Called by
// dispatch.c, session.c and when the store has the list on disk.
#ifndef SERVER_LISTING_H
#define SERVER_LISTING_H

#include "server/server.h"

void listing_offer(struct server *server, struct session *session, const Shardd__ListOffer *offer);
void listing_chunk(struct server *server, struct session *session, const Shardd__ListChunk *chunk);
// The store has a list on disk.
void listing_stored(struct server *server, const struct store_listed *listed);
// A worker is gone: if it was sending the list, the next who offered one is asked.
void listing_gone(struct server *server, struct session *session);

// ---- to those who have not collected (listing_send.c)

// A worker wants the list, behind what it has of it: gets the next chunk, now or when there is a list; or is asked to
// collect, when nobody is at it.
void listing_request(struct session *session, const Shardd__ListRequest *request);
// The list is there: the first chunk to all who wait.
void listing_send_waiting(struct build *build);
// There is no list, and nobody who may bring one: all who wait are asked to collect.
void listing_seek(struct build *build);

enum { LISTING_PAGE_ROWS = 5000, LISTING_PAGE_BYTES = 256 * 1024 };

struct listing_page {
  ProtobufCBinaryData id[LISTING_PAGE_ROWS], file[LISTING_PAGE_ROWS];
  uint32_t file_of[LISTING_PAGE_ROWS], unit_of[LISTING_PAGE_ROWS];
  uint32_t ids, files;
  size_t bytes;
  char text[LISTING_PAGE_BYTES + MSG_ID_MAX_BYTES];  // of the ids
  size_t text_bytes;
};
// The next page behind so many tests and files: new files as the tests need them. At least one of either, unless that
// was all. True: the last one.
bool listing_page_fill(struct listing_page *page, const struct build *build, uint32_t tests, uint32_t files);

#endif
