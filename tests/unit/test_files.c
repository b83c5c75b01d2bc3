// Unit tests of files that are opened by name: what is not a regular file is refused, and nothing waits.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka needs the three above first
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/files.h"

enum { LIMIT_S = 20 };  // alarm: a test that waits for a writer is ended by it

static char folder[64], path[128];

static int set_up(void **state) {
  (void)state;
  (void)snprintf(folder, sizeof folder, "/tmp/test_files-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  (void)snprintf(path, sizeof path, "%s/x", folder);
  (void)alarm(LIMIT_S);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  (void)unlink(path);
  return rmdir(folder);
}

static void refused(const char *name, enum files_kind kind, const char *says) {
  const char *why = NULL;
  assert_int_equal(files_open(name, kind, &why), -1);
  assert_string_equal(why, says);
  assert_null(files_read(name, kind, &why));
}

static void refused_by_all(const char *name, const char *says) {
  refused(name, FILES_REGULAR, says);
  refused(name, FILES_STREAM, says);
}

static void test_regular_files_are_read(void **state) {
  (void)state;
  const char *why = NULL;
  char line[16];
  FILE *out = fopen(path, "we");
  assert_non_null(out);
  assert_true(fputs("text\n", out) >= 0 && fclose(out) == 0);
  FILE *in = files_read(path, FILES_REGULAR, &why);
  assert_non_null(in);
  assert_int_equal(fcntl(fileno(in), F_GETFL) & O_NONBLOCK, 0);
  assert_non_null(fgets(line, sizeof line, in));
  assert_string_equal(line, "text\n");
  assert_int_equal(fclose(in), 0);
  refused_by_all("/nonexistent/x", "No such file or directory");
}

static void test_named_pipes_do_not_wait(void **state) {
  (void)state;
  const char *why = NULL;
  assert_int_equal(mkfifo(path, 0600), 0);
  refused_by_all(path, "it is a named pipe, not a regular file");
  assert_null(files_write_to(path, &why));
  assert_string_equal(why, "it is a named pipe that nobody reads, or a socket");
}

static void test_a_socket_is_refused(void **state) {
  (void)state;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path) == strlen(path));
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  refused_by_all(path, "it is a socket or a device, not a regular file");
  (void)close(fd);
}

static void test_folders_and_devices_are_refused(void **state) {
  (void)state;
  refused_by_all("/", "it is a folder, not a regular file");
  refused_by_all("/dev/zero", "it is a device, not a regular file");
  refused("/dev/null", FILES_REGULAR, "it is a device, not a regular file");
}

// What `<(command)` and `>(command)` put in a file's place.
static void test_pipes_of_a_shell_stay_open(void **state) {
  (void)state;
  const char *why = NULL;
  int ends[2];
  char from[64], to[64], line[16];
  assert_int_equal(pipe(ends), 0);
  (void)snprintf(from, sizeof from, "/dev/fd/%d", ends[0]);
  (void)snprintf(to, sizeof to, "/dev/fd/%d", ends[1]);
  refused(from, FILES_REGULAR, "it is a pipe, not a regular file");
  FILE *out = files_write_to(to, &why), *in = files_read(from, FILES_STREAM, &why);
  assert_non_null(out);
  assert_non_null(in);
  assert_int_equal(fcntl(fileno(in), F_GETFL) & O_NONBLOCK, 0);
  assert_true(fputs("durations\n", out) >= 0 && fclose(out) == 0);
  assert_non_null(fgets(line, sizeof line, in));
  assert_string_equal(line, "durations\n");
  assert_int_equal(fclose(in), 0);
  (void)close(ends[0]);
  (void)close(ends[1]);
  FILE *empty = files_read("/dev/null", FILES_STREAM, &why);
  assert_non_null(empty);
  assert_int_equal(fclose(empty), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_regular_files_are_read, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_named_pipes_do_not_wait, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_a_socket_is_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_folders_and_devices_are_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_pipes_of_a_shell_stay_open, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
