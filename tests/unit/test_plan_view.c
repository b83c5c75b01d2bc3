// Unit tests of a forecast's two forms: every line by hand, the sentence for each case, and answers that no server of
// ours would give.
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "tests/unit/answer_fixture.h"
#include "worker/plan_view.h"

enum { MINUTE = 60 };

static struct answer_fixture curve, facts;
static struct plan_view view;
static char *text;

static const struct {
  const char *name;
  Shardd__ColumnType type;
  const char *value;
} usual[] = {
    {"source", SHARDD__COLUMN_TYPE__COLUMN_TEXT, "history"},
    {"tests", SHARDD__COLUMN_TYPE__COLUMN_INT, "200"},
    {"files", SHARDD__COLUMN_TYPE__COLUMN_INT, "1"},
    {"never_timed", SHARDD__COLUMN_TYPE__COLUMN_INT, "0"},
    {"work", SHARDD__COLUMN_TYPE__COLUMN_DURATION, "600000000"},
    {"setup", SHARDD__COLUMN_TYPE__COLUMN_DURATION, "0"},
    {"boot", SHARDD__COLUMN_TYPE__COLUMN_DURATION, "20000000"},
    {"boot_source", SHARDD__COLUMN_TYPE__COLUMN_TEXT, "default"},
    {"boot_builds", SHARDD__COLUMN_TYPE__COLUMN_INT, "0"},
    {"piece", SHARDD__COLUMN_TYPE__COLUMN_TEXT, "test"},
    {"longest", SHARDD__COLUMN_TYPE__COLUMN_TEXT, "a.py::long"},
    {"longest_time", SHARDD__COLUMN_TYPE__COLUMN_DURATION, "150000000"},
    {"n_max", SHARDD__COLUMN_TYPE__COLUMN_INT, "4"},
    {"split_parts", SHARDD__COLUMN_TYPE__COLUMN_INT, "3"},
    {"next", SHARDD__COLUMN_TYPE__COLUMN_TEXT, "a.py::next"},
    {"next_time", SHARDD__COLUMN_TYPE__COLUMN_DURATION, "60000000"},
    {"split_n_max", SHARDD__COLUMN_TYPE__COLUMN_INT, "10"},
    {"knee", SHARDD__COLUMN_TYPE__COLUMN_INT, "3"},
    {"target", SHARDD__COLUMN_TYPE__COLUMN_DURATION, ""},
    {"recommended", SHARDD__COLUMN_TYPE__COLUMN_INT, "3"},
};

static int set_up(void **state) {
  (void)state;
  static const char *const rows[][4] = {{"1", "620000000", "620000000", "1000000"},
                                        {"2", "325000000", "650000000", "953846"},
                                        {"3", "225000000", "675000000", "918518"},
                                        {"5", "170000000", "850000000", "729411"}};
  static const char *const names[] = {"workers", "finish", "machine", "efficiency"};
  fixture_init(&curve);
  fixture_init(&facts);
  for (size_t i = 0; i < 4; i++)
    fixture_column(&curve, names[i], (Shardd__ColumnType)(i == 0 ? 1 : i == 3 ? 4 : 2));
  for (size_t i = 0; i < 16; i++)
    fixture_cell(&curve, rows[i / 4][i % 4]);
  for (size_t i = 0; i < COUNT_OF(usual); i++) {
    fixture_column(&facts, usual[i].name, usual[i].type);
    fixture_cell(&facts, usual[i].value);
  }
  view = (struct plan_view){.project = "shop", .suite = "default"};
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  plan_view_release(&view);
  free(text);
  text = NULL;
  return 0;
}

static void says(const char *column, const char *value) {
  for (size_t i = 0; i < COUNT_OF(usual); i++)
    if (strcmp(usual[i].name, column) == 0) facts.cell[i] = msg_text(value);
}

static void take(bool json) {
  assert_int_equal(plan_view_take_curve(&view, fixture_answer(&curve), json), 0);
  assert_int_equal(plan_view_take_facts(&view, fixture_answer(&facts)), 0);
}

static const char *printed(void) {
  size_t n;
  free(text);
  FILE *out = open_memstream(&text, &n);
  assert_non_null(out);
  take(false);
  assert_int_equal(plan_view_print(&view, out), 0);
  assert_int_equal(fclose(out), 0);
  return text;
}

static void has(const char *part) {
  if (strstr(printed(), part) == NULL) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void test_the_whole(void **state) {
  (void)state;
  assert_string_equal(printed(),
                      "shop: 200 tests in 1 file, 10m00s of work; all of them timed\n"
                      "start-up of a job: 20.0s, assumed (--boot)\n"
                      "\n"
                      "workers    finish  machine-min  efficiency\n"
                      "      1    10m20s         10.3        100%\n"
                      "      2     5m25s         10.8         95%\n"
                      "      3     3m45s         11.2         91%  recommended, the knee\n"
                      "\n"
                      "Recommended: 3 workers, done in 3m45s for 11.2 machine-minutes.\n"
                      "With more, the finish may still come earlier, but over a fifth of the machine time is lost.\n"
                      "More than 4 (N_max) cannot be kept busy: the test a.py::long takes 2m30s alone.\n"
                      "Split it in 3: N_max 4 -> 10, bound by the next, a.py::next (1m00s).\n");
  view.every = true;
  has("      5     2m50s         14.2         72%\n");
}

static void test_context(void **state) {
  (void)state;
  says("never_timed", "12");
  says("setup", "90000000");
  view.suite = "slow";
  has("shop, suite slow: 200 tests in 1 file, 10m00s of work and 1m30s of file set-ups; 188 timed, 12 never (their "
      "time is "
      "guessed)\n");
  says("boot_source", "history");
  says("boot_builds", "1");
  has("start-up of a job: 20.0s, seen in 1 build, without what the CI does before (--boot)\n");
  says("boot_source", "told");
  has("start-up of a job: 20.0s\n");
  says("source", "simulation");
  view.timings = "t.csv";
  has("t.csv: 200 tests in 1 file, 10m00s of work and 1m30s of file set-ups; simulated\n");
}

static void test_advice(void **state) {
  (void)state;
  says("recommended", "2");
  has("      2     5m25s         10.8         95%  recommended\n      3     3m45s         11.2         91%  the "
      "knee\n");
  has("Up to 3, the knee, no more than a fifth of the machine time is lost.\n");
  says("knee", "1");
  says("recommended", "1");
  has("Recommended: 1 worker, done in 10m20s for 10.3 machine-minutes.\nWith two, over a fifth");
  says("knee", "64");
  has("The knee, behind which over a fifth of the machine time is lost, does not come before 64.\n");
  assert_null(strstr(text, "  the knee"));
}

static void test_bounds(void **state) {
  (void)state;
  says("n_max", "72");
  has("No test bounds the finish up to 64 workers; the longest, a.py::long (2m30s), would from 72 on.\n");
  assert_null(strstr(text, "Split"));
  says("n_max", "4");
  says("split_parts", "");
  has("To split it alone gains nothing: the next, a.py::next, takes 1m00s.\n");
  says("next", "");
  says("next_time", "");
  assert_null(strstr(printed(), "split"));
  says("piece", "file");
  has("the file a.py::long takes 2m30s alone and is not split.\n");
}

static void test_targets(void **state) {
  (void)state;
  view.target_us = 4 * MINUTE * UINT64_C(1000000);
  assert_true((take(false), plan_view_meets(&view)));
  has("Within 4m00s: 3 workers, done in 3m45s for 11.2 machine-minutes.\n");
  assert_null(strstr(text, "Recommended:"));
  says("recommended", "");
  has("Not within 4m00s; the best is 5 workers, done in 2m50s for 14.2 machine-minutes.\n");
  assert_false(plan_view_meets(&view));
  view.only = 2;
  has("Not within 4m00s; with 2 workers, done in 5m25s for 10.8 machine-minutes.\n");
  view.only = 5;
  has("Within 4m00s: 5 workers, done in 2m50s for 14.2 machine-minutes.\n");
  assert_true(plan_view_meets(&view));
}

static void test_names_of_strangers(void **state) {
  (void)state;
  char name[2000];
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  says("next", name);
  says("longest", "a\033[2J\nforged");
  has("the test a\\x1b[2J\\x0aforged takes");
  has("xxx… (1m00s).\n");
  assert_true(strlen(text) < 1200);
}

static json_t *as_json(void) {
  size_t n;
  free(text);
  FILE *out = open_memstream(&text, &n);
  assert_non_null(out);
  take(true);
  assert_int_equal(plan_view_json(&view, out), 0);
  assert_int_equal(fclose(out), 0);
  json_t *object = json_loads(text, 0, NULL);
  assert_non_null(object);
  return object;
}

static void test_json(void **state) {
  (void)state;
  json_t *object = as_json(), *rows = json_object_get(object, "curve");
  assert_int_equal(json_array_size(rows), 4);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 3), "finish_us")), 170000000);
  assert_int_equal(json_integer_value(json_object_get(object, "longest_time_us")), 150000000);
  assert_string_equal(json_string_value(json_object_get(object, "project")), "shop");
  assert_true(json_is_null(json_object_get(object, "target_us")));
  assert_int_equal(json_integer_value(json_object_get(object, "recommended")), 3);
  json_decref(object);
  view.only = 2;
  object = as_json();
  rows = json_object_get(object, "curve");
  assert_int_equal(json_array_size(rows), 1);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "workers")), 2);
  json_decref(object);
  says("source", "simulation");
  view.timings = "t.csv";
  object = as_json();
  assert_true(json_is_null(json_object_get(object, "recommended")));
  assert_string_equal(json_string_value(json_object_get(object, "timings")), "t.csv");
  assert_null(json_object_get(object, "project"));
  json_decref(object);
}

static void test_answers_of_strangers(void **state) {
  (void)state;
  static const struct {
    const char *column, *value;
  } wrong[] = {{"recommended", "65"}, {"recommended", "-1"}, {"knee", "0"}, {"knee", "9999999999"}, {"knee", "x"}};
  assert_int_equal(plan_view_take_curve(&view, fixture_answer(&facts), false), -1);
  assert_int_equal(plan_view_take_facts(&view, fixture_answer(&curve)), -1);
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    says(wrong[i].column, wrong[i].value);
    assert_int_equal(plan_view_take_facts(&view, fixture_answer(&facts)), -1);
    says("recommended", "3");
    says("knee", "3");
  }
  curve.cell[0] = msg_text("-5");
  curve.cell[4] = msg_text("65");
  curve.cell[9] = msg_text("-1");  // a finish before the beginning
  has("      3         0         11.2");
  view.only = 2;  // which the answer does not have any more
  memset(view.row, 0, sizeof view.row);
  assert_int_equal(plan_view_take_curve(&view, fixture_answer(&curve), true), -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_the_whole, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_context, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_advice, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_targets, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_names_of_strangers, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_json, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_answers_of_strangers, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
