// pytest-split's JSON. Called by durations.c. Python writes what JSON does not have (NaN, Infinity, halves of UTF-16
// characters), and jansson refuses the whole of such a text: those become values of the same kind that no test can
// have, so that only their row is left out.
#include "worker/durations_split.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/files.h"
#include "worker/decode.h"
#include "worker/human.h"
#include "worker/limits.h"

static const char no_id[] = "\\u000a";  // in a string: no id holds a line break

struct text {
  char *bytes;
  size_t n, room;
};

static int read_whole(const char *path, struct text *text, char *why, size_t why_size);
static void make_readable(const struct text *in, struct text *out);
static size_t copy_string_part(const struct text *in, size_t at, struct text *out);
static bool half_character(const char *text, size_t n, size_t *escape_bytes);
static size_t utf8_bytes(const char *text, size_t n);
static size_t copy_value_part(const struct text *in, size_t at, struct text *out);
static void put(struct text *text, const char *bytes, size_t n);
static int add_root(struct durations *durations, json_t *root, const struct text *text, const char *path, char *why,
                    size_t why_size);
static int add(struct durations *durations, const struct text *text, const char *path, json_t *id, json_t *value);
static int add_id(struct durations *durations, const struct text *text, const char *path, const char *id,
                  size_t id_bytes, json_t *value);
static size_t line_of(const struct text *text, const char *key, size_t key_bytes);

int durations_split_read(struct durations *durations, const char *path, char *why, size_t why_size) {
  struct text text = {0}, readable = {0};
  json_error_t error;
  if (read_whole(path, &text, why, why_size) != 0) return -1;
  make_readable(&text, &readable);
  json_t *root = json_loadb(readable.bytes, readable.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
  int rc = -1;
  if (root == NULL) {
    char *quoting = human_safe(error.text, strlen(error.text), ESCAPE_LINE);  // it quotes the file
    (void)snprintf(why, why_size, "%s:%d: %s", path, error.line > 0 ? error.line : 1, quoting);
    free(quoting);
  } else {
    rc = add_root(durations, root, &readable, path, why, why_size);
  }
  json_decref(root);
  free(readable.bytes);
  free(text.bytes);
  return rc;
}

// ---- the text

static int read_whole(const char *path, struct text *text, char *why, size_t why_size) {
  const char *problem;
  FILE *file = decode_stream(files_read(path, FILES_STREAM, &problem));
  if (file == NULL) {
    (void)snprintf(why, why_size, "%s: %s", path, problem);
    return -1;
  }
  do {
    text->room = text->room > 0 ? 2 * text->room : 64 * 1024;
    text->bytes = base_realloc(text->bytes, text->room, 1);
    text->n += fread(text->bytes + text->n, 1, text->room - text->n, file);
  } while (text->n == text->room && text->n <= DURATIONS_MAX_BYTES);
  int rc = ferror(file) || text->n > DURATIONS_MAX_BYTES ? -1 : 0;
  if (rc != 0) {
    (void)snprintf(why, why_size, "%s: %s", path, ferror(file) ? strerror(errno) : "is over 64 MiB");
    free(text->bytes);
    *text = (struct text){0};
  }
  (void)fclose(file);
  return rc;
}

static void make_readable(const struct text *in, struct text *out) {
  bool string = false;
  for (size_t at = 0; at < in->n;) {
    if (in->bytes[at] == '"') {
      string = !string;
      put(out, in->bytes + at++, 1);
    } else {
      at += string ? copy_string_part(in, at, out) : copy_value_part(in, at, out);
    }
  }
  put(out, "", 1);
  out->n--;
}

// One character or escape. Returns the bytes read.
static size_t copy_string_part(const struct text *in, size_t at, struct text *out) {
  const char *from = in->bytes + at;
  size_t left = in->n - at, escape = left > 1 ? 2 : 1, n = from[0] == '\\' ? escape : utf8_bytes(from, left);
  bool whole = n > 0;
  if (from[0] == '\\' && left > 1 && from[1] == 'u') whole = !half_character(from, left, &n);
  if (whole)
    put(out, from, n);
  else
    put(out, no_id, sizeof no_id - 1);
  return n > 0 ? n : 1;
}

// Of "\uXXXX": NUL, or a half of a UTF-16 character without the other. *escape_bytes: of the escape, or of both halves.
static bool half_character(const char *text, size_t n, size_t *escape_bytes) {
  unsigned unit[2] = {1, 1};
  for (size_t half = 0; half < 2; half++) {
    char digits[5] = "", *end;
    const char *at = text + 6 * half;
    if (n < 6 * (half + 1) || at[0] != '\\' || at[1] != 'u') break;
    memcpy(digits, at + 2, 4);
    unit[half] = (unsigned)strtoul(digits, &end, 16);
    if (*end != '\0') unit[half] = 1;
  }
  bool high = unit[0] >= 0xd800 && unit[0] < 0xdc00, low = unit[1] >= 0xdc00 && unit[1] < 0xe000;
  bool surrogate = unit[0] >= 0xd800 && unit[0] < 0xe000;
  bool refused = unit[0] == 0 || (surrogate && !(high && low));
  *escape_bytes = high && low ? 12 : refused ? 6 : 2;
  return refused;
}

// Length of the character that the text begins with; 0: it begins none.
static size_t utf8_bytes(const char *text, size_t n) {
  unsigned char first = (unsigned char)text[0];
  if (first < 0x80) return 1;
  size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 0 || length > n) return 0;
  unsigned char second = (unsigned char)text[1];
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return 0;
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return 0;
  for (size_t i = 1; i < length; i++)
    if (((unsigned char)text[i] & 0xc0) != 0x80) return 0;
  return length;
}

// One word or number, or one other character. A number that no double holds, and what is no number, is -1.
static size_t copy_value_part(const struct text *in, size_t at, struct text *out) {
  static const char word[] = "+-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const char *from = in->bytes + at;
  size_t n = 0;
  while (at + n < in->n && from[n] != '\0' && strchr(word, from[n]) != NULL)
    n++;
  if (n == 0) {
    put(out, from, 1);
    return 1;
  }
  static const char *const strange[] = {"NaN", "-NaN", "nan", "-nan", "Infinity", "-Infinity", "inf", "-inf"};
  bool none = false;
  for (size_t i = 0; i < COUNT_OF(strange); i++)
    none = none || (strlen(strange[i]) == n && memcmp(strange[i], from, n) == 0);
  if (!none && strspn(from, "-0123456789") > 0 && n < LIMIT_NUMBER_BYTES * 8) {
    char *copy = base_memdup0(from, n), *end;
    none = isinf(strtod(copy, &end)) && *end == '\0';
    free(copy);
  }
  put(out, none ? "-1" : from, none ? 2 : n);
  return n;
}

static void put(struct text *text, const char *bytes, size_t n) {
  if (text->n + n > text->room) {
    text->room = 2 * (text->n + n) + 64;
    text->bytes = base_realloc(text->bytes, text->room, 1);
  }
  memcpy(text->bytes + text->n, bytes, n);
  text->n += n;
}

// ---- the tests

static int add_root(struct durations *durations, json_t *root, const struct text *text, const char *path, char *why,
                    size_t why_size) {
  const char *id;
  size_t bytes, i;
  json_t *value;
  int rc = json_is_object(root) || json_is_array(root) ? 0 : -1;
  if (rc != 0) (void)snprintf(why, why_size, "%s:1: this is not an object of tests and their seconds", path);
  json_object_keylen_foreach(root, id, bytes, value) {
    if (rc == 0) rc = add_id(durations, text, path, id, bytes, value);
  }
  json_array_foreach(root, i, value) {
    if (rc == 0) rc = add(durations, text, path, json_array_get(value, 0), value);
  }
  if (rc > 0) (void)snprintf(why, why_size, "%s: there are more tests than 500,000", path);
  return rc == 0 ? 0 : -1;
}

// An entry of the list form. As add_id.
static int add(struct durations *durations, const struct text *text, const char *path, json_t *id, json_t *value) {
  if (!json_is_string(id) || json_array_size(value) != 2) {
    durations->rows++;
    durations_leave_out(durations, "%s: an entry is not [\"ID\", SECONDS]", path);
    return 0;
  }
  return add_id(durations, text, path, json_string_value(id), json_string_length(id), json_array_get(value, 1));
}

// 0: taken, or left out and counted; 1: the list is full.
static int add_id(struct durations *durations, const struct text *text, const char *path, const char *id,
                  size_t id_bytes, json_t *value) {
  double us = json_is_number(value) ? json_number_value(value) * 1e6 : -1;
  bool good = us >= 0 && us <= (double)LIMIT_TEST_US;
  const char *end = memmem(id, id_bytes, "::", 2);
  char *file = end != NULL && end - id <= MSG_NAME_MAX_BYTES ? base_memdup0(id, (size_t)(end - id)) : NULL;
  durations->rows++;
  int rc = durations->count >= MSG_LIST_MAX;
  if (rc == 0 && (!good || durations_add(durations, id, id_bytes, file, (uint64_t)llround(us)) != 0)) {
    bool valid = msg_id_valid(id, id_bytes);
    size_t line = durations->left_out == 0 ? line_of(text, id, id_bytes) : 0;
    char *safe = human_safe(id, id_bytes < 200 ? id_bytes : 200, ESCAPE_LINE);
    durations_leave_out(durations, "%s:%zu: %s: %s", path, line, safe,
                        valid
                            ? "a test takes " LIMIT_TEST_TEXT
                            : "this is not a test id: it is empty, too long, or has a line break or bytes that are not "
                              "UTF-8");
    free(safe);
  }
  free(file);
  return rc;
}

// The line on which a key stands, as the usual writers write it; 1 when it is written otherwise.
static size_t line_of(const struct text *text, const char *key, size_t key_bytes) {
  json_t *string = json_stringn(key, key_bytes);
  char *forms[] = {durations_json(key, key_bytes), string != NULL ? json_dumps(string, JSON_ENCODE_ANY) : NULL};
  const char *found = NULL;
  size_t line = 1;
  for (size_t i = 0; i < COUNT_OF(forms); i++) {
    if (found == NULL && forms[i] != NULL) found = memmem(text->bytes, text->n, forms[i], strlen(forms[i]));
    free(forms[i]);
  }
  for (const char *at = text->bytes; found != NULL && (at = memchr(at, '\n', (size_t)(found - at))) != NULL; at++)
    line++;
  json_decref(string);
  return line;
}
