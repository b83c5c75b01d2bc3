// Unit tests of JUnit XML that no strict parser takes as it is: encodings, characters that XML does not allow, long
// attributes. XML_Parse is wrapped (Makefile) and counts the bytes that expat goes over.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs its headers first
#include <cmocka.h>
#include <expat.h>

#include "worker/junit.h"

enum { CASES = 8, TEXT = 256 };

struct seen {
  char name[CASES][TEXT], message[CASES][TEXT], text[CASES][TEXT];
  enum junit_status status[CASES];
  size_t count, message_bytes;
};

// ---- bytes that expat goes over: what it had not finished, and what is new

static uint64_t fed, looked_at;

enum XML_Status __real_XML_Parse(XML_Parser parser, const char *bytes, int n, int last);
enum XML_Status __wrap_XML_Parse(XML_Parser parser, const char *bytes, int n, int last);
enum XML_Status __wrap_XML_Parse(XML_Parser parser, const char *bytes, int n, int last) {
  XML_Index at = XML_GetCurrentByteIndex(parser);
  looked_at += (uint64_t)n + (at >= 0 && (uint64_t)at < fed ? fed - (uint64_t)at : 0);
  fed += (uint64_t)n;
  return __real_XML_Parse(parser, bytes, n, last);
}

static void on_case(void *arg, const struct junit_case *testcase) {
  struct seen *seen = arg;
  seen->message_bytes += strlen(testcase->message);
  if (seen->count < CASES) {
    (void)snprintf(seen->name[seen->count], TEXT, "%s", testcase->name ? testcase->name : "");
    (void)snprintf(seen->message[seen->count], TEXT, "%s", testcase->message);
    (void)snprintf(seen->text[seen->count], TEXT, "%s", testcase->text);
    seen->status[seen->count] = testcase->status;
  }
  seen->count++;
}

static int read_parts(const char *bytes, size_t n, size_t part, struct seen *seen, struct junit_notes *notes) {
  memset(seen, 0, sizeof *seen);
  fed = looked_at = 0;
  struct junit *reader = junit_new(on_case, seen);
  int rc = 0;
  for (size_t at = 0; rc == 0 && at < n; at += part)
    rc = junit_feed(reader, bytes + at, n - at < part ? n - at : part, false);
  if (rc == 0) rc = junit_feed(reader, "", 0, true);
  *notes = junit_notes(reader);
  if (rc != 0) print_message("%s\n", junit_why(reader));
  junit_free(reader);
  return rc;
}

// One test named `name`, whole and byte by byte, and what was lost.
static void reads(const char *bytes, size_t n, const char *name, const char *lost) {
  static const size_t parts[] = {SIZE_MAX / 2, 1, 2, 3, 7};
  for (size_t i = 0; i < COUNT_OF(parts); i++) {
    struct seen seen;
    struct junit_notes notes;
    assert_int_equal(read_parts(bytes, n, parts[i], &seen, &notes), 0);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.name[0], name);
    assert_string_equal(notes.lost, lost);
  }
}

#define READS(bytes, name, lost) reads(bytes, sizeof(bytes) - 1, name, lost)
#define DOCUMENT(declaration, name) declaration "<testsuite><testcase name=\"" name "\"/></testsuite>"
#define ONE_LOST "1 character that XML does not allow was replaced, the first in line 1"
#define TWO_LOST "2 characters that XML does not allow were replaced, the first in line 1"

static void test_encodings(void **state) {
  (void)state;
  READS(DOCUMENT("\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", "a\xc3\xa4"), "a\xc3\xa4", "");
  READS(DOCUMENT("\xef\xbb\xbf", "a"), "a", "");
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"windows-1252\"?>", "\x80\xe4\x99"),
        "\xe2\x82\xac\xc3\xa4\xe2\x84\xa2", "");
  READS(DOCUMENT("<?xml version='1.0' encoding='Windows-1251'?>", "\xe4"), "\xd0\xb4", "");
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>", "\xe4"), "\xc3\xa4", "");
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"iso-8859-15\"?>", "\xa4"), "\xe2\x82\xac", "");
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"latin1\"?>", "\xe4"), "\xc3\xa4", "");
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"Shift_JIS\"?>", "\x83\x65"), "\xe3\x83\x86", "");
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"utf-16\"?>", "\xc3\xa4"), "\xc3\xa4", "");  // .NET
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"us-ascii\"?>", "\xc3\xa4"), "\xc3\xa4", "");
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"x-odd\"?>", "a"), "a",
        "the encoding \"x-odd\" is not known, the text was read as UTF-8");
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"UTF-7\"?>", "a"), "a",
        "the encoding \"utf-7\" is not known, the text was read as UTF-8");
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"windows-1252\"?>", "\x81"), "\xef\xbf\xbd", ONE_LOST);
  READS(DOCUMENT("<?xml version=\"1.0\" encoding=\"Shift_JIS\"?>",
                 "\xff"
                 "a"),
        "\xef\xbf\xbd"
        "a",
        ONE_LOST);
}

static void test_utf16(void **state) {
  (void)state;
  static const char document[] = DOCUMENT("<?xml version=\"1.0\" encoding=\"utf-16\"?>", "a\x01\xe4");
  for (int form = 0; form < 4; form++) {  // little and big, with and without a mark
    char bytes[2 * sizeof document];
    size_t n = 0;
    bool big = form % 2 == 1;
    if (form < 2) bytes[n++] = big ? '\xfe' : '\xff', bytes[n++] = big ? '\xff' : '\xfe';
    for (size_t i = 0; i + 1 < sizeof document; i++) {
      bytes[n++] = big ? '\0' : document[i];
      bytes[n++] = big ? document[i] : '\0';
    }
    reads(bytes, n, "a\xef\xbf\xbd\xc3\xa4", ONE_LOST);
  }
  static const char pair[] =
      "\xff\xfe<\0t\0e\0s\0t\0s\0u\0i\0t\0e\0>\0<\0t\0e\0s\0t\0c\0a\0s\0e\0 \0n\0a\0m\0e\0=\0'\0"
      "\x3d\xd8\x00\xde"
      "\x3d\xd8"
      "x\0"
      "\x00\xde"
      "'\0/\0>\0<\0/\0t\0e\0s\0t\0s\0u\0i\0t\0e\0>\0";
  reads(pair, sizeof pair - 1, "\xf0\x9f\x98\x80\xef\xbf\xbdx\xef\xbf\xbd", TWO_LOST);
}

static void test_characters_that_xml_does_not_allow(void **state) {
  (void)state;
  READS(DOCUMENT("", "a\x1b[31m"), "a\xef\xbf\xbd[31m", ONE_LOST);
  READS(DOCUMENT("", "a\0b"),
        "a\xef\xbf\xbd"
        "b",
        ONE_LOST);
  READS(DOCUMENT("", "a\x0b\x0c"), "a\xef\xbf\xbd\xef\xbf\xbd", TWO_LOST);
  READS(DOCUMENT("", "a\x7f"), "a\x7f", "");
  READS(DOCUMENT("", "caf\xe9"), "caf\xef\xbf\xbd", ONE_LOST);  // Latin-1 undeclared
  READS(DOCUMENT("", "caf\xe9 x"), "caf\xef\xbf\xbd x", ONE_LOST);
  READS(DOCUMENT("", "\xed\xa0\xbd"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
        "3 characters that XML does not allow were replaced, the first in line 1");
  READS(DOCUMENT("", "\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd", TWO_LOST);
  READS(DOCUMENT("", "\xef\xbf\xbf"), "\xef\xbf\xbd", ONE_LOST);
  READS(DOCUMENT("", "\xf4\x90\x80\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
        "4 characters that XML does not allow were replaced, the first in line 1");
  READS(DOCUMENT("", "\xe2\x82"), "\xef\xbf\xbd", ONE_LOST);  // cut
  READS(DOCUMENT("<?xml version=\"1.0\"?>\n\n", "\x01"), "\xef\xbf\xbd",
        "1 character that XML does not allow was replaced, the first in line 3");
}

static void test_references(void **state) {
  (void)state;
  READS(DOCUMENT("", "&lt;&amp;&#65;&#x1F600;&quot;"), "<&A\xf0\x9f\x98\x80\"", "");
  READS(DOCUMENT("", "&#27;&#x1b;"), "\xef\xbf\xbd\xef\xbf\xbd", TWO_LOST);
  READS(DOCUMENT("", "&#0;x"), "\xef\xbf\xbdx", ONE_LOST);
  READS(DOCUMENT("", "&#xD800;"), "\xef\xbf\xbd", ONE_LOST);
  READS(DOCUMENT("", "&#99999999999999999999;"), "\xef\xbf\xbd", ONE_LOST);
  READS(DOCUMENT("", "a & b"), "a & b", ONE_LOST);
  READS(DOCUMENT("", "&"), "&", ONE_LOST);
  READS(DOCUMENT("", "&&amp;"), "&&", ONE_LOST);
  READS(DOCUMENT("", "&\xc3\xa4;"), "&\xc3\xa4;", ONE_LOST);
  READS(DOCUMENT("", "&nbsp;x"), "&nbsp;x", ONE_LOST);
  READS(DOCUMENT("", "&x\x01"), "&x\xef\xbf\xbd", TWO_LOST);
  READS(DOCUMENT("", "&averyveryverylongnamethatisnoentityatall;"), "&averyveryverylongnamethatisnoentityatall;",
        ONE_LOST);
}

// In CDATA and comments "&" means nothing; a row after the odd one is there as well.
static void test_the_rest_of_the_batch_stays(void **state) {
  (void)state;
  static const char document[] =
      "<?xml version=\"1.0\"?><!-- & \x01 --><?pi & ?><testsuite>\n<testcase name=\"a\"/>\n"
      "<testcase name=\"b\"><failure message='x > \x1b[1m'><![CDATA[& &#27; > \x1b ]]></failure></testcase>\n"
      "<testcase name=\"c\"><failure>got ]]> & \xe9</failure></testcase>\n<testcase name=\"d\"/></testsuite>";
  static const size_t parts[] = {SIZE_MAX / 2, 1, 5};
  for (size_t i = 0; i < COUNT_OF(parts); i++) {
    struct seen seen;
    struct junit_notes notes;
    assert_int_equal(read_parts(document, sizeof document - 1, parts[i], &seen, &notes), 0);
    assert_int_equal(seen.count, 4);
    assert_string_equal(seen.message[1], "x > \xef\xbf\xbd[1m");
    assert_string_equal(seen.text[1], "& &#27; > \xef\xbf\xbd ");
    assert_string_equal(seen.text[2], "got ]]> & \xef\xbf\xbd");
    assert_int_equal(seen.status[0], JUNIT_PASSED);
    assert_int_equal(seen.status[1], JUNIT_FAILED);
    assert_int_equal(seen.status[2], JUNIT_FAILED);
    assert_string_equal(seen.name[3], "d");
    assert_string_equal(notes.lost, "6 characters that XML does not allow were replaced, the first in line 1");
  }
}

static void test_what_is_broken_stays_refused(void **state) {
  (void)state;
  static const char *const documents[] = {"<testsuite><testcase name=\"a\"",
                                          "<testsuite><testcase name=\"a\"/>",
                                          "<testsuite><testcase name=a/></testsuite>",
                                          "<testsuite>&amp",
                                          "<testsuite><testcase name=\"<\"/></testsuite>",
                                          "",
                                          "<!-- ",
                                          "<!DOCTYPE a [<!ENTITY b 'c'>]><testsuite/>",
                                          "<testsuite/>x"};
  for (size_t i = 0; i < COUNT_OF(documents); i++) {
    struct seen seen;
    struct junit_notes notes;
    assert_int_equal(read_parts(documents[i], strlen(documents[i]), 4, &seen, &notes), -1);
  }
}

// 16 MB in one attribute, in the parts that a file is read in: expat must not go over it again with each part.
static void test_a_long_attribute_is_read_once(void **state) {
  (void)state;
  enum { LONG = 16 << 20, PART = 16 * 1024 };
  static const struct {
    const char *before, *after;
    char fill;
  } forms[] = {
      {"<testsuite><testcase name=\"a\"><failure message=\"", "\"/></testcase></testsuite>", 'x'},
      {"<testsuite><testcase name=\"a\"><failure message='", "'/></testcase></testsuite>", '>'},
      {"<testsuite><testcase name=\"a\"><failure>", "</failure></testcase></testsuite>", 'x'},
      {"<testsuite><testcase name=\"a\"/><!-- ", " --></testsuite>", '>'},
      {"<testsuite><testcase name=\"a\"/><?p ", " ?></testsuite>", '>'},
      {"<testsuite><testcase name=\"a\"><failure><![CDATA[", "]]></failure></testcase></testsuite>", '<'},
      {"<testsuite><testcase name=\"a\"><failure>x", "</failure></testcase></testsuite>", '&'},
  };
  for (size_t i = 0; i < COUNT_OF(forms); i++) {
    size_t n = 0, before = strlen(forms[i].before), after = strlen(forms[i].after);
    char *document = malloc(LONG + before + after);
    assert_non_null(document);
    memcpy(document, forms[i].before, before);
    memset(document + before, forms[i].fill, LONG);
    n = before + LONG;
    memcpy(document + n, forms[i].after, after);
    struct seen seen;
    struct junit_notes notes;
    assert_int_equal(read_parts(document, n + after, PART, &seen, &notes), 0);
    assert_int_equal(seen.count, 1);
    if (i < 2) assert_int_equal(seen.message_bytes, LONG);
    if (looked_at > 2 * fed)
      fail_msg("form %zu: %llu bytes of %llu", i, (unsigned long long)looked_at, (unsigned long long)fed);
    free(document);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_encodings),
      cmocka_unit_test(test_utf16),
      cmocka_unit_test(test_characters_that_xml_does_not_allow),
      cmocka_unit_test(test_references),
      cmocka_unit_test(test_the_rest_of_the_batch_stays),
      cmocka_unit_test(test_what_is_broken_stays_refused),
      cmocka_unit_test(test_a_long_attribute_is_read_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
