// Ground floor of both programs: ending with a message, the log, memory that cannot fail, the clock, numbers from text.
// Everything else stands on it, except proto/, which stands alone. The pure core uses only the memory functions.
#ifndef CONFIG_BASE_H
#define CONFIG_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

// Exit codes of DESIGN 2, shared by every program and subcommand.
enum {
  EXIT_OK = 0,
  EXIT_TESTS_FAILED = 1,
  EXIT_USAGE = 2,
  EXIT_EMPTY = 5,
  EXIT_INFRA = 16,
};

// Levels carry the numbers of syslog, which the journal reads as "<n>" prefixes.
enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

// Names the program in messages and sets the lowest level logged. Prefixes lines with the journal's priority when
// stderr is connected to the journal (JOURNAL_STREAM is set). The name must live on.
void base_log_init(const char *program, enum log_level lowest);

// One line of logfmt on stderr: level=… event=EVENT then the formatted key=value pairs. The text of values that come
// from outside goes through base_quote first. Control characters never reach the log: they are written as \xNN.
void base_log(enum log_level level, const char *event, const char *fmt, ...) PRINTF(3, 4);

// Writes `n` bytes as a double-quoted logfmt value into out (always terminated, cut with "…" where it is too small):
// quotes and backslashes escaped, everything outside printable ASCII and valid UTF-8 letters as \xNN. Returns out.
const char *base_quote(char *out, size_t out_size, const void *bytes, size_t n);

// Prints "program: message" on stderr and exits with `code`. For mains, start-up, out of memory and failed commits.
_Noreturn void base_die(int code, const char *fmt, ...) PRINTF(2, 3);

// malloc, calloc, realloc and friends that end the program when memory is out (sizes were bounded before).
// The caller owns the result and frees it with free().
void *base_malloc(size_t bytes) __attribute__((malloc, returns_nonnull));
void *base_calloc(size_t count, size_t bytes) __attribute__((malloc, returns_nonnull));
void *base_realloc(void *old, size_t count, size_t bytes) __attribute__((returns_nonnull));
char *base_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *base_memdup0(const void *bytes, size_t n) __attribute__((malloc, returns_nonnull));  // copy with a NUL behind it
char *base_printf(const char *fmt, ...) PRINTF(1, 2) __attribute__((malloc, returns_nonnull));

// Monotonic time (CLOCK_MONOTONIC, stops in suspend) and wall-clock time since the epoch, in microseconds.
uint64_t base_now_us(void);
uint64_t base_wall_us(void);

// Strict readers: the whole text must be a number in [min, max]; 0 on success, -1 otherwise with *out untouched.
// base_parse_duration takes "90", "90s", "1.5s", "250ms", "10us", "5m", "2h", "30d" (a bare number is seconds) and
// gives microseconds; base_parse_size takes "512", "64k", "8M", "1G" (powers of 1024) and gives bytes.
int base_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out) MUST_CHECK;
int base_parse_duration(const char *text, uint64_t min_us, uint64_t max_us, uint64_t *out_us) MUST_CHECK;
int base_parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *out_bytes) MUST_CHECK;

#endif
