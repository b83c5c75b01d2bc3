// Unit tests of the command runner with real processes: shell scripts, bats by TAP, ctest by JUnit. The test plays
// run.c: it takes the list, gives the tests in batches and finishes. Each test has a folder of its own.
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "worker/runner.h"

enum { TESTS = 64, WORDS = 16, WHY = 8192 };

struct told {
  int results;
  enum runner_status status;
  uint64_t call_us, start_us;
  bool started, first;
  char *text;
};

struct fixture {
  char folder[64];
  struct event_base *base;
  struct runner *runner;
  struct testlist *list;
  size_t next, batch;  // batch: tests per give; 0: all at once
  uint64_t cap_us;
  bool abort_on_start;
  struct told told[TESTS];
  size_t order[TESTS], told_count, needs;
  bool ended;
  enum runner_end_kind kind;
  int exit_code;
  size_t late_count;
  char why[WHY], late[WHY];
};

static void on_listed(void *arg, struct testlist *list) {
  struct fixture *f = arg;
  assert_null(f->list);
  f->list = list;
  assert_true(testlist_count(list) <= TESTS);
}

static void on_started(void *arg, uint32_t tag) {
  struct fixture *f = arg;
  assert_false(f->told[tag].started);
  f->told[tag].started = true;
  if (f->abort_on_start) runner_command.abort(f->runner);
}

static void on_result(void *arg, const struct runner_result *result) {
  struct fixture *f = arg;
  struct told *told = &f->told[result->tag];
  assert_true(told->started);
  told->results++;
  told->status = result->status;
  told->call_us = result->call_us;
  told->start_us = result->start_us;
  told->first = result->first;
  free(told->text);
  told->text = base_memdup0(result->text ? result->text : "", result->text ? result->text_bytes : 0);
  f->order[f->told_count++] = result->tag;
}

static void on_need(void *arg) {
  struct fixture *f = arg;
  struct runner_test tests[TESTS];
  size_t n = 0, count = testlist_count(f->list), most = f->batch ? f->batch : count;
  f->needs++;
  for (; f->next < count && n < most; f->next++)
    tests[n++] =
        (struct runner_test){.id = testlist_id(f->list, f->next), .tag = (uint32_t)f->next, .cap_us = f->cap_us};
  if (n)
    runner_command.give(f->runner, tests, n);
  else
    runner_command.finish(f->runner);
}

static void on_end(void *arg, const struct runner_end *end) {
  struct fixture *f = arg;
  assert_false(f->ended);
  f->ended = true;
  f->kind = end->kind;
  f->exit_code = end->exit_code;
  f->late_count = end->late_count;
  (void)snprintf(f->why, sizeof(f->why), "%s", end->why ? end->why : "");
  if (end->late_count) (void)snprintf(f->late, sizeof(f->late), "%s", end->late[0]);
  runner_command.free(f->runner);  // legal here, and it proves that nothing follows
  f->runner = NULL;
  (void)event_base_loopbreak(f->base);
}

static int setup(void **state) {
  struct fixture *f = base_calloc(1, sizeof(*f));
  (void)snprintf(f->folder, sizeof(f->folder), "/tmp/shard-test-XXXXXX");
  if (!mkdtemp(f->folder) || setenv("TMPDIR", f->folder, 1) < 0 || chdir(f->folder) < 0) return -1;
  f->base = event_base_new();
  *state = f;
  return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where) {
  (void)info, (void)kind, (void)where;
  return remove(path);
}

static int teardown(void **state) {
  struct fixture *f = *state;
  runner_command.free(f->runner);
  testlist_free(f->list);
  event_base_free(f->base);
  for (size_t i = 0; i < TESTS; i++)
    free(f->told[i].text);
  int status = chdir("/") == 0 ? nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) : -1;
  free(f);
  return status;
}

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static struct runner_spec spec_of(struct fixture *f) {
  return (struct runner_spec){.node = "3",
                              .build = "b/7",
                              .want_list = true,
                              .base = f->base,
                              .events = {.on_listed = on_listed,
                                         .on_started = on_started,
                                         .on_result = on_result,
                                         .on_need = on_need,
                                         .on_end = on_end,
                                         .arg = f}};
}

// Copies of words, so that they are not const.
struct words {
  char *word[WORDS];
};

static struct words words_of(const char *const *words) {
  struct words copy = {{NULL}};
  for (size_t i = 0; words[i]; i++) {
    assert_true(i + 1 < WORDS);
    copy.word[i] = base_strdup(words[i]);
  }
  return copy;
}

static void free_words(struct words *words) {
  for (size_t i = 0; words->word[i]; i++)
    free(words->word[i]);
}

static void start_and_loop(struct fixture *f, const struct runner_spec *spec) {
  char why[1024] = "";
  f->ended = false;
  f->runner = runner_command.start(spec, why, sizeof(why));
  assert_string_equal(why, "");
  assert_int_equal(event_base_dispatch(f->base), 0);
  assert_true(f->ended);
}

// Runs `argv` over the ids, one a line, to the end.
static void run(struct fixture *f, const char *ids, const char *results, const char *const *argv) {
  struct words words = words_of(argv);
  write_file("list", ids);
  struct runner_spec spec = spec_of(f);
  spec.argv = words.word;
  spec.list_file = "list";
  spec.results = results;
  start_and_loop(f, &spec);
  free_words(&words);
}

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

static void has(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("no '%s' in: %s", part, text);
}

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
  has(f->told[0].text, "over its time of 50 ms");
}

static const char junit_script[] =
    "out=$1; shift; { echo '<testsuite>'; for t in \"$@\"; do case $t in"
    " drop) ;;"
    " bad) echo \"<testcase name='$t' time='0.25'><failure message='no'>trace</failure></testcase>\";;"
    " quiet) echo \"<testcase name='$t'><failure/></testcase>\";;"
    " *) echo \"<testcase classname='c' name='$t' time='0.5'/>\";; esac; done;"
    " echo '<testcase name=\"stranger\"><failure/></testcase></testsuite>'; } > $out; echo said; exit ${CODE-0}";

static void test_junit_batches(void **state) {
  struct fixture *f = *state;
  f->batch = 2;
  run(f, "a\nbad\nquiet\nc.d\n", "junit:{tmp}/r.xml", ARGV("sh", "-c", junit_script, "sh", "{tmp}/r.xml", "{}"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told_count, 4);
  assert_int_equal(f->needs, 3);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[0].call_us, 500000);
  assert_true(f->told[0].first && !f->told[1].first && f->told[2].first);
  assert_int_equal(f->told[1].status, RUNNER_FAILED);
  assert_string_equal(f->told[1].text, "no\ntrace");
  assert_int_equal(f->told[1].start_us, f->told[0].start_us + 500000);
  assert_string_equal(f->told[2].text, "said\n");  // a failure without words: what the process said
  assert_int_equal(f->told[3].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 0);
}

static void test_missing_result(void **state) {
  struct fixture *f = *state;
  run(f, "a\ndrop\nb\n", "junit:{tmp}/r.xml", ARGV("sh", "-c", junit_script, "sh", "{tmp}/r.xml", "{}"));
  assert_int_equal(f->kind, RUNNER_END_FAILED);
  assert_int_equal(f->told_count, 2);
  assert_int_equal(f->told[1].results, 0);
  has(f->why, "1 of 3 tests given to 'sh' have no result: 'drop'");
  has(f->why, "the first: 'stranger'");
}

static void test_no_results_file(void **state) {
  struct fixture *f = *state;
  write_file("r.xml", "<testsuite><testcase name='a'/></testsuite>");  // of an earlier run: no result
  run(f, "a\n", "junit:r.xml", ARGV("true"));
  assert_int_equal(f->kind, RUNNER_END_FAILED);
  assert_int_equal(f->told_count, 0);
  has(f->why, "r.xml: No such file or directory");
}

static void test_broken_results_file(void **state) {
  struct fixture *f = *state;
  run(f, "a\nb\n", "junit:r.xml",
      ARGV("sh", "-c", "printf \"<testsuite><testcase name='a'/><testcase\" > r.xml", "sh"));
  assert_int_equal(f->kind, RUNNER_END_FAILED);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].results, 0);
  has(f->why, "unclosed token");
}

static void test_failing_command_without_failing_test(void **state) {
  struct fixture *f = *state;
  assert_int_equal(setenv("CODE", "5", 1), 0);
  run(f, "a\n", "junit:{tmp}/r.xml", ARGV("sh", "-c", junit_script, "sh", "{tmp}/r.xml"));
  assert_int_equal(unsetenv("CODE"), 0);
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->late_count, 1);
  has(f->late, "exit status 5 though no test of its batch failed");
  has(f->late, "said");
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

static void test_tap_by_order(void **state) {
  struct fixture *f = *state;
  run(f, "a\nb\n", "tap:{tmp}/t",
      ARGV("sh", "-c", "printf '1..2\\nok 1 first\\nnot ok 2 # TODO x\\n' > $1", "sh", "{tmp}/t"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_XFAILED);
}

static void test_tap_counts_differ(void **state) {
  struct fixture *f = *state;
  run(f, "a\nb\n", "tap", ARGV("sh", "-c", "printf '1..1\\nok 1 first\\n'", "sh"));
  assert_int_equal(f->kind, RUNNER_END_FAILED);
  assert_int_equal(f->told_count, 0);
  has(f->why, "2 of 2 tests given to 'sh' have no result: 'a', 'b'");
}

static void test_tap_cut(void **state) {
  struct fixture *f = *state;
  run(f, "a\nb\n", "tap", ARGV("sh", "-c", "printf '1..2\\nok a\\n'; kill -KILL $$", "sh"));
  assert_int_equal(f->kind, RUNNER_END_FAILED);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].results, 0);
  has(f->why, "killed by SIGKILL");
  has(f->why, "the TAP plan says 2 tests, 1 were seen");
}

static void test_tap_over_time(void **state) {
  struct fixture *f = *state;
  f->cap_us = 30 * 1000;
  run(f, "a\nb\n", "tap", ARGV("sh", "-c", "printf '1..2\\nok a\\nnot ok z\\n'; exec sleep 1000", "sh"));
  assert_int_equal(f->kind, RUNNER_END_OK);
  assert_int_equal(f->told[0].status, RUNNER_PASSED);
  assert_int_equal(f->told[1].status, RUNNER_TIMED_OUT);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_exit_one_process_each),
                                     TEST(test_token_is_kept_out),
                                     TEST(test_time_cap),
                                     TEST(test_junit_batches),
                                     TEST(test_missing_result),
                                     TEST(test_no_results_file),
                                     TEST(test_broken_results_file),
                                     TEST(test_failing_command_without_failing_test),
                                     TEST(test_file_of_ids),
                                     TEST(test_tap_orders),
                                     TEST(test_tap_by_order),
                                     TEST(test_tap_counts_differ),
                                     TEST(test_tap_cut),
                                     TEST(test_tap_over_time),
                                     TEST(test_bats),
                                     TEST(test_bats_file),
                                     TEST(test_ctest),
                                     TEST(test_many_ids_are_split),
                                     TEST(test_abort),
                                     TEST(test_list_failures),
                                     TEST(test_no_list_wanted)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
