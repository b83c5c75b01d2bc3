// XML as test tools write it, made into XML that a strict parser takes: any usual encoding becomes UTF-8, and what XML
// does not allow (control characters, bytes that are not UTF-8, references to either, "&" on its own, entities that
// nobody declared) is replaced and counted, so that one character does not cost the document. Hands on whole tokens
// only, which keeps the parser's work linear: expat goes over an unfinished token again with every call. Used by
// junit.c; knows no element by name.
#ifndef WORKER_XMLTEXT_H
#define WORKER_XMLTEXT_H

#include "config/base.h"

struct xmltext;

// on_xml gets UTF-8, of which each call ends between tokens, in text or at the end of the document.
struct xmltext *xmltext_new(void (*on_xml)(void *arg, const char *bytes, size_t n), void *arg);
void xmltext_free(struct xmltext *text);
// The next bytes of the document, `last` with its end. Memory: three times the longest token.
void xmltext_feed(struct xmltext *text, const char *bytes, size_t n, bool last);
// What was lost: "3 characters that XML does not allow were replaced, the first in line 2"; "" when nothing was.
void xmltext_lost(const struct xmltext *text, char *out, size_t size);

#endif
