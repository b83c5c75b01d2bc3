// What tests of the command runner are made of: real processes in a folder of their own, and a test that plays run.c:
// it takes the list, gives the tests in batches and finishes.
#ifndef TESTS_UNIT_COMMAND_FIXTURE_H
#define TESTS_UNIT_COMMAND_FIXTURE_H

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
  uint64_t setup_us, call_us, start_us;
  int starts;
  bool first;
  char *text;
};

struct fixture {
  char folder[64];
  struct event_base *base;
  struct runner *runner;
  struct testlist *list;
  size_t next, batch;  // batch: tests per give; 0: all at once
  uint64_t cap_us;
  enum runner_cap cap_from;
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
  assert_int_equal(f->told[tag].results, 0);
  f->told[tag].starts++;
  if (f->abort_on_start) runner_command.abort(f->runner);
}

static void on_result(void *arg, const struct runner_result *result) {
  struct fixture *f = arg;
  struct told *told = &f->told[result->tag];
  assert_true(told->starts > 0);
  told->results++;
  told->status = result->status;
  told->setup_us = result->setup_us;
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
    tests[n++] = (struct runner_test){
        .id = testlist_id(f->list, f->next), .tag = (uint32_t)f->next, .cap_us = f->cap_us, .cap_from = f->cap_from};
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

static const char junit_script[] =
    "out=$1; shift; { echo '<testsuite>'; for t in \"$@\"; do case $t in"
    " drop) ;;"
    " bad) echo \"<testcase name='$t' time='0.25'><failure message='no'>trace</failure></testcase>\";;"
    " quiet) echo \"<testcase name='$t'><failure/></testcase>\";;"
    " *) echo \"<testcase classname='c' name='$t' time='0.5'/>\";; esac; done;"
    " echo '<testcase name=\"stranger\"><failure/></testcase></testsuite>'; } > $out; echo said; exit ${CODE-0}";

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
