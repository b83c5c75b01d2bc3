// Unit tests of the Markdown summary: what it holds, that no name or output forms markup, and its bound.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above first
#include <cmocka.h>

#include "worker/markdown.h"

static void add(struct cases *cases, const char *id, enum cases_verdict verdict, enum runner_status status,
                const char *text) {
  cases->item = base_realloc(cases->item, cases->count + 1, sizeof *cases->item);
  struct cases_attempt *attempt = base_calloc(1, sizeof *attempt);
  *attempt = (struct cases_attempt){.status = status,
                                    .node = base_strdup("2"),
                                    .host = base_strdup("h"),
                                    .start_ms = 1000,
                                    .call_us = 1000 * (cases->count + 1),
                                    .text = text ? base_strdup(text) : NULL,
                                    .text_bytes = text ? strlen(text) : 0};
  cases->item[cases->count++] = (struct cases_case){.id = base_strdup(id),
                                                    .verdict = verdict,
                                                    .settled = verdict != CASES_MISSING,
                                                    .muted = verdict == CASES_MUTED,
                                                    .attempt = attempt,
                                                    .attempt_count = 1};
}

static char *print(struct cases *cases) {
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  struct summary summary;
  assert_non_null(out);
  struct spans spans = {.known = true,
                        .measured = true,
                        .workers = 1,
                        .wall_us = 90000,
                        .makespan_us = 60000,
                        .bound_us = 60000,
                        .test_us = 60000,
                        .predicted_us = 50000,
                        .idle_ppm = 333333};
  summary_count(&summary, cases, &spans);
  assert_int_equal(markdown_print(out, cases, &summary), 0);
  assert_int_equal(fclose(out), 0);
  cases_release(cases);
  return text;
}

static void test_all_parts(void **state) {
  struct cases cases;
  (void)state;
  cases_init(&cases);
  add(&cases, "a.py::one", CASES_PASSED, RUNNER_PASSED, NULL);
  add(&cases, "a.py::two", CASES_FAILED, RUNNER_FAILED, "line\nE assert 0");
  add(&cases, "a.py::three", CASES_FLAKY, RUNNER_PASSED, NULL);
  add(&cases, "a.py::four", CASES_MUTED, RUNNER_FAILED, "hidden");
  add(&cases, "a.py::five", CASES_MISSING, RUNNER_PASSED, NULL);
  char *text = print(&cases);
  const char *const parts[] = {
      "### ❌ 2 passed (1 flaky), 1 failed, 1 muted, 1 missing in 90ms\n\n1 worker: makespan 60ms, ",
      "1.00 of the lower bound 60ms, predicted 50ms; wall time 90ms, test time 60ms, idle ",
      "<details><summary><code>a.py&#58;&#58;two</code>: failed on node 2 after ",
      "<pre>line\nE assert 0</pre>",
      "**1 flaky, passed after failing**\n- <code>a.py&#58;&#58;three</code>\n",
      "**1 muted, failed and did not count**\n- <code>a.py&#58;&#58;four</code>\n",
      "**1 missing, without a verdict**\n- <code>a.py&#58;&#58;five</code>\n",
      "| <code>a.py&#58;&#58;four</code> | 4ms |",
  };
  for (size_t i = 0; i < COUNT_OF(parts); i++)
    if (strstr(text, parts[i]) == NULL) fail_msg("\"%s\" is not in\n%s", parts[i], text);
  assert_null(strstr(text, "hidden"));
  free(text);
}

// Lines about the build come from strangers, too.
static void test_notes(void **state) {
  struct cases cases;
  (void)state;
  cases_init(&cases);
  add(&cases, "one", CASES_PASSED, RUNNER_PASSED, NULL);
  cases_note(&cases, base_strdup("node <b> skipped 2 tests"));
  cases_note(&cases, base_strdup("second"));
  char *text = print(&cases);
  if (strstr(text, "**skips**\n- node &#60;b&#62; skipped 2 tests\n- second\n\n") == NULL) fail_msg("%s", text);
  free(text);
}

static void test_all_is_well(void **state) {
  struct cases cases;
  (void)state;
  cases_init(&cases);
  add(&cases, "one", CASES_PASSED, RUNNER_PASSED, NULL);
  char *text = print(&cases);
  assert_non_null(strstr(text, "### ✅ 1 passed in 90ms\n"));
  assert_null(strstr(text, "<details>"));
  free(text);
}

static void test_no_markup_of_strangers(void **state) {
  struct cases cases;
  (void)state;
  cases_init(&cases);
  add(&cases, "</code><img src=x>|`**[a](b)\n# x\033[31m", CASES_FAILED, RUNNER_FAILED,
      "</pre></details><script>\033[2J&");
  char *text = print(&cases);
  assert_null(strstr(text, "<img"));
  assert_null(strstr(text, "<script"));
  assert_null(strstr(text, "[a]"));
  assert_null(strstr(text, "**"));
  assert_null(strchr(text, '\033'));
  assert_non_null(strstr(text, "&#60;/pre&#62;"));
  free(text);
}

static void test_bound(void **state) {
  enum { FAILING = 300, BIG = 64 * 1024 };
  char *big = base_malloc(BIG + 1), id[32];
  struct cases cases;
  (void)state;
  memset(big, '<', BIG);
  memcpy(big + BIG - 3, "end", 4);
  cases_init(&cases);
  for (int i = 0; i < FAILING; i++) {
    (void)snprintf(id, sizeof id, "t%d", i);
    add(&cases, id, CASES_FAILED, RUNNER_FAILED, big);
  }
  char *text = print(&cases);
  assert_true(strlen(text) <= MARKDOWN_MAX_BYTES);
  assert_non_null(strstr(text, "<pre>…\n&#60;"));
  assert_non_null(strstr(text, "end</pre>"));
  assert_non_null(strstr(text, " more failing tests."));
  free(text);
  free(big);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_parts),   cmocka_unit_test(test_notes),
      cmocka_unit_test(test_all_is_well), cmocka_unit_test(test_no_markup_of_strangers),
      cmocka_unit_test(test_bound),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
