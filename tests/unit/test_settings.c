// Tests of server/settings.c and settings_address.c: the sources and their order, what goes together, the answers of
// --help, --version and --check-config, reload. Every file stands in a temporary folder.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka wants the headers above.
#include <cmocka.h>

#include "server/settings.h"

static char dir[] = "/tmp/shardd-test-settings-XXXXXX";
static char path[64];
static struct conf_error error;
static char printed[16384];

static void write_file(const char *text) {
  FILE *file = fopen(path, "we");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

// The words of a command line live on, for reloads.
static int load(const char *line, struct settings *settings) {
  static char copy[512], *argv[32];
  int argc = 0;
  (void)snprintf(copy, sizeof copy, "shardd %s", line);
  for (char *save, *p = strtok_r(copy, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save))
    argv[argc++] = p;
  argv[argc] = NULL;
  error.text[0] = '\0';
  return settings_load(argc, argv, settings, &error);
}

static void refused(const char *line, const char *message) {
  struct settings settings;
  assert_int_equal(load(line, &settings), -1);
  assert_string_equal(error.text, message);
}

// Loads with stdout caught in `printed`.
static int load_printed(const char *line) {
  struct settings settings;
  char name[] = "/tmp/shardd-test-settings-XXXXXX";
  int fd = mkstemp(name), real = dup(STDOUT_FILENO);
  assert_true(fd >= 0 && real >= 0);
  assert_int_equal(unlink(name), 0);
  (void)fflush(stdout);
  assert_true(dup2(fd, STDOUT_FILENO) >= 0);
  int rc = load(line, &settings);
  (void)fflush(stdout);
  assert_true(dup2(real, STDOUT_FILENO) >= 0);
  ssize_t n = pread(fd, printed, sizeof printed - 1, 0);
  assert_true(n >= 0);
  printed[n] = '\0';
  assert_int_equal(close(fd) | close(real), 0);
  if (rc == 0) settings_release(&settings);
  return rc;
}

static int setup(void **state) {
  (void)state;
  if (mkdtemp(dir) == NULL) return -1;
  (void)snprintf(path, sizeof path, "%s/shardd.yml", dir);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  (void)unlink(path);
  return rmdir(dir);
}

// Every test starts with an empty file that SHARDD_CONFIG names, so that none depends on this machine's /etc.
static int start(void **state) {
  (void)state;
  write_file("");
  for (size_t i = 0; i < settings_table.count; i++) {
    char name[64];
    conf_variable(&settings_table, &settings_table.keys[i], name, sizeof name);
    if (unsetenv(name) != 0) return -1;
  }
  return setenv("SHARDD_CONFIG", path, 1);
}

static void test_defaults(void **state) {
  (void)state;
  struct settings s;
  assert_int_equal(load("", &s), 0);
  assert_int_equal(s.listen.count, 1);
  assert_string_equal(s.listen.item[0], "unix:/run/shardd/shardd.sock");
  assert_int_equal(settings_socket_mode(&s), 0660);
  assert_string_equal(s.database, "/var/lib/shardd/shardd.db");
  assert_string_equal(s.token_file, "");
  assert_int_equal(s.lease_ttl_us, 15000000);
  assert_int_equal(s.heartbeat_us, 5000000);
  assert_int_equal(s.idle_timeout_us, 600000000);
  assert_int_equal(s.hello_timeout_us, 5000000);
  assert_int_equal(s.max_connections, 16384);
  assert_int_equal(s.max_builds, 200);
  assert_int_equal(s.ballast_bytes, 8 << 20);
  assert_int_equal(s.keep_results_us, INT64_C(30) * 24 * 3600 * 1000000);
  assert_int_equal(settings_log_level(&s), LOG_LEVEL_INFO);
  assert_false(s.exit_with_parent);
  assert_string_equal(s.file, path);
  settings_release(&s);
}

static void test_sources_in_order(void **state) {
  (void)state;
  write_file("max-builds: 1\nmax-connections: 1\nlease-ttl: 1m\nlog_level: debug\n");
  assert_int_equal(setenv("SHARDD_MAX_CONNECTIONS", "2", 1), 0);
  assert_int_equal(setenv("SHARDD_LEASE_TTL", "2m", 1), 0);
  assert_int_equal(setenv("SHARDD_SOMETHING_ELSE", "x", 1), 0);
  struct settings s;
  assert_int_equal(load("--lease-ttl 3m -l unix:/a -l tcp://localhost:0 --exit-with-parent", &s), 0);
  assert_int_equal(unsetenv("SHARDD_SOMETHING_ELSE"), 0);
  assert_int_equal(s.max_builds, 1);
  assert_int_equal(s.max_connections, 2);
  assert_int_equal(s.lease_ttl_us, 180000000);
  assert_int_equal(settings_log_level(&s), LOG_LEVEL_DEBUG);
  assert_int_equal(s.listen.count, 2);
  assert_true(s.exit_with_parent);
  settings_release(&s);
}

static void test_which_file(void **state) {
  (void)state;
  struct settings s;
  write_file("max-builds: 7\n");
  assert_int_equal(setenv("SHARDD_CONFIG", "/nonexistent/other.yml", 1), 0);
  char *line = base_printf("-c %s", path);
  assert_int_equal(load(line, &s), 0);
  free(line);
  assert_int_equal(s.max_builds, 7);
  assert_string_equal(s.file, path);
  settings_release(&s);
  refused("",
          "/nonexistent/other.yml: cannot be opened: No such file or directory; check the path and its permissions");
}

static void test_wrong_lines(void **state) {
  (void)state;
  refused("serve", "\"serve\" is no flag, and shardd takes nothing else; see --help");
  refused("-- x", "\"x\" is no flag, and shardd takes nothing else; see --help");
  refused("--lisen unix:/a", "unknown flag \"--lisen\"; did you mean --listen?");
  refused("--lease-ttl 2h",
          "--lease-ttl: \"2h\" is wrong; it takes a duration from 100ms to 1h, such as 90s, 1.5m or 250ms");
  write_file("max-builds: 3\nmax-bilds: 4\n");
  char *expected = base_printf("%s:2:1: unknown key \"max-bilds\"; did you mean max-builds?", path);
  refused("", expected);
  free(expected);
  write_file("check-config: yes\n");
  expected = base_printf("%s:1:15: check-config has no place in a file; give it as --check-config", path);
  refused("", expected);
  free(expected);
}

static void test_what_goes_together(void **state) {
  (void)state;
  struct settings s;
  refused(
      "--heartbeat 6s",
      "heartbeat: 6s is more than a third of lease-ttl (15s), so that one late heartbeat could cost a lease; make it "
      "at most 5s, or raise lease-ttl");
  refused(
      "--lease-ttl 1s",
      "heartbeat: 5s is more than a third of lease-ttl (1s), so that one late heartbeat could cost a lease; make it "
      "at most 333333us, or raise lease-ttl");
  assert_int_equal(load("--lease-ttl 300ms --heartbeat 100ms", &s), 0);
  settings_release(&s);
  static const char *const modes[] = {"0888", "rw", "00660", "1777", "66", "-660", "+660", "0x1b"};
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    char *line = base_printf("--socket-mode=%s", modes[i]);
    char *message =
        base_printf("socket-mode: \"%s\" is wrong; it takes an octal number from 0000 to 0777, such as 0660", modes[i]);
    refused(line, message);
    free(line);
    free(message);
  }
  assert_int_equal(load("--socket-mode 777", &s), 0);
  assert_int_equal(settings_socket_mode(&s), 0777);
  settings_release(&s);
  refused("--database=", "database: it is empty; give the path of a file");
  write_file("listen: []\n");
  refused("", "listen: 0 addresses; give 1 to 8, such as unix:/run/shardd/shardd.sock");
}

static void test_strangers_need_tokens(void **state) {
  (void)state;
  static const char *const open[] = {"tcp://0.0.0.0:4270", "tcp://192.168.1.5:1",       "tcp://[::]:4270",
                                     "tcp://[fe80::1]:1",  "tcp://ci.example.org",      "tcp://localhost.example.org:1",
                                     "tcp://127.1:4270",   "tcp://[::ffff:127.0.0.1]:1"};
  struct settings s;
  for (size_t i = 0; i < COUNT_OF(open); i++) {
    char *line = base_printf("-l unix:/a -l %s", open[i]);
    assert_int_equal(load(line, &s), -1);
    char *start_of = base_printf(
        "listen: %s can be reached from other machines, and without tokens everybody could come "
        "in; set token-file, or listen on tcp://127.0.0.1:",
        open[i]);
    assert_int_equal(strncmp(error.text, start_of, strlen(start_of)), 0);
    free(start_of);
    free(line);
    line = base_printf("-l %s --token-file /etc/shardd/tokens", open[i]);
    assert_int_equal(load(line, &s), 0);
    settings_release(&s);
    free(line);
  }
  assert_int_equal(load("-l tcp://127.0.0.1:1 -l tcp://[::1]:2 -l tcp://localhost -l tcp://127.9.9.9:0", &s), 0);
  settings_release(&s);
}

static void test_addresses(void **state) {
  (void)state;
  static const struct {
    const char *text, *host;
    int port;
    bool loopback;
  } good[] = {{"tcp://127.0.0.1:4271", "127.0.0.1", 4271, true},
              {"tcp://[::1]:0", "::1", 0, true},
              {"tcp://[::1]", "::1", 4270, true},
              {"tcp://localhost", "localhost", 4270, true},
              {"tcp://a-b_c.example:65535", "a-b_c.example", 65535, false},
              {"tcp://0.0.0.0:1", "0.0.0.0", 1, false}};
  struct settings_address a;
  for (size_t i = 0; i < COUNT_OF(good); i++) {
    assert_int_equal(settings_address(good[i].text, &a, &error), 0);
    assert_false(a.local);
    assert_string_equal(a.host, good[i].host);
    assert_int_equal(a.port, good[i].port);
    assert_int_equal(a.loopback, good[i].loopback);
  }
  assert_int_equal(settings_address("unix:/run/a b.sock", &a, &error), 0);
  assert_true(a.local);
  assert_string_equal(a.path, "/run/a b.sock");
  char longest[5 + sizeof a.path + 1];
  memset(longest, 'x', sizeof longest);
  memcpy(longest, "unix:/", 6);
  longest[5 + sizeof a.path - 1] = '\0';
  assert_int_equal(settings_address(longest, &a, &error), 0);
  longest[5 + sizeof a.path - 1] = 'x';
  longest[5 + sizeof a.path] = '\0';
  assert_int_equal(settings_address(longest, &a, &error), -1);
  static const char *const wrong[] = {"",
                                      "unix:",
                                      "unix:/",
                                      "unix:relative",
                                      "/run/a.sock",
                                      "tcp://",
                                      "tcp://:4270",
                                      "tcp://a:",
                                      "tcp://a:65536",
                                      "tcp://a:-1",
                                      "tcp://a:1x",
                                      "tcp://[::1",
                                      "tcp://[::1]x",
                                      "tcp://::1:4270",
                                      "tcp://[a]:1",
                                      "tcp://a b:1",
                                      "tcp://a/b:1",
                                      "tls://a:1",
                                      "TCP://a:1",
                                      "tcp://*:1",
                                      "tcp://\x1b[0m:1",
                                      "tcp://[]:1"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    memset(&a, 0x5a, sizeof a);
    assert_int_equal(settings_address(wrong[i], &a, &error), -1);
    assert_int_equal(a.port, 0x5a5a);
    assert_int_equal(strncmp(error.text, "listen: \"", 9), 0);
    assert_non_null(
        strstr(error.text, "\" is no address; write unix:/path (absolute, at most 107 bytes) or tcp://host:port"));
    assert_null(strchr(error.text, '\x1b'));
  }
}

static void test_answers(void **state) {
  (void)state;
  assert_int_equal(load_printed("--version"), 1);
  assert_string_equal(printed, "shardd " SHARD_VERSION "\n");
  assert_int_equal(load_printed("--help"), 1);
  assert_int_equal(strncmp(printed, "Usage: shardd [FLAGS]\n", 22), 0);
  for (size_t i = 0; i < settings_table.count; i++) {
    char *flag = base_printf("--%s", settings_table.keys[i].name);
    if (strstr(printed, flag) == NULL) fail_msg("--help does not name %s", flag);
    free(flag);
  }
  for (char *save, *line = strtok_r(printed, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
    assert_true(strlen(line) <= 100);
}

static void test_check_config(void **state) {
  (void)state;
  char *expected = base_printf("ok: %s\n", path);
  assert_int_equal(load_printed("--check-config"), 1);
  assert_string_equal(printed, expected);
  free(expected);
  write_file("lease-ttl: 15s\nheartbeat: [\n");
  assert_int_equal(load_printed("--check-config"), -1);
  assert_string_equal(printed, "");
  expected = base_printf("%s:3:1: ", path);
  assert_int_equal(strncmp(error.text, expected, strlen(expected)), 0);
  free(expected);
  write_file("heartbeat: 10s\n");
  assert_int_equal(load_printed("--check-config"), -1);
  assert_non_null(strstr(error.text, "more than a third of lease-ttl"));
}

static void test_reload(void **state) {
  (void)state;
  struct settings old, fresh;
  write_file("lease-ttl: 30s\nmax-builds: 5\n");
  assert_int_equal(load("--log-level warn", &old), 0);
  write_file("lease-ttl: 60s\nheartbeat: 20s\nmax-builds: 6\nlisten: [unix:/b]\nlog-level: debug\nidle-timeout: 1h\n");
  assert_int_equal(settings_reload(&old, &fresh, &error), 0);
  assert_int_equal(fresh.lease_ttl_us, 60000000);
  assert_int_equal(fresh.heartbeat_us, 20000000);
  assert_int_equal(fresh.idle_timeout_us, 3600000000u);
  assert_int_equal(settings_log_level(&fresh), LOG_LEVEL_WARN);  // the flag still wins
  assert_int_equal(fresh.max_builds, 5);
  assert_string_equal(fresh.listen.item[0], "unix:/run/shardd/shardd.sock");
  assert_string_equal(fresh.needs_restart, "listen, max-builds");
  assert_int_equal(old.lease_ttl_us, 30000000);
  settings_release(&old);
  write_file("");  // back to the defaults
  assert_int_equal(settings_reload(&fresh, &old, &error), 0);
  assert_int_equal(old.lease_ttl_us, 15000000);
  assert_int_equal(old.max_builds, 5);
  assert_string_equal(old.needs_restart, "max-builds");
  settings_release(&old);
  settings_release(&fresh);
}

static void test_reload_of_broken_files(void **state) {
  (void)state;
  struct settings old, fresh;
  assert_int_equal(load("", &old), 0);
  memset(&fresh, 0x5a, sizeof fresh);
  write_file("lease-ttl: 1s\n");  // the default heartbeat does not fit
  assert_int_equal(settings_reload(&old, &fresh, &error), -1);
  assert_non_null(strstr(error.text, "more than a third"));
  write_file("listen: [tcp://0.0.0.0:1]\n");  // refused although it would wait for a restart
  assert_int_equal(settings_reload(&old, &fresh, &error), -1);
  write_file("a: [\n");
  assert_int_equal(settings_reload(&old, &fresh, &error), -1);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(settings_reload(&old, &fresh, &error), -1);
  assert_non_null(strstr(error.text, path));
  assert_int_equal(fresh.max_builds, 0x5a5a5a5a5a5a5a5a);
  assert_int_equal(old.lease_ttl_us, 15000000);
  settings_release(&old);
}

static void test_protected_refs(void **state) {
  static const struct {
    const char *line, *branch;
    bool protects, trunk;
  } cases[] = {
      {"", "any", true, false},
      {"", "", true, true},
      {"", "main", true, true},
      {"", "master", true, true},
      {"", "trunk", true, true},
      {"", "refs/heads/main", true, true},
      {"", "origin/master", true, true},
      {"", "refs/pull/7/merge", true, false},
      {"", "mainline", true, false},
      {"", "feature/main", true, false},
      {"--protected-refs main --protected-refs release/*", "main", true, true},
      {"--protected-refs main --protected-refs release/*", "release/1/2", true, true},
      {"--protected-refs main --protected-refs release/*", "maintenance", false, false},
      {"--protected-refs develop", "main", false, false},
      {"--protected-refs main", "", false, false},
      {"--protected-refs *", "", false, false},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct settings settings;
    assert_int_equal(load(cases[i].line, &settings), 0);
    if (settings_protects(&settings, cases[i].branch) != cases[i].protects) fail_msg("case %zu", i);
    if (settings_trunk(&settings, cases[i].branch) != cases[i].trunk) fail_msg("case %zu: trunk", i);
    settings_release(&settings);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_defaults, start),
      cmocka_unit_test_setup(test_protected_refs, start),
      cmocka_unit_test_setup(test_sources_in_order, start),
      cmocka_unit_test_setup(test_which_file, start),
      cmocka_unit_test_setup(test_wrong_lines, start),
      cmocka_unit_test_setup(test_what_goes_together, start),
      cmocka_unit_test_setup(test_strangers_need_tokens, start),
      cmocka_unit_test_setup(test_addresses, start),
      cmocka_unit_test_setup(test_answers, start),
      cmocka_unit_test_setup(test_check_config, start),
      cmocka_unit_test_setup(test_reload, start),
      cmocka_unit_test_setup(test_reload_of_broken_files, start),
  };
  return cmocka_run_group_tests_name("settings", tests, setup, teardown);
}
