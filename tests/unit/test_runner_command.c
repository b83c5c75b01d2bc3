// Unit tests of the command runner with real processes: shell scripts, bats by TAP, ctest by JUnit.
#include "tests/unit/command_fixture.h"

static void test_exit_one_process_each(void **state) {
  static const char *const script =
      "echo \"ran $1 node=$SHARD_NODE batch=$SHARD_BATCH build=$SHARD_BUILD n=$#\"; case $1 in bad) exit 4;; hard) "
      "kill -SEGV $$;; esac";
  struct fixture *f = *state;
  run(f, "good\nbad\nhard\nspaced id\n", "exit", ARGV("sh", "-c", script, "sh", "{}"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told_count, 4);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  assert_string_equal(f->told[1].text, "ran bad node=3 batch=2 build=b/7 n=1\n\nexit status 4");
  assert_int_equal(f->told[2].status, RUNNER_CRASHED);
  has(f->told[2].text, "killed by SIGSEGV");
  assert_int_equal(f->told[3].status, RUNNER_PASSED);
  assert_true(f->told[0].call_us > 0 && f->told[1].start_us >= f->told[0].start_us + f->told[0].call_us - 1000);
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(f->told[i].results, 1);
}

static void test_token_is_kept_out(void **state) {
  struct fixture *f = *state;
  assert_int_equal(setenv("SHARD_TOKEN", "secret", 1), 0);
  run(f, "t\n", "exit", ARGV("sh", "-c", "test -z \"${SHARD_TOKEN+set}\"", "sh"));
  assert_int_equal(unsetenv("SHARD_TOKEN"), 0);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
}

static void test_time_cap(void **state) {
  struct fixture *f = *state;
  f->cap_us = 50 * 1000;
  run(f, "stuck\n", "exit", ARGV("sh", "-c", "echo before; exec sleep 1000", "sh"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_TIMED_OUT);
  has(f->told[0].text, "before\n");
  has(f->told[0].text, "timed out: it ran longer than its limit of 0.05 s");
}

static void test_junit_batches(void **state) {
  struct fixture *f = *state;
  f->batch = 2;
  run(f, "a\nbad\nquiet\nc.d\n", "junit:{tmp}/r.xml", ARGV("sh", "-c", junit_script, "sh", "{tmp}/r.xml", "{}"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told_count, 4);
  assert_int_equal(f->needs, 3);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_true(f->told[0].first && !f->told[1].first && f->told[2].first);
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  assert_string_equal(f->told[1].text, "no\ntrace");
  assert_int_equal(f->told[1].start_us, f->told[0].start_us + f->told[0].call_us);
  assert_string_equal(f->told[2].text, "said\n");  // a failure without words: what the process said
  assert_int_equal(f->told[3].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 2);  // in each batch a stranger failed, too
  has(f->late, "failed outside of them: 'stranger'");
}

// The tests of a process take what the process took, by the proportion of their rows.
static void test_time_of_the_process(void **state) {
  struct fixture *f = *state;
  run(f, "a\nbad\n", "junit:{tmp}/r.xml", ARGV("sh", "-c", junit_script, "sh", "{tmp}/r.xml", "{}"));
  uint64_t a_us = f->told[0].call_us, bad_us = f->told[1].call_us;
  assert_true(a_us >= 2 * bad_us - 2 && a_us <= 2 * bad_us + 2);
  assert_true(a_us + bad_us > 0 && a_us + bad_us < 60 * UINT64_C(1000000));
}

static void test_file_of_ids(void **state) {
  struct fixture *f = *state;
  run(f, "x 1\nx 2\n", "tap",
      ARGV("sh", "-c", "test $# = 1 || exit 9; echo 1..2; while read -r id; do echo \"ok - $id\"; done < \"$1\"", "sh",
           "{file}"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told_count, 2);
  assert_int_equal(f->told[1].status, RUNNER_PASSED);
}

static void test_tap_orders(void **state) {
  struct fixture *f = *state;  // by description, in another order, a stranger between
  run(f, "a\nb\n", "tap", ARGV("sh", "-c", "printf '1..3\\nnot ok b\\n# why\\nok x\\nok a # SKIP dry\\n'", "sh"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_SKIPPED);
  assert_string_equal(f->told[0].text, "dry");
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  assert_string_equal(f->told[1].text, "why\n");
}

// Rows without names are no evidence of which test ran, unless the user says that they come in order.
static void test_tap_by_order(void **state) {
  struct fixture *f = *state;
  run(f, "a\nb\n", "tap-in-order:{tmp}/t",
      ARGV("sh", "-c", "printf '1..2\\nok 1 first\\nnot ok 2 # TODO x\\n' > $1", "sh", "{tmp}/t"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[0].starts, 1);
  assert_int_equal(f->told[1].status, RUNNER_XFAILED);
}

static void test_bats(void **state) {
  struct fixture *f = *state;
  write_file("a.bats",
             "@test \"one\" { true; }\n@test \"two # x\" { echo hi; false; }\n@test \"three\" { skip why; }\n");
  run(f, "one\ntwo # x\nthree\n", "tap", ARGV("sh", "-c", "bats --tap -T a.bats", "sh", "{}"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  has(f->told[1].text, "hi");
  assert_int_equal(f->told[2].status, RUNNER_SKIPPED);
}

// A file of many tests is one id: its rows are its own.
static void test_bats_file(void **state) {
  struct fixture *f = *state;
  f->batch = 1;
  write_file("a.bats", "@test \"one\" { true; }\n@test \"two\" { false; }\n");
  write_file("b.bats", "@test \"three\" { true; }\n");
  run(f, "a.bats\nb.bats\n", "tap", ARGV("bats", "--tap"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_FAILED);
  assert_int_equal(f->told[1].status, RUNNER_PASSED);
}

static void test_ctest(void **state) {
  struct fixture *f = *state;
  write_file("CTestTestfile.cmake",
             "add_test(good true)\nadd_test(bad sh -c \"echo oops; exit 1\")\nadd_test(goods true)\n");
  struct words list = words_of(ARGV("sh", "-c", "ctest -N | sed -n 's/^ *Test *#[0-9]*: //p'"));
  struct words argv = words_of(
      ARGV("sh", "-c", "out=$1; shift; re=$(printf '|%s' \"$@\"); ctest -R \"^(${re#|})\\$\" --output-junit \"$out\"",
           "sh", "{tmp}/r.xml", "{}"));
  struct runner_spec spec = spec_of(f);
  spec.argv = argv.word;
  spec.list_argv = list.word;
  spec.results = "junit:{tmp}/r.xml";
  spec.start_timeout_us = 60 * 1000000;
  start_and_loop(f, &spec);
  free_words(&list);
  free_words(&argv);
  assert_string_equal(f->why, "");
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(testlist_count(f->list), 3);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  has(f->told[1].text, "oops");
  assert_int_equal(f->told[2].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 0);
}

static void test_many_ids_are_split(void **state) {
  struct fixture *f = *state;
  char *ids = base_calloc(1, 60 * 4100), *end = ids;
  for (int i = 0; i < 60; i++)
    end += snprintf(end, 4100, "%04000d\n", i);
  run(f, ids, "tap:{tmp}/t",
      ARGV("sh", "-c", "exec > $1; shift; echo $# >> sizes; echo 1..$#; for t in \"$@\"; do echo \"ok - $t\"; done",
           "sh", "{tmp}/t"));
  free(ids);
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told_count, 60);
  char sizes[32] = "";
  FILE *file = fopen("sizes", "r");
  size_t n = fread(sizes, 1, sizeof(sizes) - 1, file);
  (void)fclose(file);
  assert_int_equal(n, 6);
  assert_string_equal(sizes, "30\n30\n");
}

static void test_abort(void **state) {
  struct fixture *f = *state;
  f->abort_on_start = true;
  run(f, "a\nb\n", "exit", ARGV("sleep", "1000", "{}"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told_count, 0);
}

static void list_fails(struct fixture *f, const char *const *command, enum runner_end_kind kind, const char *expected) {
  struct words list = words_of(command), argv = words_of(ARGV("true"));
  struct runner_spec spec = spec_of(f);
  spec.argv = argv.word;
  spec.list_argv = list.word;
  spec.start_timeout_us = 300 * 1000;
  start_and_loop(f, &spec);
  assert_int_equal(f->kind, kind);
  has(f->why, expected);
  assert_null(f->list);
  free_words(&list);
  free_words(&argv);
}

static void test_list_failures(void **state) {
  struct fixture *f = *state;
  list_fails(f, ARGV("sh", "-c", "echo a; echo broken >&2; exit 3"), RUNNER_END_USAGE,
             "list command `echo a; echo broken >&2; exit 3` exited with 3: broken");
  list_fails(f, ARGV("sh", "-c", "kill -KILL $$"), RUNNER_END_FAILED, "killed by SIGKILL");
  list_fails(f, ARGV("sh", "-c", "no-such-lister -x"), RUNNER_END_USAGE,
             "list command `no-such-lister -x` exited with 127: ");
  list_fails(f, ARGV("false"), RUNNER_END_USAGE, "list command `false` exited with 1");
  list_fails(f, ARGV("no-such-lister"), RUNNER_END_FAILED, "cannot start 'no-such-lister'");
  list_fails(f, ARGV("true"), RUNNER_END_EMPTY, "empty");
  list_fails(f, ARGV("printf", "a\\nb\\na\\n"), RUNNER_END_USAGE, "more than once, the first is \"a\"");
  list_fails(f, ARGV("sh", "-c", "echo ok; head -c 5000 /dev/zero | tr '\\0' x"), RUNNER_END_USAGE,
             "line 2: an id is longer");
  list_fails(f, ARGV("printf", "a\\nb\\0c\\n"), RUNNER_END_USAGE, "line 2: an id holds a NUL");
  list_fails(f, ARGV("sleep", "1000"), RUNNER_END_FAILED, "took longer");
}

static void test_no_list_wanted(void **state) {
  struct fixture *f = *state;
  struct words argv = words_of(ARGV("true"));
  struct runner_spec spec = spec_of(f);
  spec.argv = argv.word;
  spec.want_list = false;
  f->list = testlist_new();  // as the server named them
  assert_int_equal(testlist_add(f->list, "named", 5, NULL, 0), 0);
  assert_int_equal(testlist_seal(f->list), 0);
  start_and_loop(f, &spec);
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  free_words(&argv);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_exit_one_process_each),
                                     TEST(test_token_is_kept_out),
                                     TEST(test_time_cap),
                                     TEST(test_junit_batches),
                                     TEST(test_time_of_the_process),
                                     TEST(test_file_of_ids),
                                     TEST(test_tap_orders),
                                     TEST(test_tap_by_order),
                                     TEST(test_bats),
                                     TEST(test_bats_file),
                                     TEST(test_ctest),
                                     TEST(test_many_ids_are_split),
                                     TEST(test_abort),
                                     TEST(test_list_failures),
                                     TEST(test_no_list_wanted)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
