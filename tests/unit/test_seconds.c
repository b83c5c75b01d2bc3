// Unit tests of times as text: points, commas, thousands, and everything that is not a time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "worker/limits.h"
#include "worker/seconds.h"

static void test_both_readings(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t us, comma_us;
  } times[] = {
      {"0", 0, 0},
      {"1.5", 1500000, 1500000},
      {" 1.5 ", 1500000, 1500000},
      {".5", 500000, 500000},
      {"5.", 5000000, 5000000},
      {"7.5e-05", 75, 75},
      {"1E3", 1000000000, 1000000000},
      {"-0", 0, 0},
      {"-0.000", 0, 0},
      {"1234.5", 1234500000, 1234500000},
      {"0,123", 123000, 123000},  // a leading zero: a decimal comma
      {"00,123", 123000, 123000},
      {"01,234", 1234000, 1234000},
      {"12,5", 12500000, 12500000},  // not three digits behind it
      {"1,2345", 1234500, 1234500},
      {"1234,567", 1234567000, 1234567000},  // more than three digits before it
      {",5", 500000, 500000},
      {"3,5e-1", 350000, 350000},
      {"1,234", 1234000000, 1234000},  // both
      {"12,345", UINT64_C(12345000000), 12345000},
      {"1,234.5", 1234500000, 1234500000},
      {"12,345.678", UINT64_C(12345678000), UINT64_C(12345678000)},
      {"123,456.5", UINT64_C(123456500000), UINT64_C(123456500000)},
      {"1.234,5", 1234500000, 1234500000},
      {"604800", LIMIT_TEST_US, LIMIT_TEST_US},
      {"999,999", 999999000, 999999000},  // as thousands over a week
  };
  for (size_t i = 0; i < COUNT_OF(times); i++) {
    struct seconds got = {7, 7};
    int rc = seconds_read(times[i].text, SECONDS_UNIT_US, NULL, &got);
    if (rc != 0) fail_msg("%s", times[i].text);
    if (got.us != times[i].us || got.comma_us != times[i].comma_us)
      fail_msg("%s: %llu, %llu", times[i].text, (unsigned long long)got.us, (unsigned long long)got.comma_us);
  }
}

static void test_what_is_not_a_time(void **state) {
  (void)state;
  static const char *const texts[] = {
      "",
      " ",
      "-1",
      "-0.001",
      "-0,5",
      "+1",
      "nan",
      "NaN",
      "inf",
      "Infinity",
      "-inf",
      "1e308",
      "1,234,567",
      "1e400",
      "1e999999",
      "604800.1",
      "604801",
      "0x10",
      "0x1p3",
      "1s",
      "1 2",
      "e",
      "1e",
      "1e+",
      ".",
      ",",
      "..",
      ",,",
      "1.2.3",
      "1,2,3",
      "1,23,456",
      "1,234,56",
      "0,123,456",
      "1,,234",
      "1,234,",
      "1.234.567",
      "1,5.0",
      "12,34.5",
      "1.23,4",
      "1,234,5.6",
      "1234,567.8",
      "--1",
      "1e5e5",
      "\xd9\xa1",
      "1\xc2\xa0 000",
      "99999999999999999999999999999999999999999999999999999999999999999999999999999999",
      "1_000",
  };
  for (size_t i = 0; i < COUNT_OF(texts); i++) {
    struct seconds got = {7, 8};
    if (seconds_read(texts[i], SECONDS_UNIT_US, NULL, &got) != -1) fail_msg("%s", texts[i]);
    assert_int_equal(got.us, 7);
    assert_int_equal(got.comma_us, 8);
  }
}

// What the other numbers of a document say of "1,234".
static void test_the_other_numbers_decide(void **state) {
  (void)state;
  static const struct {
    const char *texts[4];
    bool decimal;
  } documents[] = {
      {{"1,234"}, false},
      {{"1,234", "0,5"}, true},
      {{"12,5", "1,234"}, true},
      {{"1,234", "0.5"}, false},
      {{"0,5", "0.5", "1,234"}, false},
      {{"1.234,5", "1,234"}, true},
      {{"1,234.5"}, false},
      {{"1", "2"}, false},
      {{"-0,5", "1,234"}, false},
      {{"0,5", "7", "1,2"}, true},
  };
  for (size_t i = 0; i < COUNT_OF(documents); i++) {
    struct seconds_seen seen = {0};
    struct seconds ignored;
    for (size_t k = 0; k < COUNT_OF(documents[i].texts) && documents[i].texts[k] != NULL; k++)
      if (seconds_read(documents[i].texts[k], SECONDS_UNIT_US, &seen, &ignored) != 0) continue;
    if (seconds_decimal_comma(&seen) != documents[i].decimal) fail_msg("document %zu", i);
  }
}

static void test_milliseconds(void **state) {
  (void)state;
  struct seconds got;
  assert_int_equal(seconds_read(" 12.345", SECONDS_MILLI_US, NULL, &got), 0);
  assert_int_equal(got.us, 12345);
  assert_int_equal(seconds_read("604800000", SECONDS_MILLI_US, NULL, &got), 0);
  assert_int_equal(seconds_read("1,234,567.5", SECONDS_MILLI_US, NULL, &got), 0);
  assert_int_equal(got.us, 1234567500);
  assert_int_equal(seconds_read("604800001", SECONDS_MILLI_US, NULL, &got), -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_both_readings),
      cmocka_unit_test(test_what_is_not_a_time),
      cmocka_unit_test(test_the_other_numbers_decide),
      cmocka_unit_test(test_milliseconds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
