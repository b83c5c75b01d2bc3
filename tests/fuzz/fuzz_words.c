// Small readers: the first byte of an input says which one reads the rest.
//   a: addresses, the same after being written; and as the daemon sees them   d: durations, sizes and numbers, alike
//   c: the words of a test command   g: .git/config, .git and its remote      t: the daemon's file of tokens
//   u: URLs of repositories          e: text made safe; YAML gives it back
#include <limits.h>
#include <sys/stat.h>

#include "config/conf_value.h"
#include "config/yaml.h"
#include "proto/address.h"
#include "server/auth.h"
#include "server/settings.h"
#include "tests/fuzz/fuzz_file.h"
#include "worker/command_argv.h"
#include "worker/human.h"
#include "worker/project.h"

enum { WORDS_MAX = 20, TEXT_MAX = 4000, NAME_BYTES = 1024 };

// ---- addresses

static void read_address(const char *text) {
  struct address address, again;
  struct settings_address seen;
  struct conf_error error = {""};
  const char *why = NULL;
  char shown[ADDRESS_TEXT_MAX_BYTES];
  int daemon = settings_address(text, &seen, &error);
  if (daemon != 0) fuzz_check_harmless(error.text);
  if (address_parse(text, 7, &address, &why) != 0) {
    FUZZ_CHECK(why != NULL && why[0] != '\0');
    return;
  }
  address_format(&address, shown, sizeof shown);
  FUZZ_CHECK(address_parse(shown, 9, &again, &why) == 0 && again.is_unix == address.is_unix);
  if (address.is_unix)
    FUZZ_CHECK(strcmp(address.path, again.path) == 0 && address.path[0] != '\0');
  else
    FUZZ_CHECK(strcmp(address.host, again.host) == 0 && address.port == again.port && address.port < 65536);
  if (daemon == 0) FUZZ_CHECK(seen.local == address.is_unix);
}

// ---- numbers

static void read_numbers(const char *text) {
  static const struct {
    enum conf_type type;
    int (*read)(const char *text, uint64_t min, uint64_t max, uint64_t *out);
  } readers[] = {{CONF_UINT, base_parse_u64}, {CONF_DURATION, base_parse_duration}, {CONF_SIZE, base_parse_size}};
  for (size_t i = 0; i < COUNT_OF(readers); i++) {
    uint64_t number = 1, again = 2;
    char shown[64];
    if (readers[i].read(text, 0, UINT64_MAX, &number) != 0) continue;
    conf_value_number_text(readers[i].type, number, shown, sizeof shown);
    FUZZ_CHECK(readers[i].read(shown, number, number, &again) == 0 && again == number);
  }
}

// ---- commands

static void read_command(char *text) {
  static const char *const ids[] = {"a", "b {file}", "{}"};
  const struct command_words words = {.tmp = "/t", .file = "/t/f", .node = NULL, .batch = "3"};
  char *argv[WORDS_MAX + 1] = {NULL}, why[400] = "", *line;
  size_t count = 0, kept = 0, given = 0;
  while ((line = strsep(&text, "\n")) != NULL && count < WORDS_MAX)
    argv[count++] = line;
  if (command_argv_check(argv, why, sizeof why) != 0) {
    FUZZ_CHECK(why[0] != '\0');
    return;
  }
  bool as_words = command_argv_has(argv, "") || !command_argv_has(argv, "file");
  FUZZ_CHECK(command_argv_fit(argv, ids, COUNT_OF(ids)) == COUNT_OF(ids));
  char **out = command_argv_expand(argv, &words, ids, COUNT_OF(ids));
  for (size_t i = 0; out[i] != NULL; i++) {
    kept++;
    given += strcmp(out[i], ids[1]) == 0;
  }
  FUZZ_CHECK(kept >= (as_words ? COUNT_OF(ids) : count) && given >= (as_words ? 1 : 0));
  command_argv_free(out);
}

// ---- a checkout

static const char *look_up(const char *name, void *arg) {
  (void)name, (void)arg;
  return NULL;
}

static void put_file(const char *folder, const char *name, const char *text, size_t n) {
  char path[PATH_MAX];
  (void)snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "we");
  FUZZ_CHECK(file != NULL && fwrite(text, 1, n, file) == n && fclose(file) == 0);
}

static char checkout[] = "/tmp/fuzz-words-XXXXXX";

static void forget_checkout(void) {
  static const char *const parts[] = {".git/config", ".git", ""};
  for (size_t i = 0; i < COUNT_OF(parts); i++) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", checkout, parts[i]);
    (void)remove(path);
  }
}

// The text as .git/config, and as the file that .git is in a worktree.
static void read_checkout(const char *text, size_t n) {
  char git[sizeof checkout + 8];
  static bool made;
  if (strstr(text, "..") || strstr(text, "/dev") || strstr(text, "/proc")) return;  // files of this machine
  if (!made) FUZZ_CHECK(mkdtemp(checkout) != NULL && atexit(forget_checkout) == 0);
  made = true;
  (void)snprintf(git, sizeof git, "%s/.git", checkout);
  for (int as_file = 0; as_file < 2; as_file++) {
    FUZZ_CHECK(as_file || mkdir(git, 0700) == 0);
    put_file(checkout, as_file ? ".git" : ".git/config", text, n);
    char *name = project_name(look_up, NULL, checkout);
    FUZZ_CHECK(name[0] != '\0' && strlen(name) <= NAME_BYTES && strpbrk(name, "\r\n") == NULL);
    free(name);
    if (!as_file) put_file(checkout, ".git/config", "", 0);
    char config[sizeof git + 8];
    (void)snprintf(config, sizeof config, "%s/config", git);
    (void)remove(config);
    FUZZ_CHECK(remove(git) == 0);
  }
}

static void read_url(const char *text) {
  char *name = project_of_url(text), *file = project_file_name(text);
  FUZZ_CHECK(name == NULL || (name[0] != '\0' && name[0] != '/' && strstr(text, name) != NULL));
  FUZZ_CHECK(file[0] != '.' && strchr(file, '/') == NULL && strlen(file) <= 100);
  free(name);
  free(file);
}

// ---- tokens

// Each line that is one lets in, and no other text does.
static void read_tokens(const char *text, size_t n) {
  enum { STRANGER = 1 << 30 };
  struct auth_error error = {""};
  char path[FUZZ_PATH_BYTES];
  int fd = fuzz_hold(text, n, path);
  struct auth *auth = auth_load(path, &error);
  FUZZ_CHECK((auth == NULL) == (error.text[0] != '\0'));
  if (auth == NULL) fuzz_check_harmless(error.text);
  for (const char *line = text; auth != NULL && line != NULL;
       line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
    char other[300];
    size_t bytes = strcspn(line, "\r\n");
    if (bytes == 0 || line[0] == '#') continue;
    FUZZ_CHECK(auth_allows(auth, line, bytes, STRANGER) && bytes < sizeof other && bytes >= 16);
    (void)snprintf(other, sizeof other, "%.*s\x01", (int)bytes, line);
    FUZZ_CHECK(!auth_allows(auth, other, strlen(other), STRANGER) && !auth_allows(auth, "", 0, STRANGER));
  }
  auth_free(auth);
  close(fd);
}

// ---- texts

static void check_escaped(const char *safe, enum escape_form form) {
  for (const char *at = safe; *at != '\0'; at++)
    FUZZ_CHECK((unsigned char)*at >= ' ' ? *at != 0x7f : form == ESCAPE_TEXT && (*at == '\n' || *at == '\t'));
}

static void check_yaml(const char *text, const char *safe) {
  struct yaml_error error;
  char *line = base_printf("a: \"%s\"\n", safe);
  struct yaml_tree *tree = yaml_parse("e.yml", line, strlen(line), &error);
  FUZZ_CHECK(tree != NULL);
  const char *back = yaml_get(yaml_root(tree), "a")->text;
  FUZZ_CHECK(strcmp(back, text) == 0 || strstr(back, "\xef\xbf\xbd") != NULL);  // what is no UTF-8 cannot be written
  yaml_tree_free(tree);
  free(line);
}

static void make_safe(const char *text, size_t n) {
  static const enum escape_form forms[] = {ESCAPE_QUOTED, ESCAPE_LINE, ESCAPE_TEXT, ESCAPE_YAML};
  for (size_t i = 0; i < COUNT_OF(forms); i++) {
    char *safe = human_safe(text, n, forms[i]), small[24];
    check_escaped(safe, forms[i]);
    if (forms[i] == ESCAPE_YAML) check_yaml(text, safe);
    size_t cut = escape_bytes(small, sizeof small - 1, text, n, forms[i]);
    FUZZ_CHECK(cut < sizeof small);
    small[cut] = '\0';
    check_escaped(small, forms[i]);
    FUZZ_CHECK(human_width(small) <= cut);
    free(safe);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  if (n == 0 || n > TEXT_MAX || memchr(bytes, '\0', n) != NULL) return 0;
  char *text = base_memdup0(bytes + 1, n - 1);
  if (bytes[0] == 'a') read_address(text);
  if (bytes[0] == 'd') read_numbers(text);
  if (bytes[0] == 'c') read_command(text);
  if (bytes[0] == 'g') read_checkout(text, n - 1);
  if (bytes[0] == 'u') read_url(text);
  if (bytes[0] == 't') read_tokens(text, n - 1);
  if (bytes[0] == 'e') make_safe(text, n - 1);
  free(text);
  return 0;
}
