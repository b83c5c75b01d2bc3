// Ground floor of both programs: the log, dying with a message, memory that cannot fail, the clock, numbers from text.
// Called by everything but proto/; the pure core calls the memory functions alone. Whatever leaves here for stderr is
// one write of printable text: names of tests and files come from strangers and must not speak to the terminal.
// Knows nothing of options, connections or tests, and must stay under 200 lines.
#include "config/base.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/escape.h"

enum { LINE_BYTES = PIPE_BUF, US_PER_SECOND = 1000000, FRACTION_DIGITS = 6 };

struct unit {
  const char *name;
  uint64_t factor;
};

static const char *log_program;
static atomic_int log_lowest = LOG_LEVEL_INFO;
static atomic_bool log_journal;

static void write_line(enum log_level level, enum escape_form form, const char *head, const char *fmt, va_list args)
    PRINTF(4, 0);
static uint64_t read_clock(clockid_t clock);
static int parse_scaled(const char *text, const struct unit *unit, unsigned digits_max, uint64_t *out);

void base_log_init(const char *program, enum log_level lowest) {
  const char *stream = getenv("JOURNAL_STREAM");
  struct stat st;
  char own[64] = "";
  if (fstat(STDERR_FILENO, &st) == 0)
    (void)snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
  log_program = program;
  atomic_store(&log_lowest, (int)lowest);
  atomic_store(&log_journal, stream != NULL && strcmp(stream, own) == 0);
}

void base_log(enum log_level level, const char *event, const char *fmt, ...) {
  if ((int)level > atomic_load(&log_lowest)) return;
  const char *word = level <= LOG_LEVEL_ERROR  ? "error"
                     : level <= LOG_LEVEL_WARN ? "warn"
                     : level <= LOG_LEVEL_INFO ? "info"
                                               : "debug";
  char head[128];
  (void)snprintf(head, sizeof head, "level=%s event=%s ", word, event);
  va_list args;
  va_start(args, fmt);
  write_line(level, ESCAPE_LINE, head, fmt, args);
  va_end(args);
}

const char *base_quote(char *out, size_t out_size, const void *bytes, size_t n) {
  if (out_size == 0) return out;
  size_t at = 0;
  if (out_size >= 3) {
    out[at++] = '"';
    at += escape_bytes(out + at, out_size - 3, bytes, n, ESCAPE_QUOTED);
    out[at++] = '"';
  }
  out[at] = '\0';
  return out;
}

void base_die(int code, const char *fmt, ...) {
  char head[128];
  (void)snprintf(head, sizeof head, "%s: ", log_program ? log_program : program_invocation_short_name);
  va_list args;
  va_start(args, fmt);
  write_line(LOG_LEVEL_ERROR, ESCAPE_TEXT, head, fmt, args);
  va_end(args);
  exit(code);
}

void *base_malloc(size_t bytes) {
  return base_realloc(NULL, 1, bytes);
}

void *base_calloc(size_t count, size_t bytes) {
  void *fresh = calloc(count ? count : 1, bytes ? bytes : 1);
  if (fresh == NULL) base_die(EXIT_INFRA, "out of memory (%zu × %zu bytes)", count, bytes);
  return fresh;
}

void *base_realloc(void *old, size_t count, size_t bytes) {
  void *fresh = reallocarray(old, count ? count : 1, bytes ? bytes : 1);
  if (fresh == NULL) base_die(EXIT_INFRA, "out of memory (%zu × %zu bytes)", count, bytes);
  return fresh;
}

char *base_strdup(const char *text) {
  return base_memdup0(text, strlen(text));
}

char *base_memdup0(const void *bytes, size_t n) {
  char *copy = base_malloc(n + 1);
  if (n > 0) memcpy(copy, bytes, n);
  copy[n] = '\0';
  return copy;
}

char *base_printf(const char *fmt, ...) {
  char *text;
  va_list args;
  va_start(args, fmt);
  if (vasprintf(&text, fmt, args) < 0) base_die(EXIT_INFRA, "out of memory (formatting a text)");
  va_end(args);
  return text;
}

uint64_t base_now_us(void) {
  return read_clock(CLOCK_MONOTONIC);
}

uint64_t base_wall_us(void) {
  return read_clock(CLOCK_REALTIME);
}

int base_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out) {
  static const struct unit plain[] = {{"", 1}, {NULL, 0}};
  uint64_t value;
  if (parse_scaled(text, plain, 0, &value) != 0 || value < min || value > max) return -1;
  *out = value;
  return 0;
}

int base_parse_duration(const char *text, uint64_t min_us, uint64_t max_us, uint64_t *out_us) {
  static const struct unit units[] = {{"", 1000000},   {"us", 1},          {"ms", 1000},        {"s", 1000000},
                                      {"m", 60000000}, {"h", 3600000000u}, {"d", 86400000000u}, {NULL, 0}};
  uint64_t value;
  if (parse_scaled(text, units, FRACTION_DIGITS, &value) != 0 || value < min_us || value > max_us) return -1;
  *out_us = value;
  return 0;
}

int base_parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *out_bytes) {
  static const struct unit units[] = {{"", 1},        {"k", 1 << 10}, {"K", 1 << 10}, {"m", 1 << 20},
                                      {"M", 1 << 20}, {"g", 1 << 30}, {"G", 1 << 30}, {NULL, 0}};
  uint64_t value;
  if (parse_scaled(text, units, 0, &value) != 0 || value < min || value > max) return -1;
  *out_bytes = value;
  return 0;
}

static uint64_t read_clock(clockid_t clock) {
  struct timespec now;
  if (clock_gettime(clock, &now) != 0) base_die(EXIT_INFRA, "cannot read the clock: %s", strerror(errno));
  return (uint64_t)now.tv_sec * US_PER_SECOND + (uint64_t)now.tv_nsec / 1000;
}

// Digits, then at most `digits_max` decimals behind a point, then a unit; the result must be whole.
static int parse_scaled(const char *text, const struct unit *unit, unsigned digits_max, uint64_t *out) {
  uint64_t whole = 0, part = 0, scale = 1, value;
  if (text == NULL || *text < '0' || *text > '9') return -1;
  for (; *text >= '0' && *text <= '9'; text++)
    if (__builtin_mul_overflow(whole, 10u, &whole) || __builtin_add_overflow(whole, (uint64_t)(*text - '0'), &whole))
      return -1;
  if (*text == '.') {
    unsigned digits = 0;
    for (text++; *text >= '0' && *text <= '9' && digits < digits_max; text++, digits++) {
      part = part * 10 + (uint64_t)(*text - '0');
      scale *= 10;
    }
    if (digits == 0) return -1;
  }
  while (unit->name != NULL && strcmp(unit->name, text) != 0)
    unit++;
  if (unit->name == NULL || part * unit->factor % scale != 0) return -1;  // part < 10^6, factor < 10^11: no overflow
  if (__builtin_mul_overflow(whole, unit->factor, &value)) return -1;
  if (__builtin_add_overflow(value, part * unit->factor / scale, &value)) return -1;
  *out = value;
  return 0;
}

// Formats, escapes and writes the line at once, so that the lines of several threads and processes do not mix.
static void write_line(enum log_level level, enum escape_form form, const char *head, const char *fmt, va_list args) {
  char body[LINE_BYTES], line[LINE_BYTES];
  int n = vsnprintf(body, sizeof body, fmt, args), saved = errno;
  size_t len = n < 0 ? 0 : (size_t)n < sizeof body ? (size_t)n : sizeof body - 1;
  size_t at = atomic_load(&log_journal) ? (size_t)snprintf(line, sizeof line, "<%d>", (int)level) : 0;
  at += escape_bytes(line + at, 128, head, strlen(head), form);
  at += escape_bytes(line + at, sizeof line - at - 1, body, len, form);
  while (at > 0 && line[at - 1] == ' ')
    at--;  // an event without pairs
  line[at++] = '\n';
  if (write(STDERR_FILENO, line, at) < 0) errno = saved;
}
