// Unit tests of the token file: what is read, what is refused and how it is named, who comes in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "server/auth.h"

static char path[] = "/tmp/shard-auth-XXXXXX";
static struct auth_error error;

static int make_file(void **state) {
  (void)state;
  int fd = mkstemp(path);
  return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
  (void)state;
  return unlink(path);
}

static struct auth *load(const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fputs(text, file) < 0, 0);
  assert_int_equal(fclose(file), 0);
  error.text[0] = '\0';
  return auth_load(path, &error);
}

static bool allows(const struct auth *auth, const char *token) {
  return auth_allows(auth, token, strlen(token), -1);
}

static void test_open_without_a_file(void **state) {
  (void)state;
  struct auth *auth = auth_load("", &error);
  assert_non_null(auth);
  assert_true(allows(auth, ""));
  assert_true(allows(auth, "anything"));
  auth_free(auth);
  auth_free(NULL);
}

static void test_tokens(void **state) {
  (void)state;
  struct auth *auth = load("# made in May\n\nabcdefghijklmnop\r\nsecond-token-of-the-file\n");
  assert_non_null(auth);
  assert_true(allows(auth, "abcdefghijklmnop"));
  assert_true(allows(auth, "second-token-of-the-file"));
  assert_false(allows(auth, ""));
  assert_false(allows(auth, "abcdefghijklmno"));
  assert_false(allows(auth, "abcdefghijklmnopq"));
  assert_false(allows(auth, "abcdefghijklmnop\r"));
  assert_false(allows(auth, "# made in May"));
  assert_false(auth_allows(auth, "abcdefghijklmnop\0", 17, -1));
  auth_free(auth);
}

// On the Unix socket the daemon's own user and root need no token; others do.
static void test_own_user(void **state) {
  (void)state;
  struct auth *auth = load("abcdefghijklmnop");
  assert_non_null(auth);
  assert_true(auth_allows(auth, "", 0, 0));
  assert_true(auth_allows(auth, "", 0, (int64_t)geteuid()));
  assert_false(auth_allows(auth, "", 0, (int64_t)geteuid() + 1));
  assert_false(auth_allows(auth, "", 0, -1));
  assert_true(auth_allows(auth, "abcdefghijklmnop", 16, (int64_t)geteuid() + 1));
  auth_free(auth);
}

static void expect_refusal(const char *text, const char *part) {
  assert_null(load(text));
  if (!strstr(error.text, part) || !strstr(error.text, path)) fail_msg("expected '%s' in '%s'", part, error.text);
}

static void test_refusals(void **state) {
  (void)state;
  char longer[300];
  expect_refusal("", "no token in it");
  expect_refusal("# only words\n\n", "no token in it");
  expect_refusal("abcdefghijklmnop\nshort\n", ":2: a token has 16 to 256 characters");
  expect_refusal("with a space in the token\n", ":1: ");
  expect_refusal("caf\xc3\xa9-caf\xc3\xa9-caf\xc3\xa9\n", ":1: ");
  memset(longer, 'x', 257);
  longer[257] = '\0';
  expect_refusal(longer, ":1: ");
  struct auth *auth;
  longer[256] = '\0';
  assert_non_null(auth = load(longer));
  assert_true(allows(auth, longer));
  auth_free(auth);
}

static void test_bound_on_tokens(void **state) {
  (void)state;
  char *text = base_calloc(1002, 24), *at = text;
  for (int i = 0; i < 1000; i++)
    at += snprintf(at, 24, "token-number-%08d\n", i);
  struct auth *auth = load(text);
  assert_non_null(auth);
  assert_true(allows(auth, "token-number-00000999"));
  auth_free(auth);
  snprintf(at, 24, "token-number-%08d\n", 1000);
  expect_refusal(text, ":1001: more than 1000 tokens");
  free(text);
}

static void test_no_file(void **state) {
  (void)state;
  assert_null(auth_load("/nowhere/tokens", &error));
  assert_non_null(strstr(error.text, "/nowhere/tokens: No such file"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_open_without_a_file),
      cmocka_unit_test(test_tokens),
      cmocka_unit_test(test_own_user),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_bound_on_tokens),
      cmocka_unit_test(test_no_file),
  };
  return cmocka_run_group_tests_name("auth", tests, make_file, remove_file);
}
