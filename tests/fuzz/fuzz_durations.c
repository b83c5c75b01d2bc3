// Files of durations: the first byte says which form the rest is read as, .test_durations, JUnit XML or CSV. What is
// taken may go to the server; written in each form and read again it is the same, but for what the form cannot hold;
// what is refused names the file, and the line where the form has lines.
#include "proto/msg.h"
#include "tests/fuzz/fuzz_file.h"
#include "worker/durations_write.h"

enum { WHY_BYTES = 1000 };

static int read_bytes(struct durations *durations, const void *bytes, size_t n, enum durations_format format) {
  char why[WHY_BYTES] = "", path[FUZZ_PATH_BYTES];
  int fd = fuzz_hold(bytes, n, path);
  durations_init(durations);
  int rc = durations_read(durations, path, format, why, sizeof why);
  if (rc != 0 && format != DURATIONS_JUNIT) fuzz_check_refused(why, path, n + 1);
  if (rc != 0 && format == DURATIONS_JUNIT) {
    fuzz_check_harmless(why);
    FUZZ_CHECK(strncmp(why, path, strlen(path)) == 0);
  }
  close(fd);
  return rc;
}

static void check(const struct durations *durations) {
  FUZZ_CHECK(durations->count <= MSG_LIST_MAX);
  for (size_t i = 0; i < durations->count; i++) {
    const struct durations_test *test = &durations->test[i];
    FUZZ_CHECK(msg_id_valid(test->id, strlen(test->id)) && test->us <= MSG_EXPECTED_MAX_US);
    FUZZ_CHECK(!test->file || (test->file[0] != '\0' && strlen(test->file) <= MSG_NAME_MAX_BYTES));
    FUZZ_CHECK(i == 0 || strcmp(durations->test[i - 1].id, test->id) < 0);
  }
}

// Those that the form can hold come back in the same order.
static void check_again(const struct durations *before, const struct durations *after, bool all) {
  size_t at = 0;
  for (size_t i = 0; i < after->count; i++, at++) {
    while (!all && at < before->count && strcmp(before->test[at].id, after->test[i].id) != 0)
      at++;
    FUZZ_CHECK(at < before->count && strcmp(before->test[at].id, after->test[i].id) == 0);
    FUZZ_CHECK(before->test[at].us == after->test[i].us);
  }
}

static void write_and_read(const struct durations *durations, enum durations_format format) {
  char *text = NULL, why[WHY_BYTES] = "";
  size_t n = 0, left_out = 0;
  struct durations again;
  FILE *out = open_memstream(&text, &n);
  FUZZ_CHECK(out != NULL && durations_write(out, durations, format, "suite", &left_out, why, sizeof why) == 0);
  FUZZ_CHECK(fclose(out) == 0);
  int rc = read_bytes(&again, text, n, format);
  FUZZ_CHECK(rc == 0 && left_out + again.count + again.nameless + again.skipped == durations->count);
  durations_sort(&again);
  if (format != DURATIONS_JUNIT) check_again(durations, &again, left_out == 0);
  FUZZ_CHECK(format == DURATIONS_SPLIT || left_out == 0);
  durations_release(&again);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static const enum durations_format forms[] = {DURATIONS_SPLIT, DURATIONS_JUNIT, DURATIONS_CSV};
  struct durations durations;
  if (n == 0) return 0;
  if (read_bytes(&durations, bytes + 1, n - 1, forms[bytes[0] % COUNT_OF(forms)]) == 0) {
    durations_sort(&durations);
    check(&durations);
    for (size_t i = 0; i < COUNT_OF(forms) && durations.count > 0; i++)
      write_and_read(&durations, forms[i]);
  }
  durations_release(&durations);
  return 0;
}
