// Files of `shard local`. Called by local.c before anything starts and after everything has ended. One `shard local` at
// a time uses a project's history: it holds a lock beside it, which its server inherits, so that a history is never
// taken while a server that lost its parent still closes it. It must not start anything.
#include "worker/local_place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker/cache.h"
#include "worker/project.h"

enum { SOCKET_PATH_MAX = sizeof((struct sockaddr_un *)0)->sun_path - 1 };

static int make_folder(struct local_place *place, char *why, size_t why_size);
static int write_empty(const char *path);
static int find_programs(struct local_place *place, char *why, size_t why_size);
static char *find_in_path(const char *name);
static int choose_history(struct local_place *place, const struct options *options, char *why, size_t why_size);
static char *default_history(const struct options *options);
static int take_lock(struct local_place *place);
static void use_temporary(struct local_place *place, const char *why);
static void keep_in_folder(struct local_place *place);
static void remove_folder(const char *folder);

int local_place_open(struct local_place *place, const struct options *options, char *why, size_t why_size) {
  *place = (struct local_place){.lock_fd = -1};
  int rc = find_programs(place, why, why_size);
  if (rc == 0) rc = make_folder(place, why, why_size);
  if (rc == 0) rc = choose_history(place, options, why, why_size);
  if (rc != 0) local_place_close(place);
  return rc;
}

int local_place_open_temporary(struct local_place *place, char *why, size_t why_size) {
  *place = (struct local_place){.lock_fd = -1};
  int rc = find_programs(place, why, why_size);
  if (rc == 0) rc = make_folder(place, why, why_size);
  if (rc == 0) keep_in_folder(place);
  if (rc != 0) local_place_close(place);
  return rc;
}

void local_place_close(struct local_place *place) {
  if (place->folder != NULL) remove_folder(place->folder);
  if (place->lock_fd >= 0) (void)close(place->lock_fd);
  free(place->folder);
  free(place->address);
  free(place->config);
  free(place->history);
  free(place->self);
  free(place->server);
  *place = (struct local_place){.lock_fd = -1};
}

void local_place_share_lock(const struct local_place *place, bool share) {
  if (place->lock_fd >= 0) (void)fcntl(place->lock_fd, F_SETFD, share ? 0 : FD_CLOEXEC);
}

// The folder's name carries a hash of where the checkout is: two checkouts of a project have two histories.
char *local_place_history(const char *cache, const char *project, const char *top) {
  uint64_t hash = 14695981039346656037u;  // FNV-1a, 64 bits
  for (const char *p = top; *p != '\0'; p++)
    hash = (hash ^ (unsigned char)*p) * 1099511628211u;
  char *name = project_file_name(project);
  char *path = base_printf("%s/shard/%s-%016" PRIx64 "/history.db", cache, name, hash);
  free(name);
  return path;
}

// A socket's path is short: a long TMPDIR cannot hold it.
static int make_folder(struct local_place *place, char *why, size_t why_size) {
  const char *tmp = getenv("TMPDIR");
  if (tmp == NULL || tmp[0] != '/' || strlen(tmp) + sizeof "/shard-XXXXXX/s" > SOCKET_PATH_MAX) tmp = "/tmp";
  char *folder = base_printf("%s/shard-XXXXXX", tmp);
  if (mkdtemp(folder) == NULL) {
    (void)snprintf(why, why_size, "cannot make a folder in %s: %s; set TMPDIR to one that can be written", tmp,
                   strerror(errno));
    free(folder);
    return -1;
  }
  place->folder = folder;
  place->address = base_printf("unix:%s/s", folder);
  place->config = base_printf("%s/shardd.yml", folder);
  if (write_empty(place->config) == 0) return 0;
  (void)snprintf(why, why_size, "cannot write %s: %s", place->config, strerror(errno));
  return -1;
}

static int write_empty(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  return fd < 0 ? -1 : close(fd);
}

static int find_programs(struct local_place *place, char *why, size_t why_size) {
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0) {
    (void)snprintf(why, why_size, "cannot find this program itself: is /proc mounted?");
    return -1;
  }
  self[n] = '\0';
  place->self = base_strdup(self);
  place->server = base_printf("%.*s/shardd", (int)(strrchr(self, '/') - self), self);
  if (access(place->server, X_OK) == 0) return 0;
  char *beside = place->server;
  place->server = find_in_path("shardd");
  if (place->server == NULL)
    (void)snprintf(why, why_size, "no shardd: neither %s nor one in PATH; install shardd beside shard", beside);
  free(beside);
  return place->server != NULL ? 0 : -1;
}

static char *find_in_path(const char *name) {
  const char *path = getenv("PATH");
  while (path != NULL && *path != '\0') {
    size_t length = strcspn(path, ":");
    char *file = base_printf("%.*s/%s", length > 0 ? (int)length : 1, length > 0 ? path : ".", name);
    if (access(file, X_OK) == 0) return file;
    free(file);
    path += length + (path[length] == ':');
  }
  return NULL;
}

static int choose_history(struct local_place *place, const struct options *options, char *why, size_t why_size) {
  bool told = options->history[0] != '\0';
  place->history = told ? base_strdup(options->history) : default_history(options);
  if (place->history == NULL) {
    use_temporary(place, "neither HOME nor XDG_CACHE_HOME is set: give --history FILE");
    return 0;
  }
  int rc = !told && !cache_make_parents(place->history) ? errno : take_lock(place);
  if (rc == 0) return 0;
  bool taken = rc == EWOULDBLOCK;
  (void)snprintf(why, why_size, "%s %.200s%s%s", taken ? "another shard local holds the history" : "the history",
                 place->history, taken ? "" : " cannot be used: ", taken ? "" : strerror(rc));
  if (told && !taken) return -1;
  use_temporary(place, why);
  return 0;
}

// NULL where the user has no cache folder.
static char *default_history(const struct options *options) {
  char *folder = cache_folder();
  if (folder == NULL) return NULL;
  char *here = getcwd(NULL, 0), *top = here != NULL ? project_top(here) : NULL;
  char *path = local_place_history(folder, options->project, top != NULL ? top : here != NULL ? here : "/");
  free(folder);
  free(here);
  free(top);
  return path;
}

// 0 or an errno; EWOULDBLOCK: it is taken.
static int take_lock(struct local_place *place) {
  char *path = base_printf("%s.in-use", place->history);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), error = 0;
  free(path);
  if (fd < 0) return errno;
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    error = errno;
    (void)close(fd);
    return error;
  }
  place->lock_fd = fd;
  return 0;
}

static void use_temporary(struct local_place *place, const char *why) {
  (void)snprintf(place->note, sizeof place->note, "%.300s; this run's times are not kept", why);
  keep_in_folder(place);
}

static void keep_in_folder(struct local_place *place) {
  free(place->history);
  place->history = base_printf("%s/history.db", place->folder);
  place->temporary = true;
}

// The folder holds files only: the socket, the settings, a temporary database and what stands beside it.
static void remove_folder(const char *folder) {
  DIR *dir = opendir(folder);
  struct dirent *entry;
  while (dir != NULL && (entry = readdir(dir)) != NULL) {
    char *path = base_printf("%s/%s", folder, entry->d_name);
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) (void)unlink(path);
    free(path);
  }
  if (dir != NULL) (void)closedir(dir);
  if (rmdir(folder) != 0) fprintf(stderr, "shard local: cannot remove %s: %s\n", folder, strerror(errno));
}
