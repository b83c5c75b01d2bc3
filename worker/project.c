// Names the project. Called by options.c for the default of --project and the search for shard.yml, by local.c for the
// place of the history. Prefers what is the same on every machine: the CI's name of the repository and the remote's URL
// agree with each other, a folder's name is the last resort. It must not start git, which an image may lack, and not
// keep a URL whole, which may hold a password.
#include "worker/project.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/files.h"

enum { NAME_MAX_BYTES = 1024, FILE_NAME_MAX_BYTES = 100, LINE_BYTES = 4096, CONFIG_MAX_LINES = 20000 };

// Variables that hold owner/name, or a URL of it.
static const struct {
  const char *owner;  // NULL: `name` holds it all
  const char *name;
  bool url;
} variables[] = {
    {NULL, "CI_PROJECT_PATH", false},    // GitLab
    {NULL, "GITHUB_REPOSITORY", false},  // GitHub, Gitea
    {NULL, "BUILDKITE_REPO", true},      // Buildkite
    {"CIRCLE_PROJECT_USERNAME", "CIRCLE_PROJECT_REPONAME", false},
    {NULL, "BUILD_REPOSITORY_URI", true},  // Azure
    {NULL, "BITBUCKET_REPO_FULL_NAME", false},
    {NULL, "SEMAPHORE_GIT_URL", true},
    {NULL, "CI_REPO", false},  // Woodpecker
    {NULL, "DRONE_REPO", false},
    {NULL, "CODEBUILD_SOURCE_REPO_URL", true},
    {NULL, "GIT_URL", true},  // Jenkins
};

static char *from_variables(ci_lookup *lookup, void *arg);
static char *from_remote(const char *top);
static char *config_of(const char *top);
static char *read_link_line(const char *path, const char *prefix);
static char *join(const char *folder, const char *path);
static char *origin_of(const char *config_path);
static char *last_part(const char *path);
static char *bounded(char *name);

char *project_top(const char *dir) {
  char *at = base_strdup(dir);
  for (;;) {
    char *git = base_printf("%s/.git", strcmp(at, "/") == 0 ? "" : at);
    bool found = access(git, F_OK) == 0;
    free(git);
    if (found) return at;
    char *slash = strrchr(at, '/');
    if (slash == NULL || slash[1] == '\0') break;
    slash[slash == at ? 1 : 0] = '\0';
  }
  free(at);
  return NULL;
}

char *project_name(ci_lookup *lookup, void *arg, const char *dir) {
  char *name = from_variables(lookup, arg);
  if (name != NULL) return bounded(name);
  char *top = project_top(dir);
  if (top != NULL) name = from_remote(top);
  if (name == NULL) name = last_part(top != NULL ? top : dir);
  free(top);
  return bounded(name);
}

char *project_of_url(const char *url) {
  const char *path = strstr(url, "://"), *colon = strchr(url, ':'), *slash = strchr(url, '/');
  if (path != NULL)
    path = strchr(path + 3, '/');
  else if (colon != NULL && (slash == NULL || colon < slash))
    path = colon + 1;  // git@host:owner/name
  else
    return NULL;  // a path on this machine says nothing
  if (path == NULL) return NULL;
  path += strspn(path, "/");
  size_t length = strcspn(path, "?# \t\r\n");
  while (length > 0 && path[length - 1] == '/')
    length--;
  if (length > 4 && memcmp(path + length - 4, ".git", 4) == 0) length -= 4;
  return length > 0 ? base_memdup0(path, length) : NULL;
}

char *project_file_name(const char *project) {
  static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
  size_t length = strnlen(project, FILE_NAME_MAX_BYTES);
  char *name = base_memdup0(project, length);
  for (size_t i = 0; i < length; i++)
    if (strchr(allowed, name[i]) == NULL || (i == 0 && name[i] == '.')) name[i] = '-';
  return name;
}

static char *from_variables(ci_lookup *lookup, void *arg) {
  for (size_t i = 0; i < COUNT_OF(variables); i++) {
    const char *owner = variables[i].owner != NULL ? lookup(variables[i].owner, arg) : NULL;
    const char *name = lookup(variables[i].name, arg);
    if (name == NULL || name[0] == '\0') continue;
    if (variables[i].url) {
      char *of_url = project_of_url(name);
      if (of_url != NULL) return of_url;
      continue;
    }
    if (owner == NULL || owner[0] == '\0') return base_strdup(name);
    return base_printf("%s/%s", owner, name);
  }
  return NULL;
}

static char *from_remote(const char *top) {
  char *config = config_of(top);
  char *url = config != NULL ? origin_of(config) : NULL;
  char *name = url != NULL ? project_of_url(url) : NULL;
  free(config);
  free(url);
  return name;
}

// Where git's configuration is: in a linked worktree .git is a file that points on.
static char *config_of(const char *top) {
  char *git = join(top, ".git");
  char *folder = read_link_line(git, "gitdir: ");
  if (folder == NULL) folder = base_strdup(git);
  char *git_folder = join(top, folder), *common_file = join(git_folder, "commondir");
  char *common = read_link_line(common_file, "");
  char *common_folder = join(git_folder, common != NULL ? common : ".");
  char *config = join(common_folder, "config");
  free(git);
  free(folder);
  free(git_folder);
  free(common_file);
  free(common);
  free(common_folder);
  return config;
}

// The first line of a small file behind `prefix`; NULL when there is no such file or line.
static char *read_link_line(const char *path, const char *prefix) {
  char line[LINE_BYTES];
  const char *problem;
  FILE *file = files_read(path, FILES_REGULAR, &problem);
  if (file == NULL) return NULL;
  char *got = fgets(line, sizeof line, file);
  (void)fclose(file);
  if (got == NULL || strncmp(line, prefix, strlen(prefix)) != 0) return NULL;
  line[strcspn(line, "\r\n")] = '\0';
  return base_strdup(line + strlen(prefix));
}

static char *join(const char *folder, const char *path) {
  return path[0] == '/' ? base_strdup(path) : base_printf("%s/%s", folder, path);
}

static char *origin_of(const char *config_path) {
  const char *problem;
  FILE *file = files_read(config_path, FILES_REGULAR, &problem);
  if (file == NULL) return NULL;
  char line[LINE_BYTES], *url = NULL;
  bool inside = false;
  for (size_t lines = 0; url == NULL && lines < CONFIG_MAX_LINES && fgets(line, sizeof line, file) != NULL; lines++) {
    const char *text = line + strspn(line, " \t");
    if (text[0] == '[') inside = strncmp(text, "[remote \"origin\"]", 17) == 0;
    if (!inside || strncmp(text, "url", 3) != 0) continue;
    text += 3 + strspn(text + 3, " \t");
    if (text[0] != '=') continue;
    text += 1 + strspn(text + 1, " \t");
    url = base_memdup0(text, strcspn(text, "\r\n"));
  }
  (void)fclose(file);
  return url;
}

static char *last_part(const char *path) {
  size_t end = strlen(path), begin;
  while (end > 0 && path[end - 1] == '/')
    end--;
  for (begin = end; begin > 0 && path[begin - 1] != '/';)
    begin--;
  return end > begin ? base_memdup0(path + begin, end - begin) : base_strdup("project");
}

static char *bounded(char *name) {
  if (strlen(name) > NAME_MAX_BYTES) name[NAME_MAX_BYTES] = '\0';
  return name;
}
