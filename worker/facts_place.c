// Programs in a command. Called by facts_command.c. It knows the usual programs that start another one, and reads no
// more of a shell's language than where a command may begin. It must not know what becomes of the words.
#include "worker/facts_place.h"

#include <ctype.h>
#include <string.h>

#include "config/base.h"

// Programs that start the one behind their options, and the letters of their options that take a value.
static const struct {
  const char *name, *values;
  bool shell;
} starters[] = {{"env", "uC", false},        {"sudo", "ugChpDRT", false},
                {"doas", "uC", false},       {"nice", "n", false},
                {"ionice", "cnp", false},    {"timeout", "ks", false},
                {"time", "fo", false},       {"stdbuf", "ioe", false},
                {"nohup", "", false},        {"setsid", "", false},
                {"exec", "a", false},        {"command", "", false},
                {"xvfb-run", "ensp", false}, {"taskset", "c", false},
                {"chrt", "", false},         {"unbuffer", "", false},
                {"catchsegv", "", false},    {"strace", "oePs", false},
                {"valgrind", "", false},     {"dbus-run-session", "", false},
                {"sh", "oO", true},          {"bash", "oO", true},
                {"dash", "o", true},         {"zsh", "o", true},
                {"ksh", "o", true},          {"busybox", "", false},
                {"xargs", "nIPLdas", false}, {"srun", "nNcpJ", false}};

static const char *const keywords[] = {"if", "then", "else", "elif", "while", "until", "do", "!", "{"};

static bool place_is(const char *word, size_t n, const char *name) {
  return strlen(name) == n && memcmp(word, name, n) == 0;
}

// NAME=value.
static bool place_sets(const char *word, size_t n) {
  size_t name = 0;
  while (name < n && (isalnum((unsigned char)word[name]) || word[name] == '_'))
    name++;
  return name > 0 && name < n && word[name] == '=' && !isdigit((unsigned char)word[0]);
}

static struct facts_place place_behind_program(const char *word, size_t n) {
  size_t name = n;
  while (name > 0 && word[name - 1] != '/')
    name--;
  for (size_t i = 0; i < COUNT_OF(starters); i++) {
    if (place_is(word + name, n - name, starters[i].name))
      return (struct facts_place){FACTS_AT_OPTION, starters[i].shell, starters[i].values};
  }
  return (struct facts_place){.at = FACTS_AT_ARGUMENT};
}

static struct facts_place place_program(struct facts_place place, const char *word, size_t n) {
  if (n == 0 || place_sets(word, n)) return place;
  for (size_t i = 0; i < COUNT_OF(keywords); i++) {
    if (place_is(word, n, keywords[i])) return facts_place_begin();
  }
  return place_behind_program(word, n);
}

// Numbers are a duration, a priority or a set of processors.
static struct facts_place place_option(struct facts_place place, const char *word, size_t n) {
  if (n > 1 && word[0] == '-') {
    bool letters = word[1] != '-';
    if (n == 2 && !letters) return place.shell ? place : facts_place_begin();
    if (place.shell && letters && memchr(word, 'c', n)) return (struct facts_place){.at = FACTS_AT_SCRIPT};
    if (n == 2 && strchr(place.values, word[1])) place.at = FACTS_AT_VALUE;
    return place;
  }
  if (!place.shell && n > 0 && isdigit((unsigned char)word[0])) return place;
  if (place.shell && n > 0) return (struct facts_place){.at = FACTS_AT_ARGUMENT};
  return place_program(place, word, n);
}

struct facts_place facts_place_begin(void) {
  return (struct facts_place){.at = FACTS_AT_PROGRAM, .values = ""};
}

struct facts_place facts_place_next(struct facts_place place, const char *word, size_t n, bool in_script) {
  bool ends = false;
  while (in_script && n > 0 && strchr("'\"(`", word[0]))
    word++, n--;
  while (in_script && n > 0 && strchr(";|&(`)'\"", word[n - 1])) {
    ends = ends || strchr(";|&(`", word[n - 1]);
    n--;
  }
  if (ends) return facts_place_begin();
  switch (place.at) {
    case FACTS_AT_PROGRAM: return place_program(place, word, n);
    case FACTS_AT_OPTION: return place_option(place, word, n);
    case FACTS_AT_VALUE: place.at = FACTS_AT_OPTION; return place;
    case FACTS_AT_SCRIPT:
      return in_script ? place_program(facts_place_begin(), word, n) : (struct facts_place){.at = FACTS_AT_ARGUMENT};
    case FACTS_AT_ARGUMENT: break;
  }
  return place;
}
