// Text from files and pipes as UTF-8, whatever byte order mark it begins with: that of UTF-8 is dropped, UTF-16 in
// either order is converted, as Windows tools and PowerShell's ">" write it. Everything else passes unchanged. Used by
// every reader of text in the worker.
#ifndef WORKER_DECODE_H
#define WORKER_DECODE_H

#include <stdio.h>

#include "config/base.h"

enum decode_form { DECODE_UNDECIDED, DECODE_PLAIN, DECODE_UTF16LE, DECODE_UTF16BE };

struct decode {
  enum decode_form form;
  bool guess;          // "<" and NUL, in either order, is UTF-16 without a mark (XML)
  uint8_t pending[4];  // of the mark, or of a character of UTF-16
  size_t pending_bytes;
  size_t replaced;  // halves of UTF-16 characters, each U+FFFD now
};

typedef void decode_sink(void *arg, const char *bytes, size_t n);

// Begins as {0}. Hands on what is complete, in order; `last` with the end of the text, once.
void decode_feed(struct decode *decode, const char *bytes, size_t n, bool last, decode_sink *sink, void *arg);

// A file, decoded while it is read; takes it over, so that closing the result closes it. NULL for NULL. Errors of
// reading show in ferror.
FILE *decode_stream(FILE *in);

#endif
