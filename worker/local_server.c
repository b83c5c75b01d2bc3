// Starts a private shardd. Called by local.c and plan_place.c, which own its process and its end. Its settings are
// these words alone: neither a settings file nor variables meant for another server count.
#include "worker/local_server.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char **server_env(void);

struct proc *local_server_start(const struct local_place *place, struct event_base *base,
                                void (*on_exit)(void *arg, int status), void *arg, char *why, size_t why_size) {
  const char *const words[] = {place->server,
                               "--config",
                               place->config,
                               "--listen",
                               place->address,
                               "--database",
                               place->history,
                               "--log-level",
                               "warn",
                               "--lease-ttl",
                               "15s",
                               "--idle-timeout",
                               "5s",
                               "--ballast",
                               "0",
                               "--list-memory",
                               "1G",
                               "--exit-with-parent",
                               NULL};
  char **env = server_env(), *argv[COUNT_OF(words)];
  for (size_t i = 0; i < COUNT_OF(words); i++)
    argv[i] = words[i] != NULL ? base_strdup(words[i]) : NULL;
  struct proc_spec spec = {.argv = argv,
                           .env = env,
                           .in = PROC_NULL,
                           .out = PROC_NULL,
                           .err = PROC_INHERIT,
                           .die_with_parent = true,
                           .base = base,
                           .on_exit = on_exit,
                           .arg = arg};
  local_place_share_lock(place, true);
  struct proc *server = proc_spawn(&spec, why, why_size);
  local_place_share_lock(place, false);
  for (size_t i = 0; argv[i] != NULL; i++)
    free(argv[i]);
  options_free_words(env);
  return server;
}

// The settings of another server are not this one's.
static char **server_env(void) {
  char **env = base_calloc(1, sizeof *env);
  size_t count = 0;
  for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
    if (strncmp(*entry, "SHARDD_", 7) != 0) continue;
    env = base_realloc(env, count + 2, sizeof *env);
    env[count++] = base_memdup0(*entry, strcspn(*entry, "="));
    env[count] = NULL;
  }
  return env;
}
