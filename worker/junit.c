// Reader of JUnit XML over expat's stream, which xmltext.c makes acceptable first: a stack of suites for what tests
// inherit from them, one open testcase, one open text. Called by the command runner with what test tools wrote, so
// every input is hostile: depth, size and texts are bounded and a document type is refused, which leaves no entity to
// expand. It must not know which tests were wanted.
#include "worker/junit.h"

#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/files.h"
#include "worker/excerpt.h"
#include "worker/seconds.h"
#include "worker/xmltext.h"

struct suite {
  unsigned depth;
  uint64_t declared;  // its attributes errors and failures
  size_t bad_before;  // reader->bad when it began
  char *name, *file;
};

struct junit {
  XML_Parser parser;
  struct xmltext *xml;  // between the document and the parser
  struct seconds_seen seconds_seen;
  void (*on_case)(void *arg, const struct junit_case *testcase);
  void *arg;
  size_t fed_bytes;
  unsigned depth;
  struct suite suites[JUNIT_MAX_DEPTH];
  size_t suite_count;
  unsigned case_depth;   // of the open testcase; 0: none
  unsigned text_depth;   // of the open element whose text counts; 0: none
  unsigned error_depth;  // of an open error of a suite; 0: none
  char *classname, *name, *file, *message;
  char *id;  // NULL: not told
  bool has_time, odd_time, not_run;
  struct seconds time;
  size_t bad;  // failing cases and errors of suites so far
  enum junit_status status;
  struct excerpt text;
  char why[JUNIT_WHY_BYTES];
};

// The elements in a testcase that matter, and the status each gives. The worst counts.
static const struct {
  const char *element;
  enum junit_status status;
  bool output;  // captured output: no status, and a heading of its own in the text
} parts[] = {
    {"failure", JUNIT_FAILED, false},   {"error", JUNIT_ERROR, false},      {"skipped", JUNIT_SKIPPED, false},
    {"system-out", JUNIT_PASSED, true}, {"system-err", JUNIT_PASSED, true},
};

static void on_xml(void *arg, const char *bytes, size_t n);
static void on_open(void *arg, const XML_Char *element, const XML_Char **attributes);
static void on_close(void *arg, const XML_Char *element);
static void on_text(void *arg, const XML_Char *bytes, int n);
static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal);
static void open_suite(struct junit *reader, const XML_Char **attributes);
static void close_suite(struct junit *reader, const struct suite *suite);
static void open_case(struct junit *reader, const XML_Char **attributes);
static bool read_time(struct junit *reader, const XML_Char **attributes, struct seconds *out);
static void open_part(struct junit *reader, const XML_Char *element, const XML_Char **attributes);
static void open_suite_error(struct junit *reader, const XML_Char **attributes);
static void close_case(struct junit *reader);
static void clear_case(struct junit *reader);
static const char *attribute(const XML_Char **attributes, const char *name);
static uint64_t count_of(const XML_Char **attributes, const char *name);
static const char *suite_file(const struct junit *reader);
static bool attribute_skips(const XML_Char **attributes);
static bool attribute_fails(const XML_Char **attributes);
static void fail(struct junit *reader, const char *what);
static void fail_parser(struct junit *reader);

struct junit *junit_new(void (*on_case)(void *arg, const struct junit_case *testcase), void *arg) {
  struct junit *reader = base_calloc(1, sizeof(*reader));
  reader->on_case = on_case;
  reader->arg = arg;
  reader->parser = XML_ParserCreate("UTF-8");  // whatever the declaration says, it is by now
  if (!reader->parser) base_die(EXIT_INFRA, "out of memory for an XML parser");
  reader->xml = xmltext_new(on_xml, reader);
  excerpt_init(&reader->text, EXCERPT_TEXT_MAX_BYTES);
  XML_SetUserData(reader->parser, reader);
  XML_SetElementHandler(reader->parser, on_open, on_close);
  XML_SetCharacterDataHandler(reader->parser, on_text);
  XML_SetStartDoctypeDeclHandler(reader->parser, on_doctype);
  return reader;
}

void junit_free(struct junit *reader) {
  if (!reader) return;
  clear_case(reader);
  for (size_t i = 0; i < reader->suite_count; i++) {
    free(reader->suites[i].name);
    free(reader->suites[i].file);
  }
  excerpt_release(&reader->text);
  xmltext_free(reader->xml);
  XML_ParserFree(reader->parser);
  free(reader);
}

int junit_feed(struct junit *reader, const char *bytes, size_t n, bool last) {
  if (reader->why[0]) return -1;
  if (n > JUNIT_MAX_BYTES - reader->fed_bytes) {
    fail(reader, "is over 64 MiB");
    return -1;
  }
  reader->fed_bytes += n;
  xmltext_feed(reader->xml, bytes, n, last);
  if (!reader->why[0] && last && XML_Parse(reader->parser, "", 0, true) != XML_STATUS_OK) fail_parser(reader);
  return reader->why[0] ? -1 : 0;
}

const char *junit_why(const struct junit *reader) {
  return reader->why;
}

struct junit_notes junit_notes(const struct junit *reader) {
  struct junit_notes notes = {.decimal_comma = seconds_decimal_comma(&reader->seconds_seen)};
  xmltext_lost(reader->xml, notes.lost, sizeof notes.lost);
  return notes;
}

int junit_read_file(const char *path, void (*on_case)(void *arg, const struct junit_case *testcase), void *arg,
                    struct junit_notes *notes, char *why, size_t why_size) {
  const char *problem;
  FILE *file = files_read(path, FILES_STREAM, &problem);
  *notes = (struct junit_notes){.decimal_comma = false};
  if (!file) {
    (void)snprintf(why, why_size, "%s: %s", path, problem);
    return -1;
  }
  struct junit *reader = junit_new(on_case, arg);
  char buffer[16 * 1024];
  int status = 0;
  bool last = false;
  while (status == 0 && !last) {
    size_t n = fread(buffer, 1, sizeof(buffer), file);
    last = n < sizeof(buffer);
    if (ferror(file)) {
      fail(reader, strerror(errno));
      status = -1;
    } else {
      status = junit_feed(reader, buffer, n, last);
    }
  }
  if (status < 0) (void)snprintf(why, why_size, "%s: %s", path, reader->why);
  *notes = junit_notes(reader);
  junit_free(reader);
  (void)fclose(file);
  return status;
}

void junit_split_id(const char *id, char **classname, char **name) {
  size_t address = strcspn(id, "[");  // "::" among a test's parameters is not ours
  const char *last = NULL;
  for (size_t i = 0; i + 1 < address; i++)
    if (id[i] == ':' && id[i + 1] == ':') last = id + i++;
  *name = base_strdup(last ? last + 2 : id);
  *classname = base_memdup0(id, last ? (size_t)(last - id) : 0);
  char *first = strstr(*classname, "::");
  size_t path = first ? (size_t)(first - *classname) : strlen(*classname);
  for (size_t i = 0; i < path; i++)
    if ((*classname)[i] == '/') (*classname)[i] = '.';
  char *to = *classname;
  for (const char *from = *classname; *from; from++) {
    bool suffix = (size_t)(from - *classname) + 3 == path && strncmp(from, ".py", 3) == 0;
    bool separator = from[0] == ':' && from[1] == ':';
    if (suffix) {
      from += 2;
      continue;
    }
    *to++ = separator ? '.' : *from;
    if (separator) from++;
  }
  *to = '\0';
}

static void on_xml(void *arg, const char *bytes, size_t n) {
  struct junit *reader = arg;
  if (reader->why[0]) return;
  if (n > JUNIT_XML_MAX_BYTES)
    fail(reader, "has an element that is too long");
  else if (XML_Parse(reader->parser, bytes, (int)n, false) != XML_STATUS_OK)
    fail_parser(reader);
}

static void on_open(void *arg, const XML_Char *element, const XML_Char **attributes) {
  struct junit *reader = arg;
  if (++reader->depth > JUNIT_MAX_DEPTH) {
    fail(reader, "has elements nested deeper than 64");
    return;
  }
  bool suite = strcmp(element, "testsuite") == 0 || (reader->depth == 1 && strcmp(element, "testsuites") == 0);
  if (reader->depth == 1 && !suite)
    fail(reader, "is no JUnit report: its root is neither <testsuites> nor <testsuite>");
  else if (reader->case_depth)
    open_part(reader, element, attributes);
  else if (suite)
    open_suite(reader, attributes);
  else if (strcmp(element, "testcase") == 0)
    open_case(reader, attributes);
  else if ((strcmp(element, "error") == 0 || strcmp(element, "failure") == 0) && !reader->error_depth)
    open_suite_error(reader, attributes);
}

static void on_close(void *arg, const XML_Char *element) {
  struct junit *reader = arg;
  (void)element;
  unsigned depth = reader->depth--;
  if (depth == reader->text_depth) reader->text_depth = 0;
  if (depth == reader->case_depth || depth == reader->error_depth) close_case(reader);
  struct suite *top = reader->suite_count ? &reader->suites[reader->suite_count - 1] : NULL;
  if (!top || top->depth != depth) return;
  close_suite(reader, top);
  free(top->name);
  free(top->file);
  reader->suite_count--;
}

static void on_text(void *arg, const XML_Char *bytes, int n) {
  struct junit *reader = arg;
  if (reader->text_depth) excerpt_add(&reader->text, bytes, (size_t)n);
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal) {
  (void)name, (void)system, (void)public, (void)internal;
  fail(arg, "has a DOCTYPE, which is not accepted");
}

static void open_suite(struct junit *reader, const XML_Char **attributes) {
  const char *name = attribute(attributes, "name"), *file = attribute(attributes, "file");
  struct seconds ignored;  // but for the commas in it
  (void)read_time(reader, attributes, &ignored);
  struct suite suite = {.depth = reader->depth,
                        .declared = count_of(attributes, "errors") + count_of(attributes, "failures"),
                        .bad_before = reader->bad,
                        .name = base_strdup(name ? name : ""),
                        .file = base_strdup(file ? file : suite_file(reader))};
  reader->suites[reader->suite_count++] = suite;
}

// A suite that counts errors or failures and shows none is an error of its own.
static void close_suite(struct junit *reader, const struct suite *suite) {
  if (suite->declared == 0 || reader->bad > suite->bad_before) return;
  clear_case(reader);
  reader->classname = base_strdup("");
  reader->file = base_strdup(suite->file);
  reader->message = base_printf("suite '%.100s' counts %llu errors and failures and shows none", suite->name,
                                (unsigned long long)suite->declared);
  reader->status = JUNIT_ERROR;
  close_case(reader);
}

static void open_case(struct junit *reader, const XML_Char **attributes) {
  const char *classname = attribute(attributes, "classname"), *name = attribute(attributes, "name");
  const char *file = attribute(attributes, "file"), *time = attribute(attributes, "time");
  clear_case(reader);
  reader->case_depth = reader->depth;
  reader->classname = base_strdup(classname ? classname : "");
  reader->name = base_strdup(name ? name : "");
  reader->file = base_strdup(file ? file : suite_file(reader));
  reader->has_time = read_time(reader, attributes, &reader->time);
  reader->odd_time = time && !reader->has_time && time[0] != '\0';
  if (attribute_skips(attributes)) reader->status = JUNIT_SKIPPED;
  if (attribute_fails(attributes)) reader->status = JUNIT_FAILED;
  const char *status = attribute(attributes, "status");
  reader->not_run = status && strcmp(status, "notrun") == 0 && !attribute(attributes, "result");
}

static bool read_time(struct junit *reader, const XML_Char **attributes, struct seconds *out) {
  const char *time = attribute(attributes, "time");
  return time && seconds_read(time, SECONDS_UNIT_US, &reader->seconds_seen, out) == 0;
}

// An element inside a testcase: its status, message and text; or the id that junit_write.c noted.
static void open_part(struct junit *reader, const XML_Char *element, const XML_Char **attributes) {
  const char *name = attribute(attributes, "name"), *value = attribute(attributes, "value");
  if (reader->id == NULL && name && value && strcmp(element, "property") == 0 && strcmp(name, "shardd.id") == 0)
    reader->id = base_strdup(value);
  if (reader->text_depth || reader->depth != reader->case_depth + 1) return;
  for (size_t i = 0; i < COUNT_OF(parts); i++) {
    if (strcmp(element, parts[i].element) != 0) continue;
    reader->text_depth = reader->depth;
    if (reader->text.total) excerpt_add_text(&reader->text, "\n");
    if (parts[i].output) {
      excerpt_add_text(&reader->text, "---- ");
      excerpt_add_text(&reader->text, element);
      excerpt_add_text(&reader->text, " ----\n");
      return;
    }
    const char *message = attribute(attributes, "message");
    bool worse = parts[i].status > reader->status;
    if (worse) reader->status = parts[i].status;
    if (message && (worse || !reader->message)) {
      free(reader->message);
      reader->message = base_strdup(message);
    }
    return;
  }
}

// An error of a suite and not of a test: a file that cannot be loaded, a plan that does not fit.
static void open_suite_error(struct junit *reader, const XML_Char **attributes) {
  const char *message = attribute(attributes, "message");
  clear_case(reader);
  reader->error_depth = reader->text_depth = reader->depth;
  reader->classname = base_strdup("");
  reader->file = base_strdup(suite_file(reader));
  reader->message = message ? base_strdup(message) : NULL;
  reader->status = JUNIT_ERROR;
}

static void close_case(struct junit *reader) {
  size_t text_bytes;
  char *text = excerpt_text(&reader->text, &text_bytes);
  struct junit_case testcase = {.suite = reader->suite_count ? reader->suites[reader->suite_count - 1].name : "",
                                .classname = reader->classname,
                                .name = reader->name,
                                .file = reader->file,
                                .id = reader->id ? reader->id : "",
                                .has_time = reader->has_time,
                                .odd_time = reader->odd_time,
                                .time_us = reader->time.us,
                                .comma_us = reader->time.comma_us,
                                .status = reader->status,
                                .not_run = reader->not_run,
                                .message = reader->message ? reader->message : "",
                                .text = text,
                                .text_bytes = text_bytes};
  reader->bad += reader->status > JUNIT_SKIPPED;
  reader->on_case(reader->arg, &testcase);
  free(text);
  clear_case(reader);
}

static void clear_case(struct junit *reader) {
  free(reader->classname);
  free(reader->name);
  free(reader->file);
  free(reader->message);
  free(reader->id);
  reader->id = NULL;
  reader->classname = reader->name = reader->file = reader->message = NULL;
  reader->case_depth = reader->text_depth = reader->error_depth = 0;
  reader->has_time = reader->odd_time = reader->not_run = false;
  reader->time = (struct seconds){0};
  reader->status = JUNIT_PASSED;
  excerpt_clear(&reader->text);
}

static const char *attribute(const XML_Char **attributes, const char *name) {
  for (; attributes[0]; attributes += 2)
    if (strcmp(attributes[0], name) == 0) return attributes[1];
  return NULL;
}

// A number in an attribute; 0 when it is none.
static uint64_t count_of(const XML_Char **attributes, const char *name) {
  const char *text = attribute(attributes, name);
  uint64_t count;
  return text && base_parse_u64(text, 0, JUNIT_MAX_BYTES, &count) == 0 ? count : 0;
}

static const char *suite_file(const struct junit *reader) {
  return reader->suite_count ? reader->suites[reader->suite_count - 1].file : "";
}

// ctest and googletest tell of tests that did not run by attribute.
static bool attribute_skips(const XML_Char **attributes) {
  const char *status = attribute(attributes, "status"), *result = attribute(attributes, "result");
  if (status && (strcmp(status, "notrun") == 0 || strcmp(status, "disabled") == 0)) return true;
  if (status && strcmp(status, "skipped") == 0) return true;
  return result && (strcmp(result, "skipped") == 0 || strcmp(result, "suppressed") == 0);
}

// A writer that says "failed" and has no element for it did not mean a pass.
static bool attribute_fails(const XML_Char **attributes) {
  static const char *const words[] = {"fail", "failed", "failure", "error", "errored"};
  const char *status = attribute(attributes, "status"), *result = attribute(attributes, "result");
  for (size_t i = 0; i < COUNT_OF(words); i++) {
    if (status && strcasecmp(status, words[i]) == 0) return true;
    if (result && strcasecmp(result, words[i]) == 0) return true;
  }
  return false;
}

static void fail(struct junit *reader, const char *what) {
  if (reader->why[0]) return;
  (void)snprintf(reader->why, sizeof(reader->why), "line %lu: %s", XML_GetCurrentLineNumber(reader->parser), what);
  (void)XML_StopParser(reader->parser, XML_FALSE);
}

static void fail_parser(struct junit *reader) {
  if (!reader->why[0]) fail(reader, XML_ErrorString(XML_GetErrorCode(reader->parser)));
}
