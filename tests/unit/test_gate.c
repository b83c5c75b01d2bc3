// Unit tests of --fail-if (gate.c) and of CODEOWNERS (owners.c).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "proto/msg.h"
#include "worker/gate.h"
#include "worker/owners.h"

enum { COLUMNS = 7, ROWS = 2 };

static char why[512];

// test, file, expected, rate, since (an hour ago; unknown), runs, runs_per_day
static struct answer answer_of(void) {
  static ProtobufCBinaryData column[COLUMNS], cell[COLUMNS * ROWS];
  static uint32_t type[COLUMNS] = {SHARDD__COLUMN_TYPE__COLUMN_TEXT,     SHARDD__COLUMN_TYPE__COLUMN_TEXT,
                                   SHARDD__COLUMN_TYPE__COLUMN_DURATION, SHARDD__COLUMN_TYPE__COLUMN_RATIO,
                                   SHARDD__COLUMN_TYPE__COLUMN_TIME,     SHARDD__COLUMN_TYPE__COLUMN_INT,
                                   SHARDD__COLUMN_TYPE__COLUMN_NUMBER};
  static const char *const names[COLUMNS] = {"test", "file", "expected", "rate", "since", "runs", "runs_per_day"};
  static char hour_ago[32];
  const char *const cells[COLUMNS * ROWS] = {"a", "x/a.py", "30000000", "50000", hour_ago, "80", "11400",
                                             "b", "y/b.py", "1000000",  "2900",  "",       "7",  "400"};
  static Shardd__Rows rows;
  struct answer answer;
  (void)snprintf(hour_ago, sizeof hour_ago, "%ju", (uintmax_t)(base_wall_us() / 1000 - 3600 * 1000));
  for (size_t i = 0; i < COLUMNS; i++)
    column[i] = msg_text(names[i]);
  for (size_t i = 0; i < COUNT_OF(cells); i++)
    cell[i] = msg_text(cells[i]);
  rows = (Shardd__Rows)SHARDD__ROWS__INIT;
  rows.column = column;
  rows.type = type;
  rows.cell = cell;
  rows.n_column = rows.n_type = COLUMNS;
  rows.n_cell = COUNT_OF(cells);
  assert_int_equal(answer_init(&answer, &rows), 0);
  return answer;
}

static void test_rules(void **state) {
  static const struct {
    const char *rule;
    int fails;  // -1: refused when read, -2: when rows are seen
    const char *row;
  } cases[] = {
      {"", 0, ""},
      {"rows>0", 1, ""},
      {"rows > 2", 0, ""},
      {"rows>=2", 1, ""},
      {"rows!=2", 0, ""},
      {"expected>29.9s", 1, "a"},
      {"expected>30s", 0, ""},
      {"expected >= 30s", 1, "a"},
      {"expected<=1s", 1, "b"},
      {"rate>=5%", 1, "a"},
      {"rate>0.05", 0, ""},
      {"rate<0.3%", 1, "b"},
      {"rate=0.29%", 1, "b"},
      {"runs>79", 1, "a"},
      {"runs>80", 0, ""},
      {"runs_per_day>5", 1, "a"},
      {"runs_per_day>11.4", 0, ""},
      {"runs_per_day<0.5", 1, "b"},
      {"test=b", 1, "b"},
      {"test!=a", 1, "b"},
      {"test=c", 0, ""},
      {"test>a", 1, "b"},
      {"since>59m", 1, "a"},
      {"since>2h", 0, ""},
      {"since<2h", 1, "a"},  // what is unknown is neither
      {"nothing>1", -2, NULL},
      {"expected>5%", -2, NULL},
      {"expected>much", -2, NULL},
      {"rate>many", -2, NULL},
      {"rate>1e300", -2, NULL},
      {"runs>0.5", -2, NULL},
      {"runs>5%", -2, NULL},
      {"runs_per_day>5%", -2, NULL},
      {"rate<1e14", -2, NULL},  // in millionths no number
      {"rows>many", -1, NULL},
      {"rows", -1, NULL},
      {">1", -1, NULL},
      {"rate>", -1, NULL},
      {"rate=>1", -2, NULL},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct gate gate;
    struct answer answer = answer_of();
    int rc = gate_init(&gate, cases[i].rule, why, sizeof why);
    if (rc == 0 && gate_feed(&gate, &answer, why, sizeof why) != 0) rc = -2;
    int got = rc == 0 ? gate_fails(&gate) : rc;
    if (got != cases[i].fails) fail_msg("%s: %d", cases[i].rule, got);
    if (rc == 0) assert_string_equal(gate.row, cases[i].row);
  }
}

static void test_owners(void **state) {
  static const char text[] =
      "# comment\n"
      "*            @all\n"
      "*.sql        @db @dba\n"
      "/docs/       @writers   # not src/docs\n"
      "src/api/*    @api\n"
      "lib/         @lib\n"
      "src/**/deep.py @deep\n"
      "/top.py @top\n"
      "sp\\ ace.py @space\n"
      "\n[Section][2] @section\n"
      "sec/\n"
      "sec/own.py @own\n"
      "none.py\n"
      "^[Optional]\n"
      "nobody.py\n";
  static const struct {
    const char *file, *owners;
  } cases[] = {
      {"a.py", "@all"},         {"x/y.sql", "@db @dba"},      {"docs/a/b.md", "@writers"}, {"src/docs/a.md", "@all"},
      {"src/api/a.py", "@api"}, {"src/api/v1/a.py", "@all"},  {"lib/a.py", "@lib"},        {"x/lib/y/a.py", "@lib"},
      {"lib", "@all"},          {"src/a/b/deep.py", "@deep"}, {"top.py", "@top"},          {"x/top.py", "@all"},
      {"sp ace.py", "@space"},  {"sec/a.py", "@section"},     {"sec/own.py", "@own"},      {"none.py", "@section"},
      {"x/nobody.py", ""},
  };
  char path[] = "/tmp/shard-owners-XXXXXX";
  struct owners *owners;
  (void)state;
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, text, sizeof text - 1) == sizeof text - 1);
  close(fd);
  assert_int_equal(owners_load(path, &owners, why, sizeof why), 0);
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (strcmp(owners_of(owners, cases[i].file), cases[i].owners) != 0)
      fail_msg("%s: %s", cases[i].file, owners_of(owners, cases[i].file));
  struct answer answer = answer_of(), both = owners_add(owners, &answer);
  assert_int_equal(both.column_count, COLUMNS + 1);
  assert_int_equal(both.row_count, ROWS);
  char *owner = answer_get_text(&both, 1, "owner"), *file = answer_get_text(&both, 1, "file");
  assert_string_equal(owner, "@all");
  assert_string_equal(file, "y/b.py");
  free(owner);
  free(file);
  owners_free(owners);
  unlink(path);
  assert_int_equal(owners_load(path, &owners, why, sizeof why), -1);
  assert_non_null(strstr(why, path));
  assert_int_equal(owners_add(NULL, &answer).column_count, COLUMNS);
}

// A rule that is left out would give its files to others.
static void test_owners_that_do_not_fit(void **state) {
  static const struct {
    size_t bytes, times;
    const char *why;
  } cases[] = {
      {4095, 1, ":1: a line is longer"}, {1, 20001, ":20001: there are more"}, {4094, 1, NULL}, {1, 20000, NULL}};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char path[] = "/tmp/shard-owners-XXXXXX";
    struct owners *owners = NULL;
    FILE *file = fdopen(mkstemp(path), "we");
    for (size_t time = 0; time < cases[i].times; time++)
      assert_true(fprintf(file, "%0*d\n", (int)cases[i].bytes, 0) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(owners_load(path, &owners, why, sizeof why), cases[i].why ? -1 : 0);
    assert_true(cases[i].why ? strncmp(why, path, strlen(path)) == 0 && strstr(why, cases[i].why) != NULL
                             : owners != NULL);
    owners_free(owners);
    unlink(path);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules), cmocka_unit_test(test_owners),
                                     cmocka_unit_test(test_owners_that_do_not_fit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
