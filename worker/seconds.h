// A time as text, bounded where it enters: what test tools write as seconds or milliseconds, with a decimal point or a
// decimal comma, perhaps with thousands set apart. Called by the readers of JUnit XML, TAP and CSV.
#ifndef WORKER_SECONDS_H
#define WORKER_SECONDS_H

#include "config/base.h"

// A comma stands between thousands when exactly three digits follow it and one to three digits without a leading zero
// stand before it ("1,234.5", "1,234,567"); any other single comma is a decimal comma ("0,123", "12,5", "1.234,5").
// "1,234" could be both. The other numbers of the document decide: its commas are decimal ones when some number shows
// a decimal comma and none shows a decimal point. Without such a number it is 1234 seconds.
struct seconds {
  uint64_t us;        // a comma that could be both stands between thousands
  uint64_t comma_us;  // it is a decimal comma; equal to us when there is no such comma
};

// What the numbers of a document have shown so far; begins as {0}.
struct seconds_seen {
  bool point, comma;
};

enum { SECONDS_UNIT_US = 1000000, SECONDS_MILLI_US = 1000 };

// 0 and *out; -1 when the text is not a decimal number (NaN, infinity and hexadecimal are none), is negative, or is
// over LIMIT_TEST_US in every reading. unit_us: microseconds of one. `seen` may be NULL.
int seconds_read(const char *text, unsigned unit_us, struct seconds_seen *seen, struct seconds *out) MUST_CHECK;

// True when commas that could be both are decimal commas.
bool seconds_decimal_comma(const struct seconds_seen *seen);

#endif
