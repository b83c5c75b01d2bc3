// Unit tests of what makes workers of one build the same: names of commits, values of facts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/limits.h"
#include "server/same.h"

#define WHOLE "4f1d2c3b4a59687786950a1b2c3d4e5f60718293"

static void test_commits(void **state) {
  static const struct {
    const char *a, *b;
    bool same;
  } cases[] = {
      {"", "", true},
      {"", WHOLE, true},
      {WHOLE, WHOLE, true},
      {WHOLE, "4f1d2c3", true},
      {WHOLE, "4F1D2C3B", true},
      {WHOLE, "4f1d2c", false},  // too short to be sure
      {WHOLE, "4f1d2c4", false},
      {WHOLE, "4f1d2c3b4a59687786950a1b2c3d4e5f60718294", false},
      {WHOLE, "4f1d2c3x", false},
      {"aaaa", "aaaa", true},
      {"aaaa", "bbbb", false},
      {"aaaa", "AAAA", false},
      {"release-1", "release-10", false},
      {"1234567", "12345678", true},
      {"r1234567", "r12345678", false},  // no hex digits: a name
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (same_commit(cases[i].a, cases[i].b) != cases[i].same) fail_msg("case %zu", i);
    if (same_commit(cases[i].b, cases[i].a) != cases[i].same) fail_msg("case %zu, the other way", i);
  }
}

#define OWN(text) "\x0e" text "\x0f"

static void test_values(void **state) {
  static const struct {
    const char *a, *b;
    bool same;
  } cases[] = {
      {"", "", true},
      {"a", "a", true},
      {"a", "b", false},
      {"a", "", false},
      {"a", "ab", false},
      {"j-" OWN("1") ".xml", "j-" OWN("2") ".xml", true},
      {"j-" OWN("1") ".xml", "j-" OWN("10") ".xml", true},
      {"j-" OWN("1") ".xml", "j-" OWN("2") ".txt", false},
      {"j-" OWN("1") ".xml", "k-" OWN("2") ".xml", false},
      {"-n" OWN("1"), "-n1", true},  // one job's number, the other's argument: compared as it is
      {"-n" OWN("1"), "-n2", false},
      {"-n1", "-n" OWN("1"), true},
      {"python3." OWN("11"), "python3.11", true},
      {"python3." OWN("11"), "python3.12", false},
      {OWN("1") OWN("2"), OWN("3") OWN("4"), true},
      {OWN("1"), "", false},
      {OWN("1") "x", OWN("2"), false},
      {"\x0e", "\x0e", true},  // never closed
      {"\x0f"
       "a",
       "a", true},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (same_value(cases[i].a, cases[i].b) != cases[i].same) fail_msg("case %zu", i);
    if (same_value(cases[i].b, cases[i].a) != cases[i].same) fail_msg("case %zu, the other way", i);
  }
}

static void test_facts_from_the_store(void **state) {
  struct build build = {0};
  (void)state;
  same_restore(&build, NULL);
  same_release(&build);
  same_restore(&build, "python=3.11.2\nDB=\nbroken\ncommand=a=b\nhalf");
  assert_int_equal(build.fact_count, 3);
  assert_string_equal(build.fact[0].name, "python");
  assert_string_equal(build.fact[0].value, "3.11.2");
  assert_string_equal(build.fact[1].value, "");
  assert_string_equal(build.fact[2].value, "a=b");
  same_release(&build);
  char many[2 * LIMIT_FACTS * 4 + 1] = "";
  for (size_t i = 0; i < 2 * LIMIT_FACTS; i++)
    memcpy(many + 4 * i, "a=b\n", 5);
  same_restore(&build, many);
  assert_int_equal(build.fact_count, LIMIT_FACTS);
  same_release(&build);
  assert_null(build.fact);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_commits), cmocka_unit_test(test_values),
                                     cmocka_unit_test(test_facts_from_the_store)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
