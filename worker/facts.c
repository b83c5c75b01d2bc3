// Facts: collected, cleaned, and put into messages. Must not know how they are compared.
#include "worker/facts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "worker/facts_command.h"
#include "worker/identity.h"

static bool facts_name_ok(const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i < n; i++) {
    if (!isalnum((unsigned char)name[i]) && !strchr("_.-", name[i])) return false;
  }
  return n > 0 && n <= MSG_FACT_NAME_MAX_BYTES;
}

static char *facts_clean(const char *value) {
  size_t n = strlen(value);
  char *clean = base_memdup0(value, n < MSG_FACT_MAX_BYTES ? n : (size_t)MSG_FACT_MAX_BYTES);
  for (char *at = clean; *at; at++) {
    bool mark = *at == MSG_FACT_OWN_BEGINS || *at == MSG_FACT_OWN_ENDS;
    if (((unsigned char)*at < ' ' && !mark) || *at == 0x7f) *at = ' ';
  }
  return clean;
}

void facts_add(struct facts *facts, const char *name, const char *value) {
  size_t at = 0;
  while (at < facts->count && strcmp(facts->name[at], name) != 0)
    at++;
  if (at == MSG_FACTS_MAX || !facts_name_ok(name)) return;
  if (at == facts->count) {
    facts->name[at] = base_strdup(name);
    facts->count++;
  } else {
    free(facts->value[at]);
  }
  facts->value[at] = facts_clean(value);
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
static void facts_add_variables(struct facts *facts, const char *names) {
  for (const char *at = names; *at; at += strspn(at, ",")) {
    size_t n = strcspn(at, ",");
    char *name = base_memdup0(at, n);
    facts_add_variable(facts, name);
    free(name);
    at += n;
  }
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

void facts_of_worker(struct facts *facts, const struct options *options, const struct identity *identity,
                     char *const *command, bool by_command) {
  static const char *const variables[] = {"TOXENV", "NOXSESSION", "DJANGO_SETTINGS_MODULE"};
  facts_add(facts, "runner", by_command ? "command" : "pytest");
  char *text = facts_command(command, identity);
  facts_add(facts, "command", text);
  free(text);
  for (size_t i = 0; i < COUNT_OF(variables); i++)
    facts_add_variable(facts, variables[i]);
  for (size_t i = 0; i < options->env_key.count; i++)
    facts_add_variables(facts, options->env_key.item[i]);
  if (!by_command) {
    char *more = facts_command_line(getenv("PYTEST_ADDOPTS"), identity);
    facts_add(facts, "PYTEST_ADDOPTS", more);
    free(more);
    return;
  }
  char *list = facts_command_line(options->list, identity);
  if (list[0]) facts_add(facts, "list", list);  // who has none takes the list of the others
  free(list);
  facts_add(facts, "results", options->results);
  facts_add_system(facts);
}
