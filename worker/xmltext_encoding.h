// The encoding that an XML declaration names. Used by xmltext.c.
#ifndef WORKER_XMLTEXT_ENCODING_H
#define WORKER_XMLTEXT_ENCODING_H

#include "config/base.h"

enum { XMLTEXT_ENCODING_BYTES = 40 };

// The encoding="NAME" of the declaration that `head` begins with, in lower case; "" without one.
void xmltext_encoding_find(const char *head, size_t n, char name[XMLTEXT_ENCODING_BYTES]);

// What iconv calls it. False: it is not one of those that are read. "" for UTF-8, ASCII, no encoding, and UTF-16: bytes
// in which the declaration can be read are not UTF-16, whatever it says (.NET writes such files).
bool xmltext_encoding_iconv(const char *name, char out[XMLTEXT_ENCODING_BYTES]) MUST_CHECK;

#endif
