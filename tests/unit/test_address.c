// Addresses: every form, every bound, and a reason for whatever is not one.
#include "proto/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_good_addresses(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool is_unix;
    const char *path_or_host;
    unsigned port;
    const char *formatted;
  } cases[] = {
      {"unix:/run/shardd.sock", true, "/run/shardd.sock", 4270, "unix:/run/shardd.sock"},
      {"unix:shardd.sock", true, "shardd.sock", 4270, "unix:shardd.sock"},
      {"tcp://ci.example", false, "ci.example", 4270, "tcp://ci.example:4270"},
      {"tcp://127.0.0.1:0", false, "127.0.0.1", 0, "tcp://127.0.0.1:0"},
      {"tcp://ci:65535", false, "ci", 65535, "tcp://ci:65535"},
      {"tcp://[::1]", false, "::1", 4270, "tcp://[::1]:4270"},
      {"tcp://[fe80::1%eth0]:99", false, "fe80::1%eth0", 99, "tcp://[fe80::1%eth0]:99"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct address address;
    const char *why = NULL;
    char text[ADDRESS_TEXT_MAX_BYTES];
    assert_int_equal(address_parse(cases[i].text, 4270, &address, &why), 0);
    assert_null(why);
    assert_int_equal(address.is_unix, cases[i].is_unix);
    assert_string_equal(address.is_unix ? address.path : address.host, cases[i].path_or_host);
    assert_int_equal(address.port, cases[i].port);
    assert_string_equal(address_format(&address, text, sizeof text), cases[i].formatted);
  }
}

static void test_what_is_no_address(void **state) {
  (void)state;
  static const struct {
    const char *text;
    const char *why;  // part of the reason
  } cases[] = {
      {"", "is no address"},
      {"localhost:4270", "is no address"},
      {"http://ci:80", "is no address"},
      {"UNIX:/x", "is no address"},
      {"tcp:/ci:1", "is no address"},
      {"tls://ci:1", "TLS is not supported"},
      {"unix:", "names no socket file"},
      {"tcp://", "names no host"},
      {"tcp://:4270", "names no host"},
      {"tcp://[]:4270", "names no host"},
      {"tcp://[::1", "closing ]"},
      {"tcp://[::1]4270", "something else"},
      {"tcp://::1", "stands in brackets"},
      {"tcp://fe80::1:4270", "stands in brackets"},
      {"tcp://ci:", "port must be"},
      {"tcp://ci:65536", "port must be"},
      {"tcp://ci:99999", "port must be"},
      {"tcp://ci:184467440737095516165", "port must be"},
      {"tcp://ci:-1", "port must be"},
      {"tcp://ci:+1", "port must be"},
      {"tcp://ci: 1", "port must be"},
      {"tcp://ci:12a", "port must be"},
      {"tcp://ci:4270/", "port must be"},
      {"tcp://user@ci:4270", "no host name has"},
      {"tcp://ci/path", "no host name has"},
      {"tcp://c i", "no host name has"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct address address = {.port = 77};
    const char *why = NULL;
    assert_int_equal(address_parse(cases[i].text, 4270, &address, &why), -1);
    assert_non_null(why);
    if (strstr(why, cases[i].why) == NULL) fail_msg("'%s': %s", cases[i].text, why);
    assert_int_equal(address.port, 77);
  }
}

static void test_bounds_of_lengths(void **state) {
  (void)state;
  char text[1024];
  struct address address;
  const char *why = NULL;
  char xs[600];
  memset(xs, 'x', sizeof xs);
  snprintf(text, sizeof text, "unix:/%.*s", ADDRESS_PATH_MAX_BYTES - 1, xs);
  assert_int_equal(address_parse(text, 1, &address, &why), 0);
  assert_int_equal(strlen(address.path), ADDRESS_PATH_MAX_BYTES);
  snprintf(text, sizeof text, "unix:/%.*s", ADDRESS_PATH_MAX_BYTES, xs);
  assert_int_equal(address_parse(text, 1, &address, &why), -1);
  assert_non_null(strstr(why, "107"));
  snprintf(text, sizeof text, "tcp://%.*s:5", ADDRESS_HOST_MAX_BYTES, xs);
  assert_int_equal(address_parse(text, 1, &address, &why), 0);
  assert_int_equal(strlen(address.host), ADDRESS_HOST_MAX_BYTES);
  char out[ADDRESS_TEXT_MAX_BYTES];
  assert_string_equal(address_format(&address, out, sizeof out), text);
  snprintf(text, sizeof text, "tcp://%.*s:5", ADDRESS_HOST_MAX_BYTES + 1, xs);
  assert_int_equal(address_parse(text, 1, &address, &why), -1);
  assert_non_null(strstr(why, "255"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_good_addresses),
      cmocka_unit_test(test_what_is_no_address),
      cmocka_unit_test(test_bounds_of_lengths),
  };
  return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
