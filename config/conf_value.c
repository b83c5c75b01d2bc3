// One option's value: read from text, moved into the settings, copied, compared, printed, freed. Called by conf.c
// (table, file, environment), conf_args.c (flags) and the programs' settings files. A value is read whole before it is
// stored, so a bad one changes nothing. Everything that depends on a type stands here, in exhaustive switches. Must not
// know where the text came from: the callers put flag, variable or file:line:column before the message.
#include "config/conf_value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/escape.h"
#include "config/nearest.h"

enum { SHOWN_BYTES = 80 };

struct unit {
  const char *name;
  uint64_t factor;
};

static void put(const struct conf_key *key, void *settings, const struct conf_value *value);
static void *place_of(const struct conf_key *key, void *settings);
static const void *const_place_of(const struct conf_key *key, const void *settings);
static int read_bool(const char *text, bool *out);
static int read_choice(const struct conf_key *key, const char *text, int *out);
static struct conf_list read_list(const char *text, const char *separators);
static void free_list(struct conf_list *list);
static uint64_t bound_of(const struct conf_key *key);
static void describe(const struct conf_key *key, char *out, size_t out_size);
static void print_quoted(const char *text, FILE *out);

int conf_value_read(const struct conf_key *key, const char *text, const char *separators, struct conf_value *out,
                    struct conf_why *why) {
  struct conf_value value = {0};
  int rc = 0;
  switch (key->type) {
    case CONF_BOOL: rc = read_bool(text, &value.flag); break;
    case CONF_UINT: rc = base_parse_u64(text, key->min, bound_of(key), &value.number); break;
    case CONF_DURATION: rc = base_parse_duration(text, key->min, bound_of(key), &value.number); break;
    case CONF_SIZE: rc = base_parse_size(text, key->min, bound_of(key), &value.number); break;
    case CONF_STRING: value.string = base_strdup(text); break;
    case CONF_LIST: value.list = read_list(text, separators); break;
    case CONF_CHOICE: rc = read_choice(key, text, &value.choice); break;
  }
  if (rc == 0) {
    *out = value;
    return 0;
  }
  char shown[SHOWN_BYTES] = "this value";
  if (!key->secret) (void)base_quote(shown, sizeof shown, text, strlen(text));
  char what[2 * SHOWN_BYTES + 64], hint[64] = "";
  struct nearest nearest;
  nearest_init(&nearest, text);
  for (size_t i = 0; key->type == CONF_CHOICE && key->choices[i] != NULL; i++)
    nearest_offer(&nearest, key->choices[i]);
  (void)snprintf(what, sizeof what, "%s is wrong%s", shown, nearest_hint(&nearest, "", hint, sizeof hint));
  conf_value_explain(key, what, why);
  return -1;
}

void conf_value_explain(const struct conf_key *key, const char *what, struct conf_why *why) {
  char takes[200];
  describe(key, takes, sizeof takes);
  size_t length = strlen(what);
  const char *joint = length > 0 && what[length - 1] == '?' ? " It takes" : "; it takes";
  (void)snprintf(why->text, sizeof why->text, "%s%s %s", what, joint, takes);
}

void conf_value_store(const struct conf_key *key, void *settings, const struct conf_value *value) {
  conf_value_release(key, settings);
  put(key, settings, value);
}

void conf_value_append(const struct conf_key *key, void *settings, const struct conf_value *value) {
  struct conf_list *list = place_of(key, settings);
  list->item = base_realloc(list->item, list->count + value->list.count, sizeof *list->item);
  for (size_t i = 0; i < value->list.count; i++)
    list->item[list->count++] = value->list.item[i];
  free(value->list.item);
}

void conf_value_drop(const struct conf_key *key, struct conf_value *value) {
  if (key->type == CONF_STRING) free(value->string);
  if (key->type == CONF_LIST) free_list(&value->list);
  *value = (struct conf_value){0};
}

void conf_value_release(const struct conf_key *key, void *settings) {
  void *place = place_of(key, settings);
  if (key->type == CONF_STRING) {
    free(*(char **)place);
    *(char **)place = NULL;
  }
  if (key->type == CONF_LIST) free_list(place);
}

void conf_value_init(const struct conf_key *key, void *settings) {
  const char *text = key->fallback ? key->fallback : "";
  struct conf_value value = {0};
  struct conf_why why;
  // A text or list may be empty by default; for the others no default is 0, no, or the first word.
  bool unset = text[0] == '\0' && key->type != CONF_STRING && key->type != CONF_LIST;
  if (!unset && conf_value_read(key, text, CONF_SPLIT_DEFAULT, &value, &why) != 0)
    base_die(EXIT_INFRA, "the table of options is wrong: default of %s: %s", key->name, why.text);
  put(key, settings, &value);
}

void conf_value_copy(const struct conf_key *key, void *to, const void *from) {
  struct conf_value value = {0};
  const void *place = const_place_of(key, from);
  const struct conf_list *list = place;
  switch (key->type) {
    case CONF_BOOL: value.flag = *(const bool *)place; break;
    case CONF_UINT:
    case CONF_DURATION:
    case CONF_SIZE: value.number = *(const uint64_t *)place; break;
    case CONF_STRING: value.string = base_strdup(*(char *const *)place); break;
    case CONF_CHOICE: value.choice = *(const int *)place; break;
    case CONF_LIST:
      value.list.item = base_calloc(list->count, sizeof *list->item);
      for (size_t i = 0; i < list->count; i++)
        value.list.item[value.list.count++] = base_strdup(list->item[i]);
      break;
  }
  conf_value_store(key, to, &value);
}

bool conf_value_equal(const struct conf_key *key, const void *a, const void *b) {
  const void *pa = const_place_of(key, a), *pb = const_place_of(key, b);
  const struct conf_list *la = pa, *lb = pb;
  bool equal = true;
  switch (key->type) {
    case CONF_BOOL: return *(const bool *)pa == *(const bool *)pb;
    case CONF_UINT:
    case CONF_DURATION:
    case CONF_SIZE: return *(const uint64_t *)pa == *(const uint64_t *)pb;
    case CONF_STRING: return strcmp(*(char *const *)pa, *(char *const *)pb) == 0;
    case CONF_CHOICE: return *(const int *)pa == *(const int *)pb;
    case CONF_LIST:
      equal = la->count == lb->count;
      for (size_t i = 0; equal && i < la->count; i++)
        equal = strcmp(la->item[i], lb->item[i]) == 0;
      return equal;
  }
  return false;
}

void conf_value_print(const struct conf_key *key, const void *settings, FILE *out) {
  const void *place = const_place_of(key, settings);
  const struct conf_list *list = place;
  char number[32];
  switch (key->type) {
    case CONF_BOOL: fputs(*(const bool *)place ? "yes" : "no", out); break;
    case CONF_UINT:
    case CONF_DURATION:
    case CONF_SIZE:
      fputs(conf_value_number_text(key->type, *(const uint64_t *)place, number, sizeof number), out);
      break;
    case CONF_STRING: print_quoted(*(char *const *)place, out); break;
    case CONF_CHOICE: fputs(key->choices[*(const int *)place], out); break;
    case CONF_LIST:
      fputc('[', out);
      for (size_t i = 0; i < list->count; i++) {
        if (i > 0) fputs(", ", out);
        print_quoted(list->item[i], out);
      }
      fputc(']', out);
      break;
  }
}

bool conf_value_in_bounds(const struct conf_key *key, const void *settings) {
  if (key->type != CONF_UINT && key->type != CONF_DURATION && key->type != CONF_SIZE) return true;
  uint64_t number = *(const uint64_t *)const_place_of(key, settings);
  return number >= key->min && number <= bound_of(key);
}

const char *conf_value_number_text(enum conf_type type, uint64_t number, char *out, size_t out_size) {
  static const struct unit durations[] = {{"d", 86400000000u}, {"h", 3600000000u}, {"m", 60000000},
                                          {"s", 1000000},      {"ms", 1000},       {"us", 1}};
  static const struct unit sizes[] = {{"G", 1 << 30}, {"M", 1 << 20}, {"k", 1 << 10}};
  const struct unit *units = type == CONF_DURATION ? durations : sizes, *unit = NULL;
  size_t count = type == CONF_DURATION ? COUNT_OF(durations) : type == CONF_SIZE ? COUNT_OF(sizes) : 0;
  for (size_t i = 0; unit == NULL && number != 0 && i < count; i++)
    if (number % units[i].factor == 0) unit = &units[i];
  (void)snprintf(out, out_size, "%" PRIu64 "%s", unit ? number / unit->factor : number, unit ? unit->name : "");
  return out;
}

// Over what owns nothing.
static void put(const struct conf_key *key, void *settings, const struct conf_value *value) {
  void *place = place_of(key, settings);
  switch (key->type) {
    case CONF_BOOL: *(bool *)place = value->flag; break;
    case CONF_UINT:
    case CONF_DURATION:
    case CONF_SIZE: *(uint64_t *)place = value->number; break;
    case CONF_STRING: *(char **)place = value->string; break;
    case CONF_LIST: *(struct conf_list *)place = value->list; break;
    case CONF_CHOICE: *(int *)place = value->choice; break;
  }
}

static void *place_of(const struct conf_key *key, void *settings) {
  return (char *)settings + key->offset;
}

static const void *const_place_of(const struct conf_key *key, const void *settings) {
  return (const char *)settings + key->offset;
}

static int read_bool(const char *text, bool *out) {
  static const char *const words[][2] = {{"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};
  for (size_t i = 0; i < COUNT_OF(words) * 2; i++) {
    if (strcasecmp(text, words[i / 2][i % 2]) != 0) continue;
    *out = i % 2 == 1;
    return 0;
  }
  return -1;
}

static int read_choice(const struct conf_key *key, const char *text, int *out) {
  for (int i = 0; key->choices[i] != NULL; i++) {
    if (strcmp(text, key->choices[i]) != 0) continue;
    *out = i;
    return 0;
  }
  return -1;
}

// Without separators the text is one item; empty items are dropped in any case.
static struct conf_list read_list(const char *text, const char *separators) {
  struct conf_list list = {0};
  for (const char *p = text + strspn(text, separators); *p != '\0'; p += strspn(p, separators)) {
    size_t length = separators[0] != '\0' ? strcspn(p, separators) : strlen(p);
    list.item = base_realloc(list.item, list.count + 1, sizeof *list.item);
    list.item[list.count++] = base_memdup0(p, length);
    p += length;
  }
  return list;
}

static void free_list(struct conf_list *list) {
  for (size_t i = 0; i < list->count; i++)
    free(list->item[i]);
  free(list->item);
  *list = (struct conf_list){0};
}

static uint64_t bound_of(const struct conf_key *key) {
  return key->max != 0 ? key->max : UINT64_MAX;
}

// What a key takes, for messages: "a duration from 100ms to 1h, such as 90s or 250ms".
static void describe(const struct conf_key *key, char *out, size_t out_size) {
  static const struct {
    const char *kind, *example;
  } number[] = {[CONF_UINT] = {"a whole number", ""},
                [CONF_DURATION] = {"a duration", ", such as 90s, 1.5m or 250ms"},
                [CONF_SIZE] = {"a size", ", such as 512, 64k or 8M"}};
  char least[32], most[32];
  size_t at = 0;
  switch (key->type) {
    case CONF_BOOL: (void)snprintf(out, out_size, "yes or no"); return;
    case CONF_STRING: (void)snprintf(out, out_size, "one text"); return;
    case CONF_LIST: (void)snprintf(out, out_size, "a list of texts"); return;
    case CONF_CHOICE:
      (void)snprintf(out, out_size, "one of ");
      for (size_t i = 0; key->choices[i] != NULL && (at = strlen(out)) < out_size; i++)
        (void)snprintf(out + at, out_size - at, "%s%s", i > 0 ? ", " : "", key->choices[i]);
      return;
    case CONF_UINT:
    case CONF_DURATION:
    case CONF_SIZE: break;
  }
  (void)conf_value_number_text(key->type, key->min, least, sizeof least);
  (void)conf_value_number_text(key->type, key->max, most, sizeof most);
  (void)snprintf(out, out_size, "%s %s %s%s%s%s", number[key->type].kind, key->max ? "from" : "of at least", least,
                 key->max ? " to " : "", key->max ? most : "", number[key->type].example);
}

static void print_quoted(const char *text, FILE *out) {
  enum { GROWTH = 10 };  // \U and eight digits for one byte, at most
  size_t length = strlen(text);
  char *quoted = base_malloc(length * GROWTH + 1);
  size_t n = escape_bytes(quoted, length * GROWTH, text, length, ESCAPE_YAML);
  fputc('"', out);
  fwrite(quoted, 1, n, out);
  fputc('"', out);
  free(quoted);
}
