// Reader of JUnit XML over expat's stream: a stack of suites for what tests inherit from them, one open testcase, one
// open text. Called by the command runner with what test tools wrote, so every input is hostile: depth, size and texts
// are bounded and a document type is refused, which leaves no entity to expand. It must not know which tests were
// wanted.
#include "worker/junit.h"

#include <errno.h>
#include <expat.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/files.h"
#include "worker/excerpt.h"

struct suite {
  unsigned depth;
  char *name, *file;
};

struct junit {
  XML_Parser parser;
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
  bool has_time;
  uint64_t time_us;
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

static void on_open(void *arg, const XML_Char *element, const XML_Char **attributes);
static void on_close(void *arg, const XML_Char *element);
static void on_text(void *arg, const XML_Char *bytes, int n);
static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal);
static void open_suite(struct junit *reader, const XML_Char **attributes);
static void open_case(struct junit *reader, const XML_Char **attributes);
static void open_part(struct junit *reader, const XML_Char *element, const XML_Char **attributes);
static void open_suite_error(struct junit *reader, const XML_Char **attributes);
static void close_case(struct junit *reader);
static void clear_case(struct junit *reader);
static const char *attribute(const XML_Char **attributes, const char *name);
static const char *suite_file(const struct junit *reader);
static bool attribute_skips(const XML_Char **attributes);
static bool parse_time(const char *text, uint64_t *out_us);
static void fail(struct junit *reader, const char *what);

struct junit *junit_new(void (*on_case)(void *arg, const struct junit_case *testcase), void *arg) {
  struct junit *reader = base_calloc(1, sizeof(*reader));
  reader->on_case = on_case;
  reader->arg = arg;
  reader->parser = XML_ParserCreate(NULL);
  if (!reader->parser) base_die(EXIT_INFRA, "out of memory for an XML parser");
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
  if (XML_Parse(reader->parser, bytes, (int)n, last) == XML_STATUS_OK) return 0;
  if (!reader->why[0]) fail(reader, XML_ErrorString(XML_GetErrorCode(reader->parser)));
  return -1;
}

const char *junit_why(const struct junit *reader) {
  return reader->why;
}

int junit_read_file(const char *path, void (*on_case)(void *arg, const struct junit_case *testcase), void *arg,
                    char *why, size_t why_size) {
  const char *problem;
  FILE *file = files_read(path, FILES_STREAM, &problem);
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

static void on_open(void *arg, const XML_Char *element, const XML_Char **attributes) {
  struct junit *reader = arg;
  if (++reader->depth > JUNIT_MAX_DEPTH) {
    fail(reader, "has elements nested deeper than 64");
    return;
  }
  bool suite = strcmp(element, "testsuite") == 0;
  if (reader->depth == 1 && !suite && strcmp(element, "testsuites") != 0)
    fail(reader, "is no JUnit report: its root is neither <testsuites> nor <testsuite>");
  else if (reader->case_depth)
    open_part(reader, element, attributes);
  else if (suite)
    open_suite(reader, attributes);
  else if (strcmp(element, "testcase") == 0)
    open_case(reader, attributes);
  else if (strcmp(element, "error") == 0 && !reader->error_depth)
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
  struct suite suite = {.depth = reader->depth,
                        .name = base_strdup(name ? name : ""),
                        .file = base_strdup(file ? file : suite_file(reader))};
  reader->suites[reader->suite_count++] = suite;
}

static void open_case(struct junit *reader, const XML_Char **attributes) {
  const char *classname = attribute(attributes, "classname"), *name = attribute(attributes, "name");
  const char *file = attribute(attributes, "file"), *time = attribute(attributes, "time");
  clear_case(reader);
  reader->case_depth = reader->depth;
  reader->classname = base_strdup(classname ? classname : "");
  reader->name = base_strdup(name ? name : "");
  reader->file = base_strdup(file ? file : suite_file(reader));
  reader->has_time = time && parse_time(time, &reader->time_us);
  if (attribute_skips(attributes)) reader->status = JUNIT_SKIPPED;
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
                                .time_us = reader->time_us,
                                .status = reader->status,
                                .message = reader->message ? reader->message : "",
                                .text = text,
                                .text_bytes = text_bytes};
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
  reader->has_time = false;
  reader->time_us = 0;
  reader->status = JUNIT_PASSED;
  excerpt_clear(&reader->text);
}

static const char *attribute(const XML_Char **attributes, const char *name) {
  for (; attributes[0]; attributes += 2)
    if (strcmp(attributes[0], name) == 0) return attributes[1];
  return NULL;
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

// Seconds, perhaps with commas between thousands ("1,234.5").
static bool parse_time(const char *text, uint64_t *out_us) {
  char digits[64], *end;
  size_t n = 0;
  for (; *text && n + 1 < sizeof(digits); text++)
    if (*text != ',') digits[n++] = *text;
  digits[n] = '\0';
  double seconds = strtod(digits, &end);
  if (end == digits || *end || !isfinite(seconds) || seconds < 0 || seconds > 1e9) return false;
  *out_us = (uint64_t)(seconds * 1e6 + 0.5);
  return true;
}

static void fail(struct junit *reader, const char *what) {
  if (reader->why[0]) return;
  (void)snprintf(reader->why, sizeof(reader->why), "line %lu: %s", XML_GetCurrentLineNumber(reader->parser), what);
  (void)XML_StopParser(reader->parser, XML_FALSE);
}
