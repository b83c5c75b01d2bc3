// Unit tests of the client's options: sources and their order, the search for shard.yml, tokens, workers, what is
// handed on to other subcommands, and the project's name. Each test stands in a folder of its own.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "worker/local_place.h"
#include "worker/options.h"
#include "worker/project.h"

enum { ARGS_MAX = 16 };

struct place {
  char top[64];
  char *before;
};

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "we");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static void clear_variables(void) {
  char name[128];
  for (size_t i = 0; i < options_table.count; i++) {
    conf_variable(&options_table, &options_table.keys[i], name, sizeof name);
    (void)unsetenv(name);
  }
  static const char *const ci[] = {
      "CI_PROJECT_PATH",      "GITHUB_REPOSITORY",         "BUILDKITE_REPO",    "CIRCLE_PROJECT_REPONAME",
      "BUILD_REPOSITORY_URI", "BITBUCKET_REPO_FULL_NAME",  "SEMAPHORE_GIT_URL", "CI_REPO",
      "DRONE_REPO",           "CODEBUILD_SOURCE_REPO_URL", "GIT_URL",           "NO_COLOR"};
  for (size_t i = 0; i < COUNT_OF(ci); i++)
    (void)unsetenv(ci[i]);
}

// top/ is a checkout with a folder top/a/b, in which the test stands.
static int enter(void **state) {
  struct place *place = base_calloc(1, sizeof *place);
  (void)snprintf(place->top, sizeof place->top, "/tmp/shard-options-XXXXXX");
  assert_non_null(mkdtemp(place->top));
  place->before = getcwd(NULL, 0);
  assert_int_equal(chdir(place->top), 0);
  assert_int_equal(mkdir(".git", 0700) | mkdir("a", 0700) | mkdir("a/b", 0700), 0);
  assert_int_equal(chdir("a/b"), 0);
  clear_variables();
  *state = place;
  return 0;
}

static int leave(void **state) {
  struct place *place = *state;
  clear_variables();
  assert_int_equal(chdir(place->before), 0);
  char *command = base_printf("rm -rf %s", place->top);
  assert_int_equal(system(command), 0);
  free(command);
  free(place->before);
  free(place);
  return 0;
}

static int load(struct options *options, enum options_command command, const char *line, struct conf_error *error) {
  static char words[ARGS_MAX][256];
  static char *argv[ARGS_MAX + 1];
  int argc = 0;
  char *copy = base_strdup(line), *rest = copy;
  for (char *word; (word = strsep(&rest, " ")) != NULL && argc < ARGS_MAX;) {
    (void)snprintf(words[argc], sizeof words[argc], "%s", word);
    argv[argc] = words[argc];
    argc++;
  }
  argv[argc] = NULL;
  free(copy);
  return options_load(options, command, argc, argv, error);
}

static void load_ok(struct options *options, enum options_command command, const char *line) {
  struct conf_error error;
  if (load(options, command, line, &error) != 0) fail_msg("%s: %s", line, error.text);
}

static void expect_error(enum options_command command, const char *line, const char *part) {
  struct options options;
  struct conf_error error;
  assert_int_equal(load(&options, command, line, &error), -1);
  if (strstr(error.text, part) == NULL) fail_msg("%s: \"%s\" does not say \"%s\"", line, error.text, part);
}

static void test_defaults(void **state) {
  (void)state;
  struct options o;
  load_ok(&o, OPTIONS_RUN, "run -- pytest -q");
  assert_string_equal(o.server, "");
  assert_string_equal(o.suite, "default");
  assert_string_equal(o.results, "exit");
  assert_string_equal(options_runner(&o), "auto");
  assert_int_equal(o.linger_us, 60 * 1000000);
  assert_int_equal(o.connect_timeout_us, 30 * 1000000);
  assert_int_equal(o.server_timeout_us, 600 * 1000000);
  assert_int_equal(o.max_failures, 0);
  assert_true(o.worker_count >= 1);
  assert_int_equal(o.word_count, 0);
  assert_string_equal(o.command[0], "pytest");
  assert_string_equal(o.command[1], "-q");  // the command's flags are its own
  assert_null(o.command[2]);
  char *argv[4];
  assert_null(options_list_argv(&o, argv));
  options_release(&o);
}

static void test_precedence(void **state) {
  (void)state;
  struct options o;
  write_file("../../shard.yml", "retries: 1\nsuite: file\nbranch: file\n");
  (void)setenv("SHARD_RETRIES", "2", 1);
  (void)setenv("SHARD_SUITE", "env", 1);
  load_ok(&o, OPTIONS_RUN, "run --retries 3 -- x");
  assert_int_equal(o.retries, 3);
  assert_string_equal(o.suite, "env");
  assert_string_equal(o.branch, "file");
  assert_int_equal(options_source(&o, "retries"), CONF_FROM_FLAG);
  assert_int_equal(options_source(&o, "suite"), CONF_FROM_ENV);
  assert_int_equal(options_source(&o, "branch"), CONF_FROM_FILE);
  assert_int_equal(options_source(&o, "commit"), CONF_FROM_DEFAULT);
  options_release(&o);
}

// The nearest file up to the checkout's top; above it, or outside of a checkout, files of others are not ours.
static void test_finds_the_file(void **state) {
  struct place *place = *state;
  struct options o;
  write_file("../../shard.yml", "retries: 1\n");
  load_ok(&o, OPTIONS_RUN, "run -- x");
  assert_int_equal(o.retries, 1);
  options_release(&o);
  write_file("../shard.yml", "retries: 2\n");
  load_ok(&o, OPTIONS_RUN, "run -- x");
  assert_int_equal(o.retries, 2);
  options_release(&o);
  assert_int_equal(mkdir(".git", 0700), 0);  // a/b is a checkout of its own now
  load_ok(&o, OPTIONS_RUN, "run -- x");
  assert_int_equal(o.retries, 0);
  assert_string_equal(o.config, "");
  options_release(&o);
  assert_int_equal(rmdir(".git"), 0);
  assert_int_equal(chdir(place->top), 0);
  assert_int_equal(rmdir(".git"), 0);  // no checkout at all
  assert_int_equal(chdir("a/b"), 0);
  load_ok(&o, OPTIONS_RUN, "run -- x");
  assert_int_equal(o.retries, 0);
  options_release(&o);
  write_file("shard.yml", "retries: 3\n");
  load_ok(&o, OPTIONS_RUN, "run -- x");
  assert_int_equal(o.retries, 3);
  options_release(&o);
}

static void test_config_flag(void **state) {
  (void)state;
  struct options o;
  write_file("shard.yml", "retries: 1\n");
  write_file("other.yml", "retries: 7\n");
  load_ok(&o, OPTIONS_RUN, "run --config other.yml -- x");
  assert_int_equal(o.retries, 7);
  options_release(&o);
  expect_error(OPTIONS_RUN, "run --config none.yml -- x", "none.yml");
  write_file("other.yml", "retries: 1\nretires: 2\n");
  expect_error(OPTIONS_RUN, "run --config other.yml -- x",
               "other.yml:2:1: unknown key \"retires\"; did you mean retries?");
  write_file("other.yml", "config: a.yml\n");
  expect_error(OPTIONS_RUN, "run --config other.yml -- x", "config has no place in a file");
}

static void test_wrong_values(void **state) {
  (void)state;
  expect_error(OPTIONS_RUN, "run --retries 101 -- x", "--retries");
  expect_error(OPTIONS_RUN, "run --linger 5x -- x", "--linger");
  expect_error(OPTIONS_RUN, "run --runner jest -- x", "auto, pytest, command");
  expect_error(OPTIONS_RUN, "run --limit 5 -- x", "belongs to another subcommand");
  expect_error(OPTIONS_SLOW, "slow --limit 0", "--limit");
  expect_error(OPTIONS_LOCAL, "local --server unix:/s -- x", "belongs to another subcommand");
  expect_error(OPTIONS_LOCAL, "local -n 0 -- x", "workers");
  expect_error(OPTIONS_LOCAL, "local -n many -- x", "give one, or auto");
  expect_error(OPTIONS_LOCAL, "local -n 257 -- x", "workers");
  expect_error(OPTIONS_PLAN, "plan --boot soon",
               "boot: \"soon\" is no duration up to 24h; give one (20s, 1.5m), or auto");
  expect_error(OPTIONS_PLAN, "plan --boot 25h", "is no duration up to 24h");
  expect_error(OPTIONS_RUN, "run --list a --list-file b -- x", "give one of them");
  (void)setenv("SHARD_LINGER", "-1", 1);
  expect_error(OPTIONS_RUN, "run -- x", "variable SHARD_LINGER");
}

static void test_boot(void **state) {
  (void)state;
  struct options o;
  load_ok(&o, OPTIONS_PLAN, "plan");
  assert_false(o.boot_told);
  options_release(&o);
  load_ok(&o, OPTIONS_PLAN, "plan --boot 0");
  assert_true(o.boot_told);
  assert_int_equal(o.boot_us, 0);
  options_release(&o);
  (void)setenv("SHARD_BOOT", "1.5m", 1);
  load_ok(&o, OPTIONS_PLAN, "plan");
  assert_true(o.boot_told);
  assert_int_equal(o.boot_us, 90000000);
  options_release(&o);
  load_ok(&o, OPTIONS_PLAN, "plan --boot=auto");
  assert_false(o.boot_told);
  options_release(&o);
}

static void test_bounds(void **state) {
  (void)state;
  char text[1026];
  struct options o;
  memset(text, 'b', 1025);
  text[1025] = '\0';
  (void)setenv("SHARD_BUILD", text, 1);
  expect_error(OPTIONS_RUN, "run -- x", "build is 1025 bytes long; at most 1024");
  text[1024] = '\0';
  (void)setenv("SHARD_BUILD", text, 1);
  load_ok(&o, OPTIONS_RUN, "run -- x");
  options_release(&o);
}

static void test_token(void **state) {
  (void)state;
  struct options o;
  expect_error(OPTIONS_RUN, "run --token abc -- x", "visible to everybody");
  expect_error(OPTIONS_STATUS, "status --token=abc", "SHARD_TOKEN");
  load_ok(&o, OPTIONS_RUN, "run -- x --token abc");
  options_release(&o);
  write_file("token", "from file\nsecond line\n");
  load_ok(&o, OPTIONS_RUN, "run --token-file token -- x");
  assert_string_equal(o.token, "from file");
  options_release(&o);
  (void)setenv("SHARD_TOKEN", "from variable", 1);
  load_ok(&o, OPTIONS_RUN, "run --token-file token -- x");
  assert_string_equal(o.token, "from file");  // the flag stands above the variable
  options_release(&o);
  write_file("shard.yml", "token-file: token\n");
  load_ok(&o, OPTIONS_RUN, "run -- x");
  assert_string_equal(o.token, "from variable");
  options_release(&o);
}

static void test_bad_token_files(void **state) {
  (void)state;
  char text[300];
  expect_error(OPTIONS_RUN, "run --token-file none -- x", "cannot read token-file none");
  write_file("token", "\nabc\n");
  expect_error(OPTIONS_RUN, "run --token-file token -- x", "its first line is empty");
  memset(text, 'a', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  write_file("token", text);
  expect_error(OPTIONS_RUN, "run --token-file token -- x", "longer than a token may be");
  text[256] = '\0';
  write_file("token", text);
  struct options o;
  load_ok(&o, OPTIONS_RUN, "run --token-file token -- x");
  assert_int_equal(strlen(o.token), 256);
  options_release(&o);
}

static void test_fail_fast(void **state) {
  (void)state;
  struct options o;
  load_ok(&o, OPTIONS_RUN, "run -x -- x");
  assert_int_equal(o.max_failures, 1);
  options_release(&o);
  load_ok(&o, OPTIONS_RUN, "run -x --max-failures 3 -- x");
  assert_int_equal(o.max_failures, 3);
  options_release(&o);
}

static void test_help_and_version(void **state) {
  (void)state;
  struct options o;
  struct conf_error error;
  assert_int_equal(load(&o, OPTIONS_RUN, "run --help", &error), 1);
  assert_int_equal(load(&o, OPTIONS_RUN, "run -h", &error), 1);
  assert_int_equal(load(&o, OPTIONS_RUN, "run --version", &error), 2);
  load_ok(&o, OPTIONS_RUN, "run -- pytest --help");
  options_release(&o);
}

static void test_words(void **state) {
  (void)state;
  struct options o;
  load_ok(&o, OPTIONS_TEST, "test t.py::a --json --limit 3");
  assert_int_equal(o.word_count, 1);
  assert_string_equal(o.words[0], "t.py::a");
  assert_null(o.command);
  assert_true(o.json);
  options_release(&o);
  load_ok(&o, OPTIONS_RUN, "run --");
  assert_null(o.command);
  options_release(&o);
  expect_error(OPTIONS_RUN, "run -- ", "empty word");
}

static void test_hands_on_flags(void **state) {
  (void)state;
  struct options o;
  (void)setenv("SHARD_SUITE", "from variable", 1);
  load_ok(&o, OPTIONS_LOCAL,
          "local -n 3 --retries 2 --no-by-file -x --linger 90s --runner command --list a --on-retry all -- x");
  char **flags = options_flags_for(&o, OPTIONS_RUN);
  static const char *const expected[] = {"--runner=command", "--list=a",       "--retries=2",  "--fail-fast",
                                         "--linger=90s",     "--on-retry=all", "--no-by-file", NULL};
  for (size_t i = 0; i < COUNT_OF(expected); i++) {
    if (expected[i] == NULL)
      assert_null(flags[i]);
    else
      assert_string_equal(flags[i], expected[i]);
  }
  assert_int_equal(o.worker_count, 3);
  options_free_words(flags);
  options_release(&o);
}

static void test_lists_are_handed_on_item_by_item(void **state) {
  (void)state;
  struct options o;
  load_ok(&o, OPTIONS_LOCAL, "local --tokens db=2 --tokens gpu=1 -- x");
  char **flags = options_flags_for(&o, OPTIONS_RUN);
  assert_string_equal(flags[0], "--tokens=db=2");
  assert_string_equal(flags[1], "--tokens=gpu=1");
  assert_null(flags[2]);
  options_free_words(flags);
  options_release(&o);
}

static void test_list_is_a_line_for_the_shell(void **state) {
  (void)state;
  struct options o;
  char *argv[4];
  write_file("shard.yml", "list: \"ls tests/*.sh\"\n");
  load_ok(&o, OPTIONS_RUN, "run -- x");
  assert_ptr_equal(options_list_argv(&o, argv), argv);
  assert_string_equal(argv[0], "sh");
  assert_string_equal(argv[1], "-c");
  assert_string_equal(argv[2], "ls tests/*.sh");
  assert_null(argv[3]);
  options_release(&o);
}

static void test_color(void **state) {
  (void)state;
  struct options o;
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  load_ok(&o, OPTIONS_SLOW, "slow");
  assert_false(options_color(&o, null));
  options_release(&o);
  (void)setenv("NO_COLOR", "1", 1);
  load_ok(&o, OPTIONS_SLOW, "slow --color always");
  assert_true(options_color(&o, null));
  options_release(&o);
  load_ok(&o, OPTIONS_SLOW, "slow --color never");
  assert_false(options_color(&o, null));
  options_release(&o);
  assert_int_equal(close(null), 0);
}

// ---- the project's name

static const char *no_variables(const char *name, void *arg) {
  (void)name, (void)arg;
  return NULL;
}

static const char *one_variable(const char *name, void *arg) {
  const char *const *pair = arg;
  return strcmp(name, pair[0]) == 0 ? pair[1] : NULL;
}

static void expect_project(const char *expected) {
  char *here = getcwd(NULL, 0), *name = project_name(no_variables, NULL, here);
  assert_string_equal(name, expected);
  free(here);
  free(name);
}

static void test_project_of_urls(void **state) {
  (void)state;
  static const struct {
    const char *url, *name;
  } samples[] = {{"https://user:secret@example.org/owner/name.git", "owner/name"},
                 {"git@example.org:owner/name.git", "owner/name"},
                 {"ssh://git@example.org:2222/group/sub/name/", "group/sub/name"},
                 {"https://example.org/a/b?token=secret#x", "a/b"},
                 {"/srv/git/name.git", NULL},
                 {"../name", NULL},
                 {"https://example.org", NULL},
                 {"https://example.org/", NULL},
                 {"https://example.org/.git", ".git"},
                 {"", NULL}};
  for (size_t i = 0; i < COUNT_OF(samples); i++) {
    char *name = project_of_url(samples[i].url);
    if (samples[i].name == NULL)
      assert_null(name);
    else
      assert_string_equal(name, samples[i].name);
    free(name);
  }
}

static void test_project_of_ci(void **state) {
  (void)state;
  static const char *const samples[][3] = {{"GITHUB_REPOSITORY", "owner/name", "owner/name"},
                                           {"CI_PROJECT_PATH", "group/sub/name", "group/sub/name"},
                                           {"BUILDKITE_REPO", "git@example.org:owner/name.git", "owner/name"},
                                           {"CIRCLE_PROJECT_REPONAME", "name", "name"}};
  for (size_t i = 0; i < COUNT_OF(samples); i++) {
    const char *pair[] = {samples[i][0], samples[i][1]};
    char *name = project_name(one_variable, pair, "/");
    assert_string_equal(name, samples[i][2]);
    free(name);
  }
}

static void test_project_of_checkout(void **state) {
  struct place *place = *state;
  expect_project(strrchr(place->top, '/') + 1);
  write_file("../../.git/config",
             "[core]\n\tbare = false\n[remote \"other\"]\n\turl = https://example.org/not/this\n"
             "[remote \"origin\"]\n\tfetch = +refs\n\turl = https://u:p@example.org/owner/name.git\n");
  expect_project("owner/name");
  char *top = project_top("/");
  assert_null(top);
}

// A linked worktree: .git is a file that points to a folder, which points to the common one.
static void test_project_of_worktree(void **state) {
  struct place *place = *state;
  write_file("../../.git/config", "[remote \"origin\"]\n\turl = git@example.org:owner/name\n");
  assert_int_equal(mkdir("../../.git/worktrees", 0700) | mkdir("../../.git/worktrees/b", 0700), 0);
  write_file("../../.git/worktrees/b/commondir", "../..\n");
  char *link = base_printf("gitdir: %s/.git/worktrees/b\n", place->top);
  write_file(".git", link);
  free(link);
  expect_project("owner/name");
}

static void test_file_names(void **state) {
  (void)state;
  char *name = project_file_name("../owner/näme x");
  assert_string_equal(name, "-.-owner-n--me-x");
  free(name);
  char *one = local_place_history("/cache", "o/n", "/home/a"), *two = local_place_history("/cache", "o/n", "/home/b");
  assert_true(strncmp(one, "/cache/shard/o-n-", 17) == 0);
  assert_string_equal(strrchr(one, '/'), "/history.db");
  assert_string_not_equal(one, two);
  free(one);
  free(two);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_defaults, enter, leave),
      cmocka_unit_test_setup_teardown(test_precedence, enter, leave),
      cmocka_unit_test_setup_teardown(test_finds_the_file, enter, leave),
      cmocka_unit_test_setup_teardown(test_config_flag, enter, leave),
      cmocka_unit_test_setup_teardown(test_wrong_values, enter, leave),
      cmocka_unit_test_setup_teardown(test_boot, enter, leave),
      cmocka_unit_test_setup_teardown(test_bounds, enter, leave),
      cmocka_unit_test_setup_teardown(test_token, enter, leave),
      cmocka_unit_test_setup_teardown(test_bad_token_files, enter, leave),
      cmocka_unit_test_setup_teardown(test_fail_fast, enter, leave),
      cmocka_unit_test_setup_teardown(test_help_and_version, enter, leave),
      cmocka_unit_test_setup_teardown(test_words, enter, leave),
      cmocka_unit_test_setup_teardown(test_hands_on_flags, enter, leave),
      cmocka_unit_test_setup_teardown(test_lists_are_handed_on_item_by_item, enter, leave),
      cmocka_unit_test_setup_teardown(test_list_is_a_line_for_the_shell, enter, leave),
      cmocka_unit_test_setup_teardown(test_color, enter, leave),
      cmocka_unit_test_setup_teardown(test_project_of_urls, enter, leave),
      cmocka_unit_test_setup_teardown(test_project_of_ci, enter, leave),
      cmocka_unit_test_setup_teardown(test_project_of_checkout, enter, leave),
      cmocka_unit_test_setup_teardown(test_project_of_worktree, enter, leave),
      cmocka_unit_test_setup_teardown(test_file_names, enter, leave),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
