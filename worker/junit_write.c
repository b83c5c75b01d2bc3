// Writer of the merged JUnit report. Called by `shard report` test by test; the body goes to an unlinked temporary file
// because the counts stand in front of it. Everything that comes from outside is made legal XML 1.0 here: bad UTF-8
// becomes U+FFFD, terminal escapes and control characters go. It must not know where the results come from.
#include "worker/junit_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/junit.h"

enum { MESSAGE_MAX_BYTES = 512, FIRST_SEEN = 1024 };

struct junit_write {
  FILE *out, *body;
  char *suite, *hostname;
  uint64_t start_us;
  uint64_t tests, failures, errors, skipped, time_us;
  uint64_t *seen;  // hashes of classname and name; 0 is free; at most half full
  size_t seen_count, seen_room;
  const char *note[JUNIT_WRITE_NOTES];
  size_t note_count;
};

// How a status is written as the final one and, for failing ones, as an earlier attempt of a test that passed in the
// end (flaky) or did not (rerun).
static const struct form {
  const char *element;  // NULL: none
  const char *flaky, *rerun;
  const char *type;
  const char *message;  // where the text has none
} forms[] = {
    [RUNNER_PASSED] = {NULL, NULL, NULL, NULL, NULL},
    [RUNNER_FAILED] = {"failure", "flakyFailure", "rerunFailure", "failure", "failed"},
    [RUNNER_ERROR] = {"error", "flakyError", "rerunError", "error", "error in set-up or teardown"},
    [RUNNER_SKIPPED] = {"skipped", NULL, NULL, "skipped", "skipped"},
    [RUNNER_XFAILED] = {"skipped", NULL, NULL, "xfail", "expected failure"},
    [RUNNER_XPASSED] = {NULL, NULL, NULL, NULL, NULL},
    [RUNNER_CRASHED] = {"error", "flakyError", "rerunError", "shardd.crashed", "the test process crashed"},
    [RUNNER_TIMED_OUT] = {"error", "flakyError", "rerunError", "shardd.timed_out", "over its time"},
};

_Static_assert(COUNT_OF(forms) == RUNNER_TIMED_OUT + 1, "a form for each status");

static void write_names(struct junit_write *writer, const struct junit_write_case *testcase);
static bool is_new(struct junit_write *writer, const char *classname, const char *name);
static bool insert(uint64_t *seen, size_t room, uint64_t hash);
static void count_case(struct junit_write *writer, const struct junit_write_case *testcase, uint64_t time_us);
static void write_properties(FILE *body, const struct junit_write_case *testcase);
static void write_outcome(FILE *body, const struct junit_write_case *testcase);
static void write_muted(FILE *body, const struct junit_write_attempt *attempt, size_t max_bytes);
static void write_attempt(FILE *body, const struct junit_write_attempt *attempt, const char *element, size_t max_bytes);
static void write_message(FILE *body, const struct junit_write_attempt *attempt, const char *otherwise);
static void write_excerpt(FILE *out, const char *text, size_t n, size_t max_bytes);
static void write_attribute(FILE *out, const char *name, const char *value);
static void write_escaped(FILE *out, const char *text, size_t n, bool attribute);
static size_t escape_bytes(const char *text, size_t n);
static size_t decode(const char *text, size_t n, uint32_t *character);
static void write_character(FILE *out, const char *bytes, size_t n, uint32_t character, bool attribute);
static void write_head(const struct junit_write *writer);
static void write_notes(const struct junit_write *writer);
static void write_seconds(FILE *out, uint64_t time_us);
static bool copy_body(struct junit_write *writer);

struct junit_write *junit_write_new(FILE *out, const char *suite, const char *hostname, uint64_t start_us, char *why,
                                    size_t why_size) {
  FILE *body = tmpfile();
  if (!body) {
    (void)snprintf(why, why_size, "cannot make a temporary file for the report: %s", strerror(errno));
    return NULL;
  }
  struct junit_write *writer = base_calloc(1, sizeof(*writer));
  *writer = (struct junit_write){
      .out = out, .body = body, .suite = base_strdup(suite), .hostname = base_strdup(hostname), .start_us = start_us};
  writer->seen_room = FIRST_SEEN;
  writer->seen = base_calloc(writer->seen_room, sizeof(*writer->seen));
  return writer;
}

void junit_write_case(struct junit_write *writer, const struct junit_write_case *testcase) {
  uint64_t time_us = 0;
  if (testcase->attempt_count) time_us = testcase->attempts[testcase->attempt_count - 1].duration_us;
  (void)fputs("    <testcase", writer->body);
  write_names(writer, testcase);
  if (testcase->file) write_attribute(writer->body, "file", testcase->file);
  (void)fputs(" time=\"", writer->body);
  write_seconds(writer->body, time_us);
  (void)fputs("\">\n", writer->body);
  write_properties(writer->body, testcase);
  write_outcome(writer->body, testcase);
  (void)fputs("    </testcase>\n", writer->body);
  count_case(writer, testcase, time_us);
}

void junit_write_note(struct junit_write *writer, const char *line) {
  if (writer->note_count < JUNIT_WRITE_NOTES) writer->note[writer->note_count++] = line;
}

int junit_write_finish(struct junit_write *writer, char *why, size_t why_size) {
  write_head(writer);
  bool ok = copy_body(writer);
  (void)fputs("  </testsuite>\n</testsuites>\n", writer->out);
  ok = fflush(writer->out) == 0 && !ferror(writer->out) && ok;
  if (!ok) (void)snprintf(why, why_size, "cannot write the report: %s", strerror(errno));
  junit_write_abandon(writer);
  return ok ? 0 : -1;
}

void junit_write_abandon(struct junit_write *writer) {
  if (!writer) return;
  (void)fclose(writer->body);
  free(writer->suite);
  free(writer->hostname);
  free(writer->seen);
  free(writer);
}

// A Python file that was skipped as a whole stands for itself: "a/test_b.py" is "a.test_b" of no class, as in pytest.
// The id may begin below the file's path: with --pyargs, pytest names tests from their package on.
static bool is_module(const struct junit_write_case *testcase) {
  size_t bytes = strlen(testcase->id), file_bytes = testcase->file ? strlen(testcase->file) : 0;
  if (bytes <= 3 || file_bytes < bytes || strcmp(testcase->id + bytes - 3, ".py") != 0) return false;
  const char *end = testcase->file + file_bytes - bytes;
  return strcmp(end, testcase->id) == 0 && (end == testcase->file || end[-1] == '/');
}

static void dot(char *path) {
  path[strlen(path) - 3] = '\0';
  for (; *path; path++)
    if (*path == '/') *path = '.';
}

// Names as pytest prints them, or the file as the class of an id without "::". Readers key a test by the two, so that
// the second test of the same two gets its id behind its name.
static void write_names(struct junit_write *writer, const struct junit_write_case *testcase) {
  char *classname, *name;
  junit_split_id(testcase->id, &classname, &name);
  if (is_module(testcase)) {
    dot(name);
  } else if (!classname[0]) {
    free(classname);
    classname = base_strdup(testcase->file ? testcase->file : writer->suite);
  }
  if (!is_new(writer, classname, name)) {
    char *longer = base_printf("%s (%s)", name, testcase->id);
    free(name);
    name = longer;
  }
  write_attribute(writer->body, "classname", classname);
  write_attribute(writer->body, "name", name);
  free(classname);
  free(name);
}

static bool is_new(struct junit_write *writer, const char *classname, const char *name) {
  uint64_t hash = 14695981039346656037u;
  for (const char *c = classname; *c; c++)
    hash = (hash ^ (uint8_t)*c) * 1099511628211u;
  hash *= 1099511628211u;
  for (const char *c = name; *c; c++)
    hash = (hash ^ (uint8_t)*c) * 1099511628211u;
  if (hash == 0) hash = 1;
  if (!insert(writer->seen, writer->seen_room, hash)) return false;
  if (++writer->seen_count * 2 <= writer->seen_room) return true;
  uint64_t *more = base_calloc(writer->seen_room * 2, sizeof(*more));
  for (size_t i = 0; i < writer->seen_room; i++)
    if (writer->seen[i]) (void)insert(more, writer->seen_room * 2, writer->seen[i]);
  free(writer->seen);
  writer->seen = more;
  writer->seen_room *= 2;
  return true;
}

// False when it was in; room is a power of two.
static bool insert(uint64_t *seen, size_t room, uint64_t hash) {
  size_t slot = (size_t)(hash ^ hash >> 32) & (room - 1);
  for (; seen[slot]; slot = (slot + 1) & (room - 1))
    if (seen[slot] == hash) return false;
  seen[slot] = hash;
  return true;
}

static void count_case(struct junit_write *writer, const struct junit_write_case *testcase, uint64_t time_us) {
  writer->tests++;
  writer->time_us += time_us;
  if (testcase->attempt_count == 0) {
    writer->errors++;
    return;
  }
  const char *element = forms[testcase->attempts[testcase->attempt_count - 1].status].element;
  if (testcase->muted) element = "skipped";
  if (!element) return;
  if (strcmp(element, "failure") == 0) writer->failures++;
  if (strcmp(element, "error") == 0) writer->errors++;
  if (strcmp(element, "skipped") == 0) writer->skipped++;
}

static void write_properties(FILE *body, const struct junit_write_case *testcase) {
  (void)fputs("      <properties>\n", body);
  if (!testcase->outside) {
    (void)fputs("        <property name=\"shardd.id\"", body);
    write_attribute(body, "value", testcase->id);
    (void)fputs("/>\n", body);
  }
  const char *node = testcase->attempt_count ? testcase->attempts[testcase->attempt_count - 1].node : NULL;
  if (node && *node) {
    (void)fputs("        <property name=\"shardd.node\"", body);
    write_attribute(body, "value", node);
    (void)fputs("/>\n", body);
  }
  (void)fprintf(body, "        <property name=\"shardd.attempts\" value=\"%zu\"/>\n      </properties>\n",
                testcase->attempt_count);
}

static void write_outcome(FILE *body, const struct junit_write_case *testcase) {
  if (testcase->attempt_count == 0) {
    (void)fputs(
        "      <error type=\"shardd.missing\" message=\"no result: the build ended without running this "
        "test\"/>\n",
        body);
    return;
  }
  size_t failing = 0, earlier = testcase->attempt_count - 1;
  const struct junit_write_attempt *last = &testcase->attempts[earlier];
  for (size_t i = 0; i <= earlier; i++)
    failing += forms[testcase->attempts[i].status].flaky != NULL;
  size_t share = JUNIT_WRITE_TEXT_MAX_BYTES / (failing ? failing : 1);
  const struct form *form = &forms[last->status];
  if (testcase->muted) {
    write_muted(body, last, share);
    return;
  }
  if (form->element) write_attempt(body, last, form->element, form->flaky ? share : JUNIT_WRITE_TEXT_MAX_BYTES / 2);
  for (size_t i = 0; i < earlier; i++) {
    const struct form *past = &forms[testcase->attempts[i].status];
    const char *element = form->flaky ? past->rerun : past->flaky;
    if (element) write_attempt(body, &testcase->attempts[i], element, share);
  }
}

static void write_muted(FILE *body, const struct junit_write_attempt *attempt, size_t max_bytes) {
  (void)fputs("      <skipped type=\"shardd.muted\"", body);
  write_message(body, attempt, forms[attempt->status].message);
  (void)fputs(">", body);
  if (attempt->text) write_excerpt(body, attempt->text, attempt->text_bytes, max_bytes);
  (void)fputs("</skipped>\n", body);
}

// An earlier attempt holds its text in a <stackTrace>, as its readers expect.
static void write_attempt(FILE *body, const struct junit_write_attempt *attempt, const char *element,
                          size_t max_bytes) {
  const struct form *form = &forms[attempt->status];
  bool past = strcmp(element, form->element) != 0;
  (void)fprintf(body, "      <%s type=\"%s\"", element, form->type);
  write_message(body, attempt, form->message);
  (void)fputs(past ? "><stackTrace>" : ">", body);
  if (attempt->text) write_excerpt(body, attempt->text, attempt->text_bytes, max_bytes);
  (void)fprintf(body, past ? "</stackTrace></%s>\n" : "</%s>\n", element);
}

// The last line of the text that is not empty: where test tools put what went wrong.
static void write_message(FILE *body, const struct junit_write_attempt *attempt, const char *otherwise) {
  const char *text = attempt->text;
  size_t end = text ? attempt->text_bytes : 0;
  while (end > 0 && strchr(" \t\r\n", text[end - 1]) && text[end - 1])
    end--;
  size_t start = end;
  while (start > 0 && text[start - 1] != '\n')
    start--;
  if (end - start > MESSAGE_MAX_BYTES) end = start + MESSAGE_MAX_BYTES;
  (void)fputs(" message=\"", body);
  if (end > start)
    write_escaped(body, text + start, end - start, true);
  else
    write_escaped(body, otherwise, strlen(otherwise), true);
  (void)fputc('"', body);
}

static void write_excerpt(FILE *out, const char *text, size_t n, size_t max_bytes) {
  if (n <= max_bytes) {
    write_escaped(out, text, n, false);
    return;
  }
  size_t half = max_bytes / 2;
  write_escaped(out, text, half, false);
  (void)fprintf(out, "\n[... %zu bytes left out ...]\n", n - 2 * half);
  write_escaped(out, text + n - half, half, false);
}

static void write_attribute(FILE *out, const char *name, const char *value) {
  (void)fprintf(out, " %s=\"", name);
  write_escaped(out, value, strlen(value), true);
  (void)fputc('"', out);
}

static void write_escaped(FILE *out, const char *text, size_t n, bool attribute) {
  for (size_t i = 0; i < n;) {
    size_t skip = escape_bytes(text + i, n - i);
    if (skip) {
      i += skip;
      continue;
    }
    uint32_t character;
    size_t used = decode(text + i, n - i, &character);
    write_character(out, text + i, used, character, attribute);
    i += used;
  }
}

// Bytes of a terminal's control sequence (ESC [ parameters, letter) that begins here.
static size_t escape_bytes(const char *text, size_t n) {
  if (n < 2 || text[0] != '\033' || text[1] != '[') return 0;
  size_t i = 2;
  while (i < n && text[i] >= 0x20 && text[i] <= 0x3f)
    i++;
  return i < n && text[i] >= 0x40 && text[i] <= 0x7e ? i + 1 : 2;
}

// One character of UTF-8; a byte that begins none gives U+FFFD and counts alone. Returns the bytes used.
static size_t decode(const char *text, size_t n, uint32_t *character) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  uint8_t lead = (uint8_t)text[0];
  size_t want = lead < 0x80 ? 1 : (lead & 0xe0) == 0xc0 ? 2 : (lead & 0xf0) == 0xe0 ? 3 : (lead & 0xf8) == 0xf0 ? 4 : 0;
  *character = 0xfffd;
  if (want == 0 || want > n) return 1;
  uint32_t value = want == 1 ? lead : lead & (0x7fu >> want);
  for (size_t i = 1; i < want; i++) {
    if (((uint8_t)text[i] & 0xc0) != 0x80) return 1;
    value = value << 6 | ((uint8_t)text[i] & 0x3f);
  }
  if (value < least[want] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return 1;
  *character = value;
  return want;
}

// What commands a terminal or reorders what is read stays in the file, and is a reference there.
static bool steers(uint32_t character) {
  bool control = character >= 0x7f && character <= 0x9f;
  bool direction = character == 0x61c || (character >= 0x200b && character <= 0x200f) ||
                   (character >= 0x2028 && character <= 0x202e) || (character >= 0x2060 && character <= 0x206f) ||
                   character == 0xfeff;
  return control || direction;
}

static void write_character(FILE *out, const char *bytes, size_t n, uint32_t character, bool attribute) {
  bool white = character == '\t' || character == '\n' || character == '\r';
  if ((character < 0x20 && !white) || character == 0xfffe || character == 0xffff) return;
  if (character == '&')
    (void)fputs("&amp;", out);
  else if (character == '<')
    (void)fputs("&lt;", out);
  else if (character == '>')
    (void)fputs("&gt;", out);
  else if (character == '"' && attribute)
    (void)fputs("&quot;", out);
  else if (character == '\r' || (white && attribute) || steers(character))
    (void)fprintf(out, "&#%" PRIu32 ";", character);
  else if (character == 0xfffd)
    (void)fputs("\xef\xbf\xbd", out);
  else
    (void)fwrite(bytes, 1, n, out);
}

static void write_head(const struct junit_write *writer) {
  char counts[160], stamp[32] = "";
  (void)snprintf(counts, sizeof(counts),
                 " tests=\"%" PRIu64 "\" failures=\"%" PRIu64 "\" errors=\"%" PRIu64 "\" skipped=\"%" PRIu64
                 "\" time=\"",
                 writer->tests, writer->failures, writer->errors, writer->skipped);
  time_t seconds = (time_t)(writer->start_us / 1000000);
  struct tm utc;
  if (gmtime_r(&seconds, &utc)) (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
  (void)fprintf(writer->out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"shardd\"%s", counts);
  write_seconds(writer->out, writer->time_us);
  (void)fputs("\">\n  <testsuite", writer->out);
  write_attribute(writer->out, "name", writer->suite);
  (void)fputs(counts, writer->out);
  write_seconds(writer->out, writer->time_us);
  (void)fprintf(writer->out, "\" timestamp=\"%s\"", stamp);
  write_attribute(writer->out, "hostname", writer->hostname);
  (void)fputs(">\n", writer->out);
  write_notes(writer);
}

static void write_notes(const struct junit_write *writer) {
  if (writer->note_count == 0) return;
  (void)fputs("    <properties>\n", writer->out);
  for (size_t i = 0; i < writer->note_count; i++) {
    (void)fputs("      <property name=\"shardd.note\"", writer->out);
    write_attribute(writer->out, "value", writer->note[i]);
    (void)fputs("/>\n", writer->out);
  }
  (void)fputs("    </properties>\n", writer->out);
}

static void write_seconds(FILE *out, uint64_t time_us) {
  (void)fprintf(out, "%" PRIu64 ".%06" PRIu64, time_us / 1000000, time_us % 1000000);
}

static bool copy_body(struct junit_write *writer) {
  char buffer[16 * 1024];
  size_t n;
  if (fflush(writer->body) != 0 || ferror(writer->body)) return false;
  rewind(writer->body);
  while ((n = fread(buffer, 1, sizeof(buffer), writer->body)) > 0)
    if (fwrite(buffer, 1, n, writer->out) != n) return false;
  return !ferror(writer->body);
}
