// Binds one table of options to the command line, and explains it there. Called by both mains through conf.h; single
// values are read in conf_value.c. Flags are the highest source: they always win. Names are taken exactly, without
// abbreviations, so that a new option never changes what an old script means.
// Must not know any option by name, save --help and --version, which it reports and does not answer.
#include <stdlib.h>
#include <string.h>

#include "config/conf.h"
#include "config/conf_value.h"
#include "config/nearest.h"

enum {
  NAME_BYTES = 64,
  SHOWN_BYTES = 80,
  HELP_COLUMN = 30,
  HELP_WIDTH = 100,
  HELP_TEXT_BYTES = 1024,
};

enum { STEP_ON = 0, STEP_HELP = 1, STEP_VERSION = 2, STEP_FAILED = -1 };

struct walk {
  const struct conf_table *table;
  void *settings;
  enum conf_source *sources;
  unsigned command;
  int argc, at;  // at: the word being read
  char **argv;
  struct conf_error *error;
};

static int read_words(struct walk *w, bool stop_at_word, char **words, int *after_dashes);
static int read_long(struct walk *w);
static int read_letters(struct walk *w);
static int take_value(struct walk *w, size_t key_index, const char *flag, const char *attached);
static int set(struct walk *w, size_t key_index, const char *flag, const char *text);
static size_t find_long(const struct walk *w, const char *name, size_t length);
static bool applies(const struct walk *w, const struct conf_key *key);
static int fail_unknown(struct walk *w, const char *name, size_t length, const struct conf_key *elsewhere);
static int fail_negated(struct walk *w, const char *known);
static void print_flag(const struct conf_table *table, const struct conf_key *key, FILE *out);
static void print_entry(const char *left, const char *text, FILE *out);

int conf_args(const struct conf_table *table, void *settings, enum conf_source *sources, unsigned command, int argc,
              char **argv, bool stop_at_word, char ***rest, int *after_dashes, struct conf_error *error) {
  struct walk w = {.table = table, .settings = settings, .sources = sources, .command = command};
  w.argc = argc;
  w.argv = argv;
  w.error = error;
  enum conf_source *own = NULL;  // a repeated LIST flag appends, so somebody must remember the first
  if (sources == NULL) w.sources = own = base_calloc(table->count, sizeof *own);
  char **words = base_calloc((size_t)argc + 1, sizeof *words);
  int behind;
  int rc = read_words(&w, stop_at_word, words, &behind);
  free(own);
  if (rc != STEP_ON) {
    free(words);
    return rc;
  }
  *rest = words;
  *after_dashes = behind;
  return 0;
}

void conf_help(const struct conf_table *table, unsigned command, FILE *out) {
  for (size_t i = 0; i < table->count; i++) {
    const struct conf_key *key = &table->keys[i];
    if (key->commands == 0 || (key->commands & command) != 0) print_flag(table, key, out);
  }
  print_entry("  -h, --help", "print this help and end", out);
  print_entry("      --version", "print the version and end", out);
}

static int read_words(struct walk *w, bool stop_at_word, char **words, int *after_dashes) {
  size_t count = 0;
  *after_dashes = w->argc;
  for (w->at = 1; w->at < w->argc; w->at++) {
    char *word = w->argv[w->at];
    bool flag = word[0] == '-' && word[1] != '\0';
    if (!flag && stop_at_word) {
      while (w->at < w->argc)
        words[count++] = w->argv[w->at++];
      return STEP_ON;
    }
    if (flag && strcmp(word, "--") == 0) {
      *after_dashes = w->at + 1;
      return STEP_ON;
    }
    if (!flag) words[count++] = word;
    int rc = !flag ? STEP_ON : word[1] == '-' ? read_long(w) : read_letters(w);
    if (rc != STEP_ON) return rc;
  }
  return STEP_ON;
}

static int read_long(struct walk *w) {
  const char *name = w->argv[w->at] + 2, *equals = strchr(name, '=');
  size_t length = equals ? (size_t)(equals - name) : strlen(name), count = w->table->count;
  if (strcmp(name, "help") == 0) return STEP_HELP;
  if (strcmp(name, "version") == 0) return STEP_VERSION;
  size_t k = find_long(w, name, length);
  const char *attached = equals ? equals + 1 : NULL;
  size_t positive =
      k == count && length > 3 && strncmp(name, "no-", 3) == 0 ? find_long(w, name + 3, length - 3) : count;
  if (positive < count && w->table->keys[positive].type == CONF_BOOL) {
    const char *known = w->table->keys[positive].name;
    if (attached != NULL) return fail_negated(w, known);
    k = positive;
    attached = "no";
  }
  if (k == count) return fail_unknown(w, name, length, NULL);
  if (!applies(w, &w->table->keys[k])) return fail_unknown(w, name, length, &w->table->keys[k]);
  char flag[NAME_BYTES + 8];
  (void)snprintf(flag, sizeof flag, "--%s", w->table->keys[k].name);
  return take_value(w, k, flag, attached);
}

// "-q", "-n4", "-n 4", "-qv": letters of BOOL options may stand together.
static int read_letters(struct walk *w) {
  for (const char *p = w->argv[w->at] + 1; *p != '\0'; p++) {
    if (*p == 'h') return STEP_HELP;
    size_t k = 0;
    while (k < w->table->count && (w->table->keys[k].letter != *p || !applies(w, &w->table->keys[k])))
      k++;
    char flag[8];
    (void)snprintf(flag, sizeof flag, "-%c", *p);
    if (k == w->table->count) {
      char shown[SHOWN_BYTES];
      (void)base_quote(shown, sizeof shown, w->argv[w->at], strlen(w->argv[w->at]));
      (void)snprintf(w->error->text, sizeof w->error->text, "unknown flag %s; --help lists the known ones", shown);
      return STEP_FAILED;
    }
    bool single = w->table->keys[k].type == CONF_BOOL;
    if (!single) return take_value(w, k, flag, p[1] != '\0' ? p + 1 : NULL);
    if (set(w, k, flag, "yes") != STEP_ON) return STEP_FAILED;
  }
  return STEP_ON;
}

// Finds the value, in the word or in the next one, and sets it.
static int take_value(struct walk *w, size_t key_index, const char *flag, const char *attached) {
  const struct conf_key *key = &w->table->keys[key_index];
  if (attached != NULL) return set(w, key_index, flag, attached);
  if (key->type == CONF_BOOL) return set(w, key_index, flag, "yes");
  if (w->at + 1 < w->argc && strcmp(w->argv[w->at + 1], "--") != 0) {
    w->at++;
    return set(w, key_index, flag, w->argv[w->at]);
  }
  struct conf_why why;
  conf_value_explain(key, "the value is missing", &why);
  (void)snprintf(w->error->text, sizeof w->error->text, "%s: %s", flag, why.text);
  return STEP_FAILED;
}

static int set(struct walk *w, size_t key_index, const char *flag, const char *text) {
  const struct conf_key *key = &w->table->keys[key_index];
  struct conf_value value;
  struct conf_why why;
  if (conf_value_read(key, text, CONF_SPLIT_NEVER, &value, &why) != 0) {
    (void)snprintf(w->error->text, sizeof w->error->text, "%s: %s", flag, why.text);
    return STEP_FAILED;
  }
  if (key->type == CONF_LIST && w->sources[key_index] == CONF_FROM_FLAG)
    conf_value_append(key, w->settings, &value);
  else
    conf_value_store(key, w->settings, &value);
  w->sources[key_index] = CONF_FROM_FLAG;
  return STEP_ON;
}

// The key of this name that the subcommand takes, else one that another subcommand takes, else the table's count.
static size_t find_long(const struct walk *w, const char *name, size_t length) {
  size_t found = w->table->count;
  for (size_t i = 0; i < w->table->count; i++) {
    const struct conf_key *key = &w->table->keys[i];
    if (strncmp(key->name, name, length) != 0 || key->name[length] != '\0') continue;
    if (applies(w, key)) return i;
    found = i;
  }
  return found;
}

static bool applies(const struct walk *w, const struct conf_key *key) {
  return key->commands == 0 || (key->commands & w->command) != 0;
}

static int fail_unknown(struct walk *w, const char *name, size_t length, const struct conf_key *elsewhere) {
  char shown[SHOWN_BYTES], hint[NAME_BYTES * 2] = "; --help lists the known ones";
  char *copy = base_printf("--%.*s", (int)length, name);
  (void)base_quote(shown, sizeof shown, copy, strlen(copy));
  struct nearest nearest;
  nearest_init(&nearest, copy + 2);
  for (size_t i = 0; i < w->table->count; i++)
    if (applies(w, &w->table->keys[i])) nearest_offer(&nearest, w->table->keys[i].name);
  nearest_offer(&nearest, "help");
  nearest_offer(&nearest, "version");
  if (nearest.best != NULL) (void)nearest_hint(&nearest, "--", hint, sizeof hint);
  if (elsewhere != NULL)
    (void)snprintf(w->error->text, sizeof w->error->text,
                   "%s belongs to another subcommand; --help lists what this one takes", shown);
  else
    (void)snprintf(w->error->text, sizeof w->error->text, "unknown flag %s%s", shown, hint);
  free(copy);
  return STEP_FAILED;
}

static int fail_negated(struct walk *w, const char *known) {
  (void)snprintf(w->error->text, sizeof w->error->text, "--no-%s takes no value; write --no-%s or --%s", known, known,
                 known);
  return STEP_FAILED;
}

static void print_flag(const struct conf_table *table, const struct conf_key *key, FILE *out) {
  char left[NAME_BYTES * 3], letter[8] = "    ", text[HELP_TEXT_BYTES], variable[NAME_BYTES * 2];
  bool set_by_default = key->type == CONF_BOOL && key->fallback != NULL && strcmp(key->fallback, "yes") == 0;
  if (key->letter != 0) (void)snprintf(letter, sizeof letter, "-%c, ", key->letter);
  (void)snprintf(left, sizeof left, "  %s--%s%s%s%s", letter, set_by_default ? "[no-]" : "", key->name,
                 key->type == CONF_BOOL ? "" : " ",
                 key->type == CONF_BOOL ? ""
                 : key->arg             ? key->arg
                                        : "VALUE");
  size_t at = (size_t)snprintf(text, sizeof text, "%s", key->help);
  for (size_t i = 0; key->type == CONF_CHOICE && key->choices[i] != NULL && at < sizeof text; i++)
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i == 0 ? ": " : ", ", key->choices[i]);
  bool shows_default = key->fallback != NULL && key->fallback[0] != '\0' && !key->secret;
  if (shows_default && at < sizeof text)
    at += (size_t)snprintf(text + at, sizeof text - at, " (default: %s)", key->fallback);
  conf_variable(table, key, variable, sizeof variable);
  if (!(key->not_from & 1u << CONF_FROM_ENV) && at < sizeof text)
    (void)snprintf(text + at, sizeof text - at, " [%s]", variable);
  print_entry(left, text, out);
}

// A flag, then its text wrapped beside it; a long flag has a line of its own.
static void print_entry(const char *left, const char *text, FILE *out) {
  int column = fprintf(out, "%s", left);
  if (column > HELP_COLUMN - 2) {
    fputc('\n', out);
    column = 0;
  }
  fprintf(out, "%*s", HELP_COLUMN - column, "");
  column = HELP_COLUMN;
  for (const char *p = text; *p != '\0';) {
    size_t length = strcspn(p, " ");
    bool first = column == HELP_COLUMN;
    if (!first && column + 1 + (int)length > HELP_WIDTH) {
      fprintf(out, "\n%*s", HELP_COLUMN, "");
      column = HELP_COLUMN;
      first = true;
    }
    column += fprintf(out, "%s%.*s", first ? "" : " ", (int)length, p);
    p += length + strspn(p + length, " ");
  }
  fputc('\n', out);
}
