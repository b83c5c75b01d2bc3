// Tests of config/conf_args.c and nearest.c: every form of a flag, words and "--", each refusal and its advice,
// precedence of the sources in any order of calls, help.
#include "config/nearest.h"
#include "tests/unit/conf_fixture.h"

static void args_refused(const char *line, const char *message) {
  assert_int_equal(args(line), -1);
  assert_string_equal(error.text, message);
}

static void test_args_forms(void **state) {
  (void)state;
  assert_int_equal(args("--workers 3 --lease-ttl=2s -q --no-color --name= --log-level warn -c x.yml"), 0);
  assert_int_equal(options.workers, 3);
  assert_int_equal(options.ttl_us, 2000000);
  assert_true(options.quiet);
  assert_false(options.color);
  assert_string_equal(options.name, "");
  assert_int_equal(options.level, 1);
  assert_string_equal(options.file, "x.yml");
  assert_int_equal(args("-n4 --color --quiet=no"), 0);
  assert_int_equal(options.workers, 4);
  assert_true(options.color);
  assert_false(options.quiet);
  assert_int_equal(args("-qn 5 --workers 6"), 0);  // letters together; the last one counts
  assert_int_equal(options.workers, 6);
  assert_true(options.quiet);
  assert_int_equal(args("--name -x"), 0);  // a value may begin with a dash
  assert_string_equal(options.name, "-x");
}

static void test_args_lists(void **state) {
  (void)state;
  assert_int_equal(read_file("listen: [f1, f2]\n"), 0);
  assert_int_equal(args("--listen a,b -l c --listen=d"), 0);
  assert_int_equal(options.listen.count, 3);
  assert_string_equal(options.listen.item[0], "a,b");
  assert_string_equal(options.listen.item[1], "c");
  assert_string_equal(options.listen.item[2], "d");
  struct options other;
  char *argv[] = {(char[]){"prog"}, (char[]){"-lx"}, (char[]){"-ly"}, NULL};
  char **rest;
  int behind;
  conf_init(&table, &other, NULL);  // without sources too
  assert_int_equal(conf_args(&table, &other, NULL, RUN, 3, argv, false, &rest, &behind, &error), 0);
  assert_int_equal(other.listen.count, 2);
  assert_string_equal(other.listen.item[0], "x");
  assert_null(rest[0]);
  assert_int_equal(behind, 3);
  free(rest);
  conf_release(&table, &other);
}

static void assert_words(bool stop, const char *line, const char *expected, int expected_behind) {
  char *words = NULL;
  int behind = -1;
  assert_int_equal(read_args(LOCAL, stop, line, &words, &behind), 0);
  assert_string_equal(words, expected);
  assert_int_equal(behind, expected_behind);
  free(words);
}

static void test_args_words(void **state) {
  (void)state;
  assert_words(false, "", "", 1);
  assert_words(false, "a -q b - c", "a b - c", 6);
  assert_words(false, "a -q -- -x b", "a", 4);
  assert_words(false, "--", "", 2);
  assert_words(false, "-q --", "", 3);
  assert_words(true, "-q run --nonsense -- -x", "run --nonsense -- -x", 6);
  assert_words(true, "-q -- run", "", 3);
  assert_words(true, "-n 3 run", "run", 4);
}

static void test_args_help_and_version(void **state) {
  (void)state;
  assert_int_equal(args("-h"), 1);
  assert_int_equal(args("-qh"), 1);
  assert_int_equal(args("a --help --nonsense"), 1);
  assert_int_equal(args("--version"), 2);
  assert_int_equal(args("--name --help"), 0);
  assert_int_equal(args("-- --help"), 0);
  assert_int_equal(read_args(LOCAL, true, "run --help", NULL, NULL), 0);
}

static void test_args_refusals(void **state) {
  (void)state;
  args_refused("--lease-tlt 5s", "unknown flag \"--lease-tlt\"; did you mean --lease-ttl?");
  args_refused("--lease_ttl=5s", "unknown flag \"--lease_ttl\"; did you mean --lease-ttl?");
  args_refused("--confi", "unknown flag \"--confi\"; did you mean --config?");
  args_refused("--hlep", "unknown flag \"--hlep\"; did you mean --help?");
  args_refused("--nonsense", "unknown flag \"--nonsense\"; --help lists the known ones");
  args_refused("--no-name", "unknown flag \"--no-name\"; --help lists the known ones");
  args_refused("--no-color=yes", "--no-color takes no value; write --no-color or --color");
  args_refused("--=x", "unknown flag \"--\"; --help lists the known ones");
  args_refused("---", "unknown flag \"---\"; --help lists the known ones");
  args_refused("-x", "unknown flag \"-x\"; --help lists the known ones");
  args_refused("-5", "unknown flag \"-5\"; --help lists the known ones");
  args_refused("--workers", "--workers: the value is missing; it takes a whole number from 1 to 64");
  args_refused("-n", "-n: the value is missing; it takes a whole number from 1 to 64");
  args_refused("-n -- 3", "-n: the value is missing; it takes a whole number from 1 to 64");
  args_refused("--workers=", "--workers: \"\" is wrong; it takes a whole number from 1 to 64");
  args_refused("-n=3", "-n: \"=3\" is wrong; it takes a whole number from 1 to 64");
  args_refused("--workers 65", "--workers: \"65\" is wrong; it takes a whole number from 1 to 64");
  args_refused("--quiet=perhaps", "--quiet: \"perhaps\" is wrong; it takes yes or no");
  args_refused("--\x1b[0m", "unknown flag \"--\\x1b[0m\"; --help lists the known ones");
  assert_int_equal(read_args(RUN, false, "--workers 3", NULL, NULL), -1);
  assert_string_equal(error.text, "\"--workers\" belongs to another subcommand; --help lists what this one takes");
  assert_int_equal(read_args(RUN, false, "-n3", NULL, NULL), -1);
  assert_int_equal(options.workers, 0);
}

static void test_long_flags_end_in_errors(void **state) {
  (void)state;
  char *flag = base_calloc(1, 100001);
  memset(flag, '-', 100000);
  char *argv[] = {(char[]){"prog"}, flag, NULL};
  char **rest;
  int behind;
  assert_int_equal(conf_args(&table, &options, sources, RUN, 2, argv, false, &rest, &behind, &error), -1);
  assert_non_null(strstr(error.text, "…\"; --help lists the known ones"));
  memset(flag + 2, 'q', 1000);  // no letters: a word beginning with two dashes
  flag[1] = 'q';
  flag[1002] = '\0';
  assert_int_equal(conf_args(&table, &options, sources, RUN, 2, argv, false, &rest, &behind, &error), 0);
  assert_true(options.quiet);
  free(rest);
  free(flag);
}

static void test_precedence_in_any_order(void **state) {
  (void)state;
  static const char *const orders[] = {"feg", "fge", "efg", "egf", "gfe", "gef"};
  for (size_t i = 0; i < COUNT_OF(orders); i++) {
    assert_int_equal(setenv("UNITCONF_NAME", "env", 1), 0);
    assert_int_equal(setenv("UNITCONF_LEASE_TTL", "2s", 1), 0);
    assert_int_equal(setenv("UNITCONF_LISTEN", "e1 e2", 1), 0);
    for (const char *p = orders[i]; *p != '\0'; p++) {
      if (*p == 'f') assert_int_equal(read_file("name: file\nlease-ttl: 1s\nroom: 1k\nlisten: [f]\n"), 0);
      if (*p == 'e') assert_int_equal(conf_env(&table, &options, sources, &error), 0);
      if (*p == 'g') assert_int_equal(args("--name flag --listen g1 --listen g2 --listen g3"), 0);
    }
    assert_string_equal(options.name, "flag");
    assert_int_equal(options.listen.count, 3);
    assert_int_equal(options.ttl_us, 2000000);
    assert_int_equal(options.room, 1024);
    assert_int_equal(finish(NULL), 0);
    assert_int_equal(start(NULL), 0);
  }
}

static void test_overridden_values_are_checked(void **state) {
  (void)state;
  assert_int_equal(args("--lease-ttl 5s"), 0);
  file_refused("lease-ttl: soon\n", "1:12",
               "lease-ttl: \"soon\" is wrong; it takes a duration from 100ms to 1h, such as 90s, 1.5m or 250ms");
  assert_int_equal(options.ttl_us, 5000000);
}

static void write_help(FILE *out) {
  conf_help(&table, LOCAL, out);
}

static void write_run_help(FILE *out) {
  conf_help(&table, RUN, out);
}

static void test_help(void **state) {
  (void)state;
  char *text = written(write_help);
  assert_non_null(strstr(text, "      --[no-]color            colour (default: yes) [UNITCONF_COLOR]\n"));
  assert_non_null(strstr(text, "  -q, --quiet                 say less [UNITCONF_QUIET]\n"));
  assert_non_null(
      strstr(text, "  -n, --workers N             how many workers run at the same time on this machine, each"));
  assert_non_null(strstr(text, "\n                              a process of its own"));
  assert_non_null(strstr(text, "what is logged: error, warn, info, debug (default: info)"));
  assert_non_null(strstr(text, "  -h, --help                  print this help and end\n"));
  for (char *save, *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
    assert_true(strlen(line) <= 100);
  free(text);
  text = written(write_run_help);
  assert_null(strstr(text, "--workers"));
  assert_non_null(strstr(text, "--quiet"));
  free(text);
}

static const char *nearest_to(const char *word, const char *const *known) {
  struct nearest nearest;
  nearest_init(&nearest, word);
  for (size_t i = 0; known[i] != NULL; i++)
    nearest_offer(&nearest, known[i]);
  return nearest.best ? nearest.best : "";
}

static void test_nearest(void **state) {
  (void)state;
  static const char *const known[] = {"status", "builds", "workers", "slow", "flaky", "run", "report", NULL};
  assert_string_equal(nearest_to("stauts", known), "status");
  assert_string_equal(nearest_to("worker", known), "workers");
  assert_string_equal(nearest_to("flakky", known), "flaky");
  assert_string_equal(nearest_to("rnu", known), "run");
  assert_string_equal(nearest_to("repotr", known), "report");
  assert_string_equal(nearest_to("reprots", known), "report");
  assert_string_equal(nearest_to("xyz", known), "");
  assert_string_equal(nearest_to("", known), "");
  assert_string_equal(nearest_to("r", known), "");
  assert_string_equal(nearest_to("sl", known), "");
  char longest[NEAREST_MAX_BYTES + 2];
  memset(longest, 'a', sizeof longest);
  longest[NEAREST_MAX_BYTES] = '\0';
  const char *const itself[] = {longest, NULL};
  assert_string_equal(nearest_to(longest, itself), longest);
  char longer[NEAREST_MAX_BYTES + 2];
  memset(longer, 'a', sizeof longer);
  longer[NEAREST_MAX_BYTES + 1] = '\0';
  assert_string_equal(nearest_to(longer, itself), "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_args_forms, start, finish),
      cmocka_unit_test_setup_teardown(test_args_lists, start, finish),
      cmocka_unit_test_setup_teardown(test_args_words, start, finish),
      cmocka_unit_test_setup_teardown(test_args_help_and_version, start, finish),
      cmocka_unit_test_setup_teardown(test_args_refusals, start, finish),
      cmocka_unit_test_setup_teardown(test_long_flags_end_in_errors, start, finish),
      cmocka_unit_test_setup_teardown(test_precedence_in_any_order, start, finish),
      cmocka_unit_test_setup_teardown(test_overridden_values_are_checked, start, finish),
      cmocka_unit_test_setup_teardown(test_help, start, finish),
      cmocka_unit_test_setup_teardown(test_nearest, start, finish),
  };
  return cmocka_run_group_tests_name("conf_args", tests, make_dir, remove_dir);
}
