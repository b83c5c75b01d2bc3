// Unit tests of the CSV reader: what RFC 4180 has, what people write all the same, and where each fault is said to be.
// The end turns on it what no sane program writes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/csv.h"

static FILE *of_bytes(const char *bytes, size_t n) {
  FILE *in = tmpfile();
  assert_non_null(in);
  assert_int_equal(fwrite(bytes, 1, n, in), n);
  rewind(in);
  return in;
}

// All records as "a|b@LINE:COLUMN" of their last field, one a line; what is not one as "!LINE:COLUMN text".
static void reads(const char *bytes, size_t n, const char *want) {
  FILE *in = of_bytes(bytes, n);
  struct csv *csv = csv_new(in);
  const struct csv_field *fields;
  struct csv_place place;
  const char *why;
  char got[2048] = "";
  size_t count, at = 0;
  int rc;
  while ((rc = csv_next(csv, &fields, &count, &place, &why)) != 0) {
    if (rc == CSV_ODD) at += (size_t)snprintf(got + at, sizeof got - at, "!%u:%u %s\n", place.line, place.column, why);
    for (size_t i = 0; rc > 0 && i < count; i++) {
      assert_int_equal(strlen(fields[i].text), fields[i].bytes);
      at += (size_t)snprintf(got + at, sizeof got - at, "%s%s", i ? "|" : "", fields[i].text);
    }
    if (rc > 0) place = fields[count - 1].place;
    if (rc > 0) at += (size_t)snprintf(got + at, sizeof got - at, "@%u:%u\n", place.line, place.column);
  }
  assert_string_equal(got, want);
  assert_int_equal(csv_next(csv, &fields, &count, &place, &why), rc);  // and again
  csv_free(csv);
  (void)fclose(in);
}

#define READS(bytes, want) reads(bytes, sizeof(bytes) - 1, want)

static void test_records(void **state) {
  (void)state;
  READS("", "");
  READS("a", "a@1:1\n");
  READS("a,b\nc,\n", "a|b@1:3\nc|@2:3\n");
  READS("a,b\r\nc,d\r\n", "a|b@1:3\nc|d@2:3\n");
  READS("a,b\r\nc,d\r", "a|b@1:3\nc|d@2:3\n");
  READS(",\n", "|@1:2\n");
  READS("\n\r\n\na\n\n", "a@4:1\n");
  READS(
      "\xef\xbb\xbf"
      "a,b\n",
      "a|b@1:3\n");
  READS("\xc3\xa4\xe2\x82\xac,b\n", "\xc3\xa4\xe2\x82\xac|b@1:4\n");  // columns are characters
  READS("a\rb,c\n", "a\rb|c@1:5\n");
}

static void test_quotes(void **state) {
  (void)state;
  READS("\"a,b\",c\n", "a,b|c@1:7\n");
  READS("\"say \"\"so\"\"\"\n", "say \"so\"@1:1\n");
  READS("\"a\nb\",c\nd,e\n", "a\nb|c@2:4\nd|e@3:3\n");
  READS("\"\"\n", "@1:1\n");
  READS("test[\"x\"],1\n", "test[\"x\"]|1@1:11\n");  // a quote within is a quote
  READS("\"\"\"\"\r\n", "\"@1:1\n");
}

static void test_faults(void **state) {
  (void)state;
  READS("a,b\nc,\"d\n\n", "a|b@1:3\n!2:3 the quote that begins here is never closed\n");
  READS("a,\"b\"c\n", "!1:6 a closing quote with text behind it; a quote inside quotes is written twice\n");
  READS("\"a\" ,b\n", "!1:4 a closing quote with text behind it; a quote inside quotes is written twice\n");
  READS("a\nb\0c\n", "a@1:1\n!2:2 a NUL byte: this is not text\n");
  READS("a,\"\0\"\n", "!1:4 a NUL byte: this is not text\n");
}

// What is not a record costs its own line.
static void test_the_lines_below_stay(void **state) {
  (void)state;
#define UNCLOSED "the quote that begins here is never closed\n"
#define BEHIND "a closing quote with text behind it; a quote inside quotes is written twice\n"
  READS("\"a\"b\nc\n", "!1:4 " BEHIND "c@2:1\n");
  READS("a,\"b\nc,d\r\ne\n", "!1:3 " UNCLOSED "c|d@2:3\ne@3:1\n");
  READS("\"a\n\"b\nc", "!2:2 " BEHIND "!2:1 " UNCLOSED "c@3:1\n");
  READS("\"a\n\nb", "!1:1 " UNCLOSED "b@3:1\n");
  READS("\"a\n", "!1:1 " UNCLOSED);
  READS("a\0b\nc\n", "!1:2 a NUL byte: this is not text\nc@2:1\n");
}

static void test_bounds(void **state) {
  (void)state;
  size_t n = CSV_RECORD_MAX_BYTES + 100;
  char *bytes = malloc(n);
  assert_non_null(bytes);
  memset(bytes, 'x', n);
  reads(bytes, n, "!1:65537 a record is longer than 65536 bytes\n");
  bytes[0] = '"';
  reads(bytes, n, "!1:65538 a record is longer than 65536 bytes\n");
  memset(bytes, ',', n);
  reads(bytes, n, "!1:65 a record has more than 64 fields\n");
  reads(bytes, CSV_FIELDS_MAX - 1, "|||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||@1:64\n");
  free(bytes);
}

static void test_a_folder_is_no_file(void **state) {
  (void)state;
  FILE *in = fopen("/", "re");
  assert_non_null(in);
  struct csv *csv = csv_new(in);
  const struct csv_field *fields;
  struct csv_place place;
  const char *why;
  size_t count;
  assert_int_equal(csv_next(csv, &fields, &count, &place, &why), -1);
  assert_string_equal(why, "the file cannot be read any further");
  csv_free(csv);
  (void)fclose(in);
}

// Bytes that mean something here, in any order: every field lies in the bounds, and the reader comes to an end.
static void test_any_bytes(void **state) {
  (void)state;
  static const char alphabet[] =
      ",,,\"\"\"\n\n\r\0\xef\xbb\xbf\xc3"
      "ab";
  char bytes[400];
  uint64_t random = 1;
  for (int round = 0; round < 3000; round++) {
    for (size_t i = 0; i < sizeof bytes; i++) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      bytes[i] = alphabet[(random >> 33) % (sizeof alphabet - 1)];
    }
    FILE *in = of_bytes(bytes, 1 + (size_t)round % sizeof bytes);
    struct csv *csv = csv_new(in);
    const struct csv_field *fields;
    struct csv_place place = {1, 1};
    const char *why = NULL;
    size_t count, total = 0, records = 0;
    int rc;
    while ((rc = csv_next(csv, &fields, &count, &place, &why)) != 0) {
      assert_true(rc > 0 || (rc == CSV_ODD && why != NULL && place.line >= 1 && place.column >= 1));
      if (rc < 0) continue;
      assert_in_range(count, 1, CSV_FIELDS_MAX);
      for (size_t i = 0; i < count; i++)
        total += fields[i].bytes;
      records++;
    }
    assert_true(total <= sizeof bytes && records <= sizeof bytes);
    csv_free(csv);
    (void)fclose(in);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_records),   cmocka_unit_test(test_quotes),
      cmocka_unit_test(test_faults),    cmocka_unit_test(test_the_lines_below_stay),
      cmocka_unit_test(test_bounds),    cmocka_unit_test(test_a_folder_is_no_file),
      cmocka_unit_test(test_any_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
