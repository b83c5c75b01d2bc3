// Unit tests of files of timings: what is taken from which columns, how tests are named, and that every error says
// file, line and column.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/timings.h"

static struct timings timings;
static char why[640];

static int read_bytes(const char *bytes, size_t n) {
  FILE *in = tmpfile();
  assert_non_null(in);
  assert_int_equal(fwrite(bytes, 1, n, in), n);
  rewind(in);
  int rc = timings_read(&timings, in, "t.csv", why, sizeof why);
  (void)fclose(in);
  return rc;
}

static void takes(const char *text) {
  if (read_bytes(text, strlen(text)) != 0) fail_msg("%s", why);
}

static void refuses(const char *text, const char *want) {
  assert_int_equal(read_bytes(text, strlen(text)), -1);
  assert_string_equal(why, want);
}

static void test_is(size_t position, const char *id, const char *file, uint64_t us) {
  assert_string_equal(testlist_id(timings.list, position), id);
  const char *got = testlist_file(timings.list, position);
  assert_true((got == NULL) == (file == NULL));
  if (file != NULL) assert_string_equal(got, file);
  assert_int_equal(timings.duration_us[position], us);
}

static void test_seconds(void **state) {
  (void)state;
  takes("file,test,seconds\nf0,t0,0.075512\nf0,t1,7.5e-05\nf1,t0,  604800 \n,loose,0\n");
  assert_int_equal(testlist_count(timings.list), 4);
  assert_int_equal(testlist_file_count(timings.list), 2);
  test_is(0, "f0::t0", "f0", 75512);
  test_is(1, "f0::t1", "f0", 75);
  test_is(2, "f1::t0", "f1", UINT64_C(604800000000));
  test_is(3, "loose", NULL, 0);
  timings_release(&timings);
}

static void test_columns_in_any_order_with_others(void **state) {
  (void)state;
  takes("history,seconds,owner,test,file\n1 2 3,2,\"a, b\",t.py::test_a,t.py\n,1.5,,\"test_b[1,2]\",t.py\n");
  test_is(0, "t.py::test_a", "t.py", 2000000);  // it names its file itself
  test_is(1, "t.py::test_b[1,2]", "t.py", 1500000);
  timings_release(&timings);
}

static void test_phases(void **state) {
  (void)state;
  takes("file,test,setup,call,teardown\nf0,t0,0.002224,0.00136,0.000135\n");
  test_is(0, "f0::t0", "f0", 2224 + 1360 + 135);
  timings_release(&timings);
  takes("file,test,setup,call,teardown,seconds\nf0,t0,1,1,1,2\n");  // told outright
  test_is(0, "f0::t0", "f0", 2000000);
  timings_release(&timings);
}

static void test_units(void **state) {
  (void)state;
  takes("file,test,seconds\nf,a[1],1\nf,a[2],1\nf,b,1\nf,C::x,1\nf,C::y[::],1\nf,d[C::x],1\ng,d,1\n");
  static const int same[] = {1, 0, 0, 1, 0, 0};
  for (size_t i = 0; i < 6; i++)
    assert_int_equal(testlist_unit(timings.list, i) == testlist_unit(timings.list, i + 1), same[i]);
  timings_release(&timings);
}

static void test_headers_that_lack_something(void **state) {
  (void)state;
  refuses("", "t.csv:1:1: the file is empty; it begins with file,test,seconds");
  refuses("\n\n", "t.csv:3:1: the file is empty; it begins with file,test,seconds");
  refuses("test,seconds\n",
          "t.csv:1:1: the header names no column \"file\"; a file of timings begins with file,test,seconds");
  refuses("file,name,seconds\n",
          "t.csv:1:1: the header names no column \"test\"; a file of timings begins with file,test,seconds");
  refuses("file,test,setup,call\n",
          "t.csv:1:1: the header names no column \"seconds\" (nor setup, call and teardown); a file of timings begins "
          "with file,test,seconds");
  refuses("file,test,seconds,test\n", "t.csv:1:19: the header names the column \"test\" twice");
  refuses("file,test,seconds\n\n", "t.csv:3:1: no test stands below the header");
}

// One of the rows is left out, the first is there.
static void leaves_out(const char *text, const char *want) {
  takes(text);
  assert_int_equal(timings.left_out, 1);
  assert_int_equal(timings.rows, timings.left_out + testlist_count(timings.list));
  assert_string_equal(timings.first_left_out, want);
  test_is(0, "f::t", "f", 1000000);
  timings_release(&timings);
}

static void test_lines_that_are_wrong(void **state) {
  (void)state;
#define HEAD "file,test,seconds\nf,t,1\n"
  leaves_out(HEAD "f,u\n", "t.csv:3:3: 2 fields, where the header names 3 columns");
  leaves_out(HEAD "f,u,1,2\n", "t.csv:3:7: 4 fields, where the header names 3 columns");
  leaves_out(HEAD "f,,1\n", "t.csv:3:3: the test has no name");
  leaves_out(HEAD "f,u,\n", "t.csv:3:5: \"\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,1s\n", "t.csv:3:5: \"1s\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,0x10\n", "t.csv:3:5: \"0x10\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,nan\n", "t.csv:3:5: \"nan\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,inf\n", "t.csv:3:5: \"inf\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,e\n", "t.csv:3:5: \"e\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,1.2.3\n", "t.csv:3:5: \"1.2.3\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,+1\n", "t.csv:3:5: \"+1\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,1 2\n", "t.csv:3:5: \"1 2\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,-1\n", "t.csv:3:5: \"-1\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,604801\n", "t.csv:3:5: \"604801\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,u,1e999\n", "t.csv:3:5: \"1e999\" seconds: a test takes from 0 seconds to a week");
  leaves_out(HEAD "f,\"a\nb\",1\n", "t.csv:3:3: the test's name holds a line break");
  leaves_out(HEAD "g,t,1\nf,t,2\n", "t.csv:4:3: line 2 names the test \"f::t\" already");
  leaves_out(HEAD "f,\"u,1\n", "t.csv:3:3: the quote that begins here is never closed");
  leaves_out(HEAD "f,u,\033[31m\n", "t.csv:3:5: \"\\x1b[31m\" seconds: a test takes from 0 seconds to a week");
  refuses("file,test,setup,call,teardown\nf,t,604800,1,0\n", "t.csv:2:5: the phases together are longer than a week");
  refuses("file,test,setup,call,teardown\nf,t,1,x,0\n",
          "t.csv:2:7: \"x\" seconds: a test takes from 0 seconds to a week");
#undef HEAD
}

// Odd rows of every kind among good ones; a quote that is never closed takes its own line only.
static void test_one_odd_row_costs_itself(void **state) {
  (void)state;
  takes("file,test,seconds\nf,a,1\nf,b,-1\nf,\"c,1\nf,d,2\nf,e\nf,\"g\"x,1\nf,h,3\nf,i,\nf,a,9\n");
  assert_int_equal(testlist_count(timings.list), 3);
  test_is(0, "f::a", "f", 1000000);
  test_is(1, "f::d", "f", 2000000);
  test_is(2, "f::h", "f", 3000000);
  assert_int_equal(timings.rows, 9);
  assert_int_equal(timings.left_out, 6);
  assert_string_equal(timings.first_left_out, "t.csv:3:5: \"-1\" seconds: a test takes from 0 seconds to a week");
  timings_release(&timings);
}

static void test_decimal_commas(void **state) {
  (void)state;
  takes("file,test,seconds\nf,a,\"1,234\"\nf,b,\"0,5\"\n");
  test_is(0, "f::a", "f", 1234000);
  test_is(1, "f::b", "f", 500000);
  timings_release(&timings);
  takes("file,test,seconds\nf,a,\"1,234\"\nf,b,0.5\n");
  test_is(0, "f::a", "f", UINT64_C(1234000000));
  timings_release(&timings);
}

static void test_names_that_are_too_long(void **state) {
  (void)state;
  char text[8192];
  (void)snprintf(text, sizeof text, "file,test,seconds\n%01025d,t,1\n", 1);
  refuses(text, "t.csv:2:1: the file's name is longer than 1024 bytes");
  (void)snprintf(text, sizeof text, "file,test,seconds\nf,%04094d,1\n", 1);
  refuses(text, "t.csv:2:3: the test's id, FILE::TEST, is longer than 4096 bytes");
  (void)snprintf(text, sizeof text, "file,test,seconds\nf,%04093d,1\n", 1);
  takes(text);
  timings_release(&timings);
}

static void test_a_file_is_named_as_it_is(void **state) {
  (void)state;
  FILE *in = tmpfile();
  assert_non_null(in);
  assert_int_equal(timings_read(&timings, in, "a\033[2J\n.csv", why, sizeof why), -1);
  (void)fclose(in);
  assert_string_equal(why, "a\\x1b[2J\\x0a.csv:1:1: the file is empty; it begins with file,test,seconds");
}

// Half a million tests are the bound, and one more is told with its line.
static void test_as_many_as_a_build_may_have(void **state) {
  (void)state;
  enum { MOST = 500000 };
  FILE *in = tmpfile();
  assert_non_null(in);
  (void)fputs("file,test,seconds\n", in);
  for (int i = 0; i < MOST; i++)
    (void)fprintf(in, "f%d,t%d,1\n", i % 100, i);
  rewind(in);
  assert_int_equal(timings_read(&timings, in, "t.csv", why, sizeof why), 0);
  assert_int_equal(testlist_count(timings.list), MOST);
  timings_release(&timings);
  assert_int_equal(fseek(in, 0, SEEK_END), 0);
  (void)fputs("f,one more,1\n", in);
  rewind(in);
  assert_int_equal(timings_read(&timings, in, "t.csv", why, sizeof why), -1);
  assert_string_equal(why, "t.csv:500002:3: more tests than a build may have (500000)");
  (void)fclose(in);
}

// Lines cut from a good file and sewn together anew: whatever comes out, nothing is left half made.
static void test_mangled_files(void **state) {
  (void)state;
  static const char good[] = "file,test,setup,call,teardown\nf0,\"t,0\",0.5,1e-3,2\nf1,t[\"1\"],3,4,5\n,x::y,0,0,0\n";
  char bytes[2 * sizeof good];
  uint64_t random = 7;
  int taken = 0;
  for (int round = 0; round < 20000; round++) {
    size_t n = 0;
    while (n < sizeof good - 1) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      size_t from = round % 2 ? n : (random >> 33) % (sizeof good - 1), length = 1 + (random >> 20) % 90;
      if (length > sizeof good - 1 - from) length = sizeof good - 1 - from;
      memcpy(bytes + n, good + from, length);
      n += length;
    }
    if (round % 2) bytes[(random >> 12) % n] = (char)(random >> 50);
    why[0] = '\0';
    if (read_bytes(bytes, n) == 0) {
      taken++;
      assert_true(testlist_count(timings.list) > 0);
      timings_release(&timings);
    } else {
      assert_ptr_equal(strstr(why, "t.csv:"), why);
    }
    assert_null(timings.list);
  }
  assert_in_range(taken, 100, 19900);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_seconds),
      cmocka_unit_test(test_columns_in_any_order_with_others),
      cmocka_unit_test(test_phases),
      cmocka_unit_test(test_units),
      cmocka_unit_test(test_headers_that_lack_something),
      cmocka_unit_test(test_lines_that_are_wrong),
      cmocka_unit_test(test_one_odd_row_costs_itself),
      cmocka_unit_test(test_decimal_commas),
      cmocka_unit_test(test_names_that_are_too_long),
      cmocka_unit_test(test_a_file_is_named_as_it_is),
      cmocka_unit_test(test_as_many_as_a_build_may_have),
      cmocka_unit_test(test_mangled_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
