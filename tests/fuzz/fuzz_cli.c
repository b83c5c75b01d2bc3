// Command lines and environments. An input is lines: first the words of the command line, up to an empty line, then
// variables, NAME=value. Every subcommand of `shard` is known here, since the program's own table is asked. What it
// accepts can be given again as flags and gives the same settings; `shardd` (any other first word) and the table of CIs
// only have to survive and to say why.
#include <unistd.h>

#include "server/settings.h"
#include "tests/fuzz/fuzz.h"
#include "worker/ci.h"
#include "worker/subcommand.h"

enum { WORDS_MAX = 40, VARIABLES_MAX = 40, TEXT_MAX = 6000 };

extern char **environ;

struct input {
  char *text;
  char *word[WORDS_MAX + 2];  // word[0]: the program's name
  int words;
  char *variable[VARIABLES_MAX + 1];
  int variables;
};

// False: it names files of the machine, which are not the input's business.
static bool take_apart(struct input *input, const uint8_t *bytes, size_t n) {
  if (n > TEXT_MAX || memchr(bytes, '\0', n) != NULL) return false;
  input->text = strndup((const char *)bytes, n);
  FUZZ_CHECK(input->text != NULL);
  if (strstr(input->text, "/dev") || strstr(input->text, "/proc")) return false;
  bool variables = false;
  char *rest = input->text, *line;
  while ((line = strsep(&rest, "\n")) != NULL) {
    if (!variables && line[0] == '\0')
      variables = true;
    else if (!variables && input->words < WORDS_MAX)
      input->word[input->words++] = line;
    else if (strchr(line, '=') != NULL && input->variables < VARIABLES_MAX)
      input->variable[input->variables++] = line;
  }
  return input->words > 0;
}

static const char *look_up(const char *name, void *arg) {
  const struct input *input = arg;
  size_t n = strlen(name);
  for (int i = 0; i < input->variables; i++)
    if (strncmp(input->variable[i], name, n) == 0 && input->variable[i][n] == '=') return input->variable[i] + n + 1;
  return NULL;
}

static void detect(struct input *input) {
  struct ci_info info;
  char why[300] = "";
  if (ci_detect(look_up, input, &info, why, sizeof why) != 0) {
    FUZZ_CHECK(why[0] != '\0');
    return;
  }
  FUZZ_CHECK(info.name != NULL && info.index >= -1 && info.index < CI_NODES_MAX && info.total <= CI_NODES_MAX);
  FUZZ_CHECK(strlen(info.build) < CI_NAME_BYTES && strlen(info.attempt) < CI_TOKEN_BYTES);
}

static char *print(const struct options *options) {
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  FUZZ_CHECK(out != NULL);
  conf_print(&options_table, options, out);
  FUZZ_CHECK(fclose(out) == 0);
  return text;
}

static void again(const struct options *options, enum options_command command) {
  char **flags = options_flags_for(options, command);
  char program[] = "shard", *argv[OPTIONS_KEY_COUNT + WORDS_MAX + 2] = {program};
  int argc = 1;
  struct options copy;
  struct conf_error error = {""};
  for (; flags[argc - 1] != NULL; argc++)
    argv[argc] = flags[argc - 1];
  FUZZ_CHECK(options_load(&copy, command, argc, argv, &error) == 0);
  char *one = print(options), *two = print(&copy);
  FUZZ_CHECK(strcmp(one, two) == 0);
  free(one);
  free(two);
  options_release(&copy);
  options_free_words(flags);
}

// What is left when the words are as many as it takes.
static void check_words(const struct subcommand *subcommand, const struct options *options) {
  struct conf_error error = {""};
  if (subcommand_check(subcommand, options, &error) != 0) {
    FUZZ_CHECK(error.text[0] != '\0');
    return;
  }
  FUZZ_CHECK(options->word_count >= subcommand->words && options->words[options->word_count] == NULL);
  FUZZ_CHECK(!subcommand->takes_command || (options->command != NULL && options->command[0][0] != '\0'));
}

static void load(struct input *input) {
  const struct subcommand *subcommand = subcommand_find(input->word[0]);
  struct conf_error error = {""};
  if (subcommand != NULL) {
    struct options options;
    int rc = options_load(&options, subcommand->bit, input->words, input->word, &error);
    FUZZ_CHECK(rc >= -1 && rc <= 2 && (rc != -1 || error.text[0] != '\0'));
    if (rc != 0) return;
    check_words(subcommand, &options);
    again(&options, subcommand->bit);
    options_release(&options);
    return;
  }
  struct settings settings;
  int rc = settings_load(input->words, input->word, &settings, &error);
  FUZZ_CHECK(rc >= -1 && rc <= 1 && (rc != -1 || error.text[0] != '\0'));
  if (rc == 0) settings_release(&settings);
}

// What --help prints goes nowhere.
static void start(void) {
  static bool started;
  if (started) return;
  started = true;
  FUZZ_CHECK(freopen("/dev/null", "w", stdout) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct input input = {0};
  start();
  if (take_apart(&input, bytes, n)) {
    char **before = environ;
    environ = input.variable;
    detect(&input);
    load(&input);
    environ = before;
  }
  free(input.text);
  return 0;
}
