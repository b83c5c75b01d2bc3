// Unit tests of a worker's facts: what of a command counts, and what is cleaned.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/facts.h"
#include "worker/facts_command.h"
#include "worker/facts_long.h"
#include "worker/identity.h"

#define OWN(text) "\x0e" text "\x0f"

static struct identity identity;

static void expect(const char *line, const char *want) {
  char *text = facts_command_line(line, &identity);
  if (strcmp(text, want) != 0) fail_msg("%s: %s", line, text);
  free(text);
}

static void test_outputs_do_not_count(void **state) {
  (void)state;
  expect("pytest -q --junitxml=out/j.xml tests", "pytest -q tests");
  expect("pytest --junitxml out/j.xml tests", "pytest tests");
  expect("pytest --basetemp bt -o cache_dir=c -olog_file=l --override-ini=log_file=l tests", "pytest tests");
  expect("pytest -o addopts= tests", "pytest -o addopts= tests");
  expect("pytest --override-ini cache_dir=c -x", "pytest -x");
  expect("pytest --junitxml -x", "pytest -x");
  expect("pytest --junitxmlx=1", "pytest --junitxmlx=1");
  expect("ctest --output-junit a.xml -C Debug", "ctest -C Debug");
  expect("pytest --randomly-seed=77", "pytest");
  expect("ctest --output-on-failure debug", "ctest debug");  // takes no value
  expect("t --gtest_output release --gtest_random_seed debug --gtest_output=xml:a", "t release debug");
  expect("pytest --junitxml", "pytest");
}

static void test_absolute_paths_are_cut(void **state) {
  char here[1024], line[4096];
  (void)state;
  assert_non_null(getcwd(here, sizeof here));
  (void)snprintf(line, sizeof line, "%s/venv/bin/pytest %s/tests --ini=%s/a.ini", here, here, here);
  expect(line, "venv/bin/pytest tests --ini=a.ini");
  expect("a --config=/etc/x/a.toml", "a --config=a.toml");
  expect("a /a/b:/c/d", "a b:d");
  expect("cat http://x/y a/b/c", "cat http://x/y a/b/c");
  expect("a / b", "a / b");
  expect("a /b/ c", "a  c");
}

#define EXPECT_WORDS(want, ...) expect_words((const char *const[]){__VA_ARGS__, NULL}, want)

static void expect_words(const char *const *words, const char *want) {
  char *copy[16] = {NULL};
  for (size_t i = 0; words[i]; i++)
    copy[i] = base_strdup(words[i]);
  char *text = facts_command(copy, &identity);
  if (strcmp(text, want) != 0) fail_msg("%s: %s", words[0], text);
  free(text);
  for (size_t i = 0; copy[i]; i++)
    free(copy[i]);
}

// What differs in them may be all that tells one entry of a matrix from another.
static void test_paths_of_programs_count(void **state) {
  (void)state;
  EXPECT_WORDS("/opt/jdk11/bin/java -cp x.jar {}", "/opt/jdk11/bin/java", "-cp", "/opt/lib/x.jar", "{}");
  EXPECT_WORDS("/usr/bin/env -u A JAVA_HOME=/opt/jdk11 /opt/jdk11/bin/java x", "/usr/bin/env", "-u", "A",
               "JAVA_HOME=/opt/jdk11", "/opt/jdk11/bin/java", "/b/x");
  EXPECT_WORDS("env java x", "env", "java", "/opt/x");
  EXPECT_WORDS("timeout -k 5 60s nice -n 10 /opt/11/java x", "timeout", "-k", "5", "60s", "nice", "-n", "10",
               "/opt/11/java", "/opt/x");
  EXPECT_WORDS("sh -ec cd x && /opt/11/java 'y'; if A=/z/a /opt/11/b c; then\n  /d/e f | (/g/h i)\nfi sh {}", "sh",
               "-ec", "cd /a/x && /opt/11/java '/a/y'; if A=/z/a /opt/11/b /a/c; then\n  /d/e /a/f | (/g/h /a/i)\nfi",
               "sh", "{}");
  EXPECT_WORDS("bash -o pipefail -c env /opt/11/java x", "bash", "-o", "pipefail", "-c", "env /opt/11/java /a/x");
  EXPECT_WORDS("sh /opt/11/run.sh x", "sh", "/opt/11/run.sh", "/a/x");
  EXPECT_WORDS("xargs -n 1 /opt/11/java x", "xargs", "-n", "1", "/opt/11/java", "/a/x");
  EXPECT_WORDS("find x ; y", "find", "/a/x", ";", "/b/y");
  expect("sh -c '/a/b;/c/d' /e/f", "sh -c '/a/b;/c/d' f");
  expect("/opt/11/java x | sort y && \"/opt/11/z\"", "/opt/11/java x | sort y && \"/opt/11/z\"");
}

// Where a job's folders are is not what it runs.
static void test_the_jobs_folders_do_not_count(void **state) {
  (void)state;
  assert_int_equal(setenv("HOME", "/home/ci-7/", 1), 0);
  assert_int_equal(setenv("WORKSPACE", "/home/ci-7/slot9/work", 1), 0);
  assert_int_equal(setenv("TMPDIR", "/scratch/t", 1), 0);
  expect("/home/ci-7/jdk11/bin/java x", "jdk11/bin/java x");
  expect("/home/ci-7/slot9/work/jdk11/bin/java x", "jdk11/bin/java x");
  expect("/home/ci-77/jdk11/bin/java x", "/home/ci-77/jdk11/bin/java x");
  expect("/scratch/t/jdk11/java x", "jdk11/java x");
  expect("/scratch/t/tmp.Xy12/jdk11/java x", "jdk11/java x");
  expect("/tmp/tmpabc/venv/bin/pytest x", "venv/bin/pytest x");
  EXPECT_WORDS("env PATH=jdk11/bin:/usr/bin java", "env", "PATH=/home/ci-7/jdk11/bin:/usr/bin", "java");
  assert_int_equal(setenv("HOME", "/", 1), 0);
  assert_int_equal(setenv("TMPDIR", "relative", 1), 0);
  expect("/home/ci-7/jdk11/bin/java x", "/home/ci-7/jdk11/bin/java x");
  assert_int_equal(unsetenv("WORKSPACE"), 0);
}

static void test_the_jobs_own_words_are_marked(void **state) {
  (void)state;
  expect("pytest j-2.xml", "pytest j-" OWN("2") ".xml");
  expect("pytest j-3.xml j3.xml", "pytest j-" OWN("3") ".xml j" OWN("3") ".xml");  // numbered from 1
  expect("pytest j-22.xml 3.12", "pytest j-22.xml " OWN("3") ".12");
  expect("pytest runner-a-2/x xrunner-a-2", "pytest " OWN("runner-a-2") "/x xrunner-a-" OWN("2"));
  expect("job9001 job90010", "job" OWN("9001") " job90010");
  expect("", "");
  char *none = facts_command_line(NULL, &identity);
  assert_string_equal(none, "");
  free(none);
}

// A command of `words` words with this number in it, and `last` at its end, as a fact of node 2.
static char *long_value(size_t words, const char *number, const char *last, uint64_t numbers) {
  char *line = base_printf("run j-%s.xml", number);
  for (size_t i = 0; i < words; i++) {
    char *more = base_printf("%s word 2>&1", line);
    free(line);
    line = more;
  }
  char *whole = base_printf("%s %s", line, last), *command = facts_command_line(whole, &identity);
  char *value = facts_long_command(command, numbers);
  assert_true(strlen(value) <= MSG_FACT_MAX_BYTES);
  free(command);
  free(whole);
  free(line);
  return value;
}

static bool same_alike(const char *a, const char *b) {  // as the server compares them
  for (; *a || *b; a++, b++) {
    while (*a == MSG_FACT_OWN_BEGINS || *a == MSG_FACT_OWN_ENDS)
      a++;
    while (*b == MSG_FACT_OWN_BEGINS || *b == MSG_FACT_OWN_ENDS)
      b++;
    if (*a != *b) return false;
    if (!*a) break;
  }
  return true;
}

// However long a command is, what differs at its end makes another fact of it.
static void test_long_commands_differ(void **state) {
  (void)state;
  for (size_t words = 50; words < 20000; words *= 5) {
    char *one = long_value(words, "2", "jdk11", 4), *other = long_value(words, "2", "jdk17", 4);
    char *again = long_value(words, "2", "jdk11", 4);
    assert_false(same_alike(one, other));
    assert_string_equal(one, again);
    if (words > 500) assert_non_null(strstr(one, "... sha256 of the whole: "));
    free(one);
    free(other);
    free(again);
  }
}

// The number of a job may be anywhere in it, and stand for something else on another job.
static void test_long_commands_of_jobs_are_alike(void **state) {
  char *of_2 = long_value(500, "2", "jdk11", 12);
  struct identity before = identity;
  (void)state;
  (void)snprintf(identity.node, sizeof identity.node, "10");
  (void)snprintf(identity.attempt, sizeof identity.attempt, "90177");
  (void)snprintf(identity.host, sizeof identity.host, "runner-x");
  char *of_10 = long_value(500, "10", "jdk11", 12), *other = long_value(500, "10", "jdk11 x", 12);
  const char *digest = strstr(of_2, "sha256");
  assert_non_null(digest);
  assert_non_null(strstr(of_10, digest));
  assert_null(strstr(other, digest));
  assert_true(same_alike(strchr(of_2, ' ') + 11, strchr(of_10, ' ') + 12));  // behind " j-2.xml", " j-10.xml"
  identity = before;
  free(of_2);
  free(of_10);
  free(other);
}

static void test_values_are_cleaned(void **state) {
  static char many[MSG_FACT_MAX_BYTES + 10], more[sizeof many];
  struct facts facts = {.count = 0};
  struct facts_message message;
  (void)state;
  memset(many, 'x', sizeof many - 1);
  memset(more, 'x', sizeof more - 1);
  more[sizeof more - 2] = 'y';
  facts_add(&facts, "a", "x\ny\x1b\x7f");
  facts_add(&facts, "b", many);
  facts_add(&facts, "b", "new");
  facts_add(&facts, "c", many);
  facts_add(&facts, "d", more);
  facts_fill(&facts, &message);
  assert_int_equal(message.facts.n_name, 4);
  assert_string_equal(facts.value[0], "x y  ");
  assert_string_equal(facts.value[1], "new");
  assert_true(message.value[2].len <= MSG_FACT_MAX_BYTES);
  assert_string_not_equal(facts.value[2], facts.value[3]);
  assert_non_null(strstr(facts.value[3], "xxx... sha256 of the whole: "));
  facts_release(&facts);
}

// What has no fact of its own makes the last one another.
static void test_no_fact_is_dropped(void **state) {
  struct facts facts = {.count = 0};
  char *before = base_strdup("");
  (void)state;
  facts_add(&facts, "a b", "x");
  assert_string_equal(facts.name[0], "more");
  assert_string_equal(facts.value[0], "a b=x");
  for (size_t i = 0; i < 4 * MSG_FACTS_MAX; i++) {
    char name[16];
    (void)snprintf(name, sizeof name, "n%zu", i);
    facts_add(&facts, name, "");
    if (i + 1 >= MSG_FACTS_MAX) assert_string_not_equal(facts.value[0], before);
    free(before);
    before = base_strdup(facts.value[0]);
    assert_true(strlen(before) <= MSG_FACT_MAX_BYTES);
  }
  assert_true(facts.count < MSG_FACTS_MAX);
  free(before);
  facts_release(&facts);
}

static int make_identity(void **state) {
  (void)state;
  (void)snprintf(identity.node, sizeof identity.node, "2");
  (void)snprintf(identity.attempt, sizeof identity.attempt, "9001");
  (void)snprintf(identity.host, sizeof identity.host, "runner-a-2");
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_outputs_do_not_count),
                                     cmocka_unit_test(test_absolute_paths_are_cut),
                                     cmocka_unit_test(test_paths_of_programs_count),
                                     cmocka_unit_test(test_the_jobs_folders_do_not_count),
                                     cmocka_unit_test(test_the_jobs_own_words_are_marked),
                                     cmocka_unit_test(test_long_commands_differ),
                                     cmocka_unit_test(test_long_commands_of_jobs_are_alike),
                                     cmocka_unit_test(test_no_fact_is_dropped),
                                     cmocka_unit_test(test_values_are_cleaned)};
  return cmocka_run_group_tests(tests, make_identity, NULL);
}
