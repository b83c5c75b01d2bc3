// Tests of config/base.c and config/escape.c: numbers from text at their edges, the log's one line, quoting of hostile
// text, ending with a message. What goes to stderr is caught in a file; what ends the program runs in a child.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
// cmocka wants the headers above.
#include <cmocka.h>

#include "config/base.h"
#include "config/escape.h"

enum { CAUGHT_BYTES = 16384 };

// Sanitizers answer huge requests with NULL, as malloc does, so that the end of memory can be tested under them too.
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void) {
  return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void) {
  return "allocator_may_return_null=1";
}

static char caught[CAUGHT_BYTES];
static int real_stderr = -1, caught_fd = -1;

static void catch_stderr(void) {
  char path[] = "/tmp/shardd-test-base-XXXXXX";
  caught_fd = mkstemp(path);
  assert_true(caught_fd >= 0);
  assert_int_equal(unlink(path), 0);
  real_stderr = dup(STDERR_FILENO);
  assert_true(real_stderr >= 0);
  assert_true(dup2(caught_fd, STDERR_FILENO) >= 0);
}

static const char *caught_stderr(void) {
  assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
  assert_int_equal(close(real_stderr), 0);
  ssize_t n = pread(caught_fd, caught, sizeof caught - 1, 0);
  assert_true(n >= 0);
  caught[n] = '\0';
  assert_int_equal(close(caught_fd), 0);
  return caught;
}

static void test_u64_takes_whole_numbers_only(void **state) {
  (void)state;
  uint64_t out = 7;
  assert_int_equal(base_parse_u64("0", 0, 10, &out), 0);
  assert_int_equal(out, 0);
  assert_int_equal(base_parse_u64("18446744073709551615", 0, UINT64_MAX, &out), 0);
  assert_true(out == UINT64_MAX);
  assert_int_equal(base_parse_u64("0042", 0, 100, &out), 0);
  assert_int_equal(out, 42);
  static const char *const wrong[] = {"",    " 1",  "1 ", "-1", "+1",  "1.0",
                                      "0x1", "1e3", "1k", "１", "abc", "18446744073709551616"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    out = 99;
    assert_int_equal(base_parse_u64(wrong[i], 0, UINT64_MAX, &out), -1);
    assert_int_equal(out, 99);
  }
  assert_int_equal(base_parse_u64(NULL, 0, UINT64_MAX, &out), -1);
}

static void test_u64_keeps_bounds(void **state) {
  (void)state;
  uint64_t out = 1;
  assert_int_equal(base_parse_u64("5", 5, 9, &out), 0);
  assert_int_equal(base_parse_u64("9", 5, 9, &out), 0);
  assert_int_equal(out, 9);
  assert_int_equal(base_parse_u64("4", 5, 9, &out), -1);
  assert_int_equal(base_parse_u64("10", 5, 9, &out), -1);
  assert_int_equal(out, 9);
}

static void test_durations(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t us;
  } good[] = {{"90", 90000000}, {"90s", 90000000}, {"1.5s", 1500000},       {"1.5", 1500000},        {"250ms", 250000},
              {"10us", 10},     {"5m", 300000000}, {"2h", 7200000000u},     {"30d", 2592000000000u}, {"0", 0},
              {"0.000001s", 1}, {"0.5ms", 500},    {"0.25d", 21600000000u}, {"1.500000s", 1500000}};
  for (size_t i = 0; i < COUNT_OF(good); i++) {
    uint64_t out = 1;
    assert_int_equal(base_parse_duration(good[i].text, 0, UINT64_MAX, &out), 0);
    assert_true(out == good[i].us);
  }
  static const char *const wrong[] = {"",    "s",   "1.s", ".5s", "1,5s",  "-1s",        "1 s",
                                      "1S",  "1w",  "1ss", "1sm", "1.5us", "0.0000001s", "1e3s",
                                      "inf", "nan", "5M",  "1.",  "1..5",  "213503983d", "99999999999999999999s"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    uint64_t out = 77;
    assert_int_equal(base_parse_duration(wrong[i], 0, UINT64_MAX, &out), -1);
    assert_int_equal(out, 77);
  }
  uint64_t out = 0;
  assert_int_equal(base_parse_duration("100ms", 100000, 3600000000u, &out), 0);
  assert_int_equal(base_parse_duration("99ms", 100000, 3600000000u, &out), -1);
  assert_int_equal(base_parse_duration("1h", 100000, 3600000000u, &out), 0);
  assert_int_equal(base_parse_duration("3601s", 100000, 3600000000u, &out), -1);
}

static void test_sizes(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t bytes;
  } good[] = {{"0", 0},        {"512", 512},    {"64k", 65536}, {"64K", 65536},
              {"8M", 8388608}, {"8m", 8388608}, {"1G", 1 << 30}};
  for (size_t i = 0; i < COUNT_OF(good); i++) {
    uint64_t out = 1;
    assert_int_equal(base_parse_size(good[i].text, 0, UINT64_MAX, &out), 0);
    assert_true(out == good[i].bytes);
  }
  static const char *const wrong[] = {"", "k", "1.5M", "1KB", "1 k", "1T", "17179869184G", "-1k"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    uint64_t out = 77;
    assert_int_equal(base_parse_size(wrong[i], 0, UINT64_MAX, &out), -1);
    assert_int_equal(out, 77);
  }
}

static const char *quoted(const void *bytes, size_t n) {
  static char out[256];
  return base_quote(out, sizeof out, bytes, n);
}

static void test_quote_escapes_what_speaks_to_terminals(void **state) {
  (void)state;
  assert_string_equal(quoted("plain text", 10), "\"plain text\"");
  assert_string_equal(quoted("", 0), "\"\"");
  assert_string_equal(quoted("a\"b\\c", 5), "\"a\\\"b\\\\c\"");
  assert_string_equal(quoted("\x1b[31m\n\t\r", 8), "\"\\x1b[31m\\x0a\\x09\\x0d\"");
  assert_string_equal(quoted("a\0b\x7f", 4), "\"a\\x00b\\x7f\"");
  assert_string_equal(quoted("größe 数 🙂", strlen("größe 数 🙂")), "\"größe 数 🙂\"");
  assert_string_equal(quoted("\xc2\x9b", 2), "\"\\xc2\\x9b\"");                    // CSI in C1
  assert_string_equal(quoted("\xe2\x80\xae", 3), "\"\\xe2\\x80\\xae\"");           // right-to-left override
  assert_string_equal(quoted("\xef\xbb\xbf", 3), "\"\\xef\\xbb\\xbf\"");           // byte order mark
  assert_string_equal(quoted("\xef\xbf\xbf", 3), "\"\\xef\\xbf\\xbf\"");           // no character
  assert_string_equal(quoted("\xc0\xaf", 2), "\"\\xc0\\xaf\"");                    // overlong
  assert_string_equal(quoted("\xed\xa0\x80", 3), "\"\\xed\\xa0\\x80\"");           // surrogate
  assert_string_equal(quoted("\xf4\x90\x80\x80", 4), "\"\\xf4\\x90\\x80\\x80\"");  // beyond Unicode
  assert_string_equal(quoted("\xe2\x82", 2), "\"\\xe2\\x82\"");                    // cut off
  assert_string_equal(quoted("\xff\x80z", 3), "\"\\xff\\x80z\"");
}

static void test_quote_cuts_where_room_ends(void **state) {
  (void)state;
  char out[12];
  assert_ptr_equal(base_quote(out, sizeof out, "123456789", 9), out);
  assert_string_equal(out, "\"123456789\"");
  assert_string_equal(base_quote(out, sizeof out, "1234567890", 10), "\"123456…\"");
  assert_string_equal(base_quote(out, sizeof out, "12345é7890", 11), "\"12345…\"");
  assert_string_equal(base_quote(out, sizeof out, "12345\n7890", 10), "\"12345…\"");
  for (size_t room = 0; room <= sizeof out; room++) {
    char tight[sizeof out + 1];
    memset(tight, '#', sizeof tight);
    (void)base_quote(tight, room, "\n\x1b\"\\é🙂abcdefgh", strlen("\n\x1b\"\\é🙂abcdefgh"));
    if (room > 0) assert_true(strlen(tight) < room);
    for (size_t i = room; i < sizeof tight; i++)
      assert_int_equal(tight[i], '#');
  }
}

static void test_escape_forms(void **state) {
  (void)state;
  static const struct {
    enum escape_form form;
    const char *expected;
  } forms[] = {{ESCAPE_LINE, "a\"\\\\x0a\\x09\\xc2\\x85\\xff"},
               {ESCAPE_TEXT, "a\"\\\n\t\\xc2\\x85\\xff"},
               {ESCAPE_QUOTED, "a\\\"\\\\\\x0a\\x09\\xc2\\x85\\xff"},
               {ESCAPE_YAML, "a\\\"\\\\\\x0a\\x09\\x85\\ufffd"}};
  for (size_t i = 0; i < COUNT_OF(forms); i++) {
    char out[64];
    size_t n = escape_bytes(out, sizeof out - 1, "a\"\\\n\t\xc2\x85\xff", 8, forms[i].form);
    out[n] = '\0';
    assert_string_equal(out, forms[i].expected);
  }
}

static void test_log_is_one_line(void **state) {
  (void)state;
  base_log_init("unit", LOG_LEVEL_INFO);
  catch_stderr();
  base_log(LOG_LEVEL_INFO, "lease", "worker=%d test=%s", 3, quoted("a\nlevel=error", 13));
  base_log(LOG_LEVEL_DEBUG, "hidden", "x=1");
  base_log(LOG_LEVEL_WARN, "raw", "text=%s", "forged\nlevel=error event=x\x1b[2J");
  base_log(LOG_LEVEL_ERROR, "bare", "%s", "");
  assert_string_equal(caught_stderr(),
                      "level=info event=lease worker=3 test=\"a\\x0alevel=error\"\n"
                      "level=warn event=raw text=forged\\x0alevel=error event=x\\x1b[2J\n"
                      "level=error event=bare\n");
}

static void test_log_levels_choose(void **state) {
  (void)state;
  base_log_init("unit", LOG_LEVEL_ERROR);
  catch_stderr();
  base_log(LOG_LEVEL_WARN, "w", "n=1");
  base_log(LOG_LEVEL_ERROR, "e", "n=2");
  assert_string_equal(caught_stderr(), "level=error event=e n=2\n");
  base_log_init("unit", LOG_LEVEL_DEBUG);
  catch_stderr();
  base_log(LOG_LEVEL_DEBUG, "d", "n=3");
  assert_string_equal(caught_stderr(), "level=debug event=d n=3\n");
}

static void test_log_cuts_long_lines(void **state) {
  (void)state;
  base_log_init("unit", LOG_LEVEL_INFO);
  char *huge = base_malloc(100001);
  memset(huge, '\x01', 100000);
  huge[100000] = '\0';
  catch_stderr();
  base_log(LOG_LEVEL_INFO, "huge", "text=%s", huge);
  const char *text = caught_stderr();
  free(huge);
  size_t length = strlen(text);
  assert_true(length > 4000 && length <= 4096);
  assert_string_equal(text + length - 4, "…\n");
  assert_ptr_equal(strchr(text, '\n'), text + length - 1);
}

static void test_journal_priorities(void **state) {
  (void)state;
  catch_stderr();
  struct stat st;
  assert_int_equal(fstat(STDERR_FILENO, &st), 0);
  char *stream = base_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
  assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
  base_log_init("unit", LOG_LEVEL_DEBUG);
  base_log(LOG_LEVEL_WARN, "w", "n=1");
  base_log(LOG_LEVEL_DEBUG, "d", "n=2");
  assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);  // somebody else's stderr
  base_log_init("unit", LOG_LEVEL_DEBUG);
  base_log(LOG_LEVEL_ERROR, "e", "n=3");
  free(stream);
  assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
  base_log_init("unit", LOG_LEVEL_INFO);
  assert_string_equal(caught_stderr(),
                      "<4>level=warn event=w n=1\n<7>level=debug event=d n=2\nlevel=error event=e n=3\n");
}

static int status_of(void (*deed)(void)) {
  catch_stderr();
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    deed();
    _exit(99);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  (void)caught_stderr();
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void die_with_message(void) {
  base_die(EXIT_USAGE, "%s:3: no\nsecond line %s", "a.yml", "\x1b[0m");
}

static void allocate_too_much(void) {
  // Out of the compiler's sight, which would warn.
  volatile size_t count = SIZE_MAX / 2, bytes = 16;
  free(base_realloc(NULL, count, bytes));
}

static void test_die_names_the_program(void **state) {
  (void)state;
  base_log_init("unit", LOG_LEVEL_INFO);
  assert_int_equal(status_of(die_with_message), EXIT_USAGE);
  assert_string_equal(caught, "unit: a.yml:3: no\nsecond line \\x1b[0m\n");
}

static void test_no_memory_ends_the_program(void **state) {
  (void)state;
  assert_int_equal(status_of(allocate_too_much), EXIT_INFRA);
  assert_non_null(strstr(caught, "unit: out of memory ("));
}

static void test_memory(void **state) {
  (void)state;
  unsigned char *zero = base_calloc(3, 5);
  for (size_t i = 0; i < 15; i++)
    assert_int_equal(zero[i], 0);
  zero = base_realloc(zero, 100, 2);
  memset(zero, 1, 200);
  free(zero);
  free(base_malloc(0));
  free(base_calloc(0, 0));
  free(base_realloc(NULL, 0, 8));
  char *copy = base_memdup0("a\0bc", 3);
  assert_memory_equal(copy, "a\0b", 4);
  free(copy);
  copy = base_memdup0(NULL, 0);
  assert_string_equal(copy, "");
  free(copy);
  copy = base_strdup("text");
  assert_string_equal(copy, "text");
  free(copy);
  copy = base_printf("%s-%d", "n", 5);
  assert_string_equal(copy, "n-5");
  free(copy);
}

static void test_clocks(void **state) {
  (void)state;
  uint64_t first = base_now_us(), second = base_now_us();
  assert_true(first > 0 && second >= first);
  assert_true(base_wall_us() > UINT64_C(1700000000000000));  // after November 2023, in µs
  assert_true(base_wall_us() < UINT64_C(10000000000000000));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_u64_takes_whole_numbers_only),
      cmocka_unit_test(test_u64_keeps_bounds),
      cmocka_unit_test(test_durations),
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_quote_escapes_what_speaks_to_terminals),
      cmocka_unit_test(test_quote_cuts_where_room_ends),
      cmocka_unit_test(test_escape_forms),
      cmocka_unit_test(test_log_is_one_line),
      cmocka_unit_test(test_log_levels_choose),
      cmocka_unit_test(test_log_cuts_long_lines),
      cmocka_unit_test(test_journal_priorities),
      cmocka_unit_test(test_die_names_the_program),
      cmocka_unit_test(test_no_memory_ends_the_program),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_clocks),
  };
  return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
