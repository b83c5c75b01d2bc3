// Expands the words of a test command for one batch. Called by the command runner only. "{x}" behind a "$" is left
// alone, because "${file}" in a shell script is the shell's, and "{{x}}" is the text "{x}". It must not know what the
// command is nor how it is started.
#include "worker/command_argv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
  char *bytes;
  size_t n, room;
};

static bool ids_are_words(char *const *argv);
static const char *find(const char *word, const char *name);
static size_t escaped_at(const char *word);
static const char *value_at(const char *word, const struct command_words *words, size_t *skip);
static void append(struct text *to, const char *bytes, size_t n);

int command_argv_check(char *const *argv, char *why, size_t why_size) {
  for (; *argv; argv++) {
    const char *at = find(*argv, "");
    if (!at || strcmp(*argv, "{}") == 0) continue;
    (void)snprintf(
        why, why_size,
        "{} must be a word of its own, here it is inside '%.200s': ids become arguments, never shell text; in "
        "a shell script use \"$@\", as in: sh -c 'for t in \"$@\"; do ./run \"$t\" || exit; done' sh {}. Write {{}} "
        "where the command is to get the text {}",
        *argv);
    return -1;
  }
  return 0;
}

bool command_argv_has(char *const *argv, const char *name) {
  for (; *argv; argv++)
    if (find(*argv, name)) return true;
  return false;
}

size_t command_argv_fit(char *const *argv, const char *const *ids, size_t count) {
  if (!ids_are_words(argv)) return count;
  size_t fit = 0, bytes = 0;
  for (; fit < count; fit++) {
    bytes += strlen(ids[fit]) + 1;
    if (fit > 0 && bytes > COMMAND_ARGV_IDS_MAX_BYTES) break;
  }
  return fit;
}

char **command_argv_expand(char *const *argv, const struct command_words *words, const char *const *ids, size_t count) {
  bool append_ids = !command_argv_has(argv, "") && !command_argv_has(argv, "file");
  size_t room = 1 + (append_ids ? count : 0), n = 0;
  for (char *const *word = argv; *word; word++)
    room += strcmp(*word, "{}") == 0 ? count : 1;
  char **out = base_calloc(room, sizeof(*out));
  for (; *argv || append_ids; argv++) {
    bool all = !*argv || strcmp(*argv, "{}") == 0;
    for (size_t i = 0; all && i < count; i++)
      out[n++] = base_strdup(ids[i]);
    if (!*argv) break;
    if (!all) out[n++] = command_argv_word(*argv, words);
  }
  assert(n < room);
  return out;
}

void command_argv_free(char **argv) {
  for (char **word = argv; word && *word; word++)
    free(*word);
  free(argv);
}

char *command_argv_word(const char *word, const struct command_words *words) {
  struct text out = {NULL, 0, 0};
  for (const char *at = word; *at;) {
    bool shells = at > word && at[-1] == '$';
    size_t skip = 0, escaped = shells ? 0 : escaped_at(at);
    if (escaped) {
      append(&out, at + 1, escaped - 2);
      at += escaped;
      continue;
    }
    const char *value = shells ? NULL : value_at(at, words, &skip);
    append(&out, value ? value : at, value ? strlen(value) : 1);
    at += value ? skip : 1;
  }
  append(&out, "", 1);
  return out.bytes;
}

// Whether the ids become arguments (at {} or at the end) and not lines of a file alone.
static bool ids_are_words(char *const *argv) {
  return command_argv_has(argv, "") || !command_argv_has(argv, "file");
}

// Where "{name}" stands in a word, not behind a "$"; NULL: nowhere.
static const char *find(const char *word, const char *name) {
  size_t n = strlen(name);
  for (const char *at = word; (at = strchr(at, '{')); at++) {
    if (at > word && at[-1] == '$') continue;
    size_t escaped = escaped_at(at);
    if (escaped) {
      at += escaped - 1;
      continue;
    }
    if (strncmp(at + 1, name, n) == 0 && at[n + 1] == '}') return at;
  }
  return NULL;
}

// The length of a "{{name}}" that begins here; 0: none does.
static size_t escaped_at(const char *word) {
  static const char *const escapes[] = {"{{}}", "{{tmp}}", "{{file}}", "{{node}}", "{{batch}}"};
  for (size_t i = 0; i < COUNT_OF(escapes); i++)
    if (strncmp(word, escapes[i], strlen(escapes[i])) == 0) return strlen(escapes[i]);
  return 0;
}

// The value of the placeholder that begins here and its length in *skip; NULL: none begins here.
static const char *value_at(const char *word, const struct command_words *words, size_t *skip) {
  const struct {
    const char *name, *value;
  } known[] = {{"{tmp}", words->tmp}, {"{file}", words->file}, {"{node}", words->node}, {"{batch}", words->batch}};
  for (size_t i = 0; i < COUNT_OF(known); i++) {
    if (strncmp(word, known[i].name, strlen(known[i].name)) != 0) continue;
    *skip = strlen(known[i].name);
    return known[i].value ? known[i].value : "";
  }
  return NULL;
}

static void append(struct text *to, const char *bytes, size_t n) {
  if (to->room - to->n < n) {
    to->room = to->room * 2 + n + 32;
    to->bytes = base_realloc(to->bytes, to->room, 1);
  }
  if (n > 0) memcpy(to->bytes + to->n, bytes, n);  // an empty argument may be the first, with no buffer yet
  to->n += n;
}
