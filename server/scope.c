// From a list's files, units, groups and tokens to the scheduler's list and the queue's tokens. Called by build.c.
#include "server/scope.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// Failed last time or new: before everything else, the longest of them first.
static uint64_t scope_first_us(uint64_t expected_us) {
  return SCHED_FIRST_US + (expected_us < SCHED_FIRST_US ? expected_us : SCHED_FIRST_US - 1);
}

static void scope_expect(struct scope *scope, const struct store_list *list, const struct store_listed *listed,
                         uint32_t order) {
  struct estimate_out *out = base_calloc(list->count + 1, sizeof *out);
  estimate_list(listed->history, list->file_of, list->count, list->file_count, out);
  for (uint32_t i = 0; i < list->count; i++) {
    bool first = order == SCOPE_FAILED_FIRST && (listed->failed_last[i] || listed->history[i].n == 0);
    scope->expected_us[i] = out[i].expected_us;
    scope->order_us[i] = first ? scope_first_us(out[i].expected_us) : out[i].order_us;
  }
  free(out);
}

// ---- files

// A group costs as much to set up as the dearest of its files.
static void scope_setups(struct scope *scope, const struct store_list *list, const struct store_listed *listed,
                         uint32_t files) {
  for (uint32_t i = 0; i < list->file_count; i++)
    scope->setup_us[i] = listed->file_setup_us[i];
  for (uint32_t i = 0; i < list->count; i++) {
    uint32_t file = list->file_of[i], scoped = scope->file_of[i];
    if (scoped < list->file_count || scoped >= files || file >= list->file_count) continue;
    if (listed->file_setup_us[file] > scope->setup_us[scoped]) scope->setup_us[scoped] = listed->file_setup_us[file];
  }
}

// In collection order the whole list is one file: every worker takes the next of it.
static uint32_t scope_one_file(struct scope *scope, uint32_t count, uint32_t file_count, uint32_t files) {
  for (uint32_t i = 0; i < count; i++) {
    if (scope->file_of[i] < file_count || scope->file_of[i] == SCHED_NO_FILE) scope->file_of[i] = files;
  }
  scope->whole = base_realloc(scope->whole, files + 1, sizeof *scope->whole);
  scope->setup_us = base_realloc(scope->setup_us, files + 1, sizeof *scope->setup_us);
  scope->whole[files] = false;
  scope->setup_us[files] = 0;
  return files + 1;
}

// ---- tokens

// The count behind NAME= in lines of NAME=COUNT; 1 for a name that is not there.
static uint32_t scope_copies(const char *lines, const char *name) {
  size_t n = strlen(name);
  while (n && *lines) {
    const char *end = strchrnul(lines, '\n');
    if (strncmp(lines, name, n) == 0 && lines[n] == '=') return (uint32_t)strtoul(lines + n + 1, NULL, 10);
    lines = *end ? end + 1 : end;
  }
  return 1;
}

static void scope_tokens(struct scope *scope, uint32_t count, const char *copies, const char **why) {
  struct tokens_list list = {.count = count, .expected_us = scope->expected_us, .order_us = scope->order_us};
  uint64_t *need = base_calloc(count + 1, sizeof *need), any = 0;
  const char *names[TOKENS_MAX];
  uint32_t tokens;
  if (!marks_needs(&scope->marks, count, need, names, &tokens))
    *why = "tests need more than 62 different tokens: those beyond share one";
  for (uint32_t i = 0; i < tokens; i++)
    list.copies[i] = scope_copies(copies, names[i]);
  for (uint32_t i = 0; i < count; i++)
    any |= need[i];
  list.need = need;
  if (any) scope->tokens = tokens_new(&list);
  free(need);
}

void scope_make(struct scope *scope, const struct store_list *list, const struct store_listed *listed, uint32_t order,
                const char *copies, const char **why) {
  *scope = (struct scope){.expected_us = base_calloc(list->count + 1, sizeof *scope->expected_us),
                          .order_us = base_calloc(list->count + 1, sizeof *scope->order_us),
                          .file_of = base_calloc(list->count + 1, sizeof *scope->file_of)};
  *why = NULL;
  if (marks_read(&scope->marks, list->marks, list->marks_bytes, list->count) < 0) {
    *why = "the list's groups and tokens cannot be read";
    marks_release(&scope->marks);
  }
  scope_expect(scope, list, listed, order);
  scope_tokens(scope, list->count, copies, why);
  uint32_t files =
      marks_scopes(&scope->marks, list->file_of, list->count, list->file_count, scope->file_of, &scope->whole);
  scope->setup_us = base_calloc(files + 1, sizeof *scope->setup_us);
  scope_setups(scope, list, listed, files);
  if (order == SCOPE_COLLECTION) files = scope_one_file(scope, list->count, list->file_count, files);
  scope->list = (struct sched_list){.count = list->count,
                                    .file_count = files,
                                    .file_of = scope->file_of,
                                    .unit_of = list->unit_of,
                                    .expected_us = scope->expected_us,
                                    .order_us = scope->order_us,
                                    .file_setup_us = scope->setup_us,
                                    .whole_of = scope->whole};
}

void scope_release(struct scope *scope) {
  marks_release(&scope->marks);
  free(scope->expected_us);
  free(scope->order_us);
  free(scope->setup_us);
  free(scope->file_of);
  free(scope->whole);
}

const char *scope_longest_group(const struct scope *scope, uint64_t *us) {
  const char *longest = NULL;
  *us = 0;
  for (uint32_t i = 0; i < scope->marks.count; i++) {
    const struct mark *mark = &scope->marks.mark[i];
    if (mark->kind != MARKS_GROUP || mark->count == 0) continue;
    uint32_t file = scope->file_of[mark->test[0]];
    uint64_t sum = file < scope->list.file_count ? scope->setup_us[file] : 0;
    for (uint32_t t = 0; t < mark->count; t++)
      sum += scope->expected_us[mark->test[t]];
    if (sum <= *us) continue;
    longest = mark->name;
    *us = sum;
  }
  return longest;
}
