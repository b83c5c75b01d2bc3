// Reader of the Test Anything Protocol, by lines. Called by the command runner with a test command's output, where
// other lines may stand between those of the protocol: they are ignored. It must not know which tests were wanted. A
// test is given when it is closed, because its diagnostics follow it; those of a subtest come before their test and are
// kept for it.
#include "worker/tap.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/escape.h"
#include "config/files.h"
#include "worker/decode.h"
#include "worker/excerpt.h"
#include "worker/seconds.h"

enum { REASON_BYTES = 1024, SUBTEST_INDENT = 4 };

struct tap {
  void (*on_case)(void *arg, const struct tap_case *testcase);
  void *arg;
  struct decode decode;
  char line[TAP_LINE_MAX_BYTES];
  size_t line_bytes;
  size_t fed_bytes;
  bool too_big;
  bool planned, bailed, in_yaml, twice;
  bool skip_all;  // "1..0 # SKIP": nothing was run, on purpose
  char skip_reason[REASON_BYTES];
  uint64_t plan;
  uint32_t seen;
  uint64_t highest;                        // number of a test point
  bool misnumbered;                        // a number that came before, or 0
  uint8_t numbers[TAP_MAX_TESTS / 8 + 1];  // a bit for each that came
  bool open;                               // a test point waits for its diagnostics
  char *description;
  char reason[REASON_BYTES];
  bool ok, skip, todo, has_time;
  uint64_t time_us;
  struct excerpt text;      // diagnostics of the open test
  struct excerpt subtests;  // of the test that comes next
  char why[TAP_WHY_BYTES];
};

static void take_text(void *arg, const char *bytes, size_t n);
static void take_line(struct tap *reader);
static void take_indented(struct tap *reader, const char *line, size_t indent);
static bool take_yaml(struct tap *reader, const char *line, size_t indent);
static void take_plan(struct tap *reader, const char *line);
static void copy_reason(char reason[REASON_BYTES], const char *word);
static void give_skipped(struct tap *reader);
static bool take_point(struct tap *reader, const char *line);
static void open_case(struct tap *reader, bool ok, const char *rest);
static void take_number(struct tap *reader, const char *digits, size_t n);
static char *find_directive(struct tap *reader, char *description);
static void close_case(struct tap *reader);
static void unescape(char *text);
static void add_line(struct excerpt *to, const char *line);
static bool starts(const char *line, const char *word);

struct tap *tap_new(void (*on_case)(void *arg, const struct tap_case *testcase), void *arg) {
  struct tap *reader = base_calloc(1, sizeof(*reader));
  reader->on_case = on_case;
  reader->arg = arg;
  excerpt_init(&reader->text, EXCERPT_TEXT_MAX_BYTES);
  excerpt_init(&reader->subtests, EXCERPT_TEXT_MAX_BYTES / 2);
  return reader;
}

void tap_free(struct tap *reader) {
  if (!reader) return;
  free(reader->description);
  excerpt_release(&reader->text);
  excerpt_release(&reader->subtests);
  free(reader);
}

void tap_feed(struct tap *reader, const char *bytes, size_t n) {
  if (reader->too_big || n > TAP_MAX_BYTES - reader->fed_bytes) {
    reader->too_big = true;
    return;
  }
  reader->fed_bytes += n;
  decode_feed(&reader->decode, bytes, n, false, take_text, reader);
}

static void take_text(void *arg, const char *bytes, size_t n) {
  struct tap *reader = arg;
  while (n > 0) {
    const char *newline = memchr(bytes, '\n', n);
    size_t part = newline ? (size_t)(newline - bytes) : n;
    size_t room = sizeof(reader->line) - 1 - reader->line_bytes;
    size_t kept = part < room ? part : room;
    memcpy(reader->line + reader->line_bytes, bytes, kept);
    reader->line_bytes += kept;
    if (!newline) return;
    take_line(reader);
    bytes += part + 1;
    n -= part + 1;
  }
}

int tap_finish(struct tap *reader) {
  decode_feed(&reader->decode, NULL, 0, true, take_text, reader);
  if (reader->line_bytes) take_line(reader);
  close_case(reader);
  bool skipped = reader->skip_all && !reader->bailed && !reader->twice && !reader->too_big && reader->seen == 0;
  if (skipped) give_skipped(reader);
  if (reader->bailed) return -1;  // said why
  char *why = reader->why;
  size_t size = sizeof(reader->why);
  if (reader->too_big)
    (void)snprintf(why, size, "the TAP output is over 64 MiB");
  else if (!reader->planned)
    (void)snprintf(why, size, "the TAP output has no plan (1..N): it is cut, or it is no TAP; %u tests were seen",
                   reader->seen);
  else if (reader->twice)
    (void)snprintf(why, size, "the TAP output has two plans: run one producer per batch");
  else if (reader->plan != reader->seen)
    (void)snprintf(why, size, "the TAP plan says %llu tests, %u were seen", (unsigned long long)reader->plan,
                   reader->seen);
  else if (reader->misnumbered || reader->highest > reader->plan)
    (void)snprintf(why, size, "the TAP output numbers its tests wrongly: in a plan of %llu, a number %s",
                   (unsigned long long)reader->plan, reader->misnumbered ? "comes twice or is 0" : "is beyond it");
  return why[0] ? -1 : 0;
}

const char *tap_why(const struct tap *reader) {
  return reader->why;
}

int tap_read_file(const char *path, void (*on_case)(void *arg, const struct tap_case *testcase), void *arg, char *why,
                  size_t why_size) {
  const char *problem;
  FILE *file = files_read(path, FILES_STREAM, &problem);
  if (!file) {
    (void)snprintf(why, why_size, "%s: %s", path, problem);
    return -1;
  }
  struct tap *reader = tap_new(on_case, arg);
  char buffer[16 * 1024];
  size_t n;
  while ((n = fread(buffer, 1, sizeof(buffer), file)) > 0)
    tap_feed(reader, buffer, n);
  int status = tap_finish(reader);
  if (ferror(file)) {
    (void)snprintf(why, why_size, "%s: cannot be read to its end", path);
    status = -1;
  } else if (status < 0) {
    (void)snprintf(why, why_size, "%s: %s", path, reader->why);
  }
  tap_free(reader);
  (void)fclose(file);
  return status;
}

static void take_line(struct tap *reader) {
  char *line = reader->line;
  size_t n = reader->line_bytes;
  reader->line_bytes = 0;
  if (n > 0 && line[n - 1] == '\r') n--;
  line[n] = '\0';
  if (strlen(line) != n) return;  // a NUL: no TAP
  size_t indent = strspn(line, " ");
  if (take_yaml(reader, line, indent)) return;
  if (starts(line + indent, "Bail out!")) {
    char safe[201];
    const char *what = line + indent + 9;
    safe[escape_bytes(safe, sizeof(safe) - 1, what, strlen(what), ESCAPE_LINE)] = '\0';
    (void)snprintf(reader->why, sizeof(reader->why), "the test command bailed out:%s", safe);
    reader->bailed = true;
  } else if (indent > 0) {
    take_indented(reader, line, indent);
  } else if (starts(line, "1..")) {
    take_plan(reader, line + 3);
  } else if (line[0] == '#') {
    if (reader->open) add_line(&reader->text, line + 1 + (line[1] == ' '));
  } else if (take_point(reader, line)) {
    return;
  }
}

// A subtest's lines: kept for the test point that closes it. Bounded, and noise of other kinds is no harm.
static void take_indented(struct tap *reader, const char *line, size_t indent) {
  if (indent >= SUBTEST_INDENT) add_line(&reader->subtests, line);
}

// A YAML block behind a test point: from an indented "---" to an indented "...".
static bool take_yaml(struct tap *reader, const char *line, size_t indent) {
  if (!reader->in_yaml) {
    reader->in_yaml = reader->open && indent > 0 && indent < SUBTEST_INDENT && strcmp(line + indent, "---") == 0;
    return reader->in_yaml;
  }
  if (indent == 0 && line[0]) {  // never closed
    reader->in_yaml = false;
    return false;
  }
  if (strcmp(line + indent, "...") == 0) {
    reader->in_yaml = false;
    return true;
  }
  static const char key[] = "duration_ms:";
  if (starts(line + indent, key)) {
    struct seconds time;
    reader->has_time = seconds_read(line + indent + sizeof(key) - 1, SECONDS_MILLI_US, NULL, &time) == 0;
    if (reader->has_time) reader->time_us = time.us;
  }
  add_line(&reader->text, line);
  return true;
}

static void take_plan(struct tap *reader, const char *line) {
  char digits[24];
  size_t n = strspn(line, "0123456789");
  if (n == 0 || n >= sizeof(digits)) return;
  memcpy(digits, line, n);
  digits[n] = '\0';
  uint64_t plan;
  if (base_parse_u64(digits, 0, TAP_MAX_TESTS, &plan) < 0) return;
  reader->twice = reader->planned;
  reader->planned = true;
  reader->plan = plan;
  const char *rest = line + n + strspn(line + n, " \t");
  if (plan > 0 || rest[0] != '#') return;
  rest += 1 + strspn(rest + 1, " \t");
  if (strncasecmp(rest, "skip", 4) != 0) return;
  reader->skip_all = true;
  copy_reason(reader->skip_reason, rest);
}

// What stands behind the word: "SKIP no database", "Skipped: no database".
static void copy_reason(char reason[REASON_BYTES], const char *word) {
  word += strcspn(word, " \t");
  word += strspn(word, " \t");
  (void)snprintf(reason, REASON_BYTES, "%.*s", REASON_BYTES - 1, word);
}

// A test of its own, so that whoever matches rows to tests sees a row without a name. It does not count as seen.
static void give_skipped(struct tap *reader) {
  struct tap_case testcase = {.description = "", .ok = true, .skip = true, .reason = reader->skip_reason, .text = ""};
  reader->on_case(reader->arg, &testcase);
}

// "ok", "not ok", then nothing or a space.
static bool take_point(struct tap *reader, const char *line) {
  bool ok = !starts(line, "not ok");
  if (ok && !starts(line, "ok")) return false;
  const char *rest = line + (ok ? 2 : 6);
  if (*rest && *rest != ' ' && *rest != '\t') return false;
  close_case(reader);
  if (reader->seen == TAP_MAX_TESTS) {
    reader->too_big = true;
    return true;
  }
  open_case(reader, ok, rest);
  return true;
}

static void open_case(struct tap *reader, bool ok, const char *rest) {
  rest += strspn(rest, " \t");
  size_t digits = strspn(rest, "0123456789");
  if (digits && (!rest[digits] || isspace((unsigned char)rest[digits]))) {
    take_number(reader, rest, digits);
    rest += digits;
  }
  rest += strspn(rest, " \t");
  if (rest[0] == '-' && (rest[1] == ' ' || !rest[1])) rest += 1;
  rest += strspn(rest, " \t");
  reader->open = true;
  reader->ok = ok;
  reader->description = base_strdup(rest);
  char *directive = find_directive(reader, reader->description);
  char *end = directive ? directive : reader->description + strlen(reader->description);
  while (end > reader->description && isspace((unsigned char)end[-1]))
    end--;
  *end = '\0';
  unescape(reader->description);
  size_t n;
  char *subtests = excerpt_text(&reader->subtests, &n);
  excerpt_add(&reader->text, subtests, n);
  excerpt_clear(&reader->subtests);
  free(subtests);
}

// As many rows as planned show that the plan was kept only if no number is missing: a forked child that repeats its
// parent's row makes up for one that never came. Their order does not matter.
static void take_number(struct tap *reader, const char *digits, size_t n) {
  char text[24];
  uint64_t number = UINT64_MAX;
  if (n < sizeof(text)) {
    memcpy(text, digits, n);
    text[n] = '\0';
    if (base_parse_u64(text, 0, TAP_MAX_TESTS, &number) < 0) number = UINT64_MAX;
  }
  if (number > reader->highest) reader->highest = number;
  if (number > TAP_MAX_TESTS) return;
  uint8_t bit = (uint8_t)(1U << (number % 8));
  if (number == 0 || reader->numbers[number / 8] & bit) reader->misnumbered = true;
  reader->numbers[number / 8] |= bit;
}

// The "#" that begins a SKIP or TODO and is not escaped; a "#" before anything else is part of the description.
static char *find_directive(struct tap *reader, char *description) {
  for (char *hash = description; (hash = strchr(hash, '#')); hash++) {
    size_t slashes = 0;
    while (hash > description + slashes && hash[-1 - (ptrdiff_t)slashes] == '\\')
      slashes++;
    if (slashes % 2) continue;
    const char *word = hash + 1 + strspn(hash + 1, " \t");
    reader->skip = strncasecmp(word, "skip", 4) == 0;
    reader->todo = strncasecmp(word, "todo", 4) == 0;
    if (!reader->skip && !reader->todo) continue;
    copy_reason(reader->reason, word);
    return hash;
  }
  return NULL;
}

static void close_case(struct tap *reader) {
  if (!reader->open) return;
  size_t text_bytes;
  char *text = excerpt_text(&reader->text, &text_bytes);
  struct tap_case testcase = {.place = reader->seen++,
                              .description = reader->description,
                              .ok = reader->ok,
                              .skip = reader->skip && reader->ok,  // what is not ok was not skipped
                              .todo = reader->todo,
                              .reason = reader->reason,
                              .has_time = reader->has_time,
                              .time_us = reader->time_us,
                              .text = text,
                              .text_bytes = text_bytes};
  reader->on_case(reader->arg, &testcase);
  free(text);
  free(reader->description);
  reader->description = NULL;
  reader->reason[0] = '\0';
  reader->open = reader->in_yaml = reader->skip = reader->todo = reader->has_time = false;
  reader->time_us = 0;
  excerpt_clear(&reader->text);
}

// "\#" and "\\" (TAP 14).
static void unescape(char *text) {
  char *to = text;
  for (const char *from = text; *from; from++) {
    if (from[0] == '\\' && (from[1] == '#' || from[1] == '\\')) from++;
    *to++ = *from;
  }
  *to = '\0';
}

static void add_line(struct excerpt *to, const char *line) {
  excerpt_add_text(to, line);
  excerpt_add(to, "\n", 1);
}

static bool starts(const char *line, const char *word) {
  return strncmp(line, word, strlen(word)) == 0;
}
