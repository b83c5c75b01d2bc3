// Groups and tokens of a list. Called by listing.c, recover.c and build.c. It must not know builds, messages or SQL.
#include "server/marks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int64_t marks_name(struct marks *marks, enum marks_kind kind, const void *name, size_t n) {
  if (marks->count >= MARKS_MAX) return -1;
  if (marks->count == marks->room) {
    marks->room = marks->room ? marks->room * 2 : 16;
    marks->mark = base_realloc(marks->mark, marks->room, sizeof *marks->mark);
  }
  marks->mark[marks->count] = (struct mark){.kind = kind, .name = base_memdup0(name, n)};
  marks->bytes += sizeof *marks->mark + n + 1;
  return marks->count++;
}

int marks_add(struct marks *marks, uint32_t number, uint32_t test) {
  assert(number < marks->count);
  struct mark *mark = &marks->mark[number];
  if (marks->tests >= MARKS_TESTS_MAX) return -1;
  if (mark->count && mark->test[mark->count - 1] == test) return 0;
  if (mark->count && mark->test[mark->count - 1] > test) return -1;
  if (mark->count == mark->room) {
    mark->room = mark->room ? mark->room * 2 : 8;
    mark->test = base_realloc(mark->test, mark->room, sizeof *mark->test);
    marks->bytes += (mark->room - mark->count) * sizeof *mark->test;
  }
  mark->test[mark->count++] = test;
  marks->tests++;
  return 0;
}

void marks_release(struct marks *marks) {
  for (uint32_t i = 0; i < marks->count; i++) {
    free(marks->mark[i].name);
    free(marks->mark[i].test);
  }
  free(marks->mark);
  *marks = (struct marks){0};
}

// ---- as text

enum { MARKS_DIGITS = 11 };

static size_t marks_room(const struct marks *marks) {
  size_t bytes = 1;
  for (uint32_t i = 0; i < marks->count; i++)
    bytes += strlen(marks->mark[i].name) + 3 + (size_t)marks->mark[i].count * MARKS_DIGITS;
  return bytes;
}

size_t marks_text_bytes(const struct marks *marks) {
  return marks->bytes + marks->count * (size_t)3 + marks->tests * (size_t)MARKS_DIGITS;
}

static char *marks_put_number(char *at, uint32_t number) {
  char digits[MARKS_DIGITS];
  size_t n = 0;
  do {
    digits[n++] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  while (n)
    *at++ = digits[--n];
  return at;
}

char *marks_text(const struct marks *marks, size_t *bytes) {
  char *text = base_calloc(1, marks_room(marks)), *at = text;
  for (uint32_t i = 0; i < marks->count; i++) {
    const struct mark *mark = &marks->mark[i];
    size_t n = strlen(mark->name);
    *at++ = (char)mark->kind;
    memcpy(at, mark->name, n);
    at += n;
    *at++ = '\n';
    for (uint32_t t = 0; t < mark->count; t++) {
      at = marks_put_number(at, mark->test[t]);
      *at++ = t + 1 < mark->count ? ' ' : '\n';
    }
    if (mark->count == 0) *at++ = '\n';
  }
  *bytes = (size_t)(at - text);
  return text;
}

static int marks_read_tests(struct marks *marks, uint32_t mark, const char *text, const char *end, uint32_t count) {
  while (text < end) {
    uint64_t number = 0;
    const char *begin = text;
    for (; text < end && *text >= '0' && *text <= '9' && number < count; text++)
      number = number * 10 + (uint64_t)(*text - '0');
    if (text == begin || number >= count || (text < end && *text != ' ')) return -1;
    if (marks_add(marks, mark, (uint32_t)number) < 0) return -1;
    if (text < end) text++;
  }
  return 0;
}

int marks_read(struct marks *marks, const char *text, size_t n, uint32_t count) {
  const char *end = text + n;
  if (n > MARKS_TEXT_MAX) return -1;
  while (text < end) {
    const char *name_end = memchr(text, '\n', (size_t)(end - text));
    const char *tests_end = name_end ? memchr(name_end + 1, '\n', (size_t)(end - name_end - 1)) : NULL;
    if (!tests_end || (*text != MARKS_GROUP && *text != MARKS_TOKEN)) return -1;
    int64_t mark = marks_name(marks, (enum marks_kind) * text, text + 1, (size_t)(name_end - text - 1));
    if (mark < 0 || marks_read_tests(marks, (uint32_t)mark, name_end + 1, tests_end, count) < 0) return -1;
    text = tests_end + 1;
  }
  return 0;
}

// ---- for the scheduler

// Which tests need a token.
static bool *marks_needing(const struct marks *marks, uint32_t count) {
  bool *needs = base_calloc(count + 1, sizeof *needs);
  for (uint32_t i = 0; i < marks->count; i++) {
    const struct mark *mark = &marks->mark[i];
    for (uint32_t t = 0; mark->kind == MARKS_TOKEN && t < mark->count; t++)
      needs[mark->test[t]] = true;
  }
  return needs;
}

static bool marks_is_apart(const struct mark *group, const bool *needs) {
  uint32_t t = 0;
  while (t < group->count && !needs[group->test[t]])
    t++;
  return t < group->count;
}

uint32_t marks_scopes(const struct marks *marks, const uint32_t *list_file_of, uint32_t count, uint32_t file_count,
                      uint32_t *file_of, bool **whole) {
  bool *needs = marks_needing(marks, count);
  uint32_t files = file_count;
  *whole = base_calloc((size_t)file_count + marks->count + 1, sizeof **whole);
  if (count) memcpy(file_of, list_file_of, count * sizeof *file_of);
  for (uint32_t i = 0; i < marks->count; i++) {
    const struct mark *mark = &marks->mark[i];
    if (mark->kind != MARKS_GROUP || marks_is_apart(mark, needs)) continue;
    for (uint32_t t = 0; t < mark->count; t++) {
      if (file_of[mark->test[t]] < file_count || file_of[mark->test[t]] == UINT32_MAX) file_of[mark->test[t]] = files;
    }
    (*whole)[files++] = true;
  }
  free(needs);
  return files;
}

static void marks_need(const struct mark *mark, uint64_t bit, uint64_t *need) {
  for (uint32_t t = 0; t < mark->count; t++) {
    uint64_t *of = &need[mark->test[t]];
    *of = bit == TOKENS_EXCLUSIVE || *of == TOKENS_EXCLUSIVE ? TOKENS_EXCLUSIVE : *of | bit;
  }
}

bool marks_needs(const struct marks *marks, uint32_t count, uint64_t *need, const char *names[TOKENS_MAX],
                 uint32_t *tokens) {
  bool *needs = marks_needing(marks, count), fits = true;
  *tokens = 0;
  for (uint32_t i = 0; i < marks->count; i++) {
    const struct mark *mark = &marks->mark[i];
    bool token = mark->kind == MARKS_TOKEN, one_more = *tokens < TOKENS_MAX;
    if (!token && !marks_is_apart(mark, needs)) continue;
    if (token && strcmp(mark->name, MARKS_EXCLUSIVE) == 0) {
      marks_need(mark, TOKENS_EXCLUSIVE, need);
      continue;
    }
    fits = fits && one_more;
    if (one_more) names[(*tokens)++] = token ? mark->name : "";  // a group's has one copy, whatever its name
    if (!one_more) names[TOKENS_MAX - 1] = "";
    marks_need(mark, UINT64_C(1) << (*tokens - 1), need);
  }
  free(needs);
  return fits;
}
