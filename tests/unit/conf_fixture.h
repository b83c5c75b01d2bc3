// One small table of options with every type, and how tests read files, command lines and printed text against it.
// Included by test_conf.c and test_conf_args.c alone: everything here is static, each program has its own.
#ifndef TESTS_UNIT_CONF_FIXTURE_H
#define TESTS_UNIT_CONF_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka wants the headers above.
#include <cmocka.h>

#include "config/conf.h"
#include "config/conf_value.h"

enum { RUN = 1, LOCAL = 2 };

struct options {
  bool color, quiet;
  uint64_t workers, ttl_us, room;
  char *name, *token, *file;
  struct conf_list listen;
  int level;
};

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

static const struct conf_key keys[] = {
    {.name = "color",
     .type = CONF_BOOL,
     .offset = offsetof(struct options, color),
     .fallback = "yes",
     .help = "colour"},
    {.name = "quiet",
     .letter = 'q',
     .type = CONF_BOOL,
     .offset = offsetof(struct options, quiet),
     .help = "say less",
     .commands = RUN | LOCAL},
    {.name = "workers",
     .letter = 'n',
     .type = CONF_UINT,
     .offset = offsetof(struct options, workers),
     .min = 1,
     .max = 64,
     .arg = "N",
     .help = "how many workers run at the same time on this machine, each of them in a process of its own",
     .commands = LOCAL},
    {.name = "lease-ttl",
     .type = CONF_DURATION,
     .offset = offsetof(struct options, ttl_us),
     .min = 100000,
     .max = 3600000000u,
     .fallback = "15s",
     .arg = "DURATION",
     .help = "life of a lease"},
    {.name = "room", .type = CONF_SIZE, .offset = offsetof(struct options, room), .fallback = "8M", .help = "room"},
    {.name = "name", .type = CONF_STRING, .offset = offsetof(struct options, name), .fallback = "none", .help = "name"},
    {.name = "token", .type = CONF_STRING, .offset = offsetof(struct options, token), .help = "token", .secret = true},
    {.name = "config",
     .letter = 'c',
     .type = CONF_STRING,
     .offset = offsetof(struct options, file),
     .arg = "FILE",
     .help = "file",
     .not_from = 1u << CONF_FROM_FILE},
    {.name = "listen",
     .letter = 'l',
     .type = CONF_LIST,
     .offset = offsetof(struct options, listen),
     .fallback = "unix:/a tcp://b",
     .arg = "ADDRESS",
     .help = "addresses"},
    {.name = "log-level",
     .type = CONF_CHOICE,
     .offset = offsetof(struct options, level),
     .choices = levels,
     .fallback = "info",
     .arg = "LEVEL",
     .help = "what is logged"},
};

static const struct conf_table table = {.env_prefix = "UNITCONF", .keys = keys, .count = COUNT_OF(keys)};

static struct options options;
static enum conf_source sources[COUNT_OF(keys)];
static struct conf_error error;
static char dir[] = "/tmp/shardd-test-conf-XXXXXX";
static char path[64];

static int start(void **state) {
  (void)state;
  memset(&options, 0xa5, sizeof options);  // conf_init must not read it
  error.text[0] = '\0';
  conf_init(&table, &options, sources);
  return 0;
}

static int finish(void **state) {
  (void)state;
  conf_release(&table, &options);
  for (size_t i = 0; i < COUNT_OF(keys); i++) {
    char name[64];
    conf_variable(&table, &keys[i], name, sizeof name);
    unsetenv(name);
  }
  return 0;
}

static int make_dir(void **state) {
  (void)state;
  if (mkdtemp(dir) == NULL) return -1;
  (void)snprintf(path, sizeof path, "%s/x.yml", dir);
  return 0;
}

static int remove_dir(void **state) {
  (void)state;
  (void)unlink(path);
  return rmdir(dir);
}

static int read_file(const char *text) {
  FILE *file = fopen(path, "we");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
  return conf_file(&table, &options, sources, path, &error);
}

static void file_refused(const char *text, const char *place, const char *message) {
  assert_int_equal(read_file(text), -1);
  char *expected = base_printf("%s:%s: %s", path, place, message);
  assert_string_equal(error.text, expected);
  free(expected);
}

// Splits a command line at spaces ("_" stands for the empty word) and reads it.
static int read_args(unsigned command, bool stop, const char *line, char **words, int *behind) {
  static char copy[256];
  char *argv[16] = {NULL};
  int argc = 0;
  (void)snprintf(copy, sizeof copy, "prog %s", line);
  for (char *save, *p = strtok_r(copy, " ", &save); p != NULL; p = strtok_r(NULL, " ", &save))
    argv[argc++] = p;
  char **rest;
  int after, rc = conf_args(&table, &options, sources, command, argc, argv, stop, &rest, &after, &error);
  if (rc != 0) return rc;
  char joined[256] = "";
  for (size_t i = 0; rest[i] != NULL; i++)
    (void)snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i > 0 ? " " : "", rest[i]);
  free(rest);
  if (words != NULL) *words = base_strdup(joined);
  if (behind != NULL) *behind = after;
  return 0;
}

static int args(const char *line) {
  return read_args(LOCAL, false, line, NULL, NULL);
}

static char *written(void (*write)(FILE *out)) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  assert_non_null(out);
  write(out);
  assert_int_equal(fclose(out), 0);
  return text;
}

#endif
