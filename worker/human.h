// Numbers and texts as people read them: durations, times of day, shares, and names of strangers made safe for a
// terminal. Used by tables, progress and summaries.
#ifndef WORKER_HUMAN_H
#define WORKER_HUMAN_H

#include "config/base.h"
#include "config/escape.h"

enum { HUMAN_BYTES = 48, HUMAN_EIGHTHS = 8 };

// Three figures at most: "0", "350us", "12ms", "1.25s", "12.5s", "2m05s", "1h02m", "3d04h". Returns out.
const char *human_duration(uint64_t us, char out[HUMAN_BYTES]);
// Local time, "2026-11-21 08:41:24". Returns out.
const char *human_time(uint64_t ms_since_epoch, char out[HUMAN_BYTES]);
// RFC 3339 in UTC with milliseconds, "2026-11-21T08:41:24.000Z". Returns out.
const char *human_utc(uint64_t ms_since_epoch, char out[HUMAN_BYTES]);
// Millionths as per cent: "0%", "0.4%", "12.5%", "100%". Returns out.
const char *human_ratio(uint64_t ppm, char out[HUMAN_BYTES]);

// Thousandths as a number with one place: "0.0", "11.4". Returns out.
const char *human_number(uint64_t milli, char out[HUMAN_BYTES]);

// A block of so many eighths of a line's height; none is a space.
const char *human_bar(unsigned eighths);

// A copy that is safe to show (escape.h); the caller frees it. In lines and texts the log commands of TeamCity, Azure
// and GitHub that may stand within a line lose their bracket: "##teamcity\x5b".
char *human_safe(const void *bytes, size_t n, enum escape_form form);
// Columns that a safe text takes on a terminal.
size_t human_width(const char *text);
// As many whole characters of a safe text as fit into `columns`, with "…" for the rest; the caller frees it.
char *human_cut(const char *text, size_t columns);

#endif
