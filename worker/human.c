// Formatting for people. Called by table.c, progress.c, summary.c and the admin commands. Widths come from the C
// library's tables under a UTF-8 locale of its own, so that the process's locale does not matter. It must not print.
#include "worker/human.h"

#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <wchar.h>

enum { GROWTH = 6 };  // "\ufffd" for one byte; in the other forms "\xNN"

// What TeamCity, Azure and GitHub take for a command wherever it stands in a line of a log.
static const char *const commands[] = {"##teamcity[", "##vso[", "##["};

static const uint64_t ms_us = 1000, second_us = 1000000, minute_us = 60000000, hour_us = 3600000000,
                      day_us = 86400000000;

static char *disarmed(char *safe);
static bool ends_command(const char *text, size_t at);
static locale_t utf8(void);
static size_t fitting(const char *text, size_t columns, size_t *width);

const char *human_duration(uint64_t us, char out[HUMAN_BYTES]) {
  if (us == 0)
    (void)snprintf(out, HUMAN_BYTES, "0");
  else if (us < ms_us)
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 "us", us);
  else if (us < second_us)
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 "ms", us / ms_us);
  else if (us < 10 * second_us)
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 ".%02" PRIu64 "s", us / second_us, us % second_us / 10000);
  else if (us < minute_us)
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 ".%" PRIu64 "s", us / second_us, us % second_us / 100000);
  else if (us < hour_us)
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 "m%02" PRIu64 "s", us / minute_us, us % minute_us / second_us);
  else if (us < day_us)
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 "h%02" PRIu64 "m", us / hour_us, us % hour_us / minute_us);
  else
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 "d%02" PRIu64 "h", us / day_us, us % day_us / hour_us);
  return out;
}

const char *human_time(uint64_t ms_since_epoch, char out[HUMAN_BYTES]) {
  time_t seconds = (time_t)(ms_since_epoch / 1000);
  struct tm local;
  if (localtime_r(&seconds, &local) == NULL || strftime(out, HUMAN_BYTES, "%Y-%m-%d %H:%M:%S", &local) == 0)
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64, ms_since_epoch);
  return out;
}

const char *human_utc(uint64_t ms_since_epoch, char out[HUMAN_BYTES]) {
  time_t seconds = (time_t)(ms_since_epoch / 1000);
  struct tm utc;
  char day[32];
  if (gmtime_r(&seconds, &utc) == NULL || strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64, ms_since_epoch);
  else
    (void)snprintf(out, HUMAN_BYTES, "%s.%03uZ", day, (unsigned)(ms_since_epoch % 1000));
  return out;
}

const char *human_ratio(uint64_t ppm, char out[HUMAN_BYTES]) {
  bool whole = ppm == 0 || ppm % 10000 == 0 || ppm >= 1000000;
  if (whole)
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 "%%", ppm / 10000);
  else
    (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 ".%" PRIu64 "%%", ppm / 10000, ppm % 10000 / 1000);
  return out;
}

const char *human_number(uint64_t milli, char out[HUMAN_BYTES]) {
  (void)snprintf(out, HUMAN_BYTES, "%" PRIu64 ".%" PRIu64, milli / 1000, milli % 1000 / 100);
  return out;
}

const char *human_bar(unsigned eighths) {
  static const char *const bars[HUMAN_EIGHTHS + 1] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  return bars[eighths < HUMAN_EIGHTHS ? eighths : HUMAN_EIGHTHS];
}

char *human_safe(const void *bytes, size_t n, enum escape_form form) {
  char *safe = base_malloc(n * GROWTH + 1);
  safe[escape_bytes(safe, n * GROWTH, bytes, n, form)] = '\0';
  return (form == ESCAPE_LINE || form == ESCAPE_TEXT) && strstr(safe, "##") != NULL ? disarmed(safe) : safe;
}

size_t human_width(const char *text) {
  size_t width;
  (void)fitting(text, SIZE_MAX, &width);
  return width;
}

char *human_cut(const char *text, size_t columns) {
  size_t width, n = fitting(text, columns, &width);
  if (text[n] == '\0') return base_strdup(text);
  if (columns == 0) return base_strdup("");
  n = fitting(text, columns - 1, &width);
  return base_printf("%.*s…", (int)n, text);
}

// Takes the text, and returns it with "\x5b" for each bracket that would begin a command.
static char *disarmed(char *safe) {
  size_t length = strlen(safe), at = 0;
  char *out = base_malloc(length * GROWTH + 1);
  for (size_t i = 0; i < length; i++) {
    if (ends_command(safe, i))
      at += (size_t)snprintf(out + at, GROWTH + 1, "\\x%02x", (unsigned)safe[i]);
    else
      out[at++] = safe[i];
  }
  out[at] = '\0';
  free(safe);
  return out;
}

static bool ends_command(const char *text, size_t at) {
  for (size_t i = 0; i < COUNT_OF(commands) && text[at] == '['; i++) {
    size_t n = strlen(commands[i]);
    if (at + 1 >= n && strncasecmp(text + at + 1 - n, commands[i], n) == 0) return true;
  }
  return false;
}

// Bytes of the longest beginning of the text that fits into `columns`, and the columns it takes.
static size_t fitting(const char *text, size_t columns, size_t *width) {
  locale_t before = uselocale(utf8());
  mbstate_t state = {0};
  size_t at = 0, length = strlen(text);
  *width = 0;
  while (at < length) {
    wchar_t character;
    size_t used = mbrtowc(&character, text + at, length - at, &state);
    bool valid = used != (size_t)-1 && used != (size_t)-2 && used != 0;
    int cells = valid ? wcwidth(character) : 1;
    if (!valid) {
      used = 1;
      state = (mbstate_t){0};
    }
    if (cells > 0 && *width + (size_t)cells > columns) break;
    if (cells > 0) *width += (size_t)cells;
    at += used;
  }
  (void)uselocale(before);
  return at;
}

// Where the C library has no C.UTF-8, every byte counts as a column.
static locale_t utf8(void) {
  static locale_t locale;
  if (locale == (locale_t)0) locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  return locale == (locale_t)0 ? LC_GLOBAL_LOCALE : locale;
}
