// Unit tests of CODEOWNERS: a table of patterns and files, and git itself as the judge where .gitignore and CODEOWNERS
// mean the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka needs its headers first
#include <cmocka.h>

#include "worker/owners.h"
#include "worker/owners_match.h"

static const char *const files[] = {
    "test_t.py",
    "tests/test_t.py",
    "tests/a/test_t.py",
    "tests/a/b/test_t.py",
    "src/tests/test_t.py",
    "src/a/tests/x.c",
    "docs/index.md",
    "docs/a/index.md",
    "docs/a/b/c.md",
    "a/docs/index.md",
    "src/main.c",
    "src/.hidden",
    "src/a b.c",
    "src/a/b/main.c",
    "tests",
    "lib/foo/bar/x.py",
    "lib/foobar/x.py",
    "lib/x/foo/y/bar.py",
    "tests.py",
    "a/tests",
};

// How git says it: files that the pattern names. Same order as `files`, one character each.
static const struct {
  const char *pattern;
  bool git;  // .gitignore means the same
} patterns[] = {
    {"*", true},
    {"*.py", true},
    {"test_t.py", true},
    {"/test_t.py", true},
    {"tests", true},
    {"tests/", true},
    {"/tests", true},
    {"/tests/", true},
    {"/tests/**", true},
    {"/tests/**/*", true},
    {"/tests/**/*.py", true},
    {"/tests/**/test_t.py", true},
    {"/tests/**/b/", true},
    {"/tests/**/**/test_t.py", true},
    {"tests/**/test_t.py", true},
    {"**/tests/", true},
    {"**/tests", true},
    {"**/tests/**", true},
    {"**/tests/*.py", true},
    {"**/test_t.py", true},
    {"**/docs/**/*.md", true},
    {"/**/tests/", true},
    {"/**/test_t.py", true},
    {"**/*", true},
    {"/**", true},
    {"**", true},
    {"docs/**", true},
    {"docs/a", true},
    {"docs/a/", true},
    {"docs/*.md", true},
    {"docs/*/index.md", true},
    {"docs/**/index.md", true},
    {"/docs/**/b/**/c.md", true},
    {"src/m*.c", true},
    {"src/?ain.c", true},
    {"src/[lm]ain.c", true},
    {"src/[!x]ain.c", true},
    {"src/.*", true},
    {"src/a\\ b.c", true},
    {"lib/**/bar", true},
    {"lib/**/foo/**", true},
    {"lib/foo*", true},
    {"lib/foo**", true},
    {"lib/**/foo/**/*.py", true},
    {"a/**/b", true},
    {"lib//foo", true},
    {"x", true},
    {"/", false},
    {"docs/*", false},      // GitHub: not what is in docs' folders
    {"/tests/**/", false},  // zero folders count as well
    {"**/", false},
    {"tests/*/", false},
};

static void test_git_agrees(void **state) {
  (void)state;
  char folder[] = "/tmp/shard-owners-XXXXXX", command[512], line[256];
  assert_non_null(mkdtemp(folder));
  (void)snprintf(command, sizeof command, "git init -q %s", folder);
  assert_int_equal(system(command), 0);
  for (size_t p = 0; p < COUNT_OF(patterns); p++) {
    bool by_git[COUNT_OF(files)] = {false};
    if (!patterns[p].git) continue;
    (void)snprintf(command, sizeof command, "%s/.gitignore", folder);
    FILE *file = fopen(command, "we");
    assert_non_null(file);
    (void)fprintf(file, "%s\n", patterns[p].pattern);
    (void)fclose(file);
    (void)snprintf(command, sizeof command, "%s/files", folder);
    file = fopen(command, "we");
    assert_non_null(file);
    for (size_t i = 0; i < COUNT_OF(files); i++)
      (void)fprintf(file, "%s\n", files[i]);
    (void)fclose(file);
    (void)snprintf(command, sizeof command, "cd %s && git check-ignore --no-index --stdin <files", folder);
    FILE *out = popen(command, "re");
    assert_non_null(out);
    while (fgets(line, sizeof line, out) != NULL) {
      line[strcspn(line, "\n")] = '\0';
      for (size_t i = 0; i < COUNT_OF(files); i++)
        by_git[i] = by_git[i] || strcmp(files[i], line) == 0;
    }
    (void)pclose(out);
    for (size_t i = 0; i < COUNT_OF(files); i++)
      if (owners_match(patterns[p].pattern, files[i]) != by_git[i])
        fail_msg("%s %s: git says %d", patterns[p].pattern, files[i], by_git[i]);
  }
  (void)snprintf(command, sizeof command, "rm -rf %s", folder);
  assert_int_equal(system(command), 0);
}

// As GitHub and GitLab have it, in words of files that are owned.
static void test_patterns(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *file;
    bool owns;
  } rules[] = {
      {"/tests/**/test_t.py", "tests/test_t.py", true},
      {"/tests/**/test_t.py", "tests/a/b/test_t.py", true},
      {"/tests/**/test_t.py", "src/tests/test_t.py", false},
      {"/tests/**/*", "tests/x.py", true},
      {"/tests/**/*", "tests/a/b/x.py", true},
      {"/tests/**/*.py", "tests/x.py", true},
      {"/tests/**/*.py", "tests/a/x.py", true},
      {"/tests/**/*.py", "tests/a/x.c", false},
      {"**/tests/", "tests/x.py", true},
      {"**/tests/", "a/b/tests/c/x.py", true},
      {"**/tests/", "a/tests", false},  // a file of that name
      {"/tests/**/", "tests/x.py", true},
      {"/tests/**/", "tests/a/x.py", true},
      {"/tests/**/", "test/x.py", false},
      {"docs/*", "docs/x.md", true},
      {"docs/*", "docs/a/x.md", false},
      {"/docs/*", "a/docs/x.md", false},
      {"**/docs/*", "a/docs/x.md", true},
      {"**/docs/*", "a/docs/b/x.md", false},
      {"docs/*/", "docs/x.md", false},
      {"docs/*/", "docs/a/x.md", true},
      {"docs/", "a/docs/x.md", true},
      {"/pages/[id].ts", "pages/[id].ts", true},
      {"/pages/[id].ts", "pages/i.ts", true},
      {"/pages/[id]/", "pages/[id]/x.ts", true},
      {"/a\\*b", "a*b", true},
      {"/a\\*b", "axb", false},
      {"\\#a", "#a", true},
      {"/", "x", false},
      {"a//b", "a/b", false},
      {"*", "a/b/c", true},
      {"a", "b/a/c", true},
      {"A", "a", false},
      {"**/**/**/**/x", "a/b/c/d/e/f/x", true},
      {"**/a/**/a/**/a/**/b", "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/c", false},
  };
  for (size_t i = 0; i < COUNT_OF(rules); i++)
    if (owners_match(rules[i].pattern, rules[i].file) != rules[i].owns)
      fail_msg("%s %s", rules[i].pattern, rules[i].file);
}

// A file with a mark of UTF-8 or UTF-16, and paths with "./".
static void test_marks(void **state) {
  (void)state;
  static const char plain[] = "*.c @c\n/a/ @a # why\n", marked[] = "\xef\xbb\xbf*.c @c\n/a/ @a\n";
  static const char wide[] = "\xff\xfe*\0.\0c\0 \0@\0c\0\n\0/\0a\0/\0 \0@\0a\0\n\0";
  static const struct {
    const char *bytes;
    size_t n;
  } texts[] = {{plain, sizeof plain - 1}, {marked, sizeof marked - 1}, {wide, sizeof wide - 1}};
  for (size_t i = 0; i < COUNT_OF(texts); i++) {
    char path[] = "/tmp/shard-owners-XXXXXX", why[256];
    struct owners *owners;
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, texts[i].bytes, texts[i].n) == (ssize_t)texts[i].n);
    (void)close(fd);
    assert_int_equal(owners_load(path, &owners, why, sizeof why), 0);
    assert_string_equal(owners_of(owners, "b/x.c"), "@c");
    assert_string_equal(owners_of(owners, "./b/x.c"), "@c");
    assert_string_equal(owners_of(owners, "a/x.c"), "@a");
    assert_string_equal(owners_of(owners, "x.h"), "");
    owners_free(owners);
    (void)unlink(path);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_patterns),
      cmocka_unit_test(test_git_agrees),
      cmocka_unit_test(test_marks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
