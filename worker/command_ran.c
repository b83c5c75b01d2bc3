// Whether a test tool ran anything, from its output. Called by the command runner with results "exit". A table of lines
// as the tools print them; each is compared from the start of a line, so that a test's own output rarely looks like
// one. It must not know which tool runs.
#include "worker/command_ran.h"

#include <ctype.h>
#include <string.h>

#include "config/escape.h"

// In a pattern "%" is a number, the first of which counts the tests that ran; "*" is any text; "?s" is an "s" or
// nothing. A pattern without a number tells of none. docs/runners.md lists them.
static const char *const patterns[] = {
    "[==========] % test?s from % test*ran.*",  // GoogleTest
    "ok *[no tests to run]",                    // go test
    "testing: warning: no tests to run",
    "\\?*[no test files]",
    "% example?s, % failure*",  // RSpec
    "running 0 tests",          // cargo test
    "test result: ok. % passed;*",
    "collected % item*",  // pytest
    "no tests ran in *",
    "Ran % test?s in *",  // unittest
    "NO TESTS RAN*",
    "% passing*",  // Mocha
    "No tests found*",
    "No test files found*",
    "No tests executed!*",  // PHPUnit
    "No tests were executed*",
    "No tests were found!!!*",  // ctest
    "No tests ran*",            // Catch2
    "No test cases matched*",
    "No test matches the given testcase filter*",  // dotnet test
    "No test is available in *",
    "There are no tests to run*",  // ExUnit
    "% test?s, % failure*",        // bats, ExUnit
    "% runs, % assertions*",       // minitest
    "Tests run: %, Failures:*",    // JUnit under Maven
    "[ % tests found*",            // JUnit's console launcher
    "[doctest] test cases: % |*",
    "# tests %",        // node --test
    "Result: NOTESTS",  // prove
    "1..0",             // TAP, bats
    "1..0 # *",
};
// Lines that tell of tests that ran, without a number; and of tests that were skipped, when none ran.
static const char *const proofs[] = {"ok *", "--- PASS: *", "--- FAIL: *"};
static const char *const skips[] = {"test result: ok. 0 passed; 0 failed; % ignored;*", "% pending*", "1..0 # SKIP*",
                                    "1..0 # skip*"};

static bool match(const char *pattern, const char *line, bool *none);
static const char *skip_number(const char *line, bool *zero);
static bool find_rest(const char *pattern, const char *line);
static void take_skip(struct command_ran *ran, const char *line);
static void take_line(struct command_ran *ran, int stream);
static size_t plain_text(char *line, size_t n);

void command_ran_clear(struct command_ran *ran) {
  *ran = (struct command_ran){.some = false};
}

void command_ran_feed(struct command_ran *ran, int which, const char *bytes, size_t n) {
  int stream = which == 1 ? 0 : 1;
  while (n > 0) {
    const char *newline = memchr(bytes, '\n', n);
    size_t part = newline ? (size_t)(newline - bytes) : n;
    size_t room = COMMAND_RAN_LINE_BYTES - 1 - ran->line_bytes[stream];
    size_t kept = part < room ? part : room;
    memcpy(ran->line[stream] + ran->line_bytes[stream], bytes, kept);
    ran->line_bytes[stream] += kept;
    if (!newline) return;
    take_line(ran, stream);
    bytes += part + 1;
    n -= part + 1;
  }
}

const char *command_ran_nothing(struct command_ran *ran) {
  take_line(ran, 0);
  take_line(ran, 1);
  return ran->none[0] && !ran->some ? ran->none : NULL;
}

static void take_skip(struct command_ran *ran, const char *line) {
  bool none = false;
  for (size_t i = 0; i < COUNT_OF(skips); i++) {
    if (!match(skips[i], line, &none)) continue;
    ran->skipped = ran->skipped || !none || !strchr(skips[i], '%');
  }
}

static void take_line(struct command_ran *ran, int stream) {
  char *line = ran->line[stream];
  size_t n = plain_text(line, ran->line_bytes[stream]);
  ran->line_bytes[stream] = 0;
  if (n == 0) return;
  bool none = false;
  take_skip(ran, line);
  for (size_t i = 0; i < COUNT_OF(patterns); i++) {
    if (!match(patterns[i], line, &none)) continue;
    ran->some = ran->some || !none;
    if (!none || ran->none[0]) return;
    ran->none[escape_bytes(ran->none, sizeof(ran->none) - 1, line, n, ESCAPE_LINE)] = '\0';
    return;
  }
  for (size_t i = 0; i < COUNT_OF(proofs); i++)
    ran->some = ran->some || match(proofs[i], line, &none);
}

// Takes out colours, runs of blanks, and what stands around; the length.
static size_t plain_text(char *line, size_t n) {
  size_t to = 0;
  for (size_t i = 0; i < n; i++) {
    if (line[i] == '\033' && i + 1 < n && line[i + 1] == '[') {
      for (i += 2; i < n && !isalpha((unsigned char)line[i]);)
        i++;
      continue;
    }
    bool blank = isspace((unsigned char)line[i]) || line[i] == '\0';
    if (blank && (to == 0 || line[to - 1] == ' ')) continue;
    line[to++] = blank ? ' ' : line[i];
  }
  while (to > 0 && (line[to - 1] == ' ' || line[to - 1] == '='))
    to--;
  size_t from = 0;  // pytest centres its last line between "="
  while (from < to && (line[from] == '=' || line[from] == ' '))
    from++;
  memmove(line, line + from, to - from);
  line[to - from] = '\0';
  return to - from;
}

// *none: no number, or the first one is 0.
static bool match(const char *pattern, const char *line, bool *none) {
  bool counted = false, zero = true, ignored;
  for (; *pattern; pattern++) {
    if (*pattern == '*') {
      *none = zero;
      return find_rest(pattern + 1, line);
    }
    if (*pattern == '%') {
      const char *after = skip_number(line, counted ? &ignored : &zero);
      if (after == line) return false;
      counted = true;
      line = after;
    } else if (*pattern == '?') {
      pattern++;
      line += *line == *pattern;
    } else {
      pattern += *pattern == '\\';
      if (*line++ != *pattern) return false;
    }
  }
  *none = zero;
  return *line == '\0';
}

static const char *skip_number(const char *line, bool *zero) {
  const char *from = line;
  *zero = true;
  for (; isdigit((unsigned char)*line); line++)
    *zero = *zero && *line == '0';
  return line > from ? line : from;
}

// What stands behind a "*": it closes the line, or more text follows up to another "*".
static bool find_rest(const char *pattern, const char *line) {
  size_t n = strlen(pattern), left = strlen(line);
  if (n == 0) return true;
  if (pattern[n - 1] != '*') return left >= n && memcmp(line + left - n, pattern, n) == 0;
  return memmem(line, left, pattern, n - 1) != NULL;
}
