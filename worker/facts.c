// Facts: collected, cleaned, and put into messages. Must not know how they are compared.
#include "worker/facts.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "worker/facts_command.h"
#include "worker/facts_long.h"
#include "worker/identity.h"

#define FACTS_MORE "more"

enum {
  FACTS_FIRST = 5,  // the runner, the command and the variables that count in any case
  ENV_KEYS_MAX = 24,
  FACTS_BY_ENV_KEY = FACTS_FIRST + ENV_KEYS_MAX,
  NUMBERS_GUESS = 9,  // numbers of jobs, where nothing tells how many there are
};
// Behind them come the rest of the worker's own and what the test process tells.
static_assert(FACTS_BY_ENV_KEY + 16 < MSG_FACTS_MAX, "too many names by --env-key");

static bool facts_name_ok(const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i < n; i++) {
    if (!isalnum((unsigned char)name[i]) && !strchr("_.-", name[i])) return false;
  }
  return n > 0 && n <= MSG_FACT_NAME_MAX_BYTES;
}

static char *facts_clean(const char *value) {
  char *clean = base_strdup(value);
  for (char *at = clean; *at; at++) {
    bool mark = *at == MSG_FACT_OWN_BEGINS || *at == MSG_FACT_OWN_ENDS;
    if (((unsigned char)*at < ' ' && !mark) || *at == 0x7f) *at = ' ';
  }
  return clean;
}

// Takes the value over, which is clean.
static void facts_put(struct facts *facts, const char *name, char *value) {
  size_t at = 0;
  while (at < facts->count && strcmp(facts->name[at], name) != 0)
    at++;
  assert(at < MSG_FACTS_MAX);
  if (at == facts->count) {
    facts->name[at] = base_strdup(name);
    facts->count++;
  } else {
    free(facts->value[at]);
  }
  facts->value[at] = value;
}

static const char *facts_get(const struct facts *facts, const char *name) {
  for (size_t i = 0; i < facts->count; i++)
    if (strcmp(facts->name[i], name) == 0) return facts->value[i];
  return NULL;
}

// What has no room of its own is not compared by itself, but compared: its name and value are in one more fact, the
// last.
static void facts_put_more(struct facts *facts, const char *name, const char *value) {
  const char *before = facts_get(facts, FACTS_MORE);
  char *whole = base_printf("%s%s%s=%s", before ? before : "", before ? " " : "", name, value),
       *clean = facts_clean(whole);
  facts_put(facts, FACTS_MORE, facts_long(clean));
  free(clean);
  free(whole);
}

void facts_add(struct facts *facts, const char *name, const char *value) {
  bool more = !facts_get(facts, name) && facts->count + 1 >= MSG_FACTS_MAX;
  if (more || !facts_name_ok(name) || strcmp(name, FACTS_MORE) == 0) {
    facts_put_more(facts, name, value);
    return;
  }
  char *clean = facts_clean(value);
  facts_put(facts, name, facts_long(clean));
  free(clean);
}

// Takes the command over.
static void facts_add_command(struct facts *facts, const char *name, char *command, const struct identity *identity) {
  char *clean = facts_clean(command);
  facts_put(facts, name, facts_long_command(clean, identity->total ? identity->total : NUMBERS_GUESS));
  free(clean);
  free(command);
}

void facts_fill(const struct facts *facts, struct facts_message *message) {
  message->facts = (Shardd__Facts)SHARDD__FACTS__INIT;
  for (size_t i = 0; i < facts->count; i++) {
    message->name[i] = msg_text(facts->name[i]);
    message->value[i] = msg_text(facts->value[i]);
  }
  message->facts.n_name = message->facts.n_value = facts->count;
  message->facts.name = message->name;
  message->facts.value = message->value;
}

void facts_release(struct facts *facts) {
  for (size_t i = 0; i < facts->count; i++) {
    free(facts->name[i]);
    free(facts->value[i]);
  }
  facts->count = 0;
}

// ---- the worker's own

// A variable that is not set counts as empty: one that the others have is a difference.
static void facts_add_variable(struct facts *facts, const char *name) {
  const char *value = getenv(name);
  facts_add(facts, name, value ? value : "");
}

// Names that commas part.
static int facts_add_variables(struct facts *facts, const char *names, struct conf_error *error) {
  int status = 0;
  for (const char *at = names; *at && status == 0; at += strspn(at, ",")) {
    size_t n = strcspn(at, ",");
    char *name = base_memdup0(at, n);
    if (n > 0 && !facts_name_ok(name)) {
      (void)snprintf(error->text, sizeof error->text, "--env-key: '%.100s' is not the name of a variable", name);
      status = -1;
    } else if (n > 0 && !facts_get(facts, name) && facts->count == FACTS_BY_ENV_KEY) {
      (void)snprintf(error->text, sizeof error->text,
                     "--env-key: too many names, from '%.100s' on: a worker is compared by %d variables at most", name,
                     ENV_KEYS_MAX);
      status = -1;
    } else if (n > 0) {
      facts_add_variable(facts, name);
    }
    free(name);
    at += n;
  }
  return status;
}

// KEY=VALUE of /etc/os-release, without quotes.
static void facts_os_value(const char *line, const char *key, char *out, size_t out_size) {
  size_t n = strlen(key);
  if (strncmp(line, key, n) != 0 || line[n] != '=') return;
  const char *value = line + n + 1 + (line[n + 1] == '"');
  (void)snprintf(out, out_size, "%.*s", (int)strcspn(value, "\"\n"), value);
}

// The second dot of a version and what is behind it: images of one name are brought up to date while a build runs.
static void facts_cut_patch(char *version) {
  char *dot = strchr(version, '.');
  dot = dot ? strchr(dot + 1, '.') : NULL;
  if (dot) *dot = '\0';
}

static void facts_add_os(struct facts *facts) {
  char line[256], id[64] = "", version[64] = "", text[160];
  FILE *file = fopen("/etc/os-release", "re");
  while (file && fgets(line, sizeof line, file)) {
    facts_os_value(line, "ID", id, sizeof id);
    facts_os_value(line, "VERSION_ID", version, sizeof version);
  }
  if (file) (void)fclose(file);
  facts_cut_patch(version);
  (void)snprintf(text, sizeof text, "%s%s%s", id, version[0] ? " " : "", version);
  if (id[0]) facts_add(facts, "os", text);
}

static void facts_add_system(struct facts *facts) {
  struct utsname name;
  if (uname(&name) == 0) {
    facts_add(facts, "system", name.sysname);
    facts_add(facts, "machine", name.machine);
  }
  facts_add_os(facts);
}

int facts_of_worker(struct facts *facts, const struct options *options, const struct identity *identity,
                    char *const *command, bool by_command, struct conf_error *error) {
  static const char *const variables[] = {"TOXENV", "NOXSESSION", "DJANGO_SETTINGS_MODULE"};
  facts_add(facts, "runner", by_command ? "command" : "pytest");
  facts_add_command(facts, "command", facts_command(command, identity), identity);
  for (size_t i = 0; i < COUNT_OF(variables); i++)
    facts_add_variable(facts, variables[i]);
  for (size_t i = 0; i < options->env_key.count; i++)
    if (facts_add_variables(facts, options->env_key.item[i], error) < 0) return -1;
  if (!by_command) {
    facts_add_command(facts, "PYTEST_ADDOPTS", facts_command_line(getenv("PYTEST_ADDOPTS"), identity), identity);
    return 0;
  }
  // who has no list takes the list of the others
  if (options->list[strspn(options->list, " \t\n")])
    facts_add_command(facts, "list", facts_command_line(options->list, identity), identity);
  facts_add(facts, "results", options->results);
  facts_add_system(facts);
  return 0;
}
