// A command as a fact. Jobs of one build differ in where they stand (absolute paths), in what they write (reports) and
// in their number, which may be anywhere: junit-3.xml, --metadata job 3. The first is cut down, the second left out by
// a table of options, the third marked, so that the server compares it only with what is no number of the other job's.
// Of a program's path more counts than of an argument's: it may be all that tells the entries of a matrix apart.
#include "worker/facts_command.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/facts_place.h"
#include "worker/identity.h"
#include "worker/project.h"

enum { OWN_MAX = 8, FOLDERS_MAX = 24 };

// Variables that name folders of the job, which may be at another place on each machine, and its folders for what lasts
// no longer than it.
static const char *const places[] = {"HOME",
                                     "CI_PROJECT_DIR",
                                     "GITHUB_WORKSPACE",
                                     "RUNNER_WORKSPACE",
                                     "RUNNER_TOOL_CACHE",
                                     "WORKSPACE",
                                     "BUILDKITE_BUILD_CHECKOUT_PATH",
                                     "BUILD_SOURCESDIRECTORY",
                                     "AGENT_TOOLSDIRECTORY",
                                     "BITBUCKET_CLONE_DIR",
                                     "CIRCLE_WORKING_DIRECTORY",
                                     "SEMAPHORE_GIT_DIR",
                                     "CODEBUILD_SRC_DIR",
                                     "CI_WORKSPACE",
                                     "DRONE_WORKSPACE"};
static const char *const temporaries[] = {"TMPDIR", "RUNNER_TEMP", "AGENT_TEMPDIRECTORY"};
static_assert(COUNT_OF(places) + COUNT_OF(temporaries) + 3 <= FOLDERS_MAX, "too many folders of the job");

// Options that say what each job writes, or random numbers of its own: pytest's and its plugins', and other runners'.
static const struct {
  const char *name;
  bool takes;  // its value may be the next word; else only behind "="
} outputs[] = {{"--junitxml", true},
               {"--junit-xml", true},
               {"--junit-prefix", true},
               {"--basetemp", true},
               {"--html", true},
               {"--json-report-file", true},
               {"--report-log", true},
               {"--resultlog", true},
               {"--log-file", true},
               {"--cov-report", true},
               {"--alluredir", true},
               {"--durations-path", true},
               {"--metadata-from-json", true},
               {"--randomly-seed", true},
               {"--random-order-seed", true},
               {"--rootdir", true},
               {"--output-junit", true},
               {"--log-junit", true},
               {"--outputFile", true},
               {"--coverageDirectory", true},
               {"-coverprofile", true},
               {"--gtest_output", false},
               {"--gtest_random_seed", false},
               {"--output-on-failure", false},
               {"--result-file", true}};
// Settings that -o gives of the same kind.
static const char *const settings[] = {"cache_dir", "log_file", "junit_suite_name"};

struct shape {
  char *text;
  size_t used, room;
  char own[OWN_MAX][256];  // the job's numbers and names, longest first
  size_t own_count;
  char here[1024];  // the folder it runs in
  char *folder[FOLDERS_MAX];
  bool temporary[FOLDERS_MAX];
  size_t folders;
};

static void shape_put(struct shape *shape, const char *bytes, size_t n) {
  if (n == 0) return;
  if (n > shape->room - shape->used) {
    shape->room = 2 * shape->room + n;
    shape->text = base_realloc(shape->text, shape->room, 1);
  }
  memcpy(shape->text + shape->used, bytes, n);
  shape->used += n;
}

// ---- what is the job's own

static void shape_own(struct shape *shape, const char *value) {
  size_t n = strlen(value), at = 0;
  if (n == 0 || n >= sizeof shape->own[0] || shape->own_count == OWN_MAX) return;
  while (at < shape->own_count && strlen(shape->own[at]) >= n)
    at++;
  memmove(&shape->own[at + 1], &shape->own[at], (shape->own_count - at) * sizeof shape->own[0]);
  memcpy(shape->own[at], value, n + 1);
  shape->own_count++;
}

static bool shape_numeric(const char *text) {
  return strspn(text, "0123456789") == strlen(text);
}

// Absolute, and not all there is.
static void shape_folder(struct shape *shape, const char *path, bool temporary) {
  size_t n = path ? strlen(path) : 0;
  while (n > 0 && path[n - 1] == '/')
    n--;
  if (n == 0 || path[0] != '/') return;
  assert(shape->folders < FOLDERS_MAX);
  shape->temporary[shape->folders] = temporary;
  shape->folder[shape->folders++] = base_memdup0(path, n);
}

// Numbers are told from 0 or from 1.
static void shape_init(struct shape *shape, const struct identity *identity) {
  char number[32];
  uint64_t index;
  *shape = (struct shape){.used = 0};
  if (!getcwd(shape->here, sizeof shape->here)) shape->here[0] = '\0';
  shape_folder(shape, shape->here, false);
  char *top = shape->here[0] ? project_top(shape->here) : NULL;
  if (top) shape_folder(shape, top, false);
  free(top);
  for (size_t i = 0; i < COUNT_OF(places); i++)
    shape_folder(shape, getenv(places[i]), false);
  for (size_t i = 0; i < COUNT_OF(temporaries); i++)
    shape_folder(shape, getenv(temporaries[i]), true);
  shape_folder(shape, "/tmp", true);
  shape_own(shape, identity->node);
  shape_own(shape, identity->attempt);
  shape_own(shape, identity->host);
  if (base_parse_u64(identity->node, 0, CI_NODES_MAX, &index) == 0) {
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)index + 1);
    shape_own(shape, number);
  }
}

// The job's own word that stands here, between what cannot be part of it: digits of a number, letters of a name.
static size_t shape_own_here(const struct shape *shape, const char *word, size_t at) {
  for (size_t i = 0; i < shape->own_count; i++) {
    const char *own = shape->own[i];
    size_t n = strlen(own);
    if (strncmp(word + at, own, n) != 0) continue;
    unsigned char before = at ? (unsigned char)word[at - 1] : ' ', after = (unsigned char)word[at + n];
    bool digits = shape_numeric(own);
    bool inside = digits ? isdigit(before) || isdigit(after) : isalnum(before) || isalnum(after);
    if (!inside) return n;
  }
  return 0;
}

// ---- words

// Bytes of an absolute path that begins here; 0: none does.
static size_t shape_path(const char *word, size_t at) {
  if (word[at] != '/' || word[at + 1] == '/' || !word[at + 1]) return 0;
  if (at && !strchr("=:,;'\"( \t<>", word[at - 1])) return 0;
  return strcspn(word + at, ":,;'\") \t<>");
}

static bool shape_below(const char *path, size_t n, const char *folder) {
  size_t bytes = strlen(folder);
  return n > bytes && memcmp(path, folder, bytes) == 0 && path[bytes] == '/';
}

// What of an argument's path counts: below this folder its rest, else its last part.
static size_t shape_path_skips(const struct shape *shape, const char *path, size_t n) {
  size_t last = n;
  if (shape->here[0] && shape_below(path, n, shape->here)) return strlen(shape->here) + 1;
  while (last > 0 && path[last - 1] != '/')
    last--;
  return last;
}

// What of a program's path counts: all of it but for the job's own folders. Below one for temporary files, neither does
// the name that mktemp and the like make up.
static size_t shape_program_skips(const struct shape *shape, const char *path, size_t n) {
  size_t skips = 0;
  bool temporary = false;
  for (size_t i = 0; i < shape->folders; i++) {
    size_t bytes = strlen(shape->folder[i]) + 1;
    if (bytes <= skips || !shape_below(path, n, shape->folder[i])) continue;
    skips = bytes;
    temporary = shape->temporary[i];
  }
  const char *end = temporary && strncmp(path + skips, "tmp", 3) == 0 ? memchr(path + skips, '/', n - skips) : NULL;
  return end ? (size_t)(end + 1 - path) : skips;
}

// `program`: paths in it are programs', or of variables set for one, as are those behind an operator of a shell.
static void shape_text(struct shape *shape, const char *text, size_t n, bool program) {
  static const char begins = MSG_FACT_OWN_BEGINS, ends = MSG_FACT_OWN_ENDS;
  for (size_t at = 0; at < n;) {
    size_t path = shape_path(text, at), own;
    if (path > n - at) path = n - at;
    if (path && (program || (at && strchr(";|&(`", text[at - 1]))))
      at += shape_program_skips(shape, text + at, path);
    else if (path)
      at += shape_path_skips(shape, text + at, path);
    if (at >= n) return;
    own = shape_own_here(shape, text, at);
    if (own > n - at) own = 0;
    if (own) shape_put(shape, &begins, 1);
    shape_put(shape, text + at, own ? own : 1);
    if (own) shape_put(shape, &ends, 1);
    at += own ? own : 1;
  }
}

static void shape_script(struct shape *shape, const char *text) {
  struct facts_place place = facts_place_begin();
  for (const char *at = text; *at;) {
    size_t space = strspn(at, " \t\n"), n = strcspn(at + space, " \t\n");
    if (memchr(at, '\n', space)) place = facts_place_begin();
    shape_put(shape, at, space);
    at += space;
    shape_text(shape, at, n, place.at != FACTS_AT_ARGUMENT);
    place = facts_place_next(place, at, n, true);
    at += n;
  }
}

static void shape_word(struct shape *shape, struct facts_place *place, const char *word, bool in_script) {
  if (shape->used) shape_put(shape, " ", 1);
  if (place->at == FACTS_AT_SCRIPT && !in_script)
    shape_script(shape, word);
  else
    shape_text(shape, word, strlen(word), place->at != FACTS_AT_ARGUMENT);
  *place = facts_place_next(*place, word, strlen(word), in_script);
}

static bool shape_begins(const char *word, const char *with, char then) {
  size_t n = strlen(with);
  return strncmp(word, with, n) == 0 && word[n] == then;
}

// How many words an output takes: 0 is none.
static size_t shape_output(const char *word, const char *next) {
  for (size_t i = 0; i < COUNT_OF(outputs); i++) {
    if (shape_begins(word, outputs[i].name, '=')) return 1;
    if (strcmp(word, outputs[i].name) == 0) return outputs[i].takes && next && next[0] != '-' ? 2 : 1;
  }
  const char *setting = strncmp(word, "--override-ini=", 15) == 0                        ? word + 15
                        : strncmp(word, "-o", 2) == 0 && word[2] != '\0'                 ? word + 2
                        : strcmp(word, "-o") == 0 || strcmp(word, "--override-ini") == 0 ? next
                                                                                         : NULL;
  for (size_t i = 0; setting && i < COUNT_OF(settings); i++) {
    if (shape_begins(setting, settings[i], '=')) return setting == next ? 2 : 1;
  }
  return 0;
}

static char *shape_command(char *const *words, const struct identity *identity, bool in_script) {
  struct shape *shape = base_malloc(sizeof *shape);
  struct facts_place place = facts_place_begin();
  shape_init(shape, identity);
  for (size_t i = 0; words && words[i];) {
    size_t skip = shape_output(words[i], words[i + 1]);
    if (!skip) shape_word(shape, &place, words[i], in_script);
    i += skip ? skip : 1;
  }
  shape_put(shape, "", 1);
  char *text = shape->text;
  for (size_t i = 0; i < shape->folders; i++)
    free(shape->folder[i]);
  free(shape);
  return text;
}

char *facts_command(char *const *words, const struct identity *identity) {
  return shape_command(words, identity, false);
}

char *facts_command_line(const char *line, const struct identity *identity) {
  char *copy = base_strdup(line ? line : ""), **words = base_calloc(strlen(copy) / 2 + 2, sizeof *words);
  size_t count = 0;
  for (char *at = copy + strspn(copy, " \t\n"); *at; at += strspn(at, " \t\n")) {
    words[count++] = at;
    at += strcspn(at, " \t\n");
    if (*at) *at++ = '\0';
  }
  char *text = shape_command(words, identity, true);
  free(words);
  free(copy);
  return text;
}
