// The list on its way to the server: offered by digest, sent in chunks when asked for, compared by the server; and one
// file of it compared here. Used by run.c, run_lazy.c, dryrun.c and
// spool_file.c.
#ifndef WORKER_LISTING_H
#define WORKER_LISTING_H

#include <stdio.h>

#include "proto/msg.h"
#include "worker/testlist.h"

struct link;

// The offer points into the list.
void listing_fill_offer(const struct testlist *list, Shardd__ListOffer *offer);
// Sends the whole list in ListChunk messages, each well below the frame's bound.
void listing_send(const struct testlist *list, struct link *link);
// The same through any sender; `send` is called once a chunk.
void listing_send_to(const struct testlist *list, void (*send)(void *arg, const Shardd__Frame *frame), void *arg);

// What the server has to say of the list, a line each.
void listing_print_notes(const Shardd__ListReply *reply, FILE *out);
// Tells people how two lists differ, and what usually makes them.
void listing_print_mismatch(const Shardd__ListReply *reply, FILE *out);
// Whether a file holds just the tests that the list has of it; both are sealed. If not, tells people how they differ;
// `text` is what went wrong in the file, "": nothing.
bool listing_file_agrees(const struct testlist *list, const char *file, const struct testlist *found, const char *text,
                         FILE *out);

#endif
