// Tests of config/conf.c and conf_value.c: every type from file and environment, each refusal with its place and
// advice, printing that reads back, copies, ownership (under sanitizers), and mutated files from a fixed seed.
#include "tests/unit/conf_fixture.h"

static void test_defaults(void **state) {
  (void)state;
  assert_true(options.color);
  assert_false(options.quiet);
  assert_int_equal(options.workers, 0);
  assert_int_equal(options.ttl_us, 15000000);
  assert_int_equal(options.room, 8 << 20);
  assert_string_equal(options.name, "none");
  assert_string_equal(options.token, "");
  assert_int_equal(options.listen.count, 2);
  assert_string_equal(options.listen.item[1], "tcp://b");
  assert_int_equal(options.level, 2);
  for (size_t i = 0; i < COUNT_OF(keys); i++)
    assert_int_equal(sources[i], CONF_FROM_DEFAULT);
}

static void test_file_sets_every_type(void **state) {
  (void)state;
  assert_int_equal(read_file("color: off\nquiet: True\nworkers: 4\nlease_ttl: '2m'\nroom: 64k\nname: \"a: b\"\n"
                             "token: t0k\nlisten:\n- unix:/x, y\n- tcp://h:1\nlog-level: debug\n"),
                   0);
  assert_false(options.color);
  assert_true(options.quiet);
  assert_int_equal(options.workers, 4);
  assert_int_equal(options.ttl_us, 120000000);
  assert_int_equal(options.room, 65536);
  assert_string_equal(options.name, "a: b");
  assert_string_equal(options.token, "t0k");
  assert_int_equal(options.listen.count, 2);
  assert_string_equal(options.listen.item[0], "unix:/x, y");
  assert_int_equal(options.level, 3);
  assert_int_equal(sources[3], CONF_FROM_FILE);
  assert_int_equal(sources[7], CONF_FROM_DEFAULT);
}

static void test_file_edges(void **state) {
  (void)state;
  assert_int_equal(read_file(""), 0);
  assert_string_equal(options.name, "none");
  assert_int_equal(read_file("name:\nlisten: []\n"), 0);
  assert_string_equal(options.name, "");
  assert_int_equal(options.listen.count, 0);
  assert_int_equal(read_file("name: ~\nlisten: one thing\n"), 0);
  assert_string_equal(options.name, "");
  assert_int_equal(options.listen.count, 1);
  assert_string_equal(options.listen.item[0], "one thing");
  assert_int_equal(read_file("name: '~'\nlisten: null\n"), 0);
  assert_string_equal(options.name, "~");
  assert_int_equal(options.listen.count, 0);
}

static void test_file_refusals(void **state) {
  (void)state;
  file_refused("a: 1\n", "1:1", "unknown key \"a\"; --help lists the known ones");
  file_refused("name: x\nlease-tlt: 1s\n", "2:1", "unknown key \"lease-tlt\"; did you mean lease-ttl?");
  file_refused("Listen: x\n", "1:1", "unknown key \"Listen\"; did you mean listen?");
  file_refused("confg: x\n", "1:1", "unknown key \"confg\"; --help lists the known ones");
  file_refused("config: x\n", "1:9", "config has no place in a file; give it as --config");
  file_refused("lease-ttl: 5x\n", "1:12",
               "lease-ttl: \"5x\" is wrong; it takes a duration from 100ms to 1h, such as 90s, 1.5m or 250ms");
  file_refused("lease-ttl: 2h\n", "1:12",
               "lease-ttl: \"2h\" is wrong; it takes a duration from 100ms to 1h, such as 90s, 1.5m or 250ms");
  file_refused("workers: 0\n", "1:10", "workers: \"0\" is wrong; it takes a whole number from 1 to 64");
  file_refused("workers:\n", "1:9", "workers: \"\" is wrong; it takes a whole number from 1 to 64");
  file_refused("room: [1]\n", "1:7",
               "room: a sequence is wrong here; it takes a size of at least 0, such as 512, 64k or 8M");
  file_refused("color: maybe\n", "1:8", "color: \"maybe\" is wrong; it takes yes or no");
  file_refused("log-level: wran\n", "1:12",
               "log-level: \"wran\" is wrong; did you mean warn? It takes one of error, warn, info, debug");
  file_refused("listen: {a: b}\n", "1:9", "listen: a map is wrong here; it takes a list of texts");
  file_refused("listen: [a, [b]]\n", "1:9", "listen: item 2 is no text; it takes a list of texts");
  file_refused("listen: [a, '']\n", "1:9", "listen: item 2 is no text; it takes a list of texts");
  file_refused("lease-ttl: 1s\nlease_ttl: 2s\n", "2:1", "lease-ttl stands twice, first on line 1; remove one of them");
  file_refused("- a\n", "1:1", "no options here; write lines of \"name: value\"");
  file_refused("word\n", "1:1", "no options here; write lines of \"name: value\"");
  file_refused("name: *x\n", "1:7", "an alias (*); write the value out, aliases are not supported");
  assert_int_equal(conf_file(&table, &options, sources, "/nonexistent/x.yml", &error), -1);
  assert_non_null(strstr(error.text, "/nonexistent/x.yml: cannot be opened: No such file"));
}

static void test_env(void **state) {
  (void)state;
  assert_int_equal(setenv("UNITCONF_LEASE_TTL", "1.5s", 1), 0);
  assert_int_equal(setenv("UNITCONF_LISTEN", " unix:/x,tcp://y  unix:/z,", 1), 0);
  assert_int_equal(setenv("UNITCONF_COLOR", "0", 1), 0);
  assert_int_equal(setenv("UNITCONF_NAME", "", 1), 0);  // counts as unset
  assert_int_equal(setenv("UNITCONF_UNKNOWN", "others may use the prefix", 1), 0);
  assert_int_equal(conf_env(&table, &options, sources, &error), 0);
  assert_int_equal(unsetenv("UNITCONF_UNKNOWN"), 0);
  assert_int_equal(options.ttl_us, 1500000);
  assert_int_equal(options.listen.count, 3);
  assert_string_equal(options.listen.item[0], "unix:/x");
  assert_string_equal(options.listen.item[1], "tcp://y");
  assert_string_equal(options.listen.item[2], "unix:/z");
  assert_false(options.color);
  assert_string_equal(options.name, "none");
  assert_int_equal(sources[3], CONF_FROM_ENV);
  assert_int_equal(sources[5], CONF_FROM_DEFAULT);
  assert_int_equal(setenv("UNITCONF_WORKERS", "many\n", 1), 0);
  assert_int_equal(conf_env(&table, &options, sources, &error), -1);
  assert_string_equal(error.text,
                      "variable UNITCONF_WORKERS: \"many\\x0a\" is wrong; it takes a whole number from 1 to 64");
}

static void test_secrets_stay_secret(void **state) {
  (void)state;
  struct conf_key secret = keys[3];
  secret.secret = true;
  struct conf_value value;
  struct conf_why why;
  assert_int_equal(conf_value_read(&secret, "hunter2", CONF_SPLIT_NEVER, &value, &why), -1);
  assert_null(strstr(why.text, "hunter2"));
  assert_int_equal(strncmp(why.text, "this value is wrong; it takes a duration", 40), 0);
}

static void write_settings(FILE *out) {
  conf_print(&table, &options, out);
}

static void test_print_reads_back(void **state) {
  (void)state;
  char *text = written(write_settings);
  assert_string_equal(text,
                      "color: yes\nquiet: no\n# workers: unset\nlease-ttl: 15s\nroom: 8M\nname: \"none\"\n"
                      "token: \"\"\nlisten: [\"unix:/a\", \"tcp://b\"]\nlog-level: info\n");
  free(text);
  static const char odd[] = "q\" b\\ n\n \x1b \xc2\x85 é \xef\xbb\xbf \xe2\x80\xae 🙂 \xf3\xa0\x80\x81: #";
  assert_int_equal(setenv("UNITCONF_NAME", odd, 1), 0);
  assert_int_equal(setenv("UNITCONF_TOKEN", "hunter2", 1), 0);
  assert_int_equal(conf_env(&table, &options, sources, &error), 0);
  assert_int_equal(args("-n 7 --lease-ttl 90s --room 3k --listen [ --listen ~ --no-color --log-level error"), 0);
  text = written(write_settings);
  assert_non_null(strstr(text, "token: \"***\"\n"));
  assert_null(strstr(text, "hunter2"));
  struct options before = options;
  assert_int_equal(start(NULL), 0);
  assert_int_equal(read_file(text), 0);
  for (size_t i = 0; i < COUNT_OF(keys); i++)
    if (!keys[i].secret) assert_true(conf_value_equal(&keys[i], &before, &options));
  assert_string_equal(options.name, odd);
  conf_release(&table, &before);
  free(text);
}

static void test_copy_and_equal(void **state) {
  (void)state;
  struct options other;
  conf_init(&table, &other, NULL);
  assert_int_equal(args("-n 7 --quiet --lease-ttl 90s --room 3k --listen z --name y --no-color --log-level error -cx"),
                   0);
  for (size_t i = 0; i < COUNT_OF(keys); i++) {
    if (keys[i].secret) continue;
    assert_false(conf_value_equal(&keys[i], &options, &other));
    conf_value_copy(&keys[i], &other, &options);
    assert_true(conf_value_equal(&keys[i], &options, &other));
  }
  assert_ptr_not_equal(other.name, options.name);
  conf_value_copy(&keys[8], &other, &other);  // onto itself
  assert_int_equal(other.listen.count, 1);
  conf_release(&table, &other);
}

static void test_number_texts_are_short_and_exact(void **state) {
  (void)state;
  static const struct {
    enum conf_type type;
    uint64_t number;
    const char *text;
  } cases[] = {
      {CONF_DURATION, 0, "0"},          {CONF_DURATION, 1, "1us"},           {CONF_DURATION, 1500, "1500us"},
      {CONF_DURATION, 250000, "250ms"}, {CONF_DURATION, 90000000, "90s"},    {CONF_DURATION, 3600000000u, "1h"},
      {CONF_SIZE, 1023, "1023"},        {CONF_SIZE, 1 << 20, "1M"},          {CONF_SIZE, 3 << 10, "3k"},
      {CONF_UINT, 1024, "1024"},        {CONF_DURATION, 86400000000u, "1d"}, {CONF_SIZE, 1 << 30, "1G"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char out[32];
    assert_string_equal(conf_value_number_text(cases[i].type, cases[i].number, out, sizeof out), cases[i].text);
    uint64_t back = 5;
    if (cases[i].type == CONF_DURATION) assert_int_equal(base_parse_duration(out, 0, UINT64_MAX, &back), 0);
    if (cases[i].type == CONF_SIZE) assert_int_equal(base_parse_size(out, 0, UINT64_MAX, &back), 0);
    if (cases[i].type == CONF_UINT) assert_int_equal(base_parse_u64(out, 0, UINT64_MAX, &back), 0);
    assert_true(back == cases[i].number);
  }
}

// Hostile files through the whole reader: an error with its place, or settings that are whole.
static void test_mutated_files(void **state) {
  (void)state;
  static const char sample[] =
      "color: no\nworkers: 3\nlease-ttl: 15s\nlisten: [a, b]\nname: \"x y\"\nlog-level: warn\n";
  static const char alphabet[] = "\n :-[]{},'\"#&*!019smh\xff\x01";
  uint64_t seed = 0xc0ffee;
  size_t read = 0, failed = 0;
  for (int round = 0; round < 3000; round++) {
    char text[sizeof sample];
    memcpy(text, sample, sizeof sample);
    for (int edits = 0; edits < 1 + round % 3; edits++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      text[(seed >> 33) % (sizeof sample - 1)] = alphabet[(seed >> 17) % (sizeof alphabet - 1)];
    }
    if (round % 7 == 0) text[(seed >> 40) % sizeof sample] = '\0';
    int rc = read_file(text);
    if (rc != 0) {
      assert_int_equal(strncmp(error.text, path, strlen(path)), 0);
      assert_int_equal(error.text[strlen(path)], ':');
    }
    *(rc == 0 ? &read : &failed) += 1;
    assert_non_null(options.name);
    assert_true(conf_value_in_bounds(&keys[3], &options));
    assert_true(options.level >= 0 && options.level <= 3);
    for (size_t i = 0; i < options.listen.count; i++)
      assert_true(strlen(options.listen.item[i]) < sizeof sample);
  }
  assert_true(read > 50 && failed > 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_defaults, start, finish),
      cmocka_unit_test_setup_teardown(test_file_sets_every_type, start, finish),
      cmocka_unit_test_setup_teardown(test_file_edges, start, finish),
      cmocka_unit_test_setup_teardown(test_file_refusals, start, finish),
      cmocka_unit_test_setup_teardown(test_env, start, finish),
      cmocka_unit_test_setup_teardown(test_secrets_stay_secret, start, finish),
      cmocka_unit_test_setup_teardown(test_print_reads_back, start, finish),
      cmocka_unit_test_setup_teardown(test_copy_and_equal, start, finish),
      cmocka_unit_test_setup_teardown(test_number_texts_are_short_and_exact, start, finish),
      cmocka_unit_test_setup_teardown(test_mutated_files, start, finish),
  };
  return cmocka_run_group_tests_name("conf", tests, make_dir, remove_dir);
}
