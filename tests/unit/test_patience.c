// Unit tests of a long start: systemd is told again and again that it goes on, and no more once it has ended.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka needs the three above first
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/patience.h"

enum { LIMIT_S = 20 };  // alarm: what never comes ends the test

static char folder[64], path[80];
static int notify = -1;

static int set_up(void **state) {
  (void)state;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  (void)snprintf(folder, sizeof folder, "/tmp/test_patience-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  (void)snprintf(path, sizeof path, "%s/notify", folder);
  (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  (void)alarm(LIMIT_S);
  return bind(notify, (struct sockaddr *)&address, sizeof address) == 0 && setenv("NOTIFY_SOCKET", path, 1) == 0 ? 0
                                                                                                                 : -1;
}

static int tear_down(void **state) {
  (void)state;
  (void)close(notify);
  (void)unsetenv("NOTIFY_SOCKET");
  (void)unlink(path);
  return rmdir(folder);
}

static void test_says_so_until_it_ends(void **state) {
  (void)state;
  char said[256];
  struct patience *patience = patience_begin(1000, 60000000);
  for (int i = 0; i < 5; i++) {
    ssize_t n = recv(notify, said, sizeof said - 1, 0);
    assert_true(n > 0);
    said[n] = '\0';
    assert_non_null(strstr(said, "EXTEND_TIMEOUT_USEC=60000000\n"));
    assert_non_null(strstr(said, "STATUS=opening the database"));
  }
  patience_end(patience);
  ssize_t last = 0, n;
  while ((n = recv(notify, said, sizeof said - 1, MSG_DONTWAIT)) > 0)
    last = n;
  said[last] = '\0';
  assert_string_equal(said, "STATUS=");
  assert_int_equal(recv(notify, said, sizeof said, MSG_DONTWAIT), -1);  // its thread is gone
}

static void test_short_starts_end_at_once(void **state) {
  (void)state;
  patience_end(patience_begin(UINT64_C(3600000000), 1));
  patience_end(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_says_so_until_it_ends, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_short_starts_end_at_once, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
